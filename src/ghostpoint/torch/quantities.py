"""What a monitor measures, as tensors that stay on their device: losses, norms of updates, and
answers.

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
from ghostpoint.torch.monitor_answers import OF_OUTPUTS, OUTPUTS, Answers, answers, state_saturation

if TYPE_CHECKING:
    from ghostpoint.slow_points import SlowPoints

__all__ = [
    "CADENCES",
    "OF_OUTPUTS",
    "OF_STEPS",
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
    "size_of_update",
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
#: those of a step that was taken, which are none of a step that AMP has skipped
OF_STEPS = ("learning_rate", "gradient_norm", "update_size", "effective_learning_rate")


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

    What was measured between two losses stands at the second one, the last of several; what was
    measured after the last loss stands there where nothing else does.
    """
    steps, losses = (np.array(part, float) for part in record.get("loss", ((), ())))
    epoch, first = np.unique(steps, return_index=True)
    found = {"epoch": epoch, "loss": losses[first]}
    for name, (at, values) in record.items():
        if name not in ("loss", "epoch"):  # a number of one's own may be called "epoch"
            curve, steps, numbers = np.full(len(epoch), np.nan), np.array(at, float), np.array(values, float)
            if len(epoch):
                late = steps > epoch[-1]
                curve[np.searchsorted(epoch, steps[~late])] = numbers[~late]  # the last of several stands
                if late.any() and np.isnan(curve[-1]):
                    curve[-1] = numbers[late][-1]
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
    if isinstance(value, torch.Tensor):
        value = value.detach()
    try:
        return float(value.item() if isinstance(value, np.ndarray) else value)
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


def size_of_update(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> torch.Tensor:
    """``|u|`` of the update u."""
    return norm(torch._foreach_sub(list(after), list(before)))


def update_and_rate(
    before: Sequence[torch.Tensor], after: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """``|u|`` and ``-u.g / g.g`` of the update u: the rate at which plain gradient descent goes as
    far along g.
    """
    u = torch._foreach_sub(list(after), list(before))
    device = u[0].device
    along = [_product(a, b).to(device, torch.float64, non_blocking=True) for a, b in zip(u, gradients, strict=True)]
    square = norm(gradients).double() ** 2
    return norm(u), -torch.stack(along).sum() / square


def _product(change: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Of a change with a gradient, which may be sparse; of complex numbers as real pairs."""
    if gradient.is_sparse:  # where the gradient is zero the change does not count
        gradient = gradient.coalesce()
        change, gradient = change[tuple(gradient.indices())], gradient.values()
    if change.dtype in (torch.float16, torch.bfloat16):  # products underflow in these
        change, gradient = change.float(), gradient.float()
    if change.is_complex():
        change, gradient = torch.view_as_real(change.resolve_conj()), torch.view_as_real(gradient.resolve_conj())
    return torch.sum(change * gradient)


def cadences(every: int | Mapping[str, int | None] | None) -> dict[str, int | None]:
    """The default cadences with those of ``every`` in their place; a number is for what costs
    something alone.
    """
    found = dict(CADENCES)
    if every is None:
        return found
    given = (
        every if isinstance(every, Mapping) else dict.fromkeys([*CADENCES][2:-1], integer("every", every, at_least=1))
    )
    for name, steps in given.items():
        one_of("every", name, CADENCES)
        found[name] = None if steps is None else integer(f"every[{name!r}]", steps, at_least=1)
    return found


def fetched(pending: list[tuple[int, str, torch.Tensor | Answers]]) -> list[tuple[int, str, Any]]:
    """Pending values as numbers, with one transfer from each device."""
    found: list[tuple[int, str, Any]] = []
    devices: dict[torch.device, list[tuple[int, str, torch.Tensor, Answers | None]]] = {}
    for at, name, value in pending:
        vector, what = (value.vector, value) if isinstance(value, Answers) else (value.reshape(1), None)
        devices.setdefault(vector.device, []).append((at, name, vector, what))
    for device, ones in devices.items():
        wide = torch.float32 if device.type == "mps" else torch.float64
        numbers = torch.cat([vector.to(wide) for _, _, vector, _ in ones]).tolist()
        first = 0
        for at, name, vector, what in ones:
            part = numbers[first : first + len(vector)]
            first += len(vector)
            found.append((at, name, part[0] if what is None else (part, what)))
    return found
