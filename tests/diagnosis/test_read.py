"""Every kind of file gives the same history; what is none is refused with its name."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from ghostpoint.diagnosis import diagnose, read_history
from ghostpoint.diagnosis.readers.event_file import _masked, event_scalars
from ghostpoint.storage import write_dataset
from tests.diagnosis.curves import collapse, noisy_jump


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, kind, payload):
    return varint(number << 3 | kind) + (varint(len(payload)) if kind == 2 else b"") + payload


def event(step, values, tensor=False):
    """An Event as TensorFlow's schema has it, written by hand: it shares no code with the reader
    but the checksum.
    """
    summary = b""
    for tag, value in values.items():
        if tensor:
            packed = field(1, 0, varint(1)) + field(2, 2, b"") + field(5, 2, struct.pack("<f", value))
            scalar = field(8, 2, packed)
        else:
            scalar = field(2, 5, struct.pack("<f", value))
        summary += field(1, 2, field(1, 2, tag.encode()) + field(9, 2, b"\x0a\x00") + scalar)
    return field(1, 1, struct.pack("<d", 1.5)) + field(2, 0, varint(step)) + field(5, 2, summary)


def record(data):
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", _masked(head)) + data + struct.pack("<I", _masked(data))


def event_file(path, curves, tensor=False):
    first = field(1, 1, struct.pack("<d", 1.0)) + field(3, 2, b"brain.Event:2")
    blob = record(first)
    for step, row in enumerate(zip(*curves.values(), strict=True)):
        blob += record(event(step, dict(zip(curves, row, strict=True)), tensor))
    path.write_bytes(blob)
    return path


def test_the_checksum_is_the_castagnoli_one():
    """The check value of CRC-32C (of "123456789") is e3069283, unlike that of the CRC-32 of zip
    files.
    """
    crc = 0xE3069283
    assert _masked(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert zlib.crc32(b"123456789") != crc


@pytest.mark.parametrize("tensor", [False, True])
def test_an_event_file_gives_its_scalars(tmp_path, tensor):
    loss = noisy_jump(0).astype(np.float32)
    curves = {"train/loss": loss, "val/loss": loss + 1, "train/acc": loss * 0.5}
    path = event_file(tmp_path / "events.out.tfevents.1", curves, tensor)
    run = read_history(path).runs[0]
    np.testing.assert_array_equal(run.curves["loss"], loss)
    np.testing.assert_array_equal(run.curves["accuracy"], (loss * 0.5).astype(np.float32))
    np.testing.assert_array_equal(run.epoch, np.arange(len(loss)))
    np.testing.assert_array_equal(read_history(path, loss="val/loss").runs[0].curves["loss"], loss + 1)


def test_an_event_file_that_is_still_written_ends_and_a_damaged_one_is_refused(tmp_path):
    path = event_file(tmp_path / "x.tfevents", {"loss": np.arange(5.0)})
    blob = path.read_bytes()
    path.write_bytes(blob[:-3])
    assert list(event_scalars(path)["loss"]) == [0, 1, 2, 3]
    path.write_bytes(blob[:-20] + bytes([blob[-20] ^ 1]) + blob[-19:])
    with pytest.raises(ValueError, match="wrong checksum"):
        event_scalars(path)
    path.write_bytes(record(b"\x2a\xff"))
    with pytest.raises(ValueError, match="no event"):
        event_scalars(path)


@given(step=st.integers(-(2**63), 2**63 - 1))
def test_steps_are_signed(step, tmp_path_factory):
    path = tmp_path_factory.mktemp("events") / "a.tfevents"
    path.write_bytes(record(event(step, {"loss": 1.0})))
    assert event_scalars(path) == {"loss": {step: 1.0}}


def test_all_kinds_of_files_say_the_same(tmp_path):
    loss = np.stack([noisy_jump(0)[::2], collapse(0)[::2]])
    epoch = np.arange(loss.shape[1]) * 2
    dataset = xr.Dataset({"loss": (("network", "epoch"), loss)}, coords={"epoch": epoch})
    rows = [f"{run},{k},{float(loss[run, i])!r}" for run in range(2) for i, k in enumerate(epoch)]
    (tmp_path / "a.csv").write_text("run,Epoch,Train Loss\n" + "\n".join(rows))
    np.savez(tmp_path / "a.npz", loss=loss, epoch=epoch)
    dataset.to_netcdf(tmp_path / "a.nc", engine="scipy")
    write_dataset(dataset, tmp_path / "a.zarr.zip")
    dataset.to_zarr(tmp_path / "a.zarr", consolidated=False)
    expected = diagnose(dataset)
    for name in ("a.csv", "a.npz", "a.nc", "a.zarr.zip", "a.zarr"):
        found = diagnose(read_history(tmp_path / name))
        assert found.findings == expected.findings, name
    np.save(tmp_path / "a.npy", loss)
    assert diagnose(read_history(tmp_path / "a.npy")).verdict == expected.verdict


def test_empty_cells_are_missing(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("step,loss,lr\n0,1.0,0.1\n5,,0.1\n10,0.5,\n")
    run = read_history(path).runs[0]
    np.testing.assert_array_equal(run.epoch, [0, 5, 10])
    np.testing.assert_array_equal(run.curves["loss"], [1.0, np.nan, 0.5])
    np.testing.assert_array_equal(run.curves["learning_rate"], [0.1, 0.1, np.nan])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "epoch,x,y\n0,1,2\n", "none that could be it: epoch, x, y"),
        ("a.csv", "epoch,loss a,loss b\n0,1,2\n", "several that could be it: loss a, loss b"),
        ("a.csv", "loss\n", "1 row"),
        ("a.csv", "loss,epoch\n1,2\n3\n4,5\n", "row 3 must have 2 cells"),
        ("a.csv", "loss\nhigh\n", r"a.csv: column 'loss', row 2: must hold a number or nothing, got 'high'"),
        ("a.npz", "no archive", "cannot be read"),
        ("a.nc", "no netCDF", "cannot be read"),
        ("a.zarr.zip", "no archive", "cannot be read"),
        ("a.doc", "Dear all, here is nothing.\nIndeed.\n", "of a known kind"),
        ("a.csv", "", "is empty"),
    ],
)
def test_what_is_no_history_is_refused(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_history(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no .*nothing\.csv"):
        read_history(tmp_path / "nothing.csv")
    (tmp_path / "a.csv").write_text("loss\n1\n")
    with pytest.raises(ValueError, match="loss must be one of loss; got 'cost'"):
        read_history(tmp_path / "a.csv", loss="cost")
