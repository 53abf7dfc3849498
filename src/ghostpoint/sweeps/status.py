"""How a sweep stands, read from its folder by any process at any time."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ghostpoint.sweeps.folder import ATTEMPTS, GONE, SweepFolder
from ghostpoint.sweeps.shard_file import Damaged, read_rows

__all__ = ["Status", "Tally"]


@dataclass(frozen=True)
class Status:
    """How a sweep stands.

    Attributes
    ----------
    networks, shards : int
        Of the whole grid.
    done, shards_done : int
        Finished.
    learned, solved, lost, diverged : int
        Of the finished networks: above chance at some epoch, solved, in the no-learning zone at the
        end, diverged.
    running : int
        Shards that are being computed now.
    processes : int
        That compute now.
    rate : float
        Network-epochs per second, of all processes.
    left : float or None
        Seconds to the end at that rate; None where nothing runs.
    failed, given_up : dict
        The last line of each traceback by the shard's name: failed and to be tried again; failed
        for good.
    damaged : list of str
        A line for each file whose header is wrong.
    """

    networks: int
    shards: int
    done: int
    shards_done: int
    learned: int
    solved: int
    lost: int
    diverged: int
    running: int
    processes: int
    rate: float
    left: float | None
    failed: dict[str, str] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every shard is finished."""
        return self.shards_done == self.shards


class Tally:
    """Looks at the folder again and again, and at each finished file once."""

    def __init__(self, folder: SweepFolder):
        self.folder = folder
        self._counts: dict[str, dict[str, int]] = {}

    def status(self) -> Status:
        """How it stands now."""
        folder = self.folder
        finished, damaged = folder.finished(), []
        for key in finished - self._counts.keys():
            try:
                self._counts[key] = _fates(folder, key)
            except Damaged as damage:
                damaged.append(f"{folder.file(key)}: {damage}; ghostpoint sweep sets it aside and computes it again")
        total = {
            name: sum(self._counts[key][name] for key in finished & self._counts.keys())
            for name in ("done", "learned", "solved", "lost", "diverged")
        }
        running, rate, speed, under_way, processes = 0, 0.0, 0.0, 0.0, 0
        for note in _notes(folder):
            processes += 1
            running += len(note["running"])
            seconds = max(1e-9, note["now"] - note["began"])
            rate += note["network_epochs"] / seconds
            speed += note["work"] / seconds
            for key, amount in note["running"].items():
                if key in folder.by_key:
                    shard = folder.by_key[key]
                    under_way += shard.work * min(1.0, amount / shard.network_epochs)
        failures = {key: texts for key, texts in folder.failures().items() if key not in finished}
        last = {key: texts[-1].strip().splitlines()[-1] for key, texts in failures.items()}
        final = {key for key, texts in failures.items() if len(texts) >= ATTEMPTS}
        todo = sum(shard.work for shard in folder.shards if shard.key not in finished and shard.key not in final)
        return Status(
            networks=folder.configuration.count, shards=len(folder.shards), shards_done=len(finished) - len(damaged),
            running=running, processes=processes, rate=rate,
            left=max(0.0, todo - under_way) / speed if speed > 0 else None,
            failed={key: line for key, line in last.items() if key not in final},
            given_up={key: line for key, line in last.items() if key in final},
            damaged=sorted(damaged), **total,
        )  # fmt: skip


def _fates(folder: SweepFolder, key: str) -> dict[str, int]:
    """What became of the networks of a finished shard that are in the grid."""
    header = folder.header(key)
    there = folder.by_key[key].members >= 0

    def count(name: str) -> int:
        return int(((read_rows(header, name) >= 0) & there).sum()) if name in header.arrays else 0

    if "measured" in header.arrays:
        measured, learned = read_rows(header, "measured"), read_rows(header, "learned")
        lost, some = int((np.isfinite(measured) & there).sum()), int(((learned > 0) & there).sum())
        return {"done": int(there.sum()), "learned": some, "solved": 0, "lost": lost, "diverged": 0}
    return {
        "done": int(there.sum()),
        "learned": count("first_above_chance"),
        "solved": count("first_solved"),
        "lost": count("no_learning_zone_entry"),
        "diverged": count("diverged"),
    }


def _notes(folder: SweepFolder) -> list[dict[str, Any]]:
    """What each process that computes said last."""
    notes = []
    for path in (folder.path / "progress").glob("*.json"):
        with suppress(OSError, ValueError):
            note = json.loads(path.read_text(encoding="utf-8"))
            if time.time() - note["now"] < GONE:
                notes.append(note)
    return notes
