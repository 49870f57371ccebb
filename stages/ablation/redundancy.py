"""How `judged_pairs` combines principles, as the arithmetic of redundancy asks for it."""

from collections.abc import Mapping

from stages.preferences.aggregate import aggregate
from stages.statistics.redundancy import Decide


def by_aggregate(how: str, weights: Mapping[str, float] | None = None) -> Decide:
    """The arithmetic of stage `judged_pairs` for `mean`, `sum`, `vote` and `max_abs`.

    A draw (`random`) needs a `Decide` of its own.
    """

    def decide(pair: str, margins: Mapping[str, float]) -> tuple[float, list[str]]:
        names = list(margins)
        chosen_weights = [(weights or {}).get(name, 1.0) for name in names]
        margin, places = aggregate(list(margins.values()), chosen_weights, how)
        return margin, [names[place] for place in places]

    return decide
