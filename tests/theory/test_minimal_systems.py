"""Minimal systems against exact solutions by sympy and mpmath, integrations of the flows, and plain
loops.
"""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from ghostpoint.theory import (
    ComplexSaddleNode,
    FastPlane,
    NormalForm,
    OneParameter,
    PowerLawDelay,
    SaddleNodesInParallel,
    SaddleNodesInSeries,
    SaddleNodeToy,
    StartedSaddleNode,
)

ONE = PowerLawDelay(100.0)


def angle_flow(t, state, r):
    """``x' = x**2 + r`` in the angle ``x = tan(angle)``, which passes infinity at pi / 2."""
    return r * np.cos(state) ** 2 + np.sin(state) ** 2


# --- closed delays ---------------------------------------------------------------------------


def test_one_ghost_is_the_toy_model():
    toy, r = SaddleNodeToy(100.0), np.array([0.2, 0.3, 0.9, 1.5, 9.0]) * ONE.minimum
    np.testing.assert_allclose(ONE.escape_time(r[:, None]), toy.escape_time(r), rtol=1e-14)
    np.testing.assert_allclose(ONE.gradient(r[:, None])[:, 0], toy.gradient(r), rtol=1e-13)
    np.testing.assert_allclose(ONE.loss(r[:, None]), toy.loss(r), rtol=1e-13)
    assert ONE.critical_learning_rate == pytest.approx(toy.critical_learning_rate, rel=1e-14)
    assert ONE.point_of_no_return == pytest.approx(toy.point_of_no_return, rel=1e-14)


@pytest.mark.parametrize("order", [1.5, 2, 3, 4, 7.3])
def test_a_flow_of_any_order_takes_the_integral(order):
    r = 0.037
    # over s = log x, which tames both ends
    wanted = mpmath.quad(lambda s: mpmath.exp(s) / (r + mpmath.exp(order * s)), [-mpmath.inf, -3, 0, 3, mpmath.inf])
    assert PowerLawDelay.flat(10.0, order).escape_time([r]) == pytest.approx(float(wanted), rel=1e-10)


def test_a_lap_round_the_circle_takes_pi_over_the_root():
    r, laps = 0.02, 3

    def flow(t, theta):
        return 1 - np.cos(theta) + (1 + np.cos(theta)) * r

    def arrives(t, theta):
        return theta[0] - math.pi * (2 * laps - 1)

    arrives.terminal = True
    path = solve_ivp(flow, (0, 200), [-math.pi], events=arrives, rtol=1e-11, atol=1e-12)
    assert PowerLawDelay.circle(10.0, laps).escape_time([r]) == pytest.approx(path.t_events[0][0], rel=1e-8)


@given(T=st.floats(1, 500), scale=st.floats(0.3, 20), power=st.floats(0.6, 4))
def test_the_critical_rate_of_a_power_law_is_the_jump_from_the_minimum(T, scale, power):
    system = PowerLawDelay(T, scale, power)
    assert system.critical_learning_rate == pytest.approx(OneParameter.critical_learning_rate.fget(system), rel=1e-11)
    assert system.one_step_rate([system.minimum]) == pytest.approx(system.critical_learning_rate, rel=1e-9)
    doubled = PowerLawDelay(2 * T, scale, power)
    slope = math.log2(doubled.critical_learning_rate / system.critical_learning_rate)
    assert slope == pytest.approx(system.exponent, rel=1e-10)


@pytest.mark.parametrize("system", [ONE, PowerLawDelay.flat(30.0, 4), PowerLawDelay.drift(30.0)])
def test_epochs_and_their_late_share_are_those_of_a_slow_descent(system):
    start, rate = system.parameter_for(0.4 * system.T), 0.003 * system.critical_learning_rate
    epochs = float(system.approach_epochs([start], rate))
    found = system.descend([start], rate, int(1.1 * epochs), record=True)
    assert found.crossing_epoch == pytest.approx(epochs, rel=0.02)
    half = int((found.time >= 0.7 * system.T).argmax())
    assert 1 - half / found.crossing_epoch == pytest.approx(float(system.late_share(0.6)), rel=0.02)


@pytest.mark.parametrize("x0", [-2.0, -0.1, 0.0, 0.3, 1.0])
def test_a_start_takes_the_integral_from_there_on(x0):
    system = StartedSaddleNode(10.0, x0)
    for r in (0.5, 0.01, 0.0, -0.9 * x0**2, -(1 - 1e-9) * x0**2, -2.0):
        wanted = NormalForm(r, 1.0).escape_time(x0) if r else NormalForm(0.0, 1.0).escape_time(x0)
        assert system.escape_time([r]) == pytest.approx(wanted, rel=1e-7)
        if math.isfinite(wanted):
            cuts = sorted({x0, x0 + 1e-3, x0 + 1, 5.0, *(c for c in (-0.2, -0.05, 0.0, 0.05, 0.2, 1.0) if c > x0)})
            cuts.append(mpmath.inf)
            by_r = -mpmath.quad(lambda x, r=r: (x * x + r) ** -2, cuts)
            if r > 0 or r > -0.95 * x0**2:
                assert system.time_gradient([r])[0] == pytest.approx(float(by_r), rel=1e-7)
        else:
            assert system.time_gradient([r])[0] == 0


def test_a_start_before_the_ghost_has_sixteen_times_the_rate_and_one_past_it_an_exponential():
    near, far = (StartedSaddleNode(T, -1.0) for T in (0.001, 1e4))
    assert near.critical_learning_rate / PowerLawDelay(near.T).critical_learning_rate == pytest.approx(1, rel=0.01)
    assert far.critical_learning_rate / PowerLawDelay(far.T).critical_learning_rate == pytest.approx(16, rel=0.001)
    for x0, T in ((0.25, 24.0), (1.0, 6.0), (3.0, 2.0)):
        rate = StartedSaddleNode(T, x0).critical_learning_rate
        assert rate == pytest.approx(32 * x0**5 * math.exp(-4 * x0 * T), rel=1e-3)
    with pytest.raises(ValueError, match="T must be shorter"):
        _ = StartedSaddleNode(100.0, 1.0).critical_learning_rate


# --- several saddle-nodes --------------------------------------------------------------------


def test_a_smooth_gate_shortens_two_in_series_by_less_than_pi_over_two():
    x, r = sympy.symbols("x r", positive=True)
    head_start = sympy.integrate(sympy.apart(x**2 / ((1 + x**2) * (r**2 + x**2)), x), (x, 0, sympy.oo))
    assert sympy.simplify(head_start - sympy.pi / 2 / (1 + r)) == 0

    r1, r2 = 0.02, 0.05
    first = math.pi / 2 / math.sqrt(r1)

    def flow(t, angles):
        gate = np.sin(angles[0]) ** 2  # x1**2 / (1 + x1**2)
        return [angle_flow(t, angles[0], r1), gate * angle_flow(t, angles[1], r2)]

    begun = solve_ivp(flow, (0, first), [0, 0], rtol=1e-11, atol=1e-12).y[1, -1]

    def escapes(t, angle):
        return angle[0] - math.pi / 2

    escapes.terminal = True
    rest = solve_ivp(angle_flow, (0, 100), [begun], args=(r2,), events=lambda t, y, r: escapes(t, y), rtol=1e-11)
    at = rest.t[np.flatnonzero(rest.y[0] >= math.pi / 2)[0]] if not len(rest.t_events[0]) else rest.t_events[0][0]
    wanted = SaddleNodesInSeries(10.0, 2).escape_time([r1, r2]) - math.pi / 2 / (1 + math.sqrt(r1))
    assert first + at == pytest.approx(wanted, rel=1e-6)


@given(
    n=st.integers(1, 6),
    fixed=st.floats(0, 0.8),
    seed=st.integers(0, 10**6),
    early=st.floats(0.3, 1),
)
def test_no_start_in_series_is_lost_below_the_rate_of_one(n, fixed, seed, early):
    series = SaddleNodesInSeries(10.0, n, 10.0 * fixed)
    shares = np.random.default_rng(seed).dirichlet(np.full(n, 0.3)).clip(1e-6)
    shares *= early / shares.sum()
    p = (math.pi / 2 / (shares * (10.0 - series.fixed))) ** 2
    after = p + 0.9999 * series.critical_learning_rate * series.time_gradient(p)
    assert series.escape_time(after) < 20


@pytest.mark.parametrize("fixed", [0.0, 4.0])
def test_the_rate_of_one_is_approached_and_equal_ones_have_n_to_the_fifth(fixed):
    series = SaddleNodesInSeries(10.0, 3, fixed)
    assert series.one_step_rate(series.equal) == pytest.approx(243 * series.critical_learning_rate, rel=1e-9)
    assert series.equal_critical_rate == pytest.approx(243 * series.critical_learning_rate)
    left = 10.0 - fixed
    shares = np.array([1 - 2e-5, 1e-5, 1e-5])
    p = (math.pi / 2 / (shares * left)) ** 2
    assert series.one_step_rate(p) == pytest.approx(series.critical_learning_rate, rel=1e-3)
    if fixed == 0:
        assert series.critical_learning_rate == pytest.approx(PowerLawDelay(10.0).critical_learning_rate, rel=1e-13)


def test_gradient_flow_in_series_ends_where_the_conserved_differences_say():
    series = SaddleNodesInSeries(10.0, 3)
    start = series.equal * np.array([1.5, 2.0, 3.0])

    def reaches(s, p):
        return series.escape_time(p) - series.T

    reaches.terminal = True
    flow = solve_ivp(lambda s, p: series.time_gradient(p), (0, 1e3), start, events=reaches, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(series.flow_minimum(start), flow.y_events[0][0], rtol=1e-8)
    assert series.escape_time(series.flow_minimum(start)) == pytest.approx(10.0, rel=1e-12)


def test_the_first_or_the_last_of_several_answers_and_has_the_gradient():
    p = np.array([[0.01, 0.04], [-1.0, 0.04], [-1.0, -1.0]])
    first, last = SaddleNodesInParallel(10.0, 2, "first"), SaddleNodesInParallel(10.0, 2, "last")
    quick, slow = math.pi / 2 / 0.2, math.pi / 2 / 0.1
    assert first.escape_time(p).tolist() == pytest.approx([quick, quick, math.inf])
    assert last.escape_time(p).tolist() == pytest.approx([slow, math.inf, math.inf])
    np.testing.assert_allclose(first.time_gradient(p), [[0, -quick / 0.08], [0, -quick / 0.08], [0, 0]])
    np.testing.assert_allclose(last.time_gradient(p), [[-slow / 0.02, 0], [0, 0], [0, 0]])


def test_the_hyperbolic_plane_is_two_saddle_nodes_in_parallel():
    x, y, r, s = sympy.symbols("x y r s")
    dx, dy = r + x**2 + y**2, s + 2 * x * y
    assert sympy.expand(dx + dy - ((x + y) ** 2 + r + s)) == 0
    assert sympy.expand(dx - dy - ((x - y) ** 2 + r - s)) == 0


# --- the plane of fast directions ------------------------------------------------------------


def bessel_time(r, decay, kick, near):
    """First zero of ``u'' + (r + kick exp(-decay t)) u = 0``, ``u'(0) = 0``, near a time."""
    order = 2j * mpmath.sqrt(r) / decay

    def solution(sign):
        return lambda t: mpmath.besselj(sign * order, 2 / decay * mpmath.sqrt(kick) * mpmath.exp(-decay * t / 2))

    one, other = solution(1), solution(-1)
    slopes = mpmath.diff(one, 0), mpmath.diff(other, 0)
    return float(mpmath.findroot(lambda t: mpmath.re(1j * (one(t) * slopes[1] - other(t) * slopes[0])), near))


@pytest.mark.parametrize(
    ("decay", "kick", "r"), [(1.0, 0.3, 0.05), (0.5, 0.1, 0.02), (3.0, -0.4, 0.03), (2.0, 1.0, 0.2)]
)
def test_a_decaying_direction_gives_bessel_functions(decay, kick, r):
    system = FastPlane(50.0, decay=decay, feedback=kick, y0=1.0)
    found = float(system.escape_time([r]))
    assert found == pytest.approx(bessel_time(r, decay, kick, found), rel=1e-8)
    assert found == pytest.approx(bessel_time(r, decay, kick, 1.01 * found), rel=1e-8)


def linear(system, r):
    """First zero of ``u'' + (r + feedback y(t)) u = 0``, and ``-(integral of u**2) / u'**2``."""

    def drive(t):
        turn = np.cos(system.frequency * t) * system.y0 - np.sin(system.frequency * t) * system.z0
        return system.feedback * np.exp(-system.decay * t) * turn

    def flow(t, s):
        return [s[1], -(r + drive(t)) * s[0], s[0] ** 2]

    def zero(t, s):
        return s[0]

    zero.terminal = True
    path = solve_ivp(flow, (0, 4 * system.T), [1, -system.x0, 0], "DOP853", events=zero, rtol=1e-12, atol=1e-13)
    end = path.y_events[0][0]
    return path.t_events[0][0], -end[2] / end[1] ** 2


@pytest.mark.parametrize(
    "changes",
    [
        {"decay": 0.0, "frequency": 1.0, "y0": 1.0},
        {"decay": 0.0, "frequency": 3.0, "y0": 1.0, "z0": 0.5, "x0": -0.2},
        {"decay": 0.2, "frequency": 2.0, "y0": -1.0},
        {"decay": 1.0, "y0": 1.0},
    ],
)
def test_without_a_drive_the_answer_is_the_first_zero_of_a_linear_equation(changes):
    system, r = FastPlane(50.0, feedback=0.3, **changes), 0.03
    time, by_r = linear(system, r)
    assert system.escape_time([r]) == pytest.approx(time, rel=1e-7)
    assert system.time_gradient([r])[0] == pytest.approx(by_r, rel=1e-6)


def test_the_riccati_substitution_is_exact():
    t = sympy.symbols("t")
    u, q = sympy.Function("u")(t), sympy.Function("q")(t)
    x = -u.diff(t) / u
    left = (x.diff(t) - x**2 - q).subs(u.diff(t, 2), -q * u)
    assert sympy.simplify(left) == 0


@pytest.mark.parametrize("frequency", [0.0, 2.0])
def test_a_driven_plane_is_the_integrated_flow(frequency):
    system, r = FastPlane(40.0, 0.7, frequency, 1.0, 0.8, x0=-0.3, y0=0.1), 0.01

    def flow(t, s):
        x, y, z = s
        square = x * x
        return [
            r + square + 0.8 * y,
            -0.7 * y - frequency * z + square,
            frequency * y - 0.7 * z,
        ]

    def far(t, s):
        return s[0] - 3e4

    far.terminal = True
    path = solve_ivp(flow, (0, 200), [-0.3, 0.1, 0.0], "LSODA", events=far, rtol=1e-11, atol=1e-13)
    assert system.escape_time([r]) == pytest.approx(path.t_events[0][0] + 1 / 3e4, rel=1e-6)
    h = 1e-6
    slope = (system.escape_time([r + h]) - system.escape_time([r - h])) / (2 * h)
    assert system.time_gradient([r])[0] == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize(("frequency", "drive"), [(0.0, 1.0), (0.0, -0.6), (2.0, 1.0)])
def test_a_driven_plane_changes_the_curvature_alone_in_the_limit_of_long_delays(frequency, drive):
    off = []
    for T in (64.0, 256.0, 1024.0):
        system = FastPlane(T, 1.0, frequency, drive, 1.0, step=0.05)
        off.append(abs(system.critical_learning_rate / system.asymptotic_critical_rate - 1))
    # the lag of the plane adds a term in x**3, and with it a correction of log(T) / T
    assert off[2] < 0.08
    assert off[1] < 0.5 * off[0]
    assert off[2] < 0.4 * off[1]


def test_a_fast_rotation_shifts_r_by_half_its_squared_amplitude_over_its_squared_frequency():
    off = []
    for frequency in (2.0, 4.0, 8.0):
        # whole turns up to T, where the modulation of t is stationary
        T = 20 * math.pi / frequency * round(32 * frequency / (20 * math.pi))
        system = FastPlane(T, 0.0, frequency, feedback=0.02 * frequency**2, y0=1.0)
        off.append(system.minimum - (PowerLawDelay(T).minimum - system.averaged_shift))
        assert abs(off[-1]) < 0.01 * system.averaged_shift
    assert system.minimum < 0


def test_a_kick_past_the_ghost_makes_the_rate_exponential():
    # the kick moves x by about feedback y0 / decay
    rates = [FastPlane(T, decay=4.0, feedback=1.0, y0=1.0).critical_learning_rate for T in (24.0, 32.0)]
    back = FastPlane(256.0, decay=4.0, feedback=-1.0, y0=1.0)
    assert math.log(rates[0] / rates[1]) / 8 == pytest.approx(4 * 0.25, rel=0.15)
    assert back.critical_learning_rate / PowerLawDelay(256.0).critical_learning_rate == pytest.approx(16, rel=0.1)


# --- the complex ghost -----------------------------------------------------------------------


def test_the_complex_tangent_solves_the_flow_of_the_plane():
    t, r = sympy.symbols("t r")
    z = sympy.sqrt(r) * sympy.tan(sympy.sqrt(r) * t)
    assert sympy.simplify(z.diff(t) - z**2 - r) == 0
    x, y, a, b = sympy.symbols("x y a b", real=True)
    square = sympy.expand((x + sympy.I * y) ** 2 + a + sympy.I * b)
    assert sympy.expand(sympy.re(square) - (x**2 - y**2 + a)) == 0
    assert sympy.expand(sympy.im(square) - (2 * x * y + b)) == 0


@pytest.mark.parametrize("p", [(0.01, 0.0), (0.01, 1e-4), (0.05, 0.0005), (0.3, -0.004), (-0.01, 0.3)])
def test_the_complex_ghost_answers_when_the_flow_does(p):
    system = ComplexSaddleNode(20.0, 5.0)

    def flow(t, z):
        return [z[0] ** 2 - z[1] ** 2 + p[0], 2 * z[0] * z[1] + p[1]]

    def reaches(t, z):
        return math.hypot(*z) - 5.0

    reaches.terminal = True
    path = solve_ivp(flow, (0, 60), [0.0, 0.0], "DOP853", events=reaches, rtol=1e-11, atol=1e-13)
    found = system.escape_time(p)
    if len(path.t_events[0]):
        assert found == pytest.approx(path.t_events[0][0], rel=1e-7)
        for axis in range(2):
            h = 1e-7 * np.eye(2)[axis]
            slope = (system.escape_time(p + h) - system.escape_time(p - h)) / 2e-7
            assert system.time_gradient(p)[axis] == pytest.approx(slope, rel=1e-4, abs=1e-3)
    else:
        assert math.isinf(found)


def test_the_edge_of_the_complex_ghost_and_the_longest_delay_at_it():
    system = ComplexSaddleNode(20.0, 10.0)
    r1 = np.array([1e-6, 1e-4, 1e-2])
    edge = system.edge(r1)
    np.testing.assert_allclose(edge, 4 * r1**1.5 / (10 * math.pi), rtol=1e-3)
    assert np.isfinite(system.escape_time(np.stack([r1, edge * 0.999999], -1))).all()
    assert np.isinf(system.escape_time(np.stack([r1, edge * 1.000001], -1))).all()
    for value, width in zip(r1[:2], edge[:2], strict=True):
        assert system.escape_time([value, width * 0.9999999]) == pytest.approx(system.longest_delay(width), rel=0.01)
    assert system.longest_delay(0.0) == math.inf


@pytest.mark.parametrize(("T", "threshold"), [(20.0, 10.0), (40.0, 5.0)])
def test_a_small_second_parameter_grows_as_derived(T, threshold):
    system = ComplexSaddleNode(T, threshold)
    start, tiny = 2 * PowerLawDelay(T).minimum, 1e-13

    def speed(r1):
        down, across = system.time_gradient([r1, tiny * r1**1.5])
        return across / (down * tiny * r1**1.5)

    end = (math.pi / 2 / (T + 1 / threshold)) ** 2
    wanted = quad(speed, start, end, epsrel=1e-9)[0]
    assert system.growth(start) == pytest.approx(wanted, rel=0.002)
    held = ComplexSaddleNode(T, threshold, hold_r2=True)
    assert held.time_gradient([start, 1e-6])[1] == 0
    assert held.time_gradient([start, 1e-6])[0] == system.time_gradient([start, 1e-6])[0]


# --- descent ---------------------------------------------------------------------------------

SYSTEMS = [
    ONE,
    SaddleNodesInSeries(100.0, 3),
    SaddleNodesInParallel(100.0, 2),
    StartedSaddleNode(100.0, -0.01),
    ComplexSaddleNode(100.0, 10.0),
    FastPlane(20.0, drive=1.0, feedback=1.0),
]


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: type(system).__name__)
def test_a_descent_is_the_plain_loop_and_nothing_leaves_the_zone(system):
    base = np.full(system.n, 4 * system.n**2 * PowerLawDelay(system.T).minimum)
    if isinstance(system, ComplexSaddleNode):
        base[1] = 1e-9
    rate = 3 * np.abs(base[0] / system.gradient(base)[0])
    slow = 0.02 * rate
    found = system.descend(base, [slow, rate], 40, record=True)
    for run, step in enumerate((slow, rate)):
        p, crossed, lost = base.copy(), -1, -1
        for epoch in range(41):
            time = float(system.escape_time(p))
            assert found.time[epoch, run] == pytest.approx(time, rel=1e-12)
            crossed = epoch if crossed < 0 and time >= system.T else crossed
            lost = epoch if lost < 0 and time >= 2 * system.T else lost
            if epoch < 40:
                p = p - step * system.gradient(p)
        np.testing.assert_allclose(found.p[run], p, rtol=1e-12)
        assert (found.crossing_epoch[run], found.lost_epoch[run]) == (crossed, lost)
        if lost >= 0:
            assert (found.time[lost:, run] == found.time[lost, run]).all()
            assert system.loss(p) == system.T
            assert not system.gradient(p).any()


@pytest.mark.parametrize("system", SYSTEMS[:5], ids=lambda system: type(system).__name__)
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_the_gradient_is_the_slope_of_the_loss(system, seed):
    generator = np.random.default_rng(seed)
    p = generator.uniform(0.5, 3.0, system.n) * system.n**2 * PowerLawDelay(system.T).minimum
    if isinstance(system, ComplexSaddleNode):
        p[1] = generator.uniform(-0.5, 0.5) * 4 * p[0] ** 1.5 / (math.pi * system.threshold)
    time = system.escape_time(p)
    if not 1e-3 < abs(time / system.T - 1) < 0.95:
        return
    for axis in range(system.n):
        h = 1e-4 * np.abs(p[axis]) * np.eye(system.n)[axis]
        slope = (system.loss(p + h) - system.loss(p - h)) / (2 * h[axis])
        scale = np.abs(system.gradient(p)).max()
        assert system.gradient(p)[axis] == pytest.approx(slope, rel=1e-4, abs=1e-5 * scale)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PowerLawDelay(0.0), "T must be above 0"),
        (lambda: PowerLawDelay.flat(10.0, 1.0), "order must be above 1"),
        (lambda: PowerLawDelay.circle(10.0, 0), "laps must be at least 1"),
        (lambda: ONE.escape_time(0.1), "p must have 1 parameters on its last axis"),
        (lambda: ONE.escape_time([[0.1, 0.2]]), "p must have 1 parameters"),
        (lambda: ONE.approach_epochs([0.0], 1e-9), "p0 must be at least"),
        (lambda: ONE.late_share(1.0), "loss must be above 0 and below 1"),
        (lambda: ONE.descend([0.1], 0.0, 3), "learning_rate must be above 0"),
        (lambda: ONE.one_step_rate([ONE.minimum / 2]), "p must answer by T"),
        (lambda: SaddleNodesInSeries(10.0, 2, 10.0), "fixed must be below T"),
        (lambda: SaddleNodesInSeries(10.0, 2).flow_minimum([0.01, 0.01]), "p0 must answer before T"),
        (lambda: SaddleNodesInParallel(10.0, 2, "both"), "answer must be one of first, last"),
        (lambda: FastPlane(10.0, decay=0.0, drive=1.0), "decay must be above 0 where there is a drive"),
        (lambda: FastPlane(10.0, drive=1.0, feedback=-1.0), "feedback must leave a positive curvature"),
        (lambda: FastPlane(10.0).averaged_shift, "averaged_shift needs a rotation"),
        (lambda: ComplexSaddleNode(10.0, 0.0), "threshold must be above 0"),
        (lambda: ComplexSaddleNode(10.0).escape_time([0.1]), "p must have 2 parameters"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
