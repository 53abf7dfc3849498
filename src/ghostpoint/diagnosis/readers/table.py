"""From a table of columns to runs: which column is what, which rows belong together, in which
order.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ghostpoint.diagnosis.history import History, RunHistory
from ghostpoint.diagnosis.readers.cells import CellError, column_numbers
from ghostpoint.diagnosis.readers.columns import (
    MATCHED,
    RUNS,
    STEPS,
    best_columns,
    is_better_larger,
    is_bounds,
    rank_of,
    run_prefix,
    words_of,
)
from ghostpoint.diagnosis.readers.long_tables import by_metric, by_side
from ghostpoint.errors import InputError

__all__ = ["Choice", "Source", "Table", "history_of_table", "shared_accuracy", "to_be_small"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """Columns that the caller names: ``step``, ``loss`` and ``accuracy``, each None to find them by
    name.
    """

    step: str | None = None
    loss: str | None = None
    accuracy: str | None = None


class Source(NamedTuple):
    """A file or folder to be read: its path, its name in lower case without the suffix of a
    compression, its bytes.

    The bytes are decompressed; a folder has none.
    """

    path: Path
    name: str
    blob: bytes


@dataclass
class Table:
    """Columns of cells of one source, all of one length, and the account of what reading left out.

    ``lines`` are the lines of the file that the rows stood on, for messages; None if there are
    none.
    """

    source: str
    columns: dict[str, Any]
    account: list[str] = field(default_factory=list)
    lines: Sequence[int] | None = None
    run: str | None = None

    def numbers(self, name: str) -> tuple[Floats, NDArray[np.bool_]]:
        """Numbers of a column and marks of what was written."""
        try:
            return column_numbers(self.columns[name])
        except CellError as error:
            row = error.index + 1 if self.lines is None else self.lines[error.index]
            raise InputError(
                f"{self.source}: column {name!r}, row {row}: must hold a number or nothing, got {error.text[:60]!r}"
            ) from None


def history_of_table(table: Table, choice: Choice) -> History:
    """The runs of ``table``.

    Rows of a training and a validation set that a column tells apart, and rows of one metric each,
    are made columns first. Without a loss, one minus the accuracy or a negative reward is one.

    Runs are told apart by a column (``run``, ``seed``, ``network``, ...), by W&B's
    ``"name - metric"`` headers, by numbered losses (``loss_0``, ``loss_1``), or by steps that begin
    again at the first value.

    Raises
    ------
    ValueError
        If no column, or several, could be the loss; if a named column is missing; if a cell is no
        number.
    """
    for reshape in (by_side, by_metric):
        if (reshaped := reshape(table.columns)) is not None:
            table = replace(table, columns=reshaped[0], account=[*table.account, reshaped[1]])
    account = list(table.account)
    for role, name in (("step", choice.step), ("loss", choice.loss), ("accuracy", choice.accuracy)):
        if name is not None and name not in table.columns:
            raise InputError(f"{table.source}: {role} must be one of {_listed(table.columns)}; got {name!r}")
    names = [name for name in table.columns if not is_bounds(name) or name == choice.loss]
    if len(names) < len(table.columns):
        account.append(f"left out {len(table.columns) - len(names)} columns of bounds (__MIN, __MAX)")
    groups = _groups_of_columns(names, choice)
    by_run = _run_column(table, names) if len(groups) == 1 else None
    runs: list[RunHistory] = []
    columns: dict[str, str] = {}
    taken: list[str] = []
    for prefix, members in groups.items():
        roles = _roles(table, members, choice, account)
        taken += roles.values()
        columns = columns or {role: f"* - {run_prefix(name)[1]}" if prefix else name for role, name in roles.items()}
        data = {role: table.numbers(name) for role, name in roles.items()}
        data["loss"] = to_be_small(roles["loss"], data["loss"], account)
        outputs = _outputs(table, members, roles)
        if outputs:
            columns["answers"] = ", ".join(outputs)
            data["answer_spread"] = _spread_of([table.numbers(name)[0] for name in outputs])
        steps = _step_candidates(table, names, choice, roles)
        for label, rows in _rows_by_run(table, by_run, steps):
            run, step = _run(label or prefix or table.run or "", rows, data, steps)
            if run is not None:
                runs.append(run)
                columns.setdefault("epoch", step)
    if not runs:
        raise InputError(f"{table.source}: the loss {columns.get('loss', '')!r} must have values, and has none")
    named = bool(by_run or len(groups) > 1 or table.run)
    if by_run:
        columns["run"] = by_run
    if not named:
        runs = [RunHistory(str(i), r.epoch, r.curves, r.broken, notes=r.notes) for i, r in enumerate(runs)]
    if len(runs) > 1 and not named:
        account.append(f"{len(runs)} runs without names: the step begins again at its first value")
    used = {*columns.values(), *taken}
    unused = [name for name in names if name not in used and len(groups) == 1]
    unused = [name for name in unused if name not in columns.get("answers", "")]
    if unused:
        account.append(f"not used: {_listed(unused)}")
    order = ("loss", "epoch", *(role for role in columns if role not in ("loss", "epoch")))
    return History(tuple(runs), {role: columns[role] for role in order if role in columns}, tuple(account), named)


def _groups_of_columns(names: list[str], choice: Choice) -> dict[str, list[str]]:
    """Run name to its columns: one group of all columns unless headers name several runs."""
    if choice.loss is not None:
        return {"": names}
    split: dict[str, list[str]] = {}
    for name in names:
        run, metric = run_prefix(name)
        if run and any(rank_of(metric, role) for role in MATCHED):
            split.setdefault(run, []).append(name)
    if split and any(best_columns([run_prefix(n)[1] for n in part], "loss") for part in split.values()):
        return {run: part for run, part in split.items() if best_columns([run_prefix(n)[1] for n in part], "loss")}
    numbered: dict[str, list[str]] = {}
    for name in names:
        match = re.fullmatch(r"(?:(?:train|training)_)?loss_?((?:run|seed|network|fold|trial)?_?\d+)|"
                             r"((?:run|seed|network|fold|trial)_?\d+)_(?:train_|training_)?loss",
                             words_of(name))  # fmt: skip
        if match:
            numbered.setdefault(match.group(1) or match.group(2), []).append(name)
    if not numbered:  # a column for each run, and nothing but a step beside them
        rest = [name for name in names if words_of(name) not in STEPS]
        alone = [re.fullmatch(r"(?:run|seed|network|fold|trial)_?\d+", words_of(name)) for name in rest]
        numbered = {name: [name] for name in rest} if all(alone) else {}
    if len(numbered) > 1 and not any(rank_of(n, "loss") == (0, 0, 0) for n in names):
        return numbered
    return {"": names}


def _roles(table: Table, names: list[str], choice: Choice, account: list[str]) -> dict[str, str]:
    """Role to column for one run's columns."""
    plain = {run_prefix(name)[1] if len(names) < len(table.columns) else name: name for name in names}
    roles: dict[str, str] = {}
    for role in MATCHED:
        given = choice.loss if role == "loss" else choice.accuracy if role == "accuracy" else None
        if given is not None:
            roles[role] = given
            continue
        best = [plain[name] for name in best_columns(plain, role) if plain[name] not in roles.values()]
        if len(best) > 1:
            best = _fullest(table, best)
        if role == "loss" and len(best) != 1:
            best = best or (names if len(names) == 1 < len(table.columns) else _only_numbers(table, names))
            best = best or _instead_of_a_loss(table, plain)
            if len(best) != 1:
                what = "several that could be it" if len(best) > 1 else "none that could be it"
                raise InputError(
                    f"{table.source}: loss must be named, as there are {what}: {_listed(best or table.columns)}"
                )
        if len(best) == 1:
            roles[role] = best[0]
        elif best:
            account.append(f"no {role.replace('_', ' ')} read, as several could be it: {_listed(best)}")
    chosen = roles["loss"]
    if rank_of(chosen, "accuracy"):
        roles.setdefault("accuracy", chosen)
    ranks = [(rank, name) for short, name in plain.items() if (rank := rank_of(short, "loss")) and rank[0] == 2]
    if ranks and (rank_of(chosen, "loss") or (0,))[0] < 2:
        roles["validation_loss"] = min(ranks)[1]
    return roles


def _fullest(table: Table, names: list[str]) -> list[str]:
    """The columns with the most values, where one has more than all others."""
    counts = [int(table.numbers(name)[1].sum()) for name in names]
    best = [name for name, count in zip(names, counts, strict=True) if count == max(counts)]
    words = {words_of(name) for name in best}
    return best[:1] if len(words) == 1 else best


def _only_numbers(table: Table, names: list[str]) -> list[str]:
    """The loss of a table whose names say nothing: TensorBoard's ``Value``, a column alone, or one
    beside a step.
    """
    for name in names:
        if words_of(name) in ("value", "values"):
            return [name]
    if names == ["column 1", "column 2"] and _ascends(table.numbers("column 1")[0]):
        return ["column 2"]
    rest = [name for name in names if words_of(name) not in (*STEPS, *RUNS, "wall_time", "timestamp")]
    return rest if len(rest) == 1 and re.fullmatch(r"column_\d+|\d*|loss.*|unnamed.*", words_of(rest[0])) else []


def _instead_of_a_loss(table: Table, plain: Mapping[str, str]) -> list[str]:
    """The accuracy, else the rewards or scores, else the only column of numbers that counts
    nothing."""
    found = [plain[name] for name in best_columns(plain, "accuracy")]
    found = found or [plain[name] for name in plain if is_better_larger(name)]
    if not found and set(plain) == {"r", "l", "t"}:
        found = [plain["r"]]  # rewards, lengths and times of Stable-Baselines' monitor
    return found or [name for name in plain.values() if _may_be_a_loss(table, name)]


def _may_be_a_loss(table: Table, name: str) -> bool:
    words = words_of(name)
    if words in (*STEPS, *RUNS) or any(rank_of(name, role) for role in MATCHED):
        return False
    if re.search(r"(^|_)(time|seconds|timestamp|date|duration|memory|size|eta)(_|$)", words):
        return False
    try:
        numbers = table.numbers(name)[0]
    except ValueError:
        return False
    known = numbers[np.isfinite(numbers)]
    return len(known) > 1 and not (_ascends(known) and bool((known == np.round(known)).all()))


def to_be_small(
    name: str, values: tuple[Floats, NDArray[np.bool_]], account: list[str]
) -> tuple[Floats, NDArray[np.bool_]]:
    """What a training makes large as a loss: one minus an accuracy, the negative of a reward."""
    numbers, written = values
    if rank_of(name, "accuracy"):
        whole = 100.0 if np.nanmax(numbers, initial=0.0) > 1.5 else 1.0
        account.append(f"no loss: {whole:g} - {name} is judged as one")
        return whole - numbers, written
    if name == "r" or (is_better_larger(name) and not rank_of(name, "loss")):
        account.append(f"{name} is taken to be better the larger: its negative is judged as the loss")
        return -numbers, written
    return values


def _outputs(table: Table, names: list[str], roles: Mapping[str, str]) -> list[str]:
    """Two columns or more that hold a network's answers to different inputs, such as ``out_a`` and
    ``out_b``.
    """
    pattern = r"(out|output|pred|prediction|answer|y_hat)_.+"
    found = [name for name in names if re.fullmatch(pattern, words_of(name)) and name not in roles.values()]
    try:
        return found if len(found) > 1 and all(table.numbers(name)[1].any() for name in found) else []
    except ValueError:
        return []


def _spread_of(answers: list[Floats]) -> tuple[Floats, NDArray[np.bool_]]:
    stack = np.stack(answers)
    known = np.isfinite(stack).all(axis=0)
    return np.where(known, np.ptp(np.where(known, stack, 0.0), axis=0), np.nan), np.asarray(known)


def _run_column(table: Table, names: list[str]) -> str | None:
    """The column that tells runs apart: of a known name, with values that repeat."""
    for wanted in RUNS:
        for name in names:
            if words_of(name) != wanted:
                continue
            labels = [str(cell) for cell in table.columns[name]]
            if 2 * len(set(labels)) <= len(labels):
                return name
    return None


def _step_candidates(
    table: Table, names: list[str], choice: Choice, roles: Mapping[str, str]
) -> list[tuple[str, Floats]]:
    """Columns that may number the rows, the best name first."""
    if choice.step is not None:
        return [(choice.step, table.numbers(choice.step)[0])]
    found: list[tuple[str, Floats]] = []
    for wanted in STEPS:
        for name in names:
            words = words_of(run_prefix(name)[1])
            same = words == wanted or words in (f"train_{wanted}", f"trainer_{wanted}", f"training_{wanted}")
            if same and name not in roles.values() and name not in dict(found):
                try:
                    numbers = table.numbers(name)[0]
                except ValueError:
                    continue
                if np.isfinite(numbers).any():
                    found.append((name, numbers))
    if not found and "column 1" in table.columns and roles["loss"] != "column 1":
        found.append(("column 1", table.numbers("column 1")[0]))
    return found


def _rows_by_run(
    table: Table, by_run: str | None, steps: list[tuple[str, Floats]]
) -> list[tuple[str, NDArray[np.int64]]]:
    """Name and row numbers of each run, in the order of the file."""
    count = len(next(iter(table.columns.values())))
    if by_run is not None:
        cells = [str(cell) for cell in table.columns[by_run]]
        member, labels = pd.factorize(np.array(cells, dtype=object))
        order = np.argsort(member, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(member[order])) + 1)
        parts.sort(key=lambda rows: int(rows[0]))
        return [(_tidy(str(labels[member[rows[0]]])), rows) for rows in parts]
    for _, step in steps:
        known = np.flatnonzero(np.isfinite(step))
        values = step[known]
        if (np.diff(values) >= 0).all() and values[-1] > values[0]:
            break  # what begins again below it numbers the rows within an epoch
        starts = np.flatnonzero((values[1:] == values[0]) & (np.diff(values) < 0)) + 1
        edges = np.concatenate([[0], starts, [len(values)]])
        ascending = all((np.diff(values[a:b]) >= 0).all() for a, b in itertools.pairwise(edges))
        if len(starts) and ascending and np.diff(edges).min() >= 3:
            cuts = [0, *known[starts].tolist(), count]
            return [("", np.arange(a, b)) for a, b in itertools.pairwise(cuts)]
    return [("", np.arange(count))]


def _tidy(label: str) -> str:
    return label[:-2] if re.fullmatch(r"\d+\.0", label) else label


def _run(
    name: str,
    rows: NDArray[np.int64],
    data: Mapping[str, tuple[Floats, NDArray[np.bool_]]],
    steps: list[tuple[str, Floats]],
) -> tuple[RunHistory | None, str]:
    """One run from its rows, ordered by step, and the name of the step taken."""
    notes: list[str] = []
    written = data["loss"][1][rows]
    any_value = written | np.any([np.isfinite(values[rows]) for values, _ in data.values()], axis=0)
    if not written.any():
        return None, ""
    empty = int((~any_value).sum())
    without = int((any_value & ~written).sum())
    if empty:
        notes.append(f"{empty} rows without any value left out")
    if without:
        notes.append(f"{without} rows without a loss (such as validation rows) not used for the loss")
    epoch, label = _numbered(rows, written, steps, notes)
    kept = any_value & np.isfinite(epoch)
    lost = int((any_value & ~np.isfinite(epoch)).sum())
    if lost:
        notes.append(f"{lost} rows without a step left out")
    at = np.flatnonzero(kept)
    at = at[np.argsort(epoch[at], kind="stable")]
    if (np.diff(epoch[kept]) < 0).any():
        notes.append("rows are not in the order of the steps: sorted")
    # of rows with the same step the last written value of each column stands
    unique, first = np.unique(epoch[at], return_index=True)
    repeated = int(written[at].sum() - np.add.reduceat(written[at], first).clip(max=1).sum()) if len(at) else 0
    if repeated:
        notes.append(f"{repeated} rows repeat a step (a resumed run): the later value is kept")
    curves: dict[str, Floats] = {}
    broken = np.zeros(len(unique), dtype=bool)
    for role, (values, marks) in data.items():
        column, mark = values[rows][at], marks[rows][at]
        last = np.where(mark, np.arange(len(at)), -1)
        place = np.maximum.reduceat(last, first) if len(at) else np.zeros(0, dtype=int)
        found = place >= 0
        curve = np.where(found, column[np.maximum(place, 0)], np.nan)
        if role == "loss":
            broken = found & ~np.isfinite(curve)
        if np.isfinite(curve).any() or role == "loss":
            curves[role] = curve
    notes += shared_accuracy(curves)
    return RunHistory(name, unique, curves, broken, notes=tuple(notes)), label


def shared_accuracy(curves: dict[str, Floats]) -> list[str]:
    """Bring ``curves["accuracy"]`` to [0, 1], or take it out if it is no accuracy; remarks on what
    was done.

    Values above 1.5 are in percent. Beyond -0.01 and 101 they are neither.
    """
    if "accuracy" not in curves:
        return []
    finite = curves["accuracy"][np.isfinite(curves["accuracy"])]
    if not len(finite):
        return []
    low, high = float(finite.min()), float(finite.max())
    if low < -0.01 or high > 101.0:
        del curves["accuracy"]
        return [f"accuracy not used: it must be from 0 to 1, or to 100 in percent, and goes from {low:g} to {high:g}"]
    if high > 1.5:
        curves["accuracy"] = curves["accuracy"] / 100.0
        return ["accuracy read as percent"]
    return []


def _numbered(
    rows: NDArray[np.int64], written: NDArray[np.bool_], steps: list[tuple[str, Floats]], notes: list[str]
) -> tuple[Floats, str]:
    """The step of every row: the first candidate without repeats, else the one with the fewest."""
    if not steps:
        return np.arange(len(rows), dtype=np.float64), "row number"
    best, name, fewest = steps[0][1][rows], steps[0][0], np.inf
    ascending = [step for step in steps if _ascends(step[1][rows])]
    for label, values in ascending or steps:
        mine = values[rows]
        used = mine[written & np.isfinite(mine)]
        missing = int(written.sum()) - len(used)
        repeats = len(used) - len(np.unique(used)) + missing
        if repeats < fewest:
            best, name, fewest = mine, label, repeats
        if repeats == 0:
            break
    used = best[written & np.isfinite(best)]
    if len(used) == 0:
        return np.arange(len(rows), dtype=np.float64), "row number"
    distinct = len(np.unique(used))
    # several rows to a step throughout: places within a step follow the order of the file
    if distinct == 1 and len(used) > 2:
        notes.append(f"{name} is the same in every row: rows are numbered instead")
        return np.arange(len(rows), dtype=np.float64), "row number"
    if len(used) >= 2 * distinct and (np.diff(used) >= 0).all():
        filled = _filled_forward(best)
        value, start, count = np.unique(filled, return_index=True, return_counts=True)
        place = np.arange(len(filled)) - np.repeat(start, count)
        gap = np.append(np.diff(value), np.diff(value)[-1] if len(value) > 1 else 1.0)
        notes.append(f"several rows to each {name}: spaced evenly within it")
        return filled + place / np.repeat(count, count) * np.repeat(gap, count), name
    return best, name


def _ascends(values: Floats) -> bool:
    """Whether what is known never falls, and rises."""
    known = values[np.isfinite(values)]
    return len(known) > 1 and bool((np.diff(known) >= 0).all()) and bool(known[-1] > known[0])


def _filled_forward(values: Floats) -> Floats:
    known = np.isfinite(values)
    at = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    first = int(known.argmax())
    return values[np.where(at < 0, first, at)]


def _listed(names: Any) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
