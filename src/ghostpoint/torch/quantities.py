"""What a monitor measures, as tensors that stay on their device: norms of updates, confidence of
outputs.

Nothing here changes what it is given, draws random numbers, or waits for a device.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ghostpoint.checks import integer, one_of
from ghostpoint.errors import InputError

if TYPE_CHECKING:
    from ghostpoint.slow_points import SlowPoints

__all__ = [
    "CADENCES",
    "OF_OUTPUTS",
    "OUTPUTS",
    "Answers",
    "added",
    "answers",
    "cadences",
    "curves",
    "fetched",
    "norm",
    "of_slow_points",
    "one_loss",
    "one_number",
    "state_saturation",
    "update_and_rate",
]

#: steps from one measurement to the next, of each quantity, by default
CADENCES: dict[str, int | None] = {
    "loss": 1,
    "learning_rate": 1,
    "gradient_norm": 10,
    "update_size": 10,
    "effective_learning_rate": 10,
    "confidence": 10,
    "saturation": 10,
    "accuracy": 10,
    "state_saturation": 10,
    "slow_points": None,
}
#: those that need outputs
OF_OUTPUTS = ("confidence", "saturation", "accuracy")
#: what outputs may be: "classes" and "logits" before softmax and sigmoid, "probabilities" after a
#: sigmoid, "tanh" after a tanh, "values" without bounds
OUTPUTS = ("auto", "classes", "logits", "probabilities", "tanh", "values")
#: an answer nearer than this to its bound is saturated (probability; states and tanh outputs
#: likewise)
BOUND = 0.01
#: numbers of outputs that are looked at: the first ones
MOST = 1 << 16


def added(
    record: dict[str, tuple[array[float], array[float]]], rows: Mapping[int, Mapping[str, float]]
) -> dict[str, tuple[array[float], array[float]]]:
    """A record, steps and values of each quantity, with more rows, by their steps."""
    for at in sorted(rows):
        for name, one in rows[at].items():
            steps, values = record.setdefault(name, (array("d"), array("d")))
            steps.append(at)
            values.append(one)
    return record


def curves(record: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> dict[str, NDArray[np.float64]]:
    """``epoch``, the steps with a loss, and every quantity at them, from steps and values of each;
    NaN where not measured.
    """
    steps, losses = (np.array(part, float) for part in record.get("loss", ((), ())))
    epoch, first = np.unique(steps, return_index=True)
    found = {"epoch": epoch, "loss": losses[first]}
    for name, (at, values) in record.items():
        if name != "loss":
            curve = np.full(len(epoch), np.nan)
            where = np.searchsorted(epoch, np.array(at))
            fits = (where < len(epoch)) & (epoch[np.minimum(where, len(epoch) - 1)] == at) if len(epoch) else []
            curve[where[fits]] = np.array(values)[fits]
            found[name] = curve
    return found


def of_slow_points(found: SlowPoints) -> dict[str, float]:
    """How many fixed points and ghosts there are, and ``|F|`` at the slowest ghost."""
    ghosts = found.speed[found.kind == "ghost"]
    slowest = {"ghost_speed": float(ghosts.min())} if len(ghosts) else {}
    return {"fixed_points": float((found.kind == "fixed").sum()), "ghosts": float(len(ghosts)), **slowest}


def one_number(name: str, value: Any) -> float:
    """A number of a log, which may be a tensor, and need not be finite.

    Raises
    ------
    ValueError
        If it is no number.
    """
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name} must be one number, got {value!r}") from None


def one_loss(loss: Any) -> torch.Tensor:
    """A loss of a log as a tensor without axes or graph, on its device."""
    if not isinstance(loss, torch.Tensor):
        return torch.tensor(one_number("loss", loss), dtype=torch.float64)
    if loss.numel() != 1:
        raise InputError(f"loss must be one number, got shape {tuple(loss.shape)}")
    return loss.detach().reshape(()).clone()


def norm(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """L2 norm of all numbers in ``tensors``, which may lie on several devices."""
    wide = [t.coalesce().values() if t.is_sparse else t for t in tensors]
    wide = [t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in wide]
    device = wide[0].device
    if all(t.device == device and t.dtype == wide[0].dtype for t in wide):
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(wide)))
    each = [torch.linalg.vector_norm(t).to(device, non_blocking=True) for t in wide]
    return torch.linalg.vector_norm(torch.stack([one.double() for one in each]))


def update_and_rate(
    before: Sequence[torch.Tensor], after: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """``|u|`` and ``-u.g / g.g`` of the update u: the rate at which plain gradient descent goes as
    far along g.
    """
    u = torch._foreach_sub(list(after), list(before))
    device = u[0].device
    along = [torch.sum(a * b).to(device, torch.float64, non_blocking=True) for a, b in zip(u, gradients, strict=True)]
    square = norm(gradients).double() ** 2
    return norm(u), -torch.stack(along).sum() / square


class Answers:
    """Statistics of outputs under every reading that their range leaves open; :meth:`read` decides
    on the host.

    ``vector`` is one tensor: the range of the outputs, whether all targets are 0 or 1, and
    (confidence, saturation, accuracy) as classes or, for real outputs, as probabilities, tanh and
    logits. NaN stands for "does not apply".
    """

    def __init__(self, vector: torch.Tensor, classes: bool):
        self.vector, self.classes = vector, classes

    @staticmethod
    def read(numbers: Sequence[float], classes: bool, kind: str, widest: tuple[float, float]) -> dict[str, float]:
        """Quantities by name from the numbers of ``vector``; ``widest`` is the range of all outputs
        so far.
        """
        if kind == "auto":
            if classes:
                kind = "classes"
            elif widest[0] >= 0 and widest[1] <= 1:
                kind = "probabilities"
            elif widest[0] >= -1 and widest[1] <= 1 and not numbers[2]:
                kind = "tanh"
            else:
                kind = "logits" if numbers[2] else "values"
        if kind == "values":
            return {}
        first = 3 + 3 * ({"classes": 0, "probabilities": 0, "tanh": 1, "logits": 2}[kind])
        found = dict(zip(OF_OUTPUTS, numbers[first : first + 3], strict=True))
        return {name: value for name, value in found.items() if value == value}


def answers(outputs: torch.Tensor, targets: torch.Tensor | None) -> Answers | None:
    """Confidence, saturation and accuracy of outputs; None where the two do not fit together.

    Confidence is the mean probability of the likelier answer, saturation the share of answers whose
    probability is within 0.01 of certain. Targets that are whole numbers, of one axis less than the
    outputs, are class labels: the axis of the classes is 1, as for ``nn.CrossEntropyLoss``, or the
    last one, and they may stand in a column. Negative labels do not count. Other targets have the
    shape of the outputs, axes of length one apart.
    """
    o = outputs.detach()
    y = None if targets is None else targets.detach()
    if o.numel() == 0:
        return None
    if y is not None and y.squeeze().shape == o.squeeze().shape:
        y = y.reshape(o.shape)
    elif y is not None and not y.is_floating_point() and o.ndim and y.shape == (*o.shape[:-1], 1):
        y = y.squeeze(-1)  # labels in a column
    if y is not None and y.ndim == 0 and o.ndim == 1:  # of one trial
        o, y = o[None], y[None]
    rows = max(MOST // max(o[0].numel() if o.ndim else 1, 1), 1)
    if y is not None and not y.is_floating_point() and y.ndim == o.ndim - 1:
        axis = 1 if o.shape[:1] + o.shape[2:] == y.shape else -1
        if axis == -1 and o.shape[:-1] != y.shape:
            return None
        o, y = o[:rows].float(), y[:rows]
        best = (o.amax(axis) - o.logsumexp(axis)).exp()
        counted = y >= 0
        number = counted.sum()
        right = ((o.argmax(axis) == y) & counted).sum() / number
        certain = ((best > 1 - BOUND) & counted).sum() / number
        confidence = torch.where(counted, best, 0.0).sum() / number
        start = torch.zeros(3, device=o.device)
        return Answers(torch.cat([start, torch.stack([confidence, certain, right])]), True)
    if not (y is None or y.shape == o.shape):
        return None
    o = o[:rows].float() if o.ndim else o.reshape(1).float()
    y = None if y is None else y[:rows].float() if y.ndim else y.reshape(1).float()
    low, high = o.aminmax()
    nan = torch.full_like(low, float("nan"))
    binary = torch.zeros_like(low) if y is None else (y * (1 - y) == 0).all().float()

    def reading(p: torch.Tensor) -> list[torch.Tensor]:
        surer = torch.maximum(p, 1 - p)
        right = ((p > 0.5) == (y > 0.5)).float().mean() if y is not None else nan
        return [surer.mean(), (surer > 1 - BOUND).float().mean(), torch.where(binary > 0, right, nan)]

    as_tanh = reading((1 + o) / 2)[:2]
    return Answers(torch.stack([low, high, binary, *reading(o), *as_tanh, nan, *reading(torch.sigmoid(o))]), False)


def state_saturation(states: torch.Tensor) -> torch.Tensor:
    """Share of hidden states beyond 0.99 in absolute value."""
    h = states.detach()
    rows = max(MOST // max(h[0].numel() if h.ndim else 1, 1), 1)
    return (h[:rows].abs() > 1 - BOUND).float().mean()


def cadences(every: int | Mapping[str, int | None] | None) -> dict[str, int | None]:
    """The default cadences with those of ``every`` in their place; a number is for what costs
    something alone.
    """
    found = dict(CADENCES)
    if every is None:
        return found
    given = dict.fromkeys([*CADENCES][2:-1], every) if isinstance(every, int) else every
    for name, steps in given.items():
        one_of("every", name, CADENCES)
        found[name] = None if steps is None else integer(f"every[{name!r}]", steps, at_least=1)
    return found


def fetched(pending: list[tuple[int, str, torch.Tensor | Answers]]) -> list[tuple[int, str, Any]]:
    """Pending values as numbers, with one transfer from each device."""
    found: list[tuple[int, str, Any]] = []
    devices: dict[torch.device, list[tuple[int, str, torch.Tensor, bool | None]]] = {}
    for at, name, value in pending:
        vector, classes = (value.vector, value.classes) if isinstance(value, Answers) else (value.reshape(1), None)
        devices.setdefault(vector.device, []).append((at, name, vector, classes))
    for device, ones in devices.items():
        wide = torch.float32 if device.type == "mps" else torch.float64
        numbers = torch.cat([vector.to(wide) for _, _, vector, _ in ones]).tolist()
        first = 0
        for at, name, vector, classes in ones:
            part = numbers[first : first + len(vector)]
            first += len(vector)
            found.append((at, name, part[0] if classes is None else (part, classes)))
    return found
