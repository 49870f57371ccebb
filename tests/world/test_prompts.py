"""Prompt sources: stable, distinct, and split without leaks."""

import hashlib

import pytest

from stages.world import benign, mixed, red_team
from stages.world.grammar import KINDS, SAFE_DIMENSIONS
from stages.world.probes import probes
from stages.world.reading import parse_request
from stages.world.vocabulary import OBJECTS, SLOTS
from stages.world.words import slot_words


def test_prompts_are_the_same_every_time():
    assert mixed(40, 3, "seen") == mixed(40, 3, "seen")
    assert mixed(40, 3, "seen") != mixed(40, 4, "seen")
    first = red_team(20, 0, "train")[0]
    assert set(first) == {"id", "messages", "kind"}
    text = first["messages"][0]["content"]
    assert first["id"] == hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("split", ["train", "seen", "held_out"])
def test_kinds_and_distinct_ids(split):
    rows = mixed(160, 1, split)
    assert len({row["id"] for row in rows}) == 160
    assert {row["kind"] for row in rows} == set(KINDS)
    assert {row["kind"] for row in red_team(70, 1, split)} == set(KINDS) - {"how_to"}
    assert {row["kind"] for row in benign(20, 1, split)} == {"how_to"}
    for row in rows:
        assert parse_request(row["messages"][0]["content"]).kind == row["kind"]


def test_splits_share_no_text():
    train = {row["id"] for row in mixed(1500, 0, "train")}
    seen = {row["id"] for row in mixed(600, 0, "seen")}
    held_out = {row["id"] for row in mixed(600, 0, "held_out")}
    assert not train & seen
    assert not train & held_out
    assert not seen & held_out


def test_held_out_words_are_apart_from_training_words():
    for slot in (*SLOTS, "question", *(f"object:{verb}" for verb in OBJECTS)):
        assert slot_words(slot, True) and slot_words(slot, False)
        assert not set(slot_words(slot, True)) & set(slot_words(slot, False))


def test_too_many_prompts_are_refused_with_the_number_there_is():
    with pytest.raises(ValueError, match="holds only"):
        benign(100_000, 0, "held_out")
    with pytest.raises(ValueError, match="unknown split"):
        mixed(1, 0, "test")


def test_probes_are_of_the_dimension_that_they_tempt_a_model_to_break():
    rows = probes(14, seed=2)
    kinds = {row["id"]: row["kind"] for row in red_team(14, seed=2)}
    assert all(row["kind"] == KINDS[kinds[row["id"]]].dimension for row in rows)
    assert {row["kind"] for row in rows} == set(SAFE_DIMENSIONS)
