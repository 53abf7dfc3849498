"""Full-rank problems: random networks and tasks, the kernel's call, and the same training written
with torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from ghostpoint.numerics.memory import aligned
from ghostpoint.training.kernels import full_rank, optimizers, packing, trust
from ghostpoint.training.kernels.epoch import ACTIVATIONS, EVENTS, QUANTITIES, READ_OUTS
from ghostpoint.training.kernels.records import Draws, Recorder, Rule, Shape, Task, Watch, Weights

PARTS = full_rank.PARTS
#: crossings, marks and region of ``trust.py`` that never act
WITHOUT_REMEDY = (np.zeros((0, 5), np.int64), np.zeros((0, 2)), np.full(len(trust.REGION), np.inf))


@dataclass(frozen=True)
class Case:
    """A network (``parts``), a task, and how it is trained."""

    parts: tuple[np.ndarray, ...]
    initial: np.ndarray  # (rows, B, N)
    inputs: np.ndarray  # (B, steps, I)
    targets: np.ndarray  # (B, steps, O)
    weights: np.ndarray
    counted: np.ndarray
    noise: np.ndarray  # (rows, B, steps, N)
    activation: str = "sigmoid"
    read_out: str = "after"
    rule: str = "sgd"
    settings: tuple[float, ...] = (0.1, 0.9, 0.999, 1e-8, np.inf)
    trainable: tuple[bool, ...] = (True,) * 5
    alpha: float = 0.5
    thresholds: tuple[float, ...] = (0.5,)
    spread: float = 0.0
    sigma: float = 0.0
    seed: int = 0
    tolerance: float = 0.0
    readout_norm: float = 0.0
    chance_accuracy: float = 0.5
    solved_loss: float = 0.0
    record: tuple[int, ...] | None = None
    snapshots: tuple[int, ...] = field(default=())

    def but(self, **changes: Any) -> Case:
        return replace(self, **changes)


def random_case(seed, units=7, inputs=2, outputs=2, trials=2, steps=6, rows=1, noise_rows=0, gain=1.0, **keywords):
    rng = np.random.default_rng(seed)
    parts = (
        rng.normal(size=(units, units)) * gain / np.sqrt(units),
        rng.normal(size=(units, inputs)),
        rng.normal(size=units) * 0.3,
        rng.normal(size=(outputs, units)) / np.sqrt(units),
        rng.normal(size=outputs) * 0.3,
    )
    shape = (trials, steps, outputs)
    return Case(
        parts=parts,
        initial=rng.uniform(-0.7, 0.7, (rows, trials, units)),
        inputs=rng.normal(size=(trials, steps, inputs)),
        targets=rng.choice([-1.0, 0.0, 1.0], shape),
        weights=rng.uniform(0, 1, shape) * (rng.random(shape) < 0.8) / steps,
        counted=rng.random(shape) < 0.7,
        noise=rng.normal(size=(noise_rows, trials, steps, units)) * 0.2,
        **keywords,
    )


@dataclass
class Result:
    parts: tuple[np.ndarray, ...]
    history: np.ndarray  # (epoch, quantity)
    events: np.ndarray
    snapshots: np.ndarray
    next_epoch: int
    state: np.ndarray


class Call:
    """The arguments of ``full_rank.train`` for a case, kept so that it can go on."""

    def __init__(self, case: Case, dtype: Any, epochs: int):
        self.case = case
        trials, steps, inputs = case.inputs.shape
        units, outputs = len(case.parts[0]), case.targets.shape[2]
        self.sizes = units, inputs, outputs
        kind = np.dtype(dtype)
        width = 64 // kind.itemsize
        plane = full_rank.plane_size(units, inputs, width)
        self.state = packing.pack_full_rank(*case.parts, dtype)
        rule = optimizers.RULES.index(case.rule)
        moments = [aligned(self.state.size if rule else 0, dtype) for _ in range(2)]
        record = np.array(range(epochs) if case.record is None else case.record, np.int64)
        snapshots = np.array(case.snapshots, np.int64)
        quantities = len(QUANTITIES)
        segments = packing.full_rank_segments(case.trainable, *self.sizes, width)
        self.recorder = Recorder(
            record, snapshots, np.zeros(2, np.int64), np.zeros((len(record), quantities, 1), dtype),
            np.zeros((len(snapshots), self.state.size), dtype), np.full((len(EVENTS), 1), -1, np.int64),
            np.zeros(1, np.int64), np.zeros((quantities, 1), dtype), np.zeros(0, dtype),
        )  # fmt: skip
        self.work = aligned(full_rank.work_size(plane, outputs, trials, steps, width, -1), dtype)
        self.work[:] = np.nan  # its content must not matter
        self.arguments = (
            Weights(
                self.state, *moments, segments, np.array(case.trainable), kind.type(case.readout_norm), kind.type(0.0)
            ),
            Shape(
                units, units, inputs, outputs, 0, 1, trials, steps, ACTIVATIONS.index(case.activation),
                READ_OUTS.index(case.read_out),
            ),
            Task(
                kind.type(case.alpha), kind.type(case.tolerance), np.array(case.thresholds, dtype),
                case.inputs.transpose(1, 0, 2).astype(dtype).reshape(1, -1),
                *(packing.pack_readings(values, dtype)[None] for values in (case.targets, case.weights, case.counted)),
                case.chance_accuracy, case.solved_loss,
            ),
            Draws(
                packing.pack_by_step(case.initial[:, :, None], plane, dtype),
                packing.pack_by_step(case.noise, plane, dtype), case.spread, case.sigma, case.seed,
            ),
            Rule(rule, np.array(case.settings)),
            Watch(*WITHOUT_REMEDY, np.zeros((0, trust.row_size(0)))),
            self.recorder,
            self.work,
        )  # fmt: skip

    def advance(self, start: int, stop: int) -> Result:
        reached, recorder = full_rank.train(*self.arguments, start, stop), self.recorder
        parts = packing.unpack_full_rank(self.state, *self.sizes)
        # of the quantities, there is no confidence, and the update's scale is always 1 here
        history = recorder.history[: recorder.cursor[0], :3, 0].copy()
        return Result(
            parts, history, recorder.events[:, 0].copy(), recorder.snapshots.copy(), reached, self.state.copy()
        )


def run(case: Case, dtype: Any, epochs: int) -> Result:
    return Call(case, dtype, epochs).advance(0, epochs)


def torch_forward(case: Case, parts, epoch: int):
    """Loss and outputs (B, steps, O) of the equations of ``full_rank.py``, one step after the
    other.
    """
    w, w_in, b, w_out, b_out = parts
    kind = w.dtype
    function = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "identity": lambda z: z}[case.activation]
    x = torch.tensor(case.initial[epoch % len(case.initial)], dtype=kind)
    inputs = torch.tensor(case.inputs, dtype=kind)
    outputs = []
    for t in range(inputs.shape[1]):
        if case.read_out == "before":
            outputs.append(function(x @ w_out.T + b_out))
        z = x @ w.T + inputs[:, t] @ w_in.T + b
        if len(case.noise):
            z = z + torch.tensor(case.noise[epoch % len(case.noise)][:, t], dtype=kind)
        x = (1 - case.alpha) * x + case.alpha * torch.tanh(z)
        if case.read_out == "after":
            outputs.append(function(x @ w_out.T + b_out))
    o = torch.stack(outputs, dim=1)
    errors = o - torch.tensor(case.targets, dtype=kind)
    return (torch.tensor(case.weights, dtype=kind) * errors**2).sum(), o


def torch_run(case: Case, epochs: int, kind=torch.float64):
    """Parts after ``epochs`` of ``torch.optim``, the history (loss, norm, accuracy), and the last
    gradients.
    """
    parts = [
        torch.tensor(part, dtype=kind).requires_grad_(wanted)
        for part, wanted in zip(case.parts, case.trainable, strict=True)
    ]
    trained = [part for part in parts if part.requires_grad]
    rate, decay, second, epsilon, largest = case.settings
    optimizer = {
        "sgd": lambda: torch.optim.SGD(trained, lr=rate),
        "momentum": lambda: torch.optim.SGD(trained, lr=rate, momentum=decay),
        "adam": lambda: torch.optim.Adam(trained, lr=rate, betas=(decay, second), eps=epsilon),
    }[case.rule]()
    history = []
    thresholds = np.array(case.thresholds)
    for epoch in range(epochs):
        loss, o = torch_forward(case, parts, epoch)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, largest)
        gradients = [np.zeros(part.shape) if part.grad is None else part.grad.numpy().copy() for part in parts]
        optimizer.step()
        level = (o.detach().numpy()[..., None] > thresholds).sum(-1)
        right = level == (case.targets[..., None] > thresholds).sum(-1)
        history.append(
            (float(loss.detach()), float(norm), right[case.counted].mean() if case.counted.any() else np.nan)
        )
    return [part.detach().numpy() for part in parts], np.array(history), gradients
