"""A hash of the code that computes a result, so that kept results are found again by what made them.

The hash covers a function and all code of this package that it can reach: the definitions that it names in its own
module and in other modules of ``ghostpoint.experiments``, and whole modules elsewhere with everything that they import.
It does not see comments, docstrings, line breaks, imports and names of files, so that text can be edited and files can
be moved.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["fingerprint"]

PACKAGE = "ghostpoint"
#: modules whose definitions are taken one by one; all others are taken whole
BY_NAME = f"{PACKAGE}.experiments"
#: modules whose text says nothing about what is computed
LEFT_OUT = {PACKAGE, f"{PACKAGE}._version"}


def fingerprint(function: Callable[..., Any]) -> str:
    """Hash of the code behind ``function``, a module-level function of this package; 16 hexadecimal digits.

    Raises
    ------
    ValueError
        For a function that is not defined by name in a module of the package (a lambda, a closure): what it computes
        may depend on values that its code does not show.
    """
    name, module = getattr(function, "__qualname__", ""), getattr(function, "__module__", "")
    if "." in name or "<" in name or not name:
        raise ValueError(f"function must be defined in a module, by name, got {name or function!r}")
    texts: set[str] = set()
    wholes: set[str] = set()
    todo, seen = [(module, name)], set()
    while todo:
        place = todo.pop()
        if place in seen:
            continue
        seen.add(place)
        text, used, modules = _definition(*place)
        texts.add(text)
        todo.extend(used)
        wholes |= modules
    for whole in _closure(wholes):
        texts.add(_text(_tree(whole)))
    return hashlib.sha256("\0".join(sorted(texts)).encode()).hexdigest()[:16]


@cache
def _tree(module: str) -> ast.Module:
    """The module's syntax without docstrings and imports."""
    loaded = importlib.import_module(module)
    tree = ast.parse(Path(inspect.getfile(loaded)).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [one for one in node.body if not _is_text(one)] or [ast.Pass()]
    return tree


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


class _Imports(ast.NodeTransformer):
    """Drop imports and the list of public names."""

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        return None if names == ["__all__"] else node


def _text(node: ast.AST) -> str:
    return ast.dump(_Imports().visit(copy.deepcopy(node)))


@cache
def _names(module: str) -> tuple[dict[str, list[ast.stmt]], dict[str, tuple[str, str]]]:
    """What a module defines at its top level, and what it imports from this package (name to module and name)."""
    defined: dict[str, list[ast.stmt]] = {}
    imported: dict[str, tuple[str, str]] = {}
    for statement in _tree(module).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            defined.setdefault(statement.name, []).append(statement)
        elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                for node in ast.walk(target):
                    if isinstance(node, ast.Name):
                        defined.setdefault(node.id, []).append(statement)
    for source, name, alias in _imports(_tree(module)):
        imported[alias] = (source, name)
    return defined, imported


def _imports(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """(module, name, alias) of every import from this package, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
            for alias in node.names:
                yield node.module, alias.name, alias.asname or alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == PACKAGE:
                    yield alias.name, "", alias.asname or alias.name


def _definition(module: str, name: str) -> tuple[str, list[tuple[str, str]], set[str]]:
    """The text of a definition; the definitions of experiments that it names; and the other modules it names."""
    defined, imported = _names(module)
    statements = defined.get(name)
    if statements is None:
        if name in imported:  # handed on by a package
            return _handed_on(*imported[name])
        return "", [], {module}
    used: list[tuple[str, str]] = []
    modules: set[str] = set()
    for statement in statements:
        for node in ast.walk(statement):
            if not isinstance(node, ast.Name):
                continue
            if node.id in defined and node.id != name:
                used.append((module, node.id))
            elif node.id in imported:
                _, more, others = _handed_on(*imported[node.id])
                used.extend(more)
                modules |= others
    return "\0".join(_text(statement) for statement in statements), used, modules


def _handed_on(module: str, name: str) -> tuple[str, list[tuple[str, str]], set[str]]:
    """An imported name: a definition among the experiments, or a module that is taken whole."""
    inner = f"{module}.{name}" if name else module
    if _is_module(inner):
        module, name = inner, ""
    if module.startswith(BY_NAME) and name:
        return "", [(module, name)], set()
    return "", [], {module}


@cache
def _is_module(name: str) -> bool:
    try:
        return isinstance(importlib.import_module(name), ModuleType)
    except ModuleNotFoundError:
        return False


def _closure(modules: set[str]) -> set[str]:
    """These modules with all that they import from this package; of a package that is named, every module in it."""
    seen: set[str] = set()
    todo = list(modules)
    while todo:
        module = todo.pop()
        if module in seen or module in LEFT_OUT:
            continue
        seen.add(module)
        loaded = importlib.import_module(module)
        for path in getattr(loaded, "__path__", ()):
            todo += [f"{module}.{each.name}" for each in pkgutil.iter_modules([path])]
        for target, name, _ in _imports(_tree(module)):
            inner = f"{target}.{name}"
            todo.append(inner if name and _is_module(inner) else target)
    return seen
