"""The reference as an engine: the specification's gradient under the common epoch loop."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.tasks import Task, Trial
from ghostpoint.training.reference import evaluate, global_norm

__all__ = ["ReferenceBackend"]


class ReferenceBackend:
    """Float64 NumPy; see :class:`ghostpoint.training.loop.Backend`."""

    def __init__(self, models: Record, task: Task):
        self.models, self.task = models, task

    def evaluate(
        self, trial: Trial, initial_states: NDArray[Any] | None, noise: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]]:
        """Loss, accuracy and gradient of the present models."""
        seen = evaluate(self.models, self.task, trial=trial, initial_states=initial_states, noise=noise)
        return seen.loss, seen.accuracy, {part: seen.gradient[part] for part in self.models.trainable}

    def norm(self, gradient: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """L2 norm per network."""
        return global_norm(list(gradient.values()), len(self.models))

    def get(self, part: str) -> NDArray[Any]:
        """A part of the models."""
        array: NDArray[Any] = getattr(self.models, part)
        return array

    def set(self, part: str, value: NDArray[Any]) -> None:
        """Replace a part of the models."""
        self.models = self.models.replace(**{part: value})

    def native(self, values: NDArray[Any]) -> NDArray[Any]:
        """The array itself."""
        return values

    def numpy(self, values: NDArray[Any]) -> NDArray[Any]:
        """The array itself."""
        return values
