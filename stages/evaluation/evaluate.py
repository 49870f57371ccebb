"""Stage `evaluate`: what changed from policy to policy, with intervals.

In: one input of Response rows for each policy, all answering the same prompts. Their order counts:
the first is the baseline, and each is compared with it and, unless they stand `side_by_side`, with
the one before it. Also `judge` (a model) and `judgements` (the judge matrix of an earlier step),
both optional. Out: one Verdict a response; metrics as `measures` and `agreement` describe them; an
effect table and a table of principles.

`ground_truth` names a function (request text, response text) -> object with `violations` (by
dimension), `well_formed`, `on_topic`, `evasive` and `helpful`. Without one the judge's verdict
stands in, labelled as such. The judge is asked Yes or No for each principle, and A or B for win
rates: always in both orders, a win only if both agree (the conservative policy of Zheng et al.
    2023, MT-Bench), under one principle a prompt drawn by rendezvous hash.

Left out: benchmarks and surveys, which are stages of their own.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from stages.evaluation.agreement import pair_agreement, verdict_agreement
from stages.evaluation.effect_tables import effect_table, principle_table
from stages.evaluation.ground_truth import GroundTruth, Truth, load_truth, truth_identity
from stages.evaluation.measures import Counted, Duel, Measured, Settings, rivals, summarise
from stages.principles.assign import assign
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context, Drop
from stages.runtime.errors import UserError
from stages.runtime.generation import TooLong
from stages.runtime.rows import Dropped, Judgement, Response, Verdict, request_text
from stages.runtime.stage import ANY, Stage
from stages.runtime.store import derive_seed
from stages.runtime.templates import render, template_hash

NOT_POLICIES = ("judge", "judgements")


@dataclass(frozen=True)
class Config:
    """Args:
    constitution: the principles to look at.
    ground_truth: `module:function`, or null.
    verdicts: ask the judge, if there is one, whether each response follows each principle.
    win_rate: ask the judge which of two policies' responses follows a principle better.
    side_by_side: compare each policy with the first only; else with the one before as well, as
        stages of one method.
    judge_limit: ask it about so many prompts only, drawn by a hash of their ids; null: about all.
    not_counted: principles with one of these tags or dimensions are no part of "any violation".
    helpful_kinds: the kinds of prompts that are benign: `helpful` is what the `prompts` stage calls
        them, `how_to` what the embedded world does.
    harmless_kinds: the kinds of prompts that are attacks; empty: all that are not benign.
    resamples: of the bootstrap.
    confidence: of every interval.
    """

    constitution: Selection
    ground_truth: str | None = None
    verdicts: bool = True
    win_rate: bool = True
    side_by_side: bool = False
    judge_limit: Annotated[int, Field(ge=1)] | None = None
    not_counted: tuple[str, ...] = ("helpful", "helpfulness")
    helpful_kinds: tuple[str, ...] = ("helpful", "how_to")
    harmless_kinds: tuple[str, ...] = ()
    resamples: Annotated[int, Field(ge=100)] = 2000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    verdict_template: str = "preferences/judging/verdict.jinja"
    judge_template: str = "preferences/judging/judge.jinja"


@dataclass(frozen=True)
class Item:
    """One response of one policy. `rivals` are the responses it is compared with, by their policy."""

    id: str
    policy: str
    response: Response
    truth: Truth | None
    judged: bool
    rivals: dict[str, Response]


@dataclass(frozen=True)
class Found:
    """What was found in an item."""

    item: Item
    verdict: Verdict
    unread: bool = False  # the judge could not read it; the ground truth stands


def identity(config: Config) -> dict[str, Any]:
    constitution = select(config.constitution)
    return {
        "constitution": constitution.identity("text", "weight", "dimension"),
        "counted": sorted(_counted(constitution.principles, config).principles),
        "templates": [template_hash(config.verdict_template), template_hash(config.judge_template)],
        "ground_truth_module": truth_identity(config.ground_truth, "evaluate.ground_truth"),
    }


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Look at every response, then compare the policies.

    Raises:
        UserError: no policy, a policy without rows, policies without a common prompt, or nobody to
        ask.
    """
    where = f"step {context.step!r}"
    policies = _policies(inputs, where)
    truth = load_truth(config.ground_truth, where) if config.ground_truth else None
    judge = (
        context.generator(inputs["judge"].model())
        if "judge" in inputs and (config.verdicts or config.win_rate)
        else None
    )
    if truth is None and not (judge and config.verdicts):
        raise UserError(
            "nobody can tell what a violation is",
            where=where,
            fix="set `ground_truth` to module:function, or give `inputs.judge` a model and leave `verdicts` on",
        )
    principles = select(config.constitution).principles
    counted = _counted(principles, config)
    found, dropped = _look(
        _items(policies, truth, config, context.seed), principles, counted, judge, config, context
    )
    measured: dict[str, Measured] = {policy: [] for policy in policies}
    for one in found:
        measured[one.item.policy].append((one.item.response.prompt_id, one.verdict))
    settings = Settings(
        config.harmless_kinds,
        config.helpful_kinds,
        config.resamples,
        config.confidence,
        context.seed,
        config.side_by_side,
    )
    metrics = summarise(
        measured, [duel for one in found for duel in _duels(one)], counted, settings
    )
    asked = {row.prompt_id for rows in policies.values() for row in rows}
    for (
        policy,
        rows,
    ) in policies.items():  # a policy that gave no answer to a prompt lacks it, and that is told
        lost = sum(d.id.startswith(f"{policy}/") for d in dropped)
        metrics["policies"][policy]["dropped"] = lost + len(asked - {row.prompt_id for row in rows})
    metrics["judge"] = {"unread": sum(one.unread for one in found)} if judge else {}
    if truth and judge and config.verdicts:
        metrics["judge"]["verdicts"] = verdict_agreement([one.verdict for one in found])
    if "judgements" in inputs:
        metrics["judge"]["pairs"] = pair_agreement(
            inputs["judgements"].rows(Judgement), principles, truth
        )
    tables = [effect_table(metrics), principle_table(metrics)]
    return Result(
        rows=[one.verdict for one in found],
        row_type=Verdict,
        dropped=dropped,
        metrics=metrics,
        tables=tables,
    )


STAGE = Stage(
    version=3,
    config=Config,
    run=run,
    optional=ANY,
    calls_generator=True,
    identity=identity,
)


def _policies(inputs: dict[str, Artifact], where: str) -> dict[str, list[Response]]:
    policies = {
        name: artifact.rows(Response)
        for name, artifact in inputs.items()
        if name not in NOT_POLICIES
    }
    if not policies:
        raise UserError(
            "there are no responses to evaluate",
            where=where,
            fix="add `inputs: {base: <a respond step>, tuned: <another>}`, the baseline first",
        )
    for name, rows in policies.items():
        if not rows:
            raise UserError(
                f"the input {name!r} holds no responses",
                where=where,
                fix="see why its step dropped them all",
            )
    common = set.intersection(*({row.prompt_id for row in rows} for rows in policies.values()))
    if not common:
        raise UserError(
            f"the policies {', '.join(policies)} have no prompt in common",
            where=where,
            fix="let their `respond` steps read the same prompts",
        )
    return policies


def _counted(principles: tuple[Principle, ...], config: Config) -> Counted:
    spared = [p.id for p in principles if {*p.tags, p.dimension} & set(config.not_counted)]
    return Counted([p.id for p in principles if p.id not in spared], set(config.not_counted))


def _items(
    policies: dict[str, list[Response]], truth: GroundTruth | None, config: Config, seed: int
) -> list[Item]:
    names = list(policies)
    prompts = {row.prompt_id for row in policies[names[0]]}
    judged = set(
        sorted(prompts, key=lambda prompt: (derive_seed(seed, "judged", prompt), prompt))[
            : config.judge_limit
        ]
    )
    by_place = {
        name: {(row.prompt_id, row.sample): row for row in rows} for name, rows in policies.items()
    }
    items = []
    for index, name in enumerate(names):
        opponents = rivals(names, index, config.side_by_side)
        for row in policies[name]:
            place = (row.prompt_id, row.sample)
            others = {o: by_place[o][place] for o in opponents if place in by_place[o]}
            seen = truth(request_text(row.prompt), row.response) if truth else None
            items.append(Item(f"{name}/{row.id}", name, row, seen, row.prompt_id in judged, others))
    return items


def _look(
    items: list[Item],
    principles: tuple[Principle, ...],
    counted: Counted,
    judge: RememberedGenerator | None,
    config: Config,
    context: Context,
) -> tuple[list[Found], list[Dropped]]:
    """Ask the judge about every item. One pass, so that a forecast sees all the calls."""
    if context.forecast and judge is None:
        return [], []

    async def look(item: Item) -> Found:
        if judge is None or not item.judged:
            return Found(item, _verdict(item, principles, counted, [], {}))
        wins = {}
        drawn = assign(principles, item.response.prompt_id, context.seed)
        try:
            violated = (
                [await _violated(judge, item, p, config) for p in principles]
                if config.verdicts
                else []
            )
            for rival, other in item.rivals.items() if config.win_rate else ():
                wins[rival] = await _duel(judge, item.response, other, drawn, config)
        except (Drop, TooLong):
            if item.truth is None:
                raise
            return Found(item, _verdict(item, principles, counted, [], {}), unread=True)
        return Found(item, _verdict(item, principles, counted, violated, wins))

    return context.map(items, look)


def _duels(found: Found) -> list[Duel]:
    item, verdict = found.item, found.verdict
    lengths = {
        rival: len(item.response.response) - len(other.response)
        for rival, other in item.rivals.items()
    }
    rows = zip(verdict.rivals, verdict.margins_first, verdict.margins_second, strict=True)
    return [
        Duel(item.policy, rival, item.response.prompt_id, first, second, lengths[rival])
        for rival, first, second in rows
    ]


def _verdict(
    item: Item,
    principles: tuple[Principle, ...],
    counted: Counted,
    judged: list[float],
    wins: dict[str, tuple[float, float]],
) -> Verdict:
    truth, row = item.truth, item.response
    violated: list[Any] = (
        [truth.violations.get(p.dimension or "") for p in principles] if truth else []
    )
    return Verdict(
        id=item.id,
        response_id=row.id,
        prompt_id=row.prompt_id,
        policy=item.policy,
        kind=row.kind,
        prompt=row.prompt,
        response=row.response,
        principles=[p.id for p in principles],
        violated=violated if any(value is not None for value in violated) else [],
        judged=judged,
        any_violation=counted.any_violation(truth.violations, principles) if truth else None,
        well_formed=truth.well_formed if truth else None,
        on_topic=truth.on_topic if truth else None,
        evasive=truth.evasive if truth else None,
        helpful=truth.helpful if truth else None,
        rivals=list(wins),
        margins_first=[first for first, _ in wins.values()],
        margins_second=[second for _, second in wins.values()],
    )


async def _violated(
    judge: RememberedGenerator, item: Item, principle: Principle, config: Config
) -> float:
    row = item.response
    text = render(
        config.verdict_template,
        request=request_text(row.prompt),
        response=row.response,
        principle=principle.text,
    )
    _, log_no = await judge.choose([{"role": "user", "content": text}], ("Yes", "No"))
    if math.isnan(log_no):
        raise Drop("the judge gave no verdict")
    return min(math.exp(log_no), 1.0)


async def _duel(
    judge: RememberedGenerator,
    ours: Response,
    theirs: Response,
    principle: Principle,
    config: Config,
) -> tuple[float, float]:
    """Margins from our side, shown first and shown second. Equal texts are a tie that needs no
    asking.
    """
    if ours.response == theirs.response:
        return 0.0, 0.0

    async def margin(first: str, second: str) -> float:
        request = request_text(ours.prompt)
        text = render(
            config.judge_template,
            request=request,
            response_a=first,
            response_b=second,
            principle=principle.text,
        )
        log_a, log_b = await judge.choose([{"role": "user", "content": text}], ("A", "B"))
        if math.isnan(log_a - log_b):
            raise Drop("the judge gave no verdict")
        return log_a - log_b

    return await margin(ours.response, theirs.response), -await margin(
        theirs.response, ours.response
    )
