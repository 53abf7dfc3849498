import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from ghostpoint import experiments
from ghostpoint._version import __version__
from ghostpoint.command.cli import FAULT, run
from ghostpoint.command.progress import Lines, Meter, Terminal, claims_line, short, watcher
from ghostpoint.command.reproduction_folder import Failure, Record
from ghostpoint.errors import InputError

from .fake_experiments import IDS, fake, install

ROOT = Path(__file__).parent.parent.parent


def command(*arguments, module="tests.command.fake_experiments", **environment):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_help_lists_the_commands_and_says_how_to_go_on():
    done = command("--help", module="ghostpoint")
    assert done.returncode == 0
    for part in ("reproduce", "report", "list", "--version", "Examples:", "--resume"):
        assert part in done.stdout
    assert done.stderr == ""


def test_no_arguments_is_help():
    assert command(module="ghostpoint").stdout == command("--help", module="ghostpoint").stdout


def test_the_version():
    assert command("--version", module="ghostpoint").stdout == f"ghostpoint {__version__}\n"


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from ghostpoint.command.cli import run; run(['reproduce', '--help']);"
        "print(sorted({'numpy', 'xarray', 'matplotlib', 'numba', 'scipy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_run_prints_a_line_for_each_experiment_and_where_the_report_is(tmp_path):
    done = command("reproduce", "--out", tmp_path / "out", "--only", "first,third")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "1 of 2  first: The first thing"
    assert re.fullmatch(r"done  third: .* s, 3 claims: 1 hold, 1 do not, 1 not testable", lines[3])
    assert lines[-1] == f"Report: {tmp_path / 'out' / 'report.html'}"
    again = command("reproduce", "--out", tmp_path / "out", "--resume")
    assert again.stdout.splitlines()[0].startswith("kept  first: finished before, 3 claims")


def test_a_run_says_in_one_line_that_an_experiment_is_computed_again_for_its_code(tmp_path, monkeypatch):
    command("reproduce", "--out", tmp_path / "out", "--only", "first")
    monkeypatch.setenv("FAKE_CODE", '{"first": "other code"}')
    again = command("reproduce", "--out", tmp_path / "out", "--only", "first", "--resume")
    assert again.returncode == 0
    lines = again.stdout.splitlines()
    assert lines[:2] == [
        "again first: its code changed since then; the old result stays until the new one is there",
        "1 of 1  first: The first thing",
    ]
    assert lines[2].startswith("done  first:")


def test_report_runs_nothing(tmp_path, monkeypatch, capsys):
    install(monkeypatch.setattr)
    run(["reproduce", "--out", str(tmp_path / "out"), "--only", "first"])
    capsys.readouterr()
    (tmp_path / "out/report.html").unlink()
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    assert run(["report", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"Report: {tmp_path / 'out' / 'report.html'}\n"
    assert (tmp_path / "out/report.html").is_file()
    assert not (tmp_path / "ran").exists()


def test_list_has_a_line_for_each_experiment(monkeypatch, capsys):
    install(monkeypatch.setattr)
    assert run(["list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [[id, "Fig.", "1A", "The", id, "thing"] for id in IDS]


def test_the_published_experiments_are_listed():
    done = command("list", module="ghostpoint")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(experiments.IDS), done.stderr


def test_a_failed_experiment_is_status_1(tmp_path, monkeypatch, capsys):
    install(monkeypatch.setattr)
    monkeypatch.setenv("FAKE_BEHAVIOUR", '{"second": "raise", "third": "bad claims"}')
    assert run(["reproduce", "--out", str(tmp_path / "out")]) == 1
    shown = capsys.readouterr()
    assert "FAILED  second: RuntimeError: second cannot be run\n" in shown.out
    assert "FAILED  third (claims; the data are saved): RuntimeError: no claims\n" in shown.out
    assert shown.err.startswith("2 failed: second, third.")
    assert run(["report", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "2 failed: third, second. The report says why.\n"


def test_an_interrupt_is_status_130(tmp_path, monkeypatch, capsys):
    install(monkeypatch.setattr)
    monkeypatch.setenv("FAKE_BEHAVIOUR", '{"second": "interrupt"}')
    assert run(["reproduce", "--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == (
        f"Interrupted: 1 of 3 finished (first) and in {tmp_path / 'out' / 'report.html'}; "
        "the same command with --resume goes on.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "--only", "first,nope"], "experiment must be one of first, second, third; got 'nope'"),
        (["reproduce", "--only", ","], "--only must name an experiment: ghostpoint list shows them"),
        (["reproduce", "--scale", "huge"], "scale must be one of quick, paper; got 'huge'"),
        (["reproduce", "--out", "FILE"], "--out must be a folder, and FILE is a file"),
        (
            ["report", "MISSING"],
            "MISSING is not a folder made by ghostpoint reproduce: it has no manifest.json",
        ),
        (["reproduce", "--sacle", "quick"], "No such option: --sacle"),
        (["reproduce", "--scale"], "Option '--scale' requires an argument"),
        (["report"], "Missing argument 'DIR'"),
        (["train"], "No such command 'train'"),
    ],
)
def test_wrong_usage_is_status_2_and_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("")
    install(monkeypatch.setattr)
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"error: {message}")
    assert shown.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


@pytest.mark.parametrize("arguments", [["reproduce", "--only", "nope"], ["report", "MISSING"], ["train"]])
def test_the_command_itself_ends_with_status_2_and_one_line(arguments):
    done = command(*arguments, module="ghostpoint")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(["--only", "first"], "--resume"), (["--scale", "paper", "--resume"], "scale quick")],
)
def test_a_finished_folder_is_not_run_over(tmp_path, monkeypatch, capsys, arguments, part):
    install(monkeypatch.setattr)
    out = ["--out", str(tmp_path / "out")]
    assert run(["reproduce", *out, "--only", "first"]) == 0
    capsys.readouterr()
    assert run(["reproduce", *out, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert part in error


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def record(**fields):
    plain = Record.of_run("first", "quick", {"seed": 1}, datetime.now(UTC), 12.0, 20.0, "the usual code")
    return replace(plain, **fields)


def test_the_meter_measures_rate_and_time_left():
    clock = Clock()
    meter = Meter("training", 1000, 5, clock)
    assert meter.figures() == "5 networks, 0 %"
    for _ in range(10):
        clock.now += 1.0
        meter.advance(25)
    assert meter.rate == pytest.approx(25)
    assert meter.left == pytest.approx(30)
    assert meter.figures() == "5 networks, 25 %, 25 network-epochs/s, 30 s left"


def test_the_rate_forgets_a_slow_start():
    clock = Clock()
    meter = Meter("training", 10_000, None, clock, window=20)
    clock.now += 60  # compiling
    for _ in range(40):
        clock.now += 1.0
        meter.advance(100)
    assert meter.rate == pytest.approx(100)


def test_plain_lines_say_now_and_then_where_a_phase_stands():
    clock, text = Clock(), io.StringIO()
    lines = Lines(Console(file=text), every=30, clock=clock)
    lines.starting(1, 1, fake("first"))
    lines.phase("training", 3600, networks=2)
    for _ in range(90):
        clock.now += 1
        lines.advance(20)
    lines.finished(record())
    shown = text.getvalue().splitlines()
    assert shown[0] == "1 of 1  first: The first thing"
    assert shown[1] == "  training: 2 networks, 16 %, 20 network-epochs/s, 2 min 30 s left"
    assert [line.split()[0] for line in shown] == ["1", "training:", "training:", "training:", "done"]


def test_a_terminal_shows_phase_rate_and_time_left():
    clock, text = Clock(), io.StringIO()
    console = Console(file=text, force_terminal=True, width=100, height=20)
    terminal = watcher(console)
    assert isinstance(terminal, Terminal)
    terminal.clock = clock
    with terminal:
        terminal.starting(2, 9, fake("first"))
        terminal.phase("training", 1000, networks=10)
        clock.now += 10
        terminal.advance(500)
        with console.capture() as captured:
            console.print(terminal._render())
        terminal.failed("first", Failure.of("run", ValueError("no\ngood")))
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", captured.get())
    assert "2 of 9  first: The first thing" in shown
    assert "10 s elapsed" in shown
    assert "training: 10 networks, 50 %, 50 network-epochs/s, 10 s left" in shown
    assert "FAILED  first: ValueError: no good" in text.getvalue()


def test_claims_in_words():
    one, two, three = fake("first").claims(
        fake("first").run({"n": 3, "slope": 2, "seed": 1}, Lines(Console(quiet=True))), {}
    )
    assert claims_line(record()) == "no claims"
    assert claims_line(record(claims=[one])) == "1 claim: 1 hold"
    assert claims_line(record(claims=[one, two, three, two])) == "4 claims: 1 hold, 2 do not, 1 not testable"


@pytest.mark.parametrize(
    ("number", "text"), [(0.25, "0.25"), (999, "999"), (1234, "1.23k"), (2.5e6, "2.5M"), (4e9, "4G")]
)
def test_numbers_for_people(number, text):
    assert short(number) == text


FAULTS = [
    ValueError("could not broadcast (3,) to (4,)"),
    TypeError("no"),
    KeyError("x"),
    AssertionError(),
    ZeroDivisionError("by 0"),
]
USERS = [
    InputError("weights must be finite, got nan"),
    OSError(28, "No space left on device"),
    MemoryError("record = 'all' asks"),
]


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_a_fault_of_our_own_keeps_its_traceback_and_says_what_to_do(monkeypatch, capsys, error):
    def broken(*arguments, **keywords):
        raise error

    monkeypatch.setattr("ghostpoint.command.reproduce.redraw", broken)
    assert run(["report", "anything"]) == FAULT
    shown = capsys.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert type(error).__name__ in shown
    assert "This is a fault of ghostpoint" in shown
    assert "Please report it" in shown


@pytest.mark.parametrize("error", USERS, ids=lambda error: type(error).__name__)
def test_a_wrong_input_is_one_line(monkeypatch, capsys, error):
    def refusing(*arguments, **keywords):
        raise error

    monkeypatch.setattr("ghostpoint.command.reproduce.redraw", refusing)
    assert run(["report", "anything"]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert shown.startswith("error: ")
    assert str(error) in shown


def test_every_refusal_of_this_package_is_one_that_the_command_knows():
    source = ROOT / "src" / "ghostpoint"
    for path in source.rglob("*.py"):
        if path.parent.name not in (
            "experiments",
            "shared",
            "kernels",
        ):  # a run that fails is noted; kernels refuse at compiling
            assert "raise ValueError(" not in path.read_text(encoding="utf-8"), path.name
