"""From the outcomes of a sweep's jobs to what each variant changed.

In: the jobs. Out: a `Comparison`: effects with intervals, adjusted p, verdicts. Every variant is
compared with the full set of its own group, on the same prompts and seeds
(`statistics/differences`). A variant that lacks a seed, because its job failed, is named and left
out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stages.ablation.jobs import Job
from stages.ablation.matrix import rate_policies, redundancy
from stages.ablation.outcomes import FIRST, NONE, STAGES, is_logits
from stages.ablation.runs import Missing, Run, gather, missing_job, outcome_values
from stages.evaluation.instrument.doubt import doubt_about, doubt_about_preferences
from stages.evaluation.rewards.reward_metrics import doubt_about_test
from stages.guards.errors import UserError, did_you_mean
from stages.runtime.pipeline.settings import Ablate
from stages.statistics.corrections import holm
from stages.statistics.differences import effects
from stages.statistics.effect import Effect, Runs
from stages.statistics.equivalence import Finding, findings
from stages.statistics.shares import changes

# kinds of variants far from the reference; seeds may move them more than the near ones
FAR = ("full", "only_one", "only_tag", "sizes")
REDUNDANCY = "redundancy"
CORRECTIONS = {"holm": "Holm", "max_t": "max-T"}
Compared = tuple[dict[str, Effect], dict[str, Finding]]  # both by label


@dataclass(frozen=True)
class Comparison:
    """The results of a sweep: what each variant changed.

    Args:
        outcome: the main outcome, which the table shows first.
        runs: by label, the references too.
        effects, findings: by outcome and label.
        missing: the jobs that failed, with their errors, and the variants left out because of them.
        notes: remarks that are needed to read the numbers correctly.
        correction: of the p-values for many variants.
        redundancy, ratings: plain data, as described in `matrix`.
    """

    level: str
    outcome: str
    runs: dict[str, Run]
    effects: dict[str, dict[str, Effect]]
    findings: dict[str, dict[str, Finding]]
    missing: list[Missing]
    notes: list[str] = field(default_factory=list)
    correction: str = "holm"
    redundancy: dict[str, Any] | None = None
    ratings: list[dict[str, Any]] = field(default_factory=list)
    doubts: dict[str, str] = field(default_factory=dict)
    """By outcome in doubt, and `REDUNDANCY`: why its judge cannot tell."""

    def doubt(self, outcome: str) -> str:
        """Why effects on an outcome are no evidence; "" where they may be believed."""
        return self.doubts.get(outcome, "")

    def effect(self, outcome: str, label: str) -> Effect | None:
        """What a variant changed; None where it was not compared."""
        return self.effects.get(outcome, {}).get(label)

    def finding(self, outcome: str, label: str) -> Finding | None:
        """The conclusion about a variant; None where it was not compared."""
        return self.findings.get(outcome, {}).get(label)

    def verdict(self, outcome: str, label: str) -> str:
        """The verdict on a variant; "" where it was not compared."""
        finding = self.finding(outcome, label)
        return finding.verdict if finding else ""

    def family(self, outcome: str) -> dict[str, Effect]:
        """The effects of all variants; the model before the method is not one of them."""
        variants = {}
        for label, effect in self.effects.get(outcome, {}).items():
            if self.runs[label].kind != NONE:
                variants[label] = effect
        return variants


def compare(settings: Ablate, jobs: Sequence[Job]) -> Comparison:
    """Compare all runs with their references, outcome by outcome.

    Raises:
        UserError: as `gather`, or there is no outcome of the requested name.
    """
    runs, missing = gather(settings.level, jobs)
    outcomes = _outcome_names(runs)
    first = settings.outcome or FIRST[settings.level]
    if first not in outcomes:
        raise no_outcome(first, outcomes)
    comparison = Comparison(
        settings.level,
        first,
        runs,
        effects={},
        findings={},
        missing=[*missing, *_variants_lacking_a_seed(runs, missing)],
        correction=settings.correction,
        doubts=doubts_about(outcomes, settings.level, [job for job in jobs if not job.error]),
    )
    for outcome in outcomes:
        for reference in dict.fromkeys(run.reference for run in runs.values()):
            if reference in runs:
                _add(comparison, reference, outcome, settings)
    left_out = {} if settings.level == "labels" else _left_out(comparison)
    return replace(
        comparison,
        redundancy=redundancy(jobs, left_out, settings.confidence),
        ratings=rate_policies(jobs, settings.confidence),
    )


def _outcome_names(runs: Mapping[str, Run]) -> list[str]:
    """All outcomes that any run has, in the order of the runs."""
    names: dict[str, None] = {}
    for run in runs.values():
        for outcomes in run.seeds.values():
            names |= dict.fromkeys(outcomes)
    return list(names)


def doubts_about(outcomes: Sequence[str], level: str, jobs: Sequence[Job]) -> dict[str, str]:
    """Return, by outcome, why a sweep's judge cannot tell of it; also of `REDUNDANCY`."""
    labelled = []
    measured = []
    for job in jobs:
        labelled += job.of_stage(STAGES["labels"])
        measured += [artifact.metrics for artifact in job.of_stage(STAGES[level])]
    about_labels = doubt_about_preferences(labelled)
    doubts = {REDUNDANCY: about_labels}
    for outcome in outcomes:
        doubt = ""
        if level == "labels":
            doubt = about_labels
        for metrics in measured:
            if level == "policy":
                doubt = doubt or doubt_about(outcome, metrics)
            elif level == "reward":
                doubt = doubt or doubt_about_test(outcome, metrics)
        doubts[outcome] = doubt
    return {name: doubt for name, doubt in doubts.items() if doubt}


def no_outcome(name: str, outcomes: list[str]) -> UserError:
    """There is no outcome of this name."""
    return UserError(
        f"there is no outcome {name!r}{did_you_mean(name, outcomes)}",
        where="ablate.outcome",
        fix=f"choose from: {', '.join(outcomes) or 'nothing (why, say the warnings of the runs)'}; "
        "other levels have other outcomes (docs/ablation.md)",
    )


def _variants_lacking_a_seed(
    runs: Mapping[str, Run], missing: Sequence[Missing]
) -> Iterator[Missing]:
    """The variants without a seed that their reference has, unless a failed job is listed."""
    reported = {job["variant"] for job in missing}
    for run in runs.values():
        if run.label in reported or run.reference not in runs:
            continue
        if set(run.seeds) < set(runs[run.reference].seeds):
            yield missing_job(run.label, None, "lacks a seed")


def _left_out(comparison: Comparison) -> dict[str, Finding]:
    """By principle, the conclusion about leaving it out, for the main outcome."""
    by_principle = {}
    for label, finding in comparison.findings.get(comparison.outcome, {}).items():
        run = comparison.runs[label]
        if run.kind == "leave_one_out":
            by_principle[run.target] = finding
    return by_principle


def _add(comparison: Comparison, reference: str, outcome: str, settings: Ablate) -> None:
    """Compare all variants of one reference on one outcome, and add the results.

    Raises:
        UserError: max-T was requested and cannot be computed.
    """
    runs = comparison.runs
    try:
        new_effects, new_findings = _compare_with_reference(runs, reference, outcome, settings)
    except UserError as error:
        # fewer than two prompts in common, or max-T with several seeds
        if settings.correction != "holm":
            raise
        comparison.notes.append(f"{outcome}: {error.what}, so it is not compared")
        return
    comparison.effects.setdefault(outcome, {}).update(new_effects)
    by_label = comparison.findings.setdefault(outcome, {})
    for label, finding in new_findings.items():
        if runs[label].same_data:  # it learned from the reference's data, which needs no statistics
            finding = replace(
                finding,
                verdict="equivalent",
                differs=False,
                inside=True,
                p_equivalence_holm=0.0,
                one_seed=False,
                same_data=True,
            )
        by_label[label] = finding
    if outcome == comparison.outcome:
        comparison.notes.extend(_warnings(runs, new_effects, outcome, reference))


def _compare_with_reference(
    runs: Mapping[str, Run], reference: str, outcome: str, settings: Ablate
) -> Compared:
    """Compare all variants of one reference with it.

    The model before the method is not part of the family for which p is corrected.

    Returns:
        The effects and the findings, both by label; nothing where the reference has no values.

    Raises:
        UserError: as `effects`.
    """
    base = outcome_values(runs[reference], outcome)
    if not base:
        return {}, {}
    family: dict[str, Runs] = {}
    before: dict[str, Runs] = {}
    for run in runs.values():
        values = outcome_values(run, outcome)
        if run.reference != reference or run.label == reference:
            continue
        if not base.keys() <= values.keys():
            continue
        part = before if run.kind == NONE else family
        part[run.label] = values
    logits = is_logits(outcome)
    if settings.level == "labels" and not logits:
        return changes(family, settings.margin, settings.confidence)
    margin = None if logits else settings.margin  # logits have no margin
    all_effects: dict[str, Effect] = {}
    all_findings: dict[str, Finding] = {}
    for part in (family, before):
        pools = {label: "far" if runs[label].kind in FAR else "near" for label in part}
        part_effects = effects(base, part, settings.confidence, pools, settings.correction)
        all_effects |= part_effects
        trained = settings.level != "labels"
        all_findings |= findings(part_effects, margin, 1 - settings.confidence, trained)
    return all_effects, all_findings


def _warnings(
    runs: Mapping[str, Run], new_effects: Mapping[str, Effect], outcome: str, reference: str
) -> Iterator[str]:
    """Warnings where the numbers rest on less data than it seems.

    The reasons: fewer requests, equal data, or a variant that moves more from seed to seed than its
    interval assumes.
    """
    requests = set[str]().union(*outcome_values(runs[reference], outcome).values())
    common = min((effect.n_prompts for effect in new_effects.values()), default=len(requests))
    if common < len(requests):
        yield (
            f"{common} of {len(requests)} requests are common to all seeds and variants; "
            "the others are left out"
        )
    for label in new_effects:
        if runs[label].same_data:
            yield (
                f"{label} learns from the same data as {reference}: equivalent; "
                "any difference comes from the randomness of training"
            )
    tested = [label for label, effect in new_effects.items() if effect.seeds_p is not None]
    adjusted = holm([new_effects[label].seeds_p or 0.0 for label in tested])
    for label, p in zip(tested, adjusted, strict=True):
        if p < 0.05:
            yield f"seeds move {label} more than the others: its interval is too narrow"
