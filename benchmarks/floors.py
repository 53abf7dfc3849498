"""The guard on fresh batches whose loss has a floor: dropout, and targets with noise.

    python benchmarks/floors.py [--kinds dropout,noise] [--cells gru] [--rates 0.003,0.03,0.3]
        [--seeds 350,351] [--json benchmarks/results/floors.json]
    python benchmarks/floors.py --table     # only show what the file holds

GRUs of 64 units learn the adding problem (``memory_tasks.py``) in 1000 updates of 16 trials by
Adam, alone and guarded. *dropout*: a fifth of the states is dropped before the readout. *noise*:
targets have Gaussian noise of standard deviation 0.2, and no loss is below 0.04 for long.

*learned*, *lost*: by the loss of the training less the floor that noise has, as elsewhere. *epoch*:
the first update at which its running median of 21 is below 0.2 of chance. *test*: loss over chance
after training, on 20 other batches, without noise and dropout. No seed from 350 on of the task was
looked at while the guard's rule was made. Runs that the file already holds are
not made again.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from ghostpoint.torch import Guard

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.memory_tasks import Network, Problem, judged, problem, train

SAVED = Path(__file__).parent / "results" / "floors.json"
KEY = ("kind", "cell", "rate", "method", "seed")
UPDATES, NOISE, DROPPED, TESTED = 1000, 0.2, 0.2, 20
#: of the batches that a trained network is tested on
TEST_SEED = 10_000


class Dropping(nn.Module):
    """A network of which a part of the states is dropped before the readout."""

    def __init__(self, network: Network):
        super().__init__()
        self.network, self.dropout = network, nn.Dropout(DROPPED)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states = self.dropout(self.network.cell(x)[0])
        return self.network.last(self.network.readout(states))


def with_noise(asked: Problem) -> Problem:
    """The same task with noise on its targets."""

    def batches(generator: torch.Generator) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
        following = asked.batches(generator)

        def drawn() -> tuple[torch.Tensor, torch.Tensor]:
            x, y = following()
            return x, y + NOISE * torch.randn(y.shape, generator=generator)

        return drawn

    return replace(asked, batches=batches)


@torch.no_grad()
def test_loss(asked: Problem, network: nn.Module) -> float:
    """Over chance, on other batches."""
    network.eval()
    following = asked.batches(torch.Generator().manual_seed(TEST_SEED))
    losses = [float(asked.loss(network(x), y)[0]) for x, y in (following() for _ in range(TESTED))]
    found = sum(losses) / TESTED / asked.chance
    return found if math.isfinite(found) else math.inf


def run(kind: str, cell: str, rate: float, method: str, seed: int) -> dict[str, Any]:
    """One training."""
    clean = problem("adding")
    network: nn.Module = clean.network(cell, 64, seed)
    if kind == "dropout":
        network = Dropping(network)
    asked, floor = (with_noise(clean), NOISE**2) if kind == "noise" else (clean, 0.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    guard = Guard(network, optimizer, batch="fresh") if method == "guarded" else None
    made = train(asked, network, optimizer, UPDATES, seed, guard)
    losses = [max(loss - floor, 0.0) if math.isfinite(loss) else math.inf for loss in made]
    running = [median(losses[max(0, k - 20) : k + 1]) / clean.chance for k in range(len(losses))]
    found = judged(losses, clean.chance, clean.fixed)
    return {
        "learned": found["learned"],
        "lost": found["lost"],
        "epoch": next((k for k, loss in enumerate(running) if loss < 0.2), -1),
        "test": test_loss(clean, network),
    }


def table(runs: list[dict]) -> str:
    """Per kind, cell, rate and method."""
    groups: dict[tuple, list[dict]] = defaultdict(list)
    for one in runs:
        groups[tuple(one[name] for name in KEY[:-1])].append(one)
    rows = ["| | rate | method | networks | learned | lost | epoch | test |", "|---|---|---|---|---|---|---|---|"]
    for (kind, cell, rate, method), found in sorted(groups.items()):
        epochs = [one["epoch"] for one in found if one["epoch"] >= 0]
        epoch = f"{median(epochs):.0f}" if epochs else "-"
        learned, lost = (sum(one[name] for one in found) for name in ("learned", "lost"))
        test = median(one["test"] for one in found)
        rows.append(
            f"| {kind}, {cell} | {rate:g} | {method} | {len(found)} | {learned} | {lost} | {epoch} | {test:.2g} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default="dropout,noise")
    parser.add_argument("--cells", default="gru")
    parser.add_argument("--rates", default="0.003,0.03,0.3")
    parser.add_argument("--seeds", default=",".join(map(str, range(350, 358))))
    parser.add_argument("--json", type=Path, default=SAVED)
    parser.add_argument("--table", action="store_true", help="only show what the file holds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = json.loads(options.json.read_text())["runs"] if options.json.exists() else []
    known = {tuple(one[name] for name in KEY) for one in runs}
    lists = [options.kinds.split(","), options.cells.split(","), map(float, options.rates.split(","))]
    wanted = product(map(int, options.seeds.split(",")), *lists, ("plain", "guarded"))
    for seed, kind, cell, rate, method in () if options.table else wanted:
        key = (kind, cell, rate, method, seed)
        if key not in known:
            torch.manual_seed(seed)
            runs.append(dict(zip(KEY, key, strict=True)) | run(*key))
            rows = ",\n".join(json.dumps(one) for one in runs)
            options.json.write_text(f'{{"command": "python benchmarks/floors.py", "runs": [\n{rows}\n]}}\n')
    print(table(runs))


if __name__ == "__main__":
    main()
