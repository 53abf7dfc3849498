"""Histories in memory: runs of this library, xarray, pandas, mappings, lists and arrays, as one
record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from ghostpoint.diagnosis.forecast import plateau_ends
from ghostpoint.diagnosis.history import CURVES, History, RunHistory
from ghostpoint.diagnosis.readers.columns import MATCHED, STEPS, best_columns, is_better_larger, rank_of, words_of
from ghostpoint.diagnosis.readers.table import Choice, Table, history_of_table, shared_accuracy, to_be_small
from ghostpoint.errors import InputError
from ghostpoint.results import TrainingRun
from ghostpoint.tasks import Task

__all__ = ["history_of", "roles_of"]

Floats = NDArray[np.float64]
_EPOCHS = {*STEPS, "x", "point", "points"}
_MEMBERS = ("network", "run", "seed", "member", "replicate", "trial", "model", "sample")


def history_of(source: Any, choice: Choice | None = None, name: str = "history") -> History:
    """``source`` as a history. ``name`` is what messages call it.

    Raises
    ------
    ValueError
        If the loss is missing, shapes do not fit, or epochs do not ascend.
    """
    choice = choice or Choice()
    if isinstance(source, History):
        return source
    if isinstance(source, TrainingRun):
        found = _of_dataset(source.history, Choice(), name, _levels_of_run(source))
        ends = [None if np.isnan(end) else float(end) for end in plateau_ends(source)]
        return replace(found, runs=tuple(map(lambda run, end: replace(run, plateau_end=end), found.runs, ends)))
    if isinstance(source, pd.DataFrame):
        frame = source if isinstance(source.index, pd.RangeIndex) else source.reset_index()
        columns: dict[str, Any] = {_label(label): frame[label].to_numpy() for label in frame.columns}
        return history_of_table(Table(name, columns), choice)
    if isinstance(source, pd.Series):
        numeric = pd.api.types.is_numeric_dtype(source.index)
        own = str(source.name) if _grows(str(source.name)) else "loss"
        source = {own: source.to_numpy()} | ({"epoch": source.index.to_numpy()} if numeric else {})
    if isinstance(source, xr.DataArray):
        source = source.to_dataset(name=str(source.name) if _grows(str(source.name)) else "loss")
    if isinstance(source, xr.Dataset):
        return _of_dataset(source, choice, name, None)
    if isinstance(source, Mapping):
        return _of_mapping(source, choice, name)
    if isinstance(source, list | tuple) and len(source) > 1 and len({np.size(part) for part in source}) > 1:
        losses = [_numbers("loss", part) for part in source]
        if all(loss.ndim == 1 and loss.size for loss in losses):
            return History(tuple(RunHistory(str(i), np.arange(len(x), dtype=float), {"loss": x})
                                 for i, x in enumerate(losses)))  # fmt: skip
    if isinstance(source, list | tuple) and source and all(isinstance(row, Mapping) for row in source):
        from ghostpoint.diagnosis.readers.json_records import table_of_rows

        return history_of_table(table_of_rows([dict(row) for row in source], name), choice)
    return _of_arrays({"loss": source}, None, None, {})


def _grows(name: str) -> bool:
    """Whether what has this name becomes larger as a network learns: an accuracy, a reward. Other
    words in it say that it is the name of a run.
    """
    words = words_of(name)
    rank = rank_of(name, "accuracy")
    return (rank is not None and rank[1] < 20) or (is_better_larger(name) and len(words.split("_")) <= 3)


def _label(label: Any) -> str:
    return "/".join(map(str, label)) if isinstance(label, tuple) else str(label)


def roles_of(names: list[str], steps: list[str], choice: Choice, name: str) -> dict[str, str]:
    """Role to the name that is chosen for it, or else is the role's own or fits it best."""
    given = {"loss": choice.loss, "accuracy": choice.accuracy}
    for role, wanted, there in (*((r, w, names) for r, w in given.items()), ("epoch", choice.step, steps)):
        if wanted is not None and wanted not in there:
            raise InputError(f"{role} must be one of {', '.join(names)}; got {wanted!r}")
    found: dict[str, str] = {}
    for role in CURVES:
        if given.get(role) or role in names:
            found[role] = given.get(role) or role
        elif role not in ("validation_loss", "answer_spread"):
            best = [key for key in best_columns(names, role) if key not in found.values()]
            if len(best) == 1:
                found[role] = best[0]
            elif best and role == "loss":
                raise InputError(
                    f"{name}: loss must be named, as there are several that could be it: {', '.join(best)}"
                )
    if "validation_loss" not in found and found.get("loss", "val_loss") != "val_loss" and "val_loss" in names:
        found["validation_loss"] = "val_loss"
    return found


def _of_mapping(source: Mapping[Any, Any], choice: Choice, name: str) -> History:
    """A mapping of curves by name, or of losses by run."""
    names = [str(key) for key in source]
    columns = roles_of(names, names, choice, name)
    if "loss" not in columns:
        parts = {str(key): part for key, part in source.items() if np.ndim(part) == 1 and np.size(part)}
        metrics = [key for key in parts if _grows(key)]
        beside = [key for key in parts if key not in metrics and words_of(key) not in STEPS]
        known = all(any(rank_of(key, role) for role in MATCHED) for key in beside)
        if metrics and known and len({np.size(part) for part in parts.values()}) == 1:
            return history_of_table(Table(name, {key: np.asarray(part) for key, part in parts.items()}), choice)
        if len(parts) == len(source) > 0 and not any(best_columns([key], "accuracy") for key in parts):
            try:
                losses = {key: np.asarray(part, dtype=np.float64) for key, part in parts.items()}
            except (TypeError, ValueError):
                losses = {}
            if losses and not any(words_of(key) in STEPS for key in losses) and min(map(len, losses.values())) >= 3:
                runs = [RunHistory(key, np.arange(len(x), dtype=float), {"loss": x}) for key, x in losses.items()]
                return History(tuple(runs), named=True)
        raise InputError(f"{name} must have loss, got {', '.join(names) or 'nothing'}")
    step = choice.step or next((key for wanted in STEPS[:8] for key in names if words_of(key) == wanted), None)
    by_text = {str(key): part for key, part in source.items()}
    arrays = {role: by_text[key] for role, key in columns.items()}
    shown = columns | ({"epoch": step} if step else {})
    plain = all(role == key for role, key in shown.items())
    return _of_arrays(arrays, None if step is None else by_text[step], None, {} if plain else shown)


def _levels_of_run(run: TrainingRun) -> tuple[float, float | None]:
    """Loss and accuracy at chance of the task of a run, written beside it; older runs have the task
    alone.
    """
    if "chance_loss" in run.config:
        return run.config["chance_loss"], run.config["chance_accuracy"]
    task = Task.from_dict(run.config["task"])
    return task.chance_loss, task.chance_accuracy


def _of_dataset(source: xr.Dataset, choice: Choice, name: str, levels: tuple[float, float | None] | None) -> History:
    names = [str(key) for key in source.variables if source[key].dtype.kind in "fiub"]
    data = [key for key in names if key in source.data_vars]
    found = roles_of(names, [*names, *map(str, source.dims)], choice, name)
    if "loss" not in found:
        if len(data) != 1 or source[data[0]].ndim not in (1, 2) or data[0] in ("x", "y"):
            raise InputError(f"{name} must have a variable loss, got {', '.join(map(str, source.data_vars)) or 'none'}")
        found["loss"] = data[0]
    epoch_dim, member = _dimensions(source[found["loss"]], choice.step)
    arrays = {}
    for role, key in found.items():
        order = [d for d in (member, epoch_dim) if d is not None and d in source[key].dims]
        extra = set(source[key].dims) - set(order)
        if extra and role == "loss":
            raise InputError(f"loss must have dimensions (network, epoch) or (epoch,), got {source[key].dims}")
        if not extra:
            arrays[role] = source[key].transpose(*order).values
    epochs = source[epoch_dim].values if epoch_dim in source.coords else None
    if epochs is not None and epochs.dtype.kind not in "fiu":
        epochs = None
    labels = None
    if member is not None and member in source.coords and source[member].dtype.kind in "UOiu":
        labels = [str(label) for label in source[member].values]
    account: list[str] = []
    if _grows(found["loss"]):
        loss = _numbers("loss", arrays["loss"])
        arrays["loss"], _ = to_be_small(found["loss"], (loss, np.isfinite(loss)), account)
    shown = {role: key for role, key in found.items() if role in arrays}
    plain = all(role == key for role, key in shown.items()) and epoch_dim == "epoch"
    history = _of_arrays(arrays, epochs, labels, {} if plain else shown | {"epoch": epoch_dim}, levels)
    return replace(history, account=(*history.account, *account))


def _dimensions(loss: xr.DataArray, step: str | None) -> tuple[str, str | None]:
    """The dimension of epochs and that of networks, by name, else the longer one is that of
    epochs.
    """
    dims = [str(d) for d in loss.dims]
    if not 1 <= len(dims) <= 2:
        raise InputError(f"loss must have dimensions (network, epoch) or (epoch,), got {loss.dims}")
    epoch = step if step in dims else next((d for d in dims if words_of(d) in _EPOCHS), None)
    if len(dims) == 1:
        return dims[0], None
    member = next((d for d in dims if words_of(d) in _MEMBERS and d != epoch), None)
    if epoch is None:
        epoch = (
            next(d for d in dims if d != member) if member else max(dims, key=lambda d: (loss.sizes[d], dims.index(d)))
        )
    return epoch, next(d for d in dims if d != epoch)


def _of_arrays(
    arrays: Mapping[str, Any],
    epochs: Any,
    labels: list[str] | None,
    columns: Mapping[str, str],
    levels: tuple[float, float | None] | None = None,
) -> History:
    """Runs of arrays of shape (E,), (R,) or (R, E)."""
    loss = _numbers("loss", arrays["loss"])
    if loss.ndim not in (1, 2) or not loss.size:
        raise InputError(f"loss must have shape (epochs,) or (networks, epochs), got {loss.shape}")
    if loss.ndim == 2 and loss.shape[1] == 1 and epochs is None and labels is None:
        loss = loss.ravel()  # one run as a column
    if loss.ndim == 2:
        _ask_about_shape(loss, epochs)
    loss = np.atleast_2d(loss)
    networks, length = loss.shape
    epoch = np.arange(length, dtype=np.float64) if epochs is None else _numbers("epoch", epochs)
    if epoch.ndim == 2 and epoch.shape == loss.shape and (epoch == epoch[0]).all():
        epoch = epoch[0]
    if epoch.shape != (length,):
        raise InputError(f"epoch must be {length} ascending numbers, one per loss, got shape {epoch.shape}")
    wrong = np.flatnonzero(~np.isfinite(epoch) | np.r_[False, np.diff(epoch) <= 0])
    if len(wrong):
        at = int(wrong[0])
        before = f" after {epoch[at - 1]:g}" if at else ""
        raise InputError(f"epoch must be {length} ascending numbers, one per loss, got {epoch[at]:g}{before}")
    filled = {"loss": loss} | {
        role: _spread(role, _numbers(role, values), networks, length)
        for role, values in arrays.items()
        if role != "loss"
    }
    account = shared_accuracy(filled)
    last = [int(np.flatnonzero(np.isfinite(row))[-1]) if np.isfinite(row).any() else -1 for row in loss]
    longest = max(last)
    level = (None, None) if levels is None else levels
    names = labels if labels is not None and len(set(labels)) == networks else [str(i) for i in range(networks)]
    runs = tuple(
        RunHistory(
            names[row], epoch, {role: values[row] for role, values in filled.items()},
            padded=levels is None and networks > 1 and last[row] < longest, chance_loss=level[0],
            chance_accuracy=level[1],
        )
        for row in range(networks)
    )  # fmt: skip
    named = labels is not None and any(not label.isdigit() for label in labels)
    return History(runs, dict(columns), tuple(account), named)


def _ask_about_shape(loss: Floats, epochs: Any) -> None:
    """Refuse arrays that look transposed or hold (epoch, loss) pairs: many verdicts on them would
    be wrong.
    """
    rows, length = loss.shape
    if length == 2 and rows > 2 and epochs is None:
        steps = np.diff(loss[:, 0])
        if np.isfinite(steps).all() and (steps > 0).all():
            raise InputError(
                f"loss must have shape (networks, epochs), got {loss.shape}: is each row (epoch, loss)? "
                "Give {'epoch': a[:, 0], 'loss': a[:, 1]}"
            )
    if rows == 2 and length > 2 and epochs is None:
        steps = np.diff(loss[0])
        whole = np.isfinite(loss[0]).all() and (loss[0] == np.round(loss[0])).all()
        if whole and (steps > 0).all():
            raise InputError(
                f"loss must have shape (networks, epochs), got {loss.shape}: is the first row the epoch? "
                "Give {'epoch': a[0], 'loss': a[1]}"
            )
    if rows >= 4 * length and rows >= 20:
        raise InputError(
            f"loss must have shape (networks, epochs), got {loss.shape}: {rows} networks of {length} epochs. "
            f"Give its transpose if it has {length} networks; else a Dataset over (network, epoch)"
        )


def _numbers(name: str, values: Any) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be an array of numbers, got {str(values)[:80]}") from None


def _spread(name: str, values: Floats, networks: int, length: int) -> Floats:
    """``values`` of shape (), (E,), (R,), (1, E) or (R, E) as (R, E); (E,) before (R,) where both
    fit.
    """
    shape = values.shape
    if shape in ((), (length,), (1, length), (networks, length)):
        return np.array(np.broadcast_to(values, (networks, length)))
    if shape == (networks,):
        return np.repeat(values[:, None], length, axis=1)
    raise InputError(f"{name} must have shape ({length},), ({networks},) or ({networks}, {length}), got {shape}")
