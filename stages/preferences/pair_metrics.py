"""What decided the pairs of `judged_pairs`, and signs of possible problems.

These are the rules, the noise, safety, and how much longer the chosen responses are.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from stages.runtime.rows import Pair


def describe_pairs(pairs: Sequence[Pair], unscaled: list[str]) -> dict[str, Any]:
    """Return the metrics of the pairs.

    Args:
        unscaled: ids of principles that could not be normalised.
    """
    metrics: dict[str, Any] = {
        "decided_by": _count_deciding(pairs),
        "mean_label": _mean([pair.label for pair in pairs]),
    }
    if any(pair.negated for pair in pairs):
        by_opposite = []
        for pair in pairs:
            if pair.deciding:
                index = pair.principles.index(pair.deciding)
                by_opposite.append(float(pair.negated[index]))
        metrics["decided_by_opposite"] = _mean(by_opposite)
        metrics["left_out_without_variance"] = unscaled
        metrics["principles_a_pair"] = _mean([len(pair.principles) for pair in pairs])
    overrides = Counter(pair.override for pair in pairs if pair.override)
    if overrides or any(pair.noise for pair in pairs):
        metrics["overrides"] = dict(overrides)
        metrics["noise"] = _mean([float(pair.noise) for pair in pairs])
    if any(pair.chosen_safe is not None for pair in pairs):
        metrics["safe"] = _count_safe(pairs)
    length_gaps = [len(pair.chosen) - len(pair.rejected) for pair in pairs]
    metrics["length_gap"] = _mean(length_gaps)
    return metrics


def _count_deciding(pairs: Sequence[Pair]) -> dict[str, int]:
    """Return for each principle how many pairs it decided, alone or with others."""
    counts: Counter[str] = Counter()
    for pair in pairs:
        if pair.override:
            continue
        counts.update([pair.deciding] if pair.deciding else pair.principles)
    return dict(counts)


def _count_safe(pairs: Sequence[Pair]) -> dict[str, int]:
    counts = Counter((bool(pair.chosen_safe), bool(pair.rejected_safe)) for pair in pairs)
    return {
        "both": counts[True, True],
        "neither": counts[False, False],
        "only_chosen": counts[True, False],
        "only_rejected": counts[False, True],
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
