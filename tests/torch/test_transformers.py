"""Monitor and guard in the real Trainer of Hugging Face: the same updates as a loop by hand, state
in checkpoints.
"""

import json
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="needs Transformers: python3 dev.py frameworks")
pytest.importorskip("accelerate", reason="needs Accelerate: python3 dev.py frameworks")

from ghostpoint.errors import InputError  # noqa: E402
from ghostpoint.torch import CSV, Guard  # noqa: E402
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
    given = {
        "max_steps": STEPS, "learning_rate": 0.3, "save_strategy": "no", "per_device_train_batch_size": ROWS,
        "logging_steps": 1, "restore_callback_states_from_checkpoint": True,
    }  # fmt: skip
    return transformers.TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to=[], disable_tqdm=True, lr_scheduler_type="constant",
        optim="adamw_torch", max_grad_norm=0.0, weight_decay=0.0, seed=1, **given | options,
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


class Recurrent(torch.nn.Module):
    """A model without buffers in its graph, for a guard of a fixed batch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.embedding = torch.nn.Embedding(11, 16)
        self.layer, self.readout = torch.nn.GRU(16, 16, batch_first=True), torch.nn.Linear(16, CLASSES)

    def forward(self, input_ids, labels=None):
        logits = self.readout(self.layer(self.embedding(input_ids))[0][:, -1])
        loss = {} if labels is None else {"loss": torch.nn.functional.cross_entropy(logits, labels)}
        return {**loss, "logits": logits}


class InATuple(Recurrent):
    """As older models answer."""

    def forward(self, input_ids, labels=None):
        return tuple(super().forward(input_ids, labels).values())


class Nameless(Recurrent):
    """One that names its logits as it likes."""

    def forward(self, input_ids, labels=None):
        found = super().forward(input_ids, labels)
        return {**{name: value for name, value in found.items() if name == "loss"}, "answers": found["logits"]}


def weighted(outputs, labels, num_items_in_batch=None):
    """A loss with weights of the classes, from outputs of any form."""
    logits = outputs["logits"] if isinstance(outputs, dict) else outputs[-1]
    return torch.nn.functional.cross_entropy(logits, labels, weight=torch.tensor([10.0, 1.0, 0.1]))


def own_loss(base, make):
    """A trainer of one's own with ``make(outputs, labels)`` for its loss, as Transformers documents
    it.
    """

    class Own(base):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            outputs = model(**inputs)
            loss = make(outputs, inputs["labels"])
            return (loss, outputs) if return_outputs else loss

    return Own


def trained(trainer):
    """The losses that the trainer logged."""
    trainer.train()
    return pytest.approx([row["loss"] for row in trainer.state.log_history if "loss" in row], rel=1e-3)


@pytest.mark.parametrize("batch", ["fixed", "auto", "fresh"])
def test_trials_of_a_guard_are_not_recorded(tmp_path, batch):
    # a rate at which trials are refused, on one batch that stays
    callback, options = MonitorCallback(every=1), {"learning_rate": 1.0, "max_steps": 30}
    trainer = Guarded(
        model=Recurrent(), args=arguments(tmp_path, **options), train_dataset=rows(ROWS), callbacks=[callback],
        guard={"batch": batch},
    )  # fmt: skip
    logged = trained(trainer)
    counts = trainer.guard.counts
    assert counts["forward"] > counts["backward"]
    assert counts["refused"] > 0 or batch == "fresh"
    record = callback.monitor.record
    assert record["loss"].tolist() == logged
    assert record["accuracy"][-1] == 1.0


@pytest.mark.parametrize("base", [Plain, Guarded])
def test_a_loss_of_one_s_own_is_recorded_as_it_is_trained(tmp_path, base):
    callback = MonitorCallback(every=1)
    trainer = own_loss(base, weighted)(
        model=Recurrent(), args=arguments(tmp_path), train_dataset=rows(), callbacks=[callback]
    )
    with pytest.warns(RuntimeWarning, match="no part of what the trainer trains") as said:
        logged = trained(trainer)
    assert sum("MonitorCallback" in str(one.message) for one in said) == 1
    assert callback.monitor.record["loss"].tolist() == logged
    assert "accuracy" in callback.monitor.record
    if base is Guarded:
        assert trainer.guard.counts["forward"] > STEPS


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_multiple_of_the_model_s_loss_is_recorded_as_it_is_trained(tmp_path, accumulated):
    callback, options = MonitorCallback(), {"gradient_accumulation_steps": accumulated, "max_steps": 4}
    trainer = own_loss(Plain, lambda outputs, labels: 3 * outputs["loss"])(
        model=Recurrent(), args=arguments(tmp_path, **options), train_dataset=rows(), callbacks=[callback]
    )
    logged = trained(trainer)
    assert callback.monitor.record["loss"].tolist() == logged


def test_what_is_added_to_the_model_s_loss_is_said_and_can_be_recorded(tmp_path):
    def made(**options):
        callback = MonitorCallback(**options)
        kind = own_loss(Plain, lambda outputs, labels: outputs["loss"] + outputs["logits"].square().mean())
        given = {"model": Recurrent(), "args": arguments(tmp_path, logging_steps=2), "train_dataset": rows()}
        return callback, kind(**given, callbacks=[callback])

    _, trainer = made()
    with pytest.warns(RuntimeWarning, match=r"over the last 2 steps.*MonitorCallback\(loss='trainer'\)"):
        trainer.train()
    callback, trainer = made(loss="trainer")
    logged = trained(trainer)
    assert callback.monitor.record["loss"].tolist() == logged
    with pytest.raises(InputError, match="loss must be"):
        MonitorCallback(loss="model")


@pytest.mark.filterwarnings("error:MonitorCallback")
@pytest.mark.parametrize("every", [1, 3])
def test_the_model_s_own_loss_is_recorded_without_a_word(tmp_path, every):
    callback = MonitorCallback()
    args = arguments(tmp_path, logging_steps=every, eval_strategy="steps", eval_steps=2)
    trainer = Plain(model=model(), args=args, train_dataset=rows(), eval_dataset=rows(ROWS), callbacks=[callback])
    trainer.train()
    assert len(callback.monitor.record["loss"]) == STEPS


def test_the_scale_of_amp_is_no_part_of_the_loss():
    """By hand, as mixed precision of float16 needs a GPU in Transformers."""
    network, scaler = Recurrent(), torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    callback, events = MonitorCallback(), (SimpleNamespace(), SimpleNamespace(global_step=0), None)
    callback.on_train_begin(*events, model=network, optimizer=SimpleNamespace(optimizer=optimizer, scaler=scaler))
    x, y = torch.zeros(2, 3, dtype=torch.long), torch.tensor([0, 1])
    expected = []
    for _ in range(3):
        loss = network(x, labels=y)["loss"]
        expected.append(loss.item())
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        callback.on_step_end(*events)
    callback.on_train_end(*events)
    assert callback.monitor.record["loss"].tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", [Recurrent, InATuple, Nameless])
@pytest.mark.parametrize("own", [None, weighted], ids=["model's loss", "loss of one's own"])
def test_the_guard_finds_the_logits_of_every_form_of_outputs(tmp_path, kind, own):
    def run(kind):
        function = own if kind is not Nameless or own is None else lambda outputs, labels, **more: weighted(
            {"logits": outputs["answers"]}, labels
        )  # fmt: skip
        trainer = Guarded(
            model=kind(), args=arguments(tmp_path), train_dataset=rows(), guard={"batch": "fresh"},
            compute_loss_func=function,
        )  # fmt: skip
        trainer.train()
        return trainer

    found, expected = run(kind), run(Recurrent)
    assert found.guard.counts == expected.guard.counts
    assert torch.equal(weights(found.model), weights(expected.model))


def test_outputs_without_logits_are_refused_by_name(tmp_path):
    class Loss(Recurrent):
        def forward(self, input_ids, labels=None):
            return (super().forward(input_ids, labels)["loss"],)

    trainer = Guarded(model=Loss(), args=arguments(tmp_path), train_dataset=rows())
    with pytest.raises(InputError, match=r"outputs of the model must have logits.*tuple of Tensor"):
        trainer.train()


@pytest.mark.parametrize("restore", [False, True])
def test_a_resumed_training_has_the_options_given_now_and_the_callback_given(tmp_path, restore):
    seen = []

    def made(callback, folder, **options):
        args = arguments(tmp_path / folder, restore_callback_states_from_checkpoint=restore, **options)
        return Plain(model=model(), args=args, train_dataset=rows(), callbacks=[callback])

    half = STEPS // 2
    made(MonitorCallback(path=tmp_path / "first.jsonl"), "a", save_strategy="steps", save_steps=half).train()
    log = tmp_path / "second.jsonl"
    callback = MonitorCallback(
        path=Path(log), sinks=[CSV(tmp_path / "second.csv")], on_verdict=seen.append, every={"gradient_norm": 1}
    )
    made(callback, "b").train(resume_from_checkpoint=str(tmp_path / "a" / f"checkpoint-{half}"))
    assert callback.monitor.step == STEPS
    assert len(callback.monitor.record["loss"]) == STEPS
    assert callback.monitor.verdict().verdict
    assert callback.monitor.on_verdict == seen.append
    assert callback.monitor.every["gradient_norm"] == 1
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps[-1] == STEPS - 1
    assert set(steps) >= set(range(half, STEPS))
    assert len((tmp_path / "second.csv").read_text().splitlines()) == len(steps) + 1


def test_a_copy_that_cannot_find_its_callback_says_what_it_has(tmp_path):
    folder, log = tmp_path / "a", tmp_path / "run.jsonl"
    options = {"path": log, "sinks": [CSV(tmp_path / "run.csv")]}
    first = Plain(
        model=model(), args=arguments(folder, save_strategy="steps", save_steps=4), train_dataset=rows(),
        callbacks=[MonitorCallback(**options)],
    )  # fmt: skip
    first.train()
    log.unlink()
    second = Plain(model=model(), args=arguments(tmp_path / "b"), train_dataset=rows())
    second.add_callback(MonitorCallback(**options))
    with pytest.warns(RuntimeWarning, match=r"a copy from the checkpoint.*run.jsonl.*without sinks"):
        second.train(resume_from_checkpoint=str(folder / "checkpoint-4"))
    assert json.loads(log.read_text().splitlines()[-1])["step"] == STEPS - 1


def test_a_checkpoint_without_the_callback_can_be_gone_on_from_and_saved_again(tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 4}
    Plain(model=model(), args=arguments(tmp_path / "a", **saving), train_dataset=rows()).train()
    callback = MonitorCallback()
    trainer = Plain(model=model(), args=arguments(tmp_path / "b", **saving), train_dataset=rows(), callbacks=[callback])
    trainer.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-4"))
    assert callback.monitor.step == STEPS - 4


def test_several_callbacks_in_one_trainer_begin_anew_and_say_so(tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 4, "restore_callback_states_from_checkpoint": False}

    def made(folder):
        both = [MonitorCallback(), MonitorCallback()]
        return both, Plain(
            model=model(), args=arguments(tmp_path / folder, **saving), train_dataset=rows(), callbacks=both
        )

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="MonitorCallback")
        made("a")[1].train()
    both, trainer = made("b")
    with pytest.warns(RuntimeWarning, match="several MonitorCallback"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-4"))
    assert [one.monitor.step for one in both] == [STEPS - 4] * 2


def test_a_training_that_failed_leaves_no_hooks_behind(tmp_path):
    class Fails(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 2:
                raise RuntimeError("in the middle")

    callback, network = MonitorCallback(), Recurrent()
    trainer = Plain(model=network, args=arguments(tmp_path), train_dataset=rows(), callbacks=[callback, Fails()])
    with pytest.raises(RuntimeError, match="in the middle"):
        trainer.train()
    trainer.remove_callback(Fails)
    trainer.train()
    assert not network._forward_hooks
    assert callback.monitor.step == 2 + STEPS
