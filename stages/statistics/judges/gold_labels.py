"""What a judge says of every prompt and people say of some, as arrays for the estimators.

In: values by prompt. Out: `Labelled`, one policy's values, and arrays over given prompts. The
prompt is the unit, as in `intervals`: several answers to a prompt are averaged first.

Labels may have been drawn with unequal probabilities; each then counts by the inverse of its own
(Horvitz and Thompson 1952), and means divide by the sum of these weights (Hajek 1971).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FEWEST_LABELS = 10
"""With fewer labels of a policy nothing is estimated from them."""


@dataclass(frozen=True)
class Labelled:
    """One policy: all its prompts as the judge sees them, some of them as people see them."""

    judged: Mapping[str, float]
    """By prompt, the judge's value in [0, 1]."""
    gold: Mapping[str, float]
    """By prompt, people's value in [0, 1]; only prompts in `judged` count."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """By prompt, one over the probability with which its label was drawn; else 1."""

    @property
    def labels(self) -> list[str]:
        """The prompts with both values."""
        return [prompt for prompt in self.judged if prompt in self.gold]

    def gold_weights(self, prompts: Sequence[str]) -> Any:
        """Return the weight of each prompt's label, 0 without a label; their mean is 1."""
        import numpy as np

        weights = []
        for prompt in prompts:
            has_label = prompt in self.gold and prompt in self.judged
            weights.append(self.weights.get(prompt, 1.0) if has_label else 0.0)
        array = np.asarray(weights, dtype=float)
        total = array.sum()
        return array * len(array) / total if total else array


def values_of(values: Mapping[str, float], prompts: Iterable[str]) -> Any:
    """Return the values of some prompts as an array, 0 where there is none."""
    import numpy as np

    return np.asarray([values.get(prompt, 0.0) for prompt in prompts], dtype=float)


def common_prompts(policies: Sequence[Labelled]) -> list[str]:
    """Return the prompts that the judge saw of every policy."""
    first, *others = policies
    prompts = []
    for prompt in first.judged:
        if all(prompt in other.judged for other in others):
            prompts.append(prompt)
    return prompts


def effective_count(weights: Any) -> float:
    """Return how many equally weighted labels these are worth.

    Source: Kish 1965.
    """
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def t_quantile(confidence: float, count: float) -> float:
    """Return Student's two-sided quantile for a mean of `count` labels."""
    from scipy.special import stdtrit

    return float(stdtrit(max(count - 1, 1.0), (1 + confidence) / 2))
