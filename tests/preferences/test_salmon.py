"""SALMON's labels: invariants of systems.md section 15, item 5."""

import math
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare

from stages.guards.errors import UserError
from stages.preferences import salmon
from stages.principles.constitution import Principle
from stages.principles.importers.published import salmon as read_salmon
from stages.runtime.store import derive_fraction
from tests.preferences.matrices import cells, judged_pairs, pairs

score = st.floats(-20, 20, allow_nan=False)
columns = st.dictionaries(
    st.sampled_from([f"p{i}" for i in range(12)]), score, min_size=1, max_size=8
)


def pair_of(row) -> str:
    """The pair of the matrix; rows are named "<pair>#<pass>"."""
    return row.id.rpartition("#")[0]


def principles(count: int, opposites: bool = True) -> list[Principle]:
    return [
        Principle(id=f"p{i}", text=f"Keep {i}.", opposite=f"Break {i}." if opposites else None)
        for i in range(count)
    ]


def random_matrix(count: int = 40, names: int = 8, seed: int = 0):
    """Pairs under principles of very different loudness; both orders agree mostly."""
    dice = random.Random(seed)
    rows = []
    for pair in range(count):
        margins = {}
        for name in range(names):
            true = dice.gauss(0, 1) * (1 + name)
            margins[f"p{name}"] = (true + dice.gauss(0, 0.3), true + dice.gauss(0, 0.3))
        rows += cells(
            f"a{pair}|b{pair}", margins, (f"one {pair}", f"other {pair}"), f"request {pair}"
        )
    return rows


@given(columns, st.data())
def test_negation_of_the_decider_and_of_all_turns_the_label(scores, data):
    negated = {name: data.draw(st.booleans()) for name in scores}
    name, verdict = salmon.decide(scores, negated)
    assert abs(verdict) == max(abs(s) for s in scores.values())
    assert salmon.decide(scores, negated | {name: not negated[name]}) == (name, -verdict)
    assert salmon.decide(scores, {n: not turned for n, turned in negated.items()}) == (
        name,
        -verdict,
    )
    for other in scores.keys() - {name}:
        assert salmon.decide(scores, negated | {other: not negated[other]}) == (name, verdict)


@given(columns, st.data())
def test_swapped_outputs_permuted_and_weaker_principles(scores, data):
    negated = {name: data.draw(st.booleans()) for name in scores}
    name, verdict = salmon.decide(scores, negated)
    assert salmon.decide({n: -s for n, s in scores.items()}, negated) == (name, -verdict)
    mixed = dict(data.draw(st.permutations(list(scores.items()))))
    assert salmon.decide(mixed, negated) == (name, verdict)
    loudest = abs(verdict)
    weaker = (
        data.draw(st.floats(-loudest, loudest, exclude_min=True, exclude_max=True))
        if loudest
        else 0.0
    )
    assert (
        salmon.decide(scores | {"weaker": weaker}, negated | {"weaker": data.draw(st.booleans())})[
            1
        ]
        == verdict
    )


@given(st.floats(0, 1, exclude_max=True), st.floats(0.01, 1), st.integers(1, 20))
def test_a_subset_has_between_one_and_the_most(place, geometric, most):
    assert 1 <= salmon.subset_size(place, geometric, most) <= most


def test_subset_sizes_follow_the_truncated_geometric():
    sizes = Counter(
        salmon.subset_size(derive_fraction(0, f"row {i}", "size"), 0.2, 8) for i in range(20000)
    )
    left = 1 - 0.8**8
    wanted = {n: 0.2 * 0.8 ** (n - 1) / left for n in range(1, 9)}
    assert (round(wanted[1], 3), round(wanted[8], 3)) == (0.240, 0.050)
    assert round(sum(n * share for n, share in wanted.items()), 2) == 3.39
    assert (
        chisquare([sizes[n] for n in wanted], [20000 * share for share in wanted.values()]).pvalue
        > 1e-4
    )
    assert sum(n * times for n, times in sizes.items()) / 20000 == pytest.approx(3.39, abs=0.05)


def test_draws_are_uniform_without_repetition_and_half_negated():
    drawn = [salmon.choose_principles(principles(8), f"row {i}", 0) for i in range(4000)]
    assert all(len({p.id for p, _ in subset}) == len(subset) for subset in drawn)
    assert (
        chisquare(list(Counter(p.id for subset in drawn for p, _ in subset).values())).pvalue > 1e-4
    )
    assert chisquare(list(Counter(subset[0][0].id for subset in drawn).values())).pvalue > 1e-4, (
        "no one reads first"
    )
    turned = [negated for subset in drawn for _, negated in subset]
    assert binomtest(sum(turned), len(turned), 0.5).pvalue > 1e-4
    assert not any(
        negated for _, negated in salmon.choose_principles(principles(8, opposites=False), "row", 0)
    )
    assert salmon.choose_principles(principles(8), "row", 1) != salmon.choose_principles(
        principles(8), "row", 2
    )


def test_the_order_of_the_constitution_and_a_dropped_principle_move_little():
    whole = principles(8)
    rows = [f"row {i}" for i in range(500)]
    before = {row: salmon.choose_principles(whole, row, 0) for row in rows}
    assert before == {row: salmon.choose_principles(whole[::-1], row, 0) for row in rows}
    after = {row: salmon.choose_principles(whole[1:], row, 0) for row in rows}
    spared = [row for row in rows if "p0" not in {p.id for p, _ in before[row]}]
    # one fewer to choose from also shortens the longest subsets a little; nothing else may move
    same = [row for row in spared if after[row] == before[row][: len(after[row])]]
    assert len(same) == len(spared)
    assert sum(len(after[row]) == len(before[row]) for row in spared) > 0.8 * len(spared)


def test_a_principle_of_twice_the_weight_is_drawn_more_often():
    heavy = [p.model_copy(update={"weight": 5.0}) if p.id == "p3" else p for p in principles(8)]
    first = Counter(salmon.choose_principles(heavy, f"row {i}", 0)[0][0].id for i in range(2000))
    assert binomtest(first["p3"], 2000, 5 / 12).pvalue > 1e-4


def test_scales_are_the_variance_of_both_orders_and_leave_the_constant_out():
    matrix = cells("a|b", {"p0": (1.0, 3.0), "p1": (2.0, 2.0)}) + cells(
        "c|d", {"p0": (-2.0, 0.0), "p1": (2.0, 2.0)}
    )
    variance = ((1 - 0.5) ** 2 + (3 - 0.5) ** 2 + (-2 - 0.5) ** 2 + 0.5**2) / 4
    assert salmon.scales(matrix, "variance") == {"p0": pytest.approx(variance)}
    assert salmon.scales(matrix, "std") == {"p0": pytest.approx(math.sqrt(variance))}
    assert salmon.scales(matrix, "none") == {"p0": 1.0, "p1": 1.0}
    assert salmon.scales(matrix[::-1], "variance") == salmon.scales(matrix, "variance")


def test_every_pair_is_labelled_under_several_subsets_and_says_which_principle_decided(tmp_path):
    matrix = random_matrix()
    made = judged_pairs(tmp_path, matrix, aggregate="salmon", passes=4, label="hard")
    rows = pairs(made)
    assert len(rows) + len(made.dropped) == 4 * 40
    assert {pair_of(row) for row in rows.values()} <= {cell.pair_id for cell in matrix}
    scale = salmon.scales(matrix, "variance")
    by_cell = {(cell.pair_id, cell.principle): cell for cell in matrix}
    for row in rows.values():
        assert (
            set(pair_of(row).split("|")) == {row.chosen_id, row.rejected_id}
            and row.label == 1.0
            and not row.noise
            and not row.override
        )
        assert (
            len(row.principles)
            == len(row.negated)
            == len(row.margins_ab)
            == len(row.margins_ba)
            <= 8
        )
        at = row.principles.index(row.deciding)
        size = {
            name: abs(ab + ba) / 2 / scale[name] * (ab * ba > 0)
            for name, ab, ba in zip(row.principles, row.margins_ab, row.margins_ba, strict=True)
        }
        assert size[row.deciding] == max(size.values())
        assert row.margin == pytest.approx(abs(row.margins_ab[at] + row.margins_ba[at]) / 2)
        assert (row.margins_ab[at] < 0) == row.negated[at], (
            "the judge prefers the chosen side unless the opposite was asked"
        )
        cell = by_cell[pair_of(row), row.deciding]
        assert row.chosen == (
            cell.response_a if (cell.margin_ab > 0) != row.negated[at] else cell.response_b
        )
    assert (
        len(
            {
                (tuple(r.principles), tuple(r.negated))
                for r in rows.values()
                if pair_of(r) == "a0|b0"
            }
        )
        > 1
    )
    assert made.metrics["decided_by_opposite"] == pytest.approx(0.5, abs=0.15)
    assert sum(made.metrics["decided_by"].values()) == len(rows)


def test_neither_the_order_of_rows_nor_of_the_outputs_changes_a_verdict(tmp_path):
    matrix = random_matrix(20)
    options = {"aggregate": "salmon", "passes": 2, "label": "hard"}
    plain = pairs(judged_pairs(tmp_path / "1", matrix, **options))
    shuffled = random.Random(1).sample(matrix, len(matrix))
    assert (
        pairs(
            judged_pairs(
                tmp_path / "2", shuffled, names=[f"p{i}" for i in range(7, -1, -1)], **options
            )
        )
        == plain
    )
    swapped = [
        cells(
            c.pair_id,
            {c.principle: (-c.margin_ba, -c.margin_ab)},
            (c.response_b, c.response_a),
            c.prompt[0]["content"],
        )[0]
        for c in matrix
    ]
    turned = pairs(judged_pairs(tmp_path / "3", swapped, **options))
    assert {k: (r.chosen, r.rejected, r.deciding) for k, r in turned.items()} == {
        k: (r.chosen, r.rejected, r.deciding) for k, r in plain.items()
    }


def test_verdicts_that_turn_with_the_order_count_as_nothing_and_an_empty_row_is_dropped(tmp_path):
    loud = {"p0": (50.0, -40.0), "p1": (0.5, 0.4)}
    made = judged_pairs(
        tmp_path,
        cells("a|b", loud) + cells("c|d", {"p0": (9.0, -9.0), "p1": (-1.0, 2.0)}),
        aggregate="salmon",
        geometric=0.01,
        passes=8,
        normalise="none",
    )
    assert {row.deciding for row in made.rows} == {"p1"} and {
        pair_of(row) for row in made.rows
    } == {"a|b"}
    reasons = Counter((d.id.rpartition("#")[0], d.reason) for d in made.dropped)
    assert reasons["c|d", "the judge abstains"] == 8


def test_negating_nothing_and_everything_are_mirror_images(tmp_path):
    matrix = random_matrix()
    never = pairs(judged_pairs(tmp_path / "1", matrix, aggregate="salmon", negation=0))
    always = pairs(judged_pairs(tmp_path / "2", matrix, aggregate="salmon", negation=1))
    assert never.keys() == always.keys()
    for name, row in never.items():
        other = always[name]
        assert (row.chosen, row.rejected, row.deciding, row.label) == (
            other.rejected,
            other.chosen,
            other.deciding,
            other.label,
        )
        assert not any(row.negated) and all(other.negated)


def test_a_principle_with_the_same_verdict_on_every_pair_is_left_out_and_reported(tmp_path):
    matrix = random_matrix(20, names=3)
    for pair in range(20):
        matrix += cells(
            f"a{pair}|b{pair}",
            {"constant": (3.0, 3.0)},
            (f"one {pair}", f"other {pair}"),
            f"request {pair}",
        )
    made = judged_pairs(tmp_path / "1", matrix, aggregate="salmon", passes=4)
    assert made.metrics["left_out_without_variance"] == ["constant"]
    assert all("constant" not in row.principles for row in made.rows)
    with pytest.raises(UserError, match="none can be normalised"):
        judged_pairs(
            tmp_path / "2",
            [cell for cell in matrix if cell.principle == "constant"],
            aggregate="salmon",
        )


def test_noise_has_its_rate_and_turns_the_pair_round(tmp_path):
    matrix = random_matrix(300, names=4)
    plain = pairs(judged_pairs(tmp_path / "1", matrix, aggregate="salmon", passes=4, label="hard"))
    noisy = pairs(
        judged_pairs(tmp_path / "2", matrix, aggregate="salmon", passes=4, label="hard", noise=0.1)
    )
    turned = [name for name, row in noisy.items() if row.noise]
    assert binomtest(len(turned), len(noisy), 0.1).pvalue > 1e-3
    for name, row in noisy.items():
        same = (row.chosen, row.rejected) == (plain[name].chosen, plain[name].rejected)
        assert same != row.noise and row.negated == plain[name].negated
    for name in turned:
        assert noisy[name].margins_ab == [-m for m in plain[name].margins_ab]


DISCLAIMER = "As an AI language model, I cannot say, but the answer is likely yes."


def ruled_matrix(count: int = 400):
    """Every pair has a disclaimer on one side, now `a`, now `b`; the judge votes for either."""
    dice = random.Random(3)
    rows = []
    for pair in range(count):
        texts = (
            (DISCLAIMER, f"The answer {pair} is yes.")
            if pair % 2
            else (f"The answer {pair} is yes.", DISCLAIMER)
        )
        margins = {f"p{i}": (m := dice.gauss(0, 2), m) for i in range(3)}
        rows += cells(f"a{pair}|b{pair}", margins, texts)
    return rows


def test_a_rule_decides_without_regard_to_polarity_in_half_of_the_cases(tmp_path):
    matrix = ruled_matrix()
    options = {"aggregate": "salmon", "label": "hard", "overrides": ["disclaimer"]}
    never = pairs(judged_pairs(tmp_path / "1", matrix, negation=0, **options))
    always = pairs(judged_pairs(tmp_path / "2", matrix, negation=1, **options))
    ruled = [name for name, row in never.items() if row.override]
    assert binomtest(len(ruled), len(never), 0.5).pvalue > 1e-3
    assert ruled == [name for name, row in always.items() if row.override]
    for name in ruled:
        assert (
            never[name].chosen == always[name].chosen != DISCLAIMER
            and never[name].rejected == DISCLAIMER
        )
        assert not never[name].deciding and never[name].margin == 0
    assert any(row.chosen == DISCLAIMER for row in never.values()), (
        "the other half is decided by the principles"
    )


def test_noise_where_a_rule_decided_has_a_rate_of_its_own(tmp_path):
    made = judged_pairs(
        tmp_path,
        ruled_matrix(),
        aggregate="salmon",
        label="hard",
        passes=4,
        overrides=["disclaimer"],
        noise=0.1,
        override_noise=0.25,
    )
    for ruled, rate in ((True, 0.25), (False, 0.1)):
        rows = [row for row in made.rows if bool(row.override) == ruled]
        assert (
            len(rows) > 600
            and binomtest(sum(row.noise for row in rows), len(rows), rate).pvalue > 1e-3
        )
    assert all((row.chosen == DISCLAIMER) == row.noise for row in made.rows if row.override)


@pytest.mark.parametrize(("name", "negatable"), [("rm", 11), ("harmless", 0)])
def test_salmons_own_principles_fit(name, negatable):
    file = Path("/work/shared/data/salmon") / f"principle_collection_{name}.json"
    if not file.exists():
        pytest.skip("the shared data is not here")
    found = read_salmon(file).principles
    assert len(found) == 11 and sum(p.opposite is not None for p in found) == negatable
    drawn = [salmon.choose_principles(found, f"row {i}", 0) for i in range(2000)]
    assert {len(subset) for subset in drawn} == set(range(1, 9))
    assert any(negated for subset in drawn for _, negated in subset) == bool(negatable)
