"""Files as people with a stuck network have them, each with what is right about it by construction.

The contents follow the tools' own formats and reports of trainings; the right answers were written
down before any of the files was read. :data:`FILES` maps the name of a case to what writes the file
and what must be said about it."""

from __future__ import annotations

import gzip
import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

G, A, S = "gradual learning", "abrupt learning", "staircase learning"
P, C, Q = "plateau at chance", "plateau at a constant answer", "oscillation near a minimum"
Z, R, D = "no-learning zone", "rise of the loss", "divergence"
V, W, F, X = "recovered", "restart of a schedule", "converged", "cannot tell"


@dataclass(frozen=True)
class Case:
    """A file: ``write(folder)`` makes it and returns its path.

    Attributes
    ----------
    allowed : tuple of str
        Verdicts that are right for each run; empty if the file must be refused.
    loss : str or None
        Column that is the loss; None for files without names.
    runs : int
    options : tuple of str
        Of the command.
    words : tuple of str
        That the output, or the one line of the refusal, must contain.
    """

    write: Callable[[Path], Path]
    allowed: tuple[str, ...]
    loss: str | None = None
    runs: int = 1
    options: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


FILES: dict[str, Case] = {}


def normal(name: str, n: int) -> np.ndarray:
    """The same noise for a case each time."""
    return np.random.default_rng(list(name.encode())).normal(size=n)


def text(name: str, suffix: str, body: str, *allowed: str, encoding: str = "utf-8", **rest: Any) -> None:
    def write(folder: Path) -> Path:
        path = folder / ("record" + suffix if suffix.startswith(".") else suffix)
        path.write_bytes(body.encode(encoding))
        return path

    FILES[name] = Case(write, allowed, **rest)


def table(name: str, columns: dict[str, Any], *allowed: str, separator: str = ",", **rest: Any) -> None:
    rows = [separator.join(columns)]
    rows += [
        separator.join("" if x is None else f"{x:.6g}" if isinstance(x, float) else str(x) for x in row)
        for row in zip(*(list(c) for c in columns.values()), strict=True)
    ]
    text(name, ".csv", "\n".join(rows) + "\n", *allowed, **({"loss": "loss"} | rest))


def step(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))


# fmt: off
# ---- trainings: what is in the file, as a plain table

t = np.arange(3000.0)
warm = np.where(t < 100, t / 100, 1.0)
language = 3.1 + 7.7 * (1 + t / 40) ** -0.6
table("language model, power law", {"step": t.astype(int), "loss": language * np.exp(0.03 * normal("lm", 3000)),
      "lr": 6e-4 * warm}, G)
spike = 3.0 * np.exp(-np.maximum(t - 1800, 0) / 12) * (t >= 1800)
table("language model, one spike", {"step": t.astype(int), "loss": language + spike + 0.05 * normal("spike", 3000)}, G)
table("language model, blown off and flat",
      {"step": t.astype(int), "loss": np.where(t < 2000, language, 7.4) + 0.05 * normal("off", 3000)}, R, Z, D)

e = np.arange(200.0)
cut = np.where(e < 60, 0.1, np.where(e < 120, 0.02, 0.004))
fall = 0.35 + 2.0 * np.exp(-e / 10)
fall = fall - 0.2 * step((e - 60) / 0.4) - 0.08 * step((e - 120) / 0.4)
table("image classifier with cuts of the rate",
      {"epoch": e.astype(int), "loss": fall + 0.005 * normal("cifar", 200), "val_loss": fall + 0.3
       + 0.03 * normal("cv", 200), "learning_rate": cut}, G)
k = np.arange(30.0)
table("over-fitting in thirty epochs",
      {"epoch": k.astype(int), "accuracy": 1 - 0.5 * np.exp(-k / 6), "loss": 0.69 * np.exp(-k / 7) + 0.01,
       "val_accuracy": 0.5 + 0.3 * (1 - np.exp(-k / 3)), "val_loss": 0.45 + 0.24 * np.exp(-k / 2) + 0.02 * k},
      R, words=("over-fitting",))
table("five epochs of digits", {"epoch": range(1, 6), "loss": [0.3512, 0.1214, 0.0812, 0.0623, 0.0511]}, G)
table("four epochs", {"epoch": range(1, 5), "loss": [0.35, 0.12, 0.08, 0.06]}, X)
table("never moves a digit", {"epoch": range(50), "loss": [0.6931] * 50}, P)
table("never a number", {"epoch": range(20), "loss": ["nan"] * 20}, D)
table("infinite from the third step", {"step": range(12), "loss": [1.2, 1.4, *["inf"] * 10]}, D)
long = np.arange(2000.0)
table("xor, squared error",
      {"epoch": long.astype(int), "loss": 0.25 - 0.245 * step((long - 900) / 15) + 0.0004 * normal("xor", 2000)},
      A)
table("xor, squared error, stuck",
      {"epoch": long.astype(int), "loss": 0.25 + 0.05 * np.exp(-long / 20) + 0.0004 * normal("xs", 2000)}, P, C)
base = 10 * np.log(8) / 120
table("copy memory",
      {"step": (50 * long).astype(int), "loss": base - (base - 0.003) * step((long - 1400) / 25)
       + 0.002 * normal("copy", 2000)}, A)
table("adding problem",
      {"step": (10 * long).astype(int), "loss": (0.167 - 0.165 * step((long - 1100) / 20))
       * np.exp(0.1 * normal("add", 2000))}, A)
table("adding problem, stuck", {"step": (10 * long).astype(int), "loss": 0.167 * np.exp(0.1 * normal("adds", 2000))}, P)
d = np.arange(400.0)
table("swings after a good start",
      {"epoch": d.astype(int), "loss": 0.2 + np.exp(-d / 20) + 0.08 * np.sin(2 * np.pi * d / 37) * (d > 100)
       + 0.004 * normal("gan", 400)}, Q)
grown = 0.2 + np.exp(-d / 20) + 0.002 * np.exp(d / 60) * (-1) ** d
table("swings that end in nan", {"epoch": d.astype(int), "loss": [*grown[:380].tolist(), *["nan"] * 20]}, D)
table("over and under by turns in 25 epochs",
      {"epoch": range(25), "loss": (0.3 + 1.5 * np.exp(-np.arange(25) / 2) + 0.06 * (-1.0) ** np.arange(25))}, Q)
dead = np.where(k < 12, 2.3 * np.exp(-k / 5), 2.3026)
table("dead units in thirty epochs",
      {"epoch": k.astype(int), "loss": dead, "acc": np.where(k < 12, 0.1 + 0.8 * (1 - np.exp(-k / 4)), 0.1)}, Z)
table("ten classes, from a bad start to log 10",
      {"step": long.astype(int), "loss": 2.3026 + 4 * np.exp(-long / 30) + 0.02 * normal("ten", 2000)}, P, C)
table("a hundred classes", {"epoch": d.astype(int), "loss": 4.605 + 0.1 * np.exp(-d / 4) + 0.003 * normal("h", 400),
      "acc": np.round(0.01 + 0.001 * normal("ha", 400), 4)}, P, C)
table("bits", {"epoch": d.astype(int), "loss": 1.0 + 0.002 * normal("bits", 400)}, P)
table("prices, squared error", {"epoch": d.astype(int), "loss": 1.5e6 * np.exp(-d / 50) + 3e4 * np.exp(
      0.05 * normal("price", 400))}, G)
table("tiny errors", {"epoch": d.astype(int), "loss": 1e-7 * 10 ** (-5 * d / 400) * np.exp(0.05 * normal("tiny",
    400))}, G)
table("evidence bound", {"epoch": d.astype(int), "loss": -120 + 45 * np.exp(-d / 40) + 0.5 * normal("elbo", 400)}, G,
      words=("negative",))
hinge = 1.0 - 0.96 * step((d - 250) / 3)
table("hinge loss", {"epoch": d.astype(int), "loss": hinge + 0.003 * normal("hinge", 400)}, A)
table("contrastive, stuck at log of the batch", {"step": d.astype(int), "loss": 5.545 + 0.004 * normal("con", 400)}, P)
three = 2.0 - 0.6 * sum(step((long - a) / 8) for a in (400, 900, 1500))
table("three skills, one after the other", {"step": long.astype(int), "loss": three + 0.01 * normal("icl", 2000)}, S)
table("a plateau that drifts", {"epoch": long.astype(int), "loss": 0.693 - 0.003 * long / 2000
      + 0.002 * normal("drift", 2000), "accuracy": 0.5 + 0.01 * normal("da", 2000)}, P)
table("always the frequent class", {"epoch": k.astype(int), "loss": 0.3251 + 0.0004 * normal("freq", 30),
      "accuracy": np.full(30, 0.9)}, P)
lost = 0.69 - 0.65 * step((d - 80) / 3) * ((d < 160) | (d > 260))
table("lost for a hundred epochs", {"epoch": d.astype(int), "loss": lost + 0.004 * normal("lost", 400),
      "accuracy": np.where(lost < 0.4, 0.98, 0.5)}, V)
double = 1.2 * np.exp(-d / 15) + 0.5 * np.exp(-(((d - 120) / 40) ** 2)) + 0.3
table("double descent", {"epoch": d.astype(int), "loss": double + 0.003 * normal("dd", 400)}, G)
table("fine-tuning", {"step": d.astype(int), "loss": 0.2 + 0.2 * np.exp(-d / 60) + 0.004 * normal("ft", 400)}, G,
      options=("--chance-loss", "0.6931"))
table("twelve epochs, one drop", {"epoch": range(12), "loss": [2.303, 2.302, 2.303, 2.301, 2.302, 2.302, 2.301, 2.302,
      2.300, 0.61, 0.42, 0.40]}, A)
hump = 0.69 + 0.25 * np.exp(-(((d - 15) / 8) ** 2)) - 0.6 * (1 - np.exp(-np.maximum(d - 25, 0) / 60))
table("a hump while the rate warms up", {"epoch": d.astype(int), "loss": hump + 0.004 * normal("hump", 400),
      "lr": 1e-3 * np.minimum(1, (d + 1) / 25)}, G)
table("the gradient is gone", {"epoch": d.astype(int), "loss": 0.6931 + 1e-4 * normal("gone", 400),
      "grad_norm": np.zeros(400)}, P, words=("gradient is gone",))
table("batches of one", {"step": long.astype(int), "loss": (0.4 + 1.9 * np.exp(-long / 300))
      * np.random.default_rng(5).exponential(1.0, 2000)}, G)
table("learned at once, then nothing", {"step": long.astype(int), "loss": 0.13 + 2.0 * np.exp(-long / 12)
      + 0.002 * normal("flat", 2000)}, G, words=("flat",))
table("eight bits of precision", {"epoch": d.astype(int),
    "loss": np.round((0.69 - 0.6 * step((d - 250) / 4)) * 64) / 64}, A)
table("collapse at the last epochs", {"epoch": d.astype(int), "loss": np.where(d < 375, 0.05 + 0.64 * np.exp(-d / 15),
      0.69) + 0.002 * normal("cl", 400), "accuracy": np.where(d < 375, 1 - 0.5 * np.exp(-d / 15), 0.5)}, Z)
table("steps up at each new task", {"epoch": d.astype(int), "loss": 0.3 + 0.5 * np.floor(d / 100)
      + 0.01 * normal("cont", 400)}, R)

# ---- formats: a drop from log 2 after a plateau, as tools and people write it down

n = 120
T = np.arange(n)
UP = step((T - 80) / 1.5)
LOSS = np.round(0.6931 - 0.64 * UP + 0.003 * normal("formats", n), 5)
ACC = np.round(0.5 + 0.49 * UP, 4)
rows = list(zip(T.tolist(), LOSS.tolist(), ACC.tolist(), strict=True))
lines = "\n".join


def log(name: str, suffix: str, body: list[str], loss: str, **rest: Any) -> None:
    text(name, suffix, lines(body) + "\n", A, loss=loss, **rest)


log("title above the header", ".csv", ["Training of run 7", "epoch,loss,acc", *[f"{i},{y},{a}" for i, y, a in rows]],
    "loss")
log("units below the header", ".csv", ["epoch,loss,acc", "[1],[nats],[%]", *[f"{i},{y},{a}" for i, y, a in rows]],
    "loss")
log("sep= of Excel", ".csv", ["sep=;", "epoch;loss;acc", *[f"{i};{y};{a}".replace(".", ",") for i, y, a in rows]],
    "loss")
log("quoted thousands", ".csv", ["step,loss", *[f'"{1000 * i:,}",{y}' for i, y, _ in rows]], "loss")
log("Markdown table", ".md", ["| epoch | loss | acc |", "|---|---|---|", *[f"| {i} | {y} | {a} |" for i, y,
    a in rows]], "loss")
log("fastai", ".txt", ["epoch     train_loss  valid_loss  accuracy  time",
    *[f"{i:<9} {y:.6f}    {y + 0.01:.6f}    {a:.6f}  00:12" for i, y, a in rows]], "train_loss")
log("numbers in two columns", ".dat", [f"  {i:.7e}  {y:.7e}" for i, y, _ in rows], "column 2")
log("one loss a line", ".txt", [f"{y}" for _, y, _ in rows], "column 1")
log("losses in one line", ".txt", [" ".join(str(y) for _, y, _ in rows)], "loss")
log("losses in brackets", ".txt", ["[" + ", ".join(str(y) for _, y, _ in rows) + "]"], "loss")
log("date and time as step", ".csv", ["time,loss", *[f"2024-03-0{1 + i // 60} 10:{i % 60:02d}:00,{y}" for i, y,
    _ in rows]], "loss")
log("wide index", ".csv", [",loss,acc", *[f"{i},{y},{a}" for i, y, a in rows]], "loss")
log("semicolons and NA", ".csv", ["epoch;loss;val_loss", *[f"{i};{y};{'NA' if i % 5 else y}" for i, y, _ in rows]],
    "loss")
log("capital names", ".csv", ["Epoch,Train Loss,Train Acc (%)", *[f"{i},{y},{100 * a}" for i, y, a in rows]],
    "Train Loss")
log("plural names", ".csv", ["epochs,train_losses,val_losses,train_accs",
    *[f"{i},{y},{y},{a}" for i, y, a in rows]], "train_losses")
log("step and epoch loss of Lightning", ".csv", ["epoch,step,train_loss_step,train_loss_epoch",
    *[f"{i // 4},{i},{y}," for i, y, _ in rows]], "train_loss_step")
log("Neptune download", ".csv", ["step,timestamp,value", *[f"{i},17000{i:04d},{y}" for i, y, _ in rows]], "value")
log("rows shuffled", ".csv", ["step,loss", *np.random.default_rng(1).permutation([f"{i},{y}" for i, y, _ in rows])],
    "loss")
log("resumed with an overlap", ".csv", ["step,loss", *[f"{i},{y}" for i, y, _ in rows[:70]],
    *[f"{i},{y}" for i, y, _ in rows[60:]]], "loss")
log("header again at each resume", ".csv", [line for s in range(0, n, 40)
    for line in ("step,loss", *[f"{i},{y}" for i, y, _ in rows[s : s + 40]])], "loss")
text("half a last line", ".csv", lines(["step,loss", *[f"{i},{y}" for i, y, _ in rows], "120,0."]), A, loss="loss")
text("UTF-16 with tabs", ".csv", lines(["step\tloss", *[f"{i}\t{y}" for i, y, _ in rows]]), A, loss="loss",
    encoding="utf-16")
log("ImageNet example", ".log", [f"Epoch: [{i}][ 10/100]\tTime  0.5 ( 0.6)\tData  0.1 ( 0.1)\tLoss {y:.4e} ({y:.4e})\t"
    f"Acc@1 {100 * a:6.2f} ({100 * a:6.2f})" for i, y, a in rows], "Loss")
log("MNIST example", ".log", [f"Train Epoch: {1 + i // 20} [{640 * (i % 20)}/12800 ({5 * (i % 20)}%)]\tLoss: {y:.6f}"
    for i, y, _ in rows], "Loss")
log("nanoGPT", ".log", [f"iter {i}: loss {y:.4f}, time 33.15ms, mfu 10.02%" for i, y, _ in rows], "loss")
log("nanoGPT with evaluations", ".log", [line for i, y, _ in rows for line in (
    *([f"step {i}: train loss {y:.4f}, val loss {y + 0.02:.4f}"] if i % 20 == 0 else []),
    f"iter {i}: loss {y:.4f}, time 33.15ms, mfu 10.02%")], "loss")
log("scikit-learn", ".log", [line for i, y, _ in rows for line in (f"Iteration {i + 1}, loss = {y:.8f}",)], "loss")
log("XGBoost", ".log", [f"[{i}]\ttrain-logloss:{y:.5f}\teval-logloss:{y + 0.01:.5f}" for i, y, _ in rows],
    "train-logloss")
log("printed dictionaries and bars", ".log", [line for i, y, _ in rows for line in (
    str({"loss": y, "grad_norm": 1.2, "learning_rate": 5e-05, "epoch": i}),
    f" {i}%|{'#' * (i // 10):10}| {i}/120 [00:{i % 60:02d}<00:10,  1.2it/s]")], "loss")
log("equals signs and percent", ".log", [f"[{i:03d}/120] loss={y:.4f} acc={100 * a:.1f}% lr=1e-3 eta=0:01:0{i % 10}"
    for i, y, a in rows], "loss")
log("colours and levels", ".log",
    [f"\x1b[32m2024-03-01 10:00:{i % 60:02d}.123\x1b[0m | \x1b[1mINFO\x1b[0m | train:fit:42 - "
    f"epoch {i} | train_loss: {y:.4f} | val_loss: {y + 0.01:.4f}" for i, y, _ in rows], "train_loss")
inner = [{"epoch": 1, "update": i / 120, "loss": f"{y}", "num_updates": f"{i}", "lr": "0.0005"} for i, y, _ in rows]
log("fairseq", ".log", [f"2024-03-01 10:00:00 | INFO | train_inner | {json.dumps(each)}" for each in inner], "loss")
log("training and validation lines by turns", ".log", [line for i, y, a in rows for line in (
    f"Epoch {i}", f"  Train loss: {y:.4f} | Train acc: {a:.3f}", f"  Val.  loss: {y + 0.02:.4f} | Val. acc: {a:.3f}")],
    "Train loss")
log("sentences", ".log", [f"After epoch {i} the loss is {y:.5f} and the accuracy is {100 * a:.1f}%" for i, y,
    a in rows], "loss")
log("Keras with bars", ".log", [line for i, y, a in rows for line in (f"Epoch {i + 1}/120",
    f" 1/32 [..............................] - ETA: 2s - loss: {y + 0.01:.4f} - accuracy: {a:.4f}\r"
    f"32/32 [==============================] - 1s 10ms/step - loss: {y:.4f} - accuracy: {a:.4f} - "
    f"val_loss: {y:.4f}")],
    "loss")
log("structured log", ".jsonl", [json.dumps({"ts": f"2024-03-01T10:00:{i % 60:02d}", "level": "info", "step": i,
    "metrics": {"loss": y, "acc": a}}) for i, y, a in rows], "metrics/loss")
log("Detectron2", "metrics.json", [json.dumps({"iteration": 20 * i, "loss_box_reg": 0.1, "loss_cls": 0.2,
    "total_loss": y, "lr": 0.01, "time": 0.3}) for i, y, _ in rows], "total_loss")
log("MMDetection", ".log.json", [json.dumps({"env_info": "x"}), *[json.dumps({"mode": "train", "epoch": 1 + i // 12,
    "iter": 50 * (1 + i % 12), "lr": 0.01, "loss_cls": 0.3, "loss": y}) for i, y, _ in rows]], "loss")


def data(name: str, value: Any, loss: str | None, *allowed: str, **rest: Any) -> None:
    text(name, ".json", json.dumps(value), *(allowed or (A,)), loss=loss, **rest)


Y, B = LOSS.tolist(), ACC.tolist()
data("nested train and val", {"train": {"loss": Y, "acc": B}, "val": {"loss": Y, "acc": B}}, "train/loss")
data("records with parts", [{"epoch": i, "train": {"loss": y}, "val": {"loss": y + 0.02}} for i, y, _ in rows],
    "train/loss")
data("runs by name", {"seed 1": {"loss": Y}, "seed 2": {"loss": Y[:100]}}, "loss", runs=2)
data("Sacred", {"train.loss": {"steps": T.tolist(), "timestamps": ["2024-03-01"] * n, "values": Y}}, "train.loss")
data("pandas split", {"columns": ["loss", "acc"], "index": T.tolist(), "data": [[y, a] for _, y, a in rows]}, "loss")
data("pandas by row", {str(i): {"loss": y, "acc": a} for i, y, a in rows}, "loss")
data("plural lists", {"train_losses": Y, "test_losses": Y, "train_accuracies": B}, "train_losses")
data("settings beside the curves", {"config": {"lr": 0.1, "layers": [64, 64]}, "loss": Y, "name": "run", "seed": 3},
    "loss")
text("JSON that is still written", ".json", json.dumps([{"epoch": i, "loss": y} for i, y, _ in rows])[:-14], A,
    loss="loss")
text("JSON with NaN", ".json", json.dumps({"loss": [*Y[:60], *[float("nan")] * 60]}), D, loss="loss")


def folder_of_metrics(folder: Path) -> Path:
    """As DVCLive writes it: one file for each metric."""
    place = folder / "dvclive" / "plots" / "metrics" / "train"
    place.mkdir(parents=True)
    for name, values in (("loss", Y), ("acc", B)):
        (place / f"{name}.tsv").write_text(lines([f"step\t{name}", *[f"{i}\t{x}" for i, x in enumerate(values)]]))
    return folder / "dvclive"


FILES["DVCLive folder"] = Case(folder_of_metrics, (A,), "train/loss")
text("names of rows as R writes them", ".txt", lines(['"loss" "acc"', *[f'"{i + 1}" {y} {a}' for i, y, a in rows]]), A,
     loss="loss")
text("a column for each seed", ".csv", lines(["epoch,seed0,seed1,seed2", *[f"{i},{y},{y},{y}" for i, y, _ in rows]]), A,
     runs=3)
text("runs below one another", ".csv", lines(["lr,epoch,loss", *[f"{r},{i},{y}" for r in (0.1, 0.01) for i, y,
    _ in rows]]),
     A, runs=2, loss="loss")


def binary(name: str, file: str, save: Callable[[Path], Any], loss: str | None, *allowed: str, **rest: Any) -> None:
    def write(folder: Path) -> Path:
        save(folder / file)
        return folder / file

    FILES[name] = Case(write, allowed or (A,), loss, **rest)


binary("plural arrays", "a.npz", lambda p: np.savez(p, losses=LOSS, accs=ACC), "losses")
binary("arrays with weights beside them", "a.npz", lambda p: np.savez(p, W=np.ones((5, 5)), train_loss=LOSS, lr=0.1),
    "train_loss")
binary("a column vector", "a.npy", lambda p: np.save(p, LOSS[:, None]), None)
binary("single precision", "a.npy", lambda p: np.save(p, LOSS.astype(np.float32)), None)
binary("a pickled list", "a.pkl", lambda p: p.write_bytes(pickle.dumps(Y)), None)
binary("pickled records", "a.pkl", lambda p: p.write_bytes(pickle.dumps([{"epoch": i, "loss": y} for i, y,
    _ in rows])), "loss")
binary("pickled dict of runs", "a.pkl", lambda p: p.write_bytes(pickle.dumps({"a": Y, "b": Y[:90]})), None, runs=2)

# ---- files of which the loss is written in another way, or under another name

log("only an accuracy", ".csv", ["epoch,val_acc,train_acc", *[f"{i},{a - 0.02},{a}" for i, _, a in rows]], "train_acc",
    words=("1 - train_acc",))
log("an accuracy in percent alone", ".csv", ["epoch,accuracy", *[f"{i},{100 * a:.2f}" for i, _, a in rows]], "accuracy",
    words=("100 - accuracy",))
reward = np.round(-200 + 80 * UP + 3 * UP * normal("reward", n), 2)
log("rewards", ".csv", ["episode,reward", *[f"{i},{x}" for i, x in enumerate(reward)]], "reward", words=("negative",))
log("Stable-Baselines' monitor", ".csv", ['#{"t_start": 1.7e9, "env_id": "MountainCar-v0"}', "r,l,t",
    *[f"{x},200,{3.1 * i:.2f}" for i, x in enumerate(reward)]], "r", words=("negative",))
log("perplexity", ".csv", ["step,ppl", *[f"{i},{np.exp(6 * y):.4f}" for i, y, _ in rows]], "ppl")
log("a name that says nothing", ".csv", ["epoch,J", *[f"{i},{y}" for i, y, _ in rows]], "J")
log("German", ".csv", ["Epoche;Verlust;Genauigkeit", *[f"{i};{y};{a}".replace(".", ",") for i, y, a in rows]],
    "Verlust")
text("French in Latin-1", ".csv", lines(["époque;perte", *[f"{i};{y}".replace(".", ",") for i, y, _ in rows]]), A,
    loss="perte", encoding="latin-1")
log("Chinese", ".csv", ["轮次,损失", *[f"{i},{y}" for i, y, _ in rows]], "损失")
text("UTF-32", ".csv", lines(["epoch,loss", *[f"{i},{y}" for i, y, _ in rows]]), A, loss="loss", encoding="utf-32")
text("UTF-16 without a mark", ".csv", lines(["epoch,loss", *[f"{i},{y}" for i, y, _ in rows]]), A, loss="loss",
    encoding="utf-16-be")
log("exponents of Fortran", ".dat", [f" {i} {y:.5e}".replace("e", "D") for i, y, _ in rows], "column 2")
log("underscores in numbers", ".csv", ["step,loss", *[f"{1000 * i:_},{y}" for i, y, _ in rows]], "loss")
log("a list in YAML", ".yaml", [f"- epoch: {i}\n  loss: {y}" for i, y, _ in rows], "loss")
log("dates without a time", ".csv", ["date,loss", *[f"2024-{1 + i // 28:02d}-{1 + i % 28:02d},{y}" for i, y,
    _ in rows]], "loss")
log("steps below zero", ".csv", ["step,loss", *[f"{i - 60},{y}" for i, y, _ in rows]], "loss")
log("a comment over two lines", ".csv", ["epoch,loss,comment", *[f'{i},{y},"slow\nnode, again"' for i, y, _ in rows]],
    "loss")
log("training and validation rows", ".csv", ["epoch,split,loss", *[f"{i},{side},{y + (side == 'val')}" for i, y,
    _ in rows for side in ("train", "val")]], "loss", words=("told apart by split",))
log("a row for each metric", ".csv", ["step,metric,value", *[f"{i},{name},{x}" for i, y, a in rows
    for name, x in (("loss", y), ("acc", a))]], "loss", words=("told apart by metric",))
data("numbers as text", {"loss": [str(y) for y in Y]}, "loss")
data("deep in a mapping", {"run": {"logs": {"train": {"loss": Y}}}}, "loss")
log("a footer", ".csv", ["epoch,loss", *[f"{i},{y}" for i, y, _ in rows], "mean,0.5"], "loss")


def folder_of_tables(folder: Path) -> Path:
    """Three seeds, and files that hold no curve."""
    for seed in range(3):
        (folder / f"seed{seed}.csv").write_text(lines(["epoch,loss", *[f"{i},{y}" for i, y, _ in rows]]))
    (folder / "config.json").write_text('{"lr": 0.1}')
    (folder / "notes.txt").write_text("seed 2 was slow")
    return folder


def archive_of_tables(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "runs.zip", "w") as archive:
        for seed in range(2):
            archive.writestr(f"seed{seed}.csv", lines(["epoch,loss", *[f"{i},{y}" for i, y, _ in rows]]))
    return folder / "runs.zip"


FILES["a folder of tables"] = Case(folder_of_tables, (A,), "loss", runs=3, words=("seed1", "config.json"))
FILES["an archive of tables"] = Case(archive_of_tables, (A,), "loss", runs=2, words=("seed1",))
binary("MATLAB", "a.mat", lambda p: savemat(p, {"loss": LOSS, "note": "x"}), None)
binary("whole numbers", "a.npy", lambda p: np.save(p, np.round(100 * LOSS).astype(np.int16)), None)

# ---- bad input: one line, status 2


def refused(name: str, suffix: str, body: str | bytes, *words: str, options: tuple[str, ...] = ()) -> None:
    def write(folder: Path) -> Path:
        path = folder / f"record{suffix}"
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
        return path

    FILES[name] = Case(write, (), options=options, words=words)


good = lines(["epoch,loss", *[f"{i},{y}" for i, y, _ in rows]])
refused("a word in the loss", ".csv", good.replace("\n7,", "\n7,abc"), "record.csv", "row 9", "loss", "abc")
refused("one row for each curve", ".csv", lines(["loss," + ",".join(map(str, Y)), "acc," + ",".join(map(str, B))]),
    "record.csv")
refused("several losses", ".csv", lines(["epoch,train/box_loss,train/cls_loss", *[f"{i},{y},{y}" for i, y, _ in rows]]),
        "train/box_loss", "train/cls_loss")
refused("losses of two runs, not numbered", ".csv", lines(["epoch,loss (a),loss (b)", *[f"{i},{y},{y}" for i, y,
    _ in rows]]),
        "several", "loss (a)")
refused("a picture", ".png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, "record.png")
refused("a document", ".docx", b"PK\x03\x04" + b"\0" * 200, "record.docx")
refused("a page", ".html", "<html><body><p>loss: none</p></body></html>", "record.html")
refused("no row", ".csv", "epoch,loss\n", "record.csv")
refused("JSON of a word", ".json", '"loss"', "record.json")
refused("chance in percent", ".csv", good, "chance_accuracy", options=("--chance-accuracy", "50"))
refused("a negative chance", ".csv", good, "chance_loss", options=("--chance-loss", "-0.7"))
refused("one class", ".csv", good, "classes", options=("--classes", "1"))
refused("a run that there is not", ".csv", good, "run", options=("--run", "seed-9"))
refused("code in a pickle", ".pkl", b"cos\nsystem\n(S'echo'\ntR.", "record.pkl")
refused("a notebook", ".ipynb", json.dumps({"cells": [{"cell_type": "code", "source": ["x"]}], "nbformat": 4}),
        "record.ipynb")
refused("units behind the numbers", ".csv", lines(["epoch,loss", *[f"{i},{y} nats" for i, y, _ in rows]]), "row 2",
        "nats")
refused("a spreadsheet's table of another program", ".db", b"SQLite format 3\0" + b"\0" * 500, "record.db")
refused("losses of two networks", ".log", lines([f"[{i}/120] Loss_D: {y} Loss_G: {1 - y}" for i, y, _ in rows]),
        "several", "Loss_D, Loss_G")
refused("half of a compressed file", ".csv.gz", gzip.compress(good.encode())[:200], "record.csv.gz")
refused("blank lines", ".csv", "  \n \n", "empty")
log("an impossible accuracy", ".csv", ["epoch,loss,acc", *[f"{i},{y},{250 + i}" for i, y, _ in rows]], "loss",
    words=("accuracy not used", "369"))
