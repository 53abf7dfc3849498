"""Distances are those of their definitions, and are read from the graph of the loss."""

import warnings

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from ghostpoint.torch.distances import Distance, distance_of_graph  # noqa: E402
from ghostpoint.torch.forward_passes import ForwardPasses  # noqa: E402
from ghostpoint.torch.parameters import Parameters  # noqa: E402


def pair(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator), torch.randn(*shape, generator=generator)


def test_squared_error():
    old, new = pair(3, 4)
    torch.testing.assert_close(Distance("squared")(old, new), functional.mse_loss(new, old))


@pytest.mark.parametrize("kind", ["cross_entropy", "bce", "probabilities"])
def test_the_entropies_are_divergences_of_kullback_and_leibler(kind):
    old, new = pair(5, 4)
    if kind == "cross_entropy":
        p, q = (torch.distributions.Categorical(logits=x) for x in (old, new))
    elif kind == "bce":
        p, q = (torch.distributions.Bernoulli(logits=x) for x in (old, new))
    else:
        old, new = old.sigmoid(), new.sigmoid()
        p, q = (torch.distributions.Bernoulli(probs=x) for x in (old, new))
    expected = torch.distributions.kl_divergence(p, q).mean()
    torch.testing.assert_close(Distance(kind)(old, new), expected, rtol=1e-4, atol=1e-6)
    assert Distance(kind)(old, old).abs() < 1e-6


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (functional.mse_loss, "squared"),
        (lambda o, y: 3 * functional.mse_loss(o, y) + 0.1, "squared"),
        (lambda o, y: ((o - y) ** 2).mean(), "squared"),
        (functional.huber_loss, "squared"),
        (functional.binary_cross_entropy_with_logits, "bce"),
        (lambda o, y: functional.binary_cross_entropy(o.sigmoid(), y), "probabilities"),
        (lambda o, y: functional.cross_entropy(o, y.softmax(1)), "cross_entropy"),
        (lambda o, y: functional.cross_entropy(o, y.argmax(1)), "cross_entropy"),
    ],
)
def test_the_kind_is_read_from_the_graph(loss, kind):
    layer = nn.Linear(3, 4)
    outputs = layer(torch.randn(6, 3))
    found = distance_of_graph(loss(outputs, torch.rand(6, 4)), outputs)
    assert found.kind == kind
    assert not found.total


def penalised(loss, model):
    for p in model.parameters():
        loss = loss + 1e-4 * p.pow(2).sum()
    return loss


@pytest.mark.parametrize("layers", [1, 60, 300])
@pytest.mark.parametrize(
    "shown",
    [lambda o: o, lambda o: o[:, :], lambda o: o.softmax(-1), lambda o: o[..., 0], lambda o: torch.stack([o, o])],
    ids=["the outputs", "a view", "probabilities", "a part", "stacked"],
)
def test_a_penalty_on_the_weights_is_not_taken_for_the_loss_of_the_outputs(layers, shown):
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(layers)])
    outputs = model(torch.randn(6, 4))
    entropy = functional.cross_entropy(outputs, torch.randint(4, (6,)))
    assert distance_of_graph(penalised(entropy, model), shown(outputs)).kind == "cross_entropy"
    deep = 1e-4 * model[0].weight.pow(2).sum() + 2 * (1 * entropy)
    assert distance_of_graph(deep, shown(outputs)).kind == "cross_entropy"
    absolute = (outputs - 1).abs().mean()
    assert distance_of_graph(penalised(absolute, model), shown(outputs)) is None


def test_outputs_of_a_loop_over_steps_have_the_kind_of_the_losses_of_the_steps():
    cell, readout = nn.RNNCell(3, 8), nn.Linear(8, 4)
    h, loss, answers = torch.zeros(6, 8), 0.0, []
    for _ in range(300):
        h = cell(torch.randn(6, 3), h)
        answers.append(readout(h))
        loss = loss + functional.binary_cross_entropy_with_logits(answers[-1], torch.rand(6, 4))
    assert distance_of_graph(loss, torch.stack(answers)).kind == "bce"


def test_a_penalty_on_activations_is_not_taken_for_the_loss_of_answers():
    first, second = nn.Linear(3, 8), nn.Linear(8, 4)
    h = first(torch.randn(6, 3))
    outputs = second(h)
    loss = 1e-4 * h.pow(2).mean() + 2 * (1 * functional.cross_entropy(outputs, torch.randint(4, (6,))))
    for shown in (outputs, outputs.softmax(-1), outputs[:, :2]):
        assert distance_of_graph(loss, shown).kind == "cross_entropy"


@pytest.mark.parametrize("shape", [lambda p: p, lambda p: torch.stack([p, p]), lambda p: p[None, :, :]])
def test_probabilities_beside_a_loss_of_logits_have_the_divergence_of_probabilities(shape):
    old, new = pair(6, 4)
    layer = nn.Linear(3, 4)
    o = layer(torch.randn(6, 3))
    entropy = distance_of_graph(functional.cross_entropy(o, torch.randint(4, (6,))), shape(o.softmax(-1)))
    logarithm = distance_of_graph(functional.cross_entropy(o, torch.randint(4, (6,))), shape(o.log_softmax(-1)))
    expected = Distance("cross_entropy")(old, new)
    torch.testing.assert_close(entropy(old.softmax(-1), new.softmax(-1)), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(logarithm(old.log_softmax(-1), new.log_softmax(-1)), expected, rtol=1e-4, atol=1e-6)
    binary = distance_of_graph(functional.binary_cross_entropy_with_logits(o, torch.rand(6, 4)), shape(o.sigmoid()))
    torch.testing.assert_close(binary(old.sigmoid(), new.sigmoid()), Distance("bce")(old, new), rtol=1e-4, atol=1e-6)
    assert distance_of_graph(functional.mse_loss(o, torch.rand(6, 4)), shape(o.sigmoid())) is None


def test_outputs_without_a_history_are_found_too():
    leaf, weight = torch.randn(6, 4, requires_grad=True), torch.randn(4, requires_grad=True)
    loss = weight.pow(2).sum() + 2 * (1 * functional.cross_entropy(leaf, torch.randint(4, (6,))))
    assert distance_of_graph(loss, leaf).kind == "cross_entropy"


def test_only_the_second_power_is_a_squared_error():
    outputs = nn.Linear(3, 4)(torch.randn(6, 3))
    assert distance_of_graph((outputs - 1).pow(2).mean(), outputs).kind == "squared"
    for other in ((outputs - 1).pow(4), outputs.abs().pow(torch.tensor([1.0, 2.0, 1.0, 2.0])), 0.9**outputs):
        assert distance_of_graph(other.mean(), outputs) is None


def test_a_sum_and_an_index_that_is_ignored_and_classes_on_axis_1():
    layer = nn.Linear(3, 4)
    outputs = layer(torch.randn(6, 5, 3))
    targets = torch.randint(4, (6, 5))
    targets[2:, 3:] = -100
    old, new = pair(6, 5, 4)
    for flat in (True, False):
        for reduction in ("mean", "sum"):
            if flat:
                given, shown, moved = outputs, old, new
                loss = functional.cross_entropy(outputs.reshape(-1, 4), targets.reshape(-1), reduction=reduction)
            else:
                given, shown, moved = (x.transpose(1, 2) for x in (outputs, old, new))
                loss = functional.cross_entropy(given, targets, reduction=reduction)
            found = distance_of_graph(loss, given)
            p, q = (torch.distributions.Categorical(logits=x) for x in (old, new))
            each = torch.distributions.kl_divergence(p, q)[targets >= 0]
            expected = each.mean() if reduction == "mean" else each.sum()
            torch.testing.assert_close(found(shown, moved), expected, rtol=1e-4, atol=1e-6)


def test_an_unknown_loss_is_said_and_the_networks_own_operators_are_not_taken_for_it():
    layer = nn.Linear(3, 4)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    told = []
    passes = ForwardPasses(layer, Parameters(optimizer), "auto", (), lambda key, text: told.append(text))

    def closure():
        outputs = layer(torch.ones(2, 3)) ** 2  # a power, but before the outputs
        return outputs.abs().sum(), outputs

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        passes.evaluate(closure, reuse=False)
    assert "cannot be read from its graph" in told[0]


def test_packed_sequences_are_their_data():
    layer = nn.GRU(2, 4)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    passes = ForwardPasses(layer, Parameters(optimizer), "auto", (), lambda key, text: None)
    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 2), torch.randn(2, 2)])

    def closure():
        outputs = layer(packed)[0]
        return outputs.data.square().mean(), outputs

    passes.evaluate(closure, reuse=False)
    with torch.no_grad():
        layer.bias_ih_l0 += 1
    _, distance = passes.repeat(keep=False)
    assert distance > 0


# Where the answers of a loss stand in the outputs.

ORDERS = {
    "classes last": ((4, 6, 3), lambda o, y: functional.cross_entropy(o.reshape(-1, 3), y.reshape(-1)), 2, 1),
    "classes second": ((4, 3, 6), lambda o, y: functional.cross_entropy(o, y), 1, 1),
    "time first, permuted": ((6, 4, 3), lambda o, y: functional.cross_entropy(o.permute(1, 2, 0), y), 2, 0),
    "time first, turned and flat": (
        (6, 4, 3),
        lambda o, y: functional.cross_entropy(o.transpose(0, 1).reshape(-1, 3), y.reshape(-1)),
        2,
        0,
    ),
    "logarithms by hand": (
        (6, 4, 3),
        lambda o, y: functional.nll_loss(o.log_softmax(2).permute(1, 2, 0), y),
        2,
        0,
    ),
    "with a penalty on the outputs": (
        (6, 4, 3),
        lambda o, y: functional.cross_entropy(o.permute(1, 2, 0), y) + 0.1 * o.pow(2).mean(),
        2,
        0,
    ),
    "as many classes as steps": ((2, 3, 3), lambda o, y: functional.cross_entropy(o, y), 1, 1),
    "as many classes as steps, last": (
        (2, 3, 3),
        lambda o, y: functional.cross_entropy(o.reshape(-1, 3), y.reshape(-1)),
        2,
        1,
    ),
    "a part": ((4, 7, 3), lambda o, y: functional.cross_entropy(o[:, :-1].reshape(-1, 3), y.reshape(-1)), 2, 1),
}


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_answers_are_where_the_loss_has_taken_them_from(order, ignored):
    shape, loss, axis, batch_axis = ORDERS[order]
    generator = torch.Generator().manual_seed(3)
    outputs = torch.randn(*shape, generator=generator).requires_grad_() * 1.0
    trials, steps = (shape[0], 6 if shape[1] == 7 else 6 // (1 + (shape[1:] == (3, 3)))) if batch_axis else (4, 6)
    targets = torch.randint(0, 3, (trials, steps), generator=generator)
    if ignored:
        targets[:, ::2] = -100
        targets[0] = -100
    found = distance_of_graph(loss(outputs, targets), outputs)
    old = outputs.detach()
    new = old + torch.randn(shape, generator=generator)
    expected = torch.zeros(())
    count = 0
    for trial in range(trials):
        for step in range(steps):
            if targets[trial, step] == -100:
                continue
            place = [slice(None)] * 3
            others = [k for k in range(3) if k != axis]
            place[others[0]], place[others[1]] = (trial, step) if batch_axis else (step, trial)
            p, q = (torch.distributions.Categorical(logits=x[tuple(place)]) for x in (old, new))
            expected = expected + torch.distributions.kl_divergence(p, q)
            count += 1
    torch.testing.assert_close(found(old, new), expected / count, rtol=1e-5, atol=1e-6)
    assert found.doubt == ""


def test_a_mask_that_cannot_be_placed_is_said():
    outputs = torch.randn(6, 4, 3, requires_grad=True) * 1.0
    targets = torch.zeros(4, 6, dtype=torch.long)
    targets[:, 1:] = -100
    # made of the outputs by a function that puts nothing in its place
    mixed = torch.cat([outputs[3:], outputs[:3]]).permute(1, 2, 0)
    found = distance_of_graph(functional.cross_entropy(mixed, targets), outputs)
    assert found.counted is None
    assert "do not count" in found.doubt


@pytest.mark.parametrize(
    ("loss", "function"),
    [
        (lambda z, y: functional.mse_loss(z.sigmoid(), y), torch.sigmoid),
        (lambda z, y: ((y - torch.tanh(z)) ** 2).mean(), torch.tanh),
        (lambda z, y: functional.mse_loss(torch.softmax(z, 0), y), lambda z: torch.softmax(z, 0)),
        (lambda z, y: functional.mse_loss(torch.relu(z).exp(), y), lambda z: torch.relu(z).exp()),
        (functional.mse_loss, lambda z: z),
    ],
)
def test_outputs_are_compared_as_the_loss_sees_them(loss, function):
    old, new = pair(6, 2)
    outputs = old.clone().requires_grad_() * 1.0
    found = distance_of_graph(loss(outputs, torch.rand(6, 2)), outputs)
    torch.testing.assert_close(found(old, new), functional.mse_loss(function(new), function(old)))


def test_probabilities_before_a_logarithm_or_a_loss_of_logits():
    old, new = pair(6, 3)
    labels, p, q = torch.randint(0, 3, (6,)), old.softmax(1), new.softmax(1)
    expected = torch.distributions.kl_divergence(*(torch.distributions.Categorical(probs=x) for x in (p, q))).mean()
    for loss in (
        lambda o: functional.nll_loss(o.log(), labels),
        lambda o: functional.nll_loss((o + 1e-9).log(), labels),
        lambda o: functional.nll_loss(o.clamp(min=1e-9).log(), labels),
    ):
        outputs = p.clone().requires_grad_() * 1.0
        torch.testing.assert_close(distance_of_graph(loss(outputs), outputs)(p, q), expected)
    logits = old.clone().requires_grad_() * 1.0
    found = distance_of_graph(functional.binary_cross_entropy(logits.sigmoid(), torch.rand(6, 3)), logits)
    torch.testing.assert_close(found(old, new), Distance("bce")(old, new), rtol=1e-4, atol=1e-6)


MASK = torch.tensor([1.0, 0.0, 2.0])


@pytest.mark.parametrize(
    ("loss", "distance"),
    [
        (lambda z, y: ((z - y) ** 2).sum(), lambda a, b: ((a - b) ** 2).sum()),
        (lambda z, y: ((z - y) ** 2).sum() / 7, lambda a, b: ((a - b) ** 2).sum() / 7),
        (lambda z, y: ((z - y) ** 2).sum(1).mean(), lambda a, b: ((a - b) ** 2).sum(1).mean()),
        (lambda z, y: (MASK * (z - y) ** 2).sum() / MASK.sum(), lambda a, b: (MASK * (a - b) ** 2).sum() / MASK.sum()),
        (lambda z, y: 0.5 * functional.mse_loss(z, y), lambda a, b: 0.5 * functional.mse_loss(a, b)),
        (lambda z, y: functional.mse_loss(z, y) + 0.1, functional.mse_loss),
        (lambda z, y: functional.mse_loss(z, y, reduction="sum") / 3, lambda a, b: ((a - b) ** 2).sum() / 3),
        (
            lambda z, y: sum(functional.mse_loss(z[k], y[k]) for k in range(len(z))) / len(z),
            functional.mse_loss,
        ),
    ],
)
def test_sums_factors_and_masks_are_those_of_the_loss(loss, distance):
    old, new = pair(6, 3)
    outputs = old.clone().requires_grad_() * 1.0
    found = distance_of_graph(loss(outputs, torch.rand(6, 3)), outputs)
    torch.testing.assert_close(found(old, new), distance(old, new))


@pytest.mark.parametrize(("loss", "name"), [(lambda e: e.sqrt(), "sqrt"), (lambda e: e.log(), "log")])
def test_a_loss_of_another_unit_is_in_doubt(loss, name):
    outputs = torch.randn(4, 2, requires_grad=True) * 1.0
    found = distance_of_graph(loss(functional.mse_loss(outputs, torch.rand(4, 2))), outputs)
    assert found.doubt.startswith(f"the loss is a {name} of its error")


@pytest.mark.parametrize("kind", ["cross_entropy", "bce", "squared"])
def test_infinite_outputs_that_stay_count_nothing_and_those_that_move_are_infinitely_far(kind):
    old, new = pair(4, 3)
    old[:, 2] = new[:, 2] = -torch.inf
    found = Distance(kind)(old, new)
    assert torch.isfinite(found)
    assert found > 0
    if kind == "cross_entropy":
        torch.testing.assert_close(found, Distance(kind)(old[:, :2], new[:, :2]))
    new[0, 1] = -torch.inf
    assert Distance(kind)(old, new) == torch.inf


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("batch_first", [True, False])
def test_a_loss_that_is_made_step_by_step_has_all_steps(reduction, batch_first):
    outputs = torch.randn(*((4, 5, 3) if batch_first else (5, 4, 3)), requires_grad=True) * 1.0
    labels = torch.randint(0, 3, (4, 5))
    steps = outputs.unbind(1 if batch_first else 0)
    loss = sum(functional.cross_entropy(o, labels[:, k], reduction=reduction) for k, o in enumerate(steps)) / 5
    found, old = distance_of_graph(loss, outputs), outputs.detach()
    new = old + torch.randn(old.shape)
    p, q = (torch.distributions.Categorical(logits=x) for x in (old, new))
    expected = torch.distributions.kl_divergence(p, q)
    torch.testing.assert_close(found(old, new), expected.mean() if reduction == "mean" else expected.sum() / 5)
    assert found.doubt == ""
    labels[2:] = -100
    loss = sum(functional.cross_entropy(o, labels[:, k], reduction=reduction) for k, o in enumerate(steps))
    assert "do not count" in distance_of_graph(loss, outputs).doubt
