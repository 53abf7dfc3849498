"""What differs between operating systems: how many processors there are for this process, and locks on files.

Nothing else in this package asks which system it runs on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ghostpoint.errors import InputError

__all__ = ["held", "processors"]


def processors() -> int:
    """The number of processors that this process may use, at least 1.

    ``os.process_cpu_count`` is new in Python 3.13; before it only Linux says which processors a process may use, and
    elsewhere it is all of them.
    """
    for count in (getattr(os, "process_cpu_count", None), _affinity, os.cpu_count):
        found = count() if count is not None else None
        if found:
            return int(found)
    return 1


def _affinity() -> int | None:
    affinity = getattr(os, "sched_getaffinity", None)
    return None if affinity is None else len(affinity(0))


@contextmanager
def held(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock file ``path``; an ``InputError`` with the text ``busy`` if another process or caller holds it.

    The lock goes with the process, also when it is killed. The file stays: who removes a lock file may remove that of
    the next holder.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(busy) from None
    try:
        yield
    finally:
        lock.release()
