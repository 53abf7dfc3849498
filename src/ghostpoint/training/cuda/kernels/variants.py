"""Which form of a kernel is compiled, to be measured beside each other."""

from __future__ import annotations

import json
import os
from typing import Any

SETTINGS: dict[str, Any] = json.loads(os.environ.get("GHOSTPOINT_CUDA", "{}"))


def setting(name: str, default: Any) -> Any:
    """A setting, or its default."""
    return SETTINGS.get(name, default)
