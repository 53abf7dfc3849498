"""Sweeps in this process: results, resuming, growing, failing, damaged files, a full disk, two at
once.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import ghostpoint as gp
from ghostpoint.command.cli import run
from ghostpoint.errors import InputError
from ghostpoint.sweeps import estimate, shard_file, shard_work
from ghostpoint.sweeps import folder as folder_module
from ghostpoint.sweeps.folder import ATTEMPTS, DiskFull, Stopped, SweepFolder
from ghostpoint.sweeps.local import run_here
from ghostpoint.sweeps.results import runs_table
from ghostpoint.sweeps.run import begin
from ghostpoint.sweeps.status import Tally
from ghostpoint.sweeps.sweep_file import read_sweep
from tests.sweeps.small import small


@pytest.fixture(autouse=True, scope="module")
def one_fingerprint():
    """The hash of the code is that of files, which takes seconds to read; once will do."""
    before = folder_module.fingerprint
    value = before(shard_work.compute)
    folder_module.fingerprint = lambda function: value
    yield
    folder_module.fingerprint = before


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    out = tmp_path_factory.mktemp("swept") / "out"
    gp.sweep(small(), out, threads=2)
    return out


@pytest.fixture
def out(swept, tmp_path):
    return Path(shutil.copytree(swept, tmp_path / "out"))


def content(out):
    return {path.name: path.read_bytes() for path in (out / "shards").iterdir()}


def test_the_dataset_is_what_train_gives(swept):
    found = gp.open_sweep(swept)
    assert dict(found.sizes) == {"delay": 2, "learning_rate": 3, "seed": 4, "epoch": 12, "unit": 6, "latent": 1}
    assert bool(found["done"].all())
    for place, delay in enumerate((30, 50)):
        models = gp.LowRankRNN.initialize(6, range(4), "fixed_readout").repeat(3)
        rates = np.repeat(np.geomspace(0.01, 1, 3), 4)
        engine = gp.Computing("reference", "float64")
        run = gp.train(models, gp.tasks.DelayedActivation(delay), rates, 12, engine=engine)
        at = found.isel(delay=place)
        for name in ("loss", "gradient_norm", "accuracy"):
            np.testing.assert_array_equal(at[name].values.reshape(12, 12), run.history[name].values)
        for name, values in run.events.data_vars.items():
            np.testing.assert_array_equal(at[name].values.ravel(), values.values)
        np.testing.assert_array_equal(at["final_m"].values.reshape(12, 6, 1), run.models.m)


def test_lazy_reading_is_that_of_the_whole(swept):
    found = gp.open_sweep(swept)
    whole = found.load()
    for key in (
        {"seed": 2}, {"seed": [3, 0, 3], "epoch": slice(1, None, 4)}, {"delay": -1, "learning_rate": 1, "seed": 0},
        {"epoch": [5, 2], "delay": slice(None, None, -1)}, {"seed": slice(0, 0)},
    ):  # fmt: skip
        xr.testing.assert_identical(gp.open_sweep(swept)["loss"].isel(key), whole["loss"].isel(key))
    assert found.sel(delay=50, seed=3)["final_m"].shape == (3, 6, 1)


def test_networks_and_epochs_that_differ_in_size_leave_gaps(tmp_path):
    grid = {"models": {"units": [4, 6], "seed": [0]}, "training": {"epochs": [5, 9]}, "zip": [["units", "epochs"]]}
    given = small(training={"learning_rate": 0.1}, grid=grid)
    del given["models"]["units"], given["training"]["epochs"], given["grid"]["task"]
    found = gp.sweep(given, tmp_path / "out", threads=1)
    assert found["epochs"].dims == ("units",)
    lost = np.isnan(found["loss"].isel(units=0, seed=0).values)
    assert lost.tolist() == [False] * 5 + [True] * 4
    assert np.isnan(found["final_m"].isel(units=0, seed=0, unit=[3, 4], latent=0).values).tolist() == [False, True]


def test_an_axis_may_have_the_name_of_what_is_recorded(tmp_path):
    given = small(grid={"models": {"confidence": [2.0, 5.0], "seed": [0]}}, training={"learning_rate": 0.1})
    given["grid"] = {"models": given["grid"]["models"]}
    found = gp.sweep(given, tmp_path / "out", threads=1)
    assert found["confidence"].values.tolist() == [2, 5]
    assert found["recorded_confidence"].sel(confidence=5, seed=0).values.tolist() == [5] * 12


def test_opening_is_quick_and_reads_no_history(tmp_path, monkeypatch):
    given = small(
        training={"epochs": 100_000, "learning_rate": 0.1}, shards={"networks": 50}, grid={"task": {"delay": [30]}}
    )
    given["grid"] = {"models": {"seed": {"range": [1000]}}}
    folder = SweepFolder.create(tmp_path / "out", read_sweep({**given, "recording": {"history": "all"}}))
    row = {name: (("network", "epoch"), np.zeros((1, 100_000), "f4")) for name in ("loss", "accuracy")}
    one = {"epoch": (("epoch",), np.arange(100_000)), **row, "frozen": (("network",), np.zeros(1, np.int64))}
    for shard in folder.shards[:3]:
        some = {
            name: (dims, np.repeat(values, 50, 0) if name != "epoch" else values)
            for name, (dims, values) in one.items()
        }
        shard_file.write_shard(folder.file(shard.key), folder.path / "tmp", shard.key, {}, some)
    read = []
    before = shard_file.read_rows
    monkeypatch.setattr("ghostpoint.sweeps.results.read_rows", lambda *a: (read.append(a[1]), before(*a))[1])
    found = gp.open_sweep(tmp_path / "out")
    assert found["loss"].shape == (1000, 100_000)
    assert set(read) == {"epoch"}
    assert int(found["done"].sum()) == 150
    assert float(found["loss"].isel(seed=120, epoch=-1)) == 0
    assert np.isnan(found["loss"].isel(seed=150, epoch=-1))


def test_a_second_run_computes_nothing(out, monkeypatch):
    before = content(out)
    monkeypatch.setattr(folder_module, "compute", lambda *a, **k: pytest.fail("computed"))
    gp.sweep(small(), out)
    assert content(out) == before


def test_an_extended_grid_computes_only_what_is_new(out, tmp_path, monkeypatch):
    before, computed = content(out), []
    real = folder_module.compute

    def counted(settings, networks, **keywords):
        delays = [settings["task"]["delay"]] * len(networks["seed"])
        computed.extend(zip(delays, networks["learning_rate"], networks["seed"], strict=True))
        return real(settings, networks, **keywords)

    monkeypatch.setattr(folder_module, "compute", counted)
    larger = small(grid={"task": {"delay": [30, 40, 50]}, "models": {"seed": [5, 0, 1, 2, 3]}})
    found = gp.sweep(larger, out, threads=1)
    assert len(computed) == len(set(computed)) == 3 * 3 * 5 - 24
    assert all(delay == 40 or seed == 5 for delay, _, seed in computed)
    assert before.items() <= content(out).items()
    fresh = gp.sweep(larger, tmp_path / "fresh", threads=1)
    for name in fresh.data_vars:
        np.testing.assert_array_equal(found[name].values, fresh[name].values)
    smaller = gp.sweep(small(), out)
    assert smaller.sizes["seed"] == 4
    assert bool(smaller["done"].all())


def test_another_sweep_or_other_things_in_the_folder_are_refused(out, tmp_path):
    with pytest.raises(InputError, match="holds another sweep"):
        gp.sweep(small(training={"epochs": 13}), out)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").write_text("")
    with pytest.raises(InputError, match="holds other things"):
        gp.sweep(small(), tmp_path / "other")
    with pytest.raises(InputError, match="is a file"):
        gp.sweep(small(), tmp_path / "other/thesis.tex")
    with pytest.raises(InputError, match="not a folder made by ghostpoint sweep"):
        gp.open_sweep(tmp_path)


def test_other_code_computes_all_again_under_other_names(out, monkeypatch):
    before = content(out)
    monkeypatch.setattr(folder_module, "fingerprint", lambda function: "other code")
    monkeypatch.setattr(folder_module, "source_digest", lambda: "other source")
    gp.sweep(small(), out, threads=1)
    after = content(out)
    assert len(after) == 2 * len(before)
    assert before.items() < after.items()


def _flip(path):
    data = bytearray(path.read_bytes())
    data[-70] ^= 4
    path.write_bytes(data)


def _between_arrays(one, two):
    data = bytearray(one.read_bytes())
    first, _ = next(gap for gap in shard_file.read_header(one, one.stem).gaps if gap[0] < gap[1])
    data[first] = 1
    one.write_bytes(data)


DAMAGES = {
    "flipped": (lambda one, two: _flip(one), "checksum"),
    "truncated": (lambda one, two: os.truncate(one, one.stat().st_size // 2), "truncated"),
    "emptied": (lambda one, two: os.truncate(one, 0), "empty"),
    "swapped": (lambda one, two: shutil.copy(two, one), "another shard"),
    "padding": (_between_arrays, "bytes between its arrays are not zero"),
    "foreign": (lambda one, two: one.write_text("not a shard"), "no shard of this format"),
    "unreadable": (lambda one, two: (one.unlink(), one.mkdir()), "cannot be read"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_named_set_aside_and_computed_again(out, kind):
    damage, why = DAMAGES[kind]
    before = content(out)
    one, two = sorted((out / "shards").iterdir())[:2]
    damage(one, two)
    if kind not in ("flipped", "padding"):  # which are noticed in what they change alone
        with pytest.raises(InputError, match=one.name):
            gp.open_sweep(out).load()
    with pytest.warns(UserWarning, match=rf"{one.name}.*{why}.*set aside as .*damaged"):
        found = gp.sweep(small(), out, threads=1)
    assert bool(found["done"].all())
    assert content(out) == before
    assert len(list((out / "damaged").iterdir())) == 1


def test_a_flipped_bit_is_not_read_as_a_number(out):
    for path in (out / "shards").iterdir():
        _flip(path)
    with pytest.raises(InputError, match=r"checksum of .* is wrong"):
        gp.open_sweep(out).load()


def test_strange_files_among_the_shards_are_set_aside(out, capsys):
    (out / "shards/notes.txt").write_text("mine")
    assert run(["status", str(out), "--check"]) == 0
    assert "notes.txt: it is no shard of a sweep; set aside" in capsys.readouterr().out
    assert (out / "damaged/notes.txt.0").read_text() == "mine"


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, monkeypatch, capsys):
    out, file = tmp_path / "out", tmp_path / "sweep.toml"
    file.write_text(TOML)
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(shard_file.os, "fsync", full)
    assert run(["sweep", str(file), "--out", str(out), "--threads", "1"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is full: every finished shard is kept" in said
    kept = content(out)
    assert 0 < len(kept) < 6
    assert list((out / "tmp").iterdir()) == []
    monkeypatch.undo()
    assert run(["sweep", str(file), "--out", str(out), "--threads", "1"]) == 0
    assert kept.items() < content(out).items()
    assert len(content(out)) == 6


TOML = """\
models = {units = 6}
task = {name = "DelayedActivation"}
training = {epochs = 12, engine = "reference", dtype = "float64"}
shards = {networks = 4}
[grid]
task.delay = [30, 50]
training.learning_rate = {logspace = [0.01, 1.0, 3]}
models.seed = {range = [4]}
"""


def test_a_dry_run_says_what_is_left_and_writes_nothing(tmp_path, capsys):
    out, file = tmp_path / "out", tmp_path / "sweep.toml"
    file.write_text(TOML)
    arguments = ["sweep", str(file), "--out", str(out)]
    assert run([*arguments, "--dry-run"]) == 0
    assert "kept" not in capsys.readouterr().out
    assert not out.exists()
    assert run([*arguments, "--shard", "1/2", "--threads", "1"]) == 0
    file.write_text(TOML.replace("[30, 50]", "[30, 50, 60]"))
    before = sorted(out.rglob("*"))
    capsys.readouterr()
    assert run([*arguments, "--dry-run"]) == 0
    assert f"kept      3 of 9 shards in {out}; " in capsys.readouterr().out
    assert sorted(out.rglob("*")) == before
    file.write_text(TOML.replace("epochs = 12", "epochs = 13"))
    assert run([*arguments, "--dry-run"]) == 2
    assert "holds another sweep" in capsys.readouterr().err


def test_the_way_to_the_first_crossing_is_in_the_predicted_time(monkeypatch):
    monkeypatch.setattr(estimate, "_to_first_crossing", lambda shard: 10.0)
    given = small(sweep={"computes": "critical_rate"}, training={"epochs": 60})
    given["grid"] = {"task": {"delay": [30, 50]}, "models": {"seed": [0, 1]}}
    for predict in (True, False):
        given["measurement"] = {"rates": [0.1], "horizon": 60, "predict": predict}
        found = estimate.estimate(read_sweep(given), 1)
        assert found.core_seconds // 10 == predict * found.shards


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full(tmp_path, capsys):
    disk, file = tmp_path / "disk", tmp_path / "sweep.toml"
    file.write_text(TOML)
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        assert run(["sweep", str(file), "--out", str(disk / "out"), "--threads", "1"]) == 2
        assert "is full: every finished shard is kept" in capsys.readouterr().err
        kept = content(disk / "out")
        assert kept
        subprocess.run(["mount", "-o", "remount,size=10m", disk], check=True)
        assert run(["sweep", str(file), "--out", str(disk / "out"), "--threads", "1"]) == 0
        assert kept.items() < content(disk / "out").items()
        assert run(["sweep", str(file), "--out", str(tmp_path / "out"), "--threads", "1"]) == 0
        assert content(disk / "out") == content(tmp_path / "out")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_shard_that_fails_is_tried_three_times_and_the_rest_goes_on(tmp_path, monkeypatch, capsys):
    out, real, tried = tmp_path / "out", folder_module.compute, []

    def fragile(settings, networks, **keywords):
        if settings["task"]["delay"] == 50 and networks["learning_rate"][0] == 0.1:
            tried.append(1)
            raise ZeroDivisionError("three times nothing")
        return real(settings, networks, **keywords)

    monkeypatch.setattr(folder_module, "compute", fragile)
    with pytest.warns(UserWarning, match="1 shards failed 3 times.*three times nothing"):
        found = gp.sweep(small(), out, threads=2)
    assert int(found["done"].sum()) == 20
    assert len(tried) == ATTEMPTS
    status = Tally(SweepFolder.open(out)).status()
    assert list(status.given_up.values()) == ["ZeroDivisionError: three times nothing"]
    with pytest.warns(UserWarning, match="1 shards failed"):
        gp.sweep(small(), out)
    assert len(tried) == ATTEMPTS
    monkeypatch.undo()
    assert run(["status", str(out)]) == 0
    assert "FAILED" in capsys.readouterr().out
    assert run(["status", str(out), "--retry"]) == 0
    assert bool(gp.sweep(small(), out, threads=1)["done"].all())
    assert SweepFolder.open(out).failures() == {}


def test_a_shard_that_another_process_computes_is_waited_for(tmp_path):
    begun = begin(read_sweep(small()), tmp_path / "out")
    first = begun.todo[0]
    said = []
    with begun.folder._claimed(first.key):
        assert begun.folder.run(first) == "busy"
        runner = threading.Thread(
            target=run_here,
            args=(begun.folder, begun.todo, 2, lambda key, one: said.append((key, one)) if key else None),
        )
        runner.start()
        while len(said) < 5:
            runner.join(0.05)
        runner.join(0.3)
        assert runner.is_alive()
        assert not begun.folder.file(first.key).exists()
    runner.join(30)
    assert sorted(said) == sorted((shard.key, "done") for shard in begun.todo)


def test_two_runs_at_once_compute_every_shard_once(tmp_path, monkeypatch):
    computed, real = [], folder_module.compute

    def counted(settings, networks, **keywords):
        computed.append(json.dumps([settings, networks]))
        return real(settings, networks, **keywords)

    monkeypatch.setattr(folder_module, "compute", counted)
    runs = [
        threading.Thread(target=gp.sweep, args=(small(), tmp_path / "out"), kwargs={"threads": 2}) for _ in range(2)
    ]
    for one in runs:
        one.start()
    for one in runs:
        one.join(60)
    assert len(computed) == len(set(computed)) == 6
    assert bool(gp.open_sweep(tmp_path / "out")["done"].all())


def test_stopping_keeps_what_is_finished(tmp_path):
    begun = begin(read_sweep(small()), tmp_path / "out")
    assert begun.folder.run(begun.todo[0]) == "done"
    with pytest.raises(Stopped):
        begun.folder.run(begun.todo[1], stop=lambda: True)
    assert len(content(tmp_path / "out")) == 1
    assert list((tmp_path / "out/tmp").iterdir()) == []


def test_shares_make_up_the_whole(tmp_path, swept):
    for share in ("1/3", "3/3", "2/3"):
        gp.sweep(small(), tmp_path / "out", share=share, threads=1)
    assert content(tmp_path / "out") == content(swept)
    for wrong in ("0/3", "4/3", "3", "a/b", "1/0"):
        with pytest.raises(InputError, match="must be I/N"):
            gp.sweep(small(), tmp_path / "none", share=wrong)
    assert not (tmp_path / "none").exists()


def test_a_long_training_goes_on_from_its_last_part_and_is_that_of_one_piece(tmp_path, monkeypatch):
    given = small(training={"epochs": 50, "learning_rate": 2.0}, shards={"networks": 8}, recording={"history": 7})
    given["grid"] = {"models": {"seed": {"range": [8]}}}
    whole = gp.sweep(given, tmp_path / "whole", threads=1)
    given["shards"]["resume_every"] = 11
    begun = begin(read_sweep(given), tmp_path / "parts")
    calls = []
    with pytest.raises(Stopped):
        begun.folder.run(begun.todo[0], stop=lambda: calls.append(1) or len(calls) > 25)
    assert len(list((tmp_path / "parts/parts").iterdir())) == 2
    trained, real = [], shard_work.outcome_of
    monkeypatch.setattr(shard_work, "outcome_of", lambda *a, **k: (trained.append(a[3]), real(*a, **k))[1])
    parts = gp.sweep(given, tmp_path / "parts", threads=1)
    assert trained == [11, 11, 6]
    xr.testing.assert_identical(parts.load().drop_attrs(), whole.load().drop_attrs())
    assert list((tmp_path / "parts/parts").iterdir()) == []


def test_the_parts_of_compiled_trainings_are_those_of_one_piece(tmp_path):
    given = small(models={"units": 100, "seed": 0}, training={"epochs": 2000, "engine": "compiled", "dtype": "float32"})
    given["shards"] = {"networks": 16}
    given["grid"] = {"models": {"seed": {"range": [4]}}, "training": {"learning_rate": [0.02, 0.5, 5.0, 1e6]}}
    del given["models"]["seed"]
    whole = gp.sweep(given, tmp_path / "whole", threads=1)
    assert int((whole["no_learning_zone_entry"] >= 0).sum()) > 0
    assert int((whole["frozen"] >= 0).sum()) > 0
    given["shards"]["resume_every"] = 700
    parts = gp.sweep(given, tmp_path / "parts", threads=1)
    xr.testing.assert_identical(parts.load().drop_attrs(), whole.load().drop_attrs())


def test_the_table_of_runs_and_exports(swept, tmp_path):
    found = gp.open_sweep(swept)
    table = runs_table(found)
    assert len(table) == 24
    row = table[(table.delay == 50) & (table.seed == 3)].iloc[1]
    assert row.last_loss == float(found["loss"].isel(delay=1, learning_rate=1, seed=3, epoch=-1))
    gp.sweeps.export(swept, tmp_path / "all.zarr")
    xr.testing.assert_equal(xr.open_zarr(tmp_path / "all.zarr", consolidated=False, chunks=None).load(), found.load())
    gp.sweeps.export(swept, tmp_path / "runs.csv")
    assert (tmp_path / "runs.csv").read_text().count("\n") == 25
    with pytest.raises(InputError, match="there already"):
        gp.sweeps.export(swept, tmp_path / "runs.csv")
    with pytest.raises(InputError, match=r"must end in \.zarr"):
        gp.sweeps.export(swept, tmp_path / "runs.xls")


def test_parquet_is_the_table(swept, tmp_path):
    pytest.importorskip("pyarrow", reason="pip install 'ghostpoint[export]'")
    import pandas as pd

    gp.sweeps.export(swept, tmp_path / "runs.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "runs.parquet"), runs_table(gp.open_sweep(swept)))


def test_netcdf_is_the_dataset(swept, tmp_path):
    for module in ("h5netcdf", "h5py"):
        pytest.importorskip(module, reason="pip install 'ghostpoint[export]'")
    gp.sweeps.export(swept, tmp_path / "all.nc")
    found = gp.open_sweep(swept).load()
    xr.testing.assert_equal(xr.load_dataset(tmp_path / "all.nc", engine="h5netcdf")[["loss"]], found[["loss"]])


def test_critical_rates_are_swept_too(tmp_path):
    given = small(sweep={"computes": "critical_rate"}, training={"epochs": 60, "dtype": "float64"})
    given["measurement"] = {"rates": [0.1, 1.0], "horizon": 60}
    given["grid"] = {"models": {"seed": [0, 1]}}
    found = gp.sweep(given, tmp_path / "out", threads=1)
    models, task = gp.LowRankRNN.initialize(6, [0, 1], "fixed_readout"), gp.tasks.DelayedActivation()
    direct = gp.critical_learning_rate(
        models, task, measure=True, rates=[0.1, 1.0], horizon=60, epochs=60, engine=gp.Computing("reference", "float64")
    )
    np.testing.assert_array_equal(found["predicted"].values, direct.predicted)
    np.testing.assert_array_equal(found["measured"].values, direct.measured)
    np.testing.assert_array_equal(found["first_order"].values, direct.first_order)


def test_status_and_plots_by_the_command(swept, tmp_path, capsys):
    assert run(["status", str(swept)]) == 0
    assert capsys.readouterr().out.startswith(f"{swept}: 24 of 24 networks done (100 %)")
    assert run(["status", str(swept), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["complete"] is True
    assert run(["status", str(swept), "--follow"]) == 0
    for options in (
        ["--x", "learning_rate", "--y", "delay"], ["--x", "learning_rate", "--value", "solved"],
        ["--x", "epoch", "--y", "learning_rate", "--value", "loss"], ["--x", "delay", "--value", "critical"],
        ["--x", "seed", "--y", "learning_rate", "--value", "loss"], ["--x", "delay", "--value", "epochs"],
    ):  # fmt: skip
        name = "-".join(option for option in options if option[0] != "-")
        assert run(["plot", str(swept), *options, "--out", str(tmp_path / name)]) == 0, capsys.readouterr().err
        assert (tmp_path / f"{name}.svg").stat().st_size > 1000
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    assert run(["plot", str(swept), "--x", "rate"]) == 2
    assert "axis must be one of delay, learning_rate, seed; got 'rate'" in capsys.readouterr().err


def test_disk_full_is_an_os_error():
    assert issubclass(DiskFull, OSError)
