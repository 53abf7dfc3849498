"""One network under :class:`ghostpoint.remedies.Guard`: evaluated and updated by its kernels, and
judged by ``guarded.py`` between their calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ghostpoint.models import Record
from ghostpoint.numerics.memory import aligned
from ghostpoint.remedies import Guard
from ghostpoint.remedies.rules import clip_factor
from ghostpoint.tasks import Task
from ghostpoint.training.compiled.single_network import Network, Trials
from ghostpoint.training.guarded import Guarded, rounding_of
from ghostpoint.training.kernels import tried
from ghostpoint.training.kernels.epoch import LOSS, NORM, SCALE
from ghostpoint.training.kernels.optimizers import RULES, SETTINGS
from ghostpoint.training.kernels.records import Rule, Weights
from ghostpoint.training.plan import Plan

#: what the answers are of the logits
OUTPUTS: dict[str, Any] = {"sigmoid": expit, "tanh": np.tanh, "identity": np.copy}
Floats = NDArray[np.float64]


class Seen(NamedTuple):
    """An evaluation of the network: what ``Recorder.now`` holds of it, its gradient, flat and zero
    at what is not trained, and its answers, ordered as ``records.Task.targets``.
    """

    now: NDArray[Any]
    gradient: Floats
    output: NDArray[Any]

    @property
    def loss(self) -> float:
        """L."""
        return float(self.now[LOSS, 0])


class GuardedNetwork(Network):
    """One network of the stack whose updates are tried before they stand."""

    def __init__(
        self,
        models: Record,
        place: int,
        task: Task,
        trials: Trials,
        plan: Plan,
        watched: tuple[Any, ...],
        guard: Guard,
    ):
        super().__init__(models, place, task, trials, plan, watched)
        weights, shape, asked, draws, rule, watch, recorder, work = self.arguments
        self.weights: Weights = weights
        self.rule, self.asked, self.work, self.clip_norm = rule, asked, work, plan.clip_norm
        kind, size = self.state.dtype, self.state.size
        # gradient descent at a rate of zero: an evaluation
        still = np.zeros(len(SETTINGS))
        still[SETTINGS.index("largest_norm")] = np.inf
        none = np.zeros(0, np.int64)
        aside = recorder._replace(
            record_epochs=none, snapshot_epochs=none, cursor=np.zeros(2, np.int64), events=recorder.events.copy(),
            now=recorder.now.copy(), logits=np.zeros(asked.targets.size, kind),
        )  # fmt: skip
        self.evaluation = weights, shape, asked, draws, Rule(RULES.index("sgd"), still), watch, aside, work
        self.outputs = OUTPUTS[models.activation]
        self.weighed = asked.weights.reshape(-1).astype(np.float64)
        self.trained = trained(self.parts_of, models.trainable, self.state)
        self.guarded = Guarded(guard, size, kind)
        self.given, self.direction = aligned(size, kind), aligned(size, kind)
        self.seen: Seen | None = None

    def train(self, start: int, stop: int) -> int:
        """Epochs ``start`` to ``stop - 1``, or fewer if the network diverges."""
        for epoch in range(start, stop):
            if self._epoch(epoch):
                return epoch + 1
        return stop

    def _epoch(self, epoch: int) -> bool:
        """One epoch; whether the network is finished."""
        with np.errstate(over="ignore", invalid="ignore"):
            before = self.seen = self.seen or self._evaluate()
            theta, kind = self.state.astype(np.float64), self.state.dtype
            now = self.recorder.now
            now[:] = before.now
            # what the update would be by the rate alone must be finite, as in every engine
            rate, norm = kind.type(self.rule.settings[0]), now[NORM, 0]
            finite = bool(np.isfinite(now[LOSS, 0] + norm**2 + rate * (rate * norm**2)))
            rest = self.guarded.learn(theta * self.trained, before.gradient, before.loss)
            self.given[:] = rest
            factor = 1.0 if self.clip_norm is None else float(clip_factor(float(norm), self.clip_norm))
            by = tried.propose(self.weights, self.rule, self.given, self.direction, factor, epoch)
            d = -by * self.direction.astype(np.float64)
            length = float(np.linalg.norm(d))
            finite = finite and np.isfinite(kind.type(length) ** 2)
            share = self._try(theta, d, before) if finite else 0.0
            made = share * float(np.linalg.norm(self.guarded.whole)) if share else 0.0
            now[SCALE, 0] = scale = made / length if length > 0 else made
            self.recorder.acted[0] += finite and scale != 1
            accepted = self.state.copy()
            self.state[:] = theta
            finished = tried.write_down(self.weights, self.recorder, self.asked, epoch, not finite)
            self.state[:] = accepted
        return bool(finished)

    def _try(self, theta: Floats, d: Floats, before: Seen) -> float:
        """Leave the state where an update is accepted, or where it was; the share of the first
        trial that is made.
        """
        guarded, kind = self.guarded, self.state.dtype
        rounded = float(rounding_of((self.weighed * before.output**2).sum(), kind))
        guarded.propose(d, float(np.finfo(kind).eps), rounded)
        while guarded.trying:
            self.state[:] = theta
            self.state += guarded.step.astype(kind)
            seen = self._evaluate()
            if guarded.judge(seen.loss, float((self.weighed * (seen.output - before.output) ** 2).sum())):
                self.seen = seen
                return guarded.share
        guarded.give_up()
        self.state[:] = theta
        # momenta that led to an update of which no part was accepted are worth nothing
        self.weights.first[:], self.weights.second[:] = 0, 0
        return 0.0

    def _evaluate(self) -> Seen:
        """At the present state."""
        aside = self.evaluation[6]
        aside.cursor[:] = 0
        self.kernel.train(*self.evaluation, 0, 1)
        gradient = self.work[: self.state.size] * self.trained
        return Seen(aside.now.copy(), gradient.astype(np.float64), self.outputs(aside.logits))


def trained(
    unpack: Callable[[NDArray[Any]], dict[str, NDArray[Any]]], names: Sequence[str], state: NDArray[Any]
) -> NDArray[Any]:
    """1 for every number of a flat state that is one of the parts ``names``, 0 for the others."""
    # the places of the numbers, in a type as wide as theirs, on which the layout depends
    places = unpack(np.arange(state.size, dtype=f"int{8 * state.itemsize}"))
    found = np.zeros_like(state)
    for name in names:
        found[places[name].reshape(-1)] = 1
    return found
