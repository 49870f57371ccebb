"""A Polis conversation as a constitution: group-aware consensus, weights and provenance."""

import csv
import random
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.principles.importers.__main__ import main
from stages.principles.importers.polis import Bounds, principles, read_statements

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "polis_seattle"
needs_originals = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
COMMENTS = [
    {"comment-id": "0", "moderated": "1", "comment-body": "Be  kind.\n"},
    {"comment-id": "1", "moderated": "0", "comment-body": "Be brief."},
    {"comment-id": "2", "moderated": "-1", "comment-body": "Buy this!"},
]


def person(number, group, *votes):
    cells = {str(place): str(vote) for place, vote in enumerate(votes)}
    return {"participant": str(number), "group-id": group, **cells}


PEOPLE = [
    person(0, "a", 1, 1, 1),
    person(1, "a", 1, 1, 1),
    person(2, "a", 1, 1, ""),
    person(3, "b", 1, -1, ""),
    person(4, "b", 0, -1, ""),
    person(5, "", -1, -1, -1),
]


def write(path, rows):
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def consensus(folder, people, comments=COMMENTS):
    files = write(folder / "comments.csv", comments), write(folder / "votes.csv", people)
    statements, facts = read_statements(*files)
    return {one.number: one.consensus for one in statements}, facts


def test_the_consensus_is_the_product_of_smoothed_shares(tmp_path):
    values, facts = consensus(tmp_path, PEOPLE)
    assert values == {"0": pytest.approx(4 / 5 * 2 / 4), "1": pytest.approx(4 / 5 * 1 / 4)}
    assert list(values) == ["0", "1"], "the best first"
    assert facts["people without a group"] == 1 and facts["removed by moderators"] == 1


def test_names_of_groups_and_the_order_of_people_change_nothing(tmp_path):
    before, _ = consensus(tmp_path, PEOPLE)
    other = {"a": "b", "b": "a", "": ""}
    renamed = [row | {"group-id": other[row["group-id"]]} for row in PEOPLE]
    assert consensus(tmp_path, renamed)[0] == pytest.approx(before)
    assert consensus(tmp_path, random.Random(0).sample(PEOPLE, 6))[0] == before


def test_who_is_in_which_group_changes_it(tmp_path):
    before, _ = consensus(tmp_path, PEOPLE)
    moved = [row | {"group-id": "a"} if row["participant"] == "3" else row for row in PEOPLE]
    assert consensus(tmp_path, moved)[0]["1"] != pytest.approx(before["1"])


def test_weights_sum_to_one_and_every_principle_states_its_votes(tmp_path):
    consensus(tmp_path, PEOPLE)
    files = tmp_path / "comments.csv", tmp_path / "votes.csv"
    rows, _ = principles(*files, Bounds(agree=0.0, votes=0))
    assert sum(row["weight"] for row in rows) == pytest.approx(1)
    assert rows[0]["source"] == (
        "Statement 0; group a: 3 of 3 agree; group b: 1 of 2 agree; consensus 0.400."
    )
    assert "\u201cBe kind.\u201d" in rows[0]["text"]
    assert [row["id"] for row in rows] == ["be-kind-0", "be-brief-1"]
    assert len(principles(*files, Bounds(0.0, 0, most=1))[0]) == 1
    assert len(principles(*files, Bounds(0.6, 0))[0]) == 1
    with pytest.raises(UserError, match="none of 2 statements"):
        principles(*files, Bounds(votes=3))


@pytest.mark.parametrize(
    ("comments", "people", "message"),
    [
        (COMMENTS[:1], [{"participant": "0", "0": "1"}], "no column 'group-id'"),
        ([{"comment-id": "0", "comment-body": "x"}], PEOPLE, "no column 'moderated'"),
        (COMMENTS, [person(0, "a", 1)], "no column with the votes on statement 1"),
        (COMMENTS, [person(0, "a", 1, "yes", 1)], "the vote on statement 1 is 'yes'"),
        (COMMENTS, [person(0, "", 1, 1, 1)], "nobody in it is in a group"),
        ([COMMENTS[0], COMMENTS[0]], PEOPLE, "no number of its own"),
        ([COMMENTS[0] | {"comment-body": " "}], PEOPLE, "or no text"),
    ],
)
def test_wrong_files_end_in_one_message(tmp_path, comments, people, message):
    with pytest.raises(UserError, match=message):
        consensus(tmp_path, people, comments)


@pytest.mark.parametrize("text", ["", "comment-id,comment-body,moderated\n", "a,b\n1\n", '"\n'])
def test_cut_files_end_in_one_message(tmp_path, text):
    votes = write(tmp_path / "votes.csv", PEOPLE)
    (tmp_path / "comments.csv").write_text(text)
    with pytest.raises(UserError, match="the file"):
        read_statements(tmp_path / "comments.csv", votes)


@needs_originals
def test_the_real_conversation(tmp_path, capsys):
    """201 of 339 people are in no group, and 23 of 54 statements were removed."""
    out = tmp_path / "seattle.yaml"
    files = [str(SHARED / "comments.csv"), "--votes", str(SHARED / "participants-votes.csv")]
    assert main(["polis", *files, "--out", str(out)]) == 0
    made = load(out)
    assert sum(p.weight for p in made.principles) == pytest.approx(1)
    assert all(p.source and "group 1" in p.source for p in made.principles)
    weights = [p.weight for p in made.principles]
    assert weights == sorted(weights, reverse=True) and len(weights) == 9
    assert "201 people without a group" in made.source and "23 removed" in made.source
    assert main(["polis", *files, "--agree", "0.9", "--out", str(tmp_path / "b.yaml")]) == 2
    assert "lower --least-votes or --agree" in capsys.readouterr().err
