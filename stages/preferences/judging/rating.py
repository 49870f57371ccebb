"""How well one response follows one principle: the expected rating of a judge, sum of s * P(s).

The judge is shown one response, and its answer is read as a distribution over the options of a
scale (d-RLAIF, Lee et al. 2023, arXiv 2309.00267, section 2.3: 1 to 10, then rescaled to [-1, 1]).
The stage `rate` and the rewards of RL use it.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean, pstdev
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from stages.guards.templates import render
from stages.preferences.judging.ask import (
    MIN_MASS,
    VERDICT_TEMPLATE,
    YES_OR_NO,
    ask_in_form,
    choose_probabilities,
)
from stages.runtime.artifacts import Artifact
from stages.runtime.calls import RememberedGenerator
from stages.runtime.rows import Message, Rating, Response, Revision, request_text


def _as_option(name: object) -> object:
    if isinstance(name, bool):  # YAML 1.1 reads a bare Yes as true
        raise PydanticCustomError(
            "bare_option", 'write the options in quotes, such as {{"Yes": 10, "No": 1}}'
        )
    return str(name) if isinstance(name, int) else name


def _refuse_repeated(scale: object) -> object:
    names = [str(name) for name in scale] if isinstance(scale, Mapping) else []
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise PydanticCustomError(
            "repeated_option", "it gives {names} twice", {"names": ", ".join(repeated)}
        )
    return scale


Scale = Annotated[
    dict[Annotated[str, BeforeValidator(_as_option), Field(min_length=1)], float],
    Field(min_length=2),
    BeforeValidator(_refuse_repeated),
]
"""The value of each option that a judge may answer, in the order in which they are asked for."""

YES_NO = {"Yes": 10.0, "No": 1.0}
"""The largest and the smallest value of the paper's scale."""


async def expected_rating(
    judge: RememberedGenerator,
    prompt: list[Message],
    response: str,
    principle: str,
    scale: Mapping[str, float],
    template: str = VERDICT_TEMPLATE,
    min_mass: float = MIN_MASS,
    value: str = "",
) -> float:
    """Ask how well a response follows a principle.

    Args:
        principle: its text, or the text of its opposite.
        value: the principle's id, for templates that ask about a value by its name.
        scale: the value of each option; an option is one token of the judge's vocabulary.
        min_mass: with less probability on all options together there is no verdict.

    Returns:
        The expected rating, between the least and the largest value of `scale`.

    Raises:
        Drop: the judge gave no verdict.
        UserError, TooLong: as `Generator.choose`.
    """
    if judge.form:
        share = await ask_in_form(judge, prompt, response, principle, min_mass)
        return _on_scale(share, scale)
    text = render(
        template, request=request_text(prompt), response=response, principle=principle, value=value
    )
    return await expected_value(judge, text, scale, min_mass)


def _on_scale(share: float, scale: Mapping[str, float]) -> float:
    """Return how far a response follows a principle, from 0 to 1, as a rating."""
    values = scale.values()
    none, whole = min(values), max(values)
    if set(YES_OR_NO) <= scale.keys():  # of P(violated) a Yes is worth less
        none, whole = scale["No"], scale["Yes"]
    return none + share * (whole - none)


async def expected_value(
    judge: RememberedGenerator, text: str, scale: Mapping[str, float], min_mass: float = MIN_MASS
) -> float:
    """Return the expected value of the judge's answer to `text`, over the options of `scale`.

    Raises:
        Drop, UserError, TooLong: as `expected_rating`.
    """
    question = [{"role": "user", "content": text}]
    probabilities = await choose_probabilities(judge, question, tuple(scale), min_mass)
    values = list(scale.values())
    products = [
        value * probability for value, probability in zip(values, probabilities, strict=True)
    ]
    expected = math.fsum(products) / math.fsum(probabilities)
    return min(max(expected, min(values)), max(values))


def rescale_rating(rating: float, scale: Mapping[str, float]) -> float:
    """Return a rating in [-1, 1]: the least value of the scale is -1, the largest 1."""
    least = min(scale.values())
    largest = max(scale.values())
    return 2 * (rating - least) / (largest - least) - 1


def answers_to_rate(
    inputs: Mapping[str, Artifact], but: Collection[str] = ()
) -> list[Response | Revision | Rating]:
    """Return the answers to rate, of all inputs.

    Args:
        but: inputs that are for something else.
    """
    rows: list[Response | Revision | Rating] = []
    for name, artifact in inputs.items():
        if name not in but:
            rows += artifact.rows(Response, Revision, Rating)
    return rows


def rating_of(
    row: Response | Revision | Rating,
    score: float,
    principles: Sequence[str],
    negated: Collection[str] = (),
    **columns: Any,
) -> Rating:
    """Return the rating of a response.

    Args:
        principles: ids of those that it was rated under.
        negated: ids of those that were read as their opposite.
        columns: the others of a Rating: `scores`, `model`, `template`, and an `id` of its own.
    """
    copied = ("id", "prompt_id", "kind", "prompt", "response", "finish_reason")
    return Rating(
        **{name: getattr(row, name) for name in copied} | columns,
        response_id=row.id,
        score=score,
        principles=list(principles),
        negated=[name in negated for name in principles],
    )


def summarise_scores(rows: Sequence[Rating]) -> dict[str, Any]:
    """Return the number, mean and standard deviation of the scores.

    `spread_in_group` is the mean of the standard deviations among the answers to one request: 0
    means that the rater sees no difference between them.
    """
    groups: dict[str, list[float]] = {}
    for row in rows:
        groups.setdefault(row.prompt_id, []).append(row.score)
    deviations = [pstdev(scores) for scores in groups.values() if len(scores) > 1]
    scores = [row.score for row in rows]
    return {
        "n": len(rows),
        "mean": round(fmean(scores), 6),
        "sd": round(pstdev(scores), 6),
        "spread_in_group": round(fmean(deviations), 6) if deviations else None,
    }
