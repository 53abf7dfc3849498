"""The reference against automatic differentiation in float64, and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.training.reference import evaluate
from tests.training.problems import PARTS, networks, tasks


def logistic(z):
    """The logistic function, of all digits for any z, and its derivative too.

    torch.sigmoid loses the digits of 1 - o near 1, and 1 / (1 + exp(-z)) alone has no derivative
    where exp(-z) overflows.
    """
    below, above = torch.exp(z.clamp(max=0)), torch.exp(-z.clamp(min=0))
    return torch.where(z < 0, below / (1 + below), 1 / (1 + above))


def by_autograd(models, task):
    """Loss and gradients by torch, over the full state with the full matrix W."""
    tensors = {name: torch.tensor(getattr(models, name), requires_grad=True) for name in PARTS}
    m, n, b, c = tensors.values()
    threshold = torch.tensor(models.threshold)
    W = m @ n.transpose(1, 2)
    x = torch.tensor(models.initial_state)
    loss = torch.zeros(len(models), dtype=torch.float64)
    for t in range(task.steps):
        x = (1 - task.alpha) * x + task.alpha * torch.tanh(torch.einsum("rij,rj->ri", W, x) + b)
        z = c * (torch.einsum("rn,rn->r", n[:, :, 0], x) - threshold)
        error = logistic(z) if t < task.delay_steps else -logistic(-z)
        loss = loss + error**2 / task.delay_steps
    loss.sum().backward()
    return loss.detach().numpy(), {name: tensor.grad.numpy() for name, tensor in tensors.items()}


def rounding_of_the_logit(models):
    """What no program can avoid, in units of 1e-12, per network.

    The tail of an output is exp(z) of the logit ``z = c (n x - threshold)``. States of size one
    that are known to about five roundings leave z in doubt by ``1e-15 c sum |n|``, and the tail by
    as large a part of itself. One unit of tiny m has a huge n.
    """
    return 1e-3 * models.confidence * np.abs(models.n).sum(axis=(1, 2))


@pytest.mark.parametrize("rank", [1, 2, 3])
@settings(max_examples=40)
@given(data=st.data())
def test_loss_and_every_gradient_are_those_of_autograd(rank, data):
    models, task = data.draw(networks(rank=rank, units=12)), data.draw(tasks())
    seen = evaluate(models, task)
    loss, gradient = by_autograd(models, task)
    error = 1e-12 * np.maximum(1, rounding_of_the_logit(models))
    assert (np.abs(seen.loss - loss) <= error * loss).all()
    sizes = {part: np.abs(gradient[part]).reshape(len(models), -1).max(axis=1) for part in PARTS}
    # where the terms of one part nearly cancel, a few roundings of the largest part are left of it
    cancelled = 1e-15 * np.max(list(sizes.values()), axis=0)
    for part in PARTS:
        off = np.abs(seen.gradient[part] - gradient[part]).reshape(len(models), -1).max(axis=1)
        assert (off <= error * sizes[part] + cancelled + 1e-300).all(), part
    squares = sum((gradient[part] ** 2).reshape(len(models), -1).sum(axis=1) for part in models.trainable)
    assert (np.abs(seen.gradient_norm - np.sqrt(squares)) <= 10 * error * np.sqrt(squares)).all()


@settings(max_examples=20)
@given(networks(most=2, units=5, rank=2), tasks(), st.sampled_from(PARTS), st.data())
def test_the_gradient_is_the_slope_of_the_loss(models, task, part, data):
    values = getattr(models, part)
    where = tuple(data.draw(st.integers(0, size - 1)) for size in values.shape)
    h = 1e-5 * max(1, abs(values[where]))

    def loss(offset):
        moved = values.copy()
        moved[where] += offset
        return evaluate(models.replace(**{part: moved}), task).loss[where[0]]

    # a stencil of fourth order: its error is far below the rounding of the loss over h
    slope = (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h)
    exact = evaluate(models, task).gradient[part][where]
    size = np.abs(evaluate(models, task).gradient[part][where[0]]).max()
    assert slope == pytest.approx(exact, abs=1e-9 + 1e-6 * size)


@given(networks(most=3, units=8), tasks())
def test_the_accuracy_is_the_share_of_outputs_on_the_right_side_of_a_half(models, task):
    seen = evaluate(models, task)
    path = models.latent_path(task.steps, task.alpha)[1:, :, 0]
    on = path > models.threshold  # the confidence is positive here
    right = np.concatenate([~on[: task.delay_steps], on[task.delay_steps :]])
    assert seen.output[:, 0, :, 0].shape == (len(models), task.steps)
    clear = np.abs(path - models.threshold).min(axis=0) > 1e-9  # not decided by rounding
    assert np.array_equal(seen.accuracy[clear], right.mean(axis=0)[clear])
