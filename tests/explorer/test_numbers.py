"""The page's numbers beside the library's over grids of parameters, in a browser: equal to 1e-9."""

from __future__ import annotations

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.critical_rate.escape import escape_gradient
from ghostpoint.slow_points.latents import flow_ghosts, flow_zeros, latent_speed
from ghostpoint.theory import NormalForm, SaddleNodeToy
from ghostpoint.training.reference import evaluate

pytestmark = pytest.mark.browser
CLOSE = 1e-9
READOUTS = [(None, None), (10.0, 0.01), (10.0, 0.1), (10.0, 1.0), (5.0, 2.0), (50.0, 10.0)]


@pytest.fixture(scope="module")
def tab(browser, page_file):
    opened = browser.new_page(bypass_csp=True)
    opened.set_default_timeout(300_000)
    opened.goto(f"{page_file.as_uri()}#toy")
    opened.wait_for_function("window.ghostpoint !== undefined")
    yield opened
    opened.close()


def same(found, wanted, scale=None):
    """Equal to 1e-9 of the larger of a number and ``scale``; infinities, NaN where they are."""
    wanted = np.asarray(wanted, float).ravel()
    found = np.array([np.nan if value is None else value for value in np.ravel(found)], float)
    finite = np.isfinite(wanted)
    assert (np.isfinite(found) == finite).all()
    found, wanted = found[finite], wanted[finite]
    assert (np.abs(found - wanted) <= CLOSE * np.maximum(np.abs(wanted), scale or 0.0)).all()


@pytest.mark.parametrize("T", [10.0, 100.0])
@pytest.mark.parametrize(("threshold", "confidence"), READOUTS)
def test_the_toy_model(tab, T, threshold, confidence):
    toy = SaddleNodeToy(T) if threshold is None else SaddleNodeToy(T, threshold, confidence)
    r = np.concatenate([np.linspace(-2, 6, 81), [1e-6, 0.2499, 0.2501, 0.999, 1.001, 30.0, 1000.0]]) * toy.r_star
    t = np.linspace(0, 1.9, 20) * T
    found = tab.evaluate(
        """([T, threshold, confidence, r, t]) => {
          const { Toy } = window.ghostpoint;
          const toy = threshold === null ? new Toy(T) : new Toy(T, threshold, confidence);
          return { loss: r.map((x) => toy.loss(x)), gradient: r.map((x) => toy.gradient(x)),
            escape: r.map((x) => toy.escapeTime(x)), x: r.map((x) => t.map((s) => toy.trajectory(x, s))),
            slope: r.map((x) => t.map((s) => toy.sensitivity(x, s))), kinks: toy.kinks,
            unit: [toy.rStar, toy.pointOfNoReturn, toy.criticalRate] };
        }""",
        [T, threshold, confidence, r.tolist(), t.tolist()],
    )
    same(found["loss"], toy.loss(r), scale=T)
    same(found["gradient"], toy.gradient(r), scale=T**3)
    same(found["escape"], toy.escape_time(r))
    same(found["x"], toy.trajectory(r[:, None], t))
    same(found["slope"], toy.sensitivity(r[:, None], t))
    same(found["kinks"], toy.kinks)
    same(found["unit"], [toy.r_star, toy.point_of_no_return, toy.critical_learning_rate])


def test_descent_of_the_toy_model(tab):
    toy = SaddleNodeToy(100.0)
    rates = np.array([0.03, 0.3, 0.9, 1.1, 2.0]) * toy.critical_learning_rate
    wanted = toy.descend(3.8 * toy.r_star, rates, 60)
    found = tab.evaluate(
        """([r, rates]) => rates.map((rate) => {
          const { path, outcome, lostEpoch, crossingEpoch } = new window.ghostpoint.Toy(100).descend(r, rate, 60);
          return { path: [...path], outcome, lostEpoch, crossingEpoch };
        })""",
        [3.8 * toy.r_star, rates.tolist()],
    )
    for k, each in enumerate(found):
        same(each["path"], wanted.r[k])
        assert each["outcome"] == wanted.outcome[k]
        assert (each["lostEpoch"], each["crossingEpoch"]) == (wanted.lost_epoch[k], wanted.crossing_epoch[k])


def test_passage_times(tab):
    pairs = [(r, a) for r in (-2.0, 1e-6, 0.3, 5.0) for a in (-1.0, 0.01, 2.0)]
    found = tab.evaluate("(pairs) => pairs.map(([r, a]) => window.ghostpoint.passageTime(r, a))", pairs)
    same(found, [NormalForm(r, a).passage_time for r, a in pairs])


def networks(confidence):
    """Six networks in double precision: three as they start, three that answer after 20 steps."""
    seeds = [3, 12, 40]
    start = gp.LowRankRNN.published(seeds, confidence=confidence)
    trained = gp.train(start, gp.tasks.DelayedActivation(), 0.2, 400, remedy=gp.remedies.TrustRegion()).models
    weights = [np.concatenate([getattr(m, p).astype(float) for m in (start, trained)]) for p in ("m", "n", "b")]
    return gp.LowRankRNN(*weights, confidence=confidence, threshold=1.0, initial_state=-0.3)


def as_arguments(models):
    return [[models.m[k, :, 0].tolist(), models.n[k, :, 0].tolist(), models.b[k].tolist()] for k in range(len(models))]


@pytest.mark.parametrize("delay", [100.0, 160.0])
@pytest.mark.parametrize("confidence", [2.0, 10.0])
def test_a_rank_one_network(tab, delay, confidence):
    models, task = networks(confidence), gp.tasks.DelayedActivation(delay)
    wanted, escape = evaluate(models, task), escape_gradient(models, task)
    found = tab.evaluate(
        """([weights, confidence, delay]) => weights.map(([m, n, b]) => {
          const { Network, Task } = window.ghostpoint;
          const network = new Network(m, n, b, { confidence });
          const task = new Task(delay, 0.5);
          const path = network.forward(task);
          const near = network.approach(path);
          const { loss, accuracy, gradient } = network.evaluate(task, path);
          return { loss, accuracy, gradient: [...gradient], kappa: [...path.kappa], output: [...path.output],
            time: near.crossed ? near.time : NaN,
            byTime: near.crossed ? [...network.backward(task, path, near.byLogit)] : [],
             flow: [-3, -1, 0, 0.5, 4].map((x) => network.flow(x)[0]) };
        })""",
        [as_arguments(models), confidence, task.delay_steps],
    )
    flow = models.flow(np.array([-3, -1, 0, 0.5, 4.0])[:, None, None] * np.ones((1, len(models), 1)))[..., 0]
    path = models.latent_path(task.steps, task.alpha)[..., 0]
    for k, each in enumerate(found):
        same(each["loss"], wanted.loss[k], scale=1.0)
        assert each["accuracy"] == wanted.accuracy[k]
        parts = np.concatenate([wanted.gradient[part][k].ravel() for part in ("m", "n", "b")])
        same(each["gradient"], parts, scale=1.0)  # near a solution it is a small difference of terms of order one
        same(each["kappa"], path[:, k], scale=1.0)
        same(each["output"], wanted.output[k, 0, :, 0], scale=1e-3)
        same(each["flow"], flow[:, k], scale=1.0)
        same(each["time"], escape.time[0, k])
        if np.isfinite(escape.time[0, k]):
            parts = np.concatenate([escape.gradient[part][0, k].ravel() for part in ("m", "n", "b")])
            same(each["byTime"], parts, scale=np.abs(parts).max())
    assert np.isfinite(escape.time).any()


def test_slow_points_of_a_rank_one_network(tab):
    models = networks(10.0)
    zeros, ghosts = flow_zeros(models), flow_ghosts(models)
    found = tab.evaluate(
        """(weights) => weights.map(([m, n, b]) => {
          const reach = n.reduce((sum, x) => sum + Math.abs(x), 0) * 1.001;
          return new window.ghostpoint.Network(m, n, b).slowPoints(reach);
        })""",
        as_arguments(models),
    )
    for k, each in enumerate(found):
        count, minima = zeros.count[k], ghosts.count[k]
        same([z["position"] for z in each["zeros"]], zeros.position[k, :count], scale=1.0)
        assert [z["stable"] for z in each["zeros"]] == zeros.stable[k, :count].tolist()
        same([g["position"] for g in each["ghosts"]], ghosts.position[k, :minima], scale=1.0)
        same([g["height"] for g in each["ghosts"]], ghosts.height[k, :minima], scale=1.0)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("remedy", ["none", "clip", "trust"])
def test_training_of_a_rank_one_network(tab, optimizer, remedy):
    # rates at which the descent does not oscillate: there rounding errors would grow
    rate, epochs = {"sgd": 0.1, "momentum": 0.02, "adam": 0.002}[optimizer], 60
    models, task = networks(10.0)[[1, 4]], gp.tasks.DelayedActivation()
    remedies = {"none": None, "clip": gp.remedies.ClipGradient(0.1), "trust": gp.remedies.TrustRegion()}
    computing = gp.Computing("reference", dtype="float64")
    run = gp.train(models, task, rate, epochs, optimizer=optimizer, remedy=remedies[remedy], engine=computing)
    found = tab.evaluate(
        """([weights, options, epochs]) => weights.map(([m, n, b]) => {
          const { Network, Task, Trainer } = window.ghostpoint;
          const trainer = new Trainer(new Network(m, n, b), new Task(), options);
          return Array.from({ length: epochs }, () => trainer.step().loss);
        })""",
        [as_arguments(models), {"rate": rate, "optimizer": optimizer, "remedy": remedy, "clip": 0.1}, epochs],
    )
    for k, losses in enumerate(found):
        same(losses, run.history["loss"].values[k], scale=1.0)


def test_a_network_of_rank_two(tab):
    """The weights that the page carries, in the library."""
    found = tab.evaluate(
        """() => {
          const network = window.ghostpoint.networkAt(3);
          const places = [];
          for (let x = -4; x <= 4; x += 1) for (let y = -4; y <= 4; y += 2) places.push([x, y]);
          const flow = places.map(([x, y]) => network.flow(x, y, 0.5));
          return { m: [...network.m], n: [...network.n], b: [...network.b], w: [...network.wIn],
            out: [...network.wOut, network.bOut], places, flow, speed: flow.map(([x, y]) => network.speed(x, y)),
            output: places.map(([x, y]) => network.output(x, y)) };
        }"""
    )
    units = len(found["b"])
    m, n = (np.array(found[name]).reshape(1, units, 2) for name in ("m", "n"))
    model = gp.LowRankRNN(
        m, n, np.array([found["b"]]), w_in=np.array(found["w"]).reshape(1, units, 1),
        w_out=np.array([[found["out"][:2]]]), b_out=np.array([found["out"][2:]]), readout="latent", activation="tanh",
    )  # fmt: skip
    places = np.array(found["places"])
    same(found["flow"], model.flow(places[:, None], np.array([0.5]))[:, 0], scale=1.0)
    same(found["speed"], latent_speed(model, places, inputs=[0.5]), scale=1.0)
    same(found["output"], model.output(places[:, None])[:, 0], scale=1.0)
