"""The memory tasks of the benchmarks of optimizers: what is shown and wanted, the networks, and how
a training is judged.

Full batches: the tasks of the publication (delayed activation DA, delayed cue discrimination DCDT,
delayed match to sample DMTS), and *parity*: all 32 sequences of five bits, shown as -1 and 1, with
their parity asked for after the last. Fresh batches of 16: the adding problem (S. Hochreiter,
J. Schmidhuber, "Long short-term memory", Neural Computation 9, 1997) and the copy task
(M. Arjovsky, A. Shah, Y. Bengio, "Unitary evolution recurrent neural networks", ICML 2016).

Cells: ``nn.RNN`` (tanh), ``nn.GRU``, ``nn.LSTM`` with PyTorch's own initial weights, a linear
readout and the task's output function; the torch seed is the run's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any

import torch
from torch import nn

import ghostpoint as gp
from ghostpoint.torch import Guard

FULL = {
    "DA": gp.tasks.DelayedActivation(),
    "DCDT": gp.tasks.DelayedCueDiscrimination(30, 80, 50, noise=0.0, initial_scale=0.0),
    "DMTS": gp.tasks.DelayedMatchToSample(30, 80, 50, noise=0.0, initial_scale=0.0),
}
BATCH, COPIED, SYMBOLS, COPY_STEPS, ADDING_STEPS, BITS = 16, 3, 8, 46, 50, 5
CELLS = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True)
class Problem:
    """A task for networks in PyTorch.

    ``batches(generator)`` is a function that gives the inputs ``(trials, steps, inputs)`` and the
    targets of each update in turn; ``loss(outputs, targets)`` is the loss and the outputs that
    count. ``chance`` is the loss of the best constant answer; ``fixed``: every batch is the same.
    """

    inputs: int
    outputs: int
    output_function: Callable[[torch.Tensor], torch.Tensor]
    chance: float
    fixed: bool
    batches: Callable[[torch.Generator], Callable[[], tuple[torch.Tensor, torch.Tensor]]]
    loss: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

    def network(self, cell: str, units: int, seed: int) -> Network:
        torch.manual_seed(seed)
        return Network(cell, self.inputs, units, self.outputs, self.output_function)


class Network(nn.Module):
    """A recurrent layer, a linear readout and an output function."""

    def __init__(self, cell: str, inputs: int, units: int, outputs: int, last: Callable[[Any], Any]):
        super().__init__()
        self.cell = CELLS[cell](inputs, units, batch_first=True)
        self.readout = nn.Linear(units, outputs)
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.readout(self.cell(x)[0]))


def train(
    asked: Problem,
    network: Network,
    optimizer: torch.optim.Optimizer,
    updates: int,
    seed: int,
    guard: Guard | None = None,
) -> list[float]:
    """The losses before each of so many updates of a network, by its optimizer alone or guarded.

    Without a guard a training ends where its loss is not finite.
    """
    following = asked.batches(torch.Generator().manual_seed(seed))
    losses: list[float] = []
    for _ in range(updates):
        x, y = following()

        def closure(x: torch.Tensor = x, y: torch.Tensor = y) -> tuple[torch.Tensor, torch.Tensor]:
            return asked.loss(network(x), y)

        if guard is not None:
            losses.append(float(guard.step(closure)))
            continue
        optimizer.zero_grad()
        loss, _ = closure()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            break
    return losses


def problem(name: str) -> Problem:
    """The task of this name."""
    return _published(name) if name in FULL else {"parity": _parity, "adding": _adding, "copy": _copy}[name]()


def _published(name: str) -> Problem:
    task = FULL[name]
    trial = task.trial()
    x = torch.as_tensor(trial.inputs, dtype=torch.float32)
    x = x if x.shape[2] else torch.zeros(*x.shape[:2], 1)
    counted = torch.as_tensor(trial.mask)
    y = torch.as_tensor(trial.targets, dtype=torch.float32)[counted]
    # of a mean over what counts; the task of delayed activation divides by half the steps
    chance = task.chance_loss / float(task.weights(trial).sum())

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        answers = outputs[counted]
        return nn.functional.mse_loss(answers, targets), answers

    last = torch.tanh if (trial.targets < 0).any() else torch.sigmoid
    return Problem(
        x.shape[2], y.shape[-1] if y.ndim > 1 else 1, last, chance, True, lambda generator: lambda: (x, y), loss
    )


def _parity() -> Problem:
    bits = torch.tensor(list(product((0.0, 1.0), repeat=BITS)))
    x, y = 2 * bits[:, :, None] - 1, bits.sum(1) % 2
    return Problem(1, 1, torch.sigmoid, 1 / 4, True, lambda generator: lambda: (x, y), _last_answer)


def _last_answer(outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    answers = outputs[:, -1, 0]
    return nn.functional.mse_loss(answers, targets), answers


def _adding() -> Problem:
    def batches(generator: torch.Generator) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
        def drawn() -> tuple[torch.Tensor, torch.Tensor]:
            numbers = torch.rand(BATCH, ADDING_STEPS, generator=generator)
            half = ADDING_STEPS // 2
            marks = torch.zeros(BATCH, ADDING_STEPS)
            rows = torch.arange(BATCH)
            marks[rows, torch.randint(half, (BATCH,), generator=generator)] = 1
            marks[rows, half + torch.randint(half, (BATCH,), generator=generator)] = 1
            return torch.stack([numbers, marks], 2), (numbers * marks).sum(1)

        return drawn

    return Problem(2, 1, lambda z: z, 1 / 6, False, batches, _last_answer)


def _copy() -> Problem:
    def batches(generator: torch.Generator) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
        def drawn() -> tuple[torch.Tensor, torch.Tensor]:
            symbols = torch.randint(SYMBOLS, (BATCH, COPIED), generator=generator)
            shown = torch.full((BATCH, COPY_STEPS), SYMBOLS)
            shown[:, :COPIED] = symbols
            shown[:, -COPIED - 1] = SYMBOLS + 1
            return nn.functional.one_hot(shown, SYMBOLS + 2).float(), symbols

        return drawn

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        answers = outputs[:, -COPIED:]
        return nn.functional.cross_entropy(answers.reshape(-1, SYMBOLS), targets.reshape(-1)), answers

    return Problem(SYMBOLS + 2, SYMBOLS, lambda z: z, math.log(SYMBOLS), False, batches, loss)


def usual_updates(task: str, cell: str) -> int:
    """Updates of a training: 400 of the full batch (match to sample with tanh 1200), 3000 of fresh
    ones (the adding problem 1000).
    """
    fresh = {"adding": 1000, "copy": 3000}
    return fresh.get(task, 1200 if (task, cell) == ("DMTS", "tanh") else 400)


def judged(losses: list[float], chance: float, fixed: bool) -> dict[str, Any]:
    """What became of a training, by its losses.

    *learned*: the loss was below half of chance at some update. *lost*: learned, and the median
    loss of the last 20 updates is above 0.9 of chance, or the last is not finite. *solved*: that
    median is below 0.05 of chance. *epoch*: first update of 20 in a row below 0.05 of chance, or
    -1. *end*: that median over chance. Losses of fresh batches are first smoothed by the median
    of 21.
    """
    share = [loss / chance if math.isfinite(loss) else math.inf for loss in losses]
    end, window = median(share[-20:]) if math.isfinite(share[-1]) else math.inf, 20
    smooth = share if fixed else [median(share[max(0, i - window) : i + 1]) for i in range(len(share))]
    learned = min(smooth) < 0.5
    below = [value < 0.05 for value in smooth]
    epoch = next((i for i in range(len(below) - 19) if all(below[i : i + 20])), -1)
    return {"learned": learned, "lost": learned and not end < 0.9, "solved": end < 0.05, "epoch": epoch, "end": end}
