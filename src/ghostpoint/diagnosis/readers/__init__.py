"""Readers of training histories: :func:`read_history` finds out what a file is and hands it to the
reader of its kind.

Every reader makes columns with names, or an array; ``table.py`` and ``memory.py`` make runs of
them, so names, steps and repeated rows are treated alike whatever the file. A new kind of file is
one function and one line of :data:`READERS` in ``files.py``.
"""

from __future__ import annotations

from ghostpoint.diagnosis.readers.files import READERS, read_history
from ghostpoint.diagnosis.readers.memory import history_of

__all__ = ["READERS", "history_of", "read_history"]
