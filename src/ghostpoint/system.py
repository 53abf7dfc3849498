"""What differs between operating systems: how many processors there are for this process, locks on
files, and making a new name in a folder durable.

Nothing else in this package asks which system it runs on.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ghostpoint.errors import InputError


def processors() -> int:
    """The number of processors that this process may use, at least 1.

    ``os.process_cpu_count`` is new in Python 3.13; before it only Linux says which processors a
    process may use, and elsewhere it is all of them.
    """
    for count in (getattr(os, "process_cpu_count", None), _affinity, os.cpu_count):
        found = count() if count is not None else None
        if found:
            return int(found)
    return 1


def flush_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a loss of power, where the system can: fsync of a
    folder.

    Windows has no such call, and some network file systems refuse it; both are passed over.
    """
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)


def _affinity() -> int | None:
    affinity = getattr(os, "sched_getaffinity", None)
    return None if affinity is None else len(affinity(0))


@contextmanager
def held(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock file ``path``; an ``InputError`` with the text ``busy`` if another process or
    caller holds it.

    The lock goes with the process, also when it is killed; then the empty file stays, and holds
    nobody up.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(busy) from None
        if _still_there(path, lock):
            break
        lock.release()  # the holder before removed the file between our opening and locking it
    try:
        yield
    finally:
        # POSIX can remove a file that is open, so while it is held; Windows only afterwards, unless
        # it is open again
        with suppress(OSError):
            path.unlink()
        lock.release()
        if os.name == "nt":
            with suppress(OSError):
                path.unlink()


def _still_there(path: Path, lock: Any) -> bool:
    """Whether the file that is locked is the one of that name."""
    descriptor = getattr(getattr(lock, "_context", None), "lock_file_fd", None)
    try:
        return descriptor is None or os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
