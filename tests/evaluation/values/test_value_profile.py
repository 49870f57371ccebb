"""Stage `value_profile`: a model that was steered to a value, what moved with it, and the page."""

import itertools
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


def rated(folder, name, shift=(), words=6, count=60, kinds=("",), inputs=None):
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
    result = Result(rows=rows, row_type=Rating)
    return artifact(folder, name, result, stage="score", inputs=inputs)


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


def rated_policy(folder, name, shift, facts, evaluator):
    """Ratings, by an evaluator that is a training too, of the answers of a model."""
    policy = artifact(folder, f"{name}-model", Result(metrics=facts), stage="sft")
    answers = artifact(folder, f"{name}-answers", Result(), inputs={"model": policy})
    inputs = {"model": evaluator, "answers": answers}
    return policy, rated(folder, name, [("power", shift)], inputs=inputs)


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


@pytest.fixture(scope="module")
def drifting(tmp_path_factory):
    """A base, three snapshots in another order, the end of their training, and another model."""
    folder = tmp_path_factory.mktemp("drift")
    evaluator = artifact(folder, "evaluator", Result(metrics={"steps": 77}), stage="rule_model")
    end, policy = rated_policy(folder, "policy", 0.6, {"steps": 40}, evaluator)
    inputs = {"base": rated_policy(folder, "base", 0.0, {"steps": 90}, evaluator)[1]}
    inputs["policy"] = policy
    inputs["other"] = rated_policy(folder, "other", 0.1, {"steps": 40, "x": 1}, evaluator)[1]
    for step in (30, 10, 20):
        facts = {"training_step": step, "training": end.fingerprint}
        name = f"snapshot_{step}"
        inputs[name] = rated_policy(folder, name, step / 100, facts, evaluator)[1]
    return measured(folder, inputs, target={"power": 0.9}, asked={"policy": "target"})


def test_snapshots_of_a_training_stand_at_their_steps(drifting):
    metrics = plain(drifting.metrics)
    assert metrics["drift"]["steps"] == {
        "base": 0,
        "snapshot_10": 10,
        "snapshot_20": 20,
        "snapshot_30": 30,
        "policy": 40,
    }
    power = {name: one["power"] for name, one in metrics["drift"]["models"].items()}
    start = power["base"]["value"]
    for step in (10, 20, 30):
        score = power[f"snapshot_{step}"]
        assert score["value"] == pytest.approx(start + step / 100)
        assert score["low"] < score["value"] < score["high"] and score["n"] == 60
    assert list(metrics["profile"]["models"]) == ["base", "policy", "other"]
    assert list(metrics["effects"]) == ["policy", "other"], "no column for a snapshot"
    assert list(metrics["fit"]) == ["base", "policy", "other"]


def test_the_page_draws_the_drift_by_step(drifting):
    view = value_profile_view("values", plain(drifting.metrics))
    assert view["by_step"] and [one["name"] for one in view["models"]] == [
        "base",
        "policy",
        "other",
    ]
    drawing = next(one["drawing"] for one in view["drifts"] if one["name"] == "power")
    tree = ElementTree.fromstring(drawing)
    dots = [one for one in tree if one.get("class") == "dot"]
    places = [float(one.get("cx")) for one in dots]
    gaps = [after - before for before, after in itertools.pairwise(places)]
    assert len(dots) == 5 and max(gaps) - min(gaps) < 0.5 and min(gaps) > 0
    assert {"0", "40"} <= {one.text for one in tree if one.tag == "text"}
    assert [one.get("style") for one in dots].count("fill:var(--soft)") == 3
    heights = [float(one.get("cy")) for one in dots]
    assert heights == sorted(heights, reverse=True), "the value rises"
    assert "stroke-dasharray" in drawing, "the target"
    lines = [one for one in ElementTree.fromstring(view["circle"]) if one.get("class") == "profile"]
    assert len(lines) == 4, "three models and the target, and no snapshot"


def test_snapshots_of_two_trainings_are_models_like_any_other(tmp_path):
    evaluator = artifact(tmp_path, "evaluator", Result(), stage="rule_model")
    inputs = {"base": rated(tmp_path, "base")}
    for training in ("a", "b"):
        facts = {"training_step": 5, "training": training}
        inputs[training] = rated_policy(tmp_path, training, 0.1, facts, evaluator)[1]
    metrics = measured(tmp_path, inputs).metrics
    assert metrics["drift"] == {} and list(metrics["profile"]["models"]) == ["base", "a", "b"]
