"""All kinds of input, and where they are drawn."""

import importlib

from tests.fuzz.kind import Kind

KINDS = {
    "constitutions": "tests.fuzz.constitutions",
    "data": "tests.fuzz.data_files",
    "overrides": "tests.fuzz.overrides",
    "servers": "tests.fuzz.servers",
    "artifacts": "tests.fuzz.artifacts",
    "models": "tests.fuzz.models",
    "templates": "tests.fuzz.templates",
    "options": "tests.fuzz.training_options",
    "secrets": "tests.fuzz.leaks",
}


def load(name: str) -> Kind:
    """Import a kind."""
    return importlib.import_module(KINDS[name]).KIND
