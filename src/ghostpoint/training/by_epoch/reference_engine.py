"""The reference as an engine: the specification's gradient under the common epoch loop."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostpoint.models import Record
from ghostpoint.remedies import Crossing
from ghostpoint.tasks import Task, Trial
from ghostpoint.training.reference import Approach, approach, evaluate, follow


class ReferenceBackend:
    """Float64 NumPy; see :class:`ghostpoint.training.by_epoch.backend.Backend`."""

    def __init__(self, models: Record, task: Task):
        self.models, self.task = models, task

    def running(self, watched: bool) -> AbstractContextManager[Any]:
        """Nothing to set up."""
        return nullcontext()

    def evaluate(
        self, trial: Trial, initial_states: NDArray[Any] | None, noise: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]]:
        """Loss, accuracy and gradient of the present models."""
        seen = evaluate(self.models, self.task, trial=trial, initial_states=initial_states, noise=noise)
        self.shown, self.output = (trial, initial_states, noise), seen.output
        return seen.loss, seen.accuracy, {part: seen.gradient[part] for part in self.models.trainable}

    def approaches(self, wanted: Sequence[Crossing]) -> list[Approach]:
        """Crossings in the trials evaluated last, with gradients by the trainable parts."""
        trial, initial_states, noise = self.shown
        path = follow(self.models, self.task, trial, initial_states, noise)
        found = [approach(self.models, self.task, trial, path, crossing) for crossing in wanted]
        for one in found:
            for part in set(one.gradient) - set(self.models.trainable):
                del one.gradient[part]
        return found

    def answers(self) -> NDArray[Any]:
        """The outputs in the trials evaluated last."""
        return self.output

    def inner(self, one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Inner product per network."""
        products = [(one[part] * other[part]).reshape(len(self.models), -1).sum(axis=1) for part in one]
        return np.asarray(np.sum(products, axis=0) if products else np.zeros(len(self.models)))

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
