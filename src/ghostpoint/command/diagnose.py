"""What ``ghostpoint diagnose`` does: read a history, diagnose it, draw it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ghostpoint.errors import InputError


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
    from ghostpoint.checks import integer
    from ghostpoint.diagnosis import diagnose, read_history

    history = read_history(path, loss=loss, step=step, accuracy=accuracy)
    if run is not None and network is not None:
        raise InputError("run and network must not both be given: each says which run to look at")
    if run is not None:
        history = history.select(run)
    if network is not None and not 0 <= integer("network", network) < len(history):
        raise InputError(f"network must be from 0 to {len(history) - 1}, got {network}")
    diagnosis = diagnose(
        history,
        chance_loss=chance_loss,
        chance_accuracy=chance_accuracy,
        classes=classes,
        targets=None if targets is None else _answers(targets),
    )
    if network is not None:
        diagnosis = diagnosis[network]
    if figure is not None:
        from ghostpoint.figures import diagnosis as picture
        from ghostpoint.figures import save

        save(picture.draw(diagnosis.to_dataset()), figure)
    return json.dumps(diagnosis.to_json(), indent=2) if as_json else str(diagnosis)


def follow_file(
    path: Path, *, wait: float = 2.0, sleep: Callable[[float], object] = time.sleep, **options: Any
) -> Iterator[str]:
    """The diagnosis of a history that is being written, again whenever its verdicts or phases have
    changed.

    A file that is not there yet, or is empty, is waited for. It never ends by itself.

    Parameters
    ----------
    wait : float
        Seconds between two looks at the file; more where reading it takes more than a tenth of
        that.
    sleep : callable
        Waits for so many seconds.
    **options
        As for :func:`diagnose_file`.

    Raises
    ------
    ValueError
        As :func:`diagnose_file`.
    """
    size, shown = 0, None
    while True:
        start = time.monotonic()
        now = path.stat().st_size if path.exists() else 0
        if now and (now != size or path.is_dir()):
            size = now
            text = diagnose_file(path, **{**options, "as_json": True})
            found = [(run["verdict"], [phase["name"] for phase in run["phases"]]) for run in json.loads(text)["runs"]]
            if found != shown:
                shown = found
                yield text if options.get("as_json") else diagnose_file(path, **{**options, "figure": None})
        sleep(max(wait, 10 * (time.monotonic() - start)))


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
