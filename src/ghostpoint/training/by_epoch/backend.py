"""What the epoch loop asks of an engine that is called once an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from numpy.typing import NDArray

from ghostpoint.remedies import Crossing
from ghostpoint.tasks import Trial
from ghostpoint.training.reference import Approach


class Backend(Protocol):
    """Computes a loss and its gradient for a stack of networks."""

    def running(self, watched: bool) -> AbstractContextManager[Any]:
        """Entered for the time of a run; ``watched`` says whether :meth:`approaches` will be asked
        for.
        """

    def evaluate(
        self, trial: Trial, initial_states: NDArray[Any] | None, noise: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Loss and accuracy (R,), and the gradient by every trainable part, in the backend's own
        arrays.
        """

    def approaches(self, wanted: Sequence[Crossing]) -> list[Approach]:
        """Escape times or peaks in the trials evaluated last, with gradients by every trainable
        part.
        """

    def answers(self) -> NDArray[Any]:
        """The outputs in the trials evaluated last, (R, trials, steps, outputs)."""

    def inner(self, one: dict[str, Any], other: dict[str, Any]) -> Any:
        """Inner product over all parts per network, (R,), as the backend's array."""

    def get(self, part: str) -> Any:
        """The present value of a part, (R, ...), as the backend's array."""

    def set(self, part: str, value: Any) -> None:
        """Replace a part."""

    def native(self, values: NDArray[Any]) -> Any:
        """A NumPy array as the backend's."""

    def numpy(self, values: Any) -> NDArray[Any]:
        """The backend's array as NumPy's."""


def per_network(values: Any, like: Any) -> Any:
    """(R,) shaped to broadcast against (R, ...), arrays of NumPy or of a backend."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
