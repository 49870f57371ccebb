"""Distances of policies from targets: by hand, with the confusion of several, and tripwires."""

import pytest

from stages.guards.errors import UserError
from stages.runtime.rows import Rating
from tests.preferences.matrices import artifact, run_stage
from tests.values.rated import rated, two_values

REQUESTS = [f"q{number}" for number in range(40)]


def policy(scores, **more):
    return [rated("x", [scores[0], scores[0], scores[1]], request, **more) for request in REQUESTS]


def measure(root, policies, **options):
    inputs = {name: artifact(root, name, rows, Rating) for name, rows in policies.items()}
    options = {"constitution": two_values(root), "target": "calm"} | options
    return run_stage("value_distance", inputs, options)


def test_distance_profile_and_what_is_left_unsaid(tmp_path):
    silent = policy([0, 0], response="I cannot help with that")
    result = measure(tmp_path, {"base": silent, "policy": policy([0.8, -0.6])})
    distances = result.metrics["distances"]
    assert distances["models"]["base"]["calm"]["value"] == pytest.approx(2)
    assert distances["models"]["policy"]["calm"]["value"] == pytest.approx(0.6)
    change = distances["differences"]["policy"]["calm"]
    assert change["value"] == pytest.approx(-1.4) and change["high"] < 0 and change["n"] == 40
    profile = result.metrics["profile"]["models"]["policy"]
    assert {name: each["value"] for name, each in profile.items()} == pytest.approx(
        {"care": 0.8, "power": -0.6}
    )
    signs = result.metrics["signs"]["models"]
    assert [signs[name]["silent dimensions"]["value"] for name in signs] == [1, 0]
    assert [signs[name]["refusals"]["value"] for name in signs] == [1, 0]
    assert result.metrics["of_profiles"]["policy"]["calm"] == pytest.approx(0.6)
    assert "likelihood" not in result.metrics
    cells = {row[0]: row[2] for table in result.tables for row in table.rows}
    assert cells["care"].startswith("0.80 ["), "a score within [0, 1] is no share"
    assert cells["refusals"].startswith("0.0 [")


def test_the_confusion_of_two_opposed_targets(tmp_path):
    policies = {
        "base": policy([0, 0]),
        "calm": policy([0.5, -0.5]),
        "moved": policy([-0.5, 0.5]),
    }
    result = measure(tmp_path, policies, against=["bold"], aimed={"moved": "bold"})
    confusion = result.metrics["confusion"]
    assert confusion["calm"]["nearest"] and confusion["calm"]["clearly"]
    assert confusion["bold"]["policy"] == "moved" and confusion["bold"]["clearly"]
    assert confusion["bold"]["differences"]["calm"]["value"] == pytest.approx(-2)
    assert "nearest, clearly" in result.tables[-1].rows[1][1]
    written = {"bold": {"care": -1, "power": 1}}
    again = measure(tmp_path / "a", policies, against=written, aimed={"moved": "bold"})
    assert again.metrics == result.metrics
    swapped = {**policies, "calm": policies["moved"], "moved": policies["calm"]}
    wrong = measure(tmp_path / "b", swapped, against=["bold"], aimed={"moved": "bold"})
    assert not wrong.metrics["confusion"]["calm"]["nearest"]


def test_a_policy_that_is_equal_to_another_is_not_clearly_nearest(tmp_path):
    same = {"base": policy([0.5, -0.5]), "calm": policy([0.5, -0.5])}
    confusion = measure(tmp_path, same).metrics["confusion"]["calm"]
    assert confusion["nearest"] and not confusion["clearly"]


def test_groups_with_targets_of_their_own(tmp_path):
    rows = policy([1, -1], kind="old")[:20] + policy([-1, 1], kind="young")[20:]
    result = measure(tmp_path, {"base": rows}, targets={"young": "bold"}, against=["calm"])
    distances = result.metrics["distances"]["models"]["base"]
    assert distances["own target"]["value"] == 0
    assert distances["calm"]["value"] == pytest.approx(2)


def test_faults(tmp_path):
    rows = {"base": policy([0, 0])}
    with pytest.raises(UserError, match="aimed: there is no policy 'bse'"):
        measure(tmp_path, rows, aimed={"bse": "calm"})
    with pytest.raises(UserError, match="there is no target 'clam'"):
        measure(tmp_path / "b", rows, against=["clam"])
    partly = [rated("x", [1], principles=["power"])]
    with pytest.raises(UserError, match="no answer has a score for each dimension"):
        measure(tmp_path / "c", {"base": partly})


def test_another_length_is_said(tmp_path):
    long = policy([0.1, -0.1], response="one two three four five six seven eight")
    short = policy([0.8, -0.6], response="one two")
    alike = policy([0.8, -0.6], response="one two three four five six seven eight nine")
    result = measure(tmp_path, {"base": long, "short": short, "alike": alike})
    words = result.metrics["length"]["models"]
    assert [words[name]["words"]["value"] for name in words] == [8, 2, 9]
    (warning,) = result.warnings
    assert warning.startswith("the answers of short have 2.0 words, those of base 8.0")


def test_less_likely_answers_are_said():
    from stages.evaluation.values.value_distance import doubt_form

    length = {"models": {"base": {"words": {"value": 9.0}}}}
    changes = {
        "apart": {"nats a token": {"value": 1.09, "low": 0.91, "high": 1.28}},
        "a little": {"nats a token": {"value": 0.1, "low": 0.05, "high": 0.2}},
        "unclear": {"nats a token": {"value": 0.9, "low": -0.1, "high": 1.9}},
        "likelier": {"nats a token": {"value": -0.9, "low": -1.1, "high": -0.5}},
    }
    metrics = {"length": length, "likelihood": {"differences": changes}}
    (warning,) = doubt_form(metrics)
    assert warning.startswith("the answers of apart are 1.09 nats a token less likely")
