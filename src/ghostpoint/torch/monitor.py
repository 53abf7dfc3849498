"""The monitor: a pure observer of a training, with a verdict on it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import PackedSequence

from ghostpoint._version import __version__
from ghostpoint.checks import accuracy_at_chance, integer, number, one_of
from ghostpoint.errors import InputError
from ghostpoint.torch.cost import Cost
from ghostpoint.torch.monitor_outputs import GivenOutputs
from ghostpoint.torch.monitor_rows import Rows
from ghostpoint.torch.monitor_steps import Order, Update, trained
from ghostpoint.torch.once import Once
from ghostpoint.torch.quantities import (
    CADENCES,
    OF_OUTPUTS,
    OUTPUTS,
    cadences,
    of_slow_points,
    one_loss,
    one_number,
)  # fmt: skip
from ghostpoint.torch.sinks import JSONLines, Sink, writes
from ghostpoint.torch.step_hooks import Nesting, hooked_optimizer, is_compiling, is_guards

if TYPE_CHECKING:
    from ghostpoint.diagnosis import Diagnosis
    from ghostpoint.torch.guard import Guard

__all__ = ["Cost", "Monitor"]

#: a read-out waits for this many steps or seconds, whichever ends first
STEPS, SECONDS = 50, 5.0
#: so many logs, and ten times the most before a step so far, are no accumulated gradients
UNSTEPPED = 100
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
        Steps from one measurement to the next, at least, where not the default (1 for loss and
        learning rate, never for slow points, 10 for the others); None for never. A number is for
        all but loss, learning rate and slow points.
    outputs : str
        What ``outputs`` are: "classes" and "logits" (before softmax or sigmoid), "probabilities",
        "tanh", "values" (unbounded: no confidence), or "auto", by loss, targets and range.
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
        self.model, self.optimizer = model, hooked_optimizer(optimizer)
        self.guard, self.on_verdict = guard, on_verdict
        self.every = cadences(every)
        self.outputs = one_of("outputs", outputs, OUTPUTS)
        self._levels: dict[str, Any] = {
            "chance_loss": None if chance_loss is None else number("chance_loss", chance_loss),
            "chance_accuracy": None if chance_accuracy is None else accuracy_at_chance(chance_accuracy),
            "classes": None if classes is None else integer("classes", classes, at_least=2),
        }
        # steps that AMP skipped inside of the optimizer's are known when they are read out: until
        # then they stand in step, and in calls for good
        self.step = self.calls = 0
        self._first_step = 0
        self._measured: dict[str, int] = {}
        self._nesting, self._order = Nesting(), Order(self.optimizer)
        self._compiled = self._closure = False
        self._logged = self._unstepped = self._most = 0
        self._warn = Once("Monitor")
        self._outputs = GivenOutputs(self.outputs, self._warn)
        self._seconds: dict[str, list[float]] = {name: [0, 0.0] for name in (*CADENCES, "read-out", "judging")}
        self._started: float | None = None
        self._read_step, self._read_time = 0, time.monotonic()
        self._update: Update | None = None
        self._judged: tuple[tuple[Any, ...], Diagnosis] | None = None
        self._judged_at = (time.monotonic(), 0.0)
        self._shown: str | None = None
        places = list(sinks) if writes() else []
        if path is not None and writes():
            places.append(JSONLines(path))
        self._rows = Rows(places, self._warn)
        self._handles = [
            self.optimizer.register_step_pre_hook(self._before_update),
            self.optimizer.register_step_post_hook(self._after_update),
        ]
        # before a guard's, which takes a part off the gradient for the time of the step
        hooks: Any = self.optimizer._optimizer_step_pre_hooks
        guards = [key for key, hook in hooks.items() if is_guards(hook)]
        if guards and hasattr(hooks, "move_to_end"):
            keys = list(hooks)
            for key in keys[keys.index(guards[0]) : -1]:
                hooks.move_to_end(key)
        self._say_what_is_missing()
        self._rows.finish_with(self)

    @property
    def sinks(self) -> list[Sink]:
        """The places that rows are written to."""
        return self._rows.sinks

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
        outputs : tensor or packed sequence, optional
            Of the network, before or after its last function: see ``Monitor(outputs=...)``. Of more
            than 65536 numbers some are taken, evenly spaced over all that count.
        targets : tensor, array, list or packed sequence, optional
            Class labels, or of the shape of the outputs. Negative labels do not count, nor does
            NaN, nor -1 beside 0 and 1.
        states : tensor or packed sequence, or tuple or list of them, optional
            Hidden states; of a pair (h, c) of one shape, h.
        at_input : (I,), optional
            The constant input of slow points, 0 by default.
        **more : float
            Numbers of one's own, such as ``validation_loss=0.3``. One with the name of a quantity
            takes its place; ``step`` is the monitor's own, and left out.
        """
        if self._rows.closed:
            self._warn("closed", "it is closed, at close() or the end of its with block: what is logged from here on "
                       "is left out; make a new Monitor to go on")  # fmt: skip
            return
        self._order.logged(self.step > self._first_step, self.optimizer)
        if self._compiled:  # hooks inside compiled code do not run: a log is a step
            self._warn("compiled", "optimizer.step is compiled, so only what is logged is recorded: each log is a step")
            self.step = max(self.step, self._logged + 1)
            self._logged = self.step
            self._read_out_if_due()
        else:
            self._unstepped += 1
            if self._unstepped > UNSTEPPED + 10 * self._most:
                self._say_unstepped()
        at = self.step - 1 if self._order.after or self._compiled else self.step
        with torch.no_grad():
            if self._due("loss", at):
                start = time.perf_counter()
                self._rows.note(at, "loss", one_loss(loss))
                self._spent("loss", start)
            if outputs is not None and any(self._due(name, at) for name in OF_OUTPUTS):
                self._note_outputs(at, outputs, targets, loss)
            if states is not None and self._due("state_saturation", at):
                self._note_states(at, states)
        if self._due("slow_points", at):
            if states is None:
                self._warn("states", "slow points are left out: they need log(..., states=...)")
            else:
                self._note_slow_points(at, states, at_input)
        if more:
            self._note_own(at, more)

    def note(self, **more: float) -> None:
        """Note numbers of one's own at the last step, such as ``validation_loss=0.3``."""
        if self._rows.closed and self._rows.written:
            self._warn("noted", "it is closed: what is noted from here on is in its record, and not written")
        self._note_own(max(self.step - 1, self._first_step), more)

    def _note_own(self, at: int, more: dict[str, Any]) -> None:
        """Numbers of one's own. One with the name of a quantity takes its place."""
        own = {name: one_number(name, value) for name, value in more.items()}
        for name, what in (("step", "the monitor's own count of steps"), ("loss", "what log(loss) is given")):
            if own.pop(name, None) is not None:
                self._warn(name, f"{name} is {what}: another number of that name is left out")
        self.every.update({name: None for name in own if name in CADENCES})
        self._rows.note_host(at, own)

    def _note_outputs(self, at: int, outputs: Any, targets: Any, loss: Any) -> None:
        start = time.perf_counter()
        found = self._outputs.read(outputs, targets, loss)
        if found is not None:
            found.wanted = [name for name in OF_OUTPUTS if self._due(name, at)]
            self._rows.note(at, "answers", found)
        self._spent(next(name for name in OF_OUTPUTS if self._due(name, at)), start)

    def _note_states(self, at: int, states: Any) -> None:
        start, found = time.perf_counter(), self._outputs.states(states)
        if found is not None:
            self._rows.note(at, "state_saturation", found)
        self._spent("state_saturation", start)

    def _note_slow_points(self, at: int, states: Any, at_input: Any) -> None:
        from ghostpoint.torch.slow_points import find_slow_points

        start = time.perf_counter()
        try:
            given = states.data if isinstance(states, PackedSequence) else states
            found = find_slow_points(self.model, given, at_input, n_starts=32, certify=False)
        except Exception as error:  # the training goes on
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            self._warn("slow_points", f"slow points are left out: {kind}{error}")
            self.every["slow_points"] = None
            return
        self._rows.note_host(at, of_slow_points(found))
        self._spent("slow_points", start)

    # Hooks of the optimizer.

    def _before_update(self, optimizer: Any, args: Any, keywords: Any) -> None:
        if is_compiling():
            self._compiled = True
            return
        if not self._nesting.begins(sys._getframe(1)):
            return
        if self._started is None:
            self._started = time.monotonic()
        self._order.steps()
        self._most, self._unstepped = max(self._most, self._unstepped), 0
        self._read_out_if_due()
        at = self.step
        with torch.no_grad():
            self._update = Update(optimizer)
            if self._update.skipped is not None:
                self._rows.note(at, "skipped", self._update.skipped)
            closure = any(one is not None for one in (*args[1:], keywords.get("closure")))
            if self._due("gradient_norm", at) and not closure:
                self._note_gradient(at, self._update)
            if self._due("update_size", at) or self._due("effective_learning_rate", at):
                start = time.perf_counter()
                self._update.keep_weights()
                self._spent("update_size", start, calls=0)
            if closure and self._due("gradient_norm", at):
                self._closure = True
        if self._due("learning_rate", at):
            start, rate = time.perf_counter(), optimizer.param_groups[0].get("lr")
            if isinstance(rate, torch.Tensor):
                self._rows.note(at, "learning_rate", rate.detach().reshape(()).clone())
            elif rate is not None:
                self._rows.note_host(at, {"learning_rate": float(rate)})
            self._spent("learning_rate", start)

    def _after_update(self, optimizer: Any, args: Any, keywords: Any) -> None:
        if is_compiling() or not self._nesting.ends():
            return
        at, update, self._update = self.step, self._update, None
        with torch.no_grad():
            if self._closure and update is not None:  # the gradient of the last call of the closure
                self._closure = False
                self._note_gradient(at, update)
            start = time.perf_counter()
            found = None if update is None else update.size_and_rate()
            if found is not None:
                size, rate = found
                if self._due("update_size", at):
                    self._rows.note(at, "update_size", size)
                if rate is not None and self._due("effective_learning_rate", at):
                    self._rows.note(at, "effective_learning_rate", rate)
                self._spent("update_size", start)
        if self.guard is not None:
            counts = self.guard.counts
            self._rows.note_host(
                at, {f"guard_{name}": counts[name] for name in ("changed", "stayed", "skipped", "refused")}
            )
        self.step += 1
        self.calls += 1

    def _note_gradient(self, at: int, update: Update) -> None:
        start, size = time.perf_counter(), update.gradient_norm()
        if size is not None:
            self._rows.note(at, "gradient_norm", size)
        else:
            self._warn("gradient", "no parameter of the optimizer has a gradient in this step, which changes nothing")
        self._spent("gradient_norm", start)

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
        self._read_out(None if last else self.step if self._order.after is False else self.step - 1)

    def _read_out(self, limit: int | None) -> None:
        start = time.perf_counter()
        gone = self._rows.read_out(limit)  # steps that AMP skipped inside of the optimizer's were none
        self.step, self._read_step = self.step - gone, self._read_step - gone
        self._measured = {name: last - gone for name, last in self._measured.items()}
        self._spent("read-out", start)

    @property
    def record(self) -> dict[str, NDArray[np.float64]]:
        """What was measured: ``epoch`` (steps with a loss) and curves over it, each value at the
        first loss from its step on, NaN where there is none. This waits for the devices once.
        """
        return self._rows.curves()

    def verdict(self) -> Diagnosis:
        """``ghostpoint.diagnose`` of the record so far; judged again when the record has grown."""
        return self._judge()

    def _judge(self) -> Diagnosis:
        from ghostpoint.diagnosis import diagnose, history
        from ghostpoint.diagnosis.readers.memory import roles_of
        from ghostpoint.diagnosis.readers.table import Choice

        record = self.record
        points = str(record["loss"][-1:]), *(int((~np.isnan(curve)).sum()) for curve in record.values())
        if self._judged is None or self._judged[0] != points:
            if not len(record["epoch"]):
                raise InputError("no loss has been logged yet: verdict() needs monitor.log(loss) and a step")
            start = time.perf_counter()
            # a loss that was logged and is not finite is no gap in the record
            names = [name for name in record if name != "epoch"]
            curves = {
                role: record[name] for role, name in roles_of(names, names, Choice(loss="loss"), "record").items()
            }
            runs = (history.RunHistory("0", record["epoch"], curves, ~np.isfinite(record["loss"])),)
            self._judged = points, diagnose(history.History(runs), **self._levels)
            self._spent("judging", start)
        return self._judged[1]

    def _judge_if_cheap(self) -> None:
        if self.on_verdict is None or not self._rows.record.get("loss", ((), ()))[0]:
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
        if self._rows.closed:
            return
        if self._unstepped > 1 and self.step == self._first_step:
            self._say_unstepped()
        for handle in self._handles:
            handle.remove()
        self.read_out(last=True)
        self._rows.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """The number of the step, the record and rows that are not complete, for a checkpoint."""
        self.read_out()
        record = {name: [list(steps), list(values)] for name, (steps, values) in self._rows.record.items()}
        rows, seen, gone = self._rows.waiting()
        return {
            "step": self.step - gone,
            "record": record,
            "rows": rows,
            "widest": list(seen),
            "measured": dict(self._measured),
            "outputs": self._outputs.state_dict(),
            "version": __version__,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint: steps go on, so that the log does."""
        self.step = self._first_step = self._read_step = self._logged = int(state["step"])
        self._judged, self._measured = None, dict(state.get("measured", {}))
        self._outputs.load_state_dict(state.get("outputs", {}))
        self._rows.begin_with(state["record"], state.get("rows", {}), state.get("widest"))

    # The rest.

    def _due(self, name: str, at: int) -> bool:
        every, last = self.every[name], self._measured.get(name)
        if every is None or not (last is None or at == last or at - last >= every):
            return False
        self._measured[name] = at
        return True

    def _spent(self, name: str, start: float, calls: int = 1) -> None:
        spent = self._seconds[name]
        spent[0] += calls
        spent[1] += time.perf_counter() - start

    def _say_what_is_missing(self) -> None:
        known = {id(p) for p in trained(self.optimizer)}
        left = sum(p.requires_grad and id(p) not in known for p in self.model.parameters())
        if left:
            self._warn("parameters", f"{left} parameters of the model are not in the optimizer: they are not measured")

    def _say_unstepped(self) -> None:
        name = type(self.optimizer).__name__
        self._warn("unstepped", f"{self._unstepped} logs in a row without a step of its optimizer, a {name}: they are "
                   "averaged in one row; if another one trains, give Monitor(model, optimizer) that one")  # fmt: skip
