"""Monitor and guard in the ``Trainer`` of Hugging Face; imported when asked for, with
``transformers``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ghostpoint.torch.guard import Guard
from ghostpoint.torch.monitor import Monitor

try:
    from transformers import Trainer, TrainerCallback
    from transformers.trainer_callback import ExportableState
except ImportError:
    raise ImportError("ghostpoint.torch.transformers needs Transformers: pip install transformers accelerate") from None

__all__ = ["GuardedTrainer", "MonitorCallback"]


class MonitorCallback(TrainerCallback, ExportableState):
    """A :class:`~ghostpoint.torch.Monitor` over ``trainer.train()``.

    Loss and logits are read in a forward hook of the model, so the model must compute its loss (be
    given labels); else the losses that the trainer logs are taken. Its record is part of
    ``trainer_state.json``, and training goes on from it with
    ``TrainingArguments(restore_callback_states_from_checkpoint=True)``.

    Parameters
    ----------
    **options
        Of :class:`~ghostpoint.torch.Monitor`: ``path``, ``every``, ``sinks``, ``on_verdict``, ...

    Attributes
    ----------
    monitor : Monitor or None
        None before training; kept after it, so that ``monitor.verdict()`` can be asked.
    """

    def __init__(self, **options: Any):
        self.options = options
        self.monitor: Monitor | None = None
        self.monitor_state: dict[str, Any] | None = None
        self._losses: list[torch.Tensor] = []
        self._shares: list[bool] = []
        self._answers: tuple[Any, Any] = (None, None)
        self._hook: Any = None
        self._measured = False

    def state(self) -> dict[str, Any]:
        """For the trainer's checkpoint: what JSON can hold of the options, and the record."""
        plain = {name: value for name, value in self.options.items() if isinstance(value, str | int | float | dict)}
        state = None if self.monitor is None else self.monitor.state_dict()
        return {"args": plain, "attributes": {"monitor_state": state}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin, or go on from a checkpoint or an earlier ``train``."""
        model, optimizer = kwargs["model"], kwargs["optimizer"]
        optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
        before = self.monitor_state or (self.monitor.state_dict() if self.monitor is not None else None)
        self.monitor = Monitor(model, optimizer, **self.options)
        if before is not None:
            self.monitor.load_state_dict(before)
        self.monitor_state, self._seen = None, self.monitor.step
        self._losses, self._shares = [], []
        self._hook = model.register_forward_hook(self._after_forward, with_kwargs=True)

    def _after_forward(self, model: Any, args: Any, kwargs: Any, output: Any) -> None:
        loss = output.get("loss") if isinstance(output, Mapping) else None
        if not model.training or not isinstance(loss, torch.Tensor) or not torch.is_grad_enabled():
            return
        self._measured = True
        self._losses.append(loss.detach())
        # a loss that is divided by the items of the whole update is a share of its loss
        self._shares.append(kwargs.get("num_items_in_batch") is not None)
        logits, labels = output.get("logits"), kwargs.get("labels")
        fits = isinstance(logits, torch.Tensor) and isinstance(labels, torch.Tensor) and labels.ndim == logits.ndim - 1
        self._answers = (logits.detach(), labels) if fits and bool(logits.ndim == 2) else (None, None)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log the loss of an update that was made."""
        monitor = self.monitor
        if monitor is None or monitor.step == self._seen:
            return
        self._seen = monitor.step
        if self._losses:
            losses = torch.stack(self._losses)
            outputs, targets = self._answers
            monitor.log(losses.sum() if all(self._shares) else losses.mean(), outputs=outputs, targets=targets)
        self._losses, self._shares, self._answers = [], [], (None, None)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Note the validation loss, and the trainer's loss where the model computes none."""
        monitor = self.monitor
        if monitor is None or logs is None:
            return
        if "eval_loss" in logs:
            monitor.note(validation_loss=logs["eval_loss"])
        if "loss" in logs and not self._measured:
            monitor.log(logs["loss"])

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write what is left."""
        if self._hook is not None:
            self._hook.remove()
        if self.monitor is not None:
            self.monitor.close()


class GuardedTrainer(Trainer):
    """A ``Trainer`` whose updates are guarded; the guard's state is part of the optimizer's in its
    checkpoints.

    ``compute_loss`` is called again in each trial, with the same batch and random numbers.

    Parameters
    ----------
    *args, **kwargs
        Of ``transformers.Trainer``.
    guard : mapping, optional
        Options of :class:`~ghostpoint.torch.Guard`: ``batch``, ``distance``, ``fixed``, ``fresh``,
        ...

    Attributes
    ----------
    guard : Guard or None
        Made with the optimizer.
    """

    def __init__(self, *args: Any, guard: Mapping[str, Any] | None = None, **kwargs: Any):
        self.guard: Guard | None = None
        self._guard_options = dict(guard or {})
        super().__init__(*args, **kwargs)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """The optimizer, with a guard on it."""
        made = super().create_optimizer(*args, **kwargs)
        optimizer = getattr(made, "optimizer", made)
        if self.guard is None or self.guard.optimizer is not optimizer:
            self.guard = Guard(self.model, optimizer, **self._guard_options)
        return made

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None, **kwargs: Any
    ) -> Any:
        """The loss of a batch; in training, of a forward pass that the guard can repeat."""
        if return_outputs or self.guard is None or not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch=num_items_in_batch, **kwargs)
        inner = super().compute_loss
        # a loss that is divided by the items of the whole update is a share of its loss
        scale = 1 if num_items_in_batch is None else self.current_gradient_accumulation_steps

        def closure() -> tuple[torch.Tensor, Any]:
            with self.compute_loss_context_manager():
                loss, outputs = inner(model, dict(inputs), True, num_items_in_batch=num_items_in_batch, **kwargs)
            logits = outputs["logits"] if isinstance(outputs, Mapping) and "logits" in outputs else outputs[1]
            return loss * scale, logits

        loss, _ = self.guard.evaluate(closure)
        return loss / scale
