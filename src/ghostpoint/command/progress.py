"""What a person sees of a reproduction while it runs: a live display in a terminal, plain lines
elsewhere.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ghostpoint.command.report import duration, tally
from ghostpoint.command.reproduce import Watcher
from ghostpoint.command.reproduction_folder import Failure, Record
from ghostpoint.experiments import Experiment

_MARKS = {"holds": "hold", "does not hold": "do not", "not testable at this scale": "not testable"}


def watcher(console: Console) -> Lines | Terminal:
    """The display that suits ``console``; use it as a context."""
    return Terminal(console) if console.is_terminal else Lines(console)


class Meter:
    """Where the current phase stands, and how fast it went over the last ``window`` seconds.

    The first calls into compiled code compile it, so an average over the whole phase would long be
    too slow.
    """

    def __init__(
        self, description: str, total: int, networks: int | None, clock: Callable[[], float], window: float = 20.0
    ) -> None:
        self.description = description
        self.total = total
        self.networks = networks
        self.done = 0
        self._clock = clock
        self._window = window
        self.start = clock()
        self._samples: deque[tuple[float, int]] = deque([(self.start, 0)])

    def advance(self, amount: int) -> None:
        """Count ``amount`` more units of work as done, and sample the rate every 0.1 s."""
        self.done += amount
        now = self._clock()
        if now - self._samples[-1][0] > 0.1:  # an experiment may report after every step
            self._samples.append((now, self.done))
            while len(self._samples) > 2 and now - self._samples[1][0] > self._window:
                self._samples.popleft()

    @property
    def rate(self) -> float:
        """Units per second; 0 before anything is known."""
        then, done = self._samples[0]
        elapsed = self._clock() - then
        return (self.done - done) / elapsed if elapsed > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds to the end of the phase at the present rate, or None."""
        return max(0, self.total - self.done) / self.rate if self.rate > 0 else None

    def figures(self) -> str:
        """Networks, share done, rate and time left, as one line."""
        parts = []
        if self.networks is not None:
            parts.append("1 network" if self.networks == 1 else f"{self.networks} networks")
        if self.total > 0:
            parts.append(f"{min(100, 100 * self.done // self.total)} %")
        if self.rate > 0:
            unit = {None: "/s", 1: " epochs/s"}.get(self.networks, " network-epochs/s")
            parts.append(f"{short(self.rate)}{unit}")
        if self.left is not None and self.done < self.total:
            parts.append(f"{duration(self.left)} left")
        return ", ".join(parts)


class Lines(Watcher):
    """Plain lines for a file or a pipe: starts, phases, now and then where a phase stands, ends."""

    live = False

    def __init__(self, console: Console, every: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self.every = every
        self.clock = clock
        self.meter: Meter | None = None
        self.heading = ""
        self._told = self._start = clock()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.meter = None

    def starting(self, number: int, total: int, experiment: Experiment) -> None:
        """Say which experiment starts."""
        self.heading = f"{number} of {total}  {experiment.id}: {experiment.title}"
        self.meter = None
        self._start = self.clock()
        if not self.live:
            self._say(self.heading)

    def phase(self, description: str, total: int, networks: int | None = None) -> None:
        """Measure a new phase."""
        self.meter = Meter(description, total, networks, self.clock)
        self._told = self.clock()

    def advance(self, amount: int) -> None:
        """Count, and now and then say so."""
        if self.meter is not None:
            self.meter.advance(amount)
            if not self.live and self.clock() - self._told >= self.every:
                self._told = self.clock()
                self._say(f"  {self.meter.description}: {self.meter.figures()}")

    def kept(self, record: Record) -> None:
        """Say that an experiment is not run again."""
        self._say(f"kept  {record.id}: finished before, {claims_line(record)}")

    def outdated(self, record: Record) -> None:
        """Say that an experiment is run again, and why."""
        self._say(f"again {record.id}: its code changed since then; the old result stays until the new one is there")

    def finished(self, record: Record) -> None:
        """Say what an experiment took and what became of its claims."""
        self.meter, self.heading = None, ""
        self._say(f"done  {record.id}: {duration(record.seconds)}, {claims_line(record)}")

    def failed(self, id: str, failure: Failure) -> None:
        """Say what failed."""
        self.meter, self.heading = None, ""
        what = "" if failure.stage == "run" else f" ({failure.stage}; the data are saved)"
        self._say(f"FAILED  {id}{what}: {failure.error}", style="red")

    def _say(self, line: str, style: str = "") -> None:
        self.console.print(Text(line, style=style), soft_wrap=True)


class Terminal(Lines):
    """Two live lines: which experiment, and where its phase stands; finished experiments stay above
    them.
    """

    live = True  # the display looks four times a second by itself

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock=clock)
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Terminal:
        self._live.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.meter, self.heading = None, ""
        self._live.stop()

    def _render(self) -> Group:
        if not self.heading:
            return Group()
        elapsed = Text(f"{duration(self.clock() - self._start)} elapsed", style="dim", no_wrap=True)
        top = Table.grid(expand=True, padding=(0, 1))
        top.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        top.add_column(justify="right", no_wrap=True)
        top.add_row(Text(self.heading, style="bold"), elapsed)
        meter = self.meter
        if meter is None:
            return Group(top)
        bottom = Table.grid(padding=(0, 1))
        bottom.add_column(width=16)
        bottom.add_column(no_wrap=True, overflow="ellipsis")
        line = f"{meter.description}: {meter.figures()}" if meter.figures() else meter.description
        bottom.add_row(ProgressBar(total=max(1, meter.total), completed=meter.done, width=16), Text(line))
        return Group(top, bottom)


def claims_line(record: Record) -> str:
    """The verdicts of a record in words: ``5 claims: 4 hold, 1 not testable``."""
    counts = tally([record])
    if not counts["claims"]:
        return "no claims"
    noun = "claim" if counts["claims"] == 1 else "claims"
    parts = [f"{counts[verdict]} {words}" for verdict, words in _MARKS.items() if counts[verdict]]
    return f"{counts['claims']} {noun}: {', '.join(parts)}"


def short(number: float) -> str:
    """Three digits and a unit: ``1.23M``, ``45.6k``, ``0.78``."""
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= scale:
            return f"{number / scale:.3g}{unit}"
    return f"{number:.3g}"
