"""The pages of the documentation, their blocks of code, and what these need around them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: made by a build, and not pages of the repository
BUILT = ("_build", "gallery", "reference", "results")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    if path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT).parts[0] not in BUILT
}


class Block(NamedTuple):
    """A block of code of a page."""

    line: int
    language: str
    code: str


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page that have a language, in its order."""
    found = re.finditer(r"^( *)```(\w+)\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [Block(text.count("\n", 0, one.start()) + 1, one[2], textwrap.dedent(one[3])) for one in found]


#: part of a block that is not run: why
NOT_RUN = {
    "lightning.Trainer": "needs Lightning; tests/torch/test_lightning.py runs it (dev.py frameworks)",
    "GuardedTrainer": "needs Transformers; tests/torch/test_transformers.py runs it (dev.py frameworks)",
}
#: part of a block that is made smaller: what stands in its place
SHORTENED = {"batches=1000": "batches=3"}

_TORCH = """
import numpy as np
import torch
from torch import nn
from ghostpoint.torch import Guard

torch.manual_seed(0)
torch.set_num_threads(1)


class MyNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(2, 6, batch_first=True)
        self.readout = nn.Linear(6, 1)

    def forward(self, x):
        return torch.sigmoid(self.readout(self.layer(x)[0]))


criterion = nn.MSELoss()
batches = [(torch.randn(4, 12, 2), torch.rand(4, 12, 1).round()) for _ in range(8)]
x, y = batches[0]
model = MyNetwork()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""
_LOG = """
import numpy as np
from pathlib import Path

loss = np.where(np.arange(600) < 400, 0.69, 0.05) + 0.001 * np.random.default_rng(0).normal(size=600)
accuracy = np.where(np.arange(600) < 400, 0.5, 1.0)
rows = [f"{k},{a:.5f},{b:.2f}" for k, (a, b) in enumerate(zip(loss, accuracy))]
Path("metrics.csv").write_text("\\n".join(["step,loss,accuracy", *rows]))
Path("run.jsonl").write_text("\\n".join(f'{{"step": {k}, "loss": {a:.5f}}}' for k, a in enumerate(loss)))
"""
#: page: code that runs before its blocks, for the names and files that they take for granted
BEFORE = {
    "README.md": _TORCH,
    "docs/torch.md": _TORCH
    + """
import ghostpoint as gp

gru = nn.GRU(2, 6, batch_first=True)
cell = nn.GRUCell(2, 6).double()
my_step = lambda u, h: cell(torch.zeros(len(h), 2, dtype=h.dtype) if u is None else u, h)
task = gp.tasks.from_arrays(np.ones((2, 10, 2)), np.ones((2, 10, 1)) * [[[0.0]], [[1.0]]], dt=5.0, tau=5.0)
"""
    + _LOG,
    "docs/coming_from.md": _TORCH + "\nloss = criterion(model(x), y)\n",
    "docs/your_network.md": _TORCH
    + _LOG
    + """
import ghostpoint as gp

gp.write_weights(gp.LowRankRNN.published([40]), "weights.npz")
""",
    "docs/diagnosis.md": _LOG
    + """
import json
import ghostpoint as gp

names = ["seed-1"] * 600 + ["seed-3"] * 600
long = [f"{name},{k % 600},{loss[k % 600]:.5f}" for k, name in enumerate(names)]
Path("runs.csv").write_text("\\n".join(["run,step,loss", *long]))
lines = [f"epoch {k} loss {a:.5f} accuracy {b:.2f}" for k, (a, b) in enumerate(zip(loss, accuracy))]
Path("log.txt").write_text("\\n".join(lines))
Path("history.json").write_text(json.dumps({"loss": loss.tolist()}))
Path("x.csv").write_text("\\n".join(["iter,objective,top1", *rows]))
""",
    "docs/slow_points.md": """
import numpy as np
import ghostpoint as gp

gp.write_weights(gp.LowRankRNN(m=[2.0], n=[1.5], b=[1.4]), "weights.npz")
trajectories = np.zeros((3, 5, 1))
run = gp.train(gp.LowRankRNN.published([40]), gp.tasks.DelayedActivation(60), 0.1, 1500, checkpoints=[0, 1499])
""",
    "docs/tour.md": _LOG,
    "docs/howto/stuck_run.md": _LOG,
}
