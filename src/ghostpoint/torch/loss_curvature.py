"""Whether a distance has the unit of its loss, by the curvature of the loss in the outputs.

A distance that fits its loss has the second derivative of it: that of squared error is constant,
and those of the two entropies in logits do not depend on the targets. So the product of both
second derivatives with one vector tells whether masks, weights and sums of several terms were read
right, however the loss is written; and where they were not, the weight of each output or answer.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from ghostpoint.torch.distances import Distance

__all__ = ["by_curvature"]

#: share of the loss's curvature by which that of the distance may differ
TOLERANCE = 0.01
#: how far from the outputs their distance has its curvature taken
BESIDE = 1e-3
#: numbers of outputs up to which their curvature is looked at
MOST = 2**22
#: share of the largest curvature below which that of an answer is rounding
ROUNDING = 1e-5


def by_curvature(found: Distance, loss: torch.Tensor, outputs: torch.Tensor) -> tuple[Distance, bool]:
    """A distance with the curvature of the loss, and whether that is another than ``found``.

    Parameters
    ----------
    found : Distance
        As read from the graph. It is left as it is where it says what it leaves out, where its
        curvature is not that of the loss by design (probabilities, functions of the outputs, large
        errors that count less, weights of positive answers), and where the loss is not a
        function of these outputs, and of more than :data:`MOST` numbers or half precision.
    loss : scalar tensor, before its backward pass
    outputs : tensor

    Returns
    -------
    Distance
        ``found``; or the same kind with the weights that the curvature shows; or ``found`` with
        its doubt where no weights explain it.
    bool
        Whether it was mended.
    """
    if found.doubt or found.functions or found.error is not None or found.positive is not None:
        return found, False
    if outputs._backward_hooks:  # they would run again, and may change what comes through them
        return found, False
    if found.kind == "probabilities" or not found.logarithms:  # that of the loss depends on targets
        return found, False
    if outputs.dtype not in (torch.float32, torch.float64) or not outputs.requires_grad or outputs.numel() > MOST:
        return found, False
    first, second = (partial(_probe, outputs, number) for number in range(2))
    probes = [first()]
    try:
        products = _products(loss, outputs, probes)
    except Exception as error:  # of a function of one's own, whose backward pass may raise anything
        if "is not implemented" not in str(error):
            return found, False
        doubt = "the loss has an operator without a second derivative, so its distance may have another unit"
        return replace(found, doubt=doubt), False
    if products is None:
        return found, False
    old = outputs.detach()
    if _agree(found, old, probes, products):
        return found, False
    better = _weighed(found, old, probes[0], products[0])
    if better is not None:
        probes = [second()]
        products = _products(loss, outputs, probes) or products
        if _agree(better, old, probes, products):
            return better, True
    ratio = _ratio(found, old, probes[0], products[0])
    doubt = f"the loss has other terms or weights than its distance, which is {ratio:.3g} times what a change costs"
    return replace(found, doubt=doubt), False


def _probe(outputs: torch.Tensor, number: int) -> torch.Tensor:
    """A direction in which all outputs change, by 1/2 to 3/2 and no two alike, the same at each
    call; no generator of the training is touched."""
    generator = torch.Generator("cpu").manual_seed(number)
    size, sign = torch.rand((2, *outputs.shape), generator=generator, dtype=torch.float32, device="cpu")
    return ((size + 0.5) * (2.0 * (sign > 0.5) - 1.0)).to(outputs)


def _products(loss: torch.Tensor, outputs: torch.Tensor, probes: list[torch.Tensor]) -> list[torch.Tensor] | None:
    """The second derivative of the loss in the outputs times each probe; None if the loss is no
    function of them, or a linear one."""
    (slope,) = torch.autograd.grad(loss.sum(), outputs, create_graph=True, allow_unused=True)
    if slope is None or not slope.requires_grad:
        return None
    found = []
    for probe in probes:
        (product,) = torch.autograd.grad(slope, outputs, probe, retain_graph=True, allow_unused=True)
        if product is None or not bool(product.isfinite().all()) or not bool(product.any()):
            return None
        found.append(product.detach())
    return found


def _product(distance: Distance, old: torch.Tensor, probe: torch.Tensor) -> torch.Tensor | None:
    """The second derivative of a distance from ``old``, beside ``old``, times a probe."""
    with torch.enable_grad():
        # at old itself what has not moved is cut out
        away = (BESIDE if distance.kind == "squared" else 64 * torch.finfo(old.dtype).eps) * old.abs()
        away = torch.where(old.isfinite(), away.clamp(min=BESIDE), 0.0)  # answers that cannot be given stay so
        new = (old + away * probe).requires_grad_()
        found = _products(distance(old, new), new, [probe])
    return None if found is None else found[0]


def _agree(distance: Distance, old: torch.Tensor, probes: list[torch.Tensor], wanted: list[torch.Tensor]) -> bool:
    for probe, product in zip(probes, wanted, strict=True):
        own = _product(distance, old, probe)
        if own is None or not bool((own - product).norm() <= TOLERANCE * product.norm()):
            return False
    return True


def _weighed(found: Distance, old: torch.Tensor, probe: torch.Tensor, product: torch.Tensor) -> Distance | None:
    """The kind of ``found`` with the weight of each output, or of each answer of a cross-entropy,
    for which the two products agree."""
    plain = Distance(found.kind, total=True, classes=found.classes, axis=found.axis)
    own = _product(plain, old, probe)
    if own is None:
        return None
    costs, units = probe * product, probe * own
    if found.kind == "cross_entropy":
        axis = plain.axis_of(old)
        costs, units = costs.sum(axis), units.sum(axis)
    seen = units.abs() > ROUNDING * units.abs().max()
    if not bool(seen.any()):
        return None
    weights = costs / torch.where(seen, units, 1.0)
    if bool((weights[seen] < 0).any()):
        return None
    if bool((weights[seen] == 0).any()) and not bool(seen.all()):
        return None  # answers that are certain have no curvature, and some of the others do not count
    # those that are certain count as the others do
    weights = torch.where(seen, weights, weights[seen].mean())
    if found.kind == "cross_entropy":
        return replace(plain, total=False, counted=weights, items=1)
    return replace(plain, total=False, weights=weights)


def _ratio(found: Distance, old: torch.Tensor, probe: torch.Tensor, product: torch.Tensor) -> float:
    """What the distance says of a small change, over what it costs."""
    own = _product(found, old, probe)
    return 0.0 if own is None else abs(float((probe * own).sum() / (probe * product).sum()))
