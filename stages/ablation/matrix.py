"""What the judge matrix and the duels of a sweep's models say: redundancy of principles, ratings.

In: the jobs. Out: plain data. `judged_pairs` itself says how its options decide a pair
(`label_rule.rule_of`). SALMON's subsets are left out: there agreement is shown, and no verdicts.

A variant's duels of all seeds count for one model; its rating's interval is over requests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from stages.ablation.jobs import Job
from stages.ablation.outcomes import NONE, against
from stages.ablation.redundancy import (
    Decide,
    Finding,
    agreements,
    attributions,
    redundancies,
)
from stages.preferences.label_rule import Rule, rule_of
from stages.preferences.pair_checks import read_cells
from stages.principles.variants import FULL
from stages.runtime.rows import Verdict
from stages.statistics.ranking import Game, ratings

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
    rules = {str(seed): rule_of(step) for seed, step in made.items()}
    for seed, step in made.items():
        rule = rules[str(seed)]
        for judged in step.input_artifacts("judgements")[:1]:
            where = f"step {judged.step!r}"
            cells = read_cells(judged, set(rule.principles), where, rule.negated)
            for pair_id, of_pair in cells.items():
                if of_pair:
                    matrix[f"{seed} {pair_id}"] = rule.margins(of_pair)
                    prompts[f"{seed} {pair_id}"] = of_pair[0].prompt_id
    names = list(dict.fromkeys(name for cells in matrix.values() for name in cells))
    if not 2 <= len(names) <= MOST:
        return None
    decide = _decide(rules)
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


def _decide(rules: Mapping[str, Rule]) -> Decide | None:
    """The decisions of the rule of each seed, for pairs named as in `redundancy`: "<seed> <pair>";
    None where subsets of the principles decide.
    """
    if any(rule.by_subsets for rule in rules.values()):
        return None

    def decide(name: str, margins: Mapping[str, float]) -> tuple[float, list[str]]:
        seed, _, pair_id = name.partition(" ")
        return rules[seed].decide(pair_id, margins)

    return decide


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
                    game = row.prompt_id, job.label, anchor, against(row, first)
                    games.setdefault(anchor, []).append(game)
    found = [
        rating
        for anchor, own in games.items()
        for rating in ratings(own, anchor=anchor, resamples=300, confidence=confidence)
    ]
    return [rating.plain() for rating in sorted(found, key=lambda rating: -rating.elo)]
