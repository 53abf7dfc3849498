"""The pages of the reference, one for each room, and how names of the package find their entry.

A name that ``ghostpoint`` itself exports is documented as ``ghostpoint.NAME``, any other one as
``ghostpoint.ROOM.NAME``. A docstring may refer to either by any path under which Python finds it.
"""

from __future__ import annotations

import inspect
import re
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from sphinx.pycode import ModuleAnalyzer

import ghostpoint as gp

#: page: (title, what it is about, rooms whose ``__all__`` it documents, names that come first)
PAGES: dict[str, tuple[str, str, list[str], list[str]]] = {
    "theory": (
        "Analytic theory",
        "The toy model and the normal form, in closed form.",
        ["theory"],
        ["SaddleNodeToy", "NormalForm"],
    ),
    "tasks": ("Tasks", "What a network is shown, and what it should answer.", ["tasks"], []),
    "models": (
        "Networks",
        "The families of networks, and the contract of a family.",
        ["models"],
        ["LowRankRNN", "FullRankRNN", "GRU", "LSTM"],
    ),
    "weights": (
        "Files of weights",
        "Networks read from files and written to them.",
        [],
        ["read_weights", "write_weights", "weights.open_weights"],
    ),
    "training": (
        "Training",
        "Training of stacks of networks, and the record of it.",
        ["training"],
        ["train", "TrainingRun", "load", "Computing"],
    ),
    "remedies": (
        "Remedies",
        "What to do about updates that would lose a network.",
        ["remedies"],
        ["remedies.TrustRegion", "remedies.ClipGradient", "remedies.HazardLimit", "remedies.Rewind"],
    ),
    "critical_rate": (
        "Critical learning rate",
        "Escape times, and the rate above which a network is lost.",
        ["critical_rate"],
        ["critical_learning_rate"],
    ),
    "slow_points": ("Slow points", "Fixed points and ghosts of any network.", ["slow_points"], []),
    "latents": (
        "Slow points of low rank",
        "Complete and proven lists, up to rank three.",
        ["slow_points.latents"],
        [],
    ),
    "diagnosis": (
        "Diagnosis",
        "What phase a training is in, from its record.",
        ["diagnosis"],
        ["diagnose", "Diagnosis", "diagnosis.read_history"],
    ),
    "torch": (
        "PyTorch",
        "Monitor, guard and slow points for any PyTorch module; stacks of small networks of other architectures.",
        ["torch", "torch.architectures"],
        ["torch.Monitor", "torch.Guard", "torch.find_slow_points", "torch.track_slow_points"],
    ),
    "sweeps": ("Sweeps", "Grids of trainings.", ["sweeps"], ["sweep", "open_sweep"]),
    "experiments": (
        "Experiments and figures",
        "The published experiments, and how their results are drawn.",
        ["experiments", "figures"],
        [],
    ),
}


def documented(page: str) -> dict[str, Any]:
    """The names that ``page`` documents, as they are documented, and what they are."""
    _, _, rooms, first = PAGES[page]
    names = [f"{room}.{name}" for room in rooms for name in import_module(f"ghostpoint.{room}").__all__]
    found = {}
    for name in [*first, *names]:
        room, _, last = name.rpartition(".")
        value = getattr(import_module(f"ghostpoint.{room}") if room else gp, last)
        top = last in gp.__all__ and getattr(gp, last) is value
        if not inspect.ismodule(value):
            found["ghostpoint." + (last if top else name)] = value
    return found


def write(folder: Path) -> None:
    """Write the pages into ``folder``; a page that stays the same is not touched."""
    folder.mkdir(exist_ok=True)
    lines = ["# Reference", "", "From the docstrings, one page a room.", "", "| page | what it has |", "|---|---|"]
    for page, (title, about, _, _) in PAGES.items():
        lines.append(f"| [{title}]({page}.rst) | {about} |")
        update(folder / f"{page}.rst", _page(page))
    lines += ["| [The command](command.md) | `ghostpoint` in a shell. |"]
    update(folder / "command.md", _command())
    entries = "\n".join([*PAGES, "command"])
    update(folder / "index.md", "\n".join(lines) + f"\n\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n")


def update(path: Path, text: str) -> None:
    """Write a page where it changes, so that Sphinx reads only those again."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _page(page: str) -> str:
    title, about, _, _ = PAGES[page]
    names = documented(page)
    head = [title, "=" * len(title), "", about, "", ".. autosummary::", "   :nosignatures:", ""]
    head += [f"   ~{name}" for name in names] + [""]
    body: list[str] = []
    for name, value in names.items():
        last = name.rpartition(".")[2]
        body += [last, "-" * len(last), ""]
        if inspect.isclass(value):
            body += [
                f".. autoclass:: {name}",
                "   :members:",
                "   :inherited-members: object, Protocol, Module, Exception",
                "",
            ]
        elif inspect.isroutine(value):
            body += [f".. autofunction:: {name}", ""]
        else:
            body += [f".. py:data:: {name}", "", *(f"   {line}" for line in _comment(name, value)), ""]
    return "\n".join(head + body)


def _comment(name: str, value: Any) -> list[str]:
    """The ``#:`` comment of a constant, from the module that defines it, and the constant."""
    last = name.rpartition(".")[2]
    for module in list(sys.modules.values()):
        if module.__name__.startswith("ghostpoint.") and vars(module).get(last) is value:
            comments = ModuleAnalyzer.for_module(module.__name__).find_attr_docs()
            if ("", last) in comments:
                return comments["", last]
    shown = repr(value)
    return [f"``{shown}``"] if len(shown) < 200 else []


def _command() -> str:
    """Help of the command and of each sub-command, as it prints it."""
    import typer
    from typer.testing import CliRunner

    from ghostpoint.command.cli import app

    def help_of(*words: str) -> str:
        result = CliRunner().invoke(app, [*words, "--help"], prog_name="ghostpoint", terminal_width=100)
        return result.output.strip().replace("\x1b", "")

    group = typer.main.get_command(app)
    parts = ["# The command", "", "```text", help_of(), "```", ""]
    for name in group.commands:  # type: ignore[attr-defined]
        parts += [f"## `ghostpoint {name}`", "", "```text", help_of(name), "```", ""]
    return "\n".join(parts)


@cache
def _names() -> dict[int, str]:
    """What is documented, by identity."""
    return {id(value): name for page in PAGES for name, value in documented(page).items()}


def _found(target: str) -> tuple[Any, str] | None:
    """What a dotted name of the package means: the thing that the path leads to, and the rest of
    the path after the last thing that is documented.
    """
    parts = target.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value: Any = import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        home = ""
        for depth, part in enumerate(parts[cut:], cut + 1):
            try:
                value = inspect.getattr_static(value, part) if inspect.isclass(value) else getattr(value, part)
            except AttributeError:
                return None
            if id(value) in _names():
                home = ".".join([_names()[id(value)], *parts[depth:]])
        return value, home
    return None


def resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """A reference to a name under another path than the documented one; or, for what exists and is
    not documented, the bare name.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    module = node.get("py:module") or "ghostpoint"
    for name in (target, f"{module}.{target}", f"ghostpoint.{target}"):
        found = _found(name) if name.startswith("ghostpoint") else None
        if found is not None:
            return _entry(app, env, node, contnode, found[1]) or contnode
    # a bare name, in the summary of a page or from a docstring of another module
    ends = [name for name in _names().values() if name.endswith(f".{target.partition('.')[0]}")]
    if len(ends) == 1:
        made = _entry(app, env, node, contnode, ".".join([ends[0], *target.split(".")[1:]]))
        if made is not None:
            return made
    return contnode if _exists(target) else None


def _entry(app: Any, env: Any, node: Any, contnode: Any, name: str) -> Any:
    """A link to the entry of ``name``, or None."""
    return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)


@cache
def _exists(target: str) -> bool:
    """Whether a module of the package, or a class that is documented, has something of this
    name.
    """
    modules = [module for module in sys.modules.values() if module.__name__.startswith("ghostpoint")]
    classes = [value for page in PAGES for value in documented(page).values() if inspect.isclass(value)]
    return any(hasattr(owner, target) for owner in [*modules, *classes])


def plain_bars(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Keep ``|F|`` in a docstring a norm: outside of literals a bar starts no substitution."""
    literal = None
    for k, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if literal is not None and line.strip() and indent <= literal:
            literal = None
        if literal is None and not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(``.*?``|`[^`]*`)", line)
            parts[::2] = [re.sub(r"(?<!\\)\|(?=\S)", r"\\|", part) for part in parts[::2]]
            lines[k] = "".join(parts)
            if line.rstrip().endswith("::"):
                literal = indent


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", plain_bars, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
