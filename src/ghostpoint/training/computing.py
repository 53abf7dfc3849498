"""How a training is computed: the settings that change its speed, its precision and what is heard
of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ghostpoint.checks import integer, one_of
from ghostpoint.system import processors

DTYPES = ("float32", "float64")
LAYOUTS = ("auto", "networks", "units")
INTERRUPTS = ("raise", "return")


@dataclass(frozen=True)
class Computing:
    """How :func:`ghostpoint.train` computes: pass it as ``engine=``, where the engine's name alone
    will not do.

    Parameters
    ----------
    engine : str
        A name in ``ghostpoint.training.ENGINES``, or "auto" for the first of them that can train
        what is asked for and may be chosen so. "cuda": kernels on an NVIDIA GPU, for stacks of many
        networks (extra ``cuda``). "compiled": kernels, for the models, tasks, optimisers and
        remedies they know. "torch": PyTorch, batched over networks, for all. "reference": the
        readable float64 loop that the others are tested against.
    dtype : "float32" or "float64"
        Of parameters, states and gradients.
    layout : "auto", "networks" or "units"
        What lies along the vector lanes of the compiled kernels. Only the speed depends on it.
    threads : int, optional
        Of the compiled engine; by default as many as processors this process may use, or fewer if
        the environment's NUMBA_NUM_THREADS says so.
    on_progress : callable, optional
        Called with the number of network-epochs done since the last call.
    on_record : callable, optional
        Called with each recorded epoch and a dictionary of its loss, gradient norm and accuracy,
        each (R,). By the compiled engine it is called some seconds later, when the round of epochs
        has ended.
    on_interrupt : "raise" or "return"
        What Ctrl-C does: raise :class:`~ghostpoint.training.TrainingInterrupted`, whose ``run`` is
        the run up to there, or return that run. Before anything is done it is a plain
        ``KeyboardInterrupt``.

    Raises
    ------
    ValueError
        For a setting that is not valid; the message lists those that are.

    Examples
    --------
    >>> Computing("reference", dtype="float64").engine
    'reference'
    """

    engine: str = "auto"
    dtype: str = "float32"
    layout: str = "auto"
    threads: int | None = None
    on_progress: Callable[[int], None] | None = None
    on_record: Callable[[int, dict[str, NDArray[Any]]], None] | None = None
    on_interrupt: str = "raise"

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, DTYPES)
        one_of("layout", self.layout, LAYOUTS)
        one_of("on_interrupt", self.on_interrupt, INTERRUPTS)
        if self.threads is not None:
            object.__setattr__(self, "threads", integer("threads", self.threads, at_least=1))

    @classmethod
    def of(cls, engine: str | Computing) -> Computing:
        """The record itself, or one of that engine's name."""
        return engine if isinstance(engine, Computing) else cls(engine)

    @property
    def workers(self) -> int:
        """The number of threads: what was asked for, or the processors of this process, of which
        NUMBA_NUM_THREADS may allow fewer.
        """
        if self.threads is not None:
            return self.threads
        asked = os.environ.get("NUMBA_NUM_THREADS", "")
        return min(processors(), int(asked)) if asked.isdigit() and int(asked) else processors()
