"""What a guarded network needs of the kernels beside their ``train``, which evaluates it: the
optimiser's update, not made yet, and the end of an epoch.

Arguments are the records of ``records.py``.
"""

from __future__ import annotations

from ghostpoint.numerics.compiled_code import compiled
from ghostpoint.numerics.simd import pointer
from ghostpoint.training.kernels.epoch import note, remember
from ghostpoint.training.kernels.optimizers import Vectors, direct, step_of


@compiled
def propose(weights, rule, gradient, direction, factor, epoch):
    """The optimiser's direction q of a gradient times ``factor``, and its moments; what q is
    multiplied by. ``gradient`` and ``direction`` are shaped like the state.
    """
    q = pointer(direction, 0)
    vectors = Vectors(
        pointer(weights.state, 0), pointer(gradient, 0), pointer(weights.first, 0), pointer(weights.second, 0), q, q
    )
    step = step_of(rule, factor, epoch)
    direct(rule.code, vectors, pointer(weights.segments, 0), weights.segments.shape[0], step)
    return step.by


@compiled
def write_down(weights, recorder, task, epoch, bad):
    """Write down what ``epoch`` saw, before the weights change; whether the network is finished."""
    snapshot = remember(recorder, epoch)
    if snapshot >= 0:
        recorder.snapshots[snapshot] = weights.state
    # an epoch that changes no weight changes what is tried next
    return note(recorder.events, recorder.now, 0, epoch, True, bad, task.chance_accuracy, task.solved_loss)
