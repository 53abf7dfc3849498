"""What an experiment is: parameters at two scales, a run, and the claims it tests.

An experiment computes a labelled dataset and never draws; ``ghostpoint.figures`` draws the dataset
and never computes. Claims are made from the saved dataset, so a report can be written again without
running anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from functools import partial
from typing import Any, Literal, Protocol

import xarray as xr

SCALES = ("quick", "paper")
#: whose sentence a claim is: the publication's, or this project's
ORIGINS = ("published", "own")
Origin = Literal["published", "own"]
Verdict = Literal["holds", "does not hold", "not testable at this scale"]


class Progress(Protocol):
    """What an experiment tells whoever watches it run."""

    def phase(self, description: str, total: int, networks: int | None = None) -> None:
        """A new phase starts: ``total`` units of work; for training, network-epochs of ``networks``
        networks.
        """

    def advance(self, amount: int) -> None:
        """``amount`` more units of the current phase are done."""


class Silent:
    """A :class:`Progress` that nobody watches."""

    def phase(self, description: str, total: int, networks: int | None = None) -> None:
        """Do nothing."""

    def advance(self, amount: int) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Claim:
    """A sentence, the rule by which it is tested, and what was measured.

    Attributes
    ----------
    sentence : str
        What is claimed, in a way that says whether it is about one network or about networks.
    origin : "published" or "own"
        Whether the publication makes the statement, or this project.
    source : str
        Figure, equation or section that makes it; for an own claim what it is derived from.
    published : str
        The publication's value, or what its picture shows; "-" where it gives neither.
    rule : str
        The test with its threshold, in words. It is fixed before the run: it depends on the
        parameters at most, never on the data. Empty in results saved before rules were kept.
    measured : str
        What was measured, with its uncertainty and the sample that it comes from.
    verdict : str
        Whether the rule is met. Where the phenomenon does not occur the claim does not hold; where
        the sample cannot decide, it is not testable at this scale.
    note : str
        What explains a difference, or limits the test.
    """

    sentence: str
    _: KW_ONLY
    origin: Origin
    source: str
    published: str = "-"
    rule: str
    measured: str
    verdict: Verdict
    note: str = ""

    def to_dict(self) -> dict[str, str]:
        """The claim as plain text fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Claim:
        """The inverse of :meth:`to_dict`; claims saved without ``origin`` and ``rule`` are read
        too.

        Such a claim is this project's own where its source says so.
        """
        own = any(words in fields["source"] for words in ("this project", "derived here"))
        return cls(**{"origin": "own" if own else "published", "rule": "", **fields})


#: a claim that the publication makes, and one that this project makes
published_claim, own_claim = partial(Claim, origin="published"), partial(Claim, origin="own")


def judge(holds: bool, testable: bool = True) -> Verdict:
    """The verdict for a comparison that came out as ``holds``, or cannot be made at this scale."""
    if not testable:
        return "not testable at this scale"
    return "holds" if holds else "does not hold"


@dataclass(frozen=True)
class Experiment:
    """A published experiment, or one of this project's own.

    Attributes
    ----------
    id : str
        Name used on the command line and as folder name.
    title : str
        A line that says what is shown.
    figure : str
        Where it was published, e.g. ``"Fig. 2A (letter: 2A)"``.
    question : str
        A few sentences for the report: what is asked and how.
    parameters : mapping
        ``"quick"`` and ``"paper"`` to the complete, JSON-serialisable configuration, seeds
        included.
    run : callable
        ``run(parameters, progress) -> xarray.Dataset``. Deterministic: same parameters, same
        machine, same bits. The dataset's attributes are JSON-serialisable.
    claims : callable
        ``claims(dataset, parameters) -> list[Claim]``. It never raises for data in which a
        phenomenon is absent.
    origin : "published" or "own"
        Whether the publication has this experiment. All claims of an own experiment are own.
    """

    id: str
    title: str
    figure: str
    question: str
    parameters: Mapping[str, Mapping[str, Any]]
    run: Callable[[Mapping[str, Any], Progress], xr.Dataset]
    claims: Callable[[xr.Dataset, Mapping[str, Any]], list[Claim]]
    origin: Origin = "published"
