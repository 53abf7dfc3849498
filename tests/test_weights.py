"""Weights and slow points to files and back; PyTorch's names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint import keras_files, weights
from ghostpoint.models import FullRankRNN, LowRankRNN
from ghostpoint.slow_points import SlowPoints, find_slow_points
from ghostpoint.weights import open_weights, read_weights, write_weights
from tests.slow_points.networks import full_rank, vanilla
from tests.training.calls import train_with


def models():
    generator = np.random.default_rng(0)
    yield LowRankRNN.initialize(7, [0, 1])
    yield LowRankRNN.initialize(7, [0, 1, 2], "latent_readout", rank=2, n_inputs=3)
    yield LowRankRNN.initialize(7, [4], "state_readout", rank=2, n_outputs=2)
    yield FullRankRNN.initialize(6, [0, 1], n_inputs=2, n_outputs=2)
    yield full_rank(*vanilla(0, 5, 1.0, generator.normal()))


def same(first, second):
    assert type(first) is type(second)
    assert first.arrays().keys() == second.arrays().keys()
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(array, second.arrays()[name])
        assert array.dtype == second.arrays()[name].dtype


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_round_trip_of_networks(tmp_path, suffix):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    for model in models():
        same(read_weights(write_weights(model, tmp_path / f"weights{suffix}")), model)


@pytest.mark.parametrize("name", ["W.NPZ", "w.npz", "weights.Npz", "W.SAFETENSORS"])
def test_the_path_that_comes_back_is_the_file_that_was_written(tmp_path, name):
    if name.lower().endswith("safetensors"):
        pytest.importorskip("safetensors")
    model = LowRankRNN.initialize(3, [0])
    path = write_weights(model, tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [path.name] == [name]
    same(read_weights(path), model)


@pytest.mark.parametrize("index", range(5))
def test_one_network_needs_no_axis_for_networks(tmp_path, index):
    model = list(models())[index][0]
    arrays = {name: array[0] for name, array in model.arrays().items()}
    np.savez(tmp_path / "one.npz", **arrays)
    same(read_weights(tmp_path / "one.npz"), model)


def test_vectors_are_rank_one(tmp_path):
    m, n = np.random.default_rng(0).normal(size=(2, 9))
    np.savez(tmp_path / "one.npz", m=m, n=n)
    same(read_weights(tmp_path / "one.npz"), LowRankRNN(m, n))
    np.savez(tmp_path / "two.npz", m=np.stack([m, n]), n=np.stack([n, m]), b=np.zeros((2, 9)))
    same(read_weights(tmp_path / "two.npz"), LowRankRNN(np.stack([m, n]), np.stack([n, m])))


def test_only_w_and_b_are_enough(tmp_path):
    W, b = vanilla(0, 8, 1.5, 0.1)
    np.savez(tmp_path / "w.npz", W=W)
    model = read_weights(tmp_path / "w.npz")
    np.testing.assert_array_equal(model.W[0], W)
    np.testing.assert_array_equal(model.b, 0)
    np.savez(tmp_path / "w.npz", W=W, b=b)
    np.testing.assert_array_equal(read_weights(tmp_path / "w.npz").b[0], b)


def test_a_pytorch_network_moves_as_the_map_with_step_one(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.RNN(2, 11, batch_first=True)
            self.readout = torch.nn.Linear(11, 3)

    net = Net().double()
    arrays = {name: value.numpy() for name, value in net.state_dict().items()}
    np.savez(tmp_path / "net.npz", **arrays)
    model = read_weights(tmp_path / "net.npz")
    inputs = np.random.default_rng(0).normal(size=(6, 2))
    with torch.no_grad():
        theirs, _ = net.rnn(torch.tensor(inputs)[None])
        answers = net.readout(theirs)[0].numpy()
    x = model.initial_state
    for step, u in enumerate(inputs):
        x = model.step(x, 1.0, u)
        np.testing.assert_allclose(x[0], theirs[0, step].numpy(), atol=1e-14)
        np.testing.assert_allclose(model.logit_of_state(x)[0], answers[step], atol=1e-14)
    # what this library calls a fixed point is one of theirs
    points = find_slow_points(model, inputs=inputs[0], n_starts=8)
    state = torch.tensor(points.fixed.position)
    with torch.no_grad():
        moved = net.rnn(torch.tensor(inputs[:1])[None].repeat(len(state), 1, 1), state[None])[0][:, 0]
    np.testing.assert_allclose(moved, state, atol=1e-13)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "none"),
        ({"weight": np.zeros((2, 2))}, "holds weight"),
        ({"m": np.zeros((3, 2)), "n": np.zeros((3, 2))}, "m must have 3 axes"),
        ({"W": np.zeros((1, 2, 3))}, "W must have shape"),
        ({"W": np.full((2, 2), np.nan)}, "W must be finite"),
        ({"rnn.weight_hh_l0": np.zeros((10, 2))}, "another cell"),
        ({"m": np.zeros((3, 1)), "n": np.zeros((3, 1)), "wi": np.zeros((1, 3)), "b": np.zeros(3)}, "low_rank_scale"),
        ({"a.recurrent_kernel": np.zeros((2, 10))}, "another cell"),
        ({"a.recurrent_kernel": np.zeros((2, 6)), "a.bias": np.zeros(6)}, "reset_after"),
        ({"weight_hh_l0": np.zeros((2, 2)), "weight_hh_l1": np.zeros((2, 2))}, "weight_hh_l1"),
        ({"weight_hh_l0": np.zeros((2, 2)), "weight_hh_l0_reverse": np.zeros((2, 2))}, "one direction"),
        ({"W": np.array([{}], dtype=object)}, "plain arrays"),
    ],
)
def test_what_is_no_network_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_weights(tmp_path / "bad.npz")


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="there is none at"):
        read_weights(tmp_path / "none.npz")
    for name in ("text.npz", "text.zarr"):
        (tmp_path / name).write_text("no")
        with pytest.raises(ValueError, match=name):
            read_weights(tmp_path / name)
    with pytest.raises(ValueError, match="suffix"):
        write_weights(next(models()), tmp_path / "weights.txt")

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(keras_files, "import_module", missing)
    with pytest.raises(ImportError, match="pip install safetensors"):
        write_weights(next(models()), tmp_path / "weights.safetensors")


def test_a_broken_safetensors_file(tmp_path):
    pytest.importorskip("safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"\x00" * 4)
    with pytest.raises(ValueError, match="safetensors file"):
        read_weights(tmp_path / "bad.safetensors")


def test_a_saved_run_gives_its_final_networks(tmp_path):
    task = gp.tasks.DelayedActivation(20.0, 5.0, 10.0)
    run = train_with(LowRankRNN.initialize(5, [0, 1]), task, 0.01, 2, engine="reference", dtype="float64")
    run.save(tmp_path / "run.zarr.zip")
    same(read_weights(tmp_path / "run.zarr.zip"), run.models)


@pytest.mark.parametrize("starts", [1, 24])
def test_slow_points_come_back_as_they_were(tmp_path, starts):
    generator = np.random.default_rng(1)
    m, n = 2.5 * generator.normal(size=(2, 12, 2)) / np.sqrt(12)
    for model in (full_rank(*vanilla(1, 20, 2.0, 0.1)), LowRankRNN(m[None], n[None])):
        points = find_slow_points(model, n_starts=starts, max_steps=6, tau=10.0)
        back = SlowPoints.load(points.save(tmp_path / "points.zarr.zip"))
        assert repr(back) == repr(points)
        assert back.to_dataset().identical(points.to_dataset())
        assert (back.tau, back.dt, back.unconverged.reason) == (10.0, None, points.unconverged.reason)
        np.testing.assert_array_equal(back.eigenvalues, points.eigenvalues)
        assert len(back[back.kind == "fixed"]) == len(points.fixed)


def test_another_dataset_is_no_record_of_slow_points():
    points = find_slow_points(full_rank(*vanilla(1, 5, 0.5)), n_starts=2)
    with pytest.raises(ValueError, match="no variable position"):
        SlowPoints.from_dataset(points.to_dataset().drop_vars("position"))


def test_a_container_from_outside_is_one_record_and_one_line(tmp_path, monkeypatch):
    def read(path):
        parts = json.loads(path.read_text())
        return {name: np.array(values, np.float64) for name, values in parts.items()}

    def write(arrays, path):
        path.write_text(json.dumps({name: array.tolist() for name, array in arrays.items() if name != "seed"}))

    model = LowRankRNN.initialize(5, [3])
    with pytest.raises(ValueError, match=r"path's suffix must be one of '?\.npz"):
        write_weights(model, tmp_path / "w.json")
    monkeypatch.setitem(weights.CONTAINERS, ".json", weights.Container("a JSON object of arrays", read, write))
    again = read_weights(write_weights(model, tmp_path / "w.json"))
    np.testing.assert_array_equal(again.m, model.m)
    np.testing.assert_array_equal(again.w_out, model.w_out)
    (tmp_path / "w.json").write_text("{")
    with pytest.raises(ValueError, match=r"path must be a JSON object of arrays, and .*w\.json is not"):
        read_weights(tmp_path / "w.json")


CASES = Path(__file__).parent / "slow_points" / "cases"


@pytest.mark.parametrize("name", ["rnn", "lstm"])
def test_a_pytorch_file_is_read_as_its_arrays(name):
    same(read_weights(CASES / f"{name}.pt"), read_weights(CASES / f"{name}.npz"))


def test_an_lstm_moves_as_pytorchs(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.LSTM(2, 5).double()
    torch.save({"epoch": 3, "state_dict": {f"net.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "net.ckpt")
    model = read_weights(tmp_path / "net.ckpt")
    inputs = torch.randn(4, 1, 2, dtype=torch.float64)
    with torch.no_grad():
        _, (h, c) = net(inputs)
    x = model.initial_state
    for u in inputs[:, 0].numpy():
        x = model.step(x, 1.0, u)
    np.testing.assert_allclose(x[0], np.concatenate([h[0, 0], c[0, 0]]), atol=1e-14)


def test_the_equation_and_the_arrays_that_are_not_used_are_told(tmp_path):
    W, b = vanilla(0, 8, 1.5, 0.1)
    np.savez(tmp_path / "w.npz", W=W, b=b, mask=np.ones(3))
    opened = open_weights(tmp_path / "w.npz")
    assert opened.unused == ("mask",)
    assert opened.equation == "tau dx/dt = -x + tanh(W x + b)"
    turned = open_weights(tmp_path / "w.npz", transpose=True)
    np.testing.assert_array_equal(turned.models.W[0], W.T)
    with pytest.raises(ValueError, match="low_rank_scale"):
        open_weights(tmp_path / "w.npz", low_rank_scale="1/N")
    with pytest.raises(ValueError, match="low_rank_scale must be one of"):
        open_weights(tmp_path / "w.npz", low_rank_scale="N")


def test_a_published_low_rank_network_needs_its_scale():
    path = CASES / "lowrank_over_n_rank1.npz"
    with pytest.raises(ValueError, match=r"low_rank_scale must be given .*1/N"):
        read_weights(path)
    opened = open_weights(path, low_rank_scale="1/N")
    assert opened.unused == ("so", "wo")
    assert "m n^T x / N" in opened.equation
    with np.load(path) as held:
        np.testing.assert_allclose(opened.models.n[0] * 512, held["n"])
        np.testing.assert_allclose(opened.models.w_in[0, :, 0], held["wi"][0] * held["si"][0])
    points = find_slow_points(opened.models)
    assert len(points.fixed) == 3
    assert points.complete.fixed_points


def test_other_packages_names(tmp_path):
    W, b = vanilla(0, 6, 1.5, 0.1)
    w_in = np.random.default_rng(1).normal(size=(6, 2))
    np.savez(tmp_path / "psych.npz", W_rec=W, W_in=w_in, b_rec=b, Dale_rec=np.eye(6))
    opened = open_weights(tmp_path / "psych.npz")
    np.testing.assert_array_equal(opened.models.w_in[0], w_in)
    assert opened.unused == ("Dale_rec",)
    np.savez(tmp_path / "keras.npz", **{"l.kernel": w_in.T, "l.recurrent_kernel": W.T, "l.bias": b})
    keras = read_weights(tmp_path / "keras.npz")
    np.testing.assert_array_equal(keras.W[0], W)
    np.testing.assert_array_equal(keras.w_in[0], w_in)
    np.save(tmp_path / "w.npy", W)
    np.testing.assert_array_equal(read_weights(tmp_path / "w.npy").W[0], W)
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "w.mat", {"W": W, "b": b})
    np.testing.assert_array_equal(read_weights(tmp_path / "w.mat").b[0], b)


def logistic(z):
    return 1 / (1 + np.exp(-z))


def test_a_gru_by_keras_names_moves_as_keras_says(tmp_path):
    rng = np.random.default_rng(0)
    units, kernel, recurrent = 3, rng.normal(size=(2, 9)), rng.normal(size=(3, 9))
    bias, x, u = rng.normal(size=(2, 9)), rng.normal(size=3), rng.normal(size=2)
    names = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}
    dense = {"dense.kernel": rng.normal(size=(3, 1)), "dense.bias": np.ones(1)}
    np.savez(tmp_path / "gru.npz", **{f"gru.gru_cell.{name}": array for name, array in names.items()}, **dense)
    opened = open_weights(tmp_path / "gru.npz")
    # Keras's equations, with the columns of z, r and the candidate
    outer, inner = np.split(u @ kernel + bias[0], units), np.split(x @ recurrent + bias[1], units)
    z, r = logistic(outer[0] + inner[0]), logistic(outer[1] + inner[1])
    moved = z * x + (1 - z) * np.tanh(outer[2] + r * inner[2])
    np.testing.assert_allclose(opened.models.step(x[None], 1.0, u)[0], moved, atol=1e-14)
    np.testing.assert_array_equal(opened.models.w_out[0], dense["dense.kernel"].T)
    assert opened.unused == ()
    assert "no activations" in opened.equation


@pytest.mark.parametrize("name", ["relu.keras", "gru.keras", "gru.weights.h5", "lstm.h5"])
def test_files_that_keras_wrote(name):
    pytest.importorskip("h5py")
    kind = name.partition(".")[0]
    with np.load(CASES / "keras_states.npz") as states:
        inputs, theirs = states["inputs"], states[kind]
    opened = open_weights(CASES / f"keras_{name}")
    model = opened.models
    x = np.zeros((1, model.n_units))
    for u in inputs:
        x = model.step(x, 1.0, u) if kind != "relu" else np.maximum(x @ model.W[0].T + model.b + u @ model.w_in[0].T, 0)
    np.testing.assert_allclose(x[0, :3], theirs, atol=1e-6)  # theirs are float32
    assert opened.activation == ("relu" if kind == "relu" else "tanh")
    assert ("no activations" in opened.equation) == (".weights" in name)


def test_gates_of_another_equation_are_refused():
    pytest.importorskip("h5py")
    with pytest.raises(ValueError, match="recurrent_activation of the LSTM"):
        open_weights(CASES / "keras_hard.keras")
