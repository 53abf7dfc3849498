"""The record of slow points followed over training: branches, and what happened between the
recorded epochs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint import checks
from ghostpoint._version import __version__
from ghostpoint.errors import InputError
from ghostpoint.numerics.arrays import Floats, Ints
from ghostpoint.slow_points.tracking.abrupt_drop import Answer, abrupt_drop
from ghostpoint.storage import Stored
from ghostpoint.summary import Rows, Summarised

KIND = "slow-point-tracks"
SHOWN = 20  # events of the table
#: what can happen between two recorded epochs
EVENTS = {
    "pair born": "two fixed points appear in a saddle-node",
    "pair died": "two fixed points vanish in a saddle-node",
    "ghost appeared": "a minimum of the speed forms, with a saddle of the speed and without any fixed point",
    "ghost vanished": "the reverse",
    "other": "a change of another kind, with its evidence: a pitchfork, or a curve that could not be followed although "
    "the complete searches on both sides prove a change",
    "lost": "the curve could not be followed and the search is not complete: nothing is said about the dynamics",
}


class Event(NamedTuple):
    """What happened to slow points between two recorded epochs.

    Attributes
    ----------
    kind : str
        One of `EVENTS`.
    epoch : float
        Where, for weights interpolated between the recorded epochs ``bracket``.
    bracket : (int, int)
    zeros, ghosts : tuple of int
        Branches that begin or end here, -1 for a fixed point that exists at no recorded epoch. A
        pair that dies into a ghost, and a ghost that becomes a pair, has both.
    position : (N,)
        The state there.
    r_before, r_after, a : float
        At a fold, r of ``dy/dt = r + a y**2`` (a > 0) a millionth of the bracket before and after
        it: positive for a ghost, negative for a pair. NaN where there is no fold.
    evidence : str
        What was seen, in words.
    """

    kind: str
    epoch: float
    bracket: tuple[int, int]
    zeros: tuple[int, ...]
    ghosts: tuple[int, ...]
    position: Floats
    r_before: float
    r_after: float
    a: float
    evidence: str


@dataclass(frozen=True, eq=False, repr=False)
class Tracks(Stored, Summarised):
    """Slow points of one network over its training, P in all at E epochs; times in units of tau.

    Attributes
    ----------
    epochs : (E,) int
        The recorded epochs.
    complete_zeros, complete_ghosts : (E,) bool
        Whether every fixed point, every ghost, is proven to be among the points of the epoch.
    branch, epoch : (P,) int
        Branch and epoch of each point, in the order of branch and epoch. A branch is one fixed
        point or one ghost.
    kind : (P,) of "fixed", "ghost"
    position : (P, N)
    eigenvalues : (P, K) complex
        Of the Jacobian of the latent flow (low rank) or of the state's, by descending real part.
        The state of a low-rank network has N - K further ones at -1.
    speed, r, a : (P,)
        As in `SlowPoints`; r and a are NaN at fixed points.
    certificate : (P,) of str
        As in `SlowPoints`; "none" where nothing is proven.
    source : (P,) of "search", "continuation"
        Who found it: points found by continuation were missed by the search at that epoch.
    events : tuple of Event, by epoch
    loss : (L,), loss_epochs : (L,), optional
        In units of the loss at chance.
    """

    epochs: Ints
    complete_zeros: NDArray[np.bool_]
    complete_ghosts: NDArray[np.bool_]
    branch: Ints
    epoch: Ints
    kind: NDArray[np.str_]
    position: Floats
    eigenvalues: NDArray[np.complex128]
    speed: Floats
    r: Floats
    a: Floats
    certificate: NDArray[np.str_]
    source: NDArray[np.str_]
    events: tuple[Event, ...]
    loss: Floats | None = None
    loss_epochs: Ints | None = None
    version: str = field(default=__version__)

    @property
    def n_branches(self) -> int:
        """Branches, numbered from 0."""
        return int(self.branch.max(initial=-1)) + 1

    @property
    def escape_time(self) -> Floats:
        """(P,) ``pi / sqrt(r a)`` of ghosts, NaN elsewhere."""
        return np.asarray(np.pi / np.sqrt(self.r * self.a))

    def count(self, kind: str) -> Ints:
        """(E,) points of the ``kind`` "fixed" or "ghost"."""
        checks.one_of("kind", kind, ("fixed", "ghost"))
        places = np.searchsorted(self.epochs, self.epoch[self.kind == kind])
        return np.bincount(places, minlength=len(self.epochs)).astype(np.int64)

    def of_branch(self, branch: int) -> xr.Dataset:
        """The points of one branch, over ``point``."""
        if not 0 <= checks.integer("branch", branch) < self.n_branches:
            raise InputError(f"branch must be from 0 to {self.n_branches - 1}, got {branch}")
        points = self.to_dataset()
        names = [str(name) for name in points.data_vars if points[name].dims[:1] == ("point",)]
        return points[names].isel(point=np.flatnonzero(self.branch == branch))

    def answer(self, loss: Any = None, epochs: Any = None) -> Answer:
        """`abrupt_drop` of these tracks; by default of the loss given to `track_slow_points`."""
        if loss is None:
            if self.loss is None:
                raise InputError("loss must be given here or to track_slow_points, got None")
            return abrupt_drop(self.loss, self.loss_epochs, self)
        return abrupt_drop(loss, epochs, self)

    def to_dataset(self) -> xr.Dataset:
        """Over ``epoch_recorded``, ``point``, ``event``, ``unit``, ``mode``; :meth:`from_dataset`
        is the inverse.
        """
        point, at = ("point",), ("epoch_recorded",)
        variables: dict[str, Any] = {
            "epochs": (at, self.epochs),
            "complete_zeros": (at, self.complete_zeros),
            "complete_ghosts": (at, self.complete_ghosts),
        }
        for name in ("branch", "epoch", "speed", "r", "a"):
            variables[name] = (point, getattr(self, name))
        for name in ("kind", "certificate", "source"):
            variables[name] = (point, _text(getattr(self, name)))
        variables["position"] = (("point", "unit"), self.position)
        variables["eigenvalue_real"] = (("point", "mode"), self.eigenvalues.real)
        variables["eigenvalue_imag"] = (("point", "mode"), self.eigenvalues.imag)
        events = self.events
        for name in ("epoch", "r_before", "r_after", "a"):
            variables[f"event_{name}"] = ("event", np.array([getattr(e, name) for e in events], dtype=np.float64))
        for name in ("kind", "evidence"):
            variables[f"event_{name}"] = ("event", _text([getattr(e, name) for e in events]))
        bracket = np.array([e.bracket for e in events], dtype=np.int64).reshape(len(events), 2)
        variables["event_bracket"] = (("event", "end"), bracket)
        units = self.position.shape[1]
        places = np.array([e.position for e in events]).reshape(len(events), units)
        variables["event_position"] = (("event", "unit"), places)
        for name in ("zeros", "ghosts"):
            rows = [getattr(e, name) for e in events]
            table = np.full((len(rows), max(map(len, rows), default=0)), -2, np.int64)
            for row, branches in zip(table, rows, strict=True):
                row[: len(branches)] = branches
            variables[f"event_{name}"] = (("event", f"event_{name[:-1]}"), table, {"missing": -2, "unrecorded": -1})
        if self.loss is not None and self.loss_epochs is not None:
            variables["loss"] = ("loss_epoch", self.loss, {"units": "chance"})
            variables["loss_epochs"] = ("loss_epoch", self.loss_epochs)
        return xr.Dataset(variables, attrs={"kind": KIND, "version": self.version})

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Tracks:
        """The tracks that :meth:`to_dataset` made ``dataset`` from."""
        if dataset.attrs.get("kind") != KIND:
            raise InputError(f"dataset must hold tracks of slow points, got kind {dataset.attrs.get('kind')!r}")
        values = {str(name): variable.values for name, variable in dataset.data_vars.items()}
        events = []
        for i in range(dataset.sizes["event"]):
            branches = [tuple(int(b) for b in values[f"event_{name}"][i] if b > -2) for name in ("zeros", "ghosts")]
            low, high = (int(e) for e in values["event_bracket"][i])
            r_before, r_after, a = (float(values[f"event_{name}"][i]) for name in ("r_before", "r_after", "a"))
            events.append(
                Event(
                    kind=str(values["event_kind"][i]),
                    epoch=float(values["event_epoch"][i]),
                    bracket=(low, high),
                    zeros=branches[0],
                    ghosts=branches[1],
                    position=values["event_position"][i],
                    r_before=r_before,
                    r_after=r_after,
                    a=a,
                    evidence=str(values["event_evidence"][i]),
                )
            )
        same = ("epochs", "complete_zeros", "complete_ghosts", "branch", "epoch", "kind", "position", "speed", "r", "a")
        return cls(
            **{name: values[name] for name in (*same, "certificate", "source")},
            eigenvalues=values["eigenvalue_real"] + 1j * values["eigenvalue_imag"],
            events=tuple(events),
            loss=values.get("loss"),
            loss_epochs=values.get("loss_epochs"),
            version=dataset.attrs["version"],
        )

    def __repr__(self) -> str:
        return str(self)

    def summary(self) -> tuple[str, Rows]:
        """Branches and epochs, what is proven, and the table of the first events."""
        first, last, count = self.epochs[0], self.epochs[-1], len(self.epochs)
        title = f"Tracks: {self.n_branches} branches at {count} epochs from {first} to {last}"
        rows: list[tuple[str, ...]] = []
        for name, kind, complete in (
            ("fixed points", "fixed", self.complete_zeros),
            ("ghosts", "ghost", self.complete_ghosts),
        ):
            number = self.count(kind)
            proven = f"proven complete at {int(complete.sum())} of {count} epochs"
            rows.append((f"{name}: {number.min()} to {number.max()}, {proven}",))
        if self.events:
            rows.append(("epoch", "between", "event", "branches", "evidence"))
        for event in self.events[:SHOWN]:
            which = [f"fixed {', '.join(map(str, event.zeros))}"] if event.zeros else []
            which += [f"ghost {', '.join(map(str, event.ghosts))}"] if event.ghosts else []
            bracket = f"{event.bracket[0]} to {event.bracket[1]}"
            rows.append((f"{event.epoch:.6g}", bracket, event.kind, "; ".join(which), event.evidence))
        if len(self.events) > SHOWN:
            rows.append((f"and {len(self.events) - SHOWN} more events",))
        return title, rows


def _text(values: Any) -> NDArray[np.str_]:
    # of a width above 0, which an empty list would not have
    array = np.asarray(values, dtype=str)
    return array.astype(f"<U{max(1, array.dtype.itemsize // 4)}")
