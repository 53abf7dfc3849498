"""The guard: every update of an optimizer is tried on its own batch before it stands."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ghostpoint.checks import one_of
from ghostpoint.errors import InputError
from ghostpoint.torch.distances import KINDS, Distance, distance_of_graph, single_tensor
from ghostpoint.torch.generators import GeneratorStates
from ghostpoint.torch.guard_rules import FixedBatch, FreshBatches
from ghostpoint.torch.momenta import clear_momenta
from ghostpoint.torch.parameters import Parameters
from ghostpoint.torch.secants import Secants, StiffParts

__all__ = ["Guard", "Update"]

Closure = Callable[[], tuple[torch.Tensor, Any]]

#: losses that must repeat before batches are taken for one that stays
REPEATS = 3
#: updates between two checks that a batch declared fixed is fixed
CHECKED = 50
#: relative difference of two losses of the same parameters and batch that rounding explains
SAME = 1e-5
#: trials with a rounding error of the loss: multiples of the outputs' precision
ROUNDING = 4.0
#: evaluations that one update may have before the guard asks whether gradients are ever put to zero
MOST_PENDING = 1000
_STATE = "ghostpoint_guard"


@dataclass(frozen=True)
class Update:
    """What the guard did to one update.

    Attributes
    ----------
    number : int
        Updates before it.
    action : str
        "kept" (the optimizer's own, to the last bit), "changed", "stayed" (every trial refused), "skipped" (a loss or a
        gradient that is not finite), or "unguarded" (the guard had nothing to judge it by).
    rule : "fixed" or "fresh"
    factor : float
        Of the optimizer's update; 0 where the parameters stay.
    refused : tuple of str
        One entry a refused trial: "outputs", "loss" or "not finite".
    loss, trial_loss, distance : float
        L, L1 and D of the last trial.
    """

    number: int
    action: str
    rule: str
    factor: float
    refused: tuple[str, ...]
    loss: float
    trial_loss: float
    distance: float


@dataclass
class _Evaluation:
    """A forward pass of the training step: how to repeat it, and what it gave."""

    closure: Closure
    states: GeneratorStates
    loss: torch.Tensor
    outputs: Any
    distance: Callable[[Any, Any], torch.Tensor]


class Guard:
    """Tries each update of a ``torch.optim`` optimizer on its batch and takes it back, or part of it, where it breaks.

    The rule is theory's section on guards: outputs may not move farther than half the root of the loss, the loss may
    not rise (on a plateau not at all), and along stiff directions no update goes farther than Newton's step
    (:class:`~ghostpoint.torch.FixedBatch`, :class:`~ghostpoint.torch.FreshBatches`). The optimizer stays what it is:
    the guard acts in its step hooks, so schedulers, ``isinstance``, clipping, accumulation and ``GradScaler`` see
    nothing of it, and its state travels in ``optimizer.state_dict()``.

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
        Its buffers (running statistics) are put back after each trial.
    optimizer : torch.optim.Optimizer
        Any but those that call the closure themselves (L-BFGS), which run unguarded with a warning.
    criterion : callable (outputs, targets) to loss, optional
        For ``guard.step(inputs=x, targets=y)``, without a closure.
    batch : "auto", "fixed" or "fresh"
        Which rule. "fixed" promises that every step has the same batch, and saves the trial's forward pass, which is
        the next step's. "auto" begins with "fresh" and takes the rule for a fixed batch while the loss of each step
        repeats the last trial's.
    distance : str or callable
        "squared", "cross_entropy", "bce" (of logits), "probabilities", a function ``(old outputs, new outputs)`` to a
        scalar tensor in the unit of the loss, or "auto": read from the graph of the loss.
    fixed, fresh : FixedBatch, FreshBatches
        The numbers of the two rules.
    on_update : callable (Update), optional
        Called after every update that was not kept as it is.
    generators : iterable of torch.Generator
        Of one's own that the closure draws from; PyTorch's default ones are put back anyway.

    Attributes
    ----------
    counts : dict of str to int
        ``updates`` and how they ended (``kept``, ``changed``, ``stayed``, ``skipped``, ``unguarded``), ``refused``
        trials, ``forward`` and ``backward`` passes.
    last : Update or None

    Raises
    ------
    ValueError
        For an unknown batch or distance, and an optimizer without parameters.
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
        self.model, self.optimizer, self.criterion = model, optimizer, criterion
        self.batch = one_of("batch", batch, ("auto", "fixed", "fresh"))
        self.distance = distance if callable(distance) else one_of("distance", distance, ("auto", *KINDS))
        self.fixed, self.fresh = fixed or FixedBatch(), fresh or FreshBatches()
        self.on_update = on_update
        self.generators = tuple(generators)
        self.parameters = Parameters(optimizer)
        self.counts = dict.fromkeys(
            ("updates", "kept", "changed", "stayed", "skipped", "unguarded", "refused", "forward", "backward"), 0
        )
        self.last: Update | None = None
        self._warned: set[str] = set()
        size = sum(p.numel() for p in self.parameters.tensors)
        self._secants = Secants(self.parameters, *self.fixed.memory(size))
        # state of the rules
        self._factor = 1.0
        self._cap = float("inf")
        self._first_loss: float | None = None
        self._previous_loss: float | None = None
        self._noise = 0.0
        self._noise_weight = 0.0
        self._trial_loss: float | None = None
        self._repeats = 0
        self._is_fixed = batch == "fixed"
        self._gradient: torch.Tensor | None = None
        self._theta: torch.Tensor | None = None
        self._work: torch.Tensor | None = None
        # of the update in progress
        self._pending: list[_Evaluation] = []
        self._withheld: list[torch.Tensor | None] | None = None
        self._kept: tuple[torch.Tensor, Any, Any] | None = None
        self._batch: tuple[Any, ...] | None = None
        self._hook()

    # The training step.

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
            A forward pass of the batch, without backward pass and without effects other than on the model's buffers and
            generators: it is called again with the parameters of a trial. ``outputs`` are the answers that count.
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
            closure = self._closure_of(inputs, targets)
        elif inputs is not None or targets is not None:
            raise InputError("closure must not be given together with inputs and targets")
        if isinstance(self.optimizer, torch.optim.LBFGS):
            return self._unguarded_step(closure)
        self.optimizer.zero_grad()
        loss, _ = self.evaluate(closure)
        (loss if scaler is None else scaler.scale(loss)).backward()
        if before_step is not None:
            if scaler is not None:
                scaler.unscale_(self.optimizer)
            before_step()
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()
        return loss.detach()

    def evaluate(self, closure: Closure) -> tuple[torch.Tensor, Any]:
        """``closure()`` with the graph, remembered for the trials of the next ``optimizer.step()``.

        Several calls before one step are an accumulated gradient. The closure returns the loss as it is; scale it
        afterwards, as in ``(loss / k).backward()``.
        """
        if all(p.grad is None for p in self.parameters.tensors):
            self._pending = []  # gradients were put to zero, after a step or after one that AMP skipped
        elif len(self._pending) >= MOST_PENDING:
            self._warn("pending", f"{MOST_PENDING} evaluations without an update: the oldest are not tried again")
            self._pending = self._pending[1:]
        kept = self._take_kept()
        before = self._states()
        if kept is not None:
            loss, outputs, distance = kept
        else:
            versions = [buffer._version for buffer in self.model.buffers()]
            loss, outputs = self._called(closure)
            distance = self._distance_for(loss, outputs)
            self._pure = before == self._states() and versions == [b._version for b in self.model.buffers()]
        self.counts["backward"] += 1
        self._pending.append(_Evaluation(closure, before, loss.detach(), _detached(outputs), distance))
        return loss, outputs

    def remove(self) -> None:
        """Take the guard off its optimizer."""
        for handle in self._handles:
            handle.remove()

    # Hooks of the optimizer.

    def _hook(self) -> None:
        optimizer = self.optimizer
        self._handles = [
            optimizer.register_step_pre_hook(self._before_update),
            optimizer.register_step_post_hook(self._after_update),
        ]
        # first of all, so that other hooks see the update that stands
        hooks = getattr(optimizer, "_optimizer_step_post_hooks", None)
        if hasattr(hooks, "move_to_end") and self._handles[1].id in hooks:
            hooks.move_to_end(self._handles[1].id, last=False)
        if hasattr(optimizer, "register_state_dict_post_hook"):  # since PyTorch 2.3
            self._handles += [
                optimizer.register_state_dict_post_hook(self._into),
                optimizer.register_load_state_dict_pre_hook(self._out_of),
            ]

    @torch.no_grad()
    def _before_update(self, optimizer: Any, args: Any, keywords: Any) -> None:
        """Keep theta, learn a secant, and hold back gradients that are not finite."""
        self._kept = None
        self._withheld = None
        pending = self._pending
        if not pending:
            return
        if any(one is not None for one in (*args[1:], keywords.get("closure"))):
            self._warn("closure", f"{type(optimizer).__name__} was given a closure of its own: that update is unguarded")
            self._pending = []
            return
        if getattr(optimizer, "grad_scale", None) is not None:
            self._warn("fused", "a fused optimizer takes scaled gradients: only the rule for fresh batches is used")
            self.batch, self._is_fixed = "fresh", False
        # a sum of squares is not finite if a gradient is not
        sizes = [torch.linalg.vector_norm(self.parameters.gradient_of(p)) for p in self.parameters.tensors]
        losses = [one.loss.reshape(()).to(sizes[0]) for one in pending]
        size, self._loss = torch.stack([torch.stack(sizes).sum(), torch.stack(losses).mean()]).tolist()
        if not (_finite(size) and _finite(self._loss)):
            # without gradients an optimizer leaves parameters and momenta alone
            self._withheld = self.parameters.withhold_gradients()
            self._gradient = None
            return
        self._follow_batch()
        before, self._gradient = self._gradient, None
        if self._fixed_now and before is not None and self._theta is not None:
            for p, part in self.parameters.pieces():  # y = g - g_previous, in place
                before[part] = self.parameters.gradient_of(p) - before[part]
            self._secants.add(before, self._theta)
        if self._theta is None or len(self._theta) != sum(p.numel() for p in self.parameters.tensors):
            self._theta = self.parameters.values()
            self._secants.clear()
        else:
            self.parameters.copy_values_to(self._theta)
        self._work = before

    @torch.no_grad()
    def _after_update(self, optimizer: Any, args: Any, keywords: Any) -> None:
        """Try the update that the optimizer has made."""
        pending, self._pending = self._pending, []
        self.counts["updates"] += 1
        if self._withheld is not None:
            self.parameters.give_back_gradients(self._withheld)
            self._withheld = None
            self._record("skipped", 0.0, ["not finite"], float("nan"), float("nan"))
            return
        if not pending:
            self._loss = float("nan")
            self._record("unguarded", 1.0, [], float("nan"), float("nan"))
            if not isinstance(optimizer, torch.optim.LBFGS):
                self._warn(
                    "unguarded",
                    "optimizer.step() came without guard.evaluate(closure) before it: the guard has no forward pass to "
                    "repeat, and that update is unguarded",
                )
            return
        theta, d = self._theta, self._work
        assert theta is not None
        if d is None or len(d) != len(theta):
            d = torch.empty_like(theta)
        self._work = None
        for p, part in self.parameters.pieces():
            d[part] = self.parameters.flat(p.detach()) - theta[part]
        if self._fixed_now:
            self._judge_fixed(pending, theta, d)
            for p, part in self.parameters.pieces():
                d[part] = self.parameters.gradient_of(p)
            self._gradient = d
        else:
            self._judge_fresh(pending, theta, d)

    # The two rules.

    def _judge_fixed(self, pending: list[_Evaluation], theta: torch.Tensor, d: torch.Tensor) -> None:
        """Factor, stiff parts and cap as :class:`FixedBatch` says, until a trial is accepted."""
        rule, loss = self.fixed, self._loss
        stiff = self._secants.parts(d)
        d_d, theta_theta = torch.stack([d.dot(d), theta.dot(theta)]).tolist()
        if d_d == 0:
            self._record("kept", 1.0, [], loss, 0.0)
            return
        first = self._first_loss = loss if self._first_loss is None else self._first_loss
        # the part of d beside the stiff directions, and how far it may go
        beside = max(d_d - float(stiff.along @ stiff.along), 0.0) ** 0.5
        size = theta_theta**0.5
        factor = min(self._factor, rule.cap * size / beside) if beside > 0 and size > 0 else self._factor
        most = rule.most(loss, first) + self._rounding(loss, pending)
        refused: list[str] = []
        for _ in range(rule.tries):
            own = self._move(theta, d, factor, stiff, first=not refused)
            trial, distance, kept = self._try(pending, keep=self._may_keep(pending))
            why, shrink = _verdict(trial, distance, rule.kappa**2 * loss, most)
            if not why:
                self._factor = min(rule.growth, rule.raised * factor)
                self._kept = kept
                self._trial_loss = trial
                self._record("kept" if own else "changed", factor, refused, trial, distance)
                return
            refused.append(why)
            factor = self._factor = factor * shrink
        self._stay(theta, refused, trial, distance)

    def _judge_fresh(self, pending: list[_Evaluation], theta: torch.Tensor, d: torch.Tensor) -> None:
        """Factor and cap as :class:`FreshBatches` says, until a trial is accepted."""
        rule, loss = self.fresh, self._loss
        d_d, theta_theta = torch.stack([d.dot(d), theta.dot(theta)]).tolist()
        if d_d == 0:
            self._record("kept", 1.0, [], loss, 0.0)
            return
        size, length = theta_theta**0.5, d_d**0.5
        factor = min(self._factor, 1.0)
        if size > 0:
            factor = min(factor, self._cap * size / length)
        most = loss + rule.noise * self._noise_now() if self.counts["updates"] > rule.warm else float("inf")
        most += self._rounding(loss, pending)
        refused: list[str] = []
        for _ in range(rule.tries):
            own = self._move(theta, d, factor, None, first=not refused)
            trial, distance, _ = self._try(pending, keep=False)
            why, shrink = _verdict(trial, distance, rule.kappa**2 * loss, most)
            if not why:
                self._factor = min(1.0, rule.raised * factor)
                self._trial_loss = trial
                self._remember(refused, factor * length / size if size > 0 else float("inf"))
                self._record("kept" if own else "changed", factor, refused, trial, distance)
                return
            refused.append(why)
            factor = self._factor = factor * shrink
        self._remember(refused, rule.cap)
        self._stay(theta, refused, trial, distance)

    def _remember(self, refused: list[str], accepted: float) -> None:
        """Move the cap: down after a refusal, up otherwise."""
        rule = self.fresh
        if rule.cap == float("inf"):
            return
        if refused:
            self._cap = max(min(self._cap, accepted), rule.cap)
        else:
            self._cap *= 1.005

    def _noise_now(self) -> float:
        """Standard deviation of the loss from batch to batch."""
        return (self._noise / self._noise_weight) ** 0.5 if self._noise_weight > 0 else 0.0

    # Trials.

    def _move(
        self, theta: torch.Tensor, d: torch.Tensor, factor: float, stiff: StiffParts | None, *, first: bool
    ) -> bool:
        """Put the parameters at ``theta + factor d`` less what is too far; whether that is the optimizer's own update."""
        coefficients = stiff.correction(factor) if stiff is not None and len(stiff.along) else None
        if first and factor == 1.0 and (coefficients is None or not coefficients.any()):
            return True  # as the optimizer has left them, to the last bit
        for p, part in self.parameters.pieces():
            moved = torch.add(theta[part], d[part], alpha=factor)
            if coefficients is not None:
                for index, a in enumerate(coefficients.tolist()):
                    if a:
                        moved.add_(self._secants.piece(index, part), alpha=a)
            p.copy_(moved.view(p.shape))
        return False

    def _try(self, pending: list[_Evaluation], *, keep: bool) -> tuple[float, float, Any]:
        """Loss and distance of the outputs at the present parameters, and the forward pass where ``keep`` is set."""
        after = self._states()
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        gradients = torch.enable_grad if keep else torch.no_grad
        losses, distances, kept = [], [], None
        for one in pending:
            one.states.restore()
            with gradients():
                loss, outputs = self._called(one.closure)
                if keep:
                    kept = (loss, outputs, self._distance_for(loss, outputs), self.parameters.versions())
            losses.append(loss.detach().reshape(()).double())
            distances.append(one.distance(one.outputs, _detached(outputs)).detach().reshape(()).to(losses[-1]))
        for buffer, value in buffers:
            if buffer._version != 0 and not torch.equal(buffer, value):
                buffer.copy_(value)
        after.restore()
        trial, distance = torch.stack([torch.stack(losses).mean(), torch.stack(distances).mean()]).tolist()
        return trial, distance, kept

    def _stay(self, theta: torch.Tensor, refused: list[str], trial: float, distance: float) -> None:
        """Back to theta, and a new beginning for the momenta that led nowhere."""
        self.parameters.set(theta)
        self._trial_loss = None
        if not clear_momenta(self.optimizer):
            self._warn(
                "momenta",
                f"no momenta of {type(self.optimizer).__name__} are known to the guard: they are not cleared after "
                f"{self.fixed.tries} refusals",
            )
        self._record("stayed", 0.0, refused, trial, distance)

    def _record(self, action: str, factor: float, refused: list[str], trial: float, distance: float) -> None:
        self.counts[action] += 1
        self.counts["refused"] += len(refused) if action != "skipped" else 0
        rule = "fixed" if self._fixed_now else "fresh"
        number = self.counts["updates"] - 1
        self.last = Update(number, action, rule, factor, tuple(refused), self._loss, trial, distance)
        if self.on_update is not None and action != "kept":
            self.on_update(self.last)

    # Batches: fixed or fresh, and the forward pass that is kept.

    @property
    def _fixed_now(self) -> bool:
        return self._is_fixed and self._pure

    _pure = True
    _loss = float("nan")

    def _follow_batch(self) -> None:
        """Update what the successive losses say of the batches: noise, and whether they are one."""
        loss = self._loss
        if self.batch == "fixed":
            if not self._pure:
                self._warn(
                    "random",
                    "batch is 'fixed', but the forward pass draws random numbers or changes buffers (dropout, noise, "
                    "batch norm): the rule for fresh batches is used",
                )
        elif self.batch == "auto":
            repeats = self._trial_loss is not None and abs(loss - self._trial_loss) <= SAME * 0.01 * abs(loss)
            self._repeats = self._repeats + 1 if repeats else 0
            if self._is_fixed and self._trial_loss is not None and not repeats:
                self._is_fixed = False
                self._secants.clear()
                self._factor = min(self._factor, 1.0)
            elif self._repeats >= REPEATS:
                self._is_fixed = True
        if self._previous_loss is not None and not self._fixed_now:
            average = self.fresh.average
            self._noise = average * self._noise + (1 - average) * (loss - self._previous_loss) ** 2 / 2
            self._noise_weight = average * self._noise_weight + (1 - average)
        self._previous_loss = loss
        if self._first_loss is None:
            self._first_loss = loss

    def _may_keep(self, pending: list[_Evaluation]) -> bool:
        """Whether the forward pass of the trial will be the next step's."""
        return self.batch == "fixed" and self._pure and len(pending) == 1

    def _take_kept(self) -> Any:
        """The forward pass of the accepted trial, if it is still one of the present parameters."""
        kept, self._kept = self._kept, None
        if kept is None or self._pending or kept[3] != self.parameters.versions():
            return None
        if self.counts["updates"] % CHECKED == 0:
            self._check = float(kept[0].detach())
            return None
        return kept[:3]

    _check: float | None = None

    def _closure_of(self, inputs: Any, targets: Any) -> Closure:
        criterion = self.criterion
        if criterion is None or inputs is None or targets is None:
            raise InputError("closure must be given, or inputs and targets, and criterion to Guard")

        def closure() -> tuple[torch.Tensor, Any]:
            outputs = self.model(inputs)
            return criterion(outputs, targets), outputs

        return closure

    def _unguarded_step(self, closure: Closure) -> torch.Tensor:
        """A step of an optimizer that evaluates for itself."""
        name = type(self.optimizer).__name__
        self._warn("lbfgs", f"{name} evaluates its closure itself, several times an update: its updates are unguarded")

        def with_gradient() -> torch.Tensor:
            self.optimizer.zero_grad()
            loss, _ = self._called(closure)
            loss.backward()
            return loss

        loss = self.optimizer.step(with_gradient)
        return torch.as_tensor(loss).detach()

    def _called(self, closure: Closure) -> tuple[torch.Tensor, Any]:
        self.counts["forward"] += 1
        result = closure()
        if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[0], torch.Tensor):
            raise InputError(f"closure must return (loss, outputs), got {type(result).__name__}")
        if result[0].numel() != 1:
            raise InputError(f"closure must return a loss of one number, got shape {tuple(result[0].shape)}")
        loss = result[0]
        if self._check is not None:  # a kept forward pass is compared with a new one
            new, old, self._check = float(loss.detach()), self._check, None
            if not abs(new - old) <= SAME * max(abs(new), abs(old)):
                self.batch, self._is_fixed = "fresh", False
                self._secants.clear()
                self._warn(
                    "changed",
                    f"batch is 'fixed', but the loss of the same parameters is {new:g} and was {old:g}: the batch "
                    "changes, updates since the last check used an old one, and the rule for fresh batches is used",
                )
        return loss, result[1]

    def _distance_for(self, loss: torch.Tensor, outputs: Any) -> Callable[[Any, Any], torch.Tensor]:
        if callable(self.distance):
            return self.distance
        tensor = single_tensor(outputs)
        if self.distance != "auto":
            return _on_tensors(Distance(self.distance))
        found = distance_of_graph(loss, tensor) if tensor.requires_grad else None
        if found is None:
            self._warn(
                "distance",
                "the kind of the loss cannot be read from its graph: the mean squared change of the outputs is taken "
                f"for their distance; say distance= one of {', '.join(KINDS)} or a function",
            )
            found = Distance("squared")
        return _on_tensors(found)

    def _rounding(self, loss: float, pending: list[_Evaluation]) -> float:
        """What a loss may rise by rounding alone."""
        dtype = pending[0].loss.dtype
        outputs = pending[0].outputs
        if isinstance(outputs, torch.Tensor) and outputs.is_floating_point():
            dtype = max(dtype, outputs.dtype, key=lambda one: torch.finfo(one).eps)
        return ROUNDING * float(torch.finfo(dtype).eps) * abs(loss)

    def _states(self) -> GeneratorStates:
        return GeneratorStates.now(self.parameters.devices, self.generators)

    def _warn(self, key: str, message: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(f"Guard: {message}", RuntimeWarning, stacklevel=3)

    # State.

    def state_dict(self) -> dict[str, Any]:
        """What the guard has learned: factor, levels, counts, secants. Also part of ``optimizer.state_dict()``."""
        return {
            "factor": self._factor,
            "cap": self._cap,
            "first_loss": self._first_loss,
            "previous_loss": self._previous_loss,
            "noise": [self._noise, self._noise_weight],
            "trial_loss": self._trial_loss,
            "repeats": self._repeats,
            "is_fixed": self._is_fixed,
            "counts": dict(self.counts),
            "gradient": self._gradient,
            "theta": self._theta,
            "secants": self._secants.state_dict(),
            "rules": [asdict(self.fixed), asdict(self.fresh)],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        device = self.parameters.device
        self._factor, self._cap = state["factor"], state["cap"]
        self._first_loss, self._previous_loss = state["first_loss"], state["previous_loss"]
        self._noise, self._noise_weight = state["noise"]
        self._trial_loss, self._repeats, self._is_fixed = state["trial_loss"], state["repeats"], state["is_fixed"]
        self.counts = dict(state["counts"])
        self._gradient, self._theta = (
            None if state[name] is None else state[name].to(device) for name in ("gradient", "theta")
        )
        self._secants.load_state_dict(state["secants"])
        self._kept = None

    def _into(self, optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
        return {**state, _STATE: self.state_dict()}

    def _out_of(self, optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
        if _STATE not in state:
            return state
        self.load_state_dict(state[_STATE])
        return {name: value for name, value in state.items() if name != _STATE}


def _verdict(trial: float, distance: float, farthest: float, most: float) -> tuple[str, float]:
    """Why a trial is refused ("" if it is not), and what its factor is multiplied by then."""
    if not (_finite(trial) and _finite(distance)):
        return "not finite", 0.05
    if distance > farthest:  # 0.9 of the step at which D, quadratic in it, would just do
        shrink = min(max(0.9 * (max(farthest, 0.0) / distance) ** 0.5, 0.05), 0.7)
        return "outputs", min(shrink, 0.5) if trial > most else shrink
    if trial > most:
        return "loss", 0.5
    return "", 1.0


def _on_tensors(distance: Distance) -> Callable[[Any, Any], torch.Tensor]:
    return lambda old, new: distance(single_tensor(old), single_tensor(new))


def _detached(outputs: Any) -> Any:
    """Outputs without their graph; containers of tensors likewise."""
    if isinstance(outputs, torch.Tensor):
        return outputs.detach()
    if isinstance(outputs, dict):
        return {name: _detached(value) for name, value in outputs.items()}
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):  # named, packed sequences among them
        return type(outputs)(*(_detached(value) for value in outputs))
    if isinstance(outputs, list | tuple):
        return type(outputs)(_detached(value) for value in outputs)
    return outputs


def _finite(value: float) -> bool:
    return abs(value) < float("inf")
