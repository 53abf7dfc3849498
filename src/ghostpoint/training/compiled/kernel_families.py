"""Which model families the compiled kernels know, and their networks in the kernels' terms.

A family names its entry of :data:`KERNELS` in ``Record.kernels``. The modules that drive the
kernels ask the entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.tasks import Task
from ghostpoint.training.kernels import epoch as codes
from ghostpoint.training.kernels import full_rank, low_rank, packing
from ghostpoint.training.kernels.low_rank_passes import READOUTS
from ghostpoint.training.kernels.records import Shape

CACHE = 400_000  # bytes of what a kernel keeps of a chunk of trials: part of a second-level cache


class Packed(NamedTuple):
    """One network as its kernel takes it.

    ``state`` the flat weights, ``unpack`` gives the parts of such a state by name, ``segments``
    what of it is trained, ``plane`` the length of a padded state of the units, ``work(crossings)``
    the size of the kernel's scratch memory.
    """

    state: NDArray[Any]
    unpack: Callable[[NDArray[Any]], dict[str, NDArray[Any]]]
    segments: NDArray[np.int64]
    plane: int
    work: Callable[[int], int]


def shape_of(models: Any, task: Task, chunks: int, size: int) -> Shape:
    """The sizes and codes of a network and its trials, which come in ``chunks`` of ``size``."""
    readout = "state" if models.kernels == "full_rank" else models.readout
    kind = READOUTS.index("confidence" if models.w_out is None else readout)
    return Shape(
        models.n_units, models.rank, models.n_inputs, models.n_outputs, kind, chunks, size, task.steps,
        codes.ACTIVATIONS.index(models.activation), codes.READ_OUTS.index(task.read_out),
    )  # fmt: skip


class KernelFamily(Protocol):
    """What the drivers of the kernels need to know."""

    #: the module with ``train``
    kernel: Any
    #: the parts in the order of the kernel's flags of what is trainable
    parts: tuple[str, ...]
    #: whether several networks may share a call, one per vector lane: ``network_blocks`` and
    #: ``dispatch`` say which
    lanes: bool

    def columns(self, models: Record) -> float:
        """Multiply-adds per unit and step of a forward pass, about."""

    def chunk(self, models: Record, task: Task, itemsize: int) -> int:
        """Trials that the kernel takes at a time."""

    def packed(self, models: Any, place: int, shape: Shape, kind: np.dtype[Any]) -> Packed:
        """The network at ``place`` of the stack."""


class FullRankKernels:
    """:class:`KernelFamily` of ``kernels/full_rank.py``."""

    kernel: Any = full_rank
    parts: tuple[str, ...] = full_rank.PARTS
    lanes = False

    def columns(self, models: Record) -> float:
        """As the protocol says."""
        return models.n_units

    def chunk(self, models: Record, task: Task, itemsize: int) -> int:
        """As the protocol says."""
        return task.n_trials

    def packed(self, models: Any, place: int, shape: Shape, kind: np.dtype[Any]) -> Packed:
        """As the protocol says."""
        width, sizes = 64 // kind.itemsize, (shape.units, shape.inputs, shape.outputs)
        parts = {name: models.arrays()[name][place] for name in models.present_parts()}
        w_in = parts.get("w_in", np.zeros((shape.units, 0)))
        state = packing.pack_full_rank(parts["W"], w_in, parts["b"], parts["w_out"], parts["b_out"], kind)
        plane = full_rank.plane_size(shape.units, shape.inputs, width)
        segments = packing.full_rank_segments(_flags(models, self.parts), *sizes, width)

        def unpack(flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
            return dict(zip(self.parts, packing.unpack_full_rank(flat, *sizes), strict=True))

        def work(crossings: int) -> int:
            return full_rank.work_size(plane, shape.outputs, shape.trials, shape.steps, width, crossings)

        return Packed(state, unpack, segments, plane, work)


class LowRankKernels:
    """:class:`KernelFamily` of ``kernels/low_rank.py``."""

    kernel: Any = low_rank
    parts: tuple[str, ...] = low_rank.PARTS
    lanes = True

    def columns(self, models: Record) -> float:
        """As the protocol says."""
        return 2.0 * models.rank + 10

    def chunk(self, models: Record, task: Task, itemsize: int) -> int:
        """As the protocol says."""
        row = 3 * models.n_units * task.steps * itemsize  # bytes that the kernel keeps of a trial
        return max(2, CACHE // row // 2 * 2)

    def packed(self, models: Any, place: int, shape: Shape, kind: np.dtype[Any]) -> Packed:
        """As the protocol says."""
        width = 64 // kind.itemsize
        sizes = shape.units, shape.latents, shape.inputs, shape.outputs, shape.readout
        parts = {name: models.arrays()[name][place] for name in {*models.present_parts(), "confidence"}}
        state = packing.pack_low_rank(parts, shape.readout, kind)
        segments = packing.low_rank_segments(_flags(models, self.parts), *sizes, width)
        return Packed(
            state,
            lambda flat: packing.unpack_low_rank(flat, *sizes),
            segments,
            low_rank.sizes(*sizes, width)[0],
            lambda crossings: low_rank.work_size(state.size, shape, width, crossings),
        )


def _flags(models: Record, parts: tuple[str, ...]) -> list[bool]:
    return [part in models.trainable for part in parts]


#: the kernels by the name that a family gives in ``Record.kernels``; new ones are registered here
KERNELS: dict[str | None, KernelFamily] = {"full_rank": FullRankKernels(), "low_rank": LowRankKernels()}
