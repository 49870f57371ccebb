"""What an act is: one thing that a sentence of a response can do, and what it affects."""

from dataclasses import dataclass, field

DIMENSIONS = (
    "harm",
    "honesty",
    "privacy",
    "fairness",
    "kindness",
    "identity",
    "flattery",
    "helpfulness",
)
SAFE_DIMENSIONS = DIMENSIONS[:-1]
VALUES = (
    "self-direction",
    "stimulation",
    "hedonism",
    "achievement",
    "power",
    "security",
    "conformity",
    "tradition",
    "benevolence",
    "universalism",
)


@dataclass(frozen=True)
class Act:
    """One thing a sentence can do: its wordings and its effects."""

    name: str
    wordings: tuple[str, ...]
    """Sentences that perform the act, with slots to fill in."""
    effects: dict[str, int] = field(default_factory=dict)
    """-1 for a dimension that the act breaks, 1 for one that it serves."""
    values: dict[str, int] = field(default_factory=dict)
    """-1 for a value that the act opposes, 1 for one that it supports."""
    fault: str = ""
    """How a critique names the act, with slots of the sentence to fill in."""
