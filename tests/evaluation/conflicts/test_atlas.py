"""Stage `conflict_atlas`: a planted conflict is found, nothing else is; who wins is counted for
each decider; what the file states is compared.
"""

import hashlib
from dataclasses import replace

import pytest

from stages.evaluation.conflicts.clashes import (
    apart,
    by_answers,
    by_judge,
    by_labels,
    by_scores,
    clashes_of,
)
from stages.evaluation.conflicts.conflict_atlas import ranks_of, stated_first
from stages.evaluation.conflicts.contests import cases_as_stated
from stages.principles.constitution import load
from stages.runtime.rows import Judgement, Pair, Rating, Verdict
from stages.statistics.intervals import Intervals
from tests.running import Seeded, run_steps, text_pipeline

PLANTED = "p0 > p1"


def liked(rule: str, response: str) -> float:
    """p0 likes a digest, p1 dislikes it, p3 likes it less strongly; p2 has its own taste."""
    salt = "other" if rule == "2" else ""
    digest = hashlib.sha256(f"{salt}{response}".encode()).digest()[0] / 255
    return digest * {"0": 3, "1": -1, "2": 3, "3": 2}[rule]


def scripted_judge():
    def scores(messages, options):
        text = messages[-1]["content"]
        rule = text.split("rule number ")[-1][0]
        first, second = text.split("Response A:")[-1].split("Response B:")
        marks = [part[part.rindex("<") : part.rindex(">")] for part in (first, second)]
        return [liked(rule, mark) for mark in marks]

    return Seeded(scores=scores)


def atlas_of(folder, weights):
    steps = text_pipeline(folder, prompts=40)
    del steps["revisions"]
    (folder / "set.yaml").write_text(
        "name: test-set\nprinciples:\n"
        + "".join(
            f"  - {{id: p{i}, text: The response keeps rule number {i}., weight: {weight}}}\n"
            for i, weight in enumerate(weights)
        )
    )
    steps["atlas"] = {
        "stage": "conflict_atlas",
        "inputs": {"judge": "judgements", "labels": "pairs"},
        "constitution": {"name": str(folder / "set.yaml")},
        "resamples": 100,
    }
    steps["report"] = {"stage": "report", "inputs": {"atlas": "atlas"}}
    return run_steps(steps, folder, scripted_judge())[1]


def test_a_planted_conflict_is_found_and_nothing_else(tmp_path):
    done = atlas_of(tmp_path, weights=(1, 2, 1, 1))
    metrics = done["atlas"].metrics
    found = [pair for pair, each in metrics["apart"].items() if each["where"]]
    assert found == ["p0 > p1", "p1 > p3"], "p3 is of p0's opinion"
    judge = metrics["deciders"]["judge"]
    assert judge["pairs"][PLANTED]["value"] == 1, "p0 has the larger margin in each conflict"
    assert judge["verdicts"][PLANTED] == "against the file"
    assert judge["verdicts"]["p1 > p3"] == "against the file"
    assert metrics["stated"] == {
        "p0 > p1": "second",
        "p0 > p2": "",
        "p0 > p3": "",
        "p1 > p2": "first",
        "p1 > p3": "first",
        "p2 > p3": "",
    }
    assert judge["agreement"] < 0
    requests = sum(judge["pairs"][pair]["n"] for pair in ("p0 > p1", "p1 > p2", "p1 > p3"))
    assert 0 < judge["cases"]["n"] <= min(requests, 40)
    assert judge["cases"]["high"] < 0.5 and judge["verdict"] == "against the file"
    assert metrics["deciders"]["labels"]["what"] == "labels"
    page = (done["report"].directory / "report.html").read_text()
    assert "Which principle wins" in page and "against the file" in page


def cell(principle, ab, ba=None, prompt="q", kind="crime", pair="x|y"):
    x, y = pair.split("|")
    return Judgement(
        id=f"{pair}/{principle}",
        pair_id=pair,
        response_a_id=x,
        response_b_id=y,
        prompt_id=prompt,
        kind=kind,
        prompt=[],
        response_a="one",
        response_b="other",
        principle=principle,
        margin_ab=ab,
        margin_ba=ab if ba is None else ba,
        model="m",
    )


def test_deciders_by_hand():
    """q: p0 wants x (by 2), p1 wants y (by 1); a cell that depends on the order has no say."""
    clashes = clashes_of([cell("p0", 2.0), cell("p1", -1.0), cell("p2", 1.0, -1.0)])
    assert [clash.pair for clash in clashes] == [PLANTED]
    assert by_judge(clashes) == {PLANTED: {"q": 1.0}}
    rating = Rating(
        id="", response_id="x", prompt_id="q", kind="", prompt=[], response="one", score=0.0,
        principles=[], negated=[], scores=[], model="m",
    )  # fmt: skip
    higher = replace(rating, response_id="y", response="other", score=1.0)
    assert by_scores(clashes, [rating, higher]) == {PLANTED: {"q": 0.0}}
    assert by_scores(clashes, [rating]) == {}
    pair = Pair(
        id="", prompt_id="q", chosen_id="y", rejected_id="x", kind="", prompt=[], chosen="other",
        rejected="one", label=0.75, margin=1.0,
    )  # fmt: skip
    assert by_labels(clashes, [pair]) == {PLANTED: {"q": 0.25}}


def test_cases_as_stated_by_hand():
    """q1 goes as stated in one of its two pairs; c > d has no stated order; Wilson's interval."""
    groups = {
        "a > b": {"q1": 1.0, "q2": 1.0, "q3": 0.0},
        "b > c": {"q1": 1.0, "q4": 0.0},
        "c > d": {"q5": 1.0},
    }
    stated = {"a > b": "first", "b > c": "second", "c > d": ""}
    estimate = cases_as_stated(groups, stated, Intervals(100, 0.95, 0))
    assert estimate["n"] == 4 and estimate["value"] == pytest.approx((0.5 + 1 + 0 + 1) / 4)
    z2 = 1.959964**2
    middle = (0.625 + z2 / 8) / (1 + z2 / 4)
    half = (z2 * (0.625 * 0.375 / 4 + z2 / 64)) ** 0.5 / (1 + z2 / 4)
    assert (estimate["low"], estimate["high"]) == pytest.approx((middle - half, middle + half))
    nothing = cases_as_stated(groups, dict.fromkeys(stated, ""), Intervals(100, 0.95, 0))
    assert nothing is None


def test_policies_decide_only_where_principles_pull_apart():
    rows = []
    for i in range(20):
        rows += [cell("p0", 1.0, prompt=f"c{i}", pair=f"x{i}|y{i}")]
        rows += [cell("p1", -1.0, prompt=f"c{i}", pair=f"x{i}|y{i}")]
        rows += [cell("p0", 1.0, prompt=f"h{i}", kind="how", pair=f"v{i}|w{i}")]
        rows += [cell("p1", 1.0, prompt=f"h{i}", kind="how", pair=f"v{i}|w{i}")]
    found = apart(clashes_of(rows), 0.95)
    assert found[PLANTED].where == ["crime"]
    assert found[PLANTED].everywhere.value == pytest.approx(0.5)

    def verdict(kind, broken, prompt):
        return Verdict(
            id="", response_id="", prompt_id=prompt, policy="base", kind=kind, prompt=[],
            response="", principles=["p0", "p1"], violated=list(broken), judged=[],
            any_violation=None, well_formed=None, on_topic=None, evasive=None, helpful=None,
        )  # fmt: skip

    answers = [
        verdict("crime", (False, True), "a"),
        verdict("crime", (True, True), "b"),
        verdict("how", (True, False), "c"),
    ]
    assert by_answers(found, answers) == {"base": {PLANTED: {"a": 1.0}}}


def test_what_a_file_states(tmp_path):
    """Authority goes before weight, weight before a target."""
    (tmp_path / "set.yaml").write_text(
        "name: t\nprinciples:\n"
        "  - {id: a, text: Be a., dimension: a, authority: user, weight: 9}\n"
        "  - {id: b, text: Be b., dimension: b, authority: root}\n"
        "  - {id: c, text: Be c., dimension: c, weight: 2}\n"
        "  - {id: d, text: Be d., dimension: d}\n"
        "  - {id: e, text: Be e., dimension: e}\n"
        "targets:\n  mine: {a: 0, b: 0, c: 0, d: -1, e: 1}\n"
    )
    constitution = load(str(tmp_path / "set.yaml"))
    ranks = ranks_of(constitution, "mine")
    firsts = {pair: stated_first(pair, ranks) for pair in ("a > b", "a > c", "c > e", "d > e")}
    assert firsts == {"a > b": "second", "a > c": "first", "c > e": "first", "d > e": "second"}
    plain = ranks_of(constitution, None)
    assert stated_first("d > e", plain) == "" and stated_first("a > unknown", plain) == ""
