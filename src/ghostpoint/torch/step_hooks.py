"""The step hooks of an optimizer, and what a step is that they see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch

from ghostpoint.errors import InputError
from ghostpoint.torch.parameters import Parameters

__all__ = [
    "COMPILED",
    "EVALUATES",
    "NO_GRADIENT",
    "NO_STATE",
    "RANDOM",
    "UNGUARDED",
    "Nesting",
    "attach",
    "doubts",
    "guards_of",
    "hooked_optimizer",
    "is_attached",
    "is_compiling",
    "is_guards",
]

Hook = Callable[..., Any]

#: whether this is traced for compiled code; older releases do not say
is_compiling: Callable[[], bool] = getattr(torch.compiler, "is_compiling", lambda: False)

NO_GRADIENT = (
    "no parameter of the optimizer has a gradient in this step, which changes nothing: the loss does not depend on "
    "them, or backward() was not called"
)
NO_STATE = (
    "the state that the optimizer has loaded has none of the guard, which begins anew: it was saved without one, or by "
    "torch.distributed.checkpoint, which keeps none; save guard.state_dict() beside it, and load that after it"
)
COMPILED = "optimizer.step() is compiled, and its updates are unguarded: compile the model only"
EVALUATES = "evaluates its closure itself, several times an update: its updates are unguarded"
RANDOM = (
    "batch is 'fixed', but the forward pass draws random numbers or changes buffers (dropout, noise, batch norm): the "
    "rule for fresh batches is used"
)
UNGUARDED = (
    "optimizer.step() came without guard.evaluate(closure) before it, or with a closure of its own: there is no "
    "forward pass to repeat, and that update is unguarded"
)


def hooked_optimizer(optimizer: Any) -> Any:
    """The optimizer whose hooks run: inside of wrappers such as Accelerate's, which have it as
    ``optimizer``.

    Raises
    ------
    ValueError
        If there is none.
    """
    found, seen = optimizer, 0
    # Accelerate's is a torch.optim.Optimizer by class, without what makes one
    while not hasattr(found, "_optimizer_step_pre_hooks") and hasattr(found, "optimizer") and seen < 10:
        found, seen = found.optimizer, seen + 1
    if not hasattr(found, "register_step_pre_hook") or not hasattr(found, "_optimizer_step_pre_hooks"):
        raise InputError(
            "optimizer must be a torch.optim.Optimizer, or have one as its attribute optimizer, got "
            f"{type(optimizer).__name__}"
        )
    return found


class Nesting:
    """Which call of an optimizer's step is the outermost.

    A ``step`` that calls ``super().step()`` runs the hooks in each of the two. A step that raises
    has no end: the frame that it began in says whether it still runs.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._outer: tuple[int, Any] = (0, None)  # a frame itself would keep what it holds alive

    def __getstate__(self) -> dict[str, Any]:
        """A copy is in no step, and a pickle holds no code."""
        return Nesting().__dict__.copy()

    def begins(self, caller: FrameType) -> bool:
        """Whether a step that begins in ``caller`` is the outermost."""
        if self._depth and self._runs(caller.f_back):
            self._depth += 1
            return False
        self._depth, self._outer = 1, (id(caller), caller.f_code)
        return True

    def ends(self) -> bool:
        """Whether the step that ends is the outermost."""
        self._depth = max(self._depth - 1, 0)
        return self._depth == 0

    def _runs(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if (id(frame), frame.f_code) == self._outer:
                return True
            frame = frame.f_back
        return False


def guards_of(optimizer: Any, kind: type) -> list[Any]:
    """The objects of a kind whose methods are step hooks of an optimizer."""
    hooks: dict[int, Any] = getattr(optimizer, "_optimizer_step_pre_hooks", {})
    found = [getattr(hook, "__self__", None) for hook in hooks.values()]
    return [one for one in found if isinstance(one, kind)]


def is_guards(hook: Any) -> bool:
    """Whether a hook is a method of a guard, whose module need not be imported for that."""
    return type(getattr(hook, "__self__", None)).__module__ == "ghostpoint.torch.guard"


def attach(optimizer: Any, before: Hook, after: Hook, into: Hook, out_of: Hook) -> list[Any]:
    """Hook on the steps of an optimizer and on its state; the handles."""
    handles = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]
    # first of all, so that other hooks see the update that stands
    hooks: Any = getattr(optimizer, "_optimizer_step_post_hooks", None)
    if hasattr(hooks, "move_to_end") and handles[1].id in hooks:
        hooks.move_to_end(handles[1].id, last=False)
    # since PyTorch 2.3; wrappers that do not call the parent's __init__ lack the places for them
    if hasattr(optimizer, "_optimizer_state_dict_post_hooks") and hasattr(
        optimizer, "_optimizer_load_state_dict_pre_hooks"
    ):
        handles += [
            optimizer.register_state_dict_post_hook(into),
            optimizer.register_load_state_dict_pre_hook(out_of),
        ]
    return handles


def is_attached(optimizer: Any, owner: Any) -> bool:
    """Whether a step of an optimizer calls hooks of an object; a copy's does not."""
    return any(one is owner for one in guards_of(optimizer, type(owner)))


def doubts(model: torch.nn.Module, parameters: Parameters) -> Iterator[tuple[str, str]]:
    """What a guard of an optimizer cannot do as it should, each with a key."""
    if any(group.get("maximize") for group in parameters.optimizer.param_groups):
        yield (
            "maximize",
            "the optimizer maximises the loss, and updates that raise it are refused: minimise the negative of it",
        )
    held = {id(p) for p in model.parameters()}
    beside = [p for p in parameters.tensors if id(p) not in held]
    # one alone is no network: the weight of a term of the loss, a learned start
    if len(beside) > 1 and any(p.ndim == 2 for p in beside):
        yield (
            "beside",
            f"{len(beside)} parameters of the optimizer are not in model, and buffers beside them (running statistics) "
            "would not be put back after trials: give a module that holds all networks, such as ModuleList",
        )
    kind = type(parameters.optimizer)
    if kind is torch.optim.ASGD or (callable(getattr(kind, "train", None)) and callable(getattr(kind, "eval", None))):
        yield (
            "averages",
            f"{kind.__name__} keeps averages of the parameters, which the updates that are refused or changed are "
            "part of as the optimizer made them: do not evaluate by them, or use another optimizer",
        )
    distributed: Any = getattr(torch, "distributed", None)
    ready = distributed is not None and distributed.is_available() and distributed.is_initialized()
    if ready and distributed.get_world_size() > 1:
        yield "distributed", "replicas judge by their own batch each, and come apart: not supported"
