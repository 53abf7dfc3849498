"""The guard as a remedy of training: what it accepts, that it solves what is lost without it, and
what it refuses to be used with.
"""

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.remedies import ClipGradient, Guard, HazardLimit
from ghostpoint.training.guarded import Guarded

TASK = gp.tasks.DelayedActivation(40)
MODELS = gp.LowRankRNN.initialize(12, [0, 1, 2], threshold=0.2, confidence=5.0)


def in_float64(engine="reference"):
    return gp.Computing(engine, "float64")


def trained(epochs, engine="reference", remedy=None, rate=30.0, **more):
    return gp.train(MODELS, TASK, rate, epochs, remedy=remedy, record="all", engine=in_float64(engine), **more)


@pytest.mark.filterwarnings("ignore:training with the slower")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_networks_that_a_high_rate_destroys_learn_and_stay(optimizer):
    rate = {"sgd": 30.0, "adam": 1.0}[optimizer]
    plain = trained(120, optimizer=optimizer, rate=rate).history.loss.values / TASK.chance_loss
    run = trained(120, optimizer=optimizer, rate=rate, remedy="guard")
    loss = run.history.loss.values / TASK.chance_loss
    assert np.median(plain[:, -10:]) > 0.5
    assert (loss[:, -10:] < 0.05).all()
    # the rule for the loss: never above the lowest one by more than a fifth
    lowest = np.minimum.accumulate(loss, axis=1)
    assert (loss[:, 1:] <= 1.2 * lowest[:, :-1] * (1 + 1e-9)).all()
    assert (run.events.remedy_epochs.values > 50).all()


@pytest.mark.filterwarnings("ignore:training with the slower")
def test_recorded_losses_are_those_of_the_recorded_parameters_on_both_engines():
    given = {"remedy": Guard(), "rate": 1.0, "checkpoints": [0, 5, 11]}
    runs = [trained(12, engine, **given) for engine in ("reference", "torch")]
    for run in runs:
        for place, epoch in enumerate((0, 5, 11)):
            again = gp.train(run.models_at(place), TASK, 1.0, 1, engine=in_float64())
            np.testing.assert_allclose(again.history.loss.values[:, 0], run.history.loss.values[:, epoch], rtol=1e-10)
    np.testing.assert_allclose(runs[0].history.loss.values, runs[1].history.loss.values, rtol=1e-6)


def test_what_it_cannot_be_used_with_is_named():
    noisy = gp.tasks.DelayedCueDiscrimination(10, 20, 15, noise=0.1)
    models = gp.FullRankRNN.initialize(8, [0], n_inputs=1, activation="tanh")
    with pytest.raises(ValueError, match=r"same trials.*noise 0\.1"):
        gp.train(models, noisy, 0.1, 2, remedy="guard", engine=in_float64())
    with pytest.raises(ValueError, match="nothing but ClipGradient, got HazardLimit"):
        trained(2, remedy=Guard() + HazardLimit())
    with pytest.raises(ValueError, match="readout_norm must be left out"):
        trained(2, remedy=Guard(), readout_norm=1.0)
    with pytest.raises(ValueError, match="kappa"):
        Guard(kappa=0)
    assert trained(3, remedy=Guard() + ClipGradient(0.1)).events.remedy_epochs.values.max() <= 3


@pytest.mark.filterwarnings("ignore:training with the slower")
@pytest.mark.parametrize(("patience", "farthest"), [(3, 0.05), (3, 2.0), (1000, 0.05)])
def test_networks_that_are_stuck_move_farther_and_may_rise(patience, farthest):
    # no stiff directions, and an optimiser far too fast: an update is as long as the rule allows
    rule = Guard(secants=0, kappa=1e3, cap=1e-4, stuck=farthest, patience=patience, gain=0.3, jump=0.0, raised=1e4)
    epochs = 40
    run = trained(epochs, remedy=rule, rate=1e4, checkpoints=list(range(epochs)))
    loss = run.history.loss.values
    theta = [
        np.concatenate([np.reshape(getattr(models, part), (len(loss), -1)) for part in MODELS.trainable], axis=1)
        for models in map(run.models_at, range(epochs))
    ]
    stuck_moves, rises = [], []
    for network, losses in enumerate(loss):
        mark, waited = losses[0], 0
        for epoch in range(1, epochs):
            best = losses[:epoch].min()
            waited = 0 if epoch == 1 or best < 0.7 * mark else waited + 1
            mark = best if waited == 0 else mark
            stuck = waited >= patience and best > 0.5 * losses[0]
            before, after = (theta[place][network] for place in (epoch - 1, epoch))
            moved = np.linalg.norm(after - before) / np.linalg.norm(before)
            assert moved <= (farthest if stuck else 1e-4) * (1 + 1e-6)
            assert losses[epoch] <= best * (1.3 if stuck else 1.0) * (1 + 1e-9)
            if stuck:
                stuck_moves.append(moved)
                rises.append(losses[epoch] / best - 1)
    if patience == 1000:
        assert not rises
    else:
        assert max(stuck_moves) > 0.99 * farthest
        assert farthest < 1 or max(rises) > 0.2


def test_a_network_whose_trials_are_all_refused_is_seldom_tried():
    one = Guarded(Guard(), 3, np.float64)
    trials = []
    for _ in range(100):
        one.learn(np.array([1.0, 2.0, 2.0]), np.array([0.1, 0.0, 0.0]), 1.0)
        one.propose(np.array([-0.01, 0.0, 0.0]), 1e-7, 0.0)
        made = 0
        while one.trying:
            assert not one.judge(2.0, 0.0)
            made += 1
        one.give_up()
        trials.append(made)
        assert one.share == 0
    at_rest = trials[sum(made > 1 for made in trials) :]
    assert 70 < len(at_rest) < 100
    assert at_rest[:16] == [1] * 16
    assert [k for k, made in enumerate(at_rest, 1) if made] == [*range(1, 17), *range(24, len(at_rest) + 1, 8)]
