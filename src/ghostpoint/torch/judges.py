"""The two rules at work: what each has seen of the training, and its judgement of one update."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ghostpoint.numerics.rises import SAFE, Lowest, is_tried, room, spread
from ghostpoint.numerics.stiff_directions import StiffParts
from ghostpoint.torch.forward_passes import ForwardPasses
from ghostpoint.torch.guard_rules import FixedBatch, FreshBatches
from ghostpoint.torch.parameters import Parameters, Replaced
from ghostpoint.torch.secants import Secants
from ghostpoint.torch.weight_decay import DecoupledDecay

__all__ = ["FixedJudge", "FreshJudge", "Judgement"]

#: rounding errors of a loss that are no rise of it: multiples of the precision of losses and
#: outputs; and how many times larger a loss may be that rounding of the outputs explains
ROUNDING, WIDEST = 4.0, 10.0
#: lengths of rounding below which an update moves next to nothing
NOTHING = 100.0
#: why a trial is refused whose loss or distance is no number
NOT_FINITE = "not finite"
#: the largest and the smallest factor after a refusal
SHRINK, LEAST = 0.7, 0.05
#: by what share a loss is above all that is accepted, if no update led to it
MOVED = 1e-3
#: slopes along updates count as at most so many times their root mean square, and the lowest pace
OUTLYING, SLOWEST = 3.0, 1e-3
#: share of the first loss that is the least unit of distances where losses are negative
BELOW_ZERO = 0.1
#: parameters are taken to be as long as this share of what is usual, at least
SMALL = 0.5
#: weight of the past in the mean loss of fresh batches
RECENT = 0.9


@dataclass(frozen=True)
class Judgement:
    """The end of the trials of one update d: its accepted factor, 0 for none, and what was refused
    before.

    ``own`` says that the parameters are where the optimizer put them, to the last bit; ``trial``
    and ``distance`` are L1 and D of the last trial, ``most`` and ``farthest`` what they might be.
    """

    factor: float
    own: bool
    refused: tuple[str, ...]
    trial: float
    distance: float
    most: float
    farthest: float


class FixedJudge:
    """:class:`~ghostpoint.torch.guard_rules.FixedBatch` with its factor, its share of a decay,
    its first loss and its secants.

    Between two updates ``gradient`` is the gradient of the last one, or None.
    """

    def __init__(self, rule: FixedBatch, parameters: Parameters):
        self.rule, self.parameters = rule, parameters
        size = sum(p.numel() for p in parameters.tensors)
        self.secants = Secants(parameters, *rule.memory(size))
        self.factor = self.share = 1.0
        self.first: float | None = None
        self.lowest: Lowest | None = None
        # whether all lengths down to rounding were refused, how many others were tried, and for how
        # many updates that has been so
        self.exhausted, self.lengths, self.resting = False, 0, 0
        # D of the last update, where its first trial was accepted, and what its loss might be
        self.distance: float | None = None
        self.most: float | None = None
        self.gradient: torch.Tensor | None = None
        # |r| / |g'|, the rate beside the stiff directions, when it was last seen
        self.rate: float | None = None
        # of the update in progress: stiff directions, and the length of the rest of the gradient
        self.stiff: StiffParts | None = None
        self.rest: torch.Tensor | None = None

    def learn(self, theta: torch.Tensor) -> torch.Tensor | None:
        """Make a secant of the last gradient and the present one; the memory of the last one, to be
        used again.
        """
        self.secants.weigh(self.parameters.rates())
        work, self.gradient = self.gradient, None
        if work is not None and len(work) == len(theta):
            for tensors, part in self.parameters.pieces():  # y = g - g_previous, in place
                work[part] = self.parameters.gradients_of(tensors) - work[part]
            self.secants.add(work, theta)
        return work

    def without_stiff_part(self, memory: torch.Tensor) -> bool:
        """Find the stiff directions, and put the gradient without its part along them into
        ``memory``; whether there are any.
        """
        self.stiff = None
        if not len(self.secants):
            return False
        stiff = self.secants.stiff()
        if not len(stiff.slope):
            return False
        coefficients = stiff.gradient
        for tensors, part in self.parameters.pieces():
            memory[part] = self.parameters.gradients_of(tensors) - self.secants.combined(coefficients, part)
        self.stiff, self.rest = stiff, memory.norm()
        if self.secants.weights is not None:
            self.rest = memory.new_tensor(self.secants.length(memory, 1))
        return True

    def keep_gradient(self, memory: torch.Tensor) -> None:
        """Remember the present gradient, in the memory of a vector that is no longer needed."""
        for tensors, part in self.parameters.pieces():
            memory[part] = self.parameters.gradients_of(tensors)
        self.gradient = memory

    def forget(self) -> None:
        """Another batch: its secants say nothing of this one."""
        self.secants.clear()
        self.gradient = self.lowest = self.distance = self.most = None
        self.exhausted, self.resting, self.factor = False, 0, min(self.factor, 1.0)

    def judge(
        self,
        passes: ForwardPasses,
        theta: torch.Tensor,
        d: torch.Tensor,
        loss: float,
        *,
        keep: bool,
        decay: DecoupledDecay | None = None,
    ) -> Judgement:
        """Try ``theta + factor d``, with another step along stiff directions, until it is accepted.

        Let r be the part of d beside the stiff directions, and g' the gradient without its part
        along them, of which the optimizer has made d. Then ``factor |r| / |g'|`` is the rate at
        which r goes down, and the update goes down a stiff direction at that rate too, or by
        Newton's step.

        ``decay`` is a decoupled decay of the weights, which is then not in d. A share of it is
        added, at most all of it: a larger factor of d makes no larger decay.
        """
        rule, stiff = self.rule, self.stiff
        rest = d.new_zeros(()) if stiff is None or self.rest is None else self.rest.to(d)
        d_d, theta_theta, by_rest = torch.stack([d.dot(d), theta.dot(theta), rest]).tolist()
        along = np.zeros(0) if stiff is None else self.secants.along(stiff, d)
        first = self.first = loss if self.first is None else self.first
        lowest = self.lowest or Lowest(loss)
        allowed = rule.most(lowest.loss, first, rule.is_stuck(lowest.loss, first, lowest.waited))
        allowed = allowed if self.most is None else max(allowed, self.most)
        if loss > allowed + MOVED * abs(allowed):
            # no update has been here: somebody else has moved the parameters
            lowest, self.exhausted = Lowest(loss), False
        self.lowest = lowest
        lowest.see(loss, rule.gain)
        best = lowest.loss
        # |r|, and how far r may go
        length = d_d**0.5
        if self.secants.weights is not None:
            d_d = self.secants.length(d, -1) ** 2
        beside = max(d_d - float(along @ along), 0.0) ** 0.5
        size = theta_theta**0.5
        self.resting = self.resting + 1 if self.exhausted else 0
        if self.exhausted and not is_tried(self.resting):
            passes.forget_kept()
            return Judgement(0.0, False, (), loss, 0.0, loss, 0.0)
        stuck = rule.is_stuck(best, first, lowest.waited)
        cap = rule.farthest(stuck)
        # r itself, where rates differ, is at most as long as d
        own = beside if self.secants.weights is None else min(beside, length)
        if self.exhausted and own > 0 and size > 0:  # the factor is that of a length that was refused
            factor = min(rule.growth, min(cap, 1.0) * size / own)
        else:
            factor = min(self.factor, cap * size / own) if own > 0 and size > 0 else self.factor
        whole = self.share * factor / self.factor if self.exhausted and self.factor > 0 else self.share
        decays = min(1.0, whole)
        most = rule.most(best, first, stuck) + ROUNDING * passes.precision() * abs(loss)

        # a trial that is refused shrinks as a whole: where the limits along stiff directions are
        # too wide, a smaller factor alone would not
        begun = factor
        if decay is not None and stiff is not None:
            # down a stiff direction the update goes as it would without decay
            decayed = self.secants.along_of(stiff, lambda tensors, part: decay.of(tensors, theta[part]))
            along = along + decays / begun * decayed
        if beside > self.parameters.rounding * size and by_rest > 0:
            self.rate = beside / by_rest
        # where the parameters' rounding has swallowed r, the rate is the last that was seen
        rate = float("inf") if by_rest == 0 or self.rate is None else begun * self.rate
        limited = np.zeros(0) if stiff is None else stiff.correction(begun, along, rate)

        def move(factor: float, untouched: bool) -> bool:
            part = factor / begun
            share = part * decays if decay is not None else 1.0
            return _move(self.parameters, theta, d, factor, untouched, part * limited, self.secants, decay, share)

        farthest = _farthest(rule.kappa, loss, first, 0.0)
        shift = 0.0 if stiff is None else max(float(limited @ self.secants.gram @ limited), 0.0) ** 0.5
        least = begun * self.parameters.least(size, begun * length + shift)
        tries: int | None = rule.tries
        if self.exhausted:
            # one trial an update then, of lengths that fill all between rounding and the limit
            # evenly: where all small ones are refused, a longer one need not be
            self.lengths, tries = self.lengths + 1, None
            factor = begun * (least / begun) ** (1 - spread(self.lengths)) if 0 < least < begun else begun
        found, last = _tried(passes, move, factor, farthest, most, tries, least, keep=keep)
        self._follow(found, begun, last, least, None if decay is None else decays)
        return found

    def _follow(self, found: Judgement, begun: float, last: float, least: float, decays: float | None) -> None:
        """Choose the factor and the share of the decay of the next update, after one that began
        with the factor ``begun`` and the share ``decays``, and whose last factor was ``last``.
        """
        rule = self.rule
        before, self.distance, self.most = self.distance, None, None
        if not found.factor and self.exhausted:
            return  # what was learned before is better than a length that was refused
        if found.factor:
            self.exhausted = self.exhausted and found.factor < NOTHING * least
            self.most, self.distance = found.most, None if found.refused else found.distance
            # not so far that D would be too large the next time
            expected = room(found.farthest, found.distance, None if found.refused else before)
            raised = min(rule.raised, max(expected, SHRINK))
            # a trial is refused for where the parameters are, too: one update tells little of the
            # factor
            last = max(raised * last, rule.held * begun if found.refused else 0.0)
        else:  # where no loss is finite, no other length is any good
            self.exhausted = 0 < last <= least and set(found.refused) != {NOT_FINITE}
        self.factor = min(rule.growth, last)
        if decays is not None:  # it comes down and goes up with the rest, but never above its own rate
            self.share = min(1.0, decays * self.factor / begun)

    def state_dict(self) -> dict[str, Any]:
        """All that was learned."""
        own = ("factor", "share", "first", "rate", "exhausted", "lengths", "resting", "distance", "most", "gradient")
        return {name: getattr(self, name) for name in own} | {
            "lowest": None if self.lowest is None else asdict(self.lowest),
            "secants": self.secants.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.factor, self.first = state["factor"], state["first"]
        self.lowest = None if state.get("lowest") is None else Lowest(**state["lowest"])
        gradient = state["gradient"]
        self.share, self.rate = state.get("share", 1.0), state.get("rate")
        self.exhausted, self.lengths = state.get("exhausted", False), state.get("lengths", 0)
        self.resting = state.get("resting", 0)
        self.distance, self.most = state.get("distance"), state.get("most")
        self.gradient = None if gradient is None else gradient.to(self.parameters.device).clone()
        self.secants.load_state_dict(state["secants"])


class FreshJudge:
    """:class:`~ghostpoint.torch.guard_rules.FreshBatches` with its factor, its pace, its steepness
    e, the norms of the last gradients, and the mean and the noise of the loss.
    """

    def __init__(self, rule: FreshBatches, parameters: Parameters):
        self.rule, self.parameters = rule, parameters
        self.seen = {
            "factor": 1.0,
            "pace": 1.0,
            "log level": 0.0,
            "levels": 0.0,
            "fits": 1.0,
            "fitted": 1.0,
            "slope": 0.0,
            "slopes": 0.0,
            "shares": 0.0,
            "mean": 0.0,
            "noise": 0.0,
            "weight": 0.0,
            "updates": 0.0,
        }
        self.first: float | None = None
        self.previous: float | None = None
        self.steep: float | None = None
        self.norms: list[float] = []
        # of the update in progress: the norm of its gradient, or the usual one where that is less;
        # whether it was shortened
        self.norm, self.shortened = 0.0, False

    def observe(self, loss: float) -> None:
        """Learn from the loss of a batch how far losses of different batches are apart."""
        seen, average = self.seen, self.rule.average
        if self.previous is not None:
            seen["noise"] = average * seen["noise"] + (1 - average) * (loss - self.previous) ** 2 / 2
            seen["weight"] = average * seen["weight"] + (1 - average)
        seen["mean"] = loss if self.previous is None else RECENT * seen["mean"] + (1 - RECENT) * loss
        self.previous = loss
        self.first = loss if self.first is None else self.first
        seen["updates"] += 1
        if 0 < loss < float("inf"):
            seen["levels"] += 1
            seen["log level"] += (math.log(loss) - seen["log level"]) / seen["levels"]

    def shorten(self, norm: float) -> Replaced | None:
        """Learn from the norm of the present gradient, and shorten it if it is unusually long; what
        it was, or None where it stays.

        A batch without a gradient tells nothing of what is usual.
        """
        rule = self.rule
        self.norm = min(norm, rule.clip * median(self.norms)) if self.norms else norm
        if norm > 0:
            self.norms = [*self.norms, norm][-rule.norms :]
        longest = rule.clip * median(self.norms) if self.norms else norm
        self.shortened = norm > longest
        return self.parameters.scale_gradients(longest / norm) if self.shortened else None

    def follow(self, theta: torch.Tensor, unit: float = 1.0) -> None:
        """Learn from the gradient of the present batch whether the last update, from ``theta`` to
        the present parameters, was too long. Gradients are that of the loss times ``unit``.
        """
        rule, seen, own = self.rule, self.seen, self.parameters
        sums = []
        for tensors, part in own.pieces():
            u, g = own.values_of(tensors) - theta[part], own.gradients_of(tensors)
            sums.append(torch.stack([g.dot(u), g.dot(g), u.dot(u)]).to(own.wide))
        g_u, g_g, u_u = torch.stack(sums).sum(0).tolist()
        if not 0 < g_g * u_u < float("inf"):
            return
        cosine, mean = g_u / (g_g * u_u) ** 0.5, seen["mean"]
        seen["slope"] = rule.average * seen["slope"] + (1 - rule.average) * cosine**2
        seen["slopes"] = rule.average * seen["slopes"] + 1 - rule.average
        if mean > 0:
            seen["shares"] = rule.average * seen["shares"] + (1 - rule.average) * (g_u / unit / mean) ** 2
        if seen["updates"] > rule.warm and seen["slope"] > 0:
            share = (seen["shares"] / seen["slopes"]) ** 0.5
            counts = min(1.0, share / rule.share) if mean > 0 and rule.share > 0 else 1.0
            self._learn_pace(counts * cosine / (seen["slope"] / seen["slopes"]) ** 0.5)

    def judge(self, passes: ForwardPasses, theta: torch.Tensor, d: torch.Tensor, loss: float) -> Judgement:
        """Try ``theta + factor d`` until it is accepted."""
        rule, seen = self.rule, self.seen
        length, size = torch.stack([d.dot(d), theta.dot(theta)]).sqrt().tolist()
        # parameters that begin near zero have no length to be relative to
        size = max(size, SMALL * self.parameters.usual_norm())
        cap, mean = rule.cap, seen["mean"]
        if mean > 0:
            steep = self.norm * size / mean
            self.steep = steep if self.steep is None else rule.average * self.steep + (1 - rule.average) * steep
        if cap < float("inf") and self.steep is not None and rule.flat > 0:
            cap *= (self.steep / (self.steep + rule.flat)) ** 0.5
        if mean > 0 and seen["levels"] > 0:
            cap *= min(1.0, mean / math.exp(seen["log level"])) ** 0.5
        capped = min(1.0, cap * size / length) if size > 0 and 0 < length < float("inf") else 1.0
        seen["fits"] = rule.average * seen["fits"] + (1 - rule.average) * capped
        seen["fitted"] = min(seen["fitted"], seen["fits"])
        factor = min(seen["factor"], seen["pace"] * capped)
        deviation = (seen["noise"] / seen["weight"]) ** 0.5 if seen["weight"] > 0 else 0.0
        most = loss + rule.noise * deviation if seen["updates"] > rule.warm else float("inf")
        most += ROUNDING * passes.precision() * abs(loss)
        farthest = _farthest(rule.kappa, loss, self.first or 0.0, rule.floor)

        def move(factor: float, untouched: bool) -> bool:
            own = _move(self.parameters, theta, d, factor, untouched, np.zeros(0), None)
            return own and not self.shortened

        least = self.parameters.least(size, length)
        found, last = _tried(passes, move, factor, farthest, most, rule.tries, least, keep=False)
        seen["factor"] = min(1.0, rule.raised * last) if found.factor else last
        if found.refused:  # too long by far
            self._learn_pace(OUTLYING)
        return found

    def _learn_pace(self, slope: float) -> None:
        """Slow down where a slope is above the one aimed at, quicken where it is below."""
        seen, rule = self.seen, self.rule
        change = -rule.slowing * (min(max(slope, -OUTLYING), OUTLYING) - rule.overshoot)
        # without a cap nothing tells how far the rate is too high
        least = rule.slowest * seen["fitted"] if rule.cap < float("inf") else 0.0
        seen["pace"] = min(1.0, max(SLOWEST, least, seen["pace"] * math.exp(min(change, 1.0))))

    def state_dict(self) -> dict[str, Any]:
        """All that was learned."""
        return {**self.seen, "first": self.first, "previous": self.previous,
                "steep": self.steep, "norms": list(self.norms)}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.seen = {name: state.get(name, value) for name, value in self.seen.items()}
        self.first, self.previous = state["first"], state["previous"]
        self.steep, self.norms = state.get("steep"), list(state.get("norms", []))


def _farthest(kappa: float, loss: float, first: float, floor: float) -> float:
    """How far outputs may move, as a value of D: kappa**2 times the loss, or times the share
    ``floor`` of the first one where that is more.

    A loss below zero is no measure of what is left to learn. Its absolute value, and a part of the
    first one, are at least of the size of losses.
    """
    if loss < 0:
        loss, first, floor = -loss, abs(first), max(floor, BELOW_ZERO)
    return kappa**2 * max(loss, floor * first)


def _tried(
    passes: ForwardPasses,
    move: Callable[[float, bool], bool],
    factor: float,
    farthest: float,
    most: float,
    tries: int | None,
    least: float,
    *,
    keep: bool,
) -> tuple[Judgement, float]:
    """Trials with a factor that shrinks until one is accepted, but not below ``least``, which moves
    nothing; the judgement, and the last factor.

    A distance that rounding of the outputs explains is none, and where the loss is no larger than
    that, it may rise by it.

    Where no trial is finite, a smaller factor is no remedy, and it is left as it was. None for
    ``tries`` is one trial, of a factor that is one of many.

    A trial that moves the outputs by more than ``farthest`` is followed by 0.9 of the factor at
    which D, quadratic in it, would just do, within 0.05 and 0.7; one that raises the loss above
    ``most`` by at most half.
    """
    refused: list[str] = []
    begun, trial, distance, rounded = factor, float("nan"), float("nan"), None
    for _ in range(tries or 1):
        own = move(factor, not refused)
        trial, distance = passes.repeat(keep=keep)
        if rounded is None and (distance > farthest or trial > most):
            rounded = passes.rounded()
            farthest = max(farthest, rounded)
            if 0 <= most <= rounded:
                most = min((most**0.5 + 0.5 * rounded**0.5) ** 2, WIDEST * most)
        if not (abs(trial) < float("inf") and abs(distance) < float("inf")):
            why, shrink = NOT_FINITE, LEAST
        elif distance > farthest:
            shrink = min(max(SAFE * (farthest / distance) ** 0.5, LEAST), SHRINK)
            why, shrink = "outputs", min(shrink, 0.5) if trial > most else shrink
        elif trial > most:
            why, shrink = "loss", 0.5
        else:
            return Judgement(factor, own, tuple(refused), trial, distance, most, farthest), factor
        refused.append(why)
        factor = max(factor * shrink, min(factor, least))
    passes.forget_kept()
    if tries is not None and set(refused) == {NOT_FINITE}:
        passes.warn(
            NOT_FINITE,
            "no trial of an update is finite, down to one that moves next to nothing: the parameters stay; look at the "
            f"loss ({trial:g}) and at the distance of the outputs ({distance:g}) at the same parameters",
        )
        factor = begun
    return Judgement(0.0, False, tuple(refused), trial, distance, most, farthest), factor


def _move(
    parameters: Parameters,
    theta: torch.Tensor,
    d: torch.Tensor,
    factor: float,
    untouched: bool,
    coefficients: NDArray[np.float64],
    secants: Secants | None,
    decay: DecoupledDecay | None = None,
    share: float = 1.0,
) -> bool:
    """Put the parameters at ``theta + factor d + sum_j a_j y_j + share w``, w a decay apart from d;
    whether that is where the optimizer put them.

    ``untouched`` says that they are still there.
    """
    limited = secants is not None and bool(coefficients.any())
    if untouched and factor == 1.0 and not limited and share == 1.0:
        return True
    for tensors, part in parameters.pieces():
        moved = torch.add(theta[part], d[part], alpha=factor)
        if limited and secants is not None:
            moved += secants.weighed(secants.combined(coefficients, part), tensors, part)
        if decay is not None:
            moved += share * decay.of(tensors, theta[part])
        parameters.set_some(tensors, moved)
    return False
