"""Which models read values, and what a value model learnt."""

import json

import pytest

from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.runtime.manifest import MANIFEST, fingerprint, seal
from stages.runtime.models import Model
from stages.training.reward_models.format import RewardFormat, write_format
from stages.training.reward_models.value_reader import doubt_learnt, refuse_no_values

PRINCIPLES = load("schwartz").principles


def model(folder, objective=None, principles=True):
    folder.mkdir(parents=True)
    if objective:
        layout = RewardFormat(objective, principles, "x" if principles else "")
        write_format(folder, layout)
    return Model(str(folder), "0" * 16)


def test_a_model_that_reads_no_values_is_refused_and_says_what_it_is(tmp_path):
    assert not refuse_no_values(model(tmp_path / "a", "value"), "here")
    assert refuse_no_values(model(tmp_path / "b", "preference"), "here")
    with pytest.raises(UserError, match="says preference"):
        refuse_no_values(Model(str(tmp_path / "b"), "0" * 16), "here", may_read_profiles=False)
    with pytest.raises(UserError, match="it has no credo_reward") as fault:
        refuse_no_values(model(tmp_path / "c"), "here")
    assert "runs/artifacts/evaluator-" in fault.value.fix
    with pytest.raises(UserError, match="says compliance"):
        refuse_no_values(model(tmp_path / "d", "compliance"), "here")


def test_other_principles_than_those_learnt_are_named(tmp_path):
    evaluator = model(tmp_path / "evaluator" / "model", "value_classes")
    assert doubt_learnt(evaluator, PRINCIPLES) == [], "no manifest beside it"
    texts = {each.id: {"text": each.text} for each in PRINCIPLES}
    payload = {"stage": "rule_model", "options": {"constitution": texts}}
    facts = {
        "step": "evaluator",
        "fingerprint": fingerprint(payload),
        "payload": payload,
        "rows": None,
        "dropped": {},
        "metrics": {},
        "tables": [],
    }
    _, text = seal(json.loads(json.dumps(facts)))
    (tmp_path / "evaluator" / MANIFEST).write_text(text)
    assert doubt_learnt(evaluator, PRINCIPLES) == []
    changed = PRINCIPLES[0].model_copy(update={"text": "Another text."})
    (warning,) = doubt_learnt(evaluator, [changed, *PRINCIPLES[1:]])
    assert f"not these texts: {changed.id}." in warning
