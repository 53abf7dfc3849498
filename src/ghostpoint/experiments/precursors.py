"""Six readings of "a ghost precedes the drop", as tests of networks, and when the loss of a network
drops.

Each reading is a property of one network at one moment of its training (:data:`READINGS`):

* ``ghost``: the flow without input has a local minimum of the speed that is not zero, anywhere. The
  speed is that of the latents ``z = Q^T x`` for a low-rank network, Q an orthonormal basis of the
  span of n, and ``|F(x)|`` for a full-rank one.
* ``path_minimum``: in a trial without noise the speed along the path has a local minimum inside the
  delay.
* ``slow_stretch``: the path is slower than d / T for at least half of the delay T in one stretch. d
  is the distance from the state at the start of the delay to the nearest threshold of the readout,
  so d / T is the constant speed that would reach the threshold when the delay ends. A network
  slower than that for half of the delay times it by slowness.
* ``transient``: such a stretch that the path also leaves: it is faster than d / T again before an
  input comes or the trial ends. A path that comes to rest at a fixed point has a slow stretch but
  no transient one.
* ``inflection``: the flow is flattest somewhere on the way. For rank one: f' has a local maximum
  between start and threshold, where f'' = 0. Else: the slope of the speed along the path has one
  inside the delay. A ghost needs such a point before it can form: f' must rise to zero there.
* ``passage``: a ghost takes the delay, within a factor of two, by its normal form
  ``dy/dt = r + a y**2``: from start to threshold for rank one, else from end to end,
  ``pi / sqrt(r a)``.

A path has a property when it has it in at least one kind of trial. Trials start at the mean of the
initial states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.slow_points import find_slow_points
from ghostpoint.slow_points.latents import flow_ghosts, latent_ghosts
from ghostpoint.tasks import Task
from ghostpoint.theory import NormalForm

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Found = dict[str, Bools]

#: the readings, weakest name first in words for a claim
READINGS: Mapping[str, str] = {
    "ghost": "a ghost (a local minimum of the speed that is not zero)",
    "path_minimum": "a minimum of the speed along the path of a trial, inside the delay",
    "slow_stretch": "a stretch of the path, half of the delay long, that is slower than 1/T (threshold distance over "
    "delay)",
    "transient": "a stretch of the path slower than 1/T that the path leaves again without an input",
    "inflection": "an inflection of the flow, a point where it is flattest",
    "passage": "a ghost whose passage takes the delay within a factor of two, by its normal form",
}
#: share of the delay that a slow stretch must last
STRETCH = 0.5
#: a passage "takes the delay" within this factor
FACTOR = 2.0
#: speeds below this share of the largest on a path are rest, and their minima rounding
RESOLVED = 1e-6
#: points between start and threshold at which the curvature of a rank-one flow is looked at
GRID = 65


@dataclass(frozen=True)
class Window:
    """The stretch of a trial in which the flow is that without input, in steps.

    ``first`` is the state at which the delay starts, after the first cue if there is one; the delay
    is ``delay`` steps, and no input comes for ``free`` steps.
    """

    first: int
    delay: int
    free: int


def window_of(task: Any) -> Window:
    """The delay of a task, and how long after its start no input comes."""
    inputs = task.trial().inputs
    shown = (inputs != 0).any(axis=(0, 2)) if inputs.shape[2] else np.zeros(task.steps, bool)
    first = int(np.argmin(shown)) if shown[:1].any() else 0
    later = np.flatnonzero(shown[first:])
    return Window(first, task.delay_steps, int(later[0]) if len(later) else task.steps - first)


def crossings(epoch: NDArray[np.int64], loss: Floats, shares: Any) -> NDArray[np.int64]:
    """First of the recorded epochs at which losses (network, epoch) are below each share; -1 for
    never.
    """
    below = loss[:, None, :] < np.asarray(shares, float)[None, :, None]
    return np.where(below.any(axis=2), epoch[below.argmax(axis=2)], -1)


def of_paths(speed: Floats, distance: Floats, window: Window, alpha: float) -> Found:
    """The four readings of the path, of R networks; see the module's text.

    Parameters
    ----------
    speed : (R, trial, free + 1)
        Speed of the flow without input at the states from the start of the delay on, per tau.
    distance : (R, trial)
        From the first of these states to the readout's threshold, in the units of the speed times
        tau.
    """
    delay = speed[..., : window.delay + 1]
    resting = RESOLVED * speed.max(axis=-1, keepdims=True)
    slower = speed < distance[..., None] / (window.delay * alpha)
    # a path of Euler steps covers alpha v between two states, so this is the slope of v over its
    # length
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.diff(delay, axis=-1) / (alpha * delay[..., :-1])
    slope = np.where(delay[..., 1:] > resting, slope, np.nan)
    needed = int(np.ceil(STRETCH * window.delay))
    stretch, left = _runs(slower, needed)
    return {
        "path_minimum": (_inner(-delay) & (delay[..., 1:-1] > resting)).any(axis=(1, 2)),
        "slow_stretch": (stretch[..., : window.delay + 1]).any(axis=(1, 2)),
        "transient": left.any(axis=1),
        "inflection": _inner(slope, 1e-9).any(axis=(1, 2)),
    }


def _inner(values: Floats, margin: float = 0.0) -> Bools:
    """Where values (..., S) have a local maximum, for all but the first and last; NaN is none."""
    middle = values[..., 1:-1]
    return np.asarray((middle > values[..., :-2] + margin) & (middle > values[..., 2:] + margin))


def _runs(slow: Bools, needed: int) -> tuple[Bools, Bools]:
    """Runs of more than ``needed`` slow states, which last ``needed`` steps.

    For ``slow`` (..., S): whether such a run has been reached at each state (..., S), and whether
    a path leaves such a run before it ends (...).
    """
    length = np.zeros(slow.shape[:-1], np.int64)
    left = np.zeros(slow.shape[:-1], bool)
    reached = np.zeros(slow.shape, bool)
    for state in range(slow.shape[-1]):
        left |= (length > needed) & ~slow[..., state]
        length = np.where(slow[..., state], length + 1, 0)
        reached[..., state] = length > needed
    return reached, left


# rank one


def rank_one_readings(models: LowRankRNN, task: Any) -> Found:
    """All readings of R rank-one networks with the fixed readout, on a task without input; each
    (R,).
    """
    m, n, b = (np.asarray(part, np.float64).reshape(len(models), -1) for part in (models.m, models.n, models.b))
    networks = models.replace(m=m, n=n, b=b)
    window, threshold = window_of(task), models.threshold.astype(np.float64)
    kappa = networks.latent_path(task.steps, task.alpha)  # (steps + 1, R, 1)
    speed = np.abs(networks.flow(kappa))[..., 0].T[:, None]
    start = kappa[0, :, 0]
    ghosts = flow_ghosts(m, n, b)
    delay = window.delay * task.alpha
    return {
        **of_paths(speed, np.abs(threshold - start)[:, None], window, task.alpha),
        "ghost": ghosts.count > 0,
        "inflection": _flattest(m, n, b, start, threshold),
        "passage": np.array(
            [
                any(_takes(_on_the_way(*form, x, top), delay) for form in zip(*row, strict=True))
                for row, x, top in zip(
                    zip(ghosts.height, ghosts.curvature, ghosts.position, strict=True), start, threshold, strict=True
                )
            ],
            bool,
        ),
    }


def _flattest(m: Floats, n: Floats, b: Floats, start: Floats, threshold: Floats) -> Bools:
    """Whether f' has a local maximum between start and threshold: f'' changes there from positive
    to negative.
    """
    low, high = np.minimum(start, threshold), np.maximum(start, threshold)
    bend = np.empty((len(m), GRID))
    for place, share in enumerate(np.linspace(0.0, 1.0, GRID)):
        t = np.tanh(m * (low + share * (high - low))[:, None] + b)
        bend[:, place] = (-2 * n * m * m * t * (1 - t * t)).sum(axis=1)
    return np.asarray(((bend[:, :-1] > 0) & (bend[:, 1:] <= 0)).any(axis=1))


def _on_the_way(r: float, a: float, ghost: float, start: float, threshold: float) -> float:
    """Time that the normal form of a ghost takes from start up to threshold; infinite where it is
    not passed.
    """
    if not (start < threshold and ghost < threshold and r > 0):
        return np.inf
    return NormalForm(r, a).escape_time(start - ghost, threshold - ghost)


def _takes(duration: float, delay: float) -> bool:
    return bool(delay / FACTOR <= duration <= delay * FACTOR)


# rank two and more


def orthonormal(models: LowRankRNN) -> LowRankRNN:
    """The same networks with latents ``z = Q^T x``, Q an orthonormal basis of the span of n (n = Q
    R, kappa = R^T z).

    Outputs and states stay what they are; the speed of z does not depend on how ``W = m n^T`` is
    split.
    """
    Q, R = np.linalg.qr(np.asarray(models.n, np.float64))
    changes: dict[str, Any] = {"n": Q, "m": np.asarray(models.m, np.float64) @ R.swapaxes(1, 2)}
    if models.w_out is not None and models.readout == "latent":
        changes["w_out"] = np.asarray(models.w_out, np.float64) @ R.swapaxes(1, 2)
    return models.replace(**changes)


def latent_readings(models: LowRankRNN, task: Any, starts: int) -> Found:
    """All readings of R networks of rank two or three with a readout of the latents; each (R,).

    Ghosts are sought by ``starts`` descents, so some may be missed.
    """
    networks, window = orthonormal(models), window_of(task)
    speed, distance, _ = _travelled(networks, task, window)
    ghost, passage = np.zeros(len(models), bool), np.zeros(len(models), bool)
    delay = window.delay * task.alpha
    for row in range(len(models)):
        found = latent_ghosts(networks[row], starts=starts)
        ghost[row] = found.count > 0
        passage[row] = any(_takes(time, delay) for time in passages(networks[row], found.position))
    return {**of_paths(speed, distance, window, task.alpha), "ghost": ghost, "passage": passage}


def passages(model: LowRankRNN, ghosts: Floats) -> list[float]:
    """``pi / sqrt(r a)`` of ghosts (G, K) of one low-rank network, in tau, from the normal form in
    its latents.

    ``r = |f| / (w.v)``, ``a = w . D2f[v, v] / (2 w.v)`` with w = f / |f| and v the right null
    vector of the Jacobian.
    """
    m, n = np.asarray(model.m[0], np.float64), np.asarray(model.n[0], np.float64)
    times = []
    for z in ghosts:
        t = model.rates(z[None])[0].astype(np.float64)
        f = t @ n - z
        J = (n.T * (1 - t * t)) @ m - np.eye(len(z))
        v = np.linalg.svd(J)[2][-1]
        w = f / np.linalg.norm(f)
        overlap = abs(float(w @ v))
        bend = float(w @ (n.T @ (-2 * t * (1 - t * t) * (m @ v) ** 2))) / 2
        times.append(np.pi * overlap / np.sqrt(np.linalg.norm(f) * bend) if bend > 0 else np.inf)
    return times


def full_rank_readings(models: FullRankRNN, task: Any, starts: int) -> Found:
    """All readings of R full-rank networks; each (R,).

    Ghosts are sought from ``starts`` starts, half of them near the states of the trials; some may
    be missed, and those without a proof do not count.
    """
    window = window_of(task)
    speed, distance, states = _travelled(models, task, window)
    ghost, passage = np.zeros(len(models), bool), np.zeros(len(models), bool)
    delay = window.delay * task.alpha
    for row in range(len(models)):
        found = find_slow_points(models[row], states=states[:, :, row], n_starts=starts).ghosts
        times = [np.pi / np.sqrt(r * a) if r * a > 0 else np.inf for r, a in zip(found.r, found.a, strict=True)]
        ghost[row], passage[row] = len(found) > 0, any(_takes(time, delay) for time in times)
    return {**of_paths(speed, distance, window, task.alpha), "ghost": ghost, "passage": passage}


def _travelled(models: Any, task: Task, window: Window) -> tuple[Floats, Floats, Floats]:
    """Speeds (R, trial, free + 1) and threshold distances (R, trial) as in `of_paths`, and the
    states (S, trial, R, .).

    The states are latents for low-rank networks. Without noise, from the model's initial state.
    """
    low = models.rank < models.n_units
    inputs = task.trial().inputs[: _kinds(task)]
    first = models.latent(models.initial_state) if low else models.initial_state
    state = np.broadcast_to(first, (len(inputs), *first.shape)).astype(np.float64)
    states = [state]
    for step in range(window.first + window.free):
        u = inputs[:, step]
        state = models.latent_step(state, task.alpha, u) if low else models.step(state, task.alpha, u)
        states.append(state)
    free = states[window.first :]
    speed = np.stack([np.linalg.norm(models.flow(each), axis=-1) for each in free])  # (S, trial, R)
    logit = models.logit(free[0]) if low else models.logit_of_state(free[0])[..., 0]  # (trial, R)
    cuts = np.asarray(task.thresholds)
    cuts = np.arctanh(cuts) if models.activation == "tanh" else np.log(cuts / (1 - cuts))
    weight = np.linalg.norm(np.asarray(models.w_out, np.float64)[:, 0], axis=-1)
    distance = np.abs(logit[..., None] - cuts).min(axis=-1) / weight
    return np.moveaxis(speed, 0, -1).swapaxes(0, 1), distance.T, np.stack(states)


def _kinds(task: Any) -> int:
    """How many different trials a batch has: its copies come one after the other."""
    return int(task.n_trials // getattr(task, "copies", 1))
