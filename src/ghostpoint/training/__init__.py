"""Training: a readable reference, compiled kernels, and ``train``, which checks, dispatches and
records.
"""

from ghostpoint.training.computing import Computing
from ghostpoint.training.engines import ENGINES, ByEpochEngine, Engine
from ghostpoint.training.optimizers import OPTIMIZERS, SGD, Adam, Optimizer
from ghostpoint.training.train_networks import TrainingInterrupted, train

__all__ = [
    "ENGINES",
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "ByEpochEngine",
    "Computing",
    "Engine",
    "Optimizer",
    "TrainingInterrupted",
    "train",
]
