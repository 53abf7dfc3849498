"""How long a rank-one network stays on the plateau of delayed activation, from its initial weights
alone.

On the plateau the units hardly saturate, and then gradient descent moves m, n and b within the span
of their initial values and the initial state x0. Their scalar products, the *overlaps*, are all
that the loss depends on. docs/plateau.md derives every equation here. Symbols to names: m, n, b the
weights, ``G = m.n``, ``beta = n.b``, ``D = 1 - G``, ``kappa = beta / D`` the latent at rest; c the
confidence, kappa* the threshold; s the *plateau time*, learning rate times epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicHermiteSpline
from scipy.special import expit

from ghostpoint.checks import finite_array, integer, number, one_of
from ghostpoint.errors import InputError

Array = NDArray[np.float64]
METHODS = ("overlaps", "stationary", "closed")
#: share of chance below which the loss has left the plateau
LEVEL = 0.9
#: error per step of the flow of overlaps, absolute and, times 1000, relative
TOLERANCE = 1e-10
#: rows of a recorded flow; a flow that fills them has come to rest
ROWS = 4_000
#: what a prediction may have at the drop, to be called valid: variance of a unit's drive, and
#: e-folds of the gradient per epoch
SATURATED, SHARP = 0.3, 8.0


def plateau_length(
    models: Any,
    task: Any,
    learning_rate: ArrayLike,
    *,
    momentum: float = 0.0,
    level: float = LEVEL,
    method: str = "overlaps",
) -> Array:
    """Epoch at which the loss falls below ``level`` of chance, from the weights alone.

    Training is gradient descent, so the answer is a plateau time s over the learning rate. The
    three methods give s by ``ds = dkappa / (F |grad kappa|**2)``, with ``F = 2 c o (1 - o) (1 - 2
    o)`` for an output o, more and less exactly:

    * ``"overlaps"``: gradient flow of the nine overlaps of m, n, b and x0 over the whole trial,
      with the first order of the units' saturation, and the first order of the finite learning
      rate;
    * ``"stationary"``: linear units whose latent rests at ``beta / D`` at every step, six overlaps;
    * ``"closed"``: the same for b = 0, to second order in kappa, one integral::

          s = (1 - m.n)**2 / |n|**2  integral_0^kappa_e dkappa / (F (1 + gamma kappa**2)),
          gamma = 2 (1 + |m|**2 / |n|**2 + (1 - (m.n)**2) / |n|**4)

      and, where c is large, ``s = e**(c kappa*) (1 - m.n)**2 / (2 c**2 |n|**2)`` times a number
      below 1.

    kappa_e is where the loss ``o**2 + (1 - o)**2`` of a resting latent is ``level``.

    Range of validity. All: plain or heavy-ball gradient descent, a plateau to begin with
    (``c kappa*`` above 4), and a rate at which the gradient grows by less than
    :data:`SHARP` e-folds an epoch at the drop, about 0.1 for the published networks. "overlaps":
    a saturation ``|m kappa + b|**2 / N`` up to :data:`SATURATED` at the drop; any T, step, start
    and b. "stationary" also wants a transient shorter than the delay, ``(1 - alpha D)**T`` small,
    and a saturation of a few percent. "closed" also b = 0 and ``gamma kappa_e**2`` of a few units
    at most. :class:`Plateau` has the numbers, and :meth:`Plateau.valid` the judgement.

    Parameters
    ----------
    models : LowRankRNN
        R networks of rank one with the readout ``sigmoid(c (kappa - kappa*))``; their weights are
        those of epoch 0.
    task : DelayedActivation
    learning_rate : scalar or (R,)
        Positive.
    momentum : float
        Of the heavy ball, at least 0 and below 1.
    level : float
        Above 0.5 and below 1.
    method : "overlaps", "stationary" or "closed"

    Returns
    -------
    (R,) array
        Epochs, not rounded; 0 for a network already below ``level``, ``inf`` for one that comes to
        rest above it, NaN where the method does not apply (``m.n >= 1``; b other than 0 for
        "closed").

    Raises
    ------
    ValueError
        For other networks and tasks, and for arguments out of range.

    Examples
    --------
    >>> import ghostpoint as gp
    >>> seed_40, task = gp.LowRankRNN.published([40]), gp.tasks.DelayedActivation()
    >>> gp.theory.plateau_length(seed_40, task, 0.003).round(-1)  # trained: 33,633
    array([33630.])
    >>> gp.theory.plateau_length(seed_40, task, 0.003, method="closed").round(-1)
    array([33640.])
    """
    one_of("method", method, METHODS)
    if method == "overlaps":
        return Plateau.of(models, task, level=level).length(learning_rate, momentum=momentum)
    start = _Start.of(models, task)
    time = (_closed if method == "closed" else _stationary)(start, _end(start, _level(level)))
    return time / _rates(learning_rate, len(time), momentum)


@dataclass(frozen=True)
class Plateau:
    """The training of R rank-one networks on delayed activation in nine overlaps, as gradient flow.

    The flow does not know the learning rate, so one :meth:`of` answers for all rates. A finite rate
    delays it: with steps of size h gradient descent follows the loss ``L + (h / 4) |grad L|**2``
    (D. G. T. Barrett and B. Dherin, Implicit gradient regularization, ICLR 2021), and while the
    gradient g grows along the path this takes ``ln(|g| / |g_0|) / 2`` epochs more. With momentum mu
    the step is ``h / (1 - mu)``, the 1/2 becomes ``1/2 + l`` and the start costs l more, ``l = mu /
    (1 - mu)``.

    Attributes
    ----------
    level : float
    flows : tuple of R arrays (rows, 5)
        Plateau time, loss, ``kappa[2 T]``, squared norm of the gradient, and saturation
        ``|m kappa + b|**2 / N`` at ``kappa[2 T]``.
    threshold : (R,) array
        kappa* of the networks.
    """

    level: float
    flows: tuple[Array, ...]
    threshold: Array

    @classmethod
    def of(cls, models: Any, task: Any, *, level: float = LEVEL, longest: float = 0.0, linear: bool = False) -> Plateau:
        """Follow the flow until the loss is below ``level`` and the readout crosses its threshold,
        and on to the plateau time ``longest``.

        Parameters
        ----------
        models, task, level
            As for :func:`plateau_length`.
        longest : float
            In units of rate x epoch.
        linear : bool
            Leave the saturation of the units out.

        Raises
        ------
        ValueError
            As for :func:`plateau_length`.
        """
        from ghostpoint.theory.overlap_kernels import COLUMNS, follow

        start, level = _Start.of(models, task), _level(level)
        longest = number("longest", longest, at_least=0)
        share = 0.0 if linear else 1 / start.units
        flows = []
        for network, y in enumerate(start.overlaps):
            settings = [
                start.alpha, start.delay, start.confidence[network], start.threshold[network],
                start.initial[network], share, *start.trained,
            ]  # fmt: skip
            room, record = np.zeros((9, max(2 * start.delay + 1, 9))), np.zeros((ROWS, COLUMNS))
            state, last = y.copy(), start.threshold[network]
            rows = follow(state, np.array(settings), room, TOLERANCE, 1e300, level, last, record)
            flow = record[:rows].copy()
            if rows < ROWS and flow[-1, 0] < longest:
                flow = np.concatenate([flow, _beyond(flow[-1, 0], longest, state, np.array(settings), room)])
            flows.append(flow)
        return cls(level, tuple(flows), start.threshold)

    @cached_property
    def drop(self) -> Array:
        """Where the loss first falls below ``level``: plateau time, ``ln(|g| / |g_0|)``,
        saturation, and e-folds of the gradient per plateau time, (R, 4).
        """
        found = [_event(flow, flow[:, 1] < self.level, _time_of_loss(flow, self.level)) for flow in self.flows]
        return np.reshape(found, (-1, 4))

    @cached_property
    def crossing(self) -> Array:
        """The same where ``kappa[2 T]`` first exceeds the threshold, (R, 4): from there on an
        answer is right, and the accuracy above chance.
        """
        found = []
        for flow, threshold in zip(self.flows, self.threshold, strict=True):
            above = flow[:, 2] > threshold
            after = max(int(above.argmax()), 1)
            before, beyond = flow[after - 1], flow[min(after, len(flow) - 1)]
            part = (threshold - before[2]) / (beyond[2] - before[2]) if beyond[2] > before[2] else 1.0
            found.append(_event(flow, above, before[0] + part * (beyond[0] - before[0])))
        return np.reshape(found, (-1, 4))

    def length(self, learning_rate: ArrayLike, *, momentum: float = 0.0, until: str = "drop") -> Array:
        """Epochs until the loss is below ``level`` ("drop") or the accuracy above chance
        ("crossing"), (R,).

        Raises
        ------
        ValueError
            For arguments out of range.
        """
        event = getattr(self, one_of("until", until, ("drop", "crossing")))
        rates = _rates(learning_rate, len(self.flows), momentum)
        epochs = event[:, 0] / rates + np.where(np.isfinite(event[:, 0]), _delay(event[:, 1], momentum), 0.0)
        return np.where(event[:, 0] > 0, epochs, 0.0)

    def learns_by(self, learning_rate: ArrayLike, epochs: int, *, momentum: float = 0.0) -> NDArray[np.bool_]:
        """Whether each network is above chance at one of its first ``epochs`` epochs (0 to
        ``epochs - 1``), (R,).
        """
        last = integer("epochs", epochs, at_least=1) - 1
        return self.length(learning_rate, momentum=momentum, until="crossing") <= last

    def lowest_rate(self, epochs: int, *, momentum: float = 0.0) -> Array:
        """The lowest learning rate for which :meth:`learns_by` is true, (R,): ``s / (epochs - 1 -
        delay)``.

        ``inf`` for a network that never learns, or that would need so high a rate that the delay
        alone takes longer.
        """
        left = integer("epochs", epochs, at_least=1) - 1 - _delay(self.crossing[:, 1], momentum)
        rate = np.full(len(left), np.inf)
        np.divide(self.crossing[:, 0], left, out=rate, where=left > 0)
        return rate * (1 - momentum)

    def valid(self, learning_rate: ArrayLike, *, momentum: float = 0.0) -> NDArray[np.bool_]:
        """Whether the drop lies within the range of validity that :func:`plateau_length` states,
        (R,).
        """
        rates = _rates(learning_rate, len(self.flows), momentum)
        time, _, saturation, growth = self.drop.T
        started = np.array([flow[0, 1] for flow in self.flows]) > (1 + self.level) / 2
        with np.errstate(invalid="ignore"):
            within = (saturation < SATURATED) & (rates * growth < SHARP * (1 - momentum))
        return np.asarray(started & within & np.isfinite(time) & (time > 0))

    def loss(self, learning_rate: ArrayLike, epochs: ArrayLike, *, momentum: float = 0.0) -> Array:
        """The loss of the reduced model at the given epochs, (R, E); NaN beyond the end of a flow.

        After the drop this is gradient flow, which training follows as long as its rate times the
        largest curvature of the loss is below 2.
        """
        rates = _rates(learning_rate, len(self.flows), momentum)
        at = np.atleast_1d(finite_array("epochs", epochs))
        curves = []
        for rows, rate in zip(self.flows, rates, strict=True):
            flow = rows[np.append(True, np.diff(rows[:, 0]) > 0)]
            epoch = flow[:, 0] / rate
            epoch[1:] += _delay(np.log(flow[1:, 3] / flow[0, 3]) / 2, momentum)
            time = np.interp(at, np.maximum.accumulate(epoch), flow[:, 0], right=np.nan)
            curves.append(CubicHermiteSpline(flow[:, 0], flow[:, 1], -flow[:, 3])(time))
        return np.array(curves)


def _beyond(time: float, longest: float, state: Array, network: Array, room: Array) -> Array:
    """Rows of the flow from ``state`` at ``time`` to ``longest``, by a solver for stiff equations:
    after the drop the curvature of the loss is large.
    """
    from ghostpoint.theory.overlap_kernels import COLUMNS, slope

    def by_time(_: float, y: Array) -> Array:
        out = np.empty(9)
        slope(y, network, room[0], out, np.empty(COLUMNS))
        return out

    found = solve_ivp(by_time, (time, longest), state, method="LSODA", rtol=1e-7, atol=1e-9)
    rows = np.zeros((len(found.t), COLUMNS))
    rows[:, 0] = found.t
    for row, y in zip(rows, found.y.T, strict=True):
        slope(np.ascontiguousarray(y), network, room[0], np.empty(9), row)
    return rows[1:]


def _event(flow: Array, reached: NDArray[np.bool_], time: float) -> list[float]:
    """Time, growth of the gradient since the start, saturation, and growth per time, at ``time``;
    0s where it is reached from the start, NaN and an infinite time where never.
    """
    if reached[0]:
        return [0.0, 0.0, float(flow[0, 4]), 0.0]
    if not reached.any():
        return [np.inf, np.nan, np.nan, np.nan]
    with np.errstate(divide="ignore"):
        logarithm = np.log(flow[:, 3]) / 2
    after = int(reached.argmax())
    with np.errstate(divide="ignore"):
        growth = (logarithm[after] - logarithm[after - 1]) / (flow[after, 0] - flow[after - 1, 0])
    grown = np.interp(time, flow[:, 0], logarithm) - logarithm[0]
    return [float(time), float(grown), float(np.interp(time, flow[:, 0], flow[:, 4])), float(growth)]


def _time_of_loss(flow: Array, level: float) -> float:
    """When the loss falls below ``level``, by the cubic through loss and slope of two rows."""
    after = int((flow[:, 1] < level).argmax())
    if not after:
        return 0.0
    rows = flow[after - 1 : after + 1]
    if rows[0, 0] == rows[1, 0]:  # the drop is shorter than a rounding error of so long a time
        return float(rows[0, 0])
    times = np.linspace(rows[0, 0], rows[1, 0], 65)
    loss = CubicHermiteSpline(rows[:, 0], rows[:, 1], -rows[:, 3])(times)
    return float(np.interp(-level, -loss, times))


def _delay(stretch: Array, momentum: float) -> Array:
    """Epochs that a finite rate adds, from ``ln(|g| / |g_0|)``."""
    memory = momentum / (1 - momentum)
    return (0.5 + memory) * stretch + memory


@dataclass(frozen=True)
class _Start:
    """What the theory needs of R networks and a task.

    ``overlaps`` (R, 9) are n.n, m.m, b.b, m.n, m.b, n.b, m.x0, n.x0, b.x0; ``initial`` (R,) is
    x0.x0; ``trained`` says for m, n and b, as 1 or 0, whether training changes it.
    """

    overlaps: Array
    initial: Array
    confidence: Array
    threshold: Array
    trained: tuple[float, ...]
    units: int
    alpha: float
    delay: int

    @classmethod
    def of(cls, models: Any, task: Any) -> _Start:
        """Raise a ``ValueError`` for anything but rank one and delayed activation."""
        if getattr(models, "rank", 0) != 1 or not hasattr(models, "m"):
            raise InputError(f"models must be networks of rank one, ghostpoint.LowRankRNN, got {models!r}")
        if models.w_out is not None or models.activation != "sigmoid" or "confidence" in models.trainable:
            raise InputError(
                "models must have the readout sigmoid(confidence (kappa - threshold)) with a fixed confidence, "
                f"got w_out {'given' if models.w_out is not None else 'None'}, activation {models.activation!r} and "
                f"trainable {models.trainable}"
            )
        if not hasattr(task, "delay_steps") or task.n_inputs:
            raise InputError(f"task must be ghostpoint.tasks.DelayedActivation, got {type(task).__name__}")
        m, n, b = (np.asarray(values, np.float64) for values in (models.m[:, :, 0], models.n[:, :, 0], models.b))
        x = np.broadcast_to(np.asarray(models.initial_state, np.float64), b.shape)
        pairs = ((n, n), (m, m), (b, b), (m, n), (m, b), (n, b), (m, x), (n, x), (b, x))
        return cls(
            np.stack([(u * v).sum(1) for u, v in pairs], axis=1),
            (x * x).sum(1),
            np.asarray(models.confidence, np.float64),
            np.asarray(models.threshold, np.float64),
            tuple(float(part in models.trainable) for part in "mnb"),
            m.shape[1],
            float(task.alpha),
            int(task.delay_steps),
        )


def _level(level: float) -> float:
    level = number("level", level, above=0.5)
    if level >= 1:
        raise InputError(f"level must be below 1, got {level:g}")
    return level


def _rates(learning_rate: ArrayLike, networks: int, momentum: float) -> Array:
    """The effective learning rate per network, ``rate / (1 - momentum)``."""
    number("momentum", momentum, at_least=0, at_most=np.nextafter(1, 0))
    rate = finite_array("learning_rate", learning_rate)
    if rate.shape not in ((), (networks,)) or (rate <= 0).any():
        raise InputError(f"learning_rate must be positive, one value or one per network ({networks}), got {rate!r}")
    return np.array(np.broadcast_to(rate, (networks,)), np.float64) / (1 - momentum)


def _end(start: _Start, level: float) -> Array:
    """kappa_e, (R,): ``o**2 + (1 - o)**2 = level`` for ``o = sigmoid(c (kappa_e - kappa*))``."""
    output = (1 - np.sqrt(2 * level - 1)) / 2
    return start.threshold + np.log(output / (1 - output)) / start.confidence


def _force(start: _Start, kappa: Array) -> Array:
    """``F = 2 c o (1 - o) (1 - 2 o)``, minus the derivative of the loss by a resting latent."""
    c = start.confidence.reshape(-1, *[1] * (kappa.ndim - 1))
    logit = c * (kappa - start.threshold.reshape(c.shape))
    return np.asarray(2 * c * expit(logit) * expit(-logit) * -np.tanh(logit / 2))


def _closed(start: _Start, end: Array) -> Array:
    """The plateau time by the integral in :func:`plateau_length`."""
    nn, mm, bb, mn = start.overlaps[:, :4].T
    node, weight = np.polynomial.legendre.leggauss(100)
    kappa = end[:, None] * (node + 1) / 2
    gamma = 2 * (1 + mm / nn + (1 - mn**2) / nn**2)
    integral = (weight / 2 / _force(start, kappa) / (1 + gamma[:, None] * kappa**2)).sum(1) * end
    applies = (bb == 0) & (mn < 1) & (sum(start.trained) == 3)
    return np.where(applies, np.where(end > 0, (1 - mn) ** 2 / nn * integral, 0.0), np.nan)


def _stationary(start: _Start, end: Array, steps: int = 400) -> Array:
    """The plateau time of six overlaps, by Runge and Kutta's method in kappa from ``beta / D`` to
    ``end``.
    """
    y = start.overlaps[:, :6].T.copy()
    kappa = y[5] / (1 - y[3])
    applies, size = (y[3] < 1) & (sum(start.trained) == 3), np.maximum(end - kappa, 0) / steps
    time = np.zeros(len(kappa))

    def slope(y: Array, kappa: Array) -> tuple[Array, Array]:
        """``dy/dkappa = (dy/dt) / (D |grad kappa|**2)`` and
        ``ds/dkappa = 1 / (F |grad kappa|**2)``, with ``dt = (F / D) ds``.
        """
        nn, mm, bb, mn, mb, nb = y
        flow = np.stack([
            2 * (nb + kappa * mn), 2 * kappa * mn, 2 * nb,
            kappa * (nn + mm) + mb, mn + kappa * nb, nn + bb + kappa * mb,
        ])  # fmt: skip
        steepness = (nn * (1 + kappa**2) + mm * kappa**2 + 2 * mb * kappa + bb) / (1 - mn) ** 2
        return flow / ((1 - mn) * steepness), 1 / (_force(start, kappa) * steepness)

    with np.errstate(all="ignore"):
        for _ in range(steps):
            first, speed_1 = slope(y, kappa)
            second, speed_2 = slope(y + size / 2 * first, kappa + size / 2)
            third, speed_3 = slope(y + size / 2 * second, kappa + size / 2)
            fourth, speed_4 = slope(y + size * third, kappa + size)
            y = y + size / 6 * (first + 2 * second + 2 * third + fourth)
            time += size / 6 * (speed_1 + 2 * speed_2 + 2 * speed_3 + speed_4)
            kappa = kappa + size
    return np.where(applies, time, np.nan)
