"""From the answers of one model to distributions over the options of each item. Arithmetic only.

The mean *log* probability of an option over all rotations of its options removes a bias of places
that multiplies (Zheng et al. 2024, arXiv 2309.03882): a model that sees only places is left with a
uniform distribution, and the mean of probabilities would not be free of the bias. A reading that
lacks the answer to one of its orders is left out, because a part of the rotations has a bias again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from stages.evaluation.surveys.asking import TEST
from stages.evaluation.surveys.questionnaire import Item
from stages.runtime.rows import Answer
from stages.statistics.reliability import js_distance, mean_js_distance

LEAST_LOG = -1e4
"""Stands for the logarithm of 0, the probability of an impossible letter."""
Distribution = list[float]


@dataclass(frozen=True)
class ItemReading:
    """What one model answered to one item."""

    item: Item
    by_administration: Mapping[str, Distribution]
    """Over all orders of each administration that is complete."""
    by_order: Sequence[Distribution]
    """Of the first wording, order by order."""
    masses: Sequence[float]
    """The probability of all options together, of each call where it is known."""
    asked: int
    answered: int

    @property
    def distribution(self) -> Distribution:
        """The mean over administrations."""
        readings = list(self.by_administration.values())
        return [fmean(column) for column in zip(*readings, strict=True)]

    @property
    def order_distance(self) -> float | None:
        """How far single orders lie apart: the mean Jensen-Shannon distance."""
        return mean_js_distance(self.by_order)

    @property
    def wording_distance(self) -> float | None:
        """How far wordings lie apart."""
        return mean_js_distance([self.by_administration[key] for key in self._tests()])

    @property
    def retest_distance(self) -> float | None:
        """How far the first answer lies from those to the same question asked again."""
        first = self.by_administration.get(f"0-{TEST}")
        again = [value for key, value in self.by_administration.items() if not key.endswith(TEST)]
        return fmean(js_distance(first, each) for each in again) if first and again else None

    @property
    def says(self) -> float:
        """How much further it is from a uniform answer than its administrations are from it."""
        mean = self.distribution
        uniform = [1 / len(mean)] * len(mean)
        noise = fmean(js_distance(mean, each) for each in self.by_administration.values())
        return js_distance(mean, uniform) - noise

    def _tests(self) -> list[str]:
        return [key for key in self.by_administration if key.endswith(f"-{TEST}")]


def read_answers(
    items: Sequence[Item], rows: Sequence[Answer], orders: Mapping[str, int], readings: int
) -> list[ItemReading]:
    """Return the reading of every item with at least one complete administration.

    Args:
        rows: of one model.
        orders: by item, the number of orders in which it was asked.
        readings: the number of administrations.
    """
    by_item: dict[str, dict[str, list[Answer]]] = {}
    for row in rows:
        by_item.setdefault(row.prompt_id, {}).setdefault(row.administration, []).append(row)
    results = []
    for item in items:
        administrations = by_item.get(item.content_id, {})
        complete = {}
        for name, answers in administrations.items():
            if len(answers) == orders[item.id]:
                complete[name] = debiased([row.logprobs for row in answers])
        answered = [row for answers in administrations.values() for row in answers]
        if complete:
            first = administrations[next(iter(complete))]
            masses = [row.mass for row in answered if row.mass is not None]
            results.append(
                ItemReading(
                    item=item,
                    by_administration=complete,
                    by_order=[softmax(row.logprobs) for row in first],
                    masses=masses,
                    asked=orders[item.id] * readings,
                    answered=len(answered),
                )
            )
    return results


def debiased(logprobs: Sequence[Sequence[float]]) -> Distribution:
    """Return the distribution of the mean log-probability of each option over orders."""
    columns = zip(*logprobs, strict=True)
    return softmax([fmean(max(log, LEAST_LOG) for log in column) for column in columns])


def softmax(logs: Sequence[float]) -> Distribution:
    """Return the probabilities that logarithms up to a constant stand for."""
    largest = max(logs)
    weights = [math.exp(value - largest) for value in logs]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def expected(distribution: Sequence[float], numbers: Sequence[float]) -> float:
    """Return the mean number of a distribution over options, which rounding leaves on the scale."""
    pairs = zip(distribution, numbers, strict=True)
    mean = math.fsum(p * number for p, number in pairs)
    return min(max(mean, min(numbers)), max(numbers))


def modal(distribution: Sequence[float]) -> Distribution:
    """Return the distribution that has only the likeliest options; ties share it."""
    largest = max(distribution)
    is_best = [value >= largest * (1 - 1e-9) for value in distribution]
    return [best / sum(is_best) for best in is_best]
