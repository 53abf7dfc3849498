"""The file of a sweep, TOML, and all that can be wrong in it, said with the line, the key and the
nearest valid one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import fields
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from typing import Any, NoReturn

from ghostpoint import tasks
from ghostpoint.errors import InputError
from ghostpoint.remedies import REMEDIES
from ghostpoint.results import NO_LEARNING_WINDOW
from ghostpoint.sweeps.configuration import KINDS, Axis, Configuration, put
from ghostpoint.sweeps.stacks import engine_of, models_of, optimizer_of, remedies_of, task_of
from ghostpoint.sweeps.sweep_keys import DEFAULTS, MOST, SECTIONS, SPACED, TASKS, label_of, spaced, text, truth
from ghostpoint.sweeps.toml_lines import lines_of
from ghostpoint.training.optimizers import OPTIMIZERS

__all__ = ["read_sweep"]

#: the sweeps that come with the package
FILES = Path(__file__).with_name("files")


def read_sweep(source: str | Path | Mapping[str, Any]) -> Configuration:
    """The sweep that a TOML file describes, or a mapping of the same structure; docs/sweeps.md has
    all keys.

    A name without suffix may also be one of the sweeps that come with the package (:data:`FILES`).

    Raises
    ------
    ValueError
        For whatever is wrong, as one line: file, line, key, what is valid, and the nearest valid
        name.
    """
    if isinstance(source, Mapping):
        return _Reader("", {}, source).configuration()
    path = Path(source)
    if not path.suffix and not path.exists():
        shipped = {file.stem: file for file in sorted(FILES.glob("*.toml"))}
        if str(path) not in shipped:
            raise InputError(f"{path}: no such file, nor one of the shipped sweeps: {', '.join(shipped)}")
        path = shipped[str(path)]
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: must be TOML in UTF-8: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        given = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: is not valid TOML: {error}") from None
    return _Reader(str(path), lines_of(content), given).configuration()


class _Reader:
    """Checks one description; errors are said where they are."""

    def __init__(self, file: str, lines: Mapping[tuple[str | int, ...], int], given: Mapping[str, Any]):
        self.file, self.lines, self.given = file, lines, given

    def configuration(self) -> Configuration:
        self._known((), self.given, SECTIONS)
        for section, value in self.given.items():
            if not isinstance(value, Mapping):
                self._fail((section,), f"must be a table, [{section}], got {value!r}")
        kind = self._section("sweep", {}).get("computes", KINDS[0])
        settings = {name: self._section(name, default) for name, default in DEFAULTS.items()}
        axes = self._axes(settings)
        if kind == "training":
            for path in (("measurement",), ("grid", "measurement")):
                if "measurement" in self._under(path[:-1]):
                    self._fail(path, 'must be left out unless computes = "critical_rate"')
            del settings["measurement"]
        else:
            self._measures(settings)
        settings = self._with_first_values(settings, axes)
        self._complete(kind, settings, axes)
        configuration = Configuration(kind, settings, axes, self._section("shards", {}))
        if configuration.count > MOST:
            self._fail(("grid",), f"must have at most {MOST:,} networks, got {configuration.count:,}")
        self._check_axes(configuration)
        self._check_stacks(configuration)
        return configuration

    # one section

    def _section(self, name: str, default: Mapping[str, Any]) -> dict[str, Any]:
        """The checked keys of one section over its defaults."""
        given = self.given.get(name, {})
        if name == "remedies":
            return self._remedies((name,), given)
        if name == "task":
            return self._task((name,), given, None)
        self._known((name,), given, SECTIONS[name])
        return {**deepcopy(dict(default)), **{key: self._one((name, key), key, value) for key, value in given.items()}}

    def _one(self, path: tuple[str | int, ...], key: str, value: Any) -> Any:
        """One checked value of a key whose check is in :data:`SECTIONS`."""
        section = next(str(part) for part in path if part != "grid")
        if key == "optimizer":
            return self._optimizer(path, value)
        try:
            return SECTIONS[section][key](key, value)
        except InputError as error:
            said = self._said(key, error)
            if isinstance(value, list) and path == (section, key) and section in ("models", "training"):
                said += f"; several values stand in [grid], {section}.{key} = {value!r}"
            self._fail(path, said, value)

    def _optimizer(self, path: tuple[str | int, ...], value: Any) -> Any:
        table = {"name": value} if isinstance(value, str) else value
        if not isinstance(table, dict) or "name" not in table:
            self._fail(path, f"must be a name or a table with a name, got {value!r}")
        if not isinstance(table["name"], str) or table["name"] not in OPTIMIZERS:
            self._fail(
                path, f"must be one of {', '.join(OPTIMIZERS)}; got {table['name']!r}", table["name"], OPTIMIZERS
            )
        self._known(path, table, ["name", *(one.name for one in fields(OPTIMIZERS[table["name"]]))])  # type: ignore[arg-type]
        try:
            optimizer_of({"training": {"optimizer": table}})
        except (InputError, TypeError) as error:
            self._fail(path, str(error))
        return value

    def _task(self, path: tuple[str | int, ...], given: Any, base: Mapping[str, Any] | None) -> dict[str, Any]:
        """A task's section; in an axis of tasks ``base`` is the one that it changes."""
        if not isinstance(given, Mapping):
            self._fail(path, f"must be a table with the task's name and times, got {given!r}")
        whole = {**(base or {}), **given} if base and given.get("name") in (None, base.get("name")) else dict(given)
        if not whole:
            return {}
        if "name" not in whole:
            self._fail(path, f"must have the name of a task: {', '.join(TASKS)}")
        name = whole["name"]
        if name not in TASKS:
            self._fail((*path, "name"), f"must be one of {', '.join(TASKS)}; got {name!r}", name, TASKS)
        known = [one.name for one in fields(getattr(tasks, name)) if one.init]
        self._known(path, given, ["name", "label", *known] if base is not None else ["name", *known])
        return dict(given)

    def _remedies(self, path: tuple[str | int, ...], given: Any) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            self._fail(path, f"must be a table of remedies by name, got {given!r}")
        labelled = len(path) > 1
        self._known(path, given, [*REMEDIES, "auto", *(["label"] if labelled else [])])
        for name, value in given.items():
            at = (*path, name)
            if name in ("auto", "label"):
                try:
                    (truth if name == "auto" else text)(name, value)
                except InputError as error:
                    self._fail(at, self._said(name, error))
                continue
            if not isinstance(value, Mapping):
                self._fail(at, f"must be a table of its settings, {name} = {{}} for the defaults, got {value!r}")
            self._known(at, value, [one.name for one in fields(REMEDIES[name]) if one.init])  # type: ignore[arg-type]
            try:
                remedies_of({"remedies": {name: value}})
            except (InputError, TypeError) as error:
                self._blame(at, value, error)
        if given.get("auto") and len(given) > 1 + ("label" in given):
            self._fail(path, "must have either auto = true or remedies by name, got both")
        return dict(given)

    # the grid

    def _axes(self, settings: Mapping[str, Any]) -> tuple[Axis, ...]:
        grid = self.given.get("grid", {})
        if not grid:
            self._fail(("grid",), "must have at least one axis, such as models.seed = [0, 1, 2]")
        valid = [name for name in DEFAULTS if name != "recording"]
        self._known(("grid",), grid, [*valid, "zip"])
        axes: list[Axis] = []
        for section, inside in grid.items():
            if section == "zip":
                continue
            if isinstance(inside, list):
                axes.append(self._section_axis(section, inside, settings))
                continue
            if not isinstance(inside, Mapping):
                self._fail(("grid", section), f"must be keys with lists of values, got {inside!r}")
            if section == "remedies":
                self._fail(("grid", section), "must be a list of tables of remedies, such as [{}, {trust_region = {}}]")
            known: Any = SECTIONS[section] if section != "task" else self._task_keys(settings, grid)
            if section == "measurement":  # what is measured is the same for all networks
                known = ("rates", "horizon")
            self._known(("grid", section), inside, known)
            for key, value in inside.items():
                axes.append(self._axis(section, key, value, [axis.name for axis in axes]))
        zipped = self._zipped(tuple(axes), grid.get("zip"))
        for dim in dict.fromkeys(axis.along for axis in zipped):
            self._distinct([axis for axis in zipped if axis.along == dim])
        return zipped

    def _distinct(self, axes: Sequence[Axis]) -> None:
        """Whether axes of one dimension differ, all together, at any two places."""
        seen = set()
        for place, labels in enumerate(zip(*(axis.labels for axis in axes), strict=True)):
            if labels in seen:
                path, said = ("grid", *axes[0].path), ", ".join(map(repr, labels))
                if len(axes[0].path) == 1:
                    self._fail(
                        (*path, place), f'must have a label of its own, such as label = "other"; got {said} twice'
                    )
                self._fail(path, f"must have every value once, got {said} twice")
            seen.add(labels)

    def _task_keys(self, settings: Mapping[str, Any], grid: Mapping[str, Any]) -> list[str]:
        name = settings["task"].get("name")
        if name is None:
            self._fail(("grid", "task"), "must come with a section [task] that names the task")
        return [one.name for one in fields(getattr(tasks, name)) if one.init]

    def _axis(self, section: str, key: str, value: Any, taken: Sequence[str]) -> Axis:
        path = ("grid", section, key)
        if isinstance(value, Mapping):
            try:
                listed = spaced(key, value)
            except InputError as error:
                self._fail(path, self._said(key, error), next(iter(value), ""), SPACED)
        elif isinstance(value, list):
            listed = value
        else:
            self._fail(path, f"must be a list of values, or {', '.join(SPACED)}; got {value!r}")
        if not listed:
            self._fail(path, "must have at least one value, got none")
        if section != "task":
            listed = [
                self._one((*path, place) if (*path, place) in self.lines else path, key, one)
                for place, one in enumerate(listed)
            ]
        labels = [one if isinstance(one, str | Real) else label_of(one) for one in listed]
        if key == "rates":
            labels = [f"{len(one)} from {one[0]:.3g} to {one[-1]:.3g}" for one in listed]
        if key == "trainable" or (section == "models" and key == "family"):
            self._fail(path, "cannot be an axis: its networks have other weights; make it a sweep of its own")
        name = key if key not in taken else f"{section}_{key}"
        return Axis(name, (section, key), tuple(listed), tuple(labels), name)

    def _section_axis(self, section: str, listed: list[Any], settings: Mapping[str, Any]) -> Axis:
        path = ("grid", section)
        if section not in ("task", "remedies"):
            self._fail(
                path, f"must be keys with lists of values, [grid.{section}]; whole tables vary for task, remedies"
            )
        if not listed:
            self._fail(path, "must have at least one value, got none")
        values = [
            self._task((*path, place), one, settings["task"])
            if section == "task"
            else self._remedies((*path, place), one)
            for place, one in enumerate(listed)
        ]
        labels = [label_of(one) for one in values]
        base = settings[section] if section == "task" else {}
        whole = [{**base, **one} if one.get("name", base.get("name")) == base.get("name") else one for one in values]
        plain = [{key: value for key, value in one.items() if key != "label"} for one in whole]
        return Axis(section, (section,), tuple(plain), tuple(labels), section)

    def _zipped(self, axes: tuple[Axis, ...], asked: Any) -> tuple[Axis, ...]:
        """Axes that advance together lie along the dimension of the first of them."""
        path = ("grid", "zip")
        if asked is None:
            return axes
        if not isinstance(asked, list) or not all(isinstance(one, list) and len(one) > 1 for one in asked):
            self._fail(path, f'must be lists of two axes or more, such as [["units", "epochs"]], got {asked!r}')
        names = {axis.name: axis for axis in axes}
        along: dict[str, str] = {}
        for group in asked:
            for name in group:
                if not isinstance(name, str) or name not in names:
                    self._fail(path, f"must name axes of the grid ({', '.join(names)}), got {name!r}", name, names)
                if name in along:
                    self._fail(path, f"must name every axis once, got {name!r} twice")
                along[name] = group[0]
                if len(names[name].values) != len(names[group[0]].values):
                    lengths = ", ".join(f"{one}: {len(names[one].values)}" for one in group if one in names)
                    self._fail(path, f"must zip axes of one length, got {lengths}")
        return tuple(
            Axis(axis.name, axis.path, axis.values, axis.labels, along.get(axis.name, axis.name)) for axis in axes
        )

    # what must be there, and what must fit together

    def _measures(self, settings: dict[str, Any]) -> None:
        for section, key in (("training", "learning_rate"), ("training", "readout_norm"), ("training", "solved")):
            for path in ((section, key), ("grid", section, key)):
                if path[-1] in self._under(path[:-1]):
                    self._fail(path, "must be left out where critical rates are computed: measurement.rates has them")
        asked = settings["measurement"]
        if "rates" not in asked and "rates" not in self._under(("grid", "measurement")):
            self._fail(("measurement",), "must have rates, such as {logspace = [1e-4, 1.0, 25]}")
        if not asked["train"] and (asked["lethal_update"] or not asked["predict"]):
            self._fail(("measurement", "train"), "must be true unless predict = true and lethal_update = false")
        if settings["remedies"] or "remedies" in self.given.get("grid", {}):
            self._fail(("remedies",), "must be left out where critical rates are computed")
        for key in ("solved",):
            settings["training"].pop(key)
        settings["recording"] = {}

    def _under(self, path: tuple[str, ...]) -> Mapping[str, Any]:
        found: Any = self.given
        for part in path:
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        return found if isinstance(found, Mapping) else {}

    def _with_first_values(self, settings: dict[str, Any], axes: Sequence[Axis]) -> dict[str, Any]:
        """Settings in which every axis stands at its first value; both given is an error."""
        for axis in axes:
            if axis.path == ("remedies",) and self.given.get("remedies"):
                self._fail(axis.path, "must stand either in [remedies] or in [grid], got both")
            if len(axis.path) == 2 and axis.path[1] in self.given.get(axis.path[0], {}):
                self._fail(axis.path, f"must stand either in [{axis.path[0]}] or in [grid], got both")
            put(settings, axis.path, axis.values[0])
        return settings

    def _complete(self, kind: str, settings: Mapping[str, Any], axes: Sequence[Axis]) -> None:
        wanted = [("models", "seed"), ("task", "name"), ("training", "epochs")]
        if kind == "training":
            wanted.append(("training", "learning_rate"))
        for section, key in wanted:
            if key not in settings[section]:
                self._fail((section,), f"must have {key}, here or in [grid]")
        models = settings["models"]
        if ("published" in models) == ("units" in models):
            self._fail(("models",), "must have either units or published (a figure), and not both")

    def _check_axes(self, configuration: Configuration) -> None:
        """Tasks along axes, value by value, so that an error is said at the value's line."""
        for axis in configuration.axes:
            if axis.path[0] != "task":
                continue
            for place, value in enumerate(axis.values):
                settings = deepcopy(configuration.settings)
                put(settings, axis.path, value)
                at: tuple[str | int, ...] = ("grid", *axis.path, place)
                try:
                    task_of(settings)
                except (InputError, TypeError) as error:
                    if isinstance(value, Mapping):
                        self._blame(at, value, error)
                    self._fail(at if at in self.lines else at[:-1], str(error))

    def _check_stacks(self, configuration: Configuration) -> None:
        """One network of every stack: whether it can be drawn, and trained on its task."""
        drawn: dict[str, Any] = {}
        for stack in configuration.stacks():
            settings = stack.settings
            try:
                task = task_of(settings)
            except (InputError, TypeError, MemoryError) as error:
                self._blame(("task",), settings["task"], error)
            one = {key: values[:1] for key, values in stack.networks.items()}
            known = repr((settings["models"], one, task.n_inputs, task.n_outputs))
            try:
                if known not in drawn:
                    drawn[known] = models_of(settings, one, task)
            except (InputError, TypeError, MemoryError) as error:
                self._blame(("models",), settings["models"], error)
            try:
                engine_of(settings, drawn[known], task)
            except MemoryError as error:  # the trials, which are made here
                self._blame(("task",), settings["task"], error)
            except (InputError, TypeError) as error:
                self._blame(("training",), {**settings["training"], **settings["models"]}, error)
            history = settings["recording"].get("history")
            if isinstance(history, list) and history and history[-1] >= settings["training"]["epochs"]:
                epochs = settings["training"]["epochs"]
                self._fail(("recording", "history"), f"must be below epochs = {epochs}, got {history[-1]}")
            if settings["kind"] != "critical_rate":
                continue
            if settings["training"]["epochs"] <= NO_LEARNING_WINDOW:
                self._fail(("training", "epochs"), f"must be above {NO_LEARNING_WINDOW}")
            if settings["measurement"]["lethal_update"]:
                if not isinstance(task, tasks.DelayedActivation):
                    self._fail(("measurement", "lethal_update"), "must be false for tasks other than DelayedActivation")
                if optimizer_of(settings) != OPTIMIZERS["sgd"]:
                    self._fail(("measurement", "lethal_update"), "must be false for optimizers other than plain sgd")

    # how it is said

    def _blame(self, path: tuple[str | int, ...], given: Mapping[str, Any], error: Exception) -> NoReturn:
        """An error of a constructor, whose message starts with the argument, at that argument's
        line.
        """
        message = re.sub("^figure ", "published ", str(error))
        message = re.sub("^n_units ", "units ", message)
        foreign = re.search(r"unexpected keyword argument '(\w+)'", message)
        if foreign:
            message = f"{foreign[1]} must be left out for {message.partition('(')[0]}"
        if isinstance(error, MemoryError) and "asks for more" not in message:
            message = f"asks for more memory than there is: {message}"
        first = message.split(" ", 1)[0]
        for section in (str(path[0]), "models", "training", "task"):
            for place in ((*path, first), (section, first), ("grid", section, first)):
                if place in self.lines or (not self.lines and first in self._under(place[:-1])):  # type: ignore[arg-type]
                    self._fail(place, message.removeprefix(f"{first} "))
        if f"'{first}'" not in message and first in given:
            self._fail((*path, first), message.removeprefix(f"{first} "))
        self._fail(path, message)

    def _known(self, path: tuple[str | int, ...], given: Mapping[str, Any], valid: Any) -> None:
        for key in given:
            if key not in valid:
                said = f"is unknown; valid are {', '.join(valid)}"
                homes = [f"{section}.{key}" for section, keys in SECTIONS.items() if key in keys]
                if homes and not _near(key, valid):
                    said += f"; did you mean {homes[0]!r}?"
                self._fail((*path, key), said, key, valid)

    @staticmethod
    def _said(key: str, error: Exception) -> str:
        return str(error).removeprefix(f"{key} ")

    def _fail(self, path: Sequence[str | int], message: str, value: Any = None, valid: Any = ()) -> NoReturn:
        """The error of ``path``: the line of it, or of the nearest thing around it that has one."""
        at = tuple(path)
        while at and at not in self.lines:
            at = at[:-1]
        parts = (f".{part}" if isinstance(part, str) else f" (value {part + 1})" for part in path)
        name = "".join(parts).removeprefix(".") or "file"
        near = _near(value, valid)
        if not valid and "must be one of" in message:
            near = _near(value, message.split("must be one of ")[1].split(";")[0].split(", "))
        hint = f"; did you mean {near[0]!r}?" if near and near[0] != value else ""
        where = f"{self.file}:{self.lines.get(at, 1)}: " if self.file else ""
        raise InputError(f"{where}{name} {' '.join(message.split())}{hint}")


def _near(value: Any, valid: Any) -> list[str]:
    """The name that was meant: the most alike, or one that the value is the beginning of."""
    if value is None:
        return []
    text = str(value)
    return get_close_matches(text, list(valid), 1, 0.6) or [
        one for one in map(str, valid) if len(text) > 2 and one.startswith(text)
    ]
