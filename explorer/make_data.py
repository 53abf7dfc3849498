"""Make the data that the page carries: the networks of its second and third part, and the example
of its fourth.

    python explorer/make_data.py [rank_one] [rank_two | rank_two=RUN.zip] [example]

Each is one JSON file in ``explorer/data``, made by the library from the published seeds, so that
the page can be checked against it. RUN.zip is a saved run of the same training of rank two, such as
before_the_drop makes at paper scale.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import ghostpoint as gp
from ghostpoint.experiments.shared.networks import spread_epochs
from ghostpoint.slow_points.latents import latent_ghosts, latent_zeros

DATA = Path(__file__).parent / "data"
#: published seeds that part two offers
SEEDS = (0, 3, 7, 12, 40)
#: Fig. 4A-D: a seed whose loss drops abruptly, the published rate, and how many of the epochs are
#: kept
SEED, RATE, EPOCHS, KEPT = 23, 0.001, 20_000, 40


def packed(*arrays: Any) -> str:
    """Arrays one after another, as float32 in base64."""
    flat = np.concatenate([np.asarray(array, "<f4").ravel() for array in arrays])
    return base64.b64encode(flat.tobytes()).decode()


def rank_one() -> dict[str, Any]:
    """Initial weights m, n of the published networks of rank one (b is 0)."""
    networks = gp.LowRankRNN.published(list(SEEDS))
    weights = [packed(networks.m[i], networks.n[i]) for i in range(len(networks))]
    return {"units": networks.n_units, "seeds": list(SEEDS), "weights": weights}


def rank_two(saved: str = "") -> dict[str, Any]:
    """A network as in Fig. 4A-D over training: weights, losses, zeros (proven) and ghosts.

    Published are 500 copies of each trial; here they are 10, as in the experiment before_the_drop.
    """
    task = gp.tasks.DelayedCueDiscrimination(10.0, 50.0, 50.0, copies=10, initial_scale=0.3)
    if saved:
        run = gp.load(saved)
        place = run.models.seed.tolist().index(SEED)
    else:
        kept = spread_epochs(EPOCHS, 200)
        start = gp.LowRankRNN.published([SEED], "4A")
        run, place = gp.train(start, task, RATE, EPOCHS, record=kept, checkpoints=kept), 0
    assert (run.task, run.config["learning_rate"], run.config["epochs"]) == (task, [RATE], EPOCHS)
    assert run.checkpoints is not None
    spread = run.checkpoints["epoch"].values
    loss = run.history["loss"].sel(epoch=spread, method="nearest").values[place] / task.chance_loss
    # as many epochs as the loss changes much in, and some between: equal steps along the curve of
    # the loss
    along = np.abs(np.diff(np.minimum.accumulate(loss))) / np.ptp(loss) + np.diff(spread) / EPOCHS
    path = np.concatenate([[0], np.cumsum(along)])
    rows = np.unique(np.searchsorted(path, np.linspace(0, path[-1], KEPT)).clip(0, len(spread) - 1))
    drawn = np.random.default_rng(0).normal(size=(6, run.models.n_units))
    shown = []
    for row in rows:
        model = run.models_at(int(row))[place]
        zeros, ghosts = latent_zeros(model), latent_ghosts(model)
        parts = (model.m[0], model.n[0], model.b[0], model.w_in[0, :, 0], model.w_out[0, 0], model.b_out[0])
        unstable = (zeros.eigenvalues.real > 0).sum(axis=1)
        points = [[*position, int(count)] for position, count in zip(zeros.position.tolist(), unstable, strict=True)]
        minima = [[*position, speed] for position, speed in zip(ghosts.position.tolist(), ghosts.speed, strict=True)]
        shown.append(
            {"epoch": int(spread[row]), "weights": packed(*parts), "zeros": points, "ghosts": minima,
             "undecided": int(zeros.n_undecided)}
        )  # fmt: skip
    return {
        "units": run.models.n_units, "rank": 2, "seed": SEED, "rate": RATE, "alpha": task.alpha, "dt": task.dt,
        "steps": [task.cue_steps, task.delay_steps, task.response_steps],
        "initial": packed(np.tanh(task.initial_scale * drawn)), "trials": len(drawn),
        "epoch": spread.tolist(), "loss": np.round(loss, 5).tolist(), "shown": shown,
    }  # fmt: skip


def example() -> dict[str, Any]:
    """A saved run as ``ghostpoint explore`` reads one: six published networks, of which some are
    lost.

    Two trainings, which are equal to the last bit: the first says when a network is lost, and the
    second keeps weights around that epoch. Weights of that one network alone are kept, for the size
    of the page.
    """
    import tempfile

    from ghostpoint.explorer import read_saved

    epochs, seeds = 6000, [0, 7, 21, 40, 62, 90]
    arguments = (gp.LowRankRNN.published(seeds), gp.tasks.DelayedActivation(), 0.02, epochs)
    lost = gp.train(*arguments, record=[0]).events["no_learning_zone_entry"].values
    entry = int(lost[lost >= 0][0])
    kept = {*range(0, epochs, 400), *range(entry - 90, entry + 30, 6), epochs - 1}
    record = {*range(0, epochs, 40), *range(entry - 200, entry + 100, 4), epochs - 1}
    run = gp.train(*arguments, record=sorted(record), checkpoints=sorted(kept))
    with tempfile.TemporaryDirectory() as folder:
        saved = read_saved(run.save(Path(folder) / "six published networks.zip"))
    for network in saved["runs"][0]["networks"]:
        network["accuracy"] = None
        if network["events"]["no_learning_zone_entry"] != entry:
            network.pop("weights", None)
            network.pop("points", None)
    return saved


if __name__ == "__main__":
    makers: dict[str, Any] = {"rank_one": rank_one, "rank_two": rank_two, "example": example}
    for wanted in sys.argv[1:] or makers:
        name, _, saved = wanted.partition("=")
        made = makers[name](saved) if saved else makers[name]()
        text = json.dumps(made, separators=(",", ":"))
        (DATA / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(f"{name}: {len(text) / 1000:.0f} kB")
