"""What the judge matrix and the duels of a sweep's models say: redundancy of principles, ratings.

In: the jobs. Out: plain data. `judged_pairs` itself says how its options decide a pair
(`judged_pairs.rule_of`). SALMON's subsets are left out: there agreement is shown, and no verdicts.

A variant's duels of all seeds count for one model; its rating's interval is over requests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
from stages.preferences.judged_pairs import Rule, rule_of
from stages.preferences.pair_checks import read_cells
from stages.principles.variants import FULL
from stages.runtime.artifacts import Artifact
from stages.runtime.rows import Verdict
from stages.statistics.ranking import Game, ratings

MOST = 40
"""The largest number of principles of which a matrix can be read."""
RATING_RESAMPLES = 300


@dataclass
class SeedMatrices:
    """The judge matrices of all seeds as one; a pair is named "<seed> <pair>"."""

    rules: dict[str, Rule] = field(default_factory=dict)
    """By seed."""
    margins: dict[str, Mapping[str, float]] = field(default_factory=dict)
    """By pair and principle."""
    prompts: dict[str, str] = field(default_factory=dict)
    """By pair its prompt id."""

    def add(self, seed: int, step: Artifact) -> None:
        """Add the matrix that a `judged_pairs` step read."""
        rule = rule_of(step)
        self.rules[str(seed)] = rule
        judgements = step.input_artifacts("judgements")
        if not judgements:
            return
        cells = read_cells(
            judgements[0],
            set(rule.principles),
            f"step {judgements[0].step!r}",
            rule.negated,
        )
        for pair_id, pair_cells in cells.items():
            if pair_cells:
                name = f"{seed} {pair_id}"
                self.margins[name] = rule.margins(pair_cells)
                self.prompts[name] = pair_cells[0].prompt_id

    def principles(self) -> list[str]:
        """The ids of all principles, in the order in which they are met."""
        return list(dict.fromkeys(name for cells in self.margins.values() for name in cells))

    def decide_function(self) -> Decide | None:
        """What decides a pair; None where subsets of the principles do."""
        if any(rule.by_subsets for rule in self.rules.values()):
            return None

        def decide(name: str, margins: Mapping[str, float]) -> tuple[float, list[str]]:
            seed, _, pair_id = name.partition(" ")
            return self.rules[seed].decide(pair_id, margins)

        return decide


def redundancy(
    jobs: Sequence[Job], outcomes: Mapping[str, Finding], confidence: float
) -> dict[str, Any] | None:
    """How far every two principles agree, and which can go while another stays.

    It reads the matrix of the first full set, of all seeds.

    Args:
        outcomes: by principle, what leaving it out did to the models; empty where only labels were
            looked at.

    Returns:
        None without a matrix, or with more than `MOST` principles. Else `pairs`, how many there
        are; `principles`, what each does alone; `agreements` of every two; `redundancies`, each
        beside each other one. The first and the last of the three are empty where subsets of the
        principles decide.
    """
    matrices = _read_matrices(jobs)
    names = matrices.principles()
    if not 2 <= len(names) <= MOST:
        return None
    agreed = agreements(matrices.margins, confidence, matrices.prompts)
    facts: dict[str, Any] = {
        "pairs": len(matrices.margins),
        "names": names,
        "principles": [],
        "agreements": [asdict(agreement) for agreement in agreed],
        "redundancies": [],
    }
    decide = matrices.decide_function()
    if decide is None:
        return facts
    alone = attributions(matrices.margins, decide, confidence, matrices.prompts)
    if alone:
        verdicts = redundancies(agreed, alone, outcomes=outcomes)
        facts["principles"] = [asdict(alone[name]) for name in names if name in alone]
        facts["redundancies"] = [asdict(verdict) for verdict in verdicts]
    return facts


def _read_matrices(jobs: Sequence[Job]) -> SeedMatrices:
    matrices = SeedMatrices()
    full_sets = [job for job in jobs if job.variant == FULL and not job.error]
    steps: dict[int, Artifact] = {}
    for job in full_sets:
        of_job = job.of_stage("judged_pairs")
        if of_job and job.label == full_sets[0].label:
            steps[job.seed] = of_job[0]
    for seed, step in steps.items():
        matrices.add(seed, step)
    return matrices


def rated(jobs: Sequence[Job], confidence: float) -> list[dict[str, Any]]:
    """Bradley-Terry ratings of every variant's last policy, the strongest first.

    They come from its duels with the first policy, `none`. Of several `evaluate` steps the first
    is looked at. Groups that sweep over more have an anchor each.
    """
    games: dict[str, list[Game]] = {}
    for job in jobs:
        anchor = f"{NONE} {job.group}".strip()  # other groups may start from another model
        duels = _duels_with_first(job, anchor)
        if duels:
            games.setdefault(anchor, []).extend(duels)
    all_ratings = []
    for anchor, anchor_games in games.items():
        all_ratings += ratings(
            anchor_games,
            anchor=anchor,
            resamples=RATING_RESAMPLES,
            confidence=confidence,
        )
    all_ratings.sort(key=lambda rating: -rating.elo)
    return [rating.plain() for rating in all_ratings]


def _duels_with_first(job: Job, anchor: str) -> list[Game]:
    """The duels of the job's last policy with its first, which is named `anchor`."""
    evaluations = job.of_stage("evaluate")
    if not evaluations:
        return []
    policies = list(evaluations[0].metrics["policies"])
    first, last = policies[0], policies[-1]
    games = []
    for row in evaluations[0].rows(Verdict):
        if row.policy == last and first in row.rivals:
            games.append((row.prompt_id, job.label, anchor, against(row, first)))
    return games
