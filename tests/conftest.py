"""What holds for all tests: no property test has a deadline, so that a busy machine fails none."""

from hypothesis import settings

settings.register_profile("credo", deadline=None)
settings.load_profile("credo")
