"""Distances have the unit of their loss, however its terms are weighted; or a warning says that
they have not.
"""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ghostpoint.torch import Guard
from ghostpoint.torch.distances import distance_of_graph
from ghostpoint.torch.loss_curvature import by_curvature

generator = torch.Generator().manual_seed(0)
OLD = torch.randn((8, 5, 4), generator=generator)
NEW = OLD + 0.1 * torch.randn((8, 5, 4), generator=generator)
TARGET, LABELS = torch.randn((8, 5, 4), generator=generator), torch.randint(4, (8, 5), generator=generator)
CHANCES, MASK = torch.rand((8, 5, 4), generator=generator), torch.rand((8, 5), generator=generator) > 0.4
STEPS = [0.1, 0.2, 0.3, 0.25, 0.15]

mse, ce, bce = F.mse_loss, F.cross_entropy, F.binary_cross_entropy_with_logits


def divergence(old, new):
    return (old.softmax(-1) * (old.log_softmax(-1) - new.log_softmax(-1))).sum(-1)


def binary(old, new):
    return torch.sigmoid(old) * (old - new) + F.softplus(new) - F.softplus(old)


def masked(each):
    return (each * MASK).sum() / MASK.sum()


#: a loss of outputs, and what its distance must be
LOSSES = {
    "two outputs weighed": (
        lambda y: 0.3 * mse(y[..., :2], TARGET[..., :2]) + 0.7 * mse(y[..., 2:], TARGET[..., 2:]),
        lambda a, b: 0.3 * mse(a[..., :2], b[..., :2]) + 0.7 * mse(a[..., 2:], b[..., 2:]),
    ),
    "two outputs of unlike sizes": (
        lambda y: mse(y[..., :1], TARGET[..., :1]) + mse(y[..., 1:], TARGET[..., 1:]),
        lambda a, b: mse(a[..., :1], b[..., :1]) + mse(a[..., 1:], b[..., 1:]),
    ),
    "steps weighed, squared": (
        lambda y: sum(w * mse(y[:, i], TARGET[:, i]) for i, w in enumerate(STEPS)),
        lambda a, b: sum(w * mse(a[:, i], b[:, i]) for i, w in enumerate(STEPS)),
    ),
    "steps weighed, classes": (
        lambda y: sum(w * ce(y[:, i], LABELS[:, i]) for i, w in enumerate(STEPS)),
        lambda a, b: sum(w * divergence(a[:, i], b[:, i]).mean() for i, w in enumerate(STEPS)),
    ),
    "two targets of one output": (
        lambda y: 0.5 * mse(y, TARGET) + 0.5 * mse(y, 2 * TARGET),
        lambda a, b: mse(a, b),
    ),
    "a penalty on outputs": (lambda y: mse(y, TARGET) + 0.1 * (y**2).mean(), lambda a, b: 1.1 * mse(a, b)),
    "smoothed labels": (
        lambda y: ce(y.transpose(1, 2), LABELS, label_smoothing=0.1),
        lambda a, b: divergence(a, b).mean(),
    ),
    "two heads of yes and no": (
        lambda y: 0.3 * bce(y[..., :1], CHANCES[..., :1]) + bce(y[..., 1:], CHANCES[..., 1:]),
        lambda a, b: 0.3 * binary(a, b)[..., :1].mean() + binary(a, b)[..., 1:].mean(),
    ),
    "plain squares": (lambda y: mse(y, TARGET), lambda a, b: mse(a, b)),
    "plain classes": (lambda y: ce(y.transpose(1, 2), LABELS), lambda a, b: divergence(a, b).mean()),
    "masked classes": (
        lambda y: masked(ce(y.transpose(1, 2), LABELS, reduction="none")),
        lambda a, b: masked(divergence(a, b)),
    ),
    "summed squares": (lambda y: mse(y, TARGET, reduction="sum"), lambda a, b: mse(a, b, reduction="sum")),
}
#: losses whose unit no weights of outputs or answers give
OTHERS = {
    "two heads of classes": lambda y: ce(y[..., :2].reshape(-1, 2), LABELS.reshape(-1) % 2)
    + 0.5 * ce(y[..., 2:].reshape(-1, 2), LABELS.reshape(-1) % 2),
    "squares and classes": lambda y: mse(y[:, :3], TARGET[:, :3])
    + ce(y[:, 3:].reshape(-1, 4), LABELS[:, 3:].reshape(-1)),
    "smooth outputs": lambda y: mse(y, TARGET) + 0.5 * (y[:, 1:] - y[:, :-1]).pow(2).mean(),
    "a variance among the outputs": lambda y: F.gaussian_nll_loss(
        y[..., :2], TARGET[..., :2], F.softplus(y[..., 2:]) + 0.1
    ),
    "focal": lambda y: ((1 - y.softmax(-1)) ** 2 * -y.log_softmax(-1)).gather(-1, LABELS[..., None]).mean(),
    "connectionist": lambda y: F.ctc_loss(
        y.log_softmax(-1).transpose(0, 1), 1 + LABELS[:, :2] % 3, torch.full((8,), 5), torch.full((8,), 2),
        reduction="sum",
    ),
}  # fmt: skip


def found(loss_of):
    outputs = OLD.clone().requires_grad_() * 1.0
    loss = loss_of(outputs)
    return by_curvature(distance_of_graph(loss, outputs), loss, outputs)


@pytest.mark.parametrize("name", LOSSES)
def test_distances_are_what_a_change_costs(name):
    loss_of, wanted = LOSSES[name]
    distance, _ = found(loss_of)
    assert not distance.doubt
    assert float(distance(OLD, NEW)) == pytest.approx(float(wanted(OLD, NEW)), rel=2e-3)


@pytest.mark.parametrize("name", OTHERS)
def test_a_loss_of_another_unit_is_told_of(name):
    distance, _ = found(OTHERS[name])
    assert "term" in distance.doubt or "second derivative" in distance.doubt


def test_answers_that_are_certain_count_as_the_others():
    sure = OLD.clone()
    sure[0, 0] = torch.tensor([80.0, 0.0, 0.0, 0.0])
    outputs = sure.requires_grad_() * 1.0
    loss = sum(w * ce(outputs[:, i], LABELS[:, i]) for i, w in enumerate(STEPS))
    distance, mended = by_curvature(distance_of_graph(loss, outputs), loss, outputs)
    assert mended
    moved = sure.detach().clone()
    moved[0, 0] = torch.tensor([0.0, 0.0, 80.0, 0.0])
    assert float(distance(sure.detach(), moved)) > 0.5


def test_the_guard_reads_it_and_nothing_of_a_training_changes():
    def trained(loss_of, **options):
        torch.manual_seed(0)
        model = nn.Linear(3, 4)
        x = torch.randn(8, 5, 3)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        guard = Guard(model, optimizer, batch="fixed", **options)

        def closure():
            outputs = model(x)
            return loss_of(outputs), outputs

        for _ in range(5):
            guard.step(closure)
        return [p.detach().clone() for p in model.parameters()], torch.get_rng_state()

    loss_of, wanted = LOSSES["two outputs of unlike sizes"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = trained(loss_of)
    given = trained(loss_of, distance=wanted)
    for a, b in zip(read[0], given[0], strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(read[1], given[1])
    with pytest.warns(RuntimeWarning, match="other terms or weights"):
        trained(OTHERS["squares and classes"])


@pytest.mark.parametrize("level", [1.0, 1e3, 1e5, 1e7])
def test_answers_of_any_size_have_their_unit(level):
    outputs = (level * (2 + OLD)).requires_grad_() * 1.0
    loss = mse(outputs, level * TARGET)
    distance, mended = by_curvature(distance_of_graph(loss, outputs), loss, outputs)
    assert not distance.doubt
    assert not mended


def test_hooks_on_outputs_are_left_alone():
    outputs, calls = OLD.clone().requires_grad_() * 1.0, []
    outputs.register_hook(lambda gradient: calls.append(0) or 0.1 * gradient)
    loss = mse(outputs, TARGET)
    distance, mended = by_curvature(distance_of_graph(loss, outputs), loss, outputs)
    assert not mended
    assert not calls
    assert float(distance(OLD, NEW)) == pytest.approx(float(mse(OLD, NEW)))


def test_a_default_device_changes_nothing():
    torch.set_default_device("meta")
    try:
        distance, mended = found(LOSSES["two outputs weighed"][0])
    finally:
        torch.set_default_device(None)
    assert mended
    assert not distance.doubt


def test_weights_are_read_at_each_update_once_they_had_to_be():
    model = nn.Linear(3, 4)
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.01))
    x, read = torch.randn(8, 5, 3), []
    passes = guard._passes
    measure = passes._distance_for

    def noted(loss, outputs):
        read.append(measure(loss, outputs))
        return read[-1]

    passes._distance_for = noted
    for update in range(12):
        n = 2 if update in (3, 8) else 1  # parts of one size fit as they are

        def closure(n=n):
            outputs = model(x)
            return mse(outputs[..., :n], TARGET[..., :n]) + mse(outputs[..., n:], TARGET[..., n:]), outputs

        guard.step(closure)
        wanted = mse(OLD[..., :n], NEW[..., :n]) + mse(OLD[..., n:], NEW[..., n:])
        assert float(read[-1](OLD, NEW)) == pytest.approx(float(wanted), rel=2e-3), update


def test_answers_that_do_not_count_are_not_mended_into_the_loss():
    sure = OLD.clone()
    sure[:, 0] = torch.tensor([80.0, 0.0, 0.0, 0.0])
    outputs = sure.requires_grad_() * 1.0
    loss = sum(w * ce(outputs[:, i], LABELS[:, i]) for i, w in enumerate([0.0, 0.1, 0.4, 0.5, 0.0]))
    distance, mended = by_curvature(distance_of_graph(loss, outputs), loss, outputs)
    assert not mended
    assert distance.doubt
