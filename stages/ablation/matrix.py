"""Redundancy of principles from the judge matrix, and ratings from the duels of the policies.

In: the jobs. Out: plain data. How the options of `judged_pairs` decide a pair is
defined in `label_rule.rule_of`. Left out: verdicts for SALMON's subsets; only agreement is shown.

The duels of a variant count for one model over all seeds; the interval of its rating is over
requests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from stages.ablation.jobs import Job
from stages.ablation.outcomes import NONE, duel_score
from stages.preferences.label_rule import Rule, rule_of
from stages.preferences.pair_inputs import drop_cut_off_pairs, read_cells
from stages.principles.constitution import load
from stages.principles.variants import FULL
from stages.runtime.artifacts import Artifact
from stages.runtime.rows import Verdict
from stages.statistics.equivalence import Finding
from stages.statistics.ranking import Game, Rating, ratings
from stages.statistics.redundancy import (
    Decide,
    Matrix,
    agreements,
    attributions,
    principles_of,
    redundancies,
)

MOST = 40  # principles; a larger matrix cannot be read


def redundancy(
    jobs: Sequence[Job], outcomes: Mapping[str, Finding], confidence: float
) -> dict[str, Any] | None:
    """How far every two principles agree, and which can be removed while another stays.

    The matrix is that of the first full set, over all its seeds.

    Args:
        outcomes: by principle, what leaving it out did to the models; empty where only labels were
            measured.

    Returns:
        None without a matrix, or with more than `MOST` principles. Otherwise `pairs`, their number;
        `names` of the principles, in the order of their file; `principles`, the effect of each
        alone; `agreements` of every two; `redundancies`, for every ordered pair. `principles` and
        `redundancies` are empty where subsets of the principles decide.
    """
    steps = _steps(jobs)
    rules = {seed: rule_of(step) for seed, step in steps.items()}
    matrix, prompts = _matrix(steps, rules)
    names = _in_file_order(principles_of(matrix), jobs, rules)
    if not 2 <= len(names) <= MOST:
        return None
    decide = _decide(rules)
    pair_agreements = agreements(matrix, confidence, prompts, names)
    alone = attributions(matrix, decide, confidence, prompts) if decide else {}
    verdicts = redundancies(pair_agreements, alone, outcomes=outcomes) if alone else []
    return {
        "pairs": len(matrix),
        "names": names,
        "principles": [asdict(alone[name]) for name in names if name in alone],
        "agreements": [asdict(agreement) for agreement in pair_agreements],
        "redundancies": [asdict(verdict) for verdict in verdicts],
    }


def _in_file_order(
    names: Sequence[str], jobs: Sequence[Job], rules: Mapping[str, Rule]
) -> list[str]:
    """The names in the order of the constitution's file.

    Cells, and steps that an earlier order of the file made, may name them in another one.
    """
    order: dict[str, None] = {}
    full_sets = [job for job in jobs if job.variant == FULL and job.constitution]
    for job in full_sets[:1]:
        principles = load(str(job.constitution["name"])).principles
        order |= dict.fromkeys(principle.id for principle in principles)
    for rule in rules.values():
        order |= dict.fromkeys(rule.principles)
    return [name for name in order if name in set(names)]


def _steps(jobs: Sequence[Job]) -> dict[str, Artifact]:
    """By seed, the first step of stage `judged_pairs` of the first full set."""
    full_sets = [job for job in jobs if job.variant == FULL and not job.error]
    steps = {}
    for job in full_sets:
        artifacts = job.of_stage("judged_pairs")
        if job.label == full_sets[0].label and artifacts:
            steps[str(job.seed)] = artifacts[0]
    return steps


def _matrix(
    steps: Mapping[str, Artifact], rules: Mapping[str, Rule]
) -> tuple[Matrix, dict[str, str]]:
    """The matrix of all seeds, and the prompt of each pair; pairs are named "<seed> <pair>"."""
    matrix: dict[str, Mapping[str, float]] = {}
    prompts: dict[str, str] = {}
    for seed, step in steps.items():
        rule = rules[seed]
        for judged in step.input_artifacts("judgements")[:1]:
            where = f"step {judged.step!r}"
            cells_by_pair = read_cells(judged, set(rule.principles), where, rule.negated)
            pairs, _ = drop_cut_off_pairs(cells_by_pair, step.config.get("cut_off", "keep"))
            for pair_id, cells in pairs.items():
                if cells:
                    name = f"{seed} {pair_id}"
                    matrix[name] = rule.margins(cells)
                    prompts[name] = cells[0].prompt_id
    return matrix, prompts


def _decide(rules: Mapping[str, Rule]) -> Decide | None:
    """A function that decides a pair by the rule of its seed, for pairs named as in `_matrix`.

    None where subsets of the principles decide.
    """
    if any(rule.by_subsets for rule in rules.values()):
        return None

    def decide(name: str, margins: Mapping[str, float]) -> tuple[float, list[str]]:
        seed, _, pair_id = name.partition(" ")
        return rules[seed].decide(pair_id, margins)

    return decide


def rate_policies(jobs: Sequence[Job], confidence: float) -> list[dict[str, Any]]:
    """Bradley-Terry ratings of every variant's last policy; the strongest first.

    They come from its duels with the first policy, `none`. Of several `evaluate` steps only the
    first is used. Each group of a sweep has its own anchor.
    """
    results: list[Rating] = []
    for anchor, games in _games(jobs).items():
        results += ratings(games, anchor=anchor, resamples=300, confidence=confidence)
    results.sort(key=lambda rating: -rating.elo)
    return [asdict(rating) for rating in results]


def _games(jobs: Sequence[Job]) -> dict[str, list[Game]]:
    """By anchor, the duels of all variants with it."""
    games: dict[str, list[Game]] = {}
    for job in jobs:
        anchor = f"{NONE} {job.group}".strip()  # other groups may start from another model
        for evaluation in job.of_stage("evaluate")[:1]:
            policies = list(evaluation.metrics["policies"])
            first = policies[0]
            last = policies[-1]
            for row in evaluation.rows(Verdict):
                if row.policy == last and first in row.rivals:
                    game = (row.prompt_id, job.label, anchor, duel_score(row, first))
                    games.setdefault(anchor, []).append(game)
    return games
