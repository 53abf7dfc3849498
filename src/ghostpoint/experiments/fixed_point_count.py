"""Article, Fig. 3, text: the fixed points of the latent flow, counted after every epoch of the run
of Fig. 3A.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, published_claim
from ghostpoint.experiments.shared.networks import NETWORKS, Segments, models_of, train_segments
from ghostpoint.slow_points.latents import flow_zeros

PAPER: Mapping[str, Any] = {
    **NETWORKS,
    "seed": 40,
    "learning_rate": 0.003,
    "epochs": 500_000,
    "segment": 10_000,
    "limits": [-15.0, 15.0],
    "kept_stride": 250,  # of the positions that are saved for the figure; every epoch is counted
}
PARAMETERS = {"quick": {**PAPER, "epochs": 80_000}, "paper": PAPER}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Count and locate every zero of the flow at every epoch."""
    stride, low_high = parameters["kept_stride"], tuple(parameters["limits"])
    counts, undecided, whole, position, slope, loss, box = [], [], [], [], [], [], []
    for start, result in train_segments(
        progress,
        "training, and all zeros of the flow at every epoch",
        Segments(models_of(parameters, [parameters["seed"]]), parameters["epochs"]),
        parameters,
        parameters["learning_rate"],
        parameters["segment"],
        1,
    ):
        kept = result.checkpoints
        assert kept is not None
        m, n, b = (kept[name].values[:, 0].reshape(kept.sizes["checkpoint"], -1) for name in ("m", "n", "b"))
        zeros = flow_zeros(m, n, b, limits=low_high)
        counts.append(zeros.count)
        undecided.append(zeros.n_undecided)
        whole.append(zeros.whole_line)
        box.append(np.abs(n.astype(np.float64)).sum(axis=1).max())
        chosen = slice(-start % stride, None, stride)
        # the leftmost zero: the only one if the claim holds
        first = np.full(len(zeros.count), np.nan)
        first_slope = first.copy()
        if zeros.position.shape[1]:
            first, first_slope = zeros.position[:, 0], zeros.slope[:, 0]
        position.append(first[chosen])
        slope.append(first_slope[chosen])
        loss.append(result.history["loss"].values[0, chosen])
    count = np.concatenate(counts)
    return xr.Dataset(
        {
            "n_fixed_points": ("count", np.bincount(count, minlength=4), {"units": "epochs"}),
            "fixed_point": ("epoch", np.concatenate(position), {"units": "kappa"}),
            "slope": ("epoch", np.concatenate(slope), {"units": "1 / tau"}),
            "loss": ("epoch", np.concatenate(loss), {"units": "chance"}),
            "count_kept": ("epoch", count[::stride]),
        },
        coords={"count": np.arange(max(4, count.max() + 1)), "epoch": np.arange(len(count))[::stride]},
        attrs={
            "epochs": len(count),
            "undecided_epochs": int((np.concatenate(undecided) > 0).sum()),
            "whole_line_epochs": int(np.concatenate(whole).sum()),
            "largest_box": float(max(box)),
        },
    )


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """Exactly one fixed point at every epoch."""
    by_count = dataset["n_fixed_points"].values
    epochs, undecided = dataset.attrs["epochs"], dataset.attrs["undecided_epochs"]
    others = ", ".join(f"{k} zeros at {by_count[k]}" for k in range(len(by_count)) if k != 1 and by_count[k])
    return [
        published_claim(
            "There is exactly one fixed point with kappa in [-15, 15] after every epoch.",
            source="Letter, text on Fig. 3A (data not shown there)",
            published="1 at every epoch",
            rule="Exactly one zero is found at every epoch, and none is undecided at any.",
            measured=f"1 at {by_count[1]} of {epochs} epochs{'; ' + others if others else ''}; {undecided} epochs "
            f"undecided. At {dataset.attrs['whole_line_epochs']} of them [-15, 15] contains every zero there can be "
            f"(|kappa| ≤ Σ|n_i| ≤ {dataset.attrs['largest_box']:.1f})",
            verdict=judge(bool(by_count[1] == epochs) and undecided == 0),
            note="Each count is proven complete in float64 arithmetic with a bound on its rounding.",
        )
    ]


FIXED_POINT_COUNT = Experiment(
    id="fixed_point_count",
    title="One fixed point after every epoch",
    figure="Fig. 3A, text (letter: text on Fig. 3A)",
    question="The letter states, without a figure, that the network of Fig. 3A had one fixed point after every epoch. "
    "Here every zero of the latent flow is found at every epoch, with proof that none is missed.",
    parameters=PARAMETERS,
    run=run,
    claims=claims,
)
