"""A hash of the code that computes a result, so that kept results are found again by what made
them.

The hash covers a function and all code of this package that it can reach: the definitions that it
names in its own module and in other modules of ``ghostpoint.experiments``, and whole modules
elsewhere with everything that they import. It does not see comments, docstrings, line breaks,
imports and names of files, so that text can be edited and files can be moved. It leaves out the
code that keeps results and the figures, which compute none of them. An import by a name that is
itself computed is not followed.

Source files are read, not imported, and each once in a process, when something first reaches it.
Ask before a long run and not after it, so that an edit in the meantime is not taken for what ran.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ghostpoint.errors import InputError

PACKAGE = "ghostpoint"
#: modules whose definitions are taken one by one; all others are taken whole
BY_NAME = f"{PACKAGE}.experiments"
#: modules whose text says nothing about what is computed: the version, and what keeps parts by
#: their fingerprints
LEFT_OUT = {f"{PACKAGE}._version", f"{PACKAGE}.experiments.shared.parts", __name__}


def fingerprint(function: Callable[..., Any], called: str = "") -> str:
    """Hash of the code behind ``function``, a module-level function of this package; 16 hexadecimal
    digits.

    With ``called`` the hash is that of a function of this name, so that a function can be renamed.

    Raises
    ------
    ValueError
        For a function that is not defined by name in a module of the package (a lambda, a closure,
        a function from elsewhere): what it computes may depend on values that its code does not
        show.
    """
    name, module = getattr(function, "__qualname__", ""), getattr(function, "__module__", "")
    if "." in name or "<" in name or not name:
        raise InputError(f"function must be defined in a module, by name, got {name or function!r}")
    return _SOURCES.fingerprint(module, name, called)


@dataclass(frozen=True)
class _Definition:
    """What defines a name: the statements as text, and every name in them."""

    texts: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


class _Module:
    """The source text of a module in ``package``, by what it says about what is computed.

    Attributes
    ----------
    text : str
        The module without docstrings, imports and ``__all__``.
    imported : dict
        What is imported from this package, as lists of (module, name) by the name that the import
        binds; the second name is empty where a module is imported.
    """

    def __init__(self, source: str, package: str):
        self._tree = ast.parse(source)
        self.imported: dict[str, list[tuple[str, str]]] = {}
        blocks: list[ast.AST] = [self._tree]
        for block in blocks:  # grows on the way
            for statement in _take_out(block):
                for name, place in _imports(statement, package):
                    self.imported.setdefault(name, []).append(place)
            blocks += _inner_blocks(block)
        self.text = _dump(self._tree)

    @cached_property
    def defined(self) -> dict[str, _Definition]:
        """What the module defines at its top level, by name."""
        defined: dict[str, _Definition] = {}
        for statement in self._tree.body:
            text, names = _dump(statement), {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
            for name in _defined(statement):
                definition = defined.setdefault(name, _Definition())
                definition.texts.append(text)
                definition.names.update(names)
        return defined


class Sources:
    """The source files of the package in the folder ``root``, each read once."""

    def __init__(self, root: Path):
        self.root = root
        self._modules: dict[str, _Module] = {}
        self._paths: dict[str, Path | None] = {}
        self._neighbours: dict[str, set[str]] = {}

    def fingerprint(self, module: str, name: str, called: str = "") -> str:
        """The fingerprint of the function ``name`` of ``module``; ``ValueError`` if the package has
        none.
        """
        if not self._is_module(module) or name not in self._read(module).defined:
            raise InputError(f"function must be defined in a module of {PACKAGE}, got {name!r} of {module!r}")
        texts: set[str] = set()
        whole: set[str] = set()
        todo, seen = [(module, name)], set()
        while todo:
            place = todo.pop()
            if place in seen:
                continue
            seen.add(place)
            text, used, modules = self._reach(*place)
            if called and place == (module, name):
                text = text.replace(f"FunctionDef(name='{name}'", f"FunctionDef(name='{called}'", 1)
            texts.add(text)
            todo += used
            whole |= modules
        texts.update(self._read(each).text for each in self._closure(whole))
        return hashlib.sha256("\0".join(sorted(texts)).encode()).hexdigest()[:16]

    def _reach(self, module: str, name: str) -> tuple[str, list[tuple[str, str]], set[str]]:
        """The text of a definition; the definitions of experiments that it names; and the other
        modules it names.
        """
        if _left_out(module):
            return "", [], set()
        source = self._read(module)
        definition = source.defined.get(name)
        if definition is None:
            if name not in source.imported:
                return "", [], {module}
            definition = _Definition(names={name})  # handed on by a package
        used: list[tuple[str, str]] = []
        modules: set[str] = set()
        for other in definition.names:
            if other in source.defined:
                used.append((module, other))
                continue
            for target, imported in map(self._resolve, source.imported.get(other, ())):
                if target.startswith(BY_NAME) and imported:
                    used.append((target, imported))
                else:
                    modules.add(target)
        return "\0".join(definition.texts), used, modules

    def _resolve(self, place: tuple[str, str]) -> tuple[str, str]:
        """(module, name) that an import stands for, with an empty name where the name is a
        module's.
        """
        module, name = place
        inner = f"{module}.{name}" if name else module
        if self._is_module(inner):
            return inner, ""
        if module == PACKAGE and name in self._read(module).imported:  # a public name of the package
            return self._resolve(self._read(module).imported[name][0])
        return module, name

    def _closure(self, modules: set[str]) -> set[str]:
        """These modules with all that they import from this package; of a package that is named,
        every module.
        """
        seen: set[str] = set()
        todo = list(modules)
        while todo:
            module = todo.pop()
            if module in seen or _left_out(module):
                continue
            seen.add(module)
            if module not in self._neighbours:
                imported = self._read(module).imported.values()
                resolved = {self._resolve(place)[0] for places in imported for place in places}
                self._neighbours[module] = resolved | {f"{module}.{each}" for each in self._inside(module)}
            todo += self._neighbours[module]
        return seen

    def _path(self, module: str) -> Path | None:
        """The file of a module, None if the package has no such module."""
        if module not in self._paths:
            first, *rest = module.split(".")
            place = self.root.joinpath(*rest)
            places = [place / "__init__.py", place.with_name(f"{place.name}.py")] if first == PACKAGE else []
            self._paths[module] = next((path for path in places if path.is_file()), None)
        return self._paths[module]

    def _is_module(self, module: str) -> bool:
        return self._path(module) is not None

    def _inside(self, module: str) -> Iterator[str]:
        """The names of the modules in a package, none for a module that is no package."""
        path = self._path(module)
        if path is not None and path.name == "__init__.py":
            for each in path.parent.iterdir():
                if (each.suffix == ".py" and each != path) or (each / "__init__.py").is_file():
                    yield each.stem

    def _read(self, module: str) -> _Module:
        if module not in self._modules:
            path = self._path(module)
            if path is None:
                raise InputError(f"module must be one of {PACKAGE}, got {module!r}")
            package = module if path.name == "__init__.py" else module.rpartition(".")[0]
            self._modules[module] = _Module(path.read_text(encoding="utf-8"), package)
        return self._modules[module]


def _left_out(module: str) -> bool:
    """Whether a module computes nothing: figures draw what is given, wherever they are drawn
    from.
    """
    return module in LEFT_OUT or f"{module}.".startswith(f"{PACKAGE}.figures.")


#: the fields of the syntax that hold statements, or blocks of them
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def _inner_blocks(node: ast.AST) -> Iterator[ast.AST]:
    """What in the blocks of ``node`` may hold statements itself."""
    for block in _BLOCKS:
        inside = getattr(node, block, None)
        if isinstance(inside, list):  # a lambda has an expression as its body
            yield from inside


def _take_out(node: ast.AST) -> list[ast.stmt]:
    """Take docstrings, ``__all__`` and imports out of the statements right below ``node``; return
    the imports.
    """
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        node.body = [one for one in node.body if not _is_text(one)] or [ast.Pass()]
    taken = [one for one in _inner_blocks(node) if isinstance(one, ast.stmt) and _is_import(one)]
    if taken:
        for block in _BLOCKS:
            inside = getattr(node, block, None)
            if isinstance(inside, list):
                setattr(node, block, [one for one in inside if one not in taken])
    return taken


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_import(node: ast.stmt) -> bool:
    """Whether a statement imports, or lists what others may import."""
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)] == ["__all__"]
    return isinstance(node, ast.Import | ast.ImportFrom)


def _imports(node: ast.stmt, package: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """(bound name, (module, name)) of every import from this package in one statement of a module
    in ``package``.
    """
    if isinstance(node, ast.ImportFrom):
        above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        if module.split(".")[0] == PACKAGE:
            for alias in node.names:
                yield alias.asname or alias.name, (module, alias.name)
    elif isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.split(".")[0] == PACKAGE:
                yield alias.asname or PACKAGE, (alias.name, "")


def _defined(node: ast.stmt) -> Iterable[str]:
    """The names that a statement at the top of a module defines, or may change."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    changed: list[ast.AST] = [node]
    if isinstance(node, ast.Assign):
        changed = [*node.targets]
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        changed = [node.target]
    inside = [each for one in changed for each in ast.walk(one)]
    names = {each.id for each in inside if isinstance(each, ast.Name)}
    return names | {each.name for each in inside if isinstance(each, ast.FunctionDef | ast.ClassDef)}


def _dump(node: ast.AST) -> str:
    """The syntax below ``node`` as text, the same in every version of Python."""
    options: dict[str, Any] = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(node, **options).replace(", type_params=[]", "")


_SOURCES = Sources(Path(__file__).parents[__name__.count(".") - 1])
