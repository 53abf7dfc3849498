"""Where a low-rank network lies: sizes of what a warp keeps, and the device functions that write it
down and take it up.
"""

from __future__ import annotations

from typing import Any

from ghostpoint.training.cuda.kernels.lanes import WARP, device, load, load_four, store, store_four
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels.low_rank_passes import CONFIDENCE, LATENT, STATE

#: from a row of shares to the next: threads that read four numbers each are on different banks
STRIDE = WARP + 4


def fours_of(count: int) -> int:
    """Fours that hold ``count`` numbers."""
    return -(-count // 4)


def sizes_of(spec: Specification) -> tuple[int, int, int]:
    """Units of a thread, numbers of phi of a step, numbers of rho of a step."""
    held = -(-spec.units // WARP)
    rows = spec.latents + (spec.outputs if spec.readout == STATE else 0)
    return held, 4 * fours_of(-(-spec.units // held) * held), 4 * fours_of(rows)


def work_size(spec: Specification, steps: int) -> int:
    """Numbers of ``work`` for a block."""
    _, plane, row_stride = sizes_of(spec)
    of_outputs = 4 * fours_of(steps * spec.outputs)
    of_crossings = (steps + 1) * row_stride + of_outputs if spec.watched else 0
    return (steps + 1) * row_stride + steps * plane + of_outputs + of_crossings


def fixed_size(spec: Specification) -> int:
    """Numbers in shared memory beside those, and a few."""
    rows = spec.latents + (spec.outputs if spec.readout == STATE else 0)
    return rows * STRIDE + spec.outputs * (spec.latents + 1) + 64


def registers(spec: Specification) -> int | None:
    """Registers of a thread at most: all that there are."""
    return None


def rest_size(spec: Specification, trials: int) -> int:
    """Numbers of ``work`` for a block: the gradient where there are several trials or crossings,
    and that of each crossing.
    """
    held, _, _ = sizes_of(spec)
    rows = spec.latents + (spec.outputs if spec.readout == STATE else 0)
    if trials == 1 and not spec.watched:
        return 0
    of_units = (spec.latents + spec.inputs + 1 + rows) * held
    return (of_units + spec.watched * (of_units + small_of_thread(spec))) * WARP


def small_size(spec: Specification) -> int:
    """Numbers of what is no unit's: W_out of a latent readout, then b_out; or the confidence."""
    if spec.readout == CONFIDENCE:
        return 1
    return spec.outputs * (spec.latents + 1) if spec.readout == LATENT else spec.outputs


def small_of_thread(spec: Specification) -> int:
    """Of these, those that a thread takes care of."""
    return -(-small_size(spec) // WARP)


def storage_functions(spec: Specification) -> tuple[Any, ...]:
    """Device functions of ``spec``: a thread's share of sums over units, phi of a step and numbers
    by fours, kept and fetched, and a column to ``work`` and back.
    """
    held, _, _ = sizes_of(spec)
    in_fours, zero = held % 4 == 0, spec.real(0)

    @device
    def share(shares, lane, values, count):
        """Write the thread's part of the sums of ``count`` rows."""
        for k in range(count):
            store(shares, k * STRIDE + lane, values[k])

    @device
    def keep(own, at, phi):
        if in_fours:
            for four in range(held // 4):
                store_four(
                    own, at + 4 * four, phi[4 * four], phi[4 * four + 1], phi[4 * four + 2], phi[4 * four + 3]
                )  # fmt: skip
        else:
            for u in range(held):
                store(own, at + u, phi[u])

    @device
    def fetch(own, at, values, fours):
        """``fours`` times four numbers from ``at`` on."""
        for four in range(fours):
            values[4 * four], values[4 * four + 1], values[4 * four + 2], values[4 * four + 3] = load_four(
                own, at + 4 * four
            )

    @device
    def fetch_phi(own, at, phi, busy):
        for u in range(held):
            phi[u] = zero
        if busy:
            if in_fours:
                fetch(own, at, phi, held // 4)
            else:
                for u in range(held):
                    phi[u] = load(own, at + u)

    @device
    def lay_down(values, count, work, at):
        for k in range(count):
            store(work, at + k * WARP, values[k])

    @device
    def take_up(values, count, work, at):
        for k in range(count):
            values[k] = load(work, at + k * WARP)

    return share, keep, fetch, fetch_phi, lay_down, take_up
