"""Tasks: what a network is shown and what it should answer, with times in milliseconds.

Equations of the networks never appear here; a task only says how long things last, which answers count and how the
error is weighted. Arrays are batch first: ``(trial, step, channel)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ghostpoint.checks import number

__all__ = ["DelayedActivation", "Trial", "steps_in"]


def steps_in(name: str, period: float, dt: float) -> int:
    """Whole Euler steps in a period: ``int(period / dt)`` as in the publication, safe against ``0.3 / 0.1 = 2.999...``.

    Raises
    ------
    ValueError
        If the period is shorter than one step.
    """
    steps = int(period / dt + 1e-9)
    if steps < 1:
        raise ValueError(f"{name} must be at least one step of dt = {dt:g} ms, got {period:g} ms")
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


@dataclass(frozen=True)
class DelayedActivation:
    """Stay at 0 for the delay T, then answer 1 for as long again (letter, eq. 1 and end matter).

    There is no input: the network has to time the delay by itself. The target is 0 for the first ``delay / dt``
    steps and 1 for
    as many more. Conventions of the publication, which the engine reads from here:

    * the output is read *after* each update (``read_out = "after"``), so step 1 answers to ``kappa[1]``;
    * the loss is the squared error summed over the steps and divided by the steps T of one period
    (``loss_scale``), so that
      a network that never answers has loss 1 (``chance_loss``) and accuracy 1/2 (``chance_accuracy``);
    * an output above 0.5 counts as 1.

    Parameters
    ----------
    delay : float
        T in ms.
    dt : float
        Euler step in ms.
    tau : float
        Time constant of the units in ms; ``alpha = dt / tau`` must not exceed 1.

    Raises
    ------
    ValueError
        For times that are not positive and finite, a delay shorter than ``dt``, or ``dt > tau``.
    """

    delay: float = 100.0
    dt: float = 5.0
    tau: float = 10.0
    read_out: str = field(default="after", init=False)
    chance_loss: float = field(default=1.0, init=False)
    chance_accuracy: float = field(default=0.5, init=False)

    def __post_init__(self) -> None:
        for name in ("delay", "dt", "tau"):
            object.__setattr__(self, name, number(name, getattr(self, name), above=0))
        if self.dt > self.tau:
            raise ValueError(f"dt must be at most tau = {self.tau:g} ms, got {self.dt:g} ms")
        steps_in("delay", self.delay, self.dt)

    @property
    def alpha(self) -> float:
        """Euler step in units of the time constant, ``dt / tau`` (letter, eq. 17)."""
        return self.dt / self.tau

    @property
    def delay_steps(self) -> int:
        """T in steps."""
        return steps_in("delay", self.delay, self.dt)

    @property
    def steps(self) -> int:
        """Steps in a trial, 2 T."""
        return 2 * self.delay_steps

    @property
    def loss_scale(self) -> float:
        """What the summed squared error is multiplied by: 1 / T in steps."""
        return 1.0 / self.delay_steps

    def trial(self) -> Trial:
        """The one trial of this task: no input channel, one output channel."""
        targets = np.zeros((1, self.steps, 1))
        targets[0, self.delay_steps :, 0] = 1.0
        return Trial(np.zeros((1, self.steps, 0)), targets, np.ones((1, self.steps, 1), dtype=bool))

    def to_dict(self) -> dict[str, float | str]:
        """The task's name and parameters, for the configuration of a saved result."""
        return {"task": "DelayedActivation", "delay": self.delay, "dt": self.dt, "tau": self.tau}
