"""The classifier that reads a rule: what it reads, its loss by hand, its scores, its refusals."""

import math
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.doubts.trainings import doubt_classes
from stages.guards.errors import UserError
from stages.runtime.rows import Rating
from stages.runtime.typed_config import parse_config
from stages.training.reward_models import rule_model
from stages.training.reward_models.format import make_format, read_format
from stages.training.reward_models.rule_model import rule_examples
from stages.training.reward_models.scorer import Scorer
from tests.training.conftest import REQUESTS
from tests.training.small_reward_models import constitution, reward_model

NUMBERS = count()
LAYOUT = make_format("compliance", True, None)
RULES = {
    "kind": "The answer is kind.",
    "short": "The answer is short.",
    "plain": "The answer is plain.",
}
ARGS = {
    "per_device_train_batch_size": 4,
    "max_steps": 2,
    "learning_rate": 1e-3,
    "max_length": 256,
    "save_strategy": "no",
}


def rating(i, scores, principles=("kind", "short", "plain"), **more):
    row = Rating(
        id=f"r{i}",
        response_id=f"r{i}",
        prompt_id=f"p{i}",
        kind="red_team",
        prompt=[{"role": "user", "content": REQUESTS[i % 6]}],
        response=f"answer {i}",
        score=sum(scores) / max(len(scores), 1),
        principles=list(principles),
        negated=[False] * len(principles),
        scores=list(scores),
        model="m",
    )
    return replace(row, **more)


def examples_of(artifact, tmp_path, rows, **options):
    options = {"constitution": constitution(tmp_path)} | options
    config = parse_config(rule_model.Config, options, "a step")
    labels = artifact(f"labels {next(NUMBERS)}", rows)
    return rule_examples({"labels": labels}, LAYOUT, config, 0)


def texts_of(examples):
    """(what is read, P(broken)) of every text."""
    return [
        (example[side][0]["content"], example[f"{side}_unsafe"])
        for example in examples
        for side in ("chosen", "rejected")
    ]


def test_a_text_holds_one_rule_and_exactly_its_words(artifact, tmp_path):
    """systems.md section 15, item 7."""
    examples, dropped, counts = examples_of(artifact, tmp_path, [rating(0, [0.9, 0.2, 0.5])])
    texts = texts_of(examples)
    assert len(texts) == 4 and texts[2] == texts[3] and not dropped, "the odd one stands twice"
    for (text, broken), (name, words) in zip(texts, RULES.items(), strict=False):
        others = [other for key, other in RULES.items() if key != name]
        assert f"Principle: {words}" in text and not any(other in text for other in others)
        assert "answer 0" in text and REQUESTS[0] in text
        assert broken == pytest.approx({"kind": 0.1, "short": 0.8, "plain": 0.5}[name])
    assert counts["texts"] == 3 and counts["principles"]["short"] == {"n": 1, "broken": 1}


def test_draws_are_of_each_row_and_hold_the_rule_that_was_probed(artifact, tmp_path):
    scores = [[0.9 if i % 3 else 0.1, 0.2, 0.6] for i in range(12)]
    kinds = ["plain" if i % 2 else "red_team" for i in range(12)]
    rows = [rating(i, scores[i], kind=kinds[i]) for i in range(12)]
    examples, _, counts = examples_of(artifact, tmp_path, rows, draw=1)
    assert counts["texts"] == 12 and len(examples) == 12
    read = {example["id"].split("/")[0]: example["id"].split("/")[1] for example in examples}
    assert all(read[row.id] == "plain" for row in rows if row.kind == "plain")
    again, _, _ = examples_of(artifact, tmp_path, rows[::-1], draw=1)
    assert {example["id"] for example in again} == {example["id"] for example in examples}
    fewer, _, _ = examples_of(
        artifact, tmp_path, rows, constitution={**constitution(tmp_path), "drop": ["short"]}
    )
    assert all(RULES["short"] not in text for text, _ in texts_of(fewer))


def test_an_opposite_is_read_where_it_was_rated(artifact, tmp_path):
    row = rating(0, [0.9, 0.1], ("kind", "short"), negated=[True, False])
    examples, _, _ = examples_of(artifact, tmp_path, [row])
    (first, _), (second, _) = texts_of(examples)
    assert "The answer is harsh." in first and RULES["short"] in second


def test_what_cannot_be_learnt_is_dropped_or_refused(artifact, tmp_path):
    good = rating(0, [0.9, 0.2, 0.6])
    rows = [
        good,
        replace(good, id="again"),
        rating(1, [], ()),
        rating(2, [0.1], ("unknown",)),
        rating(3, [0.9, 0.1, 0.1], finish_reason="length"),
        rating(4, [0.9, 0.1, 0.1], response=" "),
    ]
    _, dropped, _ = examples_of(artifact, tmp_path, rows)
    assert [(row.id, row.reason) for row in dropped] == [
        ("again", "duplicate"),
        ("r1", "rated under no principle that is selected here"),
        ("r2", "rated under no principle that is selected here"),
        ("r3", "cut off at max_tokens"),
        ("r4", "empty completion"),
    ]
    with pytest.raises(UserError, match=r"the score 10\.0 is no probability") as raised:
        examples_of(artifact, tmp_path, [rating(0, [10.0, 1.0, 1.0])])
    assert '"Yes": 1, "No": 0' in raised.value.fix
    for scores, said in (([0.9] * 3, "keeps every rule"), ([0.1] * 3, "breaks every rule")):
        with pytest.raises(UserError, match=said):
            examples_of(artifact, tmp_path, [rating(0, scores)])
    with pytest.raises(UserError, match="no rating is left to train on: 1 are unusable"):
        examples_of(artifact, tmp_path, [rating(1, [], ())])


@settings(max_examples=20)
@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(0, 1)), min_size=1, max_size=5))
def test_the_loss_is_the_cross_entropy_of_soft_labels(rows):
    import torch

    from stages.training.reward_models.trainer import compliance_loss

    scores, broken = (
        torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True)
    )
    by_hand = 0.0
    for score, q in rows:
        kept = 1 / (1 + math.exp(-score))
        by_hand -= (1 - q) * math.log(kept) + q * math.log1p(-kept)
    assert compliance_loss(scores, broken).item() == pytest.approx(by_hand / len(rows), abs=1e-6)


def test_training_saves_what_reads_rules_and_measures_held_out_texts(artifact, context, tmp_path):
    rows = [rating(i, [0.9 * (i % 2), 0.2, 0.9]) for i in range(12)]
    values = {"constitution": constitution(tmp_path), "args": ARGS, "eval_fraction": 0.4}
    config = parse_config(rule_model.Config, values, "a step")
    inputs = {"model": artifact("base"), "labels": artifact("labels", rows)}
    here = context()
    result = rule_model.run(config, inputs, here)
    held_out = result.metrics["held_out"]
    assert held_out["n"] == 2 * (24 - result.metrics["n"]) > 0, "two texts a row, four an answer"
    assert 0 <= held_out["accuracy"] <= 1 and 0 <= held_out["auc"] <= 1
    assert 0 < held_out["broken"] < held_out["n"]
    assert result.metrics["steps"] == 2 and result.metrics["texts"] == 36
    from stages.runtime.models import find_model

    model = find_model(str(here.directory / "model"))
    assert read_format(model).objective == "compliance"
    scores = Scorer(model).score([(rows[0].prompt, "answer", (text,)) for text in RULES.values()])
    assert all(0 < score < 1 for score in scores)


def test_its_scores_are_probabilities_and_another_models_are_not(context, tmp_path):
    base = tmp_path / "base"
    from tests.tiny_model import build_tiny_model

    build_tiny_model(base)
    item = ([{"role": "user", "content": REQUESTS[0]}], "an answer", ("The answer is kind.",))
    plain = reward_model(base, tmp_path / "a", head=0.7)
    rules = reward_model(base, tmp_path / "b", head=0.7, objective="compliance")
    (logit,), (kept,) = Scorer(plain).score([item]), Scorer(rules).score([item])
    assert kept == pytest.approx(1 / (1 + math.exp(-logit)))


def test_a_classifier_that_only_guesses_is_doubted():
    base = {"n": 200, "broken": 10, "accuracy": 0.95}
    assert doubt_classes(None) == doubt_classes(base | {"n": 5, "auc": 0.5}) == []
    assert doubt_classes(base | {"auc": 0.9}) == []
    (guess,) = doubt_classes(base | {"auc": 0.52})
    assert "no better than guessing" in guess
    (unknown,) = doubt_classes(base | {"broken": 0, "auc": None})
    assert "keeps its rule" in unknown
