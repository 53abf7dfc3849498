"""The monitor's sinks with the real packages, read back from the files that these write."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from ghostpoint.torch import Monitor, TensorBoard, WandB

STEPS = 120


def monitored(sink, log: Path) -> list[dict]:
    """The rows of the log of a monitor with this sink; one loss is not a number."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, path=log, sinks=[sink]) as monitor:
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = (model(torch.randn(4, 3)) ** 2).mean()
            loss.backward()
            optimizer.step()
            monitor.log(loss * (float("nan") if step == STEPS // 2 else 1.0))
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [row for row in rows if "loss" in row]


def test_tensorboard_reads_what_was_logged(tmp_path):
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs TensorBoard: python3 dev.py frameworks"
    )
    rows = monitored(TensorBoard(tmp_path / "events", prefix="train/"), tmp_path / "log.jsonl")
    events = accumulators.EventAccumulator(str(tmp_path / "events"), size_guidance={"scalars": 0}).Reload()
    read = events.Scalars("train/loss")
    assert [event.step for event in read] == [row["step"] for row in rows] == list(range(STEPS))
    # TensorBoard keeps float32
    wanted = [float(torch.tensor(float(row["loss"]))) for row in rows]
    assert [event.value for event in read] == pytest.approx(wanted, rel=0, abs=0, nan_ok=True)


def records_of(file: Path) -> Iterator[bytes]:
    """The records of a log in LevelDB's format after a header of 7 bytes: blocks of 32 KiB, in them
    parts, each with a checksum (4 bytes), its length (2) and whether it is whole, first, in the
    middle, or last (1).
    """
    data, at, record = file.read_bytes(), 7, b""
    while at < len(data):
        if -at % 32768 < 7:
            at += -at % 32768
        length, kind = struct.unpack("<4xHB", data[at : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def test_weights_and_biases_keeps_what_was_logged(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="needs Weights & Biases: python3 dev.py frameworks")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(project="ghostpoint", mode="offline", dir=tmp_path)
    rows = monitored(WandB(run, prefix="train/"), tmp_path / "log.jsonl")
    run.finish()
    [file] = tmp_path.glob("**/*.wandb")
    read = []
    for data in records_of(file):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            read.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    assert [row["train/step"] for row in read] == [row["step"] for row in rows] == list(range(STEPS))
    wanted = [float(row["loss"]) for row in rows]
    assert [float(row["train/loss"]) for row in read] == pytest.approx(wanted, rel=0, abs=0, nan_ok=True)
