"""What ``ghostpoint diagnose`` does: read a history, diagnose it, draw it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpoint.errors import InputError

if TYPE_CHECKING:
    from ghostpoint.diagnosis import Diagnosis


class _NotThere(InputError):
    """A file holds no history, or not the run that is asked for: it may still be written."""


def diagnose_file(
    path: Path,
    *,
    figure: Path | None = None,
    run: str | None = None,
    network: int | None = None,
    loss: str | None = None,
    step: str | None = None,
    accuracy: str | None = None,
    chance_loss: float | None = None,
    chance_accuracy: float | None = None,
    classes: int | None = None,
    targets: Path | None = None,
    as_json: bool = False,
) -> str:
    """The diagnosis of the history in the file ``path``, as text: a table for many runs, all there
    is for one.

    Parameters
    ----------
    figure : path, optional
        Where to draw the annotated loss curves; the suffix says the format.
    run : str, optional
        Name (or number) of the run to look at; all by default.
    network : int, optional
        Number of the run to look at, from 0.
    loss, step, accuracy : str, optional
        Names of columns in the file, where several could be it.
    chance_loss, chance_accuracy, classes : optional
        As for ``ghostpoint.diagnose``.
    targets : path, optional
        File of the wanted answers: ``.npy``, or text with one answer a line.
    as_json : bool
        JSON in place of the text.

    Raises
    ------
    ValueError
        For whatever cannot be read, or a run or a format that there is not.
    """
    found = _diagnosis(
        path, figure=figure, run=run, network=network, loss=loss, step=step, accuracy=accuracy,
        chance_loss=chance_loss, chance_accuracy=chance_accuracy, classes=classes, targets=targets,
    )  # fmt: skip
    return _text(found, as_json)


def follow_file(
    path: Path,
    *,
    wait: float = 2.0,
    sleep: Callable[[float], object] = time.sleep,
    say: Callable[[str], object] | None = None,
    as_json: bool = False,
    **options: Any,
) -> Iterator[str]:
    """The diagnosis of a history that is being written, again whenever its verdicts or phases have
    changed.

    A file that is not there yet, is empty, or cannot be read yet (a header alone, a torn line, a
    row without a loss) is waited for. It never ends by itself.

    Parameters
    ----------
    wait : float
        Seconds between two looks at the file; more where reading it takes more than a tenth of
        that.
    sleep : callable
        Waits for so many seconds.
    say : callable, optional
        Is told why the file cannot be read, where two looks on end find the same; by default that
        is printed as an error.
    as_json, **options
        As for :func:`diagnose_file`.

    Raises
    ------
    ValueError
        For the standard input, and arguments that no history fits, as :func:`diagnose_file`.
    """
    if str(path) == "-":
        raise InputError("path must be a file or folder to follow, got - (the standard input)")
    seen: tuple[int, ...] = (-1,)
    shown: list[Any] | None = None
    before, trouble, said = "", "", ""  # why it cannot be read: at the look before, now, and as it was said
    while True:
        start = time.monotonic()
        now, before = _stamp(path), trouble
        if now != seen or path.is_dir():
            seen = now
            try:
                found, trouble = _diagnosis(path, **options), ""
            except _NotThere as error:
                found, trouble = None, str(error)
            held = [(one.verdict, [phase.name for phase in one.phases]) for one in found or ()]
            if found is not None and held != shown:
                shown = held
                yield _text(found, as_json)
        if trouble and trouble == before != said:
            said = trouble
            (say or _to_stderr)(f"waiting, for it cannot be read yet: {trouble}")
        sleep(max(wait, 10 * (time.monotonic() - start)))


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file is written or replaced; empty where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _to_stderr(text: str) -> None:
    print(f"ghostpoint: {text}", file=sys.stderr, flush=True)


def _diagnosis(
    path: Path,
    *,
    figure: Path | None = None,
    run: str | None = None,
    network: int | None = None,
    loss: str | None = None,
    step: str | None = None,
    accuracy: str | None = None,
    targets: Path | None = None,
    **levels: Any,
) -> Diagnosis:
    """The diagnosis of what is asked for, drawn where that is asked for, too."""
    from ghostpoint.checks import integer
    from ghostpoint.diagnosis import diagnose, read_history

    if run is not None and network is not None:
        raise InputError("run and network must not both be given: each says which run to look at")
    if network is not None:
        integer("network", network)
    try:
        history = read_history(path, loss=loss, step=step, accuracy=accuracy)
        if run is not None:
            history = history.select(run)
        if network is not None and not 0 <= network < len(history):
            raise InputError(f"network must be from 0 to {len(history) - 1}, got {network}")
    except ValueError as error:
        raise _NotThere(str(error)) from error
    diagnosis = diagnose(history, targets=None if targets is None else _answers(targets), **levels)
    if network is not None:
        diagnosis = diagnosis[int(network)]
    if figure is not None:
        from ghostpoint.figures import diagnosis as picture
        from ghostpoint.figures import save

        save(picture.draw(diagnosis.to_dataset()), figure)
    return diagnosis


def _text(found: Diagnosis, as_json: bool) -> str:
    return json.dumps(found.to_json(), indent=2) if as_json else str(found)


def _answers(path: Path) -> Any:
    """The wanted answers in a file: an array, or numbers or labels, one a line or separated by
    commas.
    """
    import numpy as np

    if not path.is_file():
        raise InputError(f"targets must be a file with the wanted answers, and there is no {path}")
    if path.read_bytes()[:6] == b"\x93NUMPY":
        try:
            return np.load(path)
        except ValueError as error:
            raise InputError(f"targets must be an array of numbers or labels, and {path} is not: {error}") from None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"targets must be .npy or text with one answer a line, and {path} is neither") from None
    cells = [cell.strip() for line in text.splitlines() for cell in line.split(",") if cell.strip()]
    for some in (cells, cells[1:]):  # the first cell may be a header above numbers
        with suppress(ValueError):
            return np.array([float(cell) for cell in some])
    return np.array(cells)
