"""Property tests here have no deadline: the first example of some compiles a kernel."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
