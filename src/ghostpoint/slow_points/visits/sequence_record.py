"""The record of the visits of trajectories to slow points, and the graph that they make."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.points import SlowPoints
from ghostpoint.storage import Stored
from ghostpoint.summary import Rows, Summarised

if TYPE_CHECKING:
    from ghostpoint.figures.style import Axes

SHOWN = 10  # rows of each table
_PER_VISIT = ("trial", "point", "enter", "leave", "predicted", "speed", "way")


class Route(NamedTuple):
    """Slow points in the order in which trials visit them, and how many trials do."""

    points: tuple[int, ...]
    trials: int

    def __str__(self) -> str:
        return " -> ".join(map(str, self.points)) + f" ({self.trials} trial{'s' * (self.trials != 1)})"


@dataclass(frozen=True, eq=False, repr=False)
class GhostSequence(Stored, Summarised):
    """V visits of R trajectories to P slow points; times in units of tau (of a map: in steps).

    Attributes
    ----------
    points : SlowPoints
        The slow points; numbers of points below are their indices.
    dimension : (P,) int
        Slow directions of a ghost; 0 for fixed points.
    passage_time : (P,)
        Of a ghost from end to end: ``pi / sqrt(r a)`` of one slow direction; of more the time
        between the blow-ups of the quadratic form on the way through the ghost, NaN where it has
        none. NaN for fixed points.
    trial, point : (V,) int
        Which trajectory, and which slow point it visits; by trial, and in it by time.
    enter, leave : (V,)
        Times of the first and the last sample of the visit.
    predicted : (V,)
        What the point's form says for the time between these two; NaN for fixed points.
    speed : (V,)
        The least |F| of the visit.
    way : (V,) of "passes", "grazes", "starts", "ends"
        What the trajectory does there, see `visits.stretches.visits_of`.
    duration : (R,)
        Of each trajectory.
    """

    points: SlowPoints
    dimension: NDArray[np.int64]
    passage_time: Floats
    trial: NDArray[np.int64]
    point: NDArray[np.int64]
    enter: Floats
    leave: Floats
    predicted: Floats
    speed: Floats
    way: NDArray[np.str_]
    duration: Floats

    def __len__(self) -> int:
        return len(self.trial)

    @property
    def dwell(self) -> Floats:
        """(V,) ``leave - enter``."""
        return self.leave - self.enter

    @property
    def kind(self) -> NDArray[np.str_]:
        """(V,) kind of the point visited."""
        return np.asarray(self.points.kind[self.point])

    @property
    def share(self) -> Floats:
        """(V,) the part of the ghost's passage that the trajectory makes: predicted over passage
        time.
        """
        return np.asarray(self.predicted / self.passage_time[self.point])

    @property
    def transitions(self) -> NDArray[np.int64]:
        """(P, P) how often a visit to the first point was followed by one to the second, over all
        trials; grazes left out.
        """
        counts = np.zeros((len(self.points), len(self.points)), np.int64)
        for path in self._paths():
            np.add.at(counts, (path[:-1], path[1:]), 1)
        return counts

    def _paths(self) -> list[list[int]]:
        """The points of each trial in their order, without grazes."""
        stays = self.way != "grazes"
        return [self.point[stays & (self.trial == trial)].tolist() for trial in range(len(self.duration))]

    @property
    def paths(self) -> tuple[Route, ...]:
        """The different sequences of points that trials visit, the most frequent first; trials that
        visit none are left out.
        """
        return _counted(tuple(path) for path in self._paths() if path)

    @property
    def channels(self) -> tuple[Route, ...]:
        """Two or more different ghosts in a row, longest stretches without repetition, and the
        trials that go through them.

        A fixed point between two ghosts ends a channel, and so does the return to a ghost of it. A
        piece of one of the `cycles` is no channel.
        """
        found = []
        for path in self._paths():
            around = [cycle * 2 for cycle in self._cycles(path)]
            found += [run for run in set(self._runs(path)) if not any(_within(run, cycle) for cycle in around)]
        return _counted(found)

    def _runs(self, path: list[int]) -> list[tuple[int, ...]]:
        ghost, runs, run = self.points.kind == "ghost", list[tuple[int, ...]](), list[int]()
        for point in [*path, -1]:
            if point < 0 or not ghost[point] or point in run:
                runs += [tuple(run)] if len(run) > 1 else []
                run = run[run.index(point) + 1 :] if point in run else []
            run += [point] if point >= 0 and ghost[point] else []
        # a piece of a longer one says nothing more
        return [one for one in runs if not any(len(other) > len(one) and _within(one, other) for other in runs)]

    @property
    def cycles(self) -> tuple[Route, ...]:
        """Ghosts that a trial returns to, each cycle from its lowest number on, and the trials that
        go around.
        """
        return _counted(cycle for path in self._paths() for cycle in set(self._cycles(path)))

    def _cycles(self, path: list[int]) -> list[tuple[int, ...]]:
        ghost, found, run = self.points.kind == "ghost", list[tuple[int, ...]](), list[int]()
        for point in path:
            if not ghost[point]:
                run = []
                continue
            if point in run:
                around = run[run.index(point) :]
                low = around.index(min(around))
                found.append(tuple(around[low:] + around[:low]))
                run = run[: run.index(point)]
            run.append(point)
        return found

    @property
    def visits(self) -> xr.Dataset:
        """The visits alone, over ``visit``; ``visits.to_dataframe()`` is their table."""
        values = {name: ("visit", getattr(self, name)) for name in (*_PER_VISIT, "dwell", "share")}
        return xr.Dataset({**values, "kind": ("visit", self.kind.astype("<U9"))})

    def plot(self, *, axes: Axes | None = None) -> Axes:
        """Draw the graph of visits; needs matplotlib.

        Points stand where `SlowPoints.plot` draws them. Areas are the time spent there over all
        trials, widths of arrows the number of transitions.

        Parameters
        ----------
        axes : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from ghostpoint.figures.style import axes_or_new
        from ghostpoint.figures.visit_graph import draw_on

        return draw_on(axes_or_new(axes), self.portrait())

    def portrait(self) -> xr.Dataset:
        """What the drawing of the graph shows: places of the visited points, times, transitions."""
        from ghostpoint.slow_points.portrait import point_portrait

        visited = np.unique(self.point[self.way != "grazes"])
        whole = point_portrait(self.points)
        spent = np.array([self.dwell[(self.point == p) & (self.way != "grazes")].sum() for p in visited])
        counts = self.transitions[np.ix_(visited, visited)]
        return whole.isel(point=visited).assign(
            number=("point", visited),
            dimension=("point", self.dimension[visited]),
            spent=("point", spent, {"units": "tau"}),
            transitions=(("from", "to"), counts),
        )

    def to_dataset(self) -> xr.Dataset:
        """The visits over ``visit``, ``dimension`` and ``passage_time`` over ``point``, the
        transitions over (``from``, ``to``), and the points as `SlowPoints.to_dataset` has them.
        """
        visits: dict[str, Any] = {
            f"visit_{name}": ("visit", getattr(self, name)) for name in (*_PER_VISIT, "dwell", "share")
        }
        return self.points.to_dataset().assign(
            **visits,
            dimension=("point", self.dimension),
            passage_time=("point", self.passage_time, {"units": "tau"}),
            transitions=(("from", "to"), self.transitions),
            duration=("trial", self.duration, {"units": "tau"}),
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> GhostSequence:
        """The record that :meth:`to_dataset` made ``dataset`` from."""
        if "visit_point" not in dataset:
            raise InputError("dataset must hold the visits of trajectories, and it has no variable visit_point")
        visits = {name: dataset[f"visit_{name}"].values for name in _PER_VISIT}
        own = {name: dataset[name].values for name in ("dimension", "passage_time", "duration")}
        return cls(points=SlowPoints.from_dataset(dataset), **own, **visits)

    def of_trial(self, trial: int) -> xr.Dataset:
        """The visits of one trajectory, in their order."""
        one = checks.integer("trial", trial, at_least=0)
        if one >= len(self.duration):
            raise InputError(f"trial must be from 0 to {len(self.duration) - 1}, got {one}")
        return self.visits.isel(visit=np.flatnonzero(self.trial == one))

    def __repr__(self) -> str:
        return str(self)

    def summary(self) -> tuple[str, Rows]:
        """How many visits, the points visited, then single visits of one trial or routes of
        several.
        """
        trials, ghosts = len(self.duration), self.kind == "ghost"
        passes = int((ghosts & (self.way == "passes")).sum())
        different = len(np.unique(self.point[ghosts & (self.way == "passes")]))
        of = "1 trajectory" if trials == 1 else f"{trials} trajectories"
        title = f"GhostSequence: {passes} passages of {different} ghosts in {of}"
        rows: list[tuple[Any, ...]] = []
        for name, routes in (("cycle", self.cycles), ("channel", self.channels)):
            rows += [(f"{name} {route}",) for route in routes[:SHOWN]]
        rows += [self._of_visits(), *self._visit_rows()] if trials == 1 else self._point_rows()
        return title, rows

    @staticmethod
    def _of_visits() -> tuple[str, ...]:
        return ("", "point", "way", "from", "to (tau)", "dwell", "form says", "of passage", "slow directions", "|F|")

    def _visit_rows(self) -> list[tuple[str, ...]]:
        rows = []
        for i in range(min(len(self), 2 * SHOWN)):
            p = self.point[i]
            times = (f"{value:.4g}" for value in (self.enter[i], self.leave[i], self.dwell[i]))
            told = ("-", "-", "-")
            if self.dimension[p]:
                told = (f"{self.predicted[i]:.4g}", f"{100 * self.share[i]:.0f} %", str(self.dimension[p]))
            rows.append((str(i), f"{self.points.kind[p]} {p}", str(self.way[i]), *times, *told, f"{self.speed[i]:.1e}"))
        return rows + ([(f"and {len(self) - 2 * SHOWN} more",)] if len(self) > 2 * SHOWN else [])

    def _point_rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("point", *WAYS_IN_TABLE, "median dwell", "passage time", "slow directions")]
        visited = np.unique(self.point)
        for p in visited[:SHOWN]:
            own = self.point == p
            counts = (str(int((own & (self.way == way)).sum())) for way in WAYS_IN_TABLE)
            ghost = bool(self.dimension[p])
            told = (f"{self.passage_time[p]:.4g}", str(self.dimension[p])) if ghost else ("-", "-")
            rows.append((f"{self.points.kind[p]} {p}", *counts, f"{np.median(self.dwell[own]):.4g}", *told))
        rows += [(f"and {len(visited) - SHOWN} more",)] if len(visited) > SHOWN else []
        none = len(self.duration) - len(np.unique(self.trial))
        return rows + ([(f"{none} trajectories visit no slow point",)] if none else [])


WAYS_IN_TABLE = ("passes", "grazes", "starts", "ends")


def _counted(routes: Any) -> tuple[Route, ...]:
    counts = Counter(routes)
    return tuple(Route(points, number) for points, number in sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def _within(short: tuple[int, ...], long: tuple[int, ...]) -> bool:
    return any(long[i : i + len(short)] == short for i in range(len(long) - len(short) + 1))
