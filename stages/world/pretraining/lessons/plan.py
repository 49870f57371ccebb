"""What a lesson is, and what lessons look like at one stage of training.

A lesson is a group of conversations with the same opening (for example one request and response)
and different questions after it. Packing stores the shared opening once; the conversations do not
attend to each other.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """One message and the training weight of its tokens."""

    role: str
    """"system", "user" or "assistant"."""
    content: str
    weight: float = 0.0
    """The training weight of its tokens."""
    first_weight: float | None = None
    """The weight of its first token, where that differs."""


Lesson = list[list[Turn]]


@dataclass(frozen=True)
class Curriculum:
    """What lessons look like at one stage of training."""

    shares: dict[str, float]
    """How often each kind of lesson is drawn."""
    nonsense: float = 0.4
    """The chance of an invented word in a slot that allows one."""
    asides: tuple[float, float, float] = (0.35, 0.40, 0.25)
    """The chances that a response has no aside, one or two."""
    opposite_verdicts: float = 0.0
    """The chance that the opposite of a principle is also asked about, with the same texts."""
    opposite_judgements: float = 0.0
    """The same chance where two responses are compared."""
    split: str = "train"
    """Which requests and slot words are used: "train", "seen" or "held_out"."""
    direct: float = 0.4
    """The chance of a revision in one step, without a critique before it."""
    near_pairs: float = 0.25
    """The chance that the second response of a pair is a revision of the first."""
    naming: float = 0.1
    """The chance that the faults of both responses are asked for beside a judgement."""


def ask(content: str) -> Turn:
    """A message of the user, which is not trained on."""
    return Turn("user", content)


def answer(content: str) -> Turn:
    """A text to learn, every token with the same weight."""
    return Turn("assistant", content, 1.0)


def label(text: str, reason: str = "") -> Turn:
    """A label, which weighs most, and sometimes a reason after it."""
    return Turn("assistant", text + reason, 0.4, 8.0)
