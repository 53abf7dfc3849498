"""Kill -9: of a process on this machine in the middle of a shard, and of Dask workers and drivers
again and again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

import ghostpoint as gp
from ghostpoint.command.cli import run
from tests.sweeps.faults import TOML, contents, count, disturbed

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
INSTALL = "pip install 'ghostpoint[cluster]'"


def test_killed_workers_and_drivers_change_no_byte(tmp_path):
    pytest.importorskip("distributed", reason=INSTALL)
    file = tmp_path / "sweep.toml"
    file.write_text(TOML.format(rates=40, epochs=150))
    killed, drivers, _ = disturbed(file, tmp_path / "out", kills=20, driver_kills=5)
    assert (killed, drivers) == (20, 5)
    gp.sweep(file, tmp_path / "calm", threads=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "calm")
    assert len(contents(tmp_path / "out")) == 40
    assert bool(gp.open_sweep(tmp_path / "out")["done"].all())


def test_a_killed_process_leaves_nothing_wrong(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text(TOML.format(rates=8, epochs=300))
    command = [sys.executable, "-m", "ghostpoint", "sweep", str(file), "--out", str(tmp_path / "out"), "--threads", "2"]
    for wanted in (2, 5):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while count(tmp_path / "out") < wanted and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 5 <= count(tmp_path / "out") < 8
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    gp.sweep(file, tmp_path / "calm", threads=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "calm")
    assert list((tmp_path / "out/tmp").iterdir()) == []


def test_the_end_of_a_job_is_like_ctrl_c(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text(TOML.format(rates=8, epochs=3000))
    command = [sys.executable, "-m", "ghostpoint", "sweep", str(file), "--out", str(tmp_path / "out"), "--threads", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while not list((tmp_path / "out/progress").glob("*.json")):
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted, the same command goes on" in said
    assert list((tmp_path / "out/progress").iterdir()) == []


def test_the_job_script_of_a_queue_is_printed_without_one(tmp_path, capsys):
    pytest.importorskip("dask_jobqueue", reason=INSTALL)
    file = tmp_path / "sweep.toml"
    file.write_text(TOML.format(rates=2, epochs=5))
    options = [
        "--option",
        "walltime=02:00:00",
        "--option",
        "memory=8GB",
        "--option",
        "queue=short",
        "--option",
        "cores=4",
    ]
    assert run(["sweep", str(file), "--dry-run", "--cluster", "slurm", *options]) == 0
    said = capsys.readouterr().out
    assert said.startswith("networks  8\nshards    2, of 4 networks at most\n")
    for line in (
        "#SBATCH -t 02:00:00", "#SBATCH -p short", "#SBATCH --cpus-per-task=4", "export OMP_NUM_THREADS=1",
        "export NUMBA_NUM_THREADS=1",
    ):  # fmt: skip
        assert line in said.splitlines()
    # four processes of one thread, which end before the job does
    assert "--nthreads 1 " in said
    assert "--nworkers 4 " in said
    assert "--lifetime 6900s --lifetime-stagger 120s" in said
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--cluster", "slrum"], "cluster must be one of local, ssh, slurm, pbs, lsf, sge; got 'slrum'"),
        (
            ["--scheduler", "tcp://127.0.0.1:1", "--cluster", "local"],
            "cluster must be left out where scheduler is given",
        ),
        (["--cluster", "slurm", "--option", "walltime=soon"], "walltime must be hours:minutes:seconds, got 'soon'"),
        (["--cluster", "ssh"], "hosts=HOST,HOST"),
        (["--option", "walltime=1"], "options must be left out without a cluster"),
        (["--option", "walltime"], "--option must be KEY=VALUE"),
    ],
)
def test_wrong_clusters_are_refused_in_a_line(tmp_path, capsys, options, says):
    pytest.importorskip("dask_jobqueue", reason=INSTALL)
    file = tmp_path / "sweep.toml"
    file.write_text(TOML.format(rates=2, epochs=5))
    assert run(["sweep", str(file), "--out", str(tmp_path / "out"), *options]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
