"""For anyone's PyTorch network: watch its training and say what phase it is in, and keep its
updates from killing it.

:class:`Monitor` observes, :class:`Guard` acts. Nothing else of the library imports torch when it is
imported; this package needs the extra ``torch``.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ImportError:
    raise ImportError("ghostpoint.torch needs PyTorch: pip install 'ghostpoint[torch]'") from None

from ghostpoint.torch.cost import Cost
from ghostpoint.torch.guard import Guard
from ghostpoint.torch.guard_rules import FixedBatch, FreshBatches
from ghostpoint.torch.monitor import Monitor
from ghostpoint.torch.networks import NetworkModule, from_module, to_module
from ghostpoint.torch.sinks import CSV, JSONLines, TensorBoard, WandB
from ghostpoint.torch.slow_points import find_slow_points, track_slow_points
from ghostpoint.torch.task_batches import TaskBatch, TaskBatches
from ghostpoint.torch.trial_batches import TrialBatch, TrialBatches
from ghostpoint.torch.updates import Update

__all__ = [
    "CSV",
    "Cost",
    "FixedBatch",
    "FreshBatches",
    "Guard",
    "JSONLines",
    "Monitor",
    "NetworkModule",
    "TaskBatch",
    "TaskBatches",
    "TensorBoard",
    "TrialBatch",
    "TrialBatches",
    "Update",
    "WandB",
    "find_slow_points",
    "from_module",
    "to_module",
    "track_slow_points",
]
