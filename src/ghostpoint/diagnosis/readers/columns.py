"""Which column is the loss, the accuracy, the step: by names as the common tools write them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

__all__ = [
    "MATCHED", "RUNS", "SIDES", "STEPS", "best_columns", "is_better_larger", "is_bounds", "rank_of", "run_prefix",
    "words_of",
]  # fmt: skip

_NAMES: Mapping[str, tuple[str, ...]] = {
    "loss": (
        "loss",
        "cost",
        "error",
        "nll",
        "mse",
        "bce",
        "cross_entropy",
        "crossentropy",
        "objective",
        "xent",
        "logloss",
        "rmse",
        "mae",
        "perplexity",
        "ppl",
        "verlust",
        "perte",
        "perdida",
        "perdita",
    ),
    "gradient_norm": ("gradient_norm", "grad_norm", "gradnorm", "total_norm", "grad_2_0_norm_total", "gnorm"),
    "accuracy": ("accuracy", "acc", "top1", "categorical_accuracy", "binary_accuracy", "genauigkeit"),
    "confidence": ("confidence", "output_confidence"),
    "learning_rate": ("learning_rate", "lr"),
}
MATCHED = tuple(_NAMES)
#: columns that number the rows, in the order in which they are tried
STEPS = ("epoch", "global_step", "step", "iteration", "iter", "batch", "update", "steps", "epochs", "iterations", "it",
         "trainer_global_step", "train_global_step", "unnamed_0", "index", "n", "t", "time", "episode", "timesteps",
         "step_num", "epoche", "epoque", "epoca", "schritt")  # fmt: skip
#: columns that tell runs apart
RUNS = ("network", "run", "seed", "run_id", "run_name", "name", "experiment", "trial", "replicate", "id", "model")
#: parts of a record that hold the curves of the training and of the validation set
SIDES = {"train": "train", "training": "train", "validation": "val", "val": "val", "valid": "val", "test": "val",
         "eval": "val", "dev": "val"}  # fmt: skip
#: words for what a training makes large
_LARGE = re.compile(
    r"(^|_)(rewards?|returns?|scores?|rew|win_rate|success_rate|f1|auc|auroc|bleu|iou|r2|psnr|ssim)(_|$)"
)
#: the same, where they are the whole name but for the side and the mean: other things have these
#: names too
_METRIC = re.compile(
    r"(?:(?:train|training|val|valid|validation|eval|test|dev|mean|avg|average|macro|micro|best)_)*"
    r"(?:auprc|rouge(?:_?[12l])?|meteor|dice|jaccard|explained_variance|precision|recall|sensitivity|specificity|"
    r"m_ap|ndcg|mrr|mcc|performance|elbo|percent_correct|fraction_correct|log_?lik|log_?likelihood|logp)"
    r"(?:_(?:train|training|val|valid|validation|eval|test|dev|mean|avg|average|score|epoch|step|at_\d+))*"
)
#: words that say that something is a loss after all
_NEGATIVE = re.compile(r"(^|_)(neg|negative|minus|nll|loss|error)(_|$)")
_TRAINING = {"train", "training", "trn"}
_ELSEWHERE = {"val", "valid", "validation", "eval", "test", "dev", "heldout", "holdout"}
#: words that name something else when they stand beside "loss" or "error"
_NOT = {"weight", "scale", "best", "min", "max", "std", "regularization", "ratio", "time", "delta"}
#: names of the curves in the plural; words that say no more than the name does
_PLURALS = {"losses": "loss", "costs": "cost", "errors": "error", "accuracies": "accuracy", "accs": "acc", "lrs": "lr"}
_PLAIN = {"epoch", "step", "avg", "mean", "average", "running", "total", "mb", "batch", "value", "metrics", "scalars"}


def words_of(name: str) -> str:
    """``name`` in lower case, one underscore between words, the curves' names in the singular:
    ``"Train/Loss"`` and ``"trainLosses"`` are alike."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() if not name.isascii() else name
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", plain)
    words = re.sub(r"[^a-z0-9]+", "_", split.lower()).strip("_").split("_")
    return "_".join(_PLURALS.get(word, word) for word in words)


def is_better_larger(name: str) -> bool:
    """Whether the column holds a reward or a score, so that its negative is a loss."""
    words = words_of(name)
    return bool(_LARGE.search(words) or _METRIC.fullmatch(words)) and not _NEGATIVE.search(words)


def is_bounds(name: str) -> bool:
    """Whether the column is one of the bounds that W&B puts beside each curve of a downloaded
    panel.
    """
    return name.endswith(("__MIN", "__MAX"))


def run_prefix(name: str) -> tuple[str, str]:
    """W&B's ``"run name - metric"`` in its parts; the run is empty for another name."""
    run, dash, metric = name.rpartition(" - ")
    return (run, metric) if dash else ("", name)


def rank_of(name: str, role: str) -> tuple[int, int, int] | None:
    """How well ``name`` fits ``role``, smaller is better; None if it does not.

    First: 0 the word itself or of training, 1 with other words, 2 of validation. Then the number
    of words that say something else, then the place of the word among its synonyms.
    """
    words = words_of(name)
    for place, word in enumerate(_NAMES[role]):
        match = re.search(rf"(^|_){word}(_|$)", words)
        if not match:
            continue
        rest = [part for part in re.split("_", words[: match.start()] + "_" + words[match.end() :]) if part]
        if set(rest) & _NOT or (role == "accuracy" and "loss" in rest):
            return None
        if role == "confidence" and rest:
            return None
        other = [part for part in rest if part not in _TRAINING | _ELSEWHERE | _PLAIN]
        extra = len(other) * 20 + 2 * len(rest) - bool(set(rest) & _TRAINING)
        return (2 if set(rest) & _ELSEWHERE else 1 if other else 0, extra, place)
    return None


def best_columns(names: Iterable[str], role: str) -> list[str]:
    """The names that fit ``role`` best; several only if they fit equally well."""
    ranked = sorted((rank, name) for name in names if (rank := rank_of(name, role)) is not None)
    return [name for rank, name in ranked if rank == ranked[0][0]]
