"""The world's values: every target can be expressed there, and frequent asides say more of them."""

from stages.principles.constitution import load
from stages.values.theory import theory_of
from stages.world.authors import rate_values
from stages.world.grammar import ACTS, VALUES


def test_the_grammar_can_say_what_each_target_wants():
    theory = theory_of(load("world_values"))
    assert set(theory.dimensions) == set(VALUES) and len(theory.targets) >= 4
    for target in theory.targets.values():
        for name, wanted in target.items():
            signs = {act.values.get(name) for act in ACTS.values()}
            assert wanted == 0 or wanted in signs


def test_more_asides_give_more_labels():
    usual, more = (
        sum(len(record["value_types"]) for record in rate_values(200, 1, asides=asides))
        for asides in ((0.35, 0.40, 0.25), (0.0, 0.0, 1.0))
    )
    assert more > usual
    assert rate_values(20, 1) == rate_values(20, 1, asides=(0.35, 0.40, 0.25))
