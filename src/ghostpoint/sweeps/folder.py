"""The folder of a sweep, which is the truth about it: what is asked for, finished, claimed and
failed.

``grids/0001.json`` and on: what was asked for, each time it changed, with the hash of the code.
``shards/KEY.shard``: finished, never changed. ``claims/KEY``: locked by who computes it.
``parts/``: kept parts of long trainings. ``failures/KEY.json``: tracebacks. ``damaged/``: files
that were set aside. ``progress/``: what each process does.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from ghostpoint.errors import InputError
from ghostpoint.fingerprint import fingerprint
from ghostpoint.sweeps.configuration import Configuration
from ghostpoint.sweeps.shard_file import Damaged, check, read_header, read_rows, write_durably, write_shard
from ghostpoint.sweeps.shard_work import compute
from ghostpoint.sweeps.shards import Shard, cut
from ghostpoint.system import held

__all__ = ["ATTEMPTS", "DiskFull", "Pulse", "Stopped", "SweepFolder", "code_now"]

#: times that a shard may fail for its own reason before it is given up
ATTEMPTS = 3
FORMAT = "ghostpoint-sweep-1"
FOLDERS = ("grids", "shards", "claims", "parts", "failures", "damaged", "progress", "tmp")
SUFFIX = ".shard"
#: seconds between two notes of a process on what it does, and after which a process without one is
#: taken for gone
NOTED, GONE = 1.0, 30.0


class Stopped(Exception):
    """Somebody asked the computation to stop."""


class DiskFull(OSError):
    """There is no space left; what is finished is kept."""


class _Busy(Exception):
    """Another process computes the shard."""


@dataclass(frozen=True)
class Entry:
    """One file of ``grids``: a configuration, and the hashes of the code and of the text of all
    source files.
    """

    configuration: Configuration
    code: str
    source: str


def source_digest() -> str:
    """A digest of the text of every module of this package: equal ones need no look at what the
    text means.
    """
    root = Path(__file__).parents[1]
    whole = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        whole.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:32]


def code_now(entry: Entry | None, source: str) -> str:
    """The hash of the code that computes shards, known from an entry that was made with the same
    source files.
    """
    if entry is not None and entry.source == source:
        return entry.code
    if source not in _KNOWN:
        _KNOWN[source] = fingerprint(compute)
    return _KNOWN[source]


#: the hashes of the code by the digest of the source files
_KNOWN: dict[str, str] = {}


class SweepFolder:
    """The folder of a sweep; :meth:`create` and :meth:`open` make one.

    Attributes
    ----------
    path : Path
    entries : list of Entry
        What was asked for, in order; the last one counts.
    """

    def __init__(self, path: Path, entries: list[Entry]):
        self.path, self.entries = path, entries

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> SweepFolder:
        """The sweep in a folder; a ``ValueError`` where there is none."""
        folder = Path(path)
        entries = _entries(folder)
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder: ghostpoint sweep FILE --out {folder} makes one")
        if not entries:
            raise InputError(f"{folder} is not a folder made by ghostpoint sweep: it has no grids/0001.json")
        return cls(folder, entries)

    @classmethod
    def create(cls, path: str | os.PathLike[str], configuration: Configuration) -> SweepFolder:
        """The folder in which a configuration is computed: a new one, or one that has it or a
        smaller grid of it.

        Raises
        ------
        ValueError
            If the folder is a file, holds other things, or holds a sweep that differs in more than
            its grid.
        """
        folder = Path(path)
        _suitable(folder, configuration)
        source = source_digest()
        while True:
            entries = _entries(folder)
            last = entries[-1] if entries else None
            code = code_now(last, source)
            if last is None or (last.configuration.to_dict(), last.code) != (_plain(configuration), code):
                for name in FOLDERS:
                    (folder / name).mkdir(parents=True, exist_ok=True)
                fields = {
                    "format": FORMAT, "configuration": configuration.to_dict(), "code": code, "source": source,
                }  # fmt: skip
                target = folder / "grids" / f"{len(entries) + 1:04d}.json"
                try:
                    data = json.dumps(fields, indent=1).encode()
                    write_durably(target, folder / "tmp" / f"grid-{secrets.token_hex(8)}", [data], fresh=True)
                except FileExistsError:
                    continue  # another process was faster: look at what it wrote
                except OSError as error:
                    raise _full(folder, error) from None
                entries = _entries(folder)
            for name in FOLDERS:
                (folder / name).mkdir(exist_ok=True)
            return cls(folder, entries)

    @classmethod
    def planned(cls, path: str | os.PathLike[str], configuration: Configuration) -> SweepFolder:
        """What :meth:`create` would give, with the same errors; nothing is written."""
        folder, source = Path(path), source_digest()
        entries = _suitable(folder, configuration)
        return cls(folder, [*entries, Entry(configuration, code_now(entries[-1] if entries else None, source), source)])

    @property
    def configuration(self) -> Configuration:
        """What is asked for."""
        return self.entries[-1].configuration

    @property
    def code(self) -> str:
        """Hash of the code that computes."""
        return self.entries[-1].code

    @cached_property
    def shards(self) -> list[Shard]:
        """All shards of the sweep."""
        grids: list[Configuration] = []
        for entry in self.entries:
            if not grids or entry.configuration.to_dict() != grids[-1].to_dict():
                grids.append(entry.configuration)
        return cut(grids, self.code)

    @cached_property
    def by_key(self) -> dict[str, Shard]:
        """The shards by name."""
        return {shard.key: shard for shard in self.shards}

    def file(self, key: str) -> Path:
        """Where the finished shard is, or will be."""
        return self.path / "shards" / f"{key}{SUFFIX}"

    def finished(self) -> set[str]:
        """Names of the shards whose files are there."""
        if not (self.path / "shards").is_dir():
            return set()
        with os.scandir(self.path / "shards") as found:
            names = {entry.name.removesuffix(SUFFIX) for entry in found if entry.name.endswith(SUFFIX)}
        return names & self.by_key.keys()

    # one shard

    def run(
        self,
        shard: Shard,
        *,
        threads: int = 1,
        pulse: Pulse | None = None,
        stop: Callable[[], bool] = lambda: False,
        turn: AbstractContextManager[Any] | None = None,
    ) -> str:
        """Compute one shard unless it is there: "done", "there", "busy" (another process has it),
        or "failed".

        ``turn`` is held while the shard is computed, and no longer while it is written: so others
        compute while this one waits for the disk.

        Raises
        ------
        Stopped
            Once ``stop()`` is true.
        DiskFull
            Where the file did not fit; nothing of it stays.
        """
        target = self.file(shard.key)
        if target.exists():
            return "there"
        done = 0

        def advance(amount: int) -> None:
            nonlocal done
            done += amount
            if pulse is not None:
                pulse.advance(shard, amount)
            if stop():
                raise Stopped

        try:
            with ExitStack() as claim:
                with turn or nullcontext():
                    if stop():
                        raise Stopped
                    claim.enter_context(self._claimed(shard.key))
                    if target.exists():
                        return "there"
                    arrays = compute(
                        shard.settings, shard.networks, threads=threads, on_progress=advance, every=shard.every,
                        keep=lambda first, make: self._part(shard, first, make),
                    )  # fmt: skip
                write_shard(target, self.path / "tmp", shard.key, shard.computes, arrays)
                self._tidy(shard.key)
        except _Busy:
            return "busy"
        except Stopped:
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _full(self.path, error) from None
            self.note_failure(shard.key, error)
            return "failed"
        except Exception as error:
            self.note_failure(shard.key, error)
            return "failed"
        finally:
            if pulse is not None:
                pulse.ended(shard)
        return "done"

    @contextmanager
    def _claimed(self, key: str) -> Iterator[None]:
        """Hold the claim of a shard, which goes with the process; where files cannot be locked
        there are no claims.
        """
        claim = held(self.path / "claims" / key, "busy")
        try:
            claim.__enter__()
        except InputError:
            raise _Busy from None
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                raise
            yield
            return
        try:
            yield
        finally:
            claim.__exit__(None, None, None)

    def _part(self, shard: Shard, first: int, make: Callable[[], Any]) -> Any:
        """A part of a long training that an interrupted process left, or a new one, kept."""
        name = f"{shard.key}-{first}"
        path = self.path / "parts" / name
        if path.exists():
            try:
                header = check(path, name)
                return {one: (tuple(entry["dims"]), read_rows(header, one)) for one, entry in header.arrays.items()}
            except Damaged as damage:
                self.set_aside(path, str(damage))
        arrays = make()
        write_shard(path, self.path / "tmp", name, shard.computes, arrays)
        return arrays

    def _tidy(self, key: str) -> None:
        """Remove what a finished shard needs no more."""
        (self.path / "failures" / f"{key}.json").unlink(missing_ok=True)
        if self.by_key[key].every is not None:
            for path in (self.path / "parts").glob(f"{key}-*"):
                path.unlink(missing_ok=True)

    # what went wrong

    def note_failure(self, key: str, error: BaseException | str) -> None:
        """Add a traceback to those of a shard."""
        text = error if isinstance(error, str) else "".join(traceback.format_exception(error))
        path = self.path / "failures" / f"{key}.json"
        tried = [*self.failure(key), text]
        with suppress(OSError):  # of a full disk: then the attempt is not counted
            write_durably(path, self.path / "tmp" / f"failure-{secrets.token_hex(8)}", [json.dumps(tried).encode()])

    def failure(self, key: str) -> list[str]:
        """The tracebacks of a shard, one for every attempt that failed."""
        try:
            found = json.loads((self.path / "failures" / f"{key}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return [str(one) for one in found] if isinstance(found, list) else []

    def failures(self) -> dict[str, list[str]]:
        """Tracebacks by the names of shards of the present sweep."""
        keys = [path.stem for path in (self.path / "failures").glob("*.json")]
        return {key: texts for key in sorted(keys) if key in self.by_key and (texts := self.failure(key))}

    def retry(self) -> int:
        """Forget all failures, so that their shards are computed again; how many there were."""
        found = list((self.path / "failures").glob("*.json"))
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    def set_aside(self, path: Path, why: str) -> str:
        """Move a file that is not what it should be to ``damaged``; a line that says so."""
        for count in range(10_000):
            target = self.path / "damaged" / f"{path.name}.{count}"
            if not target.exists():
                break
        try:
            path.rename(target)
        except FileNotFoundError:
            return f"{path}: {why}; another process set it aside"
        return f"{path}: {why}; set aside as {target} and computed again"

    def check(self) -> list[str]:
        """Look at every byte of every finished shard, and set aside what is damaged or foreign; a
        line for each.
        """
        said = []
        for path in sorted((self.path / "shards").iterdir()):
            key = path.name.removesuffix(SUFFIX)
            if path.suffix != SUFFIX or len(key) != 32 or set(key) - set("0123456789abcdef"):
                said.append(self.set_aside(path, "it is no shard of a sweep").replace(" and computed again", ""))
            elif key in self.by_key:
                try:
                    check(path, key)
                except Damaged as damage:
                    said.append(self.set_aside(path, str(damage)))
        return said

    def remove_leftovers(self) -> None:
        """Remove what killed processes left half-written: files of shards that nobody computes
        now.
        """
        for path in (self.path / "tmp").iterdir():
            key = path.name.rpartition("-")[0].partition("-")[0]
            if key in self.by_key:
                with suppress(_Busy), self._claimed(key):
                    path.unlink(missing_ok=True)
            elif time.time() - path.stat().st_mtime > 60:  # small files, written within a moment
                path.unlink(missing_ok=True)
        for path in (self.path / "progress").iterdir():
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > GONE:
                    path.unlink()

    def header(self, key: str) -> Any:
        """The checked header of a finished shard."""
        return read_header(self.file(key), key)

    def space(self) -> int:
        """Free bytes of the disk."""
        return shutil.disk_usage(self.path).free


class Pulse:
    """Notes in the folder what this process computes, at most once a second, for ``ghostpoint
    status``.
    """

    def __init__(self, folder: SweepFolder):
        self.path = folder.path / "progress" / f"{socket.gethostname()}-{os.getpid()}.json"
        self.running: dict[str, int] = {}
        self.network_epochs, self.work = 0, 0.0
        self.began = self.noted = time.time()
        self._lock = Lock()

    def advance(self, shard: Shard, amount: int) -> None:
        """``amount`` network-epochs more of a shard."""
        with self._lock:
            self.running[shard.key] = self.running.get(shard.key, 0) + amount
            self.network_epochs += amount
            self.work += shard.work * amount / shard.network_epochs
            if time.time() - self.noted > NOTED:
                self._note()

    def ended(self, shard: Shard) -> None:
        """A shard is finished, or not computed on."""
        with self._lock:
            self.running.pop(shard.key, None)

    def close(self) -> None:
        """Nothing more is computed."""
        self.path.unlink(missing_ok=True)

    def _note(self) -> None:
        self.noted = time.time()
        fields = {
            "began": self.began, "now": self.noted, "running": self.running, "network_epochs": self.network_epochs,
            "work": self.work,
        }  # fmt: skip
        temporary = self.path.with_suffix(".new")
        with suppress(OSError):
            temporary.write_text(json.dumps(fields), encoding="utf-8")
            os.replace(temporary, self.path)


def _entries(folder: Path) -> list[Entry]:
    """What was asked for in a folder; none where it is no sweep."""
    entries = []
    for path in sorted((folder / "grids").glob("[0-9]*.json")):
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            known = fields["format"] == FORMAT
            entries.append(Entry(Configuration.from_dict(fields["configuration"]), fields["code"], fields["source"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is damaged ({error!r}): remove it, and the same sweep with the same grid writes it again"
            ) from None
        if not known:
            raise InputError(f"{path} is of format {fields['format']}, and this version reads {FORMAT}")
    return entries


def _suitable(folder: Path, configuration: Configuration) -> list[Entry]:
    """What was asked for in a folder so far; an error unless the configuration can be computed
    there.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out must be a folder, and {folder} is a file")
    entries = _entries(folder)
    if not entries and folder.is_dir() and any(one.name not in FOLDERS for one in folder.iterdir()):
        raise InputError(f"--out must be a new or empty folder or one of a sweep, and {folder} holds other things")
    if entries and entries[-1].configuration.identity != configuration.identity:
        raise InputError(f"{folder} holds another sweep (only values along its axes may change): choose another --out")
    return entries


def _plain(configuration: Configuration) -> dict[str, Any]:
    """A configuration as it comes back from a file."""
    return Configuration.from_dict(json.loads(json.dumps(configuration.to_dict()))).to_dict()


def _full(folder: Path, error: OSError) -> OSError:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return DiskFull(
        error.errno,
        f"the disk of {folder} is full: every finished shard is kept; free some space, and the same command goes on",
    )
