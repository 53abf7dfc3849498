"""The vector fields that slow points are searched in: a network's, reduced to its latents if any.

All of them say, for states x of shape (B, K), ``flow`` F (B, K), ``jacobian`` (B, K, K) and
``curvature``, the contraction ``sum_i p_i D2F_i`` (B, K, K) with vectors p (B, K).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.models import FAMILIES, Record, TanhForm
from ghostpoint.numerics.arrays import Floats

FEW = 16  # latents up to which derivatives are one product with a table of N K**2 numbers


def _logistic(z: Floats) -> Floats:
    return np.asarray(np.where(z >= 0, 1.0, np.exp(-np.abs(z))) / (1.0 + np.exp(-np.abs(z))))


EQUATIONS, ACTIVATIONS = ("rate", "voltage"), ("tanh", "sigmoid", "relu", "softplus")

#: activations of units that are no tanh, with their first and second derivatives
UNITS: dict[str, tuple[Callable[[Floats], Any], Callable[[Floats], Any], Callable[[Floats], Any]]] = {
    "relu": (lambda z: np.maximum(z, 0.0), lambda z: (z > 0) * 1.0, lambda z: 0.0 * z),
    "softplus": (lambda z: np.logaddexp(0.0, z), _logistic, lambda z: _logistic(z) * _logistic(-z)),
}


class Field(Protocol):
    """What the search needs of a vector field; shapes as in the module's first lines."""

    @property
    def size(self) -> int:
        """K."""

    @property
    def saturates(self) -> bool:
        """Whether F can be 0 in float64 where it is not, as where a gate is shut to the last
        bit.
        """

    def flow(self, x: Floats) -> Floats:
        """F, shape (B, K)."""

    def jacobian(self, x: Floats) -> Floats:
        """DF, shape (B, K, K)."""

    def curvature(self, x: Floats, p: Floats) -> Floats:
        """``sum_i p_i D2F_i``, shape (B, K, K)."""


@dataclass(frozen=True, eq=False)
class TanhField:
    """``F(x) = -x + A tanh(B x + c)``, time in units of tau.

    ``A`` (K, N), or ``None`` for the identity; ``B`` (N, K); ``c`` (N,). A full-rank network is A =
    1, B = W; a low-rank one, in its latents kappa (Dinc et al., arXiv:2501.02378, eq. 4), is A =
    n^T, B = m.
    """

    A: Floats | None
    B: Floats
    c: Floats
    saturates: ClassVar[bool] = False

    @property
    def size(self) -> int:
        """K."""
        return int(self.B.shape[1])

    def _out(self, values: Floats) -> Floats:
        return values if self.A is None else values @ self.A.T

    def pulled(self, p: Floats) -> Floats:
        """``A^T p``, shape (B, N)."""
        return p if self.A is None else p @ self.A

    def rates(self, x: Floats) -> Floats:
        """``tanh(B x + c)``, shape (B, N)."""
        return np.asarray(np.tanh(x @ self.B.T + self.c))

    def flow(self, x: Floats) -> Floats:
        """``-x + A tanh(B x + c)``."""
        return self._out(self.rates(x)) - x

    @cached_property
    def _products(self) -> tuple[Floats, Floats]:
        """``A_ji B_ik`` and ``B_ij B_ik`` over (i, jk): with them each derivative is one product of
        matrices.
        """
        assert self.A is not None
        left, right = self.A.T[:, :, None] * self.B[:, None], self.B[:, :, None] * self.B[:, None]
        return left.reshape(len(self.B), -1), right.reshape(len(self.B), -1)

    def jacobian(self, x: Floats) -> Floats:
        """``-1 + A diag(1 - tanh(B x + c)**2) B``, shape (B, K, K)."""
        gain = 1 - self.rates(x) ** 2
        if self.A is None:
            return np.asarray(gain[..., None] * self.B - np.eye(self.size))
        if self.size > FEW:
            return np.asarray(self.A @ (gain[..., None] * self.B) - np.eye(self.size))
        return np.asarray((gain @ self._products[0]).reshape(-1, self.size, self.size) - np.eye(self.size))

    def curvature(self, x: Floats, p: Floats) -> Floats:
        """``B^T diag((A^T p) tanh'') B``."""
        return self.quadratic(self.second(x, p))

    def second(self, x: Floats, p: Floats) -> Floats:
        """``(A^T p) tanh''`` of each unit, shape (B, N)."""
        t = self.rates(x)
        return self.pulled(p) * (-2 * t * (1 - t**2))

    @property
    def single(self) -> TanhField:
        """The field in single precision, which is enough for simulations."""
        A: Any = None if self.A is None else self.A.astype(np.float32)
        B: Any = self.B.astype(np.float32)
        c: Any = self.c.astype(np.float32)
        return TanhField(A, B, c)

    def between(self, other: TanhField, t: float) -> TanhField:
        """The field whose arrays are ``(1 - t)`` times this one's plus t times another one's."""
        A = None if self.A is None or other.A is None else (1 - t) * self.A + t * other.A
        return TanhField(A, (1 - t) * self.B + t * other.B, (1 - t) * self.c + t * other.c)

    def quadratic(self, weights: Floats) -> Floats:
        """``B^T diag(weights) B`` for weights (B, N), as one product of matrices."""
        units, size = self.B.shape
        if self.A is not None and size <= FEW:
            return np.asarray((weights @ self._products[1]).reshape(-1, size, size))
        scaled = self.B.T[None] * weights[:, None, :]
        return np.asarray((scaled.reshape(-1, units) @ self.B).reshape(-1, size, size))


@dataclass(frozen=True, eq=False)
class StateField:
    """The flow of the state of one network of any family, by the hooks of
    :class:`ghostpoint.models.Record`.

    Attributes
    ----------
    model : Record of one network
        Whose equations they are.
    parts : dict
        The arrays to put into them, in float64.
    channel : (I,) or None
        Constant input.
    """

    model: Record
    parts: dict[str, Floats]
    channel: Floats | None
    saturates: ClassVar[bool] = True

    @property
    def size(self) -> int:
        """N."""
        return self.model.n_units

    def flow(self, x: Floats) -> Floats:
        """F."""
        return self.model.state_flow(self.parts, x[:, None], self.channel)[:, 0]

    def jacobian(self, x: Floats) -> Floats:
        """DF."""
        return self.model.state_jacobian(self.parts, x[:, None], self.channel)[:, 0]

    def curvature(self, x: Floats, p: Floats) -> Floats:
        """``sum_i p_i D2F_i``."""
        return self.model.state_curvature(self.parts, x[:, None], p[:, None], self.channel)[:, 0]

    def between(self, other: StateField, t: float) -> StateField:
        """The field whose parts are ``(1 - t)`` times this one's plus t times another one's."""
        parts = {name: (1 - t) * value + t * other.parts[name] for name, value in self.parts.items()}
        return StateField(self.model, parts, self.channel)


@dataclass(frozen=True, eq=False)
class UnitField:
    """``F(x) = -x + A phi(B x + c)`` for units that are no tanh; arrays as those of `TanhField`.

    ``unit`` names phi in :data:`UNITS`. At the kink of a relu the derivative is that of its left
    side.
    """

    A: Floats | None
    B: Floats
    c: Floats
    unit: str
    saturates: ClassVar[bool] = False

    @property
    def size(self) -> int:
        """K."""
        return int(self.B.shape[1])

    def flow(self, x: Floats) -> Floats:
        """``-x + A phi(B x + c)``."""
        rates = UNITS[self.unit][0](x @ self.B.T + self.c)
        return np.asarray((rates if self.A is None else rates @ self.A.T) - x)

    def jacobian(self, x: Floats) -> Floats:
        """``-1 + A diag(phi') B``."""
        inner = UNITS[self.unit][1](x @ self.B.T + self.c)[..., None] * self.B
        return np.asarray((inner if self.A is None else self.A @ inner) - np.eye(self.size))

    def curvature(self, x: Floats, p: Floats) -> Floats:
        """``B^T diag((A^T p) phi'') B``."""
        weights = (p if self.A is None else p @ self.A) * UNITS[self.unit][2](x @ self.B.T + self.c)
        return np.asarray((self.B.T * weights[:, None]) @ self.B)


@dataclass(frozen=True, eq=False)
class NetworkField:
    """One network's flow in coordinates kappa, and the way back to its state.

    ``exact`` holds the weights as given. Of a tanh network these are ``A = n^T, B = m`` (kappa =
    n^T x) or ``A = 1, B = W`` (kappa = x); of other families kappa is the state. Fixed points of
    state and latents correspond. The least speed among states of the same kappa is ``f^T M^-1 f``
    (squared), M = A A^T, at the state ``tanh(B kappa + c) - A^T M^-1 f``, so the slow points of the
    state are those of the latents under this metric. ``search`` is the field that the search
    descends in: orthonormal latents ``z = Q^T x`` of a low-rank network (`orthonormal_field`),
    where the metric is the identity and ``kappa = root^T z``; else the state. ``bound`` is that of
    the units of a fixed point. The coordinates of other equations and activations (``form``) are
    states less ``offset``.
    """

    exact: TanhField | StateField | UnitField
    search: TanhField | StateField | UnitField
    root: Floats | None
    metric: Floats | None
    input: Floats | None
    bound: float = 1.0
    offset: Any = 0.0
    form: tuple[str, str] = ("rate", "tanh")

    @cached_property
    def tanh(self) -> TanhField | None:
        """``exact``, where it has the form that proofs are about."""
        return self.exact if isinstance(self.exact, TanhField) else None

    @property
    def form_of_weights(self) -> TanhField | StateField:
        """``exact`` of the equation that the family stands for, which can be interpolated."""
        assert not isinstance(self.exact, UnitField)
        return self.exact

    @property
    def A(self) -> Floats | None:
        """From the state to latents; None where the coordinates are the state."""
        return None if self.tanh is None or self.metric is None else self.tanh.A

    @property
    def low_rank(self) -> bool:
        """Whether the coordinates are latents."""
        return self.metric is not None

    @property
    def n_units(self) -> int:
        """N."""
        return self.exact.size if self.tanh is None else len(self.tanh.c)

    def under(self, model: Any, u: Floats | None) -> NetworkField:
        """The field of the same model under another input, which may have another ``offset``."""
        return network_field(model, u, equation=self.form[0], activation=self.form[1])

    @property
    def basis(self) -> Floats | None:
        """Q^T of orthonormal latents; None where the search is in the state."""
        return self.search.A if isinstance(self.search, TanhField) and self.form == ("rate", "tanh") else None

    def to_search(self, kappa: Floats) -> Floats:
        """z from kappa, or from states where the coordinates are the state."""
        if self.root is not None:
            return np.asarray(np.linalg.solve(self.root.T, kappa.T).T, dtype=np.float64)
        return kappa if self.basis is None else kappa @ self.basis.T

    def from_search(self, y: Floats) -> Floats:
        """Kappa of z; where the coordinates are the state, the slowest state of z."""
        if self.root is not None:
            return y @ self.root
        if self.basis is None or not isinstance(self.search, TanhField):
            return y
        return self.search.rates(y) - self.search.flow(y) @ self.basis

    def coordinates(self, x: Floats) -> Floats:
        """Kappa of states (B, N)."""
        return x if self.A is None else x @ self.A.T

    def states(self, kappa: Floats) -> Floats:
        """The slowest state of each kappa, shape (B, N)."""
        if self.tanh is None or self.tanh.A is None or self.metric is None:
            return kappa + self.offset
        return self.tanh.rates(kappa) - np.linalg.solve(self.metric, self.tanh.flow(kappa).T).T @ self.tanh.A

    def moved(self, kappa: Floats, nu: Floats) -> Floats:
        """The direction (N,) of the state in which the network goes when its kappa (K,) goes along
        nu (K,).
        """
        if self.tanh is None or self.A is None:
            return nu
        return np.asarray((1 - self.tanh.rates(kappa[None])[0] ** 2) * (self.tanh.B @ nu))

    def state_flow(self, x: Floats) -> Floats:
        """F of states (B, N)."""
        if self.tanh is None or self.A is None:
            return self.exact.flow(x)
        return self.tanh.rates(self.coordinates(x)) - x


def orthonormal_field(m: Floats, n: Floats, drive: Floats) -> tuple[TanhField, Floats]:
    """``dx/dt = -x + tanh(m n^T x + drive)`` in orthonormal latents ``z = Q^T x``, and ``root``, n
    = Q root.

    ``dz/dt = -z + Q^T tanh(m root^T z + drive)`` and ``kappa = n^T x = root^T z``. The columns of Q
    are the right singular vectors of ``W = m n^T``, each with its largest element positive: they
    span the columns of n, and do not depend on how W is split into m and n^T. Where n has dependent
    columns Q has further ones, whose z decay to what the others say and are slow nowhere.

    Parameters
    ----------
    m, n : (N, K)
    drive : (N,)

    Returns
    -------
    field : TanhField
        Of size ``L = min(N, K)``; ``field.A`` is Q^T.
    root : (L, K)
    """
    q, r = np.linalg.qr(n)
    # W = m r^T q^T = U S (q P)^T, with m r^T = U S P^T
    P = np.linalg.svd(m @ r.T, full_matrices=False)[2].T
    Q = q @ P
    signs = np.where(Q[np.abs(Q).argmax(axis=0), np.arange(Q.shape[1])] < 0, -1.0, 1.0)
    Q, root = Q * signs, (P * signs).T @ r
    return TanhField(np.ascontiguousarray(Q.T), m @ root.T, drive), root


def _other_form(drive: Floats, W: Floats, channel: Floats | None, form: tuple[str, str]) -> NetworkField:
    """The field of W and a drive as ``tau dx/dt = -x + phi(W x + drive)`` or
    ``tau dv/dt = -v + W phi(v) + drive``.

    In coordinates y = v - drive the second is ``-y + W phi(y + drive)``. With
    ``phi(z) = 1/2 + tanh(z / 2) / 2`` the logistic ones are of a tanh, in coordinates less by 1/2,
    or by W 1/2 more.
    """
    equation, activation = form
    one = np.eye(len(W))
    A, B, c = (None, W, drive) if equation == "rate" else (W, one, drive)
    offset: Any = 0.0 if equation == "rate" else drive
    bound = 1.0 if equation == "rate" else max(1.0, 2 * float(np.sqrt((W**2).sum(axis=1)).max()))
    if activation in UNITS:
        field = UnitField(A, B, c, activation)
        return NetworkField(field, field, None, None, channel, max(3.0, bound), offset, form)
    if activation == "sigmoid":
        half = W.sum(axis=1) / 2
        c = (drive + half) / 2
        A, B = (one / 2, W / 2) if equation == "rate" else (W / 2, one / 2)
        offset = 0.5 if equation == "rate" else drive + half
    tanh = TanhField(A, B, c)
    return NetworkField(tanh, tanh, None, None, channel, bound, offset, form)


def network_field(
    model: Any, inputs: ArrayLike | None = None, *, equation: str = "rate", activation: str = "tanh"
) -> NetworkField:
    """The field of a record of one network under a constant input u (I,); as for
    `find_slow_points`.

    The drive ``W_in u + b`` of a tanh network is rounded to float64 once; everything after takes it
    as exact. A low-rank network whose n has (nearly) dependent columns has the state as
    coordinates, with W = m n^T rounded.

    Parameters
    ----------
    model : Record
        One network of any family.
    inputs : (I,), optional
        A constant input u; none by default.
    equation, activation : str
        What the weights of a tanh network act in, and on: see :data:`EQUATIONS` and
        :data:`ACTIVATIONS`.

    Raises
    ------
    ValueError
        For anything but one network, or inputs that do not fit.
    """
    if not isinstance(model, Record):
        raise InputError(f"model must be one of {', '.join(FAMILIES)}; got {type(model).__name__}")
    if len(model) != 1:
        raise InputError(f"model must hold one network (index the record, as in models[3]), got {len(model)}")
    channel = None
    if inputs is not None:
        channel = checks.shape("inputs", checks.finite_array("inputs", inputs), (model.n_inputs,))
    given = checks.one_of("equation", equation, EQUATIONS), checks.one_of("activation", activation, ACTIVATIONS)
    form = model.tanh_form()
    if form is None and given != ("rate", "tanh"):
        raise InputError(f"equation and activation must be left out for a {type(model).__name__}, which has its own")
    if form is None:
        parts = {name: np.array(model.arrays()[name], dtype=np.float64) for name in model.present_parts()}
        state = StateField(model, parts, channel)
        return NetworkField(state, state, None, None, channel, model.state_bound)
    drive, m = driven(form, channel), np.array(form.m[0], dtype=np.float64)
    if given != ("rate", "tanh"):
        W = m if form.n is None else m @ np.asarray(form.n[0], dtype=np.float64).T
        return _other_form(drive, W, channel, given)
    if form.n is None:
        field = TanhField(None, m, drive)
        return NetworkField(field, field, None, None, channel)
    n = np.array(form.n[0], dtype=np.float64)
    search, root = orthonormal_field(m, n, drive)
    if model.rank > model.n_units or np.linalg.cond(n) > 1e6:
        return NetworkField(TanhField(None, m @ n.T, drive), search, None, None, channel)
    return NetworkField(TanhField(np.ascontiguousarray(n.T), m, drive), search, root, n.T @ n, channel)


def driven(form: TanhForm, channel: Floats | None) -> Floats:
    """The drive ``W_in u + b`` (N,) of one tanh network, in float64."""
    drive = np.array(form.b[0], dtype=np.float64)
    return drive if channel is None or form.w_in is None else drive + form.w_in[0] @ channel
