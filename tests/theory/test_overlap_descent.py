"""Gradient descent of overlaps against weights that are trained one by one, and the critical rate
of a grid.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from ghostpoint import FullRankRNN, LowRankRNN
from ghostpoint.critical_rate import before_crossing, probe
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination
from ghostpoint.theory import OverlapDescent, critical_rate
from ghostpoint.theory.overlap_descent_kernels import update
from ghostpoint.theory.overlap_kernels import descent_matrix, trial
from ghostpoint.theory.overlaps import Overlaps

UNITS, DELAY, ALPHA, C, THRESHOLD = 7, 6, 0.4, 5.0, 0.6
TASK = DelayedActivation(DELAY * 4.0, 4.0, 10.0)


def weights(latents, seed=0):
    """m_1 .. m_K, n_1 .. n_K, b as rows, and x0."""
    drawn = np.random.default_rng(seed).normal(size=(2 * latents + 2, UNITS)) / np.sqrt(UNITS)
    return drawn[:-1], drawn[-1]


def model(w, x, latents, **more):
    m, n = w[:latents].T, w[latents : 2 * latents].T
    return LowRankRNN(m[None], n[None], w[None, -1], confidence=C, threshold=THRESHOLD, initial_state=x[None], **more)


def loss_of(w, x, latents, share):
    """The loss of whole weights, with tanh(z) replaced by z / sqrt(1 + 2 share |z|**2)."""
    m, n, b = w[:latents].T, w[latents : 2 * latents].T, w[-1]
    kappa, total = n.T @ x, 0.0
    for t in range(2 * DELAY):
        z = m @ kappa + b
        kappa = (1 - ALPHA) * kappa + ALPHA * (n.T @ z) / np.sqrt(1 + 2 * share * (z @ z))
        total += (expit(C * (kappa[0] - THRESHOLD)) - (t >= DELAY)) ** 2
    return total / DELAY


def slope_of(w, x, latents, share):
    found, size = np.zeros_like(w), 1e-5
    for at in np.ndindex(w.shape):
        step = np.zeros_like(w)
        step[at] = size
        found[at] = (loss_of(w + step, x, latents, share) - loss_of(w - step, x, latents, share)) / (2 * size)
    return found


@pytest.mark.parametrize("latents", [1, 2, 3])
@pytest.mark.parametrize("share", [0.0, 0.2])
@pytest.mark.parametrize("trained", ["mnb", "n", "mb"])
def test_updates_of_overlaps_are_those_of_all_weights(latents, share, trained):
    w, x = weights(latents)
    moves = np.array([float(part in trained) for part in "m" * latents + "n" * latents + "b"])[:, None]
    gram = Overlaps.of(model(w, x, latents), TASK).grams[0]
    network = np.array([ALPHA, DELAY, C, THRESHOLD, share, 0, 0, *moves[:, 0]])
    kappa, gains = np.zeros((2 * DELAY + 1, latents)), np.zeros(2 * DELAY)
    step, room = np.zeros_like(gram), np.zeros_like(gram)
    for _ in range(4):
        trial(gram, network, kappa, gains)
        loss, _, _ = descent_matrix(gram, network, kappa, gains, np.zeros((2, latents)), step)
        # the weights move by differences, which are good to about nine digits
        assert loss == pytest.approx(loss_of(w, x, latents, share), rel=1e-8)
        # a large rate, so that the second order of the update counts
        update(gram, step, 0.5, room)
        w = w - 0.5 * moves * slope_of(w, x, latents, share)
        assert gram == pytest.approx(Overlaps.of(model(w, x, latents), TASK).grams[0], rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("latents", [1, 2])
def test_linear_units_move_by_the_equations_of_the_model_where_the_state_is_small(latents):
    w, x = weights(latents, 3)
    small = model(np.concatenate([w[:latents] * 1e-4, w[latents:-1], w[-1:] * 1e-4]), x, latents)
    gram, kappa = Overlaps.of(small, TASK).grams[0], np.zeros((2 * DELAY + 1, latents))
    trial(
        gram, np.array([ALPHA, DELAY, C, THRESHOLD, 0.0, 0, 0, *(1,) * (2 * latents + 1)]), kappa, np.zeros(2 * DELAY)
    )
    assert kappa == pytest.approx(small.latent_path(2 * DELAY, ALPHA)[:, 0], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("linear", [False, True])
def test_the_brink_is_just_before_the_first_crossing(linear):
    models, task = LowRankRNN.initialize(100, range(4)), DelayedActivation(60.0)
    found = OverlapDescent.of(models, task, [0.01], starts=2, linear=linear)
    assert found.reached.all()
    assert np.abs(found.brink[0] / found.brink[1] - 1).max() < 0.05
    for gram in found.brink.reshape(-1, 4, 4):
        kappa = np.zeros((2 * task.delay_steps + 1, 1))
        settings = np.array([task.alpha, task.delay_steps, 10.0, 1.0, 0.0 if linear else 0.01, 0, 0, 1, 1, 1])
        right, highest = trial(gram, settings, kappa, np.zeros(2 * task.delay_steps))
        assert right == task.delay_steps
        assert 0.98 < highest <= 1.0


def test_critical_rates_of_overlaps_are_those_of_networks():
    models, task = LowRankRNN.initialize(100, range(200, 212)), DelayedActivation(60.0)
    rates = 0.045 * 1.1 ** np.arange(-8, 12.0)
    found = OverlapDescent.of(models, task, rates, updates=1500)
    assert found.lost.shape == (3, len(rates), len(models))
    probes = probe(before_crossing(models, task)[0], task, rates, 1500)
    ratio = found.critical_rate / critical_rate(rates, probes.learned, probes.lost)
    assert np.abs(np.median(ratio) - 1) < 0.15
    assert (np.abs(np.log(ratio)) < np.log(1.7)).all()


def test_a_clean_step_is_found_between_two_rates():
    rates, learned = np.array([1.0, 2.0, 4.0, 8.0]), np.ones((4, 1), bool)
    lost = np.array([[False], [False], [True], [True]])
    assert critical_rate(rates, learned, lost) == pytest.approx([np.sqrt(8)])
    # a rate at which the network did not learn says nothing
    learned[3], lost[3] = False, False
    assert critical_rate(rates, learned, lost) == pytest.approx([np.sqrt(8)])
    learned[0] = False
    assert critical_rate(rates, learned, lost) == pytest.approx([np.sqrt(8)])


def test_an_island_of_loss_far_below_does_not_decide():
    rates = 1.1 ** np.arange(10.0)
    lost = np.array([0, 1, 0, 0, 0, 0, 1, 1, 1, 1], bool)[:, None]
    assert critical_rate(rates, lost | True, lost) == pytest.approx([1.1**5.5])
    assert np.isnan(critical_rate(rates, lost | True, lost & False)).all()
    assert np.isnan(critical_rate(rates, lost | True, lost | True)).all()


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=12))
def test_no_place_parts_kept_from_lost_better(pairs):
    learned = np.array([[one] for one, _ in pairs])
    lost = np.array([[both and one] for one, both in pairs])
    rates = 1.5 ** np.arange(len(pairs))
    found = critical_rate(rates, learned, lost)[0]
    kept = learned & ~lost
    if not (lost.any() and kept.any()):
        assert np.isnan(found)
        return
    errors = [lost[:p].sum() + kept[p:].sum() for p in range(len(pairs) + 1)]
    places = [p for p, error in enumerate(errors) if error == min(errors)]
    mean = np.clip(np.mean(places) - 0.5, 0, len(pairs) - 1)
    assert found == pytest.approx(1.5**mean)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": FullRankRNN.initialize(20, [0])}, "models must be ghostpoint.LowRankRNN"),
        ({"models": LowRankRNN.initialize(20, [0], scheme="state_readout")}, "models must be ghostpoint.LowRankRNN"),
        ({"task": DelayedCueDiscrimination(30.0, 80.0, 50.0)}, "task must be ghostpoint.tasks.DelayedActivation"),
        ({"rates": [0.1, 0.01]}, "rates must be positive and ascending"),
        ({"updates": 50}, "updates"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {"models": LowRankRNN.initialize(20, [0]), "task": TASK, "rates": [0.1], "updates": 60, **change}
    with pytest.raises(ValueError, match=message):
        OverlapDescent.of(given["models"], given["task"], given["rates"], updates=given["updates"])
