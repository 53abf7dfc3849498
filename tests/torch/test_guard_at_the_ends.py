"""The guard where trials are refused for nothing: below rounding, and at a crack of the loss."""

import warnings

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from ghostpoint.torch import FixedBatch, Guard  # noqa: E402


def test_below_the_rounding_of_outputs_no_trial_is_refused_for_its_distance():
    torch.manual_seed(1)
    x, y = torch.randn(40, 6), torch.randn(40, 1)
    y = torch.tanh(x @ torch.randn(6, 1)) + 3
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1))
    guard = Guard(model, torch.optim.Adam(model.parameters(), lr=0.03), batch="fixed")
    closure = lambda: (nn.functional.mse_loss(o := model(x), y), o)  # noqa: E731
    refused = []
    for _ in range(1500):
        loss = guard.step(closure)
        refused.append(len(guard.last.refused))
    # outputs of 3 to 4 in float32 are known to some multiples of 2e-7
    assert loss < 1e-11
    assert sum(refused[-300:]) < 0.3 * 300
    assert guard.counts["stayed"] < 30


class Crack(nn.Module):
    """Outputs w that jump to w - 5 where w has moved by less than a twentieth: no small update is
    any good.
    """

    def __init__(self, at):
        super().__init__()
        self.at = at
        self.w = nn.Parameter(torch.tensor([at]))
        self.rest = nn.Parameter(torch.tensor([10.0]))  # gives the parameters their length

    def forward(self):
        moved = (self.w - self.at).abs()
        return torch.where((moved > 0) & (moved < 0.05), self.w - 5, self.w) + 0 * self.rest


@pytest.mark.parametrize("rate", [1e-5, 1e-3, 0.1])
def test_at_a_crack_of_the_loss_lengths_are_tried_that_reach_beyond_it(rate):
    model, target = Crack(1.0), torch.tensor([10.0])
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=rate), batch="fixed", fixed=FixedBatch(secants=0))
    closure = lambda: (nn.functional.mse_loss(o := model(), target), o)  # noqa: E731
    for _ in range(64):
        loss = guard.step(closure)
        if guard.last.factor:
            break
    assert guard.last.factor, "stayed for ever"
    assert model.w.item() > 1.05
    assert guard.last.trial_loss < loss
    # updates are refused at all their lengths until these are rounding; then each has one trial
    counts = guard.counts
    assert counts["forward"] <= counts["updates"] * 2 + 3 * guard._fixed.rule.tries


class Pit(Crack):
    """Outputs w that jump to w - 5 wherever w has moved to: no update is any good."""

    def forward(self):
        return torch.where(self.w == self.at, self.w, self.w - 5) + 0 * self.rest


def test_a_network_at_rest_costs_little_more_than_its_forward_passes():
    model, target = Pit(1.0), torch.tensor([10.0])
    guard = Guard(model, torch.optim.Adam(model.parameters(), lr=1e-3), batch="fixed")
    closure = lambda: (nn.functional.mse_loss(o := model(), target), o)  # noqa: E731
    tried = []
    for _ in range(400):
        guard.step(closure)
        tried.append(len(guard.last.refused))
        assert guard.last.action == "stayed"
        assert (guard.last.factor, guard.last.loss) == (0.0, 81.0)
    # a pass an update, and one for each trial
    assert guard.counts["forward"] <= 400 + sum(tried)
    at_rest = tried[sum(one > 1 for one in tried) :]
    assert at_rest[:16] == [1] * 16
    assert sum(at_rest[16:]) in ((len(at_rest) - 16) // 8, (len(at_rest) - 16) // 8 + 1)
    assert guard.counts["forward"] < 1.3 * 400


@pytest.mark.parametrize("batch", ["fixed", "auto"])
@pytest.mark.parametrize("change", ["parameters", "batch"])
def test_a_network_at_rest_goes_on_at_once_where_its_parameters_or_its_batch_change(change, batch):
    model, target = Pit(1.0), torch.tensor([10.0])
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=1e-3), batch=batch)
    closure = lambda: (nn.functional.mse_loss(o := model(), target), o)  # noqa: E731
    for _ in range(60):
        guard.step(closure)
    assert guard.last.action == "stayed"
    model.at = float("nan")  # no pit any longer
    if change == "parameters":
        with torch.no_grad():
            model.w.fill_(-20.0)
    else:
        target = torch.tensor([-20.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a fixed batch that changes
        guard.step(closure)
    assert guard.last.action != "stayed"


def test_updates_that_stay_and_one_that_goes_on_are_remembered_in_a_checkpoint():
    model, target = Crack(1.0), torch.tensor([10.0])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    guard = Guard(model, optimizer, batch="fixed", fixed=FixedBatch(secants=0))
    closure = lambda: (nn.functional.mse_loss(o := model(), target), o)  # noqa: E731
    for _ in range(5):
        guard.step(closure)
    again = Crack(1.0)
    other = torch.optim.SGD(again.parameters(), lr=1e-3)
    second = Guard(again, other, batch="fixed", fixed=FixedBatch(secants=0))
    again.load_state_dict(model.state_dict())
    other.load_state_dict(optimizer.state_dict())
    for _ in range(40):
        guard.step(closure)
        second.step(lambda: (nn.functional.mse_loss(o := again(), target), o))
        assert again.w.item() == model.w.item()
        assert guard.last.refused == second.last.refused
    assert model.w.item() > 1.05


def test_a_state_without_the_guards_is_told_of_once_and_one_with_it_is_not():
    def made():
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        return model, torch.optim.Adam(model.parameters(), lr=0.01)

    x = torch.randn(8, 3)
    model, optimizer = made()
    guard = Guard(model, optimizer)
    for _ in range(3):
        guard.step(lambda: (nn.functional.mse_loss(o := model(x), x[:, :1]), o))
    saved = optimizer.state_dict()
    # as torch.distributed.checkpoint keeps it
    without = {name: saved[name] for name in ("state", "param_groups")}

    model, optimizer = made()
    guard = Guard(model, optimizer)
    with pytest.warns(RuntimeWarning, match="none of the guard, which begins anew"):
        optimizer.load_state_dict(without)
    assert guard.counts["updates"] == 0

    model, optimizer = made()
    guard = Guard(model, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.load_state_dict(saved)
        optimizer.load_state_dict(without)  # it goes on with what it knows
    assert guard.counts["updates"] == 3


def test_a_length_at_which_the_loss_is_no_number_is_one_of_many_and_no_broken_loss():
    class Cliff(Crack):
        def forward(self):
            moved = (self.w - self.at).abs()
            out = super().forward()
            return torch.where((moved > 0.06) & (moved < 0.15), out + float("nan"), out)

    model, target = Cliff(1.0), torch.tensor([10.0])
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=1e-3), batch="fixed", fixed=FixedBatch(secants=0))
    seen = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(200):
            guard.step(lambda: (nn.functional.mse_loss(o := model(), target), o))
            seen.update(guard.last.refused)
            if guard.last.factor:
                break
    assert seen == {"outputs", "not finite"}
    assert 1.05 < model.w.item() < 1.06 or model.w.item() > 1.15


@pytest.mark.parametrize("tries", [1, 8])
@pytest.mark.parametrize("rate", [1.0, 1e9])
def test_a_network_that_begins_at_zero_is_not_frozen(tries, rate):
    torch.manual_seed(0)
    x = torch.randn(64, 5)
    y, model = x @ torch.randn(5, 1), nn.Linear(5, 1)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=rate), batch="fixed", fixed=FixedBatch(tries=tries))
    for _ in range(200):
        loss = guard.step(lambda: (nn.functional.mse_loss(o := model(x), y), o))
    assert loss < 1e-9


def test_a_distance_of_ones_own_is_called_with_outputs_of_the_model_alone():
    torch.manual_seed(0)
    x = torch.randn(40, 3)
    y = (x[:, :1] > 0).float()
    model = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())

    def distance(old, new):
        assert new.min() >= 0
        assert new.max() <= 1
        return ((old - new) ** 2).mean()

    guard = Guard(model, torch.optim.Adam(model.parameters(), lr=0.3), batch="fixed", distance=distance)
    for _ in range(400):
        loss = guard.step(lambda: (nn.functional.mse_loss(o := model(x), y), o))
    assert loss < 1e-4


def test_the_decay_is_still_there_after_lengths_were_spread():
    model, target = Crack(1.0), torch.tensor([10.0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    guard = Guard(model, optimizer, batch="fixed", fixed=FixedBatch(secants=0))
    shares = []
    for _ in range(60):
        guard.step(lambda: (nn.functional.mse_loss(o := model(), target), o))
        shares.append(guard._fixed.share)
        if model.w.item() > 1.05:
            break
    assert model.w.item() > 1.05
    # two updates were refused at all their lengths; those that followed took nothing off
    assert guard._fixed.share > 1e-3


def test_the_loss_does_not_creep_up_by_what_rounding_explains():
    torch.manual_seed(1)
    x = torch.randn(40, 6)
    y = torch.tanh(x @ torch.randn(6, 1)) + 30
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1))
    guard = Guard(model, torch.optim.Adam(model.parameters(), lr=0.03), batch="fixed")
    lowest = []
    for _ in range(1000):
        guard.step(lambda: (nn.functional.mse_loss(o := model(x) + 30, y), o))
        lowest.append(guard._fixed.lowest.loss)
    assert lowest == sorted(lowest, reverse=True)
    assert guard.counts["stayed"] < 100


def test_a_state_of_a_distributed_checkpoint_is_told_of():
    state_dict = pytest.importorskip("torch.distributed.checkpoint.state_dict")

    def made():
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        return model, optimizer, Guard(model, optimizer)

    x = torch.randn(8, 3)
    model, optimizer, guard = made()
    for _ in range(3):
        guard.step(lambda: (nn.functional.mse_loss(o := model(x), x[:, :1]), o))
    saved = state_dict.get_optimizer_state_dict(model, optimizer)
    model, optimizer, guard = made()
    with pytest.warns(RuntimeWarning, match="none of the guard, which begins anew"):
        state_dict.set_optimizer_state_dict(model, optimizer, saved)
