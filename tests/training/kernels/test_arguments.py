"""Kernels take records: how many arguments a function of theirs may have."""

from __future__ import annotations

import ast
from pathlib import Path

import ghostpoint

KERNELS = Path(ghostpoint.__file__).parent / "training" / "kernels"
MOST_OF_ENTRIES, MOST = 20, 12


def functions():
    for path in sorted(KERNELS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                arguments = node.args
                count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
                entry = any(getattr(one, "id", "") == "compiled" for one in node.decorator_list)
                yield f"{path.name}: {node.name}", count, entry


def test_entries_have_at_most_20_arguments_and_all_other_functions_at_most_12():
    found = list(functions())
    assert sum(entry for _, _, entry in found) == 8
    too_many = [(name, count) for name, count, entry in found if count > (MOST_OF_ENTRIES if entry else MOST)]
    assert too_many == []
