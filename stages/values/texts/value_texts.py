"""Stage `value_texts`: texts that teach a model the values of a target, from arguments.

In: `arguments`, Rating rows of arguments whose `scores` say which values each one speaks for
(`human_answers` with a constitution, on Touche's arguments or on a file of yours). Out: Response
rows, from which `sft` learns. No calls.

It is the value injection method (Kang et al. 2023, arXiv 2310.17857) in its two phases, of which
the second starts from the model of the first:

    argument   a text to say where every value that it speaks for has a target of at least `gamma`
               on the survey's scale from 1 to 6, else a text never to say; both are learnt
    question   for each value of an argument, how much it matters to the model, as a number from 1
               to 6: the target rounded up or down at random, so that its mean is the target

An argument that opposes a value (a score of -1; Touche has none) counts with the mirrored target.
Left out: arguments that speak for no value, which are counted; the choice of the epoch by a
validation loss. The words of questions and answers are ours, in templates.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.guards.errors import UserError
from stages.guards.templates import render, template_hash
from stages.principles.select import select
from stages.runtime.artifacts import Artifact, Result, advise_on_missing
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.rows import Dropped, Rating, Response, request_text
from stages.runtime.stage import Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Text, machine
from stages.sources.conversations import content_id
from stages.values.aim import Aim, aim_identity, check_aim, foresee_kinds
from stages.values.profile import round_stochastically, supports

Phase = Literal["argument", "question"]
LOW, HIGH = 1.0, 6.0
"""The scale of the survey, on which -1 is 1 and 1 is 6."""
NO_VALUE = "it speaks for no value"
LEAST = 0.5
"""From this score on an argument speaks for a value."""


@dataclass(frozen=True, kw_only=True)
class Config(Aim):
    """The options of a target; those of its distance have no effect."""

    phase: Phase = "argument"
    """Which texts to write."""
    gamma: Annotated[float, Field(ge=1, le=6)] = 3.0
    """From which target on a value is one to speak for."""
    question: Text | None = machine(None)
    """The template of the request; null: the phase's own."""
    answer: Text | None = machine(None)
    """The template of the answer; null: the phase's own."""

    @property
    def templates(self) -> tuple[str, str]:
        """The templates of request and answer."""
        folder = f"values/texts/{self.phase}"
        return self.question or f"{folder}_question.jinja", self.answer or f"{folder}_answer.jinja"


def identity(config: Config) -> dict[str, Any]:
    """The target, the wordings of the values, and both templates."""
    hashes = [template_hash(name) for name in config.templates]
    wordings = select(config.constitution).identity("text")
    return {**aim_identity(config), "wordings": wordings, "templates": hashes}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Write the texts of one phase.

    Raises:
        UserError: no argument speaks for a value, a label is out of bounds, or a template cannot be
            used.
    """
    where = f"step {context.step!r}"
    arguments = inputs["arguments"].rows(Rating)
    rows: dict[tuple[str, str], Response] = {}
    dropped = []
    counts: Counter[str] = Counter()
    for argument in arguments:
        labels = _labels(argument, config, where)
        if not labels:
            dropped.append(Dropped(id=argument.id, reason=NO_VALUE))
        for variables in _texts(argument, labels, config, context.seed):
            row = _row(argument, variables, config, context.seed)
            key = (row.prompt_id, row.response)
            if key in rows:
                dropped.append(Dropped(id=row.id, reason="duplicate"))
                continue
            rows[key] = row
            counts[_counted(variables)] += 1
    if not rows:
        raise UserError(
            "no argument speaks for a value of the constitution",
            where=where,
            fix=advise_on_missing(inputs, "give `arguments` a `human_answers` step with labels"),
        )
    counted = dict(sorted(counts.items()))
    cells = [[name, str(number)] for name, number in counted.items()]
    title = f"{context.step}: texts of {len(arguments)} arguments"
    return Result(
        rows=list(rows.values()),
        row_type=Response,
        dropped=dropped,
        metrics={"arguments": len(arguments), "counts": counted},
        tables=[Table(title, ["what", "texts"], cells)],
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"arguments": Rating},
    gives=Response,
    check=check_aim,
    foresee=foresee_kinds,
    identity=identity,
    meant_to_drop=(NO_VALUE,),
)


def _labels(row: Rating, config: Config, where: str) -> dict[str, int]:
    """Return 1 for each principle that an argument speaks for, -1 for one that it opposes.

    Raises:
        UserError: a label is not from -1 to 1.
    """
    labels: dict[str, int] = {}
    if len(row.scores) != len(row.principles):
        return labels
    for name, score in zip(row.principles, row.scores, strict=True):
        if not -1 <= score <= 1:
            raise UserError(
                f"the label {score:g} of {name!r} is not from -1 to 1",
                where=f"{where}, argument {row.id}",
                fix="give `arguments` a `human_answers` step with a constitution",
            )
        if name in config.dimension_of and abs(score) >= LEAST:
            labels[name] = 1 if score > 0 else -1
    return labels


def _texts(
    row: Rating, labels: Mapping[str, int], config: Config, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield the variables of each text that an argument gives.

    Args:
        labels: its values, none of them 0.
        seed: of the rounding.
    """
    wanted = _wanted(row.kind, labels, config)
    if config.phase == "argument":
        if labels:
            is_kept = supports(wanted, labels, config.gamma)
            yield {"is_kept": is_kept, "values": list(labels)}
        return
    for principle in config.principles:
        name = principle.id
        if labels.get(name, 0) <= 0:
            continue
        rng = random.Random(derive_seed(seed, row.id, "round", name))
        rounded = round_stochastically({name: wanted[name]}, rng)
        yield {
            "id": name,
            "value": name.replace("-", " "),
            "definition": principle.text,
            "score": rounded[name],
        }


def _wanted(kind: str, labels: Mapping[str, int], config: Config) -> dict[str, float]:
    """Return the target of each labelled principle on the survey's scale, mirrored if opposed."""
    dimensions = config.theory.dimensions
    target = dict(zip(dimensions, config.target_of(kind), strict=True))
    middle = (LOW + HIGH) / 2
    half = (HIGH - LOW) / 2
    wanted = {}
    for name, sign in labels.items():
        number = target[config.dimension_of[name]]
        wanted[name] = middle + half * sign * number
    return wanted


def _row(argument: Rating, variables: Mapping[str, Any], config: Config, seed: int) -> Response:
    """Return a text as an answer to its request."""
    question, answer = config.templates
    parts = {
        "request": request_text(argument.prompt),
        "argument": argument.response,
        **variables,
    }
    prompt = [{"role": "user", "content": render(question, **parts)}]
    return Response(
        id=f"{argument.id}-{variables.get('id', config.phase)}",
        prompt_id=content_id(prompt, argument.id),
        kind=argument.kind,
        prompt=prompt,
        response=render(answer, **parts),
        sample=0,
        context=[],
        model="arguments",
        seed=seed,
        finish_reason=argument.finish_reason,
    )


def _counted(variables: Mapping[str, Any]) -> str:
    """Return what a text counts as."""
    if "score" in variables:
        return f"{variables['id']}: {variables['score']}"
    return "to say" if variables["is_kept"] else "never to say"
