"""All kinds of input, and where each is tried."""

import importlib

from tests.fuzz.kind import Kind

KINDS = {
    "constitutions": "attempts:CONSTITUTIONS",
    "overrides": "attempts:OVERRIDES",
    "options": "training_options:KIND",
    "data": "attempts:DATA",
    "servers": "attempts:SERVERS",
    "artifacts": "attempts:ARTIFACTS",
    "models": "models:KIND",
    "templates": "attempts:TEMPLATES",
    "secrets": "leaks:KIND",
}


def load(name: str) -> Kind:
    """Import a kind."""
    module, _, attribute = KINDS[name].partition(":")
    return getattr(importlib.import_module(f"tests.fuzz.{module}"), attribute)
