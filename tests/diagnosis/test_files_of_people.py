"""``ghostpoint diagnose`` on files as people have them: what is in each is known by
construction."""

from __future__ import annotations

import json

import pytest

from ghostpoint.command.cli import run
from tests.diagnosis.files_of_people import FILES


@pytest.mark.parametrize("name", [name for name, case in FILES.items() if case.allowed])
def test_the_file_is_read_and_judged(name, tmp_path, capsys):
    case = FILES[name]
    status = run(["diagnose", str(case.write(tmp_path)), *case.options, "--json"])
    out, errors = capsys.readouterr()
    assert (status, errors) == (0, "")
    found = json.loads(out)
    assert len(found["runs"]) == case.runs
    assert {one["verdict"] for one in found["runs"]} <= set(case.allowed)
    # a file whose names are those that are looked for says nothing about its columns
    assert case.loss in (None, found["columns"].get("loss", "loss"))
    assert all(word in out for word in case.words)


@pytest.mark.parametrize("name", [name for name, case in FILES.items() if not case.allowed])
def test_the_file_is_refused_in_one_line(name, tmp_path, capsys):
    case = FILES[name]
    status = run(["diagnose", str(case.write(tmp_path)), *case.options])
    out, errors = capsys.readouterr()
    assert (status, out) == (2, "")
    assert len(errors.strip().splitlines()) == 1
    assert all(word in errors for word in case.words)
