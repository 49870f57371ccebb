"""What differs between two sets, against small computations by hand."""

import itertools
import subprocess

import pytest

from stages.guards.errors import UserError
from stages.principles.constitution import Constitution, Principle
from stages.spec_diff.__main__ import main
from stages.spec_diff.changelog import word_changes
from stages.spec_diff.clauses import compare, order_of, similarity
from stages.spec_diff.revisions import read_set


def a_set(*principles, **about):
    rows = [Principle.model_validate(each) for each in principles]
    return Constitution(name="test", principles=tuple(rows), **about)


def clause(name, text=None, **fields):
    return {"id": name, "text": text or f"Keep {name} in every answer.", **fields}


def kinds(difference):
    return {each.id: each.kinds for each in difference.clauses if each.kinds}


def test_equal_sets_do_not_differ():
    one = a_set(clause("a"), clause("b"))
    assert kinds(compare(one, one)) == {}
    assert compare(one, one).about == {}


def test_every_kind_of_change_is_reported():
    old = a_set(clause("a"), clause("b"), clause("c"), clause("d"), clause("e", tags=["x"]))
    new = a_set(
        clause("a", "Say nothing of a."),
        clause("b", weight=2.0),
        clause("d", because="It matters."),
        clause("e", tags=["y"]),
        clause("f", "Write in verse."),
        title="New",
    )
    difference = compare(old, new)
    assert kinds(difference) == {
        "a": ("reworded",),
        "b": ("re-weighted", "re-ranked"),
        "c": ("gone",),
        "d": ("other fields",),
        "e": ("other fields",),
        "f": ("added",),
    }
    assert difference.about == {"title": (None, "New")}
    again = {each.id for each in difference.clauses if each.is_judged_again}
    assert again == {"a", "d", "f"}, "a judge reads reasons, not tags and weights"


def test_a_clause_with_another_id_is_matched_by_its_words_the_nearest_first():
    old = a_set(clause("a", "Never help anyone commit a crime."), clause("b", "Be polite."))
    new = a_set(
        clause("x", "Never help anyone plan a crime."),
        clause("y", "Never help anyone commit a crime today."),
        clause("z", "Speak of the weather."),
    )
    matched = {each.id: each.old.id if each.old else None for each in compare(old, new).clauses}
    assert matched == {"x": None, "y": "a", "z": None, "b": None} | {"b": "b"}
    assert similarity("a b c d", "a b x") == pytest.approx(2 * 2 / 7)


def test_a_listed_rewording_and_an_opposite_are_recognised():
    old = a_set(
        clause("a", "Be kind.", rewordings=["Show goodwill to all."]),
        clause("b", "Never lie.", opposite="Always lie."),
    )
    new = a_set(clause("k", "Show goodwill to all."), clause("b", "Always lie."))
    by_id = {each.id: each for each in compare(old, new).clauses}
    assert (by_id["k"].old.id, by_id["k"].wording) == ("a", "listed")
    assert by_id["b"].wording == "opposite"
    assert by_id["b"].is_turned


def test_re_ranked_clauses_are_those_whose_relation_to_others_changed():
    old = a_set(clause("a", weight=3), clause("b", weight=2), clause("c"), clause("d"))
    new = a_set(clause("a", weight=3), clause("b", weight=2.5), clause("c"), clause("d", weight=4))
    difference = compare(old, new)
    passed = {each.id: set(each.passed) for each in difference.clauses if each.passed}
    assert passed == {"d": {"a", "b", "c"}}
    # independently: every pair of clauses whose comparison changed has d in it
    before = {each.id: order_of(each) for each in old.principles}
    after = {each.id: order_of(each) for each in new.principles}
    moved = [
        {x, y}
        for x, y in itertools.combinations(before, 2)
        if (before[x] < before[y], before[x] > before[y])
        != (after[x] < after[y], after[x] > after[y])
    ]
    assert len(moved) == 3
    assert all("d" in pair for pair in moved)


def test_authority_comes_before_weight():
    low = Principle.model_validate(clause("a", weight=9))
    high = Principle.model_validate(clause("b", authority="guideline"))
    assert order_of(high) < order_of(low)


def test_words_of_both_texts_stand_in_one_line():
    parts = word_changes("you must not lie", "you should never lie")
    assert [words for kind, words in parts if kind != "more"] == ["you", "must not", "lie"]
    assert [words for kind, words in parts if kind != "less"] == ["you", "should never", "lie"]


def git(folder, *words):
    identity = ["-c", "user.name=x", "-c", "user.email=x@y"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


SET = "name: mine\nprinciples:\n  - id: a\n    text: {text}\n"


def test_a_revision_in_git_is_read_and_shown(tmp_path, monkeypatch, capsys):
    git(tmp_path, "init")
    file = tmp_path / "mine.yaml"
    file.write_text(SET.format(text="Be brief."))
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    file.write_text(SET.format(text="Be long."))
    monkeypatch.chdir(tmp_path)
    assert read_set("HEAD:mine.yaml").principles[0].text == "Be brief."
    page, markdown = tmp_path / "page.html", tmp_path / "log.md"
    words = ["HEAD:mine.yaml", "mine.yaml", "--page", str(page), "--markdown", str(markdown)]
    assert main(words) == 1
    shown = capsys.readouterr().out
    assert "Be [-brief.-] {+long.+}" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "Be ~~brief.~~ **long.**" in markdown.read_text()
    assert "<del>brief.</del>" in page.read_text()
    assert main(["mine.yaml", "mine.yaml"]) == 0


@pytest.mark.parametrize("reference", ["nowhere:mine.yaml", "--output=x:mine.yaml", "HEAD:none"])
def test_what_git_does_not_know_is_refused(reference, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="git"):
        read_set(reference)
    assert list(tmp_path.iterdir()) == []
