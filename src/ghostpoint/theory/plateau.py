"""How long low-rank networks stay on the plateau of delayed activation, from their initial weights
alone.

On the plateau the units hardly saturate, and then gradient descent moves the weights within the
span of their initial values and the initial state x0. Their scalar products, the *overlaps*, are
all that the loss depends on. docs/plateau.md derives every equation here. Symbols to names: m, n, b
the weights, ``G = m.n``, ``beta = n.b``, ``D = 1 - G``, ``kappa = beta / D`` the latent at rest; c
the confidence, kappa* the threshold; s the *plateau time*, learning rate times epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from ghostpoint.checks import finite_array, integer, number, one_of
from ghostpoint.errors import InputError
from ghostpoint.theory.overlaps import Overlaps
from ghostpoint.theory.plateau_at_rest import ascent, closed, stationary

Array = NDArray[np.float64]
METHODS = ("overlaps", "stationary", "closed")
#: share of the plateau's loss below which the plateau is left: 0.9 of chance, or of half of it
LEVEL = 0.9
#: error per step of the flow of overlaps, absolute and, times 1000, relative
TOLERANCE = 1e-10
#: rows of a recorded flow; a flow that fills them has come to rest
ROWS = 4_000
#: points of a path between two rows of its flow, and epochs before an event that are rolled one by
#: one
POINTS, ROLLED = 20, 50_000
#: what a prediction may have at the drop, to be called valid: variance of a unit's drive, e-folds
#: of the gradient per epoch, the memory of the momentum as a share of the length, and epochs (more
#: of them have updates that float64 rounds away)
SATURATED, SHARP, MEMORY, LONGEST = 0.3, 8.0, 0.1, 1e12
#: epochs after which a plateau of Adam is called endless
LONGEST_ADAM = 10_000_000


def plateau_length(
    models: Any,
    task: Any,
    learning_rate: ArrayLike,
    *,
    optimizer: Any = None,
    level: float | None = None,
    method: str = "overlaps",
) -> Array:
    """Epoch at which the loss falls below ``level`` of chance, from the weights alone.

    Training is gradient descent, so the answer is a plateau time s over the learning rate. The
    three methods give s more and less exactly:

    * ``"overlaps"``: gradient flow of the overlaps of the weights and x0 over the whole trial (nine
      of them at rank one), with the first order of the units' saturation, and the steps and the
      momentum of training along the path of the flow;
    * ``"stationary"``: linear units whose latents rest at every step,
      ``ds = dkappa / (F |grad kappa|**2)`` with ``F = 2 c o (1 - o) (1 - 2 o)`` for an output o;
      the second plateau, at rank one, by the loss ``1/2 - J / (alpha T D)`` of a latent that
      approaches the threshold;
    * ``"closed"``: the same for b = 0, to second order in kappa, one integral. At rank one::

          s = (1 - m.n)**2 / |n|**2  integral_0^kappa_e dkappa / (F (1 + gamma kappa**2)),
          gamma = 2 (1 + |m|**2 / |n|**2 + (1 - (m.n)**2) / |n|**4)

      and, where c is large, ``s = e**(c kappa*) (1 - m.n)**2 / (2 c**2 |n|**2)`` times a number
      below 1.

    kappa_e is where the loss ``o**2 + (1 - o)**2`` of a resting latent is ``level``.

    Adam moves every weight by about the sign of its gradient. So its updates are no sums of the
    weight vectors, no overlaps close, and all N units of a network of rank one are followed, each
    with Adam's own moments, the latent at rest at every step. The length is about proportional to
    ``(1 - m.n) / (rate sum_i |n_i|)``.

    Two plateaus. A network with the readout ``sigmoid(c (kappa_1 - kappa*))`` starts at chance
    where ``c kappa*`` is large. At long delays it waits a second time, at half the chance loss; a
    level below 0.5 is the end of that. A network with a readout of the state starts at half the
    chance loss.

    Range of validity. All: a plateau to begin with
    (``c kappa*`` above 4), and a rate at which the gradient grows by less than
    :data:`SHARP` e-folds an epoch at the drop, about 0.1 for the published networks. "overlaps":
    a saturation ``|m kappa + b|**2 / N`` up to :data:`SATURATED` at the drop; any rank, T, step,
    start and b; a momentum that forgets within :data:`MEMORY` of the length. "stationary" also
    wants a transient shorter than the delay, ``(1 - alpha D)**T`` small, and a saturation of a few
    percent. "closed" also b = 0 and ``gamma kappa_e**2`` of a few units at most. :class:`Plateau`
    has the numbers, and :meth:`Plateau.valid` the judgement.

    Parameters
    ----------
    models : LowRankRNN
        R networks with the readout ``sigmoid(c (kappa_1 - kappa*))`` or a sigmoid of the state;
        their weights are those of epoch 0.
    task : DelayedActivation
    learning_rate : scalar or (R,)
        Positive.
    optimizer : SGD or Adam, optional
        As for :func:`ghostpoint.train`; plain gradient descent by default. "stationary" and
        "closed" know of a momentum only the effective rate.
    level : float, optional
        Above 0 and below 1; above 0.5 for "closed". By default :data:`LEVEL` for the first readout
        and half of it for one of the state.
    method : "overlaps", "stationary" or "closed"

    Returns
    -------
    (R,) array
        Epochs, not rounded; 0 for a network already below ``level``, ``inf`` for one that comes to
        rest above it, NaN where the method does not apply (latents without a rest; a readout of the
        state other than for "overlaps"; b other than 0 for "closed").

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
    if hasattr(optimizer, "betas"):
        return _with_adam(models, task, learning_rate, optimizer, level, method)
    momentum = 0.0 if optimizer is None else getattr(optimizer, "momentum", None)
    if momentum is None:
        raise InputError(f"optimizer must be ghostpoint.training.SGD or Adam, got {optimizer!r}")
    if method == "overlaps":
        return Plateau.of(models, task, level=level).length(learning_rate, momentum=momentum)
    start = Overlaps.of(models, task)
    if (level := _level(level, start)) <= 0.5 and method == "closed" and not start.reads_state:
        raise InputError(f"level must be above 0.5 for the method 'closed', got {level:g}")
    time = np.full(len(start.grams), np.nan)
    if not start.reads_state:
        time = (closed if method == "closed" else stationary)(start, level)
    return time / _rates(learning_rate, len(time), momentum)


def _with_adam(models: Any, task: Any, learning_rate: ArrayLike, adam: Any, level: float | None, method: str) -> Array:
    """Epochs under Adam, whose updates are no sums of the vectors: all units are followed."""
    from ghostpoint.theory.plateau_adam_kernels import adam_plateau

    start = Overlaps.of(models, task)
    level = _level(level, start)
    if method != "overlaps":
        raise InputError(f"method must be 'overlaps' for Adam, got {method!r}")
    if start.latents != 1 or start.reads_state or (start.settings[:, 7:] != 1).any() or level <= 0.5:
        raise InputError(
            "models must be of rank one, read by the confidence, with m, n and b trained, and level above 0.5, for "
            f"Adam; got {models!r} and level {level:g}"
        )
    rates = _rates(learning_rate, len(start.grams), 0.0)
    epochs = np.empty(len(rates))
    for network, rate in enumerate(rates):
        weights = np.array([models.m[network, :, 0], models.n[network, :, 0], models.b[network]], np.float64)
        epochs[network] = adam_plateau(
            weights,
            start.confidence[network],
            start.threshold[network],
            rate,
            level,
            *adam.betas,
            adam.eps,
            LONGEST_ADAM,
        )
    return epochs


@dataclass(frozen=True)
class Plateau:
    """The training of R low-rank networks on delayed activation in overlaps, as gradient flow.

    The flow does not know the learning rate, so one :meth:`of` answers for all rates. Training with
    a finite rate h and a momentum mu moves along the path of the flow as a heavy ball in one
    dimension: at the arc length x, where the flow has the gradient g(x), ::

        v <- mu v + h g(x),   x <- x + v

    Where g grows by little within ``1 / (1 - mu)`` epochs this takes ``(1/2 + l) ln(g / g_0) + l``
    epochs more than the flow, ``l = mu / (1 - mu)``; without momentum that is the implicit gradient
    regularization of D. G. T. Barrett and B. Dherin, ICLR 2021.

    Attributes
    ----------
    level : float
    flows : tuple of R arrays (rows, 5)
        Plateau time, loss, logit of the last reading, squared norm of the gradient, and saturation
        ``|m kappa + b|**2 / N`` at the last reading.
    stiffness : (R,) array
        At the end of a flow to a level below 0.5, ``(c**2 / 4) |grad kappa_1|**2``: the curvature
        of the loss of a latent that rests at the threshold. 0 elsewhere.
    """

    level: float
    flows: tuple[Array, ...]
    stiffness: Array

    @classmethod
    def of(
        cls, models: Any, task: Any, *, level: float | None = None, longest: float = 0.0, linear: bool = False
    ) -> Plateau:
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
        from ghostpoint.theory.overlap_flow_kernels import COLUMNS, follow

        start = Overlaps.of(models, task, linear=linear)
        level, longest = _level(level, start), number("longest", longest, at_least=0)
        flows, ends = [], start.grams.copy()
        for network, settings in enumerate(start.settings.copy()):
            state, record = np.append(start.grams[network], start.threshold[network]), np.zeros((ROWS, COLUMNS))
            rows = follow(state, settings, start.delay, start.latents, TOLERANCE, level, record)
            flow, ends[network] = record[:rows].copy(), state[:-1].reshape(ends[network].shape)
            if rows < ROWS and flow[-1, 0] < longest:
                flow = np.concatenate([flow, _beyond(flow[-1, 0], longest, state, settings, start)])
            flows.append(flow)
        stiffness = np.zeros(len(flows))
        if level <= 0.5 and not start.reads_state:
            finite = np.isfinite(ends).all(axis=(1, 2))
            stiffness[~finite] = np.inf
            stiffness[finite] = start.confidence[finite] ** 2 / 4 * ascent(ends[finite], start.latents)[2]
        return cls(level, tuple(flows), stiffness)

    @cached_property
    def drop(self) -> Array:
        """Where the loss first falls below ``level``, (R, 2): plateau time, and saturation.

        0 for a loss below it from the start, an infinite time for one that is never.
        """
        found = [_event(flow, flow[:, 1] < self.level, _time_of_loss(flow, self.level)) for flow in self.flows]
        return np.reshape(found, (-1, 2))

    @cached_property
    def crossing(self) -> Array:
        """The same where the last reading first exceeds the threshold, (R, 2): from there on an
        answer is right, and the accuracy above chance.
        """
        found = []
        for flow in self.flows:
            above = flow[:, 2] > 0
            after = max(int(above.argmax()), 1)
            before, beyond = flow[after - 1], flow[min(after, len(flow) - 1)]
            part = before[2] / (before[2] - beyond[2]) if beyond[2] > before[2] else 1.0
            found.append(_event(flow, above, before[0] + part * (beyond[0] - before[0])))
        return np.reshape(found, (-1, 2))

    @cached_property
    def paths(self) -> tuple[Array, ...]:
        """Plateau time, arc length and norm of the gradient along each flow, (3, points)."""
        return tuple(_path(flow) for flow in self.flows)

    def _rolled(self, learning_rate: ArrayLike, momentum: float, until: str) -> tuple[Array, Array]:
        """Epochs until the event, and e-folds of the gradient per epoch there, (R,) each."""
        from ghostpoint.theory.overlap_flow_kernels import roll

        times = getattr(self, one_of("until", until, ("drop", "crossing")))[:, 0]
        rates, memory = _rates(learning_rate, len(self.flows), momentum), momentum / (1 - momentum)
        epochs, growth = np.where(times > 0, np.inf, 0.0), np.zeros(len(times))
        for network in np.flatnonzero((times > 0) & np.isfinite(times)):
            time, position, gradient = self.paths[network]
            rate, end = rates[network], np.interp(times[network], time, position)
            # the gradient that grows counts from where all other gradients have died out
            low = int(np.where(time < times[network], gradient, np.inf).argmin())
            first = max(times[network] - ROLLED * rate, float(time[low]))
            begin, slowest = np.interp(first, time, position), gradient[low]
            speed = rate * np.interp(first, time, gradient) if first > 0 else 0.0
            rolled, update = roll(position, gradient, begin, end, rate * (1 - momentum), momentum, speed)
            last = max(int(np.searchsorted(position, end)), 1)
            # the update that the gradient at the event would make
            update = momentum * update + rate * (1 - momentum) * np.interp(end, position, gradient)
            growth[network] = update * np.diff(np.log(gradient))[last - 1] / np.diff(position)[last - 1]
            late = memory + (0.5 + memory) * np.log(speed / rate / slowest) if first > 0 else 0.0
            epochs[network] = first / rate + late + rolled
        return epochs, growth

    def length(self, learning_rate: ArrayLike, *, momentum: float = 0.0, until: str = "drop") -> Array:
        """Epochs until the loss is below ``level`` ("drop") or the accuracy above chance
        ("crossing"), (R,).

        Raises
        ------
        ValueError
            For arguments out of range.
        """
        return self._rolled(learning_rate, momentum, until)[0]

    def learns_by(self, learning_rate: ArrayLike, epochs: int, *, momentum: float = 0.0) -> NDArray[np.bool_]:
        """Whether each network is above chance at one of its first ``epochs`` epochs (0 to
        ``epochs - 1``), (R,).
        """
        last = integer("epochs", epochs, at_least=1) - 1
        return self.length(learning_rate, momentum=momentum, until="crossing") <= last

    def lowest_rate(self, epochs: int, *, momentum: float = 0.0) -> Array:
        """The lowest learning rate for which :meth:`learns_by` is true, (R,), as :meth:`rate_of`
        finds it.
        """
        return self.rate_of(integer("epochs", epochs, at_least=1) - 1, momentum=momentum, until="crossing")

    def rate_of(self, epoch: float, *, momentum: float = 0.0, until: str = "drop") -> Array:
        """The learning rate with which :meth:`length` is ``epoch``, (R,).

        0 for an event at the start; ``inf`` where there is none, or where only a rate beyond
        :data:`SHARP` would bring it so soon.
        """
        number("epoch", epoch, at_least=0)
        times = getattr(self, one_of("until", until, ("drop", "crossing")))[:, 0]
        if not epoch:
            return np.where(times > 0, np.inf, 0.0)
        sought = np.flatnonzero((times > 0) & np.isfinite(times))
        rate = np.where(np.isfinite(times), times / epoch * (1 - momentum), 1.0)
        power = 1.0
        for _ in range(40):  # the length is nearly inverse to the rate
            found, growth = self._rolled(rate, momentum, until)
            ratio = found[sought] / epoch
            if not (np.abs(ratio - 1) > 1e-9).any():
                break
            rate[sought] = np.clip(rate[sought] * ratio**power, 1e-100, 1e100)
            power = 0.5  # a higher rate may come later by a part of an epoch: no full step
        rate[sought[(np.abs(ratio - 1) > 1e-6) | (growth[sought] > SHARP)]] = np.inf
        return np.where(times > 0, np.where(np.isfinite(times), rate, np.inf), 0.0)

    def valid(self, learning_rate: ArrayLike, *, momentum: float = 0.0) -> NDArray[np.bool_]:
        """Whether the drop lies within the range of validity that :func:`plateau_length` states,
        (R,).

        Below a level of 0.5 the rate must also be one at which training does not oscillate on the
        second plateau: the rate times ``stiffness`` below ``2 (1 + momentum)``.
        """
        epochs, growth = self._rolled(learning_rate, momentum, "drop")
        time, saturation = self.drop.T
        height = 1.0 if self.level > 0.5 else 0.5
        started = np.array([flow[0, 1] for flow in self.flows]) > (height + self.level) / 2
        rates = _rates(learning_rate, len(self.flows), momentum) * (1 - momentum)
        calm = (self.level > 0.5) | (rates * self.stiffness < 2 * (1 + momentum))
        with np.errstate(invalid="ignore"):
            within = (saturation < SATURATED) & (growth < SHARP) & (momentum / (1 - momentum) < MEMORY * epochs)
        return np.asarray(started & calm & within & (epochs < LONGEST) & (time > 0))

    def loss(self, learning_rate: ArrayLike, epochs: ArrayLike, *, momentum: float = 0.0) -> Array:
        """The loss of the reduced model at the given epochs, (R, E); NaN beyond the end of a flow.

        After the drop this is gradient flow, which training follows as long as its rate times the
        largest curvature of the loss is below 2.
        """
        rates, memory = _rates(learning_rate, len(self.flows), momentum), momentum / (1 - momentum)
        at = np.atleast_1d(finite_array("epochs", epochs))
        curves = []
        for rows, rate in zip(self.flows, rates, strict=True):
            flow = rows[np.append(True, np.diff(rows[:, 0]) > 0)]
            epoch = flow[:, 0] / rate
            epoch[1:] += memory + (0.5 + memory) * np.log(flow[1:, 3] / flow[0, 3]) / 2
            time = np.interp(at, np.maximum.accumulate(epoch), flow[:, 0], right=np.nan)
            curves.append(CubicHermiteSpline(flow[:, 0], flow[:, 1], -flow[:, 3])(time))
        return np.array(curves)


def _beyond(time: float, longest: float, state: Array, settings: Array, start: Overlaps) -> Array:
    """Rows of the flow from ``state`` at ``time`` to ``longest``, by a solver for stiff equations:
    after the drop the curvature of the loss is large.
    """
    from ghostpoint.theory.overlap_flow_kernels import COLUMNS, slope

    steps, size = 2 * start.delay, len(start.grams[0])
    room = np.zeros((steps + 1, start.latents)), np.zeros(steps), np.zeros((2, start.latents)), np.zeros((size, size))

    def by_time(_: float, y: Array) -> Array:
        out = np.empty(len(state))
        slope(y, settings, *room, out, np.empty(COLUMNS))
        return out

    found = solve_ivp(by_time, (time, longest), state, method="LSODA", rtol=1e-7, atol=1e-9)
    rows = np.zeros((len(found.t), COLUMNS))
    rows[:, 0] = found.t
    for row, y in zip(rows, found.y.T, strict=True):
        slope(np.ascontiguousarray(y), settings, *room, np.empty(len(state)), row)
    return rows[1:]


def _path(flow: Array) -> Array:
    """Plateau time, arc length and norm of the gradient at :data:`POINTS` points a row: the
    logarithm of the norm by a spline, the length by Simpson's rule.
    """
    rows = flow[np.append(True, np.diff(flow[:, 0]) > 0)]
    if len(rows) < 2 or not (rows[:, 3] > 0).all():
        return np.zeros((3, 1))
    parts = np.linspace(rows[:-1, 0], rows[1:, 0], POINTS, endpoint=False, axis=1).ravel()
    time = np.append(parts, rows[-1, 0])
    logarithm = CubicSpline(rows[:, 0], np.log(rows[:, 3]) / 2)
    gradient, middle = np.exp(logarithm(time)), np.exp(logarithm((time[1:] + time[:-1]) / 2))
    lengths = np.diff(time) * (gradient[1:] + 4 * middle + gradient[:-1]) / 6
    return np.stack([time, np.append(0, np.cumsum(lengths)), gradient])


def _event(flow: Array, reached: NDArray[np.bool_], time: float) -> list[float]:
    """Time and saturation at ``time``; 0 where it is reached from the start, infinity and NaN where
    never.
    """
    if reached[0]:
        return [0.0, float(flow[0, 4])]
    if not reached.any():
        return [np.inf, np.nan]
    return [float(time), float(np.interp(time, flow[:, 0], flow[:, 4]))]


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


def _level(level: float | None, start: Overlaps) -> float:
    if level is None:
        return LEVEL / 2 if start.reads_state else LEVEL
    level = number("level", level, above=0)
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
