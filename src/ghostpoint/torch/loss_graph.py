"""What the graph of a loss says of the outputs: where the answers that it is taken of stand in
them, what is taken of them before, and by what each counts.

A node of a graph can be called. Those that only move numbers about move a marked tensor back to
where the outputs have its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

__all__ = [
    "REARRANGING",
    "Placement",
    "factors_between",
    "functions_between",
    "moved_weights",
    "name_of",
    "only",
    "placement_of",
    "several",
    "signed",
    "weights_of",
]

#: operators that put numbers into another order or type
REARRANGING = {
    *("Alias", "AsStrided", "Cat", "Clone", "Expand", "Index", "IndexSelect", "Narrow", "Permute", "ReshapeAlias"),
    *("Select", "Slice", "Split", "SplitWithSizes", "Squeeze", "Stack", "Swapaxes", "T", "ToCopy", "Transpose"),
    *("Unbind", "Unsqueeze", "UnsafeSplit", "UnsafeView", "View", "MaskedSelect", "Gather", "Flip"),
}
#: of these, what has one input and uses each number of it at most once
_MOVING = REARRANGING - {"AsStrided", "Cat", "Expand", "Gather", "Split", "SplitWithSizes", "Stack", "Unbind"}
#: of these, what keeps the order of all numbers
_SHAPING = {"Alias", "Clone", "LogSoftmax", "ReshapeAlias", "Squeeze", "ToCopy", "UnsafeView", "Unsqueeze", "View"}
#: numbers of outputs up to which marks are moved through the nodes
_MOST = 1 << 24
#: what may stand between probabilities and their logarithm, and changes them little
_NEARLY = {"Add", "Clamp", "ClampMin"}
#: functions of each number, and those of a reduction, that are undone or weighed
_FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Relu": torch.relu,
    "Exp": torch.exp,
    "Softplus": torch.nn.functional.softplus,
}
_WEIGHING = {"Add", "Div", "Mean", "Mul", "Neg", "Sub", "Sum"}
#: nodes between a loss and its outputs that are followed, and looked at for a way
_LONGEST, _NODES = 50, 1000

#: where the classes are, which answers count (None for all), and whether a logarithm is taken
Placement = tuple[int, torch.Tensor | None, bool]


def name_of(node: Any) -> str:
    """The operator of a node, without ``Backward`` and numbers."""
    return type(node).__name__.rstrip("0123456789").removesuffix("Backward")


def signed(number: int) -> int:
    """A number that a node has written down without its sign."""
    return number - 2**64 if number >= 2**63 else number


def only(node: Any) -> Any:
    """The one node that a node leads to; None if there are several or none."""
    following = [one for one, _ in getattr(node, "next_functions", ()) if one is not None]
    return following[0] if len(following) == 1 else None


def placement_of(node: Any, edge: Any, shape: torch.Size, counted: torch.Tensor | None) -> Placement | None:
    """Of a cross-entropy's node, ``NllLoss`` or ``LogSoftmax``: how outputs of a ``shape``, which
    ``edge`` gives, hold its classes and the answers that count; None where that cannot be followed.
    """
    if name_of(node).startswith("NllLoss"):
        axis, own = 1, node._saved_self.shape
        device = node._saved_self.device
    else:
        own, device = node._saved_result.shape, node._saved_result.device
        axis = signed(node._saved_dim) % len(own)
    if len(own) == 1:
        own, axis = torch.Size([1, *own]), 1
    if len(own) == 2 and axis == 1 and shape[-1:] == own[1:] and _keeps_order(node, edge):
        whole = counted is None or (not counted.is_floating_point() and bool(counted.all()))
        return len(shape) - 1, None if whole or counted is None else counted.reshape(shape[:-1]), True
    if shape.numel() > _MOST:
        return None
    along = [1] * len(own)
    along[axis] = own[axis]
    # 0 is what no answer stands at
    marks = [torch.arange(1.0, own[axis] + 1, device=device).view(along).expand(own)]
    if counted is not None:
        marks.append(counted.to(device).float().unsqueeze(axis).expand(own))
    logarithm = name_of(node) == "LogSoftmax"
    taken = False
    following = only(node)
    for _ in range(_LONGEST):
        if following is None:
            return None
        if following is edge:
            break
        name = name_of(following)
        if name == "LogSoftmax" and not logarithm:
            logarithm = True
        elif name == "Log" and not logarithm:
            logarithm = taken = True
        elif name in ("Alias", "Clone", "ToCopy"):
            pass  # the order stays, and a coarser type would round the marks
        elif name in _MOVING:
            moved = [_through(following, mark) for mark in marks]
            if any(one is None for one in moved):
                return None
            marks = [one for one in moved if one is not None]
        elif (
            name in ("Mul", "Div")
            and not taken
            and (factor := _factor_of(following)) is not None
            and factor.numel() == 1
        ):
            pass
        elif not (taken and name in _NEARLY):
            return None
        following = only(following)
    if any(mark.numel() != shape.numel() for mark in marks):
        return None
    marks = [mark.reshape(shape) for mark in marks]
    classes = torch.arange(1.0, own[axis] + 1, device=device)
    places = [
        place
        for place in range(len(shape))
        if shape[place] == own[axis]
        and torch.equal(marks[0].movedim(place, 0).reshape(own[axis], -1).amax(1), classes)
        and bool((marks[0].movedim(place, 0).reshape(own[axis], -1).amin(1) <= classes).all())
    ]
    if len(places) != 1:
        return None
    answers = (marks[0] > 0).any(places[0])
    if counted is not None:
        answers &= (marks[1] > 0).any(places[0])
        if counted.is_floating_point():
            return places[0], torch.where(answers, marks[1].amax(places[0]), 0.0), not taken
    return places[0], None if bool(answers.all()) else answers, not taken


def _keeps_order(node: Any, edge: Any) -> bool:
    """Whether a node is given what ``edge`` gives in its order, in other shapes at most."""
    following = only(node)
    for _ in range(_LONGEST):
        if following is edge:
            return True
        if following is None or name_of(following) not in _SHAPING:
            return False
        following = only(following)
    return False


def _through(node: Any, mark: torch.Tensor) -> torch.Tensor | None:
    """A marked tensor moved back through a node."""
    try:
        moved = node(mark)
    except (RuntimeError, TypeError):
        return None
    moved = moved[0] if isinstance(moved, tuple) else moved
    return moved if isinstance(moved, torch.Tensor) else None


def moved_weights(node: Any, edge: Any, weights: torch.Tensor, shape: torch.Size) -> torch.Tensor | None:
    """Weights of the numbers that a node is given, as weights of the outputs of a ``shape``, which
    ``edge`` gives: 0 for what the node does not get. None where that cannot be followed.
    """
    following = only(node)
    for _ in range(_LONGEST):
        if following is edge:
            return weights.reshape(shape) if weights.numel() == shape.numel() else None
        name = None if following is None else name_of(following)
        if name in ("Alias", "Clone", "ToCopy"):
            pass
        elif name in _MOVING:
            moved = _through(following, weights) if shape.numel() <= _MOST else None
            if moved is None:
                return None
            weights = moved
        elif name not in _FUNCTIONS and name not in ("Softmax", "Add", "Sub", "Rsub", "Mul", "Div"):
            return None
        following = only(following)
    return None


def functions_between(
    node: Any, edge: Any, *, differences: bool
) -> list[Callable[[torch.Tensor], torch.Tensor]] | None:
    """What is taken of each output before the operator ``node`` sees it, in order; None where that
    cannot be followed. Numbers that are added can be left out where only ``differences`` count.
    """
    found: list[Callable[[torch.Tensor], torch.Tensor]] = []
    following, moves = only(node), False
    for _ in range(_LONGEST):
        if following is edge:
            # numbers that are moved about may be no partners of a tensor of factors, or of an axis
            plain = all(one in _FUNCTIONS.values() or _is_scalar(one) for one in found)
            return found[::-1] if plain or not moves else None
        name = None if following is None else name_of(following)
        if name == "Softmax":
            found.append(partial(torch.softmax, dim=signed(following._saved_dim)))
        elif name in _FUNCTIONS:
            found.append(_FUNCTIONS[name])
        elif name in ("Mul", "Div") and (factor := _factor_of(following)) is not None:
            found.append(partial(torch.mul if name == "Mul" else torch.div, other=factor))
        elif name in REARRANGING:
            moves = moves or name not in ("Alias", "Clone", "ToCopy")
        elif name not in ("Sub", "Rsub", "Add") or not differences or any(map(_is_curved, found)):
            return None
        following = only(following)
    return None


def factors_between(node: Any, edge: Any) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """The plain numbers by which outputs are multiplied before the logarithm of their softmax;
    empty where anything else is done to them.
    """
    found: list[Callable[[torch.Tensor], torch.Tensor]] = []
    following = only(node)
    for _ in range(_LONGEST):
        if following is edge:
            return found[::-1]
        name = "" if following is None else name_of(following)
        if name in ("Mul", "Div"):
            one = partial(torch.mul if name == "Mul" else torch.div, other=_factor_of(following))
            if not _is_scalar(one):
                return []
            found.append(one)
        elif name != "LogSoftmax" and name not in REARRANGING:
            return []
        following = only(following)
    return []


def _factor_of(node: Any) -> torch.Tensor | None:
    """By what a product or quotient multiplies or divides what ``only`` leads to."""
    first = node.next_functions[0][0] is None  # a constant, and outputs after it
    if first and name_of(node) == "Div":
        return None
    other = node._saved_self if first else node._saved_other
    return other.detach() if isinstance(other, torch.Tensor) else None


def _has_scalar(node: Any) -> bool:
    """Whether a product or quotient is with a plain number."""
    factor = _factor_of(node)
    return factor is not None and factor.numel() == 1


def _is_curved(function: Any) -> bool:
    """Whether a function does more than multiply or divide."""
    return "other" not in getattr(function, "keywords", {})


def _is_scalar(function: Any) -> bool:
    """Whether a function multiplies or divides by a plain number."""
    other = getattr(function, "keywords", {}).get("other")
    return isinstance(other, torch.Tensor) and other.numel() == 1


def weights_of(loss: torch.Tensor, node: Any) -> tuple[torch.Tensor | None, str]:
    """The derivative of a loss by each number that the operator ``node`` gives, where only sums,
    means and factors lie between; and the name of a root or logarithm that lies there too.
    """
    way = _way(loss.grad_fn, node)
    for one, _ in way:
        if name_of(one) in ("Sqrt", "Log"):
            return None, name_of(one)
        if name_of(one) not in _WEIGHING and name_of(one) not in REARRANGING:
            return None, ""
    weights = torch.ones_like(loss).detach()
    for one, place in way:
        try:
            moved = one(weights)
        except (RuntimeError, TypeError):
            return None, ""
        moved = moved[place] if isinstance(moved, tuple) else moved
        if not isinstance(moved, torch.Tensor):
            return None, ""
        weights = moved
    return weights.detach(), ""


def several(loss: torch.Tensor, node: Any, ends: set[Any]) -> bool:
    """Whether a loss has another operator of the kind of ``node`` above the outputs, which the
    ``ends`` are.
    """
    others = (one for one in _below(loss.grad_fn, {node, *ends}) if name_of(one) == name_of(node) and one is not node)
    return any(one in ends or not ends.isdisjoint(_below(one, ends)) for one in others)


def _below(start: Any, ends: set[Any]) -> Iterator[Any]:
    """A node and those that it leads to, level by level, but for what is below one of the ends."""
    seen, level = {start}, [start]
    for one in level:  # it grows meanwhile
        yield one
        if one in ends:
            continue
        for child, _ in getattr(one, "next_functions", ()):
            if child is not None and child not in seen and len(seen) < _NODES:
                seen.add(child)
                level.append(child)


def _way(start: Any, node: Any) -> list[tuple[Any, int]]:
    """A shortest way from one node to another: those before the last, and where each goes on."""
    came: dict[Any, tuple[Any, int] | None] = {start: None}
    level = [start]
    for one in level:  # it grows meanwhile
        if one is node or len(came) > _NODES:
            break
        for place, (child, _) in enumerate(one.next_functions):
            if child is not None and child not in came:
                came[child] = one, place
                level.append(child)
    way: list[tuple[Any, int]] = []
    at = came.get(node)
    while at is not None:
        way.append(at)
        at = came[at[0]]
    return way[::-1]
