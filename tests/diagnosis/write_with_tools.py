"""Write small histories with the tools that people use; run by ``written_by_tools.py`` in the
tools' environment.

``written.json`` in the folder says for each file which tool wrote it and how many losses it has.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import sys
import traceback
from pathlib import Path

import numpy as np

N = 40
LOSS = (2.0 * np.exp(-np.arange(N) / 8) + 0.1).round(6)
ACCURACY = (1 - LOSS / 3).round(6)
RATE = np.full(N, 0.01)
WRITTEN: dict[str, tuple[str, int | list[int] | None]] = {}


def wrote(folder: Path, path: Path, tool: str, count=N) -> None:
    assert path.exists(), path
    WRITTEN[str(path.relative_to(folder))] = (tool, count)


def pandas_files(folder: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"epoch": np.arange(N), "train_loss": LOSS, "train_acc": ACCURACY, "lr": RATE})
    writers = {
        "plain.csv": lambda p: frame.to_csv(p, index=False),
        "index.csv": lambda p: frame.drop(columns="epoch").to_csv(p),
        "tabs.tsv": lambda p: frame.to_csv(p, sep="\t", index=False),
        "german.csv": lambda p: frame.to_csv(p, sep=";", decimal=",", index=False),
        "utf16.csv": lambda p: frame.to_csv(p, index=False, encoding="utf-16"),
        "mark.csv": lambda p: frame.to_csv(p, index=False, encoding="utf-8-sig"),
        "packed.csv.gz": lambda p: frame.to_csv(p, index=False),
        "packed.csv.bz2": lambda p: frame.to_csv(p, index=False),
        "packed.csv.xz": lambda p: frame.to_csv(p, index=False),
        "packed.csv.zip": lambda p: frame.to_csv(p, index=False),
        "columns.json": lambda p: frame.to_json(p),
        "records.json": lambda p: frame.to_json(p, orient="records"),
        "lists.json": lambda p: p.write_text(json.dumps(frame.to_dict("list"))),
        "lines.jsonl": lambda p: frame.to_json(p, orient="records", lines=True),
        "frame.parquet": lambda p: frame.to_parquet(p),
        "frame.feather": lambda p: frame.to_feather(p),
        "spaces.txt": lambda p: p.write_text(frame.to_string(index=False)),
        "long.csv": lambda p: pd.concat([frame.assign(run="a"), frame.head(30).assign(run="b")]).to_csv(p, index=False),
    }
    for name, write in writers.items():
        write(folder / name)
        wrote(folder, folder / name, "pandas", [N, 30] if name == "long.csv" else N)


def polars_files(folder: Path) -> None:
    import polars as pl

    frame = pl.DataFrame({"step": np.arange(N), "loss": LOSS, "accuracy": ACCURACY})
    for name, write in {
        "polars.csv": frame.write_csv, "polars.parquet": frame.write_parquet, "polars.ndjson": frame.write_ndjson,
        "polars.json": frame.write_json, "polars.arrow": frame.write_ipc,
    }.items():  # fmt: skip
        write(folder / name)
        wrote(folder, folder / name, "polars")


def numpy_files(folder: Path) -> None:
    np.save(folder / "loss.npy", LOSS)
    os.replace(folder / "loss.npy", folder / "renamed.txt")
    np.save(folder / "loss.npy", LOSS)
    np.save(folder / "two.npy", np.stack([LOSS, LOSS + 0.1]))
    np.savez(folder / "curves.npz", loss=LOSS, acc=ACCURACY, epoch=np.arange(N))
    np.savez_compressed(folder / "packed.npz", train_loss=LOSS, val_loss=LOSS + 0.1)
    np.savetxt(folder / "savetxt.txt", np.column_stack([np.arange(N), LOSS]), header="epoch loss")
    np.savetxt(folder / "savetxt.csv", np.column_stack([np.arange(N), LOSS]), header="epoch,loss", delimiter=",")
    np.savetxt(folder / "alone.txt", LOSS)
    for name in ("renamed.txt", "loss.npy", "curves.npz", "packed.npz", "savetxt.txt", "savetxt.csv", "alone.txt"):
        wrote(folder, folder / name, "numpy")
    wrote(folder, folder / "two.npy", "numpy", [N, N])


def python_files(folder: Path) -> None:
    import csv
    import logging

    history = {"loss": LOSS.tolist(), "accuracy": ACCURACY.tolist()}
    with (folder / "history.pkl").open("wb") as file:
        pickle.dump(history, file)
    with (folder / "arrays.pkl").open("wb") as file:
        pickle.dump({"loss": LOSS, "lr": RATE}, file)
    with gzip.open(folder / "history.json.gz", "wt") as file:
        json.dump(history, file)
    with (folder / "writer.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "loss"])
        writer.writeheader()
        writer.writerows({"step": i, "loss": x} for i, x in enumerate(LOSS.tolist()))
    handler = logging.FileHandler(folder / "logging.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s"))
    logger = logging.getLogger("train")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    for i, x in enumerate(LOSS.tolist()):
        logger.info("step %d | train loss %.5f | lr %.2e", i, x, 0.01)
    (folder / "printed.log").write_text(
        "\n".join(
            f"Epoch {i + 1}/{N} - loss: {x:.4f} - acc: {a:.4f}"
            for i, (x, a) in enumerate(zip(LOSS, ACCURACY, strict=True))
        )
    )
    (folder / "dicts.log").write_text("\n".join(str({"loss": x, "epoch": i}) for i, x in enumerate(LOSS.tolist())))
    for name in (
        "history.pkl",
        "arrays.pkl",
        "history.json.gz",
        "writer.csv",
        "logging.log",
        "printed.log",
        "dicts.log",
    ):
        wrote(folder, folder / name, "python")


def xarray_files(folder: Path) -> None:
    import xarray as xr

    data = xr.Dataset({"train_loss": ("step", LOSS), "acc": ("step", ACCURACY)}, coords={"step": np.arange(N)})
    stack = xr.Dataset({"loss": (("seed", "iteration"), np.stack([LOSS, LOSS * 1.1]))})
    for engine in ("scipy", "netcdf4", "h5netcdf"):
        data.to_netcdf(folder / f"{engine}.nc", engine=engine)
        wrote(folder, folder / f"{engine}.nc", f"xarray {engine}")
    data.to_zarr(folder / "curves.zarr", consolidated=False)
    stack.to_zarr(folder / "stack.zarr", consolidated=False)
    wrote(folder, folder / "curves.zarr", "xarray zarr")
    wrote(folder, folder / "stack.zarr", "xarray zarr", [N, N])


def tensorboard_files(folder: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder / "tbx")) as writer:
        for i in range(N):
            writer.add_scalar("train/loss", LOSS[i], i)
            writer.add_scalar("train/acc", ACCURACY[i], i)
    for run in ("a", "b"):
        with SummaryWriter(str(folder / "tb_runs" / run)) as writer:
            for i in range(N):
                writer.add_scalar("loss", LOSS[i], i)
    event = next((folder / "tbx").glob("*tfevents*"))
    wrote(folder, event, "tensorboardX")
    wrote(folder, folder / "tbx", "tensorboardX")
    wrote(folder, folder / "tb_runs", "tensorboardX", [N, N])
    scalars = EventAccumulator(str(folder / "tbx")).Reload().Scalars("train/loss")
    rows = ["Wall time,Step,Value", *(f"{s.wall_time},{s.step},{s.value}" for s in scalars)]
    (folder / "run-tbx-tag-train_loss.csv").write_text("\n".join(rows))
    (folder / "run-tbx-tag-train_loss.json").write_text(json.dumps([[s.wall_time, s.step, s.value] for s in scalars]))
    wrote(folder, folder / "run-tbx-tag-train_loss.csv", "tensorboard download")
    wrote(folder, folder / "run-tbx-tag-train_loss.json", "tensorboard download")


def mlflow_files(folder: Path) -> None:
    import mlflow

    place = folder / "mlruns"
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    mlflow.set_tracking_uri(place.as_uri())
    with mlflow.start_run() as run:
        for i in range(N):
            mlflow.log_metric("train_loss", float(LOSS[i]), step=i)
            mlflow.log_metric("acc", float(ACCURACY[i]), step=i)
        name = run.info.run_id
    history = mlflow.MlflowClient().get_metric_history(name, "train_loss")
    (folder / "mlflow.json").write_text(json.dumps({"metrics": [dict(m) for m in history]}))
    wrote(folder, folder / "mlflow.json", "mlflow")
    wrote(folder, place, "mlflow")
    wrote(folder, next(place.rglob("metrics/train_loss")), "mlflow")


def keras_files(folder: Path) -> None:
    os.environ["KERAS_BACKEND"] = "jax"
    import contextlib

    import keras

    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    y = (x.sum(axis=1) > 0).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    with (folder / "keras_stdout.log").open("w") as out, contextlib.redirect_stdout(out):
        done = model.fit(x, y, epochs=N, validation_split=0.25, verbose=2,
                         callbacks=[keras.callbacks.CSVLogger(folder / "keras.csv")])  # fmt: skip
    with (folder / "keras_bars.log").open("w") as out, contextlib.redirect_stdout(out):
        model.fit(x, y, epochs=12, verbose=1)
    (folder / "keras_history.json").write_text(json.dumps({k: [float(v) for v in c] for k, c in done.history.items()}))
    with (folder / "keras_history.pkl").open("wb") as file:
        pickle.dump(done.history, file)
    np.savez(folder / "keras_history.npz", **done.history)
    for name in ("keras.csv", "keras_history.json", "keras_history.pkl", "keras_history.npz", "keras_stdout.log"):
        wrote(folder, folder / name, "keras")
    wrote(folder, folder / "keras_bars.log", "keras", 12)


def wandb_files(folder: Path) -> None:
    """W&B's downloads come from its server; these are its column names and JSON lines, written by
    its own history.
    """
    lines = [{"_step": i, "_runtime": 1.5 * i, "train/loss": float(LOSS[i]), "lr": 0.01} for i in range(N)]
    (folder / "wandb-history.jsonl").write_text("\n".join(map(json.dumps, lines)))
    head = "Step,brisk-sun-3 - train/loss,brisk-sun-3 - train/loss__MIN,brisk-sun-3 - train/loss__MAX,"
    head += "calm-sea-4 - train/loss,calm-sea-4 - train/loss__MIN,calm-sea-4 - train/loss__MAX"
    rows = [f"{i},{x},{x},{x},{x + 0.1},{x + 0.1},{x + 0.1}" for i, x in enumerate(LOSS.tolist())]
    (folder / "wandb_export.csv").write_text("\n".join([head, *rows]))
    wrote(folder, folder / "wandb-history.jsonl", "wandb (by its format)")
    wrote(folder, folder / "wandb_export.csv", "wandb (by its format)", [N, N])


def torch_files(folder: Path) -> None:
    import torch
    from torch.utils.tensorboard import SummaryWriter

    torch.save({"loss": LOSS.tolist(), "lr": RATE.tolist()}, folder / "lists.pt")
    torch.save({"loss": torch.tensor(LOSS), "acc": torch.tensor(ACCURACY)}, folder / "tensors.pt")
    with SummaryWriter(str(folder / "torch_tb")) as writer:
        for i in range(N):
            writer.add_scalar("Loss/train", LOSS[i], i)
    (folder / "tensors.log").write_text("\n".join(f"epoch {i}: loss = {torch.tensor(x)}" for i, x in enumerate(LOSS)))
    for name in ("lists.pt", "tensors.pt", "torch_tb", "tensors.log"):
        wrote(folder, folder / name, "torch")


def lightning_files(folder: Path) -> None:
    import lightning
    import torch
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    class Line(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch, _):
            loss = (self.layer(batch[0]) ** 2).mean()
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch, _):
            self.log("val_loss", (self.layer(batch[0]) ** 2).mean())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.05)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(64, 4)), 8)
    logs = [CSVLogger(folder, name="lightning"), TensorBoardLogger(folder, name="lightning_tb")]
    trainer = lightning.Trainer(max_epochs=6, logger=logs, log_every_n_steps=2, enable_progress_bar=False,
                                enable_checkpointing=False, accelerator="cpu")  # fmt: skip
    trainer.fit(Line(), data, data)
    wrote(folder, folder / "lightning" / "version_0" / "metrics.csv", "lightning", None)
    wrote(folder, folder / "lightning", "lightning", None)
    wrote(folder, folder / "lightning_tb" / "version_0", "lightning", None)


def transformers_files(folder: Path) -> None:
    import torch
    from transformers import Trainer, TrainingArguments

    class Line(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def forward(self, x, labels=None):
            loss = (self.layer(x) ** 2).mean()
            return {"loss": loss, "logits": self.layer(x)}

    data = [{"x": torch.randn(4), "labels": torch.tensor(0.0)} for _ in range(64)]
    settings = TrainingArguments(str(folder / "hf"), num_train_epochs=5, per_device_train_batch_size=8, logging_steps=1,
                                 save_strategy="epoch", save_total_limit=1, report_to=[],
                                 use_cpu=True, disable_tqdm=True)  # fmt: skip
    trainer = Trainer(Line(), settings, train_dataset=data)
    trainer.train()
    (folder / "hf_log_history.json").write_text(json.dumps(trainer.state.log_history))
    trainer.state.save_to_json(str(folder / "trainer_state.json"))
    for name in ("hf_log_history.json", "trainer_state.json", "hf"):
        wrote(folder, folder / name, "transformers", N)


def main() -> None:
    folder = Path(sys.argv[1])
    makers = (pandas_files, polars_files, numpy_files, python_files, xarray_files, tensorboard_files, mlflow_files,
              keras_files, wandb_files, torch_files, lightning_files, transformers_files)  # fmt: skip
    for make in makers:
        try:
            make(folder)
        except ImportError as error:
            print("left out:", error)
        except Exception:
            traceback.print_exc()
            print("left out, as the tool failed:", make.__name__)
    (folder / "written.json").write_text(json.dumps(WRITTEN))


if __name__ == "__main__":
    main()
