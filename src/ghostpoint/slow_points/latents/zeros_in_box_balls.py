"""The search of `zeros_in_box_kernels` in extended precision, for the little that float64
leaves undecided.

f, its Jacobian and its second derivatives are summed in ball arithmetic (Arb, through python-flint)
at the float64 centre of a box; what is left of them then has the relative precision of float64,
where before it was the difference of sums of the size of ``sum |n|``. Thousands of times slower, so
for boxes near folds only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from flint import arb

from ghostpoint.numerics.arrays import Floats
from ghostpoint.numerics.balls import ball_precision
from ghostpoint.slow_points.latents.box_enclosure import invert
from ghostpoint.slow_points.latents.zeros_in_box_kernels import BUDGET, DEGENERATE, prune

BITS = 212
EPS = 2.0**-53
SLACK = 1.0 + 2.0**-20


class Refined(NamedTuple):
    """Zeros (P, K + 2) and undecided boxes (U, 2 K + 1), laid out as by the compiled `search`;
    boxes examined.
    """

    zeros: Floats
    undecided: Floats
    examined: int


class _Flow:
    """f and its derivatives at float64 points, each a float64 with a bound of its absolute
    error.
    """

    def __init__(self, m: Floats, n: Floats, b: Floats):
        self.m, self.n = m, n
        self._m, self._n = ([[arb(v) for v in row] for row in array.tolist()] for array in (m, n))
        self._b = [arb(v) for v in b.tolist()]
        self.rank = m.shape[1]
        self.smallest = 1e-13 * float(np.abs(n).sum(axis=0).max())  # half-width of a box that is given up

    def at(self, c: Floats) -> tuple[Floats, Floats, Floats, Floats, float]:
        """f (K,), Jacobian (K, K), second derivatives (K, K, K) at c, and their errors.

        Those are the bound for each f (K,), and one for all the others before they are rounded to
        float64.
        """
        k = range(self.rank)
        point = [arb(v) for v in c.tolist()]
        f = [-v for v in point]
        jacobian = [[arb(-1 if i == j else 0) for j in k] for i in k]
        second = [[[arb(0) for _ in k] for _ in k] for _ in k]
        # unit by unit: f = -kappa + n tanh(u), J = -1 + n m (1 - t**2), and n m m tanh''
        for m, n, b in zip(self._m, self._n, self._b, strict=True):
            t = (sum((m[j] * point[j] for j in k), b)).tanh()
            s = 1 - t * t
            bend = -2 * t * s
            for p in k:
                f[p] += n[p] * t
                for j in k:
                    slope = n[p] * m[j]
                    jacobian[p][j] += slope * s
                    for i in range(j + 1):
                        second[p][i][j] += slope * m[i] * bend
        # centres as float64; the balls' radii and the rounding to float64 are the errors
        error = np.array([float(v.rad()) for v in f]) + 1e-300
        others = max(
            float(v.rad()) for p in k for v in (*jacobian[p], *(second[p][i][j] for j in k for i in range(j + 1)))
        )
        value = np.array([float(v.mid()) for v in f])
        for p in k:
            for j in k:
                for i in range(j):
                    second[p][j][i] = second[p][i][j]
        return (
            value,
            np.array([[float(v.mid()) for v in row] for row in jacobian]),
            np.array([[[float(v.mid()) for v in row] for row in rows] for rows in second]),
            SLACK * (error + 2.0 * EPS * np.abs(value)),
            SLACK * others + 1e-300,
        )


def refine(box: Floats, zeros: Floats, weights: tuple[Floats, Floats, Floats], budget: int = 3000) -> Refined:
    """All zeros of f in ``box`` (2, K), its lower and upper ends, beyond those already listed in
    ``zeros`` (P, K + 2).

    ``weights`` are m, n (N, K) and b (N,) of one network. New zeros, like the old, may lie beyond
    the box.
    """
    with ball_precision(BITS):
        return _refine(box, zeros, _Flow(*weights), budget)


def _refine(box: Floats, zeros: Floats, flow: _Flow, budget: int) -> Refined:
    rank = flow.rank
    listed = [row for row in zeros]
    left: list[Floats] = []
    centre = 0.5 * box[0] + 0.5 * box[1]
    largest = float(np.max(box[1] - box[0]))
    # half-widths rounded up, so that the boxes cover the whole
    stack = [(centre, 0.5 * (box[1] - box[0]) * (1 + 8 * EPS) + 4 * EPS * np.abs(centre))]
    examined = 0
    while stack:
        c, h = stack.pop()
        reason = 0
        while not _known(c, h, listed):
            if examined >= budget:
                reason = BUDGET
                break
            examined += 1
            # cut away what cannot hold a zero; states as of the compiled search
            state, volume = _reduce(flow, c, h)
            if state == 0:
                break
            if state in (1, 2):
                zero = _zero_near(flow, c, h, largest)
                if zero is not None and _is_new(zero, listed):
                    listed.append(zero)
                    continue
            if state == 1 or np.max(h) <= flow.smallest:
                reason = DEGENERATE
                break
            if volume < 0.6:
                continue
            widest = int(np.argmax(h))
            # both halves, a little wider than a half, so that they overlap
            half = 0.5 * h[widest] * (1 + 8 * EPS) + 2 * EPS * (abs(c[widest]) + h[widest])
            for side in (-half, half):
                part, width = c.copy(), h.copy()
                part[widest] += side
                width[widest] = half
                stack.append((part, width))
            break
        if reason:
            left.append(np.concatenate([c - h, c + h, [reason]]))
    new = np.array(listed[len(zeros) :]).reshape(-1, rank + 2)
    return Refined(new, np.array(left).reshape(-1, 2 * rank + 1), examined)


def _third(flow: _Flow, h: Floats) -> Floats:
    """(K, N) ``|n| (|m| h)**3``, which bounds what a cube leaves over: |tanh'''| <= 2."""
    return np.asarray(np.abs(flow.n.T) * (np.abs(flow.m) @ h) ** 3)


def _reduce(flow: _Flow, c: Floats, h: Floats) -> tuple[int, float]:
    f, g, second, rounding, off = flow.at(c)
    a = np.empty_like(g)
    invert(g, a)
    # one bound for all coefficients, each times at most (1 + |d|)**2
    rounding = rounding + off * (1.0 + h.sum()) ** 2
    error = np.stack([_third(flow, h).sum(axis=1) / 3.0 * SLACK + rounding, rounding])
    # d . H d / 2 as a sum over i <= j: pairs off the diagonal come twice
    quadratic = np.zeros_like(second)
    for i in range(flow.rank):
        for j in range(i, flow.rank):
            quadratic[:, i, j] = second[:, i, j] * (0.5 if i == j else 1.0)
    through = SLACK * np.abs(a)
    work = np.empty((2, flow.rank))
    state, left = prune(c, h, f, g, quadratic, error, a, np.stack([through @ error[0], through @ error[1]]), *work)
    return int(state), float(left)


def _zero_near(flow: _Flow, c: Floats, h: Floats, largest: float) -> Floats | None:
    """The zero that Newton's iteration reaches from c, with its smallest and largest verified cube,
    or None.
    """
    z, a = c.copy(), np.empty((flow.rank, flow.rank))
    for _ in range(30):
        f, g, second, rounding, off = flow.at(z)
        if not invert(g, a):
            return None
        step = a @ f
        doubt = np.abs(a) @ rounding + 2.0 * EPS * np.abs(z)
        if np.all(np.abs(step) <= doubt):
            break
        z = z - step
        if not np.all(np.abs(z - c) <= 2.0 * h + 2.0 * doubt):
            return None
    else:
        return None
    proven = [r for r in _radii(np.abs(step) + doubt, largest) if _holds_one(flow, r, a, f, g, second, rounding, off)]
    return np.concatenate([z, [proven[0], proven[-1]]]) if proven else None


def _radii(start: Floats, largest: float) -> Floats:
    first = 1.5 * float(np.max(start)) + 1e-300
    return np.asarray(first * 2.0 ** np.arange(max(1, int(np.log2(max(largest / first, 1.0))) + 1)))


def _holds_one(
    flow: _Flow, r: float, a: Floats, f: Floats, g: Floats, second: Floats, rounding: Floats, off: float
) -> bool:
    """Krawczyk's condition, as in the compiled `verify`."""
    size = np.abs(a)
    # |A f(z)|, |1 - A J(z)| and what the second and third derivatives add to it over the cube
    residual = np.abs(a @ f) + size @ (rounding + 8.0 * EPS * np.abs(f))
    linear = np.abs(a @ g - np.eye(flow.rank)) + 16.0 * EPS * (1.0 + size @ (np.abs(g) + 1.0))
    curved = np.abs(np.einsum("kp,pij->kij", a, second)).sum(axis=2) * r
    curved += 16.0 * EPS * np.einsum("kp,pij->ki", size, np.abs(second)) * r
    rho = np.abs(flow.m).sum(axis=1) * r
    rest = size @ (np.abs(flow.n.T) @ (rho[:, None] ** 2 * np.abs(flow.m)))
    rest += off * (1.0 + flow.rank * r) * size.sum(axis=1)[:, None]
    spread = (linear + curved + rest).sum(axis=1) * r
    return bool(np.all(SLACK * (residual + spread) < r))


def _known(c: Floats, h: Floats, listed: list[Floats]) -> bool:
    return any(np.all((np.abs(c - row[:-2]) + h) * (1 + 8 * EPS) <= row[-1]) for row in listed)


def _is_new(zero: Floats, listed: list[Floats]) -> bool:
    """Its smallest cube lies in no listed zero's largest one, and apart from all smallest ones."""
    z, r = zero[:-2], zero[-2]
    if _known(z, np.full_like(z, r), listed):
        return False
    return all(np.any(np.abs(z - row[:-2]) > SLACK * (r + row[-2])) for row in listed)
