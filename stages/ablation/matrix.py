"""What the judge matrix and the duels of a sweep's models say: redundancy of principles, ratings.

In: the jobs. Out: plain data for the report. Of `judged_pairs` the arithmetic of its own options is repeated: its orders, its
clip, how it aggregates. SALMON's subsets are left out: there agreement is shown, and no verdicts.

A job's win rates are kept as counts, not by prompt; so each duel counts as a prompt of its own in the ratings' intervals,
which then do not know that two models answered the same request.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.ablation.jobs import Job
from stages.ablation.outcomes import NONE
from stages.evaluation.ablation_redundancy import (
    Attribution,
    Decide,
    Finding,
    Matrix,
    agreements,
    attributions,
    by_aggregate,
    redundancies,
)
from stages.evaluation.effects import percent
from stages.evaluation.ranking import Game, ratings
from stages.preferences.aggregate import bounded, combine_orders
from stages.principles.assign import assign
from stages.principles.constitution import Principle
from stages.principles.variants import FULL
from stages.runtime.artifacts import Artifact, find_artifact
from stages.runtime.errors import UserError
from stages.runtime.rows import Judgement

MOST = 40  # principles beyond which a matrix cannot be read


def redundancy(jobs: Sequence[Job], outcomes: Mapping[str, Finding], confidence: float) -> dict[str, Any] | None:
    """The first full set's matrix: how far every two principles agree, and which can go while another stays.

    Args:
        outcomes: by principle, what leaving it out did to the models; empty where only labels were looked at.
    """
    made = next((m for job in jobs if job.variant == FULL and not job.error for m in job.of_stage("judged_pairs")), None)
    judged = made and _judged(made)
    if not made or not judged:
        return None
    options = made.manifest["payload"]["options"]
    matrix = _matrix(judged.rows(Judgement), options)
    names = list(dict.fromkeys(name for cells in matrix.values() for name in cells))
    if not 2 <= len(names) <= MOST:
        return None
    decide = _decide(options, made.manifest["payload"].get("seed", 0))
    pairs = {(a.first, a.second): a for a in agreements(matrix, confidence)}
    verdicts = redundancies(matrix, decide, confidence=confidence, outcomes=outcomes) if decide else []
    alone = attributions(matrix, decide, confidence) if decide else {}
    rows = []
    for one in names:
        cells: list[dict[str, Any] | None] = []
        for other in names:
            found = pairs.get((one, other)) or pairs.get((other, one))
            if one == other or found is None or found.agree is None:
                cells.append(None)
                continue
            share = found.agree.value
            colour, strength = "other" if share >= 0.5 else "worse", 0.62 * abs(2 * share - 1) ** 1.5
            kappa = "" if found.kappa is None else f", kappa {found.kappa:.2f}"
            cells.append(
                {
                    "text": percent(share, 0),
                    "style": f"background:rgba(var(--tint-{colour}), {strength:.2f})",
                    "redundant": any(v.verdict == "redundant" and (v.principle, v.beside) == (one, other) for v in verdicts),
                    "title": f"{one} and {other} prefer the same in {percent(share)} % of {found.both:,} pairs{kappa}",
                }
            )
        rows.append({"id": one, "cells": cells, **(_alone(alone[one]) if alone else {})})
    return {
        "names": names,
        "rows": rows,
        "pairs": f"{len(matrix):,}",
        "found": [
            {"principle": v.principle, "beside": v.beside, "agree": percent(v.agree), "covered": percent(v.covered),
             "pivotal": percent(v.pivotal)}
            for v in verdicts if v.verdict == "redundant"
        ],
        "undecided": sum(v.verdict == "undecided" for v in verdicts),
        "distinct": sum(v.verdict == "distinct" for v in verdicts),
        "decided": bool(decide),
    }  # fmt: skip


def _alone(found: Attribution) -> dict[str, str]:
    return {
        "speaks": percent(found.speaks, 0),
        "decides": percent(found.decides),
        "pivotal": percent(found.pivotal.value),
        "interval": f"{percent(found.pivotal.low)} to {percent(found.pivotal.high)} %",
    }


def _judged(made: Artifact) -> Artifact | None:
    source = made.manifest["payload"].get("inputs", {}).get("judgements", "")
    for folder in made.directory.parent.glob(f"*-{source}"):
        if found := find_artifact(folder.parent, folder.name.removesuffix(f"-{source}"), source):
            return found
    return None


def _matrix(cells: Sequence[Judgement], options: Mapping[str, Any]) -> Matrix:
    """The columns that count, as `judged_pairs` read them; a negated principle says the contrary."""
    counted, negated = options["constitution"], set(options.get("negated") or ())
    found: dict[str, dict[str, float]] = {}
    for cell in cells:
        if cell.principle in counted:
            margin = bounded(combine_orders(cell.margin_ab, cell.margin_ba, options["orders"]), options["clip"])
            found.setdefault(cell.parent, {})[cell.principle] = -margin if cell.principle in negated else margin
    return found


def _decide(options: Mapping[str, Any], seed: int) -> Decide | None:
    weights = {name: facts.get("weight", 1.0) for name, facts in options["constitution"].items()}
    if options["aggregate"] == "salmon":
        return None
    if options["aggregate"] != "random":
        return by_aggregate(options["aggregate"], weights)
    principles = {
        name: Principle.model_validate({"id": name, "text": name, "weight": weight}) for name, weight in weights.items()
    }

    def drawn(pair: str, margins: Mapping[str, float]) -> tuple[float, list[str]]:
        name = assign([principles[each] for each in margins], pair, seed).id
        return margins[name], [name]

    return drawn


def rated(jobs: Sequence[Job], confidence: float) -> list[dict[str, Any]]:
    """Bradley-Terry ratings of every variant's last policy, from its win rates against the first; the strongest first."""
    games: list[Game] = []
    for job in jobs:
        for made in job.of_stage("evaluate") if not job.error else []:
            names = list(made.metrics["policies"])
            rates = made.metrics.get("win_rates", {})
            if rate := rates.get(names[-1], {}).get(names[0]) if len(names) > 1 else None:
                for score, key in ((1.0, "wins"), (0.5, "ties"), (0.0, "losses")):
                    games += [(f"{job.number} {made.step} {key} {i}", job.label, NONE, score) for i in range(rate[key])]
    if not games:
        return []
    try:
        found = ratings(games, anchor=NONE, resamples=300, confidence=confidence)
    except UserError:
        return []
    return [rating.plain() for rating in found]
