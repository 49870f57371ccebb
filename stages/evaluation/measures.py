"""From verdicts to metrics: fractions per policy, paired differences, win rates.

Arithmetic only. In: (prompt id, Verdict) for each policy, in the order of the policies. Out: a
nested dict,

    measured_by     "truth" or "judge": where `any_violation` and the principles' differences come
                    from
    counted         the principles in `any_violation`; empty: all dimensions of the ground truth
                    but those not counted
    confidence      of every interval
    side_by_side    whether each policy is compared with the first only
    policies        {policy: {responses, prompts, dropped, measures: {MEASURES: estimate},
                    principles: {id: {truth: estimate, judge: estimate}}}}
    differences     {policy: {against: {measures: {MEASURES: difference},
                    principles: {id: difference}}}}
    win_rates       as in `win_rates.py`

where an estimate is {value, low, high, n}, a difference {value, low, high, n, before, after, fell,
rose, p} (see `statistics`), and either is None where it was not measured. `against` is the baseline
and, unless they stand side by side, the policy before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.evaluation.verdict_values import (
    MEASURES,
    SOURCES,
    Counted,
    Measured,
    PromptKinds,
    Source,
    Values,
    by_measure,
    by_principle,
)
from stages.evaluation.win_rates import Duel, win_rates
from stages.statistics.intervals import paired_difference, share


@dataclass(frozen=True)
class Settings:
    """What is compared, and how intervals are computed."""

    kinds: PromptKinds
    resamples: int
    confidence: float
    seed: int
    side_by_side: bool = False

    def difference(
        self, before: Mapping[str, float], after: Mapping[str, float]
    ) -> dict[str, Any] | None:
        return paired_difference(
            before,
            after,
            self.resamples,
            self.confidence,
            self.seed,
        )

    def estimate(self, values: Mapping[str, float]) -> dict[str, Any] | None:
        estimate = share(values, self.confidence)
        return estimate.plain() if estimate else None


@dataclass(frozen=True)
class PolicyValues:
    """What was measured of one policy, by prompt."""

    measures: Values
    principles: dict[Source, Values]


def summarise(
    measured: dict[str, Measured],
    duels: Sequence[Duel],
    counted: Counted,
    settings: Settings,
) -> dict[str, Any]:
    """All metrics but `policies.*.dropped` and the judge's quality.

    Args:
        duels: each from the side of the later policy.
    """
    verdicts = [verdict for rows in measured.values() for _, verdict in rows]
    by_truth = any(verdict.any_violation is not None for verdict in verdicts)
    truth_knows_principles = any(verdict.violated for verdict in verdicts)
    source: Source = "truth" if by_truth else "judge"
    ids = verdicts[0].principles if verdicts else []
    values = {}
    policies = {}
    for name, rows in measured.items():
        values[name] = _policy_values(rows, ids, by_truth, counted, settings)
        policies[name] = _policy_metrics(rows, values[name], settings)
    return {
        "measured_by": source,
        "counted": counted.principles if truth_knows_principles or not by_truth else [],
        "confidence": settings.confidence,
        "side_by_side": settings.side_by_side,
        "policies": policies,
        "differences": _differences(values, source, settings),
        "win_rates": win_rates(
            duels,
            settings.resamples,
            settings.confidence,
            settings.seed,
        ),
    }


def _policy_values(
    rows: Measured,
    ids: Sequence[str],
    by_truth: bool,
    counted: Counted,
    settings: Settings,
) -> PolicyValues:
    principles: dict[Source, Values] = {}
    for source in SOURCES:
        principles[source] = {}
        for index, principle in enumerate(ids):
            principles[source][principle] = by_principle(rows, index, source)
    measures = by_measure(rows, by_truth, counted, settings.kinds)
    return PolicyValues(measures, principles)


def _policy_metrics(rows: Measured, values: PolicyValues, settings: Settings) -> dict[str, Any]:
    measures = {}
    for measure in MEASURES:
        measures[measure] = settings.estimate(values.measures[measure])
    principles: dict[str, Any] = {}
    for source, by_id in values.principles.items():
        for principle, by_prompt_id in by_id.items():
            estimates = principles.setdefault(principle, {})
            estimates[source] = settings.estimate(by_prompt_id)
    return {
        "responses": len(rows),
        "prompts": len({prompt for prompt, _ in rows}),
        "dropped": 0,
        "measures": measures,
        "principles": principles,
    }


def _differences(
    values: Mapping[str, PolicyValues], source: Source, settings: Settings
) -> dict[str, Any]:
    names = list(values)
    differences: dict[str, Any] = {}
    for index, name in enumerate(names):
        after = values[name]
        for rival in rivals(names, index, settings.side_by_side):
            before = values[rival]
            measures = {}
            for measure in MEASURES:
                measures[measure] = settings.difference(
                    before.measures[measure],
                    after.measures[measure],
                )
            principles = {}
            for principle, after_principle in after.principles[source].items():
                principles[principle] = settings.difference(
                    before.principles[source][principle],
                    after_principle,
                )
            of_policy = differences.setdefault(name, {})
            of_policy[rival] = {"measures": measures, "principles": principles}
    return differences


def rivals(names: Sequence[str], index: int, side_by_side: bool) -> list[str]:
    """The policies that a policy is compared with: the first, and the one before it.

    Side by side it is the first only; the first policy has no rivals.
    """
    if index == 0:
        return []
    if side_by_side or index == 1:
        return [names[0]]
    return [names[0], names[index - 1]]


def before(metrics: dict[str, Any], name: str) -> str:
    """The policy whose change to `name` is shown in its row."""
    return list(metrics["differences"][name])[-1]


def foremost(metrics: dict[str, Any]) -> str:
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
