"""A GRU on delayed match to sample: stuck, diagnosed, guarded, learned, and taken apart.

    python examples/match_to_sample.py

Gradient descent at rate 3 leaves it far from a solution after 400 updates, and the monitor says
what it does. The guard solves the task with the same optimizer at the same rate. The slow points of
the delay then show how the first cue is kept.
"""

from __future__ import annotations

import torch
from torch import nn

import ghostpoint as gp
from ghostpoint.torch import Guard, Monitor, find_slow_points

TASK = gp.tasks.DelayedMatchToSample(30, 80, 50, noise=0.0, initial_scale=0.0)
UPDATES, UNITS, RATE, SEED = 400, 64, 3.0, 200


class Network(nn.Module):
    """A recurrent layer and a linear readout."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(1, UNITS, batch_first=True)
        self.readout = nn.Linear(UNITS, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answers (trial, step, 1)."""
        return torch.sigmoid(self.readout(self.layer(x)[0]))


def trained(*, guarded: bool) -> tuple[Network, Monitor, list[float]]:
    """A network after ``UPDATES`` of gradient descent, its monitor, and its losses in units of
    chance.
    """
    torch.manual_seed(SEED)
    trial = TASK.trial()
    x, y = (torch.tensor(array, dtype=torch.float32) for array in (trial.inputs, trial.targets))
    network = Network()
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    guard = Guard(network, optimizer, batch="fixed") if guarded else None
    monitor = Monitor(network, optimizer, guard=guard, chance_loss=TASK.chance_loss)

    def closure() -> tuple[torch.Tensor, torch.Tensor]:
        outputs = network(x)
        return nn.functional.mse_loss(outputs, y), outputs

    losses = []
    for _ in range(UPDATES):
        if guard is not None:
            loss = guard.step(closure)
        else:
            optimizer.zero_grad()
            loss, _ = closure()
            loss.backward()
            optimizer.step()
        monitor.log(loss)
        losses.append(loss.item() / TASK.chance_loss)
    monitor.close()
    return network, monitor, losses


def states_of_delay(network: Network) -> torch.Tensor:
    """Hidden states at the end of the delay, (trial, unit)."""
    delay_ends = TASK.cue_steps + TASK.delay_steps
    x = torch.tensor(TASK.trial().inputs[:, :delay_ends], dtype=torch.float32)
    with torch.no_grad():
        return network.layer(x)[1][0]


def main() -> None:
    """Run it, and print what was found."""
    torch.set_num_threads(1)
    _, monitor, losses = trained(guarded=False)
    print(f"alone: loss {losses[-1]:.3g} of chance; verdict: {monitor.verdict().verdict}")
    network, monitor, losses = trained(guarded=True)
    below = [k for k, loss in enumerate(losses) if loss < 0.05]
    print(
        f"guarded: loss {losses[-1]:.3g} of chance, below 0.05 from update {below[0] if below else '-'}; "
        f"verdict: {monitor.verdict().verdict}"
    )
    points = find_slow_points(network, states_of_delay(network), n_starts=8, noise=0.1)
    for k in range(min(len(points), 6)):
        unstable = int((points.eigenvalues[k].real > 0).sum())
        print(f"  {points.kind[k]}: speed {points.speed[k]:.2g}, {unstable} unstable directions")


if __name__ == "__main__":
    main()
