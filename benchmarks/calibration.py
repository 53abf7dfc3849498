"""Count right verdicts by group of records that look alike: the confidences of the diagnosis.

    python benchmarks/calibration.py [--records 60] [--groups FILE]

Both generators of labelled records (tests/diagnosis) and the simulated networks of benchmarks/diagnosis.py are judged
with development seeds, and ``src/ghostpoint/diagnosis/calibration_table.py`` is written. It takes some minutes, most
of them for training the networks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.diagnosis import as_label, groups  # noqa: E402
from tests.diagnosis.realistic_records import REALISTIC, realistic_record  # noqa: E402
from tests.diagnosis.records import KINDS, record_of  # noqa: E402

from ghostpoint.diagnosis import diagnose  # noqa: E402
from ghostpoint.diagnosis.calibration import parents  # noqa: E402

TABLE = ROOT / "src" / "ghostpoint" / "diagnosis" / "calibration_table.py"


def judged_records(each: int) -> Iterator[tuple[str, bool]]:
    """Group and whether the verdict is right, of ``each`` development records of every kind."""
    for kinds, make in ((KINDS, record_of), (REALISTIC, realistic_record)):
        for kind in kinds:
            for seed in range(each):
                record = make(kind, seed)
                finding = diagnose(record.history, **record.options).findings[0]
                yield finding.likeness, finding.verdict in record.allowed


def judged_networks() -> Iterator[tuple[str, bool]]:
    """The same of the simulated networks of development rates."""
    for which in ("development", "first"):
        for group in groups(which):
            found = diagnose(group.history, chance_loss=1.0, chance_accuracy=0.5).findings
            for label, finding in zip(group.labels("separation"), found, strict=True):
                yield finding.likeness, as_label(finding.verdict) == label


def counted(judged: Iterator[tuple[str, bool]], counts: dict[str, list[int]]) -> None:
    """Add to ``counts``, group to [right, records], of groups and their parents."""
    for group, right in judged:
        for name in dict.fromkeys((*parents(group), group)):
            entry = counts.setdefault(name, [0, 0])
            entry[0] += right
            entry[1] += 1


def main() -> None:
    """Judge, count and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=60, help="labelled records a kind")
    arguments = parser.parse_args()
    counts: dict[str, list[int]] = {}
    counted(judged_records(arguments.records), counts)
    counted(judged_networks(), counts)
    write(counts, f"python benchmarks/calibration.py --records {arguments.records}")


def write(counts: dict[str, list[int]], command: str) -> None:
    """Write the table as a module."""
    rows = [f'    "{name}": ({right}, {records}),' for name, (right, records) in sorted(counts.items())]
    text = (
        '"""Right verdicts and records by group, on development records.\n\n'
        f'Written by ``{command}``.\n"""\n\n'
        "from __future__ import annotations\n\n"
        '__all__ = ["COUNTS"]\n\n'
        "#: group (see ``calibration.likeness``) or coarser group to (right, records)\n"
        "COUNTS: dict[str, tuple[int, int]] = {\n" + "\n".join(rows) + "\n}\n"
    )
    TABLE.write_text(text)


if __name__ == "__main__":
    main()
