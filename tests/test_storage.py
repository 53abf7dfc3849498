import json
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ghostpoint import storage
from ghostpoint.storage import read_dataset, write_dataset, write_json_atomic, write_text_atomic

NAMES = st.text("abcdefghij_é", min_size=1, max_size=6)
# No NUL at the end and no lone surrogates: NumPy strips the first, and UTF-8 has no form for the
# second.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
DTYPES = st.sampled_from(["bool", "int8", "int64", "uint16", "uint64", "float32", "float64", "complex128", "<U5"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def datasets(draw):
    sizes = draw(st.dictionaries(st.sampled_from(["x", "y", "z"]), st.integers(0, 3), min_size=1))
    variables, coordinates = {}, {}
    for name in draw(st.lists(NAMES, max_size=5, unique=True)):
        dims = draw(st.lists(st.sampled_from(sorted(sizes)), unique=True))
        dtype = np.dtype(draw(DTYPES))
        elements = TEXT.map(lambda text: text[:5]) if dtype.kind == "U" else None
        values = draw(hnp.arrays(dtype, [sizes[dim] for dim in dims], elements=elements))
        attributes = draw(st.dictionaries(st.sampled_from(["units", "long_name", "scale_factor"]), JSON))
        (coordinates if draw(st.booleans()) else variables)[name] = (dims, values, attributes)
    if draw(st.booleans()):
        dim = sorted(sizes)[0]
        coordinates[dim] = np.arange(sizes[dim], dtype=draw(st.sampled_from(["int32", "float32"])))
    return xr.Dataset(variables, coordinates, draw(st.dictionaries(TEXT, JSON, max_size=4)))


def bits(array):
    return array.dtype.str, array.shape, array.tobytes()


@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("value", [np.float32(np.nan), np.float64(np.nan), np.complex128(0)])
def test_what_equals_the_filling_but_for_its_bits_comes_back(tmp_path, shape, value):
    values = np.full(shape, value)
    values.reshape(-1).view("u1")[value.dtype.itemsize - 1 :: value.dtype.itemsize] ^= 0x80  # the sign
    dataset = xr.Dataset({"a": (["x"][: len(shape)], values)})
    back = read_dataset(write_dataset(dataset, tmp_path / "data.zarr.zip"))
    assert bits(back["a"].values) == bits(values)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(datasets())
def test_a_dataset_comes_back_bit_for_bit(tmp_path, dataset):
    path = write_dataset(dataset, tmp_path / "data.zarr.zip")
    back = read_dataset(path)
    xr.testing.assert_identical(back, dataset)
    assert list(back.variables) == list(dataset.variables)
    for name, variable in dataset.variables.items():
        assert bits(back[name].values) == bits(variable.values), name
    first = path.read_bytes()
    write_dataset(back, path)
    assert path.read_bytes() == first


def test_units_of_time_and_fill_values_are_not_acted_on(tmp_path):
    plain = xr.Dataset({"t": ("x", np.array([1, 2**62]), {"units": "days since 2000-01-01", "add_offset": 3.0})})
    back = read_dataset(write_dataset(plain, tmp_path / "d"))
    assert back.t.dtype == np.int64
    xr.testing.assert_identical(back, plain)


def test_numpy_attributes_come_back_as_json_has_them(tmp_path):
    dataset = xr.Dataset(attrs={"seeds": np.arange(3), "rate": np.float32(0.5), "limit": float("inf"), "t": (1, 2)})
    assert read_dataset(write_dataset(dataset, tmp_path / "d")).attrs == {
        "seeds": [0, 1, 2],
        "rate": 0.5,
        "limit": float("inf"),
        "t": [1, 2],
    }


def test_other_zarr_software_reads_the_file(tmp_path):
    import zarr

    path = write_dataset(xr.Dataset({"a": ("x", np.arange(4))}), tmp_path / "d.zarr.zip")
    with zarr.storage.ZipStore(path, mode="r") as store:
        assert zarr.open_group(store, mode="r")["a"][:].tolist() == [0, 1, 2, 3]


def test_nothing_stays_open(tmp_path):
    path = write_dataset(xr.Dataset({"a": ("x", np.arange(4))}), tmp_path / "d")
    dataset = read_dataset(path)
    path.unlink()
    assert dataset.a.values.sum() == 6
    assert not any(str(tmp_path) in os.readlink(f"/proc/self/fd/{fd}") for fd in open_descriptors())


def open_descriptors():
    for fd in os.listdir("/proc/self/fd"):
        if Path(f"/proc/self/fd/{fd}").is_symlink():
            yield fd


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (xr.Dataset({"a": ("x", np.array([{}], dtype=object))}), "variable 'a' must be of .*got object"),
        (
            xr.Dataset({"t": ("x", np.array(["2020-01-01"], "M8[ns]"))}),
            "variable 't' must be of .*datetime64",
        ),
        (xr.Dataset({"a/b": 1}), "without '/', got 'a/b'"),
        (xr.Dataset(attrs={"f": open}), "attributes of 'dataset' must be JSON.*open"),
        (xr.Dataset({"a": ((), 1, {"f": {1}})}), "attributes of 'a' must be JSON"),
        (
            xr.Dataset({"a": ((), 1, {"_FillValue": 1})}),
            "variable 'a' must not have the attribute '_FillValue'",
        ),
        (xr.Dataset(attrs={"ghostpoint_storage": 1}), "must not have the attribute 'ghostpoint_storage'"),
    ],
)
def test_what_cannot_be_stored_exactly_is_refused(tmp_path, dataset, message):
    with pytest.raises(ValueError, match=message):
        write_dataset(dataset, tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no file .*nothing\.zarr\.zip"):
        read_dataset(tmp_path / "nothing.zarr.zip")


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04" + bytes(100)])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "d").write_bytes(content)
    with pytest.raises(ValueError, match="must be a saved dataset"):
        read_dataset(tmp_path / "d")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zarr_file_of_other_software_is_refused(tmp_path):
    import zarr

    with zarr.storage.ZipStore(tmp_path / "d", mode="w") as store:
        xr.Dataset({"a": ("x", [1])}).to_zarr(store, consolidated=False, zarr_format=3)
    with pytest.raises(ValueError, match="another kind of Zarr file"):
        read_dataset(tmp_path / "d")


def test_a_truncated_file_is_refused(tmp_path):
    path = write_dataset(xr.Dataset({"a": ("x", np.random.default_rng(0).normal(size=999))}), tmp_path / "d")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="cannot be read"):
        read_dataset(path)


def test_a_newer_format_asks_for_an_update(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "FORMAT_VERSION", 2)
    path = write_dataset(xr.Dataset(), tmp_path / "d")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has version 2: update ghostpoint"):
        read_dataset(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_text_atomic("old", tmp_path / "text")

    def full(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_text_atomic("new", path)
    assert [p.name for p in tmp_path.iterdir()] == ["text"]
    assert path.read_text() == "old"


def test_files_have_the_permissions_of_ordinary_files(tmp_path):
    (tmp_path / "ordinary").write_text("")
    path = write_text_atomic("a", tmp_path / "ours")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)


@given(JSON)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_json_comes_back(tmp_path, value):
    assert json.loads(write_json_atomic(value, tmp_path / "j.json").read_text(encoding="utf-8")) == value


def test_what_is_not_json_is_refused(tmp_path):
    with pytest.raises(ValueError, match="value must be JSON-serialisable"):
        write_json_atomic({"a": {1}}, tmp_path / "j.json")
    assert list(tmp_path.iterdir()) == []


def test_no_clock_is_in_the_file(tmp_path):
    path = write_dataset(xr.Dataset({"a": 1}), tmp_path / "d")
    assert {entry.date_time[0] for entry in zipfile.ZipFile(path).infolist()} == {1980}
