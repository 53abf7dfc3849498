"""How far outputs have moved, in the unit of the loss: squared error, cross-entropy, binary
cross-entropy.

Each distance is the loss of the new outputs as answers to the old ones, less what the old ones
would lose themselves: the squared change for squared error, the Kullback-Leibler divergence for the
two entropies. Where positive answers count more, the targets are those that the old outputs answer
best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from ghostpoint.errors import InputError
from ghostpoint.torch.loss_graph import (
    REARRANGING,
    factors_between,
    functions_between,
    moved_weights,
    name_of,
    only,
    placement_of,
    several,
    signed,
    weights_of,
)

__all__ = ["KINDS", "Distance", "distance_of_graph", "reading_of_graph", "single_tensor"]

#: distances by name; "bce" is of logits, "probabilities" of what a sigmoid has made of them
KINDS = ("squared", "cross_entropy", "bce", "probabilities")

#: operators that a loss is made of, and the distance of outputs that go through them
_OPERATORS = {
    "MseLossBackward": "squared",
    "SmoothL1LossBackward": "squared",
    "HuberLossBackward": "squared",
    "NllLoss": "cross_entropy",
    "BinaryCrossEntropyWithLogitsBackward": "bce",
    "BinaryCrossEntropyBackward": "probabilities",
    "LogSoftmaxBackward": "cross_entropy",
    "LogSigmoidBackward": "bce",
}
#: nodes of a graph that are looked at: of most, and where these do not do
_NEAR, _NODES = 100, 20_000
_ALL_COUNT = "answers that do not count in the loss count in the distance"
#: operators that make probabilities
_SQUASHING = {"Sigmoid", "Softmax", "LogSoftmax"}
#: what becomes of a distance of logits where outputs are what these have made of them
_OF_PROBABILITIES: dict[tuple[str, str], dict[str, Any]] = {
    ("bce", "Sigmoid"): {"kind": "probabilities"},
    ("cross_entropy", "Softmax"): {"logarithms": False},
    ("cross_entropy", "LogSoftmax"): {},
}


@dataclass(frozen=True)
class Distance:
    """A distance by its kind, with what the loss says of the outputs.

    Attributes
    ----------
    kind : one of :data:`KINDS`
    total : bool
        Whether the loss is a sum over what counts and not a mean.
    classes : int
        Of cross-entropy, where known; else 0. Their axis is 1 if that has this length and the last
        one has not.
    axis : int or None
        That axis, where it is known.
    counted : bool or real tensor, or None
        Of cross-entropy with an index that is ignored: which answers count, in the order of the
        outputs, or by what each is multiplied.
    logarithms : bool
        Of cross-entropy: whether outputs are logits, or logarithms of probabilities, and not
        probabilities.
    functions : tuple of functions of a tensor
        What is taken of the outputs before they are compared.
    weights : tensor or None
        Of all but cross-entropy: by what each change is multiplied before they are summed; 0 for
        what does not count.
    error : function of two tensors, optional
        In place of the squared change: that of a loss which is less steep for large errors.
    positive : tensor or None
        Of binary cross-entropy of logits: the weights of positive answers.
    scale : float
        By what the whole is multiplied, as in ``0.5 * mse_loss(...)``.
    items : int
        Where a loss is made of several such operators, as of one a step: of how many answers each
        takes the mean; else 0.
    doubt : str
        What of the loss the distance leaves out; empty for nothing.
    """

    kind: str
    total: bool = False
    classes: int = 0
    axis: int | None = None
    counted: torch.Tensor | None = None
    logarithms: bool = True
    functions: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = ()
    weights: torch.Tensor | None = None
    error: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    positive: torch.Tensor | None = None
    scale: float = 1.0
    items: int = 0
    doubt: str = ""

    def __call__(self, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """How far ``new`` is from ``old``, a scalar tensor in float32 or float64."""
        old, new = (x if x.dtype == torch.float64 else x.float() for x in (old, new))
        for function in self.functions:
            old, new = function(old), function(new)
        if self.kind == "squared":
            change = (new - old) ** 2 if self.error is None else self.error(new, old)
        elif self.kind == "cross_entropy":
            change = self._divergence(old, new)
        elif self.kind == "bce":
            p = torch.sigmoid(old)
            change = p * (old - new) + functional.softplus(new) - functional.softplus(old)
            if self.positive is not None:
                # the share t of positive answers of which the old outputs are the best answer:
                # w t (1 - p) = (1 - t) p
                t = torch.sigmoid(old - self.positive.to(old).log())
                right = t * self.positive * (functional.softplus(-new) - functional.softplus(-old))
                change = right + (1 - t) * (functional.softplus(new) - functional.softplus(old))
        else:
            tiny = torch.finfo(old.dtype).eps
            p, q = old.clamp(tiny, 1 - tiny), new.clamp(tiny, 1 - tiny)
            change = p * (p.log() - q.log()) + (1 - p) * ((1 - p).log() - (1 - q).log())
        if self.kind != "cross_entropy":
            change = _where_moved(change, old, new)
            if self.weights is not None and self.weights.shape in (change.shape, ()):
                return torch.where(self.weights != 0, change * self.weights, 0.0).sum()
        total = change.sum()
        total = total if self.total else total / self._count(change)
        return total if self.scale == 1.0 else self.scale * total

    def axis_of(self, outputs: torch.Tensor) -> int:
        """That of the classes."""
        if self.axis is not None:
            return self.axis
        return 1 if outputs.ndim > 2 and outputs.shape[1] == self.classes != outputs.shape[-1] else -1

    def _count(self, change: torch.Tensor) -> int | torch.Tensor:
        if self.items:
            return self.items
        fits = self.counted is not None and self.counted.numel() == change.numel()
        return self.counted.sum().clamp(min=1) if fits and self.counted is not None else change.numel()

    def _divergence(self, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """``KL(softmax(old) | softmax(new))`` of each answer, or ``KL(old | new)`` of
        probabilities; 0 for those that do not count.
        """
        if not self.logarithms:
            tiny = torch.finfo(old.dtype).tiny
            old, new = old.clamp(min=tiny).log(), new.clamp(min=tiny).log()
        axis = self.axis_of(old)
        log_p, log_q = functional.log_softmax(old, axis), functional.log_softmax(new, axis)
        p = log_p.exp()
        # an answer that cannot be given, of logit -inf, counts nothing: 0 log 0 = 0
        change = torch.where(p > 0, p * (log_p - log_q), 0.0).sum(axis)
        if self.counted is not None and self.counted.numel() == change.numel():
            counted = self.counted.reshape(-1)
            change = torch.where(counted != 0, change.reshape(-1) * counted, 0.0)
        return change


def _where_moved(change: torch.Tensor, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """0 for outputs that are the same, infinite ones among them."""
    return torch.where(old == new, 0.0, change)


def single_tensor(outputs: Any) -> torch.Tensor:
    """The tensor in ``outputs``: itself, or the data of a packed sequence.

    Raises
    ------
    ValueError
        For anything else: a distance of one's own can take it.
    """
    if isinstance(outputs, PackedSequence):
        outputs = outputs.data
    if not isinstance(outputs, torch.Tensor) or not outputs.is_floating_point():
        raise InputError(
            "outputs must be one real tensor (the answers that the loss is taken of), or give Guard a distance of your "
            f"own; got {type(outputs).__name__}"
        )
    return outputs


def distance_of_graph(loss: torch.Tensor, outputs: torch.Tensor) -> Distance | None:
    """The distance that fits a loss, read from the operators between the outputs and it; None if
    they are not known.

    Of the known operators that lead to the outputs one near the loss decides; a penalty on the
    weights does not lead to them. Outputs may be a rearrangement of what the loss is taken of
    (parts, stacks of steps, other shapes), or probabilities where the loss is taken of logits. A
    loss computed by a compiled function shows no operators.
    """
    edge, node, squashed, ends = _between(loss, outputs)
    kind = None if node is None else _kind_of(node)
    if kind is None or (squashed and (kind, squashed) not in _OF_PROBABILITIES):
        return None
    found = _refined(Distance(kind), node)
    if squashed:
        found = replace(found, **_OF_PROBABILITIES[kind, squashed])
    weights, root = weights_of(loss, node)
    if root:
        found = replace(found, doubt=f"the loss is a {root.lower()} of its error, and has another unit")
    alone = not several(loss, node, ends)
    if weights is not None and bool((weights < 0).any()):  # the logarithm of a probability
        weights = -weights if bool((weights <= 0).all()) else None
    if weights is not None and not bool((weights > 0).any()):
        weights = None
    if kind == "cross_entropy":
        found = found if weights is None else _weighed(found, node, weights, alone)
        found = replace(found, functions=() if squashed else tuple(factors_between(node, edge)))
        return _placed(found, node, edge, outputs.shape, alone=alone)
    positive = getattr(node, "_saved_pos_weight", None)
    if positive is not None and node._saved_self.shape == outputs.shape:
        found = replace(found, positive=positive)
    elif positive is not None:
        found = replace(found, doubt=found.doubt or "weights of positive answers (pos_weight) are left out")
    if weights is not None:
        each = _of_each(node, weights) if alone else None
        if each is None or not squashed:
            moved = None if each is None else moved_weights(node, edge, each, outputs.shape)
        else:  # numbers of the outputs are those of what the loss is taken of, in their places
            moved = each if each.shape == outputs.shape else None
        if moved is not None:
            found = replace(found, weights=moved)
        elif name_of(node) == "Pow":  # a squared error by hand, with sums, means and masks as they are
            found = replace(found, weights=weights)
        elif weights.numel() == 1:
            found = replace(found, scale=float(weights), items=0 if alone else _items(node))
        if weights.numel() > 1 and moved is None:
            found = replace(found, doubt=found.doubt or "weights, sums or masks of the loss are left out")
    own = getattr(node, "_saved_self", None)
    if found.weights is None and alone and isinstance(own, torch.Tensor) and own.numel() < outputs.numel():
        found = replace(found, doubt=found.doubt or _ALL_COUNT)
    if squashed:
        return found
    functions = functions_between(node, edge, differences=kind == "squared")
    if functions is None and alone:
        found = replace(found, doubt=found.doubt or "what the loss takes of the outputs before its error is not known")
    return replace(found, functions=tuple(functions or ()))


def _of_each(node: Any, weights: torch.Tensor) -> torch.Tensor | None:
    """The weight of each number that an operator is given; None where all of the outputs have the
    same by a plain mean or sum.
    """
    reduction = getattr(node, "_saved_reduction", 0)
    factor = getattr(node, "_saved_weight", None)
    if reduction == 0:
        return weights if factor is None else weights * factor
    own = node._saved_self
    each = weights / own.numel() if reduction == 1 else weights
    return (each if factor is None else each * factor).expand(own.shape)


def _weighed(found: Distance, node: Any, weights: torch.Tensor, alone: bool) -> Distance:
    """A cross-entropy with the weights of its answers: which count, and what they sum to."""
    if name_of(node) == "LogSoftmax":  # those of the classes of an answer sum to its weight
        if weights.shape != node._saved_result.shape:
            return found
        each = weights.sum(signed(node._saved_dim))
    elif getattr(node, "_saved_weight", None) is not None:  # of classes
        target = node._saved_target
        each = node._saved_weight[target.clamp(min=0)] * (target != _signed_index(node))
        each = each / each.sum() if node._saved_reduction == 1 else each
        each = each * weights
    elif weights.numel() == 1:
        return replace(found, scale=float(weights), items=0 if alone else _items(node))
    else:
        each = weights
    if not alone:
        return found
    total = float(each.sum())
    counted = each > 0 if found.counted is None else (each > 0) & found.counted
    some = each[counted]
    if len(some) and float(some.max() - some.min()) > 1e-5 * float(some.max()):
        return replace(found, counted=torch.where(counted, each, 0.0).float(), total=False, items=1)
    return replace(found, counted=counted, total=False, scale=1.0 if abs(total - 1) < 1e-5 else total)


def reading_of_graph(loss: torch.Tensor, outputs: torch.Tensor) -> str | None:
    """What outputs are, by the loss that is taken of them: "classes" and "logits" before a softmax
    and a sigmoid, "probabilities" after one; None where the loss does not tell.

    Only the names of operators are looked at, so the graph may have been through its backward pass.
    """
    try:
        edge, node, squashed, _ = _between(loss, outputs)
        kind = None if node is None else _kind_of(node)
    except RuntimeError:  # what a node had saved is gone
        return None
    if kind is None or kind == "squared":
        return None
    if squashed:
        return "classes" if squashed == "LogSoftmax" else "probabilities"
    if kind == "bce":
        return "logits"
    taken, following = "", node
    for _ in range(_NEAR):
        if following is None or following is edge:
            break
        name = name_of(following)
        taken = name if name in ("Log", "LogSoftmax", "Sigmoid", "Softmax") else taken
        following = only(following)
    if kind == "probabilities":
        return {"": "probabilities", "Sigmoid": "logits"}.get(taken)
    return "probabilities" if taken == "Log" else "classes"


def _between(loss: torch.Tensor, outputs: torch.Tensor) -> tuple[Any, Any, str, set[Any]]:
    """The node that gives the outputs, the known operator of the loss above them, what has made the
    outputs of what that is taken of, and the nodes that give that; None for nodes that there are
    not.
    """
    edge = _node_of(outputs)
    if edge is None or loss.grad_fn is None:
        return None, None, "", set()
    reached, node = _operator_above({edge}, loss.grad_fn, _NEAR)
    if node is not None:
        return edge, node, "", {edge}
    ends, squashed = ({edge}, "") if reached else _rearranged(edge)
    return edge, _operator_above(ends, loss.grad_fn, _NODES)[1], squashed, ends


def _items(node: Any) -> int:
    """Of how many answers an operator takes the mean; 0 where that is not known."""
    if name_of(node).startswith("NllLoss"):
        return int((node._saved_target != _signed_index(node)).sum())
    own = getattr(node, "_saved_self", None)
    return own.numel() if isinstance(own, torch.Tensor) else 0


def _signed_index(node: Any) -> int:
    """The index that a loss ignores, which its node has written down without a sign."""
    return signed(node._saved_ignore_index)


def _placed(found: Distance, node: Any, edge: Any, shape: torch.Size, *, alone: bool) -> Distance:
    """With the axis of the classes, and the answers that count, as the outputs hold them."""
    counted, number = found.counted, shape.numel() // max(found.classes, 1)
    placement = placement_of(node, edge, shape, counted)
    if placement is not None:
        axis, answers, logarithms = placement
        found = replace(found, axis=axis, logarithms=found.logarithms and logarithms)
        if alone:
            return replace(found, counted=answers)
    if counted is None or bool(counted.all()):
        return replace(found, counted=None)
    if alone and counted.numel() == number and counted.ndim == 1 and shape[-1] == found.classes:
        return found  # flat targets, and outputs whose last axis holds the classes
    return replace(found, counted=None, doubt=found.doubt or _ALL_COUNT)


def _node_of(outputs: torch.Tensor) -> Any:
    """The node of a graph that gives the outputs; of a leaf, where its gradient is summed."""
    if outputs.grad_fn is not None or not outputs.requires_grad:
        return outputs.grad_fn
    with torch.enable_grad():
        made = outputs.view_as(outputs).grad_fn
    return None if made is None else made.next_functions[0][0]


def _operator_above(ends: set[Any], start: Any, most: int) -> tuple[bool, Any]:
    """Whether a graph that begins at ``start`` has one of the ``ends``, and the first known
    operator on a way to the nearest of them.

    Nodes are visited by their distance from the start, each once, and at most ``most``. A power
    may be a penalty on the outputs: it counts where there is no other operator.
    """
    order = {start: 0}
    above: dict[Any, list[Any]] = {start: []}
    leading: set[Any] = set()
    reached, powers = start in ends, None
    level = [] if reached else [start]
    for one in level:  # it grows meanwhile
        for child, _ in getattr(one, "next_functions", ()):
            if child is None:
                continue
            if child not in order:
                if len(order) >= most:
                    continue
                order[child] = len(order)
                above[child] = []
                if child not in ends:
                    level.append(child)
            above[child].append(one)
            if child not in ends and child not in leading:
                continue
            reached, following, found = True, [one], None
            while following:  # all that leads to this one
                node = following.pop()
                if node in leading:
                    continue
                leading.add(node)
                following += above[node]
                if _kind_of(node) is not None and (found is None or order[node] < order[found]):
                    found = node
            if found is not None and name_of(found) != "Pow":
                return True, found
            powers = found if powers is None else powers
    return reached, powers


def _rearranged(edge: Any) -> tuple[set[Any], str]:
    """The nodes of which the outputs are a rearrangement, and the operator that made probabilities
    of them, if there is one.
    """
    level, seen, squashed = [edge], {edge}, ""
    for one in level:  # it grows meanwhile
        name = name_of(one)
        if name in _SQUASHING and not squashed:
            squashed = name
            seen.clear()  # the loss is not taken of what comes after it
        elif name not in REARRANGING:
            continue
        for child, _ in one.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                level.append(child)
    return seen, squashed


def _kind_of(node: Any) -> str | None:
    name = type(node).__name__
    if name.startswith("PowBackward"):  # 0 has a number as its exponent, 1 a tensor
        return "squared" if name == "PowBackward0" and node._saved_exponent == 2 else None
    return next((kind for start, kind in _OPERATORS.items() if name.startswith(start)), None)


def _refined(distance: Distance, node: Any) -> Distance:
    """With the reduction, the number of classes and the mask that the operator holds, before its
    backward pass.
    """
    name = type(node).__name__
    found = replace(distance, total=getattr(node, "_saved_reduction", 1) == 2)
    if name.startswith("Huber"):
        return replace(found, error=partial(functional.huber_loss, reduction="none", delta=node._saved_delta))
    if name.startswith("SmoothL1"):
        return replace(found, error=partial(functional.smooth_l1_loss, reduction="none", beta=node._saved_beta))
    if name.startswith("NllLoss"):
        counted = node._saved_target != _signed_index(node)
        return replace(found, classes=node._saved_self.shape[-1 if node._saved_self.ndim == 1 else 1], counted=counted)
    if name.startswith("LogSoftmax"):
        return replace(found, classes=node._saved_result.shape[signed(node._saved_dim)])
    return found
