"""The precision of ball arithmetic (python-flint), which belongs to the whole process.

Arb's precision is one number for all threads. So all of this package that computes with balls does
it in turn, each at its own precision, and gives back the one that it found. A thread of the
caller's own that uses python-flint meanwhile sees the higher precision: its balls stay true, and
are narrower.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

_turn = RLock()


@contextmanager
def ball_precision(bits: int) -> Iterator[None]:
    """Within it, balls have ``bits`` bits; other threads that ask for a precision wait."""
    from flint import ctx

    with _turn:
        # Arb rounds every result to this many bits
        before = ctx.prec
        ctx.prec = bits
        try:
            yield
        finally:
            ctx.prec = before
