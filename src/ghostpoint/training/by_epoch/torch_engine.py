"""PyTorch as an engine, for every model and task: batched over networks, gradients by autograd, on
CPU or CUDA.

The only module of training that imports torch; imported when asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.models.arithmetic import Arithmetic
from ghostpoint.remedies import Crossing
from ghostpoint.tasks import Task, Trial
from ghostpoint.training.reference import Approach

#: numbers in one state of the whole stack below which threads cost more than they save (on two
#: shared processors two threads took 2.6 to 12 times as long as one, over 100 to 200,000 numbers)
ONE_THREAD_BELOW = 250_000


class _Torch:
    """:class:`ghostpoint.models.Arithmetic` of tensors: products as matrix products over the
    networks.
    """

    einsum = staticmethod(torch.einsum)
    tanh = staticmethod(torch.tanh)
    sigmoid = staticmethod(torch.sigmoid)

    @staticmethod
    def joined(*arrays: torch.Tensor) -> torch.Tensor:
        """One after the other along the last axis."""
        return torch.cat(arrays, dim=-1)

    @staticmethod
    def times(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """``A v`` per network, of vectors (B, R, N)."""
        return torch.bmm(matrices, vectors.permute(1, 2, 0)).permute(2, 0, 1)

    @staticmethod
    def transposed_times(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """``A^T v`` per network, of vectors (B, R, M)."""
        return torch.bmm(matrices.transpose(1, 2), vectors.permute(1, 2, 0)).permute(2, 0, 1)


TORCH: Arithmetic = _Torch()


class TorchBackend:
    """All networks of a stack as one batch; see
    :class:`ghostpoint.training.by_epoch.backend.Backend`.

    The loss of the stack is the sum of the networks' losses, which do not depend on each other's
    parameters, so one backward pass gives every network its own gradient.
    """

    def __init__(self, models: Record, task: Task, dtype: str, device: str = "cpu"):
        self.models, self.task, self.device = models, task, device
        self.dtype = getattr(torch, dtype)
        self.values = {name: self.native(array) for name, array in models.arrays().items() if name != "seed"}
        self.keep_graph = False

    @contextmanager
    def running(self, watched: bool) -> Iterator[None]:
        """One torch thread while a small stack is trained; the number of before when it is done."""
        self.keep_graph = watched
        before = torch.get_num_threads()
        if len(self.models) * self.models.n_units * self.task.n_trials < ONE_THREAD_BELOW:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def native(self, values: NDArray[Any]) -> torch.Tensor:
        """A NumPy array as a tensor of this run's dtype and device."""
        return torch.as_tensor(np.array(values), dtype=self.dtype, device=self.device)

    def numpy(self, values: torch.Tensor) -> NDArray[Any]:
        """A tensor as a NumPy array."""
        array: NDArray[Any] = values.detach().cpu().numpy()
        return array

    def get(self, part: str) -> torch.Tensor:
        """A parameter."""
        return self.values[part]

    def set(self, part: str, value: torch.Tensor) -> None:
        """Replace a parameter."""
        self.values[part] = value

    def inner(self, one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> torch.Tensor:
        """Inner product per network."""
        total = torch.zeros(len(self.models), dtype=self.dtype, device=self.device)
        for part, value in one.items():
            total = total + (value * other[part]).reshape(len(self.models), -1).sum(dim=1)
        return total

    def evaluate(
        self, trial: Trial, initial_states: NDArray[Any] | None, noise: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[Any], dict[str, torch.Tensor]]:
        """Loss, accuracy and gradient of the present parameters, as ``reference.evaluate`` defines
        them.
        """
        p = {name: value.detach().requires_grad_(name in self.models.trainable) for name, value in self.values.items()}
        inputs, targets = self.native(trial.inputs), self.native(trial.targets)
        weights = self.native(np.where(trial.mask, self.task.weights(trial), 0.0))
        first = p["initial_state"] if initial_states is None else self.native(initial_states)
        x = first.expand(len(inputs), *p["initial_state"].shape)
        disturbance = None if noise is None else self.native(noise)
        models, alpha, answers = self.models, self.task.alpha, []
        for t in range(self.task.steps):
            if self.task.read_out == "before":
                answers.append(models.read(TORCH, p, x))
            u = inputs[:, t] if models.n_inputs else None
            x, _ = models.advance(TORCH, p, x, u, alpha, None if disturbance is None else disturbance[t])
            if self.task.read_out == "after":
                answers.append(models.read(TORCH, p, x))
        z = torch.stack(answers, dim=2)  # (B, R, steps, O)
        outputs = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "identity": lambda value: value}[
            self.models.activation
        ](z)
        loss = (weights[:, None] * (outputs - targets[:, None]) ** 2).sum(dim=(0, 2, 3))
        self.graph = z, {name: p[name] for name in self.models.trainable}
        gradient = self._slopes(loss.sum())
        self.output = self.numpy(outputs.transpose(0, 1))
        return self.numpy(loss), self.task.accuracy(self.output, trial), gradient

    def answers(self) -> NDArray[Any]:
        """The outputs in the trials evaluated last."""
        return self.output

    def approaches(self, wanted: Sequence[Crossing]) -> list[Approach]:
        """Crossings in the trials evaluated last, with gradients by the trainable parts, by
        autograd of the formula.
        """
        return [self._approach(crossing) for crossing in wanted]

    def _approach(self, crossing: Crossing) -> Approach:
        z = self.graph[0][crossing.trial, :, crossing.start : crossing.stop, crossing.output]
        g = crossing.sign * (z - crossing.logit)
        upward = (g[:, :-1] <= 0) & (g[:, 1:] > 0)
        crossed = upward.any(dim=1)
        peak = g.max(dim=1).values
        if g.shape[1] > 1:
            at = upward.int().argmax(dim=1, keepdim=True)
            low, high = g.gather(1, at)[:, 0], g.gather(1, at + 1)[:, 0]
            time = torch.where(
                crossed, at[:, 0] + 1 + low / torch.where(crossed, low - high, torch.ones_like(low)), 0.0
            )
        else:
            time = torch.zeros_like(peak)
        gradient = self._slopes(torch.where(crossed, time, peak).sum())
        return Approach(self.numpy(crossed), self.numpy(time), self.numpy(peak), gradient)

    def _slopes(self, total: torch.Tensor) -> dict[str, torch.Tensor]:
        """Derivatives by the trainable parts, 0 where there is no dependence."""
        parts = self.graph[1]
        if not parts:
            return {}
        found = torch.autograd.grad(total, list(parts.values()), allow_unused=True, retain_graph=self.keep_graph)
        return {
            name: torch.zeros_like(parts[name]) if value is None else value
            for name, value in zip(parts, found, strict=True)
        }
