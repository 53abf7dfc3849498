"""The monitor in loops that log now and then, under their own names, and outputs of every kind."""

import csv
import json
import math
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from ghostpoint.diagnosis import read_history  # noqa: E402
from ghostpoint.torch import CSV, Monitor  # noqa: E402
from ghostpoint.torch.distances import reading_of_graph  # noqa: E402
from ghostpoint.torch.quantities import curves  # noqa: E402


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def watched(**options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, optimizer, Monitor(model, optimizer, **options)


def one_step(model, optimizer):
    x = torch.randn(32, 4)
    y = x[:, :3].argmax(1)
    loss = F.cross_entropy(outputs := model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, outputs, y


@pytest.mark.parametrize("every", [1, 7, 10, 13, 100])
def test_what_is_logged_now_and_then_has_all_quantities(every, tmp_path):
    model, optimizer, monitor = watched(sinks=[CSV(tmp_path / "log.csv")], path=tmp_path / "log.jsonl")
    logged = {}
    for step in range(400):
        loss, outputs, y = one_step(model, optimizer)
        if (step + 1) % every == 0:
            monitor.log(loss, outputs=outputs, targets=y)
            logged[step] = (loss.item(), outputs.softmax(1).amax(1).mean().item())
    monitor.close()
    record = monitor.record
    assert record["epoch"].tolist() == [*logged]
    measured = ~np.isnan(record["confidence"])
    # ten steps apart at least, and no farther than the logs allow
    gaps = np.diff(record["epoch"][measured])
    apart = every * -(-10 // every)
    assert (gaps == apart).all()
    assert measured.sum() == 1 + (len(logged) - 1) * every // apart
    wanted = np.array([one for _, one in logged.values()])
    np.testing.assert_allclose(record["confidence"][measured], wanted[measured], rtol=1e-6)
    assert (~np.isnan(record["gradient_norm"])).sum() >= len(logged) // (1 + 10 // every)
    # a new column of the table comes with the rows that have it
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["step"]): float(row["loss"]) for row in rows if row["loss"]} == pytest.approx(
        {step: loss for step, (loss, _) in logged.items()}
    )
    assert sum(row["confidence"] not in ("", None) for row in rows) == measured.sum()
    table = read_history(tmp_path / "log.csv").runs[0]
    losses = table.curves["loss"]
    np.testing.assert_allclose(losses[np.isfinite(losses)], record["loss"])


def test_a_table_gets_columns_that_come_later_and_keeps_a_torn_line(tmp_path):
    path = tmp_path / "log.csv"
    sink = CSV(path)
    sink.write([{"step": 0, "loss": 1.0}, {"step": 1, "loss": 0.5}])
    with path.open("a") as file:
        file.write("2,0.2")  # a crash
    CSV(path).write([{"step": 3, "validation_loss": 0.7}])
    lines = path.read_text().splitlines()
    assert lines == ["step,loss,validation_loss", "0,1.0,", "1,0.5,", "2,0.2,", "3,,0.7"]
    assert [one.name for one in tmp_path.iterdir()] == ["log.csv"]


def test_a_record_has_what_was_measured_between_its_losses():
    record = {
        "loss": ([4, 9, 14], [1.0, 0.5, 0.2]),
        "a": ([0, 5, 9, 10], [1.0, 2.0, 3.0, 4.0]),
        "b": ([20], [7.0]),
        "c": ([14, 20], [1.0, 2.0]),
        "epoch": ([4], [0.0]),
    }
    found = curves(record)
    np.testing.assert_array_equal(found["epoch"], [4, 9, 14])
    np.testing.assert_array_equal(found["a"], [1, 3, 4])
    np.testing.assert_array_equal(found["b"], [np.nan, np.nan, 7])
    np.testing.assert_array_equal(found["c"], [np.nan, np.nan, 1])


def test_verdicts_see_a_validation_loss_of_the_ends_of_epochs():
    model, optimizer, monitor = watched()
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    for step in range(2000):
        optimizer.step()
        if step % 10 == 9:
            monitor.log(2.0 * math.exp(-step / 300) + 0.1)
        if step % 195 == 194:
            before = monitor.verdict()
            monitor.note(validation_loss=1 + 0.5 * abs(step - 600) / 600)
            assert monitor.verdict() is not before  # judged again
    assert monitor.verdict().verdict == "rise of the loss"


def test_names_of_ones_own(tmp_path):
    model, optimizer, monitor = watched(path=tmp_path / "log.jsonl")
    norms = []

    def train():
        for step in range(120):
            loss = model(torch.randn(8, 4)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            norms.append(nn.utils.clip_grad_norm_(model.parameters(), 0.01).item())
            optimizer.step()
            monitor.log(loss, gradient_norm=norms[-1], accuracy=0.5, epoch=step // 10, step=7 * step, part=loss * 0.5)

    with pytest.warns(RuntimeWarning, match="step is the monitor's own count") as said:
        train()
    assert len(said) == 1
    monitor.close()
    record = monitor.record
    np.testing.assert_array_equal(record["epoch"], range(120))
    np.testing.assert_allclose(record["gradient_norm"], norms)
    np.testing.assert_array_equal(record["accuracy"], 0.5)
    np.testing.assert_allclose(record["part"], record["loss"] / 2, rtol=1e-6)
    assert monitor.verdict().verdict
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [*range(120)]
    assert [row["epoch"] for row in rows] == [step // 10 for step in range(120)]
    with pytest.raises(ValueError, match=r"chance_accuracy.*33\.3 in percent"):
        Monitor(model, optimizer, chance_accuracy=33.3)
    for wrong in ("10", 2.5, True):
        with pytest.raises(ValueError, match="every must be a whole number"):
            Monitor(model, optimizer, every=wrong)
    assert Monitor(model, optimizer, every=np.int64(5)).every["confidence"] == 5


def of_one(given, targets, before=(), **options):
    """What is measured of outputs, after others."""
    model, optimizer, monitor = watched(every=1, **options)
    for one in (*before, (given, targets)):
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.step()
        monitor.log(1.0, outputs=one[0], targets=one[1])
    return {name: curve[-1] for name, curve in monitor.record.items()}


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("options", [{}, {"outputs": "probabilities"}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_probabilities_of_classes_are_no_logits(dtype, options, one_hot):
    torch.manual_seed(0)
    p = (4 * torch.randn(64, 5)).softmax(1).to(dtype)
    y = torch.randint(5, (64,))
    found = of_one(p, F.one_hot(y, 5).float() if one_hot else y, **options)
    best = p.float().amax(1)
    assert found["confidence"] == pytest.approx(best.mean().item(), rel=1e-6)
    assert found["saturation"] == pytest.approx((best > 0.99).float().mean().item())
    assert found["accuracy"] == pytest.approx((p.argmax(1) == y).float().mean().item())
    alone = of_one(p, None, **options)
    assert alone["confidence"] == pytest.approx(best.mean().item(), rel=1e-6)


def test_logits_of_classes_in_the_range_of_probabilities_stay_logits():
    torch.manual_seed(0)
    logits, y = torch.rand(64, 5), torch.randint(5, (64,))
    wanted = logits.softmax(1).amax(1).mean().item()
    assert of_one(logits, y)["confidence"] == pytest.approx(wanted, rel=1e-6)
    assert of_one(logits.softmax(1), y, outputs="classes")["confidence"] < 0.5


def read_from(loss_and_outputs):
    """What a loss says of outputs before and after its backward pass."""
    torch.manual_seed(0)
    weight = torch.randn(4, 5, requires_grad=True)
    loss, outputs = loss_and_outputs(torch.randn(32, 4) @ weight, weight)
    found = reading_of_graph(loss, outputs)
    if loss.requires_grad:
        loss.backward()
        assert reading_of_graph(loss, outputs) == found or found is None
    return found


Y5, MANY, ONE = (
    torch.arange(32) % 5,
    (torch.arange(160).view(32, 5) % 3 == 0).float(),
    torch.eye(5)[torch.arange(32) % 5],
)


@pytest.mark.parametrize(
    ("loss_and_outputs", "wanted"),
    [
        (lambda o, w: (F.binary_cross_entropy_with_logits(o, MANY), o), "logits"),
        (lambda o, w: (F.binary_cross_entropy_with_logits(o, MANY, reduction="none").sum(), o), "logits"),
        (lambda o, w: (F.binary_cross_entropy_with_logits(o, MANY), o.sigmoid()), "probabilities"),
        (lambda o, w: (F.binary_cross_entropy(p := o.sigmoid(), MANY), p), "probabilities"),
        (lambda o, w: (F.binary_cross_entropy(o.sigmoid(), MANY), o), "logits"),
        (lambda o, w: (F.binary_cross_entropy(o.softmax(1), MANY), o), None),
        (lambda o, w: (F.cross_entropy(o, Y5), o), "classes"),
        (lambda o, w: (F.cross_entropy(o, Y5) + 0.1 * w.square().sum(), o), "classes"),
        (lambda o, w: (F.cross_entropy((p := o.view(4, 8, 5)).movedim(2, 1), Y5.view(4, 8)), p), "classes"),
        (lambda o, w: (F.cross_entropy(o, ONE), o), "classes"),
        (lambda o, w: (F.cross_entropy(o, Y5), o.softmax(1)), "probabilities"),
        (lambda o, w: (F.nll_loss(p := o.log_softmax(1), Y5), p), "classes"),
        (lambda o, w: (F.nll_loss((p := o.softmax(1)).log(), Y5), p), "probabilities"),
        (lambda o, w: (F.nll_loss(o.softmax(1).log(), Y5), o), "classes"),
        (lambda o, w: (F.mse_loss(o, MANY), o), None),
        (lambda o, w: (F.cross_entropy(o, Y5), o.detach()), None),
        (lambda o, w: (torch.tensor(1.0), o), None),
    ],
)
def test_the_loss_says_what_outputs_are(loss_and_outputs, wanted):
    assert read_from(loss_and_outputs) == wanted


def test_logits_that_begin_between_0_and_1_are_read_as_the_loss_takes_them():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    with torch.no_grad():
        model[2].weight.abs_().mul_(0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = Monitor(model, optimizer, every=1)
    for _ in range(5):
        x = torch.randn(32, 4)
        y = (x[:, :1] > 0).float()
        loss = F.binary_cross_entropy_with_logits(outputs := model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert outputs.min() >= 0
        monitor.log(loss, outputs=outputs, targets=y)
        p = outputs.sigmoid()
        confidence, accuracy = torch.maximum(p, 1 - p).mean().item(), ((outputs > 0) == (y > 0.5)).float().mean().item()
        assert monitor.record["confidence"][-1] == pytest.approx(confidence, rel=1e-6)
        assert monitor.record["accuracy"][-1] == pytest.approx(accuracy)


def test_batches_of_several_labels_are_told_from_classes_by_others():
    torch.manual_seed(0)
    o, several, single = torch.randn(2, 4), torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 0]]), torch.eye(4)[:2]
    right = ((o > 0) == (single > 0.5)).float().mean().item()
    assert of_one(o, single, before=[(o, several)])["accuracy"] == right
    assert of_one(o, single)["accuracy"] == (o.argmax(1) == torch.arange(2)).float().mean().item()


@pytest.mark.parametrize("options", [{"outputs": "logits"}, {}])
def test_answers_of_plus_and_minus_one_are_all_answers(options):
    o, y = torch.ones(100), torch.cat([torch.ones(10), -torch.ones(90)])
    found = of_one(3 * o, y, **options)
    if options:
        assert found["accuracy"] == pytest.approx(0.1)
        # where there have been zeros, -1 marks what does not count
        assert of_one(3 * o, y, before=[(o, y.clamp(min=0))], **options)["accuracy"] == 1.0
    else:
        assert "accuracy" not in found


def test_what_earlier_outputs_have_told_is_kept_in_a_checkpoint():
    o, y = torch.ones(100), torch.cat([torch.ones(10), torch.zeros(90)])

    def log(monitor, optimizer, targets):
        optimizer.step()
        monitor.log(1.0, outputs=3 * o, targets=targets)

    model, optimizer, first = watched(every=1, outputs="logits")
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    log(first, optimizer, y)
    second = Monitor(model, optimizer, every=1, outputs="logits")
    second.load_state_dict(first.state_dict())
    first.close()
    log(second, optimizer, 2 * y - 1)
    assert second.record["accuracy"].tolist() == [pytest.approx(0.1), 1.0]


def test_what_cannot_be_read_is_told_of_and_training_goes_on():
    model, optimizer, monitor = watched(every=1)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    for given, message in [
        ({"outputs": torch.zeros(0, 5), "targets": torch.zeros(0, dtype=torch.int64)}, "have no number"),
        (
            {"outputs": torch.nested.nested_tensor([torch.randn(3, 4), torch.randn(2, 4)], layout=torch.jagged)},
            "cannot be read",
        ),
        ({"states": torch.randn(4, 5) > 0}, "states must be tensors"),
    ]:
        optimizer.step()
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            monitor.log(1.0, **given)
        assert any(message in str(one.message) for one in found)
    assert len(monitor.record["loss"]) == 3


@pytest.mark.parametrize("kind", ["uint16", "uint32", "uint64", "reversed", "read-only"])
def test_arrays_of_labels(kind):
    y = np.array([0, 1, 2, 2])
    o = 9 * F.one_hot(torch.tensor([0, 1, 2, 0]), 3).float()
    given = y.astype(kind) if kind.startswith("u") else y[::-1].copy()[::-1]
    if kind == "read-only":
        given = y.copy()
        given.flags.writeable = False
    assert of_one(o, given)["accuracy"] == 0.75


def test_answers_of_nan_are_no_answers():
    o = torch.full((8, 3), math.nan)
    assert not {"accuracy", "confidence", "saturation"} & set(of_one(o, torch.zeros(8, dtype=torch.int64)))


def test_gradients_are_those_that_hooks_of_the_step_leave():
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(lambda *_: nn.utils.clip_grad_norm_(model.parameters(), 0.01) and None)
    monitor = Monitor(model, optimizer, every=1)
    (100 * model(torch.ones(2, 4))).sum().backward()
    optimizer.step()
    monitor.log(1.0)
    assert monitor.record["gradient_norm"][0] == pytest.approx(0.01, rel=1e-3)
    assert monitor.record["effective_learning_rate"][0] == pytest.approx(0.1, rel=1e-3)


def test_the_rate_of_parameters_in_half_precision():
    p = nn.Parameter(torch.randn(100).half())
    optimizer = torch.optim.SGD([p], lr=0.1)
    monitor = Monitor(nn.ParameterList([p]), optimizer, every=1)
    p.grad = (1e-4 * torch.randn(100)).half()
    before = p.detach().double()
    optimizer.step()
    monitor.log(1.0)
    u, g = p.detach().double() - before, p.grad.double()
    assert monitor.record["effective_learning_rate"][0] == pytest.approx(
        (-(u * g).sum() / (g * g).sum()).item(), rel=1e-3
    )
