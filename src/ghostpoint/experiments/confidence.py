"""Article, Fig. 8B: lost networks learn again once their confidence is lowered; training itself
does not lower it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.errors import InputError
from ghostpoint.experiments.shared.base import Claim, Experiment, Progress, judge, published_claim
from ghostpoint.experiments.shared.networks import NETWORKS, log_grid, models_of, trained
from ghostpoint.experiments.shared.shares import ENOUGH, MOST_OF, NEARLY_ALL_OF, judge_share, most, nearly_all, share

PAPER: Mapping[str, Any] = {
    **NETWORKS,
    "seeds": list(range(100)),
    "learning_rate": 0.02,
    "epochs": 6000,
    "log10_confidences": [-3.0, 1.0],
    "confidences": 30,
    "recovery_epochs": 100,
    "roundings": 20,
}
PAPER_TRAINABLE: Mapping[str, Any] = {
    **NETWORKS,
    "seeds": list(range(100)),
    "shown_seed": 40,
    "learning_rate": 0.02,
    "epochs": 10_000,
    "reset_confidence": 1.0,
    "reset_epochs": 10_000,
    "record_stride": 10,
}


def run(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train 100 networks; go on with the lost ones at every confidence, from the same weights.

    If no network is lost, the dimension ``lost`` is empty and means over it are missing. Along
    ``rounding`` stand the counts of trainings whose initial weights differ from the published ones
    by one unit in the last place.
    """
    rate, epochs = parameters["learning_rate"], parameters["epochs"]
    models = models_of(parameters, parameters["seeds"])
    first = trained(
        progress,
        f"training {len(models)} networks",
        models,
        parameters,
        rate,
        epochs,
        record=10,
    )
    lost = np.flatnonzero(first.events["no_learning_zone_entry"].values >= 0)
    learned_rounded, lost_rounded = _rounded(parameters, progress, models)
    confidences = log_grid(parameters["log10_confidences"], parameters["confidences"])
    more = parameters["recovery_epochs"]
    shape = (len(confidences), len(lost), more)
    accuracy, loss = np.zeros((2, *shape))
    if len(lost):
        stack = first.models[lost].repeat(len(confidences)).replace(confidence=np.repeat(confidences, len(lost)))
        name = f"{len(lost)} lost networks at {len(confidences)} confidences"
        second = trained(progress, name, stack, parameters, rate, more, record="all")
        accuracy, loss = (second.history[each].values.reshape(shape) for each in ("accuracy", "loss"))
    final = accuracy[:, :, -1]
    # over the lost networks; nothing over none of them
    none = np.full(len(confidences), np.nan)
    some, several = len(lost) > 0, len(lost) > 1
    return xr.Dataset(
        {
            "first_above_chance": ("network", first.events["first_above_chance"].values, {"missing": -1}),
            "entry": ("network", first.events["no_learning_zone_entry"].values, {"missing": -1}),
            "learned_rounded": ("rounding", learned_rounded),
            "lost_rounded": ("rounding", lost_rounded),
            "first_loss": (("network", "first_epoch"), first.history["loss"].values, {"units": "chance"}),
            "accuracy": (("confidence", "lost"), final),
            "accuracy_mean": ("confidence", final.mean(axis=1) if some else none),
            "accuracy_sem": ("confidence", final.std(axis=1, ddof=1) / np.sqrt(len(lost)) if several else none),
            "recovered": ("confidence", (final > 0.5).mean(axis=1) if some else none),
            "path_mean": (
                ("confidence", "epoch"),
                accuracy.mean(axis=1) if some else np.full((len(confidences), more), np.nan),
            ),
            "loss": (("confidence", "lost"), loss[:, :, -1], {"units": "chance"}),
        },
        coords={
            "seed": ("network", np.array(parameters["seeds"])),
            "lost": np.array(parameters["seeds"])[lost],
            "confidence": confidences,
            "epoch": np.arange(more),
            "first_epoch": first.history["epoch"].values,
        },
    )


def _rounded(parameters: Mapping[str, Any], progress: Progress, models: Any) -> NDArray[np.int64]:
    """Numbers (2, rounding) of networks that learn and that are lost, from weights moved by one
    unit in the last place.

    Every weight goes up or down by one unit, by a coin of its own.
    """
    times, count = parameters["roundings"], len(models)
    draws = np.random.default_rng(0)

    def moved(weights: NDArray[Any]) -> NDArray[Any]:
        near = np.concatenate([weights] * times).astype(parameters["dtype"])
        towards = np.where(draws.random(near.shape) < 0.5, -np.inf, np.inf)
        return np.nextafter(near, towards.astype(near.dtype))

    stack = models.repeat(times).replace(m=moved(models.m), n=moved(models.n), b=moved(models.b))
    run = trained(
        progress, f"the same from {times} roundings of the weights", stack, parameters, parameters["learning_rate"],
        parameters["epochs"], record=10,
    )  # fmt: skip
    events = [run.events[name].values >= 0 for name in ("first_above_chance", "no_learning_zone_entry")]
    return np.array([event.reshape(times, count).sum(axis=1) for event in events])


def claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """How many learn, how many are lost, and at which confidences the lost come back."""
    learned = int((dataset["first_above_chance"] >= 0).sum())
    lost = int((dataset["entry"] >= 0).sum())
    networks = len(dataset["seed"])
    rounded, learned_rounded = dataset["lost_rounded"].values, dataset["learned_rounded"].values
    confidence, mean = dataset["confidence"].values, dataset["accuracy_mean"].values
    sem, recovered = dataset["accuracy_sem"].values, dataset["recovered"].values
    back = np.round(np.nan_to_num(recovered) * lost).astype(int)
    best = int(np.nan_to_num(mean).argmax())
    well = np.array([nearly_all(count, lost) for count in back]) & (mean > 0.75)
    freeing = confidence[well]
    many = int(back[best])
    claim = partial(published_claim, source="Letter, Fig. 4; article, Fig. 8B")
    return [
        claim(
            "74 of 100 networks learn the task at some epoch.",
            published="74 of 100",
            rule="Exactly 74 networks have an accuracy above 0.5 at some epoch.",
            measured=share(learned, networks),
            verdict=judge(learned == 74, testable=networks == 100),
            note=f"On the published initial weights; {learned_rounded.min()} to {learned_rounded.max()} from weights "
            "moved by one unit in the last place. The interval is what other seeds could give.",
        ),
        claim(
            "54 of them enter the no-learning zone.",
            published="54 of 74",
            rule="A lost network has an accuracy of at most 0.5 over its last 50 epochs. The fate of single networks "
            f"depends on rounding, so the published number lies within the range of {len(rounded)} trainings from "
            "weights moved by one unit in the last place.",
            measured=f"{share(lost, learned)}; {rounded.min()} to {rounded.max()} (median {np.median(rounded):g}) from "
            "moved weights",
            verdict=judge(bool(rounded.min() <= 54 <= rounded.max()), testable=networks == 100),
        ),
        claim(
            "Lowering the confidence lets lost networks learn again.",
            published="recovery at low c (no number)",
            rule="At some c below 1 the mean accuracy of the lost networks is above 0.75, and at least 90 % of them "
            f"are above chance; at least {ENOUGH} are lost.",
            measured=f"highest mean accuracy {mean[best]:.3f} ± {sem[best]:.3f} (s.e.m. over {lost} networks) at c = "
            f"{confidence[best]:.2g}, with {share(many, lost)} above chance; "
            + (f"so for c from {freeing.min():.2g} to {freeing.max():.2g}" if len(freeing) else "so at no c")
            if lost
            else "no network is lost",
            verdict=judge_share(bool((freeing < 1).any()), lost, testable=bool((confidence < 1).any())),
            note=f"{parameters['recovery_epochs']} more epochs from the lost weights, read at that same confidence.",
        ),
        claim(
            f"Without lowering it (c = {parameters['confidence']:g}) no network comes back.",
            published="accuracy stays 0.5",
            rule=f"None of the lost networks, at least {ENOUGH} of them, is above chance at the end.",
            measured=f"accuracy {mean[-1]:.3f} ± {sem[-1]:.3f} at c = {confidence[-1]:g}; "
            f"{share(int(back[-1]), lost)} above chance"
            if lost
            else "no network is lost",
            verdict=judge_share(
                bool(back[-1] == 0), lost, testable=bool(np.isclose(confidence[-1], parameters["confidence"]))
            ),
        ),
    ]


def run_trainable(parameters: Mapping[str, Any], progress: Progress) -> xr.Dataset:
    """Train with c trainable from 10; set it to 1 and go on, c still trainable. Beside it the same
    with c fixed at 10."""
    rate, stride = parameters["learning_rate"], parameters["record_stride"]
    if parameters["shown_seed"] not in parameters["seeds"]:
        raise InputError(f"shown_seed must be one of the seeds, got {parameters['shown_seed']}")
    models = models_of(parameters, parameters["seeds"], trainable=("m", "n", "b", "confidence"))
    free = trained(progress, "c trainable from 10", models, parameters, rate, parameters["epochs"], record=stride)
    fixed = trained(
        progress,
        "c fixed, for comparison",
        models.replace(trainable=("m", "n", "b")),
        parameters,
        rate,
        parameters["epochs"],
        record=[parameters["epochs"] - 1],
    )
    reset = trained(
        progress,
        f"c set to {parameters['reset_confidence']:g}, and on",
        free.models.replace(confidence=parameters["reset_confidence"]),
        parameters,
        rate,
        parameters["reset_epochs"],
        record=stride,
    )
    dims = ("network", "epoch")
    names = ("loss", "accuracy", "confidence", "gradient_norm")
    joined = {
        name: (dims, np.concatenate([free.history[name].values, reset.history[name].values], axis=1)) for name in names
    }
    missing = {"missing": -1}
    seeds = np.array(parameters["seeds"])
    shown = int(np.flatnonzero(seeds == parameters["shown_seed"])[0])
    return xr.Dataset(
        {
            **joined,
            "first_above_chance": ("network", free.events["first_above_chance"].values, missing),
            "entry": ("network", free.events["no_learning_zone_entry"].values, missing),
            "entry_fixed": ("network", fixed.events["no_learning_zone_entry"].values, missing),
            "first_above_chance_fixed": ("network", fixed.events["first_above_chance"].values, missing),
            "entry_reset": ("network", reset.events["no_learning_zone_entry"].values, missing),
        },
        coords={
            "seed": ("network", seeds),
            "epoch": np.concatenate(
                [free.history["epoch"].values, parameters["epochs"] + reset.history["epoch"].values]
            ),
        },
        attrs={"shown": shown, "reset_epoch": parameters["epochs"]},
    )


def trainable_claims(dataset: xr.Dataset, parameters: Mapping[str, Any]) -> list[Claim]:
    """The confidence rises or stays, networks are lost as before, and setting it to 1 brings them
    back.
    """
    reset = dataset.attrs["reset_epoch"]
    learned = int((dataset["first_above_chance"].values >= 0).sum())
    lost = dataset["entry"].values >= 0
    learned_fixed = int((dataset["first_above_chance_fixed"].values >= 0).sum())
    lost_fixed = int((dataset["entry_fixed"].values >= 0).sum())
    before = dataset.sel(epoch=slice(None, reset - 1)).isel(epoch=-1)
    c, gone = before["confidence"].values[lost], int(lost.sum())
    after = dataset["accuracy"].sel(epoch=slice(reset, None)).values[lost]
    shown = dataset.attrs["shown"]
    back, stay = int((after > 0.5).any(axis=1).sum()), int((after[:, -5:] > 0.5).all(axis=1).sum())
    return [
        published_claim(
            "Networks whose confidence is trainable still get stuck in the no-learning zone.",
            source="Letter, text on Fig. 3B (one network); article, Fig. 8B",
            published="one network, lost",
            rule=f"Most networks that learned are lost, at least three quarters as many as with c fixed. {MOST_OF}",
            measured=f"{share(gone, learned)} of the networks that learned are lost with c trainable, "
            f"{share(lost_fixed, learned_fixed)} with c fixed",
            verdict=judge_share(most(gone, learned) and gone >= 0.75 * lost_fixed, learned),
            note=f"Seed {int(dataset['seed'].values[shown])}, the published one: {_fate(dataset, shown)}. A single "
            "seed's fate depends on rounding.",
        ),
        published_claim(
            "Training does not lower the confidence of the lost networks enough to free them.",
            source="Article, Fig. 8B",
            published="c stays high (no number)",
            rule="Every lost network, of at least four, still has more than half of its initial confidence.",
            measured=f"c of the {gone} lost networks at epoch {int(before['epoch'])}: median {np.median(c):.2f}, "
            f"{c.min():.2f} to {c.max():.2f}"
            if gone
            else "no network is lost",
            verdict=judge_share(bool((c > parameters["confidence"] / 2).all()), gone),
        ),
        published_claim(
            f"Setting the confidence to {parameters['reset_confidence']:g} by hand lets them learn again.",
            source="Article, Fig. 8B",
            published="the network recovers",
            rule=f"Nearly all lost networks rise above chance. {NEARLY_ALL_OF}",
            measured=f"{share(back, gone)} of the lost networks rise above chance within "
            f"{parameters['reset_epochs']} epochs; {stay} are above it at the end",
            verdict=judge_share(nearly_all(back, gone), gone),
        ),
    ]


def _fate(dataset: xr.Dataset, network: int) -> str:
    first, entry = int(dataset["first_above_chance"][network]), int(dataset["entry"][network])
    if first < 0:
        return "never above chance"
    return f"above chance from epoch {first}, " + (f"lost at epoch {entry}" if entry >= 0 else "not lost")


FIXED = Experiment(
    id="confidence",
    title="Lowering the confidence frees lost networks",
    figure="Fig. 8B (letter: Fig. 4)",
    question="100 rank-one networks are trained at rate 0.02 with confidence c = 10. Those that learned and were lost "
    "go on from their last weights at 30 confidences. Beyond the point of no return the toy model has no gradient at "
    "high confidence and a small one at low confidence.",
    parameters={"quick": PAPER, "paper": PAPER},
    run=run,
    claims=claims,
)
TRAINABLE = Experiment(
    id="trainable_confidence",
    title="A trainable confidence does not help",
    figure="Fig. 8B (letter: text on Fig. 3B)",
    question="If the confidence is the trouble, could training lower it? It is made trainable, from 10, on the "
    "published networks; after 10,000 epochs it is set to 1 by hand and training goes on.",
    parameters={"quick": PAPER_TRAINABLE, "paper": PAPER_TRAINABLE},
    run=run_trainable,
    claims=trainable_claims,
)
