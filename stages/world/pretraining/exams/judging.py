"""The exams in judging: which of two responses follows a principle better, and value labels."""

import random
from dataclasses import dataclass, replace

from stages.world.grammar import DIMENSIONS, VALUES, value_labels
from stages.world.pretraining.exams.inference import Conversation, WorldModel, converse
from stages.world.pretraining.exams.measures import Row, Setting, compare, make_row
from stages.world.pretraining.lessons.drawing import draw_exchange, draw_pair, preferred
from stages.world.pretraining.principles import Phrasing, draw_wording
from stages.world.pretraining.wordings import PARAPHRASES, VALUE_ANSWERS, render_prompt
from stages.world.requests import Request
from stages.world.responses import Sentence, act_names, render

JUDGING = "Judging"
VALUE_LABELS = "Value labels"
LABELS_IN_TURN = (-1, 0, 1)


@dataclass(frozen=True)
class Comparison:
    """Two responses to compare under a principle."""

    request: Request
    first: list[Sentence]
    second: list[Sentence]
    principle: str
    first_is_better: bool
    """Whether the first response follows the principle better."""

    def ask(self, layout: int) -> list[Conversation]:
        """The prompt with the responses in one order, and in the other."""
        responses = [render(self.first), render(self.second)]
        conversations = []
        for response_a, response_b in (responses, reversed(responses)):
            prompt = render_prompt(
                "judge",
                layout,
                request=self.request.text,
                response_a=response_a,
                response_b=response_b,
                principle=self.principle,
            )
            conversations.append(converse(prompt))
        return conversations


def judge(
    model: WorldModel,
    comparisons: list[Comparison],
    layout: int = -1,
) -> tuple[list[bool], list[bool]]:
    """Let the model compare pairs of responses.

    Args:
        model: The model that judges.
        comparisons: The pairs and their principles.
        layout: The index of the prompt's layout; -1: the pipeline's own.

    Returns:
        Whether each case is right in one order, and on average over both orders.
    """
    conversations = []
    for comparison in comparisons:
        conversations += comparison.ask(layout)
    odds = model.label_odds(conversations, ("A", "B"))
    in_one_order = []
    averaged = []
    for forward, backward in zip(odds[::2], odds[1::2], strict=True):
        margin = forward[0] - forward[1]
        in_one_order.append(margin > 0)
        margin_of_both = margin + backward[1] - backward[0]
        averaged.append(margin_of_both > 0)
    expected = [comparison.first_is_better for comparison in comparisons]
    return compare(in_one_order, expected), compare(averaged, expected)


def draw_comparisons(
    setting: Setting,
    phrasing: Phrasing = "train",
    inverse: bool = False,
) -> list[Comparison]:
    """Pairs to judge; the cases go through the dimensions in turn.

    Args:
        setting: The number of cases and their words.
        phrasing: Which wordings the principles have.
        inverse: Whether the principles ask for the opposite.
    """
    rng = random.Random(f"judge/{setting.seed}/{setting.split}")
    comparisons = []
    for number in range(setting.cases):
        dimension = DIMENSIONS[number % len(DIMENSIONS)]
        request, first, second = draw_pair(rng, setting.plan, dimension)
        principle = draw_wording(rng, dimension, phrasing, inverse)
        first_acts = act_names(first)
        second_acts = act_names(second)
        serves_better = preferred(first_acts, second_acts, dimension) > 0
        first_is_better = serves_better != inverse
        comparisons.append(Comparison(request, first, second, principle, first_is_better))
    return comparisons


def flip_outcomes(model: WorldModel, setting: Setting) -> list[bool]:
    """One pair under two principles that prefer different responses: are both judgements right?"""
    rng = random.Random(f"flip/{setting.seed}/{setting.split}")
    comparisons: list[Comparison] = []
    while len(comparisons) < 2 * setting.cases:
        basis = rng.choice(DIMENSIONS)
        request, first, second = draw_pair(rng, setting.plan, basis)
        first_acts = act_names(first)
        second_acts = act_names(second)
        for_first = []
        for_second = []
        for dimension in DIMENSIONS:
            preference = preferred(first_acts, second_acts, dimension)
            if preference > 0:
                for_first.append(dimension)
            elif preference < 0:
                for_second.append(dimension)
        if not for_first or not for_second:
            continue
        dimensions = [rng.choice(for_first), rng.choice(for_second)]
        for dimension in dimensions:
            principle = draw_wording(rng, dimension)
            first_is_better = dimension in for_first
            comparisons.append(Comparison(request, first, second, principle, first_is_better))
    _, right = judge(model, comparisons)
    outcomes = []
    for under_one, under_other in zip(right[::2], right[1::2], strict=True):
        outcomes.append(under_one and under_other)
    return outcomes


def judge_rows(model: WorldModel, setting: Setting) -> list[Row]:
    """All rows about the choice between two responses."""
    rows: list[Row] = []

    def add(name: str, hits: list[bool]) -> None:
        rows.append(make_row(JUDGING, name, hits))

    def add_averaged(
        name: str,
        comparisons: list[Comparison],
        layout: int = -1,
    ) -> None:
        _, averaged = judge(model, comparisons, layout)
        add(f"{name}, averaged", averaged)

    plain = draw_comparisons(setting)
    in_one_order, averaged = judge(model, plain)
    add("one order", in_one_order)
    add("both orders averaged", averaged)
    for index, dimension in enumerate(DIMENSIONS):
        add(f"... {dimension}", averaged[index :: len(DIMENSIONS)])

    flipped = flip_outcomes(model, setting)
    add("flip: right under both of two opposed principles", flipped)

    seen = replace(setting, split="seen")
    add_averaged("seen slot words", draw_comparisons(seen))
    for layout in range(len(PARAPHRASES["judge"])):
        add_averaged(f"other prompt layout {layout + 1}", plain, layout)

    in_one_order, averaged = judge(model, draw_comparisons(setting, "held_out"))
    add("held-out wordings, one order", in_one_order)
    add("held-out wordings, averaged", averaged)

    add_averaged("wordings of unknown words", draw_comparisons(setting, "novel"))
    add_averaged("inverse principles", draw_comparisons(setting, inverse=True))
    inverse_held_out = draw_comparisons(setting, "held_out", inverse=True)
    add_averaged("inverse principles, held-out wordings", inverse_held_out)
    return rows


def value_rows(model: WorldModel, setting: Setting) -> list[Row]:
    """The accuracy of value labels; the three classes are equally frequent, the values in turn."""
    rng = random.Random(f"value/{setting.seed}")
    conversations = []
    expected: list[int] = []
    while len(expected) < setting.cases:
        rounds, index = divmod(len(expected), len(LABELS_IN_TURN))
        value = VALUES[rounds % len(VALUES)]
        request, sentences = draw_exchange(rng, setting.plan)
        labels_of_values = value_labels(act_names(sentences))
        label = labels_of_values[value]
        if label != LABELS_IN_TURN[index]:
            continue
        prompt = render_prompt(
            "value",
            request=request.text,
            response=render(sentences),
            value=value,
        )
        conversations.append(converse(prompt))
        expected.append(label)
    labels = tuple(VALUE_ANSWERS)
    words = tuple(VALUE_ANSWERS.values())
    answers = []
    for odds in model.label_odds(conversations, words):
        best = odds.index(max(odds))
        answers.append(labels[best])
    right = compare(answers, expected)
    return [make_row(VALUE_LABELS, "right label, three classes in balance", right)]
