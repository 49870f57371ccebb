"""Stage `examine_judge` with judges whose worth is known: perfect, leaning, constant, random."""

import hashlib
import re
from math import exp, log1p

import pytest

from stages.evaluation.instrument.examine_judge import STAGE, Config, run
from stages.guards.errors import UserError
from stages.principles.select import Selection
from stages.runtime.artifacts import Result
from stages.runtime.context import ForecastDone
from stages.runtime.generation import Choice
from stages.runtime.models import find_model
from stages.runtime.rows import Pair, Prompt, Question
from stages.runtime.stage import Expected
from tests.evaluation.fakes import artifact, context, model, plain
from tests.scripted import ScriptedGenerator

CONSTITUTION = """
name: tiny
principles:
  - {id: kind, text: The response is kind., opposite: The response is cruel., tags: [safe]}
  - {id: calm, text: The response is calm., opposite: The response is angry., tags: [safe]}
  - {id: help, text: The response helps., opposite: The response dodges., tags: [helpful]}
"""
OPPOSITES = {"cruel": "kind", "angry": "calm", "dodges": "helps"}


def hashed(text: str) -> float:
    """A number in [-1, 1) that only the text decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**31 - 1


def worth(request: str, answer: str, principle: str) -> float:
    """How well an answer follows a principle, in nats: the truth of this little world."""
    word = principle.rstrip(".").split()[-1]
    sign = -1 if word in OPPOSITES else 1
    if answer.startswith("My answer follows this"):
        return 4.0 if answer.endswith(principle) else -4.0
    quality = 2 * hashed(OPPOSITES.get(word, word) + answer)
    if word in ("helps", "dodges"):
        begins = answer.startswith("I answer")
        quality += 4 if begins and answer.endswith(request) else -4
    return sign * quality


def judge_of(opinion, lean: float = 0.0, mass: float = 0.95) -> ScriptedGenerator:
    """A judge whose log-odds are an opinion plus what it leans to the first option."""

    def scores(messages, options):
        lines = messages[-1]["content"].splitlines()
        fields = dict(line.split(": ", 1) for line in lines if ": " in line)
        log_odds = lean + opinion(messages[-1]["content"], fields, options[0])
        logs = [-log1p(exp(-log_odds)), -log1p(exp(log_odds))]
        return Choice(logs, mass=mass)

    return ScriptedGenerator(text=answer, scores=scores)


def answer(messages) -> str:
    return f"I answer you about {messages[-1]['content']}"


def truth(content: str, fields: dict, option: str) -> float:
    request, principle = fields["Request"], fields["Principle"]
    if option == "Yes":
        return worth(request, fields.get("Response", ""), principle)
    a, b = fields.get("Response A", ""), fields.get("Response B", "")
    return worth(request, a, principle) - worth(request, b, principle)


JUDGES = {
    "perfect": (judge_of(truth), "able", "able"),
    "leaning": (judge_of(truth, lean=-7.0), "usable when debiased", "usable when debiased"),
    "always the same": (judge_of(lambda *_: 0.0, lean=4.0), "not able", "not able"),
    "always B and No": (judge_of(lambda *_: 0.0, lean=-4.0), "not able", "not able"),
    "random": (judge_of(lambda content, *_: 3 * hashed(content)), "not able", "not able"),
    "deaf to principles": (
        judge_of(
            lambda content, fields, option: truth(
                content, fields | {"Principle": "The response helps."}, option
            )
        ),
        "not able",
        "not able",
    ),
    "about to think": (judge_of(truth, mass=0.001), "not able", "not able"),
}


def prompts(count: int) -> list[Prompt]:
    rows = []
    for i in range(count):
        messages = [{"role": "user", "content": f"request {i}"}]
        rows.append(Prompt(id=f"p{i}", messages=messages, kind="red_team"))
    return rows


def examine(tmp_path, judge, count=40, forecast=False, pairs=None, lexicon="", **options) -> Result:
    path = tmp_path / "tiny.yaml"
    path.write_text(CONSTITUTION)
    inputs = {
        "judge": model(tmp_path),
        "prompts": artifact(tmp_path, "prompts", Result(rows=prompts(count), row_type=Prompt)),
    }
    if lexicon:
        (tmp_path / "judge-model" / "lexicon.txt").write_text(lexicon)
    if pairs:
        inputs["pairs"] = artifact(tmp_path, "pairs", Result(rows=pairs, row_type=Pair))
    with context(tmp_path, judge, forecast) as stage_context:
        return run(Config(constitution=Selection(str(path)), **options), inputs, stage_context)


@pytest.mark.parametrize("name", JUDGES)
def test_judges_come_out_as_what_they_are(tmp_path, name):
    judge, choices, yes_no = JUDGES[name]
    result = examine(tmp_path, judge, require="anything")
    metrics = plain(result.metrics)
    assert (metrics["choices"]["verdict"], metrics["yes_no"]["verdict"]) == (choices, yes_no)
    assert len(result.rows) == metrics["questions"] > 500
    assert all(isinstance(row, Question) for row in result.rows)
    assert metrics["yes_no"]["repeat"]["value"] == 1, "a script repeats itself"
    assert result.tables[0].rows[0] == ["verdict", choices, yes_no, ""]
    assert len(result.warnings) == [choices, yes_no].count("not able")


def test_the_prior_is_what_a_judge_leans_to(tmp_path):
    judge, _, _ = JUDGES["leaning"]
    metrics = examine(tmp_path, judge).metrics
    prior = metrics["yes_no"]["prior"]
    assert prior["low"] < -7 < prior["high"] and prior["high"] - prior["low"] < 2
    assert metrics["choices"]["planted"]["all"]["value"] > 0.9, "both orders see the content"
    assert metrics["choices"]["first"]["high"] < 0.5, "the second place wins more often"


def test_a_judge_that_is_not_able_stops_the_run(tmp_path):
    judge, _, _ = JUDGES["always B and No"]
    with pytest.raises(UserError) as caught:
        examine(tmp_path, judge)
    words = str(caught.value)
    assert "cannot tell" in words and "take another judge" in words and "judge=" in words
    assert "pipeline.steps.evaluation.require=anything" in words, "the step of the test's context"
    folder = tmp_path / "again"
    folder.mkdir()
    assert examine(folder, judge, needs=()).warnings


def test_a_dozen_requests_decide_nothing(tmp_path):
    for place, name in enumerate(("perfect", "random")):
        folder = tmp_path / str(place)
        folder.mkdir()
        metrics = examine(folder, JUDGES[name][0], count=12).metrics
        assert metrics["choices"]["verdict"] == metrics["yes_no"]["verdict"] == "undecided"
    folder = tmp_path / "decided"
    folder.mkdir()
    with pytest.raises(UserError, match="undecided"):
        examine(folder, JUDGES["random"][0], count=12, require="decided")


def known(rows=None, judge=None):
    return Expected(lambda: rows, lambda: judge)


def foresee(tmp_path, inputs, without="", **options):
    path = tmp_path / "constitution.yaml"
    text = "\n".join(re.sub(r"opposite: [^,]*, ", "", line) for line in CONSTITUTION.splitlines())
    path.write_text(text if without else CONSTITUTION)
    config = Config(constitution=Selection(str(path)), **options)
    return STAGE.foresee(config, {"judge": known(), **inputs})


FEW = "12 requests are too few for a verdict; it takes 24. To do: give the examination 24 requests"
FORESEEN = [
    ({"red": known(8), "good": known(4)}, {}, FEW),
    ({"red": known(8), "good": known(16)}, {}, ""),
    ({"red": known(8), "good": known()}, {}, ""),  # nobody knows
    ({"red": known(400)}, {"requests": 12}, FEW),
    ({"responses": known(12), "red": known(90)}, {}, FEW),
    ({"red": known(12), "pairs": known(30)}, {}, ""),
    ({"red": known(12), "pairs": known(9)}, {}, FEW),
    ({"red": known(90)}, {"without": "opposites"}, "no principle has an opposite, and there are"),
    ({"red": known(90), "pairs": known(12)}, {"without": "opposites"}, FEW),
    ({"red": known(90), "pairs": known(30)}, {"without": "opposites"}, ""),
]


@pytest.mark.parametrize(("inputs", "options", "words"), FORESEEN)
def test_a_plan_knows_that_nothing_will_be_decided(tmp_path, inputs, options, words):
    warnings = foresee(tmp_path, inputs, **options)
    assert [f"the verdict on the judge will be undecided: {words}" in one for one in warnings] == (
        [True] * bool(words)
    )
    if words:
        assert "with `require: decided` the run stops there" in warnings[0]
        strict = foresee(tmp_path, inputs, **options, require="decided")
        assert words in strict[0] and "with `require" not in strict[0]


def test_what_a_judge_cannot_read_is_said_where_it_stops_the_run(tmp_path):
    """Its folder states its words."""
    judge, _, _ = JUDGES["always B and No"]
    folder = tmp_path / "judge-model"
    with pytest.raises(UserError) as caught:
        examine(tmp_path, judge, lexicon="# the toy model\nthe\nresponse\nis\nkind\n")
    assert "the toy model cannot read 'helps', 'calm', words of 2 of 3" in str(caught.value)
    read = known(judge=find_model(str(folder)))
    (warning,) = foresee(tmp_path, {"judge": read, "red": known(24)})
    assert "the toy model cannot read 'helps', 'calm'" in warning


def labelled(count: int, right: bool) -> list[Pair]:
    rows = []
    for i in range(count):
        request = f"request {i}"
        good, bad = f"I answer you about {request}", "no"
        rows.append(
            Pair(
                id=f"l{i}",
                prompt_id=f"l{i}",
                chosen_id="",
                rejected_id="",
                kind="helpful",
                prompt=[{"role": "user", "content": request}],
                chosen=good if right else bad,
                rejected=bad if right else good,
                label=1.0,
                margin=0.0,
            )
        )
    return rows


def test_people_decide_where_there_are_labels(tmp_path):
    for place, right in enumerate((True, False)):
        folder = tmp_path / str(place)
        folder.mkdir()
        options = {"general": "The response helps.", "require": "anything"}
        result = examine(folder, JUDGES["perfect"][0], pairs=labelled(30, right), **options)
        choices = result.metrics["choices"]
        assert choices["people"] == pytest.approx(choices["people"] | {"value": float(right)})
        assert choices["people"]["n"] == 30
        assert choices["verdict"] == ("able" if right else "not able")


def test_a_forecast_asks_nothing_and_a_second_run_is_stored(tmp_path):
    judge, _, _ = JUDGES["perfect"]
    with pytest.raises(ForecastDone) as caught:
        examine(tmp_path, None, forecast=True)
    assert caught.value.forecast.open_rows == 32
    (tmp_path / "judge-model").rename(tmp_path / "elsewhere")
    examine(tmp_path, judge)
    asked = judge.calls
    (tmp_path / "judge-model").rename(tmp_path / "elsewhere2")
    examine(tmp_path, judge)
    assert judge.calls == asked
