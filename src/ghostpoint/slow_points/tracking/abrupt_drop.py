"""The question of abrupt learning, answered from tracks: a ghost or a bifurcation, and when,
against the loss.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ghostpoint import checks
from ghostpoint.errors import InputError

if TYPE_CHECKING:
    from ghostpoint.slow_points.tracking.tracks import Tracks


#: the drop is the stretch in which the loss goes from the first to the second of these, in units of
#: chance
DROP_FROM, DROP_TO = 0.9, 0.1


@dataclass(frozen=True)
class Answer:
    """What happened to the slow points when the loss dropped; -1 or NaN for never.

    Attributes
    ----------
    drop : (int, int)
        The epoch since which the loss had been below 0.9 of chance, and the first one below 0.1.
        Where the loss never comes below 0.1, the first epoch below 0.9, and -1.
    window : (int, int)
        The recorded epochs around the drop.
    ghost : int
        The branch of the ghost with the longest passage, among those present at the first recorded
        epoch after the drop, or else at the first epoch that has any.
    ghost_epoch : float
        Where the interpolated weights make that ghost appear.
    ghost_bracket : (int, int)
        The recorded epochs between which it appeared.
    ghost_from : str
        How: "ghost appeared" (without a bifurcation), "pair died" (two fixed points turned into
        it), "start" (it is there at the first recorded epoch), "lost", "other".
    bifurcations : tuple of float
        Epochs of the events of fixed points within ``window``.
    fixed_points : (int, int)
        Least and largest number of fixed points there.
    proven : bool
        Whether all searches for fixed points there are complete.
    unresolved : int
        Events there of the kind "lost", of which nothing is known.
    text : str
        All of this as sentences.
    """

    drop: tuple[int, int]
    window: tuple[int, int]
    ghost: int
    ghost_epoch: float
    ghost_bracket: tuple[int, int]
    ghost_from: str
    bifurcations: tuple[float, ...]
    fixed_points: tuple[int, int]
    proven: bool
    unresolved: int
    text: str

    def to_dict(self) -> dict[str, Any]:
        """The numbers and the sentence, JSON-serialisable."""
        return asdict(self)

    def __str__(self) -> str:
        return self.text


def abrupt_drop(loss: ArrayLike, epochs: ArrayLike | None, tracks: Tracks) -> Answer:
    """When the ghost appeared, when the loss dropped, and whether fixed points bifurcated in
    between.

    Parameters
    ----------
    loss : (L,)
        In units of the loss at chance.
    epochs : (L,)
        Ascending; the epochs of the tracks by default.
    tracks : Tracks

    Raises
    ------
    ValueError
        If the arrays do not fit, or the epochs do not ascend.

    Examples
    --------
    >>> import ghostpoint as gp
    >>> models = gp.LowRankRNN(m=[[2.0]] * 3, n=[[1.5]] * 3, b=[[0.6], [1.2], [1.4]])
    >>> answer = gp.abrupt_drop([1.0, 0.95, 0.05], None, gp.track_slow_points(models))
    >>> answer.ghost_from, answer.drop
    ('pair died', (2, 2))
    """
    at = tracks.epochs if epochs is None else checks.finite_array("epochs", epochs, np.int64)
    curve = checks.shape("loss", checks.finite_array("loss", loss), (len(at),))
    if (np.diff(at) <= 0).any():
        raise InputError(f"epochs must ascend, got {at.tolist()[:20]}")
    begin, end = _drop(curve, at)
    dropped = end >= 0
    recorded = tracks.epochs
    low = int(recorded[recorded <= begin][-1]) if dropped and (recorded <= begin).any() else int(recorded[0])
    high = int(recorded[recorded >= end][0]) if dropped and (recorded >= end).any() else int(recorded[-1])
    ghost, epoch, bracket, origin = _ghost(tracks, high if dropped else int(recorded[0]))
    within = [e for e in tracks.events if e.bracket[1] > low and e.bracket[0] < high]
    bifurcations = tuple(e.epoch for e in within if e.kind.startswith("pair") or (e.kind == "other" and e.zeros))
    unresolved = sum(e.kind == "lost" for e in within)
    inside = (recorded >= low) & (recorded <= high)
    counts = tracks.count("fixed")[inside]
    proven = bool(tracks.complete_zeros[inside].all())
    numbers = (int(counts.min()), int(counts.max()))
    parts = [_of_loss(begin, end), _of_ghost(epoch, bracket, origin, begin, end, ghost, recorded)]
    parts.append(_of_zeros((low, high), bifurcations, numbers, int(inside.sum()), proven, unresolved, dropped))
    window = (low, high)
    return Answer(
        (begin, end), window, ghost, epoch, bracket, origin, bifurcations, numbers, proven, unresolved, " ".join(parts)
    )


def _drop(curve: Any, at: Any) -> tuple[int, int]:
    low = np.flatnonzero(curve < DROP_TO)
    if not len(low):
        below = np.flatnonzero(curve < DROP_FROM)
        return (int(at[below[0]]) if len(below) else -1), -1
    # of a loss that starts high, dips and comes back, the last descent
    high = np.flatnonzero(curve[: low[0]] >= DROP_FROM)
    return int(at[high[-1] + 1] if len(high) else at[0]), int(at[low[0]])


def _ghost(tracks: Tracks, after: int) -> tuple[int, float, tuple[int, int], str]:
    is_ghost = tracks.kind == "ghost"
    later = is_ghost & (tracks.epoch >= after)
    if not later.any():
        later = is_ghost
    if not later.any():
        return -1, float("nan"), (-1, -1), "never"
    now = later & (tracks.epoch == tracks.epoch[later].min())
    chosen = int(tracks.branch[now][np.argmax(tracks.escape_time[now])])
    first = int(tracks.epoch[tracks.branch == chosen].min())
    for event in tracks.events:
        if chosen in event.ghosts and event.bracket[1] == first:
            return chosen, event.epoch, event.bracket, event.kind
    return chosen, float(first), (first, first), "start"


def _of_loss(begin: int, end: int) -> str:
    if begin < 0:
        return f"The loss never fell below {DROP_FROM:g} of chance."
    if end < 0:
        return f"The loss fell below {DROP_FROM:g} of chance at epoch {begin} and never below {DROP_TO:g}."
    return f"The loss fell from {DROP_FROM:g} to {DROP_TO:g} of chance between epochs {begin} and {end}."


def _of_ghost(
    epoch: float, bracket: tuple[int, int], origin: str, begin: int, end: int, ghost: int, recorded: Any
) -> str:
    if ghost < 0:
        return f"No ghost was found at any of the {len(recorded)} recorded epochs."
    how = {
        "start": "is there at the first recorded epoch",
        "ghost appeared": f"appeared without a bifurcation near epoch {epoch:.6g}",
        "pair died": f"was left by two fixed points that met in a saddle-node near epoch {epoch:.6g}",
    }.get(origin, f"was first found between epochs {bracket[0]} and {bracket[1]}")
    where = "" if origin == "start" or origin not in ("ghost appeared", "pair died") else (
        f" (recorded epochs {bracket[0]} to {bracket[1]})"
    )  # fmt: skip
    if end < 0:
        return f"The ghost {how}{where}."
    order = "after the drop" if bracket[0] >= end else "before the drop" if bracket[1] <= begin else "during the drop"
    if bracket[0] < begin < bracket[1] or bracket[0] < end < bracket[1]:
        order += ", as far as the recorded epochs tell"
    return f"The ghost {how}{where}, {order}."


def _of_zeros(
    window: tuple[int, int],
    bifurcations: tuple[float, ...],
    counts: tuple[int, int],
    looked: int,
    proven: bool,
    unresolved: int,
    dropped: bool,
) -> str:
    where = f"between the recorded epochs {window[0]} and {window[1]}" + (" around the drop" if dropped else "")
    number = str(counts[0]) if counts[0] == counts[1] else f"{counts[0]} to {counts[1]}"
    sure = "all of them, proven" if proven else "those found; a search that proves nothing about others"
    if bifurcations:
        at = ", ".join(f"{epoch:.6g}" for epoch in bifurcations[:10])
        text = f"Fixed points bifurcated {where} near epoch {at}"
    else:
        text = f"No fixed point appeared or vanished {where}"
    text += f": {number} fixed points at {looked} recorded epochs ({sure})."
    return text if not unresolved else f"{text} {unresolved} curves could not be followed."
