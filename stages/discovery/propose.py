"""Stage `propose`: a model writes principles that would explain a preference, or a failure.

In: `model`; any other inputs of Pair or Response rows, the examples, which may be none. Out:
Proposal rows, each text once, with the ids of all examples that it was written about.

Of pairs this is the first step of Inverse Constitutional AI (Findeis et al. 2024, arXiv
2406.06560): what might have made people choose this response? Each template asks once about each
pair: one for what speaks for the chosen response, one for what speaks against the other one. Of
responses that failed it is IterAlign's proposal (Chen et al. 2024, arXiv 2403.18341): one question
about all of them (`together`).

What a model writes around its principles is left out: `pattern` says what of an answer is one. An
answer without any is dropped and counted. Left out: principles about requests alone, which icai
proposes too.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from stages.discovery.merging import merge
from stages.guards.errors import UserError
from stages.guards.templates import render, template_hash
from stages.principles.constitution import CONTROL
from stages.principles.proposed import clean, proposal_id
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context, Drop
from stages.runtime.generation import Sampling
from stages.runtime.models import Model
from stages.runtime.pipeline.dropped_rows import doubt_dropped
from stages.runtime.rows import Message, Pair, Proposal, Response, Revision, request_text
from stages.runtime.stage import Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Count, SomeNames

LIST_ITEM = r"(?m)^\s*(?:[-*\u2022]|\d+[.)])\s+(.+)$"
"""An item of a list: what the shipped templates ask for."""
OF_PAIRS = ("discovery/propose_for.jinja", "discovery/propose_against.jinja")
OF_RESPONSES = ("discovery/propose_from_failures.jinja",)
SHORTEST = 2
"""Words of a principle: a text of one word reads as an id."""
NONE_READ = "no principle in the answer"
LONGEST = 400
"""Characters of a principle."""


def _check_pattern(pattern: str) -> str:
    """Refuse what is no regular expression with exactly one group."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise PydanticCustomError("pattern", "{fault}", {"fault": str(error)}) from None
    if groups != 1:
        raise PydanticCustomError("pattern", "It should have one group: the principle")
    return pattern


def _check_frame(frame: str) -> str:
    """Refuse a sentence without a place for the principle."""
    if frame.count("{}") != 1:
        raise PydanticCustomError("frame", "It should hold {place} once", {"place": "{}"})
    return frame


@dataclass(frozen=True)
class Config:
    templates: SomeNames | None = None
    """The questions, each asked once about each example; their variables are examples (a list with
    request, response and, of a pair, rejected) and count. null: the shipped ones for the examples'
    kind.
    """
    count: Count = 3
    """How many principles a question asks for; what an answer has beyond is left out."""
    together: bool = False
    """Ask one question about all examples in place of one about each."""
    place: Literal["alone", "reply"] = "alone"
    """`reply`: ask as the user's next turn after the response; of a pair, after the worse one."""
    pattern: Annotated[str, AfterValidator(_check_pattern)] = LIST_ITEM
    """A regular expression whose only group is a principle; by default an item of a list."""
    frame: Annotated[str, AfterValidator(_check_frame)] = "{}"
    """The sentence around what was matched, which stands at {}."""
    sampling: Sampling = field(default_factory=Sampling)
    """How to sample the answers."""


@dataclass(frozen=True)
class Question:
    """One question about one example, or about all."""

    id: str
    template: str
    examples: Sequence[Any]


def check(config: Config) -> None:
    """Refuse one question about all as a reply to each."""
    if config.together and config.place == "reply":
        raise UserError(
            "`together` asks about all examples, and `place: reply` after each",
            where="stage 'propose'",
            fix="leave one of the two out",
        )


def identity(config: Config) -> dict[str, Any]:
    """The hashes of the templates, or of all that might be used."""
    templates = config.templates or (*OF_PAIRS, *OF_RESPONSES)
    return {"templates": [template_hash(name) for name in templates]}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Ask about every example; without examples there is nothing to propose."""
    model = inputs["model"].model()
    generator = context.generator(model)
    examples: list[Any] = []
    for name in sorted(inputs):
        if name != "model":
            examples += inputs[name].rows(Pair, Response, Revision)

    async def ask(question: Question) -> list[Proposal]:
        messages = conversation(question, config)
        seed = derive_seed(context.seed, question.id, "propose")
        completion = await generator.complete(messages, config.sampling, seed)
        texts = read_principles(completion.text, config)
        if not texts:
            raise Drop(NONE_READ, completion.text[:200])
        sources = [example.id for example in question.examples]
        rows = []
        for text in texts:
            row = Proposal(
                id=proposal_id(text),
                prompt_id=question.examples[0].prompt_id,
                text=text,
                sources=sources,
            )
            rows.append(row)
        return rows

    questions = questions_about(examples, config)
    written, dropped = context.map(questions, ask)
    origin = f"written by the model {model.content}"
    rows = []
    for group in _same(written):
        row = merge(group)
        rows.append(replace(row, wordings=[], origin=origin))
    metrics = {"examples": len(examples), "written": len(written), "different": len(rows)}
    reasons = Counter(row.reason for row in dropped)
    answered = len(questions) - len(dropped)
    return Result(
        rows=rows,
        row_type=Proposal,
        dropped=dropped,
        metrics=metrics,
        warnings=doubt_dropped(reasons, answered, ()),
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"model": Model},
    optional={"*": Pair | Response | Revision},
    least=1,
    gives=Proposal,
    calls_generator=True,
    check=check,
    identity=identity,
    meant_to_drop=(NONE_READ,),  # counted above by questions: a row may stand for many answers
    may_drop_all=(NONE_READ,),
)


def read_principles(answer: str, config: Config) -> list[str]:
    """Return the principles of an answer, up to `count`, in its order.

    What is no sentence of a principle is left out: a single word, a page, control characters.
    """
    texts = []
    for match in re.finditer(config.pattern, answer):
        text = clean(config.frame.replace("{}", clean(match[1] or "").rstrip(".")))
        short_enough = len(text) <= LONGEST and len(text.split()) >= SHORTEST
        if short_enough and not CONTROL.search(text) and text not in texts:
            texts.append(text)
    return texts[: config.count]


def questions_about(examples: Sequence[Any], config: Config) -> list[Question]:
    """Return every question that is to be asked: each template about each example.

    With `together` there is one group of all examples. Without examples there is no question.
    """
    if not examples:
        return []
    shipped = OF_PAIRS if isinstance(examples[0], Pair) else OF_RESPONSES
    templates = config.templates or shipped
    groups = [examples] if config.together else [[example] for example in examples]
    questions = []
    for group in groups:
        for number, template in enumerate(templates):
            questions.append(Question(f"{group[0].id}-q{number}", template, group))
    return questions


def conversation(question: Question, config: Config, **variables: Any) -> list[Message]:
    """Return the conversation in which a question is asked.

    As a reply it follows the example's own conversation, which ends in the response, or in the one
    that was not chosen.

    Args:
        variables: what the template reads besides the examples and their number.
    """
    shown = []
    for example in question.examples:
        response = example.chosen if isinstance(example, Pair) else example.response
        entry = {"request": request_text(example.prompt), "response": response}
        if isinstance(example, Pair):
            entry["rejected"] = example.rejected
        shown.append(entry)
    text = render(question.template, examples=shown, count=config.count, **variables)
    turn: Message = {"role": "user", "content": text}
    if config.place == "alone":
        return [turn]
    answer = shown[0].get("rejected", shown[0]["response"])
    return [*question.examples[0].prompt, {"role": "assistant", "content": answer}, turn]


def _same(rows: Sequence[Proposal]) -> list[list[Proposal]]:
    """Return the rows in groups of one text, case aside, in the order of the first ones."""
    groups: dict[str, list[Proposal]] = {}
    for row in rows:
        groups.setdefault(row.id, []).append(row)
    return list(groups.values())
