"""Summaries: aligned columns as text, escaped cells as HTML."""

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.summary import html, lines
from tests.tasks.kinds import EXAMPLES
from tests.test_families import SAMPLES

ROWS = [("kind", "count"), ("fixed", 12), ("ghost", 1), ("a line of text that is wider than any column",)]


def test_columns_are_aligned_and_text_lines_do_not_widen_them():
    assert lines("Points", ROWS).splitlines() == [
        "Points",
        "  kind   count",
        "  fixed  12",
        "  ghost  1",
        "  a line of text that is wider than any column",
    ]


def test_a_title_alone_is_one_line():
    assert lines("Empty", []) == "Empty"


def test_html_escapes_and_spans():
    text = html("a < b", [("x", "<i>"), ("whole row",)])
    assert "a &lt; b" in text
    assert "&lt;i&gt;" in text
    assert "<i>" not in text
    assert '<td colspan="2"' in text


@pytest.mark.parametrize("model", SAMPLES.values(), ids=list(SAMPLES))
def test_models_print_their_sizes_and_parts(model):
    text = str(model)
    assert text.splitlines()[0] == f"{type(model).__name__}: {len(model)} networks"
    for part in model.present_parts():
        row = next(line for line in text.splitlines() if f"{part} {getattr(model, part).shape}" in line)
        assert row.split()[0] == ("trainable" if part in model.trainable else "fixed")
    assert model._repr_html_().count("<tr>") == len(text.splitlines()) - 1
    assert "\n" not in repr(model)


def test_seeds_of_many_networks_are_not_all_printed():
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 90 more" in str(gp.LowRankRNN.initialize(3, range(100)))
    assert "unknown" in str(gp.LowRankRNN([1.0], [1.0]))


@pytest.mark.parametrize(("kind", "arguments"), EXAMPLES.items(), ids=[kind.__name__ for kind in EXAMPLES])
def test_tasks_print_what_chance_is_and_no_arrays(kind, arguments):
    task = kind(**arguments)
    text = str(task)
    assert text.startswith(f"{type(task).__name__}(")
    assert f"loss {task.chance_loss:.4g}, accuracy {task.chance_accuracy:.4g}" in text
    assert f"{task.steps} steps of {task.dt:g} ms" in text
    assert len(text.splitlines()) == 8
    assert task._repr_html_().count("<tr>") == 7


def test_a_run_on_arrays_prints_their_shapes():
    task = gp.tasks.from_arrays(np.zeros((3, 500, 1)), np.ones((3, 500, 1)), tolerance=0.1, dt=1.0, tau=10.0)
    run = gp.train(gp.LowRankRNN.initialize(5, [0], "latent_readout", n_inputs=1), task, 0.1, 2)
    assert "array (3, 500, 1)" in str(run)
    assert "inputs=array (3, 500, 1)" in repr(task)
    assert len(str(run).splitlines()) == 11


def test_a_diagnosis_shows_the_lines_of_print_in_a_notebook():
    diagnosis = gp.diagnose(np.linspace(1, 0.1, 300))
    assert diagnosis._repr_html_().count("<tr>") == len(str(diagnosis).splitlines()) - 1
