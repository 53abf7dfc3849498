"""The folder of a reproduction: what lies in it, and what may be added to it.

    DIR/manifest.json                     format, scale, version of ghostpoint, experiments that
    failed DIR/report.html                       written again after every experiment
    DIR/<experiment>/data.zarr.zip        what the experiment computed DIR/<experiment>/record.json
    exact parameters, seeds, machine, versions, duration, claims DIR/<experiment>/figure.svg

An experiment's folder appears complete, by one rename: a killed run leaves no half-written
experiment.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import xarray as xr

from ghostpoint import experiments
from ghostpoint._version import __version__
from ghostpoint.errors import InputError
from ghostpoint.experiments import Claim
from ghostpoint.storage import TEMPORARY_PREFIX, read_dataset, write_dataset, write_json_atomic, write_text_atomic
from ghostpoint.system import held

FORMAT = "ghostpoint-reproduction"
FORMAT_VERSION = 1
#: an earlier result while another takes its place
REPLACED_PREFIX = f"{TEMPORARY_PREFIX}replaced-"
LOCK = ".lock"
_PACKAGES = ("numpy", "scipy", "numba", "xarray", "zarr", "matplotlib")


@dataclass(frozen=True)
class Failure:
    """What raised, in one line and in full, and in which ``stage``: "run", "claims" or "figure"."""

    stage: str
    error: str
    traceback: str

    @classmethod
    def of(cls, stage: str, error: BaseException) -> Failure:
        """The failure that ``error`` is."""
        text = " ".join(str(error).split())
        line = f"{type(error).__name__}: {text}" if text else type(error).__name__
        return cls(stage, line, "".join(traceback.format_exception(error)))


@dataclass(frozen=True)
class Record:
    """How an experiment's saved data came about, and what they say.

    ``seconds`` is the wall time of the run, ``started`` its UTC start in ISO 8601; ``failures`` are
    claims or a figure that could not be made from the data, which are complete all the same.
    ``fingerprint`` is that of the code of the run (see ``ghostpoint.fingerprint``), and
    ``processor_seconds`` its processor time over all threads, with that of the parts which an
    interrupted run had left; records from before these were kept have "" and None.
    """

    id: str
    scale: str
    parameters: Mapping[str, Any]
    seconds: float
    started: str
    seeds: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    fingerprint: str = ""
    processor_seconds: float | None = None

    @classmethod
    def of_run(
        cls,
        id: str,
        scale: str,
        parameters: Mapping[str, Any],
        start: datetime,
        seconds: float,
        processor_seconds: float,
        fingerprint: str,
    ) -> Record:
        """The record of a run that started at ``start`` (UTC) here and took ``seconds``."""
        return cls(
            id, scale, parameters, round(seconds, 3), start.astimezone(UTC).isoformat(timespec="seconds"),
            seeds=dict(_seeds(parameters)), versions=_versions(), machine=_machine(), fingerprint=fingerprint,
            processor_seconds=round(processor_seconds, 3),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Record:
        """The inverse of :meth:`to_dict`."""
        record = cls(**fields)
        claims = [Claim.from_dict(claim) for claim in fields["claims"]]
        return replace(record, claims=claims, failures=[Failure(**failure) for failure in fields["failures"]])


class Folder:
    """An existing reproduction; :meth:`open` reads one, :meth:`create` starts one.

    Attributes
    ----------
    path : Path
    scale : str
        The scale of everything in it.
    failures : dict
        Experiments whose last run raised, by id.
    """

    def __init__(self, path: Path, scale: str, failures: Mapping[str, Failure]) -> None:
        self.path = path
        self.scale = scale
        self.failures = dict(failures)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Folder:
        """The reproduction in the folder ``path``; ``ValueError`` if none that this version
        reads.
        """
        path = Path(path)
        manifest = path / "manifest.json"
        if not manifest.is_file():
            raise InputError(f"{path} is not a folder made by ghostpoint reproduce: it has no manifest.json")
        fields = _read_json(manifest)
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise InputError(f"{manifest} is not the manifest of a ghostpoint reproduction")
        if fields.get("format_version") != FORMAT_VERSION:
            raise InputError(
                f"{path} has format version {fields.get('format_version')}, and ghostpoint {__version__} "
                f"reads and writes version {FORMAT_VERSION}: choose another folder"
            )
        failures = {id: Failure(**failure) for id, failure in fields["failures"].items()}
        return cls(path, fields["scale"], failures)

    @classmethod
    def create(cls, path: Path, scale: str) -> Folder:
        """A reproduction with nothing in it yet, in the existing folder ``path``."""
        folder = cls(path, scale, {})
        folder._write_manifest()
        return folder

    def finished(self) -> list[str]:
        """The ids of the experiments whose data are here, in the order of the publication."""
        return [id for id in experiments.IDS if (self.path / id / "record.json").is_file()]

    def record(self, id: str) -> Record:
        """The record of the finished experiment ``id``; a ``ValueError`` if it is damaged."""
        path = self.path / id / "record.json"
        try:
            return Record.from_dict(_read_json(path))
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} is not a complete record of an experiment: {error!r}") from None

    def dataset(self, id: str) -> xr.Dataset:
        """What the finished experiment ``id`` computed."""
        return read_dataset(self.path / id / "data.zarr.zip")

    def figure(self, id: str) -> str | None:
        """The figure of the finished experiment ``id`` as SVG text, or None if it could not be
        drawn.
        """
        path = self.path / id / "figure.svg"
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def add(self, record: Record, dataset: xr.Dataset, figure: str | None) -> None:
        """Put a finished experiment here, at once, in the place of an earlier result of it."""
        temporary, final = self.path / f"{TEMPORARY_PREFIX}{record.id}", self.path / record.id
        earlier = self.path / f"{REPLACED_PREFIX}{record.id}"
        temporary.mkdir()
        try:
            write_dataset(dataset, temporary / "data.zarr.zip")
            if figure is not None:
                write_text_atomic(figure, temporary / "figure.svg")
            write_json_atomic(record.to_dict(), temporary / "record.json")
            if final.exists():
                final.rename(earlier)
            temporary.rename(final)
        except BaseException:
            if earlier.exists() and not final.exists():
                earlier.rename(final)
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(earlier, ignore_errors=True)
        self.forget_failure(record.id)

    def update(self, record: Record, figure: str | None) -> None:
        """Replace the record and the figure of a finished experiment; its data stay as they are."""
        folder = self.path / record.id
        if figure is None:
            (folder / "figure.svg").unlink(missing_ok=True)
        else:
            write_text_atomic(figure, folder / "figure.svg")
        write_json_atomic(record.to_dict(), folder / "record.json")

    def fail(self, id: str, failure: Failure) -> None:
        """Note that the run of experiment ``id`` raised."""
        self.failures[id] = failure
        self._write_manifest()

    def forget_failure(self, id: str) -> None:
        """Note that what is here of experiment ``id`` is what its run gives."""
        if self.failures.pop(id, None):
            self._write_manifest()

    def remove_leftovers(self) -> None:
        """Remove what a killed run left half-written, and put back what it was about to replace."""
        for path in self.path.glob(f"{REPLACED_PREFIX}*"):
            final = self.path / path.name.removeprefix(REPLACED_PREFIX)
            if not final.exists():
                path.rename(final)
        for path in [*self.path.glob(f"{TEMPORARY_PREFIX}*"), *self.path.glob(f"*/{TEMPORARY_PREFIX}*")]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _write_manifest(self) -> None:
        fields = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "ghostpoint": __version__,
            "scale": self.scale,
            "failures": {id: asdict(failure) for id, failure in self.failures.items()},
        }
        write_json_atomic(fields, self.path / "manifest.json")


def locked(path: Path) -> AbstractContextManager[None]:
    """Hold the folder ``path`` against a second run; a ``ValueError`` if one is already in it.

    The lock goes with the process, also when it is killed; then the empty file ``.lock`` stays.
    """
    return held(path / LOCK, f"another reproduction is running in {path}: choose another --out")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from None


def _seeds(parameters: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every parameter whose name speaks of a seed, by its dotted name."""
    for name, value in parameters.items() if isinstance(parameters, Mapping) else enumerate(parameters):
        if "seed" in str(name).lower():
            yield f"{prefix}{name}", value
        elif isinstance(value, Mapping | list | tuple):
            yield from _seeds(value, f"{prefix}{name}.")


def _versions() -> dict[str, str]:
    found = {"ghostpoint": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def _machine() -> dict[str, Any]:
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return {"platform": platform.platform(), "processor": processor, "cpus": os.cpu_count()}
