"""What belongs to the whole process is left as it was found, and is not switched under somebody
else's hands.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ghostpoint.numerics.balls import ball_precision
from ghostpoint.storage import write_dataset, write_text_atomic

flint = pytest.importorskip("flint")


def test_balls_of_two_threads_have_the_precision_that_each_asked_for():
    before, seen, meet = flint.ctx.prec, {}, threading.Barrier(2)

    def work(bits):
        meet.wait()
        for _ in range(200):
            with ball_precision(bits):
                one = flint.ctx.prec
                flint.arb(2).sqrt()
                seen.setdefault(bits, set()).update((one, flint.ctx.prec))

    threads = [threading.Thread(target=work, args=(bits,)) for bits in (212, 256)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {212: {212}, 256: {256}}
    assert flint.ctx.prec == before


def test_the_precision_comes_back_after_an_error_and_within_itself():
    before = flint.ctx.prec
    with ball_precision(100):
        with ball_precision(300):
            assert flint.ctx.prec == 300
        assert flint.ctx.prec == 100
    with pytest.raises(ZeroDivisionError), ball_precision(100):
        _ = 1 / 0
    assert flint.ctx.prec == before


def test_the_umask_is_obeyed_and_never_set(tmp_path: Path, monkeypatch):
    written = tmp_path / "plain"
    written.write_text("as any program writes it")

    def forbidden(mask):
        raise AssertionError("the umask belongs to the process")

    monkeypatch.setattr(os, "umask", forbidden)
    for path in (
        write_text_atomic("text", tmp_path / "text"),
        write_dataset(xr.Dataset({"x": ("a", np.arange(3))}), tmp_path / "data.zip"),
    ):
        assert path.stat().st_mode == written.stat().st_mode
    assert not list(tmp_path.glob(".*"))
