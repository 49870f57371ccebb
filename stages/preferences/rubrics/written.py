"""Criteria that a model writes for a request: it is asked, and its answer is read line by line.

In: requests, reference answers or none, a model. Out: criteria by request, and what was dropped.

    [5] The response names the side effects.
    [-3] The response invents a source.
    [must] The response does not give a dose.

A line without a weight in brackets is no criterion, and an answer without any that a good answer
can meet is dropped and counted: it is not a rubric of nothing.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from stages.guards.templates import render
from stages.principles.constitution import CONTROL
from stages.principles.proposed import clean, proposal_id
from stages.runtime.artifacts import Artifact
from stages.runtime.context import Context, Drop
from stages.runtime.generation import Sampling
from stages.runtime.rows import Dropped, Prompt, Proposal, Response, request_text
from stages.runtime.store import derive_seed

WRITTEN_ALONE = "preferences/rubrics/write_criteria.jinja"
NONE_READ = "no criterion in the answer"
LINE = re.compile(
    r"^\s*(?:[-*\u2022]|\d+[.)])?\s*\**\[\s*(must|[-+\u2212]?\d{1,3}(?:\.\d+)?)\s*\]\**[:.]?\s*(.+)$",
    re.MULTILINE | re.IGNORECASE,
)
MUST = "must"
LEAST_WORDS = 3
LONGEST = 400
"""Characters of a criterion."""


class Writing(Protocol):
    """How a model is asked; see the options of the stage."""

    @property
    def template(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def sampling(self) -> Sampling: ...


def write_criteria(
    prompts: Sequence[Prompt],
    references: Sequence[Response],
    config: Writing,
    artifact: Artifact,
    context: Context,
) -> tuple[Mapping[str, Sequence[Proposal]], list[Dropped]]:
    """Ask for the criteria of every request.

    Args:
        references: answers, of which the first to a request is shown.
        config: see `Writing`.
        artifact: the model's.
    """
    model = artifact.model()
    generator = context.generator(model)
    reference_of: dict[str, str] = {}
    for answer in references:
        reference_of.setdefault(answer.prompt_id, answer.response)

    async def ask(prompt: Prompt) -> list[Proposal]:
        text = render(
            config.template,
            request=request_text(prompt.messages),
            reference=reference_of.get(prompt.id, ""),
            count=config.count,
        )
        seed = derive_seed(context.seed, prompt.id, "rubrics")
        turn = [{"role": "user", "content": text}]
        completion = await generator.complete(turn, config.sampling, seed)
        origin = f"written by the model {model.content}"
        rows = read_criteria(completion.text, prompt.id, config.count, text, origin)
        if not rows:
            raise Drop(NONE_READ, completion.text[:200])
        return rows

    rows, dropped = context.map(prompts, ask)
    criteria: dict[str, list[Proposal]] = {}
    for row in rows:
        criteria.setdefault(row.prompt_id, []).append(row)
    return criteria, dropped


def read_criteria(
    answer: str, prompt_id: str, count: int, question: str = "", origin: str = ""
) -> list[Proposal]:
    """Return the criteria of an answer, up to `count`; none where no answer could meet one.

    What is no criterion is left out: a weight of 0, a text of one or two words, a page, a repeated
    text, and what only repeats words of the question, as small models do.
    """
    asked = " ".join(question.casefold().split())
    rows: dict[str, Proposal] = {}
    for match in LINE.finditer(answer):
        text = clean(match[2])
        if text.rstrip(".").casefold() in asked:
            continue
        row_id = proposal_id(text)
        is_gate = match[1].lower() == MUST
        weight = 1.0 if is_gate else float(match[1].replace("\u2212", "-"))
        is_sentence = len(text.split()) >= LEAST_WORDS and len(text) <= LONGEST
        if is_sentence and weight and not CONTROL.search(text) and row_id not in rows:
            rows[row_id] = Proposal(
                id=row_id,
                prompt_id=prompt_id,
                text=text,
                weight=weight,
                gate=is_gate,
                origin=origin,
            )
    criteria = list(rows.values())[:count]
    return criteria if any(row.weight > 0 for row in criteria) else []
