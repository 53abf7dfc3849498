"""The normal random numbers of ``numerics/random.py``, one at a time: the same words, the same
positions.

A normal agrees with the compiled engine's within a few units in the last place of its size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ghostpoint.numerics.random import A0, A1, A2, A3, A4, B0, B1, B2, B3, B4, PARITY, ROTATIONS, ROUNDS, TURN, UNIT
from ghostpoint.training.cuda.kernels.lanes import device

WORD = 0xFFFFFFFF
SIGN = 1 << 31


def _round(number: int) -> Any:
    """Round ``number`` of Threefry-2x32 and all that follow, on words kept in 64 bits."""
    if number == ROUNDS:

        @device
        def last(a, b, low, high, parity):
            return a, b

        return last
    turn, back, following = ROTATIONS[number % 8], 32 - ROTATIONS[number % 8], _round(number + 1)
    injects, injection = number % 4 == 3, number // 4 + 1
    first, second = injection % 3, (injection + 1) % 3

    @device
    def one(a, b, low, high, parity):
        a = (a + b) & WORD
        b = a ^ (((b << turn) | (b >> back)) & WORD)
        if injects:
            a = (a + (low if first == 0 else high if first == 1 else parity)) & WORD
            b = (b + (low if second == 0 else high if second == 1 else parity) + injection) & WORD
        return following(a, b, low, high, parity)

    return one


def normal_at(real: Any) -> Any:
    """``f(key, stream, epoch, place)``: what ``fill_normals`` writes to ``out[place]`` at scale 1.

    ``key`` is 64 bits as a signed integer, ``stream`` NOISE or INITIAL.
    """
    width = 64 // np.dtype(real).itemsize
    rounds = _round(0)
    half, unit, one, two = real(0.5), real(UNIT), real(1), real(2)
    a0, a1, a2, a3, a4 = (real(number) for number in (A0, A1, A2, A3, A4))
    b0, b1, b2, b3, b4 = (real(number) for number in (B0, B1, B2, B3, B4))
    short, turn = real is np.float32, real(TURN)

    @device
    def normal(key, stream, epoch, place):
        vector, lane = place // width, place % width
        low, high = key & WORD, (key >> 32) & WORD
        parity = low ^ high ^ PARITY
        a = (vector // 2 * width + lane + low) & WORD
        b = (epoch + stream * SIGN + high) & WORD
        a, b = rounds(a, b, low, high, parity)
        if b >= SIGN:
            b -= WORD + 1
        u, v = (real(a) + half) * unit, real(b) * unit
        if short:
            # from sine and cosine of half the angle
            z = v * v
            s = v * ((((a4 * z + a3) * z + a2) * z + a1) * z + a0)
            c = ((((b4 * z + b3) * z + b2) * z + b1) * z + b0) * z + one
            sine, cosine = two * s * c, one - two * s * s
        else:
            sine, cosine = real(math.sin(turn * v)), real(math.cos(turn * v))
        return real(math.sqrt(-two * real(math.log(u)))) * (sine if vector % 2 else cosine)

    return normal
