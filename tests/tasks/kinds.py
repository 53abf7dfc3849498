"""Random tasks of every kind for the tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ghostpoint.tasks import (
    DelayedActivation,
    DelayedAddition,
    DelayedCueDiscrimination,
    DelayedMatchToSample,
    EvidenceIntegration,
    NBitFlipFlop,
    from_arrays,
)

MEMORY = (DelayedCueDiscrimination, DelayedMatchToSample)
RANDOM = (NBitFlipFlop, DelayedAddition, EvidenceIntegration)
#: one call that works per class, and the arguments that are periods
EXAMPLES = {
    DelayedActivation: {"delay": 100},
    **{kind: {"cue": 10, "delay": 50, "response": 50} for kind in MEMORY},
    NBitFlipFlop: {"duration": 500, "pulse": 10, "interval": 100},
    DelayedAddition: {"item": 20, "delay": 100, "response": 50},
    EvidenceIntegration: {"stimulus": 200, "delay": 100, "response": 50},
}


@st.composite
def times(draw):
    """A step and a time constant that it fits."""
    dt = draw(st.sampled_from([0.1, 0.3, 1.0, 5.0]))
    return {"dt": dt, "tau": dt * draw(st.floats(1, 10))}


@st.composite
def periods(draw, names, dt, most=6):
    """Whole steps for each name, and the periods in ms that hold so many and part of one more."""
    steps = {name: draw(st.integers(1, most)) for name in names}
    return steps, {name: (count + draw(st.sampled_from([0, 0.5]))) * dt for name, count in steps.items()}


@st.composite
def memory_tasks(draw, kinds=MEMORY):
    """A cue task and its periods in steps."""
    clock = draw(times())
    steps, lengths = draw(periods(("cue", "delay", "response"), clock["dt"]))
    more = {"copies": draw(st.integers(1, 3)), "initial_scale": draw(st.floats(0, 1)), "noise": draw(st.floats(0, 1))}
    return draw(st.sampled_from(kinds))(**lengths, **clock, **more), steps


@st.composite
def flip_flops(draw):
    clock = draw(times())
    pulse = draw(st.integers(1, 3))
    return NBitFlipFlop(
        n_bits=draw(st.integers(1, 4)),
        duration=draw(st.integers(2 * pulse, 40)) * clock["dt"],
        pulse=pulse * clock["dt"],
        interval=pulse * clock["dt"] * draw(st.floats(1, 5)),
        n_trials=draw(st.integers(1, 5)),
        **clock,
    )


@st.composite
def additions(draw):
    clock = draw(times())
    _, lengths = draw(periods(("item", "delay", "response"), clock["dt"]))
    return DelayedAddition(items=draw(st.integers(2, 9)), n_trials=draw(st.integers(1, 5)), **lengths, **clock)


@st.composite
def integrations(draw):
    clock = draw(times())
    _, lengths = draw(periods(("stimulus", "delay", "response"), clock["dt"], most=12))
    strengths = draw(st.lists(st.floats(0.01, 2), min_size=1, max_size=3))
    return EvidenceIntegration(
        strengths=tuple(strengths), spread=draw(st.floats(0, 2)), n_trials=draw(st.integers(1, 5)), **lengths, **clock
    )


@st.composite
def array_tasks(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    trials, steps, outputs = (draw(st.integers(1, 4)) for _ in range(3))
    targets = rng.integers(0, 3, (trials, steps, outputs)).astype(float)
    mask = rng.random(targets.shape) < 0.7
    mask[0, 0, 0] = True
    classes = draw(st.booleans())
    return from_arrays(
        rng.normal(size=(trials, steps, draw(st.integers(0, 3)))),
        targets,
        mask,
        read_out=draw(st.sampled_from(["before", "after"])),
        levels=(0, 1, 2) if classes else None,
        tolerance=None if classes else draw(st.floats(0.01, 1)),
        noise=draw(st.floats(0, 1)),
        **draw(times()),
    )


@st.composite
def delayed_activations(draw):
    clock = draw(times())
    return DelayedActivation(draw(st.integers(1, 20)) * clock["dt"], **clock)


def fixed_tasks():
    return st.one_of(delayed_activations(), memory_tasks().map(lambda pair: pair[0]), array_tasks())


def random_tasks():
    return st.one_of(flip_flops(), additions(), integrations())
