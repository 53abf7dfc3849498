"""What a kernel is compiled for, and the arguments that all kernels share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

#: rows of ``history`` and ``now``
QUANTITIES = ("loss", "gradient_norm", "accuracy", "confidence")

#: Arguments of every kernel: name, type ("real" is that of the run), axes. R networks, Q
#: quantities, E epochs of the launch, B trials, T steps.
#:
#: ``state`` (R, parameters), the parts one after the other as in ``Specification.parts``, changed
#: in place; ``first`` and ``second`` the optimiser's moments, shaped like it or empty; ``rate``
#: (R,); ``corrections`` (E, 2) Adam's ``1 / (1 - beta_1**k)`` and ``1 / sqrt(1 - beta_2**k)``;
#: ``numbers`` as in ``rules.NUMBERS``; ``solved`` the loss below which a network is solved;
#: ``trials`` B and ``steps`` T; ``inputs`` (rows, B T I), ``targets``, ``weights``, ``counted``
#: (rows, B T O) and ``n_counted`` (rows,), epoch k of the launch takes row ``k mod rows``; ``cuts``
#: thresholds; ``initial`` (R, N); ``threshold`` (R,) kappa*; ``norms`` (R,) the L1 norm of W_out
#: before every epoch; ``keys`` (R,) of random numbers; ``order`` the networks in the order in which
#: they are taken; ``start`` and ``stop``; ``records`` and ``kept``, the launch's epochs to be
#: recorded and checkpointed; ``history`` (Q, R, records), ``snapshots`` (kept, R, parameters);
#: ``events`` (R, 5); ``now`` (R, Q); ``work`` (blocks, size), any content.
ARGUMENTS = (
    ("state", "real", 2), ("first", "real", 2), ("second", "real", 2), ("rate", "real", 1), ("corrections", "real", 2),
    ("numbers", "real", 1), ("solved", "float64", 0), ("trials", "int64", 0), ("steps", "int64", 0),
    ("inputs", "real", 2), ("targets", "real", 2), ("weights", "real", 2), ("counted", "real", 2),
    ("n_counted", "real", 1), ("cuts", "real", 1), ("initial", "real", 2), ("threshold", "real", 1),
    ("norms", "real", 1), ("keys", "int64", 1), ("order", "int32", 1), ("start", "int64", 0), ("stop", "int64", 0),
    ("records", "int64", 1), ("kept", "int64", 1), ("history", "real", 3), ("snapshots", "real", 3),
    ("events", "int64", 2), ("now", "real", 2), ("work", "real", 2),
)  # fmt: skip


@dataclass(frozen=True)
class Specification:
    """One kernel: what is a constant in it.

    ``parts`` are the present parts with their shapes, in the order of the flat state; ``rule``,
    ``activation``, ``shift`` (0: read out before the update) and ``readout`` are the compiled
    kernels' codes; ``cuts`` is the number of thresholds, -1 where answers are judged by a
    tolerance; ``chunk`` is how many trials share a key of the random numbers, ``lanes`` how many
    threads a network of rank one has; ``on_chip`` is whether a trial is kept in shared memory, not
    in ``work``.
    """

    kind: str
    dtype: str
    units: int
    latents: int
    inputs: int
    outputs: int
    parts: tuple[tuple[str, tuple[int, ...]], ...]
    trainable: tuple[str, ...]
    rule: int = 0
    clips: bool = False
    activation: int = 0
    shift: int = 1
    readout: int = 0
    cuts: int = 1
    drawn_start: bool = False
    noisy: bool = False
    normed: bool = False
    may_freeze: bool = True
    chunk: int = 1
    lanes: int = 32
    on_chip: bool = False

    @property
    def real(self) -> Any:
        """The type of all numbers."""
        return np.float32 if self.dtype == "float32" else np.float64

    @property
    def size(self) -> int:
        """Numbers in a flat state."""
        return sum(int(np.prod(shape)) for _, shape in self.parts)

    def place(self, part: str) -> int:
        """Where a part begins in the flat state; the state's end for one that is absent."""
        at = 0
        for name, shape in self.parts:
            if name == part:
                return at
            at += int(np.prod(shape))
        return at

    def trains(self, part: str) -> bool:
        """Whether a part is trained."""
        return part in self.trainable
