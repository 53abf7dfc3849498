"""Parameters as one vector: read and written piece by piece, small ones together."""

import pytest

torch = pytest.importorskip("torch")

from ghostpoint.torch import FixedBatch, Guard  # noqa: E402
from ghostpoint.torch import parameters as module  # noqa: E402
from ghostpoint.torch.parameters import Parameters  # noqa: E402

from .networks import MODULES, OPTIMIZERS, batch, closure_of  # noqa: E402


def test_pieces_follow_each_other_and_none_is_larger_than_it_must_be(monkeypatch):
    monkeypatch.setattr(module, "_TOGETHER", 10)
    sizes = [3, 4, 25, 10, 1, 2, 9]
    tensors = [torch.nn.Parameter(torch.randn(size)) for size in sizes]
    tensors[0].grad, tensors[4].grad = torch.randn(3), torch.randn(1)
    own = Parameters(torch.optim.SGD(tensors, lr=1.0))
    pieces = list(own.pieces())
    assert [[p.numel() for p in piece] for piece, _ in pieces] == [[3, 4], [25], [10], [1, 2], [9]]
    assert [(part.start, part.stop) for _, part in pieces] == [(0, 7), (7, 32), (32, 42), (42, 45), (45, 54)]
    assert torch.equal(
        torch.cat([own.values_of(piece) for piece, _ in pieces]), torch.cat([p.detach() for p in tensors])
    )
    gradient = torch.cat([own.gradients_of(piece) for piece, _ in pieces])
    assert torch.equal(gradient[:3], tensors[0].grad)
    assert torch.equal(gradient[42:43], tensors[4].grad)
    assert gradient.count_nonzero() == 4
    wanted = torch.randn(54)
    with torch.no_grad():
        own.set(wanted)
    assert torch.equal(own.values(), wanted)


def test_a_guarded_training_is_the_same_whatever_the_pieces(monkeypatch):
    losses = []
    for together in (1 << 16, 1):
        monkeypatch.setattr(module, "_TOGETHER", together)
        torch.manual_seed(3)
        model = MODULES["gru"]()
        guard = Guard(model, OPTIMIZERS["momentum"](model.parameters()), batch="fixed", fixed=FixedBatch(secants=4))
        closure = closure_of(model, *batch())
        losses.append([guard.step(closure).item() for _ in range(12)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert len(set(losses[0])) == 12
