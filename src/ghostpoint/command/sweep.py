"""``ghostpoint sweep``: run the sweep of a file, or say what it would take."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ghostpoint.command.progress import short
from ghostpoint.command.report import duration
from ghostpoint.errors import InputError
from ghostpoint.sweeps.cluster import CLUSTERS, job_script
from ghostpoint.sweeps.estimate import estimate
from ghostpoint.sweeps.folder import SweepFolder
from ghostpoint.sweeps.run import begin, finish, share_of
from ghostpoint.sweeps.status import Status, Tally
from ghostpoint.sweeps.sweep_file import read_sweep
from ghostpoint.system import processors

__all__ = ["Finished", "describe", "numbers", "run_sweep"]


@dataclass(frozen=True)
class Finished:
    """How a run of the command ended; ``line`` says it."""

    line: str
    failed: int
    interrupted: bool


def run_sweep(
    file: Path,
    out: Path,
    console: Console,
    *,
    threads: int | None,
    cluster: str | None,
    scheduler: str | None,
    options: Mapping[str, Any],
    share: str | None,
    retry: bool,
) -> Finished:
    """Compute what is missing of the sweep in ``file``, with a bar on a terminal and plain lines
    elsewhere.

    Parameters
    ----------
    file, out : path
        The sweep's TOML, and the folder of its results.
    console : Console
    threads : int, optional
        Cores, or workers of the cluster; all by default.
    cluster, scheduler : str, optional
        Kind of a Dask cluster to start, or the address of one that runs; neither for this machine.
    options : mapping
        For the cluster, as :func:`options_of` gives them.
    share : str, optional
        "I/N": only the I-th of N shares of the shards.
    retry : bool
        Try shards again that failed.
    """
    share_of(share)
    configuration = read_sweep(file)
    begun = begin(configuration, out, share=share, retry=retry)
    for line in begun.notes:
        console.print(Text(line, style="yellow"), soft_wrap=True)
    tally = Tally(begun.folder)
    status = tally.status()
    console.print(
        f"{out}: {status.networks:,} networks in {status.shards:,} shards; {begun.kept:,} shards kept, "
        f"{len(begun.todo):,} to compute" + (f" ({share} of all)" if share else ""),
        soft_wrap=True,
    )
    interrupted = False
    try:
        with _terminating(), _shown(console, tally) as watch:
            finish(begun, watch, threads=threads, cluster=cluster, scheduler=scheduler, options=options)
    except KeyboardInterrupt:
        interrupted = True
    status = tally.status()
    failed = len(status.given_up)
    for key, line in status.given_up.items():
        console.print(Text(f"FAILED  {key}: {line}", style="red"), soft_wrap=True)
    ending = f"{out}: {numbers(status)}"
    if interrupted:
        ending += "; interrupted, the same command goes on"
    if failed:
        ending += f"; {failed} shards failed (tracebacks in {out}/failures), --retry tries them again"
    return Finished(ending, failed, interrupted)


def numbers(status: Status) -> str:
    """What became of the networks, in a line."""
    share = 100 * status.done // max(1, status.networks)
    parts = [f"{status.done:,} of {status.networks:,} networks done ({share} %)"]
    parts += [f"{getattr(status, name):,} {name}" for name in ("learned", "solved", "lost")]
    if status.diverged:
        parts.append(f"{status.diverged:,} diverged")
    return ", ".join(parts)


def describe(
    file: Path, out: Path | None, threads: int | None, cluster: str | None, options: Mapping[str, Any]
) -> str:  # fmt: skip
    """What the sweep in ``file`` would take on so many ``threads``, the time without what is in the
    folder ``out`` already, and the script of a job for the ``cluster`` with these ``options``;
    nothing is written.
    """
    count = processors() if threads is None else threads
    if cluster is not None and cluster not in CLUSTERS:
        raise InputError(f"--cluster must be one of {', '.join(CLUSTERS)}; got {cluster!r}")
    script = "" if cluster is None else job_script(cluster, count, options)
    configuration = read_sweep(file)
    left, kept = 1.0, []
    if out is not None and out.exists():
        folder = SweepFolder.planned(out, configuration)
        there = folder.finished()
        work = sum(shard.work for shard in folder.shards)
        left = sum(shard.work for shard in folder.shards if shard.key not in there) / work
        kept = [("kept", f"{len(there):,} of {len(folder.shards):,} shards in {out}; {left:.0%} of the work is left")]
    found = estimate(configuration, count)
    seconds = left * found.core_seconds
    workers = f"{count} core" + ("s" if count != 1 else "")
    rows = [
        ("networks", f"{found.networks:,}"),
        ("shards", f"{found.shards:,}, of {found.largest:,} networks at most"),
        ("memory", f"{_size(found.memory)} for the shards computed at once"),
        ("disk", _size(found.disk)),
        *kept,
        ("time", f"{duration(seconds / count)} on {workers}, {duration(seconds)} on one "
                 f"(probe of {found.probed} kinds of networks; less where networks stop changing)"),
    ]  # fmt: skip
    text = "\n".join(f"{name:9} {value}" for name, value in rows)
    return f"{text}\n\n{script}" if script else text


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


@contextmanager
def _terminating() -> Iterator[None]:
    """Inside, being asked to end (a job at its wall time) is what Ctrl-C is."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _shown(console: Console, tally: Tally, every: float = 30.0) -> Iterator[Callable[[str, str], None]]:
    """A bar on a terminal, looked at once a second; a line every half a minute elsewhere."""
    told = time.monotonic()
    live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def watch(key: str, said: str) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < (1.0 if live else every):
            return
        told = now
        status = tally.status()
        if live is None:
            console.print(f"{numbers(status)}{_pace(status)}", soft_wrap=True)
            return
        row = Table.grid(padding=(0, 1))
        row.add_column(width=16)
        row.add_column(no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(total=max(1, status.networks), completed=status.done, width=16)
        row.add_row(bar, Text(f"{numbers(status)}{_pace(status)}"))
        live.update(row, refresh=True)

    if live is None:
        yield watch
    else:
        with live:
            yield watch


def _pace(status: Status) -> str:
    """How fast it goes, and how long it will."""
    text = f"; {short(status.rate)} network-epochs/s" if status.rate else ""
    return text + (f", {duration(status.left)} left" if status.left is not None and not status.complete else "")
