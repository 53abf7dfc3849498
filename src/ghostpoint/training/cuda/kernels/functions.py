"""Elementary functions of the CUDA kernels, and the comparison of an output with its target."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ghostpoint.numerics.elementary import P1, P2, P3, P4, Q1, Q2, Q3, Q4, SATURATION_32
from ghostpoint.training.cuda.kernels.lanes import SIMULATED, device
from ghostpoint.training.kernels.epoch import IDENTITY, TANH

#: ``tanh_of_small`` and ``tanh_of_moderate`` take arguments up to these sizes
SMALL, MODERATE = 1.5, 4.0
# tanh(x) = x P(x^2) / Q(x^2) for |x| <= 4: the minimax fit of these degrees, relative error 3.1e-8
# before rounding
A1, A2, A3 = 0.1266610465367372, 0.002629681925094652, 5.9902251873686955e-06
B1, B2, B3 = 0.45999437950186095, 0.02262783096093553, 0.00018423061844100383
# the same for |x| <= 1.5, relative error 2.0e-8
C1, C2 = 0.11030007926750997, 0.0010065011822898507
D1, D2 = 0.44363341256958905, 0.01555133998664644

if SIMULATED:

    @device
    def reciprocal(x):
        """``1 / x`` within one unit in the last place of float32."""
        return np.float32(1) / x

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    @intrinsic
    def reciprocal(typingctx, x):
        """``1 / x`` within one unit in the last place, for normal float32 x: one instruction."""

        def generate(context, builder, signature, args):
            kind = ir.FunctionType(ir.FloatType(), [ir.FloatType()])
            return builder.call(ir.InlineAsm(kind, "rcp.approx.ftz.f32 $0, $1;", "=f,f"), args)

        return types.float32(types.float32), generate


class Functions(NamedTuple):
    """Of one type: ``tanh(x)``, the same for ``|x| <= SMALL`` and ``<= MODERATE`` in fewer
    operations, and ``logistics(x)``, which gives ``1 / (1 + exp(-x))`` and ``1 / (1 + exp(x))``."""

    tanh: Any
    tanh_of_small: Any
    tanh_of_moderate: Any
    logistics: Any


def functions(real: Any) -> Functions:
    """The functions of float32 or float64.

    In float32 tanh is a rational function, the compiled engine's beyond :data:`MODERATE` and
    shorter ones up to there, with a hardware reciprocal in place of the division. All are within 7
    units in the last place of tanh (``tests/training/cuda/test_functions.py``). The hardware's own
    tanh is wrong by up to 2**-11 of it, which is no float32 any more. In float64 it is the
    library's.
    """
    one = real(1)

    if real is np.float64:

        @device
        def library_tanh(x):
            return real(math.tanh(x))

        @device
        def exact_logistics(x):
            e = real(math.exp(-abs(x)))
            large = one / (one + e)
            return (large, e * large) if x > 0 else (e * large, large)

        return Functions(library_tanh, library_tanh, library_tanh, exact_logistics)
    p1, p2, p3, p4, q1, q2, q3, q4 = (real(number) for number in (P1, P2, P3, P4, Q1, Q2, Q3, Q4))
    a1, a2, a3, b1, b2, b3 = (real(number) for number in (A1, A2, A3, B1, B2, B3))
    c1, c2, d1, d2 = (real(number) for number in (C1, C2, D1, D2))
    largest = real(SATURATION_32 * SATURATION_32)

    @device
    def logistics(x):
        """Both accurate relative to their own size."""
        e = real(math.exp(-abs(x)))
        large = reciprocal(one + e)
        return (large, e * large) if x > 0 else (e * large, large)

    @device
    def tanh(x):
        """NaN stays NaN, since no comparison with it holds."""
        z = x * x
        z = largest if z > largest else z
        p = (((p4 * z + p3) * z + p2) * z + p1) * z + one
        q = (((q4 * z + q3) * z + q2) * z + q1) * z + one
        t = x * p * reciprocal(q)
        t = one if t > one else t
        return -one if t < -one else t

    @device
    def tanh_of_moderate(x):
        z = x * x
        p = ((a3 * z + a2) * z + a1) * z + one
        q = ((b3 * z + b2) * z + b1) * z + one
        return x * p * reciprocal(q)

    @device
    def tanh_of_small(x):
        z = x * x
        return x * ((c2 * z + c1) * z + one) * reciprocal((d2 * z + d1) * z + one)

    return Functions(tanh, tanh_of_small, tanh_of_moderate, logistics)


def judge(real: Any, activation: int, cuts_count: int) -> Any:
    """``f(z, target, weight, cuts, tolerance)``: loss, dL/dz, and 1 where the answer is right, as
    in ``epoch.judged``.

    An answer is right when it exceeds as many of the ``cuts_count`` cuts as its target does or,
    where this is negative, when it is less than ``tolerance`` far from it.
    """
    logistics = functions(real).logistics
    tolerant = cuts_count < 0
    zero, one = real(0), real(1)
    steep, low, gain = (real(2), one, real(4)) if activation == TANH else (one, zero, one)
    identity = activation == IDENTITY

    @device
    def compare(z, target, weight, cuts, tolerance):
        if identity:
            output, error, bend = z, z - target, one
        else:
            # with p, q = logistic(+-steep z), both outputs are p - low q with 1 = p + q: digits are
            # kept at both ends
            p, q = logistics(steep * z)
            output = p - low * q
            error = (one - target) * p - (target + low) * q
            bend = gain * (p * q)
        weighted = weight * error
        right = one
        if tolerant:
            if not abs(error) < tolerance:
                right = zero
        else:
            for k in range(cuts_count):
                if (output > cuts[k]) != (target > cuts[k]):
                    right = zero
        return weighted * error, (weighted + weighted) * bend, right

    return compare
