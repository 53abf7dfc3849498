"""The monitor: a pure observer of a training, with a verdict on it."""

from __future__ import annotations

import atexit
import copy
import os
import time
import warnings
import weakref
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ghostpoint._version import __version__
from ghostpoint.checks import integer, number, one_of
from ghostpoint.errors import InputError
from ghostpoint.torch.cost import Cost
from ghostpoint.torch.quantities import (
    CADENCES,
    OF_OUTPUTS,
    OUTPUTS,
    Answers,
    added,
    answers,
    cadences,
    curves,
    fetched,
    norm,
    of_slow_points,
    one_loss,
    one_number,
    update_and_rate,
)
from ghostpoint.torch.quantities import state_saturation as saturated_states
from ghostpoint.torch.sinks import JSONLines, Sink, writes

if TYPE_CHECKING:
    from ghostpoint.diagnosis import Diagnosis
    from ghostpoint.torch.guard import Guard

__all__ = ["Cost", "Monitor"]

#: whether this is traced for compiled code; older releases do not say
_is_compiling: Callable[[], bool] = getattr(torch.compiler, "is_compiling", lambda: False)
#: a read-out waits for this many steps or seconds, whichever ends first
STEPS, SECONDS = 50, 5.0
#: largest share of the time of a training that judging it on the way may take
JUDGING = 0.01


class Monitor:
    """Observes a training through the hooks of its optimizer, and says what phase it is in.

    Nothing that training computes depends on it: weights, gradients, losses and generators are the
    same to the last bit with and without it. Numbers stay on their device until 50 steps or 5 s
    have gone by, then all are fetched at once.
    In the loop there is one more line, outside of compiled functions, before or after
    ``optimizer.step()``::

        monitor = Monitor(model, optimizer, path="run.jsonl")
        for x, y in batches:
            ...
            monitor.log(loss, outputs=outputs, targets=y)
        print(monitor.verdict())

    A step is one of the optimizer. Losses logged between two steps (accumulated gradients, or a
    step that AMP skipped) are averaged. Gradients are what the optimizer sees: accumulated,
    unscaled, clipped.

    =========================  =================================================================
    loss                       as logged
    gradient_norm              L2 norm over all parameters of the optimizer
    update_size                L2 norm of the change of the parameters in one step
    effective_learning_rate    ``-u.g / g.g`` of update u and gradient g; of plain gradient
                               descent the learning rate
    learning_rate              of the first group
    confidence                 mean probability of the likelier answer
    saturation                 share of answers whose probability is within 0.01 of certain
    accuracy                   share of right answers, where targets are class labels, or 0 and 1
    state_saturation           share of hidden states beyond 0.99, where states are logged
    slow_points                on request, near the logged states, not proven: how many
                               ``fixed_points`` and ``ghosts`` were found, and ``ghost_speed``,
                               ``|F|`` at the slowest ghost
    =========================  =================================================================

    Parameters
    ----------
    model : torch.nn.Module
        For the number of its parameters that the optimizer does not have.
    optimizer : torch.optim.Optimizer
    path : path, optional
        Log of JSON lines to append to, for ``ghostpoint diagnose FILE`` and
        ``ghostpoint diagnose --follow FILE``. In a distributed training the process of rank 0 alone
        writes.
    every : int, or mapping of quantity to int or None, optional
        Steps between two measurements, where not the default (1 for loss and learning rate, never
        for slow points, 10 for the others); None for never. A number is for all but loss, learning
        rate and slow points.
    outputs : str
        What ``outputs`` are: "classes" and "logits" (before softmax or sigmoid), "probabilities",
        "tanh", "values" (unbounded: no confidence), or "auto", by targets and range.
    sinks : iterable
        More places to write to: ``CSV``, ``TensorBoard``, ``WandB`` of ``ghostpoint.torch``.
    guard : Guard, optional
        Its counts are logged too.
    on_verdict : callable (Diagnosis), optional
        Called when the verdict has changed; judging on the way takes at most a hundredth of the
        time.
    chance_loss, chance_accuracy, classes : optional
        As for ``ghostpoint.diagnose``.

    Raises
    ------
    ValueError
        For unknown quantities or outputs, and cadences below 1.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        path: str | os.PathLike[str] | None = None,
        every: int | Mapping[str, int | None] | None = None,
        outputs: str = "auto",
        sinks: Iterable[Sink] = (),
        guard: Guard | None = None,
        on_verdict: Callable[[Diagnosis], None] | None = None,
        chance_loss: float | None = None,
        chance_accuracy: float | None = None,
        classes: int | None = None,
    ):
        self.model, self.optimizer, self.guard, self.on_verdict = model, optimizer, guard, on_verdict
        self.every = cadences(every)
        self.outputs = one_of("outputs", outputs, OUTPUTS)
        self._levels: dict[str, Any] = {
            "chance_loss": None if chance_loss is None else number("chance_loss", chance_loss),
            "chance_accuracy": None if chance_accuracy is None else number("chance_accuracy", chance_accuracy),
            "classes": None if classes is None else integer("classes", classes, at_least=2),
        }
        self.step = 0
        self._first_step = 0
        self._after: bool | None = None  # whether log comes after the step it belongs to
        self._compiled = self._closure = False
        self._logged = 0
        self._warned: set[str] = set()
        self._pending: list[tuple[int, str, torch.Tensor | Answers]] = []
        self._host: dict[int, dict[str, Any]] = {}
        self._record: dict[str, tuple[array[float], array[float]]] = {}
        self._widest = (float("inf"), -float("inf"))
        self._seconds: dict[str, list[float]] = {name: [0, 0.0] for name in (*CADENCES, "read-out", "judging")}
        self._started: float | None = None
        self._read_step, self._read_time = 0, time.monotonic()
        self._before: list[torch.Tensor] | None = None
        self._judged: tuple[tuple[float, ...], Diagnosis] | None = None
        self._judged_at = (time.monotonic(), 0.0)
        self._shown: str | None = None
        self.sinks: list[Sink] = list(sinks) if writes() else []
        if path is not None and writes():
            self.sinks.append(JSONLines(path))
        self._handles = [
            optimizer.register_step_pre_hook(self._before_update),
            optimizer.register_step_post_hook(self._after_update),
        ]
        # before a guard's, which takes a part off the gradient for the time of the step
        hooks: Any = getattr(optimizer, "_optimizer_step_pre_hooks", None)
        if hasattr(hooks, "move_to_end") and self._handles[0].id in hooks:
            hooks.move_to_end(self._handles[0].id, last=False)
        self._closed = False
        self._say_what_is_missing()
        reference = weakref.ref(self)

        def at_exit() -> None:
            if (one := reference()) is not None:
                one.close()

        self._at_exit = at_exit
        atexit.register(self._at_exit)

    # In the loop.

    def log(
        self,
        loss: Any,
        *,
        outputs: Any = None,
        targets: Any = None,
        states: Any = None,
        at_input: Any = None,
        **more: float,
    ) -> None:
        """Note the loss of a step, and what its outputs say where that is due.

        Parameters
        ----------
        loss : tensor of one number, or float
        outputs : tensor, optional
            Of the network, before or after its last function: see ``Monitor(outputs=...)``.
        targets : tensor, optional
            Class labels, or of the shape of the outputs.
        states : tensor, optional
            Hidden states.
        at_input : (I,), optional
            The constant input of slow points, 0 by default.
        **more : float
            Numbers of one's own, such as ``validation_loss=0.3``.
        """
        if self._after is None:
            self._after = self.step > self._first_step
        if self._compiled:  # hooks inside compiled code do not run: a log is a step
            self._warn("compiled", "optimizer.step is compiled, so only what is logged is recorded: each log is a step")
            self.step = max(self.step, self._logged + 1)
            self._logged = self.step
            self._read_out_if_due()
        at = self.step - 1 if self._after or self._compiled else self.step
        with torch.no_grad():
            if self._due("loss", at):
                start = time.perf_counter()
                self._pending.append((at, "loss", one_loss(loss)))
                self._spent("loss", start)
            if outputs is not None and any(self._due(name, at) for name in OF_OUTPUTS):
                self._note_outputs(at, outputs, targets)
            if states is not None and self._due("state_saturation", at):
                start = time.perf_counter()
                self._pending.append((at, "state_saturation", saturated_states(states)))
                self._spent("state_saturation", start)
        if self._due("slow_points", at):
            if states is None:
                self._warn("states", "slow points are left out: they need log(..., states=...)")
            else:
                self._note_slow_points(at, states, at_input)
        if more:
            self._host.setdefault(at, {}).update({name: one_number(name, value) for name, value in more.items()})

    def note(self, **more: float) -> None:
        """Note numbers of one's own at the last step, such as ``validation_loss=0.3``."""
        at = max(self.step - 1, self._first_step)
        self._host.setdefault(at, {}).update({name: one_number(name, value) for name, value in more.items()})

    def _note_outputs(self, at: int, outputs: Any, targets: Any) -> None:
        start = time.perf_counter()
        outputs = getattr(outputs, "data", outputs)  # of a packed sequence
        found = None
        if isinstance(outputs, torch.Tensor) and outputs.is_floating_point():
            known = targets if isinstance(targets, torch.Tensor) else None
            found = answers(outputs, known)
            if found is None and known is not None:
                stated = known.is_floating_point() or self.outputs != "auto"
                found = answers(outputs, None) if stated else None
                left = "accuracy is" if found is not None else "confidence, saturation and accuracy are"
                self._warn("targets", f"targets of shape {tuple(known.shape)} do not fit outputs of shape "
                           f"{tuple(outputs.shape)}: {left} left out")  # fmt: skip
        else:
            self._warn("outputs", "outputs must be a real tensor: confidence, saturation and accuracy are left out; "
                       f"got {type(outputs).__name__}")  # fmt: skip
        if found is not None:
            self._pending.append((at, "answers", found))
        self._spent(next(name for name in OF_OUTPUTS if self._due(name, at)), start)

    def _note_slow_points(self, at: int, states: Any, at_input: Any) -> None:
        from ghostpoint.torch.slow_points import find_slow_points

        start = time.perf_counter()
        try:
            found = find_slow_points(self.model, states, at_input, n_starts=32, certify=False)
        except InputError as error:
            self._warn("slow_points", f"slow points are left out: {error}")
            self.every["slow_points"] = None
            return
        self._host.setdefault(at, {}).update(of_slow_points(found))
        self._spent("slow_points", start)

    # Hooks of the optimizer.

    def _before_update(self, optimizer: Any, args: Any, keywords: Any) -> None:
        if _is_compiling():
            self._compiled = True
            return
        if self._started is None:
            self._started = time.monotonic()
        self._read_out_if_due()
        at = self.step
        with torch.no_grad():
            closure = any(one is not None for one in (*args[1:], keywords.get("closure")))
            if self._due("gradient_norm", at) and not closure:
                self._note_gradient(at)
            self._before = None
            if self._due("update_size", at) or self._due("effective_learning_rate", at):
                start = time.perf_counter()
                self._before = [p.detach().clone() for p in self._trained()]
                self._spent("update_size", start, calls=0)
            if closure and self._due("gradient_norm", at):
                self._closure = True
        if self._due("learning_rate", at):
            start, rate = time.perf_counter(), optimizer.param_groups[0].get("lr")
            if isinstance(rate, torch.Tensor):
                self._pending.append((at, "learning_rate", rate.detach().reshape(()).clone()))
            elif rate is not None:
                self._host.setdefault(at, {})["learning_rate"] = float(rate)
            self._spent("learning_rate", start)

    def _after_update(self, optimizer: Any, args: Any, keywords: Any) -> None:
        if _is_compiling():
            return
        at = self.step
        with torch.no_grad():
            if self._closure:  # an optimizer that calls its closure: the gradient of the last call
                self._closure = False
                self._note_gradient(at)
            if self._before is not None:
                start = time.perf_counter()
                trained = self._trained()
                pairs = [(b, p.detach(), p.grad) for b, p in zip(self._before, trained, strict=True)]
                # others have not moved, or say so in their own norm
                dense = [(b, p, g.detach()) for b, p, g in pairs if g is not None and not g.is_sparse]
                if dense:
                    size, rate = update_and_rate(*zip(*dense, strict=True))
                    if self._due("update_size", at):
                        self._pending.append((at, "update_size", size))
                    if self._due("effective_learning_rate", at):
                        self._pending.append((at, "effective_learning_rate", rate))
                self._before = None
                self._spent("update_size", start)
        if self.guard is not None:
            self._host.setdefault(at, {}).update(
                {f"guard_{name}": self.guard.counts[name] for name in ("changed", "stayed", "skipped", "refused")}
            )
        self.step += 1

    def _note_gradient(self, at: int) -> None:
        start = time.perf_counter()
        gradients = [p.grad.detach() for p in self._trained() if p.grad is not None]
        if gradients:
            self._pending.append((at, "gradient_norm", norm(gradients)))
        else:
            self._warn("gradient", "no parameter of the optimizer has a gradient in this step, which changes nothing")
        self._spent("gradient_norm", start)

    def _trained(self) -> list[torch.Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    # Reading out.

    def _read_out_if_due(self) -> None:
        if self.step - self._read_step >= STEPS or time.monotonic() - self._read_time >= SECONDS:
            self._read_step, self._read_time = self.step, time.monotonic()
            self._read_out(self.step)  # steps before this one are complete
            self._judge_if_cheap()

    def read_out(self, *, last: bool = False) -> None:
        """Fetch what was measured, and write the rows that are complete; with ``last`` all rows.

        Where logs come after their step, the last one is not complete before the next begins. This
        waits for the devices once.
        """
        self._read_out(self.step + 1 if last else self.step if self._after is False else self.step - 1)

    def _read_out(self, limit: int) -> None:
        start = time.perf_counter()
        rows, self._widest = self._rows(limit)
        self._pending = [one for one in self._pending if one[0] >= limit]
        self._host = {at: values for at, values in self._host.items() if at >= limit}
        added(self._record, rows)
        if rows and self.sinks:
            table = [{"step": at, **rows[at]} for at in sorted(rows)]
            for sink in self.sinks:
                sink.write(table)
        self._spent("read-out", start)

    def _rows(self, limit: int) -> tuple[dict[int, dict[str, float]], tuple[float, float]]:
        """What was measured before the step ``limit`` and is not read out; the range of outputs."""
        widest = self._widest
        rows = {at: dict(values) for at, values in self._host.items() if at < limit}
        sums: dict[tuple[int, str], list[float]] = {}
        for at, name, value in fetched([one for one in self._pending if one[0] < limit]):
            found = {name: value}
            if name == "answers":
                numbers, classes = value
                widest = widest if classes else (min(widest[0], numbers[0]), max(widest[1], numbers[1]))
                found = Answers.read(numbers, classes, self.outputs, widest)
                found = {quantity: one for quantity, one in found.items() if self._due(quantity, at)}
            for quantity, one in found.items():
                sums.setdefault((at, quantity), []).append(one)
        for (at, name), values in sums.items():
            rows.setdefault(at, {})[name] = sum(values) / len(values)
        return rows, widest

    def _whole_record(self) -> dict[str, NDArray[np.float64]]:
        return curves(added(copy.deepcopy(self._record), self._rows(self.step + 1)[0]))

    @property
    def record(self) -> dict[str, NDArray[np.float64]]:
        """What was measured: ``epoch`` (steps with a loss) and curves over it, NaN where not
        measured. This waits for the devices once.
        """
        return self._whole_record()

    def verdict(self) -> Diagnosis:
        """``ghostpoint.diagnose`` of the record so far; judged again when the record has grown."""
        return self._judge()

    def _judge(self) -> Diagnosis:
        from ghostpoint.diagnosis import diagnose

        record = self._whole_record()
        points = len(record["epoch"]), *record["loss"][-1:]
        if self._judged is None or self._judged[0] != points:
            if not points[0]:
                raise InputError("no loss has been logged yet: verdict() needs monitor.log(loss) and a step")
            start = time.perf_counter()
            known = ("epoch", "loss", "gradient_norm", "accuracy", "confidence", "learning_rate", "validation_loss")
            seen = {name: values for name, values in record.items() if name in known}
            self._judged = points, diagnose(seen, **self._levels)
            self._spent("judging", start)
        return self._judged[1]

    def _judge_if_cheap(self) -> None:
        if self.on_verdict is None or not self._record.get("loss", ((), ()))[0]:
            return
        at, took = self._judged_at
        if time.monotonic() - at < took / JUDGING:
            return
        start = time.monotonic()
        found = self._judge()
        self._judged_at = time.monotonic(), time.monotonic() - start
        if found.verdict != self._shown:
            self._shown = found.verdict
            self.on_verdict(found)

    def costs(self) -> dict[str, Cost]:
        """What measuring has cost so far, by quantity; those that are measured together stand under
        the first.
        """
        elapsed = max(time.monotonic() - self._started, 1e-9) if self._started is not None else float("inf")
        return {
            name: Cost(self.every.get(name, STEPS), int(calls), seconds, seconds / elapsed)
            for name, (calls, seconds) in self._seconds.items()
            if calls
        }

    def close(self) -> None:
        """Write what is left and let go of the optimizer."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._at_exit)
        self.read_out(last=True)
        for sink in self.sinks:
            sink.close()
        self.sinks = []
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """The number of the step, the record and rows that are not complete, for a checkpoint."""
        self.read_out()
        record = {name: [list(steps), list(values)] for name, (steps, values) in self._record.items()}
        rows, widest = self._rows(self.step + 1)
        return {"step": self.step, "record": record, "rows": rows, "widest": list(widest), "version": __version__}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint: steps go on, so that the log does."""
        self.step = self._first_step = self._read_step = self._logged = int(state["step"])
        self._widest, self._judged = tuple(state.get("widest", self._widest)), None
        self._record = {name: (array("d", at), array("d", values)) for name, (at, values) in state["record"].items()}
        self._host, self._pending = {int(at): dict(row) for at, row in state.get("rows", {}).items()}, []

    # The rest.

    def _due(self, name: str, at: int) -> bool:
        every = self.every[name]
        return every is not None and at % every == 0

    def _spent(self, name: str, start: float, calls: int = 1) -> None:
        spent = self._seconds[name]
        spent[0] += calls
        spent[1] += time.perf_counter() - start

    def _say_what_is_missing(self) -> None:
        trained = {id(p) for p in self._trained()}
        left = sum(p.requires_grad and id(p) not in trained for p in self.model.parameters())
        if left:
            self._warn("parameters", f"{left} parameters of the model are not in the optimizer: they are not measured")

    def _warn(self, key: str, message: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(f"Monitor: {message}", RuntimeWarning, stacklevel=3)
