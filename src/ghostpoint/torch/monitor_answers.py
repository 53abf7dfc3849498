"""What outputs and hidden states say, as tensors that stay on their device: how sure and how right
answers are.

Nothing here changes what it is given, draws random numbers, or waits for a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence

__all__ = ["OF_OUTPUTS", "OUTPUTS", "Answers", "Seen", "answers", "given_states", "given_targets", "state_saturation"]

#: those that need outputs
OF_OUTPUTS = ("confidence", "saturation", "accuracy")
#: what outputs may be: "classes" and "logits" before softmax and sigmoid, "probabilities" after a
#: sigmoid, "tanh" after a tanh, "values" without bounds
OUTPUTS = ("auto", "classes", "logits", "probabilities", "tanh", "values")
#: an answer nearer than this to its bound is saturated (probability; states and tanh outputs
#: likewise)
BOUND = 0.01
#: so many numbers are all looked at
WHOLE = 1 << 16
#: of more so many, or as many answers among several classes as have WHOLE numbers, at least these
NUMBERS, ANSWERS = 1 << 14, 256
#: those that count are looked for among so many
CANDIDATES = 1 << 22
#: probabilities of classes sum to 1, to this, in float32 and in less
SUM, ROUGH_SUM = 1e-3, 2e-2
#: what targets of the shape of the outputs are
BINARY, MASKED, SIGNS = 1, 2, 3


#: integers that PyTorch does not have everywhere
UNSIGNED = [getattr(torch, name) for name in ("uint16", "uint32", "uint64") if hasattr(torch, name)]


class Seen(NamedTuple):
    """What is known of all outputs so far: their range, and whether a trial had not exactly one
    right answer among several.
    """

    low: float = inf
    high: float = -inf
    several: bool = False


class Answers:
    """Statistics of outputs under every reading that their range leaves open; :meth:`read` decides
    on the host.

    ``vector`` is one tensor: the range of the outputs, what all targets are (1: 0 or 1; 2: also -1;
    3: -1 or 1; 0: anything), and (confidence, saturation, accuracy) as classes or, for real
    outputs, as probabilities, tanh, logits and classes, whether targets are one-hot, and whether
    outputs are probabilities of classes. NaN stands for "does not apply".

    ``axis`` is that of the classes, and ``ambiguous`` says that another one fits as well.
    """

    def __init__(
        self, vector: torch.Tensor, classes: bool, kind: str, axis: int | None = None, ambiguous: bool = False
    ):
        self.vector, self.classes, self.kind, self.axis, self.ambiguous = vector, classes, kind, axis, ambiguous
        self.wanted: Sequence[str] = OF_OUTPUTS
        #: whether there have been zeros among the targets
        self.zeros: torch.Tensor | None = None

    def seen(self, numbers: Sequence[float], before: Seen) -> Seen:
        """What is known of all outputs, with these."""
        if self.classes:
            return before
        several = numbers[2] == BINARY and numbers[-2] == 0
        return Seen(min(before.low, numbers[0]), max(before.high, numbers[1]), before.several or several)

    def read(self, numbers: Sequence[float], seen: Seen) -> tuple[dict[str, float], str | None]:
        """Quantities by name from the numbers of ``vector``, and what is in doubt, with what is
        known of all outputs so far.
        """
        kind, doubt, targets, one_hot = self.kind, None, numbers[2], numbers[-2] > 0 and not seen.several
        if self.classes:
            kind, one_hot = "probabilities", False  # where these stand
        elif kind == "auto":
            if seen.low >= 0 and seen.high <= 1:
                kind = "probabilities"
            elif seen.low >= -1 and seen.high <= 1 and targets != BINARY:
                kind = "tanh"
            else:
                kind = ("classes" if one_hot else "logits") if targets == BINARY else "values"
            if targets == MASKED and kind in ("tanh", "values"):
                doubt = (
                    f"targets are -1, 0 and 1, and outputs are read as {kind}: accuracy is left out; where -1 marks "
                    'what does not count, say Monitor(outputs="logits")'
                )
        if kind == "values":
            return {}, doubt
        if kind == "probabilities" and not self.classes and not seen.several and numbers[-1] > 0:
            kind = "classes"
        first = 3 + 3 * ("probabilities", "tanh", "logits", "classes").index(kind)
        found = dict(zip(OF_OUTPUTS, numbers[first : first + 3], strict=True))
        if one_hot and kind in ("probabilities", "logits"):
            found["accuracy"] = numbers[-3]
        elif targets == SIGNS and self.kind == "auto":
            found["accuracy"] = float("nan")
        return {name: value for name, value in found.items() if value == value and name in self.wanted}, doubt


def answers(
    outputs: torch.Tensor,
    targets: torch.Tensor | None,
    kind: str = "auto",
    axis: int | None = None,
    zeros: torch.Tensor | None = None,
) -> Answers | None:
    """Confidence, saturation and accuracy of outputs; None where the two do not fit together.

    Confidence is the mean probability of the likelier answer, saturation the share of answers whose
    probability is within 0.01 of certain. Targets that are whole numbers, of one axis less than the
    outputs, are class labels: the axis of the classes is 1, as for ``nn.CrossEntropyLoss``, or the
    last one, and they may stand in a column. Where both fit it is ``axis``, by default the last
    one. Negative labels do not count. Other targets have the shape of the outputs, axes of length
    one apart; NaN does not count, nor does -1 beside 0 and 1. ``zeros`` says that there were zeros
    in other batches.

    Of many answers some are taken, evenly spaced over all that count.
    """
    o = outputs.detach()
    y = None if targets is None else targets.detach().to(o.device, non_blocking=True)
    if y is not None and y.dtype in UNSIGNED:  # few operators know these
        y = y.long()
    if o.numel() == 0:
        return None
    if y is not None and y.squeeze().shape == o.squeeze().shape:
        y = y.reshape(o.shape)
    elif y is not None and not y.is_floating_point() and o.ndim and y.shape == (*o.shape[:-1], 1):
        y = y.squeeze(-1)  # labels in a column
    if y is not None and y.ndim == 0 and o.ndim == 1:  # of one trial
        o, y = o[None], y[None]
    if y is not None and not y.is_floating_point() and y.ndim == o.ndim - 1:
        fit = [one for one in (-1, 1) if _without(o.shape, one) == y.shape]
        if not fit:
            return None
        ambiguous = len(fit) == 2 and o.ndim > 2
        chosen = axis if axis is not None and axis in fit else fit[0]
        known = chosen if o.ndim > 2 else None
        o, y, counts = _taken(o, y, y >= 0, chosen)
        right = _right(o, o.argmax(-1) == y)
        numbers = torch.stack([*_of_classes(o, counts, kind, outputs.dtype)[:2], _mean(right, counts)])
        vector = torch.cat([torch.zeros(3, device=o.device), numbers, torch.zeros(2, device=o.device)])
        return Answers(vector, True, kind, known, ambiguous and axis not in fit)
    if not (y is None or y.shape == o.shape):
        return None
    o, y = (o.reshape(1), None if y is None else y.reshape(1)) if not o.ndim else (o, y)
    vector, zeros = _of_numbers(o, y, kind, axis, zeros)
    found = Answers(vector, False, kind)
    found.zeros = zeros
    return found


def _of_numbers(
    o: torch.Tensor, y: torch.Tensor | None, kind: str, axis: int | None, zeros: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The vector for outputs each of which is an answer of its own, or a part of one; whether there
    have been zeros among the targets.
    """
    real = None if y is None else ~y.isnan()
    some, its, counts = _taken(o, y, real)
    low = torch.where(counts, some, torch.inf).amin()
    high = torch.where(counts, some, -torch.inf).amax()
    nan = torch.full_like(low, float("nan"))
    what = torch.zeros_like(low)
    as_tanh = _sure((1 + some) / 2, counts)
    if y is not None and its is not None and real is not None:
        minus, zero = (counts & (its == -1)).any(), (counts & (its == 0)).any()
        zero = zeros = zero if zeros is None else zero | zeros.to(zero.device, non_blocking=True)
        known = (~counts | (its == 0) | (its == 1) | (its == -1)).all() & counts.any()
        what = torch.where(known, torch.where(minus, torch.where(zero, MASKED, SIGNS), BINARY), 0).to(low)
        some, its, counts = _taken(o, y, real & ((y >= 0) | (what != MASKED)))
    found = [low, high, what]
    logits = _sure(torch.sigmoid(some), counts)
    for sure, half in ((_sure(some, counts), 0.5), (None, 0.0), (logits, 0.0)):
        if sure is None:
            found += [*as_tanh, nan]
        else:
            right = nan if its is None else _mean(_right(some[..., None], (some > half) == (its > 0.5)), counts)
            found += [*sure, torch.where(what > 0, right, nan)]
    return torch.stack([*found, *_of_rows(o, y, kind, axis, nan)]), zeros


def _of_rows(
    o: torch.Tensor, y: torch.Tensor | None, kind: str, axis: int | None, nan: torch.Tensor
) -> list[torch.Tensor]:
    """Confidence, saturation and accuracy of rows of classes, whether targets are one-hot, and
    whether outputs are probabilities that sum to 1.
    """
    found = [nan, nan, nan, torch.zeros_like(nan), torch.zeros_like(nan)]
    several = kind == "classes" and o.ndim > 2
    if kind != "classes" and (o.ndim < 2 or (y is None and kind not in ("auto", "probabilities"))):
        return found
    # the last axis where its targets are probabilities, else that of nn.CrossEntropyLoss
    for one in (axis,) if axis is not None and several else (1, -1) if several and y is not None else (-1,):
        if o.shape[one] < 2:
            continue
        real = None if y is None else ~y.isnan().any(one) & (y >= 0).all(one)
        rows, its, counts = _taken(o, y, real, one)
        right, fits = nan, torch.ones_like(nan, dtype=torch.bool)
        one_hot = torch.zeros_like(nan)
        if its is not None:
            whole = ((its == 0) | (its == 1)).all(-1) & (its.sum(-1) == 1)
            one_hot = ((whole | ~counts).all() & counts.any()).to(nan)
            fits = (((its.sum(-1) - 1).abs() < 1e-2) | ~counts).all() & counts.any()
            right = torch.where(fits, _mean(_right(rows, rows.argmax(-1) == its.argmax(-1)), counts), nan)
        confidence, saturation, shares = _of_classes(rows, counts, kind, o.dtype)
        these = [confidence, saturation, right, one_hot, shares]
        found = [torch.where(fits | before.isnan(), new, before) for new, before in zip(these, found, strict=True)]
    return found


def _of_classes(rows: torch.Tensor, counts: torch.Tensor, kind: str, dtype: torch.dtype) -> list[torch.Tensor]:
    """Confidence and saturation of rows of classes, before their softmax or after it; whether it is
    after it.
    """
    best = (rows.amax(-1) - rows.logsumexp(-1)).exp()
    shares = torch.zeros((), dtype=torch.bool, device=rows.device)
    if kind in ("auto", "probabilities"):
        near = SUM if dtype in (torch.float32, torch.float64) else ROUGH_SUM
        each = (rows >= 0).all(-1) & ((rows.sum(-1) - 1).abs() < near)
        shares = (each | ~counts).all() & counts.any()
        best = torch.where(shares, rows.amax(-1), best)
    return [_mean(best, counts), _mean(_right(rows, best > 1 - BOUND), counts), shares.to(best)]


def _right(outputs: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """1 for each answer that is right, 0 for others, NaN where its outputs (last axis) are none."""
    return torch.where(outputs.isnan().any(-1), torch.nan, right.float())


def _sure(p: torch.Tensor, counts: torch.Tensor) -> list[torch.Tensor]:
    surer = torch.maximum(p, 1 - p)
    return [_mean(surer, counts), _mean(_right(p[..., None], surer > 1 - BOUND), counts)]


def _mean(values: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    return torch.where(counts, values, 0.0).sum() / counts.sum()


def _without(shape: torch.Size, axis: int) -> tuple[int, ...]:
    axis %= max(len(shape), 1)
    return tuple(shape[:axis]) + tuple(shape[axis + 1 :])


def _taken(
    o: torch.Tensor, y: torch.Tensor | None, counts: torch.Tensor | None, axis: int | None = None
) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """Outputs and targets in float, and which count: all of them, or some that are evenly spaced.
    With ``axis`` that one is moved to the end and left whole, in targets where they have it.
    """
    y = y if y is None or axis is None or y.ndim < o.ndim else y.movedim(axis, -1)
    o = o if axis is None else o.movedim(axis, -1)
    shape = o.shape if axis is None else o.shape[:-1]
    most = NUMBERS if axis is None else max(WHOLE // o.shape[-1], ANSWERS)
    where = None if o.numel() <= WHOLE else _places(shape, most, counts, o.device)
    if where is None:
        counts = torch.ones(shape, dtype=torch.bool, device=o.device) if counts is None else counts
    else:
        places, counts = where
        o, y = o[places], None if y is None else y[places]
    return o.float(), y if y is None or (axis is not None and y.ndim < o.ndim) else y.float(), counts


def _places(
    shape: Sequence[int], most: int, counts: torch.Tensor | None, device: torch.device
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor] | None:
    """Indices of at most ``most`` places that count, evenly spaced over all of them, and which of
    them are valid; None for all.

    How many count is known on the device alone, so there are always as many indices.
    """
    number = prod(shape)
    if number <= most:
        return None
    if counts is None:
        places, valid = _spread(most, number, device), torch.ones(most, dtype=torch.bool, device=device)
    else:
        among = _spread(CANDIDATES, number, device) if number > CANDIDATES else None
        up_to = (counts.reshape(-1) if among is None else counts[_unravelled(among, shape)]).long().cumsum(0)
        ranks = torch.arange(most, device=device)
        ranks = torch.where(up_to[-1] > most, _spread(most, up_to[-1], device), ranks)
        valid = ranks < up_to[-1]
        places = torch.searchsorted(up_to, ranks + 1).clamp(max=len(up_to) - 1)
        places = places if among is None else among[places]
    return _unravelled(places, shape), valid


def _spread(most: int, number: Any, device: torch.device) -> torch.Tensor:
    """Of ``number`` places one in each of ``most`` equal parts.

    Where in its part follows the golden ratio, so that steps of an axis, such as trials, do not
    coincide with parts.
    """
    part = torch.arange(most, device=device)
    return (part * 1024 + part * 633 % 1024) * number // (most * 1024)


def _unravelled(places: torch.Tensor, shape: Sequence[int]) -> tuple[torch.Tensor, ...]:
    indices = []
    for size in reversed(shape):
        indices.append(places % size)
        places = places // size
    return tuple(reversed(indices))


def given_targets(targets: Any) -> torch.Tensor | None:
    """Targets as a tensor: arrays and lists as they are, packed sequences by their data; None for
    anything else.
    """
    if isinstance(targets, PackedSequence):
        return targets.data
    if isinstance(targets, torch.Tensor):
        return targets
    try:
        # a copy: torch takes no array that is reversed, and warns of one that cannot be written
        return torch.as_tensor(np.array(targets) if isinstance(targets, np.ndarray) else targets)
    except (TypeError, ValueError, RuntimeError):
        return None


def given_states(states: Any) -> list[torch.Tensor] | None:
    """Hidden states as tensors; None for what is none. Of a pair (h, c) of one shape, as of an
    LSTM, h; of other tuples and lists all; of packed sequences the data.
    """
    if isinstance(states, PackedSequence):
        return [states.data]
    if isinstance(states, tuple) and len(states) == 2 and all(isinstance(one, torch.Tensor) for one in states):
        states = list(states[: 1 if states[0].shape == states[1].shape else 2])
    if isinstance(states, list | tuple) and any(isinstance(one, torch.Tensor | list | tuple) for one in states):
        parts = [given_states(one) for one in states]
        return [t for part in parts for t in part or ()] if all(parts) else None
    found = given_targets(states)
    return None if found is None else [found]


def state_saturation(states: Any) -> torch.Tensor:
    """Share of hidden states beyond 0.99 in absolute value; of several tensors of all numbers."""
    shares: list[torch.Tensor] = []
    numbers: list[int] = []
    for h in (one.detach() for one in (given_states(states) or ())):
        where = None if h.numel() <= WHOLE else _places(h.shape, NUMBERS, None, h.device)
        numbers.append(h.numel())
        h = h if where is None else h[where[0]]
        shares.append((h.abs() > 1 - BOUND).float().mean().to(shares[0].device if shares else h.device))
    total = max(sum(numbers), 1)
    return torch.stack([share * number / total for share, number in zip(shares, numbers, strict=True)]).sum()
