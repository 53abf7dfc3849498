"""Wrong files are refused in one line, which has the line and the key, before anything is
written.
"""

from __future__ import annotations

import re
import tomllib

import numpy as np
import pytest

from ghostpoint.command.cli import run
from ghostpoint.errors import InputError
from ghostpoint.sweeps.sweep_file import read_sweep
from ghostpoint.sweeps.toml_lines import lines_of
from tests.sweeps.small import small

GOOD = """\
[models]
units = 6
rank = 1
[task]
name = "DelayedActivation"
delay = 50.0
[training]
epochs = 20
optimizer = "sgd"
[remedies]
clip_gradient = {norm = 0.1}
[recording]
history = "all"
[grid]
models.seed = [0, 1]
training.learning_rate = {logspace = [0.01, 0.1, 2]}
"""
#: what is replaced in the good file, by what, the line of the error, and what it says
WRONG = [
    # names of sections and keys
    ("[models]", "[modles]", 1, "modles is unknown; valid are .*; did you mean 'models'"),
    ("[training]", "[trainign]", 7, "did you mean 'training'"),
    ("[recording]", "[record]", 12, "did you mean 'recording'"),
    ("[grid]", "[gird]", 14, "did you mean 'grid'"),
    ("units = 6", "unit = 6", 2, "models.unit is unknown.*did you mean 'units'"),
    ("rank = 1", "ranks = 1", 3, "did you mean 'rank'"),
    ("delay = 50.0", "dealy = 50.0", 6, "did you mean 'delay'"),
    ("epochs = 20", "epoch = 20", 8, "did you mean 'epochs'"),
    ("optimizer =", "optimiser =", 9, "did you mean 'optimizer'"),
    ("history =", "histroy =", 13, "did you mean 'history'"),
    ("clip_gradient", "clip_gradients", 11, "did you mean 'clip_gradient'"),
    ("{norm = 0.1}", "{nrom = 0.1}", 11, "did you mean 'norm'"),
    ("models.seed", "models.seeds", 15, "grid.models.seeds is unknown.*did you mean 'seed'"),
    ("training.learning_rate", "training.learning_rates", 16, "did you mean 'learning_rate'"),
    ("training.learning_rate", "trainings.learning_rate", 16, "did you mean 'training'"),
    # values of models
    ("units = 6", "units = 0", 2, "models.units must be at least 1, got 0"),
    ("units = 6", "units = 6.5", 2, "must be a whole number, got 6.5"),
    ("units = 6", 'units = "six"', 2, "must be a whole number, got 'six'"),
    ("units = 6", "units = true", 2, "must be a whole number, got True"),
    ("units = 6", 'units = 6\npublished = "3A"', 1, "must have either units or published"),
    ("units = 6\nrank = 1", "", 1, "must have either units or published"),
    ("units = 6\nrank = 1", 'published = "99"', 2, "models.published must be one of 3, 3A"),
    ("units = 6", 'units = 6\nfamily = "LowRank"', 3, "did you mean 'LowRankRNN'"),
    ("units = 6", 'units = 6\nfamily = "FullRankRNN"', 4, "rank must be left out|models.rank"),
    ("rank = 1", "rank = 0", 3, "models.rank must be at least 1"),
    ("rank = 1", 'scheme = "fixed_readuot"', 3, "scheme must be one of"),
    ("rank = 1", "confidence = -1", 3, "confidence must be above 0"),
    ("rank = 1", 'activation = "sigmoit"', 3, "did you mean 'sigmoid'"),
    ("rank = 1", 'activation = "tanh"\nscheme = "state_readout"\ntrainable = ["q"]', 5, "trainable must be"),
    ("rank = 1", 'readout = "states"', 3, "readout must be one of"),
    ("rank = 1", "trainable = 3", 3, "trainable must be a list of names"),
    # values of tasks
    ("DelayedActivation", "DelayedActivations", 5, "did you mean 'DelayedActivation'"),
    ('name = "DelayedActivation"\n', "", 4, "must have the name of a task"),
    ("delay = 50.0", "delay = -1", 6, "task.delay must be above 0"),
    ("delay = 50.0", "delay = 1", 6, "delay must be at least one step"),
    ("delay = 50.0", 'delay = "long"', 6, "delay must be a number"),
    ("delay = 50.0", "delay = nan", 6, "delay must be above 0 and finite"),
    ("delay = 50.0", "dt = 20.0", 6, "dt must be at most tau"),
    # values of the training
    ("epochs = 20", "epochs = 0", 8, "training.epochs must be at least 1, got 0"),
    ("epochs = 20", "", 7, "training must have epochs"),
    ('optimizer = "sgd"', 'optimizer = "sdg"', 9, "did you mean 'sgd'"),
    ('optimizer = "sgd"', 'optimizer = {name = "sgd", momentun = 0.9}', 9, "did you mean 'momentum'"),
    ('optimizer = "sgd"', 'optimizer = {name = "sgd", momentum = 1.5}', 9, "momentum must be below 1"),
    ('optimizer = "sgd"', "solved = 1.5", 9, "solved must be above 0 and at most 1"),
    ('optimizer = "sgd"', 'dtype = "float16"', 9, "dtype must be one of float32, float64"),
    ('optimizer = "sgd"', 'engine = "compield"', 9, "did you mean 'compiled'"),
    ('optimizer = "sgd"', 'engine = "reference"', 9, "dtype must be float64 for the reference engine"),
    ('optimizer = "sgd"', "readout_norm = 2.0", 9, "readout_norm must be left out for networks without w_out"),
    ('optimizer = "sgd"', "learning_rate = 0.1", 9, "either in .training. or in .grid., got both"),
    # remedies and recording
    ("{norm = 0.1}", "{norm = -0.1}", 11, "norm must be above 0"),
    ("{norm = 0.1}", "0.1", 11, "must be a table of its settings"),
    ("clip_gradient = {norm = 0.1}", "auto = true\nclip_gradient = {}", 10, "either auto = true or remedies by name"),
    ('history = "all"', 'history = "every"', 13, "history must be one of auto, all, log"),
    ('history = "all"', "history = [0, 20]", 13, "history must be below epochs = 20, got 20"),
    ('history = "all"', "history = 0", 13, "history must be at least 1"),
    ('history = "all"', "final_weights = 1", 13, "final_weights must be true or false"),
    # the grid
    ("[0, 1]", "[]", 15, "grid.models.seed must have at least one value"),
    ("[0, 1]", "3", 15, "must be a list of values, or linspace, logspace, powers, range"),
    ("[0, 1]", "[0, 1, 0]", 15, "must have every value once, got 0 twice"),
    ("[0, 1]", "[0,\n -1]", 16, "seed .value 2. must be at least 0, got -1"),
    ("[0, 1]", "{arange = [3]}", 15, "did you mean 'range'"),
    ("[0, 1]", "{range = [0, 9, 0]}", 15, "range whose step is not 0"),
    ("logspace = [0.01, 0.1, 2]", "logspace = [-2, -1, 2]", 16, "between positive values .not exponents."),
    ("logspace = [0.01, 0.1, 2]", "logspace = [0.01, 0.1]", 16, "first, last, how many"),
    ("logspace = [0.01, 0.1, 2]", "linspace = [0.01, 0.1, 0]", 16, "linspace must be at least 1"),
    ("models.seed = [0, 1]\ntraining.learning_rate = {logspace = [0.01, 0.1, 2]}", "", 14, "at least one axis"),
    ("models.seed = [0, 1]\n", "", 1, "models must have seed, here or in .grid."),
    ("[0, 1]", '[0, 1]\nzip = [["seed", "rate"]]', 16, "must name axes of the grid .*, got 'rate'"),
    ("[0, 1]", '[0, 1, 2]\nzip = [["seed", "learning_rate"]]', 16, "axes of one length, got seed: 3, learning_rate: 2"),
    ("[0, 1]", "[0, 1]\nremedies = {}", 16, "must be a list of tables of remedies"),
    ("[0, 1]", "[0, 1]\nremedies = [{}, {trust_regoin = {}}]", 16, "did you mean 'trust_region'"),
    ("[0, 1]", '[0, 1]\ntask = [{name = "NBitFlipFlop", bits = 2}]', 16, "bits is unknown"),
    # names that are no names, sizes beyond any memory, what is said twice
    ('optimizer = "sgd"', 'optimizer = {name = ["sgd"]}', 9, "optimizer must be one of sgd, momentum, adam; got"),
    ("[0, 1]", '[0, 1]\nzip = [[["seed"], "learning_rate"]]', 16, "must name axes of the grid"),
    ("[0, 1]", '[0, 1]\nremedies = [{}, {trust_region = {}}]', 10, "either in .remedies. or in .grid., got both"),
    ("clip_gradient = {norm = 0.1}", 'auto = "yes"', 11, "remedies.auto must be true or false, got 'yes'"),
    ("units = 6", "units = 10000000000000", 2, "models.units = 1.* asks for more memory than there is"),
    ("delay = 50.0", "delay = 1e15", 4, "task asks for more memory than there is"),
    ("epochs = 20", "epochs = 100000000000000000000", 8, "epochs must be at most 1,000,000,000"),
    ("logspace = [0.01, 0.1, 2]", "powers = [1, 400, 3]", 16, "above 0 and finite, got inf"),
    ("rank = 1", 'family = "GRU"\nconfidence = 2.0', 4, "models.confidence must be left out for GRU"),
    ("[0, 1]", "[2026-01-01, 1]", 15, r"seed .value 1. must be a whole number"),
    ("[models]", "[[models]]", 1, "models must be a table"),
    ("[grid]", "[shards]\nnetworks = 0\n[grid]", 15, "networks must be at least 1"),
    # what stands in the wrong place, or is half a name
    ("models.seed", "seed", 15, "grid.seed is unknown; valid are .*; did you mean 'models.seed'"),
    ("units = 6", "units = 6\nepochs = 20", 3, "models.epochs is unknown; .*; did you mean 'training.epochs'"),
    ("units = 6", "units = [6, 8]", 2, "must be a whole number, got .*; several values stand in .grid., models.units"),
    ("clip_gradient", "clip", 11, "remedies.clip is unknown; valid are .*; did you mean 'clip_gradient'"),
    ("rank = 1", "spare_ranks = -1", 3, "models.spare_ranks must be at least 0"),
    ("[0, 1]", "[0, 1]\nmeasurement.rates = [[0.1]]", 16, "grid.measurement must be left out unless computes"),
    # what does not fit together, and what is not TOML at all
    ('name = "DelayedActivation"\ndelay = 50.0', 'name = "DelayedCueDiscrimination"\ndelay = 50.0', 4, "."),
    ("[recording]", "[measurement]\nrates = [0.1]\n[recording]", 12, "must be left out unless computes"),
    ("[models]", '[sweep]\ncomputes = "criticalrate"\n[models]', 2, "did you mean 'critical_rate'"),
    ("units = 6", "units = ", 2, "not valid TOML"),
    ("[task]", "[models]", 4, "not valid TOML"),
]  # fmt: skip


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "sweep.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_good_file_is_good(written):
    configuration = read_sweep(written(GOOD))
    assert configuration.sizes == {"seed": 2, "learning_rate": 2}
    np.testing.assert_allclose(configuration.axes[1].values, [0.01, 0.1])


def test_there_are_sixty_distinct_wrong_files():
    assert len({GOOD.replace(old, new) for old, new, *_ in WRONG} - {GOOD}) == len(WRONG) >= 60


@pytest.mark.parametrize(("old", "new", "line", "says"), WRONG, ids=lambda value: str(value)[:30])
def test_a_wrong_file_is_one_line_with_line_and_key(written, tmp_path, capsys, old, new, line, says):
    file = written(GOOD.replace(old, new))
    assert run(["sweep", str(file), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert re.search(says, said.err), said.err
    where = re.match(rf"error: {re.escape(str(file))}:(?:(\d+):| is not valid TOML: .*\(at line (\d+))", said.err)
    assert where, said.err
    assert int(where[1] or where[2]) == line, said.err
    assert not (tmp_path / "out").exists()


def test_other_files_are_refused_in_a_line(tmp_path, capsys):
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for file, says in ((binary, "UTF-8"), (tmp_path / "none.toml", "cannot be read"), (tmp_path, "cannot be read")):
        assert run(["sweep", str(file), "--out", str(tmp_path / "out")]) == 2
        assert says in capsys.readouterr().err


def test_a_mapping_is_refused_without_lines():
    with pytest.raises(InputError, match=r"^training.epochs must be at least 1, got 0$"):
        read_sweep(small(training={"epochs": 0}))


def test_axes_are_crossed_in_order_and_zipped_along_the_first():
    grid = {
        "models": {"units": [4, 5], "seed": [0, 1, 2]},
        "training": {"epochs": [3, 6]},
        "zip": [["units", "epochs"]],
    }
    given = small(training={"learning_rate": 0.1}, grid=grid)
    del given["models"]["units"], given["training"]["epochs"], given["grid"]["task"]
    configuration = read_sweep(given)
    assert configuration.sizes == {"units": 2, "seed": 3}
    stacks = list(configuration.stacks())
    assert [(one.settings["models"]["units"], one.settings["training"]["epochs"]) for one in stacks] == [(4, 3), (5, 6)]
    assert [one.networks["seed"] for one in stacks] == [[0, 1, 2], [0, 1, 2]]
    assert [one.members.tolist() for one in stacks] == [[0, 1, 2], [3, 4, 5]]


def test_zipped_axes_need_to_differ_only_together():
    grid = {
        "training": {"optimizer": ["sgd", "sgd", "adam"], "learning_rate": [0.1, 1.0, 0.1]},
        "models": {"seed": [0]},
        "zip": [["learning_rate", "optimizer"]],
    }
    given = small(grid=grid)
    del given["grid"]["task"]
    pairs = [
        (one.settings["training"]["optimizer"], one.networks["learning_rate"]) for one in read_sweep(given).stacks()
    ]
    assert pairs == [("sgd", [0.1]), ("sgd", [1.0]), ("adam", [0.1])]
    given["grid"]["training"]["optimizer"] = ["sgd", "sgd", "sgd"]
    with pytest.raises(InputError, match=r"must have every value once, got .*0.1.* twice"):
        read_sweep(given)


def measured(**changes):
    """A sweep of critical rates whose rates and epochs go with the delay."""
    grid = {
        "task": {"delay": [30, 40]}, "models": {"seed": [0]}, "training": {"epochs": [60, 70]},
        "measurement": {"rates": [[0.1], {"powers": [-1, 0, 2]}]}, "zip": [["delay", "rates", "epochs"]],
    }  # fmt: skip
    given = small(sweep={"computes": "critical_rate"}, measurement={"predict": False}, **changes)
    del given["training"]["epochs"]
    return {**given, "grid": grid}


def test_rates_of_a_measurement_can_go_with_another_axis():
    configuration = read_sweep(measured())
    assert [one.settings["measurement"]["rates"] for one in configuration.stacks()] == [[0.1], [0.1, 1.0]]
    assert configuration.axes[-1].labels == ("1 from 0.1 to 0.1", "2 from 0.1 to 1")
    with pytest.raises(InputError, match=r"measurement.train must be true unless predict = true"):
        read_sweep(small(sweep={"computes": "critical_rate"}, measurement={"rates": [1], "train": False,
                         "predict": False}, grid={"training": {"optimizer": ["sgd"]}}))  # fmt: skip
    given = measured(training={"optimizer": "adam"})
    given["measurement"]["lethal_update"] = True
    with pytest.raises(InputError, match="lethal_update must be false for optimizers other than plain sgd"):
        read_sweep(given)
    with pytest.raises(InputError, match="measurement must be left out unless computes"):
        read_sweep({**measured(), "sweep": {}, "measurement": {}})


def test_spare_ranks_are_for_networks_whose_readout_is_the_latent():
    assert read_sweep(small(models={"spare_ranks": 2})).settings["models"]["spare_ranks"] == 2
    for wrong in ({"scheme": "state_readout"}, {"family": "FullRankRNN", "scheme": None}):
        given = small(models={"spare_ranks": 2, **wrong})
        given["models"] = {key: value for key, value in given["models"].items() if value is not None}
        with pytest.raises(InputError, match="spare_ranks must be 0 unless"):
            read_sweep(given)


def test_axes_of_one_key_in_two_sections_have_names_of_their_own():
    given = small()
    given["grid"] = {"task": {"delay": [30]}, "models": {"seed": [1]}, "training": {"seed": [0], "learning_rate": [1]}}
    assert list(read_sweep(given).sizes) == ["delay", "seed", "training_seed", "learning_rate"]


def test_whole_sections_vary_with_labels():
    grid = {
        "task": [{"name": "DelayedActivation", "delay": 30}, {"delay": 50, "label": "long"}],
        "remedies": [{}, {"trust_region": {}}, {"clip_gradient": {"norm": 0.5}, "hazard_limit": {}}],
    }
    configuration = read_sweep(small(grid=grid))
    labels = {axis.name: axis.labels for axis in configuration.axes}
    assert labels["task"] == ("DelayedActivation(delay=30)", "long")
    assert labels["remedies"] == ("none", "trust_region", "clip_gradient(norm=0.5) + hazard_limit")
    settings = [stack.settings for stack in configuration.stacks()]
    assert settings[-1]["task"] == {"name": "DelayedActivation", "delay": 50}
    plain = read_sweep(small(task={"dt": 2.5}, grid={"task": [{"delay": 30, "dt": 5.0, "label": "a"}, {"label": "b"}]}))
    assert [stack.settings["task"] for stack in plain.stacks()] == [
        {"name": "DelayedActivation", "delay": 30, "dt": 5.0}, {"name": "DelayedActivation", "dt": 2.5},
    ]  # fmt: skip
    assert settings[-1]["remedies"] == {"clip_gradient": {"norm": 0.5}, "hazard_limit": {}}


TRICKY = '''\
# a comment with [brackets] = and "quotes"
top = """
[no.table]
key = 1
"""
[a."quoted.key".c]
list = [
  1, # one
  [2,
   3],
  {x = 1, "y z" = [4]},
]
d.e = 'lit # eral'
[[many]]
n = 1
[[many]]
n = 2
[many.inner]
m = 3
'''


def test_lines_of_tricky_toml():
    tomllib.loads(TRICKY)
    lines = lines_of(TRICKY)
    wanted = {
        ("top",): 2, ("a", "quoted.key", "c"): 6, ("a", "quoted.key", "c", "list"): 7,
        ("a", "quoted.key", "c", "list", 1, 1): 10, ("a", "quoted.key", "c", "list", 2, "y z", 0): 11,
        ("a", "quoted.key", "c", "d", "e"): 13, ("many", 0, "n"): 15, ("many", 1, "n"): 17,
        ("many", 1, "inner", "m"): 19,
    }  # fmt: skip
    assert {path: lines.get(path) for path in wanted} == wanted
