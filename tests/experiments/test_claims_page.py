"""docs/claims.md lists every claim with its rule; and own experiments have own claims only."""

from __future__ import annotations

import pytest

from ghostpoint.experiments import IDS, get
from tests.experiments.claims_page import PAGE, page, sampled

pytestmark = pytest.mark.slow  # a sample of every experiment


@pytest.fixture(scope="module")
def claims():
    return {id: sampled(id) for id in IDS}


def test_the_page_has_every_claim_and_rule(claims):
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text, claims), "make it again: python -m tests.experiments.claims_page"


def test_own_experiments_have_own_claims_only(claims):
    own = {id for id in IDS if get(id).origin == "own"}
    assert own == {
        "architectures",
        "critical_rate_scaling",
        "exponent",
        "ghost_sequences",
        "minimal_systems",
        "plateau",
        "remedies",
        "stability_boundaries",
    }
    for id, each in claims.items():
        published = [claim for claim in each if claim.origin == "published"]
        assert bool(published) != (id in own)
        for claim in published:
            assert claim.published != "-"
            assert "this project" not in claim.source
            # a target is the publication's or a derivation's, never that of another run
            assert "implementation" not in f"{claim.published} {claim.source} {claim.rule}"
