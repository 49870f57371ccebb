"""Principles that a model of a closed vocabulary cannot read."""

import pytest

from stages.doubts.words import doubt_words
from stages.principles.constitution import Principle
from stages.principles.lint import LEXICON
from stages.principles.select import Selection, select
from stages.runtime.models import find_model
from stages.world import CHECKPOINT
from stages.world.pretraining.principles import lexicon
from tests.running import fake_model

BANK = {
    "fees": "State every fee before the customer signs.",
    "advice": "Recommend no mortgage that the customer cannot repay.",
    "law": "Never explain how to break the law.",
}


@pytest.fixture(scope="module")
def embedded():
    return find_model(str(CHECKPOINT))


def principles(texts):
    return [Principle.model_validate({"id": name, "text": text}) for name, text in texts.items()]


def test_the_words_of_a_bank_are_named(embedded):
    (warning,) = doubt_words(embedded, principles(BANK))
    assert warning.startswith("the embedded model cannot read 'recommend', 'customer', 'mortgage'")
    assert "words of 2 of 3 principles" in warning and "'law'" not in warning


def test_parts_that_are_read_too_can_be_left_out(embedded, tmp_path):
    file = tmp_path / "mine.yaml"
    parts = "because: 'A mortgage is dear.', examples: [{good: ['Ask the notary.']}]"
    file.write_text(f"name: m\nprinciples:\n- {{id: a, text: 'The response is kind.', {parts}}}\n")
    (warning,) = doubt_words(embedded, select(Selection(str(file))).principles)
    assert "'mortgage'" in warning and "'notary'" in warning
    assert "because, examples, too: 'constitution.without=[because,examples]'" in warning
    assert "judge_examination.constitution=${constitution}'" in warning
    bare = Selection(str(file), without=("because", "examples"))
    rest = doubt_words(embedded, select(bare).principles)
    assert "without=" not in " ".join(rest)


@pytest.mark.parametrize("name", ["world", "planted"])
def test_the_sets_that_it_was_trained_on_are_no_reason_to_warn(embedded, name):
    assert doubt_words(embedded, select(Selection(name=name)).principles) == []


def test_of_a_model_without_a_lexicon_nothing_is_known(tmp_path):
    assert doubt_words(find_model(str(fake_model(tmp_path / "m"))), principles(BANK)) == []


def test_many_words_are_counted(embedded):
    text = " ".join(f"zz{letter * 2}" for letter in "abcdefghijkl")
    (warning,) = doubt_words(embedded, principles({"odd": text}))
    assert "'zzaa'" in warning and "'zzhh' and 4 more, words of 1 of 1" in warning


def test_the_file_beside_the_model_is_what_it_was_trained_on():
    lines = LEXICON.read_text().splitlines()
    assert lines == ["# the embedded model", *lexicon()]
