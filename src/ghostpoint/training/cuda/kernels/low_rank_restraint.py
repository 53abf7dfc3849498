"""A trust region and a hazard limit in the kernel of low rank: the gradient of a crossing's time to
``work``, and what becomes of an update.
"""

from __future__ import annotations

import math
from typing import Any

from ghostpoint.training.cuda.kernels.lanes import WARP, barrier, device, load, store, total
from ghostpoint.training.cuda.kernels.low_rank_parts import part_functions
from ghostpoint.training.cuda.kernels.low_rank_storage import sizes_of, small_of_thread, small_size
from ghostpoint.training.cuda.kernels.restraint import MOST, SCALE, TOUCHED, gram_share, judged_bad, restrainer
from ghostpoint.training.cuda.kernels.rules import direction
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels.low_rank_passes import CONFIDENCE, LATENT, STATE
from ghostpoint.training.kernels.optimizers import SGD
from ghostpoint.training.kernels.trust import ALONG, BY_LOSS, GRAM, WEIGHT, row_size


def crossing_functions(spec: Specification) -> tuple[Any, ...]:
    """Device functions of ``spec``.

    ``write((by_left, by_right, by_small), alpha, work, e_at, k, lane)`` writes the gradient e of
    crossing k, of what is trained, to ``work``.

    ``act(watch, (found, made, seen), (by_left, by_right, by_small, pair, scratch), (work, e_at),
    how, (factor, bad, w, lane))`` puts what is left of the update's direction in the gradient's
    place, and gives back whether the update is not finite.
    """
    real, units, latents, watched = spec.real, spec.units, spec.latents, spec.watched
    held, _, _ = sizes_of(spec)
    columns, rows = latents + spec.inputs + 1, latents + (spec.outputs if spec.readout == STATE else 0)
    left_size, right_size, own_small, of_small = columns * held, rows * held, small_of_thread(spec), small_size(spec)
    of_gradient, found_row = (left_size + right_size + own_small) * WARP, row_size(watched)
    by_confidence, remembers = spec.readout == CONFIDENCE, spec.rule != SGD
    small_at = spec.place("confidence" if by_confidence else "w_out" if spec.readout == LATENT else "b_out")
    restrain, judged, rule, pair_sums = restrainer(spec), judged_bad(real), direction(spec.rule, real), total(2, WARP)
    left_place, right_place, left_trains, right_trains, small_trains, _, _ = part_functions(spec)
    zero, one, share_of_gram = real(0), real(1), gram_share(real, of_gradient, WARP)

    @device
    def write(gradient, alpha, work, e_at, k, lane):
        by_left, by_right, by_small = gradient
        at = e_at + k * of_gradient
        for j in range(left_size):
            store(work, at + j * WARP, by_left[j] if left_trains(j // held) else zero)
        at += left_size * WARP
        for j in range(right_size):
            store(work, at + j * WARP, alpha * by_right[j] if right_trains(j // held) else zero)
        at += right_size * WARP
        for j in range(own_small):
            store(work, at + j * WARP, by_small[j] if small_trains(j * WARP + lane) else zero)

    @device
    def share_of_inner(work, at, by_left, by_right, by_small):
        """The thread's share of ``e . g``, e being at ``at``."""
        product = zero
        for k in range(left_size):
            product += load(work, at + k * WARP) * by_left[k]
        for k in range(right_size):
            product += load(work, at + (left_size + k) * WARP) * by_right[k]
        for k in range(own_small):
            product += load(work, at + (left_size + right_size + k) * WARP) * by_small[k]
        return product

    @device
    def direct(values, at, place, factor, how, pair):
        """Put the direction q in the place of a value's gradient g; add g q and q q to ``pair``."""
        first, second, w, moving, root, _ = how
        g = values[at]
        q = rule(factor * g, first, second, w, place, moving, root)
        pair[0], pair[1] = pair[0] + g * q, pair[1] + q * q
        values[at] = q

    @device
    def mix(values, count, most, along, work, at):
        """``most values + along e``."""
        for k in range(count):
            values[k] = most * values[k]
            if along != zero:
                values[k] += along * load(work, at + k * WARP)

    @device
    def act(watch, noted, gradient, storage, how, known):
        found, made, seen = noted
        by_left, by_right, by_small, pair, scratch = gradient
        work, e_at = storage
        factor, bad, w, lane = known
        by = how[5]
        # e . g, and the Gram matrix of the e
        for k in range(watched):
            at = e_at + k * of_gradient
            pair[0], pair[1] = share_of_inner(work, at, by_left, by_right, by_small), zero
            pair_sums(pair, scratch, lane)
            if lane == 0:
                found[k * found_row + BY_LOSS] = pair[0]
            for other in range(k + 1):
                pair[0] = share_of_gram(work, at, e_at + other * of_gradient)
                pair_sums(pair, scratch, lane)
                if lane == 0:
                    found[k * found_row + GRAM + other] = pair[0]
        # the direction q takes the place of g; g . q and |q|^2
        pair[0], pair[1] = zero, zero
        if not bad:
            for u in range(held):
                i = lane * held + u
                if i < units or not remembers:  # beyond, gradients are zero
                    for j in range(columns):
                        if left_trains(j):
                            direct(by_left, j * held + u, left_place(j, i), factor, how, pair)
                    for k in range(rows):
                        if right_trains(k):
                            direct(by_right, k * held + u, right_place(k, i), factor, how, pair)
            for k in range(own_small):
                entry = k * WARP + lane
                if entry < of_small and small_trains(entry):
                    direct(by_small, k, small_at + entry, factor, how, pair)
        pair_sums(pair, scratch, lane)
        ascending, length = pair[0] < zero, -by * real(math.sqrt(pair[1]))
        for k in range(watched):
            pair[0], pair[1] = share_of_inner(work, e_at + k * of_gradient, by_left, by_right, by_small), zero
            pair_sums(pair, scratch, lane)
            if lane == 0:
                found[k * found_row + ALONG] = by * pair[0]
        if lane == 0:
            restrain(watch, found, made, seen[0], seen[1], length, ascending)
        barrier()
        bad, seen[4] = judged(bad, made[SCALE], length), real(made[SCALE])
        if lane == 0 and made[TOUCHED] > 0 and not bad:
            watch.acted[w] += 1
        # what is left of q, and what is added to it along every e
        most = real(made[MOST])
        for k in range(max(1, watched)):
            at, along = e_at + k * of_gradient, zero
            if watched:
                along = real(found[k * found_row + WEIGHT]) / by
            mix(by_left, left_size, most, along, work, at)
            mix(by_right, right_size, most, along, work, at + left_size * WARP)
            mix(by_small, own_small, most, along, work, at + (left_size + right_size) * WARP)
            most = one
        barrier()
        return bad

    return write, act
