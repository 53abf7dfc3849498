"""Delayed activation: no input, only a time to keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ghostpoint.tasks.base import Seed, Task, Trial, steps_in


@dataclass(frozen=True)
class DelayedActivation(Task):
    """Stay at 0 for the delay T, then answer 1 for as long again (letter, eq. 1 and end matter).

    There is no input: the network has to time the delay by itself. The target is 0 for the first
    ``delay / dt`` steps and 1 for as many more. Conventions of the publication, which the engine
    reads from here:

    * the output is read *after* each update (``read_out = "after"``), so step 1 answers to
      ``kappa[1]``;
    * the loss is the squared error summed over the steps and divided by the steps T of one period
      (``loss_scale``), so that a network that never answers (output 0) has loss 1 (``chance_loss``)
      and accuracy 1/2 (``chance_accuracy``);
    * an output above 0.5 counts as 1;
    * the start is the model's ``initial_state`` and there is no noise.

    Parameters
    ----------
    delay : float
        T in ms; as in the publication it lasts ``int(delay / dt)`` whole steps.
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

    read_out = "after"
    n_inputs = 0
    n_outputs = 1
    n_trials = 1
    chance_loss = 1.0
    chance_accuracy = 0.5
    _periods = ("delay",)

    def __post_init__(self) -> None:
        self._check_times()

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

    def weights(self, trial: Trial) -> NDArray[np.float64]:
        """``loss_scale`` where an answer counts: the sum over 2 T steps divided by T."""
        return np.where(trial.mask, self.loss_scale, 0.0)

    def trial(self, seed: Seed | None = None) -> Trial:
        """The one trial of this task: no input channel, one output channel."""
        targets = np.zeros((1, self.steps, 1))
        targets[0, self.delay_steps :, 0] = 1.0
        return Trial(np.zeros((1, self.steps, 0)), targets, np.ones((1, self.steps, 1), dtype=bool))
