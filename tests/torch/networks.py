"""Small networks, batches and optimizers that several tests train."""

import torch
from torch import nn


class Sequence(nn.Module):
    """A recurrent layer, dropout and a linear readout."""

    def __init__(self, layer, dropout=0.0, outputs=1):
        super().__init__()
        self.layer = layer(2, 6, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Linear(6, outputs)

    def forward(self, x):
        return torch.sigmoid(self.readout(self.dropout(self.layer(x)[0])))


class Stack(nn.Module):
    """Linear layers with batch norm."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))

    def forward(self, x):
        return torch.sigmoid(self.layers(x[:, -1]))[:, None].expand(-1, x.shape[1], -1)


MODULES = {
    "rnn": lambda: Sequence(nn.RNN, 0.2),
    "gru": lambda: Sequence(nn.GRU),
    "lstm": lambda: Sequence(nn.LSTM),
    "stack": Stack,
}
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
}


def batch(rows=5, steps=7):
    """Inputs and targets of 0 and 1."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(rows, steps, 2, generator=generator)
    return x, (x.cumsum(1).sum(2, keepdim=True) > 0).float()


def closure_of(model, x, y, loss=nn.functional.mse_loss):
    """A forward pass as the guard wants it."""

    def closure():
        outputs = model(x)
        return loss(outputs, y), outputs

    return closure
