"""A task from arrays of one's own."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, number, one_of, shape
from ghostpoint.errors import InputError
from ghostpoint.tasks.base import Seed, Task, Trial

#: distinct targets up to which they are taken for the levels of a classification
MOST_LEVELS = 16


@dataclass(frozen=True, eq=False, repr=False)
class ArrayTask(Task):
    """A task whose trials are given; :func:`from_arrays` makes one and fills in what can be
    derived.

    The loss is the mean squared error over all that counts. Chance is the output 0 at every step:
    ``chance_loss`` is the mean square of the targets that count, ``chance_accuracy`` the share of
    them that 0 gets right. An answer just at a threshold counts as the lower level. Attributes are
    as in :class:`~ghostpoint.tasks.base.Task` and :class:`~ghostpoint.tasks.base.Trial`; the arrays
    are read-only copies.

    Raises
    ------
    ValueError
        For arrays that do not fit together, are empty or not finite, a mask that counts nothing,
        times that are not positive, ``dt > tau``, and levels and thresholds that do not alternate
        and ascend.
    """

    inputs: NDArray[np.float64]
    targets: NDArray[np.float64]
    mask: NDArray[np.bool_]
    dt: float
    tau: float
    read_out: str = "after"
    levels: tuple[float, ...] = (0.0, 1.0)
    thresholds: tuple[float, ...] = (0.5,)
    tolerance: float | None = None
    initial_scale: float = 0.0
    noise: float = 0.0
    inclusive: tuple[bool, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._check_times()
        one_of("read_out", self.read_out, ("before", "after"))
        targets = shape("targets", finite_array("targets", self.targets, allow_bool=True), ("trial", "step", "channel"))
        if not targets.size:
            raise InputError(f"targets must hold at least one trial, step and channel, got shape {targets.shape}")
        inputs = shape("inputs", finite_array("inputs", self.inputs, allow_bool=True), (*targets.shape[:2], "channel"))
        arrays = {"inputs": inputs, "targets": targets, "mask": _mask(self.mask, targets.shape)}
        for name, value in arrays.items():
            kept = np.array(value)
            kept.flags.writeable = False
            object.__setattr__(self, name, kept)
        for name in ("levels", "thresholds"):
            values = shape(name, finite_array(name, getattr(self, name)), ("any",))
            object.__setattr__(self, name, tuple(values.tolist()))
        object.__setattr__(self, "inclusive", (False,) * len(self.thresholds))
        if self.tolerance is not None:
            object.__setattr__(self, "tolerance", number("tolerance", self.tolerance, above=0))
            if self.levels or self.thresholds:
                raise InputError(f"levels must be empty where a tolerance is given, got {self.levels}")
            return
        if len(self.levels) < 2:
            raise InputError(f"levels must be at least two, got {self.levels}")
        if len(self.thresholds) != len(self.levels) - 1:
            raise InputError(f"thresholds must be one between each two of {self.levels}, got {self.thresholds}")
        both = np.empty(len(self.levels) + len(self.thresholds))
        both[::2], both[1::2] = self.levels, self.thresholds
        if (np.diff(both) <= 0).any():
            raise InputError(f"thresholds must lie between ascending levels {self.levels}, got {self.thresholds}")

    def __repr__(self) -> str:
        return self.summary()[0]

    @property
    def steps(self) -> int:
        """Steps in a trial."""
        return self.targets.shape[1]

    @property
    def n_inputs(self) -> int:
        """Input channels."""
        return self.inputs.shape[2]

    @property
    def n_outputs(self) -> int:
        """Output channels."""
        return self.targets.shape[2]

    @property
    def n_trials(self) -> int:
        """Trials in a batch."""
        return self.targets.shape[0]

    @property
    def chance_loss(self) -> float:
        """Loss of the output 0 at every step: mean square of the targets that count."""
        return float(self.loss(np.zeros(self.targets.shape), self.trial()))

    @property
    def chance_accuracy(self) -> float:
        """Accuracy of the output 0 at every step."""
        return float(self.accuracy(np.zeros(self.targets.shape), self.trial()))

    def trial(self, seed: Seed | None = None) -> Trial:
        """The arrays that were given."""
        return Trial(self.inputs, self.targets, self.mask)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayTask) and all(
            np.array_equal(getattr(self, part.name), getattr(other, part.name)) for part in fields(self)
        )

    def __hash__(self) -> int:
        return hash((self.inputs.tobytes(), self.targets.tobytes(), self.mask.tobytes(), self.dt, self.tau))


def from_arrays(
    inputs: ArrayLike,
    targets: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    dt: float,
    tau: float,
    read_out: str = "after",
    levels: ArrayLike | None = None,
    thresholds: ArrayLike | None = None,
    tolerance: float | None = None,
    initial_scale: float = 0.0,
    noise: float = 0.0,
) -> ArrayTask:
    """A task from its trials; the loss is the mean squared error over all that counts.

    Parameters
    ----------
    inputs : (trial, step, input channel) array
        With no input, an array whose last axis has length 0.
    targets : (trial, step, output channel) array
    mask : (trial, step) or (trial, step, output channel) array of bool, optional
        Which answers count; all of them by default.
    dt, tau : float
        Euler step and time constant of the units in ms; ``dt <= tau``.
    read_out : "after" or "before"
        Whether the output is read after each update or before it.
    levels, thresholds : ascending arrays, optional
        What answers count as, and where one ends and the next begins. By default the distinct
        targets that count, up to 16 of them, and the middles between them.
    tolerance : float, optional
        Instead of levels, for continuous targets: an answer less than this far from the target is
        right.
    initial_scale, noise : float
        As in :class:`~ghostpoint.tasks.base.Task`.

    Raises
    ------
    ValueError
        As for :class:`ArrayTask`, and where levels cannot be told from the targets and no tolerance
        is given.

    Examples
    --------
    Repeat the sign of the input, with every answer counted:

    >>> import numpy as np
    >>> import ghostpoint as gp
    >>> inputs = np.ones((2, 20, 1)) * [[[1.0]], [[-1.0]]]
    >>> task = gp.tasks.from_arrays(inputs, inputs, dt=5.0, tau=10.0)
    >>> task.levels, task.thresholds, task.chance_loss
    ((-1.0, 1.0), (0.0,), 1.0)
    """
    values = shape("targets", finite_array("targets", targets, allow_bool=True), ("trial", "step", "channel"))
    counted = _mask(True if mask is None else mask, values.shape)
    if levels is None:
        distinct = np.unique(values[counted])
        if tolerance is not None:
            distinct = distinct[:0]
        elif not 2 <= len(distinct) <= MOST_LEVELS:
            raise InputError(
                f"tolerance or levels must be given for targets that are not 2 to {MOST_LEVELS} distinct values, "
                f"got {len(distinct)}"
            )
        levels = distinct
    steps: Any = finite_array("levels", levels)
    middles: Any = steps[:-1] + np.diff(steps) / 2 if thresholds is None and steps.ndim == 1 else thresholds
    shown = finite_array("inputs", inputs, allow_bool=True)
    return ArrayTask(
        shown, values, counted, dt, tau, read_out, steps, middles, tolerance, initial_scale=initial_scale, noise=noise
    )


def _mask(mask: Any, expected: tuple[int, ...]) -> NDArray[np.bool_]:
    given = np.asarray(mask)
    if given.dtype.kind not in "bif" or not np.isin(given, (0, 1)).all():
        raise InputError("mask must hold nothing but True and False (or 1 and 0)")
    if given.shape == expected[:2]:
        given = given[:, :, None]
    elif given.shape not in ((), expected):
        raise InputError(f"mask must have shape {expected[:2]} or {expected}, got {given.shape}")
    counted = np.broadcast_to(given.astype(bool), expected)
    if not counted.any():
        raise InputError("mask must count at least one answer, got none")
    return counted
