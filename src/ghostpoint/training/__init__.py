"""Training: a readable reference, compiled kernels, and ``train``, which checks, dispatches and records."""

from ghostpoint.training.engine import ENGINES, TrainingInterrupted, train
from ghostpoint.training.optimizers import SGD, Adam

__all__ = ["ENGINES", "SGD", "Adam", "TrainingInterrupted", "train"]
