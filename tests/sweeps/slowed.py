"""Imported by a process of a fault test: shards take time and no processor, so that a signal hits
them wherever it comes.

The process sleeps while a shard is computed, when its file has its temporary name, and when it has
its own but the folder is not flushed. No result depends on it.
"""

from __future__ import annotations

import os
import time

from ghostpoint.sweeps import folder, shard_file

#: seconds in all of a shard's epochs, and before and after the file gets its name
COMPUTING, WRITING = 0.15, 0.05

_compute, _fingerprint, _flush = folder.compute, folder.fingerprint, shard_file.flush_folder


def _slow_compute(settings, networks, *, on_progress, **keywords):
    epochs = settings["training"]["epochs"] * len(networks["seed"])

    def advance(amount):
        time.sleep(COMPUTING * amount / epochs)
        on_progress(amount)

    return _compute(settings, networks, on_progress=advance, **keywords)


def _slow_replace(source, target):
    time.sleep(WRITING)
    os.rename(source, target)


def _slow_flush(path):
    time.sleep(WRITING)
    _flush(path)


class _Slow:
    """``os`` as ``shard_file`` sees it."""

    replace = staticmethod(_slow_replace)

    def __getattr__(self, name):
        return getattr(os, name)


folder.compute, folder.fingerprint = _slow_compute, lambda function: _fingerprint(_compute)
shard_file.flush_folder, shard_file.os = _slow_flush, _Slow()
