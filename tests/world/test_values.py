"""The world's values: labels are the ground truth's, and every target can be expressed there."""

from stages.principles.constitution import load
from stages.values.theory import theory_of
from stages.world.grammar import ACTS, VALUES
from stages.world.values import label, values


def test_records_hold_the_labels_of_their_answers():
    records = label(80, seed=1)
    assert records == label(80, seed=1) != label(80, seed=2)
    for record in records:
        truth = values(record["prompt"], record["response"])
        assert {name: record[name] for name in VALUES} == truth


def test_the_grammar_can_say_what_each_target_wants():
    theory = theory_of(load("world_values"))
    assert set(theory.dimensions) == set(VALUES) and len(theory.targets) >= 4
    for target in theory.targets.values():
        for name, wanted in target.items():
            signs = {act.values.get(name) for act in ACTS.values()}
            assert wanted == 0 or wanted in signs
