"""A reader from outside, one function and one line, is read with like those that are here."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from ghostpoint.diagnosis import diagnose, read_history
from ghostpoint.diagnosis.readers import READERS
from ghostpoint.errors import InputError
from tests.diagnosis.curves import noisy_jump

LOSS = noisy_jump(0)


def morse(file, choice):
    """Losses as float32 behind the word MORSE."""
    if not file.blob.startswith(b"MORSE"):
        return None
    if len(file.blob) % 4 != 1:
        raise InputError(f"path must hold whole numbers of 4 bytes, and {file.path} has {len(file.blob) - 5} bytes")
    losses = np.frombuffer(file.blob[5:], np.float32)
    return pd.DataFrame({"epoch": 10 * np.arange(len(losses)), "loss": losses})


def ward(file, choice):
    """A folder of such files, a run each."""
    if not (file.path / "ward.txt").exists():
        return None
    return {place.stem: np.frombuffer(place.read_bytes()[5:], np.float32) for place in file.path.glob("*.morse")}


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(READERS, "morse", morse)
    monkeypatch.setitem(READERS, "ward", ward)


def written(path, losses=LOSS):
    path.write_bytes(b"MORSE" + np.asarray(losses, np.float32).tobytes())
    return path


def test_a_reader_is_read_with_by_the_content_of_the_file(registered, tmp_path):
    path = written(tmp_path / "a.morse")
    history = read_history(path)
    np.testing.assert_array_equal(history.runs[0].curves["loss"], LOSS.astype(np.float32))
    np.testing.assert_array_equal(history.runs[0].epoch, 10 * np.arange(len(LOSS)))
    assert diagnose(history).verdict == diagnose(LOSS).verdict
    packed = tmp_path / "a.morse.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_history(packed).runs[0].curves["loss"], history.runs[0].curves["loss"])


def test_a_reader_of_folders(registered, tmp_path):
    (tmp_path / "ward.txt").touch()
    for name in "ab":
        written(tmp_path / f"{name}.morse")
    assert [run.name for run in sorted(read_history(tmp_path).runs, key=lambda run: run.name)] == ["a", "b"]


def test_errors_name_the_file_and_the_kinds(registered, tmp_path):
    path = written(tmp_path / "a.morse")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError, match=r"whole numbers of 4 bytes, and .*a\.morse"):
        read_history(path)
    # an error of the reader's own is one about the file
    path.write_bytes(b"MORSE")
    with pytest.raises(InputError, match=r"a\.morse"):
        read_history(path)
    path.write_bytes(b"\x01\x02\0\0 nothing")
    with pytest.raises(InputError, match=r"of a known kind \(a table, .*, morse, ward\), got a\.morse"):
        read_history(path)
