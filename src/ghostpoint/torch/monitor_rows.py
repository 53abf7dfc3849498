"""The rows of a monitor: what waits to be read out, the record, and the places it is written to.

They are an object of their own, which knows neither the monitor nor its model: so they can still
be written when both are gone.
"""

from __future__ import annotations

import atexit
import copy
import os
import weakref
from array import array
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ghostpoint.torch.monitor_answers import Seen
from ghostpoint.torch.once import Once
from ghostpoint.torch.quantities import CADENCES, OF_STEPS, Answers, added, curves, fetched
from ghostpoint.torch.sinks import Sink, writes

__all__ = ["Rows"]

#: so many pending numbers are summed up, where they have not been read out before
MOST_PENDING = 4096


class Sum(NamedTuple):
    """Numbers of one quantity in one row, which is their mean."""

    total: float
    terms: int

    def plus(self, total: float, terms: int = 1) -> Sum:
        """With more numbers."""
        return Sum(self.total + total, self.terms + terms)


class Found(NamedTuple):
    """Pending numbers that were fetched."""

    #: by step and name; steps as they were counted
    sums: dict[tuple[int, str], Sum]
    #: of all outputs
    seen: Seen
    #: steps that AMP skipped
    skipped: list[int]
    #: steps before this one are complete
    limit: int

    def number(self, at: int) -> int:
        """The number of a step among those that were taken."""
        return at - sum(one < at for one in self.skipped)


class Rows:
    """Numbers by step: pending on their devices, on the host, and in the record.

    A step is counted when the optimizer's is called. Whether AMP has skipped it inside, as fused
    optimizers do, is known when it is read out: what was logged then belongs to the next step.
    """

    def __init__(self, sinks: Iterable[Sink], once: Once):
        self.sinks, self.once = list(sinks), once
        self.pending: list[tuple[int, str, torch.Tensor | Answers]] = []
        self.host: dict[int, dict[str, Any]] = {}
        self.record: dict[str, tuple[array[float], array[float]]] = {}
        self.seen = Seen()
        self.closed, self.written = False, bool(self.sinks)
        self._sums: dict[tuple[int, str], Sum] = {}
        self._process = os.getpid()
        self._last: Any = None

    def finish_with(self, owner: object) -> None:
        """Write what is left when the owner is collected or the program ends.

        ``atexit`` runs last in, first out. So this comes before the ends of packages that were
        there first, such as a sink's; the order of ``weakref.finalize`` at exit does not say that.
        """
        self._last = weakref.finalize(owner, self._finish)
        self._last.atexit = False
        atexit.register(self._last)

    def _finish(self) -> None:
        atexit.unregister(self._last)
        # a fork that ends has the same rows, not its own; without a place nothing is fetched
        if self.sinks and os.getpid() == self._process:
            self.close()

    def note(self, at: int, name: str, value: torch.Tensor | Answers) -> None:
        """Keep a number where it is until it is read out."""
        self.pending.append((at, name, value))
        if len(self.pending) >= MOST_PENDING:  # many logs and no step
            found = self._fetched(at + 1)
            self._sums, self.seen = found.sums, found.seen
            self.pending = [one for one in self.pending if one[1] == "skipped"]

    def note_host(self, at: int, values: Mapping[str, Any]) -> None:
        """Keep numbers that are known; later ones take the place of earlier ones."""
        self.host.setdefault(at, {}).update(values)

    def read_out(self, limit: int | None) -> int:
        """Write the steps before ``limit``, or all; how many of them AMP had skipped.

        The steps after those are counted anew, without the skipped ones.
        """
        found = self._fetched(limit)
        rows = self._rows(found)
        gone = sum(at < found.limit for at in found.skipped)
        self.seen = found.seen
        self.pending = [(at - gone, *rest) for at, *rest in self.pending if at >= found.limit]  # type: ignore[misc]
        self.host = {at - gone: values for at, values in self.host.items() if at >= found.limit}
        self._sums = {(at - gone, name): one for (at, name), one in self._sums.items() if at >= found.limit}
        added(self.record, rows)
        if rows and self.sinks:
            self._write([{"step": at, **rows[at]} for at in sorted(rows)])
        return gone

    def waiting(self) -> tuple[dict[int, dict[str, float]], Seen, int]:
        """All rows that are not read out, what is known of outputs, and how many steps AMP
        skipped.
        """
        found = self._fetched(None)
        return self._rows(found), found.seen, len(found.skipped)

    def curves(self) -> dict[str, NDArray[np.float64]]:
        """The record, with what is not read out."""
        return curves(added(copy.deepcopy(self.record), self.waiting()[0]))

    def begin_with(self, record: Any, rows: Mapping[Any, Mapping[str, float]], seen: Any) -> None:
        """Take the place of what is there."""
        self.record = {name: (array("d", at), array("d", values)) for name, (at, values) in record.items()}
        self.seen = self.seen if seen is None else Seen(*seen)
        self._sums, self.host, self.pending = {}, {}, []
        for at, row in rows.items():
            for name, one in row.items():
                if name in CADENCES:
                    self._sums[int(at), name] = Sum(one, 1)
                else:
                    self.note_host(int(at), {name: one})

    def close(self) -> None:
        """Write all rows and close the sinks."""
        if self.closed:
            return
        self.closed = True
        self.read_out(None)
        for sink in self.sinks if os.getpid() == self._process else ():
            try:
                sink.close()
            except Exception as error:
                self._say_failed(sink, "closed", error)
        self.sinks = []
        if self._last is not None:
            self._last.detach()
            atexit.unregister(self._last)

    def _fetched(self, limit: int | None) -> Found:
        steps = (*(one[0] for one in self.pending), *self.host, *(at for at, _ in self._sums))
        end = max(steps, default=0) + 1
        last, limit = limit is None, end if limit is None else limit
        values = fetched([one for one in self.pending if one[0] < limit])
        skipped = sorted(at for at, name, value in values if name == "skipped" and value)
        while not last and limit - 1 in skipped:  # its loss belongs to the next step, which is not complete
            limit -= 1
        seen = self.seen
        sums = {key: one for key, one in self._sums.items() if key[0] < limit}
        for at, name, value in values:
            if at >= limit or name == "skipped" or (at in skipped and name in OF_STEPS):
                continue
            found = {name: value}
            if name == "answers":
                numbers, what = value
                seen = what.seen(numbers, seen)
                found, doubt = what.read(numbers, seen)
                if doubt:
                    self.once("masks", doubt)
            for quantity, one in found.items():
                sums[at, quantity] = sums.get((at, quantity), Sum(0.0, 0)).plus(one)
        return Found(sums, seen, skipped, limit)

    def _rows(self, found: Found) -> dict[int, dict[str, float]]:
        """Rows by the numbers of their steps."""
        rows: dict[int, dict[str, float]] = {}
        for at in sorted(one for one in self.host if one < found.limit):
            left = OF_STEPS if at in found.skipped else ()
            values = {name: one for name, one in self.host[at].items() if name not in left}
            rows.setdefault(found.number(at), {}).update(values)
        means: dict[tuple[int, str], Sum] = {}
        for (at, name), one in found.sums.items():
            key = found.number(at), name
            means[key] = means.get(key, Sum(0.0, 0)).plus(*one)
        for (at, name), one in means.items():  # a number of one's own with that name stands
            rows.setdefault(at, {}).setdefault(name, one.total / one.terms)
        return {at: row for at, row in rows.items() if row}

    def _write(self, table: list[dict[str, Any]]) -> None:
        if os.getpid() != self._process:
            self.once("process", "this process is a fork of the one that made the monitor, which alone writes: rows "
                      "are not written here; make the monitor in the process that trains")  # fmt: skip
            return
        for sink in self.sinks if writes() else ():  # processes may have got their ranks meanwhile
            try:
                sink.write(table)
            except Exception as error:
                self._say_failed(sink, "written to", error)

    def _say_failed(self, sink: Sink, what: str, error: Exception) -> None:
        kind = type(sink).__name__
        path = getattr(sink, "path", None)
        name = kind if path is None else f"{kind}({str(path)!r})"
        self.once(f"sink {id(sink)}", f"{name} could not be {what}, and lacks rows: {type(error).__name__}: {error}; "
                  "training and other sinks go on")  # fmt: skip
