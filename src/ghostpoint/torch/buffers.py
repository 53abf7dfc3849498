"""The buffers of a module: kept before a forward pass, put back after it."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Buffers"]


class Buffers:
    """The present buffers of a module and of all in it: which tensors, and with ``values`` a copy
    of their numbers.

    A forward pass may write into a buffer, or put another tensor in its place.
    """

    def __init__(self, module: nn.Module, *, values: bool = False):
        self.kept = [
            (part, name, buffer, _version_of(buffer), buffer.clone() if values and buffer is not None else None)
            for part in module.modules()
            for name, buffer in part._buffers.items()
        ]

    def unchanged(self) -> bool:
        """Whether all are the same tensors, to which nobody has written; with values, nor a kernel
        that does so without a word, such as batch norm's.
        """
        return all(
            part._buffers.get(name) is buffer
            and _version_of(buffer) == version
            and (buffer is None or value is None or _same(buffer, value))
            for part, name, buffer, version, value in self.kept
        )

    def restore(self) -> None:
        """Put back what has changed. What has not is not written to: a graph may need it."""
        for part, name, buffer, version, value in self.kept:
            if part._buffers.get(name) is not buffer:
                part._buffers[name] = buffer
            # kernels such as batch norm's write without a word, but to no sparse tensor
            if (
                buffer is not None
                and value is not None
                and (_version_of(buffer) != version or not _same(buffer, value))
            ):
                buffer.copy_(value)

    def versions(self) -> list[tuple[int, int]]:
        """Changes when a buffer is written to, or another one takes its place."""
        return [(id(buffer), version) for _, _, buffer, version, _ in self.kept]


def _version_of(buffer: torch.Tensor | None) -> int:
    """How often it was written to; tensors of inference mode do not count that."""
    return -1 if buffer is None or buffer.is_inference() else buffer._version


def _same(buffer: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether two have the same numbers, NaN too; of a sparse one nothing is known."""
    if buffer.layout != torch.strided or buffer.equal(value):
        return True
    if buffer.shape != value.shape or not (buffer.is_floating_point() or buffer.is_complex()):
        return False
    return bool(((buffer == value) | (buffer.isnan() & value.isnan())).all())
