"""More information never makes a verdict worse: a column, a true chance level, another unit, or
fewer epochs.
"""

from __future__ import annotations

import pytest

from ghostpoint.diagnosis import diagnose
from tests.diagnosis.realistic_records import COLUMNS, REALISTIC, realistic_record

SEEDS = (0, 1)


def verdict_of(record):
    return diagnose(record.history, **record.options).verdict


@pytest.mark.parametrize("kind", REALISTIC)
def test_a_column_or_a_true_level_keeps_a_right_verdict(kind):
    wrong = []
    for seed in SEEDS:
        plain = realistic_record(kind, seed, "none", "none")
        if verdict_of(plain) not in plain.allowed:
            continue  # the shares are scored elsewhere
        for column in dict.fromkeys(COLUMNS):
            record = realistic_record(kind, seed, column, "none")
            if (verdict := verdict_of(record)) not in record.allowed:
                wrong.append((seed, column, verdict))
        if len(plain.history["loss"]) >= 1000:
            record = realistic_record(kind, seed, "none", "thinned")
            if (verdict := verdict_of(record)) not in record.allowed:
                wrong.append((seed, "thinned", verdict))
    assert not wrong


@pytest.mark.parametrize("power", [-30, 9, 40])
@pytest.mark.parametrize("kind", [kind for kind, made in REALISTIC.items() if made.families == ("squared",)])
def test_the_unit_changes_nothing(kind, power):
    record = realistic_record(kind, 3, "none")
    scaled = record.history | {"loss": record.history["loss"] * 2.0**power}
    options = {key: value * 2.0**power for key, value in record.options.items() if key == "chance_loss"}
    assert diagnose(scaled, **options).verdict == verdict_of(record)
