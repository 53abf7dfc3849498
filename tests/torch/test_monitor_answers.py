"""Which answers are looked at, which count, and what outputs, targets and states may be."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence  # noqa: E402

from ghostpoint.torch import Monitor  # noqa: E402
from ghostpoint.torch import monitor_answers as module  # noqa: E402

WANTED = ("confidence", "saturation", "accuracy", "state_saturation")


def measured(*logs, outputs="auto"):
    """What a monitor has measured in the last of some logs."""
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = Monitor(model, optimizer, every={name: 1 for name in WANTED}, outputs=outputs)
    monitor.every |= dict.fromkeys(("gradient_norm", "update_size", "effective_learning_rate"))
    for given in logs:
        optimizer.step()
        monitor.log(1.0, **given)
    return {name: values[-1] for name, values in monitor.record.items() if name in WANTED}


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_answers_are_taken_from_all_steps_of_a_sequence():
    torch.manual_seed(0)
    late = torch.arange(100)[:, None].expand(100, 60) >= 50  # (T, B): right and sure from the middle on
    y = torch.randint(64, (100, 60))
    logits = torch.where(late[..., None], 30.0 * F.one_hot(y, 64), 30.0 * F.one_hot((y + 1) % 64, 64) * 0.01)
    found = measured({"outputs": logits, "targets": y, "states": late[..., None].expand(100, 60, 64).float()})
    for name in ("accuracy", "saturation", "state_saturation"):
        assert found[name] == pytest.approx(0.5, abs=0.01)
    wide = late[..., None].expand(100, 60, 64).float()  # of one number each
    found = measured({"outputs": wide * 0.999 + 0.0005, "targets": torch.ones_like(wide)})
    assert found["accuracy"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("form", ["labels", "numbers", "rows"])
def test_answers_that_count_are_found_where_they_are_few(form):
    torch.manual_seed(0)
    y = torch.randint(64, (60,))
    logits = torch.randn(100, 60, 64)
    right = torch.arange(60) % 4 > 0
    logits[-1] = 30.0 * F.one_hot(torch.where(right, y, (y + 1) % 64), 64)
    if form == "labels":
        targets = torch.full((100, 60), -100)
        targets[-1] = y
    else:
        logits = torch.sigmoid(logits - 15) if form == "numbers" else logits
        targets = torch.full((100, 60, 64), float("nan"))
        targets[-1] = F.one_hot(y, 64) if form == "rows" else (logits[-1] > 0.5).float()
    found = measured({"outputs": logits, "targets": targets})
    assert found["accuracy"] == (1.0 if form == "numbers" else 0.75)
    assert found["confidence"] == pytest.approx(1.0, abs=1e-3)
    assert found["saturation"] == 1.0


@pytest.mark.parametrize("counted", [100, 7000, 64 * 1000])
def test_places_are_valid_and_even_and_always_the_same(counted):
    counts = torch.zeros(1000, 64, dtype=torch.bool)
    counts.view(-1)[64000 - counted :] = True
    places, valid = module._places(counts.shape, 1024, counts, counts.device)
    again, _ = module._places(counts.shape, 1024, counts, counts.device)
    assert all(torch.equal(a, b) for a, b in zip(places, again, strict=True))
    assert counts[places][valid].all()
    flat = (places[0] * 64 + places[1])[valid]
    assert len(flat) == min(counted, 1024)
    assert len(flat.unique()) == len(flat)
    if counted > 1024:
        parts = torch.histc(flat.float(), 8, 64000 - counted, 64000)
        assert (parts - 128).abs().max() <= 2
        assert torch.bincount(places[1], minlength=64).max() < 3 * 1024 / 64  # no trial is preferred


def test_what_counts_is_looked_for_among_many_candidates(monkeypatch):
    monkeypatch.setattr(module, "CANDIDATES", 1 << 10)
    counts = torch.arange(1 << 14) >= 1 << 13
    (places,), valid = module._places(counts.shape, 64, counts, counts.device)
    assert valid.all()
    assert counts[places].all()


@pytest.mark.parametrize("kind", ["auto", "classes"])
@pytest.mark.parametrize("dtype", [None, torch.int64, torch.float32], ids=str)
@pytest.mark.parametrize("shape", [(100, 60, 64), (3, 4, 5)])
def test_nothing_waits_for_a_number_of_the_device(shape, dtype, kind):
    # tensors without numbers refuse all that depends on them
    outputs = torch.empty(shape, device="meta")
    of_answers = shape if dtype is torch.float32 else shape[:-1]
    targets = None if dtype is None else torch.empty(of_answers, device="meta", dtype=dtype)
    found = module.answers(outputs, targets, kind)
    assert found.vector.shape == ((8,) if dtype is torch.int64 else (17,))
    assert module.state_saturation(outputs).shape == ()


def test_classes_are_along_the_last_axis_where_two_fit():
    y = torch.randint(6, (8, 6))
    last = 20.0 * F.one_hot(y, 6)
    with pytest.warns(RuntimeWarning, match=r"axis 1 or the last one of outputs of shape \(8, 6, 6\).*last one is tak"):
        assert measured({"outputs": last, "targets": y})["accuracy"] == 1.0
    # an earlier batch of another length says which
    other = torch.randint(6, (8, 9))
    first = {"outputs": 20.0 * F.one_hot(other, 6).movedim(-1, 1), "targets": other}
    assert measured(first, {"outputs": last.movedim(-1, 1), "targets": y})["accuracy"] == 1.0
    first = {"outputs": 20.0 * F.one_hot(other, 6), "targets": other}
    assert measured(first, {"outputs": last, "targets": y})["accuracy"] == 1.0


@pytest.mark.parametrize("mask", [float("nan"), -1.0])
@pytest.mark.parametrize("kind", ["auto", "probabilities", "logits"])
def test_masked_targets_do_not_count(mask, kind):
    p = torch.tensor([[0.999], [0.2], [0.6], [0.999]])
    y = torch.tensor([[1.0], [0.0], [0.0], [mask]])
    outputs = torch.logit(p) if kind == "logits" else p
    found = measured({"outputs": outputs, "targets": y}, outputs=kind)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["confidence"] == pytest.approx((0.999 + 0.8 + 0.6) / 3, rel=1e-5)
    assert found["saturation"] == pytest.approx(1 / 3)


def test_targets_of_minus_one_zero_and_one_are_no_masks_of_themselves():
    # a choice of two after fixation, as of a tanh: confidence is of all
    outputs, y = torch.tensor([[-0.999], [0.0], [0.5]]), torch.tensor([[-1.0], [0.0], [1.0]])
    with pytest.warns(RuntimeWarning, match=r'read as tanh: accuracy is left out.*Monitor\(outputs="logits"\)'):
        found = measured({"outputs": outputs, "targets": y})
    assert found == pytest.approx({"confidence": (0.9995 + 0.5 + 0.75) / 3, "saturation": 1 / 3}, rel=1e-5)
    assert "accuracy" not in measured({"outputs": outputs, "targets": y}, outputs="tanh")


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("kind", ["auto", "logits", "classes", "probabilities"])
def test_one_hot_targets_are_classes(kind, whole):
    torch.manual_seed(0)
    labels = torch.randint(10, (200,))
    y = F.one_hot(labels, 10).to(torch.int64 if whole else torch.float32)
    chosen = torch.where(torch.arange(200) < 50, labels, (labels + 1) % 10)
    outputs = 4.0 * F.one_hot(chosen, 10) - 2
    outputs = outputs.softmax(-1) if kind == "probabilities" else outputs
    found = measured({"outputs": outputs, "targets": y}, outputs=kind)
    assert found["accuracy"] == 0.25
    if kind in ("auto", "classes"):
        assert found["confidence"] == pytest.approx(outputs.softmax(-1).amax(-1).mean().item(), rel=1e-5)


def test_answers_of_several_kinds_at_once_are_not_one_hot():
    outputs = torch.tensor([[5.0, 5.0], [5.0, -5.0], [-5.0, 5.0]])
    y = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    assert measured({"outputs": outputs, "targets": y})["accuracy"] == pytest.approx(5 / 6)


def test_classes_may_be_stated_without_targets_and_with_probabilities():
    torch.manual_seed(0)
    outputs = torch.randn(40, 5) * 3
    found = measured({"outputs": outputs}, outputs="classes")
    assert found["confidence"] == pytest.approx(outputs.softmax(-1).amax(-1).mean().item(), rel=1e-5)
    soft = torch.randn(4, 5, 7).softmax(1)  # as nn.CrossEntropyLoss takes them
    found = measured({"outputs": soft.log(), "targets": soft}, outputs="classes")
    assert found["accuracy"] == 1.0
    assert found["confidence"] == pytest.approx(soft.amax(1).mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    "form", [np.asarray, list, lambda y: [int(one) for one in y]], ids=["array", "list", "numbers"]
)
def test_targets_may_be_arrays_and_lists(form):
    outputs = torch.randn(32, 3)
    targets = outputs.argmax(-1).numpy()
    assert measured({"outputs": outputs, "targets": form(targets)})["accuracy"] == 1.0


def test_what_targets_may_not_be_is_said_once():
    with pytest.warns(
        RuntimeWarning, match="targets must be a tensor, an array, a list.*accuracy is left out; got dict"
    ):
        found = measured(*({"outputs": torch.rand(4, 1), "targets": {"y": 1}} for _ in range(2)))
    assert "confidence" in found
    assert "accuracy" not in found


def test_packed_sequences_are_read_by_their_data():
    h = torch.rand(4, 7, 3)
    packed, y = (pack_padded_sequence(t, [7, 5, 3, 2], batch_first=True) for t in (h, (h > 0.5).float()))
    found = measured({"outputs": packed, "targets": y, "states": packed})
    assert found["accuracy"] == 1.0
    assert found["state_saturation"] == pytest.approx((packed.data > 0.99).float().mean().item())


def test_states_may_be_several():
    h, c = torch.tensor([[0.5, 1.0]]), torch.tensor([[3.0, 3.0]])
    assert measured({"states": (h, c)})["state_saturation"] == 0.5  # of an LSTM: c is not bounded
    assert measured({"states": [h, c]})["state_saturation"] == 0.75
    assert measured({"states": (h, c[:, :1])})["state_saturation"] == pytest.approx(2 / 3)
    assert measured({"states": [(h, c), (h, c)]})["state_saturation"] == 0.5
    assert measured({"states": [0.5, 1.0]})["state_saturation"] == 0.5
    with pytest.warns(RuntimeWarning, match="states must be tensors, or a packed sequence.*left out; got dict"):
        assert "state_saturation" not in measured(*({"states": {"h": h}} for _ in range(2)))
