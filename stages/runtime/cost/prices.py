"""What calls cost: tokens, and money where the tokens of a generator have prices.

Money has no unit: it is in the currency in which the prices are written, the same for a whole run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from stages.statistics.formatting import format_count

PER = 1_000_000
"""Tokens that a price is for."""
CHARACTERS_PER_TOKEN = 4
"""Of English text, in the tokenizers of most models; used where there is no tokenizer."""
TURN_TOKENS = 4
"""What a chat template adds to a turn, about."""
Price = Annotated[float, Field(ge=0, le=1e6)]


@dataclass(frozen=True)
class Usage:
    """The tokens of calls."""

    read: int = 0
    """Of the prompts, with those that were cached."""
    cached: int = 0
    """Those of them that the server had in its cache."""
    written: int = 0
    """Of the answers."""

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.read + self.written

    def __add__(self, other: "Usage") -> "Usage":
        """Return the tokens of both."""
        cached = self.cached + other.cached
        return Usage(self.read + other.read, cached, self.written + other.written)


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost."""

    input: Price = 0.0
    """Of prompts."""
    output: Price = 0.0
    """Of answers, with the thoughts in them."""
    cached_input: Price | None = None
    """Of prompts that the server had in its cache; null: as `input`."""

    def cost(self, usage: Usage) -> float:
        """Return what the tokens cost."""
        cached_input = self.input if self.cached_input is None else self.cached_input
        read = (usage.read - usage.cached) * self.input + usage.cached * cached_input
        return (read + usage.written * self.output) / PER


def estimate_tokens(messages: Sequence[Mapping[str, str]], tokenizer: Any = None) -> int:
    """Return about how many tokens a prompt has.

    Args:
        tokenizer: the model's (`read_tokenizer`); None: four characters count as one token.
    """
    texts = [message["content"] for message in messages]
    if tokenizer is None:
        tokens = sum(map(len, texts)) // CHARACTERS_PER_TOKEN
    else:
        tokens = sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)
    return int(tokens) + TURN_TOKENS * len(texts)


def bound_tokens(messages: Sequence[Mapping[str, str]]) -> int:
    """Return how many tokens a prompt has at most: no token is shorter than a byte."""
    texts = [f"{message['role']} {message['content']}" for message in messages]
    return sum(len(text.encode(errors="replace")) + TURN_TOKENS for text in texts)


@lru_cache(maxsize=4)
def read_tokenizer(folder: str) -> Any:
    """Return the tokenizer of a model's folder; None if there is none that can be read."""
    path = Path(folder, "tokenizer.json")
    if not path.is_file():
        return None
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception:  # the library raises nothing narrower
        return None


def format_money(amount: float) -> str:
    """Return an amount with two decimals, or with two digits where it is small: `0.0042`."""
    if 0 < amount < 0.1:
        return f"{amount:.2g}" if amount >= 1e-4 else f"{amount:.1e}"
    return f"{amount:,.2f}"


def format_usage(usage: Usage, cost: float | None) -> str:
    """Return `1,200 tokens read, 300 written, cost 0.42`.

    Args:
        cost: None where no call had a price.
    """
    text = f"{format_count(usage.read)} tokens read, {format_count(usage.written)} written"
    return text if cost is None else f"{text}, cost {format_money(cost)}"
