"""Histories written by the tools themselves, in an environment of their own, and read by this
library.

    python tests/diagnosis/written_by_tools.py [--environment FOLDER] [--json OUT]

Makes a virtual environment with the tools in FOLDER (``.venv-tools`` by default; kept for the next
time), lets each write small histories, and reads them with ``read_history``. Prints which files
were read and which loss each gave; exit status 1 if any is not read or gives other numbers. Tools
that do not install are named and left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIGHT = (
    "pyarrow",
    "h5netcdf",
    "netCDF4",
    "tensorboard",
    "tensorboardX",
    "mlflow-skinny",
    "keras",
    "jax",
    "polars",
    "wandb",
)
HEAVY = ("torch", "lightning", "transformers", "accelerate")


def environment(folder: Path) -> Path:
    """The Python of the environment with the tools, made if it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt")]
    stamp = folder / "tools.stamp"
    if not stamp.exists():
        subprocess.run([*pip, "-e", str(ROOT), *LIGHT], check=True)
        if subprocess.run([*pip, *HEAVY], check=False).returncode:
            print("not installed:", ", ".join(HEAVY))
        stamp.write_text("installed\n")
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, default=ROOT / ".venv-tools")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    python = environment(arguments.environment)
    with tempfile.TemporaryDirectory() as folder:
        code = [str(python), str(Path(__file__).with_name("write_with_tools.py")), folder]
        subprocess.run(code, check=True)
        listed = json.loads((Path(folder) / "written.json").read_text())
        program = (
            "import json, sys, numpy as np\n"
            "from pathlib import Path\n"
            "from ghostpoint.diagnosis import diagnose, read_history\n"
            "folder = Path(sys.argv[1]); found = []\n"
            "for name, (tool, count) in json.loads((folder / 'written.json').read_text()).items():\n"
            "    try:\n"
            "        history = read_history(folder / name)\n"
            "        losses = [int(np.isfinite(run.curves['loss']).sum()) for run in history.runs]\n"
            "        said = diagnose(history).verdict\n"
            "        right = count is None or losses == (count if isinstance(count, list) else [count])\n"
            "        found.append([name, tool, right, f'{losses[:4]} of {count}; {dict(history.columns)}; {said}'])\n"
            "    except ValueError as error:\n"
            "        found.append([name, tool, False, str(error)])\n"
            "print(json.dumps(found))\n"
        )
        done = subprocess.run([str(python), "-c", program, folder], check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
    for name, tool, right, text in found:
        print(f"{'read' if right else 'NOT READ':8s}  {tool:24s}  {name:44s}  {text[:150]}")
    good = sum(right for _, _, right, _ in found)
    print(f"{good} of {len(listed)} files read")
    if arguments.json:
        record = {"files": len(listed), "read": good, "tools": sorted({tool for _, tool, _, _ in found})}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")
    return int(good < len(listed))


if __name__ == "__main__":
    sys.exit(main())
