"""Properties are checked without a deadline: how fast a busy machine is says nothing of the code."""

from hypothesis import settings

settings.register_profile("crucible", deadline=None)
settings.load_profile("crucible")
