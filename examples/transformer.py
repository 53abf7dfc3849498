"""
A small transformer with a plateau: what carries over, and what does not
=========================================================================

Eight random letters come twice, and a causal transformer of one layer says the next letter of the
second time. It has to look back by the length of the word. Nothing tells it so but the loss.
"""

# %%
# One head of attention and one layer of a perceptron, written out so that the attention can be
# looked at. Every batch is drawn afresh.

import math

import matplotlib.pyplot as plt
import torch
from torch import nn

from ghostpoint.torch import Guard, Monitor

letters, length, width = 8, 8, 32
chance = math.log(letters)  # cross-entropy of an answer that is always the same
torch.set_num_threads(1)


class Transformer(nn.Module):
    """Causal, with places that are learned; answers and the attention."""

    def __init__(self):
        super().__init__()
        self.letters = nn.Embedding(letters, width)
        self.places = nn.Parameter(0.1 * torch.randn(2 * length - 1, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.attention = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.readout = nn.Linear(width, letters)
        self.register_buffer("later", torch.ones(2 * length - 1, 2 * length - 1).triu(1).bool())

    def forward(self, x):
        """Logits (word, place, letter) and attention (word, place, place looked at)."""
        state = self.letters(x) + self.places
        query, key, value = self.attention(self.norms[0](state)).chunk(3, dim=2)
        scores = query @ key.transpose(1, 2) / math.sqrt(width)
        looked = scores.masked_fill(self.later, -math.inf).softmax(2)
        state = state + self.mixed(looked @ value)
        state = state + self.perceptron(self.norms[1](state))
        return self.readout(self.norms[2](state)), looked


def train(optimizer, rate, guarded):
    """Train for 600 updates; the monitor, losses in units of chance, attention on the right letter,
    and the guard.
    """
    torch.manual_seed(0)
    network = Transformer()
    optimizer = getattr(torch.optim, optimizer)(network.parameters(), lr=rate)
    guard = Guard(network, optimizer, batch="fresh") if guarded else None
    monitor = Monitor(network, optimizer, guard=guard, chance_loss=chance)
    second = torch.arange(length - 1, 2 * length - 1)  # places from which the second word is said
    losses, right = [], []
    for _ in range(600):
        word = torch.randint(letters, (64, length))
        x = torch.cat([word, word], 1)[:, :-1]
        looked = []

        def closure(x=x, word=word, looked=looked):
            logits, attention = network(x)
            looked.append(attention.detach())
            outputs = logits[:, second].reshape(-1, letters)
            return nn.functional.cross_entropy(outputs, word.reshape(-1)), outputs

        if guard is not None:
            loss = guard.step(closure)
        else:
            optimizer.zero_grad()
            loss, _ = closure()
            loss.backward()
            optimizer.step()
        losses.append(loss.item() / chance)
        right.append(looked[0][:, second, second - length + 1].mean().item())
        monitor.log(loss, attention=right[-1])
    monitor.close()
    return monitor, losses, right, guard


# %%
# Three settings, each alone and guarded: gradient descent at a rate that suits it and at ten times
# that rate, and Adam at a rate that is too high.

settings = {
    "SGD 0.3": ("SGD", 0.3, False),
    "SGD 0.3, guarded": ("SGD", 0.3, True),
    "SGD 3": ("SGD", 3.0, False),
    "SGD 3, guarded": ("SGD", 3.0, True),
    "Adam 0.1": ("Adam", 0.1, False),
    "Adam 0.1, guarded": ("Adam", 0.1, True),
}
figure, (above, under) = plt.subplots(2, 1, figsize=(6, 5), sharex=True, layout="constrained")
for number, (name, setting) in enumerate(settings.items()):
    monitor, losses, right, guard = train(*setting)
    solved = next((k for k, loss in enumerate(losses) if loss < 0.05), None)
    ended = "never below 0.05 of chance" if solved is None else f"below 0.05 of chance from update {solved}"
    print(f"{name}: {monitor.verdict().verdict}; {ended}; attention {right[0]:.2f} to {right[-1]:.2f}")
    if guard is not None:
        counts = guard.counts
        print(f"  of {counts['updates']} updates {counts['changed']} changed, {counts['stayed']} refused altogether")
    style = {"color": f"C{number // 2}", "ls": "-" if setting[2] else ":", "label": name}
    above.plot(losses, **style)
    under.plot(right, **style)
above.set(ylabel="loss / chance", ylim=(0, 1.5))
under.set(xlabel="update", ylabel="attention on the right letter", ylim=(0, 1))
above.legend(fontsize=7)
plt.show()

# %%
# What carries over
# -----------------
#
# * The plateau. Under gradient descent at 0.3 the loss stays near chance, and then falls while the
#   attention finds the letter to look at.
# * The monitor, with any quantity that is logged beside the loss, and its verdicts: they look at a
#   record and at no network.
# * The guard, and its price. At rate 3 gradient descent alone diverges, and guarded it learns. Adam
#   at 0.1 alone does not leave the plateau: its updates are so long that they lead nowhere. Guarded
#   it learns in about 50 updates. At 0.3, where no update of gradient descent breaks anything, the
#   guard shortens updates too, and the network learns later.
#
# What does not
# -------------
#
# * Slow points. A recurrent network carries a state from step to step, and its fixed points and
#   ghosts are points of that state. A transformer carries none, so ``find_slow_points`` has nothing
#   to look for. What takes their place here is the attention in the lower panel.
