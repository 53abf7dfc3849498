"""The distance that is read from a loss is that loss of the new outputs as answers to the old ones,
less what the old ones lose: masks, parts, sums, factors and weights as people write them.
"""

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from ghostpoint.torch import TaskBatches  # noqa: E402
from ghostpoint.torch.distances import distance_of_graph  # noqa: E402
from ghostpoint.torch.trial_batches import TrialBatch  # noqa: E402

B, T, C = 4, 5, 3
GENERATOR = torch.Generator().manual_seed(0)
MASK = (torch.rand(B, T, generator=GENERATOR) > 0.4).float()
MASK[0, 0], MASK[0, 1] = 1, 0
M3, CHOSEN = MASK[..., None], MASK.bool()
LABELS = torch.randint(0, C, (B, T), generator=GENERATOR)
SOFT = torch.rand(B, T, C, generator=GENERATOR).softmax(-1)
Y = torch.rand(B, T, C, generator=GENERATOR)
Y01 = (Y > 0.5).float()
W = torch.tensor([1.0, 2.0, 5.0])
P = torch.ones(3, requires_grad=True)


def flat(o):
    return o.reshape(-1, C)


def each(o):
    return F.cross_entropy(flat(o), LABELS.reshape(-1), reduction="none").reshape(B, T)


def log_p(o):
    return o.log_softmax(-1).gather(-1, LABELS[..., None])[..., 0]


def kl(a, b):
    return (a.softmax(-1) * (a.log_softmax(-1) - b.log_softmax(-1))).sum(-1)


def sq(a, b):
    return (a - b) ** 2


def bce(a, b, weight=1.0):
    # as answers to the share of positive ones of which a is the best answer
    p = a.sigmoid()
    t = p / (p + weight * (1 - p))
    return weight * t * (F.softplus(-b) - F.softplus(-a)) + (1 - t) * (F.softplus(b) - F.softplus(a))


CASES = {
    "ce, mask": (lambda o: (each(o) * MASK).sum() / MASK.sum(), lambda a, b: (kl(a, b) * MASK).sum() / MASK.sum()),
    "ce, mask, sum": (lambda o: (each(o) * MASK).sum(), lambda a, b: (kl(a, b) * MASK).sum()),
    "ce, sum of each": (lambda o: each(o).sum(), lambda a, b: kl(a, b).sum()),
    "ce, sum over steps": (lambda o: each(o).sum(1).mean(), lambda a, b: kl(a, b).sum(1).mean()),
    "ce, part of losses": (lambda o: each(o)[CHOSEN].mean(), lambda a, b: kl(a, b)[CHOSEN].mean()),
    "ce, part of outputs": (
        lambda o: F.cross_entropy(o[CHOSEN], LABELS[CHOSEN]),
        lambda a, b: kl(a, b)[CHOSEN].mean(),
    ),
    "ce, last step": (lambda o: F.cross_entropy(o[:, -1], LABELS[:, -1]), lambda a, b: kl(a, b)[:, -1].mean()),
    "ce, soft, sum": (
        lambda o: F.cross_entropy(flat(o), flat(SOFT), reduction="sum"),
        lambda a, b: kl(a, b).sum(),
    ),
    "ce, soft, factor": (lambda o: 0.01 * F.cross_entropy(flat(o), flat(SOFT)), lambda a, b: 0.01 * kl(a, b).mean()),
    "kl_div, batchmean": (
        lambda o: F.kl_div(o.log_softmax(-1), SOFT, reduction="batchmean"),
        lambda a, b: kl(a, b).sum() / B,
    ),
    "kl_div, mean": (lambda o: F.kl_div(o.log_softmax(-1), SOFT, reduction="mean"), lambda a, b: kl(a, b).mean() / C),
    "ce by hand, mask": (
        lambda o: -(log_p(o) * MASK).sum() / MASK.sum(),
        lambda a, b: (kl(a, b) * MASK).sum() / MASK.sum(),
    ),
    "ce by hand, sum": (lambda o: -log_p(o).sum(), lambda a, b: kl(a, b).sum()),
    "ce, temperature": (
        lambda o: F.cross_entropy(flat(o) / 4, LABELS.reshape(-1)),
        lambda a, b: kl(a / 4, b / 4).mean(),
    ),
    "ce, temperature before": (
        lambda o: F.cross_entropy(flat(10 * o), LABELS.reshape(-1)),
        lambda a, b: kl(10 * a, 10 * b).mean(),
    ),
    "ce, class of weight 0": (
        lambda o: F.cross_entropy(flat(o), LABELS.reshape(-1), weight=torch.tensor([1.0, 1.0, 0.0])),
        lambda a, b: (kl(a, b) * (LABELS < 2)).sum() / (LABELS < 2).sum(),
    ),
    "mse, mask": (
        lambda o: (F.mse_loss(o, Y, reduction="none") * M3).sum() / MASK.sum(),
        lambda a, b: (sq(a, b) * M3).sum() / MASK.sum(),
    ),
    "mse, mask, mean of all": (
        lambda o: (F.mse_loss(o, Y, reduction="none") * M3).mean(),
        lambda a, b: (sq(a, b) * M3).mean(),
    ),
    "mse, sum of each": (lambda o: F.mse_loss(o, Y, reduction="none").sum(), lambda a, b: sq(a, b).sum()),
    "mse, part of losses": (
        lambda o: F.mse_loss(o, Y, reduction="none")[CHOSEN].mean(),
        lambda a, b: sq(a, b)[CHOSEN].mean(),
    ),
    "mse, part of outputs": (lambda o: F.mse_loss(o[CHOSEN], Y[CHOSEN]), lambda a, b: sq(a, b)[CHOSEN].mean()),
    "mse, masked outputs": (lambda o: F.mse_loss(o * M3, Y * M3), lambda a, b: (sq(a, b) * M3).mean()),
    "mse, last step": (lambda o: F.mse_loss(o[:, -1], Y[:, -1]), lambda a, b: sq(a, b)[:, -1].mean()),
    "mse, last step, sum": (
        lambda o: F.mse_loss(o[:, -1], Y[:, -1], reduction="sum"),
        lambda a, b: sq(a, b)[:, -1].sum(),
    ),
    "power, last step": (lambda o: ((o[:, -1] - Y[:, -1]) ** 2).mean(), lambda a, b: sq(a, b)[:, -1].mean()),
    "power, part, sum": (lambda o: ((o[CHOSEN] - Y[CHOSEN]) ** 2).sum(), lambda a, b: sq(a, b)[CHOSEN].sum()),
    "power, turned": (
        lambda o: ((o.transpose(0, 1) - Y.transpose(0, 1)) ** 2).sum() / 7,
        lambda a, b: sq(a, b).sum() / 7,
    ),
    "mse, scaled": (lambda o: F.mse_loss(100 * o, Y), lambda a, b: 1e4 * sq(a, b).mean()),
    "mse, scaled and moved": (lambda o: F.mse_loss(o * W + 1, Y), lambda a, b: sq(a * W, b * W).mean()),
    "mse": (lambda o: F.mse_loss(o, Y), lambda a, b: sq(a, b).mean()),
    "smooth l1": (lambda o: F.smooth_l1_loss(o, Y), lambda a, b: F.smooth_l1_loss(b, a)),
    "huber, sum": (
        lambda o: F.huber_loss(o, Y, delta=0.01, reduction="sum"),
        lambda a, b: F.huber_loss(b, a, delta=0.01, reduction="sum"),
    ),
    "bce, weight": (
        lambda o: F.binary_cross_entropy_with_logits(o, Y01, weight=M3.expand(B, T, C)),
        lambda a, b: (bce(a, b) * M3).mean(),
    ),
    "bce, mask": (
        lambda o: (F.binary_cross_entropy_with_logits(o, Y01, reduction="none") * M3).sum() / MASK.sum(),
        lambda a, b: (bce(a, b) * M3).sum() / MASK.sum(),
    ),
    "bce, sum of each": (
        lambda o: F.binary_cross_entropy_with_logits(o, Y01, reduction="none").sum(),
        lambda a, b: bce(a, b).sum(),
    ),
    "bce, positive": (
        lambda o: F.binary_cross_entropy_with_logits(o, Y01, pos_weight=torch.tensor(100.0)),
        lambda a, b: bce(a, b, 100.0).mean(),
    ),
    "bce, last step": (
        lambda o: F.binary_cross_entropy_with_logits(o[:, -1], Y01[:, -1]),
        lambda a, b: bce(a, b)[:, -1].mean(),
    ),
    "bce of a sigmoid, sum": (
        lambda o: F.binary_cross_entropy(o.sigmoid(), Y01, reduction="sum"),
        lambda a, b: bce(a, b).sum(),
    ),
    "logsigmoid, sum": (lambda o: -F.logsigmoid((2 * Y01 - 1) * o).sum(), lambda a, b: bce(a, b).sum()),
    "bernoulli": (
        lambda o: -torch.distributions.Bernoulli(logits=o).log_prob(Y01).sum(-1).mean(),
        lambda a, b: bce(a, b).sum(-1).mean(),
    ),
    "ce, class weights": (
        lambda o: F.cross_entropy(flat(o), LABELS.reshape(-1), weight=W),
        lambda a, b: (kl(a, b) * W[LABELS]).sum() / W[LABELS].sum(),
    ),
    "ce, class weights, sum": (
        lambda o: F.cross_entropy(flat(o), LABELS.reshape(-1), weight=W, reduction="sum"),
        lambda a, b: (kl(a, b) * W[LABELS]).sum(),
    ),
    "ce, weights of answers": (
        lambda o: (each(o) * (1 + torch.arange(T))).sum() / 7,
        lambda a, b: (kl(a, b) * (1 + torch.arange(T))).sum() / 7,
    ),
    "a penalty that is a power too": (
        lambda o: ((o[:, -1] - Y[:, -1]) ** 2).mean() + 1e-3 * P.pow(2).sum(),
        lambda a, b: sq(a, b)[:, -1].mean(),
    ),
    "trials, values": (lambda o: TrialBatch(Y, Y, CHOSEN).loss(o), lambda a, b: sq(a, b)[CHOSEN].mean()),
    "trials, labels": (lambda o: TrialBatch(Y, LABELS, CHOSEN).loss(o), lambda a, b: kl(a, b)[CHOSEN].mean()),
}


@pytest.mark.parametrize("name", CASES)
def test_the_distance_of_a_loss_is_the_loss_of_new_outputs_to_old_ones(name):
    loss, wanted = CASES[name]
    torch.manual_seed(1)
    old = torch.randn(B, T, C)
    new = old + 0.1 * torch.randn(B, T, C)
    outputs = old.clone().requires_grad_() * 1.0
    found = distance_of_graph(loss(outputs), outputs)
    assert not found.doubt
    torch.testing.assert_close(found(old, new), wanted(old, new), rtol=1e-3, atol=1e-9)
    # what does not count may move as far as it likes
    if CHOSEN.logical_not().any() and wanted(old, torch.where(CHOSEN[..., None], old, 1e3)) == 0:
        assert found(old, torch.where(CHOSEN[..., None], old, 1e3)) == 0


@pytest.mark.parametrize(
    ("loss", "doubt"),
    [
        (lambda o: F.mse_loss(o[:, 1:] - o[:, :-1], Y[:, 1:]), "answers that do not count"),
        (lambda o: F.mse_loss(torch.log1p(o.abs()), Y), "takes of the outputs before its error is not known"),
        (lambda o: F.mse_loss(o.mean(1), Y[:, 0]), "not"),
        (lambda o: F.mse_loss(o, Y).sqrt(), "root|sqrt"),
        (lambda o: F.mse_loss((o + 3).relu(), Y), "takes of the outputs before its error is not known"),
        (
            lambda o: F.binary_cross_entropy_with_logits(o - 5, Y01),
            "takes of the outputs before its error is not known",
        ),
        (lambda o: 0.01 * F.mse_loss((o[:, :, :1] - Y[:, :, :1]) ** 2, Y[:, :, :1]), "do not count"),
        (lambda o: ((o[:, :, :1] - Y) ** 2).sum(), "are left out"),
    ],
)
def test_what_the_distance_leaves_out_is_in_doubt(loss, doubt):
    outputs = torch.randn(B, T, C, generator=GENERATOR).requires_grad_() * 1.0
    found = distance_of_graph(loss(outputs), outputs)
    assert doubt.split("|")[-1] in found.doubt


def test_a_function_after_a_shift_does_not_hide_that_outputs_move():
    outputs = (torch.randn(B, T, C, generator=GENERATOR) - 1).requires_grad_() * 1.0
    found = distance_of_graph(F.mse_loss((outputs + 3).relu(), Y), outputs)
    assert found(outputs.detach(), outputs.detach() - 0.5) == pytest.approx(0.25)


def test_masks_and_sums_of_logits_beside_probabilities():
    torch.manual_seed(0)
    old = torch.randn(B, T, C)
    new = old + 0.1 * torch.randn(B, T, C)
    logits = old.clone().requires_grad_() * 1.0
    loss = (F.binary_cross_entropy_with_logits(logits, Y01, reduction="none") * M3).sum() / B
    found = distance_of_graph(loss, logits.sigmoid())
    torch.testing.assert_close(
        found(old.sigmoid(), new.sigmoid()), (bce(old, new) * M3).sum() / B, rtol=1e-3, atol=1e-6
    )


def test_what_does_not_count_may_be_nan():
    old = torch.where(CHOSEN[..., None], torch.randn(B, T, C), torch.nan)
    outputs = old.clone().requires_grad_() * 1.0
    found = distance_of_graph(F.mse_loss(outputs[CHOSEN], Y[CHOSEN]), outputs)
    assert found(old, old + 0.1) == pytest.approx(0.01, rel=1e-4)


def test_more_classes_than_a_half_precise_number_counts():
    o = torch.randn(6, 4, 300).requires_grad_() * 1.0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = o @ torch.eye(300)
        loss = F.cross_entropy(outputs[:, -1].float(), torch.arange(6))
    found = distance_of_graph(loss, outputs)
    moved = outputs.detach().clone()
    moved[:, :-1] += torch.randn(6, 3, 300).to(moved)
    assert found(outputs.detach(), moved) == 0
    moved[:, -1] += torch.randn(6, 300).to(moved)
    assert found(outputs.detach(), moved) > 0.1


def test_task_batches_of_the_library_have_the_unit_of_their_loss():
    import ghostpoint as gp

    for task in (gp.tasks.DelayedActivation(20), gp.tasks.DelayedMatchToSample(5, 10, 5)):
        batch = next(iter(TaskBatches(task, batches=1, seed=0)))
        torch.manual_seed(0)
        outputs = torch.rand(batch.targets.shape).to(batch.targets.dtype).requires_grad_() * 1.0
        found = distance_of_graph(batch.loss(outputs), outputs)
        moved = outputs.detach() + 0.01
        # the squared error of all that counts, moved by the same
        curvature = torch.autograd.functional.hessian(batch.loss, outputs.detach())
        weights = curvature.reshape(outputs.numel(), -1).diagonal() / 2
        torch.testing.assert_close(
            found(outputs.detach(), moved), 1e-4 * weights.sum().to(outputs), rtol=1e-2, atol=1e-9
        )
