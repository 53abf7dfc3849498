"""Which slow point of one epoch is which of the next: by the curves that join them between the two.

Every point is followed from its epoch to the neighbouring one while the weights are interpolated.
The curve of a fixed point ends at a point of the other epoch, which then is the same one, or turns
back at a fold and ends at the point's partner. From the fold the ghost of the pair is followed to
the other side. A curve that ends where the search had found nothing adds a point there; so what the
search lost is found again, and told from what has ceased to exist.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.numerics.arrays import Floats
from ghostpoint.slow_points.fields import StateField, TanhField
from ghostpoint.slow_points.ghosts import GhostSolution, is_minimum, solve_ghost
from ghostpoint.slow_points.tracking.continuation import Curve, follow
from ghostpoint.slow_points.tracking.folds import Fold, measure_fold
from ghostpoint.slow_points.tracking.segments import FoldCurve, Segment, ZeroCurve, rate

SAME = 1e-6  # a curve that ends this near a point, times 1 + |kappa|, ends at it


@dataclass(eq=False)
class Node:
    """A slow point of one epoch; ``ghost`` is None for a fixed point. Its neighbours are points, or
    changes.
    """

    kappa: Floats
    ghost: GhostSolution | None
    certificate: str
    source: str  # "search" or "continuation"
    before: Any = None  # a Node, or the Change it began with
    after: Any = None

    def side(self, forward: bool) -> Any:
        """The neighbour after or before."""
        return self.after if forward else self.before

    def join(self, forward: bool, other: Any) -> None:
        """Set it."""
        if forward:
            self.after = other
        else:
            self.before = other


@dataclass(eq=False)
class Change:
    """What happened between epochs i and i + 1 at t: see `tracks.EVENTS`. ``fold`` where there is
    one.
    """

    interval: int
    t: float
    kind: str
    kappa: Floats
    zeros: list[Node | None] = field(default_factory=list)
    ghosts: list[Node] = field(default_factory=list)
    fold: Fold | None = None
    evidence: str = ""


class Linker:
    """Points of all epochs and the changes between them; `run` links them.

    ``complete`` (E, 2) says where the search is proven to have found every fixed point, and every
    ghost. ``certify`` is called with an epoch's index, kappa and the ghost solution or None, for
    points that are added.
    """

    def __init__(
        self,
        fields: list[TanhField | StateField],
        nodes: list[list[Node]],
        complete: NDArray[np.bool_],
        certify: Any,
    ):
        self.fields, self.nodes, self.complete, self.certify = fields, nodes, complete, certify
        self.changes: list[Change] = []

    def run(self) -> None:
        """Follow every point in both directions until nothing is open."""
        waiting = list(range(len(self.fields) - 1))[::-1]
        while waiting:
            i = waiting.pop()
            sizes = [len(self.nodes[i]), len(self.nodes[i + 1])]
            self._interval(i)
            # points that were added face the neighbouring intervals too
            if len(self.nodes[i]) > sizes[0] and i > 0 and i - 1 not in waiting:
                waiting.append(i - 1)
            if len(self.nodes[i + 1]) > sizes[1] and i + 2 < len(self.fields) and i + 1 not in waiting:
                waiting.append(i + 1)

    def _interval(self, i: int) -> None:
        segment = Segment(self.fields[i], self.fields[i + 1])
        self._at_once(i, segment)
        for is_ghost in (False, True):
            for forward in (True, False):
                nodes = self.nodes[i if forward else i + 1]
                place = 0
                while place < len(nodes):  # grows while points are added
                    node = nodes[place]
                    place += 1
                    if (node.ghost is not None) == is_ghost and node.side(forward) is None:
                        (self._ghost if is_ghost else self._zero)(i, segment, node, forward)

    # the short way, for most intervals: one step, accepted only where nothing else is near

    def _at_once(self, i: int, segment: Segment) -> None:
        """Link points that a single prediction by the tangent identifies beyond doubt, all of an
        epoch or none.
        """
        first = [n for n in self.nodes[i] if n.after is None]
        last = [n for n in self.nodes[i + 1] if n.before is None]
        if len(first) != len(last):
            return
        for is_ghost in (False, True):
            here, there = ([n for n in nodes if (n.ghost is not None) == is_ghost] for nodes in (first, last))
            if len(here) != len(there) or not here:
                continue
            pairs = [self._predicted(segment, node, there, here) for node in here]
            if None not in pairs and len({id(n) for n in pairs}) == len(here):
                for node, other in zip(here, pairs, strict=True):
                    assert other is not None
                    node.after, other.before = other, node

    def _predicted(self, segment: Segment, node: Node, there: list[Node], here: list[Node]) -> Node | None:
        problem = ZeroCurve(segment) if node.ghost is None else FoldCurve(segment)
        X = unknowns(node)
        try:
            # dX/dt = -G_X^-1 G_t, for the whole interval
            motion = np.linalg.solve(problem.derivative(X, 0.0), -rate(problem, X, 0.0))
        except np.linalg.LinAlgError:
            return None
        size = len(node.kappa)
        goal = (X + motion)[:size]
        distances = np.array([np.linalg.norm(other.kappa - goal) for other in there])
        best = int(distances.argmin())
        others = [np.linalg.norm(n.kappa - node.kappa) for n in here if n is not node]
        others += [np.linalg.norm(n.kappa - there[best].kappa) for k, n in enumerate(there) if k != best]
        room = min([float(o) for o in others] + [0.3 * (1 + float(np.linalg.norm(node.kappa)))])
        # the miss is of second order in the step, so a small one says that the step was short for
        # this curve
        if distances[best] > 0.1 * room or np.linalg.norm(motion[:size]) > 0.3 * room:
            return None
        if node.ghost is not None and there[best].ghost is not None:
            if node.ghost.speed + motion[-1] <= 0.3 * node.ghost.speed:
                return None
        # one fixed point keeps the sign of det J: a change of it means a fold in between
        elif (
            np.linalg.slogdet(self._jacobian(segment, node, 0.0))[0]
            != np.linalg.slogdet(self._jacobian(segment, there[best], 1.0))[0]
        ):
            return None
        return there[best]

    @staticmethod
    def _jacobian(segment: Segment, node: Node, t: float) -> Floats:
        return np.asarray(segment.at(t).jacobian(node.kappa[None])[0])

    # the curves

    def _zero(self, i: int, segment: Segment, node: Node, forward: bool) -> None:
        """Follow a fixed point to the other epoch or back to its own."""
        hint = np.append(np.zeros_like(node.kappa), 1.0 if forward else -1.0)
        curve = follow(ZeroCurve(segment), node.kappa, 0.0 if forward else 1.0, hint)
        other = self._arrival(i, segment, curve, node)
        if not curve.turns and other is not None:
            node.join(forward, other)
            other.join(not forward, node)
            return
        self._turns(i, segment, curve, node, forward, other)

    def _turns(
        self, i: int, segment: Segment, curve: Curve, node: Node | None, forward: bool, other: Node | None
    ) -> None:
        """One change per turn; the pieces between two turns exist at no recorded epoch."""
        count = len(curve.turns)
        for k, turn in enumerate(curve.turns):
            fold = measure_fold(segment, turn.X, turn.t)
            born = not turn.is_maximum
            kind = ("pair born" if born else "pair died") if fold.is_saddle_node else "other"
            ends = [node if k == 0 else None, other if k == count - 1 else None]
            change = self._known(i, fold.t, fold.kappa)
            if change is None:
                change = Change(i, turn.t, kind, turn.X, ends, [], fold, "" if fold.is_saddle_node else _why(fold))
                self.changes.append(change)
                self._ghost_of(i, segment, change, forward=not born)
            for end in ends:
                if end is not None:
                    end.join(not born, change)
        if not count and node is not None:
            self._lost(i, node, forward, curve.reason or "the curve ends at no point of the search")

    def _ghost_of(self, i: int, segment: Segment, change: Change, forward: bool) -> None:
        """Follow the ghost of a fold away from the pair."""
        fold = change.fold
        if fold is None or not fold.is_saddle_node:
            return
        # at the fold the ghost has speed 0; its curve goes on from there
        X = np.concatenate([fold.kappa, fold.omega, [0.0]])
        hint = np.append(np.zeros_like(X), 1.0 if forward else -1.0)
        curve = follow(FoldCurve(segment), X, fold.t, hint, stop=lambda X: float(X[-1]))
        if curve.turns:
            return  # the ghost is gone before the recorded epoch
        if curve.end == "left":
            other = self._arrival(i, segment, curve, None)
            if other is not None and other.side(not forward) is None:
                other.join(not forward, change)
                change.ghosts.append(other)

    def _ghost(self, i: int, segment: Segment, node: Node, forward: bool) -> None:
        """Follow a ghost to the other epoch, to the fold of its pair, or to where its minimum of
        the speed ends.
        """
        X = unknowns(node)
        hint = np.append(np.zeros_like(X), 1.0 if forward else -1.0)
        curve = follow(FoldCurve(segment), X, 0.0 if forward else 1.0, hint, stop=lambda X: float(X[-1]))
        if curve.turns:
            turn = curve.turns[0]
            kind = "ghost vanished" if forward else "ghost appeared"
            speed = abs(float(turn.X[-1]))
            text = (
                f"the minimum of the speed ends with a saddle of the speed at |F| = {speed:.3g}; no fixed point is part"
            )
            change = Change(i, turn.t, kind, turn.X[: len(node.kappa)], [], [node], None, text)
        elif curve.end == "stopped":
            kappa = curve.X[: len(node.kappa)]
            known = self._known(i, curve.t, kappa)
            change = known if known is not None else self._pair_of(i, segment, kappa, curve.t, forward)
            change.ghosts.append(node)
        else:
            other = self._arrival(i, segment, curve, node) if curve.end == "left" else None
            if other is None:
                self._lost(i, node, forward, curve.reason or "the curve ends at no ghost of the search")
                return
            node.join(forward, other)
            other.join(not forward, node)
            return
        node.join(forward, change)
        if not any(change is c for c in self.changes):
            self.changes.append(change)

    def _pair_of(self, i: int, segment: Segment, kappa: Floats, t: float, forward: bool) -> Change:
        """The fold that a ghost runs into, with the two fixed points followed from it."""
        fold = measure_fold(segment, kappa, t)
        kind = ("pair born" if forward else "pair died") if fold.is_saddle_node else "other"
        change = Change(i, t, kind, kappa, [], [], fold, "" if fold.is_saddle_node else _why(fold))
        self.changes.append(change)
        # the pair leaves the fold along +- nu, the null vector of J
        for sign in (1.0, -1.0):
            curve = follow(ZeroCurve(segment), kappa, t, np.append(sign * fold.nu, 0.0))
            ended = curve.end == "left" and (curve.t > 0.5) == forward and not curve.turns
            other = self._arrival(i, segment, curve, None) if ended else None
            if other is not None and other.side(not forward) is None:
                other.join(not forward, change)
                change.zeros.append(other)
            else:
                change.zeros.append(None)
        return change

    def _arrival(self, i: int, segment: Segment, curve: Curve, origin: Node | None) -> Node | None:
        """The point that a curve ends at, added where the search had none; None where that cannot
        be.
        """
        if curve.end != "left":
            return None
        at = i + 1 if curve.t > 0.5 else i
        forward = at == i  # the side of the node that faces the interval
        is_ghost = len(curve.X) != segment.first.size
        size = segment.first.size
        kappa = curve.X[:size]
        near = [
            (float(np.linalg.norm(n.kappa - kappa)), k)
            for k, n in enumerate(self.nodes[at])
            if (n.ghost is not None) == is_ghost and n.side(forward) is None and n is not origin
        ]
        tolerance = SAME * (1 + float(np.linalg.norm(kappa)))
        if near and min(near)[0] <= tolerance:
            return self.nodes[at][min(near)[1]]
        # a complete search is not contradicted: the curve ends at no point
        if self.complete[at, int(is_ghost)]:
            return None
        ghost = None
        if is_ghost:
            ghost = solve_ghost(segment.at(curve.t), segment.metric(curve.t), kappa, curve.X[size:-1])
            if not ghost.settled or not is_minimum(segment.at(curve.t), segment.metric(curve.t), ghost):
                return None
            kappa = ghost.kappa
        node = Node(kappa, ghost, self.certify(at, kappa, ghost), "continuation")
        self.nodes[at].append(node)
        return node

    def _known(self, i: int, t: float, kappa: Floats) -> Change | None:
        for change in self.changes:
            here = change.interval == i and change.fold is not None and abs(change.t - t) < 1e-6
            if here and np.linalg.norm(change.kappa - kappa) < 1e-3 * (1 + np.linalg.norm(kappa)):
                return change
        return None

    def _lost(self, i: int, node: Node, forward: bool, reason: str) -> None:
        """A curve that could not be followed. Where the search is complete, the point has ceased or
        begun for sure.
        """
        at = i + 1 if forward else i
        proven = bool(self.complete[at, int(node.ghost is not None)])
        kind = "other" if proven else "lost"
        text = ("the complete search finds no such point; " if proven else "") + reason
        is_ghost = node.ghost is not None
        change = Change(i, 0.5, kind, node.kappa, [] if is_ghost else [node], [node] if is_ghost else [], None, text)
        node.join(forward, change)
        self.changes.append(change)


def unknowns(node: Node) -> Floats:
    """kappa of a fixed point, (kappa, omega, s) of a ghost."""
    if node.ghost is None:
        return node.kappa
    return np.concatenate([node.kappa, node.ghost.omega, [node.ghost.speed]])


def _why(fold: Fold) -> str:
    return (
        f"a curve of fixed points turns back, but not in a fold: r = {fold.r_before:.3g} before and {fold.r_after:.3g} "
        f"after, a = {fold.a:.3g}, dr/dt = {fold.rate:.3g} (both vanish at a pitchfork)"
    )
