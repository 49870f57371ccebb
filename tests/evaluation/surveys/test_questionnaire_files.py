"""Questionnaires, opinions and people's answers as files: what is read, and what is dropped."""

import json
from pathlib import Path

import pytest

from stages.evaluation.surveys.opinions import WRONG_COUNT, read_opinions
from stages.evaluation.surveys.people import PeopleFile, read_people
from stages.evaluation.surveys.questionnaire import read_questionnaire
from stages.guards.errors import UserError
from tests.evaluation.surveys.answerers import by_item
from tests.evaluation.surveys.test_survey import FEW, ask, own_survey, write_items

STAND_IN = Path(__file__).resolve().parents[3] / "surveys" / "basic_values_stand_in.yaml"
HEAD = "question,selections,options,source\n"


def test_the_stand_in_says_that_it_is_one():
    survey = read_questionnaire(str(STAND_IN))
    assert "not validated" in survey.name and survey.theory == "schwartz" and survey.key.centred
    counts = {name: len(items) for name, items in survey.key.dimensions.items()}
    assert len(counts) == 10 and set(counts.values()) == {2} and survey.dropped == []


@pytest.mark.parametrize(
    "cells",
    [
        {"options": ["no", "perhaps", "yes"]},
        {"options": '["no", "perhaps", "yes"]', "numbers": "[1, 2, 3]"},
        {"options": {"no": 1, "perhaps": 2, "yes": 3}},
        {"options": "{'no': 1, 'perhaps': 2, 'yes': 3}"},
    ],
)
def test_options_in_any_notation(tmp_path, cells):
    survey = read_questionnaire(write_items(tmp_path, 2, dimension="care", **cells))
    assert survey.items[0].options == ("no", "perhaps", "yes")
    assert survey.items[0].numbers == (1, 2, 3)


def test_a_table_of_items(tmp_path):
    text = (
        "id,text,dimension,reversed\n1,One.,a,\n2,Two.,a,true\n3,,a,\n1,New.,a,\n4,Four.,a,maybe\n"
    )
    (tmp_path / "items.csv").write_text(text)
    survey = read_questionnaire(str(tmp_path / "items.csv"), "pairs")
    assert [item.id for item in survey.items] == ["1|2", "1|4", "2|4"]
    with pytest.raises(UserError, match="an item without options"):
        read_questionnaire(str(tmp_path / "items.csv"))
    (tmp_path / "items.yaml").write_text(
        "options: {never: 1, 'no': 2, always: 6}\nitems:\n"
        "- {text: One., dimension: a}\n- {text: Two., dimension: a, reversed: yes}\n- {text: ''}\n"
        "- {text: Four., dimension: a, reversed: maybe}\n"
        "- {text: Five., options: {no: 1, yes: 2}}\n"
    )
    survey = read_questionnaire(str(tmp_path / "items.yaml"))
    assert [item.numbers for item in survey.items] == [(1, 2, 6), (6, 5, 1)]
    assert survey.items[1].codes == (1, 2, 6)
    assert [row.reason for row in survey.dropped] == [
        "an item without a text",
        "`reversed` is neither true nor false",
        "an option that YAML reads as true or false: write it between quotes",
    ]


@pytest.mark.parametrize(
    "text, words",
    [
        ("itms: []", "the file has no list of items"),
        ("items: []", "the questionnaire has no item"),
        ("items: [{text: One.}]\noptoins: {a: 1}", "unknown field 'optoins'"),
        ("instrument: pvq22\nitems: [{text: One.}]", "no instrument 'pvq22'"),
        ("instrument: pvq21\nitems: [{text: One.}]", "has the items 1 to 21"),
        ("options: [a, b]\nitems: [{text: One.}]", "no item has a dimension"),
    ],
)
def test_files_that_are_no_questionnaires(tmp_path, text, words):
    (tmp_path / "items.yaml").write_text(text)
    with pytest.raises(UserError, match=words):
        read_questionnaire(str(tmp_path / "items.yaml"))


def opinions(folder):
    """Two questions that can be asked, among rows and groups that cannot be read."""
    shares = (
        "\"defaultdict(<class 'list'>, {'France': [60, 40], 'Japan': [20, 80], 'Odd': [100]})\""
    )
    rows = [
        f"Is it good?,{shares},\"['Yes', 'No']\",GAS",
        "Is it new?,\"{'France': [50, 30, 20]}\",\"['Yes', 'No', 'Perhaps']\",WVS",
        "Nobody answered?,\"{'France': [50]}\",\"['Yes', 'No']\",WVS",
        "One option?,\"{'France': [100]}\",['Yes'],WVS",
        "Not a mapping?,__import__('os'),\"['Yes', 'No']\",WVS",
        ",\"{'France': [50, 50]}\",\"['Yes', 'No']\",WVS",
    ]
    (folder / "opinions.csv").write_text(HEAD + "\n".join(rows) + "\n")
    return str(folder / "opinions.csv")


def test_opinions_of_people(tmp_path):
    survey = read_opinions(opinions(tmp_path))
    assert [item.text for item in survey.items] == ["Is it good?", "Is it new?"]
    assert survey.items[0].people == {"France": [0.6, 0.4], "Japan": [0.2, 0.8]}
    reasons = [row.reason for row in survey.dropped]
    assert reasons.count(WRONG_COUNT) == 1 and len(reasons) == 5
    model = by_item({"Is it good?": "Yes", "Is it new?": "Yes"})
    done = ask(tmp_path, model, source=opinions(tmp_path), instrument="opinions", **FEW)
    people = done.metrics["people"]
    alike = people["similarity"]["models"]["base"]
    assert people["base"] == 2 and alike["Japan"]["n"] == 1 and alike["France"]["n"] == 2
    assert alike["Japan"]["value"] < alike["France"]["value"]
    likely = people["likelihood"]["models"]["base"]
    assert likely["Japan"]["value"] < likely["France"]["value"] < 0
    assert people["joint"]["base"]["France"] == pytest.approx(2 * likely["France"]["value"])
    titles = " ".join(table.title for table in done.manifest.tables)
    assert "to base 2" in titles and "log-likelihood" in titles


MICRODATA = [
    {"cntry": "X", "w": 1.0, "q1": 1, "a2": 3, "b1": 3, "b2": 3, "b3": 1},
    {"cntry": "X", "w": 3.0, "q1": 3, "a2": 1, "b1": 1, "b2": 1, "b3": 99},
    {"cntry": "Y", "w": 2.0, "q1": -1, "a2": 2, "b1": 2, "b2": "", "b3": 2},
    {"cntry": "Y", "w": 0, "q1": 3, "a2": 1, "b1": 1, "b2": 1, "b3": 3},
]


def test_microdata(tmp_path):
    """Weights count; codes that are no option are no answer; reversed items are turned."""
    survey = read_questionnaire(own_survey(tmp_path))
    rows = "".join(json.dumps(row) + "\n" for row in MICRODATA)
    (tmp_path / "wvs.jsonl").write_text(rows)
    source = {"file": str(tmp_path / "wvs.jsonl"), "group": "cntry", "weight": "w"}
    people = read_people(PeopleFile(**source, columns={"q1": "a1"}), survey.items)
    assert people.means["X"]["a1"] == pytest.approx(2.5)
    assert people.means["X"]["a2"] == pytest.approx((1 * 1 + 3 * 3) / 4), "a2 is reversed"
    assert people.means["Y"] == {"a2": 2, "b1": 2, "b3": 2}
    assert people.items[0].people == {"X": [0.25, 0, 0.75]}
    assert (people.answers, people.missing) == (12, 8)
    options = PeopleFile(**source, columns={"q1": "a1"}, is_reversed=True)
    turned = read_people(options, survey.items)
    assert turned.means["X"]["a1"] == pytest.approx(1.5), "1 is the strongest answer, as in ESS"
    with pytest.raises(UserError, match="no answer on the scale of an item"):
        read_people(PeopleFile(**source, columns={"zz": "zz"}), survey.items[:1])


def test_means_beside_a_model(tmp_path):
    text = "country,item,mean\nX,a1,3\nX,a2,1\nX,b1,1\nX,b2,1.5\nX,b3,9\nX,c1,2\nX,c2,2\n"
    (tmp_path / "means.csv").write_text(text)
    path = Path(own_survey(tmp_path))
    path.write_text(path.read_text() + "- {id: c1, text: I rest., dimension: calm}\n")
    answers = {"I help.": "yes", "I hurt.": "no", "I lead.": "no", "I command.": "no"}
    model = by_item(answers | {"I obey.": "yes", "I rest.": "perhaps"})
    people = {"file": str(tmp_path / "means.csv")}
    done = ask(tmp_path, model, source=str(path), people=people, **FEW)
    facts = done.metrics["people"]
    assert facts["read"] == {"groups": 1, "answers": 5, "missing": 2}
    beside = facts["profiles"]["base"]["X"]
    assert beside["dimensions"] == 3 and beside["pearson"] > 0.95
    assert "similarity" not in facts, "means say nothing of shares"
