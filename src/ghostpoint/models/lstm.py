"""Long short-term memory networks and their equations, in the form in which an Euler step of 1 is
PyTorch's cell.

Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9, 1735 (1997), with the
forget gate of Gers, Schmidhuber and Cummins (2000), as ``torch.nn.LSTM``. Symbols to names: the
rows of ``w_rec``, ``w_in`` and ``b`` are those of the input gate i, the forget gate f, the
candidate g and the output gate o, H each. The state is ``x = (h, c)``, N = 2 H.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint.checks import finite_array, shape
from ghostpoint.errors import InputError
from ghostpoint.models.arithmetic import NUMPY, Arithmetic
from ghostpoint.models.gru import quadratic, rows
from ghostpoint.models.record import TORCH_NAMES, Common, Gradient, Parts, Record, Scheme, Sizes


class _Step(NamedTuple):
    """What a step computes on its way, each (..., R, H): gates, the candidate g, the cell before
    and after."""

    i: Any
    f: Any
    g: Any
    o: Any
    before: Any
    cell: Any


def _uniform(generator: np.random.Generator, sizes: Sizes) -> dict[str, NDArray[Any]]:
    hidden, limit = sizes.units, 1 / np.sqrt(sizes.units)
    shapes: dict[str, Any] = {"w_rec": (4 * hidden, hidden), "w_in": (4 * hidden, sizes.inputs), "b": 4 * hidden}
    shapes |= {"w_out": (sizes.outputs, 2 * hidden), "b_out": sizes.outputs}
    drawn = {name: generator.uniform(-limit, limit, size) for name, size in shapes.items()}
    drawn["b"] += generator.uniform(-limit, limit, 4 * hidden)
    drawn["w_out"][:, hidden:] = 0
    if not sizes.inputs:
        del drawn["w_in"]
    return drawn


class LSTM(Record):
    """R networks of H cells, whose state is ``x = (h, c)`` of N = 2 H numbers, with output
    ``activation(w_out x + b_out)``.

    One Euler step, with the rows of the arrays by gate::

        i, f, o = sigmoid(W h + V u + b), each with its own rows         W = w_rec, V = w_in
        g = tanh(W_g h + V_g u + b_g + noise)
        c' = f c + i g,  h' = o tanh(c')
        x <- (1 - alpha) x + alpha (h', c')

    At ``alpha = 1`` this is ``torch.nn.LSTM``, whose two biases count by their sum alone.

    Parameters
    ----------
    w_rec : (R, 4 H, H) array
        Recurrent weights of i, f, g and o, in PyTorch's order.
    b : (R, 4 H) array, optional
        Zero by default.
    w_in : (R, 4 H, I) array, optional
        Input weights.
    w_out : (R, O, 2 H) array, optional
        Readout of h and c; one of zeros by default, which no slow point depends on.
    b_out : (R, O) array, optional
        Zero by default.
    activation : "sigmoid", "tanh" or "identity"
        Of the output.
    initial_state : scalar, (2 H,) or (R, 2 H)
        (h, c) at the start of a trial.
    trainable : names among "w_rec", "b", "w_in", "w_out", "b_out", optional
        What training may change; by default every part there is.
    seed : (R,) array of int, optional
        Where the weights came from; -1 for unknown. Only carried along.

    The one scheme of :meth:`initialize` is PyTorch's: every weight and bias uniform within
    ``1 / sqrt(H)``, the readout of c zero. Its ``n_units`` is H.

    Raises
    ------
    ValueError
        For shapes that do not fit, no cell, numbers that are not finite, and unknown trainable
        parts.

    Examples
    --------
    >>> LSTM.initialize(8, [0, 1])
    LSTM(2 networks, 16 units, rank 16, trainable: w_rec, b, w_out, b_out)
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "w_rec": ("gate_cell", "cell"),
        "b": ("gate_cell",),
        "w_in": ("gate_cell", "input"),
        "w_out": ("output", "unit"),
        "b_out": ("output",),
        "initial_state": ("unit",),
        "seed": (),
    }
    parts = ("w_rec", "b", "w_in", "w_out", "b_out")
    required = ("w_rec",)
    torch_gates = 4
    #: |h| < 1; cells can lie outside where a forget gate is nearly 1, and are reached by
    #: simulations
    state_bound = 2.0
    schemes: ClassVar[dict[str, Scheme]] = {"uniform": Scheme(_uniform)}

    w_rec: NDArray[Any]
    b: NDArray[Any]

    def __init__(self, w_rec: ArrayLike, b: ArrayLike | None = None, **common: Unpack[Common]):
        matrix = shape("w_rec", finite_array("w_rec", w_rec), ("R", "4 H", "H"))
        _, gates, hidden = matrix.shape
        if gates != 4 * hidden or not hidden:
            raise InputError(f"w_rec must have shape (R, 4 H, H) with at least one cell, got {matrix.shape}")
        sizes = {"unit": 2 * hidden, "cell": hidden, "gate_cell": gates}
        self._build({"w_rec": matrix, "b": b}, common, sizes)

    @classmethod
    def from_torch(cls, cell: Parts) -> Self:
        """From ``torch.nn.LSTM`` or ``LSTMCell``: this library's Euler map with alpha = 1. Its
        readout reads h."""
        gates = len(cell["weight_hh"])
        biases = [cell[name] for name in ("bias_hh", "bias_ih") if name in cell]
        found = {"w_rec": cell["weight_hh"], "b": sum(biases, np.zeros(gates))}
        found |= {ours: cell[name] for name, ours in TORCH_NAMES.items() if name in cell}
        if "w_out" in found:
            found["w_out"] = np.concatenate([found["w_out"], np.zeros_like(found["w_out"])], axis=1)
        return cls.from_arrays(found)

    @property
    def hidden(self) -> int:
        """H."""
        return self.n_units // 2

    # The equations, forward.

    def _step(self, lib: Arithmetic, p: Parts, x: Any, u: Any, noise: Any = None) -> _Step:
        size = self.hidden
        h, before = x[..., :size], x[..., size:]
        driven = lib.times(p["w_rec"], h) + p["b"]
        if u is not None and "w_in" in p:
            driven = driven + lib.einsum("rni,...i->...rn", p["w_in"], u)
        i, f = lib.sigmoid(driven[..., :size]), lib.sigmoid(driven[..., size : 2 * size])
        inside, o = driven[..., 2 * size : 3 * size], lib.sigmoid(driven[..., 3 * size :])
        g = lib.tanh(inside if noise is None else inside + noise[..., :size])
        return _Step(i, f, g, o, before, f * before + i * g)

    def advance(self, lib: Arithmetic, p: Parts, x: Any, u: Any, alpha: float, noise: Any = None) -> tuple[Any, Any]:
        """``(1 - alpha) x + alpha (h', c')``, and the gates."""
        step = self._step(lib, p, x, u, noise)
        return (1 - alpha) * x + alpha * lib.joined(step.o * lib.tanh(step.cell), step.cell), step

    # The equations, backward.

    def advance_back(
        self, gradient: Gradient, y: NDArray[Any], x: NDArray[Any], u: NDArray[Any], alpha: float, kept: Any
    ) -> NDArray[Any]:
        """The adjoint of a step.

        With ``(y_h, y_c) = alpha y``, t = tanh(c') and s the derivatives by the gates' sums::

            y' = y_c + y_h o (1 - t**2)
            s_i = y' g i (1 - i),  s_f = y' c f (1 - f),  s_g = y' i (1 - g**2)
            s_o = y_h t o (1 - o),  dL/dh = W^T s,  dL/dc = y' f,  beside (1 - alpha) y
        """
        i, f, g, o, before, cell = kept
        size = self.hidden
        by_h, by_c = alpha * y[..., :size], alpha * y[..., size:]
        t = np.tanh(cell)
        by_cell = by_c + by_h * o * (1 - t**2)
        s = np.concatenate(
            [
                by_cell * g * i * (1 - i),
                by_cell * before * f * (1 - f),
                by_cell * i * (1 - g**2),
                by_h * t * o * (1 - o),
            ],
            axis=-1,
        )
        gradient["w_rec"] += np.einsum("brm,brn->rmn", s, x[..., :size])
        gradient["b"] += s.sum(axis=0)
        if "w_in" in gradient:
            gradient["w_in"] += np.einsum("brm,bi->rmi", s, u)
        back = np.concatenate([NUMPY.transposed_times(self.w_rec, s), by_cell * f], axis=-1)
        return np.asarray((1 - alpha) * y + back)

    # Slow points. Derivatives of the gates' sums by x have zeros for c.

    def _gate_rows(self, p: Parts) -> list[NDArray[Any]]:
        """The derivatives of the sums of i, f, g and o by x, (R, H, N) each."""
        size, w = self.hidden, p["w_rec"]
        whole = np.concatenate([w, np.zeros_like(w)], axis=-1)
        return [whole[..., k * size : (k + 1) * size, :] for k in range(4)]

    def _cell_slope(self, step: _Step, p: Parts) -> NDArray[Any]:
        """``Dc'``, (..., R, H, N)."""
        W_i, W_f, W_g, _ = self._gate_rows(p)
        i, f, g, _, before, _ = step
        by_c = np.concatenate([np.zeros((self.hidden,) * 2), np.eye(self.hidden)], axis=1)
        slope = rows(before * f * (1 - f)) * W_f + rows(g * i * (1 - i)) * W_i + rows(i * (1 - g**2)) * W_g
        return np.asarray(slope + rows(f) * by_c)

    def state_jacobian(self, p: Parts, x: NDArray[Any], u: NDArray[Any] | None = None) -> NDArray[Any]:
        """``Dh' = tanh(c') o' W_o + o (1 - tanh(c')**2) Dc'`` above Dc', less 1."""
        step = self._step(NUMPY, p, x, u)
        o, t, by_cell = step.o, np.tanh(step.cell), self._cell_slope(step, p)
        by_h = rows(t * o * (1 - o)) * self._gate_rows(p)[3] + rows(o * (1 - t**2)) * by_cell
        return np.asarray(np.concatenate([by_h, by_cell], axis=-2) - np.eye(self.n_units))

    def state_curvature(
        self, p: Parts, x: NDArray[Any], weights: NDArray[Any], u: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """``sum_i q_i D2F_i`` for weights q = (q_h, q_c).

        With t = tanh(c'), t' = 1 - t**2, ``k = q_c + q_h o t'``, primes for derivatives of the
        gates, D of the sums a inside them, and products of gradients symmetric::

            k D2c' + q_h (-2 t t' o Dc' Dc' + t o'' Da_o Da_o + o' t' (Da_o Dc' + Dc' Da_o))
            D2c' = f'' c Da_f Da_f + f' (Da_f Dc + Dc Da_f) + i'' g Da_i Da_i
                   + i' g' (Da_i Da_g + Da_g Da_i) + i g'' Da_g Da_g
        """
        step = self._step(NUMPY, p, x, u)
        i, f, g, o, before, cell = step
        size, t = self.hidden, np.tanh(cell)
        W_i, W_f, W_g, W_o = self._gate_rows(p)
        by_c = np.concatenate([np.zeros((size, size)), np.eye(size)], axis=1)
        by_cell, slope = self._cell_slope(step, p), 1 - t**2
        of_h = weights[..., :size]
        k = weights[..., size:] + of_h * o * slope
        i1, f1, o1, g1 = i * (1 - i), f * (1 - f), o * (1 - o), 1 - g**2
        whole = quadratic(k * f1 * (1 - 2 * f) * before, W_f, W_f)
        whole += quadratic(k * i1 * (1 - 2 * i) * g, W_i, W_i)
        whole += quadratic(k * i * (-2 * g * g1), W_g, W_g)
        whole += quadratic(of_h * t * o1 * (1 - 2 * o), W_o, W_o)
        whole += quadratic(of_h * o * (-2 * t * slope), by_cell, by_cell)
        mixed = quadratic(k * f1, W_f, by_c) + quadratic(k * i1 * g1, W_i, W_g)
        mixed += quadratic(of_h * o1 * slope, W_o, by_cell)
        return np.asarray(whole + mixed + np.swapaxes(mixed, -1, -2))
