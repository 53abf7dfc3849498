"""``ghostpoint diagnose`` from the command line: options, figures, JSON, and inputs that are
refused in one line.
"""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest

from ghostpoint.command.cli import run

T = np.arange(300)
UP = 1 / (1 + np.exp(-(T - 200) / 4))
LOSS = 0.7 - 0.65 * UP + 0.003 * np.random.default_rng(0).normal(size=300)


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "loss.npy", LOSS)
    shutil.copy(tmp_path / "loss.npy", tmp_path / "renamed.npz")
    shutil.copy(tmp_path / "loss.npy", tmp_path / "renamed.csv")
    np.savez(tmp_path / "whole.npz", loss=LOSS, accuracy=0.5 + 0.5 * UP)
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "truncated.npz").write_bytes(whole[: len(whole) // 2])
    damaged = whole[:60] + b"\xff" * 340 + whole[400:]
    (tmp_path / "damaged.zip").write_bytes(damaged)
    (tmp_path / "damaged.npz").write_bytes(damaged)
    np.save(tmp_path / "transposed.npy", np.stack([LOSS] * 3).T)
    np.save(tmp_path / "columns.npy", np.stack([T, LOSS]).T)
    np.save(tmp_path / "rows.npy", np.stack([T, LOSS]))
    np.save(tmp_path / "many.npy", LOSS + 0.001 * np.random.default_rng(1).normal(size=(400, 300)))
    table = [f"{t},{y},{a}" for t, y, a in zip(10 * T, LOSS, 0.5 + 0.5 * UP, strict=True)]
    (tmp_path / "named.csv").write_text("\n".join(["iter,objective,top1", *table]))
    rows = [f"seed-{k},{t},{y}" for k in range(3) for t, y in zip(T, LOSS, strict=True)]
    (tmp_path / "runs.csv").write_text("\n".join(["run,epoch,loss", *rows]))
    (tmp_path / "targets.txt").write_text("\n".join(map(str, np.arange(100) % 2)))
    return tmp_path


@pytest.fixture
def command(folder, capsys):
    """Status, output and lines of errors of ``ghostpoint diagnose FILE OPTIONS``."""

    def call(file, *options):
        status = run(["diagnose", str(folder / file), *options])
        captured = capsys.readouterr()
        return status, captured.out, captured.err.strip().splitlines()

    return call


@pytest.mark.parametrize("file", ["loss.npy", "renamed.npz", "renamed.csv", "whole.npz"])
def test_the_content_says_the_format_not_the_name(command, file):
    status, out, errors = command(file)
    assert (status, errors) == (0, [])
    assert out.startswith("abrupt learning")


def test_the_standard_input_is_read(capsys, monkeypatch):
    text = "\n".join(["epoch,loss", *[f"{t},{y}" for t, y in zip(T, LOSS, strict=True)]])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert run(["diagnose", "-"]) == 0
    assert capsys.readouterr().out.startswith("abrupt learning")


def test_columns_are_named(command):
    options = ["--step", "iter", "--loss", "objective", "--accuracy", "top1", "--json"]
    status, out, _ = command("named.csv", *options)
    found = json.loads(out)
    assert status == 0
    assert found["columns"] == {"epoch": "iter", "loss": "objective", "accuracy": "top1"}
    assert found["runs"][0]["verdict"] == "abrupt learning"
    drop = next(phase for phase in found["runs"][0]["phases"] if phase["name"] == "abrupt learning")
    assert drop["start"] < 2000 < drop["end"]  # in the steps of the column


def test_one_run_of_many_by_name(command):
    status, out, _ = command("runs.csv", "--run", "seed-2", "--json")
    assert status == 0
    assert [run["name"] for run in json.loads(out)["runs"]] == ["seed-2"]
    status, out, _ = command("runs.csv")
    assert status == 0
    assert all(f"seed-{k}" in out for k in range(3))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--classes", "2"], "chance loss 0.6931 from 2 classes"),
        (["--targets", "targets.txt"], "chance loss 0.6931 from 100 targets"),
        (["--chance-loss", "0.7", "--chance-accuracy", "0.5"], None),
        ([], "inferred from the first plateau"),
    ],
)
def test_the_output_says_where_chance_comes_from(command, folder, options, said):
    given = [str(folder / option) if option.endswith(".txt") else option for option in options]
    status, out, _ = command("named.csv", "--loss", "objective", "--accuracy", "top1", *given)
    assert status == 0
    assert said in out if said else "inferred" not in out


@pytest.mark.parametrize("file", ["loss.npy", "many.npy"])
def test_a_figure_of_one_run_and_of_400(command, folder, file):
    picture = folder / "figures" / "picture.png"
    status, _, _ = command(file, "--figure", str(picture))
    assert status == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("file", "options", "words"),
    [
        ("truncated.npz", [], ["truncated.npz", "cannot be read"]),
        ("damaged.zip", [], ["damaged.zip", "cannot be read"]),
        ("damaged.npz", [], ["damaged.npz", "cannot be read"]),
        ("transposed.npy", [], ["(300, 3)", "transpose"]),
        ("columns.npy", [], ["(300, 2)", "is each row (epoch, loss)?"]),
        ("rows.npy", [], ["(2, 300)", "is the first row the epoch?"]),
        ("missing.csv", [], ["there is no"]),
        ("named.csv", ["--loss", "nothing"], ["loss must be one of iter, objective, top1", "'nothing'"]),
        ("named.csv", ["--loss", "objective", "--accuracy", "x"], ["accuracy must be one of", "'x'"]),
        ("named.csv", ["--loss", "objective", "--step", "x"], ["step must be one of", "'x'"]),
        ("runs.csv", ["--run", "seed-9"], ["seed-0, seed-1, seed-2", "'seed-9'"]),
        ("loss.npy", ["--chance-accuracy", "50"], ["below 1", "percent"]),
        ("loss.npy", ["--chance-loss", "nan"], ["chance_loss must be finite"]),
        ("loss.npy", ["--chance-loss", "-3"], ["chance_loss must be above 0", "-3"]),
        ("loss.npy", ["--classes", "1"], ["classes must be at least 2"]),
        ("loss.npy", ["--targets", "missing.txt"], ["targets must be a file"]),
        ("loss.npy", ["--figure", "x.bmpx"], ["figure must end in one of"]),
    ],
)
def test_a_wrong_input_is_one_line_and_status_2(command, file, options, words):
    status, out, errors = command(file, *options)
    assert status == 2
    assert out == ""
    assert len(errors) == 1
    assert all(word in errors[0] for word in words), errors
