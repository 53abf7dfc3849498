"""Which ghosts a trajectory passes: ``gp.ghost_sequence`` beside the method of PyGhostID.

    python benchmarks/ghost_sequences.py --pyghostid PYTHON --output FILE

Both get the same evenly spaced samples of the systems of ``experiments/shared/ghost_systems.py``,
from mu = 1e-1 to 1e-12 on both sides of the bifurcation. For mu > 0 the ghosts and their order are
known; for mu < 0 there is none, and every one that is reported is wrong. ``--claims DATA`` adds the
claims of the experiment ``ghost_sequences`` from the data that ``ghostpoint reproduce --scale
paper`` saved, and computes nothing.

PyGhostID (PyPI, GPL; needs Python 3.12.3 or newer and JAX) is run by the interpreter that is named,
in a process of its own, in two ways: as it comes; and with JAX in double precision and peaks of at
least 5 samples. (Its own least width, 5 dt, is compared with numbers of samples. With a dt of
hundreds no peak is wide enough.) Times are processor seconds of the second of two equal calls, so
that compilation does not count. Rows are saved as they come, and a run that is started again goes
on where it was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 10_001
SIZES = [10.0**-k for k in range(1, 13)]
NEGATIVE = [1e-2, 1e-6, 1e-12]
WAYS: dict[str, dict[str, Any]] = {"PyGhostID": {}, "PyGhostID, tuned": {"x64": True, "width": 5}}

# by its path: the other interpreter has no ghostpoint
_PATH = Path(__file__).parents[1] / "src/ghostpoint/experiments/shared/ghost_systems.py"
_SPEC = spec_from_file_location("ghost_systems", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
systems: Any = module_from_spec(_SPEC)
sys.modules["ghost_systems"] = systems
_SPEC.loader.exec_module(systems)


def cases() -> list[tuple[str, float]]:
    """Every system and mu."""
    return [(name, mu) for name in systems.SYSTEMS for mu in [*SIZES, *(-size for size in NEGATIVE)]]


def ours(name: str, mu: float, x: np.ndarray, dt: float) -> tuple[list[dict[str, Any]], float]:
    """Passages by `ghost_sequence`, and processor seconds."""
    import ghostpoint as gp

    field = gp.slow_points.UserField(lambda y: systems.SYSTEMS[name].velocity(np, y, mu), None, x.shape[1])
    before = time.process_time()
    sequence = gp.ghost_sequence(field, x, dt)
    seconds = time.process_time() - before
    passes = np.flatnonzero((sequence.kind == "ghost") & (sequence.way == "passes"))
    return [
        {
            "position": sequence.points.position[sequence.point[i]].tolist(),
            "dimension": int(sequence.dimension[sequence.point[i]]),
            "duration": float(sequence.dwell[i]),
            "passage": float(sequence.passage_time[sequence.point[i]]),
        }
        for i in passes
    ], seconds


def theirs(folder: Path, way: str) -> None:
    """Run by the other interpreter: PyGhostID on the trajectories in ``folder``, a line each."""
    asked = WAYS[way]
    import jax

    jax.config.update("jax_enable_x64", bool(asked.get("x64")))
    import jax.numpy as jnp
    from PyGhostID import ghostID

    for path in sorted(folder.glob("*.npz")):
        saved = np.load(path)
        velocity = systems.SYSTEMS[str(saved["system"])].velocity

        def model(_: float, y: Any, p: Any, velocity: Any = velocity) -> Any:
            return velocity(jnp, y, p[0])

        found, failed, seconds = [], "", 0.0
        for _ in range(2):
            # a dictionary for each call, which writes into it
            peaks = {"width": asked["width"]} if "width" in asked else {}
            before = time.process_time()
            try:
                found = ghostID(
                    model,
                    [float(saved["mu"])],
                    float(saved["dt"]),
                    saved["x"],
                    display_warnings=False,
                    peak_kwargs=peaks,
                )
            except Exception as error:
                failed = f"{type(error).__name__}: {error}"
            seconds = time.process_time() - before
        reported = [
            {
                "position": np.asarray(ghost["position"]).tolist(),
                "dimension": int(ghost["dimension"]),
                "duration": float(ghost["duration"]),
            }
            for ghost in found
        ]
        print("ROW", json.dumps([path.stem, reported, seconds, failed]), flush=True)


def row(method: str, name: str, mu: float, reported: list[dict[str, Any]], seconds: float, failed: str) -> Any:
    """What is saved of one call."""
    system = systems.SYSTEMS[name]
    told, rows = systems.score(
        system, mu, np.array([g["position"] for g in reported]), np.array([g["dimension"] for g in reported])
    )
    passage = system.passage(mu)
    ratios = [reported[i]["duration"] / passage for i in rows]
    own = [reported[i]["passage"] / passage for i in rows if "passage" in reported[i]]
    return {
        "method": method, "system": name, "mu": mu, **told._asdict(),
        "duration": float(np.median(ratios)) if ratios else None,
        "passage": float(np.median(own)) if own else None,
        "seconds": round(seconds, 4), "failed": failed,
    }  # fmt: skip


def write(saved: dict[str, Any], path: Path) -> None:
    """Save all, with a line for each row."""
    rows = ",\n  ".join(json.dumps(each) for each in saved["rows"])
    text = json.dumps({**saved, "rows": None}, indent=1).replace('"rows": null', f'"rows": [\n  {rows}\n ]')
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Compare on all systems and sizes of mu."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pyghostid", help="an interpreter with PyGhostID; without it only ours is run")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--claims", type=Path, help="saved data of the experiment at paper scale")
    if sys.argv[1:2] == ["--theirs"]:
        theirs(Path(sys.argv[2]), sys.argv[3])
        return
    asked = parser.parse_args()
    saved: dict[str, Any] = {"samples": SAMPLES, "versions": {}, "rows": []}
    if asked.output.exists():
        saved = json.loads(asked.output.read_text(encoding="utf-8"))

    if asked.claims:
        from ghostpoint.experiments import get
        from ghostpoint.storage import read_dataset

        experiment = get("ghost_sequences")
        claims = experiment.claims(read_dataset(asked.claims), experiment.parameters["paper"])
        saved["claims"] = [claim.to_dict() for claim in claims]
        write(saved, asked.output)
        return

    def keep(new: Any) -> None:
        saved["rows"].append(new)
        write(saved, asked.output)

    def done(method: str) -> set[tuple[str, float]]:
        return {(r["system"], r["mu"]) for r in saved["rows"] if r["method"] == method}

    with tempfile.TemporaryDirectory() as folder:
        for number, (name, mu) in enumerate(cases()):
            wanted = [way for way in WAYS if asked.pyghostid and (name, mu) not in done(way)]
            if (name, mu) in done("ghostpoint") and not wanted:
                continue
            x, dt = systems.trajectory(systems.SYSTEMS[name], mu, SAMPLES)
            if (name, mu) not in done("ghostpoint"):
                if not number:
                    ours(name, mu, x, dt)  # what has to be compiled
                keep(row("ghostpoint", name, mu, *ours(name, mu, x, dt), ""))
            for way in wanted:
                inside = Path(folder) / way.replace(", ", "_")
                inside.mkdir(exist_ok=True)
                np.savez(inside / f"{number:03d}.npz", x=x, dt=dt, mu=mu, system=name)
        for way in WAYS if asked.pyghostid else ():
            inside = Path(folder) / way.replace(", ", "_")
            code = "import importlib.metadata as m; print(m.version('pyghostid'), m.version('jax'))"
            told = subprocess.run([asked.pyghostid, "-c", code], check=True, capture_output=True, text=True).stdout
            saved["versions"] = dict(zip(("pyghostid", "jax"), told.split(), strict=True))
            if not inside.exists():
                continue
            command = [asked.pyghostid, __file__, "--theirs", str(inside), way]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    if line.startswith("ROW "):
                        stem, reported, seconds, failed = json.loads(line[4:])
                        name, mu = cases()[int(stem)]
                        keep(row(way, name, mu, reported, seconds, failed))


if __name__ == "__main__":
    main()
