"""What the judge matrix and the duels of a sweep's models say: redundancy of principles, ratings.

In: the jobs. Out: plain data. Of `judged_pairs` the arithmetic of its own options is repeated: its
orders, its clip, how it aggregates. SALMON's subsets are left out: there agreement is shown, and no
verdicts.

A variant's duels of all seeds count for one model; its rating's interval is over requests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from stages.ablation.jobs import Job
from stages.ablation.outcomes import NONE, against
from stages.ablation.redundancy import by_aggregate
from stages.preferences.aggregate import bounded, combine_orders
from stages.principles.assign import assign
from stages.principles.constitution import Principle
from stages.principles.variants import FULL
from stages.runtime.artifacts import inputs_of
from stages.runtime.rows import Judgement, Verdict, request_text
from stages.statistics.equivalence import Finding
from stages.statistics.ranking import Game, ratings
from stages.statistics.redundancy import Decide, Matrix, agreements, attributions, redundancies

MOST = 40  # principles beyond which a matrix cannot be read


def redundancy(
    jobs: Sequence[Job], outcomes: Mapping[str, Finding], confidence: float
) -> dict[str, Any] | None:
    """The first full set's matrix, of all seeds: how far every two principles agree, and which can
    go while another stays.

    Args:
        outcomes: by principle, what leaving it out did to the models; empty where only labels were
            looked at.

    Returns:
        None without a matrix, or with more than `MOST` principles. Else `pairs`, how many there
        are; `principles`, what each does alone; `agreements` of every two; `redundancies`, each
        beside each other one. The first and the last of the three are empty where subsets of the
        principles decide.
    """
    full = [job for job in jobs if job.variant == FULL and not job.error]
    made = {
        job.seed: m
        for job in full
        if job.label == full[0].label
        for m in job.of_stage("judged_pairs")[:1]
    }
    matrix: dict[str, Mapping[str, float]] = {}
    prompts: dict[str, str] = {}
    for seed, one in made.items():
        for judged in inputs_of(one, "judgements")[:1]:
            cells = judged.rows(Judgement)
            matrix |= {
                f"{seed} {pair}": found
                for pair, found in _matrix(cells, one.manifest["payload"]["options"]).items()
            }
            prompts |= {f"{seed} {cell.parent}": request_text(cell.prompt) for cell in cells}
    names = list(dict.fromkeys(name for cells in matrix.values() for name in cells))
    if not 2 <= len(names) <= MOST:
        return None
    decide = _decide(next(iter(made.values())).manifest["payload"]["options"])
    agreed = agreements(matrix, confidence, prompts)
    alone = attributions(matrix, decide, confidence, prompts) if decide else {}
    return {
        "pairs": len(matrix),
        "names": names,
        "principles": [asdict(alone[name]) for name in names if name in alone],
        "agreements": [asdict(found) for found in agreed],
        "redundancies": [asdict(found) for found in redundancies(agreed, alone, outcomes=outcomes)]
        if alone
        else [],
    }


def _matrix(cells: Sequence[Judgement], options: Mapping[str, Any]) -> Matrix:
    """The columns that count, as `judged_pairs` read them; a negated principle says the contrary."""
    counted, negated = options["constitution"], set(options.get("negated") or ())
    found: dict[str, dict[str, float]] = {}
    for cell in cells:
        if cell.principle in counted:
            margin = bounded(
                combine_orders(cell.margin_ab, cell.margin_ba, options["orders"]), options["clip"]
            )
            found.setdefault(cell.parent, {})[cell.principle] = (
                -margin if cell.principle in negated else margin
            )
    return found


def _decide(options: Mapping[str, Any]) -> Decide | None:
    """The arithmetic of the pairs' own options, for pairs named as in `redundancy`: "<seed>
    <pair>".
    """
    weights = {name: facts.get("weight", 1.0) for name, facts in options["constitution"].items()}
    if options["aggregate"] == "salmon":
        return None
    if options["aggregate"] != "random":
        return by_aggregate(options["aggregate"], weights)
    principles = {
        name: Principle.model_validate({"id": name, "text": name, "weight": weight})
        for name, weight in weights.items()
    }

    def drawn(named: str, margins: Mapping[str, float]) -> tuple[float, list[str]]:
        seed, _, pair = named.partition(" ")
        name = assign([principles[each] for each in margins], pair, int(seed)).id
        return margins[name], [name]

    return drawn


def rated(jobs: Sequence[Job], confidence: float) -> list[dict[str, Any]]:
    """Bradley-Terry ratings of every variant's last policy, from its duels with the first, `none`;
    the strongest first.

    Of several `evaluate` steps the first is looked at. Groups that sweep over more have an anchor
    each.
    """
    games: dict[str, list[Game]] = {}
    for job in jobs:
        for made in job.of_stage("evaluate")[:1]:
            policies = list(made.metrics["policies"])
            first, last = policies[0], policies[-1]
            anchor = f"{NONE} {job.group}".strip()  # other groups may start from another model
            for row in made.rows(Verdict):
                if row.policy == last and first in row.rivals:
                    game = request_text(row.prompt), job.label, anchor, against(row, first)
                    games.setdefault(anchor, []).append(game)
    found = [
        rating
        for anchor, own in games.items()
        for rating in ratings(own, anchor=anchor, resamples=300, confidence=confidence)
    ]
    return [rating.plain() for rating in sorted(found, key=lambda rating: -rating.elo)]
