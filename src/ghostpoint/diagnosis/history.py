"""What is diagnosed: runs by name, each with its own epochs and curves, and an account of how they
were read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ghostpoint.errors import InputError

__all__ = ["CURVES", "History", "RunHistory"]

Floats = NDArray[np.float64]

#: curves that are looked at, loss first
CURVES = ("loss", "gradient_norm", "accuracy", "confidence", "learning_rate", "validation_loss", "answer_spread")


@dataclass(frozen=True)
class RunHistory:
    """Curves of one run over its own ascending epochs; NaN stands for not recorded.

    Attributes
    ----------
    name : str
    epoch : array of shape (E,)
        Strictly ascending epochs or steps.
    curves : mapping of name to array of shape (E,)
        Names of :data:`CURVES`; ``loss`` is always there. ``accuracy`` is in [0, 1].
        ``answer_spread`` is the largest difference between recorded answers to different inputs.
    broken : bool array of shape (E,), optional
        Where a loss was written down and is not finite. None if the source cannot tell that from a
        gap.
    padded : bool
        Whether NaN at the end may be padding, because other runs of the source are longer.
    chance_loss, chance_accuracy : float, optional
        Levels of a constant answer, where the source knows them.
    notes : tuple of str
        Remarks on this run, such as rows that repeat a step.
    plateau_end : float, optional
        Epoch at which the theory has the plateau at chance end, where the source's weights tell it.
    """

    name: str
    epoch: Floats
    curves: Mapping[str, Floats]
    broken: NDArray[np.bool_] | None = None
    padded: bool = False
    chance_loss: float | None = None
    chance_accuracy: float | None = None
    notes: tuple[str, ...] = ()
    plateau_end: float | None = None


@dataclass(frozen=True)
class History:
    """Runs of one source, with the account that the output repeats.

    Attributes
    ----------
    runs : tuple of RunHistory
    columns : mapping of str to str
        Role to the name in the source, such as ``{"loss": "train_loss", "epoch": "step"}``.
    account : tuple of str
        What was left out and why, a sentence each.
    named : bool
        Whether the source names its runs.
    """

    runs: tuple[RunHistory, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    account: tuple[str, ...] = ()
    named: bool = False

    def __len__(self) -> int:
        return len(self.runs)

    def select(self, name: str) -> History:
        """The run called ``name``, or the run of that number; a ``ValueError`` lists the names
        otherwise.
        """
        found = [run for run in self.runs if run.name == name]
        if not found and name.isdigit() and int(name) < len(self.runs):
            found = [self.runs[int(name)]]
        if not found:
            names = ", ".join(run.name for run in self.runs[:20]) + (" ..." if len(self.runs) > 20 else "")
            raise InputError(f"run must be one of {names}; got {name!r}")
        return replace(self, runs=(found[0],))

    @property
    def report(self) -> tuple[str, ...]:
        """The account as lines of text: columns first."""
        roles = ", ".join(f"{role.replace('_', ' ')} = {name}" for role, name in self.columns.items())
        lines = [f"read {roles}"] if roles else []
        notes = [note if len(self.runs) == 1 else f"run {run.name}: {note}" for run in self.runs for note in run.notes]
        shown = notes if len(notes) <= 8 else [*notes[:8], f"and {len(notes) - 8} more such remarks on other runs"]
        return (*lines, *self.account, *shown)
