"""Numbers that can be read in two ways, columns that grow as a network learns, documents that end
too soon, and records of a few points.
"""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import ghostpoint as gp
from ghostpoint.diagnosis.readers import read_history
from ghostpoint.diagnosis.readers.cells import column_numbers

EPOCHS = np.arange(120)
LOSS = 2.31 * np.exp(-EPOCHS / 40) + 0.02
RNG = np.random.default_rng(0)


def comma(values, digits=4):
    return [f"{value:.{digits}f}".replace(".", ",") for value in values]


def read(tmp_path, text, name="log.csv"):
    path = tmp_path / name
    path.write_text(text)
    return read_history(path)


LAYOUTS = {
    "spaces": lambda: "epoch loss\n" + "\n".join(f"{e} {v}" for e, v in zip(EPOCHS, comma(LOSS), strict=True)),
    "aligned": lambda: "epoch   loss\n" + "\n".join(f"{e:5d}  {v}" for e, v in zip(EPOCHS, comma(LOSS), strict=True)),
    "three": lambda: "epoch loss acc\n" + "\n".join(
        f"{e} {v} {a}" for e, v, a in zip(EPOCHS, comma(LOSS), comma(1 - LOSS / 3), strict=True)
    ),
    "one column": lambda: "loss\n" + "\n".join(comma(LOSS)),
    "semicolons": lambda: "epoch;loss\n" + "\n".join(f"{e};{v}" for e, v in zip(EPOCHS, comma(LOSS), strict=True)),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_decimal_commas_are_read_in_every_layout_that_has_one_meaning(layout, tmp_path):
    [run] = read(tmp_path, LAYOUTS[layout]() + "\n").runs
    np.testing.assert_allclose(run.curves["loss"], np.round(LOSS, 4), atol=1e-9)
    if layout != "one column":
        np.testing.assert_array_equal(run.epoch, EPOCHS)


def test_commas_that_are_separators_and_decimals_at_once_are_refused(tmp_path):
    rows = "\n".join(f"{e},{v}" for e, v in zip(EPOCHS, comma(LOSS), strict=True))
    with pytest.raises(ValueError, match=r"row 2 must have 2 cells as the header has, got 3: .*semicolons or tabs"):
        read(tmp_path, f"epoch,loss\n{rows}\n")


def test_names_of_rows_as_r_writes_them_stay_names(tmp_path):
    rows = "\n".join(f'"{e + 1}",{e},{v:.4f}' for e, v in zip(EPOCHS, LOSS, strict=True))
    [run] = read(tmp_path, f'"epoch","loss"\n{rows}\n').runs
    np.testing.assert_allclose(run.curves["loss"], np.round(LOSS, 4))
    [whole] = read(tmp_path, "loss\n" + "\n".join(f"{k + 1},{900 - 3 * k}" for k in range(100)) + "\n").runs
    np.testing.assert_array_equal(whole.curves["loss"], 900 - 3 * np.arange(100))


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["0", "10,000", "990,000", "1,000,000"], [0, 10_000, 990_000, 1_000_000]),
        (["1,098,123", "993,671", "271,171"], [1_098_123, 993_671, 271_171]),
        (["1,234.5", "999,000"], [1234.5, 999_000]),
        (["0", "500", "1,000", "1,500"], [0, 500, 1000, 1500]),
        (["990.000", "1.000.000"], [990_000, 1_000_000]),
        (["1.234,5", "990.000"], [1234.5, 990_000]),
        # decimals
        (["2,310", "1,125", "0,693"], [2.31, 1.125, 0.693]),
        (["2,31", "1,125"], [2.31, 1.125]),
        (["2,310", "1,125"], [2.31, 1.125]),
        (["0.693", "1.125"], [0.693, 1.125]),
        (["1 000", "2 000"], [1000, 2000]),
        (["nan", "500", "1,000", "1,500"], [np.nan, 500, 1000, 1500]),
        (["1,234", "1,100", "998.5", "950.1"], [1234, 1100, 998.5, 950.1]),
        # decimals of which zeros at the end were cut off
        (["2,303", "1,872", "1", "1,204"], [2.303, 1.872, 1, 1.204]),
        (["12,303", "11,872", "10", "9,204"], [12.303, 11.872, 10, 9.204]),
    ],
)
def test_what_a_comma_means_is_told_by_the_column(cells, numbers):
    np.testing.assert_allclose(column_numbers(cells)[0], numbers, rtol=1e-12)


GROWING = 1 - LOSS / 3
NAMES = ("accuracy", "reward", "f1", "auc", "score", "precision", "mAP", "elbo", "log_likelihood", "explained_variance")


@pytest.mark.parametrize("name", NAMES)
def test_what_grows_as_a_network_learns_is_learning_however_it_is_given(name, tmp_path):
    text = f"epoch,{name}\n" + "\n".join(f"{e},{v:.6f}" for e, v in zip(EPOCHS, GROWING, strict=True)) + "\n"
    path = tmp_path / "log.csv"
    path.write_text(text)
    given = {
        "file": read_history(path),
        "frame": pd.DataFrame({name: GROWING}),
        "series": pd.Series(GROWING, name=name),
        "array": xr.DataArray(GROWING, dims="epoch", name=name),
        "dataset": xr.Dataset({name: ("epoch", GROWING)}),
        "stack": xr.Dataset({name: (("network", "epoch"), np.stack([GROWING, GROWING**2]))}),
        "mapping": {name: GROWING},
        "mapping with epochs": {"epoch": EPOCHS, name: GROWING},
    }
    for how, history in given.items():
        for finding in gp.diagnose(history).findings:
            assert finding.verdict == "gradual learning", how


@pytest.mark.parametrize("name", ["kappa=0.1", "recall task", "high performance", "with map", "precision 16"])
def test_the_name_of_a_run_is_no_metric(name):
    assert gp.diagnose(pd.Series(LOSS, name=name)).verdict == "gradual learning"
    assert gp.diagnose(xr.DataArray(LOSS, dims="epoch", name=name)).verdict == "gradual learning"
    flat = 1 + 0.01 * RNG.standard_normal(len(LOSS))
    found = gp.diagnose({name + " a": LOSS, "another": flat})
    assert [one.verdict for one in found.findings] == ["gradual learning", "plateau at chance"]


def test_what_is_named_negative_is_a_loss():
    assert gp.diagnose(pd.DataFrame({"neg_log_likelihood": LOSS})).verdict == "gradual learning"


def test_the_exact_name_comes_before_that_of_training(tmp_path):
    rows = "\n".join(f"{e},{v:.4f},{2 * v:.4f}" for e, v in zip(EPOCHS, LOSS, strict=True))
    for header, first in (("epoch,loss,train_loss", 1), ("epoch,train_loss,loss", 2), ("epoch,train_loss,avg_loss", 1)):
        [run] = read(tmp_path, f"{header}\n{rows}\n").runs
        np.testing.assert_allclose(run.curves["loss"], np.round(first * LOSS, 4), atol=2e-4, err_msg=header)


def test_documents_that_end_too_soon_are_read_as_far_as_they_go(tmp_path):
    log = [{"step": int(e), "loss": float(v)} for e, v in zip(EPOCHS, LOSS, strict=True)]
    documents = {
        "trainer_state.json": json.dumps({"best_metric": None, "log_history": log, "max_steps": 9}),
        "keras.json": json.dumps({"loss": LOSS.tolist(), "accuracy": GROWING.tolist()}),
        "list.json": json.dumps(log, indent=1),
    }
    for name, text in documents.items():
        for share in (0.35, 0.7):
            cut = text[: int(share * text.index("]"))]
            history = read(tmp_path, cut, name)
            [run] = history.runs
            count = len(run.curves["loss"])
            assert 0.3 * 120 * share < count < 120, name
            np.testing.assert_allclose(run.curves["loss"], LOSS[:count])
            assert any("cut short" in line for line in history.account)
    with pytest.raises(ValueError, match="must be JSON"):
        read(tmp_path, '{"loss": [1, 2, 3}, "x": [4, 5, 6]}', "wrong.json")


@pytest.mark.parametrize(
    ("text", "steps", "loss"),
    [
        ("episode,reward\n1,1,-200\n2,2,-190\n3,3,-180\n4,4,-150\n", [1, 2, 3, 4], [200, 190, 180, 150]),
        ("loss\n0,200\n1,199\n2,198\n3,197\n", [0, 1, 2, 3], [200, 199, 198, 197]),
        ("history\n0,200\n100,199\n200,198\n300,197\n", [0, 100, 200, 300], [200, 199, 198, 197]),
    ],
)
def test_tables_of_whole_numbers_keep_their_columns(text, steps, loss, tmp_path):
    [run] = read(tmp_path, text).runs
    np.testing.assert_array_equal(run.epoch, steps)
    np.testing.assert_array_equal(run.curves["loss"], loss)


def test_a_log_with_brackets_is_no_document_that_ends_too_soon(tmp_path):
    lines = [f"[rank 0, step [{e}, of {len(EPOCHS)} loss: {v:.4f}" for e, v in zip(EPOCHS, LOSS, strict=True)]
    [run] = read(tmp_path, "\n".join(lines) + "\n", "train.log").runs
    np.testing.assert_allclose(run.curves["loss"], np.round(LOSS, 4))


@pytest.mark.parametrize("given", [{"classes": 10}, {"chance_loss": 2.303}])
def test_a_first_record_above_a_plateau_that_is_known_is_no_fall(given):
    noise = np.random.default_rng(0).normal
    loss, accuracy = [5.0, *(2.303 + 0.003 * noise(size=9))], 0.1 + 0.003 * noise(size=10)
    assert gp.diagnose({"loss": loss, "accuracy": accuracy}, **given).verdict == "plateau at chance"


@pytest.mark.parametrize(
    "loss",
    [
        [1, 1.01, 0.99, 0.1, 0.11],
        [0.69, 0.70, 0.69, 0.12, 0.10, 0.09],
        [2.3, 2.31, 2.3, 0.4, 0.1],
        [1.0, 1.0, 0.99, 1.01, 0.3, 0.31, 0.3, 0.29],
    ],
)
def test_a_fall_in_a_few_records_is_no_plateau(loss):
    found = gp.diagnose(loss)
    assert found.verdict in ("cannot tell", "gradual learning", "abrupt learning")
    for name, value in found.findings[0].evidence.items():
        if name.endswith("loss"):
            assert min(loss) <= value <= max(loss), name


@pytest.mark.parametrize("count", [5, 6, 8, 10, 12])
def test_a_short_record_without_a_fall_is_still_a_plateau(count):
    loss = 2.3 + 0.01 * np.random.default_rng(count).standard_normal(count)
    assert gp.diagnose(loss).verdict == "plateau at chance"


@pytest.mark.parametrize("constant", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_a_drop_within_one_record_that_logs_a_lower_rate_follows_the_cut(constant, seed):
    noise = 0.01 * np.random.default_rng(seed).standard_normal(200)
    loss = np.where(EPOCH >= 100, 0.4 + 0.6 * np.exp(-(np.maximum(EPOCH, 100) - 99) / constant), 1.0) + noise
    rate = np.where(EPOCH >= 100, 0.01, 0.1)
    assert gp.diagnose({"loss": loss, "learning_rate": rate}).verdict == "gradual learning"
    alone = gp.diagnose({"loss": loss, "learning_rate": np.full(200, 0.1)})
    assert alone.verdict == "abrupt learning"


EPOCH = np.arange(200)


def test_an_epoch_that_does_not_ascend_is_named():
    with pytest.raises(ValueError, match="epoch must be 4 ascending numbers, one per loss, got 1 after 2"):
        gp.diagnose({"loss": [1.0, 0.9, 0.8, 0.7], "epoch": [0, 2, 1, 3]})
