"""One response at a time: what the ground truth and the judge say about it.

In: each policy's responses, principles, and a ground truth or a judge or both. Out: a Verdict row
for each response, and the duels between policies that the judge decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.evaluation.ground_truth import GroundTruth, Truth
from stages.evaluation.inputs import draw
from stages.evaluation.measures import rivals
from stages.evaluation.verdict_values import Counted
from stages.evaluation.win_rates import Duel
from stages.preferences.judging.ask import (
    JUDGE_TEMPLATE,
    MIN_MASS,
    VERDICT_TEMPLATE,
    MinMass,
    compare,
    violation_probability,
)
from stages.principles.assign import assign
from stages.principles.constitution import Principle
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context
from stages.runtime.generation import RowFailure
from stages.runtime.rows import Dropped, Response, Verdict, request_text
from stages.runtime.typed_config import Count
from stages.text.refusals import refuses

TRUTH_COLUMNS = ("well_formed", "on_topic", "evasive", "helpful")
Margins = dict[str, tuple[float, float]]
"""By rival, the margins with our response shown first and with it shown second."""


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """What the judge is asked about."""

    verdicts: bool = True
    """Ask the judge, if there is one, whether each response follows each principle."""
    win_rate: bool = True
    """Ask the judge which of two policies' responses follows a principle better."""
    side_by_side: bool = False
    """Compare each policy with the first only.

    False compares it with the previous one, too: the policies are stages of one method.
    """
    judge_limit: Count | None = None
    """Ask the judge about up to this many prompts, drawn by a hash of their ids; null: all."""
    verdict_template: str = VERDICT_TEMPLATE
    """The question for Yes or No; it is given request, response and principle (text)."""
    judge_template: str = JUDGE_TEMPLATE
    """The question for A or B; it is given request, response_a, response_b and principle."""
    min_mass: MinMass = MIN_MASS
    """There is no verdict where the judge puts less probability than this on all options."""


@dataclass(frozen=True)
class Examination:
    """How responses are examined."""

    principles: tuple[Principle, ...]
    counted: Counted
    """What "any violation" covers."""
    truth: GroundTruth | None
    judge: RememberedGenerator | None
    """At least one of `truth` and `judge` is set."""
    options: JudgeOptions


@dataclass(frozen=True)
class Item:
    """One response of one policy."""

    id: str
    policy: str
    response: Response
    truth: Truth | None
    """What the ground truth says about it; None without one."""
    is_judged: bool
    """Whether the judge is asked about its prompt."""
    rivals: dict[str, Response]
    """The responses that it is compared with, by their policy."""


@dataclass(frozen=True)
class Examined:
    """An item and its Verdict row."""

    item: Item
    verdict: Verdict
    unread: bool
    """The judge could not read it; only the ground truth counts."""


def make_items(
    policies: Mapping[str, Sequence[Response]], examination: Examination, seed: int
) -> list[Item]:
    """Every policy's responses, in the order of the policies."""
    names = list(policies)
    truth, options = examination.truth, examination.options
    prompts = {row.prompt_id: row for row in policies[names[0]]}
    judged_prompts = set(draw(prompts, options.judge_limit, seed, "judged"))
    by_prompt = {name: _by_prompt(rows) for name, rows in policies.items()}
    items = []
    for index, name in enumerate(names):
        opponents = rivals(names, index, options.side_by_side)
        for row in policies[name]:
            own = by_prompt[name][row.prompt_id]
            rival_responses = {}
            for opponent in opponents:
                answers = by_prompt[opponent].get(row.prompt_id, {})
                answer = _rival(row, own, answers)
                if answer:
                    rival_responses[opponent] = answer
            item = Item(
                id=f"{name}/{row.id}",
                policy=name,
                response=row,
                truth=truth(request_text(row.prompt), row.response) if truth else None,
                is_judged=row.prompt_id in judged_prompts,
                rivals=rival_responses,
            )
            items.append(item)
    return items


def _by_prompt(rows: Sequence[Response]) -> dict[str, dict[int, Response]]:
    """Responses by prompt and number of the sample."""
    by_prompt: dict[str, dict[int, Response]] = {}
    for row in rows:
        by_prompt.setdefault(row.prompt_id, {})[row.sample] = row
    return by_prompt


def _rival(
    row: Response, own: Mapping[int, Response], answers: Mapping[int, Response]
) -> Response | None:
    """The other policy's answer that a response is compared with: the one of the same number.

    Where both policies have a single answer to the prompt these two are compared: the best of
    several keeps its number.

    Args:
        own: all answers of the response's policy to its prompt.
        answers: all answers of the other policy.
    """
    if len(own) == len(answers) == 1:
        (answer,) = answers.values()
        return answer
    return answers.get(row.sample)


def examine(
    items: list[Item], examination: Examination, context: Context
) -> tuple[list[Examined], list[Dropped]]:
    """Look at every item and ask the judge about it; also return the dropped rows.

    It is one pass, so that a forecast sees all the calls.
    """
    judge = examination.judge
    if context.forecast and judge is None:
        return [], []

    async def examine_item(item: Item) -> Examined:
        probabilities: list[float] = []
        margins: Margins = {}
        unread = False
        if judge and item.is_judged:
            try:
                answers = await _ask_judge(judge, item, examination, context.seed)
                probabilities, margins = answers
            except RowFailure as failure:
                if item.truth is None:
                    raise
                context.count_failure(item.id, failure)
                unread = True
        verdict = _verdict(item, examination, probabilities, margins)
        return Examined(item, verdict, unread)

    return context.map(items, examine_item)


async def _ask_judge(
    judge: RememberedGenerator,
    item: Item,
    examination: Examination,
    seed: int,
) -> tuple[list[float], Margins]:
    """The probability that each principle is violated, and the margins against each rival."""
    options = examination.options
    prompt, text = item.response.prompt, item.response.response
    probabilities = []
    if options.verdicts:
        template = options.verdict_template
        for principle in examination.principles:
            probability = await violation_probability(
                judge,
                prompt,
                text,
                principle.text,
                template,
                options.min_mass,
            )
            probabilities.append(probability)
    margins: Margins = {}
    if options.win_rate:
        template = options.judge_template
        principle = assign(examination.principles, item.response.prompt_id, seed)
        for rival, row in item.rivals.items():
            if text == row.response:
                margins[rival] = (0.0, 0.0)  # a tie that needs no question
                continue
            margins[rival] = await compare(
                judge,
                prompt,
                text,
                row.response,
                principle.text,
                template,
                options.min_mass,
            )
    return probabilities, margins


def duels_of(examined: Examined) -> list[Duel]:
    """The item's duels, from the side of its policy."""
    item, verdict = examined.item, examined.verdict
    margins = zip(verdict.rivals, verdict.margins_first, verdict.margins_second, strict=True)
    duels = []
    for rival, first, second in margins:
        longer = len(item.response.response) - len(item.rivals[rival].response)
        duel = Duel(
            policy=item.policy,
            rival=rival,
            prompt=item.response.prompt_id,
            first=first,
            second=second,
            longer=longer,
        )
        duels.append(duel)
    return duels


def _verdict(
    item: Item,
    examination: Examination,
    probabilities: list[float],
    margins: Margins,
) -> Verdict:
    row = item.response
    return Verdict(
        id=item.id,
        response_id=row.id,
        prompt_id=row.prompt_id,
        policy=item.policy,
        kind=row.kind,
        prompt=row.prompt,
        response=row.response,
        principles=[principle.id for principle in examination.principles],
        judged=probabilities,
        rivals=list(margins),
        margins_first=[first for first, _ in margins.values()],
        margins_second=[second for _, second in margins.values()],
        refused=refuses(row.response),
        **_truth_columns(item.truth, examination),
    )


def _truth_columns(truth: Truth | None, examination: Examination) -> dict[str, Any]:
    """The columns of a Verdict that the ground truth fills."""
    if truth is None:
        return {"violated": [], "any_violation": None, **dict.fromkeys(TRUTH_COLUMNS)}
    principles = examination.principles
    violated = [truth.violations.get(principle.dimension or "") for principle in principles]
    is_known = any(value is not None for value in violated)
    return {
        "violated": violated if is_known else [],
        "any_violation": examination.counted.any_violation(truth.violations, principles),
        **{name: getattr(truth, name) for name in TRUTH_COLUMNS},
    }
