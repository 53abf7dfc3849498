"""The library's tasks as data sets of PyTorch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from ghostpoint.errors import InputError
from ghostpoint.tasks import Task
from ghostpoint.torch.numbered_batches import NumberedBatches

__all__ = ["TaskBatch", "TaskBatches"]


class TaskBatch(NamedTuple):
    """The trials of one update.

    Attributes
    ----------
    inputs : (trial, step, input channel)
    targets : (trial, step, output channel)
    weights : (trial, step, output channel)
        What squared errors are multiplied by before they are summed; 0 where an answer does not
        count.
    mask : (trial, step, output channel) bool
        Which answers count.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    mask: torch.Tensor

    def loss(self, outputs: torch.Tensor) -> torch.Tensor:
        """The task's loss of outputs (trial, step, output channel): ``sum weights (outputs -
        targets)**2``; of a stack of networks, (trial, network, step, output channel), the sum over
        the networks.

        Raises
        ------
        ValueError
            For outputs of another shape.
        """
        trials, *rest = self.targets.shape
        stack = outputs.ndim == 4 and outputs.shape[0] == trials and list(outputs.shape[2:]) == rest
        if not stack and outputs.shape != self.targets.shape:
            shape = ", ".join(map(str, rest))
            raise InputError(
                f"outputs must have shape ({trials}, {shape}), or ({trials}, R, {shape}) of R networks; "
                f"got {tuple(outputs.shape)}"
            )
        weights, targets = (one[:, None] if stack else one for one in (self.weights, self.targets))
        return (weights * (outputs - targets) ** 2).sum()


class TaskBatches(NumberedBatches):
    """Batches of a task, one an update: the trials that ``gp.train`` with the same seed has in the
    same epochs.

    Use it as an iterator, or in ``DataLoader(batches, batch_size=None)``, whose workers take turns.

    Parameters
    ----------
    task : Task
    batches : int
        How many there are in one pass.
    seed : int
        Of random trials. The k-th batch of the e-th pass is drawn from ``(seed, e batches + k)``;
        with the workers of a loader that are not persistent each pass is the first.
    dtype : torch.dtype

    Raises
    ------
    ValueError
        For anything but a task, and numbers below 1 (batches) or 0 (seed).
    """

    def __init__(self, task: Task, batches: int, seed: int = 0, dtype: torch.dtype = torch.float32):
        super().__init__(batches, seed)
        if not isinstance(task, Task):
            raise InputError(f"task must be one of ghostpoint.tasks, got {type(task).__name__}")
        if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise InputError(f"dtype must be a torch.dtype of floats, got {dtype!r}")
        self.task, self.dtype = task, dtype

    def batch(self, number: int) -> TaskBatch:
        """The batch of one update, counted from 0."""
        trial = self.task.trial((self.seed, number)) if self.task.random else self.task.trial()
        weights = np.where(trial.mask, self.task.weights(trial), 0.0)
        inputs, targets, weighed = (torch.tensor(a, dtype=self.dtype) for a in (trial.inputs, trial.targets, weights))
        return TaskBatch(inputs, targets, weighed, torch.tensor(trial.mask))
