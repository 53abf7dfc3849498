"""Networks that share a kernel call: their flat state, what is written down of them, how they go
on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.subnormals import flushing_subnormals
from ghostpoint.training.kernels import epoch as codes
from ghostpoint.training.kernels.records import Recorder


class SharedCall(ABC):
    """Networks that advance together, ``members`` of the stack.

    ``state`` holds their weights and ``lanes`` columns of every record; columns beyond the members
    are empty, and finished from the start.
    """

    def __init__(self, members: NDArray[np.int64], state: NDArray[Any], lanes: int, epoch: int = 0):
        self.members, self.state, self.epoch = members, state, epoch
        none, quantities = np.zeros(0, np.int64), len(codes.QUANTITIES)
        self.recorder = Recorder(
            record_epochs=none,
            snapshot_epochs=none,
            cursor=np.zeros(2, np.int64),
            history=np.zeros((0, quantities, lanes), state.dtype),
            snapshots=np.zeros((0, state.size), state.dtype),
            events=np.full((len(codes.EVENTS), lanes), -1, np.int64),
            acted=np.zeros(lanes, np.int64),
            now=np.zeros((quantities, lanes), state.dtype),
            logits=np.zeros(0, state.dtype),
        )
        self.recorder.events[codes.FROZEN, len(members) :] = 0

    def record(self, record_epochs: NDArray[np.int64], snapshot_epochs: NDArray[np.int64], snapshot: int) -> None:
        """Write down these epochs from here on, with ``snapshot`` numbers of each checkpoint."""
        _, quantities, lanes = self.recorder.history.shape
        self.recorder = self.recorder._replace(
            record_epochs=record_epochs,
            snapshot_epochs=snapshot_epochs,
            cursor=np.zeros(2, np.int64),
            history=np.zeros((len(record_epochs), quantities, lanes), self.state.dtype),
            snapshots=np.zeros((len(snapshot_epochs), snapshot), self.state.dtype),
        )

    def _of_members(self, values: NDArray[Any]) -> NDArray[Any]:
        return values[..., : len(self.members)]

    @property
    def history(self) -> NDArray[Any]:
        """(recorded epochs, quantity, network)."""
        return self._of_members(self.recorder.history)

    @property
    def now(self) -> NDArray[Any]:
        """The last epoch's, (quantity, network)."""
        return self._of_members(self.recorder.now)

    @property
    def events(self) -> NDArray[np.int64]:
        """(event, network)."""
        return self._of_members(self.recorder.events)

    @property
    def acted(self) -> NDArray[np.int64]:
        """Epochs in which a remedy acted, (network,)."""
        return self._of_members(self.recorder.acted)

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Which members are frozen or have diverged."""
        return np.asarray((self.events[codes.FROZEN :] >= 0).any(axis=0))

    def advance(self, stop: int) -> int:
        """Go on to epoch ``stop`` or until all are finished; the network-epochs that this
        covered.
        """
        start = self.epoch
        with flushing_subnormals():
            self.epoch = self.train(start, stop)
        return (self.epoch - start) * len(self.members)

    @abstractmethod
    def train(self, start: int, stop: int) -> int:
        """The kernel's call; the epoch that it reached."""
