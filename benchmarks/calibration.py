"""Fit the coefficients from which the confidence of a diagnosis follows.

    python benchmarks/calibration.py [--records 40] [--first SEED]

The three generators of labelled records (tests/diagnosis) and the simulated networks of
benchmarks/diagnosis.py are judged with development seeds. A logistic regression of right on the
signs of doubt is fitted, with a ridge penalty and with weights by which the networks count for
:data:`NETWORKS` of all, and ``src/ghostpoint/diagnosis/calibration_table.py`` is written. It takes
some minutes, most of them for training the networks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.diagnosis import as_label, groups, judged_records  # noqa: E402

from ghostpoint.diagnosis import diagnose  # noqa: E402

TABLE = ROOT / "src" / "ghostpoint" / "diagnosis" / "calibration_table.py"
#: share of the weight that the networks have together
NETWORKS = 0.5
#: ridge penalty, half of it times the squared coefficient of each sign but the constant
RIDGE = 1.0

Judged = tuple[Mapping[str, float], bool]


def judged_networks() -> Iterator[Judged]:
    """Signs and whether the verdict is right, of the simulated networks of development rates."""
    for which in ("development", "first", "second"):
        for group in groups(which):
            found = diagnose(group.history, chance_loss=1.0, chance_accuracy=0.5).findings
            for label, finding in zip(group.labels("separation"), found, strict=True):
                yield finding.signs, as_label(finding.verdict) == label


def fitted(records: list[Judged], networks: list[Judged]) -> dict[str, float]:
    """Name to coefficient: the weighted logistic regression of right on the signs, by Newton's
    method."""
    rows = records + networks
    names = sorted({name for signs, _ in rows for name in signs})
    x = np.array([[1.0, *(signs.get(name, 0.0) for name in names)] for signs, _ in rows])
    right = np.array([float(good) for _, good in rows])
    weight = np.ones(len(rows))
    if networks:
        weight[len(records) :] = NETWORKS / (1 - NETWORKS) * len(records) / len(networks)
    return dict(zip(["any", *names], newton(x, right, weight).tolist(), strict=True))


def newton(x: NDArray[np.float64], right: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients (p,) that maximise the penalised likelihood of ``right`` (n,) given ``x`` (n,
    p), first column 1."""
    ridge = np.full(x.shape[1], RIDGE)
    ridge[0] = 1e-6
    b = np.zeros(x.shape[1])
    for _ in range(60):
        p = 1 / (1 + np.exp(-(x @ b)))
        gradient = x.T @ (weight * (right - p)) - ridge * b
        curvature = (x * (weight * p * (1 - p))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        b = b + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < 1e-9:
            break
    return b


def main() -> None:
    """Judge, fit and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=40, help="labelled records a kind")
    parser.add_argument("--first", type=int, default=100_000, metavar="SEED", help="of the labelled records")
    arguments = parser.parse_args()
    found = judged_records(arguments.records, arguments.first)
    records = [(one.signs, one.right) for rows in found.values() for one in rows]
    options = f"--records {arguments.records} --first {arguments.first}"
    write(fitted(records, list(judged_networks())), f"python benchmarks/calibration.py {options}")


def write(coefficients: Mapping[str, float], command: str) -> None:
    """Write the table as a module."""
    rows = [f'    "{name}": {value:.4f},' for name, value in coefficients.items()]
    TABLE.write_text(
        '"""Coefficients of the signs of doubt, see ``calibration``.\n\n'
        f'Written by ``{command}``.\n"""\n\n'
        "from __future__ import annotations\n\n"
        '__all__ = ["COEFFICIENTS"]\n\n'
        '#: sign to coefficient; "any" is the constant\n'
        "COEFFICIENTS: dict[str, float] = {\n" + "\n".join(rows) + "\n}\n"
    )


if __name__ == "__main__":
    main()
