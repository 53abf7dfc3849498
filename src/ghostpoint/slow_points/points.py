"""The record of slow points of one network, with what is proven of each."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.numerics.arrays import Bools, Floats
from ghostpoint.slow_points import stability
from ghostpoint.slow_points.continua import Continuum
from ghostpoint.slow_points.cycles import Cycle
from ghostpoint.storage import Stored
from ghostpoint.summary import Rows, Summarised
from ghostpoint.theory import NormalForm

if TYPE_CHECKING:
    from ghostpoint.figures.style import Axes


#: what the real part of every other eigenvalue must be below for a slow direction to be the only
#: one
ALONE = -0.1
SHOWN = 10  # rows of the table


class Completeness(NamedTuple):
    """Whether every fixed point, and every ghost, is proven to be listed; ``reason`` says why not
    where one is not.
    """

    fixed_points: bool
    ghosts: bool
    reason: str = ""


class Unconverged(NamedTuple):
    """Starts that reached no slow point: where they ended (U, N), |F| there (U,), and why, in
    words.
    """

    position: Floats
    speed: Floats
    reason: tuple[str, ...]


#: of records saved before they said it
UNKNOWN = Completeness(False, False, "the saved record does not say")


#: share of the largest eigenvalue by which one must be negative; less is rounding of zero
NEUTRAL = 1e-13


@dataclass(frozen=True, eq=False, repr=False)
class SlowPoints(Stored, Summarised):
    """P slow points of ``tau dx/dt = F(x)``, slowest first; time in units of tau unless a name says
    otherwise.

    Attributes
    ----------
    position : (P, N)
        States.
    latent : (P, K) or None
        ``kappa = n^T x`` of a low-rank network.
    speed : (P,)
        |F|, zero to rounding at fixed points.
    kind : (P,) of "fixed", "ghost", "undecided"
        A ghost is a local minimum of |F| that is not zero. Other stationary points of |F| (saddles
        between two basins) delay nothing and are not listed.
    eigenvalues : (P, N) complex
        Of the flow's Jacobian, by descending real part.
    r, a : (P,)
        Of ``dy/dt = r + a y**2`` along ``slow_direction`` at a ghost; NaN elsewhere.
    slow_direction, left_vector : (P, N)
        Unit null vectors v and w of the Jacobian at a ghost, w . F = |F|, w . v > 0; NaN elsewhere.
    radius, unique_radius, empty_radius : (P,)
        In units of kappa for low-rank networks, else of the state. Within ``radius`` of the point
        lies a zero of F (a fixed point) or a stationary point of |F| (a ghost); within
        ``unique_radius`` no second zero; within ``empty_radius`` no zero at all. NaN where nothing
        is proven.
    certificate : (P,) of str
        The arithmetic the proof was made in: "interval" (the complete search of latents),
        "float64", "256 bits", "exact" (F is 0 at the point itself), "linear region" (of a relu
        network, in float64). "none" without a proof.
    reason : (P,) of str
        Why a point has no proof; empty for those that have.
    hits : (P,) int
        Starts that reached it, or its mirror image where the network is odd; 0 for one found as the
        partner of another at a nearby fold, or by a complete search.
    unconverged : Unconverged
    complete : Completeness
        Of the whole list that `find_slow_points` returned; picking points from it leaves it as it
        is.
    continua : tuple of Continuum
        Rings, lines and surfaces of near-fixed points; undecided points on them are not listed.
    cycles : tuple of Cycle
        Of the map and of the flow, on which simulations end.
    fates : str
        A sentence on where simulations end; empty where none were needed.
    missing : float
        How many fixed points the search is likely to lack, from how often it found each
        (`search.starts.unseen`; an estimate from below); NaN where all are proven to be listed.
    tau, dt : float or None
        In ms, where given.
    """

    position: Floats
    latent: Floats | None
    speed: Floats
    kind: NDArray[np.str_]
    eigenvalues: NDArray[np.complex128]
    r: Floats
    a: Floats
    slow_direction: Floats
    left_vector: Floats
    radius: Floats
    unique_radius: Floats
    empty_radius: Floats
    certificate: NDArray[np.object_]
    reason: NDArray[np.object_]
    hits: NDArray[np.int64]
    unconverged: Unconverged
    complete: Completeness = UNKNOWN
    missing: float = np.nan
    continua: tuple[Continuum, ...] = ()
    cycles: tuple[Cycle, ...] = ()
    fates: str = ""
    tau: float | None = None
    dt: float | None = None

    def __len__(self) -> int:
        return len(self.speed)

    def __getitem__(self, index: Any) -> SlowPoints:
        """Points picked as from an array; a whole number gives a record of one."""
        rows = np.atleast_1d(np.arange(len(self))[index])
        per_point = {
            field.name: getattr(self, field.name)[rows]
            for field in fields(self)
            if isinstance(getattr(self, field.name), np.ndarray)
        }
        return replace(self, **per_point)

    @property
    def fixed(self) -> SlowPoints:
        """The fixed points."""
        return self[self.kind == "fixed"]

    @property
    def ghosts(self) -> SlowPoints:
        """The ghosts."""
        return self[self.kind == "ghost"]

    # stability: of the flow, and of the map that moves the network

    @property
    def stable(self) -> Bools:
        """(P,) every eigenvalue of the *flow* has a negative real part, and the point is fixed."""
        values = self.eigenvalues
        rounding = NEUTRAL * np.abs(values).max(axis=1, initial=0.0, keepdims=True)
        return np.asarray((values.real < -rounding).all(axis=1) & (self.kind == "fixed"))

    @property
    def n_unstable(self) -> NDArray[np.int64]:
        """(P,) eigenvalues of the flow with a positive real part."""
        return np.asarray((self.eigenvalues.real > 0).sum(axis=1))

    @property
    def time_constants(self) -> Floats:
        """(P, N) ``-1 / Re lambda`` of the flow, in units of tau; negative where it grows."""
        return stability.time_constants(self.eigenvalues)

    @property
    def time_constants_ms(self) -> Floats:
        """(P, N) the same in ms."""
        return self.time_constants * self._known("tau")

    @property
    def alpha(self) -> float:
        """``dt / tau``, the step of the Euler map."""
        return self._known("dt") / self._known("tau")

    @property
    def map_eigenvalues(self) -> NDArray[Any]:
        """(P, N) ``1 + alpha lambda`` of the Euler map."""
        return stability.map_eigenvalues(self.eigenvalues, self.alpha)

    @property
    def stable_under_map(self) -> Bools:
        """(P,) every eigenvalue of the *Euler map* is inside the unit circle, and the point is
        fixed.
        """
        inside = (np.abs(self.map_eigenvalues) < 1 - NEUTRAL).all(axis=1)
        return np.asarray(inside & (self.kind == "fixed"))

    @property
    def n_unstable_under_map(self) -> NDArray[np.int64]:
        """(P,) eigenvalues of the Euler map outside the unit circle."""
        return np.asarray((np.abs(self.map_eigenvalues) > 1).sum(axis=1))

    @property
    def map_time_constants(self) -> Floats:
        """(P, N) ``-1 / log|1 + alpha lambda|`` of the Euler map, in steps."""
        return stability.map_time_constants(self.eigenvalues, self.alpha)

    # passage of ghosts

    @property
    def escape_time(self) -> Floats:
        """(P,) ``pi / sqrt(r a)``, the passage of a ghost from end to end, in units of tau; NaN
        elsewhere.
        """
        return np.asarray(np.pi / np.sqrt(self.r * self.a))

    @property
    def escape_time_ms(self) -> Floats:
        """(P,) the same in ms."""
        return self.escape_time * self._known("tau")

    @property
    def slow_alone(self) -> Bools:
        """(P,) whether the slow direction is the only slow one: all other eigenvalues of the flow
        (all but the one nearest to 0) have a real part below :data:`ALONE` and, where tau and dt
        are known, those of the Euler map are inside the unit circle.

        Where it is not, the normal form of one direction does not describe the passage:
        ``escape_time`` can be wrong by any factor (single passages took 0.03 times as long as
        predicted, or went elsewhere). `slow_passage` follows the network itself along its slow
        manifold, and says how far it is to be believed.
        """
        others = self._others()
        alone = others.max(axis=1, initial=-np.inf) < ALONE
        if self.tau is not None and self.dt is not None:
            alone &= np.where(others > -np.inf, np.abs(self.map_eigenvalues), 0.0).max(axis=1, initial=0.0) < 1
        return np.asarray(alone)

    @property
    def attracts_across(self) -> Bools:
        """(P,) whether all eigenvalues of the flow but the one nearest to 0 have a negative real
        part.
        """
        return np.asarray(self._others().max(axis=1, initial=-np.inf) < 0)

    def _others(self) -> Floats:
        """(P, N) real parts of the eigenvalues, -inf for the one nearest to 0."""
        slowest = np.abs(self.eigenvalues).argmin(axis=1) if len(self) else np.zeros(0, np.int64)
        return np.where(np.arange(self.eigenvalues.shape[1]) != slowest[:, None], self.eigenvalues.real, -np.inf)

    def passage_time(self, y0: float, y1: float) -> Floats:
        """(P,) time of the flow from y0 to y1 along ``slow_direction``, from the ghost, in units of
        tau.
        """
        return np.array(
            [NormalForm(r, a).escape_time(y0, y1) if r > 0 else np.nan for r, a in zip(self.r, self.a, strict=True)]
        )

    def passage_steps(self, y0: float, y1: float) -> Floats:
        """(P,) steps of the Euler map from y0 to y1 along ``slow_direction``, see
        `stability.passage_steps`.
        """
        return np.array(
            [
                stability.passage_steps(r, a, self.alpha, y0, y1) if r > 0 else np.nan
                for r, a in zip(self.r, self.a, strict=True)
            ]
        )

    def plot(
        self,
        model: Any = None,
        *,
        inputs: ArrayLike | None = None,
        equation: str = "rate",
        activation: str = "tanh",
        axes: Axes | None = None,
    ) -> Axes:
        """Draw the points, over the flow of their network where that is given; needs matplotlib.

        Filled circles are stable fixed points, open ones unstable; diamonds are ghosts. One or two
        latents are the axes; of more, and of states, two principal axes.

        Parameters
        ----------
        model : Record, optional
            The network whose points they are, as given to `find_slow_points`.
        inputs, equation, activation : optional
            As given to `find_slow_points`.
        axes : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes

        Examples
        --------
        >>> import ghostpoint as gp
        >>> model = gp.LowRankRNN(m=[1.0, 1.0], n=[1.0, 1.0])
        >>> gp.find_slow_points(model).plot(model).get_xlabel()
        'latent kappa'
        """
        from ghostpoint.figures.slow_points import draw_on
        from ghostpoint.figures.style import axes_or_new
        from ghostpoint.slow_points.portrait import flow_portrait, point_portrait

        portrait = point_portrait(self)
        if model is not None:
            portrait = flow_portrait(model, self, inputs=inputs, equation=equation, activation=activation)
        return draw_on(axes_or_new(axes), portrait)

    def to_dataset(self) -> xr.Dataset:
        """The record over ``point``, ``unit``, ``mode`` (eigenvalues), ``latent`` and ``start``
        (unconverged).

        :meth:`from_dataset` is the inverse; ``escape_time``, ``slow_alone`` and ``stable`` are
        there for readers without this library.
        """
        point, unit = ("point",), ("point", "unit")
        variables: dict[str, Any] = {
            name: (point, getattr(self, name))
            for name in ("speed", "r", "a", "escape_time", "slow_alone", "radius", "unique_radius", "empty_radius")
        }
        variables |= {name: (point, getattr(self, name)) for name in ("hits", "stable")}
        variables |= {name: (point, getattr(self, name).astype(str)) for name in ("kind", "certificate", "reason")}
        variables |= {name: (unit, getattr(self, name)) for name in ("position", "slow_direction", "left_vector")}
        variables["eigenvalue_real"] = (("point", "mode"), self.eigenvalues.real)
        variables["eigenvalue_imag"] = (("point", "mode"), self.eigenvalues.imag)
        if self.latent is not None:
            variables["kappa"] = (("point", "latent"), self.latent)
        variables["unconverged_position"] = (("start", "unit"), self.unconverged.position)
        variables["unconverged_speed"] = (("start",), self.unconverged.speed)
        variables["unconverged_reason"] = (("start",), np.array(self.unconverged.reason, dtype=str))
        attributes = {name: getattr(self, name) for name in ("tau", "dt") if getattr(self, name) is not None}
        fixed_points, ghosts, reason = self.complete
        attributes |= {"complete_fixed_points": int(fixed_points), "complete_ghosts": int(ghosts)}
        attributes |= {"complete_reason": reason, "missing": float(self.missing)}
        attributes["fates"] = self.fates
        named: list[tuple[str, tuple[Any, ...]]] = [("continuum", self.continua), ("cycle", self.cycles)]
        for prefix, records in named:
            for i, record in enumerate(records):
                own = record._asdict()
                states = own.pop("states")
                if "multipliers" in own:
                    values = own.pop("multipliers")
                    for part in ("real", "imag"):
                        name = f"{prefix}_{i}_multiplier_{part}"
                        variables[name] = (f"{prefix}_{i}_multiplier", getattr(values, part))
                variables[f"{prefix}_{i}_states"] = ((f"{prefix}_{i}_state", "unit"), states, own)
        return xr.Dataset(variables, attrs=attributes)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> SlowPoints:
        """The record that :meth:`to_dataset` made ``dataset`` from."""
        missing = sorted({"position", "left_vector", "unconverged_reason"} - {str(name) for name in dataset.data_vars})
        if missing:
            raise InputError(f"dataset must hold slow points, and it has no variable {', '.join(missing)}")
        values = {str(name): variable.values for name, variable in dataset.data_vars.items()}
        names = ("position", "speed", "kind", "r", "a", "slow_direction", "left_vector", "radius", "unique_radius")
        complete = UNKNOWN
        if "complete_reason" in dataset.attrs:
            fixed_points, ghosts = (bool(dataset.attrs[f"complete_{name}"]) for name in ("fixed_points", "ghosts"))
            complete = Completeness(fixed_points, ghosts, str(dataset.attrs["complete_reason"]))
        reasons = tuple(str(text) for text in values["unconverged_reason"])
        return cls(
            **{name: values[name] for name in (*names, "empty_radius", "hits")},
            **{name: values[name].astype(object) for name in ("certificate", "reason")},
            latent=values.get("kappa"),
            eigenvalues=values["eigenvalue_real"] + 1j * values["eigenvalue_imag"],
            unconverged=Unconverged(values["unconverged_position"], values["unconverged_speed"], reasons),
            complete=complete,
            continua=tuple(
                Continuum(**values.attrs, states=values.values) for values in _numbered(dataset, "continuum")
            ),
            cycles=tuple(
                Cycle(
                    **states.attrs,
                    states=states.values,
                    multipliers=np.asarray(
                        dataset[f"cycle_{i}_multiplier_real"].values + 1j * dataset[f"cycle_{i}_multiplier_imag"].values
                    ),
                )
                for i, states in enumerate(_numbered(dataset, "cycle"))
            ),
            fates=str(dataset.attrs.get("fates", "")),
            missing=float(dataset.attrs.get("missing", np.nan)),
            tau=dataset.attrs.get("tau"),
            dt=dataset.attrs.get("dt"),
        )

    def __repr__(self) -> str:
        return str(self)

    def summary(self) -> tuple[str, Rows]:
        """How many of each kind, whether that is all, and the table of the first ones."""
        counts = {kind: int((self.kind == kind).sum()) for kind in ("fixed", "ghost", "undecided")}
        counts = {kind: number for kind, number in counts.items() if number or kind != "undecided"}
        title = "SlowPoints: " + ", ".join(f"{number} {kind}" for kind, number in counts.items())
        sure = [name for name, all_ in (("fixed points", self.complete[0]), ("ghosts", self.complete[1])) if all_]
        rows: list[tuple[str, ...]] = [(f"complete: {' and '.join(sure) or 'nothing'}, proven",)] if sure else []
        if self.complete.reason:
            rows.append((f"not proven complete: {self.complete.reason}",))
        rows += [(str(each),) for each in self.continua]
        if self.fates:
            rows.append((self.fates,))
        if self.missing >= 0.5:
            rows.append((f"about {self.missing:.0f} more fixed points are likely, by how often each was found",))
        if self.unconverged.reason:
            rows.append((f"{len(self.unconverged.reason)} starts unconverged",))
        if len(self):
            header = ("", "kind", "|F|", "unstable", "max Re lambda", "escape (tau)", "proof", "radius", "alone/empty")
            rows.append(header)
        doubtful = (self.kind == "ghost") & ~self.slow_alone
        unstable = [str(number) for number in self.n_unstable]
        if self.tau is not None and self.dt is not None:
            pairs = zip(self.n_unstable, self.n_unstable_under_map, strict=True)
            unstable = [f"{flow}" + f", map {step}" * bool(flow != step) for flow, step in pairs]
        for i in range(min(len(self), SHOWN)):
            outer = self.empty_radius[i] if self.kind[i] == "ghost" else self.unique_radius[i]
            escape = f"{self.escape_time[i]:.4g}" + "?" * bool(doubtful[i])
            numbers = f"{self.speed[i]:.2e}", unstable[i], f"{self.eigenvalues[i, 0].real:.3g}", escape
            proof = str(self.certificate[i]), f"{self.radius[i]:.1e}", f"{outer:.1e}"
            rows.append((str(i), str(self.kind[i]), *numbers, *proof))
        if len(self) > SHOWN:
            rows.append((f"and {len(self) - SHOWN} more",))
        if doubtful[:SHOWN].any():
            rows.append((f"? the slow direction is not the only one (another eigenvalue above {ALONE:g})",))
        return title, rows

    def _known(self, name: str) -> float:
        value = getattr(self, name)
        if value is None:
            raise InputError(f"{name} must be given to find_slow_points for this, got None")
        return checks.number(name, value, above=0.0)


def _numbered(dataset: xr.Dataset, prefix: str) -> list[xr.DataArray]:
    """The variables ``prefix_0_states``, ``prefix_1_states``, ... of a saved record."""
    found: list[xr.DataArray] = []
    while f"{prefix}_{len(found)}_states" in dataset:
        found.append(dataset[f"{prefix}_{len(found)}_states"])
    return found
