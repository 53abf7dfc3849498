"""Settings of the property tests: no deadline, since the first example of some compiles a kernel."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
