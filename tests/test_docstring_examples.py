"""The examples in the docstrings of the public names run, and print what they say."""

from __future__ import annotations

import doctest
import inspect

import pytest

import ghostpoint as gp

#: rooms whose public functions must have an example, beside those of ``gp`` itself
ROOMS = (gp, gp.slow_points, gp.slow_points.latents, gp.tasks)
#: rooms whose examples run where there are any
MORE = (gp.remedies, gp.theory, gp.critical_rate)


def examples():
    """The doctests of functions and classes, methods included, each once; by the name of what they
    are about.
    """
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {}
    for room in (*ROOMS, *MORE):
        names = {name: getattr(module, name) for module in (gp, room) for name in module.__all__}
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


@pytest.mark.parametrize(
    "name", [name for room in ROOMS for name in room.__all__ if inspect.isfunction(getattr(room, name))]
)
def test_every_public_function_has_an_example(name):
    assert name in EXAMPLES
