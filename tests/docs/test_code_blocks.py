"""Every block of code in the README and the documentation runs; the few that do not say why."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ghostpoint.command.cli import app
from tests.docs.pages import BEFORE, NOT_RUN, PAGES, ROOT, SHORTENED, blocks

COMMAND = typer.main.get_command(app)
#: sub-commands that are run where their input is there; the others are read with all their options
RUN = ("diagnose", "slow-points", "list", "sweep", "status", "plot", "report", "reproduce")
#: options with which a command takes long, waits, or needs what is not here
PARSED = {"--follow", "--cluster", "--scheduler", "--open", "--resume"}
WITH_PYTHON = [page for page, text in PAGES.items() if any(block.language == "python" for block in blocks(text))]


def commands(code: str) -> list[list[str]]:
    """The commands of a shell block, without comments."""
    lines = code.replace("\\\n", " ").splitlines()
    return [
        words for line in lines if (words := shlex.split(re.sub(r"\s{2,}(#.*|[\w ,;]+)$", "", line), comments=True))
    ]


def check_command(words: list[str]) -> None:
    """Run a command, or read it with its options where it would take too long."""
    if words[0] == "ghostpoint":
        name, rest = words[1], words[2:]
        context = COMMAND.make_context("ghostpoint", words[1:])  # an unknown sub-command fails here
        sub = COMMAND.get_command(context, name)
        assert sub is not None, words
        sub.make_context(name, list(rest), parent=context)  # and an unknown option here
        inputs = [word for word in rest[:1] if not word.startswith("-")]
        there = all(Path(word).exists() for word in inputs) or name == "reproduce"
        short = "--scale" not in rest and ("--only" in rest or name != "reproduce")
        if name in RUN and there and short and not PARSED.intersection(rest):
            done = CliRunner().invoke(app, words[1:])
            assert done.exit_code == 0, f"{words}: {done.output}\n{done.exception!r}"
    elif words[0] in ("python", "python3") and words[1].endswith(".py"):
        script = (ROOT / words[1]).read_text(encoding="utf-8")
        asked = [word for word in words[2:] if not word.startswith("-") or word.startswith("--")]
        options = [word for word in asked if word.startswith("--")] + asked[:1] * (words[1] == "dev.py")
        assert all(option in script for option in options), words


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names: dict[str, object] = {"__name__": page}
    exec(compile(BEFORE.get(page, ""), f"before {page}", "exec"), names)
    for block in blocks(PAGES[page]):
        if any(part in block.code for part in NOT_RUN):
            continue
        if block.language == "python":
            code = block.code
            for long, short in SHORTENED.items():
                code = code.replace(long, short)
            exec(compile("\n" * block.line + code, page, "exec"), names)
        elif block.language == "sh":
            for words in commands(block.code):
                check_command(words)
    if page in CHECKS:
        CHECKS[page](names)


def readme(names) -> None:
    assert names["toy"].critical_learning_rate == pytest.approx(9.13e-10, rel=1e-3)
    assert names["toy"].descend(10 * names["toy"].r_star, 1e-9, 3000).outcome == "no-learning zone"
    assert (names["run"].events.no_learning_zone_entry >= 0).sum() > 0
    assert (names["kept"].events.no_learning_zone_entry >= 0).sum() == 0
    assert Path("run.jsonl").is_file()


def tour(names) -> None:
    assert names["lost"] == 0
    assert (names["kept"].history.loss[:, -1] < 0.05).all()
    assert names["points"].complete.fixed_points


def theory(names) -> None:
    """The formula of the plateau, for the networks that leave it."""
    left = names["measured"] > 0
    assert left.sum() >= 5
    assert names["predicted"][left] == pytest.approx(names["measured"][left], rel=0.02)


def learning_rate(names) -> None:
    assert (names["run"].events.no_learning_zone_entry >= 0).sum() == 0


#: what the text beside the code says
CHECKS = {
    "README.md": readme,
    "docs/tour.md": tour,
    "docs/theory.md": theory,
    "docs/howto/learning_rate.md": learning_rate,
}


def test_commands_in_pages_without_python_are_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen = 0
    for page in PAGES.keys() - set(WITH_PYTHON):
        # indented blocks too, as in the page on sweeps
        shown = [block.code for block in blocks(PAGES[page]) if block.language == "sh"]
        shown += re.findall(r"^    (ghostpoint (?:.*\\\n)*.*)$", PAGES[page], re.MULTILINE)
        for code in shown:
            for words in commands(code):
                check_command(words)
                seen += 1
    assert seen > 5


def test_what_is_not_run_is_still_there() -> None:
    code = "\n".join(block.code for text in PAGES.values() for block in blocks(text))
    assert [part for part in [*NOT_RUN, *SHORTENED] if part not in code] == []
    assert BEFORE.keys() <= PAGES.keys()


def test_every_block_has_a_language_that_is_known() -> None:
    known = {"python", "sh", "text", "toml", "bibtex"}
    for page, text in PAGES.items():
        assert {block.language for block in blocks(text)} <= known, page
        opened = re.findall(r"^ *```(\S*)", text, re.MULTILINE)[::2]
        assert "" not in opened, page
