import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ghostpoint import experiments
from ghostpoint.command.reproduce import Watcher, redraw, reproduce
from ghostpoint.command.reproduction_folder import FORMAT_VERSION, Folder, locked
from ghostpoint.experiments.shared.parts import part
from ghostpoint.storage import TEMPORARY_PREFIX, read_dataset
from ghostpoint.training import train

from . import fake_experiments
from .fake_experiments import IDS

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def fakes(monkeypatch, tmp_path):
    fake_experiments.install(monkeypatch.setattr)
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))


@pytest.fixture
def behave(monkeypatch):
    def set_behaviour(**behaviour):
        monkeypatch.setenv("FAKE_BEHAVIOUR", json.dumps(behaviour))

    return set_behaviour


@pytest.fixture
def code(monkeypatch):
    def set_code(**fingerprints):
        monkeypatch.setenv("FAKE_CODE", json.dumps(fingerprints))

    return set_code


@pytest.fixture
def ran(tmp_path):
    """The experiments that ran so far, in order."""
    return lambda: (tmp_path / "ran").read_text().split() if (tmp_path / "ran").exists() else []


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Notes(Watcher):
    def __init__(self):
        self.lines = []

    def starting(self, number, total, experiment):
        self.lines.append(f"{number}/{total} {experiment.id}")

    def phase(self, description, total, networks=None):
        self.lines.append(f"{description} {total} {networks}")

    def kept(self, record):
        self.lines.append(f"kept {record.id}")

    def outdated(self, record):
        self.lines.append(f"outdated {record.id}")

    def failed(self, id, failure):
        self.lines.append(f"failed {id} {failure.stage}")


def test_everything_is_saved_with_how_it_came_about(tmp_path):
    outcome = reproduce(None, "quick", tmp_path / "out")
    assert outcome.finished == IDS
    assert (outcome.failed, outcome.remaining, outcome.interrupted) == ((), (), False)
    assert outcome.report.is_file()
    record = json.loads((tmp_path / "out/second/record.json").read_text())
    assert record["parameters"] == fake_experiments.fake("second").parameters["quick"]
    assert record["seeds"] == {"seed": 40, "model.init_seed": 7}
    assert record["scale"] == "quick"
    assert record["versions"]["numpy"] == np.__version__
    assert record["versions"]["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert record["machine"]["cpus"] == os.cpu_count()
    assert record["started"].endswith("+00:00")
    assert record["seconds"] >= 0
    assert record["processor_seconds"] >= 0
    assert record["fingerprint"] == "the usual code"
    assert [claim["verdict"] for claim in record["claims"]] == [
        "holds",
        "does not hold",
        "not testable at this scale",
    ]
    assert read_dataset(tmp_path / "out/second/data.zarr.zip").y.values.tolist() == [0, 2, 4]
    assert "<svg" in (tmp_path / "out/second/figure.svg").read_text()


def test_the_scale_chooses_the_parameters(tmp_path):
    reproduce(["first"], "paper", tmp_path / "out")
    assert Folder.open(tmp_path / "out").dataset("first").sizes["x"] == 9


def test_only_what_is_asked_for_runs_in_the_order_of_the_publication(tmp_path, ran):
    notes = Notes()
    reproduce(["third", "first", "third"], "quick", tmp_path / "out", watcher=notes)
    assert ran() == ["first", "third"]
    assert notes.lines == ["1/2 first", "training 40 4", "2/2 third", "training 40 4"]


def test_resume_keeps_what_is_finished_and_runs_the_rest(tmp_path, ran):
    reproduce(["second"], "quick", tmp_path / "out")
    before = content(tmp_path / "out/second")
    notes = Notes()
    outcome = reproduce(None, "quick", tmp_path / "out", resume=True, watcher=notes)
    assert ran() == ["second", "first", "third"]
    assert notes.lines[0] == "kept second"
    assert content(tmp_path / "out/second") == before
    assert outcome.finished == IDS


def test_resume_computes_again_what_other_code_computed(tmp_path, code, ran):
    out = tmp_path / "out"
    reproduce(None, "quick", out)
    before = content(out / "first")
    code(second="other code")
    notes = Notes()
    outcome = reproduce(None, "quick", out, resume=True, watcher=notes)
    assert ran() == [*IDS, "second"]
    assert notes.lines == ["kept first", "outdated second", "kept third", "1/1 second", "training 40 4"]
    assert outcome.finished == IDS
    assert outcome.remaining == ()
    assert Folder.open(out).record("second").fingerprint == "other code"
    assert content(out / "first") == before
    assert sorted(path.name for path in out.iterdir()) == [
        *["first", "manifest.json", "report.html", "second", "third"],
    ]
    reproduce(None, "quick", out, resume=True)
    assert ran() == [*IDS, "second"]


def test_the_version_plays_no_role_in_what_is_kept(tmp_path, ran):
    reproduce(["first"], "quick", tmp_path / "out")
    record = tmp_path / "out/first/record.json"
    fields = json.loads(record.read_text())
    fields["versions"]["ghostpoint"] = "0.0.0"
    record.write_text(json.dumps(fields))
    reproduce(["first"], "quick", tmp_path / "out", resume=True)
    assert ran() == ["first"]


@pytest.mark.parametrize("how", ["raise", "interrupt"])
def test_the_result_of_other_code_stays_until_the_new_one_is_there(tmp_path, behave, code, ran, how):
    out = tmp_path / "out"
    reproduce(["first"], "quick", out)
    before = content(out / "first")
    code(first="other code")
    behave(first=how)
    outcome = reproduce(["first"], "quick", out, resume=True)
    assert (outcome.finished, outcome.remaining) == ((), ("first",))
    assert outcome.failed == (("first",) if how == "raise" else ())
    assert content(out / "first") == before
    page = outcome.report.read_text()
    assert ("first cannot be run" in page) == ("the result of an earlier code" in page) == (how == "raise")
    assert "2 per step" in page
    behave()
    code()  # the code as it was: the result is its own again, and the failure belongs to another code
    outcome = reproduce(["first"], "quick", out, resume=True)
    assert (outcome.finished, outcome.failed) == (("first",), ())
    assert "first cannot be run" not in outcome.report.read_text()
    assert ran() == ["first", "first"]


def test_a_result_is_there_at_every_moment_of_its_replacement(tmp_path, code, monkeypatch):
    out = tmp_path / "out"
    reproduce(["first"], "quick", out)
    before = content(out / "first")
    code(first="other code")
    real = Path.rename

    def rename(path, target):
        if path.name == f"{TEMPORARY_PREFIX}first":
            raise KeyboardInterrupt
        return real(path, target)

    with monkeypatch.context() as context:
        context.setattr(Path, "rename", rename)
        assert reproduce(["first"], "quick", out, resume=True).interrupted
    assert content(out / "first") == before
    # a run that is killed between the two renames cannot put anything back: the next one does
    (out / "first").rename(out / f"{TEMPORARY_PREFIX}replaced-first")
    Folder.open(out).remove_leftovers()
    assert content(out / "first") == before


def test_a_record_without_code_and_processor_time_is_read_and_computed_again(tmp_path, ran):
    out = tmp_path / "out"
    reproduce(["first"], "quick", out)
    path = out / "first/record.json"
    fields = json.loads(path.read_text())
    del fields["fingerprint"], fields["processor_seconds"]
    path.write_text(json.dumps(fields))
    assert redraw(out).finished == ("first",)
    record = Folder.open(out).record("first")
    assert (record.fingerprint, record.processor_seconds) == ("", None)
    reproduce(["first"], "quick", out, resume=True)
    assert ran() == ["first", "first"]


def test_processor_time_counts_the_parts_that_were_there_and_parts_go_when_all_is_saved(tmp_path, monkeypatch, behave):
    out, made, fake = tmp_path / "out", [], fake_experiments.fake("first")

    def first(parameters, progress):
        def make():
            made.append(1)
            end = time.process_time() + 0.3
            while time.process_time() < end:
                pass
            return xr.Dataset()

        part("long", {}, make, train)
        return fake.run(parameters, progress)

    monkeypatch.setattr(experiments, "get", lambda id: replace(fake, run=first))
    behave(first="interrupt")
    reproduce(["first"], "quick", out)
    assert len(list((out / ".parts/first").iterdir())) == 1
    behave()
    reproduce(["first"], "quick", out)
    assert made == [1]
    assert Folder.open(out).record("first").processor_seconds >= 0.3
    assert not (out / ".parts/first").exists()


def test_only_leaves_earlier_experiments_in_the_report(tmp_path):
    reproduce(["first"], "quick", tmp_path / "out")
    page = reproduce(["second"], "quick", tmp_path / "out", resume=True).report.read_text()
    assert 'id="first"' in page
    assert 'id="second"' in page
    assert 'id="third"' not in page


def test_one_that_raises_does_not_keep_the_others_from_running(tmp_path, behave, ran):
    behave(second="raise")
    notes = Notes()
    outcome = reproduce(None, "quick", tmp_path / "out", watcher=notes)
    assert ran() == list(IDS)
    assert outcome.finished == ("first", "third")
    assert outcome.failed == outcome.remaining == ("second",)
    assert "failed second run" in notes.lines
    assert "RuntimeError: second cannot be run" in outcome.report.read_text()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "first",
        "manifest.json",
        "report.html",
        "third",
    ]


def test_a_failure_stays_in_the_report_until_a_later_run_succeeds(tmp_path, behave, ran):
    behave(second="raise")
    reproduce(["first", "second"], "quick", tmp_path / "out")
    assert redraw(tmp_path / "out").failed == ("second",)
    page = reproduce(["third"], "quick", tmp_path / "out", resume=True).report.read_text()
    assert "second cannot be run" in page
    behave()
    outcome = reproduce(["second"], "quick", tmp_path / "out", resume=True)
    assert outcome.failed == ()
    assert "second cannot be run" not in outcome.report.read_text()
    assert ran() == ["first", "second", "third", "second"]


@pytest.mark.parametrize(("stage", "other"), [("claims", "figure"), ("figure", "claims")])
def test_claims_or_a_figure_that_raise_cost_neither_the_data_nor_the_other(tmp_path, behave, ran, stage, other):
    behave(first=f"bad {stage}")
    outcome = reproduce(["first"], "quick", tmp_path / "out")
    assert outcome.failed == ("first",)
    assert outcome.remaining == ()
    folder = Folder.open(tmp_path / "out")
    made = {"claims": bool(folder.record("first").claims), "figure": folder.figure("first") is not None}
    assert made == {stage: False, other: True}
    assert f"no {stage}" in outcome.report.read_text()
    behave()
    outcome = reproduce(["first"], "quick", tmp_path / "out", resume=True)
    assert outcome.failed == ()
    assert ran() == ["first"]
    assert len(folder.record("first").claims) == 3
    assert folder.figure("first")


def test_redraw_makes_claims_figures_and_report_from_the_data_alone(tmp_path, ran):
    reproduce(None, "quick", tmp_path / "out")
    before = content(tmp_path / "out")
    for name in ("report.html", "first/figure.svg"):
        (tmp_path / "out" / name).unlink()
    record = tmp_path / "out/first/record.json"
    record.write_text(record.read_text().replace("2 per step", "3 per step"))
    assert redraw(tmp_path / "out").failed == ()
    after = content(tmp_path / "out")
    assert ran() == list(IDS)
    changed = {str(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed <= {"report.html"}  # it says when it was written


def test_an_interrupt_ends_with_a_report_of_what_is_finished(tmp_path, behave, ran):
    behave(second="interrupt")
    outcome = reproduce(None, "quick", tmp_path / "out")
    assert outcome.interrupted
    assert outcome.finished == ("first",)
    assert outcome.remaining == ("second", "third")
    assert ran() == ["first", "second"]
    assert 'id="first"' in outcome.report.read_text()
    behave()
    assert reproduce(None, "quick", tmp_path / "out", resume=True).finished == IDS
    assert ran() == ["first", "second", "second", "third"]


def wait_for(condition, process):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_run_that_is_stopped_keeps_what_is_finished_and_goes_on(tmp_path, behave, ran, sign, status):
    behave(second="hang")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tests.command.fake_experiments", "reproduce", "--out", str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: ran() == ["first", "second"], process)
        time.sleep(0.05)
        with pytest.raises(ValueError, match="another reproduction is running"):
            reproduce(["third"], "quick", out, resume=True)
        process.send_signal(sign)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == status
    if sign == signal.SIGINT:
        assert errors.count("\n") == 1
        assert "1 of 3 finished (first)" in errors
        assert "--resume goes on" in errors
    assert 'id="first"' in (out / "report.html").read_text()
    assert Folder.open(out).finished() == ["first"]
    behave()
    assert reproduce(None, "quick", out, resume=True).finished == IDS
    assert ran() == ["first", "second", "second", "third"]


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    out = tmp_path / "out"
    reproduce(["first"], "quick", out)
    (out / f"{TEMPORARY_PREFIX}second").mkdir()
    (out / f"{TEMPORARY_PREFIX}second" / "data.zarr.zip").write_bytes(b"half")
    (out / "first" / f"{TEMPORARY_PREFIX}x").write_text("half")
    reproduce(["second"], "quick", out, resume=True)
    assert not [path for path in out.rglob("*") if path.name.startswith(TEMPORARY_PREFIX)]
    assert Folder.open(out).finished() == ["first", "second"]


def test_the_folder_of_an_experiment_appears_complete_or_not_at_all(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr("ghostpoint.command.reproduction_folder.write_text_atomic", fail)
    outcome = reproduce(["first"], "quick", tmp_path / "out")
    assert outcome.failed == ("first",)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", "report.html"]


def test_other_parameters_by_name(tmp_path, monkeypatch):
    reproduce(["first"], "quick", tmp_path / "out")
    before = content(tmp_path / "out")
    fake_experiments.install(monkeypatch.setattr, slope=3.0)
    for resume in (True, False):
        with pytest.raises(ValueError, match=r"holds first with other parameters \(slope\): choose another"):
            reproduce(None, "quick", tmp_path / "out", resume=resume)
    assert content(tmp_path / "out") == before
    # What is not asked for may differ: it stays as it was.
    reproduce(["second"], "quick", tmp_path / "out", resume=True)


@pytest.mark.parametrize(
    ("scale", "resume", "message"),
    [
        ("paper", True, "holds results at scale quick, not paper: choose another --out"),
        ("paper", False, "holds results at scale quick, not paper: choose another --out"),
        ("quick", False, "already holds 1 finished experiment: add --resume .* or choose another --out"),
    ],
)
def test_a_folder_with_results_is_not_mixed_or_run_over(tmp_path, ran, scale, resume, message):
    reproduce(["first"], "quick", tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(ValueError, match=message):
        reproduce(None, scale, tmp_path / "out", resume=resume)
    assert content(tmp_path / "out") == before
    assert ran() == ["first"]


def test_a_folder_where_nothing_was_finished_can_be_used_again(tmp_path, behave):
    behave(first="raise")
    reproduce(["first"], "quick", tmp_path / "out")
    behave()
    assert reproduce(["first"], "paper", tmp_path / "out").failed == ()
    assert Folder.open(tmp_path / "out").failures == {}
    assert Folder.open(tmp_path / "out").scale == "paper"


def test_another_format_version_is_refused(tmp_path):
    reproduce(["first"], "quick", tmp_path / "out")
    manifest = tmp_path / "out/manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"format_version": {FORMAT_VERSION}', '"format_version": 99'))
    before = content(tmp_path / "out")
    for attempt in (
        lambda: reproduce(None, "quick", tmp_path / "out", resume=True),
        lambda: redraw(tmp_path / "out"),
    ):
        with pytest.raises(ValueError, match="has format version 99"):
            attempt()
    assert content(tmp_path / "out") == before


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="holds other files"):
        reproduce(None, "quick", tmp_path)
    assert content(tmp_path) == {Path("thesis.tex"): b"precious"}


def test_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file")
    for out in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(ValueError, match="--out must be a folder"):
            reproduce(None, "quick", out)


@pytest.mark.parametrize(
    ("ids", "scale", "message"),
    [
        (["fourth"], "quick", "experiment must be one of first, second, third; got 'fourth'"),
        (None, "huge", "scale must be one of quick, paper; got 'huge'"),
    ],
)
def test_unknown_names_are_refused_with_the_valid_ones(tmp_path, ids, scale, message):
    with pytest.raises(ValueError, match=message):
        reproduce(ids, scale, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["{", "{}", '{"id": "first"}'])
def test_a_damaged_record_is_named(tmp_path, damage):
    reproduce(["first"], "quick", tmp_path / "out")
    (tmp_path / "out/first/record.json").write_text(damage)
    with pytest.raises(ValueError, match=r"first/record\.json is"):
        redraw(tmp_path / "out")


def test_redraw_wants_a_reproduction(tmp_path):
    with pytest.raises(ValueError, match="is not a folder made by ghostpoint reproduce"):
        redraw(tmp_path)


def test_a_folder_is_free_again_after_a_run(tmp_path):
    reproduce(["first"], "quick", tmp_path / "out")
    with locked(tmp_path / "out"):
        pass
