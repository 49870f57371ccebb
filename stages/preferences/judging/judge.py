"""Stage `judge`: the judge matrix, (pair, principle, order) -> logit difference.

In: `responses` (two or more a prompt), `model`. Out: one Judgement a pair and principle, both
orders on it.

Everything after it (one random principle, weighted sums, votes, any subset for an ablation) is
arithmetic on this table, so ablating principles costs no new call. The principle stands last in the
prompt: all principles of a pair share one prefix, which the engine's prefix cache then answers (3.5
    to 6 times the throughput of principle-first).
A label needs one generated token.

With `reasoning` the judge first thinks aloud, a text for each order that is kept on the row, and
the option is read after it. Such labels are near 0 or 1 (Bai et al. 2022): give `judged_pairs` a
`clamp` of [0.4, 0.6] for them.

Sources: Bai et al. 2022 (arXiv 2212.08073) section 4.1, for reading labels off option
log-probabilities and for chains of thought; Lee et al. 2023 (RLAIF, arXiv 2309.00267), for asking
in both orders and for the two steps of a reasoned choice.
Left out: few-shot examples; several rationales a cell, which helped Bai et al. a little and Lee et
al. not.
"""

import math
from dataclasses import dataclass, field
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.principles.assign import assign_many
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select, without_negation
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context, Drop
from stages.runtime.errors import UserError
from stages.runtime.generation import Sampling
from stages.runtime.rows import Dropped, Judgement, Response, request_text
from stages.runtime.stage import Stage
from stages.runtime.store import derive_seed
from stages.runtime.templates import render, template_hash


@dataclass(frozen=True)
class Config:
    """Args:
    constitution: the columns of the matrix. A negated principle is judged as it stands;
        `judged_pairs` turns its margins.
    per_pair: how many principles each pair is judged under, drawn without replacement and without
        regard to their weights, which count once, where the cells are aggregated; null: all.
    pairing: `first_two` samples of a prompt, or `all` combinations.
    template: the judge's prompt; it is given request, response_a, response_b and principle (text).
    reasoning: let the judge think aloud before it chooses; twice the calls, and much longer ones.
    sampling: of what it thinks.
    reasoning_template: in place of `template`, with the same variables; it asks for thoughts.
    choice_template: the question for A or B that follows the thoughts.
    """

    constitution: Selection
    per_pair: Annotated[int, Field(ge=1)] | None = None
    pairing: Literal["first_two", "all"] = "first_two"
    template: str = "preferences/judging/judge.jinja"
    reasoning: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    reasoning_template: str = "preferences/judging/reasoning.jinja"
    choice_template: str = "preferences/judging/reasoned_choice.jinja"


@dataclass(frozen=True)
class Cell:
    """One cell still to be read."""

    id: str
    pair: str
    a: Response
    b: Response
    principle: Principle


def identity(config: Config) -> dict[str, Any]:
    chosen = {"constitution": select(without_negation(config.constitution)).identity("text")}
    if not config.reasoning:
        unread = dict.fromkeys(("sampling", "reasoning_template", "choice_template"))
        return chosen | unread | {"template": template_hash(config.template)}
    templates = {
        name: template_hash(getattr(config, name))
        for name in ("reasoning_template", "choice_template")
    }
    return chosen | templates | {"template": None}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Read every cell in both orders; pairs of equal texts are dropped and counted."""
    model = inputs["model"].model()
    generator = context.generator(model)
    principles = select(without_negation(config.constitution)).principles
    template = template_hash(config.reasoning_template if config.reasoning else config.template)

    async def read(cell: Cell) -> Judgement:
        margin_ab, rationale_ab = await _look(cell, "ab", config, generator, context.seed)
        margin_ba, rationale_ba = await _look(cell, "ba", config, generator, context.seed)
        return Judgement(
            id=cell.id,
            pair_id=cell.pair,
            response_a_id=cell.a.id,
            response_b_id=cell.b.id,
            prompt_id=cell.a.prompt_id,
            kind=cell.a.kind,
            prompt=cell.a.prompt,
            response_a=cell.a.response,
            response_b=cell.b.response,
            principle=cell.principle.id,
            margin_ab=margin_ab,
            margin_ba=margin_ba,
            model=model.content,
            template=template,
            rationale_ab=rationale_ab,
            rationale_ba=rationale_ba,
        )

    cells, dropped = [], []
    even = tuple(principle.model_copy(update={"weight": 1.0}) for principle in principles)
    pairs, alone = _pairs(inputs["responses"].rows(Response), config.pairing, context.step)
    dropped += alone
    for a, b in pairs:
        pair = f"{a.id}|{b.id}"
        if a.response == b.response:
            dropped.append(Dropped(id=pair, reason="equal responses"))
            continue
        wanted = config.per_pair
        drawn = (
            principles
            if wanted is None
            else assign_many(even, a.prompt_id, context.seed, min(wanted, len(principles)))
        )
        cells += [Cell(f"{pair}|{principle.id}", pair, a, b, principle) for principle in drawn]
    rows, lost = context.map(cells, read)
    return Result(rows=rows, row_type=Judgement, dropped=dropped + lost, metrics=_metrics(rows))


STAGE = Stage(
    version=3,
    config=Config,
    run=run,
    inputs=("model", "responses"),
    calls_generator=True,
    identity=identity,
)


async def _look(
    cell: Cell, order: str, config: Config, generator: RememberedGenerator, seed: int
) -> tuple[float, str]:
    """The margin from response_a's side with the responses shown in `order`, and the thoughts
    before it.
    """
    first, second = (cell.a, cell.b) if order == "ab" else (cell.b, cell.a)
    variables = {
        "request": request_text(cell.a.prompt),
        "response_a": first.response,
        "response_b": second.response,
        "principle": cell.principle.text,
    }
    rationale = ""
    if config.reasoning:
        conversation = [{"role": "user", "content": render(config.reasoning_template, **variables)}]
        thoughts = await generator.complete(
            conversation, config.sampling, derive_seed(seed, cell.id, "rationale", order)
        )
        rationale = thoughts.text.strip()
        if not rationale:
            raise Drop("empty rationale")
        conversation.append({"role": "assistant", "content": rationale})
        conversation.append(
            {"role": "user", "content": render(config.choice_template, **variables)}
        )
    else:
        conversation = [{"role": "user", "content": render(config.template, **variables)}]
    log_a, log_b = await generator.choose(conversation, ("A", "B"))
    margin = log_a - log_b
    if not math.isfinite(margin):
        raise Drop("the judge gave no verdict")
    return (margin if order == "ab" else -margin), rationale


def _pairs(
    responses: list[Response], pairing: str, step: str
) -> tuple[list[tuple[Response, Response]], list[Dropped]]:
    by_prompt: dict[str, list[Response]] = {}
    for response in responses:
        by_prompt.setdefault(response.prompt_id, []).append(response)
    pairs = [
        p
        for group in by_prompt.values()
        for p in combinations(group if pairing == "all" else group[:2], 2)
    ]
    if not pairs:
        raise UserError(
            "no prompt has two responses",
            where=f"step {step!r}",
            fix="set n: 2 or more in the `respond` step it reads",
        )
    return pairs, [
        Dropped(id=group[0].id, reason="only one response")
        for group in by_prompt.values()
        if len(group) == 1
    ]


def _metrics(rows: list[Judgement]) -> dict[str, Any]:
    """Position bias: how often the verdict flips with the order, and how often the first place
    wins.
    """
    if not rows:
        return {}
    flipped = sum((row.margin_ab > 0) != (row.margin_ba > 0) for row in rows)
    first = sum((row.margin_ab > 0) + (row.margin_ba < 0) for row in rows)
    return {
        "cells": len(rows),
        "flipped": flipped / len(rows),
        "first_place_wins": first / (2 * len(rows)),
    }
