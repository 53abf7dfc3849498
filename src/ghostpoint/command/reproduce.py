"""Run published experiments into a folder, one after the other, so that nothing computed is ever
lost.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import xarray as xr

from ghostpoint import experiments
from ghostpoint.checks import one_of
from ghostpoint.command.report import draw_svg, write_report
from ghostpoint.command.reproduction_folder import LOCK, Failure, Folder, Record, locked
from ghostpoint.errors import InputError
from ghostpoint.experiments import SCALES, Claim, Experiment, Silent
from ghostpoint.experiments.shared.parts import Spread, keeping_parts
from ghostpoint.fingerprint import fingerprint
from ghostpoint.storage import TEMPORARY_PREFIX


class Watcher(Silent):
    """Who is told how a reproduction goes, and how each run in it; this one does nothing about
    it.
    """

    def starting(self, number: int, total: int, experiment: Experiment) -> None:
        """Experiment ``number`` of ``total`` starts."""

    def kept(self, record: Record) -> None:
        """A finished experiment was found in the folder and is not run again."""

    def outdated(self, record: Record) -> None:
        """A finished experiment was found in the folder and is run again, because its code has
        changed.
        """

    def finished(self, record: Record) -> None:
        """An experiment is finished and saved."""

    def failed(self, id: str, failure: Failure) -> None:
        """An experiment raised, or its claims or its figure did."""


@dataclass(frozen=True)
class Outcome:
    """What became of a reproduction: where the report is, and the experiments asked for by what
    happened.

    ``failed`` are those that raised, or whose claims or figure did; ``remaining`` those without
    saved data of the present code.
    """

    report: Path
    finished: tuple[str, ...]
    failed: tuple[str, ...]
    remaining: tuple[str, ...]
    interrupted: bool = False


def reproduce(
    ids: Iterable[str] | None,
    scale: str,
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    watcher: Watcher | None = None,
    spread: Spread | None = None,
) -> Outcome:
    """Run the experiments ``ids`` (None for all) at ``scale`` and keep everything in the folder
    ``out``; ``spread`` has their parts computed on other machines, to the same bits.

    Data, record and figure of an experiment are saved when it is finished, and the report is
    written again. An experiment that raises is noted and the others run; KeyboardInterrupt ends the
    run with what is finished. With ``resume``, finished experiments with the same parameters and
    the same code (:func:`~ghostpoint.fingerprint.fingerprint`; the version does not matter) are
    kept and not run again; the result of another code is replaced when the new one is there.

    Raises
    ------
    ValueError
        For an unknown id or scale; and, with nothing touched, if ``out`` is a file, holds other
        things, is in use by another run, holds finished experiments and ``resume`` is not given, or
        was made at another scale, with other parameters or in another format.
    """
    one_of("scale", scale, SCALES)
    wanted = list(experiments.IDS) if ids is None else list(ids)
    for id in wanted:
        one_of("experiment", id, experiments.IDS)
    chosen = [experiments.get(id) for id in experiments.IDS if id in wanted]
    codes = {experiment.id: fingerprint(experiment.run, called="run") for experiment in chosen}
    watcher = watcher or Watcher()
    interrupted, broken = False, []
    with _opened(Path(out), scale, chosen, resume) as folder:
        try:
            folder.remove_leftovers()
            todo = []
            for experiment in chosen:
                record = folder.record(experiment.id) if experiment.id in folder.finished() else None
                if record is None or record.fingerprint != codes[experiment.id]:
                    if record is not None:
                        watcher.outdated(record)
                    todo.append(experiment)
                    continue
                folder.forget_failure(experiment.id)
                if record.failures:
                    record = _redescribe(folder, record)
                broken += _tell(watcher, record, kept=True)
            report = write_report(folder)
            for number, experiment in enumerate(todo, start=1):
                watcher.starting(number, len(todo), experiment)
                try:
                    record = _run(folder, experiment, scale, codes[experiment.id], watcher, spread)
                except Exception as error:
                    failure = Failure.of("run", error)
                    folder.fail(experiment.id, failure)
                    watcher.failed(experiment.id, failure)
                    broken.append(experiment.id)
                else:
                    broken += _tell(watcher, record, kept=False)
                report = write_report(folder)
        except KeyboardInterrupt:
            interrupted = True
            report = write_report(folder)
        there = folder.finished()
        finished = [id for id in codes if id in there and folder.record(id).fingerprint == codes[id]]
        remaining = [id for id in codes if id not in finished]
    return Outcome(report, tuple(finished), tuple(broken), tuple(remaining), interrupted)


def redraw(path: str | os.PathLike[str]) -> Outcome:
    """Make claims, figures and report of the reproduction in ``path`` again from its saved data;
    run nothing.

    Raises
    ------
    ValueError
        If ``path`` is not a reproduction, or a file in it is damaged; the message names it.
    """
    folder = Folder.open(path)
    records = [_redescribe(folder, folder.record(id)) for id in folder.finished()]
    failed = [record.id for record in records if record.failures] + list(folder.failures)
    return Outcome(write_report(folder), tuple(record.id for record in records), tuple(failed), ())


def _run(
    folder: Folder, experiment: Experiment, scale: str, code: str, watcher: Watcher, spread: Spread | None
) -> Record:
    """Run one experiment, whose fingerprint is ``code``, and save it."""
    parameters = _as_json(experiment.parameters[scale])
    start, clock, processor = datetime.now(UTC), time.perf_counter(), time.process_time()
    parts = folder.path.resolve() / ".parts" / experiment.id
    with keeping_parts(parts, spread) as ledger:
        dataset = experiment.run(parameters, watcher)
    seconds, processor_seconds = time.perf_counter() - clock, time.process_time() - processor + ledger.earlier_seconds
    record = Record.of_run(experiment.id, scale, parameters, start, seconds, processor_seconds, code)
    claims, figure, failures = _describe(experiment, dataset, parameters)
    record = replace(record, claims=claims, failures=failures)
    folder.add(record, dataset, figure)
    shutil.rmtree(parts, ignore_errors=True)
    return record


def _describe(
    experiment: Experiment, dataset: xr.Dataset, parameters: Any
) -> tuple[list[Claim], str | None, list[Failure]]:
    """Claims and figure of saved data; what raises costs neither the data nor the other."""
    claims: list[Claim] = []
    figure = None
    failures = []
    try:
        claims = experiment.claims(dataset, parameters)
    except Exception as error:
        failures.append(Failure.of("claims", error))
    try:
        figure = draw_svg(experiment.id, dataset)
    except Exception as error:
        failures.append(Failure.of("figure", error))
    return claims, figure, failures


def _redescribe(folder: Folder, record: Record) -> Record:
    dataset = folder.dataset(record.id)
    claims, figure, failures = _describe(experiments.get(record.id), dataset, record.parameters)
    record = replace(record, claims=claims, failures=failures)
    folder.update(record, figure)
    return record


def _tell(watcher: Watcher, record: Record, kept: bool) -> list[str]:
    """Tell the watcher about a saved experiment; its id if something about it failed."""
    (watcher.kept if kept else watcher.finished)(record)
    for failure in record.failures:
        watcher.failed(record.id, failure)
    return [record.id] if record.failures else []


@contextmanager
def _opened(out: Path, scale: str, chosen: list[Experiment], resume: bool) -> Iterator[Folder]:
    """The folder for a run of ``chosen``, locked; everything is checked before anything is
    touched.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"--out must be a folder, and {out} is a file") from None
    except OSError as error:
        raise InputError(f"--out must be a folder, and {out} cannot be made: {error.strerror}") from None
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError(f"--out must be a folder that can be written to, and {out} cannot")
    _refuse_foreign(out)
    with locked(out):
        if (out / "manifest.json").exists():
            folder = Folder.open(out)
            if folder.finished():
                _check_same(folder, scale, chosen, resume)
                yield folder
                return
        _refuse_foreign(out)
        yield Folder.create(out, scale)


def _refuse_foreign(out: Path) -> None:
    """Refuse a folder that holds other things than a reproduction, before anything is put there."""
    known = (out / "manifest.json").exists()
    if not known and any(not path.name.startswith((TEMPORARY_PREFIX, LOCK)) for path in out.iterdir()):
        raise InputError(f"--out must be a new folder or an earlier reproduction, and {out} holds other files")


def _check_same(folder: Folder, scale: str, chosen: list[Experiment], resume: bool) -> None:
    """Refuse to mix what is finished in ``folder`` with anything else."""
    out, finished = folder.path, folder.finished()
    if folder.scale != scale:
        raise InputError(
            f"{out} holds results at scale {folder.scale}, not {scale}: choose another --out, or --scale {folder.scale}"
        )
    for experiment in chosen:
        if experiment.id in finished:
            asked = _as_json(experiment.parameters[scale])
            # compared as text, in which a NaN equals itself
            both = (folder.record(experiment.id).parameters, asked)
            then, now = ({name: json.dumps(value, sort_keys=True) for name, value in each.items()} for each in both)
            differing = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
            if differing:
                raise InputError(
                    f"{out} holds {experiment.id} with other parameters ({', '.join(differing)}): choose another --out"
                )
    if not resume:
        noun = "experiment" if len(finished) == 1 else "experiments"
        raise InputError(
            f"{out} already holds {len(finished)} finished {noun}: add --resume to keep them and go on, "
            "or choose another --out"
        )


def _as_json(parameters: Any) -> Any:
    """``parameters`` as they are after saving, so that a run and its record cannot differ."""
    return json.loads(json.dumps(parameters))
