"""Labels of principles: how people type them, what a list leaves out, and what cannot be read."""

from collections import Counter

import pytest

from stages.guards.errors import UserError
from stages.runtime.rows import Rating
from stages.runtime.typed_config import parse_config
from stages.sources.records import Record
from stages.sources.verdicts import RESPELLED, read_degree, read_labels
from stages.text import human_answers
from tests.embedded import ROOT
from tests.preferences.matrices import run_stage

NAMES = {name: name for name in ("security", "self-direction", "power")}
FULCRA = ROOT.parent / "shared" / "data" / "fulcra" / "trustworthy_data.jsonl"
TOUCHE = ROOT.parent / "shared" / "data" / "touche_valueeval" / "valueEval_10.csv"


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        *[(cell, 1) for cell in ("+1", "1", "=1", "1+", True, 1, 1.0)],
        *[(cell, -1) for cell in (" -1 ", "\u22121", "1-")],
        *[(cell, 0) for cell in ("0", "-0", False)],
        *[(0.5, 0.5), ("-.5", -0.5)],
        *[(cell, None) for cell in ("2", "+1+", "", "yes", "nan", "1e0")],
    ],
)
def test_a_label_is_read_as_people_type_it(cell, label):
    assert read_degree(cell) == label


def labels_of(columns=("values",), **cells):
    tally = Counter()
    found = read_labels(Record("f:1", cells), columns, NAMES, tally)
    return found, dict(tally)


def test_a_list_leaves_out_zeros_and_a_mapping_what_nobody_labelled():
    zeros = dict.fromkeys(NAMES, 0.0)
    assert labels_of(values=["Security: +1"]) == (zeros | {"security": 1.0}, {})
    assert labels_of(values='["SELF-direction: -1"]')[0] == zeros | {"self-direction": -1.0}
    assert labels_of(values=[])[0] == zeros
    assert labels_of(values={"power": 0, "security": "", "Self Direction": "1"})[0] == {
        "self-direction": 1.0,
        "power": 0.0,
    }
    columns = ("Security", "Power")
    assert labels_of(columns, Security="1", Power="")[0] == {"security": 1.0}


def test_noise_is_read_or_left_out_and_counted():
    found, odd = labels_of(
        values=["security: =1", "power: -1", "power: +1", "humility: +1", "self-direction: much"]
    )
    assert found == {"security": 1.0}, "what is contradicted or cannot be read is not 0"
    assert odd == {
        RESPELLED: 1,
        "two labels of an answer contradict each other": 1,
        "no principle is called 'humility'": 1,
        "'much' is no label from -1 to 1": 1,
    }
    found, odd = labels_of(values=["security: +1", "security: 1", "power"])
    assert found["security"] == 1 and odd == {"an item of a list that is not `name: label`": 1}


def test_a_file_of_ones_own_by_its_columns(tmp_path):
    (tmp_path / "own.csv").write_text(
        "ask,say,Security,power,other\nHi,Lock it,1,-1,9\nHi,Rule,,0.5,9\nHi,So,,,9\n"
    )
    options = {"source": str(tmp_path / "own.csv"), "prompt": "ask", "answer": "say"}
    result = run_stage("human_answers", {}, options | {"constitution": {"name": "schwartz"}})
    assert [dict(zip(row.principles, row.scores, strict=True)) for row in result.rows] == [
        {"power": -1.0, "security": 1.0},
        {"power": 0.5},
    ]
    assert [row.score for row in result.rows] == [0.0, 0.5]
    assert [row.reason for row in result.dropped] == ["no label of a principle"]
    assert result.metrics["labels"] == {"power": {"-1": 1, "0.5": 1}, "security": {"1": 1}}
    config = parse_config(human_answers.Config, options | {"labels": "power"}, "a step")
    with pytest.raises(UserError, match="labels of principles, and there are none"):
        human_answers.read_rows(config)
    config = parse_config(
        human_answers.Config, options | {"constitution": {"name": "hhh"}}, "a step"
    )
    with pytest.raises(UserError, match="no column with labels of the principles"):
        human_answers.read_rows(config)


def test_the_step_of_a_file_without_labels_is_the_one_that_it_was(tmp_path):
    (tmp_path / "own.csv").write_text("prompt,response\nHi,Hello\n")
    config = parse_config(human_answers.Config, {"source": str(tmp_path / "own.csv")}, "a step")
    assert set(human_answers.identity(config)) == {"source"}


@pytest.mark.skipif(not FULCRA.exists(), reason=f"no {FULCRA}: it does not come with Credo")
def test_fulcra_is_read_with_its_noise():
    options = {"source": str(FULCRA), "constitution": {"name": "schwartz"}, "limit": 1718}
    result = run_stage("human_answers", {}, options)
    assert len(result.rows) == 1718 and not result.dropped
    assert result.metrics["odd_labels"] == {
        RESPELLED: 2,
        "two labels of an answer contradict each other": 29,
        "no principle is called 'humility'": 11,
    }
    assert "29 x two labels" in result.warnings[0]
    assert result.metrics["labels"]["security"] == {"-1": 66, "0": 1061, "1": 590}
    assert all("Bob:" not in row.prompt[0]["content"] for row in result.rows)


@pytest.mark.skipif(not TOUCHE.exists(), reason=f"no {TOUCHE}: it does not come with Credo")
def test_touche_is_read_with_the_stance():
    options = {"source": str(TOUCHE), "constitution": {"name": "schwartz"}}
    config = parse_config(human_answers.Config, options, "a step")
    (row,), _, reading = human_answers.read_rows(config, 1)
    assert isinstance(row, Rating) and row.prompt[0]["content"].endswith("\n\nin favor of")
    assert len(row.scores) == 10 and sum(row.scores) == 1
    assert reading.form == "values of an argument (Touche)" and not reading.notes
