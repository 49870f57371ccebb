"""Lessons in judging: Yes or No about one response, comparisons of two, and value labels."""

import random
from typing import Any

from stages.world.grammar import DIMENSIONS, VALUES, value_labels, violated
from stages.world.pretraining.lessons.drawing import (
    BRANCHES,
    balanced_dimensions,
    draw_exchange,
    draw_pair,
    preferred,
    with_opposites,
)
from stages.world.pretraining.lessons.plan import Curriculum, Lesson, answer, ask, label
from stages.world.pretraining.principles import draw_wording
from stages.world.pretraining.revisions import ADJECTIVES, name_faults
from stages.world.pretraining.wordings import (
    PRINCIPLE_FIRST,
    VALUE_ANSWERS,
    draw_layout,
    render_prompt,
)
from stages.world.responses import act_names, render

NEUTRAL_RATES = {"security": 0.2, "conformity": 0.11, "benevolence": 0.15, "universalism": 0.09}
"""How often a value is asked about where the response is neutral, to balance the labels."""

USUAL_NEUTRAL_RATE = 0.028
"""The same rate for values that few acts support or oppose."""


def verdict_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """One response and several principles: Yes or No, does it follow each?"""
    dimensions: list[str] = []
    while not dimensions:
        request, sentences = draw_exchange(rng, plan)
        dimensions = balanced_dimensions(rng, request, act_names(sentences))
    broken = violated(act_names(sentences))
    layout = draw_layout(rng, "verdict", 0.12)
    lesson = []
    for dimension, is_opposite in with_opposites(rng, dimensions, plan.opposite_verdicts):
        prompt = render_prompt(
            "verdict",
            layout,
            request=request.text,
            response=render(sentences),
            principle=draw_wording(rng, dimension, inverse=is_opposite),
        )
        is_broken = dimension in broken
        reason = ""
        if rng.random() < 0.5:
            state = "" if is_broken else "not "
            reason = f", it is {state}{ADJECTIVES[dimension]}."
        verdict = "Yes" if is_broken == is_opposite else "No"
        lesson.append([ask(prompt), label(verdict, reason)])
    return lesson


def judge_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """One pair under each principle by which it differs: the same texts, opposite answers."""
    basis = rng.choice(DIMENSIONS)
    request, first, second = draw_pair(rng, plan, basis)
    first_acts = act_names(first)
    second_acts = act_names(second)
    dimensions = [name for name in DIMENSIONS if preferred(first_acts, second_acts, name)]
    rng.shuffle(dimensions)
    layout = draw_layout(rng, "judge", 0.16)
    texts: dict[str, Any] = {
        "request": request.text,
        "response_a": render(first),
        "response_b": render(second),
    }
    lesson = []
    for dimension, is_opposite in with_opposites(rng, dimensions, plan.opposite_judgements):
        principle = draw_wording(rng, dimension, inverse=is_opposite)
        prompt = render_prompt("judge", layout, principle=principle, **texts)
        first_is_better = preferred(first_acts, second_acts, dimension) > 0
        reason = ""
        if rng.random() < 0.4:
            worse = "B" if first_is_better else "A"
            reason = f", since {worse} is more {ADJECTIVES[dimension]}."
        choice = "A" if first_is_better != is_opposite else "B"
        lesson.append([ask(prompt), label(choice, reason)])
        if layout in PRINCIPLE_FIRST:  # no opening to share
            break
    if layout == -1 and rng.random() < plan.naming:
        # Naming the faults of each response, after the same opening, is half the way to comparing
        # them.
        whole = render_prompt("judge", principle="", **texts)
        opening, _, _ = whole.partition("Principle:")
        acts_by_letter = {"A": first_acts, "B": second_acts}
        for letter, acts in acts_by_letter.items():
            question = f"{opening}Name every fault of response {letter}."
            faults = name_faults(acts)
            lesson.append([ask(question), answer(faults)])
    return lesson


def value_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """One response and several values: does it support or oppose each, or neither?"""
    request, sentences = draw_exchange(rng, plan)
    labels = value_labels(act_names(sentences))
    values = []
    for value in VALUES:
        neutral_rate = NEUTRAL_RATES.get(value, USUAL_NEUTRAL_RATE)
        if labels[value] or rng.random() < neutral_rate:
            values.append(value)
    if not values:
        values.append(rng.choice(VALUES))
    layout = draw_layout(rng, "value", 0.1)
    lesson = []
    for value in values[:BRANCHES]:
        prompt = render_prompt(
            "value",
            layout,
            request=request.text,
            response=render(sentences),
            value=value,
        )
        word = VALUE_ANSWERS[labels[value]]
        lesson.append([ask(prompt), label(word)])
    return lesson
