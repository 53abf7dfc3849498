"""The guard as a remedy of training: what it accepts, that it solves what is lost without it, and
what it refuses to be used with.
"""

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.remedies import ClipGradient, Guard, HazardLimit

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
