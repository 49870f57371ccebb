"""What holds for all tests: no property test has a deadline, so that a busy machine fails none, and
the modules that take minutes come first, so that no worker is alone with one at the end.
"""

from hypothesis import settings

settings.register_profile("credo", deadline=None)
settings.load_profile("credo")

MINUTES = (
    "test_end_to_end.py",
    "test_docs.py",
    "test_real_servers.py",
    "test_processes.py",
    "test_vllm_generator.py",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in MINUTES)
