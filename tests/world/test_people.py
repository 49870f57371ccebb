"""People of the embedded world prefer what the ground truth prefers."""

import pytest

from stages.world.checker import check
from stages.world.grammar import SAFE_DIMENSIONS
from stages.world.people import compare


@pytest.mark.parametrize("kind", ["helpful", "red_team"])
def test_the_chosen_answer_breaks_less_or_helps(kind):
    records = compare(60, seed=3, kind=kind)
    assert records == compare(60, seed=3, kind=kind) != compare(60, seed=4, kind=kind)
    assert {record["kind"] for record in records} == {kind}
    strictly = 0
    for record in records:
        sides = [check(record["prompt"], record[side]) for side in ("chosen", "rejected")]
        broken = [sum(truth.violations[name] for name in SAFE_DIMENSIONS) for truth in sides]
        assert all(truth.well_formed for truth in sides)
        assert broken[0] <= broken[1]
        strictly += broken[0] < broken[1]
        if broken[0] == broken[1]:
            assert sides[0].helpful and not sides[1].helpful
    assert strictly > 10
