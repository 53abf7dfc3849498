"""Shares of networks: their interval, and what "most", "nearly all" and "hardly any" networks means
in every claim.

A statement about networks is judged by the share of those that were tried and the share's 95 %
interval by Wilson's score (E. B. Wilson, Probable inference, the law of succession, and statistical
inference, Journal of the American Statistical Association 22, 209-212, 1927), never by one network
that happens to do as stated.
"""

from __future__ import annotations

from scipy.stats import binomtest

from ghostpoint.experiments.shared.base import Verdict, judge

MOST, NEARLY_ALL, HARDLY_ANY = 0.5, 0.9, 0.05
#: the fewest networks of which all, or none, lie on one side of a half with their whole interval
ENOUGH = 4

#: the sentences that close a rule
MOST_OF = "Most: the 95 % interval of their share (Wilson) lies above 50 %."
NEARLY_ALL_OF = "Nearly all: a share of at least 90 %, its 95 % interval (Wilson) above 50 %."
HARDLY_ANY_OF = "Hardly any: a share of at most 5 %, its 95 % interval (Wilson) below 50 %."


def interval(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share ``count / total`` by Wilson's score; (0, 1) for a total of 0."""
    if total == 0:
        return 0.0, 1.0
    found = binomtest(count, total).proportion_ci(0.95, "wilson")
    return float(found.low), float(found.high)


def share(count: int, total: int) -> str:
    """``"k of n (p %, 95 % interval a to b %)"``, the interval by Wilson's score."""
    if total == 0:
        return "0 of 0"
    low, high = (100 * limit for limit in interval(count, total))
    return f"{count} of {total} ({100 * count / total:.0f} %, 95 % interval {low:.0f} to {high:.0f} %)"


def most(count: int, total: int) -> bool:
    """Whether most networks do as stated, by :data:`MOST_OF`; never for fewer than
    :data:`ENOUGH`.
    """
    return interval(count, total)[0] > MOST


def nearly_all(count: int, total: int) -> bool:
    """Whether nearly all networks do as stated, by :data:`NEARLY_ALL_OF`."""
    return count >= NEARLY_ALL * total and most(count, total)


def hardly_any(count: int, total: int) -> bool:
    """Whether hardly any network does as stated, by :data:`HARDLY_ANY_OF`."""
    return count <= HARDLY_ANY * total and interval(count, total)[1] < MOST


def judge_share(holds: bool, total: int, testable: bool = True) -> Verdict:
    """The verdict of a claim about ``total`` networks.

    One to three networks cannot decide such a claim. No network at all means that what the claim is
    about did not
    occur: then it does not hold.
    """
    return judge(holds and total > 0, testable and not 0 < total < ENOUGH)
