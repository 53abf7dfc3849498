"""Machine code is taken from disk only if none of the files it is made of has changed."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from numba.core.registry import CPUDispatcher

import ghostpoint
from ghostpoint.numerics import compiled_code
from ghostpoint.numerics.compiled_code import content_key, imported_files

PACKAGE = Path(ghostpoint.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
COMPILED = [path for path in FILES if "\n@compiled" in path.read_text(encoding="utf-8")]

PROOF = """
import numpy as np
from ghostpoint.slow_points.proofs import certificate_kernels
u, t, gain, e_t, e_gain = (np.zeros(1) for _ in range(5))
certificate_kernels.drive_and_rates(np.ones((1, 1)), np.ones(1), np.ones(1), u, t, gain, e_t, e_gain)
print(float(e_t[0]), sum(certificate_kernels.drive_and_rates.stats.cache_hits.values()))
"""
TRAINING = """
import ghostpoint as gp
task = gp.tasks.DelayedActivation(delay=10)
gp.train(gp.LowRankRNN([[0.1]], [[0.1]]), task, 0.1, 1, engine=gp.Computing(layout="units", threads=1))
"""
#: how much machine code of that kernel a process would take from disk; it compiles nothing
KEPT = """
from ghostpoint.training.kernels import rank_one
print(0.0, len(rank_one.units_across_lanes._cache._cache_file._load_index()))
"""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the package that a test may edit."""
    package = tmp_path / "ghostpoint"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def run(program: str, package: Path) -> tuple[float, int]:
    """What a program prints in a process of its own: a number, and how often code came from
    disk.
    """
    environment = {**os.environ, "PYTHONPATH": str(package.parent), "NUMBA_CACHE_DIR": str(package.parent / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, cwd=package.parent
    )
    number, hits = done.stdout.split()
    return float(number), int(hits)


@cache
def nodes(path: Path) -> list[ast.AST]:
    """Everything in the syntax tree of a file."""
    return list(ast.walk(ast.parse(path.read_bytes())))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_an_edited_error_bound_of_another_file_is_used(copied: Path) -> None:
    bound, hits = run(PROOF, copied)
    assert hits == 0
    assert run(PROOF, copied) == (bound, 1)
    edit(copied / "numerics" / "bounded_tanh.py", "TANH_ULP = ", "TANH_ULP = 1000.0 * ")
    larger, hits = run(PROOF, copied)
    assert larger > 100 * bound
    assert hits == 0


def test_a_kernel_of_several_files_is_compiled_again_when_one_of_them_changes(copied: Path) -> None:
    assert run(KEPT, copied)[1] == 0
    assert run(TRAINING + KEPT, copied)[1] == 1
    assert run(KEPT, copied)[1] == 1
    edit(copied / "numerics" / "elementary.py", '"""', '"""Changed. ')
    assert run(KEPT, copied)[1] == 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_cached_in_another_way(path: Path) -> None:
    for node in nodes(path):
        if isinstance(node, ast.Call) and any(keyword.arg == "cache" for keyword in node.keywords):
            assert "jit" not in ast.unparse(node.func) or path.name == "compiled_code.py", ast.unparse(node)


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_the_key_covers_every_module_whose_values_a_kernel_sees(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    covered = imported_files(path)
    seen = 0
    for value in vars(module).values():
        source = getattr(getattr(value, "py_func", value), "__module__", None) or getattr(value, "__name__", "")
        if isinstance(source, str) and source.startswith("ghostpoint."):
            assert Path(importlib.import_module(source).__file__ or "") in covered
        if isinstance(value, CPUDispatcher) and value.py_func.__module__ == module.__name__:
            stamp = getattr(value._cache, "_cache_file", None)
            if stamp is not None:
                assert stamp._source_stamp == content_key(path)
                seen += 1
    assert seen


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_import_is_found(path: Path) -> None:
    found = set(compiled_code._names(path))
    for node in nodes(path):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= found
        elif isinstance(node, ast.ImportFrom):
            parent = path.parents[node.level - 1].relative_to(PACKAGE.parent).parts if node.level else ()
            base = ".".join([*parent, *([node.module] if node.module else [])])
            assert {base, *(f"{base}.{alias.name}" for alias in node.names)} <= found


def test_files_are_followed_through_others_and_no_further() -> None:
    kernels = PACKAGE / "training" / "kernels"
    ground = PACKAGE / "numerics"
    assert {ground / "elementary.py", ground / "simd.py"} <= set(imported_files(kernels / "rank_one.py"))
    assert kernels / "full_rank.py" not in imported_files(kernels / "rank_one.py")


def test_no_two_compiled_functions_of_this_package_share_a_name() -> None:
    seen: dict[tuple[str, str], object] = {}
    for path in FILES:
        if "numba" in path.read_text(encoding="utf-8"):
            module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
            for value in vars(module).values():
                if isinstance(value, CPUDispatcher) and value.targetoptions.get("inline", "never") == "never":
                    name = value.py_func.__module__, value.py_func.__qualname__
                    assert seen.setdefault(name, value) is value, name
    assert len(seen) > 50


KERNELS = """
import sys
from numba import njit
for _ in range(int(sys.argv[1])):  # functions that only count
    njit(eval("lambda x: x"))(1)
import ghostpoint as gp
task = gp.tasks.DelayedActivation(10)
low, full = gp.LowRankRNN.initialize(6, [0], "state_readout", rank=2), gp.FullRankRNN.initialize(6, [0])
for name in sys.argv[2:]:
    models, optimizer = {"low_rank": (low, "momentum"), "full_rank": (full, "sgd")}[name]
    run = gp.train(models, task, 0.1, 5, optimizer=optimizer, layout="units", record="all")
    print(run.history["loss"].values.tobytes().hex())
"""


@pytest.mark.slow
def test_kernels_from_the_caches_of_two_processes_keep_their_optimisers(tmp_path: Path) -> None:
    def losses(shift: int, *names: str) -> list[str]:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", KERNELS, str(shift), *names],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.split()

    def cached(name: str) -> Path:
        (file,) = tmp_path.rglob(f"{name}.train*.nbc")
        return file

    def counts(name: str) -> list[int]:
        """The numbers that numba gave to the functions of the three optimisers in a kernel."""
        found = sorted({int(n) for n in re.findall(rb"update_range\w*?B\d+v(\d+)B", cached(name).read_bytes())})
        assert len(found) == 3
        return found

    names = "low_rank", "full_rank"
    right = [losses(0, name)[0] for name in names]
    # compile one kernel again, where as much was compiled before it that one optimiser has
    # another's number
    first, second = (counts(name) for name in names)
    again, shift = min(
        (("low_rank", b - a) if b > a else ("full_rank", a - b)
        for i, a in enumerate(first) for j, b in enumerate(second) if i != j and a != b),
        key=lambda pair: pair[1],
    )  # fmt: skip
    for file in cached(again).parent.glob(f"{again}.train*"):
        file.unlink()
    losses(shift, again)
    assert set(counts("low_rank")) & set(counts("full_rank"))
    assert losses(0, *names) == right
    assert losses(0, *names[::-1]) == right[::-1]
