"""One response at a time: what the ground truth and the judge find in it.

In: each policy's responses, principles, and a ground truth or a judge or both. Out: a Verdict for
each response, and the duels between policies that the judge decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.evaluation.ground_truth import GroundTruth, Truth
from stages.evaluation.measures import rivals
from stages.evaluation.verdict_values import Counted
from stages.evaluation.win_rates import Duel
from stages.preferences.judging.ask import compare, violation_probability
from stages.principles.assign import assign
from stages.principles.constitution import Principle
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context, Drop
from stages.runtime.generation import TooLong
from stages.runtime.rows import Dropped, Response, Verdict, request_text
from stages.runtime.store import derive_seed

Margins = dict[str, tuple[float, float]]
"""By rival, the margins with our response shown first and with it shown second."""


@dataclass(frozen=True)
class Examination:
    """How responses are examined."""

    principles: tuple[Principle, ...]
    counted: Counted
    """What "any violation" covers."""
    truth: GroundTruth | None
    judge: RememberedGenerator | None
    ask_verdicts: bool
    """Ask the judge whether a response follows each principle."""
    ask_duels: bool
    """Ask the judge which of two policies' responses is better."""
    verdict_template: str
    judge_template: str


@dataclass(frozen=True)
class Item:
    """One response of one policy."""

    id: str
    policy: str
    response: Response
    truth: Truth | None
    """What the ground truth finds in it; None without one."""
    is_judged: bool
    """Whether the judge is asked about its prompt."""
    rivals: dict[str, Response]
    """The responses that it is compared with, by their policy."""


@dataclass(frozen=True)
class Examined:
    """An item and what was found in it."""

    item: Item
    verdict: Verdict
    unread: bool = False
    """The judge could not read it; the ground truth stands."""


def make_items(
    policies: Mapping[str, Sequence[Response]],
    truth: GroundTruth | None,
    side_by_side: bool,
    judge_limit: int | None,
    seed: int,
) -> list[Item]:
    """Every policy's responses, in the order of the policies.

    Args:
        side_by_side: compare each policy with the first only.
        judge_limit: the number of prompts that the judge is asked about; None: all.
    """
    names = list(policies)
    judged_prompts = _draw_prompts(policies[names[0]], judge_limit, seed)
    answers = {}
    for name, rows in policies.items():
        for row in rows:
            answers[name, row.prompt_id, row.sample] = row
    items = []
    for index, name in enumerate(names):
        opponents = rivals(names, index, side_by_side)
        for row in policies[name]:
            rival_responses = {}
            for opponent in opponents:
                place = (opponent, row.prompt_id, row.sample)
                if place in answers:
                    rival_responses[opponent] = answers[place]
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


def _draw_prompts(rows: Sequence[Response], limit: int | None, seed: int) -> set[str]:
    def rank(prompt_id: str) -> tuple[int, str]:
        return derive_seed(seed, "judged", prompt_id), prompt_id

    prompts = {row.prompt_id for row in rows}
    return set(sorted(prompts, key=rank)[:limit])


def examine(
    items: list[Item], examination: Examination, context: Context
) -> tuple[list[Examined], list[Dropped]]:
    """Look at every item and ask the judge about it; also what was dropped.

    It is one pass, so that a forecast sees all the calls.
    """
    if context.forecast and examination.judge is None:
        return [], []

    async def examine_item(item: Item) -> Examined:
        if examination.judge is None or not item.is_judged:
            return Examined(item, _verdict(item, examination))
        try:
            violated, margins = await _ask_judge(
                examination.judge,
                item,
                examination,
                context.seed,
            )
        except (Drop, TooLong):
            if item.truth is None:
                raise
            return Examined(item, _verdict(item, examination), unread=True)
        return Examined(item, _verdict(item, examination, violated, margins))

    return context.map(items, examine_item)


async def _ask_judge(
    judge: RememberedGenerator, item: Item, examination: Examination, seed: int
) -> tuple[list[float], Margins]:
    """The probability that each principle is violated, and the margins against each rival."""
    response = item.response
    violated = []
    if examination.ask_verdicts:
        for principle in examination.principles:
            probability = await violation_probability(
                judge,
                response.prompt,
                response.response,
                principle.text,
                examination.verdict_template,
            )
            violated.append(probability)
    margins: Margins = {}
    if examination.ask_duels:
        principle = assign(examination.principles, response.prompt_id, seed)
        for rival, other in item.rivals.items():
            if response.response == other.response:
                margins[rival] = (0.0, 0.0)  # a tie that needs no question
                continue
            margins[rival] = await compare(
                judge,
                response.prompt,
                response.response,
                other.response,
                principle.text,
                examination.judge_template,
            )
    return violated, margins


def duels_of(examined: Examined) -> list[Duel]:
    """The item's duels, from its own side."""
    item, verdict = examined.item, examined.verdict
    rows = zip(
        verdict.rivals,
        verdict.margins_first,
        verdict.margins_second,
        strict=True,
    )
    duels = []
    for rival, first, second in rows:
        length = len(item.response.response)
        rival_length = len(item.rivals[rival].response)
        duel = Duel(
            policy=item.policy,
            rival=rival,
            prompt=item.response.prompt_id,
            first=first,
            second=second,
            longer=length - rival_length,
        )
        duels.append(duel)
    return duels


def _verdict(
    item: Item,
    examination: Examination,
    judged: Sequence[float] = (),
    margins: Mapping[str, tuple[float, float]] | None = None,
) -> Verdict:
    row = item.response
    margins = margins or {}
    return Verdict(
        id=item.id,
        response_id=row.id,
        prompt_id=row.prompt_id,
        policy=item.policy,
        kind=row.kind,
        prompt=row.prompt,
        response=row.response,
        principles=[principle.id for principle in examination.principles],
        judged=list(judged),
        rivals=list(margins),
        margins_first=[first for first, _ in margins.values()],
        margins_second=[second for _, second in margins.values()],
        **_truth_columns(item.truth, examination),
    )


def _truth_columns(truth: Truth | None, examination: Examination) -> dict[str, Any]:
    """The columns of a Verdict that the ground truth fills."""
    if truth is None:
        return {
            "violated": [],
            "any_violation": None,
            "well_formed": None,
            "on_topic": None,
            "evasive": None,
            "helpful": None,
        }
    violated = []
    for principle in examination.principles:
        violated.append(truth.violations.get(principle.dimension or ""))
    is_known = any(value is not None for value in violated)
    return {
        "violated": violated if is_known else [],
        "any_violation": examination.counted.any_violation(
            truth.violations,
            examination.principles,
        ),
        "well_formed": truth.well_formed,
        "on_topic": truth.on_topic,
        "evasive": truth.evasive,
        "helpful": truth.helpful,
    }
