"""Targets by name, mixed, and from files of survey means."""

import json

import pytest

from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.values.targets import find_target, mix_targets, read_target, resolve_target
from stages.values.theory import theory_of
from tests.values.test_theory import build

SCHWARTZ = theory_of(load("schwartz"))
TWO = theory_of(build("self-direction", "power", targets={"a": {"self-direction": 1, "power": 0}}))
EXPECTED = {"self-direction": pytest.approx(0.652), "power": -1.0}


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_targets_of_the_published_code():
    ideal = find_target(SCHWARTZ, "ideal")
    assert SCHWARTZ.vector(ideal) == [0, 0, 0, 1, 0, 1, 0, 1, 1, 1]
    assert SCHWARTZ.vector(find_target(SCHWARTZ, "safety")) == [0, 0, 0, 0, 0, 1, 0, 1, 0, 0]
    assert find_target(SCHWARTZ, "uk")["benevolence"] == 0.652


def test_a_misspelt_target_gets_a_suggestion():
    with pytest.raises(UserError, match=r"no target .frnace.\. Did you mean 'france'"):
        find_target(SCHWARTZ, "frnace")


def test_mixed_targets_are_weighted_means():
    mixed = mix_targets(SCHWARTZ, {"ideal": 3, "safety": 1})
    assert mixed["achievement"] == 0.75 and mixed["security"] == 1.0 and mixed["power"] == 0.0
    assert mix_targets(SCHWARTZ, {"uk": 0.1}) == pytest.approx(SCHWARTZ.targets["uk"])
    for shares in ({}, {"uk": 0}, {"uk": 2, "france": -1}, {"uk": float("inf")}):
        with pytest.raises(UserError, match="no weights of targets"):
            mix_targets(SCHWARTZ, shares)
    with pytest.raises(UserError, match="Did you mean 'uk'"):
        mix_targets(SCHWARTZ, {"ukk": 1})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("long.csv", "dimension,mean\nSelf-Direction,5.13\nPOWER,1\n"),
        ("long.tsv", "mean\tvalue\n5.13\tself_direction\n1\tpower\n"),
        ("long_sd.csv", "dimension,sd,mean\nself-direction,0.8,5.13\npower,0.7,1\n"),
        ("wide.csv", "Self direction;Power;respondents\n5.13;1;2000\n"),
        ("flat.yaml", "self-direction: 5.13\npower: 1\n"),
        ("one.yml", "UK: {self-direction: 5.13, power: 1}\n"),
        ("flat.json", {"self-direction": 5.13, "power": 1}),
        ("list.json", [{"value": "power", "mean": 1}, {"value": "self-direction", "mean": 5.13}]),
    ],
)
def test_every_form_of_file_gives_the_same_target(tmp_path, name, content):
    path = write(tmp_path, name, content)
    assert read_target(TWO, path) == EXPECTED
    assert resolve_target(TWO, str(path)) == EXPECTED


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("wide.csv", "country,self-direction,power\nUK,5.13,1\nFR,4,4\n"),
        (
            "long.csv",
            "c,d,m\nUK,self-direction,5.13\nUK,power,1\nFR,power,4\nFR,self-direction,4\n",
        ),
        ("turned.csv", "d,c,m\nself-direction,UK,5.13\npower,FR,4\npower,UK,1\n"),
        ("groups.yaml", "UK: {self-direction: 5.13, power: 1}\nFR: {self-direction: 4}\n"),
    ],
)
def test_a_group_is_chosen_by_name(tmp_path, name, content):
    path = write(tmp_path, name, content)
    assert read_target(TWO, path, group="UK") == EXPECTED
    with pytest.raises(UserError, match="means of 2 groups"):
        read_target(TWO, path)
    with pytest.raises(UserError, match=r"no group .UKK.\. Did you mean 'UK'"):
        read_target(TWO, path, group="UKK")


def test_any_scale_maps_to_the_unit_also_a_reversed_one(tmp_path):
    path = write(tmp_path, "m.yaml", "self-direction: 0\npower: 100\n")
    assert read_target(TWO, path, 0, 100) == {"self-direction": -1.0, "power": 1.0}
    assert read_target(TWO, path, 100, 0) == {"self-direction": 1.0, "power": -1.0}
    for low, high in ((3, 3), (1, float("inf")), (float("nan"), 6)):
        with pytest.raises(UserError, match="no middle"):
            read_target(TWO, path, low, high)


@pytest.mark.parametrize(
    ("name", "content", "message", "line"),
    [
        ("a.yaml", "self-direction: 2\npwer: 3\n", "no dimension 'pwer'. Did you mean 'power'", 2),
        ("a.yaml", "self-direction: 2\npower: 7\n", "'power' is '7', not on the scale", 2),
        ("a.yaml", "self-direction: 2\npower: .nan\n", "'power' is 'nan', not on the scale", 2),
        ("a.yaml", "self-direction: 2\npower: high\n", "'high', not on the scale", 2),
        ("a.yaml", "self-direction: 2\npower: true\n", "'True', not on the scale", 2),
        ("a.yaml", "self-direction: 2\n", "no mean of power", None),
        ("a.yaml", "- 1\n- 2\n", "holds no means", 1),
        ("a.csv", "dimension,mean\npower,2\npower,3\n", "'power' has two means", 3),
        ("a.csv", "dimension,a,b\npower,2,3\n", "2 numbers in this record, and none is", 2),
        ("a.csv", "dimension,mean\npower,\nself-direction,2\n", "0 numbers in this record", 2),
        ("a.csv", "power,self-direction\n,2\n", "'power' is '', not on the scale", 2),
        ("a.csv", "dimension,mean\npowr,2\n", "no dimension 'powr'. Did you mean 'power'", 2),
    ],
)
def test_faults_of_a_file_have_their_lines(tmp_path, monkeypatch, name, content, message, line):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        read_target(TWO, write(tmp_path, name, content).name)
    assert caught.value.where == (f"{name}:{line}" if line else name)
    assert caught.value.fix


def test_all_faults_of_a_file_are_shown(tmp_path):
    path = write(tmp_path, "a.yaml", "self-direction: 9\npwer: 3\n")
    with pytest.raises(UserError, match="2 faults"):
        read_target(TWO, path)


def test_what_is_no_file_is_a_name():
    assert resolve_target(SCHWARTZ, "uk") == SCHWARTZ.targets["uk"]
    assert resolve_target(SCHWARTZ, {"uk": 1.0}) == pytest.approx(SCHWARTZ.targets["uk"])
    with pytest.raises(UserError, match="no target 'uk2'"):
        resolve_target(SCHWARTZ, "uk2")
