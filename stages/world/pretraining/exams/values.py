"""The exam in value labels: does a response support a value, oppose it, or neither?"""

import random

from stages.world.grammar import VALUES, value_labels
from stages.world.pretraining.exams.inference import Conversation, WorldModel, user
from stages.world.pretraining.exams.measures import Row, make_row
from stages.world.pretraining.exams.setting import Setting, compare
from stages.world.pretraining.wordings import VALUE_ANSWERS, render_prompt
from stages.world.responses import act_names, render

GROUP = "Value labels"
LABELS = (-1, 0, 1)


def value_rows(model: WorldModel, setting: Setting) -> list[Row]:
    """Value labels, the three classes equally often, every value in turn."""
    rng = random.Random(f"value/{setting.seed}")
    conversations: list[Conversation] = []
    expected: list[int] = []
    while len(expected) < setting.cases:
        rounds, index = divmod(len(expected), len(LABELS))
        value = VALUES[rounds % len(VALUES)]
        request, sentences = setting.draw(rng)
        label = value_labels(act_names(sentences))[value]
        if label != LABELS[index]:
            continue
        prompt = render_prompt(
            "value",
            request=request.text,
            response=render(sentences),
            value=value,
        )
        conversations.append([user(prompt)])
        expected.append(label)
    labels = tuple(VALUE_ANSWERS)
    answers = []
    for odds in model.label_odds(conversations, tuple(VALUE_ANSWERS.values())):
        answers.append(labels[odds.index(max(odds))])
    right = compare(answers, expected)
    return [make_row(GROUP, "right label, three classes in balance", right, 0.85, 0.85)]
