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
from ghostpoint.remedies import Guard
from ghostpoint.tasks import Task, Trial
from ghostpoint.training.by_epoch.backend import Backend, per_network
from ghostpoint.training.guarded import Guarded, rounding_of

Floats = NDArray[np.float64]


@dataclass
class Seen:
    """An evaluation of R networks: ``loss`` and ``accuracy`` (R,), ``output`` (R, ...), and the
    gradient by part in the backend's arrays."""

    loss: NDArray[Any]
    accuracy: NDArray[Any]
    output: NDArray[Any]
    gradient: dict[str, Any]


class TriedUpdates:
    """The guard of a run: what it has seen of each network, and the trials of an epoch."""

    def __init__(self, rule: Guard, task: Task, backend: Backend, parts: tuple[str, ...]):
        self.rule, self.task, self.backend, self.parts = rule, task, backend, parts
        self.kept: Seen | None = None
        self.old: dict[str, Any] = {}
        self.ones: list[Guarded] = []

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
        self.ones = self.ones or [Guarded(self.rule, vectors.shape[1], np.float64) for _ in vectors]
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
        squares = (weights * before.output**2).reshape(len(d), -1).sum(axis=1)
        rounded = rounding_of(squares, before.loss.dtype)
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
        made = np.array([one.share * np.linalg.norm(one.whole) if one.share else 0.0 for one in self.ones])
        # summed as above, so that an update that is made as it is has the scale 1 exactly
        length = np.array([np.linalg.norm(row) for row in d])
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
        steps = self._parts(np.array([one.step for one in self.ones]), self.old)
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
