"""The result files of a sweep, for reports and for other tools.

`results.json` holds all data of a report, `effects.csv` a line for each variant and outcome,
`rows.csv` a line for each variant, seed, prompt and outcome; `prompts.csv` holds the prompts'
texts. In csv files a text that a spreadsheet would run as a formula has an apostrophe before it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages.ablation.compare import Comparison
from stages.ablation.jobs import Job
from stages.ablation.runs import Run, outcome_values, overall_mean
from stages.guards.disk import errors_of_writing, write_atomically
from stages.report.csv_files import write_csv
from stages.report.sweep.conclusions import conclude
from stages.runtime.pipeline.settings import Ablate
from stages.runtime.rows import Pair, Prompt, Rating, Response, request_text

EFFECT = (
    "value",
    "low",
    "high",
    "p",
    "p_adjusted",
    "low_all",
    "high_all",
    "reference",
    "mean",
    "n_prompts",
    "n_seeds",
    "over",
)
FINDING = (
    "verdict",
    "direction",
    "tone",
    "sentence",
)
EFFECTS = (
    "variant",
    "kind",
    "target",
    "outcome",
    *EFFECT,
    *FINDING,
)
ROWS = (
    "variant",
    "kind",
    "target",
    "seed",
    "prompt_id",
    "outcome",
    "value",
)
PROMPTS = ("prompt_id", "text")


def write(folder: Path, comparison: Comparison, settings: Ablate, jobs: Sequence[Job]) -> None:
    """Write the sweep's files.

    Args:
        jobs: the finished jobs.

    Raises:
        UserError: they cannot be written.
    """
    results = _results(comparison, settings, jobs)
    text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False)
    with errors_of_writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "results.json", text)
        write_csv(folder / "effects.csv", EFFECTS, _effects(comparison))
        write_csv(folder / "rows.csv", ROWS, _rows(comparison))
        write_csv(folder / "prompts.csv", PROMPTS, _prompts(comparison, _texts(jobs)))


def _results(comparison: Comparison, settings: Ablate, jobs: Sequence[Job]) -> dict[str, Any]:
    """All data of a report: by variant and outcome the effect and the conclusion about it."""
    return {
        "level": comparison.level,
        "outcome": comparison.outcome,
        "margin": settings.margin,
        "confidence": settings.confidence,
        "correction": settings.correction,
        "jobs": [_job(job) for job in jobs],
        "variants": [_variant(comparison, run) for run in comparison.runs.values()],
        "missing": comparison.missing,
        "notes": comparison.notes,
        "doubts": comparison.doubts,
        "redundancy": comparison.redundancy,
        "ratings": comparison.ratings,
    }


def _job(job: Job) -> dict[str, Any]:
    """One job; the run.json in its folder names the folders of its artifacts."""
    return {
        "variant": job.label,
        "seed": job.seed,
        "folder": str(job.number),
        "constitution": job.constitution,
    }


def _variant(comparison: Comparison, run: Run) -> dict[str, Any]:
    outcomes = {}
    for outcome, by_label in comparison.effects.items():
        if run.label in by_label:
            outcomes[outcome] = {
                "effect": by_label[run.label].plain(),
                "finding": _finding(comparison, outcome, run.label),
            }
    return {
        "variant": run.label,
        "kind": run.kind,
        "target": run.target,
        "reference": run.reference,
        "seeds": list(run.seeds),
        "outcomes": outcomes,
        "means": {
            outcome: overall_mean(outcome_values(run, outcome)) for outcome in comparison.effects
        },
    }


def _finding(comparison: Comparison, outcome: str, label: str) -> dict[str, Any] | None:
    """The conclusion about a variant, for machines and in words."""
    finding = comparison.finding(outcome, label)
    conclusion = conclude(comparison, outcome, label)
    if finding is None or conclusion is None:
        return None
    return asdict(finding) | {
        "outcome": outcome,
        "direction": conclusion.direction,
        "tone": conclusion.tone,
        "sentence": conclusion.phrase,
    }


def _effects(comparison: Comparison) -> Iterable[Sequence[Any]]:
    for outcome, by_label in comparison.effects.items():
        for label, effect in by_label.items():
            run = comparison.runs[label]
            numbers = [getattr(effect, name) for name in EFFECT]
            finding = _finding(comparison, outcome, label) or {}
            words = [finding.get(name, "") for name in FINDING]
            yield (label, run.kind, run.target, outcome, *numbers, *words)


def _rows(comparison: Comparison) -> Iterable[Sequence[Any]]:
    for run in comparison.runs.values():
        variant = (run.label, run.kind, run.target)
        for seed, outcomes in run.seeds.items():
            for outcome, values_by_prompt in outcomes.items():
                for prompt_id, value in values_by_prompt.items():
                    yield (*variant, seed, prompt_id, outcome, f"{value:g}")


def _prompts(comparison: Comparison, texts: Mapping[str, str]) -> Iterable[Sequence[str]]:
    """Each prompt of `rows.csv` once; in a section's test it is `<kind of pairs>: <prompt_id>`."""
    names: dict[str, None] = {}
    for run in comparison.runs.values():
        for outcomes in run.seeds.values():
            for values_by_prompt in outcomes.values():
                names |= dict.fromkeys(values_by_prompt)
    for name in names:
        yield (name, texts.get(name.rpartition(": ")[2], ""))


def _texts(jobs: Sequence[Job]) -> dict[str, str]:
    """The text of every prompt that the jobs' steps read from a source, by prompt_id."""
    sources = {artifact.directory: artifact for job in jobs for artifact in job.artifacts()}
    texts: dict[str, str] = {}
    for source in sources.values():
        if source.stage == "prompts":
            texts |= {row.id: request_text(row.messages) for row in source.rows(Prompt)}
        elif source.stage in ("human_pairs", "human_answers"):
            rows: list[Any] = source.rows(Pair, Rating, Response)
            texts |= {row.prompt_id: request_text(row.prompt) for row in rows}
    return texts
