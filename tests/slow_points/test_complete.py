"""The one call lists exactly what the complete searches prove, and says what is complete."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.models import LowRankRNN
from ghostpoint.slow_points import SlowPoints, find_slow_points
from ghostpoint.slow_points.latents import flow_ghosts, flow_zeros, latent_ghosts, latent_zeros
from ghostpoint.slow_points.search import candidates
from tests.slow_points.networks import full_rank, rank_one_near_fold, vanilla

UNITS = 24


def drawn(seed, rank):
    """Weights of one network, of four gains in turn; many have several fixed points, and many
    ghosts.
    """
    generator = np.random.default_rng([seed, rank])
    gain = (2.0, 2.5, 4.0, 6.0)[seed % 4]
    m, n = gain * generator.normal(size=(2, UNITS, rank)) / np.sqrt(UNITS)
    return m, n + (seed // 4 % 2) * m, (1.0, 0.3)[seed // 4 % 2] * generator.normal(size=UNITS)


def same(first, second):
    """Whether the two lists of places are the same: as many, and each row of one next to a row of
    its own.
    """
    if len(first) != len(second):
        return False
    nearest = [int(np.abs(second - place).max(axis=1).argmin()) for place in first]
    gaps = np.abs(first - second[nearest]).max(axis=1, initial=0.0)
    return len(set(nearest)) == len(first) and (gaps <= 1e-8 * (1 + np.abs(first).max(axis=1, initial=0.0))).all()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_every_proven_fixed_point_and_every_ghost_is_listed_once(rank):
    counts = []
    for seed in range(24):
        m, n, b = drawn(seed, rank)
        model = LowRankRNN(m[None], n[None], b[None])
        points = find_slow_points(model)
        zeros, ghosts = latent_zeros(model), latent_ghosts(model)
        assert zeros.complete
        assert points.complete.fixed_points
        assert points.complete.ghosts == (rank == 1)
        assert bool(points.complete.reason) == (rank > 1)
        assert same(zeros.position, points.fixed.latent)
        assert same(ghosts.position, points.ghosts.latent)
        assert len(points) == zeros.count + ghosts.count
        if rank == 1:
            line, extrema = flow_zeros(m[:, 0], n[:, 0], b), flow_ghosts(m[:, 0], n[:, 0], b)
            assert same(line.position[0, : line.count[0], None], points.fixed.latent)
            assert same(extrema.position[0, : extrema.count[0], None], points.ghosts.latent)
        counts.append((zeros.count, ghosts.count))
    several, some = np.array(counts).T
    assert (several > 1).sum() >= 12
    assert some.sum() >= 3


def test_zeros_are_listed_where_newtons_method_does_not_settle(monkeypatch):
    """The proven zeros are points by themselves: none depends on the polish or on a start that
    leads there.
    """

    def never(field, x, max_steps=12):
        return x, np.linalg.norm(field.flow(x), axis=1), np.zeros(len(x), bool)

    monkeypatch.setattr(candidates, "newton", never)
    for seed in range(6):
        m, n, b = drawn(seed, 3)
        model = LowRankRNN(m[None], n[None], b[None])
        assert same(latent_zeros(model).position, find_slow_points(model).fixed.latent)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_balls_of_complete_lists_hold_what_they_claim(rank):
    for seed in range(8):
        m, n, b = drawn(seed, rank)
        points = find_slow_points(LowRankRNN(m[None], n[None], b[None]))
        fixed, ghosts = points.fixed, points.ghosts
        apart = np.linalg.norm(fixed.latent[:, None] - fixed.latent, axis=2) + 1e300 * np.eye(len(fixed))
        assert (fixed.radius < fixed.unique_radius).all()
        assert (fixed.unique_radius <= apart.min(axis=1)).all()
        away = np.linalg.norm(ghosts.latent[:, None] - fixed.latent, axis=2)
        assert (ghosts.empty_radius <= away.min(axis=1, initial=np.inf) * (1 + 1e-9)).all()


def test_what_is_not_complete_says_why():
    points = find_slow_points(full_rank(*vanilla(1, 10, 1.5)), n_starts=8)
    assert points.complete[:2] == (False, False)
    assert "searched from starts" in points.complete.reason
    assert "searched from starts" in str(points)
    near = find_slow_points(LowRankRNN(*rank_one_near_fold(3, 12, 1e-15)))
    assert near.complete.fixed_points or "undecided" in near.complete.reason
    assert not near.complete.ghosts


def test_completeness_survives_the_disk_and_old_records_do_not_claim_it(tmp_path):
    m, n, b = drawn(2, 1)
    points = find_slow_points(LowRankRNN(m[None], n[None], b[None]))
    assert SlowPoints.load(points.save(tmp_path / "points.zarr.zip")).complete == (True, True, "")
    old = points.to_dataset()
    old.attrs = {}
    assert SlowPoints.from_dataset(old).complete == (False, False, "the saved record does not say")


def test_summaries_are_short_and_for_notebooks_too():
    m, n, b = drawn(3, 1)
    points = find_slow_points(LowRankRNN(m[None], n[None], b[None]))
    assert str(points).startswith(f"SlowPoints: {len(points.fixed)} fixed, {len(points.ghosts)} ghost")
    assert "complete: fixed points and ghosts, proven" in str(points)
    assert points._repr_html_().startswith("<table>")
    many = replace(points[np.zeros(50, int)], complete=points.complete)
    assert len(str(many).splitlines()) <= 16
    assert "and 40 more" in str(many)
    tracks = gp.track_slow_points(LowRankRNN([[2.0]] * 3, [[1.5]] * 3, b=[[0.6], [1.2], [1.4]]))
    assert "proven complete at 3 of 3 epochs" in str(tracks)
    assert "pair died" in str(tracks)
    assert "<table>" in tracks._repr_html_()
    model = LowRankRNN([2.0], [1.5], b=[1.4])
    passage = gp.slow_passage(model, find_slow_points(model).ghosts[0])
    assert str(passage).startswith("Passage: ")
    assert "Passage: " in passage._repr_html_()
