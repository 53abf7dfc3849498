"""The benchmark of optimizers trains each network of a stack as it would be trained alone."""

from __future__ import annotations

import pytest
import torch
from benchmarks.memory_tasks import judged, problem
from benchmarks.rivals import METHODS, Training, outputs_of, train


@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_a_stack_has_the_outputs_and_gradients_of_its_networks(cell: str) -> None:
    asked = problem("DMTS")
    x, _ = asked.batches(torch.Generator())()
    networks = [asked.network(cell, 5, seed).double() for seed in range(3)]
    found: list[list[torch.Tensor]] = []
    for outputs in (outputs_of(networks, x.double()), torch.stack([network(x.double()) for network in networks])):
        parameters = [parameter for network in networks for parameter in network.parameters()]
        found.append([outputs, *torch.autograd.grad(outputs.square().sum(), parameters)])
    for stacked, alone in zip(*found, strict=True):
        torch.testing.assert_close(stacked, alone, rtol=1e-10, atol=1e-12)


def test_a_stack_trains_its_networks_apart() -> None:
    asked = problem("parity")
    names = ["SGD, clipped at 0.1", "Adam, warm-up and cosine", "Adam, AutoClip", "Muon"]

    def some(wanted: list[str]) -> list[Training]:
        return [Training(name, METHODS[name].rates[1], asked.network("gru", 4, 0), 20) for name in wanted]

    together, alone = some(names), [one for name in names for one in some([name])]
    train(asked, together, 20, 0)
    for one in alone:
        train(asked, [one], 20, 0)
        other = together[names.index(one.name)]
        assert one.losses == pytest.approx(other.losses, rel=1e-4)
        assert one.losses[-1] != one.losses[0]


def test_a_training_whose_last_loss_is_infinite_is_lost() -> None:
    sane = [1.0] * 10 + [0.01] * 40
    assert judged(sane, 1.0, True) == {"learned": True, "lost": False, "solved": True, "epoch": 10, "end": 0.01}
    broken = judged([*sane, float("nan")], 1.0, True)
    assert broken["lost"]
    assert not broken["solved"]
