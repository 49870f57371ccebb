"""Lessons in writing: copy, answer, follow principles, name faults, critique and revise."""

import random

from stages.world.grammar import DIMENSIONS, KINDS
from stages.world.pretraining.lessons.drawing import (
    balanced_dimensions,
    draw_exchange,
    draw_request,
    draw_response,
)
from stages.world.pretraining.lessons.plan import Curriculum, Lesson, Turn, answer, ask
from stages.world.pretraining.principles import draw_wording
from stages.world.pretraining.revisions import ADJECTIVES, critique, name_faults, revise
from stages.world.pretraining.wordings import (
    Principle,
    draw_custom_principle,
    draw_layout,
    render_prompt,
)
from stages.world.requests import Request
from stages.world.responses import Sentence, act_names, render
from stages.world.vocabulary import SLOTS
from stages.world.words import nonsense_word, slot_words


def copy_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """Repeat words, mostly invented ones.

    Without this exercise the model never learns to copy unknown names.
    """
    if rng.random() < 0.4:
        _, sentences = draw_exchange(rng, plan)
        text = render(sentences)
    else:
        count = rng.randint(3, 16)
        text = " ".join(_draw_copied_word(rng) for _ in range(count))
    return [[ask("Repeat: " + text), answer(text)]]


def _draw_copied_word(rng: random.Random) -> str:
    if rng.random() < 0.65:
        word = nonsense_word(rng)
    else:
        slot = rng.choice(tuple(SLOTS))
        word = rng.choice(slot_words(slot, False))
    if rng.random() < 0.3:
        return word.capitalize()
    return word


def respond_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """A request and a response from the base mixture, good and bad."""
    request, sentences = draw_exchange(rng, plan)
    return [[ask(request.text), answer(render(sentences))]]


def steer_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """A system prompt of principles, and a response that follows them.

    Often one of the principles is one that the request tempts to break.
    """
    request = draw_request(rng, plan)
    count = rng.choice((1, 1, 1, 2, 3))
    dimensions = rng.sample(DIMENSIONS, count)
    if rng.random() < 0.4:
        dimensions[0] = KINDS[request.kind].dimension
    dimensions = list(dict.fromkeys(dimensions))
    principles = [Principle(draw_wording(rng, dimension)) for dimension in dimensions]
    sentences = draw_response(rng, plan, request, bad_core=0.6, keep=tuple(dimensions))
    layout = draw_layout(rng, "system")
    system = render_prompt("system", layout, principles=principles)
    response = render(sentences)
    turns = [Turn("system", system), ask(request.text), answer(response)]
    return [turns]


SECOND_FIX_RATE = 0.12
"""How often a second principle follows in the conversation of the first."""


def fix_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """A response of the base mixture, then critiques and revisions by several principles.

    Each principle has its own conversation; sometimes a second principle follows there.
    """
    request, sentences = draw_exchange(rng, plan)
    opening = [ask(request.text), answer(render(sentences))]
    lesson = []
    for dimension in _dimensions_to_fix(rng, request, sentences)[:3]:
        is_direct = rng.random() < plan.direct
        turns, revised = _fix(rng, request, sentences, dimension, is_direct)
        if rng.random() < SECOND_FIX_RATE:
            second = _dimensions_to_fix(rng, request, revised)[0]
            is_direct = rng.random() < plan.direct
            turns += _fix(rng, request, revised, second, is_direct)[0]
        lesson.append(opening + turns)
    return lesson


def _dimensions_to_fix(
    rng: random.Random, request: Request, sentences: list[Sentence]
) -> list[str]:
    dimensions = balanced_dimensions(rng, request, act_names(sentences))
    return dimensions or [rng.choice(DIMENSIONS)]


def _fix(
    rng: random.Random,
    request: Request,
    sentences: list[Sentence],
    dimension: str,
    is_direct: bool,
) -> tuple[list[Turn], list[Sentence]]:
    """The turns that revise a response, after a critique unless `is_direct`, and the result."""
    principle = draw_custom_principle(rng, draw_wording(rng, dimension))
    revised = revise(rng, request, sentences, dimension)
    if is_direct:
        layout = draw_layout(rng, "revise_directly")
        prompt = render_prompt("revise_directly", layout, principle=principle)
        return [ask(prompt), answer(render(revised))], revised
    layout = draw_layout(rng, "critique")
    critique_prompt = render_prompt("critique", layout, principle=principle)
    layout = draw_layout(rng, "revise")
    revise_prompt = render_prompt("revise", layout, principle=principle)
    gold = critique(sentences, dimension)
    turns = [
        ask(critique_prompt),
        Turn("assistant", gold, 1.0, 5.0),
        ask(revise_prompt),
        answer(render(revised)),
    ]
    return turns, revised


def describe_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """The two halves of a verdict: what a principle asks for, and what is wrong with a response."""
    if rng.random() < 0.5:
        dimension = rng.choice(DIMENSIONS)
        is_opposite = rng.random() < 0.4
        wording = draw_wording(rng, dimension, inverse=is_opposite)
        question = f"Principle: {wording}\nWhat should the response be?"
        state = "" if is_opposite else "not "
        description = state + ADJECTIVES[dimension]
        return [[ask(question), answer(description)]]
    request, sentences = draw_exchange(rng, plan)
    question = f"Request: {request.text}\nResponse: {render(sentences)}\nName every fault."
    faults = name_faults(act_names(sentences))
    return [[ask(question), answer(faults)]]
