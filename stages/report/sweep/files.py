"""What a sweep leaves in its folder, for reports and for others' tools.

`results.json` holds all that a report needs, `effects.csv` a line for each variant and outcome,
`rows.csv` one for each variant, seed, prompt and outcome; `prompts.csv` says which prompt is which.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages.ablation.compare import Comparison
from stages.ablation.jobs import Job
from stages.ablation.runs import Run, mean_of, of_outcome
from stages.report.page import errors_of_writing
from stages.runtime.artifacts import write_atomically
from stages.runtime.pipeline.config import Ablate

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
EFFECTS = (
    "variant",
    "kind",
    "target",
    "outcome",
    *EFFECT,
    "verdict",
)
ROWS = (
    "variant",
    "kind",
    "target",
    "seed",
    "prompt",
    "outcome",
    "value",
)
PROMPTS = ("prompt", "text")


def write(folder: Path, comparison: Comparison, settings: Ablate, jobs: Sequence[Job]) -> None:
    """Write the sweep's files.

    Args:
        jobs: those that were finished.

    Raises:
        UserError: they cannot be written.
    """
    results = _results(comparison, settings, jobs)
    text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False)
    prompts: dict[str, str] = {}
    with errors_of_writing("ablation", folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "results.json", text)
        _write_csv(folder / "effects.csv", EFFECTS, _effects(comparison))
        _write_csv(folder / "rows.csv", ROWS, _rows(comparison, prompts))
        names = ((name, prompt) for prompt, name in prompts.items())
        _write_csv(folder / "prompts.csv", PROMPTS, names)


def _results(comparison: Comparison, settings: Ablate, jobs: Sequence[Job]) -> dict[str, Any]:
    """What a report needs: by variant and outcome the effect and what may be said of it."""
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
        "redundancy": comparison.redundancy,
        "ratings": comparison.ratings,
    }


def _job(job: Job) -> dict[str, Any]:
    """The run.json in a job's folder says where its artifacts lie."""
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
            finding = comparison.finding(outcome, run.label)
            outcomes[outcome] = {
                "effect": by_label[run.label].plain(),
                "finding": asdict(finding) if finding else None,
            }
    return {
        "variant": run.label,
        "kind": run.kind,
        "target": run.target,
        "reference": run.reference,
        "seeds": list(run.seeds),
        "outcomes": outcomes,
        "means": {outcome: mean_of(of_outcome(run, outcome)) for outcome in comparison.effects},
    }


def _effects(comparison: Comparison) -> Iterable[Sequence[Any]]:
    for outcome, by_label in comparison.effects.items():
        for label, effect in by_label.items():
            run = comparison.runs[label]
            numbers = [getattr(effect, name) for name in EFFECT]
            verdict = comparison.verdict(outcome, label)
            yield (label, run.kind, run.target, outcome, *numbers, verdict)


def _rows(comparison: Comparison, prompts: dict[str, str]) -> Iterable[Sequence[Any]]:
    """The values of all runs; notes in `prompts` the name of each prompt."""
    for run in comparison.runs.values():
        variant = (run.label, run.kind, run.target)
        for seed, outcomes in run.seeds.items():
            for outcome, cells in outcomes.items():
                for prompt, value in cells.items():
                    name = prompts.setdefault(prompt, _name_of(prompt))
                    yield (*variant, seed, name, outcome, f"{value:g}")


def _name_of(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()[:12]


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)
