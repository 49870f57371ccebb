"""Stage `judge`: the judge matrix, (pair, principle, order) -> logit difference.

In: `responses` (two or more a prompt), `model`. Out: one Judgement a pair and principle, both orders on it.

Everything after it (one random principle, weighted sums, votes, any subset for an ablation) is arithmetic on this
table, so ablating principles costs no new call. The principle stands last in the prompt: all principles of a pair
share one prefix, which the engine's prefix cache then answers (3.5 to 6 times the throughput of principle-first).
A label needs one generated token; no chain of thought here.

Sources: Bai et al. 2022 (arXiv 2212.08073) section 4.1, for reading labels off option log-probabilities; Lee et al.
2023 (RLAIF, arXiv 2309.00267), for asking in both orders.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.principles.assign import assign_many
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Judgement, Response, request_text
from stages.runtime.templates import render, template_hash

VERSION = 2
NEEDS = ("model", "responses")
ALSO_TAKES: tuple[str, ...] = ()
CALLS = True


@dataclass(frozen=True)
class Config:
    """Args:
    constitution: the columns of the matrix.
    per_pair: how many principles each pair is judged under, drawn without replacement and without regard to their
        weights, which count once, where the cells are aggregated; null: all.
    pairing: `first_two` samples of a prompt, or `all` combinations.
    template: the judge's prompt; it is given request, response_a, response_b and principle (text).
    """

    constitution: Selection
    per_pair: Annotated[int, Field(ge=1)] | None = None
    pairing: Literal["first_two", "all"] = "first_two"
    template: str = "preferences/judge.jinja"


@dataclass(frozen=True)
class Cell:
    """One cell still to be read."""

    id: str
    pair: str
    a: Response
    b: Response
    principle: Principle


def identity(config: Config) -> dict[str, Any]:
    return {"constitution": select(config.constitution).identity("text"), "template": template_hash(config.template)}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Read every cell in both orders; pairs of equal texts are dropped and counted."""
    model = inputs["model"].model()
    generator = context.generator(model)
    principles = select(config.constitution).principles

    async def read(cell: Cell) -> Judgement:
        request = request_text(cell.a.prompt)

        async def margin(first: str, second: str) -> float:
            text = render(config.template, request=request, response_a=first, response_b=second, principle=cell.principle.text)
            log_a, log_b = await generator.choose([{"role": "user", "content": text}], ("A", "B"))
            return log_a - log_b

        return Judgement(
            id=cell.id,
            parent=cell.pair,
            kind=cell.a.kind,
            prompt=cell.a.prompt,
            response_a=cell.a.response,
            response_b=cell.b.response,
            principle=cell.principle.id,
            margin_ab=await margin(cell.a.response, cell.b.response),
            margin_ba=-await margin(cell.b.response, cell.a.response),
            model=model.content,
            template=template_hash(config.template),
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
        drawn = principles if wanted is None else assign_many(even, a.parent, context.seed, min(wanted, len(principles)))
        cells += [Cell(f"{pair}|{principle.id}", pair, a, b, principle) for principle in drawn]
    rows, lost = context.map(cells, read)
    return Result(rows=rows, row_type=Judgement, dropped=dropped + lost, metrics=_metrics(rows))


def _pairs(responses: list[Response], pairing: str, step: str) -> tuple[list[tuple[Response, Response]], list[Dropped]]:
    by_prompt: dict[str, list[Response]] = {}
    for response in responses:
        by_prompt.setdefault(response.parent, []).append(response)
    pairs = [p for group in by_prompt.values() for p in combinations(group if pairing == "all" else group[:2], 2)]
    if not pairs:
        raise UserError(
            "no prompt has two responses", where=f"step {step!r}", mend="set n: 2 or more in the `respond` step it reads"
        )
    return pairs, [Dropped(id=group[0].id, reason="only one response") for group in by_prompt.values() if len(group) == 1]


def _metrics(rows: list[Judgement]) -> dict[str, Any]:
    """Position bias: how often the verdict flips with the order, and how often the first place wins."""
    if not rows:
        return {}
    flipped = sum((row.margin_ab > 0) != (row.margin_ba > 0) for row in rows)
    first = sum((row.margin_ab > 0) + (row.margin_ba < 0) for row in rows)
    return {"cells": len(rows), "flipped": flipped / len(rows), "first_place_wins": first / (2 * len(rows))}
