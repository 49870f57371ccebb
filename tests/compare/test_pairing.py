"""Paired effects between logs, against independent small computations."""

from itertools import product
from math import comb
from pathlib import Path

import numpy as np
import pytest

from stages.compare.logs.log import Log
from stages.compare.pairing import compare_logs
from stages.guards.errors import UserError
from stages.statistics.power import minimum_detectable


def log(name: str, metrics: dict[str, dict[str, float]], prompts: str = "") -> Log:
    made = Log(name, "test", Path(name))
    for metric, values in metrics.items():
        for item, value in values.items():
            made.add(item, f"{prompts}{item}", f"{name} on {item}", {metric: value})
    return made


def yes_no(rose: int, fell: int, same: int) -> tuple[dict[str, float], dict[str, float]]:
    before = [0.0] * rose + [1.0] * fell + [1.0] * same
    after = [1.0] * rose + [0.0] * fell + [1.0] * same
    items = [f"i{number}" for number in range(len(before))]
    return dict(zip(items, before, strict=True)), dict(zip(items, after, strict=True))


def test_yes_and_no_get_mcnemars_exact_p_and_the_difference():
    before, after = yes_no(rose=12, fell=3, same=25)
    (row,) = compare_logs([log("a", {"acc": before}), log("b", {"acc": after})]).rows
    p = 2 * sum(comb(15, k) for k in range(4)) / 2**15
    assert row.effect.p == pytest.approx(p) and row.effect.test == "mcnemar"
    assert row.effect.value == pytest.approx(9 / 40)
    assert row.effect.low < 9 / 40 < row.effect.high
    assert row.detectable and 9 / 40 < row.detectable < 0.4


def test_other_values_get_flips_of_signs_and_a_normal_bound():
    changes = [0.5, -0.25, 2.0, 1.5, 3.0, 0.75]
    before = {str(place): 1.0 for place in range(6)}
    after = {str(place): 1.0 + change for place, change in enumerate(changes)}
    (row,) = compare_logs([log("a", {"reward": before}), log("b", {"reward": after})]).rows
    sums = [
        abs(sum(s * c for s, c in zip(signs, changes, strict=True)))
        for signs in product((1, -1), repeat=6)
    ]
    expected = sum(value >= abs(sum(changes)) - 1e-9 for value in sums) / len(sums)
    assert row.effect.p == pytest.approx(expected) and row.effect.test == "sign_flip"
    assert row.detectable == pytest.approx((1.959964 + 0.841621) * np.std(changes) / 6**0.5)


def test_with_many_changes_the_bound_is_that_of_the_exact_test():
    before, after = yes_no(rose=170, fell=150, same=1280)
    (row,) = compare_logs([log("a", {"acc": before}), log("b", {"acc": after})]).rows
    exact = minimum_detectable(1600, base_rate=row.effect.reference, discordance=320 / 1600)
    assert row.detectable == pytest.approx(exact, rel=0.02)


def test_p_is_corrected_for_every_comparison_of_the_page():
    first, after = yes_no(rose=12, fell=3, same=25)
    metrics = {"acc": first, "other": first}
    logs = [log("a", metrics), log("b", {"acc": after, "other": first})]
    rows = {row.metric: row.effect for row in compare_logs(logs).rows}
    assert rows["acc"].p_adjusted == pytest.approx(2 * rows["acc"].p)
    assert rows["other"].p == 1.0
    drawn = {row.metric: row.effect for row in compare_logs(logs, correction="max_t").rows}
    assert drawn["acc"].p_adjusted == pytest.approx(
        rows["acc"].p, abs=0.01
    )  # the other never moves
    assert compare_logs(logs, ["acc"]).rows[0].effect.p_adjusted == pytest.approx(rows["acc"].p)


def test_unmatched_items_are_counted_first_and_left_out():
    before, after = yes_no(rose=4, fell=1, same=5)
    del after["i0"]
    after |= {"new": 1.0, "newer": 0.0}
    comparison = compare_logs([log("a", {"acc": before}), log("b", {"acc": after}, "Please: ")])
    assert comparison.notes[0] == "9 items matched; only in a: 1; only in b: 2"
    assert "9 of 9 matched items have other words" in comparison.notes[1]
    (row,) = comparison.rows
    assert row.effect.n_prompts == 9 and row.effect.value == pytest.approx(2 / 9)


def test_each_log_is_compared_on_the_items_that_it_has():
    before, after = yes_no(rose=4, fell=1, same=5)
    fewer = {item: after[item] for item in list(after)[:6]}
    logs = [
        log(name, {"acc": values}) for name, values in (("a", before), ("b", after), ("c", fewer))
    ]
    assert [row.effect.n_prompts for row in compare_logs(logs).rows] == [10, 6]


def test_changed_rows_come_by_size():
    before = {"x": 0.0, "y": 0.0, "z": 1.0}
    after = {"x": 0.5, "y": -2.0, "z": 1.0}
    changed = list(compare_logs([log("a", {"m": before}), log("b", {"m": after})]).changed())
    assert [(row.item, row.after) for row in changed] == [("y", -2.0), ("x", 0.5)]


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        ({"em": {"i1": 1.0, "i2": 1.0}}, "share no metric"),
        ({"acc": {"j1": 1.0, "j2": 0.0}}, "fewer than two scored items in common"),
    ],
)
def test_logs_that_cannot_be_compared_are_refused(other, fault):
    first = log("a", {"acc": {"i1": 1.0, "i2": 0.0}})
    with pytest.raises(UserError, match=fault):
        compare_logs([first, log("b", other)])


def test_one_log_and_an_unknown_metric_are_refused():
    first = log("a", {"acc": {"i1": 1.0, "i2": 0.0}})
    with pytest.raises(UserError, match="one log alone"):
        compare_logs([first])
    with pytest.raises(UserError, match="Did you mean 'acc'"):
        compare_logs([first, first], ["ac"])
