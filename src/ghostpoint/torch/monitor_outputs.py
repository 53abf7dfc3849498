"""What a monitor makes of outputs and states that it is given, and what it says where it cannot."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

from ghostpoint.torch.distances import reading_of_graph
from ghostpoint.torch.monitor_answers import Answers, answers, given_states, given_targets, state_saturation
from ghostpoint.torch.once import Once

__all__ = ["GivenOutputs"]

#: so many losses are asked what they are taken of
ASKED = 3


class GivenOutputs:
    """Reads outputs one after the other, with what earlier ones have told: the axis of the classes,
    what the loss is taken of, and whether targets may be zero.
    """

    def __init__(self, kind: str, warn: Once):
        self.kind, self._warn = kind, warn
        self._axis: int | None = None
        self._zeros: torch.Tensor | None = None
        self._asked = 0

    def read(self, outputs: Any, targets: Any, loss: Any) -> Answers | None:
        """Statistics of outputs; None, with a warning, where they cannot be read."""
        try:
            return self._read(outputs.data if isinstance(outputs, PackedSequence) else outputs, targets, loss)
        except Exception as error:  # of a kind of tensor without these operators; the training goes on
            self._warn("outputs", "outputs or targets cannot be read: confidence, saturation and accuracy are left "
                       f"out; {type(error).__name__}: {error}")  # fmt: skip
            return None

    def _read(self, outputs: Any, targets: Any, loss: Any) -> Answers | None:
        if not isinstance(outputs, torch.Tensor) or not outputs.is_floating_point():
            self._warn("outputs", "outputs must be a real tensor: confidence, saturation and accuracy are left out; "
                       f"got {type(outputs).__name__}")  # fmt: skip
            return None
        if not outputs.numel():
            self._warn("empty", f"outputs of shape {tuple(outputs.shape)} have no number, and are left out")
            return None
        self._ask(loss, outputs)
        known = None if targets is None else given_targets(targets)
        if known is None and targets is not None:
            self._warn("targets", "targets must be a tensor, an array, a list of numbers or a packed sequence: "
                       f"accuracy is left out; got {type(targets).__name__}")  # fmt: skip
        found = answers(outputs, known, self.kind, self._axis, self._zeros)
        if found is None and known is not None:
            stated = known.is_floating_point() or self.kind != "auto"
            found = answers(outputs, None, self.kind, self._axis) if stated else None
            left = "accuracy is" if found is not None else "confidence, saturation and accuracy are"
            self._warn("targets", f"targets of shape {tuple(known.shape)} do not fit outputs of shape "
                       f"{tuple(outputs.shape)}: {left} left out")  # fmt: skip
        if found is None:
            return None
        self._zeros = self._zeros if found.zeros is None else found.zeros
        if found.ambiguous and known is not None:
            self._warn("axis", f"classes may be along axis 1 or the last one of outputs of shape "
                       f"{tuple(outputs.shape)}, by targets of shape {tuple(known.shape)}: the last one is taken; "
                       "log outputs.movedim(1, -1) where it is axis 1")  # fmt: skip
        elif found.axis is not None:
            self._axis = found.axis
        return found

    def _ask(self, loss: Any, outputs: torch.Tensor) -> None:
        """What the outputs are, by the operators of the first losses."""
        if self.kind == "auto" and self._asked < ASKED and isinstance(loss, torch.Tensor):
            self._asked += 1
            self.kind = reading_of_graph(loss, outputs) or "auto"

    def state_dict(self) -> dict[str, Any]:
        """What earlier outputs have told."""
        zeros = None if self._zeros is None else bool(self._zeros)
        return {"kind": self.kind, "axis": self._axis, "zeros": zeros}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave; a kind that is given stays."""
        self.kind = state.get("kind", self.kind) if self.kind == "auto" else self.kind
        self._axis, zeros = state.get("axis"), state.get("zeros")
        self._zeros = None if zeros is None else torch.tensor(zeros)

    def states(self, states: Any) -> torch.Tensor | None:
        """The share of saturated ones; None, with a warning, where they cannot be read."""
        try:
            if given_states(states):
                return state_saturation(states)
            reason = f"got {type(states).__name__}"
        except Exception as error:  # the training goes on
            reason = f"{type(error).__name__}: {error}"
        self._warn("state_saturation", "states must be tensors, or a packed sequence: state_saturation is left out; "
                   f"{reason}")  # fmt: skip
        return None
