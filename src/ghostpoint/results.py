"""What training leaves: a labelled history, exact events, the final networks and the configuration;
save and load.

Conventions. Epoch k is a network after k updates, so the history of E epochs goes from epoch 0 (the
initial weights) to E - 1, and ``models`` are the networks after E. Events are epochs too, exact
whatever was recorded, and -1 for never.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ghostpoint._version import __version__
from ghostpoint.checks import one_of
from ghostpoint.errors import InputError
from ghostpoint.models import FAMILIES
from ghostpoint.storage import read_dataset, write_dataset
from ghostpoint.summary import Rows, Summarised
from ghostpoint.tasks import Task

if TYPE_CHECKING:
    from ghostpoint.figures.style import Axes


KIND = "training-run"
#: epochs at the end of a run over which a lost network never rises above chance (article, Fig. 8B)
NO_LEARNING_WINDOW = 50


def no_learning_zone_entry(
    first_above_chance: NDArray[np.int64], last_above_chance: NDArray[np.int64], epochs: int
) -> NDArray[np.int64]:
    """First epoch of the no-learning zone, -1 for networks that are not in it at the end of
    ``epochs`` epochs.

    A network is in the zone when it was above chance at some epoch and at none of the last
    :data:`NO_LEARNING_WINDOW`; it entered at the epoch after the last one above chance.
    """
    lost = (first_above_chance >= 0) & (last_above_chance < epochs - NO_LEARNING_WINDOW)
    return np.where(lost, last_above_chance + 1, -1)


@dataclass(frozen=True, eq=False)
class TrainingRun(Summarised):
    """A finished call of :func:`ghostpoint.train`.

    Attributes
    ----------
    history : Dataset over (network, epoch)
        ``loss``, ``gradient_norm`` (L2, over the trainable parts; in float32 it underflows to 0
        below about 4e-23), ``accuracy`` and ``confidence`` before the update of each recorded
        epoch; coordinates ``seed``, ``learning_rate`` and ``rank`` per network.
    events : Dataset over network
        ``first_above_chance``, ``last_above_chance`` (accuracy above the task's chance),
        ``first_solved`` (loss below the solved share of chance), ``no_learning_zone_entry``
        (:func:`no_learning_zone_entry`), ``frozen`` (first epoch whose update changed no bit: the
        run is over) and ``diverged`` (first loss, or square of the gradient or of the step, that is
        not finite; the network keeps the parameters it had).
    models : LowRankRNN, FullRankRNN or another family
        The networks after the last update.
    config : dict
        The arguments of the call, JSON-serialisable. Evenly spaced epochs are written as start,
        stop and step. Lists of more than 500 other values are written as shape and SHA-256; their
        values are in the coordinates of the history, the checkpoints, the models or the task.
    checkpoints : Dataset over (checkpoint, network), or None
        The models' parts at the epochs asked for.
    complete : bool
        False when the run was interrupted; then ``config["epochs_done"]`` updates were made.
    version : str
        Of the library that made the run.
    task : Task or None
        What the networks were trained on. None for a loaded run whose task is defined in a module
        that is not imported.
    """

    history: xr.Dataset
    events: xr.Dataset
    models: Any
    config: Mapping[str, Any]
    checkpoints: xr.Dataset | None = None
    complete: bool = True
    version: str = field(default=__version__)
    task: Task | None = None

    def summary(self) -> tuple[str, Rows]:
        """What was trained, how, and what became of the networks."""
        asked, events, count = self.config, self.events, len(self.models)
        happened = {name: int((events[name] >= 0).sum()) for name in events.data_vars if name != "remedy_epochs"}
        optimizer, computed = asked.get("optimizer", "-"), f"{asked.get('engine', '-')}, {asked.get('dtype', '-')}"
        remedies = [", ".join(f"{k}={v}" for k, v in one.items() if k != "remedy") for one in asked.get("remedy") or ()]
        names = [one["remedy"] for one in asked.get("remedy") or ()]
        done = f"{asked.get('epochs_done', '-')} of {asked.get('epochs', '-')}" + (
            "" if self.complete else ", interrupted"
        )
        rows = [
            ("networks", repr(self.models)),
            ("task", self.task.summary()[0] if self.task is not None else str(asked.get("task", {}).get("task", "-"))),
            ("epochs", done),
            ("optimizer", optimizer),
            ("remedy", "; ".join(f"{name}({given})" for name, given in zip(names, remedies, strict=True)) or "none"),
            ("engine", computed),
        ]
        for label, name in (
            ("learned", "first_above_chance"), ("solved", "first_solved"), ("lost", "no_learning_zone_entry"),
            ("diverged", "diverged"),
        ):  # fmt: skip
            when = events[name].values[events[name].values >= 0]
            median = f", median epoch {int(np.median(when))}" if len(when) else ""
            rows.append((label, f"{happened[name]} of {count}{median}"))
        return repr(self), rows

    def __repr__(self) -> str:
        return f"TrainingRun({len(self.models)} networks, {self.config.get('epochs_done', '-')} epochs)"

    def plot(self, quantity: str = "loss", *, axes: Axes | None = None) -> Axes:
        """Draw a curve of the history for every network, coloured by what became of it; needs
        matplotlib.

        Parameters
        ----------
        quantity : str
            A variable of ``history``: "loss", "accuracy", "gradient_norm" and so on.
        axes : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes

        Examples
        --------
        >>> import ghostpoint as gp
        >>> run = gp.train(gp.LowRankRNN.published([0, 1]), gp.tasks.DelayedActivation(), 0.02, 100)
        >>> run.plot("gradient_norm").get_ylabel()
        'gradient norm'
        """
        from ghostpoint.figures.style import axes_or_new
        from ghostpoint.figures.training_curves import draw_on

        name = one_of("quantity", quantity, [str(each) for each in self.history.data_vars])
        chance = self.config.get(f"chance_{name}", getattr(self.task, f"chance_{name}", None))
        dataset = xr.Dataset({name: self.history[name], **self.events.data_vars})
        return draw_on(axes_or_new(axes), dataset, name, chance)

    def models_at(self, checkpoint: int) -> Any:
        """The networks at the ``checkpoint``-th of the epochs asked for (an index as for a
        list).
        """
        if self.checkpoints is None:
            raise InputError("this run has no checkpoints: name their epochs with train(..., checkpoints=...)")
        kept = self.checkpoints.isel(checkpoint=checkpoint)
        return self.models.replace(**{str(name): values.values for name, values in kept.data_vars.items()})

    def to_dataset(self) -> xr.Dataset:
        """All of it as one dataset; :meth:`from_dataset` is the inverse."""
        models = self.models
        variables: dict[str, Any] = {
            f"model_{name}": (("network", *models.dims[name]), array)
            for name, array in models.arrays().items()
            if name != "seed"
        }
        for event, value in self.events.data_vars.items():
            variables[f"event_{event}"] = value.variable
        if self.checkpoints is not None:
            variables["checkpoint_epoch"] = self.checkpoints["epoch"].variable
            for part, value in self.checkpoints.data_vars.items():
                variables[f"checkpoint_{part}"] = value.variable
        for name, value in ({} if self.task is None else self.task.parameters()).items():
            if isinstance(value, np.ndarray):
                variables[f"task_{name}"] = (tuple(f"task_{name}_{axis}" for axis in range(value.ndim)), value)
        attributes = {
            "kind": KIND,
            "version": self.version,
            "config": dict(self.config),
            "complete": self.complete,
            "model": type(models).__name__,
            "settings": {
                name: list(value) if isinstance(value, tuple) else value for name, value in models.settings().items()
            },
        }
        return self.history.assign(variables).assign_attrs(attributes)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> TrainingRun:
        """The run that :meth:`to_dataset` made ``dataset`` from."""
        if dataset.attrs.get("kind") != KIND:
            raise InputError(f"dataset must be a training run, got kind {dataset.attrs.get('kind')!r}")

        def split(prefix: str) -> dict[str, Any]:
            return {
                str(name).removeprefix(prefix): dataset[name].variable
                for name in dataset.data_vars
                if str(name).startswith(prefix)
            }

        kept = split("checkpoint_")
        checkpoints = None
        if kept:
            epoch = kept.pop("epoch")
            checkpoints = xr.Dataset(kept, coords={"epoch": epoch})
        model = {name: variable.values for name, variable in split("model_").items()}
        history = {
            name: dataset[name].variable
            for name in dataset.data_vars
            if not str(name).startswith(("model_", "event_", "checkpoint_", "task_"))
        }
        coordinates = {name: value.variable for name, value in dataset.coords.items()}
        per_network = {name: value for name, value in coordinates.items() if value.dims == ("network",)}
        family: Any = FAMILIES[one_of("the model of a saved run", dataset.attrs["model"], FAMILIES)]
        return cls(
            history=xr.Dataset(history, coords=coordinates),
            events=xr.Dataset(split("event_"), coords=per_network),
            models=family(**model, seed=dataset["seed"].values, **dataset.attrs["settings"]),
            config=dataset.attrs["config"],
            checkpoints=checkpoints,
            complete=dataset.attrs["complete"],
            version=dataset.attrs["version"],
            task=_task(dataset.attrs["config"], {name: value.values for name, value in split("task_").items()}),
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the run to one file, atomically; :func:`load` reads it back bit for bit."""
        return write_dataset(self.to_dataset(), path)


def _task(config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Task | None:
    """The task of a configuration, whose arrays are kept beside it; None where nobody here knows
    it.
    """
    try:
        return Task.from_dict({**config["task"], **arrays})
    except (InputError, KeyError, TypeError):
        return None


def load(path: str | os.PathLike[str]) -> TrainingRun:
    """The run saved at ``path``.

    Raises
    ------
    ValueError
        If there is no such file, or it is not a saved run of this library, or of a newer format.

    Examples
    --------
    >>> import tempfile, ghostpoint as gp
    >>> run = gp.train(gp.LowRankRNN.published([0]), gp.tasks.DelayedActivation(), 0.02, 10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     same = gp.load(run.save(f"{folder}/run.zip"))
    >>> bool((same.history["loss"] == run.history["loss"]).all())
    True
    """
    return TrainingRun.from_dataset(read_dataset(path))
