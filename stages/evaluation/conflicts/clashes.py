"""Where principles pull apart, and which side an answer was given. Arithmetic only.

In: the judge matrix, and what decides: the judge's own margins, scores of a reward model,
preference pairs, verdicts on a policy's answers. Out: for each pair of principles `first > second`
how often they want different answers, and each decider's share for the first.

Two principles *clash* in a pair of answers where the judge prefers different answers by them, each
in both orders; cells whose verdict depends on the order are left out. They *pull apart* on a kind
of request where they clash more often than not, by an interval that is corrected for the number of
cells. A policy's answer decides for the principle that it does not violate, on kinds of request
where the two pull apart: elsewhere the other may simply have no say.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean

from stages.evaluation.comparison import ALL, Groups
from stages.evaluation.conflicts.contests import AGAINST
from stages.runtime.rows import Judgement, Pair, Rating, Verdict
from stages.statistics.intervals import Estimate, share
from stages.statistics.ranking import Contest


@dataclass(frozen=True)
class Clash:
    """Two principles in one pair of answers, both of which the judge can tell apart by it."""

    prompt: str
    kind: str
    principles: tuple[str, str]
    sides: tuple[str, str]
    """The answer that each prefers."""
    margins: tuple[float, float]
    """How strongly, from 0 up."""

    @property
    def pair(self) -> str:
        """`first > second`."""
        return AGAINST.join(self.principles)

    @property
    def is_conflict(self) -> bool:
        """They prefer different answers."""
        return self.sides[0] != self.sides[1]


@dataclass
class Apart:
    """How often two principles want different answers."""

    everywhere: Estimate | None
    kinds: dict[str, Estimate] = field(default_factory=dict)
    where: list[str] = field(default_factory=list)
    """Kinds of request on which they pull apart; `all` where they do in all together."""


def clashes_of(rows: Sequence[Judgement]) -> list[Clash]:
    """Return every two principles in every pair of answers, agreeing or not."""
    cells: dict[str, dict[str, Judgement]] = defaultdict(dict)
    for row in rows:
        if row.margin_ab * row.margin_ba > 0:
            cells[row.pair_id][row.principle] = row
    clashes = []
    for by_principle in cells.values():
        for first, second in combinations(sorted(by_principle), 2):
            one, other = by_principle[first], by_principle[second]
            margins = [(cell.margin_ab + cell.margin_ba) / 2 for cell in (one, other)]
            names = (_name(one, "a"), _name(one, "b"))
            sides = [names[0] if margin > 0 else names[1] for margin in margins]
            sizes = (abs(margins[0]), abs(margins[1]))
            clashes.append(
                Clash(
                    one.prompt_id,
                    one.kind,
                    (first, second),
                    (sides[0], sides[1]),
                    sizes,
                )
            )
    return clashes


def _name(
    row: Judgement,
    side: str,
) -> str:
    """Return the id of a response, or its text where it is no row of this run."""
    return str(getattr(row, f"response_{side}_id") or getattr(row, f"response_{side}"))


def apart(
    clashes: Sequence[Clash],
    confidence: float,
) -> dict[str, Apart]:
    """Return how far each two principles pull apart, everywhere and by kind of request."""
    shares: dict[str, dict[str, dict[str, list[float]]]] = {}
    for clash in clashes:
        kinds = shares.setdefault(clash.pair, {})
        for kind in dict.fromkeys((ALL, clash.kind or ALL)):
            kinds.setdefault(kind, {}).setdefault(clash.prompt, []).append(clash.is_conflict)
    cells = sum(len(kinds) for kinds in shares.values())
    strict = 1 - (1 - confidence) / max(cells, 1)
    results = {}
    for pair, kinds in sorted(shares.items()):
        found = Apart(None)
        for kind, prompts in kinds.items():
            means = {prompt: fmean(each) for prompt, each in prompts.items()}
            estimate, bound = share(means, confidence), share(means, strict)
            assert estimate and bound
            if kind == ALL:
                found.everywhere = estimate
            else:
                found.kinds[kind] = estimate
            if bound.low > 0.5:
                found.where.append(kind)
        results[pair] = found
    return results


def by_judge(clashes: Sequence[Clash]) -> Groups:
    """Return, by pair and prompt, whether the first one's margin is the larger in a conflict."""
    return _decided((clash, _larger(*clash.margins)) for clash in clashes if clash.is_conflict)


def by_scores(
    clashes: Sequence[Clash],
    rows: Sequence[Rating],
) -> Groups:
    """Return the same by which answer a reward model scores higher."""
    scores = {}
    for row in rows:
        scores[row.response_id] = scores[row.response] = row.score

    def decide() -> Iterator[tuple[Clash, float]]:
        for clash in clashes:
            if clash.is_conflict and all(side in scores for side in clash.sides):
                yield clash, _larger(scores[clash.sides[0]], scores[clash.sides[1]])

    return _decided(decide())


def by_labels(
    clashes: Sequence[Clash],
    rows: Sequence[Pair],
) -> Groups:
    """Return the same by which answer was chosen as a preference."""
    chosen = {}
    for row in rows:
        sides = row.chosen_id or row.chosen, row.rejected_id or row.rejected
        chosen[sides] = row.label
        chosen[sides[::-1]] = 1 - row.label
    return _decided(
        (clash, chosen[clash.sides])
        for clash in clashes
        if clash.is_conflict and clash.sides in chosen
    )


def by_answers(
    found: Mapping[str, Apart],
    rows: Sequence[Verdict],
) -> dict[str, Groups]:
    """Return, by policy, the same by which of the two principles its answers do not violate."""
    policies: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row in rows:
        broken = dict(
            zip(
                row.principles,
                row.violated,
                strict=False,
            )
        )
        if not broken:
            broken = {
                name: chance > 0.5
                for name, chance in zip(row.principles, row.judged, strict=False)
                if chance is not None
            }
        pairs = policies.setdefault(row.policy, {})
        for pair, each in found.items():
            first, second = pair.split(AGAINST)
            applies = row.kind in each.where or (ALL in each.where and not each.kinds)
            both = [broken[name] for name in (first, second) if name in broken]
            if applies and sorted(both) == [False, True]:
                prompts = pairs.setdefault(pair, {})
                prompts.setdefault(row.prompt_id, []).append(float(both[1]))
    return {policy: _means(pairs) for policy, pairs in policies.items()}


def contests_of(pairs: Groups) -> list[Contest]:
    """Return the contests behind shares by pair, those of one prompt counting as one together."""
    numbers: dict[str, int] = defaultdict(int)
    for items in pairs.values():
        for item in items:
            numbers[item] += 1
    listed = []
    for pair, items in pairs.items():
        first, second = pair.split(AGAINST)
        for item, won in items.items():
            listed.append((item, first, second, won, 1 / numbers[item]))
    return listed


def _decided(decisions: Iterator[tuple[Clash, float]]) -> Groups:
    shares: dict[str, dict[str, list[float]]] = {}
    for clash, won in decisions:
        shares.setdefault(clash.pair, {}).setdefault(clash.prompt, []).append(won)
    return _means(shares)


def _means(shares: Mapping[str, Mapping[str, Sequence[float]]]) -> Groups:
    return {
        pair: {prompt: fmean(values) for prompt, values in prompts.items()}
        for pair, prompts in sorted(shares.items())
    }


def _larger(
    first: float,
    second: float,
) -> float:
    return 0.5 if first == second else float(first > second)
