"""Wordings of principles, and the shipped principle set."""

import random
from pathlib import Path

import pytest
import yaml

from stages.world.acts import DIMENSIONS
from stages.world.pretraining.lexicon import LEXICON
from stages.world.pretraining.principles import (
    KEPT_BACK_SENTENCES,
    draw_wording,
    world_constitution,
)

SHIPPED = Path(__file__).resolve().parents[2] / "constitutions" / "world.yaml"


def test_the_shipped_set_is_the_one_the_world_makes():
    assert yaml.safe_load(SHIPPED.read_text()) == world_constitution()


def test_sixteen_principles_two_for_each_dimension_in_trained_words():
    principles = world_constitution()["principles"]
    assert [item["dimension"] for item in principles] == [d for d in DIMENSIONS for _ in range(2)]
    for item in principles:
        trained = LEXICON[item["dimension"]].sentences[:-KEPT_BACK_SENTENCES]
        assert (item["text"], item["opposite"]) in trained
        assert item["tags"] == ["helpful" if item["dimension"] == "helpfulness" else "safe"]


@pytest.mark.parametrize("inverse", [False, True])
def test_held_out_wordings_never_occur_in_training(inverse):
    rng = random.Random(0)
    for dimension in DIMENSIONS:
        trained = {draw_wording(rng, dimension, "train", inverse).text for _ in range(1500)}
        trained |= {draw_wording(rng, dimension, "train", not inverse).text for _ in range(1500)}
        held_out = {draw_wording(rng, dimension, "held_out", inverse).text for _ in range(200)}
        assert not trained & held_out


def test_a_principle_never_reads_like_its_opposite():
    rng = random.Random(1)
    for dimension in DIMENSIONS:
        direct = {draw_wording(rng, dimension).text for _ in range(1500)}
        inverse = {draw_wording(rng, dimension, inverse=True).text for _ in range(1500)}
        assert not direct & inverse
