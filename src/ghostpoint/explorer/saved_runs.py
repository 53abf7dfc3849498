"""Saved runs and histories as the page wants them: curves, events, diagnosis, latent flow and slow
points, as JSON.
"""

from __future__ import annotations

import base64
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.diagnosis import diagnose, read_history
from ghostpoint.errors import InputError
from ghostpoint.models import LowRankRNN
from ghostpoint.results import TrainingRun, load
from ghostpoint.slow_points.latents import flow_ghosts, flow_zeros, latent_ghosts, latent_zeros

__all__ = ["read_saved"]

#: what a page can show at once and a browser can hold
MOST_RUNS, MOST_NETWORKS, MOST_POINTS, MOST_CHECKPOINTS = 40, 60, 800, 120
#: networks of a run whose flow is shown, those that were lost or learned first
MOST_FLOWS = 8


def read_saved(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The runs in a file or folder, for the page.

    Parameters
    ----------
    path : path
        A saved run (:meth:`ghostpoint.TrainingRun.save`), any record that
        :func:`ghostpoint.diagnosis.read_history` reads, or a folder of saved runs.

    Returns
    -------
    dict
        ``{"runs": [...]}``, JSON without NaN. A run has ``name``, ``epoch``, ``networks`` and, of
        networks of rank one and two with checkpoints, ``checkpoints`` (their epochs), ``rank`` and
        ``units``. A network has ``name``, ``loss``, ``gradient_norm``, ``accuracy``, ``events``,
        ``verdict``, ``confidence``, ``phases`` and ``advice``, and with checkpoints ``weights``
        (float32, base64) and ``points``, a list per checkpoint.

    Raises
    ------
    ValueError
        If there is nothing that can be read; the message gives the path.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"path must be a saved run, a record of a training or a folder of runs; there is no {path}")
    if not path.is_dir():
        return {"runs": [_of_file(path)]}
    found = []
    for file in sorted(path.rglob("*.zip")):
        try:
            found.append(_of_run(load(file), str(file.relative_to(path))))
        except InputError:  # another dataset: the folder of a reproduction holds those of its experiments
            continue
        if len(found) == MOST_RUNS:
            break
    if found:
        return {"runs": found}
    try:
        return {"runs": [_of_file(path)]}  # some tools write a record as a folder
    except InputError as error:
        raise InputError(
            f"{path} must hold runs saved by TrainingRun.save (*.zip), or be a record of a training: {error}"
        ) from None


def _of_file(path: Path) -> dict[str, Any]:
    if path.suffix == ".zip":
        try:
            return _of_run(load(path), path.name)
        except InputError:
            pass  # perhaps a record of another tool
    return _of_history(path)


def _of_run(run: TrainingRun, name: str) -> dict[str, Any]:
    """A saved run: its curves thinned to what a screen can show, with its diagnosis."""
    history, count = run.history, min(len(run.models), MOST_NETWORKS)
    findings = diagnose(run).findings
    rows = _rows(history["epoch"].values)
    networks = []
    for k in range(count):
        curves = {
            curve: _rounded(history[curve].values[k][rows]) if curve in history else None
            for curve in ("loss", "gradient_norm", "accuracy")
        }
        seed, rate = int(history["seed"].values[k]), float(history["learning_rate"].values[k])
        events = {str(event): int(values.values[k]) for event, values in run.events.data_vars.items()}
        events.pop("remedy_epochs", None)
        label = f"network {k}" if seed < 0 else f"seed {seed}"
        networks.append({"name": f"{label}, rate {rate:.3g}", **curves, "events": events, **_finding(findings[k])})
    chance = run.task.chance_loss if run.task is not None else None
    shown = {
        "name": name,
        "epoch": history["epoch"].values[rows].tolist(),
        "chance_loss": chance,
        "networks": networks,
    }
    return shown | _flows(run, networks)


def _of_history(path: Path) -> dict[str, Any]:
    """A record of any tool, run by run, each with its own epochs."""
    diagnosis = diagnose(read_history(path))
    networks = []
    for record, finding in zip(diagnosis.records.runs[:MOST_NETWORKS], diagnosis.findings, strict=False):
        rows = _rows(record.epoch)
        curves = {
            curve: _rounded(record.curves[curve][rows]) if curve in record.curves else None
            for curve in ("loss", "gradient_norm", "accuracy")
        }
        name = record.name if diagnosis.records.named else path.name
        if len(diagnosis) > 1 and not diagnosis.records.named:
            name = f"run {record.name}"
        networks.append({"name": name, "epoch": _rounded(record.epoch[rows]), **curves, **_finding(finding)})
    return {"name": path.name, "networks": networks, "chance_loss": None}


def _finding(finding: Any) -> dict[str, Any]:
    phases = [{"name": p.name, "start": float(p.start), "end": float(p.end)} for p in finding.phases]
    return {
        "verdict": finding.verdict,
        "confidence": round(float(finding.confidence), 3),
        "phases": phases,
        "advice": finding.advice,
    }


def _flows(run: TrainingRun, networks: list[dict[str, Any]]) -> dict[str, Any]:
    """Weights and slow points at the checkpoints of networks of rank one and two; written into
    ``networks``.
    """
    models = run.models
    if run.checkpoints is None or not {"m", "n"} <= set(models.parts) or models.rank > 2:
        return {}
    kept = np.unique(np.linspace(0, run.checkpoints.sizes["checkpoint"] - 1, MOST_CHECKPOINTS).round().astype(int))
    telling = sorted(range(len(networks)), key=lambda k: -_telling(networks[k]["events"]))[:MOST_FLOWS]
    at = [run.models_at(int(row)) for row in kept]
    for k in telling:
        stack = [models_then[k] for models_then in at]
        networks[k]["weights"] = [_packed(model) for model in stack]
        networks[k]["points"] = _rank_one_points(stack) if models.rank == 1 else [_rank_two_points(m) for m in stack]
    found = {
        "checkpoints": run.checkpoints["epoch"].values[kept].tolist(),
        "rank": models.rank,
        "units": models.n_units,
    }
    if models.w_out is None:
        found["threshold"] = float(models.threshold[0])
    return found


def _telling(events: dict[str, int]) -> int:
    return 2 * (events.get("no_learning_zone_entry", -1) >= 0) + (events.get("first_above_chance", -1) >= 0)


def _packed(model: LowRankRNN) -> str:
    """Weights as the page unpacks them: m, n, b and the initial state, or for rank two w_in and the
    readout.
    """
    parts: list[Any] = [model.m[0], model.n[0], model.b[0]]
    if model.rank == 1:
        parts.append(model.initial_state[0])
    else:
        parts.append(np.zeros(model.n_units) if model.w_in is None else model.w_in[0, :, 0])
        read = model.w_out is not None and model.readout == "latent"
        parts += [model.w_out[0, 0], model.b_out[0, :1]] if read else [np.zeros(3)]
    flat = np.concatenate([np.asarray(part, "<f4").ravel() for part in parts])
    return base64.b64encode(flat.tobytes()).decode()


def _rank_one_points(stack: list[LowRankRNN]) -> list[list[dict[str, Any]]]:
    """Zeros and ghosts of the flow at each checkpoint, all there are and proven."""
    weights = [np.stack([getattr(model, part)[0].reshape(-1) for model in stack]) for part in ("m", "n", "b")]
    zeros, ghosts = flow_zeros(*weights), flow_ghosts(*weights)
    points = []
    for row in range(len(stack)):
        here = [
            _point("stable" if zeros.stable[row, k] else "unstable", zeros.position[row, k : k + 1])
            for k in range(zeros.count[row])
        ]
        here += [_point("ghost", ghosts.position[row, k : k + 1]) for k in range(ghosts.count[row])]
        points.append(here)
    return points


def _rank_two_points(model: LowRankRNN) -> list[dict[str, Any]]:
    """Zeros in the plane, proven, and ghosts by search."""
    zeros, ghosts = latent_zeros(model), latent_ghosts(model, starts=64)
    stable = np.asarray((zeros.eigenvalues.real < 0).all(axis=1))
    here = [
        _point("stable" if rests else "unstable", place) for rests, place in zip(stable, zeros.position, strict=True)
    ]
    return here + [_point("ghost", place) for place in ghosts.position]


def _point(kind: str, position: NDArray[Any]) -> dict[str, Any]:
    return {"kind": kind, "position": [float(f"{value:.6g}") for value in position]}


def _rows(epoch: NDArray[Any]) -> NDArray[np.int64]:
    """Which recorded epochs are shown: evenly spread, and as many spread evenly in their
    logarithm.
    """
    last = len(epoch) - 1
    if last < MOST_POINTS:
        return np.arange(len(epoch))
    even, early = np.linspace(0, last, MOST_POINTS * 3 // 4), np.geomspace(1, last, MOST_POINTS // 4)
    return np.unique(np.concatenate([even, early]).round().astype(np.int64))


def _rounded(values: NDArray[Any]) -> list[float | None]:
    """Six digits of each number; None where it is not finite."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values.tolist()]
