"""Parts of a long run that are kept where they are done: an interrupted run goes on from them, and
other machines may compute them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from ghostpoint.errors import InputError
from ghostpoint.experiments.shared.base import Progress, Silent
from ghostpoint.fingerprint import fingerprint
from ghostpoint.storage import read_dataset, write_dataset

#: the attribute of a kept part that says how much processor time it took
SECONDS = "processor_seconds"


@dataclass(frozen=True)
class Job:
    """A part that any machine may compute, which sees the folder and has the same ghostpoint.

    Attributes
    ----------
    name, settings, code, inputs
        As for :func:`part`.
    total : int
        Units of work.
    make : callable
        ``make(progress) -> Dataset``. It can be pickled: a function of a module, or a partial one.
    """

    name: str
    settings: Any
    total: int
    make: Callable[[Progress], xr.Dataset]
    code: Callable[..., Any]
    inputs: str = ""


#: has ``compute(folder, job)`` done for every job somewhere, and calls the last argument with each
#: job that is done
Spread = Callable[[Callable[[Path, Job], None], Path, Sequence[Job], Callable[[Job], None]], None]


@dataclass
class Ledger:
    """The folder of the parts of a run, the processor time that parts from earlier runs took, in
    seconds, and who spreads parts over machines.
    """

    folder: Path | None
    spread: Spread | None = None
    earlier_seconds: float = 0.0


#: where :func:`part` keeps what is done, set by whoever runs an experiment
_LEDGER: ContextVar[Ledger | None] = ContextVar("parts", default=None)


@contextmanager
def keeping_parts(folder: Path | None, spread: Spread | None = None) -> Iterator[Ledger]:
    """Within this context :func:`part` keeps the parts of a run in ``folder``; with None it keeps
    nothing. With ``spread`` other machines compute those of :func:`ahead`.
    """
    ledger = Ledger(folder, spread)
    token = _LEDGER.set(ledger)
    try:
        yield ledger
    finally:
        _LEDGER.reset(token)


def spreading() -> bool:
    """Whether other machines compute parts of the present run."""
    ledger = _LEDGER.get()
    return ledger is not None and ledger.spread is not None


def ahead(progress: Progress, jobs: Sequence[Job]) -> None:
    """Have all of the jobs computed on other machines, if this run has such; the run then finds
    them as parts.
    """
    ledger = _LEDGER.get()
    if ledger is None or ledger.folder is None or ledger.spread is None:
        return
    missing = [job for job in jobs if not _place(ledger.folder, job).is_file()]
    if missing:
        ledger.folder.mkdir(parents=True, exist_ok=True)
        progress.phase(f"{len(missing)} parts on the cluster", sum(job.total for job in missing))
        ledger.spread(compute, ledger.folder, missing, lambda job: progress.advance(job.total))
        lost = sum(not _place(ledger.folder, job).is_file() for job in missing)
        if lost:
            raise InputError(
                f"{ledger.folder} has not {lost} of the {len(missing)} parts that workers computed: "
                "all machines must see it and have the same ghostpoint"
            )


def compute(folder: Path, job: Job) -> None:
    """Compute a job and keep it in ``folder``, unless it is there."""
    path = _place(folder, job)
    if not path.is_file():
        _keep(path, lambda: job.make(Silent()))


def _place(folder: Path, job: Job) -> Path:
    return _file(folder, job.name, job.settings, job.inputs, job.code)


def part(
    name: str, settings: Any, make: Callable[[], xr.Dataset], code: Callable[..., Any], inputs: str = ""
) -> xr.Dataset:
    """The dataset that ``make()`` returns, read from the folder of parts where an earlier run left
    it.

    A part is found again by what is computed: its name, its ``settings`` and the code that computes
    it.

    Parameters
    ----------
    settings : JSON
        Everything that ``make`` depends on.
    code : function
        The module-level function that ``make`` calls; a change of its code, or of code that it
        reaches, makes another part (:func:`ghostpoint.fingerprint.fingerprint`).
    inputs : str
        A digest of what is not JSON, such as initial weights.
    """
    ledger = _LEDGER.get()
    if ledger is None or ledger.folder is None:
        return make()
    path = _file(ledger.folder, name, settings, inputs, code)
    if path.is_file():
        dataset = read_dataset(path)
        ledger.earlier_seconds += dataset.attrs.pop(SECONDS)
        return dataset
    ledger.folder.mkdir(parents=True, exist_ok=True)
    return _keep(path, make)


def _file(folder: Path, name: str, settings: Any, inputs: str, code: Callable[..., Any]) -> Path:
    what = json.dumps([name, settings, inputs, fingerprint(code)], sort_keys=True)
    return folder / f"{name}-{hashlib.sha256(what.encode()).hexdigest()[:16]}.zarr.zip"


def _keep(path: Path, make: Callable[[], xr.Dataset]) -> xr.Dataset:
    start = time.process_time()
    dataset = make()
    write_dataset(dataset.assign_attrs({SECONDS: time.process_time() - start}), path)
    return dataset


class _Told(Silent):
    """Passes on what is done, and counts it."""

    def __init__(self, progress: Progress):
        self.progress, self.amount = progress, 0

    def advance(self, amount: int) -> None:
        self.amount += amount
        self.progress.advance(amount)


def counted_part(progress: Progress, job: Job) -> xr.Dataset:
    """:func:`part` of a job under a progress display: ``progress`` advances by ``job.total`` units,
    whether the part is computed or read.
    """
    told = _Told(progress)
    dataset = part(job.name, job.settings, lambda: job.make(told), job.code, job.inputs)
    progress.advance(job.total - told.amount)  # all of it, where the part was there already
    return dataset
