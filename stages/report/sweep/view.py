"""The data of the sweep's page: the first sentence, forests, the attribution map.

In: the `Comparison`, the jobs. Out: plain data and SVG for the template. Shares become points;
`support`, in logits, is not converted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from stages.ablation.compare import CORRECTIONS, REDUNDANCY, Comparison
from stages.ablation.jobs import Job
from stages.ablation.outcomes import is_logits
from stages.evaluation.instrument.doubt import explain_mark, mark
from stages.report.sweep.conclusions import CLAIMS, SECOND_SEED, claim_of, conclude, group_of
from stages.report.sweep.forest import NARROW, WIDE, Bar, forest
from stages.report.sweep.headline import describe_method, sweep_headline
from stages.report.sweep.tables import attribution
from stages.report.sweep.wording import (
    KINDS,
    counts_labels,
    desired_direction,
    name_of,
    noun_of,
)
from stages.report.views.marks import View
from stages.runtime.pipeline.settings import Ablate
from stages.statistics.effect import Effect
from stages.statistics.formatting import PER_CENT, format_confidence, format_short
from stages.statistics.power import minimum_detectable

ENDS = {
    0: ("less", "more"),
    1: ("worse", "better"),
    -1: ("better", "worse"),
}


def comparison_view(
    comparison: Comparison,
    jobs: Sequence[Job],
    settings: Ablate,
    texts: Mapping[str, str],
) -> View:
    """The data of the page except redundancy, ratings and the work of the jobs.

    Args:
        texts: the texts of the principles, by id.
    """
    first = comparison.outcome
    family = comparison.family(first)
    any_effect = next(iter(family.values()), None)
    outcomes = [first, *(outcome for outcome in comparison.effects if outcome != first)]
    kinds = [run.kind for run in comparison.runs.values() if run.kind in KINDS]
    findings = comparison.findings.get(first, {}).values()
    forests = [_forest(comparison, outcome, settings, texts) for outcome in outcomes]
    return {
        "level": comparison.level,
        "reference": _reference(comparison, family),
        "outcome": noun_of(first, comparison.level),
        "confidence": format_confidence(settings.confidence),
        "margin": format_short(PER_CENT * settings.margin),
        "shares": counts_labels(comparison.level, first),
        "detectable": _detectable(comparison, first, settings),
        "headline": sweep_headline(comparison, family),
        "verdicts": Counter(claim_of(comparison, first, label) for label in family),
        "one_seed": any(finding.one_seed for finding in findings),
        "second_seed": SECOND_SEED,
        "claims": CLAIMS,
        "before": describe_method(comparison),
        "forests": [each for each in forests if each],
        "kinds": {kind: KINDS[kind] for kind in kinds},
        "map": attribution(comparison, outcomes, texts),
        "n": any_effect.n_prompts if any_effect else 0,
        "seeds": any_effect.n_seeds if any_effect else len({job.seed for job in jobs}),
        "over": any_effect.over if any_effect else "prompts",
        "missing": comparison.missing,
        "doubt": explain_mark(comparison.doubt(outcome) for outcome in outcomes),
        "doubt_about_labels": explain_mark([comparison.doubt(REDUNDANCY)]),
        "doubt_about_wins": explain_mark([comparison.doubt("wins")]),
        "notes": comparison.notes,
        "correction": CORRECTIONS[comparison.correction],
    }


def _reference(comparison: Comparison, family: Mapping[str, Effect]) -> str:
    """What all variants are compared with: a method or a set, if there is only one."""
    groups = {group_of(comparison.runs[label].reference) for label in family}
    return (groups.pop() if len(groups) == 1 else "") or "the full set"


def _detectable(comparison: Comparison, outcome: str, settings: Ablate) -> float | None:
    """The smallest effect found with a chance of 80 %; None without effects that are differences.

    Base rate, changes, how far seeds change the same requests, and the effect of seeds are
    estimated from these runs.
    """
    family = list(comparison.family(outcome).values())
    if not family or comparison.level == "labels" or is_logits(outcome):
        return None
    first = family[0]
    changes = median(effect.discordance for effect in family) if first.reference > 0 else None
    seed_sds = [effect.seed_sd for effect in family if effect.seed_sd is not None]
    overlaps = [effect.overlap for effect in family if effect.overlap is not None]
    return minimum_detectable(
        first.n_prompts,
        first.n_seeds,
        base_rate=min(max(first.reference, 0.0), 1.0),
        discordance=changes,
        seed_sd=median(seed_sds) if seed_sds else 0.0,
        overlap=median(overlaps) if overlaps else None,
        comparisons=len(family),
        alpha=1 - settings.confidence,
    )


def _forest(
    comparison: Comparison,
    outcome: str,
    settings: Ablate,
    texts: Mapping[str, str],
) -> View | None:
    """One outcome's forest with its headings; None where no variant was compared."""
    family = comparison.family(outcome)
    if not family:
        return None
    level = comparison.level
    logits = is_logits(outcome)
    limit = _detectable(comparison, outcome, settings)
    ends = ENDS[desired_direction(outcome, level)]
    if counts_labels(level, outcome):
        ends = ("fewer", "more")
    drawings = [
        forest(
            _bars(comparison, outcome, family, texts),
            None if logits else settings.margin,
            limit,
            ends,
            1 if logits else PER_CENT,
            KINDS,
            CORRECTIONS[comparison.correction],
            layout,
        )
        for layout in (WIDE, NARROW)
    ]
    return {
        "outcome": outcome,
        "name": mark(name_of(outcome), comparison.doubt(outcome)),
        "unit": "logits" if logits else "points",
        "drawings": drawings,
        "detectable": limit,
    }


def _bars(
    comparison: Comparison,
    outcome: str,
    family: Mapping[str, Effect],
    texts: Mapping[str, str],
) -> list[Bar]:
    """The variants by kind, in each the largest effect first."""
    bars = []
    for label, effect in family.items():
        run = comparison.runs[label]
        conclusion = conclude(comparison, outcome, label)
        finding = comparison.finding(outcome, label)
        bars.append(
            Bar(
                label,
                run.kind,
                effect.value,
                effect.low,
                effect.high,
                effect.p_adjusted,
                verdict=conclusion.claim if conclusion else "",
                one_seed=bool(finding and finding.one_seed),
                word=conclusion.word if conclusion else "no verdict",
                phrase=conclusion.phrase if conclusion else "no verdict",
                tone=conclusion.tone if conclusion else "same",
                hint=texts.get(run.target, ""),
            )
        )
    kinds = list(KINDS)
    return sorted(bars, key=lambda bar: (kinds.index(bar.kind), -abs(bar.value)))
