"""What stands at the top of an evaluation: every sentence, and no rate that cannot be carried."""

import pytest

from stages.evaluation.instrument.verdict import ABLE, DEBIASED, NOT_ABLE, UNDECIDED
from stages.report.evidence.effects import evaluation_view, violations_headline
from stages.report.evidence.instrument import remarks_on_judge
from stages.statistics.intervals import Intervals
from tests.evaluation.fakes import plain

INTERVALS = Intervals(200, 0.95, 0)
CANNOT = "The judge cannot tell whether violations changed: "
MEASURES = ("any_violation", "violation_probability", "evasive")
MISSING = (
    "any_violation_judge",
    "well_formed",
    "on_topic",
    "evasive_red_team",
    "evasive_benign",
    "helpful_benign",
    "refused_red_team",
    "refused_benign",
    "follows_helpful",
)


def values(share: float, count: int = 100) -> dict[str, float]:
    return {f"p{i}": float(i < share * count) for i in range(count)}


def metrics(before=0.6, after=0.2, by="judge", judge=None, corrected=None, policies=2) -> dict:
    """Two policies by the judge: violations from `before` to `after`."""
    shares = {"base": values(before), "tuned": values(after)}
    named = dict(list(shares.items())[:policies])
    facts = {}
    for name, rates in named.items():
        measures = {measure: INTERVALS.estimate(rates) for measure in MEASURES}
        facts[name] = {
            "responses": 100,
            "prompts": 100,
            "dropped": 0,
            "words": INTERVALS.estimate({"p0": 9.0, "p1": 11.0}, are_shares=False),
            "measures": measures | dict.fromkeys(MISSING),
            "principles": {},
        }
    changes = {m: INTERVALS.difference(shares["base"], shares["tuned"]) for m in MEASURES}
    change = {"words": None, "measures": changes | dict.fromkeys(MISSING), "principles": {}}
    return plain(
        {
            "measured_by": by,
            "counted": ["harm"],
            "not_counted": ["helpful"],
            "confidence": 0.95,
            "side_by_side": False,
            "policies": facts,
            "differences": {"tuned": {"base": change}} if policies == 2 else {},
            "win_rates": {},
            "judge": judge or {},
            "corrected": corrected,
        }
    )


def judge(verdict=ABLE, leans_to=None, origin="even odds", yes=0.5, trained=False) -> dict:
    """What `describe_judge` says of a judge; without a verdict it was not examined."""
    form = {"verdict": verdict, "reasons": ["first reason", "second"], "advice": []}
    examination = {"yes_no": form, "choices": form | {"verdict": ABLE}}
    examination |= {"leans_to": leans_to, "same_judge": True}
    thresholds = {"even odds": [0.5], "examination": [0.982], "labels": [0.3, 0.4, 0.3, 0.3, 0.3]}
    return {
        "model": "m",
        "examination": examination if verdict else None,
        "answers": {"yes": yes, "n": 300},
        "trained": trained,
        "thresholds": thresholds[origin],
        "threshold_from": origin,
    }


def sentence(**facts) -> str:
    return violations_headline(metrics(**facts))["sentence"]


@pytest.mark.parametrize("verdict", [ABLE, DEBIASED])
def test_a_judge_that_can_tell_may_state_rates(verdict):
    assert sentence(judge=judge(verdict)) == "Violations fell from 60.0 % to 20.0 %"
    assert sentence(judge=judge(verdict), before=0.2, after=0.6).startswith("Violations rose from")
    same = sentence(judge=judge(verdict), before=0.3, after=0.32)
    assert same == "Violations did not measurably change: from 30.0 % to 32.0 %"
    alone = sentence(judge=judge(verdict), policies=1)
    assert alone == "60.0 % of the responses break a principle"
    saturated = judge(verdict, yes=0.99)
    assert sentence(judge=saturated).startswith("Violations fell"), "few break a single principle"
    shown = violations_headline(metrics(judge=judge(verdict)))
    assert "mean probability of a violation went from 60.0 to 20.0 % (−40.0" in shown["beside"]  # noqa: RUF001
    assert "evasive 60.0 to 20.0 %" in shown["beside"]


@pytest.mark.parametrize("verdict", [NOT_ABLE, UNDECIDED])
@pytest.mark.parametrize("policies", [1, 2])
def test_a_judge_that_is_not_shown_to_tell_states_none(verdict, policies):
    shown = violations_headline(metrics(judge=judge(verdict), policies=policies))
    assert shown["sentence"] == f"{CANNOT}it is {verdict}: first reason; second"
    assert shown["change"] is None and "%" not in shown["sentence"]
    by_truth = sentence(judge=judge(verdict), by="truth")
    assert by_truth == "Violations fell from 60.0 % to 20.0 %", "the ground truth is no judge"


def test_a_leaning_must_be_undone_before_a_rate_is_stated():
    leans = judge(DEBIASED, leans_to="No")
    assert sentence(judge=leans).startswith(f"{CANNOT}it leans to No (`calibration: when_biased`")
    for origin in ("examination", "labels"):
        moved = judge(DEBIASED, leans_to="No", origin=origin)
        assert sentence(judge=moved) == "Violations fell from 60.0 % to 20.0 %"


@pytest.mark.parametrize(("yes", "word"), [(0.99, "Yes"), (0.01, "No")])
def test_without_an_examination_only_one_answer_to_everything_is_refused(yes, word):
    assert sentence(judge=judge(None)).startswith("Violations fell")
    doubted = sentence(judge=judge(None, yes=yes))
    assert doubted.startswith(f"{CANNOT}it answers {word} to 99.0 % of 300 questions")
    assert sentence().startswith("Violations fell"), "metrics without facts about a judge"


def corrected(value: float, half: float = 0.1, source: str = "people") -> dict:
    estimate = {"low": value - half, "high": value + half, "n": 100, "labels": 60, "power": 0.7}
    rates = {name: {"ppi": estimate | {"value": value}} for name in ("base", "tuned")}
    change = {"tuned": {"base": {"ppi": estimate | {"value": value}}}}
    question = {"rates": rates, "differences": change}
    return {"source": source, "questions": {"any": question}}


@pytest.mark.parametrize("verdict", [ABLE, NOT_ABLE, None])
def test_labels_carry_what_the_judge_alone_cannot(verdict):
    facts = {"judge": judge(verdict)}
    fell = violations_headline(metrics(corrected=corrected(-0.3), **facts))
    by = "corrected by 60 labels of people"
    assert fell["sentence"] == f"Violations fell by 30.0 points, {by}"
    assert fell["change"]["tone"] == "better" and fell["n"] == 100
    rose = sentence(corrected=corrected(0.3, source="truth"), **facts)
    assert rose == "Violations rose by 30.0 points, corrected by 60 labels of the ground truth"
    same = sentence(corrected=corrected(0.05), **facts)
    assert same == f"Violations did not measurably change, {by}"
    alone = sentence(corrected=corrected(0.3), policies=1, **facts)
    assert alone == f"30.0 % of the responses break a principle (20.0 to 40.0 %), {by}"
    view = evaluation_view("e", metrics(corrected=corrected(-0.3), **facts), {})
    assert view["by"].startswith("the judge and labels")


def test_labels_that_are_too_few_leave_the_judge_alone():
    few = corrected(-0.3)
    few["questions"]["any"]["differences"]["tuned"]["base"]["ppi"] = None
    few["questions"]["any"]["rates"]["base"]["ppi"] = None
    assert sentence(judge=judge(ABLE), corrected=few) == "Violations fell from 60.0 % to 20.0 %"
    assert sentence(judge=judge(NOT_ABLE), corrected=few).startswith(CANNOT)
    alone = sentence(judge=judge(NOT_ABLE), corrected=few, policies=1)
    assert alone.startswith(CANNOT)


def remarks(**facts) -> str:
    by = facts.pop("by", "judge")
    return ". ".join(remarks_on_judge(metrics(judge=judge(**facts), by=by)))


def test_what_stands_beside_the_headline():
    assert remarks() == "The judge was examined: Yes or No able, choices able"
    assert "Yes or No usable when debiased, choices able" in remarks(verdict=DEBIASED)
    unexamined = remarks(verdict=None)
    assert unexamined == "The judge was not examined: its rates may mean nothing"
    assert remarks(verdict=None, by="truth") == "The judge was not examined"
    moved = remarks(verdict=DEBIASED, leans_to="No", origin="examination")
    assert "It leans, so a violation is counted where its probability is above 98.20 %" in moved
    by_labels = remarks(origin="labels")
    assert "By labels, a violation is counted" in by_labels and "30.00 to 40.00 %" in by_labels
    other = judge()
    other["examination"]["same_judge"] = False
    assert remarks_on_judge(metrics(judge=other)) == [
        "The examination is about another model than the judge"
    ]
    assert remarks_on_judge(metrics()) == []


def test_whether_the_judge_also_trained_the_policies():
    assert remarks(trained=True).endswith(
        "The same judge labelled what the policies learnt from: they may have learnt to please it"
    )
    assert "learnt from" not in remarks(trained=False)
    assert "is not known" in remarks(trained=None)
