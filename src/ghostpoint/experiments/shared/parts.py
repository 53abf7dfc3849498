"""Parts of a long run that are kept where they are done, so that an interrupted run goes on from
them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from ghostpoint.experiments.shared.base import Progress, Silent
from ghostpoint.fingerprint import fingerprint
from ghostpoint.storage import read_dataset, write_dataset

#: the attribute of a kept part that says how much processor time it took
SECONDS = "processor_seconds"


@dataclass
class Ledger:
    """The folder of the parts of a run, and the processor time that parts from earlier runs took,
    in seconds.
    """

    folder: Path | None
    earlier_seconds: float = 0.0


#: where :func:`part` keeps what is done, set by whoever runs an experiment
_LEDGER: ContextVar[Ledger | None] = ContextVar("parts", default=None)


@contextmanager
def keeping_parts(folder: Path | None) -> Iterator[Ledger]:
    """Within this context :func:`part` keeps the parts of a run in ``folder``; with None it keeps
    nothing.
    """
    ledger = Ledger(folder)
    token = _LEDGER.set(ledger)
    try:
        yield ledger
    finally:
        _LEDGER.reset(token)


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
    what = json.dumps([name, settings, inputs, fingerprint(code)], sort_keys=True)
    path = ledger.folder / f"{name}-{hashlib.sha256(what.encode()).hexdigest()[:16]}.zarr.zip"
    if path.is_file():
        dataset = read_dataset(path)
        ledger.earlier_seconds += dataset.attrs.pop(SECONDS)
        return dataset
    start = time.process_time()
    dataset = make()
    seconds = time.process_time() - start
    ledger.folder.mkdir(parents=True, exist_ok=True)
    write_dataset(dataset.assign_attrs({SECONDS: seconds}), path)
    return dataset


class _Told(Silent):
    """Passes on what is done, and counts it."""

    def __init__(self, progress: Progress):
        self.progress, self.amount = progress, 0

    def advance(self, amount: int) -> None:
        self.amount += amount
        self.progress.advance(amount)


def counted_part(
    progress: Progress, total: int, name: str, settings: Any, make: Callable[[Progress], xr.Dataset],
    code: Callable[..., Any], inputs: str = "",
) -> xr.Dataset:  # fmt: skip
    """:func:`part` under a progress display: ``progress`` advances by ``total`` units, whether the
    part is computed or read.

    ``make`` gets the progress to report to, as work is done. Other arguments are those of
    :func:`part`.
    """
    told = _Told(progress)
    dataset = part(name, settings, lambda: make(told), code, inputs)
    progress.advance(total - told.amount)  # all of it, where the part was there already
    return dataset
