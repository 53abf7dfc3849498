"""PyTorch's CPU random numbers in numpy: the generator from which the published networks were
drawn.

The generator is the Mersenne twister MT19937 (Matsumoto and Nishimura, ACM Trans. Model. Comput.
Simul. 8, 3, 1998), seeded as ``numpy.random.RandomState(seed)`` is. PyTorch turns its 32-bit words
into float32 numbers as the methods say. Its logarithm, sine and cosine are those of S. Moshier's
Cephes library in float32, with fused multiply-adds; they are written here in the same order of
operations, so the numbers equal PyTorch's bit for bit on processors with AVX2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.errors import InputError

#: normal numbers are made in blocks of this many; fewer than one block are made one by one, in
#: float64
BLOCK = 16


class TorchGenerator:
    """The stream of random numbers that PyTorch draws on the CPU after ``torch.manual_seed(seed)``.

    Parameters
    ----------
    seed : int
        From 0 to ``2**32 - 1``.

    Raises
    ------
    ValueError
        For a seed out of that range.

    Examples
    --------
    >>> generator = TorchGenerator(0)
    >>> [float(value) for value in generator.uniform((2,))]  # torch.rand(2), seed 0
    [0.49625658988952637, 0.7682217955589294]
    """

    def __init__(self, seed: int):
        if not 0 <= seed < 2**32:
            raise InputError(f"seed must be from 0 to 2**32 - 1, got {seed}")
        self._twister = np.random.RandomState(seed)
        self._kept_sine: float | None = None

    def _words(self, count: int) -> NDArray[np.uint32]:
        """The next ``count`` 32-bit words of the twister."""
        return np.frombuffer(self._twister.bytes(4 * count), "<u4")

    def uniform(self, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> NDArray[np.float32]:
        """``tensor.uniform_(low, high)``: float32 numbers ``u (high - low) + low``.

        u are the low 24 bits of a word, times ``2**-24``.
        """
        count = int(np.prod(shape))
        unit = (self._words(count) & np.uint32(2**24 - 1)).astype(np.float32) * np.float32(2.0**-24)
        low32, high32 = np.float32(low), np.float32(high)
        return _fused(unit, high32 - low32, low32).reshape(shape)

    def normal(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """``torch.randn(shape)``: standard normal float32 numbers by the transform of Box and
        Muller (1958).
        """
        count = int(np.prod(shape))
        if count < BLOCK:
            return np.array([self._one_normal() for _ in range(count)], np.float32).reshape(shape)
        values = self.uniform((count,))
        whole = count - count % BLOCK
        values[:whole] = _box_muller(values[:whole])
        if whole < count:  # the last block overlaps the one before, and is drawn anew
            values[-BLOCK:] = _box_muller(self.uniform((BLOCK,)))
        return values.reshape(shape)

    def _one_normal(self) -> float:
        """A normal number in float64; the transform gives two, and the second is kept for the next
        call.
        """
        if self._kept_sine is not None:
            value, self._kept_sine = self._kept_sine, None
            return value
        angle, radius = 2 * np.pi * self._double(), np.sqrt(-2 * np.log1p(-self._double()))
        self._kept_sine = float(radius * np.sin(angle))
        return float(radius * np.cos(angle))

    def _double(self) -> float:
        """A uniform float64 from the low 53 bits of two words, the high word first."""
        high, low = (int(word) for word in self._words(2))
        return ((high << 32 | low) & (2**53 - 1)) * 2.0**-53


def _box_muller(uniform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normal numbers from uniform ones, 16 from 16: ``sqrt(-2 log(1 - u))`` times a cosine (first
    8) or a sine.
    """
    first, second = uniform.reshape(-1, 2, BLOCK // 2).swapaxes(0, 1)
    radius = np.sqrt(np.float32(-2) * _log(np.float32(1) - first))
    sine, cosine = _sine_and_cosine(np.float32(2 * np.pi) * second)
    return np.stack([radius * cosine, radius * sine], axis=1).reshape(-1)


Floats = NDArray[np.float32]
#: log(1 + v) = v - v**2 / 2 + v**3 times this polynomial, highest power first (Cephes, logf)
LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
#: log(2) in a part of few bits and a small rest, so that multiples of the first are exact
LOG_TWO = (0.693359375, -2.12194440e-4)
#: sin(x) = x + x z poly(z) and cos(x) = 1 - z / 2 + z**2 poly(z) with z = x**2 (Cephes, sinf and
#: cosf)
SINE = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COSINE = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
#: pi / 4 in three parts
QUARTER_PI = (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8)


def _fused(a: Floats, b: Any, c: Any) -> Floats:
    """``a b + c``, rounded once to float32: the product of two float32 numbers is exact in
    float64.
    """
    return (a.astype(np.float64) * np.asarray(b, np.float32) + np.asarray(c, np.float32)).astype(np.float32)


def _polynomial(x: Floats, coefficients: tuple[float, ...]) -> Floats:
    value = np.full_like(x, np.float32(coefficients[0]))
    for coefficient in coefficients[1:]:
        value = _fused(value, x, coefficient)
    return value


def _log(x: Floats) -> Floats:
    """Natural logarithm: ``x = 2**e (1 + v)`` with 1 + v from sqrt(1/2) to sqrt(2)."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < np.float32(np.sqrt(0.5))
    e = exponent.astype(np.float32) - low.astype(np.float32)
    v = (mantissa - np.float32(1)) + np.where(low, mantissa, np.float32(0))
    square = v * v
    rest = _fused(_polynomial(v, LOG) * v, square, e * np.float32(LOG_TWO[1]))
    return _fused(e, LOG_TWO[0], v + _fused(-square, 0.5, rest))


def _sine_and_cosine(x: Floats) -> tuple[Floats, Floats]:
    """Sine and cosine of x >= 0, from the distance to the nearest even multiple of pi / 4."""
    eighth = (x * np.float32(4 / np.pi)).astype(np.int32)
    eighth = (eighth + 1) & ~1
    for part in QUARTER_PI:
        x = _fused(-eighth.astype(np.float32), part, x)
    square = x * x
    sine = _fused(_polynomial(square, SINE) * square, x, x)
    cosine = _fused(_polynomial(square, COSINE) * square, square, -(square * np.float32(0.5))) + np.float32(1)
    swapped = (eighth & 2) != 0
    sine, cosine = np.where(swapped, cosine, sine), np.where(swapped, sine, cosine)
    return np.where(eighth & 4, -sine, sine), np.where((eighth - 2) & 4, cosine, -cosine)
