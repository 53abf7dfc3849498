"""The page docs/claims.md, made from the claims of every experiment:
``python -m tests.experiments.claims_page``.

Sentences and rules depend on an experiment's parameters and not on its data, so small samples are
enough to list them.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

from ghostpoint.experiments import IDS, Claim, Silent, get
from tests.critical_rate import test_scaling_experiment as scaling
from tests.critical_rate import test_stability_boundaries as boundaries
from tests.experiments import full_rank_samples, low_rank_samples, network_samples
from tests.experiments import test_architectures_experiment as architectures
from tests.experiments import test_before_the_drop as before
from tests.experiments import test_exponent_experiment as exponent
from tests.experiments import test_ghost_sequences_experiment as ghost_sequences
from tests.experiments import test_minimal_systems as minimal
from tests.experiments import test_plateau_experiment as plateau
from tests.experiments import test_remedies_experiment as remedies

PAGE = Path(__file__).parents[2] / "docs/claims.md"
START, END = "<!-- made by tests/experiments/claims_page.py -->", "<!-- end -->"
ORIGINS = ("published", "own")


def sampled(id: str) -> list[Claim]:
    """The claims of an experiment on a small sample, with the parameters of the paper scale."""
    paper = get(id).parameters["paper"]
    for samples in (full_rank_samples, low_rank_samples, network_samples):
        if id in samples.SMALL:
            return get(id).claims(samples.sample(id)[0], paper)
    if id == "architectures":
        return get(id).claims(architectures.ideal(), paper)
    if id == "remedies":
        return get(id).claims(remedies.sample()[0], paper)
    if id == "before_the_drop":
        # the sample lacks one family, whose plateau is that of the best answer without the cues
        return get(id).claims(before.sample()[0].assign_attrs(plateau_latent_dmts=0.5), paper)
    if id == "minimal_systems":
        return get(id).claims(minimal.sample()[0], paper)
    if id == "ghost_sequences":
        return get(id).claims(ghost_sequences.sample()[0], paper)
    if id == "plateau":
        return get(id).claims(plateau.sample()[0], paper)
    if id == "exponent":
        return get(id).claims(exponent.ideal(), paper)
    if id == "critical_rate_scaling":
        return get(id).claims(scaling.sample()[0], paper)
    if id == "stability_boundaries":
        # sentences and rules depend on no more than the optimisers and the tasks
        return boundaries.made_up(optimizers=("sgd", "momentum", "adam"), tasks=("DCDT", "DMTS"))
    return get(id).claims(get(id).run(paper, Silent()), paper)  # the toy model takes seconds at either scale


def entry(claim: Claim) -> str:
    """One claim as an item of a list, at 100 columns."""
    origin = "Source" if claim.origin == "published" else "Derived from"
    words = f"**{claim.sentence}** Rule: {claim.rule} {origin}: {claim.source}."
    words = words.replace("r*", r"r\*")
    return fill(words, 100, initial_indent="* ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def entries(claims: dict[str, list[Claim]], origin: str) -> str:
    """All claims of one origin, by experiment."""
    chosen = {id: [claim for claim in each if claim.origin == origin] for id, each in claims.items()}
    sections = [f"### `{id}`\n\n" + "\n".join(map(entry, each)) for id, each in chosen.items() if each]
    return "\n\n".join([START, *sections, END])


def page(text: str, claims: dict[str, list[Claim]]) -> str:
    """``text`` with its two lists made anew."""
    for number, origin in enumerate(ORIGINS, 1):
        parts = text.split(START)
        before, after = START.join(parts[:number]), START.join(parts[number:])
        text = before + entries(claims, origin) + after[after.index(END) + len(END) :]
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), {id: sampled(id) for id in IDS}), encoding="utf-8")
