"""The tables of a sweep's report: which principles agree, ratings, what each job ran.

In: plain data of `matrix`, the jobs. Out: plain data for the template.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stages.ablation.jobs import DONE, FAILED, Job
from stages.ablation.outcomes import NONE
from stages.report.sweep.charts import Rung
from stages.statistics.formatting import format_percent as percent


def redundant(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """`matrix.redundancy` as a table: a row and a column each principle, and what each does alone."""
    if not found:
        return None
    pairs = {(a["first"], a["second"]): a for a in found["agreements"]}
    alone = {one["principle"]: one for one in found["principles"]}
    verdicts = found["redundancies"]
    can_go = {(v["principle"], v["beside"]) for v in verdicts if v["verdict"] == "redundant"}
    rows = []
    for one in found["names"]:
        cells: list[dict[str, Any] | None] = []
        for other in found["names"]:
            both = pairs.get((one, other)) or pairs.get((other, one))
            if both is None or both["agree"] is None:
                cells.append(None)
                continue
            share = both["agree"]["value"]
            colour, strength = (
                "other" if share >= 0.5 else "worse",
                0.62 * abs(2 * share - 1) ** 1.5,
            )
            kappa = "" if both["kappa"] is None else f", kappa {both['kappa']:.2f}"
            cells.append(
                {
                    "text": percent(share, 0),
                    "style": f"background:rgba(var(--tint-{colour}), {strength:.2f})",
                    "redundant": (one, other) in can_go,
                    "title": f"{one} and {other} prefer the same in {percent(share)} % of {both['both']:,} pairs; "
                    f"where either speaks, both do in {percent(both['covered']['value'])} %{kappa}",
                }
            )
        own = alone.get(one)
        told = own and {
            "speaks": percent(own["speaks"], 0),
            "decides": percent(own["decides"]),
            "pivotal": percent(own["pivotal"]["value"]),
            "interval": f"{percent(own['pivotal']['low'])} to {percent(own['pivotal']['high'])} %",
        }
        rows.append({"id": one, "cells": cells, **(told or {})})
    return {
        "names": found["names"],
        "rows": rows,
        "pairs": f"{found['pairs']:,}",
        "found": [
            {
                name: v[name] if name in ("principle", "beside") else percent(v[name])
                for name in v
                if name != "verdict"
            }
            for v in verdicts
            if v["verdict"] == "redundant"
        ],
        "undecided": sum(v["verdict"] == "undecided" for v in verdicts),
        "distinct": sum(v["verdict"] == "distinct" for v in verdicts),
        "decided": bool(alone),
    }


def rung(rating: Mapping[str, Any]) -> Rung:
    before = rating["model"].partition(" ")[0] == NONE
    name = f"before the method{rating['model'].removeprefix(NONE)}" if before else rating["model"]
    told = f"{rating['wins']} won, {rating['ties']} tied, {rating['losses']} lost"
    return Rung(name, rating["elo"], rating["low"], rating["high"], told)


def done(jobs: Sequence[Job], sweep: Path, page: Path) -> dict[str, Any]:
    """What each job ran, reused and sent; links are relative to `page`, so that the folder can be
    moved as a whole.
    """
    lines: list[dict[str, Any]] = []
    seen: set[Path] = set()
    total: dict[str, float] = dict.fromkeys(
        ("steps", "reused", "sent", "stored", "trainings", "seconds"), 0.0
    )
    for job in jobs:
        folder = sweep / str(job.number)
        line: dict[str, Any] = {
            "variant": job.label,
            "seed": job.seed,
            "error": job.error,
            "links": [],
            "made": [],
            "reused": 0,
        }
        line |= {"seconds": "", "sent": "", "stored": "", "trainings": 0}
        if not job.error:
            steps, made = ran(folder), []
            for artifact in job.artifacts():
                reused = steps.get(artifact.step, True) or artifact.directory in seen
                seen.add(artifact.directory)
                if not reused:
                    made.append(artifact)
            calls = [a.manifest.get("calls") or {} for a in made]
            sent, stored = (sum(c.get(key, 0) for c in calls) for key in ("sent", "stored"))
            seconds = sum(a.manifest.get("seconds") or 0 for a in made)
            trained = sum(bool(a.metrics.get("history")) for a in made)
            own = {
                "steps": len(made),
                "reused": len(steps) - len(made),
                "sent": sent,
                "stored": stored,
                "trainings": trained,
            }
            total = {
                name: before + (own | {"seconds": seconds})[name] for name, before in total.items()
            }
            line |= own | {
                "made": [a.step for a in made],
                "sent": f"{sent:,}",
                "stored": f"{stored:,}",
            }
            line |= {"seconds": f"{seconds:.1f}", "share": seconds}
            pages = [a.directory / "report.html" for a in job.of_stage("report")]
            line["links"] = [("report", link(page, path)) for path in pages if path.exists()]
        told = folder / (FAILED if job.error else DONE)
        line["links"] += [(told.name, link(page, told))] if told.exists() else []
        lines.append(line)
    longest = max([line.get("share", 0) for line in lines] + [1e-9])
    for line in lines:
        line["share"] = 100 * line.get("share", 0) / longest
    return {"lines": lines, "total": {name: f"{value:,.0f}" for name, value in total.items()}}


def ran(folder: Path) -> dict[str, bool]:
    """By step, whether the job reused it."""
    try:
        facts = json.loads((folder / DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: bool(step.get("reused")) for name, step in facts.get("steps", {}).items()}


def link(page: Path, target: Path) -> str:
    return quote(Path(os.path.relpath(target, page.parent)).as_posix())
