"""Thresholds from labels: cross-fitted, weighted, and by whichever questions people answered."""

from dataclasses import replace

import numpy as np
import pytest

from stages.evaluation.instrument.decision import EVEN_ODDS, fold_of
from stages.evaluation.labels.asked import Drawn, from_people, labelled
from stages.evaluation.labels.questions import ANY, label_id, wording_of
from stages.evaluation.labels.threshold import FOLDS, decision_from_labels
from stages.runtime.rows import Label, Verdict
from tests.evaluation.instrument.test_calibration import verdict_of

COUNTED = ["kind", "calm"]


def world(rate: float, bias: float, prompts=300, seed=1) -> tuple[list[Verdict], dict[str, float]]:
    """Rows of a judge with a bias, and the truth of each prompt."""
    generator = np.random.default_rng(seed)
    truth = {}
    rows = []
    for i in range(prompts):
        violated = generator.random() < rate
        odds = np.where([violated, False], 2, -4) + bias + generator.normal(size=2)
        truth[f"p{i}"] = float(violated)
        judged = (1 / (1 + np.exp(-odds))).tolist()
        rows.append(replace(verdict_of(judged), prompt_id=f"p{i}"))
    return rows, truth


def drawn_from(gold: dict[str, float]) -> Drawn:
    return Drawn(lambda row, _: gold.get(row.prompt_id), dict.fromkeys(gold, 1.0), "people")


@pytest.mark.parametrize("bias", [-6.0, 0.0, 6.0])
def test_a_biased_judge_then_counts_as_people_do(bias):
    rows, truth = world(0.2, bias)
    labels = dict(list(truth.items())[:100])
    decision = decision_from_labels(rows, drawn_from(labels), COUNTED)
    assert len(decision.thresholds) == FOLDS
    counted = labelled(rows, drawn_from(labels), ANY, COUNTED, decision).judged
    raw = labelled(rows, drawn_from(labels), ANY, COUNTED, EVEN_ODDS).judged
    exact = np.mean(list(truth.values()))
    error = abs(np.mean(list(counted.values())) - exact)
    assert error < 0.06
    if bias:
        assert abs(np.mean(list(raw.values())) - exact) > 0.15


def test_no_label_decides_about_its_own_prompt():
    rows, truth = world(0.3, 1.0)
    labels = dict(list(truth.items())[:100])
    before = decision_from_labels(rows, drawn_from(labels), COUNTED)
    for fold in range(FOLDS):
        wrong = {}
        for name, value in labels.items():
            wrong[name] = 1.0 if fold_of(name, FOLDS) == fold else value
        after = decision_from_labels(rows, drawn_from(wrong), COUNTED)
        assert after.thresholds[fold] == before.thresholds[fold]
        assert after.thresholds != before.thresholds
    assert {fold_of(name, FOLDS) for name in labels} == set(range(FOLDS))
    assert decision_from_labels(rows, drawn_from(dict(list(labels.items())[:9])), COUNTED) is None


def test_labels_of_each_principle_also_answer_the_question_about_any():
    """`label` with `ask: each` asks about every principle; `evaluate` counts any of them."""
    texts = {"kind": "It is kind.", "calm": "It is calm.", "help": "It helps."}
    row = verdict_of([0.5, 0.5])

    def gold(**answers: float) -> float | None:
        labels = []
        for name, answer in answers.items():
            wording = wording_of(name, texts, COUNTED)
            name = label_id(row.prompt_id, row.response, wording)
            label = Label(id=name, prompt_id="p0", wording=wording, label=answer, probability=1.0)
            labels.append(label)
        return from_people(labels, texts, COUNTED).gold(row, ANY)

    assert gold(kind=0.0, calm=1.0) == 1.0
    assert gold(kind=0.0, calm=0.0, help=1.0) == 0.0, "what does not count plays no part"
    assert gold(kind=1.0) is None, "half an answer would count violations alone"
    assert gold(kind=0.0, calm=0.0, any=1.0) == 1.0, "the question itself comes first"
