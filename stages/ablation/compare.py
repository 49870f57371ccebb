"""From the outcomes of a sweep's jobs to what each variant changed: effects with intervals, adjusted p, verdicts; a table.

Every variant is compared with the full set of its own group, on the same prompts and seeds (`evaluation/ablation_statistics`).
A variant that lacks a seed, because its job failed, is named and left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from stages.ablation.jobs import Job
from stages.ablation.matrix import rated, redundancy
from stages.ablation.outcomes import FIRST, NONE, Values, before_the_method, values
from stages.evaluation.ablation_redundancy import Finding, findings
from stages.evaluation.ablation_statistics import Effect, effects
from stages.principles.variants import FULL
from stages.runtime.config import Ablate
from stages.runtime.errors import UserError, did_you_mean

CORRECTIONS = {"holm": "Holm", "max_t": "max-T"}


@dataclass
class Run:
    """One variant: what it came to by seed, outcome and prompt."""

    label: str
    kind: str
    target: str
    reference: str
    seeds: dict[str, Values] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Args:
    runs: by label, the references too.
    effects, findings: by outcome and label.
    redundancy, ratings: plain data, as `matrix` describes them.
    missing: the jobs that failed, with what stopped them; variants left out for it.
    correction: of p for many variants.
    """

    level: str
    outcome: str
    runs: dict[str, Run]
    effects: dict[str, dict[str, Effect]]
    findings: dict[str, dict[str, Finding]]
    missing: list[dict[str, Any]]
    correction: str = "holm"
    redundancy: dict[str, Any] | None = None
    ratings: list[dict[str, Any]] = field(default_factory=list)


def gather(level: str, jobs: Sequence[Job]) -> tuple[dict[str, Run], list[dict[str, Any]]]:
    """The runs of a sweep, and what is missing.

    Raises:
        UserError: no full set was run to its end, so there is nothing to compare with.
    """
    missing = [{"variant": job.label, "seed": job.seed, "error": job.error} for job in jobs if job.error]
    whole = [job for job in jobs if job.variant == FULL and not job.error]
    if not whole:
        told = "; ".join(f"{m['variant']} seed {m['seed']}: {m['error']}" for m in missing[:3])
        raise UserError(
            f"the full set was not run to its end, so there is nothing to compare with ({told})",
            where="ablation",
            mend="mend what stopped it and give the same command again: what is done is kept",
        )
    runs: dict[str, Run] = {}
    for job in jobs:
        if job.error:
            continue
        varied = any(other.group == job.group and other.variant != FULL for other in jobs)
        own = [other for other in whole if other.group == job.group] if varied else whole
        reference = next((other for other in own if other.seed == job.seed), None)
        if reference is None:
            missing.append({"variant": job.label, "seed": job.seed, "error": "the full set has no such seed"})
            continue
        run = runs.setdefault(job.label, Run(job.label, job.kind, job.target, reference.label))
        run.seeds[str(job.seed)] = values(level, job, reference)
        if level == "policy" and job is reference and (before := before_the_method(job)):
            name = f"{NONE} {job.group}".strip()
            runs.setdefault(name, Run(name, NONE, "", job.label)).seeds[str(job.seed)] = before
    return runs, missing


def compare(settings: Ablate, jobs: Sequence[Job]) -> Comparison:
    """All runs with their references, outcome by outcome.

    Raises:
        UserError: as `gather`, or there is no outcome of the name that is wanted.
    """
    runs, missing = gather(settings.level, jobs)
    known = list(dict.fromkeys(outcome for run in runs.values() for seed in run.seeds.values() for outcome in seed))
    first = settings.outcome or FIRST[settings.level]
    if first not in known:
        what = f"there is no outcome {first!r}.{did_you_mean(first, known)}"
        raise UserError(what, where="ablate.outcome", mend=f"choose from: {', '.join(known) or 'nothing'}")
    found: dict[str, dict[str, Effect]] = {}
    judged: dict[str, dict[str, Finding]] = {}
    lacking: set[str] = set()
    for outcome in known:
        for reference in dict.fromkeys(run.reference for run in runs.values()):
            base = of_outcome(runs[reference], outcome)
            varied = [run for run in runs.values() if run.reference == reference and run.label != reference]
            others = {run.label: of_outcome(run, outcome) for run in varied}
            whole = {label: one for label, one in others.items() if base.keys() <= one.keys()}
            lacking |= {label for label in others if label not in whole and set(runs[label].seeds) < set(runs[reference].seeds)}
            family = {label: one for label, one in whole.items() if runs[label].kind != NONE}
            for part in (family, {label: one for label, one in whole.items() if label not in family}):
                try:
                    made = effects(base, part, settings.confidence, correction=settings.correction) if base else {}
                except UserError:  # fewer than two prompts in common: nobody looked
                    continue
                found.setdefault(outcome, {}).update(made)
                if outcome != "margin":  # logits have no margin of equivalence
                    judged.setdefault(outcome, {}).update(findings(made, settings.margin, 1 - settings.confidence))
    told = {(m["variant"]) for m in missing}
    missing += [{"variant": label, "seed": None, "error": "lacks a seed"} for label in sorted(lacking - told)]
    left_out = {runs[label].target: f for label, f in judged.get(first, {}).items() if runs[label].kind == "leave_one_out"}
    redundant = redundancy(jobs, {} if settings.level == "labels" else left_out, settings.confidence)
    ratings = rated(jobs, settings.confidence)
    return Comparison(settings.level, first, runs, found, judged, missing, settings.correction, redundant, ratings)


def of_outcome(run: Run, outcome: str) -> dict[str, dict[str, float]]:
    return {seed: found[outcome] for seed, found in run.seeds.items() if found.get(outcome)}


def shown(comparison: Comparison) -> Table:
    """One line a variant: the level's outcome with its interval and verdict, and what else changed."""
    found, first = comparison.effects, comparison.outcome
    others = [o for o in found if o != first and not o.startswith("violates ") and "(" not in o][:4]
    over = next((e.over for e in found.get(first, {}).values()), "prompts")
    title = f"Ablation at level {comparison.level}: {first}, against the full set, in points; intervals over {over}"
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(("variant", first, f"p ({CORRECTIONS[comparison.correction]})", "verdict", *others)):
        table.add_column(column, justify="left" if index in (0, 3) else "right", overflow="fold")
    for label, run in comparison.runs.items():
        effect = found.get(first, {}).get(label)
        if run.reference == label:
            mean = mean_of(of_outcome(run, first))
            table.add_row(label, "-" if mean is None else f"{100 * mean:.1f} (its own)", "", "reference")
            continue
        if effect is None:
            table.add_row(label, "-")
            continue
        verdict = comparison.findings.get(first, {}).get(label)
        rest = [_points(found[o].get(label), o == "margin") for o in others]
        points = f"{100 * effect.value:+.1f} [{100 * effect.low:+.1f}, {100 * effect.high:+.1f}]"
        p = f"{effect.p_adjusted:.3f}" if effect.p_adjusted >= 0.001 else "<0.001"
        table.add_row(label, points, p, _said(verdict), *rest)
    for lost in comparison.missing:
        seed = "" if lost["seed"] is None else f" seed {lost['seed']}"
        table.add_row(f"{lost['variant']}{seed}", "missing", "", lost["error"].splitlines()[0])
    return table


def mean_of(by_seed: Mapping[str, Mapping[str, float]]) -> float | None:
    cells = [value for found in by_seed.values() for value in found.values()]
    return sum(cells) / len(cells) if cells else None


def _said(found: Finding | None) -> str:
    """The verdict; an effect that is there can still be shown to lie within the margin."""
    if found is None:
        return ""
    return f"{found.verdict}, within {100 * found.margin:g}" if found.differs and found.inside else found.verdict


def _points(effect: Effect | None, logits: bool) -> str:
    return "-" if effect is None else f"{effect.value:+.2f}" if logits else f"{100 * effect.value:+.1f}"
