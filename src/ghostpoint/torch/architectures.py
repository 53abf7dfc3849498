"""Small networks of other architectures on the library's tasks, trained many at once.

Every network of a stack has its own weights and learning rate. The loss of the stack is the sum of
the networks' losses, so one backward pass gives every network its own gradient.

Leaky units with ReLU, a causal convolution (van den Oord et al., WaveNet, arXiv:1609.03499, 2016;
here one layer that reaches back over the whole trial), and a decoder block with one attention head
(Vaswani et al., Attention is all you need, NeurIPS 2017; no layer normalisation, sinusoidal
positions). The recurrent families of the library are stacked by
:class:`~ghostpoint.torch.NetworkModule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, integer, number, one_of
from ghostpoint.errors import InputError
from ghostpoint.models import Record
from ghostpoint.tasks import Task
from ghostpoint.training.by_epoch.torch_engine import TORCH

__all__ = ["ARCHITECTURES", "Stack", "StackHistory", "stack", "stack_of", "train_stack"]

Tensors = dict[str, torch.Tensor]
#: logits (B, R, T) of parameters (R, ...) on inputs (B, T, I)
Forward = Callable[[Tensors, torch.Tensor], torch.Tensor]
_ACTIVATIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}
#: what is left of a stack when it is packed again
PACK_BELOW = 0.8


@dataclass
class Stack:
    """R networks of one architecture.

    Attributes
    ----------
    parameters : dict of (R, ...) tensors
    forward : callable
        Parameters and inputs (B, T, I) to logits (B, R, T).
    """

    parameters: Tensors
    forward: Forward

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def chosen(self, places: NDArray[Any]) -> Stack:
        """Some of the networks, by their places or a mask."""
        index = torch.tensor(np.arange(len(self))[places])
        return Stack({name: value[index].clone() for name, value in self.parameters.items()}, self.forward)


@dataclass(frozen=True)
class StackHistory:
    """What :func:`train_stack` saw before each update; each (R, E), NaN from a divergence on.

    Attributes
    ----------
    loss, accuracy : array
        As the task defines them.
    gradient_norm : array
        L2 norm over all parameters.
    logit : array
        Mean absolute logit over the trials and steps: how confident the outputs are.
    parameters : dict of (checkpoint, R, ...) arrays
        At the epochs that were asked for.
    """

    loss: NDArray[np.float32]
    accuracy: NDArray[np.float32]
    gradient_norm: NDArray[np.float32]
    logit: NDArray[np.float32]
    parameters: dict[str, NDArray[np.float32]]


def _relu(parameters: Tensors, inputs: torch.Tensor, alpha: float) -> torch.Tensor:
    """``x <- (1 - alpha) x + alpha relu(W x + V u + b)`` from x = 0, read after each step."""
    W, b = parameters["W"], parameters["b"]
    driven = torch.einsum("rni,bti->trnb", parameters["w_in"], inputs) + b[None, :, :, None]
    x, states = torch.zeros_like(driven[0]), []
    for drive in driven:
        x = (1 - alpha) * x + alpha * torch.relu(torch.baddbmm(drive, W, x))
        states.append(x)
    return torch.einsum("rn,trnb->brt", parameters["w_out"], torch.stack(states)) + parameters["b_out"]


def _convolution(parameters: Tensors, inputs: torch.Tensor) -> torch.Tensor:
    """``tanh(sum_k V_k u[t - k] + b)`` over the whole past, with zeros before the trial."""
    kernel, b = parameters["kernel"], parameters["b"]  # (R, N, T, I)
    trials, steps, channels = inputs.shape
    padded = torch.cat([torch.zeros(trials, steps - 1, channels), inputs], dim=1)
    windows = padded.unfold(1, steps, 1).flip(-1).transpose(2, 3)  # (B, T, lag, I)
    flat = windows.reshape(trials * steps, -1)
    units = torch.tanh(torch.baddbmm(b[:, None], flat.expand(len(b), *flat.shape), kernel.flatten(2).transpose(1, 2)))
    return _read(parameters, units, trials, steps)


def _transformer(parameters: Tensors, inputs: torch.Tensor) -> torch.Tensor:
    """One block: causal attention with one head, then two layers with ReLU, each added to its
    input.
    """
    p = parameters
    trials, steps, _ = inputs.shape
    width = p["embed"].shape[1]
    x = torch.einsum("rni,bti->rbtn", p["embed"], inputs) + p["b"][:, None, None] + positions(steps, width)
    flat = x.flatten(1, 2)  # (R, B T, N)
    query, key, value = (torch.bmm(flat, p[name].transpose(1, 2)) for name in ("w_query", "w_key", "w_value"))
    by_trial = (len(flat) * trials, steps, width)
    scores = torch.bmm(query.reshape(by_trial), key.reshape(by_trial).transpose(1, 2)) / width**0.5
    later = torch.triu(torch.ones(steps, steps, dtype=torch.bool), 1)
    weights = torch.softmax(scores.masked_fill(later, -torch.inf), dim=-1)
    attended = torch.bmm(weights, value.reshape(by_trial)).reshape(flat.shape)
    flat = flat + torch.bmm(attended, p["w_attended"].transpose(1, 2))
    hidden = torch.relu(torch.baddbmm(p["b_1"][:, None], flat, p["w_1"].transpose(1, 2)))
    flat = flat + torch.baddbmm(p["b_2"][:, None], hidden, p["w_2"].transpose(1, 2))
    return _read(parameters, flat, trials, steps)


def _read(parameters: Tensors, units: torch.Tensor, trials: int, steps: int) -> torch.Tensor:
    """Logits (B, R, T) of units (R, B T, N)."""
    logits = torch.bmm(units, parameters["w_out"][:, :, None])[..., 0] + parameters["b_out"]
    return logits.reshape(-1, trials, steps).transpose(0, 1)


def positions(steps: int, width: int) -> torch.Tensor:
    """Sinusoidal positions (steps, width): sines, then cosines, of wavelengths from 2 pi to
    10,000 x 2 pi.
    """
    rates = 10_000.0 ** (-torch.arange(width // 2) / (width / 2))
    angles = torch.arange(steps)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _shapes(architecture: str, units: int, inputs: int, steps: int) -> dict[str, tuple[tuple[int, ...], int]]:
    """Shape and fan-in of every parameter of one network."""
    readout = {"w_out": ((units,), units), "b_out": ((1,), units)}
    square, bias = ((units, units), units), ((units,), units)
    if architecture == "relu":
        return {"W": square, "w_in": ((units, inputs), units), "b": bias, **readout}
    if architecture == "convolution":
        fan = steps * inputs
        return {"kernel": ((units, steps, inputs), fan), "b": ((units,), fan), **readout}
    return {
        "embed": ((units, inputs), inputs), "b": ((units,), inputs),
        "w_query": square, "w_key": square, "w_value": square, "w_attended": square,
        "w_1": ((2 * units, units), units), "b_1": ((2 * units,), units),
        "w_2": ((units, 2 * units), 2 * units), "b_2": ((units,), 2 * units),
        **readout,
    }  # fmt: skip


def _checked(task: Task) -> None:
    """Refuse a task that is not read after the update, or has several outputs or random trials."""
    one_of("task.read_out", task.read_out, ("after",))
    if task.n_outputs != 1 or task.random:
        raise InputError(f"task must have one output and the same trials in every epoch, got {task!r}")


#: the architectures that :func:`stack` draws
ARCHITECTURES = ("relu", "convolution", "transformer")


def stack(architecture: str, task: Task, units: int, seeds: Iterable[int]) -> Stack:
    """Networks with weights and biases uniform within ``1 / sqrt(fan in)``, as PyTorch's layers
    have them.

    Parameters
    ----------
    architecture : "relu", "convolution" or "transformer"
    task : Task
        Gives the inputs, the steps and ``alpha`` of the leaky units. One output.
    units : int
        N: units, channels or width; even for a transformer.
    seeds : iterable of int
        One network each.

    Returns
    -------
    Stack
        Of as many networks as seeds, in their order.

    Raises
    ------
    ValueError
        For another architecture, a task that is read before the update, or has several outputs or
        random trials; no seeds; units below 1, or odd for a transformer.

    Examples
    --------
    >>> import numpy as np
    >>> import ghostpoint as gp
    >>> from ghostpoint.torch.architectures import stack
    >>> inputs, targets = np.ones((1, 8, 1)), np.repeat([0.0, 1.0], 4)[None, :, None]
    >>> task = gp.tasks.from_arrays(inputs, targets, dt=5.0, tau=10.0)
    >>> networks = stack("relu", task, 16, seeds=range(3))
    >>> networks.parameters["W"].shape
    torch.Size([3, 16, 16])
    """
    one_of("architecture", architecture, ARCHITECTURES)
    units = integer("units", units, at_least=1)
    if architecture == "transformer" and units % 2:
        raise InputError(f"units must be even for a transformer, got {units}")
    _checked(task)
    shapes = _shapes(architecture, units, task.n_inputs, task.steps)
    drawn: dict[str, list[NDArray[Any]]] = {name: [] for name in shapes}
    seeds = list(seeds)
    if not seeds:
        raise InputError("seeds must hold at least one whole number, got none")
    for seed in seeds:
        generator = np.random.default_rng(integer("seed", seed, at_least=0))
        for name, (shape, fan) in shapes.items():
            drawn[name].append(generator.uniform(-1, 1, shape) / np.sqrt(fan))
    parameters = {name: torch.tensor(np.array(arrays), dtype=torch.float32) for name, arrays in drawn.items()}
    if architecture == "relu":
        return Stack(parameters, lambda p, inputs: _relu(p, inputs, task.alpha))
    return Stack(parameters, {"convolution": _convolution, "transformer": _transformer}[architecture])


def stack_of(models: Record, task: Task) -> Stack:
    """The networks of a record, with the family's own equations.

    Parameters
    ----------
    models : Record
        R networks with one output. What is not trained, and the initial state, are those of the
        record, the same for all networks.
    task : Task
        Gives ``alpha``, the step of the state.

    Returns
    -------
    Stack

    Raises
    ------
    ValueError
        For a task that is read before the update, or has several outputs or random trials.

    Examples
    --------
    >>> import numpy as np
    >>> import ghostpoint as gp
    >>> from ghostpoint.torch.architectures import stack_of
    >>> inputs, targets = np.ones((1, 8, 1)), np.repeat([0.0, 1.0], 4)[None, :, None]
    >>> task = gp.tasks.from_arrays(inputs, targets, dt=5.0, tau=10.0)
    >>> len(stack_of(gp.GRU.initialize(16, range(3), n_inputs=1), task))
    3
    """
    _checked(task)
    arrays = models.arrays()
    parameters = {name: torch.tensor(np.array(arrays[name]), dtype=torch.float32) for name in models.trainable}
    start = torch.tensor(np.array(models.initial_state), dtype=torch.float32)[:1]

    def forward(p: Tensors, inputs: torch.Tensor) -> torch.Tensor:
        count = len(next(iter(p.values())))
        x, logits = start.expand(len(inputs), count, -1), []
        for u in inputs.unbind(1):
            x, _ = models.advance(TORCH, p, x, u, task.alpha)
            logits.append(models.read(TORCH, p, x)[..., 0])
        return torch.stack(logits, dim=2)

    return Stack(parameters, forward)


def train_stack(
    networks: Stack,
    task: Task,
    rates: NDArray[Any],
    epochs: int,
    *,
    activation: str = "sigmoid",
    clip: float | None = None,
    confidence: ArrayLike = 1.0,
    checkpoints: Iterable[int] = (),
    on_progress: Callable[[int], None] | None = None,
) -> StackHistory:
    """Plain gradient descent on the full batch, in float32 on one thread, each network at its own
    rate.

    ``p <- p - rate g``, with ``g`` the gradient of the task's loss of
    ``activation(confidence logit)``, shortened to the norm ``clip`` where it is longer. A network
    whose loss or gradient is not finite has diverged; it is left alone from then on, and so is one
    that an update leaves unchanged to the last bit, which repeats itself.

    Parameters
    ----------
    networks : Stack
        Its parameters are those after the last update when this returns.
    task : Task
        With one output and trials that are the same in every epoch.
    rates : (R,) array
        Learning rates, one per network.
    epochs : int
        Updates.
    activation : "sigmoid" or "tanh"
        Of the output.
    clip : float, optional
        Largest L2 norm of a network's gradient.
    confidence : float or (R,) array
        Factor of the logits.
    checkpoints : epochs
        At which the parameters are kept.
    on_progress : callable, optional
        Hears of network-epochs done.

    Returns
    -------
    StackHistory
        Of R networks and E epochs.

    Raises
    ------
    ValueError
        For numbers out of range, rates that are not one per network, and a task that is read before
        the update, or has several outputs or random trials.

    Examples
    --------
    >>> import numpy as np
    >>> import ghostpoint as gp
    >>> from ghostpoint.torch.architectures import stack, train_stack
    >>> inputs, targets = np.ones((1, 8, 1)), np.repeat([0.0, 1.0], 4)[None, :, None]
    >>> task = gp.tasks.from_arrays(inputs, targets, dt=5.0, tau=10.0)
    >>> networks = stack("convolution", task, 8, seeds=[0, 0])
    >>> history = train_stack(networks, task, np.array([0.1, 3.0]), 30)
    >>> history.loss.shape, bool(history.loss[1, -1] < history.loss[0, -1])
    ((2, 30), True)
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _descended(networks, task, rates, epochs, activation, clip, confidence, checkpoints, on_progress)
    finally:
        torch.set_num_threads(threads)


def _descended(
    networks: Stack, task: Task, rates: NDArray[Any], epochs: int, activation: str, clip: float | None,
    confidence: ArrayLike, checkpoints: Iterable[int], on_progress: Callable[[int], None] | None,
) -> StackHistory:  # fmt: skip
    """:func:`train_stack` on the threads that are set."""
    _checked(task)
    squash = _ACTIVATIONS[one_of("activation", activation, _ACTIVATIONS)]
    count, epochs = len(networks), integer("epochs", epochs, at_least=1)
    sharp = finite_array("confidence", confidence)
    if sharp.shape not in ((), (count,)) or (sharp <= 0).any():
        raise InputError(f"confidence must be a positive number or {count} of them, got {confidence!r}")
    limit = np.inf if clip is None else number("clip", clip, above=0)
    if np.shape(rates) != (count,) or not (np.asarray(rates) > 0).all():
        raise InputError(f"rates must be {count} positive numbers, one per network, got {rates!r}")
    trial = task.trial()
    inputs = torch.tensor(trial.inputs, dtype=torch.float32)
    targets, weights, right = (
        torch.tensor(values[:, None, :, 0], dtype=torch.float32)
        for values in (trial.targets, task.weights(trial), task.level(trial.targets))
    )
    cuts = [float(cut) for cut in task.cuts(np.float32)]
    seen = np.full((4, count, epochs), np.nan, np.float32)
    keep, kept = set(checkpoints), []
    alive = np.arange(count)  # which networks still change
    whole = {name: value.clone() for name, value in networks.parameters.items()}
    p = {name: value.clone().requires_grad_() for name, value in whole.items()}
    rate = torch.tensor(np.asarray(rates), dtype=torch.float32)
    factor = torch.tensor(np.broadcast_to(sharp, (count,)).copy(), dtype=torch.float32)[:, None]
    for epoch in range(epochs):
        if epoch in keep:
            _put(whole, p, alive)
            kept.append({name: value.numpy().copy() for name, value in whole.items()})
        if not len(alive):
            continue
        logits = factor * networks.forward(p, inputs)
        outputs = squash(logits)
        loss = (weights * (outputs - targets) ** 2).sum(dim=(0, 2))
        gradients = dict(zip(p, torch.autograd.grad(loss.sum(), list(p.values())), strict=True))
        with torch.no_grad():
            norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0).sqrt()
            level = sum((outputs > cut for cut in cuts), torch.zeros_like(outputs, dtype=torch.int8))
            accuracy = (level == right).float().mean(dim=(0, 2))
            for values, row in zip((loss, accuracy, norm, logits.abs().mean(dim=(0, 2))), seen, strict=True):
                row[alive, epoch] = values.detach().numpy()
            sound = torch.isfinite(loss) & torch.isfinite(norm)
            step = torch.where(sound, rate * (limit / norm).clamp(max=1.0), 0.0)
            changed = torch.zeros_like(sound)
            for name, value in p.items():
                shaped = step.reshape(-1, *[1] * (value.ndim - 1))
                new = torch.where(shaped > 0, value - shaped * gradients[name], value)
                changed |= (new != value).flatten(1).any(1)
                p[name] = new.requires_grad_()
            seen[:, alive[~sound.numpy()], epoch] = np.nan
            stopped = (sound & ~changed).numpy()
            if stopped.any():
                still = alive[stopped]
                seen[:, still, epoch + 1 :] = seen[:, still, epoch, None]
        moving = changed.numpy()
        if moving.sum() < PACK_BELOW * len(alive):
            _put(whole, p, alive)
            alive = alive[moving]
            p = {name: value.detach()[changed].requires_grad_() for name, value in p.items()}
            rate, factor = rate[changed], factor[changed]
        if on_progress:
            on_progress(count)
    _put(whole, p, alive)
    networks.parameters = whole
    both = {name: np.stack([one[name] for one in kept]) for name in whole} if kept else {}
    loss, accuracies, norms, sizes = seen
    return StackHistory(loss, accuracies, norms, sizes, both)


def _put(whole: Tensors, part: Tensors, where: NDArray[np.int64]) -> None:
    """Write the parameters of some networks into those of all."""
    index = torch.tensor(where)
    for name, value in part.items():
        whole[name][index] = value.detach()
