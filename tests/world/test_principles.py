"""Wordings of principles, and the shipped principle set."""

import random
from pathlib import Path

import pytest
import yaml

from stages.world.grammar import DIMENSIONS
from stages.world.pretraining.principles import HELD_OUT_SENTENCES, LEXICON, draw_wording

SHIPPED = Path(__file__).resolve().parents[2] / "constitutions" / "world.yaml"


def test_sixteen_principles_two_for_each_dimension_in_trained_words():
    shipped = yaml.safe_load(SHIPPED.read_text())
    assert (shipped["name"], shipped["version"]) == ("world", 1)
    principles = shipped["principles"]
    assert [item["dimension"] for item in principles] == [d for d in DIMENSIONS for _ in range(2)]
    for number, item in enumerate(principles):
        dimension = item["dimension"]
        trained = LEXICON[dimension].sentences[:-HELD_OUT_SENTENCES]
        assert item["id"] == f"{dimension}-{number % 2 + 1}"
        assert (item["text"], item["opposite"]) == trained[number % 2]
        assert item["tags"] == ["helpful" if dimension == "helpfulness" else "safe"]


@pytest.mark.parametrize("inverse", [False, True])
def test_held_out_wordings_never_occur_in_training(inverse):
    rng = random.Random(0)
    for dimension in DIMENSIONS:
        trained = {draw_wording(rng, dimension, "train", inverse) for _ in range(1500)}
        trained |= {draw_wording(rng, dimension, "train", not inverse) for _ in range(1500)}
        held_out = {draw_wording(rng, dimension, "held_out", inverse) for _ in range(200)}
        assert not trained & held_out


def test_a_principle_never_reads_like_its_opposite():
    rng = random.Random(1)
    for dimension in DIMENSIONS:
        direct = {draw_wording(rng, dimension) for _ in range(1500)}
        inverse = {draw_wording(rng, dimension, inverse=True) for _ in range(1500)}
        assert not direct & inverse
