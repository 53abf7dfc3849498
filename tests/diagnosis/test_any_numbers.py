"""Whatever numbers a record has, there is a verdict or a refusal: no other exception."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ghostpoint.command.diagnose import diagnose_file
from ghostpoint.diagnosis import PHASES, diagnose
from ghostpoint.diagnosis.history import CURVES
from ghostpoint.errors import InputError

#: a curve of n points
SHAPES = {
    "NaN": lambda n: np.full(n, np.nan),
    "inf": lambda n: np.full(n, np.inf),
    "-inf": lambda n: np.full(n, -np.inf),
    "zero": np.zeros,
    "negative": lambda n: np.full(n, -1.0),
    "constant": lambda n: np.full(n, 0.5),
    "huge": lambda n: np.full(n, 1e308),
    "tiny": lambda n: np.full(n, 5e-324),
    "falls": lambda n: np.linspace(1.0, 0.1, n),
    "drops": lambda n: np.where(np.arange(n) < n / 2, 0.9, 0.1),
    "swings": lambda n: 0.5 + 0.4 * np.sin(np.arange(n)),
    "rises to inf": lambda n: np.where(np.arange(n) < n / 2, 1.0, np.inf),
    "one number": lambda n: np.where(np.arange(n) == n // 2, 0.7, np.nan),
    "NaN at first": lambda n: np.where(np.arange(n) < n / 2, np.nan, 0.3),
    "NaN at last": lambda n: np.where(np.arange(n) < n / 2, 0.3, np.nan),
    "NaN between": lambda n: np.where(np.arange(n) % 2, np.nan, 0.3),
    "all": lambda n: np.resize([np.nan, np.inf, -np.inf, 0.0, 1.0, 1e308, -1e308], n),
}
SIZES = (1, 2, 3, 4, 5, 6, 12, 20, 120)
OTHERS = [name for name in CURVES if name != "loss"]


def shown(history, **levels):
    """The verdicts with all that is made of them, or None for a refusal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy, for sums of what is not finite
        try:
            found = diagnose(history, **levels)
        except InputError:
            return None
        assert str(found)
        json.dumps(found.to_json(), allow_nan=False)
        assert len(found.to_dataset())
    return [finding.verdict for finding in found]


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(SIZES),
    st.sampled_from(sorted(SHAPES)),
    st.dictionaries(st.sampled_from(OTHERS), st.sampled_from(sorted(SHAPES))),
    st.sampled_from([{}, {"chance_loss": 1.0}, {"chance_accuracy": 0.5}, {"classes": 3}, {"targets": [0, 1, 1]}]),
)
@example(20, "inf", {"learning_rate": "constant"}, {})
@example(20, "NaN", dict.fromkeys(OTHERS, "NaN"), {})
def test_every_record_has_a_verdict_or_is_refused(size, loss, others, levels):
    history = {"loss": SHAPES[loss](size)} | {name: SHAPES[shape](size) for name, shape in others.items()}
    verdicts = shown(history, **levels)
    assert verdicts is None or set(verdicts) <= set(PHASES)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("loss", ["NaN", "inf", "-inf", "falls"])
def test_no_curve_beside_it_hinders_a_loss(size, loss):
    for name in OTHERS:
        for shape in ("NaN", "inf", "constant", "one number"):
            history = {"loss": SHAPES[loss](size), name: SHAPES[shape](size)}
            alone = shown({"loss": history["loss"]})
            found = shown(history)
            assert found is not None
            if shape == "NaN":
                assert found == alone, (name, shape)


@pytest.mark.parametrize("written", ["nan", "inf", "-inf"])
def test_a_log_of_a_training_that_is_never_finite_is_divergence(tmp_path, written):
    path = tmp_path / "run.jsonl"
    rows = [{"step": k, "loss": written, "learning_rate": 0.1, "gradient_norm": "nan"} for k in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert diagnose_file(path).startswith("divergence")
