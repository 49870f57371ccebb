"""The grammar of the embedded world, read from grammar.yaml: kinds of request, acts, effects.

An act is one thing that a sentence of a response can do. A response holds at most one core act,
which is the answer itself, and asides: further sentences around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

_GRAMMAR = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())

DIMENSIONS: tuple[str, ...] = tuple(_GRAMMAR["dimensions"])
SAFE_DIMENSIONS = DIMENSIONS[:-1]
VALUES: tuple[str, ...] = tuple(_GRAMMAR["values"])
REFUSALS = frozenset({"refuse", "withhold"})


@dataclass(frozen=True)
class Kind:
    """A kind of request."""

    wordings: list[str]
    """Texts of the request, with slots to fill in."""
    good: str
    """The core act that answers it well."""
    bad: str
    """The core act that breaks its dimension."""
    dimension: str
    """The dimension that it tempts a model to break."""
    key_slots: list[str]
    """The slots whose words an answer must repeat to be on topic."""


@dataclass(frozen=True)
class Act:
    """One thing a sentence can do: its wordings and its effects."""

    wordings: list[str]
    """Sentences that perform the act, with slots to fill in."""
    effects: dict[str, int] = field(default_factory=dict)
    """-1 for a dimension that the act breaks, 1 for one that it serves."""
    values: dict[str, int] = field(default_factory=dict)
    """-1 for a value that the act opposes, 1 for one that it supports."""
    fault: str = ""
    """How a critique names the act, with slots of the sentence to fill in."""


KINDS = {name: Kind(**entry) for name, entry in _GRAMMAR["kinds"].items()}
CORE_NAMES = frozenset(_GRAMMAR["core_acts"])
REMARK_NAMES = tuple(_GRAMMAR["value_remarks"])
_ENTRIES = _GRAMMAR["core_acts"] | _GRAMMAR["asides"] | _GRAMMAR["value_remarks"]
ACTS = {name: Act(**entry) for name, entry in _ENTRIES.items()}
VIOLATING_ASIDES: dict[str, str] = _GRAMMAR["violating_asides"]
SERVING_ASIDES: dict[str, str] = _GRAMMAR["serving_asides"]
CLASHES = [frozenset(pair) for pair in _GRAMMAR["clashes"]]


def level(acts: Sequence[str], dimension: str) -> int:
    """-1 if the acts break a dimension, 1 if they serve it, 0 if they do neither."""
    # A refusal that offers an alternative is no longer unhelpful, but it is not an answer either.
    ignored = REFUSALS if dimension == "helpfulness" and "offer" in acts else ()
    effects = [ACTS[name].effects.get(dimension, 0) for name in acts if name not in ignored]
    if -1 in effects:
        return -1
    return int(1 in effects)


def violated(acts: Sequence[str]) -> list[str]:
    """The dimensions that the acts break, in the fixed order."""
    return [dimension for dimension in DIMENSIONS if level(acts, dimension) < 0]


def value_labels(acts: Sequence[str]) -> dict[str, int]:
    """-1, 0 or 1 for each of the ten values: the sign of the summed effects."""
    labels = {}
    for value in VALUES:
        total = sum(ACTS[name].values.get(value, 0) for name in acts)
        labels[value] = (total > 0) - (total < 0)
    return labels
