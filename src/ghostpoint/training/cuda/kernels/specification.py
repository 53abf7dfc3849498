"""What a kernel is compiled for, and the records that all kernels take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, TypeAlias, get_type_hints

import numpy as np

#: rows of ``history`` and ``now``; the last is there where a remedy acts
QUANTITIES = ("loss", "gradient_norm", "accuracy", "confidence", "update_scale")

# Type ("real" is that of the run) and axes of an argument.
Reals1: TypeAlias = Annotated[Any, "real", 1]
Reals2: TypeAlias = Annotated[Any, "real", 2]
Reals3: TypeAlias = Annotated[Any, "real", 3]
Doubles1: TypeAlias = Annotated[Any, "float64", 1]
Doubles2: TypeAlias = Annotated[Any, "float64", 2]
Integers1: TypeAlias = Annotated[Any, "int64", 1]
Integers2: TypeAlias = Annotated[Any, "int64", 2]
Places: TypeAlias = Annotated[Any, "int32", 1]
Integer: TypeAlias = Annotated[Any, "int64", 0]
Double: TypeAlias = Annotated[Any, "float64", 0]


class Networks(NamedTuple):
    """R networks.

    ``state`` (R, parameters), the parts one after the other as in ``Specification.parts``, changed
    in place; ``first`` and ``second`` the optimiser's moments, shaped like it or empty; ``rate``
    (R,); ``initial`` (R, N); ``threshold`` (R,) kappa*; ``norms`` (R,) the L1 norm of W_out before
    every epoch; ``keys`` (R,) of random numbers; ``order`` the networks in the order in which they
    are taken.
    """

    state: Reals2
    first: Reals2
    second: Reals2
    rate: Reals1
    initial: Reals2
    threshold: Reals1
    norms: Reals1
    keys: Integers1
    order: Places


class Asked(NamedTuple):
    """What is asked of a network in B trials of T steps.

    ``inputs`` (rows, B T I), ``targets``, ``weights``, ``counted`` (rows, B T O) and ``n_counted``
    (rows,); epoch k of the launch takes row ``k mod rows``. ``cuts`` are the thresholds.
    """

    inputs: Reals2
    targets: Reals2
    weights: Reals2
    counted: Reals2
    n_counted: Reals1
    cuts: Reals1


class Settings(NamedTuple):
    """Numbers of a launch, which does the epochs from ``start`` to ``stop - 1``.

    ``corrections`` (epochs, 2) are Adam's ``1 / (1 - beta_1**k)`` and ``1 / sqrt(1 - beta_2**k)``;
    ``numbers`` as in ``rules.NUMBERS``; ``solved`` the loss below which a network is solved;
    ``trials`` B and ``steps`` T.
    """

    corrections: Reals2
    numbers: Reals1
    solved: Double
    trials: Integer
    steps: Integer
    start: Integer
    stop: Integer


class Recorder(NamedTuple):
    """What a launch writes down of R networks.

    ``records`` and ``kept`` are the epochs to be recorded and checkpointed; ``history``
    (quantities, R, records), ``snapshots`` (kept, R, parameters), ``events`` (R, 5), ``now``
    (R, quantities).
    """

    records: Integers1
    kept: Integers1
    history: Reals3
    snapshots: Reals3
    events: Integers2
    now: Reals2


class Watch(NamedTuple):
    """What a trust region and a hazard limit look at, as ``kernels/trust.py`` says.

    ``crossings`` (C, 5), ``marks`` (C, 2), ``region``; ``seen`` (blocks, C ``row_size``), any
    content; ``acted`` (R,) counts the epochs in which a remedy changes an update.
    """

    crossings: Integers2
    marks: Doubles2
    region: Doubles1
    seen: Doubles2
    acted: Integers1


#: the arguments of every kernel; ``work`` (blocks, size), of any content, follows
RECORDS = (Networks, Asked, Settings, Watch, Recorder)


def argument_types(spec: Specification) -> tuple[Any, ...]:
    """Numba's types of a kernel's arguments."""
    from numba.cuda import types

    def of(kind: str, axes: int) -> Any:
        number = getattr(types, spec.dtype if kind == "real" else kind)
        return types.Array(number, axes, "C") if axes else number

    def record(kind: Any) -> Any:
        hints = get_type_hints(kind, include_extras=True).values()
        return types.NamedTuple([of(*hint.__metadata__) for hint in hints], kind)

    return (*map(record, RECORDS), of("real", 2))


@dataclass(frozen=True)
class Specification:
    """One kernel: what is a constant in it.

    ``parts`` are the present parts with their shapes, in the order of the flat state; ``rule``,
    ``activation``, ``shift`` (0: read out before the update) and ``readout`` are the compiled
    kernels' codes; ``cuts`` is the number of thresholds, -1 where answers are judged by a
    tolerance; ``chunk`` is how many trials share a key of the random numbers, ``lanes`` how many
    threads a network of rank one has; ``on_chip`` is whether a trial is kept in shared memory, not
    in ``work``. Remedies: ``acts`` is whether there is one, ``watched`` the number of crossings,
    ``splits`` whether updates are split.
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
    acts: bool = False
    watched: int = 0
    splits: bool = False

    @property
    def real(self) -> Any:
        """The type of all numbers."""
        return np.float32 if self.dtype == "float32" else np.float64

    @property
    def quantities(self) -> int:
        """Rows of ``history`` and ``now``."""
        return len(QUANTITIES) - (not self.acts)

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
