"""All kinds of lesson, by the names that a curriculum gives them."""

import random
from collections.abc import Callable

from stages.world.pretraining.lessons.judging import judge_lesson, value_lesson, verdict_lesson
from stages.world.pretraining.lessons.plan import Curriculum, Lesson
from stages.world.pretraining.lessons.writing import (
    copy_lesson,
    describe_lesson,
    fix_lesson,
    respond_lesson,
    steer_lesson,
)

LESSONS: dict[str, Callable[[random.Random, Curriculum], Lesson]] = {
    "copy": copy_lesson,
    "respond": respond_lesson,
    "steer": steer_lesson,
    "verdict": verdict_lesson,
    "judge": judge_lesson,
    "fix": fix_lesson,
    "value": value_lesson,
    "describe": describe_lesson,
}


def draw_lesson(rng: random.Random, plan: Curriculum) -> tuple[str, Lesson]:
    """Draw one lesson by the shares of the plan, and name its kind."""
    names = tuple(plan.shares)
    weights = tuple(plan.shares.values())
    name = rng.choices(names, weights)[0]
    return name, LESSONS[name](rng, plan)
