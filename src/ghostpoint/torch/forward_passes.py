"""Forward passes of a training step that can be repeated: same batch, same random numbers, same
buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.utils import parametrize

from ghostpoint.errors import InputError
from ghostpoint.torch.buffers import Buffers
from ghostpoint.torch.closures import variables_of
from ghostpoint.torch.distances import KINDS, Distance, distance_of_graph, single_tensor
from ghostpoint.torch.generators import Autocast, GeneratorStates
from ghostpoint.torch.loss_curvature import by_curvature
from ghostpoint.torch.parameters import Parameters

__all__ = ["Closure", "ForwardPasses"]

#: a forward pass: loss and outputs
Closure = Callable[[], tuple[torch.Tensor, Any]]
Measure = Callable[[Any, Any], torch.Tensor]

#: forward passes of one update that are repeated at most
MOST = 1000
#: relative difference of two losses of the same parameters and batch that rounding explains; some
#: kernels of a GPU add up in an order of their own
SAME = 1e-3


@dataclass
class _Pass:
    """A forward pass: how to repeat it, and what it gave."""

    closure: Closure
    states: GeneratorStates
    #: as they were before it, where it may have changed them
    buffers: Buffers | None
    autocast: Autocast
    loss: torch.Tensor
    outputs: Any
    distance: Measure
    #: what the closure takes from around it, after the pass
    variables: dict[str, Any] = field(default_factory=dict)
    #: how often the outputs had been written to
    written: list[int] = field(default_factory=list)
    #: whether a backward pass can go through it, and filled when one does
    live: bool = True
    used: list[bool] = field(default_factory=list)


class ForwardPasses:
    """The forward passes since the last update.

    Attributes
    ----------
    pending : list
        Those of the update to come, several where gradients are accumulated.
    pure : bool
        Whether the last one drew no random number and changed no buffer, so that only the
        parameters decide.
    calls : int
        Forward passes so far.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        parameters: Parameters,
        distance: str | Measure,
        generators: Iterable[torch.Generator],
        warn: Callable[[str, str], None],
    ):
        self.model, self.parameters, self.distance, self.warn = model, parameters, distance, warn
        self.generators = tuple(generators)
        self.pending: list[_Pass] = []
        self.pure = True
        self.calls = 0
        # whether the last pass has changed a buffer, and whether one took a derivative itself
        self._changes_buffers = True
        self._differentiates = False
        # how often a distance was read, and whether its weights were those of the loss's curvature
        self._readings, self._weighs = 0, False
        # updates of several passes
        self._accumulated = 0
        # of the last trial
        self._kept: tuple[Closure, torch.Tensor, Any, Measure] | None = None
        # versions, sums and norms
        self._mark: tuple[list[tuple[int, int]] | None, list[float]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy has no graph, and passes of the original's closures are not its own."""
        return {**self.__dict__, "pending": [], "_kept": None, "_mark": None}

    def evaluate(self, closure: Closure, *, reuse: bool) -> tuple[torch.Tensor, Any]:
        """``closure()`` with the graph; with ``reuse`` the last trial's pass, where it was kept and
        not forgotten since.
        """
        if self._without_gradient():
            # gradients were put to zero, after a step or after one that AMP skipped; passes whose
            # losses are still to be added up have had no backward pass
            self.pending = [one for one in self.pending if one.live and not one.used]
        elif len(self.pending) >= MOST:
            self.warn("pending", f"{MOST} forward passes without an update: the oldest are not tried again")
            del self.pending[0]
        before = self._states()
        autocast = Autocast.now(("cpu", *dict.fromkeys(device.type for device in self.parameters.devices)))
        kept, self._kept = self._kept, None
        buffers = None
        if kept is not None and reuse and not self.pending:
            closure, loss, outputs, distance = kept
        else:
            buffers = Buffers(self.model, values=self._changes_buffers)
            loss, outputs = self.called(closure)
            distance = self._distance_for(loss, outputs)
            self._changes_buffers = not buffers.unchanged()
            self.pure = before == self._states() and not self._changes_buffers
            buffers = buffers if self._changes_buffers else None
        one = _Pass(closure, before, buffers, autocast, loss.detach().clone(), _detached(outputs), distance)
        one.variables, one.written = variables_of(closure), _versions_in(one.outputs)
        one.live = loss.requires_grad
        if one.live:
            loss.register_hook(_noting(one.used))
        self.pending.append(one)
        return loss, outputs

    def _without_gradient(self) -> bool:
        """Whether nothing is left of a backward pass: no gradients, or zeros."""
        given = [p.grad for p in self.parameters.tensors if p.grad is not None]
        if not given or not self.pending:
            return not given
        return not any(bool((one.coalesce().values() if one.is_sparse else one).any()) for one in given)

    def before_the_update(self) -> None:
        """Put the passes right at the parameters that they were made at.

        Those that no backward pass went through, where one went through others, have no part in the
        update: ``if not loss.isfinite(): continue``. Outputs that have been written to since
        (``out.sigmoid_()``, for an accuracy) are made again.
        """
        self.pending = [one for one in self.pending if one.used] or self.pending
        written = [one for one in self.pending if _versions_in(one.outputs) != one.written]
        self._accumulated += len(self.pending) > 1
        # the first, second, fourth accumulated update and so on
        if len(self.pending) > 1 and self._accumulated & (self._accumulated - 1) == 0:
            self._check_losses()
        if not written:
            return
        self.warn("written", "outputs of the closure are written to before the update, so a forward pass makes them "
                  "again: write to a copy")  # fmt: skip
        for one, (_, outputs) in zip(written, self._once_more(written), strict=True):
            one.outputs = _detached(outputs)
            one.written = _versions_in(one.outputs)

    def _once_more(self, passes: list[_Pass]) -> list[tuple[torch.Tensor, Any]]:
        """Passes at the parameters that they were made at; generators and buffers are put back."""
        after, buffers = self._states(), Buffers(self.model, values=True)
        try:
            return [self._again(one, False) for one in passes]
        finally:
            buffers.restore()
            after.restore()

    def mark(self, sums: list[float] | None = None) -> None:
        """Remember parameters and buffers as they are, for :meth:`untouched`; with ``sums`` that
        :meth:`marked_sums` gave, as they were then.
        """
        self._mark = (self._versions(), self._sums()) if sums is None else (None, sums)

    def marked_sums(self) -> list[float] | None:
        """Sum and norm of each trained parameter at the mark."""
        return None if self._mark is None else self._mark[1]

    def untouched(self) -> bool:
        """Whether nothing that the loss may depend on was written to since :meth:`mark`.

        Versions tell that of parameters and buffers, but not of what is written to their ``.data``.
        So the sum and the norm of each trained parameter are looked at too.
        """
        if self._mark is None:
            return False
        versions, sums = self._mark
        return (versions is None or versions == self._versions()) and sums == self._sums()

    def _versions(self) -> list[tuple[int, int]]:
        every = dict.fromkeys([*self.parameters.tensors, *self.model.parameters()])
        return [*((id(p), p._version) for p in every), *Buffers(self.model).versions()]

    def _sums(self) -> list[float]:
        """Sum and norm of each trained parameter; 0 for one that is no number."""
        found = []
        for p in (p.detach() for p in self.parameters.tensors if p.layout is torch.strided and not p.is_meta):
            # the same under autocast, which has a say where no dtype is given
            dtype = torch.promote_types(p.dtype, torch.float32)
            found += [p.sum(dtype=dtype), torch.linalg.vector_norm(p, dtype=dtype)]
        device, wide = self.parameters.device, self.parameters.wide
        return torch.stack([one.to(device, wide) for one in found]).nan_to_num().tolist() if found else []

    def repeat(self, *, keep: bool) -> tuple[float, float]:
        """Mean loss and mean distance of the outputs of the pending passes at the present
        parameters.

        A pass begins with the generators and buffers that it had. These are put back to what they
        were after the passes. With ``keep`` the graph is kept, for :meth:`evaluate`.
        """
        if len(self.pending) > 1:
            self._check_variables()
        after = self._states()
        buffers = Buffers(self.model, values=True)
        losses, distances = [], []
        self._kept = kept = None
        if torch.is_autocast_cache_enabled():
            torch.clear_autocast_cache()  # of the parameters as they were
        _clear_parametrizations()
        try:
            for one in self.pending:
                loss, outputs = self._again(one, keep)
                if keep:
                    kept = one.closure, loss, outputs, self._distance_for(loss, outputs)
                losses.append(loss.detach().reshape(()).to(self.parameters.wide))
                distances.append(_one_number(one.distance(one.outputs, _detached(outputs))).to(losses[-1]))
        finally:
            buffers.restore()
            after.restore()
            _clear_parametrizations()
        if kept is not None:
            self._kept = kept
        trial, moved = torch.stack([torch.stack(losses).mean(), torch.stack(distances).mean()]).tolist()
        return trial, moved

    def _again(self, one: _Pass, keep: bool) -> tuple[torch.Tensor, Any]:
        """A pass of the present parameters.

        Without a graph where that can be. A closure that takes a derivative itself needs one, and
        gets it from then on.
        """
        graph = keep or self._differentiates
        while True:
            one.states.restore()
            if one.buffers is not None:
                one.buffers.restore()
            try:
                with torch.enable_grad() if graph else torch.no_grad(), one.autocast.again(), _as_in_training():
                    found = self.called(one.closure)
            except RuntimeError:
                if graph:
                    raise
                graph = True
            else:
                self._differentiates = graph and not keep
                return found

    def _check_losses(self) -> None:
        """Whether accumulated passes give their losses again at the parameters that they had."""
        found = [loss for loss, _ in self._once_more(self.pending)]
        for one, loss in zip(self.pending, found, strict=True):
            before, again = float(one.loss), float(loss)
            if abs(again - before) > SAME * max(abs(before), abs(again)):
                self._check_variables()
                self.warn(
                    "variables",
                    f"a closure of accumulated passes gave the loss {before:.6g}, and {again:.6g} when it was called "
                    "again with the same parameters, so a trial is not that of the pass: it has another batch (let the "
                    "closure take it by value, as in lambda x=x, y=y: ...), a state or weight that has changed since, "
                    "or other random numbers than PyTorch's",
                )
                return

    def _check_variables(self) -> None:
        """Whether the closures of accumulated passes still take the batches that they had."""
        for one in self.pending:
            now = variables_of(one.closure)
            changed = sorted(name for name, value in one.variables.items() if now.get(name) is not value)
            if changed:
                taken = ", ".join(changed)
                self.warn(
                    "variables",
                    f"the closure of an accumulated pass takes {taken} from around it, which has changed since, so a "
                    f"trial has another batch: bind it, as in lambda {', '.join(f'{v}={v}' for v in changed)}: ...",
                )
                return

    def forget_kept(self) -> None:
        """Let go of the graph of a trial."""
        self._kept = None

    def precision(self) -> float:
        """Rounding of one number of the losses or outputs, the coarser of the two."""
        first = self.pending[0]
        tensors = [first.loss, *([first.outputs] if isinstance(first.outputs, torch.Tensor) else [])]
        return max(float(torch.finfo(t.dtype).eps) for t in tensors if t.is_floating_point())

    def rounded(self) -> float:
        """Mean distance of the outputs of the pending passes that rounding explains: four times
        that from outputs which are larger or smaller by one part of their precision. For squares
        that is a change by two parts. 0 for a distance of one's own, whose domain is not known.
        """
        if callable(self.distance):
            return 0.0
        found = []
        for one in self.pending:
            outputs = single_tensor(one.outputs)
            eps = torch.finfo(outputs.dtype).eps
            pair = [one.distance(outputs, outputs * factor).reshape(()) for factor in (1 + eps, 1 - eps)]
            found.append(torch.stack(pair).abs().max().to(self.parameters.wide))
        mean = 4.0 * float(torch.stack(found).mean())
        return mean if mean < float("inf") else 0.0

    def called(self, closure: Closure) -> tuple[torch.Tensor, Any]:
        """What the closure returns, checked."""
        self.calls += 1
        result = closure()
        if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[0], torch.Tensor):
            got = f"{len(result)} things" if isinstance(result, tuple) and len(result) != 2 else type(result).__name__
            raise InputError(f"closure must return (loss, outputs), got {got}")
        if result[0].numel() != 1:
            raise InputError(f"closure must return a loss of one number, got shape {tuple(result[0].shape)}")
        return result

    def _distance_for(self, loss: torch.Tensor, outputs: Any) -> Measure:
        if callable(self.distance):
            return self.distance
        tensor = single_tensor(outputs)
        if self.distance != "auto":
            return _on_tensors(Distance(self.distance))
        found = distance_of_graph(loss, tensor) if tensor.requires_grad else None
        if found is None:
            self.warn(
                "distance",
                "the kind of the loss cannot be read from its graph: the mean squared change of the outputs is taken "
                f"for their distance; say distance= one of {', '.join(KINDS)} or a function",
            )
            found = Distance("squared")
        elif self._reads_curvature():
            found, mended = by_curvature(found, loss, tensor)
            self._weighs |= mended
        if found.doubt:
            self.warn("doubt", f"{found.doubt}: give distance= a function of old and new outputs to mend that")
        return _on_tensors(found)

    def _reads_curvature(self) -> bool:
        """Whether the distance is checked this time: the first, second, fourth time and so on, and
        each time once it had to be mended."""
        self._readings += 1
        return self._weighs or self._readings & (self._readings - 1) == 0

    def _states(self) -> GeneratorStates:
        return GeneratorStates.now(self.parameters.devices, self.generators)


@contextmanager
def _as_in_training() -> Iterator[None]:
    """Without the fast path of attention, which is taken where no graph is made, and gives other
    numbers at padding.
    """
    mha: Any = getattr(torch.backends, "mha", None)
    if not hasattr(mha, "set_fastpath_enabled"):
        yield
        return
    before = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        mha.set_fastpath_enabled(before)


def _noting(used: list[bool]) -> Callable[[torch.Tensor], None]:
    """A hook that notes that it was called, and holds nothing else."""

    def note(_: torch.Tensor) -> None:
        used.append(True)

    return note


def _clear_parametrizations() -> None:
    """Forget the weights that ``parametrize.cached()`` has made of parameters as they were."""
    if isinstance(getattr(parametrize, "_cache", None), dict):
        parametrize._cache = {}


def _one_number(distance: Any) -> torch.Tensor:
    """What a distance returns, checked."""
    found = torch.as_tensor(distance).detach()
    if found.numel() != 1 or found.is_complex():
        raise InputError(
            f"distance must return one real number, got {found.dtype} of shape {tuple(found.shape)}: sum or average it "
            "as the loss is"
        )
    return found.reshape(())


def _on_tensors(distance: Distance) -> Measure:
    def measure(old: Any, new: Any) -> torch.Tensor:
        before, after = single_tensor(old), single_tensor(new)
        if before.shape != after.shape:
            raise InputError(
                f"closure gave outputs of shape {tuple(before.shape)}, and of shape {tuple(after.shape)} when it was "
                "called again: it must use the same batch each time; take the batch before the closure is made, and "
                "say batch='fixed' only where all updates have one batch"
            )
        return distance(before, after)

    return measure


def _versions_in(outputs: Any) -> list[int]:
    """How often each tensor in outputs was written to; tensors of inference mode do not count
    that.
    """
    if isinstance(outputs, torch.Tensor):
        return [] if outputs.is_inference() else [outputs._version]
    inside = outputs.values() if isinstance(outputs, dict) else outputs if isinstance(outputs, list | tuple) else ()
    return [version for one in inside for version in _versions_in(one)]


def _detached(outputs: Any) -> Any:
    """Outputs without their graph; containers of tensors likewise."""
    if isinstance(outputs, torch.Tensor):
        return outputs.detach()
    if isinstance(outputs, dict):
        values = {name: _detached(value) for name, value in outputs.items()}
        try:  # what answers by attributes, as transformers' outputs do, still does
            return values if type(outputs) is dict else type(outputs)(**values)
        except TypeError:
            return values
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):  # named, packed sequences among them
        return type(outputs)(*(_detached(value) for value in outputs))
    if isinstance(outputs, list | tuple):
        return type(outputs)(_detached(value) for value in outputs)
    return outputs
