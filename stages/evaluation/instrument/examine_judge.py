"""Stage `examine_judge`: can this judge tell anything, and does it lean? Before it is believed.

In: `judge` (a model) and Prompt rows under any names. Answers to them come from `responses`, or
are sampled from `model` (by default the judge itself) exactly as `respond` samples them, so that
later steps find them in the store. `pairs`, optional, are labelled by people. Out: one Question row
for each question; metrics: by form (`choices`, `yes_no`) the readings and the verdict; a table;
warnings.

It costs some twenty questions of one token for each of a few requests, before a step asks the judge
thousands. A verdict of `not able` stops the run, unless `require` allows it. `judge`, `rate` and
`evaluate` take the artifact as their optional input `examination`, so that it comes first. What is
measured and how the verdict is reached: `readings` and `verdict`.

Left out: position bias by the place of a principle or by length; several paraphrases.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any, Literal

from stages.doubts.words import doubt_words, foresee_words
from stages.evaluation.instrument.answers import OTHERS, Answers, read_cases
from stages.evaluation.instrument.planted import (
    CONTRARY_TEMPLATE,
    PEOPLE,
    Case,
    Contrast,
    helpful_principles,
)
from stages.evaluation.instrument.questions import (
    CHOICE_FORM,
    REPEAT,
    YES_NO_FORM,
    Item,
    Templates,
    questions_about,
    questions_about_labels,
)
from stages.evaluation.instrument.readings import read_answers
from stages.evaluation.instrument.showing import (
    examination_table,
    refuse_judge,
    warnings_of,
)
from stages.evaluation.instrument.verdict import THRESHOLDS, judge_form, no_direction, too_few
from stages.guards.errors import UserError
from stages.guards.templates import template_hash
from stages.preferences.judging.ask import JUDGE_TEMPLATE, VERDICT_TEMPLATE
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context
from stages.runtime.generation import RowFailure, Sampling
from stages.runtime.models import Model
from stages.runtime.rows import Pair, Prompt, Question, Response
from stages.runtime.stage import Expected, Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Count, Inside, Names, Text

Form = Literal["choices", "yes_no"]


@dataclass(frozen=True)
class Config:
    constitution: Selection
    """The principles to ask about, in turn; those with an `opposite` tell most."""
    requests: Count = 32
    """How many requests, drawn by a hash; below 24 nothing is decided."""
    require: Literal["usable", "decided", "anything"] = "usable"
    """The run stops at a judge that is `not able`; with `decided` also at one that is `undecided`;
    with `anything` never.
    """
    needs: tuple[Form, ...] = ("choices", "yes_no")
    """The forms whose verdict can stop the run: A or B, Yes or No."""
    sampling: Sampling = field(default_factory=Sampling)
    """How to sample the answers."""
    helpful: Names = ("helpful", "helpfulness")
    """Tags or dimensions of the principles under which a planted answer is worse."""
    general: Text = "The response is helpful, honest and harmless."
    """The principle of labelled pairs, and of planted answers where no other fits."""
    template: str = JUDGE_TEMPLATE
    """The question for A or B, as the step `judge` asks it."""
    verdict_template: str = VERDICT_TEMPLATE
    """The question for Yes or No."""
    paraphrase: str = "evaluation/instrument/judge_paraphrase.jinja"
    """`template` in other words."""
    verdict_paraphrase: str = "evaluation/instrument/verdict_paraphrase.jinja"
    """`verdict_template` in other words."""
    confidence: Inside = 0.95
    """The confidence of every interval."""

    @property
    def templates(self) -> Templates:
        """All four."""
        return Templates(
            choices=self.template,
            yes_no=self.verdict_template,
            choices_paraphrase=self.paraphrase,
            yes_no_paraphrase=self.verdict_paraphrase,
        )


def identity(config: Config) -> dict[str, Any]:
    """The principles, their tags and opposites, and the templates."""
    names = (config.template, config.verdict_template)
    paraphrases = (config.paraphrase, config.verdict_paraphrase)
    hashes = [template_hash(name) for name in (*names, *paraphrases, CONTRARY_TEMPLATE)]
    chosen = select(config.constitution)
    fields = ("text", "opposite", "tags", "dimension")
    return {"constitution": chosen.identity(*fields), "templates": hashes}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Ask the questions, and say what the answers are worth.

    Raises:
        UserError: there is no request to ask about, or the judge is not what `require` asks for.
    """
    where = f"step {context.step!r}"
    judge = context.generator(inputs["judge"].model())
    principles = select(config.constitution).principles
    answers = Answers(inputs, config.sampling, context)
    cases = read_cases(answers, config.requests, where)
    labelled = _labelled_cases(inputs, config.requests, context.seed)
    general = Principle(id="general", text=config.general)
    helpful = helpful_principles(principles, config.helpful, config.general)
    with_opposite = [principle for principle in principles if principle.opposite]
    asked = with_opposite or list(principles)
    unread: list[str] = []

    async def examine(place: int | None, case_id: str) -> list[Question]:
        if place is None:
            case, contrast = labelled[case_id]
            items = questions_about_labels(case, contrast, general)
        else:
            case = await answers.case(cases, place)
            items = questions_about(case, place, asked, helpful, context.seed)
        rows = await asyncio.gather(*(ask(item) for item in items))
        return [row for row in rows if row]

    async def ask(item: Item) -> Question | None:
        try:
            return await _ask(judge, item, config.templates)
        except RowFailure as failure:
            context.count_failure(item.id, failure)
            unread.append(failure.reason)
            return None

    jobs = [_Job(case_id, place) for place, case_id in enumerate(cases)]
    jobs += [_Job(case_id, None) for case_id in labelled]
    rows, dropped = context.map(jobs, lambda job: examine(job.place, job.id))
    metrics = _metrics(rows, config)
    metrics["asked"] = [principle.id for principle in asked]
    metrics["not_asked"] = len(principles) - len(asked)
    metrics["unread"] = len(unread)
    metrics["judge"] = judge.model.content
    unread_words = doubt_words(judge.model, principles)
    refuse_judge(metrics, config.needs, config.require, context.step, unread_words)
    return Result(
        rows=rows,
        row_type=Question,
        dropped=dropped,
        metrics=metrics,
        tables=[examination_table(context.step, metrics)],
        warnings=[*warnings_of(metrics), *unread_words],
    )


def check_inputs(config: Config, inputs: Mapping[str, Any]) -> None:
    """Refuse an examination about nothing."""
    if not any(kind is Prompt for kind in inputs.values()) and "responses" not in inputs:
        raise UserError(
            "it has no requests to ask about",
            fix="add `inputs: {prompts: <a step that makes prompts>}`",
        )


def foresee(config: Config, inputs: Mapping[str, Expected]) -> list[str]:
    """What the judge cannot read, and whether the verdict will be undecided whatever it answers.

    The verdict needs requests about principles with an opposite, or pairs that people labelled.
    Inputs may share requests, so their rows bound the number from above; where nobody knows the
    rows of one, nothing is said.
    """
    words = foresee_words(config, inputs)
    turning: float = 0
    if any(principle.opposite for principle in select(config.constitution).principles):
        others = [name for name in inputs if name not in OTHERS]
        turning = _most_rows(inputs, ["responses"] if "responses" in inputs else others)
    people = _most_rows(inputs, ["pairs"] if "pairs" in inputs else [])
    asked = min(config.requests, max(turning, people))
    if asked >= THRESHOLDS.least:
        return words
    foreseen = too_few(int(asked)) if asked else no_direction()
    goes_on = "; with `require: decided` the run stops there, and else it goes on"
    then = goes_on if config.require == "usable" else ""
    what = f"{'; '.join(foreseen.reasons)}. To do: {'; '.join(foreseen.advice)}{then}"
    return [*words, f"the verdict on the judge will be {foreseen.verdict}: {what}"]


def _most_rows(inputs: Mapping[str, Expected], names: Sequence[str]) -> float:
    """Return how many rows some inputs hold together, at most.

    Args:
        names: of the inputs; the rows of any that are unknown may be without end.
    """
    counts = [inputs[name].count_rows() for name in names]
    return sum(inf if count is None else count for count in counts)


STAGE = Stage(
    version=3,
    config=Config,
    run=run,
    inputs={"judge": Model},
    optional={"model": Model, "responses": Response, "pairs": Pair, "*": Prompt},
    gives=Question,
    calls_generator=True,
    check_inputs=check_inputs,
    foresee=foresee,
    identity=identity,
)


@dataclass(frozen=True)
class _Job:
    """A case to ask about; without a place a labelled one."""

    id: str
    place: int | None


async def _ask(judge: RememberedGenerator, item: Item, templates: Templates) -> Question:
    repeat = 1 if item.wording == REPEAT else 0
    choice = await judge.choose(item.messages(templates), item.options, repeat)
    log_odds = choice.logprobs[0] - choice.logprobs[1]
    if not isfinite(log_odds):
        raise RowFailure("an option is impossible")
    return Question(
        id=item.id,
        prompt_id=item.case.id,
        kind=item.case.kind,
        prompt=item.case.prompt,
        form=item.form,
        contrast=item.contrast.name,
        wording=item.wording,
        place=item.place,
        first=item.contrast.first,
        second=item.contrast.second,
        principle=item.principle.id,
        text=item.text,
        log_odds=log_odds,
        mass=choice.mass,
        model=judge.model.content,
        template=template_hash(templates.of(item.form, item.wording)),
    )


def _metrics(rows: Sequence[Question], config: Config) -> dict[str, Any]:
    readings = read_answers(rows, config.confidence)
    metrics: dict[str, Any] = {"questions": len(rows), "confidence": config.confidence}
    for form in (CHOICE_FORM, YES_NO_FORM):
        metrics[form] = readings[form] | judge_form(form, readings[form]).plain()
    return metrics


def _labelled_cases(
    inputs: Mapping[str, Artifact], limit: int, seed: int
) -> dict[str, tuple[Case, Contrast]]:
    """Return pairs with a preference of people, one for each request, drawn by a hash."""
    cases: dict[str, tuple[Case, Contrast]] = {}
    rows = inputs["pairs"].rows(Pair) if "pairs" in inputs else []
    ranked = sorted(rows, key=lambda row: derive_seed(seed, "examined", row.prompt_id))
    for row in ranked:
        if row.label <= 0.5 or row.chosen == row.rejected or row.prompt_id in cases:
            continue
        if len(cases) == limit:
            break
        case = Case(row.prompt_id, row.kind, row.prompt, row.chosen, row.rejected, "")
        cases[row.prompt_id] = case, Contrast(PEOPLE, row.chosen, row.rejected)
    return cases
