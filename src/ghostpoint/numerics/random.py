"""Normal random numbers inside a kernel, as a function of (seed, epoch, position) and of nothing
else.

The generator has no state: Threefry-2x32 (Salmon, Moraes, Dror and Shaw, SC 2011) maps a key of 64
bits (the seed) and a counter of 64 bits to two words of 32 bits. It has 13 rounds, the fewest that
its authors found to pass every test of BigCrush (20 are their margin of safety): noise is drawn at
every step of every trial, and is a large part of an epoch. So a number depends on neither the
thread nor what was drawn before it. Box and Muller's transform takes two words to two normals. All
of it is one IEEE or integer operation per lane after the other, like the rest of the kernels; the
polynomials are as long as the type's precision asks for.

Words become uniforms of 32 bits, so a normal is at most ``sqrt(2 ln 2**33) = 6.8`` from zero, in
float64 too.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from ghostpoint.numerics.simd import I32, _of, fma, full, lanes, not_inlined, rint, sqrt, store

#: streams of one seed
NOISE, INITIAL = 0, 1

ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
PARITY = 0x1BD11BDA
ROUNDS = 13
UNIT = 2.0**-32
LN2_HIGH, LN2_LOW = 0.693145751953125, 1.428606820309417e-06  # the first with trailing zeros, for float32 too
(L1, L2, L3, L4, L5, L6, L7, L8, L9, L10, L11) = (2.0 / (2 * k + 1) for k in range(1, 12))
# the same series in float32: near-minimax on the range of z, the next two terms as one
M1, M2, M3 = 0.6666668503956625, 0.3998878056715556, 0.2957994936283446
# sin(pi v) / v and (cos(pi v) - 1) / v^2 as polynomials in v^2 up to 1/4, interpolated at
# Chebyshev's nodes; the errors of sine and cosine are 7e-9 and 9e-10
A0, A1, A2, A3, A4 = 3.141592640077201, -5.167710076668166, 2.5500773865261865, -0.5982904112667203, 0.07765591224331467
(B0, B1, B2, B3, B4) = (
    -4.934802196986983,
    4.058711414683212,
    -1.3352399606968017,
    0.23507436829564585,
    -0.024627111539853433,
)
TURN = 2 * math.pi
(S3, S5, S7, S9, S11, S13, S15, S17) = ((-1) ** (k // 2) / math.factorial(k) for k in range(3, 18, 2))
(K2, K4, K6, K8, K10, K12, K14, K16) = ((-1) ** (k // 2) / math.factorial(k) for k in range(2, 17, 2))


def _threefry(builder: Any, key: list[Any], counter: list[Any]) -> list[Any]:
    """The words of vectors (``<n x i32>``) of counters."""
    kind = counter[0].type

    def constant(value: int) -> Any:
        return ir.Constant(kind, [value] * kind.count)

    keys = [*key, builder.xor(builder.xor(key[0], key[1]), constant(PARITY))]
    a, b = (builder.add(counter[i], keys[i]) for i in range(2))
    # a round adds, turns the second word's bits and mixes; the key comes in after every fourth
    for i in range(ROUNDS):
        turn = ROTATIONS[i % 8]
        a = builder.add(a, b)
        b = builder.or_(builder.shl(b, constant(turn)), builder.lshr(b, constant(32 - turn)))
        b = builder.xor(a, b)
        if i % 4 == 3:
            injection = i // 4 + 1
            a = builder.add(a, keys[injection % 3])
            b = builder.add(builder.add(b, keys[(injection + 1) % 3]), constant(injection))
    return [a, b]


@intrinsic
def _uniforms(typingctx: Any, like: Any, seed: Any, first: Any, second: Any) -> Any:
    """Vectors of u in (0, 1] and v in [-1/2, 1/2] for the counters ``(first + lane, second)``."""
    vector = _of(like.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = ir.VectorType(I32, vector.lanes)

        def everywhere(number: Any) -> Any:
            undefined = ir.Constant(words, ir.Undefined)
            one = builder.insert_element(undefined, builder.trunc(number, I32), ir.Constant(I32, 0))
            return builder.shuffle_vector(one, undefined, ir.Constant(words, [0] * vector.lanes))

        high = builder.lshr(args[1], ir.Constant(args[1].type, 32))
        lane = ir.Constant(words, list(range(vector.lanes)))
        counter = [builder.add(everywhere(args[2]), lane), everywhere(args[3])]
        a, b = _threefry(builder, [everywhere(args[1]), everywhere(high)], counter)

        def number(value: float) -> Any:
            return ir.Constant(vector.llvm, [value] * vector.lanes)

        u = builder.fmul(builder.fadd(builder.uitofp(a, vector.llvm), number(0.5)), number(UNIT))
        v = builder.fmul(builder.sitofp(b, vector.llvm), number(UNIT))
        return cgutils.pack_array(builder, [u, v])

    return types.UniTuple(vector, 2)(like, types.int64, types.int64, types.int64), generate


@intrinsic
def _split(typingctx: Any, a: Any) -> Any:
    """``(k, m)`` with ``a = 2**k m`` and m in [sqrt(1/2), sqrt(2)), for positive normal ``a``."""
    bits, mantissa, root = (32, 23, 0x3F3504F3) if a.element == types.float32 else (64, 52, 0x3FE6A09E667F3BCD)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integers = ir.VectorType(ir.IntType(bits), a.lanes)

        def constant(value: int) -> Any:
            return ir.Constant(integers, [value] * a.lanes)

        pattern = builder.bitcast(args[0], integers)
        power = builder.ashr(builder.sub(pattern, constant(root)), constant(mantissa))
        rest = builder.bitcast(builder.sub(pattern, builder.shl(power, constant(mantissa))), a.llvm)
        return cgutils.pack_array(builder, [builder.sitofp(power, a.llvm), rest])

    return types.UniTuple(a, 2)(a), generate


@njit(inline="always")
def _atanh_tail_32(x, z):
    p = fma(z, full(x, M3), full(x, M2))
    return fma(z, p, full(x, M1))


@njit(inline="always")
def _atanh_tail_64(x, z):
    p = fma(z, full(x, L11), full(x, L10))
    p = fma(z, p, full(x, L9))
    p = fma(z, p, full(x, L8))
    p = fma(z, p, full(x, L7))
    p = fma(z, p, full(x, L6))
    p = fma(z, p, full(x, L5))
    p = fma(z, p, full(x, L4))
    p = fma(z, p, full(x, L3))
    p = fma(z, p, full(x, L2))
    return fma(z, p, full(x, L1))


@njit(inline="always")
def _log(x):
    """``ln x`` for positive normal x: ``ln m = 2 atanh s`` with ``s = (m - 1) / (m + 1)``, at most
    0.172 in size.
    """
    # x = 2^k m, s = (m - 1) / (m + 1)
    k, m = _split(x)
    f = m - full(x, 1.0)
    s = f / (f + full(x, 2.0))
    z = s * s
    p = _atanh_tail(x, z)
    tail = fma(k, full(x, LN2_LOW), s * (z * p))
    return fma(k, full(x, LN2_HIGH), fma(full(x, 2.0), s, tail))


@njit(inline="always")
def _cos_sin_of_turns_32(v):
    """From sine and cosine of half the angle, at most a quarter of a turn."""
    z = v * v
    s = fma(z, full(v, A4), full(v, A3))
    c = fma(z, full(v, B4), full(v, B3))
    s = fma(z, s, full(v, A2))
    c = fma(z, c, full(v, B2))
    s = fma(z, s, full(v, A1))
    c = fma(z, c, full(v, B1))
    s = v * fma(z, s, full(v, A0))
    c = fma(z, fma(z, c, full(v, B0)), full(v, 1.0))
    twice = s + s
    return fma(-twice, s, full(v, 1.0)), twice * c


@njit(inline="always")
def _cos_sin_of_turns_64(v):
    """Taylor series within an eighth of a turn of a quarter."""
    q = rint(v * full(v, 4.0))
    t = fma(q, full(v, -0.25), v) * full(v, TURN)
    z = t * t
    s = fma(z, full(v, S17), full(v, S15))
    s = fma(z, s, full(v, S13))
    s = fma(z, s, full(v, S11))
    s = fma(z, s, full(v, S9))
    s = fma(z, s, full(v, S7))
    s = fma(z, s, full(v, S5))
    s = fma(z, s, full(v, S3))
    s = fma(t * z, s, t)
    c = fma(z, full(v, K16), full(v, K14))
    c = fma(z, c, full(v, K12))
    c = fma(z, c, full(v, K10))
    c = fma(z, c, full(v, K8))
    c = fma(z, c, full(v, K6))
    c = fma(z, c, full(v, K4))
    c = fma(z, c, full(v, K2))
    c = fma(z, c, full(v, 1.0))
    # cosine and sine of the quarter turns q in {-2, ..., 2}
    size = q * q
    quarter_c = full(v, 1.0) - size * (full(v, 7.0) - size) * full(v, 1.0 / 6.0)
    quarter_s = q * (full(v, 4.0) - size) * full(v, 1.0 / 3.0)
    return quarter_c * c - quarter_s * s, quarter_c * s + quarter_s * c


def _atanh_tail(x, z):
    """``(2 atanh(s) / s - 2) / z`` with ``z = s**2`` up to 0.03."""
    raise TypeError("for compiled code")


def _cos_sin_of_turns(v):
    """Cosine and sine of ``2 pi v`` for ``|v| <= 1/2``."""
    raise TypeError("for compiled code")


@overload(_atanh_tail, inline="always")
def _typed_atanh_tail(x, z):
    if x.element == types.float32:
        return lambda x, z: _atanh_tail_32(x, z)
    return lambda x, z: _atanh_tail_64(x, z)


@overload(_cos_sin_of_turns, inline="always")
def _typed_cos_sin_of_turns(v):
    if v.element == types.float32:
        return lambda v: _cos_sin_of_turns_32(v)
    return lambda v: _cos_sin_of_turns_64(v)


@njit(inline="always")
def normals(like, seed, stream, epoch, index):
    """Two vectors of independent standard normals, for the positions ``index`` and ``index + 1`` of
    vectors.

    ``index`` is even and below 2**27; ``epoch`` is below 2**31.
    """
    # Box and Muller: sqrt(-2 ln u) (cos 2 pi v, sin 2 pi v)
    u, v = _uniforms(like, seed, index // 2 * lanes(like), epoch + stream * 2147483648)
    r = sqrt(_log(u) * full(u, -2.0))
    c, s = _cos_sin_of_turns(v)
    return r * c, r * s


@njit
def fill_normals(out, size, scale, seed, stream, epoch):
    """``out[:size]`` from ``scale`` times standard normals; ``size`` is a whole number of vectors.

    The numbers are a function of ``(seed, stream, epoch)`` and of the place. With ``(u, v)`` the
    two words of the counter ``(j lanes + lane, epoch + stream 2**31)`` under the key ``seed`` as
    uniforms, vectors ``2 j`` and ``2 j + 1`` are ``scale sqrt(-2 ln u)`` times the cosine and the
    sine of ``2 pi v``.
    """
    not_inlined()
    width = lanes(out)
    factor = full(out, scale)
    for i in range(0, size, 2 * width):
        a, b = normals(out, seed, stream, epoch, i // width)
        store(out, i, factor * a)
        if i + width < size:
            store(out, i + width, factor * b)
