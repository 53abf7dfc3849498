"""Training: a readable reference, compiled kernels, and ``train``, which checks, dispatches and records."""

from ghostpoint.training.optimizers import SGD, Adam
from ghostpoint.training.train_networks import ENGINES, TrainingInterrupted, train

__all__ = ["ENGINES", "SGD", "Adam", "TrainingInterrupted", "train"]
