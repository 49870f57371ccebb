"""The value evaluator: labels from -1 to 1, both heads by hand, drawn zeros, and its scores."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.guards.errors import UserError
from stages.principles.constitution import Principle
from stages.runtime.artifacts import finish_artifact
from stages.runtime.models import find_model
from stages.runtime.typed_config import parse_config
from stages.training.reward_models import rule_model, score
from stages.training.reward_models.format import make_format, read_format
from stages.training.reward_models.rule_model import rule_examples
from stages.training.reward_models.scorer import Scorer
from tests.training.reward_models.test_rule_model import ARGS, NUMBERS, RULES, rating, texts_of
from tests.training.small_reward_models import constitution

LAYOUT = make_format("value", True, None)
LABELS = [1.0, 0.0, 0.0]


def read(artifact, tmp_path, rows, **options):
    options = {"constitution": constitution(tmp_path), "objective": "value"} | options
    config = parse_config(rule_model.Config, options, "a step")
    labels = artifact(f"value labels {next(NUMBERS)}", rows)
    return rule_examples({"labels": labels}, LAYOUT, config, 0)


def test_a_text_names_the_value_and_defines_it(artifact, tmp_path):
    row = rating(0, [1.0, -1.0, 0.5])
    texts = texts_of(read(artifact, tmp_path, [row])[0])
    for name, label in zip(RULES, row.scores, strict=True):
        ((broken, _),) = {(b, t) for t, b in texts if f"Principle: {name}: {RULES[name]}" in t}
        assert 1 - broken == label
    opposite = replace(row, negated=[True, False, False])
    text, _ = texts_of(read(artifact, tmp_path, [opposite])[0])[0]
    assert "Principle: The answer is harsh." in text
    named = Principle(id="self-direction", text="Choose.")
    assert LAYOUT.wording(named) == "self direction: Choose."
    assert make_format("compliance", True, None).wording(named) == "Choose."


def test_half_as_many_zeros_are_learnt_and_all_that_are_held_out(artifact, tmp_path):
    rows = [rating(i, LABELS) for i in range(200)]
    rows = [replace(row, prompt=[{"role": "user", "content": row.id}]) for row in rows]
    texts = texts_of(read(artifact, tmp_path, rows, zeros=0.5, eval_fraction=0.0)[0])
    of_rows = {}
    for text, broken in {(text, broken) for text, broken in texts}:
        of_rows.setdefault(text.split("Principle")[0], []).append(1 - broken)
    assert len(of_rows) == 200 and all(labels.count(1) == 1 for labels in of_rows.values())
    zeros = [labels.count(0) for labels in of_rows.values()]
    assert set(zeros) == {0, 1} and 80 < sum(zeros) < 120
    again = read(artifact, tmp_path, rows[::-1], zeros=0.5, eval_fraction=0.0)[0]
    assert set(texts_of(again)) == set(texts), "drawn by the row, not by the order"
    _, _, counts = read(artifact, tmp_path, rows, zeros=0.0, eval_fraction=0.5)
    assert 200 < counts["texts"] < 600, "held-out answers keep their zeros"
    assert counts["principles"]["short"]["n"] == counts["principles"]["plain"]["n"]
    silent = rating(0, [0.0, 0.0, 0.0])
    examples, _, _ = read(artifact, tmp_path, [rows[1], silent], zeros=1, eval_fraction=0.0)
    assert sum(example["id"].startswith("r0/") for example in examples) == 1


def test_labels_that_are_none_are_refused(artifact, tmp_path):
    with pytest.raises(UserError, match=r"the score 10\.0 is no label from -1 to 1") as raised:
        read(artifact, tmp_path, [rating(0, [10.0, 1.0, 1.0])])
    assert '"No": -1' in raised.value.fix
    with pytest.raises(UserError, match="all labels are the same"):
        read(artifact, tmp_path, [rating(0, [1.0, 1.0, 1.0])])
    assert read(artifact, tmp_path, [rating(0, [-1.0, 0.0, 0.0])])[0]


scores = st.floats(-8, 8)
labels = st.sampled_from([-1.0, -0.4, 0.0, 0.7, 1.0])


@settings(max_examples=20)
@given(st.lists(st.tuples(scores, scores, scores, labels), min_size=1, max_size=4))
def test_both_losses_by_hand(rows):
    import torch

    from stages.training.reward_models.trainer import expected_label, value_loss

    logits = torch.tensor([row[:3] for row in rows], dtype=torch.float64)[:, None]
    target = torch.tensor([row[3] for row in rows], dtype=torch.float64)[:, None]
    squares = [(math.tanh(row[0]) - row[3]) ** 2 for row in rows]
    loss = value_loss(logits[..., :1], target).item()
    assert loss == pytest.approx(sum(squares) / len(rows), abs=1e-6)
    by_hand, expected = 0.0, []
    for *three, label in rows:
        total = math.log(sum(math.exp(x) for x in three))
        logs = [x - total for x in three]
        shares = [max(-label, 0), 1 - abs(label), max(label, 0)]
        by_hand -= sum(share * log for share, log in zip(shares, logs, strict=True))
        expected.append(math.exp(logs[2]) - math.exp(logs[0]))
    assert value_loss(logits, target).item() == pytest.approx(by_hand / len(rows), abs=1e-6)
    assert expected_label(logits).flatten().tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("objective", ["value", "value_classes"])
def test_it_learns_labels_and_scores_each_value_in_the_range(
    objective, artifact, context, tmp_path
):
    rows = [rating(i, [1.0 if i % 2 else -1.0, 0.0, 1.0]) for i in range(16)]
    for place, row in enumerate(rows):
        rows[place] = replace(row, response="a kind answer" if place % 2 else "harm the dog")
    args = ARGS | {"max_steps": 12, "learning_rate": 5e-3, "per_device_train_batch_size": 8}
    options = {"constitution": constitution(tmp_path), "args": args, "objective": objective}
    config = parse_config(rule_model.Config, options | {"eval_fraction": 0.3}, "a step")
    here = context(objective)
    inputs = {"model": artifact("base"), "labels": artifact("labels", rows)}
    result = rule_model.run(config, inputs, here)
    held_out = result.metrics["held_out"]
    assert held_out["n"] > 0 and 0 <= held_out["accuracy"] <= 1 and held_out["margin"] <= 0.5
    model = find_model(str(here.directory / "model"))
    assert read_format(model).objective == objective
    assert not list(here.directory.rglob("*.bin")), "safetensors only"
    asked = {
        "model": finish_artifact(here.directory, objective, {}, result, {}),
        "answers": artifact("answers", rows),
    }
    chosen = {"constitution": constitution(tmp_path), "each": True}
    rated = score.run(parse_config(score.Config, chosen, "a step"), asked, context("score")).rows
    assert all(-1 <= value <= 1 for row in rated for value in row.scores)
    for row in rated:
        kind, short, plain = row.scores
        assert (kind > 0.3) == ("kind" in row.response) and plain > 0.5 and abs(short) < 0.5
    items = [(row.prompt, row.response, (f"kind: {RULES['kind']}",)) for row in rows[:4]]
    alone = Scorer(model, share=False).score(items)
    assert alone == pytest.approx([row.scores[0] for row in rated[:4]], abs=1e-4)


def test_a_model_of_other_outputs_is_refused(artifact, context, tmp_path):
    from tests.training.small_reward_models import reward_model

    base = artifact("base").model()
    model = reward_model(base.path, tmp_path / "one", objective="value_classes")
    with pytest.raises(UserError, match="classifier with 3 outputs is needed"):
        Scorer(model)
