"""Compiled functions, and the key under which their machine code is kept on disk.

Numba keeps the machine code of a function under the time stamp and size of the one file that the
function is written in. A function that uses an error bound, a constant or a helper of another file
would go on with the old one after that file was edited. Here the key is the content of the
function's own file and of all files of this package that it imports from, directly or through
others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

_ROOT = Path(__file__).parent.parent
_PACKAGE = _ROOT.name

#: an import: the module and what is taken from it, or a list of modules. Python's parser would find
#: the same and takes twenty times as long, in every process that imports a kernel. An import that
#: stands in a text is found too, which does no harm
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]*))", re.MULTILINE
)


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """``numba.njit`` with a cache on disk that notices every change of the code.

    The function releases the GIL and divides by zero as IEEE 754 says, unless ``options`` say
    otherwise.

    Parameters
    ----------
    function : callable
        Left out where options are given: ``@compiled(parallel=True)``.
    options
        For ``numba.njit``.
    """
    if function is None:
        return lambda decorated: compiled(decorated, **options)
    dispatcher: Any = njit(**{"cache": True, "nogil": True, "error_model": "numpy", **options})(function)
    # in the place of numba's time stamp and size of one file
    dispatcher._cache._cache_file._source_stamp = content_key(Path(function.__code__.co_filename))
    return dispatcher


def distinct(function: Function, name: str) -> Function:
    """``function`` under a name of its own, for one of several that the same lines of code make.

    Numba names machine code by module, qualified name, types of arguments and a number that counts
    the functions compiled so far in this process. Two cached kernels may come from two processes
    that counted differently. Then the code of one closure can have the full name of another, and
    the kernel that is loaded second calls the wrong one.
    """
    function.__qualname__ = f"{function.__qualname__}_{name}"
    return function


@cache
def content_key(path: Path) -> str:
    """SHA-256 over the names and contents of :func:`imported_files`."""
    digest = hashlib.sha256()
    for file in imported_files(path):
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def imported_files(path: Path) -> list[Path]:
    """The file ``path`` and all files of this package that it imports from, directly or through
    others, sorted.

    A parent package counts only where something is imported from it by name.
    """
    found, waiting = set(), {path}
    while waiting:
        # breadth first over imports; a circle ends because found files are not searched again
        found |= waiting
        waiting = {target for file in waiting for target in _imports(file)} - found
    return sorted(found)


@cache
def _imports(path: Path) -> frozenset[Path]:
    """The files of this package that a file imports from."""
    return frozenset(file for name in _names(path) if (file := _file(name)) is not None)


def _names(path: Path) -> Iterator[str]:
    """Absolute names of what a file imports; of ``from a import b`` both ``a`` and ``a.b``, which
    may be a module.
    """
    for module, taken, modules in _IMPORT.findall(path.read_text(encoding="utf-8")):
        # without comments, brackets and the names behind "as"
        listed = re.sub(r"#[^\n]*", "", taken or modules).strip("()").split(",")
        names = [words[0] for part in listed if (words := part.split())]
        if not module:
            yield from names
            continue
        base = module.lstrip(".")
        # relative imports count from the package that holds the file
        if level := len(module) - len(base):
            parent = path.parents[level - 1].relative_to(_ROOT.parent)
            base = ".".join([*parent.parts, *([base] if base else [])])
        yield base
        yield from (f"{base}.{name}" for name in names)


def _file(name: str) -> Path | None:
    """The file of the module ``name``; ``None`` for what is no module of this package, and for its
    bare front.
    """
    package, *rest = name.split(".")
    if package != _PACKAGE or not rest:
        return None
    path = _ROOT.joinpath(*rest)
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None
