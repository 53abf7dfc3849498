"""Data sets of PyTorch whose batches are drawn by their number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from ghostpoint.checks import integer

__all__ = ["NumberedBatches"]


class NumberedBatches(IterableDataset, ABC):
    """Batches, one an update; the k-th of the e-th pass is ``batch(e batches + k)``.

    The workers of a ``DataLoader(..., batch_size=None)`` take turns. Where they are not persistent
    each pass is the first.

    Parameters
    ----------
    batches : int
        How many there are in one pass, at least 1.
    seed : int
        At least 0.
    """

    def __init__(self, batches: int, seed: int):
        super().__init__()
        self.batches = integer("batches", batches, at_least=1)
        self.seed = integer("seed", seed, at_least=0)
        self.passes = 0

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Any]:
        first = self.passes * self.batches
        self.passes += 1
        worker = get_worker_info()
        start, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for k in range(start, self.batches, step):
            yield self.batch(first + k)

    @abstractmethod
    def batch(self, number: int) -> Any:
        """The batch of one update, counted from 0."""
