"""The monitor changes no bit, its numbers are what they say, and its log survives."""

import gc
import json
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import ghostpoint as gp  # noqa: E402
from ghostpoint.diagnosis import read_history  # noqa: E402
from ghostpoint.torch import CSV, JSONLines, Monitor, TensorBoard, WandB  # noqa: E402

from .networks import MODULES, OPTIMIZERS, batch  # noqa: E402


def trained(module, optimizer, watched, *, steps=25, amp=False, compiled=None, path=None, **options):
    """Everything that a training leaves behind: losses, weights, gradients, buffers, optimizer and
    generator states.
    """
    torch.manual_seed(3)
    model = MODULES[module]()
    run = torch.compile(model, backend="aot_eager", fullgraph=compiled == "whole") if compiled else model
    chosen = OPTIMIZERS[optimizer](model.parameters())
    x, y = batch()
    monitor = Monitor(model, chosen, path=path, every=options.pop("every", 2), **options) if watched else None
    losses = []
    for _ in range(steps):
        chosen.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
            outputs = run(x)
            loss = nn.functional.mse_loss(outputs.float(), y)
        loss.backward()
        chosen.step()
        if monitor is not None:
            monitor.log(loss, outputs=outputs, targets=y, states=outputs)
        losses.append(loss.detach())
    kept = [*losses, *model.state_dict().values(), *(p.grad for p in model.parameters()), torch.get_rng_state()]
    kept += [v for s in chosen.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    return [one.clone() for one in kept], monitor


@pytest.mark.parametrize("amp", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("module", MODULES)
def test_it_changes_no_bit(module, optimizer, amp, tmp_path):
    plain, _ = trained(module, optimizer, False, amp=amp)
    watched, monitor = trained(module, optimizer, True, amp=amp, path=tmp_path / "log.jsonl")
    monitor.verdict()
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))
    assert len(monitor.record["loss"]) == 25


@pytest.mark.parametrize(("module", "compiled"), [("gru", "parts"), ("stack", "whole")])
def test_it_changes_no_bit_and_breaks_no_graph_of_a_compiled_model(module, compiled):
    # whole: a break would be an error (PyTorch itself breaks its graph at recurrent layers)
    torch._dynamo.reset()
    plain, _ = trained(module, "adam", False, compiled=compiled)
    watched, _ = trained(module, "adam", True, compiled=compiled)
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


def test_a_compiled_step_of_the_optimizer_still_has_its_losses():
    torch._dynamo.reset()
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = Monitor(model, optimizer)
    compiled = torch.compile(optimizer.step, backend="eager")

    def step():
        loss = model(torch.ones(1, 2)).square().sum()
        optimizer.zero_grad()
        loss.backward()
        compiled()
        monitor.log(loss)

    with pytest.warns(RuntimeWarning, match="optimizer.step is compiled"):
        step()
    for _ in range(7):
        step()
    monitor.read_out()
    assert len(monitor.record["loss"]) >= 7


def test_no_number_is_fetched_between_read_outs(monkeypatch):
    gc.collect()  # monitors of other tests, which write what they have left
    fetched = []
    for name in ("item", "tolist", "cpu", "numpy", "__float__", "__bool__"):
        plain = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *a, _n=name, _p=plain, **k: (fetched.append(_n), _p(self, *a, **k))[1]
        )
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = Monitor(model, optimizer, every=1)
    monitor._read_time = float("inf")  # no read-out by time
    counts = []
    for _ in range(49):
        out = model(torch.ones(3, 2))
        loss = out.square().mean()
        optimizer.zero_grad()
        loss.backward()
        fetched.clear()
        optimizer.step()
        monitor.log(loss, outputs=out, targets=torch.ones(3, 1), states=out)
        counts.append(len(fetched))
    assert counts == [0] * 49
    monitor.read_out()
    assert fetched == ["tolist"]


def test_the_numbers_are_those_of_their_definitions():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    monitor = Monitor(model, optimizer, every=1)
    x, y = torch.randn(8, 3), torch.randint(2, (8,))
    before = torch.cat([p.detach().reshape(-1).clone() for p in model.parameters()])
    outputs = model(x)
    loss = nn.functional.cross_entropy(outputs, y)
    loss.backward()
    gradient = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
    optimizer.step()
    monitor.log(loss, outputs=outputs, targets=y, states=torch.tensor([0.5, -0.995, 1.0, 0.2]), validation_loss=0.7)
    monitor.read_out(last=True)
    record = {name: values[0] for name, values in monitor.record.items()}
    after = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    p = outputs.softmax(-1)
    assert record["loss"] == loss.item()
    assert record["gradient_norm"] == pytest.approx(gradient.norm().item(), rel=1e-6)
    assert record["update_size"] == pytest.approx((after - before).norm().item(), rel=1e-6)
    assert record["effective_learning_rate"] == pytest.approx(0.25, rel=1e-5)
    assert record["learning_rate"] == 0.25
    assert record["confidence"] == pytest.approx(p.amax(-1).mean().item(), rel=1e-6)
    assert record["accuracy"] == pytest.approx((p.argmax(-1) == y).float().mean().item())
    assert record["saturation"] == pytest.approx((p.amax(-1) > 0.99).float().mean().item())
    assert record["state_saturation"] == 0.5
    assert record["validation_loss"] == 0.7


@pytest.mark.parametrize(
    ("outputs", "targets", "expected"),
    [
        ([[0.2], [0.999]], [[0.0], [1.0]], {"confidence": 0.8995, "saturation": 0.5, "accuracy": 1.0}),
        ([[-3.0], [6.0]], [[0.0], [0.0]], {"confidence": 0.97505, "saturation": 0.5, "accuracy": 0.5}),
        ([[-0.5], [0.999]], [[-1.0], [1.0]], {"confidence": 0.87475, "saturation": 0.5}),
        ([[-3.0], [2.0]], [[0.7], [0.1]], {}),
    ],
    ids=["probabilities", "logits", "tanh", "values"],
)
def test_outputs_are_read_by_their_range_and_targets(outputs, targets, expected):
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = Monitor(model, optimizer)
    optimizer.step()
    monitor.log(1.0, outputs=torch.tensor(outputs), targets=torch.tensor(targets))
    monitor.read_out(last=True)
    found = {name: monitor.record[name][0] for name in ("confidence", "saturation", "accuracy")
             if name in monitor.record}  # fmt: skip
    assert found == pytest.approx(expected, abs=1e-4)


def test_losses_between_two_steps_are_averaged_and_their_order_does_not_matter():
    for after in (False, True):
        model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor = Monitor(model, optimizer)
        for k in range(6):
            if after:
                optimizer.step()
            monitor.log(torch.tensor(float(k)))
            monitor.log(torch.tensor(float(k) + 1))
            if not after:
                optimizer.step()
        monitor.read_out(last=True)
        np.testing.assert_array_equal(monitor.record["loss"], np.arange(6) + 0.5)
        np.testing.assert_array_equal(monitor.record["epoch"], np.arange(6))


def test_the_verdict_is_that_of_diagnose_and_is_judged_again_when_the_record_grows():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []
    monitor = Monitor(model, optimizer, chance_loss=1.0, on_verdict=lambda found: seen.append(found.verdict))
    losses = np.r_[np.full(150, 1.0), 1 / (1 + np.exp((np.arange(100) - 20) / 2)), np.zeros(50) + 1e-4]
    losses += np.random.default_rng(0).normal(size=300) * 0.001
    for k, loss in enumerate(losses):
        optimizer.step()
        monitor.log(float(loss))
        if k == 140:
            first = monitor.verdict()
    monitor.read_out(last=True)
    assert first.verdict == "plateau at chance"
    assert monitor.verdict() is monitor.verdict()
    assert str(monitor.verdict()) == str(gp.diagnose(monitor.record, chance_loss=1.0))
    assert monitor.verdict().verdict == "abrupt learning"
    assert monitor.verdict().evidence
    assert seen[:1] == ["plateau at chance"]


def test_the_log_is_read_by_diagnose_and_a_torn_line_loses_that_line_alone(tmp_path):
    path = tmp_path / "log.jsonl"
    _, monitor = trained("gru", "adam", True, steps=60, path=path)
    monitor.close()
    read = read_history(path)
    np.testing.assert_allclose(read.runs[0].curves["loss"], monitor.record["loss"])
    np.testing.assert_allclose(read.runs[0].curves["gradient_norm"], monitor.record["gradient_norm"])
    with path.open("ab") as file:
        file.write(b'{"step": 60, "lo')
    sink = JSONLines(path)
    sink.write([{"step": 61, "loss": 0.5, "x": float("nan")}])
    sink.close()
    assert json.loads(path.read_text().splitlines()[-1]) == {"step": 61, "loss": 0.5, "x": "nan"}
    assert len(read_history(path).runs[0].epoch) == 61


def test_a_program_that_dies_loses_no_more_than_what_was_not_read_out(tmp_path):
    program = f"""
import os, torch
from ghostpoint.torch import Monitor
model = torch.nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
monitor = Monitor(model, optimizer, path={str(tmp_path / "log.jsonl")!r})
for k in range(120):
    optimizer.step()
    monitor.log(float(k))
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", program], check=False, timeout=120)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(len(rows)))
    assert len(rows) >= 100


def test_a_program_that_ends_writes_everything(tmp_path):
    program = f"""
import torch
from ghostpoint.torch import Monitor
model = torch.nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
monitor = Monitor(model, optimizer, path={str(tmp_path / "log.jsonl")!r})
for k in range(7):
    optimizer.step()
    monitor.log(float(k))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 7


def test_other_places_to_write_to(tmp_path):
    scalars, rows = [], []

    class Writer:
        def add_scalar(self, name, value, step):
            scalars.append((name, step))

        def flush(self):
            pass

    class Run:
        def log(self, row):
            rows.append(row)

    sinks = [CSV(tmp_path / "log.csv"), TensorBoard(Writer(), "train/"), WandB(Run())]
    _, monitor = trained("gru", "sgd", True, steps=12, sinks=sinks)
    monitor.close()
    assert ("train/loss", 11) in scalars
    assert rows[3]["step"] == 3
    assert rows[3]["loss"] == monitor.record["loss"][3]
    read = read_history(tmp_path / "log.csv")
    np.testing.assert_allclose(read.runs[0].curves["loss"], monitor.record["loss"])


@pytest.mark.parametrize(("sink", "package"), [(TensorBoard, "tensorboard"), (WandB, "wandb")])
def test_a_missing_package_gives_the_line_that_installs_it(sink, package, monkeypatch, tmp_path):
    for name in ("torch.utils.tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        sink(tmp_path) if sink is TensorBoard else sink()


def test_steps_go_on_after_a_checkpoint(tmp_path):
    _, first = trained("gru", "adam", True, steps=10)
    first.close()
    model = MODULES["gru"]()
    optimizer = OPTIMIZERS["adam"](model.parameters())
    second = Monitor(model, optimizer)
    second.load_state_dict(first.state_dict())
    optimizer.step()
    second.log(0.5)
    second.read_out(last=True)
    np.testing.assert_array_equal(second.record["epoch"], np.arange(11))


def test_costs_name_what_was_measured_and_how_often():
    _, monitor = trained("gru", "adam", True, steps=20, every={"gradient_norm": 5, "saturation": None, "loss": 1})
    monitor.read_out()
    costs = monitor.costs()
    assert costs["gradient_norm"].every == 5
    assert costs["gradient_norm"].calls == 4
    assert costs["loss"].calls == 20
    assert all(cost.seconds > 0 for cost in costs.values())
    assert "saturation" not in monitor.record


def test_slow_points_on_request_change_no_bit_either():
    class Leaky(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.RNN(2, 6, batch_first=True)
            self.readout = nn.Linear(6, 1)

    def run(watched):
        torch.manual_seed(0)
        model = Leaky()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        monitor = Monitor(model, optimizer, every={"slow_points": 4}) if watched else None
        x, y = batch()
        for _ in range(6):
            states = model.layer(x)[0]
            loss = nn.functional.mse_loss(model.readout(states), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if monitor is not None:
                monitor.log(loss, states=states, at_input=torch.zeros(2))
        return [*(p.detach() for p in model.parameters()), torch.get_rng_state()], monitor

    plain, _ = run(False)
    watched, monitor = run(True)
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))
    monitor.read_out(last=True)
    np.testing.assert_array_equal(np.isfinite(monitor.record["fixed_points"]), [1, 0, 0, 0, 1, 0])
    assert monitor.record["fixed_points"][0] >= 1
    assert monitor.costs()["slow_points"].calls == 2
    stack = nn.Linear(2, 1)
    other = Monitor(stack, torch.optim.SGD(stack.parameters(), lr=0.1), every={"slow_points": 1})
    with pytest.warns(RuntimeWarning, match="slow points are left out"):
        other.log(1.0, states=torch.zeros(3, 2))


def test_lbfgs_and_several_groups_and_a_scheduler():
    model = MODULES["stack"]()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    monitor = Monitor(model, optimizer, every=1)
    x, y = batch()

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        return loss

    for _ in range(3):
        monitor.log(optimizer.step(closure))
    monitor.read_out(last=True)
    assert np.isfinite(monitor.record["gradient_norm"]).all()
    groups = [{"params": model.layers[0].parameters()}, {"params": model.layers[4].parameters(), "lr": 0.5}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    with pytest.warns(RuntimeWarning, match="2 parameters of the model are not in the optimizer"):
        monitor = Monitor(model, optimizer, every=1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        closure_loss = nn.functional.mse_loss(model(x), y)
        closure_loss.backward()
        optimizer.step()
        schedule.step()
        monitor.log(closure_loss)
    monitor.read_out(last=True)
    np.testing.assert_allclose(monitor.record["learning_rate"], [0.1, 0.05, 0.025])


def test_wrong_arguments_are_named():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="every must be one of loss"):
        Monitor(model, optimizer, every={"losses": 1})
    with pytest.raises(ValueError, match=r"every\['loss'\] must be at least 1, got 0"):
        Monitor(model, optimizer, every={"loss": 0})
    with pytest.raises(ValueError, match="outputs must be one of auto"):
        Monitor(model, optimizer, outputs="softmax")
    monitor = Monitor(model, optimizer)
    with pytest.raises(ValueError, match=r"loss must be one number, got shape \(2,\)"):
        monitor.log(torch.ones(2))
    with pytest.raises(ValueError, match="no loss has been logged yet"):
        monitor.verdict()
    with pytest.warns(RuntimeWarning, match="outputs must be a real tensor"):
        monitor.log(1.0, outputs=[1, 2])
    for wrong in ("a", None):
        with pytest.raises(ValueError, match=f"loss must be one number, got {wrong!r}"):
            monitor.log(wrong)
    with pytest.raises(ValueError, match="score must be one number, got 'a'"):
        monitor.log(1.0, score="a")


def watched(**options):
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, optimizer, Monitor(model, optimizer, every=1, **options)


@pytest.mark.parametrize("shape", [(8,), (8, 1), (1, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_targets_may_differ_from_outputs_by_axes_of_length_one(shape, dtype):
    model, optimizer, monitor = watched()
    outputs, y = model(torch.randn(8, 3)) * 20, torch.randint(2, (8,))
    optimizer.step()
    monitor.log(1.0, outputs=outputs, targets=y.reshape(shape).to(dtype))
    right = ((outputs > 0).squeeze(1) == (y > 0)).float().mean().item()
    assert monitor.record["accuracy"] == pytest.approx([right])


def test_what_cannot_be_measured_is_said_once():
    model, optimizer, monitor = watched(outputs="logits")
    outputs = model(torch.randn(8, 3)) * 20
    optimizer.step()
    with pytest.warns(RuntimeWarning, match=r"targets of shape \(3,\) do not fit outputs of shape \(8, 1\)"):
        monitor.log(1.0, outputs=outputs, targets=torch.ones(3))
    assert monitor.record["confidence"] > 0.5
    assert "accuracy" not in monitor.record

    model, optimizer, monitor = watched()
    with pytest.warns(
        RuntimeWarning, match="no parameter of the optimizer has a gradient in this step, which changes nothing"
    ):
        optimizer.step()

    _, optimizer, monitor = watched()
    monitor.every["slow_points"] = 1
    with pytest.warns(RuntimeWarning, match=r"slow points are left out: they need log\(\.\.\., states=\.\.\.\)"):
        monitor.log(1.0)


@pytest.mark.parametrize("often", [True, False])
def test_reading_the_record_often_changes_nothing_else(often, tmp_path):
    told = []
    model, optimizer, monitor = watched(
        path=tmp_path / "log.jsonl", sinks=[CSV(tmp_path / "log.csv")], on_verdict=told.append
    )
    x = torch.randn(6, 3)
    losses, confidences = [], []
    for step in range(120):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        if often and step:
            monitor.verdict(), monitor.state_dict()
            assert len(monitor.record["epoch"]) == step
        p = torch.full((6, 1), 0.8 if step < 60 else -3.0)  # probabilities, and then logits
        monitor.log(loss, outputs=p, targets=torch.ones(6))
        confidences.append(0.8 if step < 60 else torch.sigmoid(torch.tensor(3.0)).item())
        if often:
            assert monitor.record["loss"][-1] == loss.item()
        monitor.log(2 * loss)
        losses.append(1.5 * loss.item())
        if often:
            assert monitor.record["loss"].tolist() == pytest.approx(losses)
    monitor.close()
    monitor.note(validation_loss=0.3)
    assert monitor.record["loss"].tolist() == pytest.approx(losses)
    assert monitor.record["confidence"].tolist() == pytest.approx(confidences)
    assert told
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "step" in row] == list(range(120))
    assert [row["loss"] for row in rows if "step" in row] == pytest.approx(losses)
    assert [row["confidence"] for row in rows if "step" in row] == pytest.approx(confidences)
    assert "accuracy" in (tmp_path / "log.csv").read_text().splitlines()[0]


def test_a_row_that_is_not_complete_goes_on_from_a_checkpoint():
    model, optimizer, monitor = watched()
    model(torch.ones(2, 3)).square().mean().backward()
    optimizer.step()
    monitor.log(1.0)
    _, _, after = watched()
    after.load_state_dict(monitor.state_dict())
    assert after.record["loss"].tolist() == [1.0]
    assert after.record["gradient_norm"].tolist() == monitor.record["gradient_norm"].tolist()


def test_a_checkpoint_keeps_what_outputs_are_and_replaces_the_verdict():
    _, optimizer, monitor = watched()
    for loss in np.exp(-np.arange(200) / 30):
        optimizer.step()
        monitor.log(loss, outputs=torch.tensor([[-3.0], [4.0]]), targets=torch.ones(2))
    _, optimizer, other = watched()
    for _ in range(200):
        optimizer.step()
        other.log(1.0)
    assert other.verdict().verdict == "plateau at chance"
    other.load_state_dict(monitor.state_dict())
    assert other.verdict().verdict == monitor.verdict().verdict != "plateau at chance"
    for one in (monitor, other):
        one.optimizer.step()
        one.log(0.0, outputs=torch.tensor([[0.2], [0.9]]), targets=torch.ones(2))
    assert other.record["confidence"][-1] == monitor.record["confidence"][-1] < 0.7


@pytest.mark.parametrize("outputs", ["auto", "logits"])
def test_whole_numbers_that_fit_no_outputs(outputs):
    _, optimizer, monitor = watched(outputs=outputs)
    optimizer.step()
    left = "accuracy is" if outputs == "logits" else "confidence, saturation and accuracy are"
    with pytest.warns(RuntimeWarning, match=rf"shape \(8, 2\) do not fit outputs of shape \(8, 5\): {left} left out"):
        monitor.log(1.0, outputs=torch.randn(8, 5), targets=torch.zeros(8, 2, dtype=torch.int64))
    assert ("confidence" in monitor.record) == (outputs == "logits")


@pytest.mark.parametrize(("outputs", "labels"), [((8, 5), (8, 1)), ((8, 5), (8,)), ((5,), ()), ((2, 4, 5), (2, 4, 1))])
def test_labels_may_stand_in_a_column(outputs, labels):
    _, optimizer, monitor = watched()
    optimizer.step()
    o = torch.randn(outputs)
    y = o.argmax(-1).reshape(labels)
    monitor.log(1.0, outputs=o, targets=y)
    assert monitor.record["accuracy"].tolist() == [1.0]


def test_empty_outputs_are_left_out():
    _, optimizer, monitor = watched()
    optimizer.step()
    with pytest.warns(RuntimeWarning, match="left out"):
        monitor.log(1.0, outputs=torch.zeros(0, 5), targets=torch.zeros(0, dtype=torch.int64))
    assert "confidence" not in monitor.record
