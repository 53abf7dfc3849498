"""Compile the kernels that a reproduction needs, in a process beside it:
``python -m ghostpoint.command.warm_up``.

Compiling takes a minute and one processor, once; what is compiled is kept on disk
(``numerics/compiled_code.py``). The experiments that need no large kernel run in the meantime.
Whatever is not ready when it is needed is compiled there too, so this process can end, fail or be
killed at any time without changing a result.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def warming_up() -> Iterator[None]:
    """Within this context another process compiles; it is ended with the context."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Train and search the smallest networks of each kind, in the order in which a reproduction
    needs them.
    """
    from ghostpoint.experiments.shared.base import Silent
    from ghostpoint.experiments.shared.networks import trained
    from ghostpoint.models import FullRankRNN, LowRankRNN
    from ghostpoint.slow_points import find_slow_points
    from ghostpoint.tasks import DelayedCueDiscrimination

    task = DelayedCueDiscrimination(10.0, 10.0, 10.0)
    low, full = LowRankRNN.published([0], "4"), FullRankRNN.published([0], "5")
    for models in (low, full):
        trained(Silent(), "", models, {"dtype": "float32"}, 0.001, 1, task)
        find_slow_points(models, n_starts=2)


if __name__ == "__main__":
    main()
