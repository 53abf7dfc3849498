"""Remedies at work in the engines: gradients of escape times, what the factor is, and runs that it
never touches.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ghostpoint as gp
from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.remedies import (
    ClipGradient,
    ConfidenceSchedule,
    HazardLimit,
    ReduceRate,
    Rewind,
    TrustRegion,
    crossings,
)
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination, DelayedMatchToSample
from ghostpoint.training.by_epoch.reference_engine import ReferenceBackend
from ghostpoint.training.by_epoch.torch_engine import TorchBackend
from ghostpoint.training.reference import approach, evaluate, follow, global_norm
from tests.training.calls import train_with

SHORT = DelayedActivation(30)
CUE = DelayedCueDiscrimination(10, 20, 15)
ENGINES = pytest.mark.parametrize("engine", ["reference", "torch"])


def cue_networks(seeds, gain=1.0, **keywords):
    models = FullRankRNN.initialize(12, seeds, "xavier_biased", n_inputs=1, activation="tanh", **keywords)
    return models.replace(w_out=gain * models.w_out, W=1.5 * models.W)


PROBLEMS = {
    "rank 1": (
        LowRankRNN.initialize(9, range(6), trainable=("m", "n", "b", "confidence"), threshold=0.2, confidence=3.0)
        .replace(b=0.3 * np.random.default_rng(0).normal(size=(6, 9))),
        SHORT,
    ),
    "rank 2": (LowRankRNN.initialize(9, range(3), "latent_readout", rank=2, n_inputs=1, activation="tanh"), CUE),
    "cue": (cue_networks([0, 1, 2], 3.0), CUE),
    "match": (
        FullRankRNN.initialize(9, [0, 1], "xavier_biased", n_inputs=1, initial_state=0.2),
        DelayedMatchToSample(10, 15, 15),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_gradient_of_the_escape_time_or_peak_is_its_slope(name):
    models, task = PROBLEMS[name]
    trial, generator = task.trial(), np.random.default_rng(1)
    step = {part: generator.normal(size=getattr(models, part).shape) for part in models.trainable}

    def seen(h):
        moved = models.replace(**{part: getattr(models, part) + h * change for part, change in step.items()})
        return [approach(moved, task, trial, follow(moved, task, trial), one) for one in wanted]

    wanted = crossings(task, trial, models.activation)
    h = 1e-6
    for now, less, more in zip(seen(0), seen(-h), seen(h), strict=True):
        watched = [np.where(now.crossed, one.time, one.peak) for one in (less, more)]
        inner = sum((now.gradient[part] * step[part]).reshape(len(models), -1).sum(axis=1) for part in step)
        same = (less.crossed == now.crossed) & (more.crossed == now.crossed)
        assert same.all()
        assert (watched[1] - watched[0]) / (2 * h) == pytest.approx(inner, rel=1e-5, abs=1e-7)


def test_the_problems_have_readouts_that_cross_and_readouts_that_do_not():
    fates = []
    for models, task in PROBLEMS.values():
        trial = task.trial()
        path = follow(models, task, trial)
        for one in crossings(task, trial, models.activation):
            fates += approach(models, task, trial, path, one).crossed.tolist()
    assert {True, False} == set(fates)


@pytest.mark.parametrize("name", PROBLEMS)
def test_autograd_agrees_about_crossings(name):
    models, task = PROBLEMS[name]
    trial = task.trial()
    wanted = crossings(task, trial, models.activation)
    ours, other = ReferenceBackend(models, task), TorchBackend(models, task, "float64")
    found = []
    for backend in (ours, other):
        with backend.running(watched=True):
            backend.evaluate(trial, None, None)
            found.append(backend.approaches(wanted))
    for one, two in zip(*found, strict=True):
        assert np.array_equal(one.crossed, two.crossed)
        assert two.time == pytest.approx(one.time, rel=1e-10)
        assert two.peak == pytest.approx(one.peak, rel=1e-10)
        for part in models.trainable:
            np.testing.assert_allclose(other.numpy(two.gradient[part]), one.gradient[part], rtol=1e-8, atol=1e-11)


@ENGINES
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_a_remedy_that_never_acts_changes_no_bit(engine, optimizer):
    models, task = PROBLEMS["rank 1"]
    idle = (
        TrustRegion(h=1e9, eta=1e9, shrink=np.inf, brake=1, polyak=np.inf, growth=1)
        + HazardLimit(1e12)
        + Rewind(patience=1000)
    )
    idle = (*idle, ConfidenceSchedule(1.0, 5))
    asked = {"engine": engine, "dtype": "float64", "record": "all", "optimizer": optimizer, "checkpoints": [3, 14]}
    plain, same = train_with(models, task, 0.1, 15, **asked), train_with(models, task, 0.1, 15, remedy=idle, **asked)
    assert (same.history["update_scale"] == 1).all()
    assert (same.events["remedy_epochs"] == 0).all()
    assert same.history.drop_vars("update_scale").identical(plain.history)
    assert same.checkpoints.identical(plain.checkpoints)
    for part in models.parts:
        np.testing.assert_array_equal(getattr(same.models, part), getattr(plain.models, part))
    assert "update_scale" not in plain.history
    assert "remedy_epochs" not in plain.events


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_factor_is_the_rule_with_a_directional_derivative_by_differences(name):
    models, task = PROBLEMS[name]
    region = TrustRegion(h=0.03, eta=0.02, shrink=0.05, tilt=0.0, floor=0.3, growth=1, split=False)
    run = train_with(
        models, task, 2.0, 4, engine="reference", dtype="float64", record="all", checkpoints=range(4), remedy=region
    )
    trial = task.trial()
    wanted = crossings(task, trial, models.activation)
    scales = run.history["update_scale"].values
    assert (scales < 1).any()
    for epoch in range(4):
        now = run.models_at(epoch)
        found = evaluate(now, task)
        step = {part: -2.0 * found.gradient[part] for part in models.trainable}
        expected = np.ones(len(models))
        for one in wanted:
            h = 1e-7
            ends = []
            for sign in (-h, h):
                moved = now.replace(**{part: getattr(now, part) + sign * change for part, change in step.items()})
                z = follow(moved, task, trial).logits[one.trial, :, :, one.output]
                ends.append(one.measure(z))
            crossed, time, peak, _ = one.measure(follow(now, task, trial).logits[one.trial, :, :, one.output])
            gradient = approach(now, task, trial, follow(now, task, trial), one).gradient
            lengths = [global_norm([parts[part] for part in step], len(models)) for parts in (gradient, step)]
            moved_by = np.where(crossed, np.abs(ends[1][1] - ends[0][1]) / (2 * h), lengths[0] * lengths[1])
            shift = np.minimum(0.03, 0.05 * found.loss / task.chance_loss) * 0.375 * np.minimum(one.delay, time)
            limit = np.where(crossed, shift, 0.02 * np.maximum(-peak, 0.3))
            expected = np.minimum(expected, limit / moved_by)
        np.testing.assert_allclose(scales[:, epoch], expected, rtol=1e-4)
        after = run.models_at(epoch + 1) if epoch < 3 else run.models
        for part, change in step.items():
            factor = scales[:, epoch].reshape(-1, *[1] * (change.ndim - 1))
            np.testing.assert_allclose(getattr(after, part), getattr(now, part) + factor * change, atol=1e-12)
    assert run.events["remedy_epochs"].values.tolist() == (scales != 1).sum(axis=1).tolist()


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_split_update_is_the_rule_on_the_vectors_themselves(name):
    """The parts by least squares on flattened gradients, the factors by loops; nothing of the
    rule's own code.
    """
    models, task = PROBLEMS[name]
    region = TrustRegion(h=0.03, eta=0.02, shrink=0.005, tilt=0.2, floor=0.3, growth=4.0, polyak=0.1)
    run = train_with(
        models, task, 2.0, 6, engine="reference", dtype="float64", record="all", checkpoints=range(6), remedy=region
    )
    trial = task.trial()
    wanted = crossings(task, trial, models.activation)
    divided = 0

    def flat(parts, row):
        return np.concatenate([parts[part][row].ravel() for part in models.trainable])

    for epoch in range(6):
        now, after = run.models_at(epoch), run.models_at(epoch + 1) if epoch < 5 else run.models
        found = evaluate(now, task)
        seen = [approach(now, task, trial, follow(now, task, trial), one) for one in wanted]
        for row in range(len(models)):
            g, e = flat(found.gradient, row), [flat(one.gradient, row) for one in seen]
            d, crossed = -2.0 * g, [bool(one.crossed[row]) for one in seen]
            basis = np.array([one / np.linalg.norm(one) for one, does in zip(e, crossed, strict=True) if does])
            if len(basis):
                p, of_loss = (basis.T @ np.linalg.lstsq(basis.T, v, rcond=1e-6)[0] for v in (d, g))
            else:
                p, of_loss = np.zeros_like(d), np.zeros_like(d)
            q = d - p
            aside = max(np.linalg.norm(q), 1e-3 * np.linalg.norm(d))
            rest = [4.0, 0.1 * found.loss[row] / (np.linalg.norm(g - of_loss) * aside)]
            along = [4.0]
            for one, crossing, slope, does in zip(seen, wanted, e, crossed, strict=True):
                if does:
                    reach = 0.375 * min(crossing.delay, one.time[row])
                    rest.append(0.03 * reach / (0.2 * np.linalg.norm(slope) * aside))
                    share = min(0.03, 0.005 * found.loss[row] / task.chance_loss)
                    along.append(share * reach / abs(slope @ d))
                else:
                    rest.append(0.02 * max(-one.peak[row], 0.3) / (np.linalg.norm(slope) * np.linalg.norm(d)))
            made = min(*along, *rest) * p + min(rest) * q
            divided += len(basis) > 0 and min(along) < min(rest)
            moved = [getattr(after, part)[row] - getattr(now, part)[row] for part in models.trainable]
            np.testing.assert_allclose(np.concatenate([one.ravel() for one in moved]), made, rtol=1e-6, atol=1e-12)
            scale = float(run.history["update_scale"][row, epoch])
            assert scale == pytest.approx(np.linalg.norm(made) / np.linalg.norm(d), rel=1e-6)
    if name in ("rank 2", "cue"):  # the others' networks do not cross so soon
        assert divided > 0


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_torch_follows_the_specification_under_every_remedy(name, optimizer):
    models, task = PROBLEMS[name]
    remedy = (*(TrustRegion(h=0.1, eta=0.1) + HazardLimit(0.5) + ConfidenceSchedule(0.5, 6)), ClipGradient(0.5))
    asked = {"dtype": "float64", "record": "all", "optimizer": optimizer}
    slow, fast = (
        train_with(models, task, 0.3, 10, engine=engine, remedy=remedy, **asked) for engine in ("reference", "torch")
    )
    for quantity in slow.history:
        np.testing.assert_allclose(fast.history[quantity], slow.history[quantity], rtol=1e-7, atol=1e-10)
    for part in models.present_parts():
        np.testing.assert_allclose(getattr(fast.models, part), getattr(slow.models, part), rtol=1e-7, atol=1e-9)
    assert (slow.events["remedy_epochs"] >= 6).all()


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 20.0), ("momentum", 20.0), ("adam", 0.1)])
def test_the_trust_region_saves_what_plain_training_loses(optimizer, rate):
    models = LowRankRNN.published(range(4))
    asked = {"optimizer": optimizer, "engine": "torch", "record": [0, 59]}
    plain = train_with(models, SHORT, rate, 60, **asked)
    saved = train_with(models, SHORT, rate, 60, remedy="auto", **asked)
    assert (plain.history["loss"][:, -1] > 0.8).all()
    assert (saved.events["first_solved"] >= 0).all()
    assert (saved.events["no_learning_zone_entry"] < 0).all()
    assert (saved.history["loss"][:, -1] < 0.05).all()


def test_clip_gradient_is_a_part_of_the_optimiser():
    models, task = cue_networks([0, 1, 2]), CUE
    for engine in ("reference", "torch", "compiled"):
        asked = {"engine": engine, "record": "all", "dtype": "float64"}
        plain = train_with(models, task, 1.0, 1, **asked)
        run = train_with(models, task, 1.0, 1, remedy=ClipGradient(0.01), **asked)
        norm = plain.history["gradient_norm"].values[:, 0]
        np.testing.assert_array_equal(run.history["gradient_norm"].values[:, 0], norm)
        assert (norm > 0.01).all()
        for part in models.trainable:
            before = getattr(models, part)
            whole, clipped = (getattr(one.models, part) - before for one in (plain, run))
            factor = (0.01 / (norm + 1e-6)).reshape(-1, *[1] * (before.ndim - 1))
            np.testing.assert_allclose(clipped, factor * whole, rtol=1e-6, atol=1e-14)
        assert "update_scale" not in run.history
        assert run.config["remedy"] == [{"remedy": "ClipGradient", "norm": 0.01}]


def test_the_hazard_limit_is_its_formula():
    models, task = PROBLEMS["rank 1"]
    run = train_with(models, task, 50.0, 3, engine="reference", dtype="float64", record="all", remedy=HazardLimit(0.01))
    hazard = 50.0 * run.history["gradient_norm"].values ** 2 / (0.375 * task.chance_loss)
    assert (hazard > 0.01).any()
    np.testing.assert_allclose(run.history["update_scale"], np.minimum(1, 0.01 / hazard), rtol=1e-12)


#: networks that learn and are lost at once
LOST_SOON = {"momentum": (5.0, [0, 2, 3, 9]), "adam": (0.05, [0, 4, 6, 10])}


@ENGINES
@pytest.mark.parametrize("optimizer", LOST_SOON)
def test_rewind_goes_back_to_the_lowest_loss_with_the_state_it_had(engine, optimizer):
    rate, seeds = LOST_SOON[optimizer]
    models, patience, epochs = LowRankRNN.published(seeds), 8, 30
    asked = {"engine": engine, "dtype": "float64", "record": "all", "optimizer": optimizer}
    run = train_with(
        models, SHORT, rate, epochs, remedy=Rewind(0.25, patience), checkpoints=range(epochs), **asked
    )  # fmt: skip
    above, loss = run.history["accuracy"].values > SHORT.chance_accuracy, run.history["loss"].values
    for row in range(len(models)):
        entry = next(
            e
            for e in range(patience, epochs)
            if above[row, :e].any() and not above[row, e - patience + 1 : e + 1].any()
        )
        assert entry < epochs - 3
        best = int(loss[row, : entry + 1].argmin())
        assert run.history["update_scale"].values[row].tolist()[: entry + 2] == [1.0] * entry + [0.25] * 2
        for part in models.trainable:
            path = run.checkpoints[part].values[:, row]
            np.testing.assert_array_equal(path[entry + 1], path[best])
            # with the state of then: momentum's next update is the one made there, at a quarter of
            # the rate
            if optimizer == "momentum":
                again, first = path[entry + 2] - path[entry + 1], path[best + 1] - path[best]
                np.testing.assert_allclose(again, first / 4, rtol=1e-7, atol=1e-13)


def test_reduce_rate_goes_on_with_less():
    rate, seeds = LOST_SOON["momentum"]
    run = gp.train(
        LowRankRNN.published(seeds), SHORT, rate, 30, optimizer="momentum", engine="torch", remedy=ReduceRate(0.5, 5)
    )
    above = run.history["accuracy"].values > SHORT.chance_accuracy
    for row, scale in enumerate(run.history["update_scale"].values):
        entry = int(scale.argmin())
        assert scale.tolist() == [1.0] * entry + [0.5] * (30 - entry)
        assert 5 < entry < 30
        assert above[row, entry - 5]
        assert not above[row, entry - 4 : entry + 1].any()
        assert run.events["remedy_epochs"][row] == 30 - entry


@ENGINES
@pytest.mark.parametrize("name", ["rank 1", "cue"])
def test_the_schedule_trains_the_network_with_the_lowered_readout(engine, name):
    models, task = PROBLEMS[name]
    run = train_with(
        models, task, 0.1, 3, engine=engine, dtype="float64", record="all", remedy=ConfidenceSchedule(0.25, 2),
        checkpoints=[0, 1, 2],
    )  # fmt: skip
    parts = ("confidence",) if models.w_out is None else ("w_out", "b_out")
    for epoch, factor in enumerate((0.25, 0.5, 1.0)):
        now = run.models_at(epoch)
        lowered = evaluate(now.replace(**{part: factor * getattr(now, part) for part in parts}), task)
        np.testing.assert_allclose(run.history["loss"][:, epoch], lowered.loss, rtol=1e-10)
        after = run.models_at(epoch + 1) if epoch < 2 else run.models
        for part in models.trainable:
            slope = lowered.gradient[part] * (factor if part in parts else 1.0)
            np.testing.assert_allclose(getattr(after, part), getattr(now, part) - 0.1 * slope, rtol=1e-9, atol=1e-12)
    assert (run.events["remedy_epochs"] == 2).all()


def test_a_confidence_that_is_not_trained_is_the_models_own_at_the_end_and_in_between():
    models = LowRankRNN.initialize(6, [0, 1], confidence=[3.3, 7.7])
    run = gp.train(models, SHORT, 0.1, 5, engine="torch", remedy=ConfidenceSchedule(0.1, 4), record="all")
    np.testing.assert_array_equal(run.models.confidence, models.confidence)
    np.testing.assert_allclose(run.history["confidence"][:, 0], 0.1 * models.confidence, rtol=1e-6)
    np.testing.assert_allclose(run.history["confidence"][:, 4], models.confidence, rtol=1e-6)


def test_a_run_with_remedies_is_saved_and_comes_back(tmp_path):
    models, task = PROBLEMS["rank 1"]
    run = gp.train(models, task, 5.0, 4, engine="torch", remedy=TrustRegion(growth=np.inf) + Rewind())
    again = gp.load(run.save(tmp_path / "run.zip"))
    assert again.history.identical(run.history)
    assert again.events.identical(run.events)
    assert [one["remedy"] for one in again.config["remedy"]] == ["TrustRegion", "Rewind"]


def test_with_growth_the_rate_of_a_direction_does_not_matter():
    models, task = PROBLEMS["cue"]
    asked = {"engine": "torch", "dtype": "float64", "record": "all", "remedy": TrustRegion(growth=np.inf)}
    slow, fast = (train_with(models, task, rate, 6, **asked) for rate in (1e-4, 1e2))
    np.testing.assert_allclose(slow.history["loss"], fast.history["loss"], rtol=1e-8)


@pytest.mark.parametrize("engine", ["compiled", "reference"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_an_update_that_a_remedy_makes_too_long_is_a_divergence(engine, name):
    """With boundless growth the factor itself can overflow: an event, not an error."""
    models, task = PROBLEMS[name]
    flat = models.replace(
        **{part: 1e-160 * getattr(models, part) for part in ("w_in", "w_out") if part in models.trainable}
    )
    run = train_with(
        flat,
        task,
        0.1,
        4,
        remedy=TrustRegion(growth=np.inf, eta=1e200, polyak=np.inf),
        engine=engine,
        dtype="float64",
        optimizer="sgd",
    )
    assert np.isfinite(run.models.b).all()
    assert (run.events["diverged"] >= 0).all()


def test_threads_of_torch_are_one_for_a_small_stack_and_as_before_afterwards(monkeypatch):
    models, task = PROBLEMS["rank 1"]
    before = torch.get_num_threads()
    seen = []
    torch.set_num_threads(2)
    try:
        train_with(models, task, 0.1, 2, engine="torch", on_record=lambda *_: seen.append(torch.get_num_threads()))
        monkeypatch.setattr("ghostpoint.training.by_epoch.torch_engine.ONE_THREAD_BELOW", 0)
        train_with(models, task, 0.1, 1, engine="torch", on_record=lambda *_: seen.append(torch.get_num_threads()))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1, 2]
