"""Stage `judge`: the judge matrix, (pair, principle, order) -> logit difference.

In: `responses` (two or more for each prompt), `model`, and optionally the judge's `examination`,
so that it comes first. Out: one Judgement per pair and principle, with the margins of both orders.

Everything after it (one random principle, weighted sums, votes, any subset for an ablation) is
arithmetic on this table, so ablating principles costs no new call. The principle is the last part
of the prompt: all principles of a pair share one prefix, which the engine's prefix cache then
answers (3.5 to 6 times the throughput of principle-first). A label needs one generated token.

With `reasoning` the judge first writes down its reasoning, one text for each order, which is kept
on the row, and the option is read after it. Such labels are near 0 or 1 (Bai et al. 2022): give
`judged_pairs` a `clamp` of [0.4, 0.6] for them.

With `retrieve` a pair is judged under the principles that apply to its prompt; one to which none
applies is dropped and counted.

Sources: Bai et al. 2022 (arXiv 2212.08073) section 4.1, for reading labels off option
log-probabilities and for chains of thought; Lee et al. 2023 (RLAIF, arXiv 2309.00267), for asking
in both orders and for the two steps of a reasoned choice.
Left out: few-shot examples; several rationales per cell, which helped a little in Bai et al.
and not in Lee et al.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from stages.doubts.words import doubt_words, foresee_words
from stages.guards.errors import UserError
from stages.guards.templates import template_hash
from stages.preferences.judging.ask import (
    JUDGE_TEMPLATE,
    MIN_MASS,
    MinMass,
    choose_margin,
    compare,
    user_turn,
)
from stages.principles.assign import assign_many, doubt_draw
from stages.principles.constitution import Principle
from stages.principles.retrieve import (
    ENCODER,
    FIELDS,
    NONE_APPLIES,
    Retrieval,
    check_encoder,
    find_applicable,
    retrieval_identity,
)
from stages.principles.select import Selection, select, without_negation
from stages.runtime.artifacts import Artifact, Result, advise_on_missing
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context
from stages.runtime.generation import Sampling
from stages.runtime.models import Model
from stages.runtime.pipeline.dropped_rows import doubt_dropped
from stages.runtime.rows import Dropped, Judgement, Question, Response, request_text
from stages.runtime.stage import Expected, Kind, Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Count, machine
from stages.text.cut_off import (
    CutOff,
    count_cut_off,
    drop_cut_off,
    finished_text,
    refuse_no_finished,
)


@dataclass(frozen=True)
class Config:
    constitution: Selection
    """The columns of the matrix. A negated principle is judged as it stands; `judged_pairs` negates
    its margins.
    """
    per_pair: Count | None = None
    """Under at most how many principles each pair is judged, drawn without replacement; null: all.
    The draw ignores their weights, which count once, where the cells are aggregated.
    """
    retrieve: Retrieval | None = machine(None)  # `identity` adds it, if set
    """Judge under those that apply to the prompt, by `inputs.encoder` or, if there is none, by
    BM25; null: under all. `per_pair` draws from them.
    """
    pairing: Literal["first_two", "all"] = "first_two"
    """Pair the `first_two` samples of a prompt, or make `all` combinations."""
    cut_off: CutOff = "drop"
    """Whether responses that were cut off at max_tokens are dropped before pairing."""
    template: str = JUDGE_TEMPLATE
    """The judge's prompt; its variables are request, response_a, response_b, principle (text)."""
    min_mass: MinMass = MIN_MASS
    """A cell is dropped where the judge puts less probability than this on A and B together."""
    reasoning: bool = False
    """Let the judge write its reasoning before it chooses; twice the calls, and longer ones."""
    sampling: Sampling = field(default_factory=Sampling)
    """How to sample the judge's reasoning."""
    reasoning_template: str = "preferences/judging/reasoning.jinja"
    """In place of `template`, with the same variables; it asks for the reasoning."""
    choice_template: str = "preferences/judging/reasoned_choice.jinja"
    """The question for A or B that follows the reasoning."""


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix that is to be judged."""

    id: str
    pair_id: str
    a: Response
    b: Response
    principle: Principle


def identity(config: Config) -> dict[str, Any]:
    """The texts of the principles and the templates that are used; unused options are left out."""
    chosen = select(without_negation(config.constitution))
    fields = FIELDS if config.retrieve else ("text",)
    facts: dict[str, Any] = {"constitution": chosen.identity(*fields)}
    if config.retrieve:
        facts |= retrieval_identity(config.retrieve)
        facts["order"] = [principle.id for principle in chosen.principles]
    if config.reasoning:
        facts["template"] = None
        facts["reasoning_template"] = template_hash(config.reasoning_template)
        facts["choice_template"] = template_hash(config.choice_template)
    else:
        facts["template"] = template_hash(config.template)
        facts |= dict.fromkeys(("sampling", "reasoning_template", "choice_template"))
    return facts


def foresee(config: Config, inputs: Mapping[str, Expected]) -> list[str]:
    """Doubt words that the judge has not seen, and a `per_pair` above the number of principles."""
    total = len(select(without_negation(config.constitution)).principles)
    return [*foresee_words(config, inputs), *doubt_draw("per_pair", config.per_pair, total)]


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    check_encoder(config.retrieve, inputs)


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Judge every cell in both orders; pairs of equal texts are dropped and counted.

    A cell whose reasoning is empty or was cut off is dropped and counted, too.

    Raises:
        UserError: no prompt has two responses to compare.
    """
    model = inputs["model"].model()
    generator = context.generator(model)
    principles = select(without_negation(config.constitution)).principles
    own = config.reasoning_template if config.reasoning else config.template
    template = template_hash(generator.form.template if generator.form else own)

    async def judge(cell: Cell) -> Judgement:
        rationale_ab = ""
        rationale_ba = ""
        if config.reasoning:
            margin_ab, rationale_ab, margin_ba, rationale_ba = await _reason_and_compare(
                cell, config, generator, context.seed
            )
        else:
            margin_ab, margin_ba = await compare(
                generator,
                cell.a.prompt,
                cell.a.response,
                cell.b.response,
                cell.principle.text,
                config.template,
                config.min_mass,
            )
        return Judgement(
            id=cell.id,
            pair_id=cell.pair_id,
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
            finish_reason_a=cell.a.finish_reason,
            finish_reason_b=cell.b.finish_reason,
        )

    responses = inputs["responses"].rows(Response)
    if not responses:
        raise UserError(
            "there are no responses to judge",
            where=f"step {context.step!r}",
            fix=advise_on_missing(inputs, "give it a step that makes responses"),
        )
    pairs, dropped = _pairs(responses, config, f"step {context.step!r}")
    prompts = {a.prompt_id: a.prompt for a, _ in pairs}
    applicable = find_applicable(config.retrieve, principles, prompts, inputs, context)
    cells = []
    for a, b in pairs:
        pair_id = f"{a.id}|{b.id}"
        if a.response == b.response:
            dropped.append(Dropped(id=pair_id, reason="equal responses"))
            continue
        applying = applicable[a.prompt_id]
        if not applying:
            dropped.append(Dropped(id=pair_id, reason=NONE_APPLIES))
        for principle in _choose_principles(applying, config.per_pair, a.prompt_id, context.seed):
            cells.append(Cell(f"{pair_id}|{principle.id}", pair_id, a, b, principle))
    rows, unread = context.map(cells, judge)
    asked = len({cell.pair_id for cell in cells})
    lost = doubt_dropped(Counter(row.reason for row in dropped), asked, (NONE_APPLIES,))
    return Result(
        rows=rows,
        row_type=Judgement,
        dropped=dropped + unread,
        metrics={"cut_off": count_cut_off(responses), **applicable.metrics(), **_metrics(rows)},
        warnings=[*doubt_words(model, principles), *applicable.warnings(), *lost],
    )


STAGE = Stage(
    version=4,
    config=Config,
    run=run,
    inputs={"model": Model, "responses": Response},
    optional={"examination": Question, ENCODER: Model},
    gives=Judgement,
    calls_generator=True,
    check_inputs=check_inputs,
    foresee=foresee,
    meant_to_drop=(NONE_APPLIES,),
    identity=identity,
)


def _choose_principles(
    principles: Sequence[Principle], count: int | None, prompt_id: str, seed: int
) -> list[Principle]:
    """Return the principles that the pairs of a prompt are judged under."""
    if count is None or not principles:
        return list(principles)
    even = tuple(principle.model_copy(update={"weight": 1.0}) for principle in principles)
    return list(assign_many(even, prompt_id, seed, min(count, len(principles))))


async def _reason_and_compare(
    cell: Cell, config: Config, generator: RememberedGenerator, seed: int
) -> tuple[float, str, float, str]:
    """Let the judge reason about each order of the responses before it chooses.

    Returns:
        The margin in favour of `a` and the reasoning, with `a` shown first; then both with `b`
        shown first.
    """
    a, b = cell.a.response, cell.b.response

    async def reason_and_choose(order: str, first: str, second: str) -> tuple[float, str]:
        variables = {
            "request": request_text(cell.a.prompt),
            "response_a": first,
            "response_b": second,
            "principle": cell.principle.text,
        }
        question = user_turn(config.reasoning_template, **variables)
        completion = await generator.complete(
            question, config.sampling, derive_seed(seed, cell.id, "rationale", order)
        )
        rationale = finished_text(completion, "rationale")
        choice = user_turn(config.choice_template, **variables)
        conversation = [*question, {"role": "assistant", "content": rationale}, *choice]
        margin = await choose_margin(generator, conversation, config.min_mass)
        return margin, rationale

    margin_ab, rationale_ab = await reason_and_choose("ab", a, b)
    margin_ba, rationale_ba = await reason_and_choose("ba", b, a)
    return margin_ab, rationale_ab, -margin_ba, rationale_ba


def _pairs(
    responses: list[Response], config: Config, where: str
) -> tuple[list[tuple[Response, Response]], list[Dropped]]:
    """Return the pairs of each prompt's responses, and the responses that are in none."""
    finished, dropped = drop_cut_off(responses, config.cut_off)
    cut_off = len(dropped)
    samples = Counter(response.prompt_id for response in responses)
    by_prompt: dict[str, list[Response]] = {}
    for response in finished:
        by_prompt.setdefault(response.prompt_id, []).append(response)
    pairs: list[tuple[Response, Response]] = []
    for prompt_id, group in by_prompt.items():
        pairs += combinations(group if config.pairing == "all" else group[:2], 2)
        if len(group) == 1:
            lost = samples[prompt_id] > 1
            reason = "its rivals were cut off" if lost else "only one response"
            dropped.append(Dropped(id=group[0].id, reason=reason))
    if not pairs:
        refuse_no_finished(dropped[:cut_off], "no prompt has two finished responses", where)
        raise UserError(
            "no prompt has two responses",
            where=where,
            fix="set n: 2 or more in the `respond` step that it reads",
        )
    return pairs, dropped


def _metrics(rows: list[Judgement]) -> dict[str, Any]:
    """How often the verdict flips with the order, and how often the first place wins."""
    if not rows:
        return {}
    flipped = 0
    first = 0
    for row in rows:
        flipped += (row.margin_ab > 0) != (row.margin_ba > 0)
        first += (row.margin_ab > 0) + (row.margin_ba < 0)
    return {
        "cells": len(rows),
        "flipped": flipped / len(rows),
        "first_place_wins": first / (2 * len(rows)),
    }
