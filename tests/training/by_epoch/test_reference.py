"""The reference against automatic differentiation in float64, and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.training.reference import evaluate
from tests.training.problems import PARTS, networks, tasks


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
        # torch.sigmoid loses the digits of 1 - o near 1; these keep them
        error = 1 / (1 + torch.exp(-z)) if t < task.delay_steps else -1 / (1 + torch.exp(z))
        loss = loss + error**2 / task.delay_steps
    loss.sum().backward()
    return loss.detach().numpy(), {name: tensor.grad.numpy() for name, tensor in tensors.items()}


@pytest.mark.parametrize("rank", [1, 2, 3])
@settings(max_examples=40)
@given(data=st.data())
def test_loss_and_every_gradient_are_those_of_autograd(rank, data):
    models, task = data.draw(networks(rank=rank, units=12)), data.draw(tasks())
    seen = evaluate(models, task)
    loss, gradient = by_autograd(models, task)
    assert seen.loss == pytest.approx(loss, rel=1e-12)
    for part in PARTS:
        axes = tuple(range(1, gradient[part].ndim))
        size = np.abs(gradient[part]).max(axis=axes, keepdims=True)
        assert (np.abs(seen.gradient[part] - gradient[part]) <= 1e-12 * size + 1e-300).all(), part
    squares = sum((gradient[part] ** 2).reshape(len(models), -1).sum(axis=1) for part in models.trainable)
    assert seen.gradient_norm == pytest.approx(np.sqrt(squares), rel=1e-11)


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
