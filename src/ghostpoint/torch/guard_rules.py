"""What a guard accepts, as numbers: one rule for a batch that stays, one for batches that are drawn
afresh.
"""

from __future__ import annotations

from dataclasses import dataclass

from ghostpoint import checks
from ghostpoint.numerics.rises import Rises

__all__ = ["FixedBatch", "FreshBatches"]

#: parameters from which on the secants of the default are few and compact
LARGE = 1_000_000
#: up to there: numbers in all of them (32 MB in float32), and how many they are at most
NUMBERS, MOST = 8_000_000, 32


@dataclass(frozen=True)
class FixedBatch(Rises):
    """The rule for training on the whole data set, or on one batch, over and over.

    With L and o the loss and the outputs before the update, L1 and o1 those after it, L_best the
    lowest loss so far and D a distance of outputs (:mod:`ghostpoint.torch.distances`), an update is
    accepted if

        D(o, o1) <= kappa**2 L   and   L1 <= L_best (1 + jump clip(1 - L_best / L_first, 0, 1)).

    (Measured against L in place of L_best, rises of a fifth each carried one network from 0.06 of
    chance back to 0.7.)

    The factor is multiplied by ``raised`` after an accepted update, or by less: to where D, which
    is quadratic in it, would be 0.81 of its limit. If D was larger than that of the update before,
    it is expected to be larger by the same ratio again (:func:`ghostpoint.numerics.rises.room`).
    Where all lengths down to rounding were refused, the next updates have at most one trial each:
    the first sixteen, and then every eighth (:func:`ghostpoint.numerics.rises.is_tried`); the
    others leave the parameters where they are. The lengths fill all between rounding and the limit
    evenly, in logarithms (:func:`ghostpoint.numerics.rises.spread`), until one is accepted that is
    more than a hundred times rounding. A length that is refused there leaves the factor as it was.

    D may always be as large as D_r, what rounding of the outputs explains, and the root of L1 may
    be larger by half of that of D_r where L is no larger than D_r, but L1 at most ten times. D_r is
    not known of a distance of one's own.

    A negative loss is no measure of what is left to learn. Its unit for D is then the larger of |L|
    and |L_first| / 10, and the guard warns once. :class:`FreshBatches` does the same.

    Accepted or not decides the factor of the next trial. Stiff directions come from secants of the
    gradient (:mod:`ghostpoint.torch.secants`). The optimizer gets the gradient without its part
    along them, so that its momenta and its averages of squares are those of what is left to do.
    Down a stiff direction the update goes by Newton's step, or at the rate of the optimizer's
    update where that is shorter. Where parameter groups have rates of their own, directions and
    steps are those of ``theta / sqrt(rate)``: what learns slowly, or not at all, does so still.

    Where no update may raise the loss, a network can stay on a plateau for ever. So one is *stuck*
    if L_best is above half of L_first and has not fallen by the share ``gain`` in ``patience``
    updates. There an update may raise the loss to L_best (1 + gain), and ``stuck`` is its limit in
    place of ``cap``.

    A decoupled decay of the weights (AdamW; NAdam, RAdam and Adam with
    ``decoupled_weight_decay=True``; Adafactor, Muon) is no step along the loss: the factor does not
    multiply it. It is made at the optimizer's own rate beside the stiff directions, or less. After
    a refusal it shrinks by what the factor shrinks by, and grows again with it up to its own rate.

    Parameters
    ----------
    kappa : float
        How far outputs may move, relative to the root of the loss.
    jump : float
        By what share the loss may exceed its lowest value where that is far below the first one.
    cap : float
        How far the parameters may move beside the stiff directions in one update, relative to their
        norm.
    growth : float
        Largest factor of the optimizer's update.
    raised : float
        What the factor is multiplied by after an accepted update, or less where the outputs would
        then move too far.
    held : float
        Least share of the factor that is left after an update of which a smaller part was accepted.
    secants : int, optional
        Pairs of gradient and parameter differences that are kept. By default as many as take 32 MB
        in float32 and at most 32 for up to a million parameters, 4 for more.
    compact : bool, optional
        Whether they are stored in 8 bits a number: four then take the memory of one copy of the
        parameters. By default for more than a million parameters.
    tries : int
        Trials of one update before the parameters stay where they are.
    stuck : float
        ``cap`` where a network is stuck, if that is more.
    patience : int
        Updates without a gain after which a network is stuck.
    gain : float
        By what share the lowest loss must fall to be a gain, and may be exceeded where a network is
        stuck.
    """

    kappa: float = 0.5
    jump: float = 0.2
    cap: float = 0.02
    growth: float = 1000.0
    raised: float = 1.25
    held: float = 0.5
    secants: int | None = None
    compact: bool | None = None
    tries: int = 8
    stuck: float = 0.05
    patience: int = 50
    gain: float = 0.01

    def __post_init__(self) -> None:
        for name in ("kappa", "cap", "stuck"):
            checks.number(name, getattr(self, name), above=0, allow_inf=True)
        checks.integer("patience", self.patience, at_least=1)
        checks.number("gain", self.gain, at_least=0)
        checks.number("jump", self.jump, at_least=0)
        checks.number("growth", self.growth, above=0)
        checks.number("raised", self.raised, above=1)
        checks.number("held", self.held, at_least=0, at_most=1)
        if self.secants is not None:
            checks.integer("secants", self.secants, at_least=0)
        checks.integer("tries", self.tries, at_least=1)

    def memory(self, parameters: int) -> tuple[int, bool]:
        """How many secants are kept of so many parameters, and whether in 8 bits a number."""
        large = parameters > LARGE
        fitting = 4 if large else min(MOST, NUMBERS // max(parameters, 1))
        secants = fitting if self.secants is None else self.secants
        return secants, large if self.compact is None else self.compact


@dataclass(frozen=True)
class FreshBatches:
    """The rule for mini-batches, judged on the batch of the update itself.

    An update is accepted if

        D(o, o1) <= kappa**2 max(L, floor L_first)   and, after ``warm`` updates,   L1 <= L + noise
        sd,

    sd the standard deviation of the loss from batch to batch, from a running average of half the
    squared differences of successive losses. The factor never exceeds 1: an update that is neither
    limited nor refused is the optimizer's own, to the last bit.

    Three limits come before the trial.

    *The gradient* g is shortened to ``clip`` times the median norm of the last ``norms`` gradients.
    A network that has become chaotic has gradients whose norms lie decades apart. The few large
    ones would fill the averages of an optimizer, and steps along them lead nowhere.

    *The length*: the update goes ``p min(1, r |theta| / |d|)`` of the optimizer's update d, with

        r = cap sqrt(e / (e + flat)) sqrt(min(1, L / L_mean)),   e = |g| |theta| / L,

    e and L running averages, L_mean the geometric mean of all losses so far. e is the share of the
    loss that a step as long as the parameters would change, to first order. In the no-learning zone
    it is near 1: updates are noise there, and long ones make the weights of the recurrent layer
    grow until the network is chaotic. Once the loss falls below what it was, updates become shorter
    with its root, the unit of distances of outputs. |theta| is at least half of the norm that
    PyTorch's initial values of these shapes have: a new head may begin at zero.

    *The pace* p <= 1 is learned from the next batch. Its gradient is independent of the update u
    that was made, and the mean of g.u is the slope of the loss along u where u ends. It is positive
    if u went past the lowest loss on its way, whether the rate is too high or u is the noise of its
    batch. With c = g.u / |g| |u|,

        p <- min(1, p exp(-slowing (x - overshoot))),
        x = c / rms(c) min(1, rms(g.u / L) / share).

    The last factor keeps a slope from counting that is a small part of the loss, as on a plateau. A
    refusal counts as x = 3.

    The pace is for rates that are too high, and these are known by the cap. With m the smallest
    value so far of a running average of min(1, r |theta| / |d|), p is at least slowest m. (At a
    gentle rate the slope where updates end is positive too, since they bounce across stiff
    directions. Shorter ones only learn more slowly there.)

    That is hypergradient descent on the rate (A. G. Baydin, R. Cornish, D. Martinez Rubio,
    M. Schmidt and F. Wood, "Online learning rate adaptation with hypergradient descent", ICLR
    2018), with a slope in the unit of its own scatter. A gradient shortened to what is usual for
    the training is AutoClip's (P. Seetharaman, G. Wichern, B. Pardo and J. Le Roux, "AutoClip:
    adaptive gradient clipping for source separation networks", MLSP 2020).

    Parameters
    ----------
    kappa, raised, tries
        As for :class:`FixedBatch`.
    floor : float
        The share of the first loss from which down the outputs may move as far as there. A move
        that small loses no network, and forbidding it keeps the last part of the loss from falling.
    noise : float
        By how many standard deviations the loss of the batch may rise.
    warm : int
        Updates before the rise of the loss is judged, and before the pace is learned.
    average : float
        Weight of the past in running averages.
    clip : float
        Largest norm of a gradient, in medians of the last ones; ``inf`` for no limit.
    norms : int
        How many norms the median is of.
    cap : float
        How far the parameters may move in one update, relative to their norm, where the loss is
        steep and as high as in the mean; ``inf`` for no limit.
    flat : float
        The slope e below which the loss is flat, and updates are shorter; 0 for the cap at every
        slope.
    overshoot : float
        The mean slope that is aimed at, in units of its root mean square; ``inf`` for a pace of 1.
        With 0.1 the last part of the loss falls slowly.
    slowing : float
        How fast the pace follows.
    share : float
        The part of the loss by which the slope along updates must scatter to count in full; 0
        counts every slope in full.
    slowest : float
        The least pace, in units of m: with 1 the pace slows a rate no more than the cap did; 0 for
        no limit.
    """

    kappa: float = 0.5
    floor: float = 0.1
    noise: float = 1.0
    warm: int = 20
    average: float = 0.98
    clip: float = 1.0
    norms: int = 50
    cap: float = 0.05
    flat: float = 30.0
    overshoot: float = 0.03
    slowing: float = 0.02
    share: float = 0.05
    slowest: float = 1.0
    raised: float = 1.25
    tries: int = 8

    def __post_init__(self) -> None:
        for name in ("kappa", "cap", "noise", "clip"):
            checks.number(name, getattr(self, name), above=0, allow_inf=True)
        for name in ("flat", "share"):
            checks.number(name, getattr(self, name), at_least=0)
        for name in ("floor", "average", "slowest"):
            checks.number(name, getattr(self, name), at_least=0, at_most=1)
        checks.number("overshoot", self.overshoot, allow_inf=True)
        checks.number("slowing", self.slowing, at_least=0)
        checks.number("raised", self.raised, above=1)
        checks.integer("warm", self.warm, at_least=0)
        checks.integer("norms", self.norms, at_least=1)
        checks.integer("tries", self.tries, at_least=1)
