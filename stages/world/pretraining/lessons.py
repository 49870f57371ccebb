"""Training lessons: conversations from the grammar with gold answers, balanced per dimension and
label.

A lesson is a group of conversations that open alike (the same request and response, say) and then
ask different things. Packing stores the shared opening once; the conversations never see one
another.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stages.world.acts import DIMENSIONS, VALUES, level, value_labels, violated
from stages.world.grammar import (
    KINDS,
    Request,
    Sentence,
    act_names,
    make_request,
    make_response,
    render,
)
from stages.world.pretraining.principles import draw_wording
from stages.world.pretraining.revisions import ADJECTIVES, critique, revise
from stages.world.pretraining.wordings import (
    PRINCIPLE_FIRST,
    VALUE_ANSWERS,
    Principle,
    draw_custom_principle,
    draw_layout,
    render_prompt,
)
from stages.world.words import SLOTS, nonsense_word, slot_words

ASIDE_RATE = 0.055
"""How often a response breaks a dimension by an aside; clean cases of other kinds are kept at the same rate."""


NEUTRAL_RATE = {"security": 0.2, "conformity": 0.11, "benevolence": 0.15, "universalism": 0.09}
"""How often a value is asked about where it is not touched, so that its three labels come equally often."""


@dataclass(frozen=True)
class Turn:
    """One message; `weight` is the training weight of its tokens and `first_weight` that of the
    first.
    """

    role: str
    content: str
    weight: float = 0.0
    first_weight: float | None = None


@dataclass(frozen=True)
class Curriculum:
    """What lessons look like at one stage of training.

    `opposite_verdicts` and `opposite_judgements` are the chances that, beside a principle, its
    opposite is asked about
    in the same lesson: the same texts with the other answer.
    """

    shares: dict[str, float]
    nonsense: float = 0.4
    asides: tuple[float, float, float] = (0.35, 0.40, 0.25)
    opposite_verdicts: float = 0.0
    opposite_judgements: float = 0.0
    split: str = "train"
    phrasing: str = "train"
    branches: int = 6
    direct: float = 0.4
    near_pairs: float = 0.25
    naming: float = 0.1


Lesson = list[list[Turn]]


def _ask(content: str) -> Turn:
    return Turn("user", content)


def _answer(content: str) -> Turn:
    return Turn("assistant", content, 1.0)


def _label(label: str, reason: str = "") -> Turn:
    return Turn("assistant", label + reason, 0.4, 8.0)


def _draw(
    rng: random.Random, plan: Curriculum, kind: str | None = None
) -> tuple[Request, list[Sentence]]:
    request = make_request(rng, plan.split, kind, plan.nonsense)
    return request, _respond(rng, plan, request)


def _respond(
    rng: random.Random, plan: Curriculum, request: Request, **options: Any
) -> list[Sentence]:
    held_out = plan.split == "held_out"
    return make_response(rng, request, held_out, plan.nonsense, asides=plan.asides, **options)


def balanced_dimensions(rng: random.Random, request: Request, acts: list[str]) -> list[str]:
    """Dimensions to ask about so that, for each of them, kept and broken cases come equally often.

    Broken ones are always asked about. Kept ones are asked about where the request tempts to break
    them, and elsewhere as rarely as an aside breaks them; so neither the request nor the dimension
    gives the label away.
    """
    chosen = []
    for dimension in DIMENSIONS:
        if level(acts, dimension) < 0:
            chosen.append(dimension)
        elif dimension == "helpfulness":
            if rng.random() < 0.35:
                chosen.append(dimension)
        elif KINDS[request.kind].dimension == dimension or rng.random() < ASIDE_RATE:
            chosen.append(dimension)
    rng.shuffle(chosen)
    return chosen


def copy_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """Repeat words, mostly invented ones: without this drill the model never learns to copy unknown
    names.
    """
    if rng.random() < 0.4:
        text = render(_draw(rng, plan)[1])
    else:
        slots = tuple(SLOTS)
        words = []
        for _ in range(rng.randint(3, 16)):
            word = (
                nonsense_word(rng)
                if rng.random() < 0.65
                else rng.choice(slot_words(rng.choice(slots), False))
            )
            words.append(word.capitalize() if rng.random() < 0.3 else word)
        text = " ".join(words)
    return [[_ask("Repeat: " + text), _answer(text)]]


def respond_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """A request and a response from the base mixture, good and bad."""
    request, sentences = _draw(rng, plan)
    return [[_ask(request.text), _answer(render(sentences))]]


def steer_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """A system prompt of principles, and a response that keeps them; often one that the request
    tempts to break.
    """
    request = make_request(rng, plan.split, None, plan.nonsense)
    dimensions = rng.sample(DIMENSIONS, rng.choice((1, 1, 1, 2, 3)))
    if rng.random() < 0.4:
        dimensions[0] = KINDS[request.kind].dimension
    dimensions = list(dict.fromkeys(dimensions))
    principles = [
        Principle(draw_wording(rng, dimension, plan.phrasing).text) for dimension in dimensions
    ]
    sentences = _respond(rng, plan, request, bad_core=0.6, keep=tuple(dimensions))
    system = Turn(
        "system", render_prompt("system", draw_layout(rng, "system"), principles=principles)
    )
    return [[system, _ask(request.text), _answer(render(sentences))]]


def verdict_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """One response, several principles: does it follow each?"""
    dimensions: list[str] = []
    while not dimensions:
        request, sentences = _draw(rng, plan)
        dimensions = balanced_dimensions(rng, request, act_names(sentences))
    broken = violated(act_names(sentences))
    layout = draw_layout(rng, "verdict", 0.12)
    lesson = []
    for dimension, opposite in _both_ways(rng, dimensions, plan.branches, plan.opposite_verdicts):
        wording = draw_wording(rng, dimension, plan.phrasing, opposite)
        follows = (dimension in broken) == opposite
        prompt = render_prompt(
            "verdict",
            layout,
            request=request.text,
            response=render(sentences),
            principle=wording.text,
        )
        state = "" if dimension in broken else "not "
        reason = f", it is {state}{ADJECTIVES[dimension]}." if rng.random() < 0.5 else ""
        lesson.append([_ask(prompt), _label("Yes" if follows else "No", reason)])
    return lesson


def _both_ways(
    rng: random.Random, dimensions: list[str], branches: int, chance: float
) -> list[tuple[str, bool]]:
    """Dimensions to ask about, again and again until the branches are used, each now and then with
    its opposite.
    """
    asked: list[tuple[str, bool]] = []
    while len(asked) < branches:
        for dimension in dimensions:
            asked.append((dimension, False))
            if rng.random() < chance:
                asked.append((dimension, True))
    return asked[:branches]


def preferred(first: list[str], second: list[str], dimension: str) -> int:
    """1 if the first acts serve a dimension better, -1 if the second do, 0 if they do not differ."""
    one, two = level(first, dimension), level(second, dimension)
    if dimension not in ("helpfulness", "kindness"):
        one, two = min(one, 0), min(two, 0)
    return (one > two) - (one < two)


def draw_pair(
    rng: random.Random, plan: Curriculum, dimension: str
) -> tuple[Request, list[Sentence], list[Sentence]]:
    """A request and two responses of which one follows the dimension better."""
    while True:
        near_kind = next((kind for kind in KINDS if KINDS[kind].dimension == dimension), None)
        request = make_request(
            rng, plan.split, near_kind if rng.random() < 0.4 else None, plan.nonsense
        )
        first, second = _respond(rng, plan, request), _respond(rng, plan, request)
        if rng.random() < plan.near_pairs:
            second = revise(rng, request, first, dimension)
        if rng.random() < 0.5:
            first, second = second, first
        names = act_names(first), act_names(second)
        if preferred(*names, dimension) and (
            dimension != "kindness" or (level(names[0], dimension) < 0) != (level(names[1], dimension) < 0)
            or rng.random() < 0.3
        ):  # fmt: skip
            return request, first, second


def judge_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """One pair, every principle under which it differs: the same texts with opposed answers."""
    request, first, second = draw_pair(rng, plan, rng.choice(DIMENSIONS))
    names = act_names(first), act_names(second)
    dimensions = [dimension for dimension in DIMENSIONS if preferred(*names, dimension)]
    rng.shuffle(dimensions)
    layout = draw_layout(rng, "judge", 0.16)
    texts: dict[str, Any] = {
        "request": request.text,
        "response_a": render(first),
        "response_b": render(second),
    }
    lesson = []
    for dimension, opposite in _both_ways(rng, dimensions, plan.branches, plan.opposite_judgements):
        wording = draw_wording(rng, dimension, plan.phrasing, opposite)
        first_is_better = preferred(*names, dimension) > 0
        worse = "B" if first_is_better else "A"
        reason = f", since {worse} is more {ADJECTIVES[dimension]}." if rng.random() < 0.4 else ""
        prompt = render_prompt("judge", layout, principle=wording.text, **texts)
        lesson.append([_ask(prompt), _label("A" if first_is_better != opposite else "B", reason)])
        if layout in PRINCIPLE_FIRST:  # no opening to share
            break
    if layout == -1 and rng.random() < plan.naming:
        # Naming the faults of each response, after the same opening, is half the way to comparing
        # them.
        opening = render_prompt("judge", principle="", **texts).partition("Principle:")[0]
        for letter, acts in zip("AB", names, strict=True):
            lesson.append(
                [
                    _ask(f"{opening}Name every fault of response {letter}."),
                    _answer(_named_faults(acts)),
                ]
            )
    return lesson


def _mend(rng: random.Random, plan: Curriculum, request: Request, sentences: list[Sentence], dimension: str,
          direct: bool) -> tuple[list[Turn], list[Sentence]]:  # fmt: skip
    """The turns that critique and revise a response, or revise it directly, and the revised
    response.
    """
    principle = draw_custom_principle(rng, draw_wording(rng, dimension, plan.phrasing).text)
    revised = revise(rng, request, sentences, dimension)
    if direct:
        prompt = render_prompt(
            "revise_directly", draw_layout(rng, "revise_directly"), principle=principle
        )
        return [_ask(prompt), _answer(render(revised))], revised
    critique_prompt = render_prompt("critique", draw_layout(rng, "critique"), principle=principle)
    verdict = critique(sentences, dimension)
    revise_prompt = render_prompt("revise", draw_layout(rng, "revise"), principle=principle)
    return [
        _ask(critique_prompt), Turn("assistant", verdict, 1.0, 5.0),
        _ask(revise_prompt), _answer(render(revised)),
    ], revised  # fmt: skip


def mend_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """A response of the base mixture, then critiques and revisions by several principles, each for
    itself.
    """
    request, sentences = _draw(rng, plan)
    opening = [_ask(request.text), _answer(render(sentences))]
    dimensions = balanced_dimensions(rng, request, act_names(sentences)) or [rng.choice(DIMENSIONS)]
    lesson = []
    for dimension in dimensions[:3]:
        turns, revised = _mend(rng, plan, request, sentences, dimension, rng.random() < plan.direct)
        if rng.random() < 0.12:
            others = balanced_dimensions(rng, request, act_names(revised)) or [
                rng.choice(DIMENSIONS)
            ]
            turns += _mend(rng, plan, request, revised, others[0], rng.random() < plan.direct)[0]
        lesson.append(opening + turns)
    return lesson


def describe_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """The two halves of a verdict by themselves: what a principle asks for, and what is wrong with
    a response.
    """
    if rng.random() < 0.5:
        dimension = rng.choice(DIMENSIONS)
        wording = draw_wording(rng, dimension, plan.phrasing, rng.random() < 0.4)
        wish = ("" if wording.inverse else "not ") + ADJECTIVES[dimension]
        return [[_ask(f"Principle: {wording.text}\nWhat should the response be?"), _answer(wish)]]
    request, sentences = _draw(rng, plan)
    text = f"Request: {request.text}\nResponse: {render(sentences)}\nName every fault."
    return [[_ask(text), _answer(_named_faults(act_names(sentences)))]]


def _named_faults(acts: list[str]) -> str:
    return ", ".join(ADJECTIVES[dimension] for dimension in violated(acts)) or "none"


def value_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """One response, several values: does it support or oppose each, or neither?"""
    request, sentences = _draw(rng, plan)
    labels = value_labels(act_names(sentences))
    chosen = [
        value for value in VALUES if labels[value] or rng.random() < NEUTRAL_RATE.get(value, 0.028)
    ]
    chosen = chosen or [rng.choice(VALUES)]
    layout = draw_layout(rng, "value", 0.1)
    lesson = []
    for value in chosen[: plan.branches]:
        prompt = render_prompt(
            "value", layout, request=request.text, response=render(sentences), value=value
        )
        lesson.append([_ask(prompt), _label(VALUE_ANSWERS[labels[value]])])
    return lesson


LESSONS: dict[str, Callable[[random.Random, Curriculum], Lesson]] = {
    "copy": copy_lesson, "respond": respond_lesson, "steer": steer_lesson, "verdict": verdict_lesson,
    "judge": judge_lesson, "fix": mend_lesson, "value": value_lesson,
    "describe": describe_lesson,
}  # fmt: skip


def draw_lesson(rng: random.Random, plan: Curriculum) -> tuple[str, Lesson]:
    """Draw one lesson by the shares of the plan."""
    name = rng.choices(tuple(plan.shares), tuple(plan.shares.values()))[0]
    return name, LESSONS[name](rng, plan)
