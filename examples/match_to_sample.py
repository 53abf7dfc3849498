"""
A GRU and an LSTM on match to sample: stuck, diagnosed, guarded, taken apart
=============================================================================

Two cues, a delay between them, and one question at the end: were they the same? Gradient descent
at rate 3 does not get there in 400 updates.
"""

# %%
# The task gives all four trials as one batch. The networks are PyTorch's own.

import matplotlib.pyplot as plt
import torch
from torch import nn

import ghostpoint as gp
from ghostpoint.torch import Guard, Monitor, find_slow_points

task = gp.tasks.DelayedMatchToSample(30, 80, 50, noise=0.0, initial_scale=0.0)
trial = task.trial()
x, y = (torch.tensor(array, dtype=torch.float32) for array in (trial.inputs, trial.targets))
torch.set_num_threads(1)


class Network(nn.Module):
    """A recurrent layer of 64 units and a linear readout."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer(1, 64, batch_first=True)
        self.readout = nn.Linear(64, 1)

    def forward(self, x):
        """Answers between 0 and 1, (trial, step, 1)."""
        return torch.sigmoid(self.readout(self.layer(x)[0]))


def train(layer, guarded):
    """Train for 400 updates; the network, its monitor, and the losses in units of chance."""
    torch.manual_seed(200)
    network = Network(layer)
    optimizer = torch.optim.SGD(network.parameters(), lr=3.0)
    guard = Guard(network, optimizer, batch="fixed") if guarded else None
    monitor = Monitor(network, optimizer, guard=guard, chance_loss=task.chance_loss)

    def closure():
        outputs = network(x)
        return nn.functional.mse_loss(outputs, y), outputs

    losses = []
    for _ in range(400):
        if guard is not None:
            loss = guard.step(closure)
        else:
            optimizer.zero_grad()
            loss, _ = closure()
            loss.backward()
            optimizer.step()
        monitor.log(loss)
        losses.append(loss.item() / task.chance_loss)
    monitor.close()
    return network, monitor, losses


# %%
# The monitor says what each training does. The guard has the same optimizer at the same rate.

networks = {}
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for colour, layer in enumerate((nn.GRU, nn.LSTM)):
    for guarded in (False, True):
        network, monitor, losses = train(layer, guarded)
        name = f"{layer.__name__}, {'guarded' if guarded else 'alone'}"
        solved = next((k for k, loss in enumerate(losses) if loss < 0.05), None)
        print(f"{name}: {monitor.verdict().verdict}, last loss {losses[-1]:.2g} of chance")
        print("  never below 0.05" if solved is None else f"  below 0.05 from update {solved}")
        axes.semilogy(losses, f"C{colour}", ls="-" if guarded else ":", label=name)
    networks[layer] = network
axes.axhline(1, color="0.6", lw=0.8, ls="--")
axes.set(xlabel="update", ylabel="loss / chance", ylim=(1e-6, 3))
axes.legend()

# %%
# How is the first cue kept? The states at the end of the delay, and the slow points near them at
# the input of the delay, which is zero. The state of an LSTM is (h, c), one after the other.


def states_of_delay(network):
    """States at the end of the delay, (trial, number)."""
    with torch.no_grad():
        state = network.layer(x[:, : task.cue_steps + task.delay_steps])[1]
    return torch.cat([part[0] for part in (state if isinstance(state, tuple) else (state,))], 1)


for layer, network in networks.items():
    states = states_of_delay(network)
    points = find_slow_points(network, states, n_starts=8, noise=0.1)
    first, other = (int((x[:, 0, 0] == cue).nonzero()[0]) for cue in x[:, 0, 0].unique())
    print(f"{layer.__name__}: the two cues leave states {(states[first] - states[other]).norm():.2g} apart")
    for k in range(min(len(points), 6)):
        unstable = int((points.eigenvalues[k].real > 0).sum())
        print(f"  {points.kind[k]}: speed {points.speed[k]:.2g} a step, {unstable} unstable directions")
plt.show()

# %%
# No stable fixed point is found near these states, in either network: the one that is found is
# unstable. So a cue can be kept over a delay of this length without an attractor of its own.
