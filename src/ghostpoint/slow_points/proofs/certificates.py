"""Proofs about one candidate: a zero exists and is alone in a ball, or a ghost exists in a ball
without zeros.

Every bound holds for the weights as given and includes the rounding of its own computation. Norms
of vectors are Euclidean in the field's coordinates, |X| of a matrix X is bounded by its Frobenius
norm unless said. With phi = tanh, ``|phi''| <= 4 / (3 sqrt 3)`` and ``|phi'''| <= 2``; b_k is row k
of B.

*Zero* (Newton-Kantorovich with an approximate inverse C of J). With ``eta >= |C F(x)|``,
``Z >= |1 - C J|`` and L a Lipschitz constant of C DF, T(y) = y - C F(y) contracts the ball of
radius ``2 eta / (d + sqrt(d**2 - 2 L eta))``, d = 1 - Z, into itself, so one zero is in it; C F is
injective on the ball of radius d / L, so there is no other.

*No zero in a ball* (a Lyapunov-Schmidt reduction). With C an approximate inverse of
``[[J, -p], [q^T, 0]]`` and (-psi, sigma) its last row, a zero at x + h makes

    psi . F(x) + integral_0^1 (1 - t) psi . D2F(x + t h)[h, h] dt + (rounding) h = 0,

where h is ``(q . h) v`` (v from the last column of C) and a rest of second order. At a ghost the
first term is its speed and the second is ``a (q . h)**2`` and terms of third order, so the sum is
positive out to where those take over; `zero_free_radius` bounds it from below shell by shell.

*A ghost exists*: Newton-Kantorovich for the bordered system of `ghosts`, whose solution lies inside
the ball without zeros; hence its speed is not zero.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import Field, TanhField
from ghostpoint.slow_points.ghosts import Border, BorderedInverse, GhostSolution, border, bordered_inverse, inverse
from ghostpoint.slow_points.proofs.balanced import Units
from ghostpoint.slow_points.proofs.certifier import Certificate, Certifier, Proven
from ghostpoint.slow_points.proofs.field_bounds import BEND, NEARBY, FieldBounds, Local
from ghostpoint.slow_points.proofs.rounding import EPS, gamma, norm, up

ENOUGH = 1e-4  # a bound of a defect that needs no product
SHELL = 1.04  # ratio of the radii between which a bound is taken to hold


def newton_ball(eta: float, defect: float, lipschitz: float) -> tuple[float, float] | None:
    """Radii of a ball that holds a zero and of one that holds no other; None where the theorem does
    not apply.

    ``eta`` bounds the first step, ``defect`` |1 - C J|, ``lipschitz`` that of C DF; all
    non-negative.
    """
    slack = 1.0 - defect
    if not (math.isfinite(eta) and math.isfinite(lipschitz) and slack > 0):
        return None
    margin = slack**2 * (1 - 1e-12) - 2.0 * lipschitz * eta * (1 + 1e-12)
    if margin <= 0:
        return None
    radius = 2.0 * eta / (slack + math.sqrt(margin)) * (1 + 1e-10)
    unique = slack / lipschitz * (1 - 1e-10) if lipschitz > 0 else math.inf
    return (radius, unique) if radius < unique else None


class Operator(NamedTuple):
    """An approximate inverse C of a derivative D at a point, bounds of |C| and |1 - C D|, a
    Lipschitz constant of D.

    ``rounding`` bounds the error of ``C @ value`` over |value| where C is a `BorderedInverse`.
    """

    C: Floats | BorderedInverse
    inverse: float
    defect: float
    lipschitz: float
    rounding: float = 0.0

    def first_step(self, value: Floats, error: Floats) -> float:
        """A bound of |C V| for V within ``error`` of ``value``, element by element."""
        if isinstance(self.C, BorderedInverse):
            step = norm(self.C @ value) + self.inverse * norm(error) + self.rounding * norm(value)
            return up(step, len(value) + 16.0)
        rest = error + gamma(len(value) + 2.0) * np.abs(value)
        return up(norm(self.C @ value) + norm(np.abs(self.C) @ rest), len(value) + 16.0)

    def moved(self, distance: float) -> Operator:
        """The same at a point at most ``distance`` away, which is at most `NEARBY`."""
        if not distance <= NEARBY:
            return self._replace(defect=math.inf)
        return self._replace(defect=up(self.defect + self.inverse * self.lipschitz * distance, 8))


def jacobian_operator(here: Local) -> Operator | None:
    """Of J at the point; None for a singular J."""
    C = inverse(here.J)
    if C is None:
        return None
    size = norm(C)
    product = C @ here.J
    product.flat[:: len(C) + 1] -= 1.0
    defect = norm(product) + gamma(len(C) + 2.0) * size * here.size_J + size * here.e_J
    return Operator(C, size, up(defect, 8), here.bounds.lipschitz)


def certify_fixed(bounds: FieldBounds, x: Floats) -> Certificate:
    """Prove that one zero of F lies near x (K,)."""
    here = bounds.at(x)
    operator = jacobian_operator(here)
    if operator is None:
        return Certificate("undecided", reason="the Jacobian is singular")
    return fixed_from_step(here, operator, operator.first_step(here.f, here.e_f))


def fixed_from_step(here: Local, operator: Operator, eta: float, shift: float = 0.0) -> Certificate:
    """The proof of a zero from a bound ``eta`` of the first step |C F| at a centre within ``shift``
    of the point.
    """
    defect, size = operator.defect, operator.inverse
    # first with the Lipschitz constant of the whole space
    best = newton_ball(eta, defect, up(size * operator.lipschitz))
    reach = best[1] if best else up(4.0 * eta)
    # a smaller ball has a smaller Lipschitz constant, which may allow a larger ball than the global
    # one
    for _ in range(3):
        ball = newton_ball(eta, defect, up(size * here.lipschitz(reach + shift)))
        if ball is None:
            break
        unique = min(ball[1], reach)
        if ball[0] < unique and (best is None or unique > best[1]):
            best = (ball[0], unique)
        reach = 0.5 * (reach + ball[1])
    if best is None:
        reason = f"Newton-Kantorovich fails: step {eta:.3g}, defect {defect:.3g}, |inverse| {size:.3g}"
        return Certificate("undecided", reason=reason)
    return Certificate("fixed", radius=best[0], unique_radius=best[1])


class Reduction(NamedTuple):
    """Bounds that `zero_free_radius` needs; see the module's first lines.

    ``value`` <= psi.F; ``tilt`` >= |rounding|; ``curve`` <= (1/2) psi.D2F[v, v]; ``v`` >= |v|;
    ``cross`` >=
    |psi.D2F[v, .]|; ``square`` >= half the norm of psi.D2F; ``cube`` >= the coefficient of |h|**3;
    ``q`` >= |q|; and the rest of h is at most ``rest0 + rest1 |h| + rest2 |h|**2``.
    """

    value: float
    tilt: float
    curve: float
    v: float
    cross: float
    square: float
    cube: float
    q: float
    rest0: float
    rest1: float
    rest2: float


def zero_free_radius(b: Reduction) -> float:
    """The largest radius (of a grid) within which the bounds leave no room for a zero; 0.0 for
    none.

    For |h| = h and y = q . h: ``sum >= value - tilt h + curve y**2 - q h cross z - square z**2 -
    cube h**3``, with the rest ``z <= rest0 + rest1 h + rest2 h**2`` and ``|y| >= (h - z) / v``. On
    a shell, gains are taken at its inner and losses at its outer radius.
    """
    numbers = np.array(b)
    if not np.isfinite(numbers).all() or b.value <= 0:
        return 0.0
    # shells from a radius at which every loss is far below the gain, up to 1000
    start = 1e-3 * min(b.value / (b.tilt + 1e-300), math.sqrt(b.value / (abs(b.curve) + b.square + 1e-300)), 1.0)
    outer = start * SHELL ** np.arange(1 + max(1, math.ceil(math.log(1e3 / start) / math.log(SHELL))))
    inner = np.concatenate([[0.0], outer[:-1]])
    # losses grow with the radius, so the outer one bounds them; |y| is taken at the inner one
    rest = b.rest0 + b.rest1 * outer + b.rest2 * outer**2
    along = np.maximum(0.0, inner - rest * (1 + 1e-12)) / b.v * (1 - 1e-12)
    curve = b.curve * along**2 if b.curve > 0 else b.curve * (b.q * outer) ** 2
    losses = b.tilt * outer + b.q * outer * b.cross * rest + b.square * rest**2 + b.cube * outer**3
    positive = b.value * (1 - 1e-12) + curve - np.where(curve < 0, -curve, curve) * 1e-12 - losses * (1 + 1e-12) > 0
    if not positive[0]:
        return 0.0
    return float(outer[-1] if positive.all() else outer[int(np.argmin(positive)) - 1]) * (1 - 1e-12)


def certify_ghost(bounds: FieldBounds, kappa: Floats, omega: Floats, s: float) -> Certificate:
    """Prove that a stationary point of q lies near (kappa, omega, s), in a ball without zeros of
    F.
    """
    here = bounds.at(kappa)
    edge = slow_border(here, omega)
    operator = ghost_operator(here, omega, s, edge)
    if operator is None:
        return Certificate("undecided", reason="the bordered system of the ghost is singular")
    eta = operator.first_step(*ghost_residual(here, omega, s))
    return ghost_from_step(here, operator, eta, omega, s, here.f, here.e_f, edge)


def ghost_from_step(
    here: Local,
    operator: Operator,
    eta: float,
    omega: Floats,
    s: float,
    f: Floats,
    e_f: Floats,
    edge: SlowBorder | None = None,
) -> Certificate:
    """The proof that one ghost lies near the centre, by Newton and Kantorovich's theorem.

    ``operator`` is the approximate inverse of the bordered system there, ``eta`` a bound of its
    first Newton step; omega (K,) and s are the left null vector and the speed, f, e_f (K,) F at the
    centre and its error; ``edge`` is an inverse that is there already.
    """
    ball = newton_ball(eta, operator.defect, up(operator.inverse * operator.lipschitz))
    if ball is None:
        return Certificate("undecided", reason=f"Newton-Kantorovich fails for the ghost's system: step {eta:.3g}")
    empty = empty_ball(here, omega, f, e_f, edge)
    if not ball[0] < min(s, empty):
        reason = f"the ghost's speed {s:.3g} is within rounding: no ball is proven to hold no zero"
        return Certificate("undecided", reason=reason)
    return Certificate("ghost", radius=ball[0], empty_radius=empty)


class SlowBorder(NamedTuple):
    """`border` of J at p, with bounds of the rows of 1 - K P, P = ``[[J, -p], [q^T, 0]]``: all but
    the last, the last.
    """

    K: Floats
    q: Floats
    p: Floats
    defect: float
    last: float


def slow_border(here: Local, omega: Floats, edge: Border | None = None) -> SlowBorder | None:
    """With p along M omega; any K and q are valid, ``edge`` holds other ones."""
    size = here.bounds.size
    p = here.bounds.metric_times(omega)[0]
    p = p / np.linalg.norm(p)
    edge = border(here.J, p) if edge is None else edge
    if edge is None:
        return None
    K, q = edge
    product = np.empty_like(K)
    np.matmul(K[:, :size], here.J, out=product[:, :size])
    product[:, :size] += K[:, -1:] * q
    np.matmul(K[:, :size], -p, out=product[:, -1])
    product.flat[:: size + 2] -= 1.0
    rounded = gamma(size + 4.0) * up(math.hypot(here.size_J, norm(p), norm(q)), 8) + here.e_J
    rows = [norm(product[part]) + norm(K[part]) * rounded for part in (slice(size), slice(size, None))]
    return SlowBorder(K, q, p, up(rows[0], 16), up(rows[1], 16))


def right_defect(A: Floats, X: Floats, error: float, left: float) -> float:
    """A bound of |1 - A X| for A within ``error``, from ``left`` >= |1 - X A|.

    As ``1 - A X = A (1 - X A) A^-1`` and ``|A^-1| <= |X| / (1 - left)``. Where that is not far
    below one, the product says more.
    """
    sizes = (norm(A) + error) * norm(X)
    if left < 0.5 and sizes * left / (1 - left) <= ENOUGH:
        return up(sizes * left / (1 - left), 16)
    product = A @ X
    product.flat[:: len(A) + 1] -= 1.0
    return up(norm(product) + gamma(len(A) + 2.0) * sizes + error * norm(X), 16)


def ghost_operator(here: Local, omega: Floats, s: float, edge: SlowBorder | None = None) -> Operator | None:
    """Of the bordered system of `ghosts` at (x, omega, s); None where it is singular.

    With R = 1 - K P, S = 1 - U T and the names of `BorderedInverse`, whatever K and U are, 1 minus
    its E^-1 times E is

        [[(1 - T U)^T, -s U^T M (1 - P K)^T], [U H R, S]].

    C is E^-1 less ``turn`` times its row of t, and so is 1 - C D. ``edge``: `slow_border`, if
    known.
    """
    bounds, size = here.bounds, here.bounds.size
    units = float(len(bounds.c))
    weighted, e_weighted = bounds.metric_times(omega)
    pulled, e_pulled = bounds.pulled(omega)
    bend, e_bend = here.second()
    # H = B^T diag((A^T omega) tanh'') B, the second derivative weighted by omega
    H = (bounds.B * (pulled * bend)[:, None]).T @ bounds.B
    e_H = norm((np.abs(pulled) * e_bend + e_pulled * BEND) * bounds.rows**2) * math.sqrt(units)
    # | |B|^T diag(|weights|) |B| | <= sum of |weight_k| |b_k|**2
    e_H += gamma(units + 4.0) * up(float(np.abs(pulled * bend) @ bounds.rows**2), units)
    edge = slow_border(here, omega) if edge is None else edge
    C = None if edge is None else bordered_inverse(here.J, H, bounds.metric, weighted, s, Border(edge.K, edge.q))
    if edge is None or C is None:
        return None
    k, u, h, size_T, length = norm(C.K), norm(C.U), up(norm(H) + e_H), norm(C.T), norm(weighted)
    m = 1.0 if bounds.metric is None else norm(bounds.metric)
    e_M = 0.0 if bounds.metric is None else gamma(units + 2.0) * norm(bounds.A) ** 2
    rounded = gamma(2.0 * size + 8.0)
    # P has -M omega for -p, and K its last row over |M omega|; T from the exact P, H and M
    P = np.zeros_like(C.K)
    P[:size, :size], P[:size, -1], P[-1, :size] = here.J, -weighted, edge.q
    e_P = up(here.e_J + e_weighted + 8 * EPS * norm(P), 8)
    left_K = up(max(length, 1 / length) * (1 + 1e-9) * (edge.defect + edge.last) + k * e_P, 16)
    e_T = up(e_P + abs(s) * k * (rounded * h * m + e_H * m + h * e_M) + 4 * EPS * size_T, 16)
    product = C.U @ C.T
    product.flat[:: size + 2] -= 1.0
    left_U = up(norm(product) + rounded * u * size_T + u * e_T, 16)
    # H and M as they are rounded
    rest = e_H * (1 + abs(s) * k * m) + abs(s) * e_M * (1 + k * (h + norm(P)))
    upper = right_defect(C.T, C.U, e_T, left_U), abs(s) * u * m * right_defect(P, C.K, e_P, left_K)
    whole = norm(np.array([*upper, u * h * left_K, left_U, u * rest]))
    # the same of the row of t alone, the last one of U
    u_t, turn, size_q = norm(C.U[-1]), norm(C.turn), norm(edge.q)
    of_t = norm(np.array([u_t * h * left_K, norm(product[-1]) + u_t * (rounded * size_T + e_T), u_t * rest]))
    # |E^-1| and that of its row of t; of the products of absolute values, which bound roundings
    bent, beyond = norm(C.HK), rounded * h * k
    extended = u * math.sqrt(2 + (abs(s) * m * k) ** 2 + (bent + beyond) ** 2)
    row_t = math.hypot(u_t, norm(C.U[-1, :size] @ C.HK) + u_t * (rounded * bent + beyond))
    absolute, absolute_t = u * math.sqrt(2 + (abs(s) * m * k) ** 2 + (h * k) ** 2), u_t * math.hypot(1, h * k)
    rounding = gamma(4.0 * size + 40.0) * (absolute + turn * (absolute_t + row_t))
    defect = whole + turn * of_t + rounding * size_q
    # change of the derivative, block by block, against the centre
    tilt = 2 * float(((np.abs(pulled) + e_pulled + NEARBY * bounds.columns) * bounds.rows).max())
    change = bounds.norm_B**2 * (tilt + BEND * float(bounds.columns.max()))
    lipschitz = math.sqrt(2 * bounds.lipschitz**2 + 3 * bounds.metric_norm**2 + change**2)
    return Operator(C, up(extended + turn * row_t, 16), up(defect, 16), up(lipschitz, 16), up(rounding, 16))


def ghost_residual(here: Local, omega: Floats, s: float) -> tuple[Floats, Floats]:
    """The bordered system's equations at (x, omega, s), and bounds of their errors."""
    bounds, size = here.bounds, here.bounds.size
    weighted, e_weighted = bounds.metric_times(omega)
    value = np.concatenate([here.f - s * weighted, here.J.T @ omega, [(omega @ weighted - 1.0) / 2]])
    # rows F - s M omega, J^T omega and (omega . M omega - 1) / 2, each with its rounding
    first = here.e_f + 2 * EPS * (np.abs(here.f) + 2 * abs(s) * np.abs(weighted)) + abs(s) * e_weighted
    second = np.full(size, here.e_J * norm(omega)) + gamma(size + 2.0) * (np.abs(here.J).T @ np.abs(omega))
    third = norm(omega) * e_weighted + gamma(size + 4.0) * (1 + norm(omega) * norm(weighted))
    return value, up(1.0, 16 + size) * np.concatenate([first, second, [third]])


def empty_ball(here: Local, omega: Floats, f: Floats, e_f: Floats, edge: SlowBorder | None = None) -> float:
    """Radius of a ball around the point that is proven to hold no zero of F; 0.0 if none is.

    F there is within ``e_f`` of ``f`` (K,); omega (K,) is its left null vector, edge an inverse.
    """
    reduced = reduction(here, omega, f, e_f, edge)
    return 0.0 if reduced is None else zero_free_radius(reduced[0])


def reduction(
    here: Local, omega: Floats, f: Floats, e_f: Floats, edge: SlowBorder | None = None
) -> tuple[Reduction, Floats, Floats] | None:
    """The bounds at the point, with the C and q they hold for; any p and q are valid, these make it
    far-reaching.
    """
    bounds, size = here.bounds, here.bounds.size
    edge = slow_border(here, omega) if edge is None else edge
    if edge is None:
        return None
    C, q = edge.K, edge.q
    length = norm(q)
    C1, v, psi, sigma = C[:size, :size], C[:size, -1], -C[-1, :size], float(C[-1, -1])
    # psi . F from below: minus the error of F, minus that of the sum
    value = float(psi @ f)
    value -= up(float(np.abs(psi) @ e_f) + gamma(size + 2.0) * float(np.abs(psi) @ np.abs(f)), 16 + size)
    pulled, e_pulled = bounds.pulled(psi)
    bend, e_bend = here.second()
    # psi . D2F[a, b] = sum_k weights_k (b_k . a) (b_k . b), weights = (A^T psi) tanh''
    weights = pulled * bend
    e_weights = np.abs(pulled) * e_bend + e_pulled * BEND
    through = bounds.B @ v
    e_through = gamma(size) * bounds.rows * norm(v)
    curve = 0.5 * float(weights @ through**2)
    e_curve = float(e_weights @ (np.abs(through) + e_through) ** 2)
    e_curve += float(np.abs(weights) @ (2 * np.abs(through) * e_through + e_through**2))
    e_curve += gamma(len(bounds.c) + 8.0) * float(np.abs(weights) @ through**2)
    # |psi . D2F[v, .]| <= |B| |weights (B v)|
    cross = bounds.norm_B * (norm(weights * through) + norm(e_weights * np.abs(through)))
    cross += bounds.norm_B * norm((np.abs(weights) + e_weights) * e_through)
    largest = float((np.abs(weights) + e_weights).max())
    # third order: |tanh'''| <= 2 makes psi . D3F[h, h, h] / 6 <= theta |B|**2 |h|**3 / 3
    theta = float(((np.abs(pulled) + e_pulled) * bounds.rows).max())
    rest0 = Operator(C1, 0.0, 0.0, 0.0).first_step(f, e_f)
    bounded = Reduction(
        value=value,
        tilt=up(abs(sigma) * length + edge.last, 16),
        curve=curve - up(e_curve, 16 + 2 * size),
        v=norm(v),
        cross=up(cross, 16 + size),
        square=up(0.5 * largest * bounds.norm_B**2, 16),
        cube=up(theta * bounds.norm_B**2 / 3.0, 16),
        q=length,
        rest0=up(rest0, 16 + size),
        rest1=edge.defect,
        rest2=up(0.5 * norm(C1) * bounds.lipschitz, 16),
    )
    return bounded, C, q


class InFloat64(Certifier):
    """The proofs of this module, for tanh networks."""

    in_tracking = True

    def __init__(self, field: Field, metric: Floats | None = None):
        assert isinstance(field, TanhField)
        self.bounds = FieldBounds(field, metric)
        self.units = Units(field, metric)

    @classmethod
    def knows(cls, field: Field) -> bool:
        """Tanh networks, whose second derivative is bounded."""
        return isinstance(field, TanhField)

    def prove(self, kappa: Floats, ghost: GhostSolution | None, before: Certificate) -> list[Proven]:
        """In the latents as given; where that decides nothing, in those of near unit length."""
        found = self.proofs(kappa, ghost, before)
        if found[0].certificate.kind != "undecided" or not self.units.other:
            return found
        again = self.in_units.proofs(self.units.scale * kappa, self.units.into(ghost), before)
        if again[0].certificate.kind == "undecided":
            return found
        back = [self.units.back(each) for each in again]
        return found if None in back else [each for each in back if each is not None]

    @cached_property
    def in_units(self) -> InFloat64:
        """The same proofs for the latents of ``units``."""
        return type(self)(self.units.scaled, self.units.scaled_metric)

    def proofs(self, kappa: Floats, ghost: GhostSolution | None, before: Certificate) -> list[Proven]:
        """By Newton-Kantorovich, and for ghosts by the Lyapunov-Schmidt reduction."""
        if ghost is None:
            return [Proven(kappa, None, certify_fixed(self.bounds, kappa))]
        return [Proven(kappa, ghost, certify_ghost(self.bounds, ghost.kappa, ghost.omega, ghost.speed))]
