"""Kill -9: of a process on this machine in the middle of a shard, and of Dask workers and drivers
again and again.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

import ghostpoint as gp
from ghostpoint.command.cli import run
from ghostpoint.sweeps.cluster import connected, run_on
from ghostpoint.sweeps.run import begin
from ghostpoint.sweeps.sweep_file import read_sweep
from tests.sweeps.faults import SLOWED, TOML, command, contents, count, disturbed, forking
from tests.sweeps.small import small

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
INSTALL = "pip install 'ghostpoint[cluster]'"


def started(tmp_path, *arguments):
    """The command in a process that is ready at once."""
    process = forking().Process(target=command, args=(tmp_path / "log", *arguments))
    process.start()
    return process


def test_killed_workers_and_drivers_change_no_byte(tmp_path):
    pytest.importorskip("distributed", reason=INSTALL)
    file = tmp_path / "sweep.toml"
    file.write_text(TOML.format(rates=40, epochs=12))
    hit, _ = disturbed(file, tmp_path / "out", kills=20, driver_kills=5)
    assert hit["drivers"] == 5
    assert hit["computing"] + hit["writing"] >= 10
    gp.sweep(file, tmp_path / "calm", threads=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "calm")
    assert len(contents(tmp_path / "out")) == 40
    assert bool(gp.open_sweep(tmp_path / "out")["done"].all())


def test_workers_that_dask_gave_up_are_started_again(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason=INSTALL)
    forking()
    monkeypatch.setattr("ghostpoint.sweeps.cluster.LOST", "10ms")
    begun = begin(read_sweep(small()), tmp_path / "out")
    with connected("local", None, 1, {"preload": SLOWED}) as client:
        (nanny,) = client.cluster.workers.values()
        os.kill(nanny.pid, signal.SIGKILL)
        while nanny in client.cluster.workers.values():
            time.sleep(0.05)
        run_on(client, begun.folder, begun.todo, lambda key, said: None)
        assert [type(one) for one in client.cluster.workers.values()] == [distributed.Nanny]
    assert bool(gp.open_sweep(tmp_path / "out")["done"].all())


def test_workers_that_failed_to_start_are_started_again(tmp_path):
    distributed = pytest.importorskip("distributed", reason=INSTALL)
    forking()
    begun = begin(read_sweep(small()), tmp_path / "out")
    with connected("local", None, 1, {"preload": SLOWED}) as client:
        cluster = client.cluster
        (nanny,) = cluster.workers.values()
        client.sync(nanny.close)
        # what Dask's books look like after a nanny's failed start
        nanny.status = distributed.core.Status.failed
        cluster.workers[next(iter(cluster.worker_spec))] = nanny
        run_on(client, begun.folder, begun.todo, lambda key, said: None)
        assert nanny not in cluster.workers.values()
    assert bool(gp.open_sweep(tmp_path / "out")["done"].all())


def test_a_scheduler_that_remembers_another_folder_computes_this_one(tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason=INSTALL)
    forking()
    with connected("local", None, 1, {}) as client:
        submit, kept = client.submit, []
        monkeypatch.setattr(client, "submit", lambda *a, **k: kept.append(submit(*a, **k)) or kept[-1])
        for name in ("one", "two"):
            begun = begin(read_sweep(small()), tmp_path / name)
            run_on(client, begun.folder, begun.todo, lambda key, said: None)
            assert bool(gp.open_sweep(tmp_path / name)["done"].all())
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_killed_process_leaves_nothing_wrong(tmp_path):
    file, out = tmp_path / "sweep.toml", tmp_path / "out"
    file.write_text(TOML.format(rates=30, epochs=12))
    arguments = (file, "--out", out, "--threads", "2")
    for wanted in (3, 8):
        process = started(tmp_path, *arguments)
        while count(out) < wanted and process.is_alive():
            time.sleep(0.01)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert 8 <= count(out) < 30
    process = started(tmp_path, *arguments)
    process.join()
    assert process.exitcode == 0, (tmp_path / "log").read_text()
    gp.sweep(file, tmp_path / "calm", threads=1)
    assert contents(out) == contents(tmp_path / "calm")
    assert list((out / "tmp").iterdir()) == []


def test_the_end_of_a_job_is_like_ctrl_c(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text(TOML.format(rates=40, epochs=12))
    process = started(tmp_path, file, "--out", tmp_path / "out", "--threads", "1")
    while not list((tmp_path / "out/progress").glob("*.json")):
        time.sleep(0.05)
        assert process.is_alive()
    process.terminate()
    process.join(120)
    assert process.exitcode == 130
    assert "interrupted, the same command goes on" in (tmp_path / "log").read_text()
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
