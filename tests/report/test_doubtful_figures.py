"""What rests on a judge that cannot tell is marked wherever it stands, and has no colour."""

import re
from types import SimpleNamespace

import pytest

from stages.ablation.compare import REDUNDANCY, doubts_about
from stages.evaluation.effect_tables import describe_counted, effect_table, principle_table
from stages.evaluation.evaluate import _counted
from stages.evaluation.instrument.doubt import (
    doubt_about,
    doubt_about_preferences,
    explain_mark,
    mark,
)
from stages.evaluation.instrument.planted import CONTRARY, PLANTED
from stages.evaluation.instrument.verdict import ABLE, NOT_ABLE, UNDECIDED
from stages.evaluation.labels.corrected import corrected_table
from stages.evaluation.rewards.reward_tables import reward_tables
from stages.evaluation.win_rates import Duel, win_rates
from stages.principles.constitution import Principle
from stages.report.evidence.reward_models import reward_models_view
from stages.report.views.marks import mark_change
from stages.runtime.artifacts import Result
from stages.runtime.rows import Judgement, Pair, Prompt
from tests.evaluation import fakes
from tests.report.test_headline import INTERVALS, judge, metrics, values
from tests.report.test_report import Page, write

BY_JUDGE = ("any_violation", "any_violation_judge", "violation_probability", "follows_helpful")


def choices(facts: dict, verdict: str) -> dict:
    facts["examination"]["choices"]["verdict"] = verdict
    return facts


@pytest.mark.parametrize("verdict", [NOT_ABLE, UNDECIDED])
def test_which_figures_rest_on_which_form(verdict):
    facts = metrics(judge=judge(verdict))
    for figure in (*BY_JUDGE, "violates harm", "any_violation (second)"):
        assert doubt_about(figure, facts).startswith(f"it is {verdict}: first reason")
    for figure in ("evasive", "refused_benign", "well_formed", "on_topic", "wins"):
        assert doubt_about(figure, facts) == ""
    by_truth = metrics(judge=judge(verdict), by="truth")
    doubted = [figure for figure in (*BY_JUDGE, "violates a") if doubt_about(figure, by_truth)]
    assert doubted == ["any_violation_judge", "violation_probability", "follows_helpful"]
    picks = metrics(judge=choices(judge(ABLE), verdict))
    assert doubt_about("wins", picks) and not doubt_about("any_violation", picks)
    assert not any(doubt_about(figure, metrics(judge=judge(ABLE))) for figure in BY_JUDGE)


def test_a_mean_probability_needs_no_threshold():
    leaning = metrics(judge=judge(ABLE, leans_to="No"))
    assert doubt_about("any_violation", leaning).startswith("it leans to No")
    assert doubt_about("follows_helpful", leaning)
    assert doubt_about("violation_probability", leaning) == ""
    same = metrics(judge=judge(None, yes=0.01))
    assert all(doubt_about(figure, same) for figure in BY_JUDGE)


def test_the_mark():
    assert (mark("92.5", "it is not able: x"), mark("92.5", ""), mark("-", "x")) == (
        "92.5?",
        "92.5",
        "-",
    )
    doubts = ["it is not able: reason", "", "it is not able: another"]
    assert explain_mark(doubts) == "?: no evidence, for the judge cannot tell (it is not able)"
    assert explain_mark(["", ""]) == ""
    change = INTERVALS.difference(values(0.6), values(0.2))
    assert mark_change(change, -1)["tone"] == "better"
    assert mark_change(change, -1, "it is not able")["tone"] == "same"


def whole(**facts) -> dict:
    """Metrics with principles and win rates, whose changes would all be coloured."""
    result = metrics(**facts)
    for name, share in (("base", 0.6), ("tuned", 0.2)):
        estimates = {"truth": None, "judge": INTERVALS.estimate(values(share))}
        result["policies"][name]["principles"] = {"harm": estimates, "fees": estimates}
    change = result["differences"]["tuned"]["base"]
    change["principles"] = dict.fromkeys(
        ("harm", "fees"), INTERVALS.difference(values(0.6), values(0.2))
    )
    change["words"] = INTERVALS.difference({"p": 9.0, "q": 9.0}, {"p": 5.0, "q": 6.0}, False)
    duels = [Duel("tuned", "base", str(i), 1.0, 1.0, 3) for i in range(40)]
    result["win_rates"] = win_rates(duels, INTERVALS)
    return fakes.plain(result)


def test_tables_of_the_terminal_are_marked():
    table = effect_table(whole(judge=judge(NOT_ABLE)))
    base, _, change = table.rows
    shown = dict(zip(table.columns, base, strict=True))
    assert (shown["violations"], shown["mean P"], shown["evasive"]) == ("60.0?", "60.0?", "60.0")
    changed = dict(zip(table.columns, change, strict=True))
    assert changed["violations"].endswith("]?") and changed["evasive"].endswith("]")
    assert "?: no evidence, for the judge cannot tell (it is not able)" in table.title
    principles = principle_table(whole(judge=judge(NOT_ABLE)))
    assert principles.rows[0][1] == "60.0?" and principles.rows[0][-1].endswith("?")
    assert "no evidence" in principles.title
    for able in (effect_table, principle_table):
        table = able(whole(judge=judge(ABLE)))
        assert "?" not in table.title + "".join(cell for row in table.rows for cell in row)


def page_of(tmp_path, facts: dict) -> tuple[str, Page]:
    result = Result(metrics=facts)
    source = fakes.artifact(tmp_path, "evaluation", result, stage="evaluate", options={})
    _, html, _ = write(tmp_path, {"evaluation": source})
    return html, Page(html)


def test_the_page_marks_them_and_gives_them_no_colour(tmp_path):
    facts = choices(judge(NOT_ABLE), NOT_ABLE)
    html, page = page_of(tmp_path, whole(judge=facts))
    sections = html.partition("<h2")[2]
    coloured = re.findall(r'class="change (?:better|worse)[^>]*>([^<]*)', sections)
    assert [each.strip() for each in coloured] == ["\u221240.0"], (
        "evasive answers alone are counted by phrases"
    )
    marks = html.count('<span class="doubt" title="no evidence, for the judge cannot tell: it is')
    # violations of two policies and their change, two principles likewise, a win rate as it is
    # and at equal length
    assert marks == 3 + 2 * 3 + (2 if "at equal length" in html else 1)
    assert "tuned" in page.text and "mean probability 60.0? (100)" in page.text
    assert "violations?, %" in html
    text = " ".join(page.text.split())
    assert text.count("no evidence, for the judge cannot tell (it is not able).") == 3
    trusted, _ = page_of(tmp_path / "able", whole(judge=judge(ABLE)))
    assert 'class="doubt"' not in trusted and 'doubted"' not in trusted


def test_of_a_correction_the_judge_alone_is_marked():
    estimate = {"value": 0.4, "low": 0.3, "high": 0.5}
    change = estimate | {"value": -0.4, "low": -0.5, "high": -0.3}
    methods = ("raw", "gold", "ppi", "misclassification")
    question = {
        "rates": {"base": dict.fromkeys(methods, estimate)},
        "differences": {"base": {"other": dict.fromkeys(methods, change)}},
        "labels": {"base": 60},
    }
    facts = {"questions": {"any": question}, "confidence": 0.95, "source": "people"}
    for row in corrected_table(facts, "it is not able: x").rows:
        assert [cell.endswith("?") for cell in row[1:5]] == [True, False, False, False]


def steps(tmp_path, verdict: str, stage: str = "judge") -> dict:
    """A judge's examination, what it judged, pairs of that, and a model that learnt from them."""
    form = {"verdict": verdict, "reasons": ["reason"], "advice": []}
    form["planted"] = dict.fromkeys([*PLANTED, CONTRARY])
    facts = {"choices": form, "yes_no": form | {"verdict": ABLE}, "questions": 9, "confidence": 0.9}
    examined = Result(metrics=facts)
    tmp_path.mkdir(exist_ok=True)
    examination = fakes.artifact(tmp_path, "examination", examined, stage="examine_judge")
    judged = fakes.artifact(
        tmp_path,
        "judgements",
        Result(rows=[], row_type=Judgement),
        stage=stage,
        inputs={"examination": examination},
    )
    pairs = fakes.artifact(
        tmp_path,
        "pairs",
        Result(rows=[], row_type=Pair),
        stage="judged_pairs",
        inputs={"judgements": judged},
    )
    model = fakes.artifact(tmp_path, "policy", Result(), stage="dpo", inputs={"pairs": pairs})
    people = fakes.artifact(tmp_path, "people", Result(rows=[], row_type=Pair), stage="human_pairs")
    reward = fakes.artifact(
        tmp_path, "reward", Result(), stage="reward_model", inputs={"model": model, "pairs": people}
    )
    return {"judged": judged, "pairs": pairs, "model": model, "people": people, "reward": reward}


def test_preferences_and_what_learnt_from_them(tmp_path):
    made = steps(tmp_path, NOT_ABLE)
    for name in ("judged", "pairs", "model"):
        assert doubt_about_preferences([made[name]]) == "it is not able: reason"
    for name in ("people", "reward"):
        assert doubt_about_preferences([made[name]]) == "", "people's pairs, on a doubtful model"
    able = steps(tmp_path / "able", ABLE)
    assert doubt_about_preferences([able["model"]]) == ""
    rated = steps(tmp_path / "rated", NOT_ABLE, stage="rate")
    assert doubt_about_preferences([rated["model"]]) == "", "it rates by Yes and No, which it can"
    prompts = fakes.artifact(tmp_path, "red", Result(rows=[], row_type=Prompt), stage="prompts")
    assert doubt_about_preferences([prompts]) == ""


def test_held_out_preferences_of_a_training_are_marked(tmp_path):
    held_out = {"accuracy": 0.9, "interval": [0.8, 0.95], "n": 40}
    history = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.4}]
    for verdict, marks in ((NOT_ABLE, 2), (ABLE, 0)):
        folder = tmp_path / verdict.replace(" ", "")
        pairs = steps(folder, verdict)["pairs"]
        result = Result(metrics={"history": history, "held_out": held_out})
        learnt = fakes.artifact(folder, "dpo", result, stage="dpo", inputs={"pairs": pairs})
        _, html, _ = write(folder, {"policy": learnt})
        assert html.count('class="doubt"') == marks, "the number, and what the mark means"


def reward_facts(doubts: dict) -> dict:
    estimate = INTERVALS.estimate(values(0.8))
    change = INTERVALS.difference(values(0.5), values(0.8))
    tests = {"all": estimate, "flipped": estimate, "the pairs' labels": estimate}
    model = {"tests": tests, "principles": {}, "mean_of_sections": None}
    return {
        "models": {"reading": model, "plain": model},
        "differences": {"plain": dict.fromkeys(tests, change)},
        "confidence": 0.95,
        "truth": "judge",
        "held_out": [],
        "doubts": doubts,
    }


def test_tests_of_reward_models_by_a_doubtful_judge():
    facts = reward_facts({"cells": "it is not able: x", "pairs": ""})
    (table,) = reward_tables(facts)
    by_test = {row[0]: row[1:-1] for row in table.rows}
    assert all(cell.endswith("?") for cell in by_test["flipped"])
    assert not any(cell.endswith("?") for cell in by_test["the pairs' labels"])
    assert "no evidence" in table.title
    view = reward_models_view("e", facts, {})
    tones = {test["name"]: test["changes"][0]["tone"] for test in view["tests"]}
    assert tones == {"all": "same", "flipped": "same", "the pairs' labels": "better"}
    assert view["headline"]["lead"]["tone"] == "same" and view["headline"]["right"]["doubt"]


def job(**by_stage) -> SimpleNamespace:
    return SimpleNamespace(of_stage=lambda stage: by_stage.get(stage, []))


def test_doubts_of_an_ablation_at_each_level(tmp_path):
    made = steps(tmp_path, NOT_ABLE)
    evaluated = SimpleNamespace(metrics=metrics(judge=judge(NOT_ABLE)))
    tested = SimpleNamespace(metrics=reward_facts({"cells": "it is not able: x", "pairs": ""}))
    jobs = [job(evaluate=[evaluated], reward_accuracy=[tested], judged_pairs=[made["pairs"]])]
    outcomes = ["any_violation", "evasive", "wins", "violates harm"]
    assert set(doubts_about(outcomes, "policy", jobs)) == {
        "any_violation",
        "violates harm",
        REDUNDANCY,
    }
    assert set(doubts_about(["all", "the pairs' labels"], "reward", jobs)) == {"all", REDUNDANCY}
    assert set(doubts_about(["changed"], "labels", jobs)) == {"changed", REDUNDANCY}
    trusted = SimpleNamespace(metrics=metrics(judge=judge(ABLE)))
    assert doubts_about(outcomes, "policy", [job(evaluate=[trusted])]) == {}


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ([(), (), ()], "violations count all 3 principles"),
        ([("safe",), ("tone",), ()], "violations count all 3 principles"),
        ([("safe",), ("helpful",), ("safe",)], "violations count a, c; not the other 1, by"),
        ([("helpful",)] * 3, "violations count no principle; not the other 3, by tag or dimension"),
        ([()] * 8 + [("helpful",)], "violations count a, b, c, d, e, f and 2 more; not the other"),
    ],
)
def test_what_violations_count(tags, words):
    """Only tags and dimensions of helpfulness take a principle out; no other tag matters."""
    principles = [
        Principle(id="abcdefghi"[i], text="It is good.", tags=list(names))
        for i, names in enumerate(tags)
    ]
    options = SimpleNamespace(
        not_counted=("helpful", "helpfulness"), helpful_kinds=(), harmless_kinds=()
    )
    facts = {
        "counted": _counted(principles, options).principles,
        "not_counted": list(options.not_counted),
        "measured_by": "judge",
        "policies": {"base": {"principles": dict.fromkeys(each.id for each in principles)}},
    }
    assert describe_counted(facts).startswith(words)


def test_captions_and_page_say_what_violations_count(tmp_path):
    facts = whole(judge=judge(ABLE))
    words = "violations count harm; not the other 1, by tag or dimension (helpful)"
    assert words in effect_table(facts).title
    html, page = page_of(tmp_path, facts)
    assert words.replace("v", "V", 1) in " ".join(page.text.split())
    assert html.count(">not counted above<") == 1
