"""Readers of training histories: :func:`read_history` finds out what a file is and hands it to the reader of its kind.

Every reader makes a :class:`~ghostpoint.diagnosis.readers.table.Table` of named columns or an array, and ``table.py``
and ``memory.py`` make runs of them, so names, steps and repeated rows are treated alike whatever the file. A new
kind of file needs one reader and one line in ``files.py``.
"""

from __future__ import annotations

from ghostpoint.diagnosis.readers.files import read_history
from ghostpoint.diagnosis.readers.memory import history_of

__all__ = ["history_of", "read_history"]
