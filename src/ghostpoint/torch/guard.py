"""The guard: every update of an optimizer is tried on its own batch before it stands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch

from ghostpoint.errors import InputError
from ghostpoint.torch.closures import closure_of
from ghostpoint.torch.forward_passes import Closure, ForwardPasses
from ghostpoint.torch.guard_arguments import check_arguments, generators_of
from ghostpoint.torch.guard_rules import FixedBatch, FreshBatches
from ghostpoint.torch.judges import FixedJudge, FreshJudge
from ghostpoint.torch.momenta import clear_momenta
from ghostpoint.torch.once import Once
from ghostpoint.torch.parameters import Parameters, Replaced, Withheld
from ghostpoint.torch.step_hooks import (
    COMPILED,
    EVALUATES,
    NO_GRADIENT,
    NO_STATE,
    RANDOM,
    UNGUARDED,
    Nesting,
    attach,
    doubts,
    guards_of,
    hooked_optimizer,
    is_attached,
    is_compiling,
)
from ghostpoint.torch.updates import Update
from ghostpoint.torch.weight_decay import DecoupledDecay

__all__ = ["Guard"]

#: losses that must repeat before batches are taken for one that stays
REPEATS = 3
#: updates between two checks that a batch declared fixed is fixed
CHECKED = 50
#: relative difference of two losses of the same parameters and batch that rounding explains
SAME = 1e-5
_STATE = "ghostpoint_guard"
_COUNTED = ("updates", "kept", "changed", "stayed", "skipped", "unguarded", "refused", "forward", "backward")


class Guard:
    """Tries each update of a ``torch.optim`` optimizer on its batch and takes it back, or part of
    it, where it breaks.

    Outputs may not move farther than half the root of the loss, the loss may not rise (on a plateau
    not at all), and along stiff directions an update goes at most Newton's step:
    :class:`~ghostpoint.torch.FixedBatch` and :class:`~ghostpoint.torch.FreshBatches` are the rules.
    The optimizer stays what it is: the guard acts in its step hooks, so schedulers, ``isinstance``,
    clipping, accumulation and ``GradScaler`` see nothing of it, and its state travels in
    ``optimizer.state_dict()``.

    Two ways to use it. The guard makes the step::

        guard = Guard(model, optimizer)
        loss = guard.step(lambda: (criterion(out := model(x), y), out))

    or the loop stays as it is, but for the forward pass::

        loss, outputs = guard.evaluate(lambda: (criterion(out := model(x), y), out))
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    Parameters
    ----------
    model : torch.nn.Module
        All that the loss depends on: the buffers in it (running statistics) are put back after each
        trial.
    optimizer : torch.optim.Optimizer
        Any, also in accelerate's wrapper, but those that call the closure themselves (L-BFGS),
        which run unguarded with a warning. One that maximises is told of.
        It has one guard: another is taken off, with a warning.
    criterion : callable (outputs, targets) to loss, optional
        For ``guard.step(inputs=x, targets=y)``, without a closure.
    batch : "auto", "fixed" or "fresh"
        Which rule. "fixed" promises that every step has the same batch, and saves the trial's
        forward pass, which is the next step's. "auto" begins with "fresh" and takes the rule for a
        fixed batch while the loss of each step repeats the last trial's.
    distance : str or callable
        "squared", "cross_entropy", "bce" (of logits), "probabilities", a function
        ``(old outputs, new outputs)`` to a scalar tensor in the unit of the loss, or "auto": read
        from the graph of the loss.
    fixed, fresh : FixedBatch, FreshBatches
        The numbers of the two rules.
    on_update : callable (Update), optional
        Called after every update that was not kept as it is.
    generators : iterable of torch.Generator
        Of one's own that the closure draws from; PyTorch's default ones are put back anyway.

    Attributes
    ----------
    counts : dict of str to int
        ``updates`` and how they ended (``kept``, ``changed``, ``stayed``, ``skipped``,
        ``unguarded``), ``refused`` trials, ``forward`` and ``backward`` passes.
    last : Update or None

    Raises
    ------
    ValueError
        For an unknown batch or distance, and an optimizer that has no parameters or complex ones.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        criterion: Callable[[Any, Any], torch.Tensor] | None = None,
        *,
        batch: str = "auto",
        distance: str | Callable[[Any, Any], torch.Tensor] = "auto",
        fixed: FixedBatch | None = None,
        fresh: FreshBatches | None = None,
        on_update: Callable[[Update], None] | None = None,
        generators: Iterable[torch.Generator] = (),
    ):
        functions = {"criterion": criterion, "on_update": on_update}
        check_arguments(model, optimizer, functions, {"fixed": fixed, "fresh": fresh}, batch, distance)
        self.model, self.criterion = model, criterion
        # what a training loop steps, and PyTorch's optimizer in it
        self._stepped, self.optimizer = optimizer, hooked_optimizer(optimizer)
        self.batch, self.on_update = batch, on_update
        self.parameters = Parameters(self.optimizer)
        self._decay = DecoupledDecay(self.parameters)
        self.last: Update | None = None
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._warn = Once("Guard")
        self._passes = ForwardPasses(model, self.parameters, distance, generators_of(generators), self._warn)
        self._fixed = FixedJudge(fixed or FixedBatch(), self.parameters)
        self._fresh = FreshJudge(fresh or FreshBatches(), self.parameters)
        # whether the batch is taken for fixed, the loss that then comes next, and how often it came
        self._is_fixed = batch == "fixed"
        self._expected: float | None = None
        self._repeats, self._refuted = 0, False  # whether a batch declared fixed was none
        # of the update in progress
        self._theta: torch.Tensor | None = None
        self._known: list[tuple[int, int, torch.dtype]] = []  # the parameters in it
        self._work: torch.Tensor | None = None
        self._withheld: Withheld | None = None
        self._replaced: Replaced | None = None
        # whether a step calls its closure itself
        self._loss, self._evaluates = float("nan"), False
        for other in guards_of(self.optimizer, Guard):
            self._warn("replaced", "the optimizer had a guard already, which is taken off")
            other.remove()
        # steps within a step, of a class that calls its parent's; and whether one was compiled
        self._nesting, self._compiled, self._removed = Nesting(), False, False
        self._hook()
        for key, message in doubts(model, self.parameters):
            self._warn(key, message)

    @property
    def counts(self) -> dict[str, int]:
        """How updates ended, and what they cost."""
        return {**self._counts, "forward": self._counts["forward"] + self._passes.calls}

    def __getstate__(self) -> dict[str, Any]:
        """A copy is hooked on at its first step; a handle would be copied with all other hooks."""
        return {**self.__dict__, "_handles": []}

    def step(
        self,
        closure: Closure | None = None,
        *,
        inputs: Any = None,
        targets: Any = None,
        before_step: Callable[[], Any] | None = None,
        scaler: Any = None,
    ) -> torch.Tensor:
        """One guarded update: gradients to zero, forward, backward, ``optimizer.step()``.

        Parameters
        ----------
        closure : callable to (loss, outputs), optional
            A forward pass of the batch, without backward pass and without effects other than on the
            model's buffers and generators: it is called again with the parameters of a trial.
            ``outputs`` are the answers that count.
        inputs, targets : optional
            In place of the closure: the batch for ``model(inputs)`` and the guard's ``criterion``.
        before_step : callable, optional
            Called between backward pass and update, for clipping.
        scaler : torch.amp.GradScaler, optional
            Scales the loss, unscales the gradients before ``before_step``, and may skip the update.

        Returns
        -------
        tensor
            The loss before the update, detached.
        """
        if closure is None:
            closure = closure_of(self.model, self.criterion, inputs, targets)
        elif inputs is not None or targets is not None:
            raise InputError("closure must not be given together with inputs and targets")
        if isinstance(self.optimizer, torch.optim.LBFGS):
            return self._unguarded_step(closure)
        self._stepped.zero_grad()
        loss, _ = self.evaluate(closure)
        (loss if scaler is None else scaler.scale(loss)).backward()
        if before_step is not None:
            if scaler is not None:
                scaler.unscale_(self.optimizer)
            before_step()
        if scaler is None:
            self._stepped.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()
        return loss.detach()

    def evaluate(self, closure: Closure) -> tuple[torch.Tensor, Any]:
        """``closure()`` with the graph, remembered for the trials of the next ``optimizer.step()``.

        Several calls before one step are an accumulated gradient. The closure returns the loss as
        it is; scale it afterwards, as in ``(loss / k).backward()``.
        """
        if self._removed:
            return self._passes.called(closure)
        self._look_after()
        if not self._passes.pending and (self.batch == "fresh" or not self._passes.untouched()):
            self._expected = None  # somebody else has written to the parameters, or it is not asked for
            self._passes.forget_kept()
        check = self._counts["updates"] % CHECKED == 0
        loss, outputs = self._passes.evaluate(closure, reuse=self.batch == "fixed" and not check)
        self._counts["backward"] += 1
        return loss, outputs

    def forget_older_passes(self) -> None:
        """Forget the forward passes before the last one, where gradients are put to zero only after
        it.
        """
        del self._passes.pending[:-1]

    def remove(self) -> None:
        """Take the guard off its optimizer."""
        self._removed = True
        for handle in self._handles:
            handle.remove()

    def _look_after(self) -> None:
        """Put right what a step that failed has left, what a copy has lost, and say what no hook
        can.
        """
        self._give_back()
        if not self._removed and not is_attached(self.optimizer, self):
            self._hook()  # a copy of a guard and its optimizer
        if self._compiled:
            self._warn("compiled", COMPILED)

    def _unguarded_step(self, closure: Closure) -> torch.Tensor:
        """A step of an optimizer that evaluates for itself."""
        self._warn("lbfgs", f"{type(self.optimizer).__name__} {EVALUATES}")

        def with_gradient() -> torch.Tensor:
            self.optimizer.zero_grad()
            loss, _ = self._passes.called(closure)
            self._counts["backward"] += 1
            loss.backward()
            return loss

        return torch.as_tensor(self.optimizer.step(with_gradient)).detach()

    # Hooks of the optimizer.

    def _hook(self) -> None:
        self._handles = attach(self.optimizer, self._before_update, self._after_update, self._into, self._out_of)

    def _before_update(self, optimizer: Any, args: Any, keywords: Any) -> tuple[Any, Any] | None:
        """Compute the gradient if ``step(closure)`` is to do that, and prepare the trial."""
        if is_compiling():
            self._compiled = True
            return None
        if not self._nesting.begins(sys._getframe(1)):
            return None
        closure = keywords.get("closure") or next((one for one in args[1:] if one is not None), None)
        if closure is None:
            self._prepare(optimizer)
            return None
        if not type(optimizer).__module__.startswith("torch.optim") or isinstance(optimizer, torch.optim.LBFGS):
            self._passes.pending = []  # nobody knows at which parameters it will be called
            self._prepare(optimizer)
            self._evaluates = True
            return None
        # PyTorch's own call it once, first of all, for its gradient
        with torch.enable_grad():
            loss = closure()
        self._prepare(optimizer)
        return args[:1], {**keywords, "closure": lambda: loss}

    @torch.no_grad()
    def _prepare(self, optimizer: Any) -> None:
        """Keep theta, learn a secant, take the stiff part off the gradient, and hold back gradients
        that are not finite.
        """
        passes = self._passes
        self._withheld = None
        passes.forget_kept()
        passes.before_the_update()
        pending = passes.pending
        if not pending:
            return
        places = self.parameters.places()
        if all(p.grad is None for p in self.parameters.tensors):
            self._warn("no gradient", NO_GRADIENT)
        scale = getattr(optimizer, "grad_scale", None)
        if scale is not None:
            self._warn("fused", "a fused optimizer takes scaled gradients: only the rule for fresh batches is used")
            self.batch, self._is_fixed = "fresh", False
        unit = float(scale or 1.0)
        # a norm is not finite if a number is not
        given = (self.parameters.gradients_of(tensors) for tensors, _ in self.parameters.pieces())
        sizes = [torch.linalg.vector_norm(one if unit == 1 else one / unit) for one in given]
        losses, together = torch.stack([one.loss.reshape(()).to(sizes[0]) for one in pending]), torch.stack(sizes)
        size, norm, self._loss = torch.stack([together.sum(), together.norm(), losses.mean()]).tolist()
        if not (abs(size) < float("inf") and abs(self._loss) < float("inf")):
            # without gradients an optimizer leaves parameters and momenta alone
            self._withheld = self.parameters.withhold_gradients()
            self._fixed.gradient = None
            return
        self._follow_batch()
        known, self._known = self._known, places
        if self._theta is None or known != self._known:
            self._fixed.forget()
            self._theta = self.parameters.values()
        else:
            self._work = None
            if self._fixed_now:
                self._work = self._fixed.learn(self._theta)
            else:
                self._fresh.follow(self._theta, unit)
            self.parameters.copy_values_to(self._theta)
        self._fixed.stiff = None
        sparse = any(p.grad is not None and p.grad.is_sparse for p in self.parameters.tensors)
        if self._work is not None and not sparse and self._fixed.without_stiff_part(self._work):
            self._replaced = self.parameters.replace_gradients(self._work)
        if not self._fixed_now:
            self._replaced = self._fresh.shorten(norm)

    @torch.no_grad()
    def _after_update(self, optimizer: Any, args: Any, keywords: Any) -> None:
        """Try the update that the optimizer has made."""
        if is_compiling() or not self._nesting.ends():
            return None
        passes, loss = self._passes, self._loss
        if self._evaluates:
            passes.pending, self._evaluates = [], False
        number = self._counts["updates"]
        self._counts["updates"] += 1
        rule = "fixed" if self._fixed_now else "fresh"
        self._give_back()
        try:
            if self._withheld is not None:
                self.parameters.give_back_gradients(self._withheld)
                self._withheld = None
                return self._record(Update(number, "skipped", rule, 0.0, ("not finite",), loss))
            if not passes.pending:
                # the first of the two says the same of every step
                self._warn("lbfgs" if "lbfgs" in self._warn.said else "unguarded", UNGUARDED)
                return self._record(Update(number, "unguarded", rule, 1.0))
            self._judge(number, rule)
        finally:
            passes.pending = []

    def _give_back(self) -> None:
        """Put back the gradients that the optimizer was not to see, where they still are not there:
        a step may have failed.
        """
        if self._replaced is not None:
            self.parameters.give_back_replaced(self._replaced)
        self._replaced = None

    def _judge(self, number: int, rule: str) -> None:
        """Let the rule decide on the update, and follow it."""
        passes, theta, loss = self._passes, self._theta, self._loss
        assert theta is not None
        if loss < 0:
            self._warn("negative", "the loss is negative, and no measure of how far outputs may move: add a constant")
        work, self._work = self._work, None
        try:
            d = work if work is not None and len(work) == len(theta) else torch.empty_like(theta)
            decay = self._decay if rule == "fixed" and self._decay.read() else None
            for tensors, part in self.parameters.pieces():
                torch.sub(self.parameters.values_of(tensors), theta[part], out=d[part])
                if decay is not None:  # d is the step along the loss alone
                    d[part] -= decay.of(tensors, theta[part])
            if not d.any() and self._fixed.stiff is None:
                found = None
            elif rule == "fixed":
                keep = self.batch == "fixed" and len(passes.pending) == 1
                found = self._fixed.judge(passes, theta, d, loss, keep=keep, decay=decay)
                self._fixed.keep_gradient(d)
            else:
                found = self._fresh.judge(passes, theta, d, loss)
        except BaseException:
            self.parameters.set(theta)  # not where a trial has put them
            self._counts["updates"] -= 1
            raise
        if found is None:
            self._expected = None
            return self._record(Update(number, "kept", rule, 1.0, (), loss))
        action = "kept" if found.own else "changed"
        self._expected = found.trial
        if not found.factor:
            action, self._expected = "stayed", loss
            self.parameters.set(theta)
            if not clear_momenta(self.optimizer):
                name = type(self.optimizer).__name__
                self._warn("momenta", f"which state of {name} are momenta is not known: it is not cleared on refusals")
        if self.batch != "fresh":
            self._passes.mark()
        return self._record(
            Update(number, action, rule, found.factor, found.refused, loss, found.trial, found.distance)
        )

    def _record(self, update: Update) -> None:
        self._counts[update.action] += 1
        self._counts["refused"] += len(update.refused) if update.action != "skipped" else 0
        self.last = update
        if self.on_update is not None and update.action != "kept":
            self.on_update(update)

    @property
    def _fixed_now(self) -> bool:
        return self._is_fixed and self._passes.pure

    def _follow_batch(self) -> None:
        """Learn from the loss of this step whether batches are one, and what their noise is."""
        loss, expected = self._loss, self._expected
        repeats = expected is not None and abs(loss - expected) <= SAME * max(abs(loss), abs(expected))
        if self.batch == "fixed" and not self._passes.pure:
            self._warn("random", RANDOM)
        elif self.batch == "fixed" and expected is not None and not repeats:
            self._warn(
                "changed",
                f"batch is 'fixed', but the loss of the same parameters is {loss:g} and was {expected:g}: the batch "
                "changes, updates since the last check used an old one, and now the rule for fresh batches is used",
            )
            self.batch, self._is_fixed, self._refuted = "fresh", False, True
        elif self.batch == "auto":
            self._repeats = self._repeats + 1 if repeats else 0
            if self._is_fixed and expected is not None and not repeats:
                self._is_fixed = False
                self._fixed.forget()
            elif self._repeats >= REPEATS:
                self._is_fixed = True
        self._fresh.observe(loss)
        if self._fixed.first is None:
            self._fixed.first = loss

    def state_dict(self) -> dict[str, Any]:
        """What the guard has learned: factors, levels, counts, secants. Also part of
        ``optimizer.state_dict()``.
        """
        return {
            "fixed": self._fixed.state_dict(),
            "fresh": self._fresh.state_dict(),
            "counts": self.counts,
            "theta": self._theta,
            "expected": self._expected,
            "repeats": self._repeats,
            "is_fixed": self._is_fixed,
            "refuted": self._refuted,
            "sums": self._passes.marked_sums(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._fixed.load_state_dict(state["fixed"])
        self._fresh.load_state_dict(state["fresh"])
        self._passes.forget_kept()
        self._passes.calls = 0
        self._counts = dict(state["counts"])
        self._known = self.parameters.places()
        fits = (theta := state["theta"]) is not None and len(theta) == sum(size for _, size, _ in self._known)
        self._theta = theta.to(self.parameters.device, self.parameters.dtype).clone() if fits else None
        self._expected, self._repeats = state["expected"], state["repeats"]
        # the model may get its parameters later
        self._passes.mark(state.get("sums"))
        self._refuted = self.batch == "fixed" and state.get("refuted", False)
        self.batch = "fresh" if self._refuted else self.batch
        self._is_fixed = state["is_fixed"] if self.batch == "auto" else self.batch == "fixed"

    def _into(self, optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
        return {**state, _STATE: self.state_dict()}

    def _out_of(self, optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
        if _STATE not in state:
            if state.get("state") and self._counts["updates"] == self._counts["unguarded"]:
                self._warn("no state", NO_STATE)
            return state
        self.load_state_dict(state[_STATE])
        return {name: value for name, value in state.items() if name != _STATE}
