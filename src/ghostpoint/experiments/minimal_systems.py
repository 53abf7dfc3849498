"""Critical learning rates of minimal systems of one to three dimensions, over the delay and the
number of ghosts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline
from scipy.stats import t as student

from ghostpoint.experiments.minimal_system_claims import claims
from ghostpoint.experiments.shared.base import Experiment, Progress
from ghostpoint.experiments.shared.power_laws import power_law
from ghostpoint.theory import (
    ComplexSaddleNode,
    FastPlane,
    MinimalSystem,
    OneParameter,
    PowerLawDelay,
    SaddleNodesInParallel,
    SaddleNodesInSeries,
    StartedSaddleNode,
)

Array = NDArray[np.float64]

PAPER: Mapping[str, Any] = {
    "seed": 0,
    "starts": 400,
    "epochs": 300,
    "tolerance": 1e-4,  # of a critical rate, relative
    "delays": [8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0],
    "exact_stride": 1,  # every so many of the delays for families with an exact exponent
    "longest": 4,  # delays of the fit where -5 is the limit of long delays
    "past_delays": [10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 22.0, 24.0],
    "past_start": 0.25,
    "counts": [1, 2, 3, 4, 5, 6, 7, 8],
    "count_delay": 64.0,
    "share_starts": 400,
    "share_rate": 0.2,  # in units of the critical rate of one saddle-node
    "late_loss": 0.7,  # at the start, in units of T
    "late_rate": 0.02,  # in units of the critical rate
    "threshold": 10.0,
    "complex_starts": 200,
    "complex_sd": 1e-5,  # of r2
    "complex_rates": [0.01, 0.03, 0.1],  # in units of the toy model's critical rate
    "complex_delays": [16.0, 32.0],
}
QUICK: Mapping[str, Any] = {
    **PAPER,
    "starts": 150,
    "epochs": 120,
    "tolerance": 1e-3,
    "exact_stride": 2,
    "past_delays": [10.0, 13.0, 16.0, 19.0, 22.0],
    "counts": [1, 2, 3, 5, 8],
    "share_starts": 50,
    "complex_starts": 50,
}


@dataclass(frozen=True)
class Family:
    """One line of the comparison.

    Attributes
    ----------
    build : callable
        Delay to system.
    exponent : float
        Of T in the critical rate, by theory.
    exact : bool
        Whether it holds at every delay, and not only as a limit for long ones.
    dimension : int
        Of the state.
    prefactor : float
        Of the critical rate, in units of the toy model's, for long delays; NaN where the exponents
        differ or it depends on the starts.
    """

    build: Callable[[float], MinimalSystem]
    exponent: float
    exact: bool
    dimension: int
    prefactor: float = math.nan


SLAVED = {"decay": 1.0, "drive": 1.0, "feedback": 1.0}
SPIRAL = {"decay": 0.5, "frequency": 2.0, "drive": 1.0, "feedback": 1.0}
ROTATING = {"decay": 0.0, "frequency": 1.0, "feedback": 0.1, "y0": 1.0, "step": 0.1}
FAMILIES: Mapping[str, Family] = {
    "saddle-node": Family(PowerLawDelay, -5, True, 1, 1.0),
    "on a circle, one lap": Family(partial(PowerLawDelay.circle, laps=1), -5, True, 1, 16.0),
    "on a circle, three laps": Family(partial(PowerLawDelay.circle, laps=3), -5, True, 1, 16.0 * 81),
    "two in series": Family(partial(SaddleNodesInSeries, n=2), -5, True, 2),
    "three in series": Family(partial(SaddleNodesInSeries, n=3), -5, True, 3),
    "two in parallel, first answers": Family(partial(SaddleNodesInParallel, n=2), -5, True, 2, 1.0),
    "two in parallel, last answers": Family(
        partial(SaddleNodesInParallel, n=2, answer="last"), -5, True, 2, 1.0
    ),
    "slaved direction": Family(partial(FastPlane, **SLAVED), -5, False, 2, FastPlane(1.0, **SLAVED).curvature ** -2),
    "spiralling plane": Family(partial(FastPlane, **SPIRAL), -5, False, 3, FastPlane(1.0, **SPIRAL).curvature ** -2),
    "rotating plane": Family(partial(FastPlane, **ROTATING), -5, False, 3, 1.0),
    "start before the ghost": Family(partial(StartedSaddleNode, x0=-1.0), -5, False, 1, 16.0),
    "flow of order 3": Family(partial(PowerLawDelay.flat, order=3), -4, True, 1),
    "flow of order 4": Family(partial(PowerLawDelay.flat, order=4), -11 / 3, True, 1),
    "drift without a ghost": Family(PowerLawDelay.drift, -3, True, 1),
}  # fmt: skip
#: n saddle-nodes: equal in series, one parameter for all of them, drawn in series, and in parallel
WAYS = ("equal", "shared", "drawn", "first", "last")
LATE = ("saddle-node", "flow of order 3", "flow of order 4", "drift without a ghost")


class Interpolated(OneParameter):
    """A one-parameter system by a table of t between T / 2 and 2 T, so that descents are cheap.

    ``1 / t**2`` is nearly linear in p, and interpolated with its slope; outside the table it is
    continued.
    """

    def __init__(self, system: OneParameter, nodes: int):
        self.T = system.T
        low, high = system.parameter_for(2.05 * system.T), system.parameter_for(system.T / 2)
        # nodes about evenly spaced in t
        by_time = np.linspace(1 / 2.05, 2, nodes) ** -2.0
        p = low + (high - low) * (by_time - by_time[-1]) / (by_time[0] - by_time[-1])
        time, slope = system.evaluate(p[::-1, None])
        self._square = CubicHermiteSpline(p[::-1], time**-2, -2 * slope[:, 0] * time**-3)
        self._ends = low, high

    def evaluate(self, p: Array) -> tuple[Array, Array]:
        """t and dt/dp of the table; beyond its low end there is no answer."""
        low, high = self._ends
        at = np.clip(p, low, high)
        slope = self._square(at, 1)
        square = self._square(at) + slope * (p - at)
        alive = p > low
        time = np.where(alive, square, 1.0) ** -0.5
        return np.where(alive, time, np.inf)[..., 0], np.where(alive, -slope / 2 * time**3, 0.0)


def starts_of(system: MinimalSystem, count: int, generator: np.random.Generator, earliest: float = 0.5) -> Array:
    """Starts that answer before T: between ``p(T)`` and ``p(earliest T)`` for one parameter; for
    several each r_i is drawn on its own.
    """
    if isinstance(system, OneParameter):
        best, early = system.minimum, system.parameter_for(earliest * system.T)
        return np.asarray(best + (early - best) * generator.uniform(0.05, 1.0, (count, 1)))
    base = system.equal if isinstance(system, SaddleNodesInSeries) else (math.pi / (2 * system.T)) ** 2
    return np.asarray(base * generator.uniform(1.1, 4.0, (count, system.n)))


def measured_critical_rate(system: MinimalSystem, starts: Array, epochs: int, tolerance: float) -> float:
    """The lowest rate at which any of the starts is lost within ``epochs``, from descents alone.

    The search begins at the rate whose first update is as large as the mean start, goes up or down
    by halves until none is lost at the lowest rate and some at the highest, and is then refined,
    eight rates at a time.
    """

    def loses(rates: Array) -> NDArray[np.bool_]:
        return np.asarray((system.descend(starts, rates[:, None], epochs).lost_epoch >= 0).any(1))

    mean = starts.mean(0)
    rates = np.abs(mean).max() / np.abs(system.time_gradient(mean)).max() * 2.0 ** np.arange(-5.0, 3.0)
    while loses(rates[:1])[0]:
        rates = rates / 64
    while not loses(rates[-1:])[0]:
        rates = rates * 64
    while True:
        lost = loses(rates)
        first = int(lost.argmax())
        if first == 0:  # the lowest was not lost before: the shares near a rate are no staircase
            return float(rates[0])
        low, high = rates[first - 1], rates[first]
        if high / low - 1 < tolerance:
            return float(math.sqrt(low * high))
        rates = np.geomspace(low, high, 9)


def measured_system(system: MinimalSystem) -> MinimalSystem:
    """The system itself, or its table where every evaluation is an integration."""
    if isinstance(system, FastPlane):
        turns = system.frequency * system.T if system.decay == 0 else 0.0
        return Interpolated(system, 64 + int(2 * turns))
    if isinstance(system, StartedSaddleNode) and system.x0 < 0:
        return Interpolated(system, 64)
    return system


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Critical rates over delays and numbers of ghosts, shares of the delay, and the complex
    ghost.
    """
    generator = np.random.default_rng(parameters["seed"])
    progress.phase("minimal systems", len(FAMILIES) + 5)

    def measure(system: MinimalSystem, starts: Array | None = None) -> float:
        fast = measured_system(system)
        if starts is None:
            starts = starts_of(fast, parameters["starts"], generator)
        return measured_critical_rate(fast, starts, parameters["epochs"], parameters["tolerance"])

    delays, rates, fits = np.array(parameters["delays"]), [], []
    for family in FAMILIES.values():
        stride = parameters["exact_stride"] if family.exact else 1
        found = [math.nan if k % stride else measure(family.build(float(T))) for k, T in enumerate(delays)]
        rates.append(found)
        fits.append(_fit(delays, np.array(found), 0 if family.exact else -parameters["longest"]))
        progress.advance(1)
    parts = [_past, _counted, _shared, _late, _rotated]
    data = xr.Dataset(
        {
            "critical_rate": (("family", "delay"), np.array(rates)),
            "toy_rate": ("delay", [PowerLawDelay(float(T)).critical_learning_rate for T in delays]),
            "exponent": (("family", "of"), np.array(fits)),
            "exponent_theory": ("family", [family.exponent for family in FAMILIES.values()]),
            "prefactor_theory": ("family", [family.prefactor for family in FAMILIES.values()]),
            "exact": ("family", [family.exact for family in FAMILIES.values()]),
            "dimension": ("family", [family.dimension for family in FAMILIES.values()]),
        },
        coords={"family": list(FAMILIES), "delay": delays, "of": ["value", "low", "high"]},
    )
    for part in parts:
        data = data.merge(part(parameters, generator, measure), combine_attrs="no_conflicts")
        progress.advance(1)
    progress.phase("the complex ghost", 1)
    data = data.merge(_complex(parameters, generator))
    progress.advance(1)
    return data


def _fit(x: Array, y: Array, first: int) -> tuple[float, float, float]:
    """The exponent of a power law and its 95 % interval, over the values from ``first`` on."""
    x, y = x[first:], y[first:]
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    fit = power_law(x, y)
    half = float(student.ppf(0.975, len(x) - 2) * fit.stderr)
    return float(fit.slope), float(fit.slope) - half, float(fit.slope) + half


def _past(parameters: Mapping[str, Any], generator: np.random.Generator, measure: Any) -> xr.Dataset:
    """A start past the ghost: the logarithm of the critical rate over the delay."""
    delays = np.array(parameters["past_delays"])
    systems = [StartedSaddleNode(float(T), parameters["past_start"]) for T in delays]
    few = max(parameters["starts"] // 10, 10)
    rates = [measure(system, starts_of(system, few, generator, 0.9)) for system in systems]
    return xr.Dataset(
        {
            "past_rate": ("past_delay", rates),
            "past_theory": ("past_delay", [system.critical_learning_rate for system in systems]),
        },
        coords={"past_delay": delays},
    )


def _counted(parameters: Mapping[str, Any], generator: np.random.Generator, measure: Any) -> xr.Dataset:
    """Critical rates of n saddle-nodes at one delay, by the way in which they are put together."""
    T, counts = parameters["count_delay"], parameters["counts"]
    rates = np.empty((len(WAYS), len(counts)))
    for column, n in enumerate(counts):
        series = SaddleNodesInSeries(T, n)
        equal = np.repeat(starts_of(SaddleNodesInSeries(T, 1), parameters["starts"], generator), n, axis=1) * n**2
        rates[:, column] = [
            measure(series, equal),
            measure(PowerLawDelay(T, n * math.pi / 2)),
            measure(series),
            measure(SaddleNodesInParallel(T, n, "first")),
            measure(SaddleNodesInParallel(T, n, "last")),
        ]
    toy = PowerLawDelay(T).critical_learning_rate
    return xr.Dataset({"count_rate": (("way", "count"), rates / toy)}, coords={"way": list(WAYS), "count": counts})


def _shared(parameters: Mapping[str, Any], generator: np.random.Generator, measure: Any) -> xr.Dataset:
    """Shares of the delay of three saddle-nodes in series, before training and at the crossing."""
    series = SaddleNodesInSeries(parameters["count_delay"], 3)
    starts = starts_of(series, parameters["share_starts"], generator)
    rate = parameters["share_rate"] * series.critical_learning_rate
    # r**2.5 falls by 5 pi / 8 times the rate an epoch, from (4 equal)**2.5 at most
    epochs = int((4 * series.equal[0]) ** 2.5 / (5 * math.pi / 8 * rate)) + 1
    found = series.descend(starts, rate, epochs).crossing_p
    delays = [p**-0.5 for p in (starts, found, series.flow_minimum(starts))]
    shares = [np.sort(each / each.sum(-1, keepdims=True)) for each in delays]
    return xr.Dataset(
        {"share": (("when", "share_start", "node"), np.array(shares))},
        coords={"when": ["start", "crossing", "predicted"]},
    )


def _late(parameters: Mapping[str, Any], generator: np.random.Generator, measure: Any) -> xr.Dataset:
    """Share of the epochs in which the second half of the loss is learned."""
    measured, theory = [], []
    for name in LATE:
        system = FAMILIES[name].build(parameters["count_delay"])
        assert isinstance(system, PowerLawDelay)
        start = system.parameter_for((1 - parameters["late_loss"]) * system.T)
        rate = parameters["late_rate"] * system.critical_learning_rate
        time = system.descend([[start]], rate, int(1.1 * system.approach_epochs([start], rate)) + 10, record=True).time
        assert time is not None
        half = int((time[:, 0] >= (1 - parameters["late_loss"] / 2) * system.T).argmax())
        whole = int((time[:, 0] >= system.T).argmax())
        measured.append((whole - half) / whole if whole else math.nan)
        theory.append(float(system.late_share(parameters["late_loss"])))
    return xr.Dataset(
        {"late": ("late_family", measured), "late_theory": ("late_family", theory)}, {"late_family": list(LATE)}
    )


def _rotated(parameters: Mapping[str, Any], generator: np.random.Generator, measure: Any) -> xr.Dataset:
    """The r that answers at T beside a rotating plane, over the delays."""
    systems = [FastPlane(float(T), **ROTATING) for T in parameters["delays"]]
    return xr.Dataset(
        {
            "rotating_minimum": ("delay", [system.minimum for system in systems]),
            "rotating_theory": (
                "delay", [PowerLawDelay(system.T).minimum - system.averaged_shift for system in systems],
            ),
        },
        attrs={
            "averaged_shift": systems[0].averaged_shift,
            "modulation": systems[0].feedback * systems[0].y0 / systems[0].frequency**2,
        },
    )  # fmt: skip


def _complex(parameters: Mapping[str, Any], generator: np.random.Generator) -> xr.Dataset:
    """The edge of the complex ghost's zone, who learns with r2 held, and what training r2 does."""
    delays, X, count = parameters["delays"], parameters["threshold"], parameters["complex_starts"]
    toys = [PowerLawDelay(float(T)) for T in delays]
    edges = [ComplexSaddleNode(toy.T, X).edge(toy.minimum)[()] for toy in toys]
    r2 = generator.normal(0, parameters["complex_sd"], count)
    learned = []
    for toy in toys:
        held = ComplexSaddleNode(toy.T, X, hold_r2=True)
        starts = np.stack([toy.minimum * generator.uniform(1.1, 2.0, count), r2], axis=-1)
        times = held.descend(starts, 0.05 * toy.critical_learning_rate, 120, record=True).time
        assert times is not None
        learned.append(((times >= toy.T) & (times < 1.1 * toy.T)).any(0))
    both = np.empty((len(parameters["complex_delays"]), len(parameters["complex_rates"]), count))
    for row, T in enumerate(parameters["complex_delays"]):
        toy, system = PowerLawDelay(T), ComplexSaddleNode(T, X)
        r1 = toy.minimum * generator.uniform(1.5, 2.0, count)
        starts = np.stack([r1, 1e-3 * system.edge(r1)], axis=-1)
        for column, rate in enumerate(parameters["complex_rates"]):
            found = system.descend(starts, rate * toy.critical_learning_rate, int(5 / rate) + 20, record=True).time
            assert found is not None
            both[row, column] = np.minimum(np.abs(found - T) / T, 1).min(0)
    toy, small = PowerLawDelay(delays[0]), ComplexSaddleNode(delays[0], X)
    begin = np.array([1.2 * toy.minimum, 1e-14])  # small to the end
    grown = small.descend(begin, 0.001 * toy.critical_learning_rate, 1000).crossing_p[1]
    return xr.Dataset(
        {
            "edge": ("delay", edges),
            "edge_exponent": ("of", list(_fit(np.array(delays), np.array(edges), -parameters["longest"]))),
            "held_r2": ("complex_start", r2),
            "held_learned": (("delay", "complex_start"), np.array(learned)),
            "trained_loss": (("complex_delay", "complex_rate", "complex_start"), both),
            "grown": ((), math.log(grown / begin[1])),
            "grown_theory": ((), float(small.growth(begin[0]))),
        },
        coords={"complex_delay": parameters["complex_delays"], "complex_rate": parameters["complex_rates"]},
    )


MINIMAL_SYSTEMS = Experiment(
    id="minimal_systems",
    title="Minimal systems of one to three dimensions: when the critical rate falls as the fifth power",
    figure="beyond Fig. 2D (letter: eq. 15)",
    question="The published toy model has one state and one parameter, and its critical learning rate falls as the "
    "fifth power of the delay. What becomes of the jump, the no-learning zone and the exponent beside a slaved or "
    "rotating plane, with several ghosts in series or in parallel, on a circle, with two slow directions, from other "
    "starts and in other flows? Critical rates are found from descents alone, by bisection.",
    parameters={"quick": QUICK, "paper": PAPER},
    run=run,
    claims=claims,
    origin="own",
)
