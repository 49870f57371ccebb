"""Questions to a judge, read off the log-probabilities of the options that it may answer.

In: a judge, responses, the text of a principle, a template. Out: numbers: margins of a comparison
in both orders, or a probability. The caller decides what the numbers mean. The question always has
the same form: one user turn, the rendered template, with the options in a fixed order.

A judge with a form of its own (`JudgeForm`: a guard that reads a policy, a generative reward model)
is asked about one response at a time, by its own templates. Its answer is read off the first token
or found in what it writes; a comparison is the difference of two such answers.

An answer that cannot be read is never a number. The judge gave no verdict, and the row is dropped
and counted, where

    a margin         is not finite: an option is impossible, or has no log-probability
    a probability    is undefined: all options are impossible, or one has no log-probability
    a scale          has options that a server does not report and that may be likely
    the options      have next to no probability together: the judge was about to write something
                     else (a thought, a preamble), and what remains is noise
    a written answer does not match the form's pattern, or is none of its answers
"""

import math
import re
from collections.abc import Sequence

from stages.guards.errors import UserError
from stages.guards.templates import render
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Drop
from stages.runtime.generation import Choice, JudgeForm
from stages.runtime.rows import Message, request_text
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Fraction

JUDGE_TEMPLATE = "preferences/judging/judge.jinja"
VERDICT_TEMPLATE = "preferences/judging/verdict.jinja"
CHOICES = ("A", "B")
YES_OR_NO = ("Yes", "No")
MIN_MASS = 0.01
"""Measured: SmolLM2-135M-Instruct, which was never trained to judge, puts 8 % on A and B; the
embedded model, which was, 99.9 %, and 0.06 to 0.44 % where the template opens a <think> first.
"""
MAX_UNKNOWN = 0.05
"""Of a scale's options: more moves an expected value too far. Of two options it is a bound."""
CERTAIN = 0.001
"""The probability that stands for an answer of which a judge with a form says that it is none."""
NO_VERDICT = "no verdict in the judge's reply"
MinMass = Fraction
"""An option: the least probability of all options together for which there is a verdict."""


async def compare(
    judge: RememberedGenerator,
    prompt: Sequence[Message],
    response_a: str,
    response_b: str,
    principle: str,
    template: str,
    min_mass: float = MIN_MASS,
) -> tuple[float, float]:
    """Ask which of two responses follows a principle better, in both orders.

    Args:
        principle: its text.
        template: its variables are request, response_a, response_b (as they are shown) and
            principle.
        min_mass: with less probability on A and B together there is no verdict.

    Returns:
        The margin with `response_a` shown first, and the margin with it shown second. Both are
        logit differences in favour of `response_a`.

    Raises:
        Drop: the judge gave no verdict.
        UserError, TooLong: as `Generator.choose`.
    """
    if judge.form:
        odds_a = await follows_odds(judge, prompt, response_a, principle, min_mass)
        odds_b = await follows_odds(judge, prompt, response_b, principle, min_mass)
        return odds_a - odds_b, odds_a - odds_b
    request = request_text(prompt)
    forward = user_turn(
        template, request=request, response_a=response_a, response_b=response_b, principle=principle
    )
    backward = user_turn(
        template, request=request, response_a=response_b, response_b=response_a, principle=principle
    )
    margin_ab = await choose_margin(judge, forward, min_mass)
    margin_ba = await choose_margin(judge, backward, min_mass)
    return margin_ab, -margin_ba


async def violation_probability(
    judge: RememberedGenerator,
    prompt: Sequence[Message],
    response: str,
    principle: str,
    template: str,
    min_mass: float = MIN_MASS,
) -> float:
    """Ask whether a response follows a principle, Yes or No.

    Args:
        principle: its text.
        template: its variables are request, response and principle.
        min_mass: with less probability on Yes and No together there is no verdict.

    Returns:
        The probability of No.

    Raises:
        Drop: the judge gave no verdict.
        UserError, TooLong: as `Generator.choose`.
    """
    if judge.form:
        return 1 - await ask_in_form(judge, prompt, response, principle, min_mass)
    question = user_turn(
        template, request=request_text(prompt), response=response, principle=principle
    )
    _, violated = await choose_probabilities(judge, question, YES_OR_NO, min_mass)
    return min(violated, 1.0)


async def ask_in_form(
    judge: RememberedGenerator,
    prompt: Sequence[Message],
    response: str,
    principle: str,
    min_mass: float = MIN_MASS,
) -> float:
    """Ask a judge that has a form of its own, and return how far a response follows a principle.

    Returns:
        A number in [0, 1]: the worth of the answer, or its expected value.

    Raises:
        Drop: the judge gave no verdict.
        UserError, TooLong: as `Generator.choose`.
    """
    form = judge.form
    assert form is not None
    variables = {
        "request": request_text(prompt),
        "response": response,
        "principle": principle,
    }
    messages = user_turn(form.template, **variables)
    if form.system:
        messages.insert(0, {"role": "system", "content": render(form.system, **variables)})
    if form.pattern:
        return await _write_answer(judge, form, messages)
    choice = await judge.choose(messages, tuple(form.answers))
    refuse_noise(choice, min_mass)
    refuse_unknown_options(choice)
    chances = [math.exp(log) for log in choice.logprobs]
    worth = math.fsum(
        chance * value for chance, value in zip(chances, form.answers.values(), strict=True)
    )
    return min(max(worth / math.fsum(chances), 0.0), 1.0)


async def _write_answer(
    judge: RememberedGenerator, form: JudgeForm, messages: Sequence[Message]
) -> float:
    """Let a judge write, and return the worth of the answer in its text."""
    seed = derive_seed("judge", messages[-1]["content"])
    reply = await judge.complete(messages, form.sampling, seed)
    matches = re.findall(form.pattern, reply.text)
    answers = {answer.casefold(): worth for answer, worth in form.answers.items()}
    worth = answers.get(matches[-1].strip().casefold()) if matches else None
    if worth is None:
        raise Drop(NO_VERDICT, reply.text[-200:])
    return worth


async def follows_odds(
    judge: RememberedGenerator,
    prompt: Sequence[Message],
    response: str,
    principle: str,
    min_mass: float = MIN_MASS,
) -> float:
    """Return `ask_in_form` as log-odds, of which the largest stand for certainty."""
    share = await ask_in_form(judge, prompt, response, principle, min_mass)
    share = min(max(share, CERTAIN), 1 - CERTAIN)
    return math.log(share / (1 - share))


def user_turn(template: str, **variables: object) -> list[Message]:
    """Return a rendered template as the user's only turn."""
    return [{"role": "user", "content": render(template, **variables)}]


async def choose_margin(
    judge: RememberedGenerator, messages: Sequence[Message], min_mass: float = MIN_MASS
) -> float:
    """Return the log-probability of A minus that of B.

    Where a server reports only one of them, it is the margin that there is at least.

    Raises:
        Drop: the judge gave no verdict.
    """
    choice = await _choose(judge, messages, CHOICES, min_mass)
    log_a, log_b = choice.logprobs
    return log_a - log_b


async def choose_probabilities(
    judge: RememberedGenerator,
    messages: Sequence[Message],
    options: Sequence[str],
    min_mass: float = MIN_MASS,
) -> list[float]:
    """Return each option's probability; their sum is 1 up to rounding.

    Raises:
        Drop: the judge gave no verdict.
    """
    choice = await _choose(judge, messages, tuple(options), min_mass)
    refuse_unknown_options(choice)
    return [math.exp(log) for log in choice.logprobs]


def refuse_unknown_options(choice: Choice) -> None:
    """Refuse an answer of which too little is reported.

    Raises:
        Drop: options of a scale that a server does not report may be likely.
    """
    if len(choice.logprobs) > 2 and choice.unknown > MAX_UNKNOWN:
        detail = f"up to {choice.unknown:.2g} on options that the server does not report"
        raise Drop("too little is reported of the options", detail)


def refuse_noise(choice: Choice, min_mass: float) -> None:
    """Refuse an answer with next to no probability on the options.

    Raises:
        Drop: it has less than `min_mass`; one of which it is not known passes.
    """
    if choice.mass is not None and choice.mass < min_mass:
        raise Drop("next to no probability on the options", _describe(choice))


async def _choose(
    judge: RememberedGenerator, messages: Sequence[Message], options: Sequence[str], min_mass: float
) -> Choice:
    if judge.form:
        raise UserError(
            "this judge is asked in a form of its own, and not to choose A or B",
            where="judge.form",
            fix="leave out `reasoning`, or take another judge for this step",
        )
    choice = await judge.choose(messages, options)
    refuse_noise(choice, min_mass)
    return choice


def _describe(choice: Choice) -> str:
    text = f"{choice.mass:.2g} on all options together"
    return f"{text}; the likeliest first token is {choice.instead!r}" if choice.instead else text
