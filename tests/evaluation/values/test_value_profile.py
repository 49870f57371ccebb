"""Stage `value_profile`: a model that was steered to a value, what moved with it, and the page."""

import random
from xml.etree import ElementTree

import pytest

from stages.evaluation.values import value_profile
from stages.evaluation.values.value_profile import Config
from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.principles.select import Selection
from stages.report.evidence.circumplex import circumplex, drift
from stages.report.evidence.value_profile import value_profile_view
from stages.runtime.artifacts import Result
from stages.runtime.rows import Rating, Verdict
from tests.evaluation.fakes import artifact, context, plain

THEORY = Selection(name="schwartz")
CIRCLE = load("schwartz").theory.circle


def rated(folder, name, shift=(), words=6, count=60, kinds=("",)):
    """Answers around 0; those dimensions in `shift` are higher by that much."""
    rng = random.Random(7)
    rows = []
    for i in range(count):
        scores = [rng.uniform(-0.4, 0.4) + dict(shift).get(one, 0.0) for one in CIRCLE]
        rows.append(
            Rating(
                id=f"q{i}",
                response_id=f"q{i}-0",
                prompt_id=f"q{i}",
                kind=kinds[i % len(kinds)],
                prompt=[],
                response=" ".join(["word"] * (words + i % 3)),
                score=0.0,
                principles=list(CIRCLE),
                negated=[False] * len(CIRCLE),
                scores=scores,
                model="evaluator",
            )
        )
    return artifact(folder, name, Result(rows=rows, row_type=Rating), stage="score")


def verdicts(folder, policies):
    """(policy, evasive)."""
    rows = []
    for policy, evasive in policies:
        for i in range(60):
            rows.append(
                Verdict(
                    id=f"{policy}{i}",
                    response_id="",
                    prompt_id=f"q{i}",
                    policy=policy,
                    kind="",
                    prompt=[],
                    response="",
                    principles=[],
                    violated=[],
                    judged=[],
                    any_violation=None,
                    well_formed=None,
                    on_topic=None,
                    evasive=evasive,
                    helpful=None,
                )
            )
    return artifact(folder, "evaluation", Result(rows=rows, row_type=Verdict), stage="evaluate")


def measured(folder, inputs, **options):
    config = Config(constitution=THEORY, resamples=200, **options)
    value_profile.check(config)
    with context(folder) as here:
        return value_profile.run(config, inputs, here)


@pytest.fixture(scope="module")
def steered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    inputs = {
        "base": rated(folder, "base"),
        "step-100": rated(folder, "step-100", [("power", 0.2)]),
        "power": rated(folder, "power", [("power", 0.5), ("benevolence", -0.3)], words=9),
        "evaluation": verdicts(folder, [("base", False), ("power", True), ("other", True)]),
    }
    asked = {"power": "power", "step-100": "-power"}
    return measured(folder, inputs, target="ideal", asked=asked)


def test_asked_for_one_moved_another(steered):
    effects = plain(steered.metrics)["effects"]
    moved = {name: one["verdict"] for name, one in effects["power"].items()}
    assert {name: each for name, each in moved.items() if each != "not moved"} == {
        "power": "as asked",
        "benevolence": "moved",
        "words": "moved",
        "evasive": "moved",
    }
    assert effects["power"]["power"]["value"] == pytest.approx(0.5)
    assert effects["power"]["words"]["value"] == pytest.approx(3)
    assert effects["step-100"]["power"]["verdict"] == "against", "less of it was asked for"
    assert "evasive" not in effects["step-100"], "no verdict is about it"
    fit = steered.metrics["fit"]
    assert fit["power"]["distance"] > fit["base"]["distance"]
    assert 0 <= fit["power"]["direction"] < 360


def test_a_named_target_asks_for_every_sign(tmp_path):
    inputs = {
        name: rated(tmp_path, name, shift) for name, shift in (("a", ()), ("b", [("power", 1)]))
    }
    metrics = measured(tmp_path, inputs, asked={"b": "ideal"}).metrics
    target = load("schwartz").targets["ideal"]
    asked = {name: one["asked"] for name, one in metrics["effects"]["b"].items() if one["asked"]}
    assert asked == {name: 1 if number > 0 else -1 for name, number in target.items() if number}


def test_a_target_of_numbers_and_one_that_is_asked_for(tmp_path):
    inputs = {"a": rated(tmp_path, "a"), "b": rated(tmp_path, "b", [("power", -1)])}
    done = measured(tmp_path, inputs, target={"power": -1.0}, asked={"b": "target"})
    target = done.metrics["target"]
    assert target["values"] == dict.fromkeys(CIRCLE, 0.0) | {"power": -1.0}
    assert done.metrics["effects"]["b"]["power"]["verdict"] == "as asked"
    assert done.metrics["effects"]["b"]["power"]["asked"] == -1
    asked = [one for one in done.metrics["effects"]["b"].values() if one["asked"]]
    assert len(asked) == 1


def test_groups_are_drawn_beside_the_mean_of_their_targets(tmp_path):
    kinds = ("uk", "france", "uk")
    inputs = {name: rated(tmp_path, name, kinds=kinds) for name in ("base", "policy")}
    done = measured(tmp_path, inputs, asked={"policy": "target"})
    uk, france = (load("schwartz").targets[name] for name in ("uk", "france"))
    mean = {name: (40 * uk[name] + 20 * france[name]) / 60 for name in CIRCLE}
    assert done.metrics["target"]["values"] == pytest.approx(mean)
    assert done.metrics["target"]["name"] == "the mean of the targets of uk, france"
    assert "each group counts by its requests" in done.warnings[0]
    opposed = {"uk": {"power": 1.0, "security": 1.0}, "france": {"power": -1.0}}
    effects = measured(
        tmp_path, inputs, target="ideal", targets=opposed, asked={"policy": "target"}
    ).metrics["effects"]["policy"]
    assert {name: one["asked"] for name, one in effects.items() if one["asked"]} == {"security": 1}


def test_kinds_that_name_no_target_have_none(tmp_path):
    inputs = {name: rated(tmp_path, name, kinds=("uk", "x")) for name in ("base", "policy")}
    assert measured(tmp_path, inputs).metrics["target"] is None
    with pytest.raises(UserError, match="kinds of requests name none: uk, x"):
        measured(tmp_path, inputs, asked={"policy": "target"})


def test_what_cannot_be_is_refused(tmp_path):
    base = rated(tmp_path, "base")
    with pytest.raises(UserError, match="asked"):
        measured(tmp_path, {"base": base}, asked={"base": "powr"})
    with pytest.raises(UserError, match="idea"):
        measured(tmp_path, {"base": base}, target="idea")
    with pytest.raises(UserError, match="no value scores"):
        measured(tmp_path, {"evaluation": verdicts(tmp_path, [("base", True)])})
    with pytest.raises(UserError, match="score for each dimension"):
        config = Config(constitution=Selection(name="gert"))
        with context(tmp_path) as here:
            value_profile.run(config, {"base": base}, here)


def test_a_survey_keeps_its_scale(tmp_path):
    scores = {
        name: {"value": i - 4.5, "low": i - 5.0, "high": i - 4.0, "n": 3}
        for i, name in enumerate(CIRCLE)
    }
    change = {
        name: {**one, "p_adjusted": 0.2, "verdict": "not moved"} for name, one in scores.items()
    }
    facts = {
        "confidence": 0.95,
        "models": {"base": {"scores": scores}, "tuned": {"scores": scores}},
        "differences": {"tuned": change},
    }
    survey = artifact(tmp_path, "survey", Result(metrics=facts), stage="survey")
    done = measured(tmp_path, {"survey": survey}, target="ideal")
    assert done.metrics["fit"]["base"]["distance"] is None
    assert -1 <= done.metrics["fit"]["base"]["correlation"] <= 1
    view = value_profile_view("values", done.metrics)
    assert not view["is_drawn"] and "stroke-dasharray" not in view["circle"]


def test_the_drawings(steered):
    view = value_profile_view("values", plain(steered.metrics))
    circle = ElementTree.fromstring(view["circle"])
    lines = [one for one in circle if one.get("class") == "profile"]
    assert len(lines) == 4, "three models and the target"
    words = {one.text for one in circle if one.tag == "text"}
    assert set(CIRCLE) <= words
    assert len(view["drifts"]) == 10
    for one in view["drifts"]:
        ElementTree.fromstring(one["drawing"])
    line = next(one for one in view["lines"] if one["name"] == "power")
    assert [cell["asked"] for cell in line["cells"]] == ["less", "more"]


def test_drawings_of_few_many_and_endless_numbers():
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    names = [f"d{i}" for i in range(40)]
    assert circumplex(names[:2], {}, {"m": dict.fromkeys(names, score)}, None) == ""
    assert circumplex(names, {}, {"m": dict.fromkeys(names, score)}, None) == ""
    hostile = ["<b>", "&", "\x00"]
    ElementTree.fromstring(circumplex(hostile, {}, {"<m>": dict.fromkeys(hostile, score)}, None))
    endless = {"value": 3.0, "low": float("-inf"), "high": float("inf")}
    ElementTree.fromstring(drift("<d>", ["a", "b"], [endless, score], None, (-1, 1)))
