"""The README's code runs as written, and what it links to exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme_runs_and_says_what_its_comments_say(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert float(lines[0]) == pytest.approx(9.13e-10, rel=1e-3)
    assert lines[1] == "no-learning zone"
    assert (tmp_path / "run.zarr.zip").is_file()


@pytest.mark.parametrize(
    "target", re.findall(r"\]\((?!https?:)([^)#]+)\)", README) + re.findall(r"`(src/[^`*]+)`", README)
)
def test_the_places_the_readme_names_exist(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_commands_of_the_readme_are_commands() -> None:
    shown = re.findall(r"^ghostpoint (\w+)", README, re.MULTILINE)
    assert shown
    listed = subprocess.run([sys.executable, "-m", "ghostpoint", "--help"], capture_output=True, text=True).stdout
    for command in shown:
        assert re.search(rf"\b{command}\b", listed), command
