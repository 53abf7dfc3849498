"""What the comparison of remedies claims, from its saved dataset."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from ghostpoint.experiments.remedy_runs import SOLVED
from ghostpoint.experiments.shared.base import Claim, judge, own_claim
from ghostpoint.experiments.shared.shares import share

SOURCE = "this project"
claim = partial(own_claim, source=SOURCE)
REGION, GUARD, PLAIN = "trust region", "guard", "plain"
AFTERWARDS = ("rewind", "reduced rate")
#: the problem of which only some trials want a crossing
MATCH = "DMTS"
#: least share of networks to be solved at a rate: of all, and where a run of 12,000 epochs is
#: mostly plateau
NEARLY_ALL, NEARLY_ALL_AT_CRITICAL, CRITICAL = 0.99, 0.95, 0.02
#: networks of which a few that are lost are a percentage that shows
ENOUGH = 100


@dataclass(frozen=True)
class Row:
    """One treatment of one problem by one optimiser at one rate: counts and medians over its
    networks.

    ``solved``: final loss below :data:`SOLVED` of chance. ``epoch``: median first epoch below it,
    infinite where half of the networks never get there. ``loss``: median final loss, in units of
    chance, NaN counting as infinite.
    """

    problem: str
    optimizer: str
    treatment: str
    rate: float
    epochs: int
    networks: int
    above_chance: int
    learned: int
    lost: int
    solved: int
    epoch: float
    loss: float
    acted: float


def rows_of(dataset: xr.Dataset, problem: str = "", optimizer: str = "", treatment: str = "") -> list[Row]:
    """The rows of a dataset, those of some problem, optimiser and treatment if named, rates
    ascending.
    """
    rows = []
    for case in range(dataset.sizes["case"]):
        one = dataset.isel(case=case)
        names = (str(one[name].item()) for name in ("problem", "optimizer", "treatment"))
        if any(wanted not in ("", given) for wanted, given in zip((problem, optimizer, treatment), names, strict=True)):
            continue
        rows.append(_row(one))
    return sorted(rows, key=lambda row: row.rate)


def _row(one: xr.Dataset) -> Row:
    networks = int(one["networks"])
    own = one.isel(network=slice(0, networks))
    final = np.nan_to_num(own["final_loss"].values, nan=np.inf)
    first = own["first_solved"].values
    names: Any = {name: str(one[name].item()) for name in ("problem", "optimizer", "treatment")}
    counts: Any = {name: int(own[name].sum()) for name in ("above_chance", "learned", "lost")}
    return Row(
        **names,
        **counts,
        rate=float(one["learning_rate"]),
        epochs=int(one["epochs"]),
        networks=networks,
        solved=int((final < SOLVED).sum()),
        epoch=float(np.median(np.where(first < 0, np.inf, first))),
        loss=float(np.median(final)),
        acted=float(own["acted"].mean()),
    )


def total(rows: list[Row], name: str) -> int:
    """A count, over all rows."""
    return sum(getattr(row, name) for row in rows)


def best_clip(rows: list[Row], name: str = "loss") -> Row | None:
    """The row of the threshold that solves most networks (within one of them), and of these has the
    lowest ``name``.
    """
    clips = [row for row in rows if row.treatment.startswith("clip ")]
    if not clips:
        return None
    most = max(row.solved / row.networks for row in clips)
    good = [row for row in clips if row.solved / row.networks >= most - 1 / row.networks]
    return min(good, key=lambda row: (getattr(row, name), row.treatment))


def claims_of(dataset: xr.Dataset) -> list[Claim]:
    """What the trust region does at every rate, beside clipping, Adam, the other remedies, and on
    other problems.
    """
    main = str(dataset["problem"].values[0])
    rows = rows_of(dataset, main)
    variants = sorted({row.treatment for row in rows if row.treatment.startswith(f"{REGION}, ")})
    tried = [REGION, *variants, *[GUARD] * any(row.treatment == GUARD for row in rows)]
    return [
        *(each for name in tried for each in _everywhere(rows, name)),
        _beside_clipping(rows),
        _beside_adam(rows, variants),
        _tuned(rows),
        _proxy(rows),
        _others(rows),
        _rewind(rows),
        _combined(rows),
        *(_elsewhere(dataset, main, name) for name in tried),
        _guard_or_region(dataset, [name for name in tried if name != GUARD]),
    ]


def _everywhere(rows: list[Row], treatment: str) -> list[Claim]:
    """One treatment at all rates of both optimisers: does it lose networks, and do nearly all solve
    the task?
    """
    mine = [row for row in rows if row.treatment == treatment and not row.rate < _least(row)]
    plain = _plain_beside(rows, mine)
    enough = [row.solved >= _enough(row) * row.networks for row in mine]
    short = [_named(row, row.solved) for row, ok in zip(mine, enough, strict=True) if not ok]
    lost, learned = total(mine, "lost"), total(mine, "learned")
    rates = f"{len(mine)} settings, SGD {_span(mine, 'sgd')} and Adam {_span(mine, 'adam')}"
    return [
        claim(
            f"With one setting for all rates, the {treatment} loses no network that has learned.",
            rule="No network is lost. Learned: at some epoch an accuracy above the middle between chance and 1. Lost: "
            "at none of the last 50 epochs above chance.",
            measured=f"{share(lost, learned)} over {rates}; plain: "
            f"{share(total(plain, 'lost'), total(plain, 'learned'))}",
            verdict=judge(lost == 0, testable=learned > 0),
        ),
        claim(
            f"With one setting for all rates, the {treatment} lets nearly all networks solve the task.",
            rule=f"Solved: a loss below {SOLVED:g} of chance (median of the last 50 epochs). Nearly all: "
            f"{NEARLY_ALL:.0%} at every rate, {NEARLY_ALL_AT_CRITICAL:.0%} at SGD {CRITICAL:g}. Half that rate is not "
            "claimed about.",
            measured=f"{share(total(mine, 'solved'), total(mine, 'networks'))} over {rates}; "
            + (f"short of it: {'; '.join(short)}" if short else "no rate falls short"),
            verdict=judge(all(enough), testable=bool(mine)),
        ),
    ]


def _plain_beside(rows: list[Row], mine: list[Row]) -> list[Row]:
    """The rows without a remedy at the optimisers and rates of ``mine``."""
    tried = {(row.optimizer, row.rate) for row in mine}
    return [row for row in rows if row.treatment == PLAIN and (row.optimizer, row.rate) in tried]


def _least(row: Row) -> float:
    """The lowest rate that is claimed about: of plain gradient descent the critical one."""
    return 0.999 * CRITICAL if row.optimizer == "sgd" else 0.0


def _enough(row: Row) -> float:
    near = row.optimizer == "sgd" and row.rate < 1.001 * CRITICAL
    return NEARLY_ALL_AT_CRITICAL if near else NEARLY_ALL


def _span(rows: list[Row], optimizer: str) -> str:
    rates = [row.rate for row in rows if row.optimizer == optimizer]
    return f"{min(rates):g} to {max(rates):g}" if rates else "at no rate"


def _named(row: Row, count: int | None = None) -> str:
    name = {"sgd": "SGD", "adam": "Adam"}.get(row.optimizer, row.optimizer)
    return f"{name} {row.rate:g}" + ("" if count is None else f": {count} of {row.networks}")


def _pairs(rows: list[Row], treatment: str, name: str) -> list[tuple[Row, Row]]:
    """The treatment's row and the best clipping's by ``name``, per rate at which both were
    tried.
    """
    found = []
    for mine in (row for row in rows if row.treatment == treatment):
        same = [row for row in rows if (row.optimizer, row.rate) == (mine.optimizer, mine.rate)]
        clip = best_clip(same, name)
        if clip is not None:
            found.append((mine, clip))
    return found


def _beside_clipping(rows: list[Row]) -> Claim:
    """Compare final losses with those of clipping, at each rate with the best threshold for it."""
    pairs = _pairs(rows, REGION, "loss")
    quick = {(mine.optimizer, mine.rate): clip for mine, clip in _pairs(rows, REGION, "epoch")}
    ratios = [mine.loss / clip.loss for mine, clip in pairs]
    listed = [f"{_named(mine)}: {mine.loss:.2g} to {clip.loss:.2g} ({clip.treatment})" for mine, clip in pairs]
    soonest = [f"{_named(mine)}: {mine.loss / quick[mine.optimizer, mine.rate].loss:.2g}" for mine, _ in pairs]
    return claim(
        "The trust region's median final loss is at most a fifth of what clipping at the best threshold gives.",
        rule="The ratio is at most 0.2 at every rate. Best: of the thresholds that solve most, the one of the lowest "
        "loss, so each rate has one of its own.",
        measured=f"{sum(ratio <= 0.2 for ratio in ratios)} of {len(ratios)} settings; largest ratio "
        f"{max(ratios, default=np.nan):.2g}. " + "; ".join(listed),
        verdict=judge(all(ratio <= 0.2 for ratio in ratios), testable=bool(ratios)),
        note="Ratio to the threshold that solves soonest instead: " + "; ".join(soonest) + ".",
    )


def _beside_adam(rows: list[Row], variants: list[str]) -> Claim:
    """Compare the epochs until the task is solved with those of plain Adam, each at its best
    rate.
    """
    best = {name: _soonest([row for row in rows if row.treatment == name]) for name in (REGION, *variants)}
    adam = _soonest([row for row in rows if (row.treatment, row.optimizer) == (PLAIN, "adam")])
    mine = best[REGION]
    return claim(
        "At its best rate the trust region solves no later than plain Adam at its best.",
        rule=f"The median epoch is no later. Best: the soonest of the rates that solve nearly all, which takes "
        f"{ENOUGH} networks to say.",
        measured=f"median epoch {_when(mine)}; plain Adam {_when(adam)}",
        verdict=judge(
            mine is not None and adam is not None and mine.epoch <= adam.epoch,
            testable=adam is not None and adam.networks >= ENOUGH,
        ),
        note="; ".join(f"{name}: {_when(row)}" for name, row in best.items() if name != REGION),
    )


def _soonest(rows: list[Row]) -> Row | None:
    fine = [row for row in rows if row.solved >= NEARLY_ALL * row.networks]
    return min(fine, key=lambda row: row.epoch, default=None)


def _when(row: Row | None) -> str:
    return "none, as no rate solves nearly all" if row is None else f"{row.epoch:g} ({_named(row)})"


def _tuned(rows: list[Row]) -> Claim:
    """Whether one clipping threshold serves all rates."""
    names = list(dict.fromkeys(row.treatment for row in rows if row.treatment.startswith("clip ")))
    tried = {name: [row for row in rows if row.treatment == name] for name in names}
    fine = {name: [row for row in mine if row.solved >= NEARLY_ALL * row.networks] for name, mine in tried.items()}
    listed = [f"{name}: {', '.join(_named(row) for row in fine[name]) or 'nowhere'}" for name in names]
    return claim(
        "No single clipping threshold serves all rates.",
        rule="With every threshold there is a rate at which not nearly all networks solve the task.",
        measured=f"rates at which a threshold lets nearly all networks solve the task: {'; '.join(listed)}",
        verdict=judge(all(len(fine[name]) < len(tried[name]) for name in names), testable=len(names) > 1),
        note="Elsewhere networks are lost (a threshold too high for the rate) or stay on the plateau (too low).",
    )


def _proxy(rows: list[Row]) -> Claim:
    """Does the hazard limit, which needs no backward pass, keep the networks?"""
    mine = [row for row in rows if row.treatment == "hazard limit"]
    lost, learned = total(mine, "lost"), total(mine, "learned")
    return claim(
        "The cheap proxy of the hazard, by the loss's own gradient, is no substitute: it loses networks.",
        rule="More than 5 % of the networks that learn are lost.",
        measured=f"{share(lost, learned)} that learned are lost with the hazard limit; "
        f"{share(total(mine, 'solved'), total(mine, 'networks'))} solved",
        verdict=judge(lost > 0.05 * learned, testable=learned > 0),
        note="A step that moves the crossing from one sample of the time grid to the next is not in the loss's "
        "gradient.",
    )


def _combined(rows: list[Row]) -> Claim:
    """Does the trust region still keep all networks when clipping or a hazard limit is added?"""
    names = [name for name in dict.fromkeys(row.treatment for row in rows) if name.startswith(f"{REGION} + ")]
    listed, fine = [], []
    for name in names:
        mine = [row for row in rows if row.treatment == name]
        alone = {(row.optimizer, row.rate): row for row in rows if row.treatment == REGION}
        pairs = [(row, alone[row.optimizer, row.rate]) for row in mine if (row.optimizer, row.rate) in alone]
        ratios = [row.loss / other.loss for row, other in pairs]
        times = [row.epoch / other.epoch for row, other in pairs if np.isfinite(row.epoch + other.epoch)]
        fine.append(total(mine, "lost") == 0)
        listed.append(
            f"{name}: lost {_of(mine, 'lost', 'learned')}, solved {_of(mine, 'solved', 'networks')}; beside the trust "
            f"region alone, median over rates, loss times {np.median(ratios or np.nan):.2g}, epochs times "
            f"{np.median(times or np.nan):.2g}"
        )
    return claim(
        "Clipping or a hazard limit can be added to the trust region without losing a network.",
        rule="No network is lost with either, at any rate.",
        measured="; ".join(listed) if listed else "not tried at this scale",
        verdict=judge(all(fine), testable=bool(fine)),
    )


def _others(rows: list[Row]) -> Claim:
    """Do the remedies that do not limit the update keep all networks, each at the rates it was
    tried at?
    """
    names = [name for name in dict.fromkeys(row.treatment for row in rows) if not _limits(name)]
    return own_claim(
        "A lower or rising confidence and spare ranks, each at the same rate, do not keep every network.",
        source=SOURCE + "; Figs. 6B and 8 for confidence and ranks",
        rule="With each of them some network is lost.",
        measured="; ".join(_beside_plain(rows, name) for name in names) if names else "not tried at this scale",
        verdict=judge(
            all(total([row for row in rows if row.treatment == name], "lost") > 0 for name in names),
            testable=bool(names),
        ),
        note="Over the rates at which each was tried, which differ. With a lower confidence the loss is that of the "
        "less confident readout.",
    )


def _limits(name: str) -> bool:
    return name in (PLAIN, GUARD, "hazard limit", *AFTERWARDS) or name.startswith(("clip ", REGION))


def _beside_plain(rows: list[Row], name: str) -> str:
    """Counts of lost and solved networks with a treatment, and without it at the same rates."""
    mine = [row for row in rows if row.treatment == name]
    plain = _plain_beside(rows, mine)
    return (
        f"{name}: lost {_of(mine, 'lost', 'learned')}, solved {_of(mine, 'solved', 'networks')} (plain: "
        f"{_of(plain, 'lost', 'learned')}, {_of(plain, 'solved', 'networks')})"
    )


def _rewind(rows: list[Row]) -> Claim:
    """After a network is lost: compare a return to its best parameters with a smaller step
    alone.
    """
    back, slower = ([row for row in rows if row.treatment == name] for name in AFTERWARDS)
    return claim(
        "Going back to the best parameters with a smaller step recovers networks that the smaller step alone does not.",
        rule="More networks solve the task at the end.",
        measured="; ".join(_beside_plain(rows, name) for name in AFTERWARDS)
        if back and slower
        else "not tried at this scale",
        verdict=judge(total(back, "solved") > total(slower, "solved"), testable=bool(back and slower)),
        note="Both act when a network has been at chance for 50 epochs.",
    )


def _elsewhere(dataset: xr.Dataset, main: str, treatment: str) -> Claim:
    """Does the treatment keep the networks of the other problems too?"""
    listed, fine = [], []
    for problem in dict.fromkeys(str(name) for name in dataset["problem"].values):
        mine, plain = rows_of(dataset, problem, "", treatment), rows_of(dataset, problem, "", PLAIN)
        if problem == main or not mine:
            continue
        fine.append(total(mine, "lost") == 0 and total(mine, "solved") >= NEARLY_ALL * total(mine, "networks"))
        listed.append(
            f"{problem}: lost {_of(mine, 'lost', 'learned')}, solved {_of(mine, 'solved', 'networks')} (plain: "
            f"{_of(plain, 'lost', 'learned')}, {_of(plain, 'solved', 'networks')})"
        )
    return claim(
        f"The {treatment} does so for other delays, confidences, ranks and tasks too, with the same setting.",
        rule=f"Over all rates of both optimisers none is lost and {NEARLY_ALL:.0%} are solved, on every problem.",
        measured="; ".join(listed) if listed else "not tried at this scale",
        verdict=judge(all(fine), testable=bool(fine)),
        note=f"It is so for {sum(fine)} of {len(fine)} problems.",
    )


def _guard_or_region(dataset: xr.Dataset, regions: list[str]) -> Claim:
    """Which of the guard and the trust regions solves more of match to sample, and in how many
    epochs?
    """
    found = {name: rows_of(dataset, MATCH, "", name) for name in (GUARD, *regions)}
    mine = found.pop(GUARD)
    others = {name: rows for name, rows in found.items() if rows}
    solved = {name: total(rows, "solved") / total(rows, "networks") for name, rows in others.items()}
    mine_solved = total(mine, "solved") / total(mine, "networks") if mine else np.nan
    pairs = [
        (one, same)
        for one in mine
        for rows in others.values()
        for same in rows
        if (same.optimizer, same.rate) == (one.optimizer, one.rate)
    ]
    listed = [f"{name}: {_of(rows, 'solved', 'networks')}" for name, rows in {GUARD: mine, **others}.items()]
    sooner = sum(one.epoch < same.epoch for one, same in pairs)
    return claim(
        "On match to sample, where answers without a crossing share the weights, the guard solves more networks than "
        "any trust region, in fewer epochs.",
        rule="More are solved over all rates, and at every rate the median epoch is the first.",
        measured=f"solved: {'; '.join(listed)}; sooner in {sooner} of {len(pairs)} comparisons at one rate"
        if pairs
        else "not tried at this scale",
        verdict=judge(sooner == len(pairs) and all(mine_solved > one for one in solved.values()), testable=bool(pairs)),
    )


def _of(rows: list[Row], part: str, whole: str) -> str:
    return f"{total(rows, part)} of {total(rows, whole)}"
