"""Imports go one way: a room imports only from the rooms that the table names, and those stand
above it.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "ghostpoint"
SCIENCE = {"checks", "theory", "tasks", "models", "storage", "results"}

EVERYWHERE = {"errors", "summary"}  # what a wrong input gets, how a record prints

# Room: what it may import from. A new module needs a line here, and with it a place.
ROOMS = {
    "_version": set(),
    "catalogue": set(),
    "errors": set(),
    "summary": set(),
    "fingerprint": {"errors"},
    "system": {"errors"},
    "checks": set(),
    "figures": {"checks", "catalogue"},  # draws what was saved, so it needs no science
    "numerics": {"checks"},
    "theory": {"checks", "numerics"},
    "tasks": {"checks", "theory"},
    "models": {"checks", "theory", "tasks"},
    "remedies": {"checks", "numerics", "tasks"},
    "storage": {"checks", "_version"},
    "results": {"figures", "checks", "theory", "tasks", "models", "storage", "_version"},
    # the two never meet: analysis must not depend on how a network was trained
    "slow_points": {*SCIENCE, "figures", "_version", "numerics"},
    "training": {*SCIENCE, "remedies", "_version", "numerics", "system"},
    "diagnosis": {*SCIENCE, "figures", "_version"},
    "keras_files": {"checks", "models"},
    "weights": {"checks", "models", "results", "diagnosis", "keras_files"},
    "critical_rate": {*SCIENCE, "remedies", "slow_points", "training"},
    "torch": {*SCIENCE, "_version", "numerics", "slow_points", "training", "diagnosis"},
    "sweeps": {*SCIENCE, "_version", "fingerprint", "system", "numerics", "remedies", "training", "critical_rate"},
    "experiments": {
        *SCIENCE,
        "catalogue",
        "fingerprint",
        "_version",
        "critical_rate",
        "remedies",
        "slow_points",
        "sweeps",
        "torch",
        "training",
    },
    "explorer": {*SCIENCE, "slow_points", "diagnosis"},
    "command": {
        *SCIENCE,
        "_version",
        "fingerprint",
        "system",
        "weights",
        "slow_points",
        "diagnosis",
        "sweeps",
        "explorer",
        "experiments",
        "figures",
    },
    "__main__": {"command"},
}
MATPLOTLIB = {"figures"}
MODULES = sorted(SOURCE.rglob("*.py"))


def room_of(path):
    """The first part of a module's name inside the package; empty for the package itself."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imported(source, path):
    """The full name of everything that a module imports, wherever in it, and of what import_module
    gets.
    """
    package = ("ghostpoint", *path.relative_to(SOURCE).parent.parts)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func) and node.args:
            first = node.args[0]
            head = first.values[0] if isinstance(first, ast.JoinedStr) else first
            if isinstance(head, ast.Constant):
                yield str(head.value)


#: what may import torch: one module and one room, themselves imported when asked for
TORCH = (SOURCE / "training" / "by_epoch" / "torch_engine.py", SOURCE / "torch")


def violations(source, path):
    """What a module imports and may not, as lines for a person."""
    room = room_of(path)
    found = []
    for name in imported(source, path):
        first, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if (first == "torch" and not set(TORCH) & {path, *path.parents}) or (
            first == "matplotlib" and room not in MATPLOTLIB
        ):
            found.append(f"{path.name} imports {name}")
        elif first == "ghostpoint" and room and target != room and target not in ROOMS[room] | EVERYWHERE:
            found.append(f"{path.name} in {room} imports {name}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_from_the_rooms_above_it(path):
    assert room_of(path) in {*ROOMS, ""}, f"{path.name} has no room: give it a line in ROOMS"
    assert violations(path.read_text(encoding="utf-8"), path) == []


def test_the_table_itself_goes_one_way():
    above = set()
    for room, allowed in ROOMS.items():
        assert allowed <= above, room
        above.add(room)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("theory/toy.py", "from ghostpoint import models"),
        ("theory/toy.py", "from ..models import LowRankRNN"),
        ("slow_points/flow.py", "def f():\n    import ghostpoint.training.train_networks"),
        ("slow_points/flow.py", "from .. import training"),
        ("training/train_networks.py", "from ghostpoint.slow_points import x"),
        ("training/kernels/x.py", "from ...experiments.base import Claim"),
        (
            "figures/x.py",
            "from importlib import import_module\nimport_module('ghostpoint.experiments.collapse')",
        ),
        ("figures/x.py", "import importlib\nimportlib.import_module(f'ghostpoint.training.{name}')"),
        ("command/report.py", "from matplotlib.figure import Figure"),
        ("training/train_networks.py", "import torch.nn"),
    ],
)
def test_a_wrong_import_is_seen(module, source):
    assert len(violations(source, SOURCE / module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("theory/toy.py", "import numpy as np\nfrom . import normal_form\nfrom ..checks import number"),
        ("training/kernels/x.py", "from ...models import LowRankRNN\nfrom ..reference import step"),
        ("figures/x.py", "from matplotlib.figure import Figure\nfrom ghostpoint.figures.style import INK"),
    ],
)
def test_a_right_import_passes(module, source):
    assert violations(source, SOURCE / module) == []


def test_nobody_imports_the_torch_engine_before_it_is_asked_for():
    program = "import ghostpoint.training, ghostpoint.experiments, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_record_imports_its_figure_when_it_is_drawn():
    program = "import sys\nfrom ghostpoint import diagnosis, results, slow_points\nprint('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_importing_the_package_is_cheap():
    program = "import ghostpoint, sys; print(sorted({'numpy', 'matplotlib', 'numba', 'xarray'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_is_longer_than_one_can_keep_in_mind(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500
