"""What every task is: times in milliseconds, trials, which answers count, how errors are weighted,
what chance is.

Equations of the networks never appear here. Arrays are batch first: ``(trial, step, channel)``.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import integer, number, one_of
from ghostpoint.errors import InputError
from ghostpoint.summary import Rows, Summarised

#: what a generator is made from: a whole number, or several such as (seed, epoch)
Seed = int | Sequence[int]


def steps_in(name: str, period: float, dt: float) -> int:
    """Whole Euler steps in a period: ``int(period / dt)`` as in the publication, safe against
    ``0.3 / 0.1 = 2.999...``.

    Raises
    ------
    ValueError
        If the period is shorter than one step.

    Examples
    --------
    >>> steps_in("delay", 0.3, 0.1)
    3
    """
    steps = int(period / dt + 1e-9)
    if steps < 1:
        raise InputError(f"{name} must be at least one step of dt = {dt:g} ms, got {period:g} ms")
    return steps


@dataclass(frozen=True)
class Trial:
    """The arrays of a task.

    Attributes
    ----------
    inputs : (trial, step, input channel) float64
    targets : (trial, step, output channel) float64
    mask : (trial, step, output channel) bool
        Which answers count, in the loss and in the accuracy.
    """

    inputs: NDArray[np.float64]
    targets: NDArray[np.float64]
    mask: NDArray[np.bool_]


class Task(Summarised):
    """What a network is shown, what it should answer, and how its answers are judged.

    Conventions that differ between tasks are attributes, and engines read them from here.

    Attributes
    ----------
    dt, tau : float
        Euler step and time constant of the units in ms; ``dt <= tau``.
    read_out : "before" or "after"
        Whether the answer of step t (0, 1, ...) is read from the state before that step's update,
        x[t], or after it, x[t + 1].
    random : bool
        Whether trials are drawn afresh: then :meth:`trial` needs a seed.
    initial_scale : float
        s. If positive, every trial of every epoch starts at ``tanh(s z)``, z standard normal for
        each unit; at 0, it starts at the model's ``initial_state``.
    noise : float
        Standard deviation of the normal numbers added inside the tanh, fresh for each unit, step,
        trial and epoch.
    levels, thresholds, inclusive : tuple
        An answer counts as ``levels[k]``, k being the number of thresholds that it exceeds, or
        equals where ``inclusive``. All ascend, and levels are one more than thresholds.
    tolerance : float or None
        For continuous targets, whose task has no levels: an answer less than this far from the
        target is right.
    """

    dt: float
    tau: float
    read_out: str
    random: bool = False
    initial_scale: float = 0.0
    noise: float = 0.0
    levels: tuple[float, ...] = (0.0, 1.0)
    thresholds: tuple[float, ...] = (0.5,)
    inclusive: tuple[bool, ...] = (False,)
    tolerance: float | None = None

    #: the arguments that are periods in ms, checked by :meth:`_check_times`
    _periods: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def steps(self) -> int:
        """Steps in a trial."""

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """Input channels."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Output channels."""

    @property
    @abstractmethod
    def n_trials(self) -> int:
        """Trials in a batch."""

    @property
    @abstractmethod
    def chance_loss(self) -> float:
        """Loss of a network that gives the same answer whatever it is shown; which answer, the task
        says.

        For random trials the expected one.
        """

    @property
    @abstractmethod
    def chance_accuracy(self) -> float:
        """Accuracy of the network that :attr:`chance_loss` is about."""

    @abstractmethod
    def trial(self, seed: Seed | None = None) -> Trial:
        """The trials. A task with ``random`` trials draws them from ``seed`` alone; the others
        ignore it.

        Raises
        ------
        ValueError
            If trials are random and the seed is missing, negative or not whole.
        """

    @property
    def alpha(self) -> float:
        """Euler step in units of the time constant, ``dt / tau`` (letter, eq. 17)."""
        return self.dt / self.tau

    def weights(self, trial: Trial) -> NDArray[np.float64]:
        """What squared errors are multiplied by before they are summed; by default the mean over
        all that count.

        Returns
        -------
        (trial, step, output channel) array, 0 where the mask is off.
        """
        return trial.mask / trial.mask.sum()

    def loss(self, outputs: ArrayLike, trial: Trial) -> NDArray[Any]:
        """``sum weights (outputs - targets)**2`` for outputs of shape (..., trial, step, output
        channel).
        """
        squares = (np.asarray(outputs) - trial.targets) ** 2
        return np.asarray((self.weights(trial) * squares).sum(axis=(-3, -2, -1)))

    def accuracy(self, outputs: ArrayLike, trial: Trial) -> NDArray[Any]:
        """Share of the answers that count and are right, for outputs of shape (..., trial, step,
        output channel).

        Right is what counts as the same level as the target, or lies within the tolerance. NaN
        exceeds no threshold.
        """
        values = np.asarray(outputs)
        if self.tolerance is None:
            right = self.level(values) == self.level(trial.targets)
        else:
            right = np.abs(values - trial.targets) < self.tolerance
        return np.asarray((right & trial.mask).sum(axis=(-3, -2, -1)) / trial.mask.sum())

    def level(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Which of the levels each value counts as, as its index: how many of the :meth:`cuts` it
        exceeds.
        """
        cuts = self.cuts(values.dtype if values.dtype.kind == "f" else np.float64)
        return np.asarray(sum((values > cut for cut in cuts), np.zeros(values.shape, np.int64)))

    def cuts(self, dtype: Any = np.float64) -> NDArray[Any]:
        """The thresholds in a precision, such that ``value > cut`` alone decides, ties included."""
        at = np.array(self.thresholds, dtype=dtype)
        return np.where(self.inclusive, np.nextafter(at, at.dtype.type(-np.inf)), at)

    def to_dict(self, array: Callable[[NDArray[Any]], Any] = np.ndarray.tolist) -> dict[str, Any]:
        """The task's name and parameters, ready for JSON, for the configuration of a saved result.

        ``array`` says what becomes of a parameter that is an array: by default a list.
        """
        plain = {
            name: array(value) if isinstance(value, np.ndarray) else list(value) if isinstance(value, tuple) else value
            for name, value in self.parameters().items()
        }
        return {"task": _name(type(self)), **plain}

    def parameters(self) -> dict[str, Any]:
        """The constructor's arguments of a task that is a dataclass; empty for others."""
        known: list[str] = [field.name for field in fields(cast(Any, self)) if field.init] if is_dataclass(self) else []
        return {name: getattr(self, name) for name in known}

    @staticmethod
    def from_dict(parameters: Mapping[str, Any]) -> Task:
        """The task that :meth:`to_dict` described.

        Raises
        ------
        ValueError
            For an unknown task, a parameter it does not have, or one that it needs and did not get.
            A task of another package or program is known once the module that defines it has been
            imported.
        """
        kinds = {_name(kind): kind for kind in _concrete(Task)}
        kind = kinds[one_of("task", parameters.get("task", ""), sorted(kinds))]
        given = {name: value for name, value in parameters.items() if name != "task"}
        try:
            inspect.signature(kind).bind(**given)
        except TypeError as error:
            raise InputError(f"parameters must be those of {kind.__name__}: {error}") from None
        return kind(**given)

    def summary(self) -> tuple[str, Rows]:
        """The constructor's arguments (arrays by their shape), sizes, how answers are judged, and
        what chance is.
        """
        shown = {
            name: f"array {value.shape}" if isinstance(value, np.ndarray) else repr(value)
            for name, value in self.parameters().items()
        }
        if self.tolerance is None:
            right = f"one of {', '.join(f'{level:g}' for level in self.levels)}"
        else:
            right = f"right within {self.tolerance:g} of the target"
        start = f"tanh({self.initial_scale:g} z), z standard normal" if self.initial_scale else "the model's"
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in shown.items())})", [
            ("trials", f"{self.n_trials}, {'drawn afresh in each epoch' if self.random else 'the same in each epoch'}"),
            ("time", f"{self.steps} steps of {self.dt:g} ms, tau {self.tau:g} ms"),
            ("channels", f"{self.n_inputs} in, {self.n_outputs} out"),
            ("answers", f"{right}; read {self.read_out} the step's update"),
            ("initial state", start),
            ("noise", f"{self.noise:g}"),
            ("chance", f"loss {self.chance_loss:.4g}, accuracy {self.chance_accuracy:.4g}"),
        ]

    def _check_times(self) -> None:
        """``dt``, ``tau``, the periods, ``initial_scale`` and ``noise`` as valid floats, or a
        ``ValueError``.
        """
        for name in (*self._periods, "dt", "tau"):
            object.__setattr__(self, name, number(name, getattr(self, name), above=0))
        if self.dt > self.tau:
            raise InputError(f"dt must be at most tau = {self.tau:g} ms, got {self.dt:g} ms")
        for name in self._periods:
            self._steps_in(name)
        for name in ("initial_scale", "noise"):
            object.__setattr__(self, name, number(name, getattr(self, name), at_least=0))

    def _steps_in(self, period: str) -> int:
        return steps_in(period, getattr(self, period), self.dt)


def generator(seed: Seed | None) -> np.random.Generator:
    """Numpy's default generator from a seed, or a ``ValueError`` that asks for one."""
    parts = list(seed) if isinstance(seed, Sequence) else [seed]
    if seed is None or not parts:
        raise InputError(f"seed must be a whole number or several for a task with random trials, got {seed!r}")
    first, *rest = (integer("seed", part, at_least=0) for part in parts)
    # as a list of entropy, (1, 0) would be the same seed as 1
    return np.random.default_rng(np.random.SeedSequence(first, spawn_key=tuple(rest)))


def _name(kind: type) -> str:
    """Under which a task is saved: its bare name for one of this library, ``module:name`` for any
    other.
    """
    own = kind.__module__.startswith(f"{__name__.rpartition('.')[0]}.")
    return kind.__name__ if own else f"{kind.__module__}:{kind.__qualname__}"


def _concrete(kind: Any) -> Iterator[Any]:
    for child in kind.__subclasses__():
        if not inspect.isabstract(child) and not child.__name__.startswith("_"):
            yield child
        yield from _concrete(child)
