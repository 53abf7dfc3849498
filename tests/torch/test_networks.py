"""Networks as modules and back: the same equations, the same losses, training that goes on on
either side.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import ghostpoint as gp  # noqa: E402
from ghostpoint.torch import TaskBatches, from_module, to_module  # noqa: E402

DA = gp.tasks.DelayedActivation(40)


def steep(record):
    """Off the plateau, where the loss moves."""
    return record.replace(n=3 * record.n)


DCDT = gp.tasks.DelayedCueDiscrimination(15, 30, 20, noise=0.0, initial_scale=0.0)
CASES = {
    "rank one": (lambda: steep(gp.LowRankRNN.initialize(12, [4])), DA, 0.05),
    "rank two": (lambda: gp.LowRankRNN.initialize(12, [4], "state_readout", rank=2), DA, 0.05),
    "full": (lambda: gp.FullRankRNN.initialize(12, [4], n_inputs=1, activation="tanh"), DCDT, 0.1),
    "lstm": (lambda: gp.LSTM.initialize(12, [4], n_inputs=1, activation="tanh"), DCDT, 0.1),
    "gru": (lambda: gp.GRU.initialize(12, [4], n_inputs=1, activation="tanh"), DCDT, 0.1),
}


def descend(module, task, rate, epochs):
    optimizer = torch.optim.SGD(module.parameters(), lr=rate)
    losses = []
    for batch in TaskBatches(task, epochs):
        optimizer.zero_grad()
        loss = batch.loss(module(batch.inputs))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.filterwarnings("ignore:training with the slower torch engine")
@pytest.mark.parametrize("case", CASES)
def test_training_goes_on_in_torch_and_back_with_the_same_losses(case):
    make, task, rate = CASES[case]
    start = make()
    whole = gp.train(start, task, rate, epochs=30, record=1)
    losses = whole.history.loss.values[0]
    # ten epochs by the library's engine, ten in torch, ten by the engine again
    first = gp.train(start, task, rate, epochs=10, record=1)
    module = to_module(first.models, task)
    middle = descend(module, task, rate, 10)
    last = gp.train(from_module(module), task, rate, epochs=10, record=1)
    np.testing.assert_allclose(middle, losses[10:20], rtol=2e-5)
    np.testing.assert_allclose(last.history.loss.values[0, :10], losses[20:30], rtol=5e-5)
    assert abs(losses[29] - losses[0]) > 1e-4 * losses[0]


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("bias", [True, False])
def test_a_torch_network_has_the_same_answers_as_a_record(kind, bias):
    torch.manual_seed(1)
    layer, readout = kind(3, 8, batch_first=True, bias=bias).double(), nn.Linear(8, 2).double()
    module = nn.ModuleDict({"layer": layer, "readout": readout})
    x = torch.randn(4, 9, 3, dtype=torch.float64)
    expected = torch.sigmoid(readout(layer(x)[0]))
    record = from_module(module, activation="sigmoid")
    again = to_module(record, dtype=torch.float64)
    torch.testing.assert_close(again(x), expected, rtol=1e-12, atol=1e-12)
    # in a task with dt = tau too
    task = gp.tasks.from_arrays(x.numpy(), np.zeros((4, 9, 2)), dt=1.0, tau=1.0, tolerance=0.1)
    assert to_module(record, task).alpha == 1
    lone = from_module({nn.RNN: nn.RNNCell, nn.GRU: nn.GRUCell, nn.LSTM: nn.LSTMCell}[kind](3, 8))
    assert (lone.n_units, lone.n_inputs) == (16 if kind is nn.LSTM else 8, 3)


def test_a_stack_is_a_module_with_an_axis_for_its_networks():
    stack = gp.GRU.initialize(5, [0, 1, 2], n_inputs=2)
    x = torch.randn(4, 6, 2)
    outputs = to_module(stack)(x)
    assert outputs.shape == (4, 3, 6, 1)
    torch.testing.assert_close(outputs[:, 1], to_module(stack[1])(x))


def test_the_trainable_parts_are_the_parameters_and_a_round_trip_keeps_everything():
    record = gp.LowRankRNN.initialize(7, [3], "state_readout", rank=2)
    module = to_module(record, dtype=torch.float64)
    assert {name for name, _ in module.named_parameters()} == set(record.trainable)
    again = from_module(module)
    assert again.settings() == record.settings()
    for name, array in record.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)


def test_what_no_family_has_is_refused_and_named():
    for module, message in [
        (nn.LSTM(2, 3, proj_size=2), "projection"),
        (nn.RNN(2, 3, num_layers=2), "one layer in one direction"),
        (nn.GRU(2, 3, bidirectional=True), "one layer in one direction"),
        (nn.RNN(2, 3, nonlinearity="relu"), "units with tanh, got relu"),
        (nn.Linear(2, 3), "one recurrent layer, got none"),
        (nn.ModuleList([nn.GRU(2, 3), nn.Linear(3, 1), nn.Linear(3, 1)]), "at most one Linear of 3 inputs, got 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            from_module(module)
    with pytest.raises(ValueError, match="record must be one of"):
        to_module(nn.RNN(2, 3))
    with pytest.raises(ValueError, match="alpha must be above 0 and at most 1"):
        to_module(gp.GRU.initialize(3, [0]), alpha=0.0)


# Tasks.


def test_batches_are_those_of_training_and_workers_take_turns():
    task = gp.tasks.DelayedAddition(n_trials=3)
    batches = TaskBatches(task, 5, seed=2)
    first, second = list(batches), list(batches)
    assert len(batches) == len(first) == 5
    np.testing.assert_allclose(second[1].inputs, task.trial((2, 6)).inputs, rtol=1e-6)
    outputs = torch.rand(first[0].targets.shape)
    expected = float(task.loss(outputs.numpy(), task.trial((2, 0))))
    assert first[0].loss(outputs).item() == pytest.approx(expected, rel=1e-5)
    loader = torch.utils.data.DataLoader(TaskBatches(task, 5, seed=2), batch_size=None, num_workers=2)
    for a, b in zip(first, loader, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.mask, b.mask)
    with pytest.raises(ValueError, match="batches must be at least 1"):
        TaskBatches(task, 0)
    with pytest.raises(ValueError, match="task must be one of"):
        TaskBatches("DA", 1)
