#!/usr/bin/env python3
"""Everything a fresh clone needs, with nothing but Python 3.11 or newer.

    python3 dev.py reproduce [ARGS]   run the published experiments; ARGS as for ghostpoint's
    python3 dev.py test [ARGS]        run the tests; ARGS as for pytest
    python3 dev.py frameworks [ARGS]  the tests with the real Lightning, Transformers, NeuroGym,
                                      TensorBoard and Weights & Biases, which get an environment of
                                      their own, .venv-frameworks
    python3 dev.py docs [ARGS]        build the documentation into docs/_build/html, in an
                                      environment of its own, .venv-docs; ARGS as for sphinx-build
    python3 dev.py lint               ruff check, ruff format --check, mypy

The first call makes a virtual environment in .venv and installs what the command needs, with the
versions in constraints.txt; later calls only check that nothing changed. Inside a virtual
environment, that one is used.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
EXTRAS = {"reproduce": "", "test": "[test]", "frameworks": "[frameworks]", "docs": "[docs]", "lint": "[lint]"}
#: commands with an environment of their own
ENVIRONMENTS = {"frameworks": ".venv-frameworks", "docs": ".venv-docs"}
#: tests of what the frameworks' environment is for
FRAMEWORKS = [
    "tests/torch/test_lightning.py",
    "tests/torch/test_transformers.py",
    "tests/torch/test_trial_batches.py",
    "tests/torch/test_sinks_of_packages.py",
]


def main(arguments):
    """Set up for the command in ``arguments`` and run it; return its exit status."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this is where an older Python gets told
        return fail(f"ghostpoint needs Python 3.11 or newer, and this is Python {sys.version.split()[0]}")
    if arguments[:1] in ([], ["-h"], ["--help"]):
        print(__doc__.strip())
        return 0
    command, *rest = arguments
    if command not in EXTRAS:
        return fail(f"the command must be one of {', '.join(EXTRAS)}; got {command}")
    try:
        folder = environment(ENVIRONMENTS.get(command, ".venv"))
        install(folder, EXTRAS[command])
    except RuntimeError as error:
        return fail(str(error))
    python = str(interpreter(folder))
    keep_bytecode(folder)
    if command == "lint":
        tools = (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"])
        return max(subprocess.call([python, "-m", *tool], cwd=ROOT) for tool in tools)
    if command == "test":
        os.chdir(ROOT)
        # pytest takes the last -m and -n: `dev.py test -m slow` runs the slow ones, `-n 0` runs
        # them in one process.
        workers = str(min(4, processors()))
        run = [python, "-m", "pytest", "-m", "not slow and not browser", "-n", workers, "--dist", "loadfile", *rest]
    elif command == "frameworks":
        os.chdir(ROOT)
        run = [python, "-m", "pytest", *FRAMEWORKS, *rest]
    elif command == "docs":
        os.chdir(ROOT)
        # every warning is an error, unresolved references too; --keep-going shows all of them
        run = [python, "-m", "sphinx", "-W", "--keep-going", "-n", *rest, "docs", "docs/_build/html"]
    else:
        run = [python, "-m", "ghostpoint", "reproduce", *rest]
    sys.stdout.flush()
    if os.name == "nt":  # where execv starts a new process and ends this one before it
        return subprocess.call(run)
    return os.execv(run[0], run)


def interpreter(folder):
    """The Python of a virtual environment."""
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def processors():
    """How many processors this process may use; before Python 3.13 only Linux says."""
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(name):
    """The folder of the virtual environment to use, made under this name if it is not there."""
    if sys.prefix != sys.base_prefix:
        return Path(sys.prefix)
    folder = ROOT / name
    if not works(interpreter(folder), "--version"):
        say(f"Making a virtual environment in {folder}")
        make = [sys.executable, "-m", "venv", "--clear", str(folder)]
        # Debian's python3 comes without ensurepip, which venv needs to put pip into the
        # environment.
        if quiet(make) != 0 and quiet([*make, "--without-pip"]) != 0:
            raise RuntimeError("python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv")
    return folder


def install(folder, extra):
    """Install this package with ``extra`` into the environment ``folder``, unless that is done
    already.
    """
    stamp = folder / f"ghostpoint{extra}.stamp"
    wanted = hashlib.sha256(str(ROOT).encode())
    for name in ("pyproject.toml", "constraints.txt"):
        wanted.update((ROOT / name).read_bytes())
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted.hexdigest():
        return
    python = str(interpreter(folder))
    if works(python, "-m", "pip", "--version"):
        pip = [python, "-m", "pip"]
    elif works(sys.executable, "-m", "pip", "--python", python, "--version"):  # pip 22.3 or newer
        pip = [sys.executable, "-m", "pip", "--python", python]
    else:
        raise RuntimeError(
            f"no pip to install with; on Debian and Ubuntu: apt install python3-venv, then rm -r {folder}"
        )
    say(f"Installing ghostpoint{extra} and what it needs (once, a minute or so)")
    # without --no-compile pip translates 6,600 files to bytecode, most of which are never imported
    options = ["--quiet", "--disable-pip-version-check", "--no-compile", "-c", str(ROOT / "constraints.txt")]
    if subprocess.call([*pip, "install", *options, "-e", str(ROOT) + extra]) != 0:
        raise RuntimeError(f"pip could not install ghostpoint{extra}; what it says is above")
    stamp.write_text(wanted.hexdigest(), encoding="utf-8")


def keep_bytecode(folder):
    """Have the processes that are started keep bytecode, where the environment forbids it.

    The tests start some hundred processes; one that finds no bytecode takes three times as long to
    import the library. It goes into ``folder``, so that none lies beside the sources.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(folder / "bytecode"))


def works(*command):
    """Whether a command exists and succeeds."""
    try:
        return quiet([str(part) for part in command]) == 0
    except OSError:
        return False


def quiet(command):
    """The exit status of a command whose output nobody needs."""
    return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def say(line):
    """A line for the person who waits, kept out of the command's own output."""
    print(line, file=sys.stderr, flush=True)


def fail(line):
    """Say what is wrong and return the exit status for it."""
    say(f"error: {line}")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
