"""Slow points followed over training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ghostpoint import checks
from ghostpoint.errors import InputError
from ghostpoint.models import FAMILIES, Record
from ghostpoint.numerics.arrays import Floats
from ghostpoint.results import TrainingRun
from ghostpoint.slow_points.fields import NetworkField, network_field
from ghostpoint.slow_points.find import find_slow_points
from ghostpoint.slow_points.ghosts import GhostSolution, ghost_form, is_minimum, solve_ghost
from ghostpoint.slow_points.latents.known_points import known_points, stacked_ghosts
from ghostpoint.slow_points.points import SlowPoints
from ghostpoint.slow_points.proofs import CERTIFIERS, Certificate, Certifier
from ghostpoint.slow_points.tracking.linking import Change, Linker, Node
from ghostpoint.slow_points.tracking.segments import Segment
from ghostpoint.slow_points.tracking.tracks import Event, Tracks
from ghostpoint.tasks import Task


def track_slow_points(
    models: Any,
    epochs: ArrayLike | None = None,
    *,
    network: int = 0,
    loss: ArrayLike | None = None,
    task: Task | None = None,
    inputs: ArrayLike | None = None,
    n_starts: int = 64,
    seed: int = 0,
    certify: bool = True,
) -> Tracks:
    """Every slow point of one network followed over its training, with the births and deaths of
    fixed points.

    At each recorded epoch `find_slow_points` finds them, all with proof where that is possible,
    else from the points of the epoch before among other starts. Between epochs e and e' the weights
    are interpolated, ``(1 - t) weights(e) + t weights(e')``, and each point is followed by
    arclength along the curve that it then makes. That says which point of e' it is, or at which t
    it ends, and in what: see `tracks.EVENTS`. An event's epoch ``e + t (e' - e)`` is exact for that
    interpolation. Training itself takes another way between recorded epochs, so what is known of it
    is the bracket (e, e'), and that only as far as no two events in it cancel. Low-rank networks
    are interpolated in m and n, not in W. Fixed points cannot leave: all have |x| < 1.

    A point that the search misses at an epoch and a curve arrives at is added there (``source``
    "continuation").

    Parameters
    ----------
    models : LowRankRNN, FullRankRNN, another family, or TrainingRun
        A stack of E >= 2 networks, one network at E epochs; or a run with checkpoints.
    epochs : (E,), optional
        Ascending; 0 to E - 1 by default, the run's for a run.
    network : int
        Which network of a run.
    loss : (E,), optional
        At ``epochs``, in units of the loss at chance, unless ``task`` says what chance is. The
        run's for a run.
    task : Task, optional
        Its trials (without noise) are states near which to search in networks above rank three.
    inputs : (I,), optional
        A constant input u; none by default.
    n_starts, seed, certify
        As for `find_slow_points`.

    Raises
    ------
    ValueError
        For fewer than two networks, epochs that do not ascend, arguments that do not fit.

    Examples
    --------
    A growing bias makes two of three fixed points meet, and leaves their ghost:

    >>> import numpy as np
    >>> import ghostpoint as gp
    >>> models = gp.LowRankRNN(m=[[2.0]] * 3, n=[[1.5]] * 3, b=[[0.6], [1.2], [1.4]])
    >>> tracks = gp.track_slow_points(models)
    >>> tracks.count("fixed"), tracks.count("ghost")
    (array([3, 3, 1]), array([0, 0, 1]))
    >>> [event.kind for event in tracks.events]
    ['pair died']
    """
    if isinstance(models, TrainingRun):
        models, epochs, loss_epochs, loss = _of_run(models, network, epochs, loss)
    else:
        loss_epochs = None
    if not isinstance(models, Record):
        accepted = ", ".join([*FAMILIES, "TrainingRun"])
        raise InputError(f"models must be one of {accepted}; got {type(models).__name__}")
    if len(models) < 2:
        raise InputError(f"models must hold one network at two or more epochs, got {len(models)}")
    members = [models[i] for i in range(len(models))]
    networks = [network_field(each, inputs) for each in members]
    if not all(each.low_rank for each in networks):
        # in one coordinate system at every epoch
        whole = models.in_full_state()
        members = [whole[i] for i in range(len(models))]
        networks = [network_field(each, inputs) for each in members]
    starts = checks.integer("n_starts", n_starts, at_least=1)

    def search(i: int, before: Floats) -> SlowPoints:
        # the points of the epoch before, and the states of the task, are among the starts
        near = before if task is None else np.concatenate([before, _states_of_trials(members[i], task)])
        return find_slow_points(
            members[i],
            states=near if len(near) else None,
            inputs=inputs,
            n_starts=starts + 2 * len(before),
            seed=seed,
            noise=0.02,
            certify=certify,
        )

    def already(i: int, stack: Any) -> Any:
        return known_points(members[i], networks[i], inputs, stack, i)

    chance = 1.0 if task is None else task.chance_loss
    return track_fields(
        networks, search, epochs, loss=loss, loss_epochs=loss_epochs, chance=chance, certify=certify, known=already
    )


def track_fields(
    networks: list[NetworkField],
    search: Callable[[int, Floats], SlowPoints],
    epochs: ArrayLike | None = None,
    *,
    loss: ArrayLike | None = None,
    loss_epochs: Any = None,
    chance: float = 1.0,
    certify: bool = True,
    known: Callable[[int, Any], Any] | None = None,
) -> Tracks:
    """:func:`track_slow_points` of fields in one coordinate system, whose arrays can be
    interpolated.

    Parameters
    ----------
    networks : list of NetworkField
        The field of each epoch; ``exact`` has ``between(other, t)``.
    search : function of (index of the epoch, points of the epoch before (P, N)) to SlowPoints
    epochs, loss, certify
        As for :func:`track_slow_points`.
    loss_epochs : array, optional
        Epochs of the loss; ``epochs`` by default.
    chance : float
        Loss at chance.
    known : function of (index of the epoch, stacked ghosts) to known points, optional
        At rank one: what is known of an epoch before any search.
    """
    labels = np.arange(len(networks)) if epochs is None else checks.finite_array("epochs", epochs, np.int64)
    checks.shape("epochs", labels, (len(networks),))
    if (np.diff(labels) <= 0).any():
        raise InputError(f"epochs must ascend, got {labels.tolist()[:20]}")
    curve = None
    if loss is not None:
        loss_epochs = labels if loss_epochs is None else loss_epochs
        curve = checks.shape("loss", checks.finite_array("loss", loss), (len(loss_epochs),)) / chance
    # the points of every epoch, then the branches that join them; certifiers are made when asked
    nodes, complete = _searched(networks, search, known)
    certifiers: dict[tuple[int, str], Certifier] = {}

    def certified(at: int, kappa: Floats, ghost: GhostSolution | None) -> str:
        field, metric = networks[at].exact, networks[at].metric
        for name, kind in CERTIFIERS.items() if certify else ():
            if not kind.in_tracking or not kind.knows(field):
                continue
            if (at, name) not in certifiers:
                certifiers[at, name] = kind(field, metric)
            ends = certifiers[at, name].prove(kappa, ghost, Certificate("undecided"))
            if len(ends) == 1 and ends[0].certificate.kind != "undecided":
                return name
        return "none"

    linker = Linker([each.form_of_weights for each in networks], nodes, complete, certified)
    linker.run()
    return _record(labels, networks, linker, complete, curve, loss_epochs)


def _of_run(run: TrainingRun, network: int, epochs: Any, loss: Any) -> tuple[Any, Any, Any, Any]:
    """The stack, its epochs and the loss of one network of a run."""
    if run.checkpoints is None:
        raise InputError("models must be a run with checkpoints: name their epochs with train(..., checkpoints=...)")
    if epochs is not None or loss is not None:
        raise InputError("epochs and loss must be left out for a run, which has its own")
    if not 0 <= checks.integer("network", network) < len(run.models):
        raise InputError(f"network must be from 0 to {len(run.models) - 1}, got {network}")
    kept = run.checkpoints.isel(network=network)
    parts = {str(name): values.values for name, values in kept.data_vars.items()}
    stack = run.models[network].repeat(kept.sizes["checkpoint"]).replace(**parts)
    history = run.history.isel(network=network)
    finite = np.isfinite(history["loss"].values)
    return stack, kept["epoch"].values, history["epoch"].values[finite], history["loss"].values[finite]


def _searched(
    networks: list[NetworkField],
    search: Callable[[int, Floats], SlowPoints],
    known: Callable[[int, Any], Any] | None,
) -> tuple[list[list[Node]], NDArray[np.bool_]]:
    """Points of every epoch, and whether all fixed points and all ghosts are among them, (E, 2)."""
    nodes: list[list[Node]] = []
    complete = np.zeros((len(networks), 2), bool)
    before: Floats = np.zeros((0, networks[0].n_units))
    # rank one: the ghosts of all epochs in one search, and most epochs need no other
    rank_one = networks[0].low_rank and networks[0].exact.size == 1
    stack = stacked_ghosts(networks) if known is not None and rank_one else None
    for i, network in enumerate(networks):
        given = None if known is None or stack is None else known(i, stack)
        if given is not None and not given.zeros_missing and not given.ghosts_missing:
            listed = sorted(given.zeros + given.ghosts, key=lambda each: each.ghost.speed if each.ghost else -1.0)
            if all(each.arithmetic == "interval" for each in listed):
                nodes.append([Node(each.kappa, each.ghost, "interval", "search") for each in listed])
                complete[i] = True
                before = network.states(np.array([each.kappa for each in listed]))
                continue
        found = search(i, before)
        complete[i] = found.complete.fixed_points, found.complete.ghosts
        found = found[found.kind != "undecided"]
        # a ghost is solved again here: branches start from its bordered system's solution
        row = []
        for k in range(len(found)):
            kappa = found.position[k] if found.latent is None else found.latent[k]
            if found.kind[k] == "fixed":
                row.append(Node(kappa, None, str(found.certificate[k]), "search"))
                continue
            ghost = solve_ghost(network.exact, network.metric, kappa)
            if ghost.settled and is_minimum(network.exact, network.metric, ghost):
                row.append(Node(ghost.kappa, ghost, str(found.certificate[k]), "search"))
            else:
                complete[i, 1] = False
        nodes.append(row)
        before = found.position
    return nodes, complete


def _states_of_trials(model: Any, task: Task) -> Floats:
    """(S, N) states of a network in the trials of a task, without noise."""
    inputs = task.trial().inputs
    x = np.broadcast_to(model.initial_state, (len(inputs), *model.initial_state.shape)).astype(np.float64)
    states = [x]
    for step in range(task.steps):
        states.append(model.step(states[-1], task.alpha, inputs[:, step] if inputs.shape[-1] else None))
    return np.concatenate([s[:, 0] for s in states])


def _record(
    epochs: Any, networks: list[NetworkField], linker: Linker, complete: Any, loss: Any, loss_epochs: Any
) -> Tracks:
    nodes = linker.nodes
    branch: dict[int, int] = {}
    rows: list[tuple[int, int, Node]] = []
    for i, row in enumerate(nodes):
        for node in sorted(row, key=lambda n: (n.ghost is not None, n.kappa[0])):
            before = node.before
            if isinstance(before, Node):
                branch[id(node)] = branch[id(before)]
            else:
                branch[id(node)] = len({*branch.values()})
            rows.append((branch[id(node)], i, node))
    rows.sort(key=lambda entry: entry[:2])
    count, size = len(rows), networks[0].exact.size
    position = np.zeros((count, networks[0].n_units))
    eigenvalues = np.zeros((count, size), complex)
    speed, r, a = np.zeros(count), np.full(count, np.nan), np.full(count, np.nan)
    for k, (_, i, node) in enumerate(rows):
        network = networks[i]
        kappa = node.kappa[None]
        position[k] = network.states(kappa)[0]
        values = np.linalg.eigvals(network.exact.jacobian(kappa)[0])
        eigenvalues[k] = values[np.argsort(-values.real, kind="stable")]
        if node.ghost is None:
            speed[k] = np.linalg.norm(network.search.flow(network.to_search(kappa)))
        else:
            form = ghost_form(network.exact, network, node.ghost)
            speed[k], r[k], a[k] = node.ghost.speed, form.r, form.a
    return Tracks(
        epochs=epochs,
        complete_zeros=complete[:, 0],
        complete_ghosts=complete[:, 1],
        branch=np.array([b for b, _, _ in rows], dtype=np.int64),
        epoch=np.array([epochs[i] for _, i, _ in rows], dtype=np.int64),
        kind=np.array(["fixed" if n.ghost is None else "ghost" for _, _, n in rows], dtype="<U5"),
        position=position,
        eigenvalues=eigenvalues,
        speed=speed,
        r=r,
        a=a,
        certificate=np.array([n.certificate for _, _, n in rows], dtype=str),
        source=np.array([n.source for _, _, n in rows], dtype="<U12"),
        events=tuple(
            sorted((_event(c, epochs, networks, branch) for c in linker.changes), key=lambda event: event.epoch)
        ),
        loss=loss,
        loss_epochs=loss_epochs,
    )


def _event(change: Change, epochs: Any, networks: list[NetworkField], branch: dict[int, int]) -> Event:
    low, high = int(epochs[change.interval]), int(epochs[change.interval + 1])
    fold = change.fold
    numbers = (np.nan,) * 3 if fold is None else (fold.r_before, fold.r_after, fold.a)
    segment = Segment(*(each.form_of_weights for each in networks[change.interval : change.interval + 2]))
    return Event(
        change.kind,
        low + change.t * (high - low),
        (low, high),
        tuple(-1 if n is None else branch[id(n)] for n in change.zeros),
        tuple(branch[id(n)] for n in change.ghosts),
        segment.network(change.t).states(change.kappa[None])[0],
        *numbers,
        change.evidence,
    )
