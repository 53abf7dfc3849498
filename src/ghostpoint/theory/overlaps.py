"""What the theories of overlaps need of networks and a task: scalar products of the weights, and
settings for the compiled code.

Symbols to names: ``m_1 .. m_K, n_1 .. n_K, b, x0`` the *vectors* of a network of rank K, V = 2 K +
2 of them; their Gram matrix (V, V) the *overlaps*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ghostpoint.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Overlaps:
    """The overlaps of R networks on delayed activation, and their settings.

    A readout of the state, ``sigmoid(w.x + b_out)``, counts as one latent more, with ``n_K = w``
    and ``m_K = 0``.

    Attributes
    ----------
    grams : (R, V, V) array
        Scalar products of ``m_1 .. m_K, n_1 .. n_K, b, x0``.
    settings : (R, 7 + V - 1) array
        The rows ``network`` of ``overlap_kernels``: alpha, T in steps, c, kappa*, the share of
        saturation 1/N (0 for linear units), the latent that is read, 1 where kappa* is trained, and
        for each vector but x0 whether it is trained.
    latents, delay : int
        K and T in steps.
    """

    grams: Array
    settings: Array
    latents: int
    delay: int

    @classmethod
    def of(cls, models: Any, task: Any, *, linear: bool = False, state_readout: bool = True) -> Self:
        """Raise a ``ValueError`` for anything but low rank, a scalar sigmoid readout and delayed
        activation.
        """
        fixed = getattr(models, "w_out", None) is None
        if not hasattr(models, "m") or not (fixed or state_readout) or models.activation != "sigmoid":
            raise InputError(
                "models must be ghostpoint.LowRankRNN with the readout sigmoid(confidence (kappa - threshold))"
                f"{' or a sigmoid of the state' if state_readout else ''}, got {models!r}"
            )
        if not fixed and (models.readout != "state" or models.w_out.shape[1] != 1):
            raise InputError(
                f"models must be read by the confidence or by one output of the state, got w_out of "
                f"shape {models.w_out.shape} and readout {models.readout!r}"
            )
        if "confidence" in models.trainable:
            raise InputError(f"models must have a fixed confidence, got trainable {models.trainable}")
        if not hasattr(task, "delay_steps") or task.n_inputs:
            raise InputError(f"task must be ghostpoint.tasks.DelayedActivation, got {type(task).__name__}")
        m, n, b = (np.asarray(values, np.float64) for values in (models.m, models.n, models.b))
        x0 = np.broadcast_to(np.asarray(models.initial_state, np.float64), b.shape)
        trains = {part: float(part in models.trainable) for part in (*"mnb", "w_out", "b_out")}
        trained_m, trained_n = [trains["m"]] * m.shape[2], [trains["n"]] * m.shape[2]
        confidence, threshold = models.confidence, models.threshold
        if not fixed:
            m = np.concatenate([m, np.zeros_like(m[:, :, :1])], axis=2)
            n = np.concatenate([n, np.asarray(models.w_out, np.float64).transpose(0, 2, 1)], axis=2)
            trained_m, trained_n = [*trained_m, 0.0], [*trained_n, trains["w_out"]]
            confidence, threshold = 1.0, -np.asarray(models.b_out, np.float64)[:, 0]
        vectors = np.concatenate([m.transpose(0, 2, 1), n.transpose(0, 2, 1), b[:, None], x0[:, None]], axis=1)
        latents = m.shape[2]
        settings = np.empty((len(models), 7 + 2 * latents + 1))
        settings[:, 0], settings[:, 1] = task.alpha, task.delay_steps
        settings[:, 2], settings[:, 3] = confidence, threshold
        settings[:, 4] = 0.0 if linear else 1 / models.n_units
        settings[:, 5] = 0 if fixed else latents - 1
        settings[:, 6] = 0.0 if fixed else trains["b_out"]
        settings[:, 7:] = [*trained_m, *trained_n, trains["b"]]
        return cls(np.asarray(vectors @ vectors.transpose(0, 2, 1)), settings, latents, int(task.delay_steps))

    @property
    def reads_state(self) -> bool:
        """Whether the readout is one of the state."""
        return bool(self.settings[:, 5].any())

    @property
    def confidence(self) -> Array:
        """c, (R,)."""
        return self.settings[:, 2]

    @property
    def threshold(self) -> Array:
        """kappa*, (R,)."""
        return self.settings[:, 3]
