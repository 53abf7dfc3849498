"""The keys of a sweep's file, their checks and defaults, and the ways to write the values of an
axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ghostpoint import tasks
from ghostpoint.checks import finite_array, integer, number, one_of
from ghostpoint.errors import InputError
from ghostpoint.models import ACTIVATIONS, FAMILIES
from ghostpoint.results import NO_LEARNING_WINDOW
from ghostpoint.sweeps.configuration import KINDS
from ghostpoint.training.computing import DTYPES
from ghostpoint.training.engines import ENGINES

__all__ = ["DEFAULTS", "MOST", "SECTIONS", "SPACED", "TASKS", "label_of", "spaced", "text", "truth"]

Check = Callable[[str, Any], Any]
#: networks that a grid may have
MOST = 10_000_000
MOST_EPOCHS = 1_000_000_000


def _whole(at_least: int) -> Check:
    return lambda name, value: integer(name, value, at_least=at_least)


def _epochs(name: str, value: Any) -> int:
    epochs = integer(name, value, at_least=1)
    if epochs > MOST_EPOCHS:
        raise InputError(f"{name} must be at most {MOST_EPOCHS:,}, got {value!r}")
    return epochs


def _above(low: float) -> Check:
    return lambda name, value: number(name, value, above=low)


def _among(*choices: str) -> Check:
    return lambda name, value: one_of(name, text(name, value), choices)


def text(name: str, value: Any) -> str:
    """``value`` if it is text."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be text, got {value!r}")
    return value


def truth(name: str, value: Any) -> bool:
    """``value`` if it is true or false."""
    if not isinstance(value, bool):
        raise InputError(f"{name} must be true or false, got {value!r}")
    return value


def _texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise InputError(f"{name} must be a list of names, got {value!r}")
    return [text(name, one) for one in value]


def _history(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return one_of(name, value, ("auto", "all", "log"))
    if isinstance(value, list):
        return sorted({integer(name, one, at_least=0) for one in value})
    return integer(name, value, at_least=1)


def _as_is(name: str, value: Any) -> Any:
    return value


def _rates(name: str, value: Any) -> list[float]:
    rates = finite_array(name, spaced(name, value))
    if not rates.size or (rates <= 0).any() or (np.diff(rates) <= 0).any():
        raise InputError(f"{name} must be positive and ascending, at least one")
    return [float(rate) for rate in rates]


#: sections and their keys, each with the check of one value; tasks and remedies have the fields of
#: their classes
SECTIONS: dict[str, dict[str, Check]] = {
    "sweep": {"name": text, "computes": _among(*KINDS)},
    "models": {
        "family": _among(*FAMILIES), "published": text, "units": _whole(1), "rank": _whole(1), "scheme": text,
        "seed": _whole(0), "confidence": _above(0), "threshold": number, "initial_state": number,
        "activation": _among(*ACTIVATIONS), "readout": text, "trainable": _texts, "spare_ranks": _whole(0),
    },
    "task": {},
    "training": {
        "learning_rate": _above(0), "epochs": _epochs, "optimizer": _as_is, "seed": _whole(0),
        "solved": lambda name, value: number(name, value, above=0, at_most=1), "readout_norm": _above(0),
        "engine": _among("auto", *(name for name in ENGINES if name != "cuda")), "dtype": _among(*DTYPES),
    },
    "remedies": {},
    "recording": {"history": _history, "final_weights": truth},
    "measurement": {
        "rates": _rates, "horizon": _whole(NO_LEARNING_WINDOW + 1), "predict": truth, "train": truth,
        "lethal_update": truth,
    },
    "shards": {"networks": _whole(1), "resume_every": _whole(1)},
    "grid": {},
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "models": {"family": "LowRankRNN"},
    "task": {},
    "training": {"optimizer": "sgd", "seed": 0, "solved": 0.05, "engine": "auto", "dtype": "float32"},
    "remedies": {},
    "recording": {"history": "auto", "final_weights": True},
    "measurement": {"horizon": 3000, "predict": True, "train": True, "lethal_update": False},
}
TASKS = [name for name in tasks.__all__ if name.startswith(("Delayed", "Evidence", "NBit"))]
#: ways to write evenly spaced values
SPACED = ("linspace", "logspace", "powers", "range")


def spaced(name: str, value: Any) -> list[Any]:
    """The values of a list or of one of :data:`SPACED`.

    ``linspace`` and ``logspace`` have both ends and how many values, ``powers`` the same for
    exponents of ten, ``range`` what Python's has.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, Mapping) or len(value) != 1 or next(iter(value)) not in SPACED:
        raise InputError(f"{name} must be a list or one of {', '.join(SPACED)}; got {value!r}")
    ((way, given),) = value.items()
    if not isinstance(given, list):
        raise InputError(f"{name} must have {way} as a list of numbers, got {given!r}")
    if way == "range":
        if not 1 <= len(given) <= 3:
            raise InputError(f"{name} must have range = [stop], [start, stop] or [start, stop, step], got {given!r}")
        numbers = [integer(way, one) for one in given]
        if len(numbers) == 3 and numbers[2] == 0:
            raise InputError(f"{name} must have a range whose step is not 0, got {given!r}")
        if len(range(*numbers)) > MOST:
            raise InputError(f"{name} must have at most {MOST:,} values, got {len(range(*numbers)):,}")
        return list(range(*numbers))
    if len(given) != 3:
        raise InputError(f"{name} must have {way} = [first, last, how many], got {given!r}")
    first, last, count = number(way, given[0]), number(way, given[1]), integer(way, given[2], at_least=1)
    if count > MOST:
        raise InputError(f"{name} must have at most {MOST:,} values, got {count:,}")
    if way == "logspace" and min(first, last) <= 0:
        raise InputError(f"{name} must have logspace between positive values (not exponents), got {given!r}")
    values = np.geomspace(first, last, count) if way == "logspace" else np.linspace(first, last, count)
    with np.errstate(over="ignore"):  # the key's own check refuses infinity
        return [float(one) for one in (10.0**values if way == "powers" else values)]


def label_of(value: Any) -> str:
    """A name for a value that is a table: its own label, or what it has."""
    if not isinstance(value, Mapping):
        return "+".join(map(str, value)) if isinstance(value, list) else str(value)
    if "label" in value:
        return str(value["label"])
    if "name" in value:
        rest = ", ".join(f"{key}={one}" for key, one in value.items() if key != "name")
        return f"{value['name']}({rest})" if rest else str(value["name"])
    parts = []
    for name, given in value.items():
        inside = ", ".join(f"{key}={one}" for key, one in given.items()) if isinstance(given, Mapping) else ""
        parts.append(f"{name}({inside})" if inside else str(name))
    return " + ".join(parts) or "none"
