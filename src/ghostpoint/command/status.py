"""``ghostpoint status``: how a sweep stands, from its folder alone, also while others compute."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ghostpoint.command.progress import short
from ghostpoint.command.report import duration
from ghostpoint.command.sweep import numbers
from ghostpoint.sweeps.folder import ATTEMPTS, SweepFolder
from ghostpoint.sweeps.results import export
from ghostpoint.sweeps.status import Status, Tally

__all__ = ["follow_status", "status_of"]


def status_of(
    path: Path, *, retry: bool = False, as_json: bool = False, check: bool = False, export_to: Path | None = None
) -> str:
    """How the sweep in a folder stands, as text or JSON.

    ``retry`` forgets failures first, so that the next run of the sweep tries those shards again;
    ``check`` reads every byte of every file and sets damaged ones aside; ``export_to`` writes the
    results.
    """
    folder = SweepFolder.open(path)
    said = []
    if retry:
        said.append(f"retry: {folder.retry()} failed shards will be computed by the next ghostpoint sweep")
    if check:
        found = folder.check()
        said += found or [f"check: {len(folder.finished())} files are whole"]
    status = Tally(folder).status()
    if export_to is not None:
        said.append(f"export: {export(path, export_to)}")
    if as_json:
        return json.dumps({**asdict(status), "complete": status.complete}, indent=2)
    return "\n".join([*said, _text(path, status)])


def follow_status(path: Path, seconds: float = 2.0) -> Iterator[str]:
    """The status again and again until the sweep is complete."""
    tally = Tally(SweepFolder.open(path))
    while True:
        status = tally.status()
        yield _text(path, status)
        if status.complete:
            return
        time.sleep(seconds)


def _text(path: Path, status: Status) -> str:
    lines = [f"{path}: {numbers(status)}"]
    shards = f"{status.shards_done:,} of {status.shards:,} shards"
    if status.processes:
        pace = f"{status.running} running in {status.processes} processes, {short(status.rate)} network-epochs/s"
        left = "" if status.left is None else f", {duration(status.left)} left"
        lines.append(f"{shards}, {pace}{left}")
    else:
        lines.append(shards if status.complete else f"{shards}, nothing runs: ghostpoint sweep goes on")
    lines += [f"damaged  {line}" for line in status.damaged]
    lines += [f"failing  {key}: {line} (tried again, {ATTEMPTS} times in all)" for key, line in status.failed.items()]
    for key, line in status.given_up.items():
        lines.append(f"FAILED   {key}: {line} (traceback in {path}/failures/{key}.json; --retry tries again)")
    return "\n".join(lines)
