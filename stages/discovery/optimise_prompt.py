"""Stage `optimise_prompt`: the instructions of a system turn, found by a beam search over answers.

In: `prompts` and any other inputs of Prompt rows, `model` (it answers), `writer` (it proposes
instructions), `judge`, and optionally the `encoder` that retrieves principles. Out: Proposal rows,
the instructions in their order, which `respond` and others read as their `principles`.

The model answers a few requests under each of the best system turns so far. The judge rates each
answer under the principles that apply to its request alone (`retrieve`), so that what is rewarded
changes from request to request. About the worst answers, and the principle that each breaks most
clearly, the writer proposes an instruction; every system turn that is one instruction longer
answers the next requests, and so do the old ones. The best are kept, by their mean rating over all
requests that they and those they grew from answered.

Source: DRPO (Singla et al. 2024, arXiv 2411.08733, section 3), and its code
(prompt_align/search_config.py, world_model.py).
"""

from asyncio import gather
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from stages.discovery import propose
from stages.guards.errors import UserError
from stages.guards.templates import template_hash
from stages.preferences.judging.ask import (
    MIN_MASS,
    VERDICT_TEMPLATE,
    YES_OR_NO,
    MinMass,
    violation_probability,
)
from stages.principles.constitution import Principle
from stages.principles.proposed import as_principle, proposal_id
from stages.principles.retrieve import (
    ENCODER,
    FIELDS,
    Applicable,
    Retrieval,
    find_applicable,
    retrieval_identity,
)
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context
from stages.runtime.generation import RowFailure, Sampling
from stages.runtime.models import Model
from stages.runtime.rows import Prompt, Proposal, Response
from stages.runtime.stage import Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Count, Few, Fraction
from stages.text.respond import distinct_prompts
from stages.text.system_turn import SYSTEM_TEMPLATE, system_turn

DEFAULT = ("discovery/improve_prompt.jinja",)
"""The question to the writer."""


@dataclass(frozen=True)
class Config:
    constitution: Selection
    """The principles that answers are rated under."""
    retrieve: Retrieval | None = field(default_factory=Retrieval)
    """How many of them a request is rated under; null: all."""
    depth: Few = 20
    """How many times the system turns grow."""
    batch: Count = 1
    """Requests that each of them answers each time; none is answered twice."""
    beam: Few = 2
    """System turns that are kept."""
    actions: Few = 3
    """The most answers of each that an instruction is proposed about: the worst ones."""
    good: Fraction = 0.875
    """No instruction is proposed about an answer rated above this; 4.5 on a scale from 1 to 5."""
    longest: Count = 10
    """The most instructions of a system turn."""
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0))
    """How to answer."""
    proposals: propose.Config = field(default_factory=propose.Config)
    """How to ask for an instruction: the first question is asked, about one response, and the first
    instruction of its answer counts. A template also reads principle, the one that the response
    breaks, and instructions, the texts of the system turn.
    """
    template: str = SYSTEM_TEMPLATE
    """The template of the system turn; its variable is principles."""
    verdict_template: str = VERDICT_TEMPLATE
    """The judge's prompt; its variables are request, response and principle (text)."""
    min_mass: MinMass = MIN_MASS
    """An answer is not rated where the judge puts less probability than this on its options."""


@dataclass(frozen=True)
class Rated:
    """An answer to one request."""

    row: Response
    rating: float
    """The mean probability that it follows a principle which applies."""
    worst: Principle
    """The one that it follows least."""


@dataclass(frozen=True)
class Turn:
    """A system turn, and how the answers under it were rated."""

    texts: tuple[str, ...] = ()
    ratings: tuple[float, ...] = ()
    """The mean of each batch, of those too that it grew from."""
    answers: tuple[Rated, ...] = ()
    """The last batch, the worst first."""

    @property
    def rating(self) -> float:
        """The mean of all batches."""
        return fmean(self.ratings) if self.ratings else 0.0

    def principles(self) -> list[Principle]:
        """The instructions, as a template reads them."""
        return [as_principle(_proposal(text)) for text in self.texts]


@dataclass(frozen=True)
class Search:
    """The one row that is worked on."""

    id: str = "search"


def check(config: Config) -> None:
    """Refuse no principles, and questions about pairs."""
    select(config.constitution)
    propose.check(config.proposals)


def identity(config: Config) -> dict[str, Any]:
    """The texts that the judge reads, and the templates."""
    fields = ("text", *FIELDS) if config.retrieve else ("text",)
    return {
        "constitution": select(config.constitution).identity(*dict.fromkeys(fields)),
        "template": template_hash(config.template),
        "verdict_template": template_hash(config.verdict_template),
        "questions": [template_hash(name) for name in config.proposals.templates or DEFAULT],
        **retrieval_identity(config.retrieve),
    }


def choices(config: Config) -> list[tuple[str, tuple[str, ...]]]:
    """What the judge may answer."""
    return [("judge", YES_OR_NO)]


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Search, one batch of requests after the other.

    Raises:
        UserError: no principle applies to any request.
    """
    models = ("model", "writer", "judge")
    others = (*models, ENCODER)
    prompts, repeated = distinct_prompts(
        artifact for name, artifact in inputs.items() if name not in others
    )
    available = select(config.constitution).principles
    by_id = {prompt.id: prompt.messages for prompt in prompts}
    applicable = find_applicable(config.retrieve, available, by_id, inputs, context)
    usable = [prompt for prompt in prompts if applicable[prompt.id]]
    if not usable:
        raise UserError(
            "no principle applies to any request, so no answer can be rated",
            where=f"step {context.step!r}",
            fix="set `retrieve: null`, or give an input `encoder`",
        )
    usable.sort(key=lambda prompt: derive_seed(context.seed, prompt.id, "order"))
    batches = []
    for start in range(0, len(usable), config.batch):
        batches.append(usable[start : start + config.batch])
    work = Work(
        config=config,
        context=context,
        applicable=applicable,
        model=context.generator(inputs["model"].model()),
        writer=context.generator(inputs["writer"].model()),
        judge=context.generator(inputs["judge"].model()),
    )

    async def search(_: Search) -> list[Proposal]:
        best = await work.search(batches)
        origin = f"written for the model {inputs['model'].model().content}"
        return [_proposal(text, origin) for text in best.texts]

    rows, dropped = context.map([Search()], search)
    metrics = {"system_turns": len(work.seen), "ratings": work.curve, **applicable.metrics()}
    return Result(
        rows=rows,
        row_type=Proposal,
        dropped=repeated + dropped,
        metrics=metrics,
        warnings=applicable.warnings(),
    )


@dataclass
class Work:
    """A search under way.

    Attributes:
        seen: all system turns that answered requests.
        curve: the mean rating of the best one after each batch.
    """

    config: Config
    context: Context
    applicable: Applicable
    model: RememberedGenerator
    writer: RememberedGenerator
    judge: RememberedGenerator
    seen: set[tuple[str, ...]] = field(default_factory=set)
    curve: list[float] = field(default_factory=list)

    async def search(self, batches: Sequence[Sequence[Prompt]]) -> Turn:
        """Return the best system turn."""
        beam = [Turn()]
        for batch in batches[: self.config.depth + 1]:
            turns = {}
            for turn in beam:
                for longer in await self.grow(turn):
                    turns[longer.texts] = longer
            for turn in beam:
                turns[turn.texts] = turn
            self.seen.update(turns)
            rated = await gather(*(self.advance(turn, batch) for turn in turns.values()))
            rated.sort(key=lambda turn: (-turn.rating, len(turn.texts)))
            beam = rated[: self.config.beam]
            self.curve.append(round(beam[0].rating, 6))
        return beam[0]

    async def grow(self, turn: Turn) -> list[Turn]:
        """Return the turns that are one instruction longer; none before the first answers."""
        config = self.config
        if len(turn.texts) >= config.longest:
            return []
        faulty = [one for one in turn.answers[: config.actions] if one.rating <= config.good]
        texts = await gather(*(self.write(turn, one) for one in faulty))
        longer = []
        for text in dict.fromkeys(texts):
            if text and text not in turn.texts:
                longer.append(Turn((*turn.texts, text), turn.ratings))
        return longer

    async def write(self, turn: Turn, failure: Rated) -> str:
        """Return an instruction that would have prevented a failure; "" if none is written."""
        config = self.config.proposals
        row = failure.row
        templates = config.templates or DEFAULT
        messages = propose.conversation(
            propose.Question(row.id, templates[0], [row]),
            config,
            principle=failure.worst,
            instructions=turn.texts,
        )
        seed = derive_seed(self.context.seed, row.id, row.response, "improve")
        try:
            completion = await self.writer.complete(messages, config.sampling, seed)
        except RowFailure as fault:
            self.context.count_failure(row.id, fault)
            return ""
        texts = propose.read_principles(completion.text, config)
        return texts[0] if texts else ""

    async def advance(self, turn: Turn, batch: Sequence[Prompt]) -> Turn:
        """Return the turn after one more batch."""
        asked = await gather(*(self.answer(turn, prompt) for prompt in batch))
        answers = [one for one in asked if one]
        answers.sort(key=lambda one: one.rating)
        ratings = turn.ratings
        if answers:
            ratings = (*ratings, fmean(one.rating for one in answers))
        return Turn(turn.texts, ratings, tuple(answers))

    async def answer(self, turn: Turn, prompt: Prompt) -> Rated | None:
        """Return one answer with its rating; None where either cannot be had."""
        config = self.config
        seed = derive_seed(self.context.seed, prompt.id, "respond", 0)
        system = system_turn(turn.principles(), config.template)
        try:
            completion = await self.model.complete(
                [*system, *prompt.messages], config.sampling, seed
            )
            said = completion.text.strip()
            chances = await gather(
                *(self.follows(prompt, said, principle) for principle in self.applicable[prompt.id])
            )
        except RowFailure as fault:
            self.context.count_failure(prompt.id, fault)
            return None
        place = chances.index(min(chances))
        return Rated(
            row=_response(prompt, said, seed),
            rating=fmean(chances),
            worst=self.applicable[prompt.id][place],
        )

    async def follows(self, prompt: Prompt, said: str, principle: Principle) -> float:
        """Return the probability that an answer follows a principle; an empty one follows none."""
        if not said:
            return 0.0
        return 1 - await violation_probability(
            self.judge,
            prompt.messages,
            said,
            principle.text,
            self.config.verdict_template,
            self.config.min_mass,
        )


def _proposal(text: str, origin: str = "") -> Proposal:
    return Proposal(id=proposal_id(text), prompt_id="", text=text, origin=origin)


def _response(prompt: Prompt, said: str, seed: int) -> Response:
    return Response(
        id=prompt.id,
        prompt_id=prompt.id,
        kind=prompt.kind,
        prompt=prompt.messages,
        response=said,
        context=[],
        model="",
        seed=seed,
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"model": Model, "writer": Model, "judge": Model, "prompts": Prompt},
    optional={ENCODER: Model, "*": Prompt},
    gives=Proposal,
    calls_generator=True,
    check=check,
    choices=choices,
    identity=identity,
)
