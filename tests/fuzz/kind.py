"""What a kind of hostile input is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random


class Wrong(Exception):
    """An input was accepted, and the generator knows that it should not have been; or it was
    refused without need; or something was lost.
    """


def nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        count: how many inputs the large target tries.
        attempt: draws one input from the random numbers and nothing else, writes what it needs into
            the empty folder, and gives it to Credo. It returns what became of an input that was
            accepted, in a word or two. It lets pass what Credo raises: a UserError is a clear
            error, `SystemExit(2)` one that was shown, every other exception a finding. It raises
            `Wrong` where it knows better than Credo.
        prepare: imports and makes what all attempts share; it has no deadline.
        deadline: seconds an attempt may take before it counts as a hang.
        memory: bytes by which a worker may grow.
    """

    count: int
    attempt: Callable[[Random, Path], str | None]
    prepare: Callable[[], None] = nothing
    deadline: float = 10.0
    memory: int = 3 * 2**30
