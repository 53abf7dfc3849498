"""
A PyTorch module of your own: watched, guarded, taken apart
============================================================

Any ``torch.nn.Module`` and any ``torch.optim`` optimizer will do. Here a GRU has to remember the
sign of a cue.
"""

# %%
# The network and its loop know nothing of ghostpoint.

import matplotlib.pyplot as plt
import torch
from torch import nn

from ghostpoint.torch import Guard, Monitor, find_slow_points


class Memory(nn.Module):
    """A GRU of 32 units, read out at every step."""

    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(1, 32, batch_first=True)
        self.readout = nn.Linear(32, 1)

    def forward(self, x):
        """Answers between -1 and 1, (trial, step, 1)."""
        return torch.tanh(self.readout(self.layer(x)[0]))


x = torch.zeros(2, 30, 1)  # two trials of 30 steps
x[:, :4, 0] = torch.tensor([[1.0], [-1.0]])  # a cue of four steps, then a delay
y = torch.zeros(2, 30, 1)
y[:, 24:, 0] = torch.tensor([[1.0], [-1.0]])  # its sign, at the end
chance = float((y**2).mean())  # the loss of never answering
torch.set_num_threads(1)


def train(guarded):
    """Train for 150 updates at a rate that is too high; the network, the monitor and the losses."""
    torch.manual_seed(0)
    network = Memory()
    optimizer = torch.optim.SGD(network.parameters(), lr=10.0)
    guard = Guard(network, optimizer, batch="fixed") if guarded else None
    monitor = Monitor(network, optimizer, guard=guard, chance_loss=chance)
    losses = []
    for _ in range(150):

        def closure():
            outputs = network(x)
            return nn.functional.mse_loss(outputs, y), outputs

        if guard is not None:
            loss = guard.step(closure)
        else:
            optimizer.zero_grad()
            loss, _ = closure()
            loss.backward()
            optimizer.step()
        monitor.log(loss)
        losses.append(loss.item())
    monitor.close()
    return network, monitor, losses


# %%
# The same optimizer at the same rate, alone and guarded. The monitor changes no bit of a training.

_, alone, plain = train(guarded=False)
network, watched, kept = train(guarded=True)
print("alone:  ", alone.verdict().verdict, f"(last loss {plain[-1]:.2g})")
print("guarded:", watched.verdict().verdict, f"(last loss {kept[-1]:.2g})")

figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
axes.semilogy(plain, label="SGD at 10")
axes.semilogy(kept, label="the same, guarded")
axes.axhline(chance, color="0.6", lw=0.8, ls="--")
axes.set(xlabel="update", ylabel="squared error")
axes.legend()

# %%
# What does the trained network remember with? Slow points of the delay, found from its states.

states = network.layer(x)[0].detach()
points = find_slow_points(network, states, n_starts=64)
print(points)
plt.show()
