"""A trust region and a hazard limit in the kernel of full rank: the gradient of a crossing's time
to ``work``, and what becomes of an update.
"""

from __future__ import annotations

import math
from typing import Any

from numba import cuda

from ghostpoint.training.cuda.kernels.full_rank_parts import part_functions
from ghostpoint.training.cuda.kernels.full_rank_tiles import grid, of_crossing, rows, small_of_thread, tile_functions
from ghostpoint.training.cuda.kernels.lanes import block_total, device, load, store
from ghostpoint.training.cuda.kernels.low_rank_storage import small_size
from ghostpoint.training.cuda.kernels.restraint import MOST, SCALE, TOUCHED, gram_share, judged_bad, restrainer
from ghostpoint.training.cuda.kernels.rules import direction
from ghostpoint.training.cuda.kernels.specification import Specification
from ghostpoint.training.kernels.low_rank_passes import CONFIDENCE, LATENT, STATE
from ghostpoint.training.kernels.optimizers import SGD
from ghostpoint.training.kernels.trust import ALONG, BY_LOSS, GRAM, WEIGHT, row_size


def crossing_functions(spec: Specification) -> tuple[Any, ...]:
    """Device functions of ``spec``. A gradient is (by_w, by_in, by_out, by_small, pair, scratch)
    and by_b, with m's and n's in ``work``; storage is (work, e_at, by_m_at, by_n_at).

    ``write(gradient, by_b, storage, k, thread)`` writes the gradient e of crossing k, of what is
    trained, to ``work``.

    ``act(watch, (found, made, seen), gradient, by_b, storage, how, (factor, bad, w, thread))`` puts
    what is left of the update's direction in the gradient's place, and gives back by_b and whether
    the update is not finite.
    """
    real, units, n_inputs, outputs, latents = spec.real, spec.units, spec.inputs, spec.outputs, spec.latents
    down, across = grid(units)
    block_size, tall, wide = down * across, -(-units // down), -(-units // across)
    tile, factored = tall * wide, latents > 0
    of_gradient, found_row = of_crossing(spec) * block_size, row_size(spec.watched)
    unit_slot = 2 * latents if factored else tile  # of what is neither W nor m nor n
    x_row, s_row = rows(spec)
    watched, remembers, of_state = spec.watched, spec.rule != SGD, spec.readout == STATE
    of_small, own_small = small_size(spec), small_of_thread(spec)
    at_w, at_in, at_b, at_out, at_m, at_n = (spec.place(part) for part in ("W", "w_in", "b", "w_out", "m", "n"))
    of_latents, by_confidence = spec.readout == LATENT, spec.readout == CONFIDENCE
    at_small = spec.place("confidence" if by_confidence else "w_out" if of_latents else "b_out")
    train_w, train_in, train_b = (spec.trains(part) for part in ("W", "w_in", "b"))
    train_m, train_n, train_out = spec.trains("m"), spec.trains("n"), of_state and spec.trains("w_out")
    restrain, judged, rule = restrainer(spec), judged_bad(real), direction(spec.rule, real)
    sums, zero, one = block_total(2, block_size), real(0), real(1)
    share_of_gram = gram_share(real, of_gradient, block_size)
    x_place, s_place, _, _, _, _, _, _ = tile_functions(spec)
    small_trains, *_ = part_functions(spec)

    @device
    def write(gradient, by_b, storage, k, thread):
        by_w, by_in, by_out, by_small, _, _ = gradient
        work, e_at, by_m_at, by_n_at = storage
        at = e_at + k * of_gradient
        if factored:
            for j in range(latents):
                by_m, by_n = zero, zero
                if thread < units and train_m:
                    by_m = load(work, by_m_at + j * s_row + s_place(thread))
                if thread < units and train_n:
                    by_n = load(work, by_n_at + j * x_row + x_place(thread))
                store(work, at + j * block_size, by_m)
                store(work, at + (latents + j) * block_size, by_n)
        else:
            for j in range(tile):
                store(work, at + j * block_size, by_w[j] if train_w else zero)
        at += unit_slot * block_size
        store(work, at, by_b if train_b else zero)
        for j in range(n_inputs):
            store(work, at + (1 + j) * block_size, by_in[j] if train_in else zero)
        at += (1 + n_inputs) * block_size
        for o in range(outputs):
            store(work, at + o * block_size, by_out[o] if train_out else zero)
        at += outputs * block_size
        for j in range(own_small):
            store(work, at + j * block_size, by_small[j] if small_trains(j * block_size + thread) else zero)

    @device
    def share_of_inner(gradient, by_b, storage, k, thread):
        """The thread's share of ``e . g``; e is zero of what is not trained."""
        by_w, by_in, by_out, by_small, _, _ = gradient
        work, e_at, by_m_at, by_n_at = storage
        at, product = e_at + k * of_gradient, zero
        if not factored:
            for j in range(tile):
                product += load(work, at + j * block_size) * by_w[j]
        elif thread < units:
            for j in range(latents):
                if train_m:
                    product += load(work, at + j * block_size) * load(work, by_m_at + j * s_row + s_place(thread))
                if train_n:
                    by_n = load(work, by_n_at + j * x_row + x_place(thread))
                    product += load(work, at + (latents + j) * block_size) * by_n
        at += unit_slot * block_size
        product += load(work, at) * by_b
        for j in range(n_inputs):
            product += load(work, at + (1 + j) * block_size) * by_in[j]
        at += (1 + n_inputs) * block_size
        for o in range(outputs):
            product += load(work, at + o * block_size) * by_out[o]
        at += outputs * block_size
        for j in range(own_small):
            product += load(work, at + j * block_size) * by_small[j]
        return product

    @device
    def direct(g, place, factor, how, pair):
        """The direction q of a value's gradient g; adds g q and q q to ``pair``."""
        first, second, w, moving, root, _ = how
        q = rule(factor * g, first, second, w, place, moving, root)
        pair[0], pair[1] = pair[0] + g * q, pair[1] + q * q
        return q

    @device
    def direct_all(gradient, by_b, storage, factor, how, thread):
        """Put the direction q in the place of the gradient g; give back b's."""
        by_w, by_in, by_out, by_small, pair, _ = gradient
        work, _, by_m_at, by_n_at = storage
        r, c = thread // across, thread % across
        if train_w:
            for a in range(tall):
                for k in range(wide):
                    i, j, at = r * tall + a, c * wide + k, a * wide + k
                    if (i < units and j < units) or not remembers:  # beyond, gradients are zero
                        by_w[at] = direct(by_w[at], at_w + i * units + j, factor, how, pair)
        if thread < units:
            for j in range(latents):
                if train_m:
                    at = by_m_at + j * s_row + s_place(thread)
                    store(work, at, direct(load(work, at), at_m + thread * latents + j, factor, how, pair))
                if train_n:
                    at = by_n_at + j * x_row + x_place(thread)
                    store(work, at, direct(load(work, at), at_n + thread * latents + j, factor, how, pair))
            if train_b:
                by_b = direct(by_b, at_b + thread, factor, how, pair)
            if train_in:
                for k in range(n_inputs):
                    by_in[k] = direct(by_in[k], at_in + thread * n_inputs + k, factor, how, pair)
            if train_out:
                for o in range(outputs):
                    by_out[o] = direct(by_out[o], at_out + o * units + thread, factor, how, pair)
        for k in range(own_small):
            entry = k * block_size + thread
            if entry < of_small and small_trains(entry):
                by_small[k] = direct(by_small[k], at_small + entry, factor, how, pair)
        return by_b

    @device
    def mixed(most, value, along, work, at):
        """``most value + along e``, e being at ``at``."""
        value = most * value
        if watched and along != zero:
            value += along * load(work, at)
        return value

    @device
    def mix(gradient, by_b, storage, k, most, along, thread):
        """``most q + along e`` of crossing k in the place of q; give back b's."""
        by_w, by_in, by_out, by_small, _, _ = gradient
        work, e_at, by_m_at, by_n_at = storage
        e = e_at + k * of_gradient
        if not factored:
            for j in range(tile):
                by_w[j] = mixed(most, by_w[j], along, work, e + j * block_size)
        elif thread < units:
            for j in range(latents):
                at = by_m_at + j * s_row + s_place(thread)
                store(work, at, mixed(most, load(work, at), along, work, e + j * block_size))
                at = by_n_at + j * x_row + x_place(thread)
                store(work, at, mixed(most, load(work, at), along, work, e + (latents + j) * block_size))
        e += unit_slot * block_size
        by_b = mixed(most, by_b, along, work, e)
        for j in range(n_inputs):
            by_in[j] = mixed(most, by_in[j], along, work, e + (1 + j) * block_size)
        e += (1 + n_inputs) * block_size
        for o in range(outputs):
            by_out[o] = mixed(most, by_out[o], along, work, e + o * block_size)
        e += outputs * block_size
        for j in range(own_small):
            by_small[j] = mixed(most, by_small[j], along, work, e + j * block_size)
        return by_b

    @device
    def act(watch, noted, gradient, by_b, storage, how, known):
        found, made, seen = noted
        pair, scratch = gradient[4], gradient[5]
        work, e_at, by = storage[0], storage[1], how[5]
        factor, bad, w, thread = known
        cuda.syncthreads()  # all have read what the next lines change
        # e . g, and the Gram matrix of the e
        for k in range(watched):
            pair[0], pair[1] = share_of_inner(gradient, by_b, storage, k, thread), zero
            sums(pair, scratch, thread)
            if thread == 0:
                found[k * found_row + BY_LOSS] = pair[0]
            for other in range(k + 1):
                pair[0] = share_of_gram(work, e_at + k * of_gradient, e_at + other * of_gradient)
                sums(pair, scratch, thread)
                if thread == 0:
                    found[k * found_row + GRAM + other] = pair[0]
        # g . q and |q|^2
        pair[0], pair[1] = zero, zero
        if not bad:
            by_b = direct_all(gradient, by_b, storage, factor, how, thread)
        sums(pair, scratch, thread)
        ascending, length = pair[0] < zero, -by * real(math.sqrt(pair[1]))
        for k in range(watched):
            pair[0], pair[1] = share_of_inner(gradient, by_b, storage, k, thread), zero
            sums(pair, scratch, thread)
            if thread == 0:
                found[k * found_row + ALONG] = by * pair[0]
        cuda.syncthreads()
        if thread == 0:
            restrain(watch, found, made, seen[0], seen[1], length, ascending)
        cuda.syncthreads()
        bad, seen[4] = judged(bad, made[SCALE], length), real(made[SCALE])
        if thread == 0 and made[TOUCHED] > 0 and not bad:
            watch.acted[w] += 1
        # what is left of q, and what is added to it along every e
        most = real(made[MOST])
        for k in range(max(1, watched)):
            along = zero
            if watched:
                along = real(found[k * found_row + WEIGHT]) / by
            by_b = mix(gradient, by_b, storage, k, most, along, thread)
            most = one
        return by_b, bad

    return write, act
