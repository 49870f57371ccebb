"""Stage `rewrite_prompts`: a model turns each request into another one.

In: any inputs of Prompt rows, `model`. Out: a Prompt row for each row. Where a rewriting fails, it
is the row itself (its parent), or nothing (`failed`); the failures are counted by reason.

Evol-Instruct (Xu et al. 2023, arXiv 2304.12244, section 3): one of several operators is drawn for
each row; they make it harder, or make another request of it. What adds nothing, what copies the
instructions, and what the model cannot answer fails (`same_template`, `filters`, `answerable`).
Without operators, the template alone says what is to be made of a row: of a topic a request about
it (SELF-ALIGN, Sun et al. 2023, arXiv 2305.03047), of a request another wording.

With `verdicts` on answers to the rows (`evaluate`) only those are rewritten whose answers all keep
the principle that the row is aimed at; the template then reads that principle and the answer that
came nearest to breaking it. So requests become harder to answer well, as in DeNEVIL (Duan et al.
2024, arXiv 2310.11053), which draws new ones from answers that violate a value.

Rows are independent; a loop in the pipeline rewrites what was rewritten.
"""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from stages.guards.errors import UserError
from stages.guards.templates import render, template_hash
from stages.principles.constitution import Principle, by_subject
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context, Drop
from stages.runtime.generation import CallFailed, RowFailure, Sampling
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Message, Prompt, Verdict
from stages.runtime.stage import Kind, Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Text, machine
from stages.sources.conversations import content_id
from stages.sources.records import file_hash
from stages.text.announcements import split_announcement
from stages.text.cut_off import finished_text
from stages.text.revise import read_demonstrations
from stages.text.synthesis.filters import Filters, check_filters, find_fault
from stages.text.synthesis.similarity import words_of
from stages.text.synthesis.write_prompts import DUPLICATE, request_text
from stages.values.violations import LIKELY, aimed_chances

YES_NO = ("Yes", "No")
SORRY_WORDS = 80
"""An answer with "sorry" in it and fewer words is no answer (Xu et al. 2023, section 3.2)."""
_STOP_WORD = re.compile(
    r"a|about|after|all|also|am|an|and|any|are|as|at|be|been|before|but|by|can|could|did|do|does|for"
    r"|from|had|has|have|he|her|here|him|his|how|i|if|in|into|is|it|its|just|may|me|might|more|most"
    r"|my|no|nor|not|now|of|on|only|or|other|our|out|over|own|she|should|so|some|such|than|that|the"
    r"|their|them|then|there|these|they|this|those|through|to|too|under|up|us|very|was|we|were|what"
    r"|when|where|which|while|who|whom|why|will|with|would|yes|you|your"
)
VERDICTS = "verdicts"
BROKEN, UNJUDGED = "an answer breaks its principle already", "no verdict on its principle"
UNCHANGED, ADDS_NOTHING = "the same words as before", "asks for the same, says the model"
NO_ANSWER, NO_CONTENT = "the model says sorry in place of an answer", "an answer without content"


@dataclass(frozen=True)
class Config:
    operators: dict[str, Text] = field(default_factory=dict)
    """What may be done to a row, by name; one is drawn for each row. {}: what the template says."""
    template: Text = "text/synthesis/rewrite_request.jinja"
    """What the model is asked; its variables are request, kind, operator (a text), and with
    `verdicts` principle and answer (texts).
    """
    constitution: Selection | None = machine(None)  # `identity` adds it, if set
    """With `verdicts`: the principles at which requests are aimed, those with their kind as id or
    dimension.
    """
    demonstrations: Text | None = None
    """A YAML file with a list of conversations, put before every call."""
    filters: Filters = field(default_factory=lambda: Filters(forbidden=(), openings=()))
    """What the new text must be like."""
    same_template: Text | None = None
    """A question whether two requests ask for the same, with Yes or No as its answers: then Yes is
    a failure. Its variables are request and rewritten. null: not asked.
    """
    answerable: bool = False
    """Whether an apology, or an answer of stop words alone, is a failure: it costs an answer."""
    failed: Literal["parent", "drop"] = "parent"
    """What becomes of a row whose rewriting failed: it stays as it was, or is dropped."""
    sampling: Sampling = field(default_factory=Sampling)
    """How to sample."""


def check(config: Config) -> None:
    """Refuse filters that no text passes, and demonstrations that cannot be read."""
    check_filters(config.filters, "stage 'rewrite_prompts'")
    read_demonstrations(config.demonstrations)


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse verdicts without principles, and principles without verdicts."""
    if (VERDICTS in inputs) != (config.constitution is not None):
        raise UserError(
            "requests are rewritten until a principle is broken by `verdicts` and `constitution`",
            where="stage 'rewrite_prompts'",
            fix="give both, or neither",
        )


def choices(config: Config) -> list[tuple[str, Sequence[str]]]:
    """The answers to the question whether two requests are the same."""
    return [("model", YES_NO)] if config.same_template else []


def identity(config: Config) -> dict[str, Any]:
    """The content of the templates and the demonstrations."""
    same, demonstrations = config.same_template, config.demonstrations
    facts: dict[str, Any] = {}
    if config.constitution:
        facts["constitution"] = select(config.constitution).identity("text", "dimension")
    return facts | {
        "template": template_hash(config.template),
        "same_template": template_hash(same) if same else None,
        "demonstrations": file_hash(demonstrations) if demonstrations else None,
    }


@dataclass(frozen=True)
class Kept:
    """Answers to one request that all keep the principle at which it is aimed."""

    principle: str
    """Its text."""
    answer: str
    """The one that came nearest to breaking it."""


@dataclass(frozen=True)
class Rewritten:
    """What became of a row."""

    parent: Prompt
    row: Prompt
    """The new row, or the parent where the rewriting failed."""
    operator: str
    fault: str = ""
    """Why the rewriting failed."""
    detail: str = ""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Rewrite every row once."""
    model = inputs["model"].model()
    generator = context.generator(model)
    demonstrations = read_demonstrations(config.demonstrations)
    prompts: dict[str, Prompt] = {}
    for name, artifact in inputs.items():
        if name not in ("model", VERDICTS):
            for row in artifact.rows(Prompt):
                prompts.setdefault(row.id, row)
    kept: dict[str, Kept | None] = {}
    if VERDICTS in inputs and config.constitution:
        principles = select(config.constitution).principles
        kept = find_kept(inputs[VERDICTS].rows(Verdict), principles)

    async def rewrite(row: Prompt) -> Rewritten:
        operator = ""
        if row.id in kept and kept[row.id] is None:
            return Rewritten(row, row, operator, BROKEN)
        if VERDICTS in inputs and row.id not in kept:
            return Rewritten(row, row, operator, UNJUDGED)
        if config.operators:
            rng = random.Random(derive_seed(context.seed, row.id, "operator"))
            operator = rng.choice(list(config.operators))
        try:
            text = await _rewrite(
                config, generator, demonstrations, row, operator, kept.get(row.id), context.seed
            )
        except CallFailed:
            raise
        except RowFailure as failure:
            return Rewritten(row, row, operator, failure.reason, failure.detail)
        messages = [*row.messages[:-1], {"role": "user", "content": text}]
        location = f"{context.step}:{row.id}"
        row_id = content_id(messages, location)
        source = f"{operator or 'rewritten'} of {row.id}"
        new = Prompt(id=row_id, messages=messages, kind=row.kind, source=source)
        return Rewritten(row, new, operator)

    results, dropped = context.map(list(prompts.values()), rewrite)
    rows: dict[str, Prompt] = {}
    for place, result in enumerate(results):
        if not result.fault and result.row.id in rows:
            parent = result.parent
            result = replace(result, row=parent, fault=DUPLICATE, detail=request_text(result.row))
            results[place] = result
        if result.fault and result.fault != BROKEN and config.failed == "drop":
            dropped.append(Dropped(id=result.row.id, reason=result.fault, detail=result.detail))
        elif result.row.id in rows:
            dropped.append(Dropped(id=result.row.id, reason=DUPLICATE))
        else:
            rows[result.row.id] = result.row
    return Result(
        rows=list(rows.values()),
        row_type=Prompt,
        dropped=dropped,
        metrics=count_operators(results),
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"model": Model},
    optional={VERDICTS: Verdict, "*": Prompt},
    least=1,
    gives=Prompt,
    calls_generator=True,
    check=check,
    check_inputs=check_inputs,
    choices=choices,
    identity=identity,
)


def find_kept(
    verdicts: Sequence[Verdict], principles: Sequence[Principle]
) -> dict[str, Kept | None]:
    """Return, by request with a verdict, the answer nearest to a violation; None: one violates."""
    subjects = by_subject(principles)
    texts = {principle.id: principle.text for principle in principles}
    nearest: dict[str, tuple[float, str, str]] = {}
    for verdict in verdicts:
        for name, chance in aimed_chances(verdict, subjects).items():
            if verdict.prompt_id not in nearest or chance > nearest[verdict.prompt_id][0]:
                nearest[verdict.prompt_id] = (chance, name, verdict.response)
    results: dict[str, Kept | None] = {}
    for request, (chance, name, answer) in nearest.items():
        results[request] = Kept(texts[name], answer) if chance <= LIKELY else None
    return results


async def _rewrite(
    config: Config,
    generator: RememberedGenerator,
    demonstrations: Sequence[Message],
    row: Prompt,
    operator: str,
    kept: Kept | None,
    seed: int,
) -> str:
    """Return the new text.

    Raises:
        Drop: the rewriting failed.
    """
    before = row.messages[-1]["content"]
    request = render(
        config.template,
        request=before,
        kind=row.kind,
        operator=config.operators.get(operator, ""),
        principle=kept.principle if kept else "",
        answer=kept.answer if kept else "",
    )
    messages = [*demonstrations, {"role": "user", "content": request}]
    call_seed = derive_seed(seed, row.id, "rewrite_prompts")
    completion = await generator.complete(messages, config.sampling, call_seed)
    _, text = split_announcement(finished_text(completion, "rewriting"))
    if not text:
        raise Drop("empty rewriting")
    if words_of(text) == words_of(before):
        raise Drop(UNCHANGED, text)
    fault = find_fault(text, config.filters)
    if fault:
        raise Drop(fault, text)
    if config.same_template:
        question = render(config.same_template, request=before, rewritten=text)
        choice = await generator.choose([{"role": "user", "content": question}], YES_NO)
        if choice.logprobs[0] > choice.logprobs[1]:
            raise Drop(ADDS_NOTHING, text)
    if config.answerable:
        asked = [*row.messages[:-1], {"role": "user", "content": text}]
        answer_seed = derive_seed(call_seed, "answer")
        answer = finished_text(
            await generator.complete(asked, config.sampling, answer_seed), "answer"
        )
        fault = find_answer_fault(answer)
        if fault:
            raise Drop(fault, answer)
    return text


def find_answer_fault(answer: str) -> str:
    """Return why an answer shows that its request is of no use; "" if it does not."""
    words = words_of(answer)
    if "sorry" in words and len(words) < SORRY_WORDS:
        return NO_ANSWER
    return NO_CONTENT if all(map(_STOP_WORD.fullmatch, words)) else ""


def count_operators(results: Sequence[Rewritten]) -> dict[str, Any]:
    """Return the failures by reason, and how often each operator was drawn and failed."""
    operators: dict[str, dict[str, int]] = {}
    for result in results:
        if result.operator:
            entry = operators.setdefault(result.operator, {"drawn": 0, "failed": 0})
            entry["drawn"] += 1
            entry["failed"] += bool(result.fault)
    failures = Counter(result.fault for result in results if result.fault)
    return {
        "rewritten": len(results) - failures.total(),
        "failed": dict(failures),
        "operators": operators,
    }
