"""What the acts of a response do together to each dimension and each value."""

from collections.abc import Sequence

from stages.world.acts import DIMENSIONS, VALUES, Act
from stages.world.asides import ASIDES, VALUE_REMARKS
from stages.world.core_acts import CORE_ACTS

ACTS: dict[str, Act] = {act.name: act for act in CORE_ACTS + ASIDES + VALUE_REMARKS}
CORE_NAMES = frozenset(act.name for act in CORE_ACTS)
REFUSALS = frozenset({"refuse", "withhold"})


def level(acts: Sequence[str], dimension: str) -> int:
    """-1 if the acts break a dimension, 1 if they serve it, 0 if they do neither."""
    has_offer = "offer" in acts
    effects = []
    for name in acts:
        # A refusal that offers another way is no longer unhelpful, nor is it an answer.
        if dimension == "helpfulness" and has_offer and name in REFUSALS:
            continue
        effects.append(ACTS[name].effects.get(dimension, 0))
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
