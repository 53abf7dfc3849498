"""Monitor and guard as callbacks of the real Lightning: the same losses as a loop by hand, state in
its checkpoints.
"""

import pytest

torch = pytest.importorskip("torch")
L = pytest.importorskip("lightning.pytorch", reason="needs Lightning: python3 dev.py frameworks")

from torch import nn  # noqa: E402

from ghostpoint.errors import InputError  # noqa: E402
from ghostpoint.torch import Guard, Monitor  # noqa: E402
from ghostpoint.torch.lightning import GuardCallback, MonitorCallback  # noqa: E402

from .networks import MODULES, batch, closure_of  # noqa: E402

ROWS, STEPS = 4, 6


def data(batches=STEPS):
    x, y = batch(rows=ROWS * batches)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), ROWS)


class Module(L.LightningModule):
    def __init__(self, rate=0.1, whole=True, manual=False):
        super().__init__()
        torch.manual_seed(3)
        self.network = MODULES["gru"]()
        self.rate, self.whole, self.calls, self.automatic_optimization = rate, whole, 0, not manual
        self.guard_callback = None

    def training_step(self, given, index):
        self.calls += 1
        x, y = given
        if self.guard_callback is not None:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            loss, _ = self.guard_callback.guard.evaluate(closure_of(self.network, x, y))
            self.manual_backward(loss)
            optimizer.step()
            return loss
        outputs = self.network(x)
        loss = nn.functional.mse_loss(outputs, y)
        self.log("loss", loss, on_step=True)
        return {"loss": loss, "outputs": outputs, "targets": y} if self.whole else loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def trainer(folder, *callbacks, **options):
    given = {"max_epochs": 3, "logger": False, "enable_checkpointing": False} | options
    return L.Trainer(
        accelerator="cpu", devices=1, callbacks=list(callbacks), default_root_dir=folder, enable_progress_bar=False,
        enable_model_summary=False, **given,
    )  # fmt: skip


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.network.parameters()])


def by_hand(rate, guarded, accumulated=1, epochs=3):
    module = Module(rate)
    optimizer = module.configure_optimizers()
    guard = Guard(module, optimizer) if guarded else None
    monitor = Monitor(module, optimizer)
    for _ in range(epochs):
        pending = []
        for x, y in data():
            closure = closure_of(module.network, x, y)
            if not pending:
                optimizer.zero_grad()
            loss, _ = guard.evaluate(closure) if guarded else closure()
            (loss / accumulated).backward()
            pending.append(loss.detach())
            if len(pending) == accumulated:
                optimizer.step()
                monitor.log(torch.stack(pending).mean())
                pending = []
    monitor.close()
    return module, monitor.record["loss"], guard


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_monitor_has_the_losses_of_a_loop_by_hand_and_changes_nothing(tmp_path, accumulated):
    callback = MonitorCallback(path=tmp_path / "run.jsonl", every=1)
    module = Module()
    trainer(tmp_path, callback, accumulate_grad_batches=accumulated).fit(module, data())
    expected, losses, _ = by_hand(0.1, False, accumulated)
    assert torch.equal(weights(module), weights(expected))
    record = callback.monitor.record
    assert record["loss"].tolist() == pytest.approx(losses.tolist(), rel=1e-6)
    assert len(losses) == 3 * STEPS // accumulated
    assert set(record) >= {"gradient_norm", "update_size", "confidence", "saturation", "accuracy"}
    assert callback.monitor.verdict().verdict
    assert len((tmp_path / "run.jsonl").read_text().splitlines()) == len(losses)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_guard_makes_the_updates_of_a_guarded_loop_by_hand(tmp_path, accumulated):
    callback = GuardCallback()
    module = Module(rate=3.0)
    trainer(tmp_path, callback, accumulate_grad_batches=accumulated).fit(module, data())
    expected, _, guard = by_hand(3.0, True, accumulated)
    assert torch.equal(weights(module), weights(expected))
    assert callback.guard.counts == guard.counts
    assert guard.counts["changed"] > 0
    assert "training_step" not in vars(module)


def test_manual_optimization_makes_its_own_closure(tmp_path):
    callback, monitor = GuardCallback(), MonitorCallback()
    module = Module(rate=3.0, manual=True)
    module.guard_callback = callback
    trainer(tmp_path, callback, monitor).fit(module, data())
    expected, losses, _ = by_hand(3.0, True)
    assert torch.equal(weights(module), weights(expected))
    assert monitor.monitor.record["loss"].tolist() == pytest.approx(losses.tolist(), rel=1e-6)


@pytest.mark.parametrize("after_fit", [False, True])
def test_training_goes_on_from_a_checkpoint_with_the_same_bits(tmp_path, after_fit):
    class Saving(L.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "within.ckpt")

    def callbacks():
        guard = GuardCallback()
        return guard, MonitorCallback(guard=guard)

    whole, there = Module(rate=3.0), callbacks()
    trainer(tmp_path, *there, Saving(), max_epochs=4).fit(whole, data())
    saved = tmp_path / "within.ckpt"
    if after_fit:
        first, saved = trainer(tmp_path, *callbacks(), max_epochs=2), tmp_path / "half.ckpt"
        first.fit(Module(rate=3.0), data())
        first.save_checkpoint(saved)
    rest, after = Module(rate=3.0), callbacks()
    trainer(tmp_path, *after, max_epochs=4).fit(rest, data(), ckpt_path=saved, weights_only=True)
    assert torch.equal(weights(rest), weights(whole))
    assert after[0].guard.counts == there[0].guard.counts
    assert after[1].monitor.record["loss"].tolist() == there[1].monitor.record["loss"].tolist()


def test_a_fixed_batch_reuses_the_accepted_trial_and_logs_each_step(tmp_path):
    callback = GuardCallback(batch="fixed")
    module = Module(rate=0.01)
    logged = []
    module.log = lambda name, value, **named: logged.append(value.item())
    trainer(tmp_path, callback, max_epochs=20).fit(module, data(1))
    counts = callback.guard.counts
    assert counts["updates"] == 20
    assert counts["forward"] == module.calls <= 20 + 1 + counts["refused"] + 1
    assert len(logged) == 20


def test_a_step_that_returns_no_outputs_is_told_what_to_return(tmp_path):
    with pytest.raises(InputError, match="must return a dict with loss and outputs for a guard, got Tensor"):
        trainer(tmp_path, GuardCallback()).fit(Module(whole=False), data())
