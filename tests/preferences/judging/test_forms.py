"""Judges with a form of their own: guards that read a policy, generative reward models."""

import json
import math
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from stages.guards.errors import UserError
from stages.preferences.judging.ask import NO_VERDICT
from stages.runtime.calls import Engines
from stages.runtime.generation import Choice
from stages.runtime.rows import Judgement, Rating, Verdict
from tests.running import Seeded, run_steps, text_pipeline
from tests.scripted import ScriptedGenerator

CONF = Path("conf/judge")


def form_of(name):
    return yaml.safe_load((CONF / f"{name}.yaml").read_text())["judge"]["form"]


def steps_with(root, form, **rated):
    """Two answers to each of three requests, rated under two principles by a guard."""
    steps = text_pipeline(root, prompts=3)
    guard = {"stage": "model", "path": steps["base"]["path"], "form": form}
    chosen = {"name": str(root / "set.yaml"), "only": ["p1", "p2"]}
    return {
        "base": steps["base"],
        "guard": guard,
        "requests": steps["requests"],
        "answers": steps["answers"],
        "ratings": {
            "stage": "rate",
            "inputs": {"model": "guard", "responses": "answers"},
            "constitution": chosen,
            **rated,
        },
    }


def verdict(messages):
    """A guard to which answers break rule 1; it loses its format at request 2."""
    if messages[0]["role"] != "system":
        return f"answer to: {messages[-1]['content']}"
    if "number 2" in messages[1]["content"]:
        return "The response is fine."
    broken = int("rule number 1." in messages[0]["content"])
    return f'Let me see, {{"violation": 0}}? No: {{"violation": {broken}, "reason": "so"}}'


def test_a_guard_reads_the_policy_and_its_verdict_is_parsed(tmp_path):
    generator = ScriptedGenerator(text=verdict)
    _, done = run_steps(steps_with(tmp_path, form_of("policy_guard")), tmp_path, generator)
    rows = done["ratings"].rows(Rating)
    assert len(rows) == 4 and all(row.scores == [1.0, 10.0] for row in rows)
    dropped = done["ratings"].dropped()
    assert [row.reason for row in dropped] == [NO_VERDICT] * 2, "no parse failure is a score"
    asked = [messages for messages, *_ in generator.completed if messages[0]["role"] == "system"]
    assert asked and not generator.chosen
    assert "The response keeps rule number 1." in asked[0][0]["content"]
    assert asked[0][1]["content"].startswith("Request: request number 0\nResponse: answer to:")


def test_a_scale_of_violations_is_read_the_right_way_round(tmp_path):
    steps = steps_with(tmp_path, form_of("policy_guard"), scale={"Yes": 0, "No": 1})
    _, done = run_steps(steps, tmp_path, ScriptedGenerator(text=verdict))
    assert all(row.scores == [1.0, 0.0] for row in done["ratings"].rows(Rating))
    steps["ratings"]["scale"] = {"1": 1, "2": 2, "3": 3}
    _, done = run_steps(steps, tmp_path, ScriptedGenerator(text=verdict))
    assert all(row.scores == [1.0, 3.0] for row in done["ratings"].rows(Rating))


def test_a_yes_of_a_guard_is_a_violation(tmp_path):
    def scores(messages, options):
        assert list(options) == ["Yes", "No"]
        if "request number 2" in messages[0]["content"]:
            return Choice([math.log(0.5)] * 2, mass=1e-5, instead="I")
        return [math.log(0.3), math.log(0.7)]

    steps = steps_with(tmp_path, form_of("yes_no_guard"))
    _, done = run_steps(steps, tmp_path, Seeded(scores=scores))
    rows = done["ratings"].rows(Rating)
    assert len(rows) == 4
    assert all(row.score == pytest.approx(1 + 9 * 0.7) for row in rows)
    assert len(done["ratings"].dropped()) == 2


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ('Thinking. {"score": 4}', 1 + 9 * 0.75),
        ('{"score": 1} would be harsh.\n{"score": "5"}', 10),
        ('{"score": 7}', None),
        ('{"score": 2.5}', None),
        ("Score: good", None),
    ],
)
def test_a_generative_reward_model_ends_with_a_score(tmp_path, reply, score):
    def text(messages):
        words = messages[-1]["content"]
        return reply if words.startswith("# Principle\nThe response keeps") else "an answer"

    steps = steps_with(tmp_path, form_of("generative_reward"))
    steps["answers"]["n"] = 1
    generator = ScriptedGenerator(text=text)
    if score is None:
        with pytest.raises(UserError, match=NO_VERDICT):
            run_steps(steps, tmp_path, generator)
        return
    _, done = run_steps(steps, tmp_path, generator)
    assert all(row.score == pytest.approx(score) for row in done["ratings"].rows(Rating))


def test_a_guard_compares_by_the_difference_of_two_verdicts(tmp_path):
    """And so it can fill a judge matrix, and count violations in an evaluation."""

    def text(messages):
        if messages[0]["role"] != "system":
            return f"answer to: {messages[-1]['content']}"
        response = messages[1]["content"].partition("Response: ")[2]
        return json.dumps({"violation": int(response.endswith("0>"))})

    class Marked(Seeded):
        async def complete(self, messages, sampling, seed):
            number = sum(one[0] == list(messages) for one in self.completed)
            made = await ScriptedGenerator.complete(self, messages, sampling, seed)
            mark = "" if messages[0]["role"] == "system" else f" <{number}>"
            return type(made)(made.text + mark, "stop", 1, 1)

    steps = steps_with(tmp_path, form_of("policy_guard"))
    steps["matrix"] = {
        "stage": "judge",
        "inputs": {"model": "guard", "responses": "answers"},
        "constitution": steps["ratings"]["constitution"],
    }
    steps["evaluation"] = {
        "stage": "evaluate",
        "inputs": {"judge": "guard", "policy": "answers"},
        "constitution": steps["ratings"]["constitution"],
    }
    _, done = run_steps(steps, tmp_path, Marked(text=text))
    for row in done["matrix"].rows(Judgement):
        assert row.margin_ab == row.margin_ba == pytest.approx(-2 * math.log(999))
    judged = {row.response[-3:]: row.judged for row in done["evaluation"].rows(Verdict)}
    assert judged["<0>"] == [1.0, 1.0] and judged["<1>"] == [0.0, 0.0]
    steps["matrix"]["reasoning"] = True
    with pytest.raises(UserError, match="asked in a form of its own"):
        run_steps(steps, tmp_path, Marked(text=text))


def test_a_form_is_part_of_what_its_judge_is(tmp_path):
    form = form_of("policy_guard")
    plans = []
    other = form | {"answers": {"0": 0.9, "1": 0}}
    for one in (None, form, other):
        planned, _ = run_steps(steps_with(tmp_path, one), tmp_path, only_plan=True)
        plans.append({plan.step.name: plan.fingerprint for plan in planned})
    assert plans[0]["guard"] == plans[0]["base"], "no form changes no identity"
    for name in ("guard", "ratings"):
        assert len({plan[name] for plan in plans}) == 3
    assert len({plan["answers"] for plan in plans}) == 1


def test_another_process_asks_in_the_same_form():
    engines = Engines("scripted", {})
    from stages.runtime.generation import JudgeForm

    form = JudgeForm(template="t.jinja", answers={"a": 0.0, "b": 1.0}, pattern="(a|b)")
    label = engines.add(None, {}, "here", form)
    plain = json.loads(json.dumps(engines.describe()))
    rebuilt = Engines(**plain)
    assert label and rebuilt.describe() == engines.describe()
    assert rebuilt._others[label].form == form


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": {"0": 1, "1": 1}}, "worth the same"),
        ({"answers": {"0": 1}}, "answers"),
        ({"answers": {"0": 1, "1": 2}}, "answers"),
        ({"pattern": "(a"}, "no regular expression"),
        ({"pattern": "a"}, "0 groups, not one"),
        ({"template": "none.jinja"}, "none.jinja"),
        ({"patern": "(a)"}, "pattern"),
    ],
)
def test_forms_that_cannot_work_are_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        run_steps(steps_with(tmp_path, form_of("policy_guard") | change), tmp_path, only_plan=True)


@pytest.mark.parametrize("name", ["policy_guard", "yes_no_guard", "generative_reward"])
def test_shipped_forms_have_an_answer_for_each_worth(name):
    form = OmegaConf.load(CONF / f"{name}.yaml").judge.form
    assert {0, 1} <= set(form.answers.values())
