"""Stage `respond`: sample answers.

In: `prompts` and any other inputs of Prompt rows, `model`. Out: n Response rows for each prompt.

With `context: principles` the model reads the constitution in its system turn. Training never sees
that turn, nor `demonstrations`: a Response keeps the bare prompt, and `context` lists the
principles that were shown (context pruning, as in SELF-ALIGN, Sun et al. 2023, and in deliberative
alignment). With `retrieve` each prompt has a turn of its own, with the principles that apply to it;
a prompt to which none applies is asked without such a turn (OPO, Xu et al. 2023). The stored prompt
is also without the `suffix`, a phrase after the last user turn that steers a model that was trained
to follow it (Chain of Hindsight, Liu et al. 2023).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stages.doubts.words import foresee_words
from stages.guards.errors import UserError
from stages.guards.templates import template_hash
from stages.principles.assign import assign_many, doubt_draw
from stages.principles.constitution import Principle
from stages.principles.proposed import INPUT, check_source, principles_of
from stages.principles.retrieve import (
    ENCODER,
    Retrieval,
    check_encoder,
    find_applicable,
    retrieval_identity,
)
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context, Drop
from stages.runtime.generation import Sampling
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Message, Prompt, Proposal, Response
from stages.runtime.stage import Expected, Kind, Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Amount, Few, Text, machine
from stages.sources.records import file_hash
from stages.text.cut_off import count_cut_off
from stages.text.revise import read_demonstrations
from stages.text.system_turn import SYSTEM_TEMPLATE, selected, system_identity, system_turn

PROPOSAL_COLUMNS = ("id", "prompt_id", "text", "opposite", "weight", "origin")
"""Of principles that are no file: what a principle is made of."""


@dataclass(frozen=True)
class Config:
    n: Few = 1
    """Samples for each prompt."""
    skip: Amount = machine(0)  # `identity` adds it, if set
    """Samples left out before these: those that an earlier step with `n: skip` has drawn."""
    sampling: Sampling = field(default_factory=Sampling)
    """How to sample: temperature, top_p, max_tokens, stop."""
    keep_empty: bool = False
    """Keep empty answers, which an evaluation must see; training cannot use them."""
    context: Literal["none", "principles"] = "none"
    """What the model reads besides the prompt."""
    constitution: Selection | None = None
    """The principles that it reads with `context: principles`; null: those of `inputs.principles`.
    """
    retrieve: Retrieval | None = machine(None)  # `identity` adds it, if set
    """With `context: principles`: only those that apply to the prompt, by `inputs.encoder` or, if
    there is none, by BM25; null: all.
    """
    template: str = SYSTEM_TEMPLATE
    """The template of the system turn; its variable is principles."""
    draw: Few | None = machine(None)
    """The most principles that each answer is written under, drawn by weight; null: all."""
    demonstrations: Text | None = machine(None)
    """A YAML file with a list of conversations, put before every prompt."""
    thoughts: Literal["split", "keep"] = "split"
    """`split`: what the model wrote before its answer, between marks of thoughts, goes into the
    row's `thoughts`; `keep`: it stays in the answer, and is scored and learnt with it.
    """
    suffix: str = ""
    """A phrase appended to the last user turn, after a space; "" for none."""


@dataclass(frozen=True)
class SampleRequest:
    """One answer that is to be sampled."""

    id: str
    prompt: Prompt
    sample: int


def check(config: Config) -> None:
    """Refuse a choice of principles for a model that reads none; read the demonstrations once."""
    read_demonstrations(config.demonstrations)
    for option in ("retrieve", "draw"):
        if getattr(config, option) and config.context == "none":
            raise UserError(
                f"`{option}` chooses among principles that the model does not read",
                where="stage 'respond'",
                fix=f"set `context: principles`, or leave `{option}` out",
            )


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    check_encoder(config.retrieve, inputs)
    if config.context == "principles" or INPUT in inputs:
        check_source(config.constitution, inputs, "respond")
    if INPUT in inputs and config.context == "none":
        raise UserError(
            "it has an input `principles`, which the model does not read",
            where="stage 'respond'",
            fix="set `context: principles`, or leave the input out",
        )


def foresee(config: Config, inputs: Mapping[str, Expected]) -> list[str]:
    """Doubt words that the model has not seen, and a `draw` of more principles than there are."""
    total = inputs[INPUT].count_rows() if INPUT in inputs else None
    if config.constitution:
        total = len(select(config.constitution).principles)
    return [*foresee_words(config, inputs), *doubt_draw("draw", config.draw, total)]


def identity(config: Config) -> dict[str, Any]:
    """The principles that the model reads, if any, in order; unused options are left out."""
    facts: dict[str, Any] = {"constitution": None, "template": None}
    if config.context == "principles" and config.constitution is None:  # an input has them
        facts["template"] = template_hash(config.template)
        facts |= retrieval_identity(config.retrieve)
        if config.draw:
            facts["draw"] = config.draw
    elif config.context == "principles":
        facts = system_identity(config.constitution, config.template, "respond", config.retrieve)
        if config.draw:
            facts |= {"draw": config.draw, "weights": weights_of(config)}
    if config.demonstrations:
        facts["demonstrations"] = file_hash(config.demonstrations)
    if config.skip:
        facts["skip"] = config.skip
    return facts


def weights_of(config: Config) -> list[float]:
    """The weights by which principles are drawn."""
    principles = selected(config.constitution, "respond").principles
    return [principle.weight for principle in principles]


def with_suffix(messages: list[Message], suffix: str) -> list[Message]:
    """Return a conversation with a phrase appended to its last turn."""
    if not suffix:
        return messages
    last = messages[-1]
    return [*messages[:-1], {**last, "content": f"{last['content']} {suffix}"}]


def distinct_prompts(sources: Iterable[Artifact]) -> tuple[list[Prompt], list[Dropped]]:
    """The prompts of several artifacts, and the repeated ones: the first one with an id is used."""
    prompts: dict[str, Prompt] = {}
    dropped = []
    for artifact in sources:
        for prompt in artifact.rows(Prompt):
            if prompt.id in prompts:
                dropped.append(Dropped(id=prompt.id, reason="in two inputs"))
            prompts.setdefault(prompt.id, prompt)
    return list(prompts.values()), dropped


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Sample every answer; an empty one is dropped and counted, unless `keep_empty` is set.

    Raises:
        UserError: the context needs a constitution.
    """
    model = inputs["model"].model()
    generator = context.generator(model)
    available: tuple[Principle, ...] = ()
    template = ""
    if config.context == "principles":
        available = principles_of(config.constitution, inputs)
        template = template_hash(config.template)
    others = ("model", ENCODER, INPUT)
    sources = [artifact for name, artifact in inputs.items() if name not in others]
    prompts, repeated = distinct_prompts(sources)
    by_id = {prompt.id: prompt.messages for prompt in prompts}
    applicable = find_applicable(config.retrieve, available, by_id, inputs, context)
    demonstrations = read_demonstrations(config.demonstrations)

    async def answer(request: SampleRequest) -> Response:
        seed = derive_seed(context.seed, request.prompt.id, "respond", request.sample)
        shown = applicable[request.prompt.id]
        if config.draw and config.draw < len(shown):
            drawn = assign_many(shown, request.id, context.seed, config.draw)
            shown = tuple(principle for principle in shown if principle in drawn)
        system = system_turn(shown, config.template)
        asked = with_suffix(request.prompt.messages, config.suffix)
        messages = [*system, *demonstrations, *asked]
        completion = await generator.complete(
            messages, config.sampling, seed, keep_thoughts=config.thoughts == "keep"
        )
        text = completion.text.strip()
        # Thoughts that are kept are no answer.
        fault = completion.split(generator.thought_marks).reason_if_empty("response")
        if fault and not config.keep_empty:
            raise Drop(fault)
        return Response(
            id=request.id,
            prompt_id=request.prompt.id,
            kind=request.prompt.kind,
            prompt=request.prompt.messages,
            response=text,
            sample=request.sample,
            context=[principle.id for principle in shown],
            model=model.content,
            seed=seed,
            template=template,
            finish_reason=completion.finish_reason,
            thoughts=completion.thoughts,
        )

    requests = []
    for prompt in prompts:
        for number in range(config.skip, config.skip + config.n):
            requests.append(SampleRequest(f"{prompt.id}-{number}", prompt, number))
    rows, dropped = context.map(requests, answer)
    thinking = sum(bool(row.thoughts) for row in rows)
    metrics = {"cut_off": count_cut_off(rows), **applicable.metrics()}
    if thinking:
        metrics["with_thoughts"] = thinking
    return Result(
        rows=rows,
        row_type=Response,
        dropped=repeated + dropped,
        metrics=metrics,
        warnings=applicable.warnings(),
    )


STAGE = Stage(
    version=4,
    config=Config,
    run=run,
    inputs={"model": Model, "prompts": Prompt},
    optional={ENCODER: Model, INPUT: Proposal, "*": Prompt},
    gives=Response,
    reads={Prompt: ("id", "messages", "kind"), Proposal: PROPOSAL_COLUMNS},
    calls_generator=True,
    check=check,
    check_inputs=check_inputs,
    foresee=foresee,
    identity=identity,
)
