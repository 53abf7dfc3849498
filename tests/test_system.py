"""Without the names that only some systems have, the main calls do what they do with them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ghostpoint import system

ROOT = Path(__file__).parent.parent

#: what Windows lacks, and of it what macOS lacks
POSIX = [
    "sched_getaffinity", "sched_setaffinity", "fork", "forkpty", "getuid", "geteuid", "getgid", "getegid",
    "uname", "getpgid", "setsid", "killpg", "chown", "O_DIRECTORY", "O_NOFOLLOW", "statvfs", "sysconf",
    "mkfifo", "getloadavg", "nice", "openpty", "initgroups", "setuid", "setgid", "umask",
]  # fmt: skip
LINUX = ["sched_getaffinity", "sched_setaffinity", "posix_fadvise", "posix_fallocate", "sched_yield", "memfd_create"]
MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty")

PRELUDE = """
# what is not of this package asks for its own system, which here is Linux
import asyncio, multiprocessing, os, pathlib, shutil, subprocess, sys, tempfile, uuid
import filelock, jinja2, matplotlib.figure, numba, numpy, rich.console, scipy.linalg, typer, xarray, zarr.storage
for name in {names!r}:
    if hasattr(os, name):
        delattr(os, name)
for name in {modules!r}:
    sys.modules[name] = None
"""
LIBRARY = """
import ghostpoint as gp
models = gp.LowRankRNN.initialize(4, [0, 1])
task = gp.tasks.DelayedActivation(10)
run = gp.train(models, task, 0.01, 100)
print(run.history["loss"].values.astype(float).sum().hex())
loaded = gp.load(run.save(sys.argv[1] + "/run.zip"))
print(gp.diagnose(loaded).verdict, loaded.task == task, gp.slow_points.latents.flow_zeros(run.models).count)
points = gp.find_slow_points(run.models[0], n_starts=8)
print(points.kind)
"""
COMMAND = """
from tests.command.fake_experiments import install
from ghostpoint.command.cli import run
install(setattr)
folder = sys.argv[1] + "/out"
assert run(["list"]) == 0
assert run(["reproduce", "--out", folder, "--only", "first"]) == 0
assert run(["reproduce", "--out", folder, "--only", "first"]) == 2
assert run(["reproduce", "--out", folder, "--resume", "--only", "first"]) == 0
assert run(["report", folder]) == 0
"""


def run(program: str, folder: Path, names: list[str] | tuple[str, ...] = (), modules: tuple[str, ...] = ()) -> str:
    prelude = PRELUDE.format(names=tuple(names), modules=modules)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", prelude + program, str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("names", "modules"), [(LINUX, ()), (POSIX, MODULES)], ids=["as macOS", "as Windows"])
def test_the_library_gives_the_same_bits(tmp_path, names, modules):
    assert run(LIBRARY, tmp_path, names, modules) == run(LIBRARY, tmp_path)


@pytest.mark.parametrize(("names", "modules"), [(LINUX, ()), (POSIX, MODULES)], ids=["as macOS", "as Windows"])
def test_the_command_runs(tmp_path, names, modules):
    assert "Report: " in run(COMMAND, tmp_path, names, modules)


def test_processors_are_counted_in_the_best_way_there_is(monkeypatch):
    monkeypatch.setattr(os, "process_cpu_count", lambda: 3, raising=False)
    assert system.processors() == 3
    monkeypatch.delattr(os, "process_cpu_count")
    if hasattr(os, "sched_getaffinity"):
        assert system.processors() == len(os.sched_getaffinity(0))
        monkeypatch.delattr(os, "sched_getaffinity")
    assert system.processors() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert system.processors() == 1


def test_a_lock_is_held_by_one_and_goes_with_its_process(tmp_path):
    path = tmp_path / ".lock"
    with system.held(path, "somebody is at it"):
        for _ in range(2):
            with pytest.raises(ValueError, match="somebody is at it"), system.held(path, "somebody is at it"):
                pass
        refused = []
        thread = threading.Thread(target=lambda: refused.append(_refused(path)))
        thread.start()
        thread.join()
        assert refused == [True]
    program = f"""
import os, pathlib
from ghostpoint.system import held
lock = held(pathlib.Path({str(path)!r}), "busy")
lock.__enter__()
print("held", flush=True)
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (9, "held\n")
    assert path.exists()
    with system.held(path, "somebody is at it"):
        pass
    assert not path.exists()


def test_many_processes_never_hold_a_lock_together(tmp_path):
    (tmp_path / "ready").mkdir()
    program = f"""
import os, pathlib, time
from ghostpoint.system import held
folder = pathlib.Path({str(tmp_path)!r})
path, inside, ready, held_up = folder / ".lock", folder / "inside", folder / "ready", 0
(ready / str(os.getpid())).touch()
while len(list(ready.iterdir())) < 4:  # all start together
    time.sleep(0.005)
for _ in range(60):
    while True:
        try:
            with held(path, "busy"):
                inside.mkdir()  # fails where another is inside
                time.sleep(0.002)  # while the others meet a lock that is held
                inside.rmdir()
            break
        except ValueError:
            held_up += 1
            time.sleep(0.0005)
print(held_up)
"""
    runs = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    refused = [int(run.communicate(timeout=120)[0]) for run in runs]
    assert all(run.returncode == 0 for run in runs)
    assert sum(refused) > 20


def _refused(path: Path) -> bool:
    try:
        with system.held(path, "busy"):
            return False
    except ValueError:
        return True


@pytest.fixture
def dev():
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_dev_finds_the_interpreter_of_either_layout(monkeypatch, dev):
    folder = Path("env")
    for name, wanted in (("posix", folder / "bin" / "python"), ("nt", folder / "Scripts" / "python.exe")):
        monkeypatch.setattr(dev.os, "name", name)
        found = dev.interpreter(folder)
        monkeypatch.undo()
        assert found == wanted
    assert dev.processors() == system.processors()
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    assert dev.processors() == os.cpu_count()


@pytest.mark.parametrize(("forbidden", "folder"), [("1", str(Path("env") / "bytecode")), ("", None)])
def test_dev_keeps_bytecode_where_the_environment_forbids_it_beside_the_sources(monkeypatch, dev, forbidden, folder):
    monkeypatch.setattr(dev.os, "environ", {"PYTHONDONTWRITEBYTECODE": forbidden})
    dev.keep_bytecode(Path("env"))
    assert dev.os.environ.get("PYTHONPYCACHEPREFIX") == folder
    assert not dev.os.environ.get("PYTHONDONTWRITEBYTECODE")


def test_only_one_file_of_the_package_asks_for_the_system():
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for word in ("fcntl", "msvcrt", "sched_getaffinity", "os.umask", "import resource", "sys.platform", "os.name"):
            assert word not in text or path.name == "system.py", f"{path.name} has {word}"
