"""The benchmark of optimizers trains each network of a stack as it would be trained alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from benchmarks.memory_tasks import judged, problem
from benchmarks.rivals import METHODS, Training, by_themselves, outputs_of, read, train, write


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 3e-6)])
@pytest.mark.parametrize("scale", [1.0, 20.0], ids=["fresh", "saturated"])
@pytest.mark.parametrize("task", ["DMTS", "adding"], ids=["4 trials", "16 trials"])
@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_a_stack_has_the_outputs_and_gradients_of_its_networks(
    cell: str, task: str, scale: float, dtype: torch.dtype, tolerance: float
) -> None:
    asked = problem(task)
    x = asked.batches(torch.Generator().manual_seed(0))()[0][:, :12].to(dtype)
    networks = [asked.network(cell, 5, seed).to(dtype) for seed in range(3)]
    with torch.no_grad():
        for network in networks:
            network.cell.weight_ih_l0 *= scale
    found: list[list[torch.Tensor]] = []
    for outputs in (outputs_of(networks, x), by_themselves(networks, x)):
        parameters = [parameter for network in networks for parameter in network.parameters()]
        found.append([outputs, *torch.autograd.grad(outputs.square().sum(), parameters)])
    largest = max(float(one.detach().abs().max()) for one in found[1])
    for stacked, alone in zip(*found, strict=True):
        torch.testing.assert_close(stacked, alone, rtol=tolerance, atol=tolerance * largest)


@pytest.mark.parametrize("task", ["DA", "adding"], ids=["1 trial", "16 trials"])
@pytest.mark.parametrize("cell", ["tanh", "gru"])
def test_a_network_that_has_blown_up_does_not_look_sane_in_a_stack(cell: str, task: str) -> None:
    asked = problem(task)
    x, _ = asked.batches(torch.Generator())()
    networks = [asked.network(cell, 4, seed) for seed in range(2)]
    with torch.no_grad():
        networks[0].cell.weight_hh_l0.fill_(float("nan"))
    broken, sane = outputs_of(networks, x)
    assert broken.isnan().any()
    assert sane.isfinite().all()


def test_a_file_of_results_gives_back_its_runs(tmp_path: Path) -> None:
    ends = {"learned": True, "lost": False, "solved": True, "epoch": 7, "forward": 1.0, "backward": 1.0}
    condition = {"task": "DA", "cell": "gru", "method": "SGD", "units": 64, "updates": 400}
    runs = [
        {**condition, "rate": rate, "seed": seed, **ends, "end": end}
        for rate, seed, end in [(0.3, 301, 0.25), (3.0, 300, math.inf), (0.3, 300, 0.5)]
    ]
    write(tmp_path / "runs.json", {"machine": "this one", "times": [], "runs": list(runs)})
    found = read(tmp_path / "runs.json")
    assert found["machine"] == "this one"
    assert sorted(found["runs"], key=repr) == sorted(runs, key=repr)


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
