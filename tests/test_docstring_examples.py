"""The examples in the docstrings of the public names run, and print what they say."""

from __future__ import annotations

import doctest
import inspect

import pytest

import ghostpoint as gp

#: rooms whose public names are gone through, beside those of ``gp`` itself
ROOMS = (gp, gp.slow_points, gp.slow_points.latents)
#: public functions that must have an example
SHOWN = (
    "find_slow_points",
    "track_slow_points",
    "slow_passage",
    "abrupt_drop",
    "passage_steps",
    "latent_flow",
    "flow_zeros",
    "flow_ghosts",
    "latent_zeros",
    "latent_ghosts",
)


def examples():
    """The doctests of functions and classes, methods included, each once; by the name of what they are about."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {}
    names = {name: getattr(gp, name) for name in gp.__all__}
    for room in ROOMS:
        for name in room.__all__:
            value = getattr(room, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                found |= {test.name: test for test in finder.find(value, name, globs=dict(names)) if test.examples}
    return found


EXAMPLES = examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_run(name):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    report: list[str] = []
    results = doctest.DocTestRunner(verbose=False, optionflags=flags).run(EXAMPLES[name], out=report.append)
    assert results.failed == 0, "".join(report)
    assert results.attempted > 0


@pytest.mark.parametrize("name", SHOWN)
def test_these_have_an_example(name):
    assert name in EXAMPLES
