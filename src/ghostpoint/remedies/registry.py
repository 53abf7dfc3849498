"""The remedies by name, what "auto" stands for, and what ``train`` makes of its argument
``remedy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ghostpoint.checks import one_of
from ghostpoint.errors import InputError
from ghostpoint.remedies.after_collapse import ReduceRate, Rewind
from ghostpoint.remedies.confidence_schedule import ConfidenceSchedule
from ghostpoint.remedies.crossings import Crossing, crossings
from ghostpoint.remedies.guard import Guard
from ghostpoint.remedies.limits import ClipGradient, HazardLimit
from ghostpoint.remedies.remedy import Remedy, as_tuple
from ghostpoint.remedies.trust_region import TrustRegion
from ghostpoint.tasks import Task

#: remedies by name, with their default parameters; a new one is registered here
REMEDIES: dict[str, Remedy] = {
    "trust_region": TrustRegion(),
    "hazard_limit": HazardLimit(),
    "clip_gradient": ClipGradient(),
    "confidence_schedule": ConfidenceSchedule(),
    "reduce_rate": ReduceRate(),
    "rewind": Rewind(),
    "guard": Guard(),
}
#: what "auto" stands for where all hangs on one crossing, and elsewhere if every epoch has the same
#: trials; where it has not, for the first again if every channel of every trial wants a crossing,
#: and for the third if only some do (docs/remedies.md)
AUTO = TrustRegion()
AUTO_OF_SEVERAL = Guard()
AUTO_OF_SOME = TrustRegion(tilt=0.5, polyak=0.03)


def from_dict(fields: Mapping[str, Any]) -> Remedy:
    """The remedy of which :meth:`Remedy.to_dict` gave the name and parameters.

    Examples
    --------
    >>> from_dict(ClipGradient(0.5).to_dict())
    ClipGradient(norm=0.5)
    """
    kinds = {type(one).__name__: type(one) for one in REMEDIES.values()}
    name = one_of("remedy", fields["remedy"], kinds)
    return kinds[name](**{key: value for key, value in fields.items() if key != "remedy"})


def resolve(remedy: Any, task: Task, activation: str, *, tries: bool = True) -> tuple[Remedy, ...]:
    """The remedies that ``train`` is asked for, as a tuple; names are those of :data:`REMEDIES`.

    "auto" stands for :data:`AUTO` where the task is one answer that crosses from one level to
    another (delayed activation): it is solved at any rate, and an epoch costs next to nothing.
    Elsewhere it stands for :data:`AUTO_OF_SEVERAL`, which solves more networks, if ``tries`` says
    that updates can be tried and the task has the same trials in every epoch. Else it is
    :data:`AUTO` or, where a channel of a trial wants no crossing or crossings are more than are
    looked at, :data:`AUTO_OF_SOME`; or :class:`HazardLimit` where the task wants none at all
    (continuous targets, or no answer before the transition that counts). Two of a kind are a
    ``ValueError``, and so is a trust region without a crossing.
    """
    if remedy is None:
        return ()
    wanted = crossings(task, task.trial(0), activation)
    asked = as_tuple(remedy)
    if asked == ("auto",):
        return (_automatic(task, wanted, tries),)
    found: list[Remedy] = []
    for one in asked:
        known = REMEDIES.get(one) if isinstance(one, str) else one
        if not isinstance(known, Remedy):
            names = ", ".join(REMEDIES)
            raise InputError(f'remedy must be None, "auto", a remedy or several, or their names ({names}); got {one!r}')
        same = [other for other in found if other.kind is known.kind]
        if same:
            named = " or ".join(dict.fromkeys(type(other).__name__ for other in (*same, known)))
            raise InputError(f"remedy must have {named} at most once, got {asked!r}")
        misfit = known.misfit(task, wanted)
        if misfit:
            raise InputError(misfit)
        found.append(known)
    trying = [one for one in found if one.tries_updates]
    beside = [type(one).__name__ for one in found if not (one.tries_updates or isinstance(one, ClipGradient))]
    if trying and beside:
        raise InputError(
            f"remedy must have beside {type(trying[0]).__name__} nothing but ClipGradient, got {', '.join(beside)}"
        )
    return tuple(found)


def _automatic(task: Task, wanted: Sequence[Crossing], tries: bool) -> Remedy:
    """What "auto" stands for."""
    places = {(one.trial, one.output) for one in wanted}
    every = len(places) == task.n_trials * task.n_outputs and len(wanted) <= AUTO.crossings
    if every and len(wanted) == 1:
        return AUTO
    if tries and not AUTO_OF_SEVERAL.misfit(task, wanted):
        return AUTO_OF_SEVERAL
    if not wanted:
        return HazardLimit()
    return AUTO if every else AUTO_OF_SOME
