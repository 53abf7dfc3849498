"""The arguments of the kernels, in records that Numba passes as what they hold.

A record costs nothing inside compiled code: its fields become arguments of their own. All arrays
are C-contiguous; aligned to 64 bytes is faster. Floats without another type have the state's type.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Shape(NamedTuple):
    """Sizes of a network and its trials, and codes of what it computes (all int).

    N units, K latents (not read at full rank), I inputs, O outputs; the trials come in ``chunks``
    of ``trials`` each. ``readout`` is an index into ``low_rank_passes.READOUTS`` (not read at full
    rank), ``activation`` and ``read_out`` are indices into ``epoch.ACTIVATIONS`` and
    ``epoch.READ_OUTS``.
    """

    units: int
    latents: int
    inputs: int
    outputs: int
    readout: int
    chunks: int
    trials: int
    steps: int
    activation: int
    read_out: int


class Task(NamedTuple):
    """What is asked of a network.

    ``alpha`` is dt / tau. An output is right when it is above as many of ``thresholds`` as its
    target or, where ``tolerance`` is positive, closer to it than that. ``inputs`` is (rows, steps B
    I), ordered by step, trial and channel; ``targets``, ``weights`` (of the squared error) and
    ``counted`` (0 or 1, in the accuracy) are (rows, outputs padded), zero in the padding:
    step-and-trial ``k = step B + trial`` of output o is at ``o padded + k``, ``padded`` being
    ``steps B`` rounded up to whole vectors. Epoch k takes row ``k mod rows``. ``chance_accuracy``
    and ``solved_loss`` (float64) define events.
    """

    alpha: Any
    tolerance: Any
    thresholds: Any
    inputs: Any
    targets: Any
    weights: Any
    counted: Any
    chance_accuracy: float
    solved_loss: float


class Draws(NamedTuple):
    """Initial states and noise, fixed or drawn anew every epoch.

    ``initial`` is (rows, B plane) and ``noise`` is (rows, steps B plane), epoch k taking row
    ``k mod rows``; no rows of noise means none. With ``spread > 0`` the initial rates are instead
    ``tanh(spread normal)``, with ``sigma > 0`` the noise is ``sigma normal``: both functions of
    ``(seed, epoch)`` alone (``numerics/random.py``), with a seed of 64 bits.
    """

    initial: Any
    noise: Any
    spread: float
    sigma: float
    seed: int


class Weights(NamedTuple):
    """One network: its flat ``state``, and what of it is trained.

    ``first`` and ``second`` are the optimiser's moments, zero at epoch 0 and shaped like the state
    (any array where the rule has none). ``segments`` (int64) lists what is trainable as ``updates``
    says; ``trainable`` has a flag for each part of the kernel's ``PARTS``. Where ``readout_norm``
    is positive, W_out has this L1 norm before every epoch (b_out is scaled by the same factor).
    ``kappa_star`` is the threshold of a readout by the confidence.
    """

    state: Any
    first: Any
    second: Any
    segments: Any
    trainable: Any
    readout_norm: Any
    kappa_star: Any


class LaneWeights(NamedTuple):
    """A block of low-rank networks, one per lane, trained by plain gradient descent.

    ``rates`` (float64) and ``kappa_star`` have a value per network, ``initial`` is (units,)
    vectors, the x[0] of every trial. The rest as in :class:`Weights`.
    """

    state: Any
    rates: Any
    segments: Any
    trainable: Any
    kappa_star: Any
    initial: Any


class RankOneWeights(NamedTuple):
    """Rank-one networks that are trained together, or one alone.

    ``state`` is flat: the planes m, n, b and x[0]. ``confidence`` c, ``threshold`` kappa* and
    ``rate`` have a value per network; ``trainable`` has a flag for m, n, b and c. Unit vectors
    ``partials[p]`` to ``partials[p + 1] - 1`` of a plane belong to partial sum p.
    """

    state: Any
    confidence: Any
    threshold: Any
    rate: Any
    trainable: Any
    partials: Any


class Rule(NamedTuple):
    """An optimiser: its index in ``optimizers.RULES`` and the numbers ``optimizers.SETTINGS``
    (float64).
    """

    code: int
    settings: Any


class Watch(NamedTuple):
    """What a trust region and a hazard limit look at; see ``trust.py``.

    ``crossings`` (C, 5) int64, ``marks`` (C, 2) and ``region`` are float64, ``seen`` is
    ``C`` rows (per network) of ``trust.row_size(C)`` numbers, any content.
    """

    crossings: Any
    marks: Any
    region: Any
    seen: Any


class Recorder(NamedTuple):
    """What a kernel writes down.

    ``cursor`` holds the next index into ``record_epochs`` and ``snapshot_epochs``; ``history`` is
    (recorded epochs, QUANTITIES, networks), ``snapshots`` (checkpoints, parameters), ``events``
    (EVENTS, networks) int64, -1 for never. ``acted`` counts per network the epochs in which a
    remedy changes the update. ``now`` (QUANTITIES, networks) is what the last epoch saw. Loss,
    gradient norm (of what is trainable, before clipping) and accuracy are those before the update.
    ``logits`` gets those of the last epoch, ordered as ``Task.targets``, all chunks one after the
    other; empty, it gets none.
    """

    record_epochs: Any
    snapshot_epochs: Any
    cursor: Any
    history: Any
    snapshots: Any
    events: Any
    acted: Any
    now: Any
    logits: Any
