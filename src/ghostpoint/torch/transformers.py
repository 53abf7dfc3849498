"""Monitor and guard in the ``Trainer`` of Hugging Face; imported when asked for, with
``transformers``.
"""

from __future__ import annotations

import math
import os
import warnings
import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from ghostpoint.checks import one_of
from ghostpoint.errors import InputError
from ghostpoint.torch.guard import Guard
from ghostpoint.torch.monitor import Monitor

try:
    from transformers import Trainer, TrainerCallback
    from transformers.trainer_callback import ExportableState
except ImportError:
    raise ImportError("ghostpoint.torch.transformers needs Transformers: pip install transformers accelerate") from None

__all__ = ["GuardedTrainer", "MonitorCallback"]

#: two means of the same losses differ by less: by the share of them, or by the digits of a log
SAME, DIGITS = 0.01, 1e-4
#: by the id of a trainer's arguments: loss and options of the callback that it was given, and that
#: callback if it lives
_GIVEN: dict[int, tuple[str, dict[str, Any], Any]] = {}
_NOTHING: tuple[Any, Any] = (None, None)


class MonitorCallback(TrainerCallback, ExportableState):
    """A :class:`~ghostpoint.torch.Monitor` over ``trainer.train()``.

    Loss and logits are read in the forward passes of the model. A loss counts by its share in what
    is trained: the gradient that the backward pass brings to it. So trials of a guard do not count,
    and a loss that ``compute_loss`` multiplies is recorded as it is trained. Where the model
    computes no loss (is given no labels), or its loss is no part of what is trained, the losses
    that the trainer logs are recorded, one every ``logging_steps``; the second case is said in a
    warning. A warning also says where the mean of the recorded losses is not the one that the
    trainer logs, as it is where ``compute_loss`` adds something to the model's loss.

    The record is part of ``trainer_state.json``, and goes on from there with
    ``trainer.train(resume_from_checkpoint=...)``, with the options that are given now.
    ``TrainingArguments(restore_callback_states_from_checkpoint=True)`` is not needed. With it
    Transformers puts a copy in this callback's place, which takes over the options given to
    ``Trainer(callbacks=...)``; ``monitor`` is then the copy's.

    Parameters
    ----------
    loss : "auto" or "trainer"
        "trainer" records the losses that the trainer logs.
    **options
        Of :class:`~ghostpoint.torch.Monitor`: ``path``, ``every``, ``sinks``, ``on_verdict``, ...

    Attributes
    ----------
    monitor : Monitor or None
        None before training; kept after it, so that ``monitor.verdict()`` can be asked.

    Raises
    ------
    ValueError
        For an unknown ``loss``.
    """

    def __init__(self, *, loss: str = "auto", **options: Any):
        self.loss, self.options = one_of("loss", loss, ("auto", "trainer")), options
        self.monitor: Monitor | None = None
        self.monitor_state: dict[str, Any] | None = None
        # of a copy that Transformers makes of a checkpoint: options that are not in it
        self.left_out: list[str] | None = None
        self._hook: Any = None
        self._warned: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        self._scaler: Any = None
        self._passes, self._measured = 0, False
        self._parts: list[torch.Tensor] = []  # of the loss of the update to come
        self._losses: list[torch.Tensor] = []  # of updates that AMP skipped, and of the one that was made
        self._since_log: tuple[Any, int] = (0.0, 0)  # sum and number of losses since the trainer's log
        self._answers = _NOTHING

    def state(self) -> dict[str, Any]:
        """For the trainer's checkpoint: what JSON can hold of the options, and the record."""
        options = {name: os.fspath(value) if isinstance(value, os.PathLike) else value
                   for name, value in self.options.items()}  # fmt: skip
        plain = {name: value for name, value in options.items() if isinstance(value, str | int | float | dict)}
        state = None if self.monitor is None else self.monitor.state_dict()
        left = [name for name, value in options.items() if name not in plain and value is not None]
        return {"args": {"loss": self.loss, **plain}, "attributes": {"monitor_state": state, "left_out": left}}

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember what a trainer was given, for the copy that Transformers may make of it."""
        if id(args) not in _GIVEN:
            weakref.finalize(args, _GIVEN.pop, id(args), None)
        _GIVEN[id(args)] = self.loss, self.options, weakref.ref(self)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin, or go on from a checkpoint or an earlier ``train``."""
        model, wrapped = kwargs["model"], kwargs["optimizer"]
        optimizer = getattr(wrapped, "optimizer", wrapped)  # accelerate wraps it
        original = self._take_over(args)
        before = self._state_before(state)
        if self.monitor is not None:  # of an earlier train, which may have failed
            self.monitor.close()
        self.monitor = Monitor(model, optimizer, **self.options)
        if original is not None:
            original.monitor = self.monitor
        if before is not None:
            self.monitor.load_state_dict(before)
        self.monitor_state, self._seen = None, self.monitor.calls
        self._begin()
        self._scaler = getattr(wrapped, "scaler", None)
        if self._hook is not None:
            self._hook.remove()
        self._hook = model.register_forward_hook(self._after_forward, with_kwargs=True)

    def _take_over(self, args: Any) -> MonitorCallback | None:
        """Where this is a copy that Transformers made of a checkpoint: have the options of the
        callback that it stands for, which is returned if it lives.
        """
        left, self.left_out = self.left_out, None
        if left is None:
            return None
        if id(args) in _GIVEN:
            self.loss, self.options, original = _GIVEN[id(args)]
            return original() if original() is not self else None
        self._warn(
            "copy",
            "Transformers has put a copy from the checkpoint in the place of the callback: its options are the "
            f"checkpoint's ({', '.join(f'{name}={value!r}' for name, value in self.options.items()) or 'none'})"
            + (f", without {', '.join(left)}" if left else "")
            + "; give the callback to Trainer(callbacks=[...]), or restore_callback_states_from_checkpoint=False",
        )
        return None

    def _state_before(self, state: Any) -> dict[str, Any] | None:
        """The monitor's state to go on from: the checkpoint's, or that of an earlier ``train``."""
        saved, name = getattr(state, "stateful_callbacks", None), type(self).__name__
        if not isinstance(saved, dict):  # an older release
            saved = {}
        found = saved.setdefault(name, self.state())  # Transformers takes for granted that it is there
        if state.global_step and isinstance(found, list):
            self._warn("several", f"of several {name} in one trainer no record goes on from a checkpoint: all begin "
                       "anew; one of them must do")  # fmt: skip
        elif state.global_step and found["attributes"].get("monitor_state") is not None:
            return dict(found["attributes"]["monitor_state"])
        return self.monitor.state_dict() if self.monitor is not None else None

    # Forward passes, and what the backward pass says of them.

    def _after_forward(self, model: Any, args: Any, kwargs: Any, output: Any) -> None:
        if not model.training or not torch.is_grad_enabled() or not isinstance(output, Mapping):
            return
        loss, logits, labels = output.get("loss"), output.get("logits"), kwargs.get("labels")
        answers = _NOTHING
        if isinstance(logits, torch.Tensor) and isinstance(labels, torch.Tensor) and logits.ndim == 2:
            if labels.ndim == 1:
                answers = logits.detach(), labels
            if labels.ndim == 1 and logits.requires_grad:
                logits.register_hook(partial(self._answered, answers))
        if isinstance(loss, torch.Tensor) and loss.requires_grad and self.loss == "auto":
            self._passes += 1
            loss.register_hook(partial(self._trained, loss.detach(), answers))

    def _answered(self, answers: tuple[Any, Any], gradient: torch.Tensor) -> None:
        self._answers = answers

    def _trained(self, loss: torch.Tensor, answers: tuple[Any, Any], gradient: torch.Tensor) -> None:
        """Note the part of a loss in what is trained: the loss times its gradient, which has the
        scale of AMP.
        """
        share = gradient.detach()
        if self._scaler is not None:
            share = share / self._scaler.scale(torch.ones_like(share))
        self._parts.append((loss * share).sum())
        self._answers = answers

    # Events of the trainer.

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log the loss of an update that was made."""
        monitor, parts, passes = self.monitor, self._parts, self._passes
        self._parts, self._passes = [], 0
        if monitor is None:
            return
        if parts:
            self._measured = True
            self._losses.append(torch.stack(parts).sum())
            total, count = self._since_log
            self._since_log = total + self._losses[-1], count + 1
        elif passes and not self._measured:
            self._warn(
                "unused",
                "the loss of the model is no part of what the trainer trains (compute_loss makes another): the losses "
                f"that the trainer logs are recorded, one every {args.logging_steps:g} steps (logging_steps)",
            )
        if monitor.calls == self._seen:
            return
        self._seen = monitor.calls
        if self._losses:
            outputs, targets = self._answers
            monitor.log(torch.stack(self._losses).mean(), outputs=outputs, targets=targets)
            self._losses, self._answers = [], _NOTHING

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Note the validation loss, and the trainer's loss where the model's is not trained."""
        monitor = self.monitor
        if monitor is None or logs is None:
            return
        if "eval_loss" in logs:
            monitor.note(validation_loss=logs["eval_loss"])
        if "loss" in logs and not self._measured:
            outputs, targets = self._answers
            monitor.log(logs["loss"], outputs=outputs, targets=targets)
            self._answers = _NOTHING
        elif "loss" in logs and "learning_rate" in logs:  # the trainer's own log
            self._compare(float(logs["loss"]), getattr(args, "world_size", 1))

    def _compare(self, logged: float, processes: int) -> None:
        """Say where the mean of the losses since the last log is not the trainer's."""
        (total, count), self._since_log = self._since_log, (0.0, 0)
        if not count or processes > 1 or "differs" in self._warned:  # a log is the mean over processes
            return
        own = float(total) / count
        if not (math.isfinite(own) and math.isfinite(logged)):
            return
        if abs(own - logged) > SAME * max(abs(own), abs(logged)) + DIGITS:
            self._warn(
                "differs",
                f"the loss that the trainer trains has the mean {logged:.4g} over the last {count} steps, and the "
                f"model's own part in it, which is recorded, {own:.4g} (does compute_loss add to it?); "
                "MonitorCallback(loss='trainer') records what the trainer logs",
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write what is left."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        if self.monitor is not None:
            self.monitor.close()

    def _warn(self, key: str, message: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(f"MonitorCallback: {message}", RuntimeWarning, stacklevel=3)


class GuardedTrainer(Trainer):
    """A ``Trainer`` whose updates are guarded; the guard's state is part of the optimizer's in its
    checkpoints.

    ``compute_loss`` is called again in each trial, with the same batch and random numbers, and with
    ``return_outputs=True``, for the logits. That of a subclass is, too.

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
        if "compute_loss" not in vars(self):  # by the instance, so that a subclass's own is guarded, too
            setattr(self, "compute_loss", partial(self._guarded_loss, self.compute_loss))  # noqa: B010
        return made

    def _guarded_loss(
        self,
        inner: Any,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The loss of a batch; in training, of a forward pass that the guard can repeat."""
        kwargs["num_items_in_batch"] = num_items_in_batch
        if return_outputs or self.guard is None or not model.training:
            return inner(model, inputs, return_outputs=return_outputs, **kwargs)
        # a loss that is divided by what the whole update has is a share of its loss
        scale = self.current_gradient_accumulation_steps if self._is_a_share(num_items_in_batch) else 1

        def closure() -> tuple[torch.Tensor, Any]:
            with self.compute_loss_context_manager():
                loss, outputs = inner(model, dict(inputs), return_outputs=True, **kwargs)
            return loss * scale, _logits(loss, outputs)

        loss, _ = self.guard.evaluate(closure)
        return loss / scale

    def _is_a_share(self, num_items_in_batch: Any) -> bool:
        """Whether the trainer takes the loss of a batch as it is, where gradients are accumulated,
        and does not divide it.
        """
        stated = getattr(self, "loss_is_scaled_for_ga", None)
        if stated is not None:
            return bool(stated)
        by_model = self.model_accepts_loss_kwargs and num_items_in_batch is not None
        return bool(by_model or self.compute_loss_func is not None)


def _logits(loss: torch.Tensor, outputs: Any) -> torch.Tensor:
    """The answers that count among a model's outputs: what is called so, else the first tensor of
    real numbers that is no loss.
    """
    if isinstance(outputs, Mapping) and "logits" in outputs:
        found: torch.Tensor = outputs["logits"]
        return found
    parts = dict(outputs) if isinstance(outputs, Mapping) else {"": outputs}
    if isinstance(outputs, tuple | list):
        parts = dict(enumerate(outputs))
    for name, value in parts.items():
        real = isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim > 0
        if real and value is not loss and name != "loss":
            return value
    got = f"{type(outputs).__name__} of {', '.join(type(value).__name__ for value in parts.values()) or 'nothing'}"
    raise InputError(
        "outputs of the model must have logits, or be a tensor of real numbers or a tuple with one, for a guard; "
        f"got {got}"
    )
