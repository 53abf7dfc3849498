"""The published working-memory tasks: a cue, a delay, and an answer that depends on what was shown
before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ghostpoint.checks import integer
from ghostpoint.tasks.base import Seed, Task, Trial


@dataclass(frozen=True)
class _Cued(Task):
    """Trials given by a table: what each shows in each of its periods, and what it wants in the
    last of them.
    """

    cue: float
    delay: float
    response: float
    dt: float = 5.0
    tau: float = 10.0
    copies: int = 1
    initial_scale: float = 0.0
    noise: float = 0.0

    read_out = "before"
    n_inputs = 1
    n_outputs = 1
    _periods = ("cue", "delay", "response")
    #: the periods of a trial in order, what each trial shows in them, and each trial's target in
    #: the last
    _order: ClassVar[tuple[str, ...]]
    _shown: ClassVar[tuple[tuple[float, ...], ...]]
    _answers: ClassVar[tuple[float, ...]]

    def __post_init__(self) -> None:
        self._check_times()
        object.__setattr__(self, "copies", integer("copies", self.copies, at_least=1))

    @property
    def cue_steps(self) -> int:
        """Steps of one cue."""
        return self._steps_in("cue")

    @property
    def delay_steps(self) -> int:
        """Steps of the delay."""
        return self._steps_in("delay")

    @property
    def response_steps(self) -> int:
        """Steps of the response."""
        return self._steps_in("response")

    @property
    def steps(self) -> int:
        """Steps in a trial: its periods, each cut to whole steps by itself."""
        return sum(self._steps_in(period) for period in self._order)

    @property
    def n_trials(self) -> int:
        """Trials in a batch: ``copies`` of each."""
        return self.copies * len(self._answers)

    @property
    def chance_loss(self) -> float:
        """Loss of the output 0 at every step: the share of all answers whose target is +1 or -1."""
        return self._answered / (len(self._answers) * self.steps)

    @property
    def chance_accuracy(self) -> float:
        """Accuracy of the output 0 at every step: the share of all answers whose target is 0."""
        every = len(self._answers) * self.steps
        return (every - self._answered) / every  # of whole numbers, so that it equals a measured share to the last bit

    @property
    def _answered(self) -> int:
        """How many targets are not 0, over one copy of the trials."""
        return sum(answer != 0 for answer in self._answers) * self.response_steps

    def trial(self, seed: Seed | None = None) -> Trial:
        """All trials in the order of the class, then all again for each further copy; every answer
        counts.
        """
        lengths = [self._steps_in(period) for period in self._order]
        inputs = np.repeat(np.array(self._shown, dtype=np.float64), lengths, axis=1)
        targets = np.zeros(inputs.shape)
        targets[:, -self.response_steps :] = np.array(self._answers)[:, None]
        inputs, targets = (np.tile(array, (self.copies, 1))[:, :, None] for array in (inputs, targets))
        return Trial(inputs, targets, np.ones(targets.shape, dtype=bool))


@dataclass(frozen=True)
class DelayedCueDiscrimination(_Cued):
    """Remember whether the cue was +1 or -1, and answer the same after a delay (DCDT; letter, end
    matter).

    One input channel and two trials, +1 then -1: the cue is on for ``cue`` ms, then the input is 0
    for ``delay + response`` ms. The target is the cue in the response and 0 before it. Conventions
    of the publication:

    * the output is read *before* each update (``read_out = "before"``), so the first answer is that
      of the initial state;
    * the loss is the mean squared error over trials and steps, all of them counted;
    * an output up to -0.33 counts as -1, from 0.33 as +1, and as 0 between.

    A network that never responds (output 0) has loss ``response_steps / steps`` and accuracy one
    minus that. One that always answers +1 in time is better in accuracy (half of the response is
    right) and worse in loss, by a factor of 2.

    Parameters
    ----------
    cue, delay, response : float
        Periods in ms, each of ``int(period / dt)`` steps. Published: 10, 50, 50 and 30, 80, 50.
    dt, tau : float
        Euler step and time constant of the units in ms; ``dt <= tau``.
    copies : int
        How often each trial is repeated in a batch. Published: 1, 10, and 500 for the networks of
        rank two.
    initial_scale : float
        s of the random initial states ``tanh(s z)``. Published: 0.3 (rank two), 0.1 (full rank), 0
        (sweep over rates).
    noise : float
        Standard deviation of the noise inside the tanh. Published: 0, 0.01 (full rank), 0.001
        (intervention).

    Raises
    ------
    ValueError
        For times that are not positive and finite, a period shorter than ``dt``, ``dt > tau``, no
        copy, or a negative scale or noise.
    """

    levels = (-1.0, 0.0, 1.0)
    thresholds = (-0.33, 0.33)
    inclusive = (False, True)
    _order = ("cue", "delay", "response")
    _shown = ((1.0, 0.0, 0.0), (-1.0, 0.0, 0.0))
    _answers = (1.0, -1.0)


@dataclass(frozen=True)
class DelayedMatchToSample(_Cued):
    """Answer 1 if the cues before and after a delay were the same (DMTS; letter, end matter).

    One input channel and four trials, cues (+1, +1), (-1, -1), (-1, +1), (+1, -1): the first cue
    for ``cue`` ms, 0 for ``delay`` ms, the second cue for ``cue`` ms, 0 for ``response`` ms. The
    target is 1 in the response of the first two and 0 otherwise. Conventions of the publication: as
    for :class:`DelayedCueDiscrimination`, but an output above 0.5 counts as 1 and any other as 0.

    A network that never responds (output 0) has loss ``response_steps / (2 steps)`` and accuracy
    one minus that. No other blind answer is better in accuracy; 0.5 in the response halves the
    loss.

    Parameters
    ----------
    cue, delay, response : float
        Periods in ms, each of ``int(period / dt)`` steps. Published: 30, 80, 50 and 10, 150, 50.
    dt, tau : float
        Euler step and time constant of the units in ms; ``dt <= tau``.
    copies : int
        How often each trial is repeated in a batch. Published: 1, and 500 for the networks of rank
        two.
    initial_scale : float
        s of the random initial states ``tanh(s z)``. Published: 0.3 (rank two), 0.1 (full rank), 0
        (sweep over rates).
    noise : float
        Standard deviation of the noise inside the tanh. Published: 0.01, and 0 in the sweep over
        rates.

    Raises
    ------
    ValueError
        As for :class:`DelayedCueDiscrimination`.
    """

    _order = ("cue", "delay", "cue", "response")
    _shown = ((1.0, 0.0, 1.0, 0.0), (-1.0, 0.0, -1.0, 0.0), (-1.0, 0.0, 1.0, 0.0), (1.0, 0.0, -1.0, 0.0))
    _answers = (1.0, 1.0, 0.0, 0.0)
