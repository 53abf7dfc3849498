"""Slow points over training: planted folds in closed form, complete counts, embeddings, what is
lost and said.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ghostpoint as gp
from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.slow_points import Tracks, track_slow_points
from ghostpoint.slow_points.latents import flow_ghosts, flow_zeros, fold_epochs
from ghostpoint.slow_points.proofs import CERTIFIERS
from ghostpoint.slow_points.tracking import track as module
from tests.slow_points.networks import full_rank, vanilla
from tests.slow_points.paths import embedded, permuted, there_and_back, through_fold


def kinds(tracks):
    return [event.kind for event in tracks.events]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 50), st.floats(1e-4, 0.03), st.floats(1e-4, 0.03), st.booleans())
def test_a_planted_fold_is_found_to_a_millionth_of_an_epoch(seed, ghost, pair, dies):
    model, fold = through_fold(seed, *((-pair, ghost) if dies else (ghost, -pair)), 4)
    tracks = track_slow_points(model)
    (event,) = (e for e in tracks.events if e.kind in ("pair born", "pair died"))
    assert event.kind == ("pair died" if dies else "pair born")
    assert event.epoch == pytest.approx(fold, abs=1e-6)
    assert event.bracket[0] <= event.epoch <= event.bracket[1]
    before, after = (event.r_before, event.r_after) if dies else (event.r_after, event.r_before)
    assert before < 0 < after
    assert event.a > 0
    # at the point, the interpolated weights have a zero whose slope vanishes
    weights = model.m[0, :, 0], model.n[0, :, 0]
    share = event.epoch / 3
    b = (1 - share) * model.b[0] + share * model.b[3]
    kappa = event.position @ weights[1]
    gain = 1 - np.tanh(weights[0] * kappa + b) ** 2
    assert weights[1] @ np.tanh(weights[0] * kappa + b) == pytest.approx(kappa, abs=1e-9)
    assert (weights[0] * weights[1]) @ gain == pytest.approx(1.0, abs=1e-6)


def test_a_pair_becomes_a_ghost_and_the_ghost_the_pair():
    model, fold = through_fold(1, -0.02, 0.02, 5)
    tracks = track_slow_points(there_and_back(model), np.arange(9) * 10)
    assert kinds(tracks) == ["pair died", "pair born"]
    died, born = tracks.events
    assert (died.epoch, born.epoch) == pytest.approx((10 * fold, 80 - 10 * fold))
    assert died.ghosts == born.ghosts
    (ghost,) = died.ghosts
    assert set(tracks.kind[tracks.branch == ghost]) == {"ghost"}
    assert list(tracks.of_branch(ghost)["epoch"]) == [e for e in tracks.epochs if died.epoch < e < born.epoch]
    # the new pair are new branches; the third fixed point stays one all along
    assert not set(died.zeros) & set(born.zeros)
    assert list(tracks.count("fixed")) == [3 if n < 10 * fold or n > 80 - 10 * fold else 1 for n in tracks.epochs]
    assert len([b for b in range(tracks.n_branches) if (tracks.branch == b).sum() == 9]) == 1


@pytest.mark.parametrize("seed", range(2))
def test_the_full_matrix_has_the_same_events(seed):
    model, _ = through_fold(seed, 0.01, -0.01, 4)
    low = track_slow_points(model)
    full = embedded(model)
    order = np.random.default_rng(seed).permutation(full.n_units)
    for same in (full, permuted(full, order)):
        tracks = track_slow_points(same, n_starts=24)
        assert kinds(tracks) == kinds(low)
        assert tracks.n_branches == low.n_branches
        for name in ("epoch", "r_before", "r_after", "a"):
            np.testing.assert_allclose(
                *([getattr(e, name) for e in t.events] for t in (tracks, low)), rtol=1e-4, atol=1e-9
            )
        ghost = tracks.kind == "ghost"
        np.testing.assert_allclose(tracks.r[ghost], low.r[low.kind == "ghost"], rtol=1e-7)
        np.testing.assert_allclose(tracks.escape_time[ghost], low.escape_time[low.kind == "ghost"], rtol=1e-7)


def test_points_keep_their_identity_in_whatever_order_they_are_found():
    generator = np.random.default_rng(4)
    W, b = vanilla(3, 12, 1.9, 0.05)
    steps = 0.02 * generator.normal(size=(3, 12, 12)) / np.sqrt(12)
    stack = np.cumsum(np.concatenate([W[None], steps]), axis=0)
    model = FullRankRNN(stack, np.tile(b, (4, 1)))
    first = track_slow_points(model, n_starts=64)
    order = generator.permutation(12)
    second = track_slow_points(permuted(model, order), n_starts=64, seed=1)

    def paths(tracks, units):
        """Branches that live through all epochs, as positions, in an order of their own."""
        whole = [b for b in range(tracks.n_branches) if (tracks.branch == b).sum() == 4]
        found = [tracks.position[tracks.branch == b][:, units] for b in whole]
        return np.array(sorted(found, key=lambda path: tuple(np.round(path[0], 6))))

    ours, theirs = paths(first, order), paths(second, slice(None))
    assert len(ours) > 1
    np.testing.assert_allclose(ours, theirs, atol=1e-8)
    # a branch is a curve: its steps are short against the distance between branches
    apart = min(np.linalg.norm(p[0] - q[0]) for i, p in enumerate(ours) for q in ours[:i])
    assert np.linalg.norm(np.diff(ours, axis=1), axis=2).max() < apart


def test_a_point_that_the_search_misses_is_found_on_its_curve(monkeypatch):
    W, b = vanilla(1, 20, 2.0, 0.1)
    model = full_rank(W, b).repeat(3)
    whole = track_slow_points(model, n_starts=48)
    real = module._searched

    def forgetful(*arguments):
        nodes, complete = real(*arguments)
        return [nodes[0], nodes[1][::2], nodes[2][1:]], complete

    monkeypatch.setattr(module, "_searched", forgetful)
    tracks = track_slow_points(model, n_starts=48)
    assert tracks.events == whole.events == ()
    assert len(tracks.branch) == len(whole.branch)
    assert (tracks.source == "continuation").sum() == len(whole.branch) // 3 // 2 + 1
    np.testing.assert_allclose(tracks.position, whole.position, atol=1e-9)
    assert (tracks.certificate[tracks.source == "continuation"] == "float64").all()
    # the certifiers that are too slow for it prove the points of the searches alone
    monkeypatch.setattr(CERTIFIERS["float64"], "in_tracking", False)
    tracks = track_slow_points(model, n_starts=48)
    np.testing.assert_array_equal(tracks.certificate == "none", tracks.source == "continuation")


def test_a_complete_search_is_not_overruled(monkeypatch):
    model, _ = through_fold(0, 0.01, 0.02, 3)
    real = module._searched

    def wrong(*arguments):
        nodes, complete = real(*arguments)
        return [nodes[0], [n for n in nodes[1] if n.ghost is not None], nodes[2]], complete

    monkeypatch.setattr(module, "_searched", wrong)
    tracks = track_slow_points(model)
    assert kinds(tracks) == ["other", "other"]
    assert "the complete search finds no such point" in tracks.events[0].evidence


def test_a_pitchfork_is_no_saddle_node():
    generator = np.random.default_rng(0)
    m = generator.normal(size=16)
    scale = np.linspace(0.5, 1.6, 4)[:, None] / (m @ m)
    tracks = track_slow_points(LowRankRNN(np.tile(m, (4, 1)), scale * m))
    (event,) = tracks.events
    assert event.kind == "other"
    assert event.epoch == pytest.approx((1 - 0.5) / 1.1 * 3, abs=1e-4)  # where the slope at 0, m.n - 1, vanishes
    assert "pitchfork" in event.evidence
    assert list(tracks.count("fixed")) == [1, 1, 3, 3]


@pytest.mark.parametrize("rank", [2, 3])
def test_ranks_two_and_three_are_complete_in_their_fixed_points(rank):
    generator = np.random.default_rng(5)
    m, n = 1.2 * generator.normal(size=(2, 24, rank)) / np.sqrt(24)
    scale = np.linspace(0.4, 1.5, 4)[:, None, None]
    b = np.tile(0.1 * generator.normal(size=24), (4, 1))
    model = LowRankRNN(np.tile(m, (4, 1, 1)), scale * (n + 2 * m), b)
    tracks = track_slow_points(model, n_starts=16, certify=False)
    assert tracks.complete_zeros.all()
    assert not tracks.complete_ghosts.any()
    counts = [gp.slow_points.latents.latent_zeros(model[i]).count for i in range(4)]
    assert list(tracks.count("fixed")) == counts
    assert len(set(counts)) > 1
    # what is born and dies adds up, interval by interval
    for i in range(3):
        inside = [e for e in tracks.events if e.bracket == (i, i + 1)]
        change = sum({"pair born": 2, "pair died": -2}.get(e.kind, 0) for e in inside)
        assert change == counts[i + 1] - counts[i]
    assert "lost" not in kinds(tracks)


@pytest.fixture(scope="module")
def collapsing():
    """Published networks at the rate at which many are lost, the weights kept every 20 epochs."""
    task = gp.tasks.DelayedActivation(100.0, 5.0, 10.0)
    models = LowRankRNN.published([31, 33, 35, 37, 38])
    return gp.train(models, task, 0.02, 5800, checkpoints=np.arange(3600, 5800, 20), engine="compiled")


def test_the_collapse_of_published_networks(collapsing):
    seen = set()
    for network in range(5):
        tracks = track_slow_points(collapsing, network=network)
        kept = collapsing.checkpoints.isel(network=network)
        weights = [kept[name].values.reshape(kept.sizes["checkpoint"], -1) for name in ("m", "n", "b")]
        zeros, ghosts = flow_zeros(*weights), flow_ghosts(*weights)
        np.testing.assert_array_equal(tracks.count("fixed"), zeros.count)
        np.testing.assert_array_equal(tracks.count("ghost"), ghosts.count)
        assert tracks.complete_zeros.all()
        assert tracks.complete_ghosts.all()
        assert (tracks.source == "search").all()
        # a pair that is born and dies between two recorded epochs is seen here and not in the
        # counts
        seen_twice = [e.bracket[1] for e in tracks.events if e.kind.startswith("pair")]
        folds = fold_epochs(zeros.count, epochs=kept["epoch"].values)
        assert seen_twice == folds.epoch.tolist()
        seen |= set(kinds(tracks))
        for epoch in tracks.epochs[::25]:
            now = (tracks.epoch == epoch) & (tracks.kind == "ghost")
            row = int(np.searchsorted(tracks.epochs, epoch))
            np.testing.assert_allclose(
                np.sort(tracks.escape_time[now]), np.sort(ghosts.escape_time[row, : ghosts.count[row]]), rtol=1e-6
            )
    assert {"pair born", "ghost appeared"} <= seen
    assert "lost" not in seen


def test_a_run_knows_its_loss(collapsing):
    tracks = track_slow_points(collapsing, network=3)
    answer = tracks.answer()
    loss = collapsing.history["loss"].values[3]
    assert answer.drop[1] == int(collapsing.history["epoch"].values[np.flatnonzero(loss < 0.1)[0]])
    assert answer.proven


def test_round_trip(tmp_path):
    model, _ = through_fold(0, 0.01, -0.01, 4)
    tracks = track_slow_points(model, [3, 5, 8, 9], loss=[1.0, 0.8, 0.5, 0.05])
    back = Tracks.load(tracks.save(tmp_path / "tracks.zarr.zip"))
    assert str(back) == str(tracks)
    assert back.to_dataset().identical(tracks.to_dataset())
    for ours, theirs in zip(tracks.events, back.events, strict=True):
        np.testing.assert_array_equal(ours.position, theirs.position)
        assert [*ours[:5], *ours[6:]] == [*theirs[:5], *theirs[6:]]
    assert back.answer() == tracks.answer()


def test_no_event_and_no_point_are_stored_too(tmp_path):
    model, _ = through_fold(0, 0.01, 0.02, 3)
    tracks = track_slow_points(model)
    assert tracks.events == ()
    assert Tracks.load(tracks.save(tmp_path / "tracks.zarr.zip")).to_dataset().identical(tracks.to_dataset())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": [0, 2, 1]}, "epochs must ascend"),
        ({"epochs": [0, 1]}, "epochs must have shape"),
        ({"loss": [1.0]}, "loss must have shape"),
        ({"n_starts": 0}, "n_starts"),
        ({"inputs": [1.0]}, "inputs"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        track_slow_points(through_fold(0, 0.01, 0.02, 3)[0], **arguments)


def test_what_cannot_be_followed_is_refused(collapsing):
    model = through_fold(0, 0.01, 0.02, 3)[0]
    with pytest.raises(ValueError, match="two or more epochs, got 1"):
        track_slow_points(model[0])
    with pytest.raises(ValueError, match="got ndarray"):
        track_slow_points(np.eye(3))
    with pytest.raises(ValueError, match="network must be from 0 to 4, got 7"):
        track_slow_points(collapsing, network=7)
    with pytest.raises(ValueError, match="left out for a run"):
        track_slow_points(collapsing, [1, 2])
    tracks = track_slow_points(model)
    with pytest.raises(ValueError, match="loss must be given"):
        tracks.answer()
    with pytest.raises(ValueError, match="branch must be from 0"):
        tracks.of_branch(99)
    with pytest.raises(ValueError, match="tracks of slow points"):
        Tracks.from_dataset(tracks.to_dataset().assign_attrs(kind="other"))
