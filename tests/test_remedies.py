"""Remedies as records: the crossings a task wants, the scalar rules, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ghostpoint import remedies
from ghostpoint.remedies import (
    ClipGradient,
    ConfidenceSchedule,
    Crossing,
    Guard,
    HazardLimit,
    Near,
    ReduceRate,
    Rewind,
    TrustRegion,
    crossings,
    resolve,
    scale,
)
from ghostpoint.remedies.acting import Acting
from ghostpoint.tasks import (
    DelayedActivation,
    DelayedAddition,
    DelayedCueDiscrimination,
    DelayedMatchToSample,
    NBitFlipFlop,
    from_arrays,
)

ACTIVATION = DelayedActivation(30)
CUE = DelayedCueDiscrimination(10, 20, 15, copies=2)


def test_delayed_activation_wants_one_crossing_of_the_whole_trial():
    assert crossings(ACTIVATION, ACTIVATION.trial(), "sigmoid") == [Crossing(0, 0, 0, 12, 6, 0.0, 1.0)]


def test_cued_tasks_want_the_threshold_halfway_to_each_answer():
    half = float(np.arctanh(0.5))
    found = crossings(CUE, CUE.trial(), "tanh")
    assert [(one.trial, one.sign, one.logit) for one in found] == [
        (trial, sign, sign * half) for trial, sign in enumerate((1.0, -1.0, 1.0, -1.0))
    ]
    assert {(one.start, one.delay, one.stop) for one in found} == {(0, 6, 9)}
    match = DelayedMatchToSample(10, 15, 15)
    assert [one.trial for one in crossings(match, match.trial(), "sigmoid")] == [0, 1]
    assert crossings(CUE, CUE.trial(), "tanh", 3) == found[:3]


def test_no_crossing_without_levels_or_answers_that_count_or_outputs_that_reach():
    adding = DelayedAddition()
    assert crossings(adding, adding.trial(0), "identity") == []
    targets = np.array([0.0, 0, 0, 1, 1])[None, :, None]
    mask = np.array([1, 1, 0, 1, 1], bool)[None, :, None]
    hidden = from_arrays(np.zeros((1, 5, 0)), targets, mask, dt=5, tau=10)
    assert crossings(hidden, hidden.trial(), "sigmoid") == []
    shown = from_arrays(np.zeros((1, 5, 0)), targets, dt=5, tau=10)
    assert len(crossings(shown, shown.trial(), "sigmoid")) == 1
    assert len(crossings(CUE, CUE.trial(), "sigmoid")) == 2  # the sigmoid never is at -1/2


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=2, max_size=20))
def test_the_windows_of_a_channel_tile_its_trial_and_hold_one_transition_each(levels):
    target = np.array(levels)
    assume(len(set(levels)) > 1)
    task = from_arrays(np.zeros((1, len(target), 0)), target[None, :, None], dt=5, tau=10)
    found = crossings(task, task.trial(), "tanh")
    switches = np.flatnonzero(np.diff(target)) + 1
    assert [one.start + one.delay for one in found] == switches.tolist()
    assert [one.start for one in found] == [0, *switches][: len(found)]
    assert [one.stop for one in found] == [*switches, len(target)][1 : len(found) + 1]
    for one, at in zip(found, switches, strict=True):
        assert np.tanh(one.logit) == pytest.approx((target[at - 1] + target[at]) / 2)
        assert one.sign == np.sign(target[at] - target[at - 1])


paths = st.lists(st.floats(-3, 3), min_size=2, max_size=12).map(np.array)


@given(paths, st.sampled_from([1.0, -1.0]), st.floats(-1, 1), st.data())
def test_the_crossing_is_the_first_root_of_the_interpolated_path_and_its_seed_the_slope(z, sign, logit, data):
    start = data.draw(st.integers(0, len(z) - 1))
    stop = data.draw(st.integers(start + 1, len(z)))
    one = Crossing(0, 0, start, stop, 1, logit, sign)
    g = one.margin(z)
    up = [j for j in range(len(g) - 1) if g[j] <= 0 < g[j + 1]]
    if up:
        assume(g[up[0] + 1] - g[up[0]] > 1e-3)
        assume((np.abs(g) > 1e-4).all())  # so that the differences do not change which readings are crossed
    else:
        assume((g.max() - np.delete(g, g.argmax()) > 1e-4).all())
        assume((np.abs(g) > 1e-4).all())
    crossed, time, peak, seed = (value[0] for value in one.measure(z[None]))
    assert crossed == bool(up)
    assert peak == g.max()
    if up:
        assert np.interp(time, np.arange(len(g)) + 1, g) == pytest.approx(0, abs=1e-9)
        assert up[0] + 1 <= time <= up[0] + 2
    else:
        assert time == 0
    for at in range(len(z)):
        h = 1e-7
        ends = []
        for offset in (-h, h):
            moved = z.copy()
            moved[at] += offset
            _, t, top, _ = one.measure(moved[None])
            ends.append((t if crossed else top)[0])
        slope = (ends[1] - ends[0]) / (2 * h)
        assert seed[at] == pytest.approx(slope, rel=1e-3, abs=1e-5)


positive = st.floats(1e-6, 1e6)


@given(positive, positive, st.floats(1, 100))
def test_a_scaled_update_is_within_the_limit_and_one_that_is_within_is_left_alone(prediction, limit, growth):
    factor = float(scale(prediction, limit, growth))
    assert factor * prediction <= limit * (1 + 1e-12)
    assert factor <= growth
    assert factor == growth or factor * prediction == pytest.approx(limit)
    if prediction <= limit:
        assert scale(prediction, limit) == 1.0


def test_what_cannot_be_predicted_is_left_alone():
    assert scale(np.array([0.0, np.nan, 1.0, np.inf]), np.array([1.0, 1.0, np.nan, 1.0]), np.inf).tolist() == [
        1,
        1,
        1,
        0,
    ]


@given(
    st.floats(0, 10), st.floats(1, 40), st.floats(-20, 20), st.floats(0, 2), st.floats(-1, 1), st.floats(0, 1)
)  # fmt: skip
def test_the_trust_region_is_its_formula(along, time, peak, share, ascent, tilt):
    region = TrustRegion(h=0.4, eta=0.2, shrink=2.0, tilt=tilt, brake=0.3, floor=0.6, split=False)
    brake = 0.3 if ascent > 0 else 1.0
    shift = brake * min(0.4, 2 * share) * 0.375 * min(20, time)
    climb = brake * 0.2 * max(-peak, 0.6)
    limit = region.limit(np.array([True, False]), time, peak, 20, share, ascent)
    assert limit == pytest.approx([shift, climb])
    size = along + 1.0
    predicted = region.prediction(np.array([True, False]), -along, size)
    assert predicted == pytest.approx([max(along, tilt * size), size])


def test_the_toy_models_critical_rate_has_hazard_one():
    # letter, eq. 15: at the kink |dL/dr| = 2 T**3 / pi**2 with L0 = T, and |grad t| is the same
    T = 100.0
    slope, rate = 2 * T**3 / np.pi**2, 3 * np.pi**4 / (32 * T**5)
    region = TrustRegion(h=1.0, shrink=np.inf, tilt=1.0)
    update = np.array([rate * slope])
    limit = region.limit(np.array([True]), T, 0.0, T, 1.0, -1.0)
    assert scale(region.prediction(np.array([True]), slope * update, slope * update), limit) == pytest.approx(1.0)
    task = DelayedActivation(30)
    acting = Acting((HazardLimit(1e-3),), task, "sigmoid", 1)
    # loss divided by T: slope / T, and L0 = 1; the rate that does the same step is T times larger
    step = acting.step(np.array([1.0]), np.array([slope / T]), update, np.array([-1.0]), [])
    assert step.factor == pytest.approx(1e-3)


def test_the_smallest_scale_of_all_crossings_counts_and_the_rate_left_over_multiplies_it():
    acting = Acting(
        (TrustRegion(h=1, eta=1, shrink=np.inf, tilt=0, growth=1, split=False), Rewind(0.5, 2)), CUE, "tanh", 3
    )
    crossing = crossings(CUE, CUE.trial(), "tanh")[0]  # T = 6: limit 2.25 readings
    two = np.array([True, True, True])

    def near(*shift):
        return Near(
            crossing, two, np.full(3, 6.0), np.ones(3), np.ones(3), np.array(shift), np.ones(3), np.ones((3, 1))
        )

    one = np.ones(3)
    ask = [near(4.5, 0.0, 1.0), near(9.0, 22.5, -1.0)]
    assert acting.step(one, one, one, -one, ask).factor == pytest.approx([0.25, 0.1, 1.0])
    above = np.array([True, True, False])
    for epoch, now in enumerate([above, ~above, ~above, ~above]):
        entered = acting.react(epoch, one, now)
        assert entered.tolist() == ([True, True, False] if epoch == 2 else [False] * 3)
    # half the rate, so half the prediction: the same update, unless it was free before
    assert acting.step(one, one, one, -one, ask).factor == pytest.approx([0.25, 0.1, 1.0])
    assert acting.step(one, one, one, -one, [near(0.1, 0.1, 0.1)]).factor == pytest.approx([0.5, 0.5, 1.0])


def test_the_confidence_rises_geometrically_to_its_own():
    schedule = ConfidenceSchedule(0.01, 10)
    assert schedule.sharpness(0) == 0.01
    assert schedule.sharpness(5) == pytest.approx(0.1)
    assert [schedule.sharpness(epoch) for epoch in (10, 11, 1000)] == [1.0] * 3


def test_remedies_add_up_and_auto_is_by_the_task():
    three = TrustRegion() + ClipGradient(1.0) + Rewind()
    assert three == (TrustRegion(), ClipGradient(1.0), Rewind())
    assert HazardLimit() + three[2:] == (HazardLimit(), Rewind())
    assert resolve(list(three), ACTIVATION, "sigmoid") == three
    assert resolve(Rewind(), ACTIVATION, "sigmoid") == (Rewind(),)
    assert resolve(None, ACTIVATION, "sigmoid") == ()
    assert resolve(("rewind", ClipGradient(2)), ACTIVATION, "sigmoid") == (Rewind(), ClipGradient(2))
    careful, match = TrustRegion(tilt=0.5, polyak=0.03), {"cue": 10, "delay": 15, "response": 15}
    copies = DelayedCueDiscrimination(10, 20, 15, copies=3)
    wave = from_arrays(np.zeros((1, 6, 0)), np.sin(np.arange(6.0)).reshape(1, 6, 1), dt=5, tau=10, tolerance=0.1)
    for task, activation, alone, tried in (
        (ACTIVATION, "sigmoid", TrustRegion(), TrustRegion()),  # one crossing
        (CUE, "tanh", TrustRegion(), Guard()),
        (DelayedMatchToSample(**match), "sigmoid", careful, Guard()),  # two trials want no crossing
        (DelayedMatchToSample(**match, noise=0.1), "sigmoid", careful, careful),
        (DelayedMatchToSample(**match, initial_scale=0.1), "sigmoid", careful, careful),
        (copies, "tanh", careful, Guard()),  # six crossings are not all looked at
        (wave, "tanh", HazardLimit(), Guard()),
        (NBitFlipFlop(), "tanh", HazardLimit(), HazardLimit()),  # a pulse hides the transition
        (DelayedAddition(), "identity", HazardLimit(), HazardLimit()),
    ):
        assert resolve("auto", task, activation) == (tried,)
        assert resolve("auto", task, activation, tries=False) == (alone,)
    assert TrustRegion(h=0.2).to_dict()["h"] == 0.2
    assert set(remedies.__all__) <= set(dir(remedies))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrustRegion(h=0), "h must be above 0"),
        (lambda: TrustRegion(tilt=1.5), "tilt must be at most 1, got 1.5"),
        (lambda: TrustRegion(brake=0), "brake must be above 0"),
        (lambda: TrustRegion(split=1), "split must be True or False, got 1"),
        (lambda: TrustRegion(polyak=0), "polyak must be above 0"),
        (lambda: TrustRegion(growth=0.5), "growth must be at least 1"),
        (lambda: TrustRegion(crossings=0), "crossings must be at least 1"),
        (lambda: HazardLimit(-1), "limit must be above 0"),
        (lambda: ClipGradient(0), "norm must be above 0"),
        (lambda: ConfidenceSchedule(2.0), "start must be at most 1, got 2.0"),
        (lambda: ConfidenceSchedule(0.5, 0), "epochs must be at least 1"),
        (lambda: Rewind(factor=1), "factor must be below 1, got 1"),
        (lambda: ReduceRate(patience=0), "patience must be at least 1"),
        (lambda: resolve("trust", ACTIVATION, "sigmoid"), "remedy must be None, \"auto\", a remedy .*; got 'trust'"),
        (lambda: resolve(TrustRegion(), DelayedAddition(), "identity"), "TrustRegion only for a task that wants"),
        (lambda: resolve([Rewind(), 3], ACTIVATION, "sigmoid"), "remedy must be .*; got 3"),
        (lambda: resolve(Rewind() + ReduceRate(), ACTIVATION, "sigmoid"), "Rewind or ReduceRate at most once"),
        (lambda: resolve(HazardLimit() + HazardLimit(2), ACTIVATION, "sigmoid"), "HazardLimit at most once"),
    ],
)
def test_what_is_no_remedy_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
