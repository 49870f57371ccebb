"""Rendezvous assignment: stable under ablation, uniform, weighted, independent of order and between
draws.
"""

from collections import Counter
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stages import STAGES
from stages.guards.errors import UserError
from stages.principles.assign import assign, assign_many, mean_weights
from stages.principles.constitution import Principle
from stages.runtime.stage import Expected, load_stage
from stages.runtime.typed_config import parse_config

SIXTEEN = [Principle(id=f"p{i}", text="The response is kind.") for i in range(16)]
ROWS = [f"row-{i}" for i in range(4000)]
PINNED = ["p4", "p14", "p6", "p12", "p1", "p15", "p1", "p7"]
row_ids = st.text(max_size=20)
seeds = st.integers(0, 2**63)


def drawn(principles, seed=7, draw=0):
    return {row: assign(principles, row, seed, draw).id for row in ROWS}


def test_dropping_one_moves_only_its_own_rows():
    before = drawn(SIXTEEN)
    after = drawn([p for p in SIXTEEN if p.id != "p3"])
    moved = {row for row in ROWS if before[row] != after[row]}
    assert moved == {row for row in ROWS if before[row] == "p3"}
    assert abs(len(moved) / len(ROWS) - 1 / 16) < 0.015
    assert len({after[row] for row in moved}) == 15


@given(rows=row_ids, seed=seeds, draw=st.integers(0, 9), gone=st.integers(0, 15))
def test_dropping_another_never_moves_a_row(rows, seed, draw, gone):
    before = assign(SIXTEEN, rows, seed, draw)
    after = assign([p for i, p in enumerate(SIXTEEN) if i != gone], rows, seed, draw)
    assert after == before or before is SIXTEEN[gone]


@pytest.mark.parametrize("draw", [0, 1, 2, 3])
def test_uniform(draw):
    counts = Counter(drawn(SIXTEEN, draw=draw).values())
    assert stats.chisquare([counts[p.id] for p in SIXTEEN]).pvalue > 0.001


def test_draws_and_seeds_are_independent():
    first = drawn(SIXTEEN)
    for other in (drawn(SIXTEEN, draw=1), drawn(SIXTEEN, seed=8)):
        agree = sum(first[row] == other[row] for row in ROWS) / len(ROWS)
        assert abs(agree - 1 / 16) < 0.02
        table = [
            [sum(first[r] == a.id and other[r] == b.id for r in ROWS) for a in SIXTEEN[:4]]
            for b in SIXTEEN[:4]
        ]
        assert stats.chi2_contingency(table).pvalue > 0.001


def test_weights_are_honoured():
    weights = [1, 2, 3, 4]
    weighted = [
        p.model_copy(update={"weight": float(w)}) for p, w in zip(SIXTEEN, weights, strict=False)
    ]
    counts = Counter(drawn(weighted).values())
    expected = [len(ROWS) * w / sum(weights) for w in weights]
    assert stats.chisquare([counts[p.id] for p in weighted], expected).pvalue > 0.001


def test_raising_a_weight_only_attracts_rows():
    before = drawn(SIXTEEN)
    after = drawn([p.model_copy(update={"weight": 3.0}) if p.id == "p5" else p for p in SIXTEEN])
    assert {after[row] for row in ROWS if before[row] != after[row]} == {"p5"}


@given(order=st.permutations(SIXTEEN), row=row_ids, seed=seeds, count=st.integers(1, 16))
def test_order_of_principles_has_no_effect(order, row, seed, count):
    assert assign_many(order, row, seed, count) == assign_many(SIXTEEN, row, seed, count)


@given(row=row_ids, seed=seeds, count=st.integers(1, 16))
def test_many_are_different_and_begin_with_the_one(row, seed, count):
    many = assign_many(SIXTEEN, row, seed, count)
    assert len({p.id for p in many}) == count
    assert many[0] == assign(SIXTEEN, row, seed)


def test_the_text_has_no_effect():
    edited = [p.model_copy(update={"text": "The response is brief."}) for p in SIXTEEN]
    assert drawn(edited) == drawn(SIXTEEN)


def test_assignment_is_pinned():
    """Changing the hash silently would move every row of every user."""
    assert [assign(SIXTEEN, f"row-{i}", 0).id for i in range(8)] == PINNED


@pytest.mark.parametrize(("principles", "count"), [([], 1), (SIXTEEN, 17), (SIXTEEN, 0)])
def test_impossible_counts_are_refused(principles, count):
    with pytest.raises(UserError, match="principles are requested"):
        assign_many(principles, "row", 0, count)


SET = "name: four\nprinciples:\n" + "".join(f"  - {{id: {i}, text: Rule {i}.}}\n" for i in "abcd")


@pytest.mark.parametrize("draw, doubted", [(2, False), (3, False), (4, True), (99, True)])
@pytest.mark.parametrize(
    "stage, option",
    [
        *(("respond", "draw"), ("judge", "per_pair"), ("score", "sample")),
        *(("ppo", "rewards"), ("ppo", "costs"), ("grpo", "rewards")),
    ],
)
def test_a_draw_of_more_than_there_are_is_said_in_the_plan(tmp_path, stage, option, draw, doubted):
    """Not refused: it is at most so many, and an ablation may leave fewer."""
    (tmp_path / "set.yaml").write_text(SET)
    read = {"constitution": {"name": f"{tmp_path}/set.yaml", "drop": ["d"]}}
    kind = "judge" if stage == "grpo" else "reward_model"
    terms = {option: {"rules": {"term": kind, "model": "base", "draw": draw, **read}}}
    options = {
        "respond": {"context": "principles", "draw": draw, **read},
        "judge": {"per_pair": draw, **read},
        "score": {"sample": draw, **read},
    }.get(stage, {"rewards": {"short": {"term": "length"}}} | terms)
    contract = load_stage(STAGES[stage])
    config = parse_config(contract.config, options, stage)
    contract.check(config)
    unknown = Expected(count_rows=lambda: None, find_model=lambda: None)
    warnings = contract.foresee(config, dict.fromkeys(("model", "base"), unknown))
    name = "draw" if option in ("rewards", "costs") else option
    text = f"`{name}: {draw}` is more than the principles that there are: it reads all 3"
    assert [warning.endswith(text) for warning in warnings] == [True] * doubted


def test_a_weight_counts_once_in_the_mean_of_what_is_shown():
    """Drawn by weight, the plain mean of many draws is the weighted mean of all."""
    worth = {"a": 1.0, "b": 0.0, "c": -2.0}
    weights = {"a": 6.0, "b": 1.0, "c": 1.0}
    all_three = [Principle(id=name, text=name, weight=weights[name]) for name in worth]

    def mean(shown):
        values = [worth[principle.id] for principle in shown]
        return fmean(values, mean_weights(shown, len(all_three)))

    by_hand = (6 * 1.0 + 1 * 0.0 - 1 * 2.0) / 8
    assert mean(all_three) == pytest.approx(by_hand)
    means = [mean(assign_many(all_three, row, 0, 1)) for row in ROWS]
    assert fmean(means) == pytest.approx(by_hand, abs=4 * stdev(means) / len(ROWS) ** 0.5)
    assert mean(all_three[1:]) == -1.0, "two drawn ones count alike"
