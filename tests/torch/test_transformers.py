"""Monitor and guard in the real Trainer of Hugging Face: the same updates as a loop by hand, state
in checkpoints.
"""

import json

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="needs Transformers: python3 dev.py frameworks")
pytest.importorskip("accelerate", reason="needs Accelerate: python3 dev.py frameworks")

from ghostpoint.torch import Guard  # noqa: E402
from ghostpoint.torch.transformers import GuardedTrainer, MonitorCallback  # noqa: E402

STEPS, ROWS, CLASSES = 8, 4, 3


def model():
    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(
        vocab_size=11, max_position_embeddings=8, num_labels=CLASSES, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, **sizes,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def rows(count=STEPS * ROWS):
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(11, (count, 8), generator=generator)
    return [{"input_ids": row, "labels": row.sum() % CLASSES} for row in tokens]


def arguments(folder, **options):
    given = {"max_steps": STEPS, "learning_rate": 0.3, "save_strategy": "no", "per_device_train_batch_size": ROWS}
    return transformers.TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to=[], disable_tqdm=True, lr_scheduler_type="constant",
        optim="adamw_torch", max_grad_norm=0.0, weight_decay=0.0, logging_steps=1,
        restore_callback_states_from_checkpoint=True,
        seed=1, **given | options,
    )  # fmt: skip


class InOrder:
    """Batches in the order of the rows."""

    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)


class Plain(InOrder, transformers.Trainer):
    pass


class Guarded(InOrder, GuardedTrainer):
    pass


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def by_hand(rate, steps=STEPS):
    network = model()
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.0)
    guard = Guard(network, optimizer)
    given = rows()
    for k in range(steps):
        part = given[k * ROWS : (k + 1) * ROWS]
        x, y = torch.stack([row["input_ids"] for row in part]), torch.stack([row["labels"] for row in part])

        def closure(x=x, y=y):
            found = network(input_ids=x, labels=y)
            return found.loss, found.logits

        guard.step(closure)
    return network, guard


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_monitor_has_the_trainer_s_losses_and_changes_nothing(tmp_path, accumulated):
    options = {"gradient_accumulation_steps": accumulated, "max_steps": STEPS // accumulated}
    alone = Plain(model=model(), args=arguments(tmp_path, **options), train_dataset=rows())
    alone.train()
    callback = MonitorCallback(path=str(tmp_path / "run.jsonl"), every=1)
    watched = Plain(model=model(), args=arguments(tmp_path, **options), train_dataset=rows(), callbacks=[callback])
    watched.train()
    assert torch.equal(weights(alone.model), weights(watched.model))
    record = callback.monitor.record
    logged = [row["loss"] for row in watched.state.log_history if "loss" in row]
    assert record["loss"].tolist() == pytest.approx(logged, rel=1e-3)
    assert set(record) >= {"gradient_norm", "update_size", "confidence", "accuracy"}
    assert len((tmp_path / "run.jsonl").read_text().splitlines()) == STEPS // accumulated


def test_the_guarded_trainer_makes_the_updates_of_a_guarded_loop_by_hand(tmp_path):
    trainer = Guarded(model=model(), args=arguments(tmp_path), train_dataset=rows(), guard={"batch": "fresh"})
    trainer.train()
    network, guard = by_hand(0.3)
    assert trainer.guard.counts == guard.counts
    assert guard.counts["changed"] > 0
    difference = (weights(trainer.model) - weights(network)).norm() / weights(network).norm()
    assert difference < 1e-4, difference


def test_training_goes_on_from_a_checkpoint_with_the_same_bits(tmp_path):
    def made(folder, **options):
        options = {"save_strategy": "steps", "save_steps": STEPS // 2} | options
        return Guarded(
            model=model(), args=arguments(folder, **options), train_dataset=rows(), callbacks=[MonitorCallback()]
        )

    def monitor_of(trainer):
        return next(one for one in trainer.callback_handler.callbacks if isinstance(one, MonitorCallback)).monitor

    whole = made(tmp_path / "whole")
    whole.train()
    checkpoint = tmp_path / "whole" / f"checkpoint-{STEPS // 2}"
    assert "MonitorCallback" in json.loads((checkpoint / "trainer_state.json").read_text())["stateful_callbacks"]
    rest = made(tmp_path / "rest")
    rest.train(resume_from_checkpoint=str(checkpoint))
    assert torch.equal(weights(rest.model), weights(whole.model))
    assert rest.guard.counts == whole.guard.counts
    assert monitor_of(rest).record["loss"].tolist() == monitor_of(whole).record["loss"].tolist()
