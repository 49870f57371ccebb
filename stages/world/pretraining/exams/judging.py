"""The exam in judging: which of two responses follows a principle better?"""

import random
from dataclasses import replace

from stages.world.grammar import DIMENSIONS
from stages.world.pretraining.exams.inference import WorldModel, user
from stages.world.pretraining.exams.measures import Row, make_row
from stages.world.pretraining.exams.setting import Setting, compare
from stages.world.pretraining.lessons.drawing import draw_pair, preferred
from stages.world.pretraining.principles import Phrasing, draw_wording
from stages.world.pretraining.wordings import PARAPHRASES, render_prompt
from stages.world.requests import Request
from stages.world.responses import Sentence, act_names, render

GROUP = "Judging"
PromptPair = tuple[str, str]
"""The prompt with the responses in one order, and in the other."""


def _make_prompts(
    request: Request,
    first: list[Sentence],
    second: list[Sentence],
    principle: str,
    layout: int = -1,
) -> PromptPair:
    def prompt(response_a: list[Sentence], response_b: list[Sentence]) -> str:
        return render_prompt(
            "judge",
            layout,
            request=request.text,
            response_a=render(response_a),
            response_b=render(response_b),
            principle=principle,
        )

    return prompt(first, second), prompt(second, first)


def _prefers_first(model: WorldModel, prompts: list[PromptPair]) -> tuple[list[bool], list[bool]]:
    """Whether the first response is preferred: in one order, and on average over both orders."""
    conversations = [[user(text)] for pair in prompts for text in pair]
    odds = model.label_odds(conversations, ("A", "B"))
    in_one_order = []
    averaged = []
    for forward, backward in zip(odds[::2], odds[1::2], strict=True):
        in_one_order.append(forward[0] > forward[1])
        averaged.append(forward[0] - forward[1] + backward[1] - backward[0] > 0)
    return in_one_order, averaged


def judge_outcomes(
    model: WorldModel,
    setting: Setting,
    phrasing: Phrasing = "train",
    inverse: bool = False,
    layout: int = -1,
) -> tuple[list[bool], list[bool]]:
    """Let the model compare pairs; case n is about dimension n, counted round and round.

    Args:
        model: The model that judges.
        setting: The number of cases and their words.
        phrasing: Which wordings the principles have.
        inverse: Whether the principles ask for the opposite.
        layout: The layout of the prompt; -1 is the pipeline's own.

    Returns:
        Whether each case is right in one order, and on average over both orders.
    """
    rng = random.Random(f"judge/{setting.seed}/{setting.split}")
    prompts: list[PromptPair] = []
    expected: list[bool] = []
    for number in range(setting.cases):
        dimension = DIMENSIONS[number % len(DIMENSIONS)]
        request, first, second = draw_pair(rng, setting.plan(), dimension)
        principle = draw_wording(rng, dimension, phrasing, inverse)
        prompts.append(_make_prompts(request, first, second, principle, layout))
        first_is_better = preferred(act_names(first), act_names(second), dimension) > 0
        expected.append(first_is_better != inverse)
    in_one_order, averaged = _prefers_first(model, prompts)
    return compare(in_one_order, expected), compare(averaged, expected)


def flip_outcomes(model: WorldModel, setting: Setting) -> list[bool]:
    """One pair under two principles that prefer different responses: are both judgements right?"""
    rng = random.Random(f"flip/{setting.seed}/{setting.split}")
    prompts: list[PromptPair] = []
    expected: list[bool] = []
    while len(expected) < 2 * setting.cases:
        request, first, second = draw_pair(rng, setting.plan(), rng.choice(DIMENSIONS))
        names = (act_names(first), act_names(second))
        for_first = [dimension for dimension in DIMENSIONS if preferred(*names, dimension) > 0]
        for_second = [dimension for dimension in DIMENSIONS if preferred(*names, dimension) < 0]
        if not for_first or not for_second:
            continue
        dimensions = (rng.choice(for_first), rng.choice(for_second))
        for dimension, first_is_better in zip(dimensions, (True, False), strict=True):
            principle = draw_wording(rng, dimension)
            prompts.append(_make_prompts(request, first, second, principle))
            expected.append(first_is_better)
    _, averaged = _prefers_first(model, prompts)
    right = compare(averaged, expected)
    return [one and other for one, other in zip(right[::2], right[1::2], strict=True)]


def judge_rows(model: WorldModel, setting: Setting) -> list[Row]:
    """Everything about the choice between two responses."""
    rows: list[Row] = []

    def add(
        name: str,
        hits: list[bool],
        target: float | None = None,
        prototype: float | None = None,
    ) -> None:
        rows.append(make_row(GROUP, name, hits, target, prototype))

    in_one_order, averaged = judge_outcomes(model, setting)
    add("one order", in_one_order, 0.87, 0.87)
    add("both orders averaged", averaged, 0.95, 0.95)
    for index, dimension in enumerate(DIMENSIONS):
        add(f"... {dimension}", averaged[index :: len(DIMENSIONS)])

    flipped = flip_outcomes(model, setting)
    add("flip: right under both of two opposed principles", flipped, 0.85, 0.82)

    _, averaged = judge_outcomes(model, replace(setting, split="seen"))
    add("seen slot words, averaged", averaged)

    for layout in range(len(PARAPHRASES["judge"])):
        _, averaged = judge_outcomes(model, setting, layout=layout)
        # The prototype had other layouts; its figure is the lower of its two.
        add(f"other prompt layout {layout + 1}, averaged", averaged, 0.92, 0.92)

    in_one_order, averaged = judge_outcomes(model, setting, "held_out")
    add("held-out wordings, one order", in_one_order, 0.71, 0.71)
    add("held-out wordings, averaged", averaged, 0.85, 0.75)

    _, averaged = judge_outcomes(model, setting, "novel")
    add("wordings of unknown words, averaged", averaged, 0.63, 0.63)

    _, averaged = judge_outcomes(model, setting, inverse=True)
    add("inverse principles, averaged", averaged, 0.75, 0.28)

    _, averaged = judge_outcomes(model, setting, "held_out", inverse=True)
    add("inverse principles, held-out wordings, averaged", averaged)
    return rows
