"""What ``ghostpoint slow-points`` does: read weights, find the slow points of one network, show and
draw them.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ghostpoint.errors import InputError

if TYPE_CHECKING:
    from ghostpoint.slow_points import SlowPoints


EQUATIONS = {
    "rate": "tau dx/dt = -x + {}(W x + w_in u + b)",
    "voltage": "tau dv/dt = -v + W {}(v) + w_in u + b",
}
HEADER = ("", "kind", "proof", "|F|", "flow", "map", "slowest", "passage", "alone/empty")


class Reading(NamedTuple):
    """What the numbers in a file of weights mean: ``equation`` and ``activation`` as for
    `find_slow_points` (None: the activation that the file says, or tanh), ``low_rank_scale`` and
    ``transpose`` as for `open_weights`.
    """

    equation: str = "rate"
    activation: str | None = None
    low_rank_scale: str | None = None
    transpose: bool = False


class Output(NamedTuple):
    """What is made of the points: a picture of the flow at ``figure``, whose suffix says the
    format; a file at ``out`` (``SlowPoints.load`` reads it); with ``passages`` also how long each
    ghost holds the network, with an error bar (`slow_passage`); with ``as_json`` JSON in place of
    the table.
    """

    figure: Path | None = None
    out: Path | None = None
    passages: bool = False
    as_json: bool = False


class _Lines(logging.Handler):
    """Hands the lines of a search to a function."""

    def __init__(self, tell: Callable[[str], None]):
        super().__init__()
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(record.getMessage())


@contextmanager
def _told(progress: Callable[[str], None] | None) -> Iterator[None]:
    """Within it ``progress`` is told what a search does."""
    if progress is None:
        yield
        return
    log, lines = logging.getLogger("ghostpoint.slow_points"), _Lines(progress)
    level = log.level
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(lines)
        log.setLevel(level)


def find_in_file(
    path: Path,
    *,
    network: int = 0,
    starts: int | None = None,
    seed: int = 0,
    inputs: str | None = None,
    states: Path | None = None,
    tau: float | None = None,
    dt: float | None = None,
    reading: Reading | None = None,
    output: Output | None = None,
    progress: Callable[[str], None] | None = None,
) -> str:
    """The slow points of one network in the file ``path``, as a table or as JSON.

    Parameters
    ----------
    network : int
        Which network of a stack.
    starts, seed : int
        As for ``find_slow_points``.
    inputs : str, optional
        A constant input, numbers with commas between them.
    states : path, optional
        States to start near, (..., N), such as those of trials: ``.npy``, ``.npz`` (of one array)
        or text with commas.
    tau, dt : float, optional
        In ms. Without them times are in units of tau, and the map is the one with dt = tau,
        ``x <- tanh(W x + b)``.
    reading : Reading
        What the numbers in the file mean.
    output : Output
        What is made of the points.
    progress : function of a line, optional
        Told what is being done as the search goes on.

    Raises
    ------
    ValueError
        For whatever cannot be read, or a network or a format that there is not.
    """
    from ghostpoint.checks import integer
    from ghostpoint.slow_points import find_slow_points, flow_portrait
    from ghostpoint.weights import open_weights

    equation, activation, low_rank_scale, transpose = reading or Reading()
    figure, out, passages, as_json = output or Output()
    if (tau is None) != (dt is None):
        raise InputError(f"tau and dt must be given together, got tau = {tau} and dt = {dt}")
    try:
        opened = open_weights(path, low_rank_scale=low_rank_scale, transpose=transpose)
    except ImportError as error:
        raise InputError(str(error)) from None
    models = opened.models
    if not 0 <= integer("network", network) < len(models):
        raise InputError(f"network must be from 0 to {len(models) - 1}, got {network}")
    model = models[network]
    activation = opened.activation if activation is None else activation
    own = (equation, activation) == ("rate", "tanh")
    if not own and passages:
        raise InputError("passages must be left out for another equation or activation than rate and tanh")
    given = None if inputs is None else _numbers(inputs)
    with _told(progress):
        points = find_slow_points(
            model, states=None if states is None else _states(states, model.n_units), inputs=given,
            n_starts=None if starts is None else integer("n_starts", starts, at_least=1), seed=seed, tau=tau, dt=dt,
            equation=equation, activation=activation,
        )  # fmt: skip
    as_read = own or (equation, activation) == ("rate", opened.activation)
    assumed = opened.equation if as_read else EQUATIONS[equation].format(activation)
    if figure is not None:
        from ghostpoint.figures import save
        from ghostpoint.figures import slow_points as picture

        portrait = flow_portrait(model, points, inputs=given, equation=equation, activation=activation)
        save(picture.draw(portrait), figure)
    if out is not None:
        points.save(out)
    if as_json:
        about: dict[str, Any] = {"network": network, "rank": model.rank, "units": model.n_units}
        about |= {"equation": assumed, "arrays_not_used": list(opened.unused)}
        complete = points.complete._asdict()
        answer = {**about, **{f"{name}_complete": complete[name] for name in ("fixed_points", "ghosts")}}
        answer |= _summary(points)
        return json.dumps({**answer, "passages": _passages(model, points, given)} if passages else answer, indent=2)
    lines = [f"{model!r}, network {network}", f"equation: {assumed}"]
    if opened.unused:
        lines.append(f"arrays not used: {', '.join(opened.unused)}")
    lines += [table(points), *_said(points), _completeness(points)]
    return "\n".join(lines + ([_passage_table(_passages(model, points, given))] if passages else []))


def rows(points: SlowPoints) -> list[dict[str, Any]]:
    """One JSON-serialisable dictionary per point; None for numbers that are not finite. Times in ms
    if tau is known.
    """
    from ghostpoint.slow_points.stability import map_eigenvalues

    known = points.tau is not None
    scale = points.tau if points.tau is not None else 1.0
    unstable = (abs(map_eigenvalues(points.eigenvalues, points.alpha if known else 1.0)) > 1).sum(axis=1)
    found = []
    for i in range(len(points)):
        kind = str(points.kind[i])
        outer = points.empty_radius[i] if kind == "ghost" else points.unique_radius[i]
        found.append(
            {
                "kind": kind,
                "certificate": str(points.certificate[i]),
                "reason": str(points.reason[i]),
                "speed": _finite(points.speed[i]),
                "unstable_flow": int(points.n_unstable[i]),
                "unstable_map": int(unstable[i]),
                "slowest_time_constant": _finite(_slowest(points, i) * scale),
                "escape_time": _finite(points.escape_time[i] * scale),
                "slow_alone": bool(points.slow_alone[i]),
                "radius": _finite(points.radius[i]),
                "unique_or_empty_radius": _finite(outer),
                "latent": None if points.latent is None else points.latent[i].tolist(),
                "position": points.position[i].tolist(),
            }
        )
    return found


def table(points: SlowPoints) -> str:
    """The points as text. *flow*, *map*: stable, or in how many directions it is not."""
    unit = "tau" if points.tau is None else "ms"
    alpha = 1.0 if points.tau is None else points.alpha
    lines = ["{:>3} {:<9} {:<9} {:>9} {:>11} {:>11} {:>12} {:>12} {:>11}".format(*HEADER)]
    for i, row in enumerate(rows(points)):
        lines.append(
            f"{i:>3} {row['kind']:<9} {row['certificate']:<9} {_shown(row['speed']):>9} "
            f"{_verdict(row, 'unstable_flow'):>11} {_verdict(row, 'unstable_map'):>11} "
            f"{_shown(row['slowest_time_constant']):>12} {_escape(row):>12} {_shown(row['unique_or_empty_radius']):>11}"
        )
    if len(lines) == 1:
        lines.append("    none found")
    if any(_escape(row).endswith("?") for row in rows(points)):
        lines.append("? not to be believed: another direction is slow too, or unstable")
    failed = len(points.unconverged.reason)
    lines.append(f"times in {unit}; map with dt/tau = {alpha:g}; {failed} starts reached no slow point")
    return "\n".join(lines)


def _passages(model: Any, points: SlowPoints, inputs: list[float] | None) -> list[dict[str, Any]]:
    """Of the ghosts, in steps where tau and dt are known, else in units of tau."""
    from ghostpoint.slow_points import slow_passage

    alpha = None if points.tau is None else points.alpha
    found = []
    for i in (int(j) for j in (points.kind == "ghost").nonzero()[0]):
        row: dict[str, Any] = {"point": i, "unit": "tau" if alpha is None else "steps", "y0": None, "y1": None}
        if not points.attracts_across[i]:
            found.append({**row, "duration": None, "error": None, "reason": "it repels in another direction"})
            continue
        passage = slow_passage(model, points[i], alpha=alpha, inputs=inputs)
        if len(passage.y):
            row |= {"y0": _finite(passage.y[0]), "y1": _finite(passage.y[-1])}
        timed = {"duration": _finite(passage.duration), "error": _finite(passage.error), "reason": passage.reason}
        found.append({**row, **timed})
    return found


def _passage_table(passages: list[dict[str, Any]]) -> str:
    lines = ["passages of ghosts along the slow manifold:"]
    for row in passages:
        if row["error"] is None:
            time = "-" if row["duration"] is None else f"{row['duration']:.4g} {row['unit']}"
            lines.append(f"{row['point']:>3} {time}, no error bar: {row['reason']}")
        else:
            span = f"{_shown(row['y0'])} to {_shown(row['y1'])} along its slow direction"
            lines.append(f"{row['point']:>3} {row['duration']:.4g} +- {row['error']:.1g} {row['unit']}, from {span}")
    return "\n".join(lines if passages else [*lines, "    none"])


def _escape(row: dict[str, Any]) -> str:
    """With a question mark where the normal form of one direction does not describe the passage."""
    return _shown(row["escape_time"]) + "?" * (row["kind"] == "ghost" and not row["slow_alone"])


def _said(points: SlowPoints) -> list[str]:
    """What the columns are, continua, where trajectories end, and what is likely to be missing."""
    lines = []
    if len(points):
        lines.append(
            "flow, map: stable, or in how many directions not; slowest: time constant of the slowest direction, "
            "negative where it grows; passage: pi / sqrt(r a); alone/empty: no other fixed point within"
        )
    lines += [str(each) for each in points.continua]
    lines += [points.fates] * bool(points.fates)
    if points.missing >= 0.5:
        lines.append(f"about {points.missing:.0f} more fixed points are likely, by how often each was found")
    return lines


def _states(path: Path, units: int) -> Any:
    """(S, N) from a file."""
    import numpy as np

    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                if len(archive.files) != 1:
                    raise InputError(f"states must hold one array, and {path} holds {', '.join(archive.files)}")
                found = archive[archive.files[0]]
        elif path.suffix == ".npy":
            found = np.load(path, allow_pickle=False)
        else:
            found = np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"states must be an array of numbers in {path}: {error}") from error
    if found.ndim < 1 or found.shape[-1] != units:
        raise InputError(f"states must have shape (..., {units}), got {found.shape} in {path}")
    return found


def _completeness(points: SlowPoints) -> str:
    complete = points.complete
    if complete.fixed_points:
        ghosts = "ghosts too" if complete.ghosts else "ghosts by search"
        return f"all fixed points are listed, proven; {ghosts}"
    return f"found by search: nothing is proven about points that are not listed ({complete.reason})"


def _summary(points: SlowPoints) -> dict[str, Any]:
    unit = "tau" if points.tau is None else "ms"
    alpha = 1.0 if points.tau is None else points.alpha
    return {
        "unit_of_time": unit,
        "map_step": alpha,
        "unconverged": len(points.unconverged.reason),
        "missing": _finite(points.missing),
        "fates": points.fates,
        "continua": [str(each) for each in points.continua],
        "cycles": [
            {"kind": c.kind, "period": c.period, "stable": c.stable, "proof": c.proof, "states": c.states.tolist()}
            for c in points.cycles
        ],
        "points": rows(points),
    }


def _slowest(points: SlowPoints, i: int) -> float:
    """The time constant of the smallest |Re lambda|, negative where that direction grows; inf at a
    ghost.
    """
    times = points.time_constants[i]
    if points.kind[i] == "ghost":
        return math.inf
    return float(times[abs(times).argmax()])


def _verdict(row: dict[str, Any], name: str) -> str:
    if row["kind"] != "fixed":
        return "-"
    return "stable" if row[name] == 0 else f"{row[name]} unstable"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"inputs must be numbers with commas between them, got {text!r}") from None
