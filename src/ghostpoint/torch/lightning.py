"""Monitor and guard as callbacks of Lightning; imported when asked for, with ``lightning`` or
``pytorch_lightning``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch

from ghostpoint.errors import InputError
from ghostpoint.torch.guard import Guard
from ghostpoint.torch.monitor import Monitor

__all__ = ["GuardCallback", "MonitorCallback"]


def _callback() -> Any:
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return import_module(name).Callback
        except ImportError:
            continue
    raise ImportError("ghostpoint.torch.lightning needs Lightning: pip install lightning")


_Callback: Any = _callback()


class MonitorCallback(_Callback):
    """A :class:`~ghostpoint.torch.Monitor` over ``trainer.fit``; its record travels in the
    checkpoints.

    The loss is that of ``training_step``, averaged over the batches of an update. Where that
    returns a dict, its entries ``outputs`` and ``targets``, if there are any, give confidence,
    saturation and accuracy.

    Parameters
    ----------
    outputs, targets : str
        Names of those entries.
    optimizer : int
        Which of the module's optimizers is observed.
    guard : GuardCallback, optional
        Whose counts are logged too. It must stand before this callback in the trainer's list.
    **options
        Of :class:`~ghostpoint.torch.Monitor`: ``path``, ``every``, ``sinks``, ``on_verdict``, ...

    Attributes
    ----------
    monitor : Monitor or None
        None before ``fit``; kept after it, so that ``monitor.verdict()`` can be asked.
    """

    def __init__(
        self,
        *,
        outputs: str = "outputs",
        targets: str = "targets",
        optimizer: int = 0,
        guard: GuardCallback | None = None,
        **options: Any,
    ):
        self.outputs, self.targets, self.optimizer, self.guard, self.options = (
            outputs, targets, optimizer, guard, options,
        )  # fmt: skip
        self.monitor: Monitor | None = None
        self._state: dict[str, Any] | None = None
        self._losses: list[torch.Tensor] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin, or go on from a checkpoint or an earlier ``fit``."""
        before = self._state or (self.monitor.state_dict() if self.monitor is not None else None)
        guard = self.guard.guard if self.guard is not None else None
        self.monitor = Monitor(pl_module, trainer.optimizers[self.optimizer], guard=guard, **self.options)
        if before is not None:
            self.monitor.load_state_dict(before)
        self._state, self._losses, self._seen = None, [], self.monitor.calls

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the loss once the update that it belongs to has been made."""
        monitor = self.monitor
        found = outputs if isinstance(outputs, Mapping) else {"loss": outputs}
        loss = found.get("loss")
        if monitor is None or not isinstance(loss, torch.Tensor):
            return
        # Lightning divides the loss by the batches of an update
        share = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
        self._losses.append(loss.detach() * share)
        if monitor.calls > self._seen:
            self._seen = monitor.calls
            monitor.log(
                torch.stack(self._losses).mean(), outputs=found.get(self.outputs), targets=found.get(self.targets)
            )
            self._losses = []

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write what is left."""
        if self.monitor is not None:
            self.monitor.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Write what is left."""
        self.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The monitor's state, for Lightning's checkpoint."""
        return {} if self.monitor is None else self.monitor.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a checkpoint's state until ``fit`` begins."""
        self._state = state_dict or None


class GuardCallback(_Callback):
    """A :class:`~ghostpoint.torch.Guard` over ``trainer.fit``; its state travels in the
    optimizer's.

    With automatic optimization ``training_step`` must return a dict with the loss and the answers
    that count, ``{"loss": loss, "outputs": outputs}``, and is called again for each trial, with the
    same random numbers. What it logs in a trial is left out. It must have no other effects: metrics
    that it updates would count trials too, and
    belong into ``on_train_batch_end``. With manual optimization it makes its own closure::

        guard = self.guard_callback.guard
        loss, outputs = guard.evaluate(lambda: (criterion(out := self(x), y), out))
        self.manual_backward(loss)
        self.optimizers().step()

    Parameters
    ----------
    outputs : str
        Entry of the dict.
    optimizer : int
        Which of the module's optimizers is guarded.
    **options
        Of :class:`~ghostpoint.torch.Guard`: ``batch``, ``distance``, ``fixed``, ``fresh``, ...

    Attributes
    ----------
    guard : Guard or None
        Made when ``fit`` begins.
    """

    def __init__(self, *, outputs: str = "outputs", optimizer: int = 0, **options: Any):
        self.outputs, self.optimizer, self.options = outputs, optimizer, options
        self.guard: Guard | None = None
        self._finished = False
        self._state: dict[str, Any] | None = None
        self._logged: list[tuple[str, Any, Any]] = []
        self._result: Any = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Guard the optimizer, before Lightning gives it the state of a checkpoint."""
        before = self._state or (self.guard.state_dict() if self.guard is not None else None)
        self.guard = Guard(pl_module, trainer.optimizers[self.optimizer], **self.options)
        if before is not None:
            self.guard.load_state_dict(before)
        self._finished, self._state = False, None
        if pl_module.automatic_optimization:
            self._wrap(trainer, pl_module, self.guard)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Let go of optimizer and module."""
        if self.guard is not None:
            self.guard.remove()
        self._finished = True
        pl_module.__dict__.pop("training_step", None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Let go of optimizer and module."""
        self.on_fit_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The guard's state after ``fit``, when the optimizer's no longer has it."""
        return self.guard.state_dict() if self._finished and self.guard is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a checkpoint's state until ``fit`` begins."""
        self._state = state_dict or None

    def on_before_zero_grad(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Forget the forward passes of an update that AMP has skipped: Lightning's own comes before
        its zeros.
        """
        if self.guard is not None and pl_module.automatic_optimization:
            self.guard.forget_older_passes()

    def _wrap(self, trainer: Any, module: Any, guard: Guard) -> None:
        """Let ``training_step`` go through :meth:`Guard.evaluate`."""
        inner = module.training_step

        def training_step(*arguments: Any, **keywords: Any) -> Any:
            first = True

            def closure() -> tuple[torch.Tensor, Any]:
                nonlocal first
                if first:
                    self._result = inner(*arguments, **keywords)
                else:
                    with trainer.strategy.precision_plugin.train_step_context():
                        self._result = self._silently(module, inner, arguments, keywords)
                first = False
                return self._loss_and_outputs(self._result)

            guard.evaluate(closure)
            if first:  # a fixed batch, whose accepted trial is this step's forward pass: say what it would have logged
                for name, given, named in self._logged:
                    getattr(module, name)(*given, **named)
            return self._result

        module.training_step = training_step

    def _silently(self, module: Any, inner: Any, arguments: Any, keywords: Any) -> Any:
        """``training_step`` in a trial: what it logs is only kept."""
        self._logged = []
        names = ("log", "log_dict")
        own = {name: vars(module)[name] for name in names if name in vars(module)}
        for name in names:
            setattr(module, name, lambda *given, name=name, **named: self._logged.append((name, given, named)))
        try:
            return inner(*arguments, **keywords)
        finally:
            for name in names:
                delattr(module, name)
            vars(module).update(own)

    def _loss_and_outputs(self, result: Any) -> tuple[torch.Tensor, Any]:
        if not isinstance(result, Mapping) or "loss" not in result or self.outputs not in result:
            got = f"a dict of {', '.join(map(str, result))}" if isinstance(result, Mapping) else type(result).__name__
            raise InputError(f"training_step must return a dict with loss and {self.outputs} for a guard, got {got}")
        return result["loss"], result[self.outputs]
