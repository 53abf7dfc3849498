"""What is kept of a run while it goes: history, events, checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.training.by_epoch.backend import Backend
from ghostpoint.training.outcome import EVENTS, Outcome
from ghostpoint.training.plan import Plan


class Diary:
    """Of R networks: ``quantities`` at the recorded epochs, ``parts`` at the checkpoints,
    events.
    """

    def __init__(self, plan: Plan, count: int, quantities: Sequence[str], parts: Sequence[str]):
        self.plan, self.count = plan, count
        self.recorded, self.kept = set(plan.record_epochs.tolist()), set(plan.snapshot_epochs.tolist())
        self.events = {name: np.full(count, -1, np.int64) for name in EVENTS}
        self.history: dict[str, list[NDArray[Any]]] = {name: [] for name in quantities}
        self.snapshots: dict[str, list[NDArray[Any]]] = {part: [] for part in parts}

    def note(self, name: str, happened: NDArray[np.bool_], epoch: int) -> None:
        """An event that counts the first time it happens to a network."""
        self.events[name][happened & (self.events[name] < 0)] = epoch

    def above_chance(self, above: NDArray[np.bool_], epoch: int) -> None:
        """Which networks answer above chance."""
        self.note("first_above_chance", above, epoch)
        self.events["last_above_chance"][above] = epoch

    def write(self, epoch: int, seen: dict[str, NDArray[Any]], backend: Backend) -> None:
        """What was seen in an epoch, and the weights before its update, where it is one of those to
        be kept.
        """
        if epoch in self.recorded:
            for name, recordings in self.history.items():
                recordings.append(seen[name])
        if epoch in self.kept:
            for part, values in self.snapshots.items():
                values.append(_copy(backend, part))

    def forget_from(self, epoch: int) -> None:
        """Forget the epoch ``epoch``, which was interrupted and may be half noted."""
        for name, values in self.events.items():
            values[values >= epoch] = epoch - 1 if name == "last_above_chance" else -1
        recorded = int((self.plan.record_epochs < epoch).sum())
        self.history = {name: values[:recorded] for name, values in self.history.items()}
        kept = int((self.plan.snapshot_epochs < epoch).sum())
        self.snapshots = {part: arrays[:kept] for part, arrays in self.snapshots.items()}

    def fill_from(self, epoch: int, seen: dict[str, NDArray[Any]], backend: Backend) -> None:
        """All networks are finished before the epoch ``epoch``: what is left of the run repeats the
        one before it.
        """
        last = self.events["last_above_chance"]
        last[last == epoch - 1] = self.plan.epochs - 1
        for name in self.history:
            self.history[name] += [seen[name]] * int((self.plan.record_epochs >= epoch).sum())
        for part, values in self.snapshots.items():
            values += [_copy(backend, part)] * int((self.plan.snapshot_epochs >= epoch).sum())

    def outcome(self, epochs: int, parameters: dict[str, NDArray[Any]], acted: NDArray[np.int64] | None) -> Outcome:
        """All of it, of a run of ``epochs`` updates."""
        empty = np.zeros((self.count, 0))
        return Outcome(
            history={name: np.stack(values, axis=1) if values else empty for name, values in self.history.items()},
            events=np.array([self.events[name] for name in EVENTS]),
            parameters=parameters,
            snapshots={part: np.stack(values) for part, values in self.snapshots.items() if values},
            epochs=epochs,
            acted=acted,
        )


def _copy(backend: Backend, part: str) -> NDArray[Any]:
    return np.array(backend.numpy(backend.get(part)))
