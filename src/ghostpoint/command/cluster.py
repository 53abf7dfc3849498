"""The options of the command that say on which machines is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ghostpoint.errors import InputError
from ghostpoint.experiments.shared.parts import Job, Spread
from ghostpoint.system import processors

__all__ = ["options_of", "spreading"]


def options_of(given: list[str] | None) -> dict[str, Any]:
    """``--option KEY=VALUE`` as a mapping; whole numbers are numbers."""
    options: dict[str, Any] = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(f"--option must be KEY=VALUE, got {text!r}")
        options[key] = int(value) if value.lstrip("-").isdigit() else value
    return options


@contextmanager
def spreading(
    cluster: str | None, scheduler: str | None, workers: int | None, given: list[str] | None
) -> Iterator[Spread | None]:
    """What has the parts of experiments computed on a cluster; None without one."""
    options = options_of(given)
    if cluster is None and scheduler is None:
        for name, value in (("--threads", workers), ("--option", given)):
            if value:
                raise InputError(f"{name} must be left out without a cluster, got {value}")
        yield None
        return
    if cluster is not None and scheduler is not None:
        raise InputError(f"cluster must be left out where scheduler is given, got {cluster!r}")
    from ghostpoint.sweeps.cluster import call_each, connected

    with connected(cluster, scheduler, processors() if workers is None else workers, options) as client:

        def spread(
            compute: Callable[[Path, Job], None], folder: Path, jobs: Sequence[Job], ended: Callable[[Job], None]
        ) -> None:
            call_each(client, partial(compute, folder), jobs, ended)

        yield spread
