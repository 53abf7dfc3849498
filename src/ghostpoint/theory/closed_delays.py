"""Minimal systems whose time of answering is a closed form: one ghost, several in series or in
parallel, and a start before or past the ghost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ghostpoint.checks import integer, number, one_of
from ghostpoint.errors import InputError
from ghostpoint.theory.minimal_system import Array, MinimalSystem, OneParameter


@dataclass(frozen=True)
class PowerLawDelay(OneParameter):
    """A scale-free time of answering, ``t(p) = scale p**(-1 / power)`` for p > 0, else never.

    The parameter has the dimension ``time**-power``. Hence all learning rates have the dimension
    ``time**-(1 + 2 power)``, and the critical one is ``power (1 - 2**-power) scale**(2 power)
    T**-(1 + 2 power)``: -5 for a saddle-node, where the power is 2.

    Parameters
    ----------
    T : float
        Delay, above 0.
    scale : float
        Time of answering at p = 1, above 0; pi / 2 for the toy model.
    power : float
        Above 0; 2 for the toy model.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> f"{PowerLawDelay(100.0).critical_learning_rate:.3g}"
    '9.13e-10'
    >>> PowerLawDelay.flat(100.0, order=4).exponent
    -3.6666666666666665
    """

    T: float
    scale: float = math.pi / 2
    power: float = 2.0

    def __post_init__(self) -> None:
        for name in ("T", "scale", "power"):
            object.__setattr__(self, name, number(name, getattr(self, name), above=0))

    @classmethod
    def circle(cls, T: float, laps: int = 1) -> PowerLawDelay:
        """A saddle-node on an invariant circle that answers after a number of laps.

        ``theta' = 1 - cos(theta) + (1 + cos(theta)) r`` from ``theta = -pi``. With
        ``x = tan(theta / 2)`` it is ``x' = x**2 + r`` from -inf to inf, so a lap takes
        ``pi / sqrt(r)`` (Ermentrout and Kopell, Parabolic bursting in an excitable system coupled
        with a slow oscillation, SIAM Journal on Applied Mathematics 46, 233-253, 1986).
        """
        return cls(T, math.pi * integer("laps", laps, at_least=1))

    @classmethod
    def flat(cls, T: float, order: float) -> PowerLawDelay:
        """``x' = r + |x|**order`` from 0 to infinity, order above 1.

        ``x = r**(1 / order) y`` leaves ``t = r**(1 / order - 1)`` times the integral of
        ``1 / (1 + y**order)``, which is ``(pi / order) / sin(pi / order)``.
        """
        order = number("order", order, above=1)
        return cls(T, math.pi / order / math.sin(math.pi / order), order / (order - 1))

    @classmethod
    def drift(cls, T: float, length: float = 1.0) -> PowerLawDelay:
        """``x' = r`` over a length: ``t = length / r``, a flow without a ghost."""
        return cls(T, length, 1.0)

    @property
    def exponent(self) -> float:
        """Exponent of T in the critical learning rate, ``-(1 + 2 power)``."""
        return -(1 + 2 * self.power)

    def evaluate(self, p: Array) -> tuple[Array, Array]:
        """``t = scale p**(-1 / power)`` and ``dt/dp = -t / (power p)``."""
        alive = p > 0
        safe = np.where(alive, p, 1.0)
        time = self.scale * safe ** (-1 / self.power)
        return np.where(alive, time, np.inf)[..., 0], np.where(alive, -time / (self.power * safe), 0.0)

    def parameter_for(self, time: float) -> float:
        """``(scale / time)**power``."""
        return float((self.scale / number("time", time, above=0)) ** self.power)

    @property
    def critical_learning_rate(self) -> float:
        """``power (1 - 2**-power) scale**(2 power) / T**(1 + 2 power)``."""
        a = self.power
        return a * (1 - 2.0**-a) * self.scale ** (2 * a) / self.T ** (1 + 2 * a)

    def approach_epochs(self, p0: ArrayLike, learning_rate: float) -> Array:
        """Epochs from ``p0`` above the minimum down to it, updates taken as continuous.

        ``dp/dk = -rate (scale / power) p**-(1 + 1 / power)`` for k epochs, integrated once:
        ``(p0**m - p*^m) power**2 / ((2 power + 1) scale rate)`` with ``m = 2 + 1 / power``.
        """
        start, rate = self._parameters(p0)[..., 0], number("learning_rate", learning_rate, above=0)
        m = 2 + 1 / self.power
        if (start < self.minimum).any():
            raise InputError(f"p0 must be at least {self.minimum:g}, got {start.min():g}")
        length = (start**m - self.minimum**m) * self.power**2
        return np.asarray(length / ((2 * self.power + 1) * self.scale * rate))

    def late_share(self, loss: ArrayLike) -> Array:
        """Share of the epochs of :meth:`approach_epochs` in which the second half of the loss is
        learned.

        With ``v = t / T`` the epochs that are left are proportional to ``v**-(1 + 2 power) - 1``,
        and the loss is ``T (1 - v)``. The same number that is the critical rate's exponent makes
        the learning abrupt.

        Parameters
        ----------
        loss : array_like
            Loss at the start, in units of T, above 0 and below 1.
        """
        start = np.asarray(loss, dtype=np.float64)
        if not ((start > 0) & (start < 1)).all():
            raise InputError(f"loss must be above 0 and below 1, got {start.min():g} to {start.max():g}")
        return np.asarray(((1 - start / 2) ** self.exponent - 1) / ((1 - start) ** self.exponent - 1))


@dataclass(frozen=True)
class StartedSaddleNode(OneParameter):
    """``x' = x**2 + r`` from ``x(0) = x0``, answering at infinity; the toy model for ``x0 = 0``.

    Before the ghost, ``x0 < 0``, the critical rate goes over from that of the toy model at
    ``T |x0| << 1`` to 16 times it. Past the ghost, ``x0 > 0``, only a saddle point just below
    ``x0``, at ``sqrt(-r)``, can hold the state. The time then grows as a logarithm of the distance
    from it, and the critical rate falls exponentially, as ``32 x0**5 exp(-4 x0 T)``.

    Parameters
    ----------
    T : float
        Delay, above 0.
    x0 : float
        Start, in units of 1 / time.
    """

    T: float
    x0: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "T", number("T", self.T, above=0))
        object.__setattr__(self, "x0", number("x0", self.x0))

    def evaluate(self, p: Array) -> tuple[Array, Array]:
        """The integral of ``1 / (x**2 + r)`` from x0 on, and ``dt/dr = (x0 / (x0**2 + r) - t) /
        (2 r)``.
        """
        r, x0 = p[..., 0], self.x0
        alive = np.where(x0 > 0, x0**2 + r > 0, r > 0)
        root = np.sqrt(np.where(r != 0, np.abs(r), 1.0))
        margin = np.where(alive, x0**2 + r, 1.0)
        ghost = (math.pi / 2 - np.arctan(x0 / root)) / root
        # between the saddle point at the root and x0: log((x0 + root) / (x0 - root)) / (2 root)
        held = np.log(np.where(alive & (r < 0), (x0 + root) ** 2 / margin, 1.0)) / (2 * root)
        time = np.where(alive, np.where(r > 0, ghost, np.where(r < 0, held, 1 / x0 if x0 > 0 else 0.0)), np.inf)
        safe = np.where(alive & (r != 0), r, 1.0)
        slope: Array = (x0 / margin - np.where(alive, time, 0.0)) / (2 * safe)
        slope = np.where(r == 0, -1 / (3 * x0**3) if x0 > 0 else 0.0, slope)
        return time, np.where(alive, slope, 0.0)[..., None]

    def _above(self, time: float) -> float:
        return (math.pi / time) ** 2  # the whole passage takes the time


@dataclass(frozen=True)
class SaddleNodesInSeries(MinimalSystem):
    """n saddle-nodes, each of which starts at 0 when the one before it has escaped.

    ``x_i' = g_i (x_i**2 + r_i)``, where the gate g_i is 0 until ``x_(i-1)`` has escaped and then 1,
    in n dimensions. The delays add: ``t = fixed + sum_i (pi / 2) / sqrt(r_i)``. All r_i are
    trained; saddle-nodes that are not trained take the time ``fixed``. n saddle-nodes that share
    one r are ``PowerLawDelay(T, n * pi / 2)``.

    Parameters
    ----------
    T : float
        Delay, above 0.
    n : int
        Saddle-nodes that are trained, at least 1.
    fixed : float
        Time that the others take, at least 0 and below T.

    Examples
    --------
    >>> two = SaddleNodesInSeries(100.0, 2)
    >>> two.escape_time([two.equal, [two.equal[0], 1.0]]).round(2).tolist()
    [100.0, 51.57]
    >>> round(two.equal_critical_rate / two.critical_learning_rate)
    32
    """

    T: float
    n: int = 2
    fixed: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "T", number("T", self.T, above=0))
        object.__setattr__(self, "n", integer("n", self.n, at_least=1))
        object.__setattr__(self, "fixed", number("fixed", self.fixed, at_least=0))
        if self.fixed >= self.T:
            raise InputError(f"fixed must be below T = {self.T:g}, got {self.fixed:g}")

    def evaluate(self, p: Array) -> tuple[Array, Array]:
        """The sum of the delays, and ``-(pi / 4) r_i**-1.5``."""
        alive = np.asarray((p > 0).all(-1))
        safe = np.where(p > 0, p, 1.0)
        delays = (math.pi / 2) / np.sqrt(safe)
        time = np.where(alive, self.fixed + delays.sum(-1), np.inf)
        return time, np.where(alive[..., None], -delays / (2 * safe), 0.0)

    @property
    def equal(self) -> Array:
        """The r with ``t = T`` at which all trained saddle-nodes take the same time."""
        return np.full(self.n, (math.pi * self.n / (2 * (self.T - self.fixed))) ** 2)

    @property
    def critical_learning_rate(self) -> float:
        """The rate below which no start with ``t < T`` is lost; it does not depend on n.

        With shares v_i of ``T - fixed`` an update makes them ``v_i (1 - k v_i**5)**-0.5``, convex
        in v_i and 0 at 0. Their sum is largest where one saddle-node has it all. Hence the rate is
        that of one: ``(pi**4 / 8) (1 / (T - D)**2 - 1 / (2 T - D)**2) / (T - D)**3`` for ``fixed``
        D. It is the infimum over all starts, and approached where one saddle-node holds nearly all.
        """
        left = self.T - self.fixed
        return math.pi**4 / 8 * (1 / left**2 - 1 / (left + self.T) ** 2) / left**3

    @property
    def equal_critical_rate(self) -> float:
        """The critical rate of equal saddle-nodes, ``n**5`` times that of one: each has the n-th
        part of the delay.
        """
        return self.n**5 * self.critical_learning_rate

    def flow_minimum(self, p0: ArrayLike) -> Array:
        """The r with ``t = T`` to which gradient flow leads from ``p0``, ``t(p0) < T``.

        Each ``r_i**2.5`` falls at the same speed, ``5 pi / 8``, so their differences are kept. The
        saddle-node that is slowest at the start becomes the slowest by far.
        """
        start = self._parameters(p0)
        if not (self.escape_time(start) < self.T).all():
            raise InputError(f"p0 must answer before T = {self.T:g}")
        powers = start**2.5
        low, high = np.zeros(start.shape[:-1]), powers.min(-1)
        for _ in range(200):
            middle = (low + high) / 2
            late = self.evaluate(np.maximum(powers - middle[..., None], 0.0) ** 0.4)[0] >= self.T
            low, high = np.where(late, low, middle), np.where(late, middle, high)
        return np.asarray((powers - low[..., None]) ** 0.4)


@dataclass(frozen=True)
class SaddleNodesInParallel(MinimalSystem):
    """n uncoupled saddle-nodes that start together; the first or the last to escape answers.

    The flow ``x' = r + x**2 + y**2, y' = s + 2 x y`` with two slow directions is such a pair, as
    ``x + y`` and ``x - y`` are uncoupled saddle-nodes of parameters ``r + s`` and ``r - s``; x
    escapes with the first of them. Only the saddle-node that answers has a gradient.

    Parameters
    ----------
    T : float
        Delay, above 0.
    n : int
        Saddle-nodes, at least 1.
    answer : {"first", "last"}
        Whose escape is the answer.
    """

    T: float
    n: int = 2
    answer: str = "first"

    def __post_init__(self) -> None:
        object.__setattr__(self, "T", number("T", self.T, above=0))
        object.__setattr__(self, "n", integer("n", self.n, at_least=1))
        one_of("answer", self.answer, ("first", "last"))

    def evaluate(self, p: Array) -> tuple[Array, Array]:
        """The smallest or largest of the delays, and the gradient of that one."""
        safe = np.where(p > 0, p, 1.0)
        delays = np.where(p > 0, (math.pi / 2) / np.sqrt(safe), np.inf)
        chosen = (delays.argmin(-1) if self.answer == "first" else delays.argmax(-1))[..., None]
        time = np.take_along_axis(delays, chosen, -1)
        slope = np.zeros(p.shape)
        here = np.take_along_axis(safe, chosen, -1)
        np.put_along_axis(slope, chosen, np.where(np.isfinite(time), -time / (2 * here), 0.0), -1)
        return time[..., 0], slope

    @property
    def critical_learning_rate(self) -> float:
        """That of one saddle-node, ``3 pi**4 / (32 T**5)``: below it none is ever lost."""
        return PowerLawDelay(self.T).critical_learning_rate
