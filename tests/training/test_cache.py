"""A compiled kernel is taken from disk only if none of the files it is made of has changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import ghostpoint

PROGRAM = """
import sys
import ghostpoint as gp
from ghostpoint.training.kernels import rank_one_alone
gp.train(gp.LowRankRNN([[0.1]], [[0.1]]), gp.tasks.DelayedActivation(delay=10), 0.1, 1, layout="units", threads=1)
print(sum(rank_one_alone.units_across_lanes.stats.cache_hits.values()))
"""


def test_a_change_of_any_kernel_file_is_noticed(tmp_path: Path) -> None:
    package = tmp_path / "ghostpoint"
    shutil.copytree(Path(ghostpoint.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))

    def hits() -> int:
        environment = {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PATH": ""}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
        )
        return int(done.stdout)

    assert hits() == 0
    assert hits() == 1
    elementary = package / "training" / "kernels" / "elementary.py"
    elementary.write_text(elementary.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    assert hits() == 0
