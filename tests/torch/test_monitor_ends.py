"""Nothing is lost when a monitor ends, however it ends, and what it cannot do it says once."""

import copy
import gc
import json
import subprocess
import sys
import warnings
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from ghostpoint.diagnosis import diagnose, read_history  # noqa: E402
from ghostpoint.torch import CSV, JSONLines, Monitor  # noqa: E402


@pytest.fixture(autouse=True)
def _by_steps_alone(monkeypatch):
    """Rows are read out by the number of steps, and not by the clock."""
    monkeypatch.setattr("ghostpoint.torch.monitor.SECONDS", float("inf"))


def watched(**options):
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return model, optimizer, Monitor(model, optimizer, **options)


def train(steps, monitor, *, with_optimizer=None, first=0):
    for k in range(first, first + steps):
        optimizer = with_optimizer or monitor.optimizer
        optimizer.zero_grad()
        monitor.model(torch.ones(2, 3)).square().mean().backward()
        optimizer.step()
        monitor.log(float(k))


def said(caught):
    return [str(one.message) for one in caught if "Monitor:" in str(one.message)]


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("steps", [40, 120])
def test_a_monitor_that_is_collected_writes_all_its_rows(steps, tmp_path):
    path = tmp_path / "log.jsonl"

    def training():
        model, _, monitor = watched(path=path)
        train(steps, monitor)
        return weakref.ref(model), weakref.ref(monitor)

    references = training()
    gc.collect()
    assert [reference() for reference in references] == [None, None]  # nothing kept them alive
    assert [row["loss"] for row in rows_of(path)] == list(range(steps))


PROGRAM = """
import os, sys, torch
from ghostpoint.torch import Monitor

def made(name):
    model = torch.nn.Linear(1, 1)
    return Monitor(model, torch.optim.SGD(model.parameters(), lr=0.1), path=os.path.join(sys.argv[1], name))

def train(monitor):
    for k in range(7):
        monitor.optimizer.step()
        monitor.log(float(k))

def fork():
    if hasattr(os, "fork"):
        if not (child := os.fork()):
            sys.exit()
        os.waitpid(child, 0)

open_at_the_end = made("fork")
train(open_at_the_end)
fork()
with made("fork within") as monitor:
    train(monitor)
    fork()
last = made("exception")
train(last)
raise ValueError
"""


def test_each_row_is_written_once_by_the_process_that_made_the_monitor(tmp_path):
    found = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], check=False, timeout=120, capture_output=True)
    assert b"ValueError" in found.stderr
    for name in ("fork", "fork within", "exception"):
        assert [row["step"] for row in rows_of(tmp_path / name)] == list(range(7)), name


def test_a_closed_monitor_says_so_once_and_keeps_nothing(tmp_path):
    path = tmp_path / "log.jsonl"
    _, optimizer, monitor = watched(path=path)
    with monitor:
        train(60, monitor)
    with pytest.warns(RuntimeWarning, match=r"Monitor: it is closed.*left out; make a new Monitor") as caught, monitor:
        train(200, monitor, with_optimizer=optimizer)
    assert len(said(caught)) == 1
    assert len(monitor.record["epoch"]) == monitor.step == len(rows_of(path)) == 60
    with pytest.warns(RuntimeWarning, match="it is closed: what is noted from here on is in its record, and not writ"):
        monitor.note(validation_loss=0.5)
    assert monitor.record["validation_loss"][-1] == 0.5


def test_an_optimizer_that_does_not_step_is_named_once_and_memory_is_bounded():
    _, optimizer, monitor = watched(every=1)
    train(3, monitor)
    other = copy.deepcopy(optimizer)
    with pytest.warns(RuntimeWarning, match="111 logs in a row without a step of its optimizer, a SGD.*that one") as c:
        train(5000, monitor, with_optimizer=other, first=3)
    assert len(said(c)) == 1
    assert len(monitor._rows.pending) < 4200
    assert monitor.record["loss"].tolist() == [0.0, 1.0, np.mean(np.arange(2, 5003))]


def test_an_optimizer_that_never_steps_is_named_soon():
    _, optimizer, monitor = watched()
    with pytest.warns(RuntimeWarning, match="101 logs in a row without a step of its optimizer"):
        train(200, monitor, with_optimizer=copy.deepcopy(optimizer))


def test_an_optimizer_that_never_steps_is_named_at_the_end():
    _, optimizer, monitor = watched()
    train(4, monitor, with_optimizer=copy.deepcopy(optimizer))
    with pytest.warns(RuntimeWarning, match="4 logs in a row without a step of its optimizer"):
        monitor.close()


def test_accumulated_gradients_are_no_missing_steps():
    _, optimizer, monitor = watched()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(8):
            for _ in range(64 if k == 0 else 512):
                monitor.log(float(k))
            optimizer.zero_grad()
            monitor.model(torch.ones(2, 3)).square().mean().backward()
            optimizer.step()
        monitor.close()
    assert monitor.record["loss"].tolist() == list(range(8))


class Full:
    """A place without space, at some writes."""

    path = "full.txt"

    def __init__(self, fails=lambda n: True):
        self.rows, self.writes, self.fails = [], 0, fails

    def write(self, rows):
        self.writes += 1
        if self.fails(self.writes):
            raise OSError(28, "No space left on device")
        self.rows += rows

    def close(self):
        raise OSError(28, "No space left on device")


def test_a_sink_that_fails_costs_neither_the_training_nor_other_sinks(tmp_path):
    sinks = [Full(), Full(lambda n: n == 1), CSV(tmp_path / "log.csv")]
    _, _, monitor = watched(sinks=sinks, path=tmp_path / "log.jsonl")
    message = r"Full\('full.txt'\) could not be written to, and lacks rows: OSError.*No space"
    with pytest.warns(RuntimeWarning, match=message) as caught, monitor:
        train(120, monitor)
    assert len(said(caught)) == 2  # of each sink one
    assert [row["step"] for row in rows_of(tmp_path / "log.jsonl")] == list(range(120))
    assert len(read_history(tmp_path / "log.csv").runs[0].epoch) == 120
    assert [row["step"] for row in sinks[1].rows] == list(range(50, 120))  # it is tried again


@pytest.mark.parametrize("kind", [JSONLines, CSV])
def test_a_line_that_a_full_disk_has_torn_does_not_spoil_the_next(kind, tmp_path):
    path = tmp_path / ("log" + (".csv" if kind is CSV else ".jsonl"))
    sink = kind(path)
    sink.write([{"step": 0, "loss": 1.0}])
    with path.open("ab") as file:  # what a write leaves that fails halfway
        file.write(b"1,0." if kind is CSV else b'{"step": 1, "lo')
    sink.write([{"step": 2, "loss": 3.0}])
    sink.close()
    assert path.read_text().splitlines()[-1] in ("2,3.0", '{"step": 2, "loss": 3.0}')


def test_a_path_that_cannot_be_written_is_an_error_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    model = nn.Linear(1, 1)
    with pytest.raises(OSError, match="file"):
        Monitor(model, torch.optim.SGD(model.parameters(), lr=0.1), path=tmp_path / "file" / "log.jsonl")


@pytest.mark.parametrize(("first", "expected"), [(0, "divergence"), (120, "divergence"), (None, "gradual learning")])
def test_the_verdict_is_that_of_the_log_also_where_losses_are_not_finite(tmp_path, first, expected):
    torch.manual_seed(0)
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.05)
    monitor = Monitor(nn.ParameterList([weight]), optimizer, path=tmp_path / "run.jsonl")
    for step in range(200):
        optimizer.zero_grad()
        loss = (weight**2).mean()
        loss.backward()
        optimizer.step()
        monitor.log(loss if first is None or step < first else loss * float("nan"))
    found = monitor.verdict()
    assert found is monitor.verdict()  # not judged anew
    monitor.close()
    assert found.verdict == diagnose(read_history(tmp_path / "run.jsonl")).verdict == expected
