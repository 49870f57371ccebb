"""From Verdict rows to metrics: fractions per policy, paired differences, win rates.

Arithmetic only. In: (prompt id, Verdict) for each policy, in the order of the policies. Out: a
nested dict,

    measured_by     "truth" or "judge": the source of `any_violation` and of the principles'
                    differences
    counted         the principles in `any_violation`
    not_counted     the tags and dimensions of those that are not in it
    confidence      of every interval
    side_by_side    whether each policy is compared with the first only
    policies        {policy: {responses, prompts, dropped, words: estimate, measures:
                    {MEASURES: estimate},
                    principles: {id: {truth: estimate, judge: estimate}}}}
    differences     {policy: {against: {words: difference, measures: {MEASURES: difference},
                    principles: {id: difference}}}}
    win_rates       as in `win_rates.py`

where an estimate is {value, low, high, n}, a difference {value, low, high, n, before, after, fell,
rose, p} (see `statistics`), and either is None where it was not measured. `against` is the baseline
and, unless they stand side by side, the previous policy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.evaluation.verdict_values import (
    SOURCES,
    STAND_INS,
    Counted,
    Measured,
    Source,
    Values,
    by_measure,
    by_principle,
    words_by_prompt,
)
from stages.evaluation.win_rates import Duel, win_rates
from stages.statistics.intervals import Intervals


@dataclass(frozen=True)
class PolicyValues:
    """What was measured of one policy, by prompt."""

    measures: Values
    """By measure."""
    principles: dict[str, dict[Source, dict[str, float]]]
    """By principle and source."""
    words: dict[str, float]
    """The length of its answers."""


def summarise(
    measured: dict[str, Measured],
    duels: Sequence[Duel],
    counted: Counted,
    side_by_side: bool,
    intervals: Intervals,
) -> dict[str, Any]:
    """All metrics except `policies.*.dropped` and the judge's quality.

    Args:
        duels: each from the side of the later policy.
    """
    verdicts = [verdict for rows in measured.values() for _, verdict in rows]
    by_truth = any(verdict.any_violation is not None for verdict in verdicts)
    source: Source = "truth" if by_truth else "judge"
    ids = verdicts[0].principles if verdicts else []
    values = {}
    policies = {}
    for name, rows in measured.items():
        values[name] = _policy_values(rows, ids, by_truth, counted)
        policies[name] = {
            "responses": len(rows),
            "prompts": len({prompt for prompt, _ in rows}),
            "dropped": 0,
            **_estimates(values[name], intervals),
        }
    return {
        "measured_by": source,
        "counted": counted.principles,
        "confidence": intervals.confidence,
        "side_by_side": side_by_side,
        "policies": policies,
        "differences": _differences(values, source, side_by_side, intervals),
        "win_rates": win_rates(duels, intervals),
    }


def _policy_values(
    rows: Measured,
    ids: Sequence[str],
    by_truth: bool,
    counted: Counted,
) -> PolicyValues:
    principles = {}
    for index, principle in enumerate(ids):
        principles[principle] = {
            source: by_principle(rows, index, source, counted.decision) for source in SOURCES
        }
    return PolicyValues(by_measure(rows, by_truth, counted), principles, words_by_prompt(rows))


def _estimates(values: PolicyValues, intervals: Intervals) -> dict[str, Any]:
    measures = {name: intervals.estimate(shares) for name, shares in values.measures.items()}
    principles = {}
    for principle, by_source in values.principles.items():
        principles[principle] = {
            source: intervals.estimate(shares) for source, shares in by_source.items()
        }
    words = intervals.estimate(values.words, are_shares=False)
    return {"words": words, "measures": measures, "principles": principles}


def _differences(
    values: Mapping[str, PolicyValues],
    source: Source,
    side_by_side: bool,
    intervals: Intervals,
) -> dict[str, Any]:
    names = list(values)
    differences: dict[str, Any] = {}
    for index, name in enumerate(names):
        for rival in rivals(names, index, side_by_side):
            before, after = values[rival], values[name]
            measures, principles = {}, {}
            for measure, shares in after.measures.items():
                measures[measure] = intervals.difference(before.measures[measure], shares)
            for principle, by_source in after.principles.items():
                earlier = before.principles[principle][source]
                principles[principle] = intervals.difference(earlier, by_source[source])
            words = intervals.difference(before.words, after.words, are_shares=False)
            changes = {"words": words, "measures": measures, "principles": principles}
            differences.setdefault(name, {})[rival] = changes
    return differences


def shown_measures(metrics: Mapping[str, Any], measures: Sequence[str]) -> list[str]:
    """The measures that were measured of any policy; a stand-in only where the other was not."""
    measured = set()
    for facts in metrics["policies"].values():
        measured |= {name for name, estimate in facts["measures"].items() if estimate}
    return [name for name in measures if name in measured and STAND_INS.get(name) not in measured]


def rivals(names: Sequence[str], index: int, side_by_side: bool) -> list[str]:
    """The policies that a policy is compared with: the first, and the previous one.

    Side by side it is the first only. The first policy has no rivals.
    """
    if index == 0:
        return []
    if side_by_side or index == 1:
        return [names[0]]
    return [names[0], names[index - 1]]


def previous_policy(metrics: dict[str, Any], name: str) -> str:
    """The policy that the table row of `name` shows the change from."""
    return list(metrics["differences"][name])[-1]


def headline_policy(metrics: dict[str, Any]) -> str:
    """The policy that is compared with the first in detail.

    It is the last, or of those side by side the one with the fewest violations.
    """
    names = list(metrics["policies"])
    if not metrics.get("side_by_side") or len(names) == 1:
        return names[-1]

    def violations(name: str) -> float:
        estimate = metrics["policies"][name]["measures"]["any_violation"]
        return estimate["value"] if estimate else 1.0

    return min(names[1:], key=violations)
