"""The held-out part of the examples, and how well the trained model does on it.

In: examples with `prompt`. Out: those to train on and those held out, and after training the
fraction in which the better side scores higher. A prompt's examples all lie on the same side of the
split, which is drawn by a hash of the prompt: dropping other rows moves none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stages.runtime.context import Context
from stages.runtime.manifest import canonical
from stages.runtime.rows import Message
from stages.runtime.store import derive_fraction
from stages.training.frame import Examples


def split_held_out(
    examples: Examples, fraction: float, context: Context
) -> tuple[Examples, Examples]:
    """Training and held-out examples.

    Where a split would leave nothing to train on, nothing is held out.
    """
    train: Examples = []
    held: Examples = []
    for example in examples:
        part = held if is_held_out(example["prompt"], fraction, context.seed) else train
        part.append(example)
    return (train, held) if train else (examples, [])


def is_held_out(prompt: Sequence[Message], fraction: float, seed: int) -> bool:
    """Whether a prompt lies in the held-out part."""
    return derive_fraction(seed, "held out", canonical(prompt)) < fraction


@dataclass
class HeldOut:
    """Sums over evaluation batches, each weighted by its pairs on all processes (TRL would average
    batches of unequal size).
    """

    pairs: int = 0
    right: float = 0.0
    margin: float = 0.0

    def add(self, pairs: int, accuracy: float, margin: float) -> None:
        self.pairs += pairs
        self.right += pairs * accuracy
        self.margin += pairs * margin


class EvaluatesHeldOut:
    """A trainer whose loss adds to `held_out` while it evaluates."""

    held_out: HeldOut
    evaluate: Callable[..., Any]

    def evaluate_held_out(self) -> HeldOut:
        """Evaluate on the evaluation dataset, counting every example once."""
        self.held_out = HeldOut()
        self.evaluate()
        return self.held_out


def check_held_out(trainer: Any) -> dict[str, Any] | None:
    """Evaluate on the held-out pairs.

    Returns:
        `n`, `accuracy` (fraction of pairs in which the chosen side scores higher), `interval` (95
        %, Wilson) and `margin` (mean difference in score, chosen less rejected); None where nothing
        is held out.
    """
    if not trainer.eval_dataset:
        return None
    from scipy.stats import binomtest

    sums = trainer.evaluate_held_out()
    if not sums.pairs:
        return None
    interval = binomtest(round(sums.right), sums.pairs).proportion_ci(0.95, "wilson")
    return {
        "n": sums.pairs,
        "accuracy": round(sums.right / sums.pairs, 4),
        "interval": [round(float(interval.low), 4), round(float(interval.high), 4)],
        "margin": round(sums.margin / sums.pairs, 4),
    }


def measure_held_out(trainer: Any) -> dict[str, Any]:
    """The metrics of a trainer that measures nothing but its held-out examples."""
    return {"held_out": check_held_out(trainer)}
