"""What a sweep leaves in its folder, for reports and for others' tools.

`results.json` holds all that a report needs, `effects.csv` a line for each variant and outcome,
`rows.csv` one for each variant, seed, prompt and outcome; `prompts.csv` says which prompt is which.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.ablation.compare import Comparison, mean_of, of_outcome
from stages.runtime.artifacts import write_atomically
from stages.runtime.errors import UserError
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
ROW = ("variant", "kind", "target", "seed", "prompt", "outcome", "value")


def write(folder: Path, comparison: Comparison, settings: Ablate, facts: Mapping[str, Any]) -> None:
    """The sweep's files.

    Raises:
        UserError: they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        results = json.dumps(
            results_of(comparison, settings, facts), indent=2, ensure_ascii=False, allow_nan=False
        )
        write_atomically(folder / "results.json", results)
        _write_csv(
            folder / "effects.csv",
            ("variant", "kind", "target", "outcome", *EFFECT, "verdict"),
            _lines(comparison),
        )
        prompts: dict[str, str] = {}
        _write_csv(folder / "rows.csv", ROW, _rows(comparison, prompts))
        _write_csv(
            folder / "prompts.csv",
            ("prompt", "text"),
            ((name, text) for text, name in prompts.items()),
        )
    except OSError as error:
        fix = "free some disk space and give the same command again"
        raise UserError(
            f"the ablation cannot be written: {error.strerror}", where=str(folder), fix=fix
        ) from None


def results_of(
    comparison: Comparison, settings: Ablate, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What a report needs: by variant and outcome the effect and what may be said of it."""
    variants = [
        {
            "variant": run.label,
            "kind": run.kind,
            "target": run.target,
            "reference": run.reference,
            "seeds": list(run.seeds),
            "outcomes": {
                outcome: {
                    "effect": by_label[run.label].plain(),
                    "finding": f.plain()
                    if (f := comparison.findings.get(outcome, {}).get(run.label))
                    else None,
                }
                for outcome, by_label in comparison.effects.items()
                if run.label in by_label
            },
            "means": {o: mean_of(of_outcome(run, o)) for o in comparison.effects},
        }
        for run in comparison.runs.values()
    ]
    told = {"level": comparison.level, "outcome": comparison.outcome, "margin": settings.margin,
            "confidence": settings.confidence, "correction": settings.correction}  # fmt: skip
    return {**told, **facts, "variants": variants, "missing": comparison.missing, "notes": comparison.notes,
            "redundancy": comparison.redundancy, "ratings": comparison.ratings}  # fmt: skip


def _lines(comparison: Comparison) -> Iterable[Sequence[Any]]:
    for outcome, by_label in comparison.effects.items():
        for label, effect in by_label.items():
            run, found = comparison.runs[label], comparison.findings.get(outcome, {}).get(label)
            cells = [getattr(effect, name) for name in EFFECT]
            yield (label, run.kind, run.target, outcome, *cells, found.verdict if found else "")


def _rows(comparison: Comparison, prompts: dict[str, str]) -> Iterable[Sequence[Any]]:
    for run in comparison.runs.values():
        for seed, found in run.seeds.items():
            for outcome, cells in found.items():
                for text, value in cells.items():
                    name = prompts.setdefault(text, hashlib.sha256(text.encode()).hexdigest()[:12])
                    yield (run.label, run.kind, run.target, seed, name, outcome, f"{value:g}")


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)
