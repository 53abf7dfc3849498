"""Training: a readable reference, compiled kernels, and ``train``, which checks, dispatches and records."""

from ghostpoint.training.engine import ENGINES, OPTIMIZERS, train

__all__ = ["ENGINES", "OPTIMIZERS", "train"]
