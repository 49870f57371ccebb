"""Stage `search_responses`: answers that a frozen model finds by looking ahead and going back.

In: `prompts` and any other inputs of Prompt rows, `model`, `judge` (the same model, if it is to
evaluate itself), and optionally a sentence `encoder`. Out: n Response rows for each prompt.

A score is what the judge says of a whole answer: 1 - 2 P(violated) of the principle that it breaks
most clearly. Nothing is trained, and the model reads no principle. `context` of a row names the
principles that the answer was searched under.

Source: RAIN (Li et al. 2023, arXiv 2309.07124).
"""

import asyncio
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from stages.guards.errors import UserError
from stages.guards.templates import template_hash
from stages.preferences.judging.ask import (
    MIN_MASS,
    VERDICT_TEMPLATE,
    YES_OR_NO,
    MinMass,
    violation_probability,
)
from stages.principles.encoder import Encoder
from stages.principles.retrieve import ENCODER
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.generation import Completion, Sampling, TooLong
from stages.runtime.models import Model
from stages.runtime.rows import Prompt, Response
from stages.runtime.stage import Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Few
from stages.text.cut_off import count_cut_off
from stages.text.respond import SampleRequest, distinct_prompts
from stages.text.search.search import Search
from stages.text.search.tree import Options

EMPTY = -1.0
"""The score of an answer without words: it breaks no principle, and is none."""


@dataclass(frozen=True)
class Config:
    constitution: Selection
    """The principles that answers are searched under."""
    n: Few = 1
    """Answers to each prompt."""
    sampling: Sampling = field(default_factory=Sampling)
    """How to sample; max_tokens is that of a whole answer."""
    search: Options = field(default_factory=Options)
    """How to search."""
    template: str = VERDICT_TEMPLATE
    """The judge's prompt; its variables are request, response and principle (text)."""
    min_mass: MinMass = MIN_MASS
    """A row is dropped where the judge puts less probability than this on Yes and No together."""


def check(config: Config) -> None:
    """Refuse stop strings, which may lie across two sets of tokens."""
    if config.sampling.stop:
        raise UserError(
            "a search cannot end at stop strings",
            where="stage 'search_responses'",
            fix="set `sampling.stop: []`",
        )
    select(config.constitution)


def identity(config: Config) -> dict[str, Any]:
    """The texts that the judge reads."""
    constitution = select(config.constitution)
    return {
        "constitution": constitution.identity("text"),
        "template": template_hash(config.template),
    }


def choices(config: Config) -> list[tuple[str, tuple[str, ...]]]:
    """What the judge may answer."""
    return [("judge", YES_OR_NO)]


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Search every answer.

    Raises:
        UserError: servers hold the model.
    """
    model = inputs["model"].model()
    generator = context.generator(model)
    generator.refuse_server(f"step {context.step!r}")
    judge = context.generator(inputs["judge"].model())
    principles = select(config.constitution).principles
    encode = None
    if ENCODER in inputs:
        encode = Encoder(inputs[ENCODER].model(), context.store).encode
    others = ("model", "judge", ENCODER)
    prompts, repeated = distinct_prompts(
        artifact for name, artifact in inputs.items() if name not in others
    )
    visits: dict[str, int] = {}

    async def answer(request: SampleRequest) -> Response:
        messages = request.prompt.messages

        async def draw(beginning: str, tokens: int, purpose: str) -> Completion:
            seed = derive_seed(context.seed, request.id, "search", beginning, purpose)
            sampling = replace(config.sampling, max_tokens=tokens)
            try:
                return await generator.complete(
                    messages, sampling, seed, keep_thoughts=True, prefix=beginning
                )
            except TooLong:
                if not beginning:
                    raise
                return Completion("", "length", 0, 0)  # the answer fills the context

        async def rate(text: str) -> float:
            said = Completion(text, "stop", 0, 0).split(generator.thought_marks).text.strip()
            if not said:
                return EMPTY
            violations = (
                violation_probability(
                    judge, messages, said, principle.text, config.template, config.min_mass
                )
                for principle in principles
            )
            return 1 - 2 * max(await asyncio.gather(*violations))

        search = Search(config.search, draw, rate, encode, config.sampling.max_tokens)
        end = await search.run()
        visits[request.id] = search.visits
        completion = Completion(end.text, end.ended, 0, end.tokens).split(generator.thought_marks)
        return Response(
            id=request.id,
            prompt_id=request.prompt.id,
            kind=request.prompt.kind,
            prompt=messages,
            response=completion.text.strip(),
            sample=request.sample,
            context=[principle.id for principle in principles],
            model=model.content,
            seed=derive_seed(context.seed, request.id, "search"),
            template=template_hash(config.template),
            finish_reason=completion.finish_reason,
            thoughts=completion.thoughts,
        )

    requests = [
        SampleRequest(f"{prompt.id}-{number}", prompt, number)
        for prompt in prompts
        for number in range(config.n)
    ]
    rows, dropped = context.map(requests, answer)
    return Result(
        rows=rows,
        row_type=Response,
        dropped=repeated + dropped,
        metrics={
            "cut_off": count_cut_off(rows),
            "visits": fmean(visits.values()) if visits else 0,  # of an answer
        },
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"model": Model, "judge": Model, "prompts": Prompt},
    optional={ENCODER: Model, "*": Prompt},
    gives=Response,
    calls_generator=True,
    check=check,
    choices=choices,
    identity=identity,
)
