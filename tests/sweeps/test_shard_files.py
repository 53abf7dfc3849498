"""Files of shards: what is written comes back, and nothing that was changed is accepted."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpoint.sweeps import shard_file
from ghostpoint.sweeps.shard_file import Damaged, check, read_header, read_rows, write_shard

KEY = "0" * 32
ARRAYS = {
    "epoch": (("epoch",), np.arange(7)),
    "loss": (("network", "epoch"), np.random.default_rng(0).normal(size=(5, 7)).astype("f4")),
    "frozen": (("network",), np.array([-1, 3, 4, -1, 2])),
    "nothing": (("network", "epoch"), np.zeros((5, 0), "f4")),
    "big": (("network", "x"), np.arange(5 * 300_000, dtype="f4").reshape(5, -1)),
}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "tmp").mkdir()
    target = tmp_path / f"{KEY}.shard"
    write_shard(target, tmp_path / "tmp", KEY, {"a": 1}, ARRAYS)
    return target


def test_arrays_come_back_and_rows_alone(path, monkeypatch):
    header = check(path, KEY)
    assert header.computes == {"a": 1}
    for name, (dims, values) in ARRAYS.items():
        assert tuple(header.arrays[name]["dims"]) == dims
        np.testing.assert_array_equal(read_rows(header, name), values)
    np.testing.assert_array_equal(read_rows(header, "big", [4, 1, 1]), ARRAYS["big"][1][[4, 1, 1]])
    assert header.arrays["big"]["rows"] == 1
    assert list((path.parent / "tmp").iterdir()) == []


def test_equal_content_has_equal_bytes(path, tmp_path):
    other = tmp_path / "other"
    write_shard(other, tmp_path / "tmp", KEY, {"a": 1}, dict(reversed(ARRAYS.items())))
    assert other.read_bytes() == path.read_bytes()


@settings(max_examples=60)
@given(data=st.data())
def test_every_flipped_bit_is_noticed(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flip")
    (folder / "tmp").mkdir()
    path = folder / "shard"
    arrays = {name: ARRAYS[name] for name in ("epoch", "loss", "frozen")}
    write_shard(path, folder / "tmp", KEY, {}, arrays)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(Damaged):
        check(path, KEY)


@pytest.mark.parametrize("keep", [0, 1, 18, 26, 100, -1, -70])
def test_a_truncated_file_is_noticed(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    with pytest.raises(Damaged, match=r"empty|no shard|truncated"):
        read_header(path, KEY)


def test_other_files_are_noticed(path):
    with pytest.raises(Damaged, match="another shard"):
        check(path, "1" * 32)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(Damaged, match="too long"):
        check(path, KEY)
    path.write_bytes(b"PK\x03\x04" + b"0" * 1000)
    with pytest.raises(Damaged, match="no shard"):
        check(path, KEY)
    path.unlink()
    path.mkdir()
    with pytest.raises(Damaged, match="cannot be read"):
        check(path, KEY)


def test_a_file_is_flushed_before_it_has_its_name_and_its_folder_after(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    done = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor):
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    monkeypatch.setattr(shard_file.os, "fsync", noted_fsync)
    monkeypatch.setattr(shard_file.os, "replace", lambda *names: (done.append("rename"), replace(*names)))
    write_shard(tmp_path / "shard", tmp_path / "tmp", KEY, {}, ARRAYS)
    assert done == ["file", "rename", "folder"]
