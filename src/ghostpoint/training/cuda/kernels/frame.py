"""What every kernel does around the mathematics of an epoch, as ``kernels/epoch.py`` and
``kernels/updates.py`` do.

A thread keeps of its network ``marks``, the events (first and last epoch above chance, first
solved, frozen, diverged; -1 for never), and ``seen``, the quantities of the last epoch before its
update (:data:`QUANTITIES`).
"""

from __future__ import annotations

from typing import Any

from ghostpoint.training.cuda.kernels.lanes import device
from ghostpoint.training.cuda.kernels.rules import clip_factor, direction, finite
from ghostpoint.training.cuda.kernels.specification import QUANTITIES, Specification
from ghostpoint.training.kernels.epoch import DIVERGED, EVENTS, FIRST_ABOVE, FROZEN, LAST_ABOVE, SOLVED
from ghostpoint.training.kernels.optimizers import ADAM, SGD

N_EVENTS = len(EVENTS)
LOSS, NORM, ACCURACY, CONFIDENCE, SCALE = range(len(QUANTITIES))


@device
def begin(events, now, w, marks, seen):
    """Take up what is known of network w."""
    for k in range(N_EVENTS):
        marks[k] = events[w, k]
    for k in range(len(seen)):
        seen[k] = now[w, k]


@device
def over(marks):
    """Whether the network is frozen or has diverged."""
    return marks[FROZEN] >= 0 or marks[DIVERGED] >= 0


@device
def write(history, w, at, seen):
    """Write the quantities to column ``at`` of the history."""
    for k in range(len(seen)):
        history[k, w, at] = seen[k]


@device
def note(marks, seen, epoch, chance, solved, bad, changed):
    """Note what happened at ``epoch``; without a changed bit every later epoch is this one
    again.
    """
    if seen[ACCURACY] > chance and finite(seen[LOSS]):
        if marks[FIRST_ABOVE] < 0:
            marks[FIRST_ABOVE] = epoch
        marks[LAST_ABOVE] = epoch
    if marks[SOLVED] < 0 and seen[LOSS] < solved:
        marks[SOLVED] = epoch
    if bad:
        marks[DIVERGED] = epoch
    elif not changed:
        marks[FROZEN] = epoch


@device
def end(history, events, now, w, recorded, records, marks, seen):
    """Hand back what is known of network w; what is left of the history repeats its last
    quantities.
    """
    for k in range(recorded, records):
        write(history, w, k, seen)
    for k in range(N_EVENTS):
        events[w, k] = marks[k]
    for k in range(len(seen)):
        now[w, k] = seen[k]


def limiter(spec: Specification) -> Any:
    """``f(seen, square, eta, largest)``: the factor of the gradient, and whether anything of the
    step is not finite.
    """
    clipping = clip_factor(spec.clips, spec.real)

    @device
    def limit(seen, square, eta, largest):
        factor = clipping(seen[NORM], largest)
        far = eta * factor * seen[NORM]
        return factor, not finite(seen[LOSS] + square + far * far)

    return limit


def stepper(spec: Specification) -> Any:
    """``f(eta, corrections, k)``: Adam's ``1 / sqrt(1 - beta_2**k)`` or 1, and what the direction
    is multiplied by.
    """
    adam, one = spec.rule == ADAM, spec.real(1)

    @device
    def step(eta, corrections, k):
        return (corrections[k, 1], -eta * corrections[k, 0]) if adam else (one, -eta)

    return step


def mover(spec: Specification) -> Any:
    """``f(value, g, changed, at, how)``: the updated value, and 1 where a bit changed, else
    ``changed``.

    g is the value's gradient, ``at`` its place in the flat state, ``how`` (first, second, w,
    moving, root, by) as in ``rules.direction``. Where remedies act, g is the direction already.
    """
    rule, one = direction(SGD if spec.acts else spec.rule, spec.real), spec.real(1)

    @device
    def move(value, g, changed, at, how):
        first, second, w, moving, root, by = how
        new = by * rule(g, first, second, w, at, moving, root) + value
        return new, (one if new != value else changed)

    return move
