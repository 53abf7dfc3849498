"""A block in numba-cuda's simulator whose threads take turns.

The simulator polls the threads of a block from one that never waits, which takes most of the
processor's time. Here a thread runs up to its next barrier and wakes the next one.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np


def take_turns() -> None:
    """Let all blocks of this process run so, on plain NumPy arrays."""
    from numba.cuda.simulator import kernel

    class Thread(kernel.BlockThread):
        def __init__(self, *known: Any):
            super().__init__(*known)
            self.turn = threading.Lock()
            self.turn.acquire()

        def run(self) -> None:
            self.turn.acquire()
            super().run()
            self._manager.leave(self)

        def syncthreads(self) -> None:
            self._manager.following(self).turn.release()
            self.turn.acquire()

    class Block(kernel.BlockManager):
        def run(self, place: Any, *arguments: Any) -> None:
            plain = [_plain(one) for one in arguments]
            self.ended = threading.Lock()
            self.ended.acquire()
            self.threads = [
                Thread(lambda: self._f(*plain), self, place, point, self._debug)
                for point in np.ndindex(self._block_dim)
            ]
            self.place = {thread: k for k, thread in enumerate(self.threads)}
            started = list(self.threads)
            for thread in started:
                thread.start()
            started[0].turn.release()
            self.ended.acquire()
            for thread in started:
                if thread.exception:
                    raise thread.exception[0].with_traceback(thread.exception[1])

        def following(self, thread: Any) -> Any:
            return self.threads[(self.place[thread] + 1) % len(self.threads)]

        def leave(self, thread: Any) -> None:
            following = self.following(thread)
            self.threads.remove(thread)
            self.place = {one: k for k, one in enumerate(self.threads)}
            if thread.exception or not self.threads:
                self.ended.release()
            else:
                following.turn.release()

    kernel.BlockManager = Block


def _plain(one: Any) -> Any:
    """The NumPy arrays in an argument of a kernel."""
    if isinstance(one, tuple):
        return type(one)(*map(_plain, one))
    one = getattr(one, "_item", one)
    return getattr(one, "_ary", one)
