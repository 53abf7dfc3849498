"""The guard on the compiled engine: the kernels and the rule between their calls, beside the same
rule over the reference.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ghostpoint as gp
from ghostpoint.numerics.stiff_directions import conjugate_steps
from ghostpoint.remedies import ClipGradient, Guard
from ghostpoint.training.compiled import kernel_families, low_and_full_rank, single_network
from ghostpoint.training.engines import ENGINES, CompiledEngine
from ghostpoint.training.guarded import Secants, _conjugate
from ghostpoint.training.kernels import secants

ACTIVATION = gp.tasks.DelayedActivation(20)
CUE = gp.tasks.DelayedCueDiscrimination(10, 20, 15)
MATCH = gp.tasks.DelayedMatchToSample(10, 15, 15)
#: a target that no readout crosses to, at steps of which some do not count
WAVE = gp.tasks.from_arrays(
    np.zeros((3, 12, 0)),
    np.sin(np.arange(36)).reshape(3, 12, 1),
    mask=np.arange(36).reshape(3, 12, 1) % 5 > 0,
    dt=5.0,
    tau=10.0,
    tolerance=0.2,
)
PROBLEMS = {
    "a confidence": (gp.LowRankRNN.initialize(9, [0, 1], trainable=("m", "n", "b", "confidence")), ACTIVATION),
    "a fixed confidence": (gp.LowRankRNN.initialize(9, [0, 1], trainable=("n", "b")), ACTIVATION),
    "a readout of the latents": (
        gp.LowRankRNN.initialize(9, [0, 1], "latent_readout", rank=2, n_inputs=1, trainable=("m", "w_in", "b_out")),
        MATCH,
    ),
    "a readout of the state": (gp.LowRankRNN.initialize(9, [0, 1], "state_readout", rank=2), ACTIVATION),
    "full rank": (gp.FullRankRNN.initialize(8, [0, 1], n_inputs=1), MATCH),
    "some of full rank": (gp.FullRankRNN.initialize(8, [0, 1], n_inputs=1, trainable=("b", "w_out")), MATCH),
    "tanh": (gp.FullRankRNN.initialize(8, [0, 1], n_inputs=1, activation="tanh"), CUE),
    "no activation": (gp.FullRankRNN.initialize(8, [0, 1], activation="identity"), WAVE),
}
OPTIMIZERS = {"sgd": 0.3, "momentum": 0.1, "adam": 0.02}


def train(models, task, rate, epochs, engine="compiled", dtype="float64", remedy="guard", **more):
    computing = gp.Computing(engine, dtype, **{name: more.pop(name) for name in ("threads",) if name in more})
    return gp.train(models, task, rate, epochs, remedy=remedy, record="all", engine=computing, **more)


def close(one, other, rtol=1e-6):
    """Whether two runs are the same but for what rounding makes of them."""
    for name in one.history:
        np.testing.assert_allclose(one.history[name], other.history[name], rtol=rtol, atol=1e-12, err_msg=name)
    for name in one.events:
        np.testing.assert_array_equal(one.events[name], other.events[name], err_msg=name)
    for part in one.models.present_parts():
        np.testing.assert_allclose(getattr(one.models, part), getattr(other.models, part), rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize(("secants", "epochs"), [(32, 4), (1, 12)])
def test_a_training_is_that_of_the_reference(problem, optimizer, secants, epochs):
    # directions of small curvature raise what rounding does by up to its inverse in every epoch
    models, task = PROBLEMS[problem]
    asked = models, task, OPTIMIZERS[optimizer], epochs
    given = {"optimizer": optimizer, "remedy": Guard(secants=secants)}
    close(*(train(*asked, engine, **given) for engine in ("compiled", "reference")))


@pytest.mark.parametrize("problem", ["a confidence", "full rank"])
def test_clipping_and_trials_that_are_refused_are_those_of_the_reference(problem):
    models, task = PROBLEMS[problem]
    remedy = (Guard(kappa=0.01, tries=3, secants=1), ClipGradient(1e-3))
    runs = [train(models, task, 3e4, 10, engine, remedy=remedy) for engine in ("compiled", "reference")]
    close(*runs)
    assert (runs[0].history.update_scale.values < 0.9).any()


def test_trials_in_chunks_are_those_of_the_reference(monkeypatch):
    models, task = PROBLEMS["a readout of the latents"]
    monkeypatch.setattr(kernel_families, "CACHE", 1)
    chunks = []
    kept = single_network.Trials.__init__

    def counting(self, *arguments):
        kept(self, *arguments)
        chunks.append(self.chunks)

    monkeypatch.setattr(single_network.Trials, "__init__", counting)
    close(*(train(models, task, 0.1, 4, engine) for engine in ("compiled", "reference")))
    assert chunks == [2]


def test_recorded_losses_are_those_of_the_recorded_parameters():
    models, task = PROBLEMS["full rank"]
    run = train(models, task, 0.3, 30, optimizer="adam", checkpoints=[0, 7, 29])
    for place, epoch in enumerate((0, 7, 29)):
        again = gp.train(run.models_at(place), task, 1.0, 1, engine=gp.Computing("reference", "float64"))
        np.testing.assert_allclose(again.history.loss.values[:, 0], run.history.loss.values[:, epoch], rtol=1e-10)


def test_neither_threads_nor_the_rest_of_a_stack_nor_the_rounds_change_a_bit(monkeypatch):
    models, task = gp.FullRankRNN.initialize(8, range(5), n_inputs=1), MATCH
    runs = [train(models, task, 0.3, 40, dtype="float32", threads=threads) for threads in (1, 2)]
    alone = train(models[[3]], task, 0.3, 40, dtype="float32")
    monkeypatch.setattr(low_and_full_rank, "CALL", 1.0)
    cut = train(models, task, 0.3, 40, dtype="float32")
    for run in (runs[1], cut):
        assert run.history.identical(runs[0].history)
        assert run.events.identical(runs[0].events)
    np.testing.assert_array_equal(alone.history.loss.values[0], runs[0].history.loss.values[3])


@pytest.mark.filterwarnings("ignore:training with the slower")
@pytest.mark.parametrize("engine", ["compiled", "torch", "reference"])
def test_a_network_that_overflows_keeps_its_parameters_and_the_others_go_on(engine):
    models, task = gp.FullRankRNN.initialize(6, [0, 1], activation="identity"), WAVE
    w_out = models.w_out.copy()
    w_out[0] = 1e160
    models = models.replace(w_out=w_out)
    run = train(models, task, 0.1, 12, engine)
    assert run.events.diverged.values.tolist() == [0, -1]
    np.testing.assert_array_equal(run.models.W[0], models.W[0])
    assert run.history.loss.values[1, -1] < run.history.loss.values[1, 0]


def test_points_to_which_an_interrupt_goes_back_are_closer_for_what_takes_longer(monkeypatch):
    models, task = gp.LowRankRNN.published([0]), gp.tasks.DelayedActivation(100)
    lengths = []

    def advance_all(groups, stop, *_):
        lengths.append(stop)
        raise KeyboardInterrupt

    monkeypatch.setattr(low_and_full_rank, "advance_all", advance_all)
    for remedy in ("guard", None):
        with pytest.raises(KeyboardInterrupt):
            train(models, task, 0.1, 10**6, dtype="float32", remedy=remedy, optimizer="momentum")
    guarded, plain = lengths
    # an epoch of the guard takes about 0.3 ms
    assert guarded < 20_000 < plain


def test_networks_that_a_high_rate_destroys_learn_and_stay():
    models = gp.LowRankRNN.published(range(6))
    task = gp.tasks.DelayedActivation(100)
    plain, guarded = (train(models, task, 0.5, 150, dtype="float32", remedy=remedy) for remedy in (None, "guard"))
    loss = guarded.history.loss.values / task.chance_loss
    assert (plain.history.loss.values[:, -10:] / task.chance_loss > 0.5).all()
    assert (loss[:, -10:] < 0.05).all()
    lowest = np.minimum.accumulate(loss, axis=1)
    assert (loss[:, 1:] <= 1.2 * lowest[:, :-1] * (1 + 1e-5)).all()


def test_the_engine_of_choice_is_the_compiled_one_for_fixed_trials(recwarn):
    models, task = PROBLEMS["full rank"]
    assert gp.train(models, task, 0.1, 2, remedy="guard").config["engine"] == "compiled"
    assert not recwarn.list


def test_auto_is_the_guard_where_answers_share_the_weights_and_updates_can_be_tried(monkeypatch):
    models, task = PROBLEMS["full rank"]
    run = train(models, task, 0.1, 3, remedy="auto")
    assert run.config["remedy"] == [Guard().to_dict()]
    assert run.history.identical(train(models, task, 0.1, 3).history)
    normed = train(models, task, 0.1, 3, remedy="auto", readout_norm=1.0)
    assert normed.config["remedy"][0]["remedy"] == "TrustRegion"
    with pytest.raises(ValueError, match="readout_norm must be left out with the remedy Guard"):
        train(models, task, 0.1, 3, readout_norm=1.0)
    monkeypatch.setitem(ENGINES, "untried", Untried())
    assert train(models, task, 0.1, 3, "untried", remedy="auto").config["remedy"] == normed.config["remedy"]


class Untried(CompiledEngine):
    """An engine that cannot try updates."""

    tries = False


def test_what_is_not_trained_stays_to_the_last_bit():
    for problem in ("some of full rank", "a readout of the latents", "a fixed confidence"):
        models, task = PROBLEMS[problem]
        run = train(models, task, 0.3, 12)
        for part in models.present_parts():
            same = np.array_equal(getattr(run.models, part), getattr(models, part))
            assert same == (part not in models.trainable), (problem, part)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 2500), st.sampled_from(["float32", "float64"]))
@settings(max_examples=40, deadline=None)
def test_products_and_combinations_are_those_of_numpy(seed, kept, size, dtype):
    rng = np.random.default_rng(seed)
    rows, vector, coefficients = (
        rng.normal(size=(kept + 1, size)).astype(dtype),
        rng.normal(size=size),
        rng.normal(size=kept),
    )
    found = np.full(kept + 1, 7.0)
    secants.products(rows, kept, vector, found)
    wide = rows[:kept].astype(np.float64)
    np.testing.assert_allclose(found[:kept], wide @ vector, rtol=1e-9, atol=1e-10 * size)
    assert found[kept] == 7.0
    added = vector.copy()
    secants.add_combination(rows, coefficients, added)
    np.testing.assert_allclose(added, vector + coefficients @ wide, rtol=1e-10, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(1, 8), st.floats(0, 8))
@settings(max_examples=60, deadline=None)
def test_compiled_conjugate_steps_are_those_of_numpy(seed, kept, size, decades):
    rng = np.random.default_rng(seed)
    curvature = 10 ** rng.uniform(-decades, 0, size) * rng.choice([1, 1, 1, -1], size)
    s = rng.normal(size=(kept, size))
    cross = (s * curvature) @ s.T
    steps, curvatures = _conjugate(cross)
    expected = conjugate_steps(cross)
    # what lies just at the limit of what is new may be counted by one and not the other
    if len(steps) == len(expected[0]):
        scale = np.abs(expected[0]).max(axis=1, initial=1, keepdims=True)
        np.testing.assert_allclose(steps / scale, expected[0] / scale, atol=1e-5)
        np.testing.assert_allclose(curvatures, expected[1], rtol=1e-4)
    else:
        assert kept > 1


def test_compiled_conjugate_steps_of_a_positive_curvature_are_all_kept():
    s = np.random.default_rng(0).normal(size=(5, 9))
    cross = (s * np.linspace(1, 3, 9)) @ s.T
    (steps, curvatures), expected = _conjugate(cross), conjugate_steps(cross)
    assert len(steps) == 5
    np.testing.assert_allclose(steps, expected[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(curvatures, expected[1], rtol=1e-9)


def test_the_newest_pairs_are_kept_in_place_of_the_oldest():
    rng = np.random.default_rng(1)
    kept, pairs = Secants(3, 6, np.float64), rng.normal(size=(7, 2, 6))
    for y, s in pairs:
        kept.add(y, s)
    kept.add(np.zeros(6), np.ones(6))  # says nothing
    newest = pairs[::-1][:3]
    np.testing.assert_allclose(kept.gram, newest[:, 0] @ newest[:, 0].T, rtol=1e-12)
    by = newest[:, 1] @ newest[:, 0].T  # s_i . y_j, of the newer i
    upper = np.triu(by)
    np.testing.assert_allclose(kept.cross, upper + np.triu(by, 1).T, rtol=1e-12)
    np.testing.assert_allclose(kept.added(np.array([1.0, 2, 3]), np.ones(6)), 1 + [1, 2, 3] @ newest[:, 0], rtol=1e-12)
