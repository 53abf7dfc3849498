"""The same work for many items on several threads, with BLAS kept to one thread in each.

BLAS and LAPACK as numpy and scipy bring them (OpenBLAS) split even a product of two 100 x 100
matrices over threads of their own. Those spin while they wait for each other: beside other programs
that take the processors a search was 15 to 30 times slower for it. Into how many parts a sum is
split also changes its last bits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
from scipy.linalg import lapack

Item = TypeVar("Item")
Result = TypeVar("Result")

_lock = Lock()
_inside = 0
_before: list[int] = []


class _Library(NamedTuple):
    """An OpenBLAS."""

    threads: Any
    set_threads: Any


@cache
def _libraries() -> list[_Library]:
    """How to read and set the number of threads of each OpenBLAS that numpy and scipy call; empty
    for other BLAS.
    """
    found = []
    for module in (np.linalg._umath_linalg, lapack._flapack):
        try:
            library = ctypes.CDLL(module.__file__)  # a name is looked up in what it is linked to as well
        except OSError:
            continue
        # the names that builds of OpenBLAS give it: with 64-bit integers, of scipy, plain
        for name in ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads"):
            try:
                read, write = library[name.format("get")], library[name.format("set")]
            except AttributeError:
                continue
            # int get(void), void set(int)
            read.argtypes, read.restype, write.argtypes, write.restype = [], ctypes.c_int, [ctypes.c_int], None
            found.append(_Library(read, write))
            break
    return found


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Inside, OpenBLAS starts no threads; calls may overlap.

    OpenBLAS has one number of threads for the whole process. So other threads of the caller's that
    compute meanwhile have one too, and a number that is set meanwhile does not last.
    """
    global _inside, _before
    with _lock:
        # the first one in remembers the numbers, the last one out restores them
        if not _inside:
            _before = [library.threads() for library in _libraries()]
            for library in _libraries():
                library.set_threads(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                for library, count in zip(_libraries(), _before, strict=True):
                    library.set_threads(count)


@contextmanager
def at_most_threads(count: int) -> Iterator[None]:
    """Inside, compiled loops of this thread run on ``count`` threads at most."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(count, before))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def mapped(work: Callable[[Item], Result], items: Sequence[Item], threads: int | None = None) -> list[Result]:
    """``[work(item) for item in items]`` on ``threads`` threads; by default on as many as numba
    uses.
    """
    count = min(len(items), numba.get_num_threads() if threads is None else threads)
    if count <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, items))


@contextmanager
def begun(
    work: Callable[[Item], Result], threads: int | None = None
) -> Iterator[Callable[[Item], Callable[[], Result]]]:
    """Gives a function that begins ``work(item)`` on one of ``threads`` (see `mapped`), and returns
    one that waits.

    With one thread the work is done when it is first waited for. Work that nobody waits for is not
    begun after the end.
    """
    count = numba.get_num_threads() if threads is None else threads
    if count <= 1:
        yield lambda item: cache(lambda: work(item))
        return
    with ThreadPoolExecutor(count) as pool:
        try:
            yield lambda item: pool.submit(work, item).result
        finally:
            pool.shutdown(cancel_futures=True)
