"""Which model families the compiled kernels know, and their networks in the kernels' terms.

A family names its entry of :data:`KERNELS` in ``Record.kernels``. The modules that drive the kernels ask the entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.tasks import Task
from ghostpoint.training.kernels import full_rank, full_rank_packing, low_rank, low_rank_packing

__all__ = ["KERNELS", "KernelFamily", "Packed"]

CACHE = 400_000  # bytes of what a kernel keeps of a chunk of trials: part of a second-level cache


class Packed(NamedTuple):
    """One network as its kernel takes it.

    ``state`` the flat weights, ``unpack`` gives the parts of such a state by name, ``shape`` the kernel's arguments
    after the watched crossings, ``plane`` the length of a padded state, ``work(chunks, trials in a chunk, crossings)``
    the size of the kernel's scratch memory.
    """

    state: NDArray[Any]
    unpack: Callable[[NDArray[Any]], dict[str, NDArray[Any]]]
    shape: tuple[int, ...]
    plane: int
    work: Callable[[int, int, int], int]


class KernelFamily(Protocol):
    """What the drivers of the kernels (``alone``, ``rounds``, ``together``, ``compiled``) need to know."""

    #: the module with ``train`` and ``QUANTITIES``
    kernel: Any
    #: the parts in the order of the kernel's flags of what is trainable
    parts: tuple[str, ...]
    #: whether several networks may share a call, one per vector lane: ``together`` and ``rank_one`` say which
    lanes: bool

    def columns(self, models: Record) -> float:
        """Multiply-adds per unit and step of a forward pass, about."""

    def chunk(self, models: Record, task: Task, itemsize: int) -> int:
        """Trials that the kernel takes at a time."""

    def counts(self, chunks: int, size: int) -> tuple[int, ...]:
        """The kernel's arguments about trials."""

    def packed(self, models: Any, place: int, steps: int, kind: np.dtype[Any]) -> Packed:
        """The network at ``place`` of the stack."""


class FullRankKernels:
    """:class:`KernelFamily` of ``kernels/full_rank.py``."""

    kernel: Any = full_rank
    parts: tuple[str, ...] = ("W", "w_in", "b", "w_out", "b_out")
    lanes = False

    def columns(self, models: Record) -> float:
        return models.n_units

    def chunk(self, models: Record, task: Task, itemsize: int) -> int:
        return task.n_trials

    def counts(self, chunks: int, size: int) -> tuple[int, ...]:
        return (size,)

    def packed(self, models: Any, place: int, steps: int, kind: np.dtype[Any]) -> Packed:
        width, units = 64 // kind.itemsize, models.n_units
        inputs, outputs = models.n_inputs, models.n_outputs
        state = full_rank_packing.pack_network(
            models.W[place], _w_in(models, place), models.b[place], models.w_out[place], models.b_out[place], kind
        )
        plane = full_rank.plane_size(units, inputs, width)

        def unpack(flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
            return dict(zip(self.parts, full_rank_packing.unpack_network(flat, units, inputs, outputs), strict=True))

        def work(chunks: int, size: int, crossings: int) -> int:
            return full_rank.work_size(plane, outputs, size, steps, width, crossings)

        return Packed(state, unpack, (units, inputs, outputs), plane, work)


class LowRankKernels:
    """:class:`KernelFamily` of ``kernels/low_rank.py``."""

    kernel: Any = low_rank
    parts: tuple[str, ...] = low_rank.PARTS
    lanes = True

    def columns(self, models: Record) -> float:
        return 2.0 * models.rank + 10

    def chunk(self, models: Record, task: Task, itemsize: int) -> int:
        row = 3 * models.n_units * task.steps * itemsize  # bytes that the kernel keeps of a trial
        return max(2, CACHE // row // 2 * 2)

    def counts(self, chunks: int, size: int) -> tuple[int, ...]:
        return (chunks, size)

    def packed(self, models: Any, place: int, steps: int, kind: np.dtype[Any]) -> Packed:
        width, units, latents = 64 // kind.itemsize, models.n_units, models.rank
        inputs, outputs = models.n_inputs, models.n_outputs
        readout = low_rank.READOUTS.index("confidence" if models.w_out is None else models.readout)
        sizes = low_rank.sizes(units, latents, inputs, outputs, readout, width)
        state = low_rank_packing.pack_network(
            models.m[place],
            models.n[place],
            _w_in(models, place),
            models.b[place],
            None if models.w_out is None else models.w_out[place],
            None if models.b_out is None else models.b_out[place],
            float(models.confidence[place]),
            readout,
            kind,
        )

        def unpack(flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
            return low_rank_packing.unpack_network(flat, units, latents, inputs, outputs, readout)

        def work(chunks: int, size: int, crossings: int) -> int:
            return low_rank.work_size(*sizes, outputs, size, steps, width, chunks, crossings)

        return Packed(state, unpack, (readout, units, latents, inputs, outputs), sizes[0], work)


def _w_in(models: Any, place: int) -> NDArray[Any]:
    empty: NDArray[Any] = np.zeros((models.n_units, 0))
    return empty if models.w_in is None else models.w_in[place]


#: the kernels by the name that a family gives in ``Record.kernels``; new ones are registered here
KERNELS: dict[str | None, KernelFamily] = {"full_rank": FullRankKernels(), "low_rank": LowRankKernels()}
