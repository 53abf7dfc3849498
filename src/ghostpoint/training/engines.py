"""The engines that train: what an engine must offer, and those there are.

A new engine is a class derived from :class:`Engine` (or :class:`ByEpochEngine`, which brings the
epoch loop with every optimiser and remedy) and one line: ``ENGINES["name"] = MyEngine()``.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import ClassVar

from ghostpoint.checks import one_of
from ghostpoint.errors import InputError
from ghostpoint.models import Record
from ghostpoint.tasks import Task
from ghostpoint.training.by_epoch import loop
from ghostpoint.training.by_epoch.backend import Backend
from ghostpoint.training.compiled import dispatch
from ghostpoint.training.computing import DTYPES, Computing
from ghostpoint.training.outcome import Outcome
from ghostpoint.training.plan import Plan


class Engine(ABC):
    """Trains R networks as a :class:`~ghostpoint.training.plan.Plan` says.

    ``train`` has checked all arguments before it asks an engine. What an engine needs beyond NumPy
    it imports in :meth:`run`, so that ``import ghostpoint`` stays cheap.
    """

    #: the types of floating-point numbers that it computes in
    dtypes: ClassVar[tuple[str, ...]] = DTYPES
    #: whether ``engine="auto"`` may choose it
    automatic: ClassVar[bool] = False
    #: whether it knows remedies that try updates before they stand, of which ``remedy="auto"`` may
    #: be one
    tries: ClassVar[bool] = False

    def obstacle(self, models: Record, task: Task, plan: Plan) -> str:
        """Why it cannot train these networks on this task, as half a sentence; empty if it can."""
        return ""

    def worthwhile(self, models: Record) -> bool:
        """Whether "auto" should think of it for these networks, where :attr:`automatic` is set."""
        return True

    @abstractmethod
    def run(self, models: Record, task: Task, plan: Plan, computing: Computing) -> Outcome:
        """Train.

        ``computing`` has the dtype, the threads and the callables that hear of progress. Ctrl-C
        after the first epoch ends the run early with ``Outcome.interrupted`` set; before it, the
        ``KeyboardInterrupt`` goes on.
        """


class ByEpochEngine(Engine):
    """An engine that is called once an epoch, for loss and gradient; the rest is in
    ``by_epoch/loop.py``.
    """

    tries = True

    @abstractmethod
    def backend(self, models: Record, task: Task, computing: Computing) -> Backend:
        """What computes loss and gradient of these networks."""

    def run(self, models: Record, task: Task, plan: Plan, computing: Computing) -> Outcome:
        """The epoch loop over :meth:`backend`."""
        backend = self.backend(models, task, computing)
        return loop.run(models, task, plan, backend, computing.on_progress, computing.on_record)


class CompiledEngine(Engine):
    """The kernels of ``training/kernels``, driven by ``training/compiled``."""

    automatic = True
    tries = True

    def obstacle(self, models: Record, task: Task, plan: Plan) -> str:
        """What of models, task and plan the kernels do not know; empty if they can train."""
        return dispatch.obstacle(models, task, plan)

    def run(self, models: Record, task: Task, plan: Plan, computing: Computing) -> Outcome:
        """On all threads, a block of networks or one network a call."""
        return dispatch.run(
            models, task, plan, computing.dtype, layout=computing.layout, threads=computing.workers,
            on_progress=computing.on_progress, on_record=computing.on_record,
        )  # fmt: skip


class CudaEngine(Engine):
    """The kernels of ``training/cuda`` on a GPU, for stacks of many networks."""

    automatic = True
    #: networks from which "auto" looks for a device
    enough: ClassVar[int] = 1000

    def worthwhile(self, models: Record) -> bool:
        """Enough networks to fill a device, and a device."""
        return len(models) >= self.enough and not _without_device()

    def obstacle(self, models: Record, task: Task, plan: Plan) -> str:
        """That there is no device, or what the kernels do not know; empty if they can train."""
        missing = _without_device()
        if missing:
            return missing
        from ghostpoint.training.cuda.problem import obstacle

        return obstacle(models, task, plan)

    def run(self, models: Record, task: Task, plan: Plan, computing: Computing) -> Outcome:
        """On the current device."""
        from ghostpoint.training.cuda.driver import run

        return run(
            models, task, plan, computing.dtype, on_progress=computing.on_progress, on_record=computing.on_record
        )


def _without_device() -> str:
    """Why there is no CUDA device to compute on; empty if there is one."""
    if find_spec("numba_cuda") is None:
        return "numba-cuda is not installed (pip install 'ghostpoint[cuda]')"
    try:
        from numba import cuda
    except ImportError as error:  # broken, or another module of the name cuda comes first
        return f"numba-cuda does not import ({error})"

    return "" if cuda.is_available() else "there is no CUDA device"


class TorchEngine(ByEpochEngine):
    """PyTorch, batched over networks, for every model, task, optimiser and remedy."""

    automatic = True

    def obstacle(self, models: Record, task: Task, plan: Plan) -> str:
        """Whether PyTorch is there."""
        return "" if find_spec("torch") else "PyTorch is not installed (pip install torch)"

    def backend(self, models: Record, task: Task, computing: Computing) -> Backend:
        """On the CPU."""
        from ghostpoint.training.by_epoch.torch_engine import TorchBackend

        return TorchBackend(models, task, computing.dtype)


class ReferenceEngine(ByEpochEngine):
    """The specification, ``training/reference.py``, in float64."""

    dtypes = ("float64",)

    def backend(self, models: Record, task: Task, computing: Computing) -> Backend:
        """NumPy."""
        from ghostpoint.training.by_epoch.reference_engine import ReferenceBackend

        return ReferenceBackend(models, task)


#: the engines by name; "auto" takes the first that is automatic and has no obstacle. New ones are
#: registered here
ENGINES: dict[str, Engine] = {
    "cuda": CudaEngine(),
    "compiled": CompiledEngine(),
    "torch": TorchEngine(),
    "reference": ReferenceEngine(),
}


def can_try(name: str) -> bool:
    """Whether the engine of this name can try updates; "auto" chooses one that can."""
    return name not in ENGINES or ENGINES[name].tries


def choose(models: Record, task: Task, plan: Plan, computing: Computing) -> str:
    """The name of the engine that will train these networks: the one that ``computing`` names, or
    for "auto" the first in :data:`ENGINES` that can.

    Raises
    ------
    ValueError
        If the one asked for cannot train these networks on this task; the message says why, and
        which can.
    """
    asked, dtype = computing.engine, computing.dtype
    one_of("engine", asked, ("auto", *ENGINES))
    if asked == "auto":
        able = [
            name for name, one in ENGINES.items() if one.automatic and dtype in one.dtypes and one.worthwhile(models)
        ]
    else:
        able = [asked]
        if dtype not in ENGINES[asked].dtypes:
            raise InputError(
                f"dtype must be {' or '.join(ENGINES[asked].dtypes)} for the {asked} engine, got {dtype!r}"
            )
    reasons: dict[str, str] = {}
    for name in able:
        reasons[name] = ENGINES[name].obstacle(models, task, plan)
        if not reasons[name]:
            if len(reasons) > 1:
                why = next(iter(reasons.values()))
                warnings.warn(f"training with the slower {name} engine: {why}", stacklevel=4)
            return name
    others = [
        name if dtype in one.dtypes else f"{name} (in {' or '.join(one.dtypes)})"
        for name, one in ENGINES.items()
        if name not in reasons and not one.obstacle(models, task, plan)
    ]
    why = "; ".join(reasons.values())
    raise InputError(f"engine must be {' or '.join(others) or 'another'} here, got {asked!r}: {why}")
