"""The theory of the plateau against weights that are followed one by one, and against training."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq
from scipy.special import expit

from ghostpoint import FullRankRNN, LowRankRNN, train
from ghostpoint.critical_rate import before_crossing
from ghostpoint.tasks import DelayedActivation, DelayedCueDiscrimination
from ghostpoint.theory import Plateau, plateau_length
from ghostpoint.theory.overlap_flow_kernels import COLUMNS, LOSS, SLOPE, roll, slope
from ghostpoint.theory.overlap_kernels import gain
from ghostpoint.theory.overlaps import Overlaps
from ghostpoint.theory.plateau_adam_kernels import adam_plateau
from ghostpoint.training import SGD, Adam, Computing

TASK = DelayedActivation()
UNITS, DELAY, ALPHA, C, THRESHOLD = 6, 7, 0.4, 5.0, 0.9
SMALL_TASK = DelayedActivation(DELAY * 4.0, 4.0, 10.0)


def weights(seed=0, scale_b=0.3):
    m, n, b, x = np.random.default_rng(seed).normal(size=(4, UNITS)) / np.sqrt(UNITS)
    return np.stack([m, n, scale_b * b]), x


def loss_of(w, x, share):
    """The loss of whole weights, with n.tanh(z) replaced by n.z / sqrt(1 + 2 share |z|**2)."""
    m, n, b = w
    kappa, total = n @ x, 0.0
    for t in range(2 * DELAY):
        z = m * kappa + b
        kappa = (1 - ALPHA) * kappa + ALPHA * (n @ z) / np.sqrt(1 + 2 * share * (z @ z))
        total += (expit(C * (kappa - THRESHOLD)) - (t >= DELAY)) ** 2
    return total / DELAY


def gradient_of(function, w):
    """By central differences."""
    found, size = np.zeros_like(w), 1e-5
    for at in np.ndindex(w.shape):
        step = np.zeros_like(w)
        step[at] = size
        found[at] = (function(w + step) - function(w - step)) / (2 * size)
    return found


def model(w, x, **more):
    return LowRankRNN(w[0], w[1], w[2], confidence=C, threshold=THRESHOLD, initial_state=x, **more)


def whole_weights(latents, state, seed=0):
    """m_1 .. n_K, b and, to read the state, w as rows; x0; c and kappa*, or 1 and -b_out."""
    rows = 2 * latents + 1 + state
    drawn = np.random.default_rng(seed).normal(size=(rows + 1, UNITS)) / np.sqrt(UNITS)
    return drawn[:-1], drawn[-1], (1.0, -0.2) if state else (C, THRESHOLD)


def loss_of_all(flat, x, latents, state, share, c):
    """The loss of all weights and the threshold, with tanh(z) replaced by
    ``z / sqrt(1 + 2 share |z|**2)``; the state itself is followed.
    """
    w, threshold = flat[:-1].reshape(-1, UNITS), flat[-1]
    m, n, b, total = w[:latents].T, w[latents : 2 * latents].T, w[2 * latents], 0.0
    for t in range(2 * DELAY):
        z = m @ (n.T @ x) + b
        x = (1 - ALPHA) * x + ALPHA * z / np.sqrt(1 + 2 * share * (z @ z))
        read = w[-1] @ x if state else n[:, 0] @ x
        total += (expit(c * (read - threshold)) - (t >= DELAY)) ** 2
    return total / DELAY


@pytest.mark.parametrize("share", [0.0, 0.2])
@pytest.mark.parametrize(("latents", "state"), [(1, False), (2, False), (3, False), (1, True), (2, True)])
@pytest.mark.parametrize("trained", [("m", "n", "b", "w_out", "b_out"), ("n", "b"), ("m", "w_out")])
def test_overlaps_close(share, latents, state, trained):
    """Their slope is the one that gradient descent on all the weights gives them."""
    w, x, (c, threshold) = whole_weights(latents, state)
    flat = np.append(w, threshold)

    def networks(flat):
        w = flat[:-1].reshape(w_shape)
        m, n = w[:latents].T[None], w[latents : 2 * latents].T[None]
        readout = {"w_out": w[None, -1:], "b_out": [[-flat[-1]]]} if state else {"confidence": C, "threshold": flat[-1]}
        parts = tuple(part for part in trained if state or not part.endswith("out"))
        return LowRankRNN(m, n, w[None, 2 * latents], initial_state=x[None], trainable=parts, **readout)

    w_shape = w.shape
    start = Overlaps.of(networks(flat), SMALL_TASK)
    moves = np.repeat([*["m" in trained] * latents, *["n" in trained] * latents, "b" in trained], UNITS)
    moves = np.concatenate([moves, np.repeat("w_out" in trained, state * UNITS), [state and "b_out" in trained]])
    descent = -gradient_of(lambda flat: loss_of_all(flat, x, latents, state, share, c), flat) * moves
    size = 1e-5
    ends = [Overlaps.of(networks(flat + sign * size * descent), SMALL_TASK).grams[0] for sign in (1, -1)]
    room = np.zeros((2 * DELAY + 1, start.latents)), np.zeros(2 * DELAY), np.zeros((2, start.latents))
    settings, found, read = start.settings[0].copy(), np.zeros(start.grams[0].size + 1), np.zeros(COLUMNS)
    settings[4] = share
    y = np.append(start.grams[0], start.threshold[0])
    slope(y, settings, *room, np.zeros_like(start.grams[0]), found, read)
    assert found[:-1].reshape(ends[0].shape) == pytest.approx((ends[0] - ends[1]) / (2 * size), rel=1e-5, abs=1e-8)
    assert found[-1] == pytest.approx(descent[-1], rel=1e-5, abs=1e-10)
    assert read[LOSS] == pytest.approx(loss_of_all(flat, x, latents, state, share, c), rel=1e-12)
    assert read[SLOPE] == pytest.approx((descent**2).sum(), rel=1e-5)


def test_the_drop_of_linear_units_is_that_of_their_weights():
    w, x = weights()

    def below(_, flat):
        return loss_of(flat.reshape(w.shape), x, 0.0) - 0.9

    below.terminal = True
    path = solve_ivp(
        lambda _, flat: -gradient_of(lambda w: loss_of(w, x, 0.0), flat.reshape(w.shape)).ravel(),
        (0, 100), w.ravel(), events=below, rtol=1e-7, atol=1e-9,
    )  # fmt: skip
    found = Plateau.of(model(w, x), SMALL_TASK, linear=True)
    assert found.drop[0, 0] == pytest.approx(path.t_events[0][0], rel=1e-4)
    # the weights' own rule of descent does not move what is not trained
    still = Plateau.of(model(w, x, trainable=("n", "b")), SMALL_TASK, linear=True)
    assert still.drop[0, 0] > found.drop[0, 0]


def rest_of(w):
    """The latent at rest, and its gradient, of linear units."""
    m, n, b = w
    kappa = (n @ b) / (1 - m @ n)
    return kappa, np.stack([n * kappa, m * kappa + b, n]) / (1 - m @ n)


def ascent(w, end):
    """Weights along the steepest ascent of the latent at rest, as functions of it."""
    return solve_ivp(
        lambda _, flat: (lambda up: (up / (up**2).sum()).ravel())(rest_of(flat.reshape(w.shape))[1]),
        (rest_of(w)[0], end), w.ravel(), dense_output=True, rtol=1e-10, atol=1e-12,
    ).sol  # fmt: skip


def kappa_at(level):
    output = brentq(lambda o: o**2 + (1 - o) ** 2 - level, 1e-6, 0.5)
    return THRESHOLD + math.log(output / (1 - output)) / C


def force(kappa):
    output = expit(C * (kappa - THRESHOLD))
    return 2 * C * output * (1 - output) * (1 - 2 * output)


@pytest.mark.parametrize("level", [0.9, 0.8])
def test_six_overlaps_give_the_integral_along_the_steepest_ascent(level):
    w, x = weights(1)
    path, end = ascent(w, kappa_at(level)), kappa_at(level)
    expected = quad(
        lambda k: 1 / (force(k) * (rest_of(path(k).reshape(w.shape))[1] ** 2).sum()), rest_of(w)[0], end, epsrel=1e-9
    )[0]
    found = plateau_length(model(w, x), SMALL_TASK, 1.0, method="stationary", level=level)
    assert found[0] == pytest.approx(expected, rel=1e-6)


def test_the_closed_form_has_the_second_order_of_the_steepest_ascent():
    w, x = weights(2, 0.0)
    m, n, _ = w
    gamma = 2 * (1 + (m @ m) / (n @ n) + (1 - (m @ n) ** 2) / (n @ n) ** 2)
    path, small = ascent(w, 0.02), 0.02
    steepness = [(rest_of(path(k).reshape(w.shape))[1] ** 2).sum() for k in (0.0, small)]
    assert steepness[0] == pytest.approx((n @ n) / (1 - m @ n) ** 2)
    assert (steepness[1] / steepness[0] - 1) / small**2 == pytest.approx(gamma, rel=0.02)
    expected = quad(lambda k: 1 / (force(k) * (1 + gamma * k**2)), 0, kappa_at(0.9), epsrel=1e-10)[0] / steepness[0]
    found = plateau_length(model(w, x), SMALL_TASK, [0.5], method="closed")
    assert found[0] == pytest.approx(expected / 0.5, rel=1e-8)
    assert np.isnan(plateau_length(model(*weights(2)), SMALL_TASK, 1.0, method="closed"))  # b is not 0


def test_the_gain_is_nearly_that_of_normal_drives():
    z = np.linspace(-40, 40, 200_001)

    def mean(q):
        share = np.exp(-(z**2) / (2 * q))
        return (share / np.cosh(z) ** 2).sum() / share.sum()

    assert gain(1e-4) - 1 == pytest.approx(mean(1e-4) - 1, rel=1e-3)
    assert all(abs(gain(q) - mean(q)) < 0.033 for q in np.geomspace(1e-3, 100, 60))


@pytest.fixture(scope="module")
def published():
    """Networks, their flow, and the epochs of the drop at two rates in float64."""
    models = LowRankRNN.published(range(12))
    exact = Computing("compiled", dtype="float64")
    drops = {
        rate: train(models, TASK, rate, round(200 / rate), record=[0], solved=0.9, engine=exact).events
        for rate in (0.02, 0.1)
    }
    return models, Plateau.of(models, TASK), drops


def test_published_networks_leave_their_plateau_when_the_theory_says(published):
    models, plateau, drops = published
    measured = drops[0.02]["first_solved"].values
    assert plateau.length(0.02) == pytest.approx(measured, rel=0.003)
    assert plateau_length(models, TASK, 0.02) == pytest.approx(plateau.length(0.02))
    assert plateau_length(models, TASK, 0.02, method="closed") == pytest.approx(measured, rel=0.01)
    assert plateau.length(0.02, until="crossing") == pytest.approx(drops[0.02]["first_above_chance"].values, rel=0.003)
    assert plateau.valid(0.02).all()


def test_a_finite_rate_delays_the_drop_as_the_theory_says(published):
    """Between two rates, so that what the flow itself lacks does not count."""
    _, plateau, drops = published
    slow, fast = (drops[rate]["first_solved"].values for rate in (0.02, 0.1))
    lag = fast - slow * 0.2
    predicted = plateau.length(0.1) - plateau.length(0.02) * 0.2
    assert (predicted > 2.5).all()
    assert np.median(lag) == pytest.approx(np.median(predicted), abs=0.6)


@pytest.mark.parametrize("momentum", [0.5, 0.9, 0.98])
def test_momentum_rolls_along_the_path_of_the_flow(momentum):
    models, rate = LowRankRNN.published(range(6)), 0.05 * (1 - momentum)
    run = train(models, TASK, rate, 6_000, record=[0], solved=0.9, optimizer=SGD(momentum=momentum))
    measured, plateau = run.events["first_solved"].values, Plateau.of(models, TASK)
    assert plateau.length(rate, momentum=momentum) == pytest.approx(measured, rel=0.005)
    # the flow without the memory comes earlier
    assert (plateau.length(0.05) < measured - 0.5 * momentum / (1 - momentum)).all()
    assert plateau.valid(rate, momentum=momentum).all()
    assert plateau.length(plateau.rate_of(3000.0, momentum=momentum), momentum=momentum) == pytest.approx(3000)


def test_a_ball_rolls_as_one_weight_does():
    """Training of one weight by the heavy ball on a loss with the slope -e**x."""
    position = np.linspace(0.0, 3.0, 4000)
    for momentum in (0.0, 0.7):
        x, v, epochs = 0.0, 0.0, 0
        while x < 2.0:
            before, v = x, momentum * v + 0.01 * math.exp(x)
            x, epochs = x + v, epochs + 1
        found, update = roll(position, np.exp(position), 0.0, 2.0, 0.01, momentum, 0.0)
        assert found == pytest.approx(epochs - 1 + (2.0 - before) / v, rel=1e-6)
        assert update == pytest.approx(v, rel=1e-6)


@pytest.mark.parametrize("rank", [2, 5])
def test_networks_of_higher_rank_leave_their_plateau_when_the_theory_says(rank):
    models = LowRankRNN.initialize(100, range(6), rank=rank)
    run = train(models, TASK, 0.05, 4_000, record=[0], solved=0.9, engine=Computing("compiled", dtype="float64"))
    measured = run.events["first_solved"].values
    assert plateau_length(models, TASK, 0.05) == pytest.approx(measured, rel=0.003)
    assert plateau_length(models, TASK, 0.05, method="closed") == pytest.approx(measured, rel=0.02)
    assert plateau_length(models, TASK, 0.05, method="stationary") == pytest.approx(measured, rel=0.01)


def test_networks_that_read_the_state_leave_half_the_chance_loss_when_the_theory_says():
    models = LowRankRNN.initialize(100, range(8), "state_readout")
    run = train(models, TASK, 0.02, 3_000, record=[0], solved=0.45, engine=Computing("compiled", dtype="float64"))
    plateau = Plateau.of(models, TASK)
    assert plateau.level == 0.45
    assert plateau.length(0.02) == pytest.approx(run.events["first_solved"].values, rel=0.01)
    assert plateau.valid(0.02).all()
    assert np.isnan(plateau_length(models, TASK, 0.02, method="stationary")).all()


def test_the_second_plateau_grows_with_the_delay_as_the_valley_says():
    """Against the flow of linear units over whole trials; the first terms left out are of order
    1/T.
    """
    lengths = []
    for steps, tolerance in ((96, 0.07), (192, 0.05)):
        task = DelayedActivation(5.0 * steps)
        models = before_crossing(LowRankRNN.initialize(100, range(100, 102)), task)[0]
        flow = Plateau.of(models, task, level=0.45, linear=True).drop[:, 0]
        found = plateau_length(models, task, 1.0, level=0.45, method="stationary")
        assert found == pytest.approx(flow, rel=tolerance)
        lengths.append(flow)
    assert (lengths[1] > 2 * lengths[0]).all()


def test_the_gain_of_the_approach_is_the_loss_of_a_latent_that_nears_its_threshold():
    """1/2 - J / (alpha T D) for a long trial with small steps: a level just below the loss there
    takes some time, one just above it none.
    """
    w, x = weights(1)
    w[2] *= 1.0001 * THRESHOLD / rest_of(w)[0]
    task = DelayedActivation(200.0, 0.2, 10.0)  # 1000 steps of alpha = 0.02
    loss = Plateau.of(model(w, x), task, level=0.9, linear=True).flows[0][0, 1]
    assert loss < 0.48
    above, below = (
        plateau_length(model(w, x), task, 1.0, level=loss + step, method="stationary") for step in (0.002, -0.002)
    )
    assert above == 0
    assert below > 0


@pytest.mark.parametrize("changes", [{}, {"confidence": 5.0}])
def test_units_at_rest_give_the_plateau_of_adam(changes):
    models, exact = LowRankRNN.published(range(6), **changes), Computing("compiled", dtype="float64")
    for adam, rate in ((Adam(), 1e-4), (Adam((0.5, 0.99), eps=1e-5), 1e-4)):
        run = train(models, TASK, rate, 2_000, record=[0], solved=0.9, optimizer=adam, engine=exact)
        found = plateau_length(models, TASK, rate, optimizer=adam)
        assert found == pytest.approx(run.events["first_solved"].values, rel=0.01, abs=1)


def test_the_units_of_adam_move_by_the_gradient_of_a_latent_at_rest():
    """By this library's Adam on gradients by differences, the gain of the units held."""
    w, adam, state, losses = weights(4)[0], Adam(eps=0.01), {}, []

    def latent(w, h):
        return h * (w[1] @ w[2]) / (1 - h * (w[0] @ w[1]))

    def loss(kappa):
        return expit(C * (kappa - THRESHOLD)) ** 2 + expit(C * (THRESHOLD - kappa)) ** 2

    for epoch in range(6):
        h = brentq(lambda h, w=w: h - gain(((w[0] * latent(w, h) + w[2]) ** 2).mean()), 0.1, 1.0, xtol=1e-15)
        losses.append(loss(latent(w, h)))
        gradient = gradient_of(lambda w, h=h: loss(latent(w, h)), w)
        w = w + adam.update("w", gradient, 0.02, state, epoch)
    level = (losses[4] + losses[5]) / 2
    assert np.diff(losses).max() < 0
    start = np.ascontiguousarray(weights(4)[0])
    assert adam_plateau(start, C, THRESHOLD, 0.02, level, 0.9, 0.999, 0.01, 10) == pytest.approx(4.5, rel=1e-5)
    assert adam_plateau(weights(4)[0], C, THRESHOLD, 0.02, level, 0.9, 0.999, 0.01, 3) == math.inf


def test_the_second_plateau_ends_when_the_theory_says():
    task = DelayedActivation(240.0)
    models = before_crossing(LowRankRNN.initialize(100, range(100, 106)), task)[0]
    run = train(models, task, 0.002, 3_000, record=[0], solved=0.4, engine=Computing("compiled", dtype="float64"))
    plateau = Plateau.of(models, task, level=0.4)
    assert all(0.44 < flow[0, 1] < 0.5 for flow in plateau.flows)
    assert plateau.length(0.002) == pytest.approx(run.events["first_solved"].values, rel=0.03)
    assert not plateau.valid(0.02).any()  # training would oscillate there


def test_seed_40_at_the_rate_of_figure_3a():
    assert plateau_length(LowRankRNN.published([40]), TASK, 0.003) == pytest.approx(33_633, rel=0.001)


def test_the_lowest_rate_is_the_one_that_learns_in_time(published):
    _, plateau, _ = published
    lowest = plateau.lowest_rate(5000)
    assert plateau.length(lowest, until="crossing") == pytest.approx(4999)
    assert plateau.learns_by(lowest * 1.001, 5000).all()
    assert not plateau.learns_by(lowest * 0.999, 5000).any()
    assert np.isinf(plateau.lowest_rate(2)).all()


def test_the_loss_curve_is_that_of_a_network():
    models, epoch = LowRankRNN.published([3]), np.arange(0, 24_000, 10)
    plateau = Plateau.of(models, TASK)
    rate = plateau.drop[:, 0] / 20_000
    run = train(models, TASK, rate, 24_000, record=epoch)
    reduced = Plateau.of(models, TASK, longest=24_100 * float(rate[0])).loss(rate, epoch)[0]
    for level in (0.9, 0.5, 0.25):
        first = [epoch[np.argmax(loss < level)] for loss in (run.history["loss"].values[0], reduced)]
        assert first[1] == pytest.approx(first[0], rel=0.003)
    assert np.isnan(plateau.loss(rate, [24_000])).all()  # beyond the end of this flow


def test_where_there_is_no_plateau_the_theory_says_so():
    easy = LowRankRNN.published([0], confidence=1.0)
    plateau = Plateau.of(easy, TASK)
    assert plateau.length(0.01) == 0
    assert not plateau.valid(0.01).any()
    endless = Plateau.of(LowRankRNN.published([0], confidence=60.0), TASK)
    assert endless.length(0.01) > 1e20
    assert not endless.valid(0.01).any()
    stuck = LowRankRNN(np.full(4, 0.1), np.zeros(4), trainable="m")
    assert np.isinf(Plateau.of(stuck, TASK).length(0.01)).all()
    assert not Plateau.of(stuck, TASK).valid(0.01).any()
    assert not Plateau.of(LowRankRNN.published([0]), TASK).valid(10.0).any()


def test_a_latent_without_a_rest_is_no_model_of_its_plateau():
    models = LowRankRNN([[1.0, 1.0], [0.5, 0.5]], [[1.0, 0.0], [0.5, 0.1]])  # the first has m.n = 1
    assert np.isfinite(plateau_length(models, TASK, 0.01)).all()
    for method in ("stationary", "closed"):
        assert np.isnan(plateau_length(models, TASK, 0.01, method=method)).tolist() == [True, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": FullRankRNN.initialize(3, [0], "normal")}, "LowRankRNN"),
        ({"models": LowRankRNN.published([0], trainable=("m", "confidence"))}, "fixed confidence"),
        ({"models": LowRankRNN.initialize(20, [0], "latent_readout", n_inputs=1, rank=2)}, "w_out"),
        ({"task": DelayedCueDiscrimination(cue=20, delay=50, response=50)}, "DelayedActivation"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": [0.1, 0.2, 0.3]}, "learning_rate"),
        ({"optimizer": "sgd"}, "optimizer must be"),
        ({"optimizer": Adam(), "method": "closed"}, "method must be 'overlaps' for Adam"),
        ({"optimizer": Adam(), "models": LowRankRNN.initialize(20, [0], rank=2)}, "rank one"),
        ({"optimizer": Adam(), "models": LowRankRNN.published([0], trainable="m")}, "trained"),
        ({"level": 0.5, "method": "closed"}, "level must be above 0.5"),
        ({"level": 0.0}, "level"),
        ({"level": 1.0}, "level"),
        ({"method": "exact"}, "method"),
    ],
)
def test_what_is_wrong_is_named(change, words):
    given = {"models": LowRankRNN.published([0]), "task": TASK, "learning_rate": 0.01, **change}
    with pytest.raises(ValueError, match=words):
        plateau_length(given.pop("models"), given.pop("task"), given.pop("learning_rate"), **given)
