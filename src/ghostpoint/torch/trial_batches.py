"""Environments with NeuroGym's interface as data sets of PyTorch, by shape: the package is not
needed.

NeuroGym: Molano-Mazon, Barbosa, Pastor-Ciurana, Fradera, Zhang, Forest, del Pozo Lerida, Ji-An,
Cueva, de la Rocha, Narain and Yang, NeuroGym: An open resource for developing and sharing
neuroscience tasks (2022), https://doi.org/10.31234/osf.io/aqc9n.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from ghostpoint.checks import integer
from ghostpoint.errors import InputError
from ghostpoint.torch.numbered_batches import NumberedBatches

__all__ = ["TrialBatch", "TrialBatches"]

#: classes of Gymnasium and NeuroGym that hand on all that their own subclasses do not change; and
#: wrappers that only look on
_BASES = {"Wrapper", "TrialWrapper", "ActionWrapper", "ObservationWrapper", "RewardWrapper", "object"}
_LOOK_ON = {"Autoreset", "AutoResetWrapper", "HumanRendering", "Monitor", "OrderEnforcing", "PassiveEnvChecker"}
_LOOK_ON |= {"RecordEpisodeStatistics", "RecordVideo", "RenderCollection", "TimeLimit"}


class TrialBatch(NamedTuple):
    """The trials of one update, filled up with zeros to the length of the longest.

    Attributes
    ----------
    inputs : (trial, step, input channel)
        Observations ``ob``.
    targets : (trial, step) int64, or (trial, step, output channel)
        Ground truth ``gt``: classes, which are whole numbers (step,), or values, whose channel is
        one where they are (step,).
    mask : (trial, step) bool
        Which steps count: those of the counted periods, none of the filling.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    mask: torch.Tensor

    def loss(self, outputs: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of logits (trial, step, class), or mean squared error of values
        (trial, step, output channel), where it counts.

        Raises
        ------
        ValueError
            For outputs of another shape.
        """
        values = self.targets.is_floating_point()
        fits = outputs.shape == self.targets.shape if values else outputs.shape[:-1] == self.targets.shape
        if not fits:
            shape = tuple(self.targets.shape) if values else (*self.targets.shape, "class")
            raise InputError(f"outputs must have shape ({', '.join(map(str, shape))}), got {tuple(outputs.shape)}")
        answers, targets = outputs[self.mask], self.targets[self.mask]
        if targets.is_floating_point():
            return functional.mse_loss(answers, targets)
        return functional.cross_entropy(answers, targets)


class TrialBatches(NumberedBatches):
    """Batches of trials of an environment, one an update.

    Of the environment are used ``new_trial(**options)``, after it ``ob`` (step, channel) and ``gt``
    (step,) or (step, channel), ``start_ind`` and ``end_ind`` (dicts of period to step) where
    periods are named, and ``seed(int)`` where there is one. Trials are asked of the outermost
    wrapper that makes them (``new_trial``), and read from the environment that it stands around
    (``unwrapped``). What a wrapper does to single steps (noise on an observation, the last action
    beside it) is not in them, and a warning names it.

    Parameters
    ----------
    env : environment
        Such as ``neurogym.make("DelayMatchSample-v0", dt=20)``. It is not copied.
    trials : int
        In a batch.
    batches : int
        In one pass.
    counted : sequence of str, optional
        Periods whose steps count, such as ``["decision"]``; by default all steps do.
    seed : int
        Batch k is drawn after ``env.seed(...)`` with a number from (seed, k). An environment
        without ``seed`` draws as it likes.
    dtype : torch.dtype
        Of inputs and of targets that are values.
    **options
        Of ``new_trial``.

    Raises
    ------
    ValueError
        For an environment without that interface, periods that a trial has not, and numbers below
        1.

    Examples
    --------
    >>> batches = TrialBatches(env, trials=16, batches=1000, counted=["decision"])  # doctest: +SKIP
    >>> for batch in batches:  # doctest: +SKIP
    ...     loss = batch.loss(network(batch.inputs))
    """

    def __init__(
        self,
        env: Any,
        trials: int,
        batches: int,
        counted: Sequence[str] | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        **options: Any,
    ):
        super().__init__(batches, seed)
        chain = _outside_in(env)
        # wrappers hand on what they have not themselves, with a warning
        makers = [one for one in chain[:-1] if hasattr(type(one), "new_trial")]
        makers += [one for one in chain[-1:] if hasattr(one, "new_trial")]
        if not makers:
            raise InputError(
                f"env must have new_trial(), as NeuroGym's trial environments do; got {type(env).__name__}"
            )
        self.given, self.maker = env, makers[0]
        for one in chain[:-1]:
            if _acts_on_steps(type(one)):
                warnings.warn(
                    f"env has the wrapper {type(one).__name__}, which acts on single steps: the trials are without "
                    "what it does, as they are read whole (ob and gt after new_trial())",
                    RuntimeWarning,
                    stacklevel=2,
                )
        # environments that trials were read from, and periods of theirs that no trial writes
        self._seen: dict[int, Any] = {}
        self._lasting: dict[int, frozenset[str]] = {}
        if isinstance(counted, str):
            raise InputError(f"counted must be names of periods in a list, got the text {counted!r}")
        self.trials = integer("trials", trials, at_least=1)
        self.counted = None if counted is None else tuple(counted)
        self.dtype, self.options = dtype, options

    @property
    def env(self) -> Any:
        """The environment of the last trial: that of a schedule of tasks changes from trial to
        trial."""
        return _outside_in(self.given)[-1]

    def batch(self, number: int) -> TrialBatch:
        """The trials of one update, counted from 0."""
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
        chain = _outside_in(self.given)
        for one in reversed(chain):  # the outermost last: it may choose which task comes
            own = hasattr(type(one), "seed") or (one is chain[-1] and hasattr(one, "seed"))
            if own and callable(one.seed):
                one.seed(seed)
        drawn = [self._trial() for _ in range(self.trials)]
        steps = max(len(ob) for ob, _, _ in drawn)

        def filled(arrays: list[Any]) -> np.ndarray[Any, Any]:
            shapes = sorted({array.shape[1:] for array in arrays})
            if len(shapes) > 1:
                raise InputError(f"env must have trials of the same channels, got {' and '.join(map(str, shapes))}")
            whole = np.zeros((len(arrays), steps, *shapes[0]), np.result_type(*arrays))
            for row, array in zip(whole, arrays, strict=True):
                row[: len(array)] = array
            return whole

        inputs, targets, mask = (filled(list(arrays)) for arrays in zip(*drawn, strict=True))
        if not mask.any():
            raise InputError(f"counted must name periods with steps, got {', '.join(self.counted or ())} with none")
        if targets.ndim == 2 and np.issubdtype(targets.dtype, np.floating):
            targets = targets[..., None]
        kind = self.dtype if targets.ndim == 3 or np.issubdtype(targets.dtype, np.floating) else torch.int64
        return TrialBatch(torch.tensor(inputs, dtype=self.dtype), torch.tensor(targets, dtype=kind), torch.tensor(mask))

    def _trial(self) -> tuple[Any, Any, Any]:
        """Copies of ``ob`` and ``gt``, and which steps count."""
        env = self._new_trial()
        missing = [name for name in ("ob", "gt") if not hasattr(env, name)]
        if missing:
            raise InputError(f"env must have {' and '.join(missing)} after new_trial(), as NeuroGym's environments do")
        ob, gt = np.array(env.ob), np.array(env.gt)
        if ob.ndim != 2 or gt.ndim not in (1, 2) or len(ob) != len(gt):
            raise InputError(f"ob and gt must be (step, channel) and (step, ...), got {ob.shape} and {gt.shape}")
        mask = np.full(len(ob), self.counted is None)
        for name in self.counted or ():
            starts = getattr(env, "start_ind", {})
            if name not in starts:
                raise InputError(f"counted must name periods of the trial ({', '.join(starts)}), got {name}")
            mask[starts[name] : env.end_ind[name]] = True
        return ob, gt, mask

    def _new_trial(self) -> Any:
        """Make a trial; the environment that made it, with the periods of that trial.

        Environments leave the periods of earlier trials where a trial has fewer. So those are taken
        away before, but for the periods that no trial writes, which hold for all.
        """
        if self.counted is None:
            self.maker.new_trial(**self.options)
            return self.env
        taken: list[tuple[Any, dict[str, Any], dict[str, Any], bool]] = []
        for env in {**self._seen, id(self.env): self.env}.values():
            starts, ends = getattr(env, "start_ind", None), getattr(env, "end_ind", None)
            if isinstance(starts, dict) and isinstance(ends, dict):
                lasting = self._lasting.get(id(env), frozenset())
                names = [name for name in starts if name not in lasting]
                before = ({n: starts.pop(n) for n in names}, {n: ends.pop(n) for n in names if n in ends})
                taken.append((env, *before, hasattr(env, "ob")))
        made: Any = None
        try:
            self.maker.new_trial(**self.options)
            made = self.env
        finally:
            for env, starts, ends, had_trial in taken:
                if env is not made:  # its last trial stays as it was
                    env.start_ind.update(starts)
                    env.end_ind.update(ends)
                elif id(env) not in self._lasting:
                    # of before the first trial, or where trials write none
                    kept = set() if had_trial and env.start_ind else set(starts) - set(env.start_ind)
                    env.start_ind.update({name: starts[name] for name in kept})
                    env.end_ind.update({name: ends[name] for name in kept if name in ends})
                    self._lasting[id(env)] = frozenset(kept)
        self._seen[id(made)] = made
        return made


def _outside_in(env: Any) -> list[Any]:
    """An environment's wrappers from the outermost on, and last what they stand around."""
    found, last = [env], getattr(env, "unwrapped", env)
    while found[-1] is not last:
        found.append(getattr(found[-1], "env", last))
    return found


def _acts_on_steps(wrapper: type) -> bool:
    """Whether a wrapper changes what a step of an environment is given or gives."""
    own = takewhile(lambda one: one.__name__ not in _BASES, wrapper.__mro__)
    acting = next((one for one in own if {"step", "observation", "action"} & set(vars(one))), None)
    return acting is not None and acting.__name__ not in _LOOK_ON
