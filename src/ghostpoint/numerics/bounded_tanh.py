"""A compiled float64 tanh with a proven bound of its error, for proofs; and the constants of
rounding they share.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ghostpoint.numerics.compiled_code import compiled

EPS = 2.0**-53  # unit roundoff of float64
TANH_ULP = 6.0  # |tanh(x) - exact| <= TANH_ULP 2**-52 |exact|, see `tanh`
PAD = 32 * EPS  # exceeds the absolute error of the computed 1 - tanh(u)**2
SLACK = 1.0 + 2.0**-20  # covers the second-order terms that the error bounds leave out
UNDERFLOW = 1e-280  # covers what products below the normal range lose

_MAGIC = 6755399441055744.0  # 1.5 * 2**52; adding it rounds to an integer, which is left in the low bits
_TWO_OVER_LN2 = 2.8853900817779268
_HALF_LN2_HIGH = 0.3465735902798315  # the low 12 bits are zero, so integers up to 63 times this are exact
_HALF_LN2_LOW = 1.4117645281515789e-13


def _emit_power_of_two(typingctx: Any, shifted: Any) -> Any:
    """2**k from ``_MAGIC + k``: k sits in the low bits of the mantissa and is moved into the
    exponent.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i64 = ir.IntType(64)
        bits = builder.shl(builder.bitcast(args[0], i64), ir.Constant(i64, 52))
        return builder.bitcast(builder.add(bits, ir.Constant(i64, 1023 << 52)), ir.DoubleType())

    return types.float64(types.float64), codegen


_power_of_two: Any = intrinsic(_emit_power_of_two)


@compiled(fastmath={"contract"})
def tanh(x: float) -> float:
    """tanh(x) for finite x, without branches, so that loops over it vectorise; odd to the last bit.

    With ``|x| = k ln(2)/2 + z``, ``|z| <= ln(2)/4``, and ``tanh z = p/q`` (the [7/6] Pade
    approximant, exact to 1e-21 there), the addition theorem gives ``((2**k - 1) q + (2**k + 1) p) /
    ((2**k + 1) q + (2**k - 1) p)``. Rounding, term by term, is worst for k = 1, where p cancels
    half of q: below 5.9 * 2**-52 of the result (the largest seen is 2.2).
    """
    y = abs(x)
    y = y if y < 22.0 else 22.0  # tanh(22) is 1 in float64
    shifted = y * _TWO_OVER_LN2 + _MAGIC
    k = shifted - _MAGIC
    z = (y - k * _HALF_LN2_HIGH) - k * _HALF_LN2_LOW
    s = z * z
    p = z * (135135.0 + s * (17325.0 + s * (378.0 + s)))
    q = 135135.0 + s * (62370.0 + s * (3150.0 + s * 28.0))
    two_k = _power_of_two(shifted)
    below, above = two_k - 1.0, two_k + 1.0
    return math.copysign((below * q + above * p) / (above * q + below * p), x)
