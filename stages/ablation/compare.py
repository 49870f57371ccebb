"""From the outcomes of a sweep's jobs to what each variant changed: effects with intervals,
adjusted p, verdicts.

Every variant is compared with the full set of its own group, on the same prompts and seeds
(`ablation/differences`). A variant that lacks a seed, because its job failed, is named and left
out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stages.ablation.jobs import Job
from stages.ablation.matrix import rated, redundancy
from stages.ablation.outcomes import (
    FIRST,
    NONE,
    Values,
    before_the_method,
    is_logits,
    same_lessons,
    values,
)
from stages.principles.variants import FULL
from stages.runtime.errors import UserError, did_you_mean
from stages.runtime.pipeline.config import Ablate
from stages.statistics.corrections import holm
from stages.statistics.differences import effects
from stages.statistics.effect import Effect
from stages.statistics.equivalence import Finding, findings
from stages.statistics.shares import changes

FAR = (
    "full",
    "only_one",
    "only_tag",
    "sizes",
)  # kinds far from the reference; seeds may move them more than the near ones
CORRECTIONS = {"holm": "Holm", "max_t": "max-T"}


@dataclass
class Run:
    """One variant: what it came to by seed, outcome and prompt."""

    label: str
    kind: str
    target: str
    reference: str
    seeds: dict[str, Values] = field(default_factory=dict)
    same: bool = True  # it learnt from the very same data as the reference, under every seed


@dataclass(frozen=True)
class Comparison:
    """Args:
    runs: by label, the references too.
    effects, findings: by outcome and label.
    redundancy, ratings: plain data, as `matrix` describes them.
    missing: the jobs that failed, with what stopped them; variants left out for it.
    notes: what a reader of the numbers has to know besides.
    correction: of p for many variants.
    """

    level: str
    outcome: str
    runs: dict[str, Run]
    effects: dict[str, dict[str, Effect]]
    findings: dict[str, dict[str, Finding]]
    missing: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    correction: str = "holm"
    redundancy: dict[str, Any] | None = None
    ratings: list[dict[str, Any]] = field(default_factory=list)


def gather(level: str, jobs: Sequence[Job]) -> tuple[dict[str, Run], list[dict[str, Any]]]:
    """The runs of a sweep, and what is missing.

    Raises:
        UserError: no full set was run to its end, so there is nothing to compare with.
    """
    missing = [
        {"variant": job.label, "seed": job.seed, "error": job.error} for job in jobs if job.error
    ]
    whole = [job for job in jobs if job.variant == FULL and not job.error]
    if not whole:
        told = "; ".join(f"{m['variant']} seed {m['seed']}: {m['error']}" for m in missing[:3])
        raise UserError(
            f"the full set was not run to its end, so there is nothing to compare with ({told})",
            where="ablation",
            fix="fix what stopped it and give the same command again: what is done is kept",
        )
    runs: dict[str, Run] = {}
    for job in (job for job in jobs if not job.error):
        label = _reference_of(job, jobs, whole)
        reference = next(
            (other for other in whole if other.label == label and other.seed == job.seed), None
        )
        if reference is None:
            missing.append(
                {"variant": job.label, "seed": job.seed, "error": f"{label!r} has no such seed"}
            )
            continue
        run = runs.setdefault(job.label, Run(job.label, job.kind, job.target, label))
        run.seeds[str(job.seed)] = values(level, job, reference)
        run.same = run.same and level != "labels" and same_lessons(job, reference)
        if level == "policy" and job is reference and (before := before_the_method(job)):
            name = f"{NONE} {job.group}".strip()
            runs.setdefault(name, Run(name, NONE, "", job.label, same=False)).seeds[
                str(job.seed)
            ] = before
    return runs, missing


def _reference_of(job: Job, jobs: Sequence[Job], whole: Sequence[Job]) -> str:
    """Its own group's full set; where groups hold nothing else, sets are compared, all with the
    sweep's first.
    """
    varied = any(other.group == job.group and other.variant != FULL for other in jobs)
    own = f"{FULL} {job.group}".strip()
    return own if varied else whole[0].label


def compare(settings: Ablate, jobs: Sequence[Job]) -> Comparison:
    """All runs with their references, outcome by outcome.

    Raises:
        UserError: as `gather`, or there is no outcome of the name that is wanted.
    """
    runs, missing = gather(settings.level, jobs)
    known = list(
        dict.fromkeys(
            outcome for run in runs.values() for seed in run.seeds.values() for outcome in seed
        )
    )
    first = settings.outcome or FIRST[settings.level]
    if first not in known:
        what = f"there is no outcome {first!r}.{did_you_mean(first, known)}"
        raise UserError(
            what, where="ablate.outcome", fix=f"choose from: {', '.join(known) or 'nothing'}"
        )
    made: dict[str, dict[str, Effect]] = {}
    judged: dict[str, dict[str, Finding]] = {}
    notes: list[str] = []
    for outcome in known:
        for reference in dict.fromkeys(run.reference for run in runs.values()):
            if reference not in runs:
                continue
            try:
                found, told = _against(runs, reference, outcome, settings)
            except (
                UserError
            ) as error:  # fewer than two prompts in common, or max-T with several seeds
                if settings.correction != "holm":
                    raise
                notes.append(f"{outcome}: {error.what}, so nothing is said of it")
                continue
            made.setdefault(outcome, {}).update(found)
            judged.setdefault(outcome, {}).update(
                {label: _known(runs[label], f) for label, f in told.items()}
            )
            if outcome == first:
                notes += _warnings(runs, found, outcome, reference)
    told_of = {m["variant"] for m in missing}
    lacking = [
        r
        for r in runs.values()
        if r.reference in runs and set(r.seeds) < set(runs[r.reference].seeds)
    ]
    missing += [
        {"variant": r.label, "seed": None, "error": "lacks a seed"}
        for r in lacking
        if r.label not in told_of
    ]
    left_out = {
        runs[label].target: f
        for label, f in judged.get(first, {}).items()
        if runs[label].kind == "leave_one_out"
    }
    return Comparison(
        settings.level, first, runs, made, judged, missing, notes, settings.correction,
        redundancy(jobs, {} if settings.level == "labels" else left_out, settings.confidence), rated(jobs, settings.confidence),
    )  # fmt: skip


def _against(
    runs: Mapping[str, Run], reference: str, outcome: str, settings: Ablate
) -> tuple[dict[str, Effect], dict[str, Finding]]:
    """All that are compared with one reference; the model before the method is no part of the
    family that Holm knows.
    """
    base = of_outcome(runs[reference], outcome)
    varied = [run for run in runs.values() if run.reference == reference and run.label != reference]
    others = {
        run.label: cells
        for run in varied
        if base.keys() <= (cells := of_outcome(run, outcome)).keys()
    }
    family = {label: cells for label, cells in others.items() if runs[label].kind != NONE}
    if not base:
        return {}, {}
    logits = is_logits(outcome)
    if settings.level == "labels" and not logits:
        return changes(family, settings.margin, settings.confidence)
    made: dict[str, Effect] = {}
    told: dict[str, Finding] = {}
    for part in (family, {label: cells for label, cells in others.items() if label not in family}):
        pools = {label: "far" if runs[label].kind in FAR else "near" for label in part}
        found = effects(base, part, settings.confidence, pools, settings.correction)
        made |= found
        told |= findings(
            found, None if logits else settings.margin, 1 - settings.confidence
        )  # logits have no margin
    return made, told


def _known(run: Run, found: Finding) -> Finding:
    """What is equal by construction needs no statistics."""
    return (
        replace(found, verdict="equivalent", differs=False, inside=True, p_equivalence_holm=0.0)
        if run.same
        else found
    )


def _warnings(
    runs: Mapping[str, Run], found: Mapping[str, Effect], outcome: str, reference: str
) -> Iterator[str]:
    """Where the numbers rest on less than it seems, or a variant moves more from seed to seed than
    its interval knows.
    """
    there = {prompt for cells in of_outcome(runs[reference], outcome).values() for prompt in cells}
    least = min((effect.n_prompts for effect in found.values()), default=len(there))
    if least < len(there):
        yield f"{least} of {len(there)} requests are common to all seeds and variants; the others are left out"
    for label in (label for label in found if runs[label].same):
        yield f"{label} learns from the very same data as {reference}: equivalent; what it shows is the chance of a training"
    names = [label for label, effect in found.items() if effect.seeds_p is not None]
    for label, p in zip(names, holm([found[label].seeds_p or 0.0 for label in names]), strict=True):
        if p < 0.05:
            yield f"seeds move {label} more than the others: its interval is too narrow"


def of_outcome(run: Run, outcome: str) -> dict[str, dict[str, float]]:
    return {seed: found[outcome] for seed, found in run.seeds.items() if found.get(outcome)}


def mean_of(by_seed: Mapping[str, Mapping[str, float]]) -> float | None:
    cells = [value for found in by_seed.values() for value in found.values()]
    return sum(cells) / len(cells) if cells else None
