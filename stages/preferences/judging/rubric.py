"""Rubrics: the weighted criteria of one request, and the score of an answer under them.

In: Proposal rows as criteria, and how far an answer meets each, as a judge says. Out: one number.

    score = max(0, sum_j w_j c_j / sum of the positive w_j),  c_j in [0, 1]
    score = 0  where a gate is not met

Rubrics as Rewards (Gunjal et al. 2025, arXiv 2507.17746) takes the first line with
positive weights, HealthBench (Arora et al. 2025, arXiv 2505.08775) with weights below 0 for faults.
What the judge does not say is no c_j: such an answer has no score.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence

from stages.preferences.judging.ask import MIN_MASS
from stages.preferences.judging.rating import expected_rating
from stages.runtime.artifacts import Artifact
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Drop
from stages.runtime.rows import Message, Proposal

RUBRICS = "rubrics"
"""The input of a stage that reads the criteria of each request."""
NO_RUBRIC = "its request has no rubric"
"""Why an answer is dropped that nothing is known to judge by."""
GATE = 0.5
"""How far an answer must meet a gate, unless an option says otherwise."""
Rubrics = Mapping[str, Sequence[Proposal]]
"""The criteria of each request, by its id."""


def read_rubrics(artifact: Artifact) -> Rubrics:
    """Return the criteria of a step by request, in their order."""
    rubrics: dict[str, list[Proposal]] = {}
    for row in artifact.rows(Proposal):
        rubrics.setdefault(row.prompt_id, []).append(row)
    return rubrics


def find_rubric(rubrics: Rubrics, prompt_id: str) -> Sequence[Proposal]:
    """Return the criteria of a request.

    Raises:
        Drop: it has none.
    """
    if prompt_id not in rubrics:
        raise Drop(NO_RUBRIC)
    return rubrics[prompt_id]


def distinct_criteria(rubrics: Rubrics) -> list[Proposal]:
    """Return the criteria of all requests, each text once."""
    by_text: dict[str, Proposal] = {}
    for criteria in rubrics.values():
        for row in criteria:
            by_text.setdefault(row.text, row)
    return list(by_text.values())


def rubric_score(met: Sequence[float], criteria: Sequence[Proposal], gate: float = GATE) -> float:
    """Return the score of an answer, in [0, 1].

    Args:
        met: how far it meets each criterion, in [0, 1]; of a criterion with a weight below 0, how
            far it has that fault.
        gate: a gate that is met less far than this makes the score 0.

    Source: Gunjal et al. 2025, the explicit aggregation.
    """
    passed = all(
        value >= gate for value, criterion in zip(met, criteria, strict=True) if criterion.gate
    )
    if not passed:
        return 0.0
    products = []
    for value, criterion in zip(met, criteria, strict=True):
        products.append(value * criterion.weight)
    attainable = math.fsum(max(criterion.weight, 0.0) for criterion in criteria)
    return min(max(math.fsum(products) / attainable, 0.0), 1.0)


async def grade(
    judge: RememberedGenerator,
    prompt: list[Message],
    response: str,
    criteria: Sequence[Proposal],
    scale: Mapping[str, float],
    template: str,
    min_mass: float = MIN_MASS,
    gate: float = GATE,
) -> tuple[float, list[float]]:
    """Ask a judge about every criterion of a rubric, one question each.

    Args:
        scale: the value of each of its answers; the least one means that a criterion is not met at
            all, the largest that it is met in full.

    Returns:
        The answer's score, and the rating under each criterion; all lie on the scale.

    Raises:
        Drop: the judge gave no verdict about one of them.
        UserError, TooLong: as `Generator.choose`.
    """
    questions = []
    for criterion in criteria:
        questions.append(
            expected_rating(judge, prompt, response, criterion.text, scale, template, min_mass)
        )
    ratings = await asyncio.gather(*questions)
    least = min(scale.values())
    span = max(scale.values()) - least
    met = [(rating - least) / span for rating in ratings]
    return least + span * rubric_score(met, criteria, gate), ratings
