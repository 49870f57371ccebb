"""Stage `revise`: the model criticises its answer under a principle and rewrites it, K rounds.

In: `responses` (Response), `model`; `principles`, Proposals in place of a constitution. Out: up to
K Revision rows for each response: a chain ends before a round whose critique or revision is empty
or cut off, and its finished rounds stay.

Constitutional AI, Bai et al. 2022 (arXiv 2212.08073), section 3.1: each round draws its principle
independently, and with `context: collapse` it sees only the request and the latest text, never
older critiques. `context: append` keeps the whole conversation, as the open one-revision recipe of
Hugging Face does. The paper always rewrites; `only_faulty` rewrites only where the critique finds a
fault, which leaves good answers unchanged and can save half of the calls; only there the critique
is offered the answer "No fault.". `critique: false` rewrites directly (the paper's ablation in
section 3.5).

With `retrieve` a response's principles are drawn from those that apply to its prompt; one to which
none applies is dropped and counted.

Left out: the paper's few-shot transcripts; give your own through `demonstrations`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stages.doubts.texts import doubt_revisions
from stages.doubts.words import doubt_words, foresee_words
from stages.guards.errors import UserError
from stages.guards.files import as_path
from stages.guards.templates import render, template_hash
from stages.principles.assign import assign
from stages.principles.constitution import Principle, fields_read
from stages.principles.document import read_yaml
from stages.principles.proposed import (
    check_source,
    identity_of,
    principles_of,
)
from stages.principles.retrieve import (
    ENCODER,
    FIELDS,
    NONE_APPLIES,
    Retrieval,
    check_encoder,
    find_applicable,
    retrieval_identity,
)
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context, Drop
from stages.runtime.generation import RowFailure, Sampling
from stages.runtime.models import Model
from stages.runtime.rows import Message, Proposal, Response, Revision
from stages.runtime.stage import Kind, Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Few, Text, machine, parse_config
from stages.sources.records import file_hash
from stages.text.announcements import split_announcement
from stages.text.cut_off import finished_text

CRITIQUE_TEMPLATES = {True: "text/critique.jinja", False: "text/critique_always.jinja"}
"""The shipped requests for a critique, with `only_faulty` and without."""
NO_PRINCIPLE = "there is no principle"
NOT_BEGUN = (NONE_APPLIES, NO_PRINCIPLE)
EXAMPLES = 3
"""How many announcements the metrics show."""


@dataclass(frozen=True)
class DemonstrationTurn:
    """A turn of a demonstration."""

    role: Literal["system", "user", "assistant"]
    content: Text


@dataclass(frozen=True)
class Config:
    constitution: Selection | None = None
    """The principles to draw from, one for each round; null: those of the input `principles`."""
    retrieve: Retrieval | None = machine(None)  # `identity` adds it, if set
    """Draw from those that apply to the prompt, by `inputs.encoder` or, if there is none, by BM25;
    null: from all.
    """
    rounds: Few = 1
    """K, the number of rounds; to train without revisions, leave the step out."""
    context: Literal["collapse", "append"] = "collapse"
    """What a later round sees of earlier ones."""
    critique: bool = True
    """Ask for a critique before the revision."""
    only_faulty: bool = False
    """Keep the text where the critique begins with `no_fault`."""
    no_fault: Text = "No fault"
    """How a critique begins if it finds no fault (case does not matter); then the row's `faulty` is
    False.
    """
    sampling: Sampling = field(default_factory=Sampling)
    """How to sample critiques and revisions."""
    demonstrations: Text | None = None
    """A YAML file with a list of conversations, put before every request."""
    strip_preamble: bool = True
    """Cut a leading announcement such as "Here is a revised response:" (`announcements.py`)."""
    critique_template: str | None = None
    """The request for a critique; its variable is principle. null: a shipped one, which offers
    "No fault." as an answer with `only_faulty`, and without it asks for a critique always.
    """
    revise_template: str = "text/revise.jinja"
    """The request for a revision after a critique; its variable is principle."""
    direct_template: str = "text/revise_directly.jinja"
    """The request for a revision without a critique; its variable is principle."""


def check(config: Config) -> None:
    """Refuse `only_faulty` without critiques, and demonstrations that cannot be read."""
    if config.only_faulty and not config.critique:
        raise UserError(
            "`only_faulty` needs critiques",
            where="stage 'revise'",
            fix="set `critique: true` or `only_faulty: false`",
        )
    read_demonstrations(config.demonstrations)


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse no principles, and two sources of them; an encoder that nothing would read."""
    check_source(config.constitution, inputs, "revise")
    check_encoder(config.retrieve, inputs)


def critique_template(config: Config) -> str:
    """The template of the request for a critique."""
    return config.critique_template or CRITIQUE_TEMPLATES[config.only_faulty]


def identity(config: Config) -> dict[str, Any]:
    """The principles, the demonstrations and the templates that are used."""
    templates = {
        "critique_template": critique_template(config),
        "revise_template": config.revise_template,
        "direct_template": config.direct_template,
    }
    unused = {"direct_template"} if config.critique else {"critique_template", "revise_template"}
    facts: dict[str, Any] = dict.fromkeys(unused)
    used = {name: template for name, template in templates.items() if name not in unused}
    for name, template in used.items():
        facts[name] = template_hash(template)
    fields = fields_read(used.values(), ["text", "critique", "revision", "weight"])
    if config.retrieve:
        fields = (*fields, *FIELDS)
        facts |= retrieval_identity(config.retrieve)
        if config.constitution:
            facts["order"] = [p.id for p in select(config.constitution).principles]
    facts["constitution"] = identity_of(config.constitution, *fields)
    facts["demonstrations"] = None
    if config.demonstrations:
        facts["demonstrations"] = file_hash(config.demonstrations)
    return facts


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Run K rounds on every response.

    A round that fails ends the response's chain; it is dropped and counted under its own id, and
    the rounds before it stay.

    Raises:
        UserError: the demonstrations cannot be read.
    """
    model = inputs["model"].model()
    generator = context.generator(model)
    principles = principles_of(config.constitution, inputs)
    demonstrations = read_demonstrations(config.demonstrations)
    template = template_hash(
        critique_template(config) if config.critique else config.direct_template
    )
    announcements: dict[str, str] = {}
    responses = inputs["responses"].rows(Response)
    by_prompt = {response.prompt_id: response.prompt for response in responses}
    applicable = find_applicable(config.retrieve, principles, by_prompt, inputs, context)

    async def revise(response: Response) -> list[Revision]:
        rows: list[Revision] = []
        drawn = applicable[response.prompt_id]
        if not drawn:
            raise Drop(NONE_APPLIES if principles else NO_PRINCIPLE)
        text = response.response
        ending = response.finish_reason
        opening: list[Message] = [*demonstrations, *response.prompt]
        for number in range(1, config.rounds + 1):
            principle = assign(drawn, response.id, context.seed, number)
            seed = derive_seed(context.seed, response.id, "revise", number)
            row_id = f"{response.id}-r{number}"
            try:
                turn = await _run_round(config, generator, opening, text, principle, seed)
            except RowFailure as failure:
                failure.lost = row_id
                failure.finished = rows
                raise
            if turn.is_new:
                ending = "stop"
            if turn.announcement:
                announcements[row_id] = turn.announcement
            row = Revision(
                id=row_id,
                response_id=response.id,
                prompt_id=response.prompt_id,
                kind=response.kind,
                prompt=response.prompt,
                response=turn.text,
                original=response.response,
                previous=text,
                round=number,
                principle=principle.id,
                critique_request=turn.critique_request,
                critique=turn.critique,
                revision_request=turn.revision_request,
                faulty=turn.faulty,
                model=model.content,
                seed=seed,
                template=template,
                thoughts=turn.thoughts,
                finish_reason=ending,
                original_finish_reason=response.finish_reason,
            )
            rows.append(row)
            text = turn.text
            if config.context == "append":
                opening = turn.conversation
        return rows

    rows, dropped = context.map(responses, revise)
    lost = Counter(row.reason for row in dropped if row.reason not in NOT_BEGUN)
    begun = len(responses) - (len(dropped) - lost.total())
    metrics = {
        **_count_principles(rows),
        **applicable.metrics(),
        "lost_rounds": dict(lost),
        "rounds_after_lost": config.rounds * begun - len(rows) - lost.total(),
        "announcements": _describe_announcements(rows, announcements),
    }
    warnings = [*doubt_words(model, principles), *applicable.warnings()]
    warnings += doubt_revisions(rows, always_rewritten=not config.only_faulty)
    return Result(rows=rows, row_type=Revision, dropped=dropped, metrics=metrics, warnings=warnings)


STAGE = Stage(
    version=3,
    config=Config,
    run=run,
    inputs={"model": Model, "responses": Response},
    optional={ENCODER: Model, "principles": Proposal},
    may_be_empty=("principles",),
    gives=Revision,
    calls_generator=True,
    meant_to_drop=NOT_BEGUN,
    may_drop_all=(NO_PRINCIPLE,),
    check=check,
    check_inputs=check_inputs,
    foresee=foresee_words,
    identity=identity,
)


@dataclass(frozen=True)
class Turn:
    """The result of one round."""

    text: str
    faulty: bool
    critique_request: str
    critique: str
    revision_request: str
    conversation: list[Message]
    """All messages before the new text, for a round that appends to them."""
    is_new: bool = True
    """False: the text was kept."""
    announcement: str = ""
    """What was cut from the start of the revision."""
    thoughts: str = ""
    """What the model thought before the new text."""


async def _run_round(
    config: Config,
    generator: RememberedGenerator,
    opening: list[Message],
    text: str,
    principle: Principle,
    seed: int,
) -> Turn:
    critique_request = ""
    critique = ""
    faulty = True
    conversation: list[Message] = [*opening, {"role": "assistant", "content": text}]
    if config.critique:
        critique_request = render(critique_template(config), principle=principle)
        conversation.append({"role": "user", "content": critique_request})
        completion = await generator.complete(
            conversation, config.sampling, derive_seed(seed, "critique")
        )
        critique = finished_text(completion, "critique")
        conversation = [*conversation, {"role": "assistant", "content": critique}]
        faulty = not critique.lower().startswith(config.no_fault.lower())
        if config.only_faulty and not faulty:
            return Turn(text, False, critique_request, critique, "", opening, is_new=False)
    template = config.revise_template if config.critique else config.direct_template
    revision_request = render(template, principle=principle)
    conversation.append({"role": "user", "content": revision_request})
    completion = await generator.complete(
        conversation, config.sampling, derive_seed(seed, "revision")
    )
    revision = finished_text(completion, "revision")
    announcement = ""
    if config.strip_preamble:
        announcement, revision = split_announcement(revision)
    if not revision:
        raise Drop("empty revision")
    return Turn(
        revision,
        faulty,
        critique_request,
        critique,
        revision_request,
        conversation,
        announcement=announcement,
        thoughts=completion.thoughts,
    )


def read_demonstrations(name: str | None) -> list[Message]:
    """Return the turns of all conversations of a file.

    Raises:
        UserError: the file cannot be read, or does not hold conversations.
    """
    if name is None:
        return []
    fix = "give a YAML list of conversations, each a list of {role, content}"
    document = read_yaml(as_path(name))
    document.refuse_faults()
    conversations = document.data
    if not isinstance(conversations, list) or not all(
        isinstance(conversation, list) and conversation for conversation in conversations
    ):
        raise UserError("the demonstrations cannot be read", where=name, fix=fix)
    messages: list[Message] = []
    for number, conversation in enumerate(conversations, start=1):
        for turn in conversation:
            parsed = parse_config(DemonstrationTurn, turn, f"{name}, conversation {number}")
            messages.append({"role": parsed.role, "content": parsed.content})
    return messages


def _count_principles(rows: list[Revision]) -> dict[str, Any]:
    """For each principle how often it was drawn, found a fault, and changed the text."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        entry = counts.setdefault(row.principle, {"drawn": 0, "faulty": 0, "changed": 0})
        entry["drawn"] += 1
        entry["faulty"] += row.faulty
        entry["changed"] += row.response != row.previous
    return {"principles": counts}


def _describe_announcements(
    rows: Sequence[Revision], announcements: dict[str, str]
) -> dict[str, Any]:
    """How many announcements were cut, and the first few of them, with what follows each.

    Args:
        announcements: by the id of the row.
    """
    examples: list[dict[str, str]] = []
    for row in rows:
        if row.id in announcements and len(examples) < EXAMPLES:
            example = {"id": row.id, "cut": announcements[row.id], "rest": row.response[:100]}
            examples.append(example)
    return {"cut": len(announcements), "examples": examples}
