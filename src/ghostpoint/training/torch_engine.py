"""PyTorch as an engine, for every model and task: batched over networks, gradients by autograd, on CPU or CUDA.

The only module of training that imports torch; imported when asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ghostpoint.models import FullRankRNN, LowRankRNN, Record
from ghostpoint.tasks import Task, Trial

__all__ = ["TorchBackend"]


class TorchBackend:
    """All networks of a stack as one batch; see :class:`ghostpoint.training.loop.Backend`.

    The loss of the stack is the sum of the networks' losses, which do not depend on each other's parameters, so one
    backward pass gives every network its own gradient.
    """

    def __init__(self, models: Record, task: Task, dtype: str, device: str = "cpu"):
        self.models, self.task, self.device = models, task, device
        self.dtype = getattr(torch, dtype)
        self.values = {name: self.native(array) for name, array in models.arrays().items() if name != "seed"}

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

    def norm(self, gradient: dict[str, torch.Tensor]) -> torch.Tensor:
        """L2 norm per network."""
        total = torch.zeros(len(self.models), dtype=self.dtype, device=self.device)
        for part in gradient.values():
            total = total + (part * part).reshape(len(self.models), -1).sum(dim=1)
        return total**0.5

    def evaluate(
        self, trial: Trial, initial_states: NDArray[Any] | None, noise: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[Any], dict[str, torch.Tensor]]:
        """Loss, accuracy and gradient of the present parameters, as ``reference.evaluate`` defines them."""
        p = {name: value.detach().requires_grad_(name in self.models.trainable) for name, value in self.values.items()}
        inputs, targets = self.native(trial.inputs), self.native(trial.targets)
        weights = self.native(np.where(trial.mask, self.task.weights(trial), 0.0))
        first = p["initial_state"] if initial_states is None else self.native(initial_states)
        x = first.expand(len(inputs), *p["initial_state"].shape)
        disturbance = None if noise is None else self.native(noise)
        alpha, answers = self.task.alpha, []
        for t in range(self.task.steps):
            if self.task.read_out == "before":
                answers.append(self._logit(p, x))
            drive = self._recurrent(p, x) + p["b"]
            if "w_in" in p:
                drive = drive + torch.einsum("rni,bi->brn", p["w_in"], inputs[:, t])
            if disturbance is not None:
                drive = drive + disturbance[t]
            x = (1 - alpha) * x + alpha * torch.tanh(drive)
            if self.task.read_out == "after":
                answers.append(self._logit(p, x))
        z = torch.stack(answers, dim=2)  # (B, R, steps, O)
        outputs = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "identity": lambda value: value}[
            self.models.activation
        ](z)
        loss = (weights[:, None] * (outputs - targets[:, None]) ** 2).sum(dim=(0, 2, 3))
        names = list(self.models.trainable)
        found = torch.autograd.grad(loss.sum(), [p[name] for name in names], allow_unused=True) if names else ()
        gradient = {
            name: torch.zeros_like(p[name]) if value is None else value
            for name, value in zip(names, found, strict=True)
        }
        per_network = self.numpy(outputs.transpose(0, 1))
        return self.numpy(loss), self.task.accuracy(per_network, trial), gradient

    def _recurrent(self, p: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """``W x`` of states (B, R, N), as matrix products over the networks."""
        state = x.permute(1, 2, 0)  # (R, N, B)
        if isinstance(self.models, FullRankRNN):
            return torch.bmm(p["W"], state).permute(2, 0, 1)
        return torch.bmm(p["m"], torch.bmm(p["n"].transpose(1, 2), state)).permute(2, 0, 1)

    def _logit(self, p: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """What the output's activation is taken of, (B, R, O)."""
        models = self.models
        if isinstance(models, LowRankRNN) and (models.w_out is None or models.readout == "latent"):
            kappa = torch.einsum("rnk,brn->brk", p["n"], x)
            if models.w_out is None:
                return (p["confidence"] * (kappa[..., 0] - p["threshold"]))[..., None]
            return torch.einsum("rok,brk->bro", p["w_out"], kappa) + p["b_out"]
        return torch.einsum("ron,brn->bro", p["w_out"], x) + p["b_out"]
