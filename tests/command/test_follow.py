"""``ghostpoint diagnose --follow``: the verdict on a file while it is written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ghostpoint.command.diagnose import follow_file
from ghostpoint.errors import InputError


def lines(first, losses):
    return "".join(json.dumps({"step": first + k, "loss": loss}) + "\n" for k, loss in enumerate(losses))


def test_it_waits_for_the_file_and_speaks_when_the_verdict_changes(tmp_path):
    path = tmp_path / "log.jsonl"
    noise = np.random.default_rng(0).normal(size=400) * 0.001
    flat, drop = (1 + noise[:150]).tolist(), (1 / (1 + np.exp((np.arange(150) - 30) / 3)) + noise[150:300]).tolist()
    # what is in the file at each look; None is the end
    looks = iter(["", lines(0, flat[:100]), lines(100, flat[100:]), lines(150, drop), None])
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        text = next(looks)
        if text is None:
            raise KeyboardInterrupt
        with path.open("a") as file:
            file.write(text)

    said = []
    with pytest.raises(KeyboardInterrupt):
        said.extend(follow_file(path, sleep=sleep, wait=0.5, as_json=True))
    assert len(waits) == 5
    assert min(waits) >= 0.5
    # extend keeps what came before the interrupt
    assert [json.loads(text)["runs"][0]["verdict"] for text in said] == ["plateau at chance", "abrupt learning"]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_the_command_ends_with_ctrl_c(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(lines(0, [1.0] * 60))
    program = [sys.executable, "-u", "-m", "ghostpoint", "diagnose", "--follow", str(path)]
    running = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = running.stdout.readline()
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert first.startswith("plateau at chance")
    assert (running.returncode, errors) == (0, "")


class Stop(Exception):
    """The end of the looks."""


def followed(path, looks, **options):
    """What is shown and said while ``looks`` are made: each is called, or is text to append, before
    the next look."""
    shown, said, remaining = [], [], iter(looks)

    def sleep(_):
        look = next(remaining, Stop)
        if look is Stop:
            raise Stop
        if callable(look):
            look()
        elif look:
            with path.open("a") as file:
                file.write(look)

    with pytest.raises(Stop):
        shown.extend(follow_file(path, sleep=sleep, say=said.append, as_json=True, **options))
    return [json.loads(text)["runs"][0]["verdict"] for text in shown], said


FLAT = (1 + np.random.default_rng(0).normal(size=100) * 0.001).tolist()


@pytest.mark.parametrize(
    "young",
    [
        '{"step": 0, "lo',
        '{"step": 0, "learning_rate": 0.1}\n',
        '{"step": 0, "learning_rate": 0.1}\n{"step": 1, "learning_rate": 0.1}\n',
        "[",
    ],
    ids=["torn line", "no loss", "twice no loss", "torn list"],
)
def test_a_log_that_cannot_be_read_yet_is_waited_for(tmp_path, young):
    path = tmp_path / "log.jsonl"
    path.write_text(young)
    verdicts, said = followed(path, [lambda: path.write_text(lines(0, FLAT))])
    assert (verdicts, said) == (["plateau at chance"], [])


@pytest.mark.parametrize("young", ["step,loss\n", "step,lo", "step"])
def test_a_table_whose_header_is_being_written_is_waited_for(tmp_path, young):
    path = tmp_path / "log.csv"
    path.write_text(young)
    rest = "step,loss\n"[len(young) :] + "".join(f"{k},{loss}\n" for k, loss in enumerate(FLAT))
    verdicts, said = followed(path, [rest])
    assert (verdicts, said) == (["plateau at chance"], [])


def test_one_line_of_a_log_is_one_record(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 0, "learning_rate": 0.1, "loss": 1.0}\n')
    verdicts, said = followed(path, [lines(1, FLAT)])
    assert (verdicts, said) == (["cannot tell", "plateau at chance"], [])
    for written in ("nan", "inf"):
        path.write_text(json.dumps({"step": 0, "loss": written}) + "\n")
        assert followed(path, [])[0] == ["divergence"]


def test_why_it_waits_is_said_once_where_the_file_stays_as_it_is(tmp_path):
    path = tmp_path / "log.jsonl"
    verdicts, said = followed(path, [None, None, lines(0, FLAT), None], loss="objective")
    assert verdicts == []
    assert len(said) == 2
    assert "waiting" in said[0]
    assert f"there is no {path}" in said[0]
    assert "loss must be one of" in said[1]
    assert "'objective'" in said[1]


def test_a_file_that_is_torn_while_it_is_written_anew_is_read_again(tmp_path):
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"loss": FLAT}))
    learned = json.dumps({"loss": FLAT + [0.1] * 100})
    verdicts, said = followed(path, [lambda: path.write_text('{"loss": [1.0, 1'), lambda: path.write_text(learned)])
    assert (verdicts, said) == (["plateau at chance", "abrupt learning"], [])


def test_a_file_of_the_same_size_is_read_again_once_it_was_written(tmp_path):
    path = tmp_path / "log.jsonl"
    drop = [0.9 if k < 50 else 0.1 for k in range(100)]
    flat, steep = lines(0, [0.9] * 100), lines(0, drop)
    assert len(flat) == len(steep)
    path.write_text(flat)
    os.utime(path, ns=(0, 1))

    def write():
        path.write_text(steep)
        os.utime(path, ns=(0, 2))

    verdicts, _ = followed(path, [None, write, None])
    assert verdicts == ["plateau at chance", "abrupt learning"]


@pytest.mark.parametrize(
    ("options", "named"),
    [({"chance_accuracy": 7.0}, "chance_accuracy"), ({"run": "a", "network": 0}, "run"), ({"network": 0.5}, "network")],
)
def test_arguments_that_no_history_fits_are_refused_at_once(tmp_path, options, named):
    path = tmp_path / "log.jsonl"
    path.write_text(lines(0, FLAT))
    with pytest.raises(InputError, match=named):
        next(follow_file(path, **options))


def test_the_standard_input_is_not_followed():
    def sleep(_):
        raise Stop

    with pytest.raises(InputError, match="standard input"):
        next(follow_file(Path("-"), sleep=sleep))
