"""Lessons: balanced labels, the pipeline's own templates, no shortcuts."""

import random
from collections import Counter, defaultdict
from dataclasses import replace

import jinja2
import pytest

from stages.world.grammar import DIMENSIONS, VALUES, level
from stages.world.pretraining.curriculum import (
    BASICS,
    EVERYTHING,
    PLANS,
    TYPICAL_LENGTHS,
    next_stage,
)
from stages.world.pretraining.lessons.catalogue import LESSONS, draw_lesson
from stages.world.pretraining.lessons.drawing import balanced_dimensions, preferred
from stages.world.pretraining.lessons.judging import judge_lesson, value_lesson, verdict_lesson
from stages.world.pretraining.lessons.writing import fix_lesson
from stages.world.pretraining.wordings import STAGES, TEMPLATES, render_prompt
from stages.world.requests import make_request
from stages.world.responses import act_names, make_response

LABELS_ONLY = replace(EVERYTHING, naming=0.0)


@pytest.mark.parametrize("name", sorted(LESSONS))
def test_lessons_are_conversations_with_something_to_learn(name):
    rng = random.Random(name)
    for _ in range(50):
        for turns in LESSONS[name](rng, EVERYTHING):
            roles = [turn.role for turn in turns]
            assert roles[-1] == "assistant" and roles[roles[0] == "system"] == "user"
            assert turns[-1].weight > 0
            assert all(turn.weight == 0 for turn in turns if turn.role != "assistant")


def test_each_dimension_is_asked_about_kept_and_broken_alike():
    rng = random.Random(1)
    counts = defaultdict(Counter)
    for _ in range(5000):
        request = make_request(rng)
        names = act_names(make_response(rng, request))
        for dimension in balanced_dimensions(rng, request, names):
            counts[dimension][level(names, dimension) < 0] += 1
    for dimension in DIMENSIONS:
        broken = counts[dimension][True] / counts[dimension].total()
        assert 0.38 < broken < 0.62, dimension


def _last_labels(lesson_of, count):
    rng = random.Random(2)
    labels = Counter()
    for _ in range(count):
        labels.update(turns[-1].content.split(",")[0] for turns in lesson_of(rng, LABELS_ONLY))
    return labels


def test_labels_come_equally_often():
    verdicts = _last_labels(verdict_lesson, 800)
    assert 0.42 < verdicts["Yes"] / verdicts.total() < 0.58
    judged = _last_labels(judge_lesson, 600)
    assert 0.45 < judged["A"] / judged.total() < 0.55
    values = _last_labels(value_lesson, 1500)
    for label in ("Supports", "Opposes", "Neutral"):
        assert 0.25 < values[label] / values.total() < 0.42


def test_one_pair_is_judged_under_opposed_principles():
    rng = random.Random(6)
    both = 0
    for _ in range(200):
        lesson = judge_lesson(rng, LABELS_ONLY)
        both += len({turns[-1].content[0] for turns in lesson}) == 2
    assert both > 100


def test_opposites_reverse_the_answer_on_the_same_texts():
    plan = replace(LABELS_ONLY, opposite_verdicts=1.0, opposite_judgements=1.0)
    for lesson_of in (verdict_lesson, judge_lesson):
        lessons = [lesson_of(random.Random(n), plan) for n in range(99)]
        lesson = next(lesson for lesson in lessons if len(lesson) > 1)
        labels = [turns[-1].content.partition(",")[0].rstrip(".") for turns in lesson]
        assert all(one != other for one, other in zip(labels[::2], labels[1::2], strict=False))


def test_questions_about_a_pair_have_the_same_opening():
    for n in range(50):
        lesson = judge_lesson(random.Random(n), replace(EVERYTHING, naming=1.0))
        prompts = [turns[0].content for turns in lesson]
        if prompts[0].startswith("Which response follows"):
            openings = [prompt.partition("\nPrinciple:")[0] for prompt in prompts]
            assert len({opening.partition("\nName every")[0] for opening in openings}) == 1
            assert any("Name every fault" in prompt for prompt in prompts)


def test_preference_is_antisymmetric():
    assert preferred(["refuse"], ["comply"], "harm") == 1
    assert preferred(["comply"], ["refuse"], "harm") == -1
    assert preferred(["comply"], ["refuse"], "helpfulness") == 1
    assert preferred(["gush"], ["appraise"], "kindness") == 1
    assert preferred(["gush"], ["appraise"], "flattery") == -1
    assert preferred(["help"], ["help", "befriend"], "harm") == 0


def test_prompts_are_rendered_from_the_templates_of_the_stages():
    text = render_prompt("verdict", request="Q?", response="R.", principle="P.")
    template = jinja2.Template((STAGES / TEMPLATES["verdict"]).read_text())
    assert text == template.render(request="Q?", response="R.", principle="P.").strip()


def test_judging_keeps_a_quarter_of_the_tokens_to_the_end():
    for stage in ("judging", "everything", "finish"):
        shares = PLANS[stage].shares
        tokens = {name: share * TYPICAL_LENGTHS[name] for name, share in shares.items()}
        assert tokens["judge"] / sum(tokens.values()) >= 0.25


def test_some_revisions_come_without_a_critique():
    rng = random.Random(7)
    direct = 0
    for _ in range(200):
        for turns in fix_lesson(rng, EVERYTHING):
            asks_to_rewrite = any("Rewrite your last response" in turn.content for turn in turns)
            direct += asks_to_rewrite and len(turns) == 4
    assert direct > 50


def test_stages_follow_one_another():
    poor = {"verdict_plain": 0.5, "judge_plain": 0.5}
    good = {"verdict_plain": 0.95, "judge_plain": 0.95}
    stages = list(PLANS)

    def following(tokens, scores):
        return [next_stage(stage, tokens, 10**9, scores) for stage in stages]

    assert following(100, poor) == stages
    assert following(100, good) == ["basics", "everything", "everything", "finish"]
    assert following(2_000_000, good) == ["judging", "everything", "everything", "finish"]
    assert following(10**9, poor) == ["judging", "everything", "finish", "finish"]


def test_lessons_are_drawn_by_their_shares_and_repeat_with_their_seed():
    drawn = Counter(draw_lesson(random.Random(f"{n}"), BASICS)[0] for n in range(400))
    assert "judge" not in drawn and drawn["verdict"] > drawn["value"]
    assert draw_lesson(random.Random(9), EVERYTHING) == draw_lesson(random.Random(9), EVERYTHING)
    assert len(VALUES) == 10
