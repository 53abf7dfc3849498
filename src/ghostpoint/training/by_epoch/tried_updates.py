"""Updates that are tried before they stand: the rule of :class:`ghostpoint.remedies.Guard` over a
stack of networks, each judged by itself.

All networks are evaluated together, so that a round of trials costs one evaluation, and the last
round's is the next epoch's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.arrays import Bools
from ghostpoint.numerics.rises import SAFE, Lowest, is_tried, room, spread
from ghostpoint.numerics.stiff_directions import StiffParts, stiff_directions
from ghostpoint.remedies import Guard
from ghostpoint.tasks import Task, Trial
from ghostpoint.training.by_epoch.backend import Backend, per_network

Floats = NDArray[np.float64]
#: the largest and the smallest factor after a refusal
SHRINK, LEAST = 0.7, 0.05
#: rounding errors of a loss that are no rise of it, in multiples of the precision; and how many
#: times larger a loss may be that rounding of the outputs explains
ROUNDING, WIDEST = 4.0, 10.0
#: lengths of rounding below which an update moves next to nothing
NOTHING = 100.0


@dataclass
class Seen:
    """An evaluation of R networks: ``loss`` and ``accuracy`` (R,), ``output`` (R, ...), and the
    gradient by part in the backend's arrays."""

    loss: NDArray[Any]
    accuracy: NDArray[Any]
    output: NDArray[Any]
    gradient: dict[str, Any]


class _One:
    """What the guard knows of one network."""

    def __init__(self, rule: Guard, size: int):
        self.rule, self.factor = rule, 1.0
        self.first, self.lowest = np.inf, Lowest()
        self.y = np.zeros((0, size))  # newest first
        self.gram, self.cross = np.zeros((0, 0)), np.zeros((0, 0))
        self.last: tuple[Floats, Floats] | None = None  # parameters and gradient
        self.stiff: StiffParts | None = None
        # whether all lengths down to rounding were refused, how many others were tried, and for how
        # many updates that has been so
        self.exhausted, self.lengths, self.resting = False, 0, 0
        # D of the last update, where its first trial was accepted
        self.distance: float | None = None

    def learn(self, theta: Floats, gradient: Floats, loss: float) -> Floats:
        """Make a pair of the last gradient and this one; the gradient without its stiff part."""
        self.first = loss if self.first == np.inf else self.first
        self.lowest.see(loss, self.rule.gain)
        if self.last is not None and self.rule.secants:
            s, y = theta - self.last[0], gradient - self.last[1]
            if 0 < y @ y < np.inf and 0 < abs(y @ s) < np.inf:
                self.y = np.vstack([y, self.y[: self.rule.secants - 1]])
                self.gram, self.cross = (_grown(old, self.y @ new) for old, new in ((self.gram, y), (self.cross, s)))
        self.last = theta, gradient
        self.theta, self.loss, self.stiff = theta, loss, None
        combine, curvature = stiff_directions(self.gram, self.cross)
        if not len(curvature):
            return gradient
        self.stiff = StiffParts(combine, curvature, combine @ (self.y @ gradient))
        rest = gradient - self.stiff.gradient @ self.y
        self.rest = float(np.linalg.norm(rest))
        return rest

    def propose(self, d: Floats, precision: float, rounded: float) -> None:
        """Begin the trials of an update; ``rounded`` is D of outputs that rounding tells apart."""
        rule, stiff = self.rule, self.stiff
        along = np.zeros(0) if stiff is None else stiff.combine @ (self.y @ d)
        beside = max(float(d @ d - along @ along), 0.0) ** 0.5
        size = float(np.linalg.norm(self.theta))
        stuck = rule.is_stuck(self.lowest.loss, self.first, self.lowest.waited)
        cap = rule.farthest(stuck)
        begun = self.factor
        if beside > 0 and size > 0:
            # after lengths that were all refused, the factor is one of these
            factor, cap = (rule.growth, min(cap, 1.0)) if self.exhausted else (begun, cap)
            begun = min(factor, cap * size / beside)
        self.whole = begun * d
        if stiff is not None:
            rate = begun * beside / self.rest if self.rest > 0 else np.inf
            self.whole = self.whole + stiff.correction(begun, along, rate) @ self.y
        self.far = max(rule.kappa**2 * self.loss, rounded)
        self.most = rule.most(self.lowest.loss, self.first, stuck) + ROUNDING * precision * self.loss
        if self.most <= rounded:  # a rise that rounding explains
            self.most = min((self.most**0.5 + 0.5 * rounded**0.5) ** 2, WIDEST * self.most)
        self.begun, self.share, self.tried, self.open, self.finite = begun, 1.0, 0, True, False
        length = float(np.linalg.norm(self.whole))
        self.least = precision * size / length if 0 < length < np.inf else 0.0
        self.resting = self.resting + 1 if self.exhausted else 0
        if self.exhausted and is_tried(self.resting):
            # one trial an update then, of lengths that fill all between rounding and the limit
            self.lengths += 1
            self.share = self.least ** (1 - spread(self.lengths)) if 0 < self.least < 1 else 1.0

    @property
    def trying(self) -> bool:
        """Whether the update has trials left."""
        if self.exhausted:
            return self.open and self.tried < is_tried(self.resting)
        return self.open and self.tried < self.rule.tries

    def judge(self, loss: float, distance: float) -> bool:
        """Whether a trial is accepted; else what is tried next is ``share`` of the first one."""
        rule, far = self.rule, self.far
        self.tried += 1
        finite = loss < np.inf and distance < np.inf
        self.finite = self.finite or finite
        if not finite:
            shrink = LEAST
        elif distance > far:
            shrink = min(max(SAFE * (far / distance) ** 0.5, LEAST), 0.5 if loss > self.most else SHRINK)
        elif loss > self.most:
            shrink = 0.5
        else:
            first = self.tried == 1
            expected = room(far, distance, self.distance if first else None)
            raised = min(rule.raised, max(expected, SHRINK)) * self.share
            if not first:
                raised = max(raised, rule.held)
            self.factor, self.open = min(rule.growth, raised * self.begun), False
            self.exhausted = self.exhausted and self.share < NOTHING * self.least
            self.distance = distance if first else None
            return True
        if not self.exhausted:
            self.share = max(self.share * shrink, min(self.share, self.least))
        return False

    def give_up(self) -> None:
        """No trial was accepted."""
        if not self.exhausted and self.finite:  # else no length is any good, or the last was one of many
            self.factor, self.exhausted = self.share * self.begun, 0 < self.share <= self.least
        self.share, self.open, self.distance = 0.0, False, None


class TriedUpdates:
    """The guard of a run: what it has seen of each network, and the trials of an epoch."""

    def __init__(self, rule: Guard, task: Task, backend: Backend, parts: tuple[str, ...]):
        self.rule, self.task, self.backend, self.parts = rule, task, backend, parts
        self.kept: Seen | None = None
        self.old: dict[str, Any] = {}
        self.ones: list[_One] = []

    def evaluated(self, trial: Trial) -> tuple[NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Loss, accuracy and gradient at the present parameters, from the last round if there was
        one.
        """
        if self.kept is None:
            self.kept = self._evaluate(trial)
        return self.kept.loss, self.kept.accuracy, dict(self.kept.gradient)

    def without_stiff_part(self, gradient: dict[str, Any]) -> dict[str, Any]:
        """What the optimiser gets in place of the gradient."""
        assert self.kept is not None
        theta = self._vectors({part: self.backend.get(part) for part in self.parts})
        vectors = self._vectors(gradient)
        self.ones = self.ones or [_One(self.rule, vectors.shape[1]) for _ in vectors]
        rest = [
            one.learn(at, slope, float(loss))
            for one, at, slope, loss in zip(self.ones, theta, vectors, self.kept.loss, strict=True)
        ]
        return self._parts(np.array(rest), gradient)

    def find(self, trial: Trial, update: dict[str, Any], running: Bools) -> tuple[Floats, Bools]:
        """Try the updates of the networks that run; :meth:`make` then makes what was accepted.

        Returns (R,) each: the length of what is accepted over that of the update, and where nothing
        was.
        """
        before, d = self.kept, self._vectors(update)
        assert before is not None
        precision = float(np.finfo(before.loss.dtype).eps)
        self.old = {part: self.backend.get(part) for part in self.parts}
        weights = np.where(trial.mask, self.task.weights(trial), 0.0)
        rounded = (2 * precision) ** 2 * (weights * before.output**2).reshape(len(d), -1).sum(axis=1)
        for one, row, runs, error in zip(self.ones, d, running, rounded, strict=True):
            one.propose(row, precision, float(error))
            if not runs:
                one.give_up()
        seen = before
        try:
            for _ in range(self.rule.tries):
                if not any(one.trying for one in self.ones):
                    break
                self._move()
                seen = self._evaluate(trial)
                distances = (weights * (seen.output - before.output) ** 2).reshape(len(d), -1).sum(axis=1)
                for one, loss, distance in zip(self.ones, seen.loss, distances, strict=True):
                    if one.trying:
                        one.judge(float(loss), float(distance))
        finally:  # an interrupted run keeps the parameters that it has recorded
            for part, value in self.old.items():
                self.backend.set(part, value)
        stayed = np.array([one.open for one in self.ones])
        for one in (one for one in self.ones if one.open):
            one.give_up()
        still = np.array([one.share == 0 for one in self.ones])
        self.kept = _merged(still, before, seen, self.backend)
        made = np.array([one.share * np.linalg.norm(one.whole) for one in self.ones])
        length = np.linalg.norm(d, axis=1)
        return made / np.where(length > 0, length, 1.0), stayed

    def make(self) -> Bools:
        """Put the parameters where they were accepted; where a bit changed, (R,)."""
        self._move()
        changed = np.zeros(len(self.ones), dtype=bool)
        for part, value in self.old.items():
            before, after = self.backend.numpy(value), self.backend.numpy(self.backend.get(part))
            changed |= (after != before).reshape(len(after), -1).any(axis=1)
        return changed

    def _evaluate(self, trial: Trial) -> Seen:
        loss, accuracy, gradient = self.backend.evaluate(trial, None, None)
        return Seen(loss, accuracy, self.backend.answers(), gradient)

    def _move(self) -> None:
        """Put the parameters at the share of the updates that is tried; where it is 0 they keep
        every bit."""
        steps = self._parts(np.array([one.share * one.whole for one in self.ones]), self.old)
        for part, value in self.old.items():
            self.backend.set(part, value + steps[part])

    def _vectors(self, parts: dict[str, Any]) -> Floats:
        """All trainable parts of each network in one row, (R, P)."""
        arrays = [self.backend.numpy(parts[part]).astype(np.float64) for part in self.parts]
        return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)

    def _parts(self, vectors: Floats, like: dict[str, Any]) -> dict[str, Any]:
        """Rows as parts, in the backend's arrays."""
        found, first = {}, 0
        for part in self.parts:
            shape = self.backend.numpy(like[part]).shape
            size = int(np.prod(shape[1:]))
            piece = vectors[:, first : first + size].reshape(shape)
            found[part] = self.backend.native(piece)
            first += size
        return found


def _grown(old: Floats, row: Floats) -> Floats:
    """A symmetric table with a new first row, as large as that."""
    found = np.empty((len(row), len(row)))
    found[1:, 1:] = old[: len(row) - 1, : len(row) - 1]
    found[0, :] = found[:, 0] = row
    return found


def _merged(rows: Bools, one: Seen, other: Seen, backend: Backend) -> Seen:
    """``one`` in some rows, ``other`` in the rest."""
    if not rows.any():
        return other
    gradient = {}
    for part, value in other.gradient.items():
        mine, its = backend.numpy(one.gradient[part]), backend.numpy(value)
        gradient[part] = backend.native(np.where(per_network(rows, its), mine, its))
    arrays = {name: getattr(other, name) for name in ("loss", "accuracy", "output")}
    merged: Any = {
        name: np.where(per_network(rows, array), getattr(one, name), array) for name, array in arrays.items()
    }
    return replace(other, **merged, gradient=gradient)
