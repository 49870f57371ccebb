"""Stage `respond`: sample answers.

In: `prompts` and any other inputs of Prompt rows, `model`. Out: n Response rows for each prompt.

With `context: principles` the model reads the constitution in its system turn. Training never sees
that turn: a Response keeps the bare prompt, and `context` lists the principles that were shown
(context pruning, as in SELF-ALIGN, Sun et al. 2023, and in deliberative alignment). The stored
prompt is also without the `suffix`, a phrase after the last user turn that steers a model that was
trained to follow it (Chain of Hindsight, Liu et al. 2023).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from stages.doubts.words import foresee_words
from stages.guards.templates import template_hash
from stages.principles.constitution import Principle
from stages.principles.select import Selection
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context, Drop
from stages.runtime.generation import Sampling
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Message, Prompt, Response
from stages.runtime.stage import Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Few
from stages.text.cut_off import count_cut_off
from stages.text.system_turn import SYSTEM_TEMPLATE, selected, system_identity, system_turn


@dataclass(frozen=True)
class Config:
    n: Few = 1
    """Samples for each prompt."""
    sampling: Sampling = field(default_factory=Sampling)
    """How to sample: temperature, top_p, max_tokens, stop."""
    keep_empty: bool = False
    """Keep empty answers, which an evaluation must see; training cannot use them."""
    context: Literal["none", "principles"] = "none"
    """What the model reads besides the prompt."""
    constitution: Selection | None = None
    """The principles that it reads with `context: principles`."""
    template: str = SYSTEM_TEMPLATE
    """The template of the system turn; its variable is principles."""
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


def identity(config: Config) -> dict[str, Any]:
    """The principles that the model reads, if any, in order; unused options are left out."""
    if config.context == "none":
        return {"constitution": None, "template": None}
    return system_identity(config.constitution, config.template, "respond")


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
    principles: tuple[Principle, ...] = ()
    system: list[Message] = []
    template = ""
    if config.context == "principles":
        principles = selected(config.constitution, "respond").principles
        template = template_hash(config.template)
        system = system_turn(principles, config.template)

    async def answer(request: SampleRequest) -> Response:
        seed = derive_seed(context.seed, request.prompt.id, "respond", request.sample)
        messages = [*system, *with_suffix(request.prompt.messages, config.suffix)]
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
            context=[principle.id for principle in principles],
            model=model.content,
            seed=seed,
            template=template,
            finish_reason=completion.finish_reason,
            thoughts=completion.thoughts,
        )

    sources = [artifact for name, artifact in inputs.items() if name != "model"]
    prompts, repeated = distinct_prompts(sources)
    requests = []
    for prompt in prompts:
        for number in range(config.n):
            requests.append(SampleRequest(f"{prompt.id}-{number}", prompt, number))
    rows, dropped = context.map(requests, answer)
    thinking = sum(bool(row.thoughts) for row in rows)
    metrics = {"cut_off": count_cut_off(rows)}
    if thinking:
        metrics["with_thoughts"] = thinking
    return Result(rows=rows, row_type=Response, dropped=repeated + dropped, metrics=metrics)


STAGE = Stage(
    version=4,
    config=Config,
    run=run,
    inputs={"model": Model, "prompts": Prompt},
    optional={"*": Prompt},
    gives=Response,
    reads={Prompt: ("id", "messages", "kind")},
    calls_generator=True,
    foresee=foresee_words,
    identity=identity,
)
