"""``sweep``: check what is asked for, compute what is missing, on this machine or on a cluster."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from ghostpoint.checks import integer
from ghostpoint.errors import InputError
from ghostpoint.sweeps.configuration import Configuration
from ghostpoint.sweeps.folder import ATTEMPTS, SweepFolder
from ghostpoint.sweeps.local import Watch, run_here
from ghostpoint.sweeps.results import open_sweep
from ghostpoint.sweeps.shards import Shard
from ghostpoint.sweeps.sweep_file import read_sweep
from ghostpoint.system import processors

__all__ = ["Begun", "begin", "finish", "share_of", "sweep"]


@dataclass(frozen=True)
class Begun:
    """A sweep whose folder is there and whose files are checked.

    ``todo`` are the shards to compute, of this process' share; ``kept`` how many of the share are
    finished already; ``given_up`` how many failed too often before; ``notes`` has a line for each
    file that was set aside.
    """

    folder: SweepFolder
    todo: list[Shard]
    kept: int
    given_up: int
    notes: list[str]


def sweep(
    source: str | Path | Mapping[str, Any],
    out: str | os.PathLike[str],
    *,
    threads: int | None = None,
    cluster: str | None = None,
    scheduler: str | None = None,
    options: Mapping[str, Any] | None = None,
    share: str | None = None,
    retry: bool = False,
) -> xr.Dataset:
    """Train every network of a grid, and keep each where it is done; what is there already is not
    computed again.

    Parameters
    ----------
    source : path, or mapping
        A TOML file (docs/sweeps.md), or the same structure as dictionaries and lists.
    out : path
        The folder: a new one, or one of this sweep, whose grid may have grown.
    threads : int, optional
        On this machine, or workers of the cluster; by default as many as processors this process
        may use.
    cluster : str, optional
        "local", "slurm", "pbs", "lsf", "sge" or "ssh": start a Dask cluster of that kind. The
        calling program must be a file that guards its work by ``if __name__ == "__main__"``, as for
        all processes that Python spawns.
    scheduler : str, optional
        Address of a Dask scheduler that runs already.
    options : mapping, optional
        For the class of the cluster, such as ``walltime``.
    share : str, optional
        "I/N": only the I-th of N parts of the shards, for job arrays.
    retry : bool
        Try shards again that failed before.

    Returns
    -------
    Dataset
        As :func:`ghostpoint.open_sweep`. A shard that fails is a warning with the traceback's last
        line.

    Raises
    ------
    ValueError
        For whatever is wrong in ``source``, before anything is written.
    OSError
        For a full disk; what is finished is kept.

    Examples
    --------
    >>> import tempfile, ghostpoint as gp
    >>> small = {
    ...     "models": {"published": "3A"},
    ...     "task": {"name": "DelayedActivation"},
    ...     "training": {"epochs": 10},
    ...     "grid": {"models": {"seed": [0, 1]}, "training": {"learning_rate": [0.01, 0.02, 0.1]}},
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gp.sweep(small, f"{folder}/out")["loss"].sizes
    Frozen({'seed': 2, 'learning_rate': 3, 'epoch': 10})
    """
    begun = begin(read_sweep(source), out, share=share, retry=retry)
    failed = []

    def watch(key: str, said: str) -> None:
        if said == "failed":
            failed.append(begun.folder.failure(key)[-1].strip().splitlines()[-1])

    for line in begun.notes:
        warnings.warn(line, stacklevel=2)
    finish(begun, watch, threads=threads, cluster=cluster, scheduler=scheduler, options=options)
    if failed or begun.given_up:
        last = f", the last for: {failed[-1]}" if failed else ""
        warnings.warn(f"{len(failed) + begun.given_up} shards failed {ATTEMPTS} times{last}", stacklevel=2)
    return open_sweep(out)


def begin(
    configuration: Configuration, out: str | os.PathLike[str], *, share: str | None = None, retry: bool = False
) -> Begun:
    """Make or open the folder, check all its files, and say what is to be computed."""
    part = share_of(share)
    folder = SweepFolder.create(out, configuration)
    if retry:
        folder.retry()
    notes = folder.check()
    folder.remove_leftovers()
    mine = folder.shards[part]
    there = folder.finished()
    lost = {key for key, texts in folder.failures().items() if len(texts) >= ATTEMPTS and key not in there}
    todo = [shard for shard in mine if shard.key not in there and shard.key not in lost]
    return Begun(
        folder, todo, sum(shard.key in there for shard in mine), sum(shard.key in lost for shard in mine), notes
    )


def finish(
    begun: Begun,
    watch: Watch,
    *,
    threads: int | None = None,
    cluster: str | None = None,
    scheduler: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Compute the shards of ``begun.todo``."""
    if not begun.todo:
        return
    count = processors() if threads is None else integer("threads", threads, at_least=1)
    if cluster is not None and scheduler is not None:
        raise InputError(f"cluster must be left out where scheduler is given, got {cluster!r}")
    if cluster is None and scheduler is None:
        if options:
            raise InputError(f"options must be left out without a cluster, got {dict(options)}")
        run_here(begun.folder, begun.todo, count, watch)
        return
    from ghostpoint.sweeps.cluster import connected, run_on

    with connected(cluster, scheduler, count, options or {}) as client:
        run_on(client, begun.folder, begun.todo, watch)


def share_of(text: str | None) -> slice:
    """Which shards are a process' own: "I/N", I from 1, has the I-th and every N-th after it."""
    if text is None:
        return slice(None)
    first, _, count = text.partition("/")
    if not (first.isdigit() and count.isdigit()) or not 1 <= int(first) <= int(count):
        raise InputError(f"--shard must be I/N with I from 1 to N, such as 3/10; got {text!r}")
    return slice(int(first) - 1, None, int(count))
