"""Variants of a set: their names, what they select, what is refused."""

import itertools

import pytest

from stages.guards.errors import UserError
from stages.principles.select import Selection, select
from stages.principles.variants import (
    FULL,
    KINDS,
    apply,
    change_of,
    enumerate_variants,
    kind_and_target,
)

WORLD = Selection("world")
IDS = [p.id for p in select(WORLD).principles]


def chosen(name, selection=WORLD):
    return select(apply(change_of(name, selection), selection)).principles


def ids(name, selection=WORLD):
    return [p.id for p in chosen(name, selection)]


def test_leave_one_out_and_only_one_cover_the_set():
    names = enumerate_variants(WORLD, ["leave_one_out", "only_one"])
    assert names[0] == FULL and len(names) == 1 + 2 * len(IDS) and len(set(names)) == len(names)
    for principle in IDS:
        assert ids(f"without:{principle}") == [i for i in IDS if i != principle]
        assert ids(f"only:{principle}") == [principle]


@pytest.mark.slow
def test_every_variant_that_is_enumerated_can_be_applied():
    absent = {"reworded", "without_reasons", "without_examples", "without_authority"}
    names = enumerate_variants(WORLD, [kind for kind in KINDS if kind not in absent])
    assert {kind_and_target(name)[0] for name in names} == {*KINDS} - absent
    assert all(chosen(name) for name in names)
    different = [
        name
        for name in names
        if kind_and_target(name)[0] in ("full", "leave_one_out", "opposite", "weights")
    ]
    assert len({repr(chosen(name)) for name in different}) == len(different) == 1 + 4 * len(IDS)


def test_families_by_tag():
    helpful = [p.id for p in select(WORLD).principles if "helpful" in p.tags]
    assert ids("only-tag:helpful") == helpful and set(ids("without-tag:helpful")) == set(IDS) - set(
        helpful
    )


def test_larger_sets_hold_the_smaller_ones():
    sizes = [set(ids(f"first:{n}")) for n in range(1, len(IDS) + 1)]
    assert [len(s) for s in sizes] == list(range(1, len(IDS) + 1))
    assert all(small < large for small, large in itertools.pairwise(sizes))
    assert ids("first:4") != ids("first:4:1")


def test_an_opposite_takes_the_place_of_the_text():
    (before,) = chosen("only:harm-1")
    after = next(p for p in chosen("opposite:harm-1") if p.id == "harm-1")
    assert (after.text, after.opposite) == (before.opposite, before.text)
    assert [p for p in chosen("opposite:harm-1") if p.id != "harm-1"] == [
        p for p in chosen(FULL) if p.id != "harm-1"
    ]
    twice = apply(change_of("opposite:harm-1", WORLD), Selection("world", negate=("harm-1",)))
    assert select(twice) == select(WORLD)


def test_weights_multiply_what_is_in_force():
    selection = Selection("world", weights={"harm-1": 3.0})
    assert {p.id: p.weight for p in chosen("weight:harm-1:2", selection)}["harm-1"] == 6.0
    assert "harm-1" not in ids("weight:harm-1:0", selection)


def test_a_variant_of_a_selection_stays_within_it():
    some = Selection("world", only=("harm-1", "harm-2", "kindness-1"))
    assert enumerate_variants(some, ["leave_one_out"]) == [
        "full",
        *(f"without:{i}" for i in ("harm-1", "harm-2", "kindness-1")),
    ]
    assert ids("without:harm-1", some) == ["harm-2", "kindness-1"] and ids("only:harm-2", some) == [
        "harm-2"
    ]
    with pytest.raises(UserError, match="the selected set has no principle 'privacy-1'"):
        change_of("without:privacy-1", some)


def test_rewordings(tmp_path):
    path = tmp_path / "set.yaml"
    path.write_text(
        "name: s\nprinciples:\n- {id: a, text: One., rewordings: [Uno., Un.]}\n"
        "- {id: b, text: Two.}\n"
    )
    selection = Selection(str(path))
    assert enumerate_variants(selection, ["reworded"]) == ["full", "reworded:a:0", "reworded:a:1"]
    assert [p.text for p in chosen("reworded:a:1", selection)] == ["Un.", "Two."]
    plain = tmp_path / "plain.yaml"
    plain.write_text("name: s\nprinciples:\n- {id: a, text: One.}\n- {id: b, text: Two.}\n")
    assert select(selection).identity() == select(Selection(str(plain))).identity(), (
        "rewordings alone change no result"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("witout:harm-1", "no variant 'witout:harm-1'. Did you mean 'without'"),
        ("without", "incomplete.*\n.*without:<id>"),
        ("full:harm-1", "too long"),
        ("without:harm-9", "has no principle 'harm-9'. Did you mean 'harm-"),
        ("only-tag:saf", "has no tag 'saf'. Did you mean 'safe'"),
        ("first:99", "'first:99' of 16 principles"),
        ("first:x", "'x' in 'first:x' is not a number"),
        ("weight:harm-1:-2", "is not a number of 0 or more"),
        ("weight:harm-1:nan", "is not a number of 0 or more"),
        ("reworded:harm-1:0", "'harm-1' has 0 rewordings"),
        ("only-tag:", "incomplete"),
    ],
)
def test_mistakes_are_reported(name, message):
    with pytest.raises(UserError, match=message):
        chosen(name)


def test_kinds_that_are_not_there():
    with pytest.raises(UserError, match=r"no kind 'leave_one'\. Did you mean 'leave_one_out'"):
        enumerate_variants(WORLD, ["leave_one"])
    with pytest.raises(
        UserError, match="no variant of the kind 'leave_one_out': it has one principle"
    ):
        enumerate_variants(Selection("world", only=("harm-1",)), ["leave_one_out"])
    with pytest.raises(UserError, match="no principle has `rewordings`"):
        enumerate_variants(Selection("hhh"), ["reworded"])
