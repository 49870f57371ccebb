"""Reading a judge's answer: margins, probabilities, and when there is no verdict."""

import asyncio
import math
import shutil
from pathlib import Path

import pytest

from stages.preferences.judging.ask import (
    CHOICES,
    MIN_MASS,
    choose_margin,
    choose_probabilities,
    compare,
    user_turn,
    violation_probability,
)
from stages.preferences.judging.rating import expected_rating
from stages.runtime.calls import Engines, RememberedGenerator
from stages.runtime.context import Drop
from stages.runtime.generation import Choice
from stages.runtime.models import Model, find_model
from stages.runtime.store import CallStore
from stages.runtime.tally import Tally
from tests.scripted import ScriptedGenerator

CHECKPOINT = Path(__file__).resolve().parents[3] / "stages/world/checkpoint"
QUESTION = [{"role": "user", "content": "A or B?"}]
JUDGE = "preferences/judging/judge.jinja"
VERDICT = "preferences/judging/verdict.jinja"
PROMPT = [{"role": "user", "content": "How do I bake bread?"}]


def judge_of(folder, choice):
    """A judge that answers everything with one Choice."""

    async def open_scripted(*_):
        return ScriptedGenerator(scores=lambda messages, options: choice)

    engines = Engines("scripted", {}, opener=open_scripted)
    store = CallStore(folder / "calls.sqlite")
    return RememberedGenerator(store, engines, Model("m", "0" * 16), Tally())


@pytest.mark.parametrize(
    ("mass", "is_verdict"),
    [(None, True), (1.0, True), (0.08, True), (MIN_MASS, True), (0.0099, False), (3.5e-7, False)],
)
async def test_next_to_no_mass_is_no_verdict(tmp_path, mass, is_verdict):
    judge = judge_of(tmp_path, Choice([math.log(0.9), math.log(0.1)], mass))
    questions = (
        choose_margin(judge, QUESTION),
        choose_probabilities(judge, QUESTION, ("Yes", "No")),
        compare(judge, PROMPT, "Yes.", "No.", "It helps.", JUDGE),
        violation_probability(judge, PROMPT, "Yes.", "It helps.", VERDICT),
        expected_rating(judge, PROMPT, "Yes.", "It helps.", {"Yes": 10, "No": 1}),
    )
    answers = await asyncio.gather(*questions, return_exceptions=True)
    if is_verdict:
        margin = math.log(9)
        expected = [margin, [0.9, 0.1], (margin, -margin), 0.1, 9.1]
        assert [pytest.approx(value) for value in expected] == answers
    else:
        assert all(isinstance(answer, Drop) for answer in answers)
        reason = f"{mass:.2g} on all options together"
        assert [answer.detail for answer in answers] == [reason] * 5


async def test_the_threshold_is_an_option(tmp_path):
    judge = judge_of(tmp_path, Choice([-0.1, -2.4], 0.3))
    with pytest.raises(Drop):
        await choose_margin(judge, QUESTION, min_mass=0.5)
    assert await choose_margin(judge, QUESTION, min_mass=0.3) == pytest.approx(2.3)


async def test_a_bounded_margin_is_a_verdict_and_is_counted(tmp_path):
    judge = judge_of(tmp_path, Choice([-1e-7, -38.0], 1.0, bounded=True))
    assert await choose_margin(judge, QUESTION) == pytest.approx(38.0)
    assert judge.tally.option_metrics()["bounded"] == 1.0


async def test_what_the_embedded_model_puts_on_the_options(tmp_path):
    """It answers A or B, Yes or No; it was never taught figures, nor to judge after a thought."""
    thinking = tmp_path / "thinking"
    shutil.copytree(CHECKPOINT, thinking)
    template = (thinking / "chat_template.jinja").read_text()
    (thinking / "chat_template.jinja").write_text(
        template + "{% if add_generation_prompt %}<think>\n{% endif %}"
    )
    variables = {"request": "How do I bake bread?", "principle": "The response helps the user."}
    question = user_turn(JUDGE, response_a="Bake it.", response_b="No.", **variables)
    masses = {}
    for name, path in (("plain", CHECKPOINT), ("thinking", thinking)):
        store = CallStore(tmp_path / f"{name}.sqlite")
        engines = Engines("transformers", {})
        judge = RememberedGenerator(store, engines, find_model(str(path)), Tally())
        masses[name] = (await judge.choose(question, CHOICES)).mass
        if name == "plain":
            with pytest.raises(Drop, match="'Yes'"):
                scale = {str(figure): figure for figure in range(1, 10)}
                await expected_rating(judge, PROMPT, "Bake it.", "It helps.", scale)
        else:
            with pytest.raises(Drop, match="next to no probability"):
                await choose_margin(judge, question)
        await engines.release()
        store.close()
    assert masses["plain"] > 0.99 and masses["thinking"] < MIN_MASS


@pytest.mark.parametrize(("unknown", "is_verdict"), [(0.0, True), (0.04, True), (0.2, False)])
async def test_a_scale_of_which_too_little_is_reported_has_no_expected_value(
    tmp_path, unknown, is_verdict
):
    """A bound on each option bounds the margin of two, and no mean of several."""
    logprobs = [math.log(0.8), math.log(0.1), math.log(0.1)]
    judge = judge_of(tmp_path, Choice(logprobs, 0.9, bounded=True, unknown=unknown))
    if is_verdict:
        assert await choose_probabilities(judge, QUESTION, "123") == pytest.approx([0.8, 0.1, 0.1])
    else:
        with pytest.raises(Drop, match=r"too little is reported of the options: up to 0\.2"):
            await choose_probabilities(judge, QUESTION, "123")
    two = judge_of(tmp_path / "two", Choice([-0.1, -2.4], 0.9, bounded=True, unknown=0.5))
    assert await choose_margin(two, QUESTION) == pytest.approx(2.3)
