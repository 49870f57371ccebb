"""From the judge matrix to pairs: invariants of systems.md section 15, items 2 and 5."""

import hashlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.guards.errors import UserError
from stages.preferences.aggregate import aggregate, combine_orders, soft_label
from stages.preferences.label_rule import rule_of
from stages.preferences.pair_inputs import read_cells
from stages.runtime.rows import Pair, Rating
from tests.preferences.matrices import artifact, cells, constitution, judged_pairs, pairs
from tests.running import Seeded, run_steps, text_pipeline
from tests.scripted import ScriptedGenerator

margin = st.floats(-20, 20, allow_nan=False)
margins = st.lists(margin, min_size=1, max_size=8)


@given(margin, margin)
def test_orders_that_contradict_each_other_count_as_nothing(ab, ba):
    agreed = combine_orders(ab, ba, "agree")
    assert agreed == (0.0 if ab * ba <= 0 else (ab + ba) / 2)
    assert combine_orders(-ab, -ba, "agree") == -agreed
    assert combine_orders(ab, ba, "average") == (ab + ba) / 2


def share(x):
    return 1 / (1 + math.exp(-x))


@given(margin, margin)
def test_the_swap_average_is_of_probabilities_and_turns_over_with_the_outputs(ab, ba):
    together = combine_orders(ab, ba, "swap_average")
    assert share(together) == pytest.approx((share(ab) + share(ba)) / 2)
    assert combine_orders(-ba, -ab, "swap_average") == -together
    assert share(together) + share(combine_orders(-ba, -ab, "swap_average")) == pytest.approx(1)


def test_the_swap_average_stands_far_verdicts():
    assert combine_orders(800, 800, "swap_average") == pytest.approx(800)
    assert combine_orders(900, -900, "swap_average") == pytest.approx(0)


@given(st.floats(0, 50), st.floats(0, 50))
def test_soft_label_is_a_probability_and_clamping_keeps_the_verdict(one, other):
    assert 0.5 <= soft_label(one, None) <= 1
    assert soft_label(one, None) + 1 / (1 + math.exp(one)) == pytest.approx(1)
    clamped = soft_label(one, (0.4, 0.6))
    assert 0.5 <= clamped <= 0.6
    if one < other:
        assert soft_label(one, None) <= soft_label(other, None)
    assert soft_label(0.0, (0.4, 0.6)) == 0.5


@given(st.floats(0, 50), st.sampled_from([(0.4, 0.6), (0.2, 0.8), (0.0, 1.0)]))
def test_clamping_twice_is_clamping_once(one, clamp):
    clamped = soft_label(one, clamp)
    again = soft_label(math.inf if clamped == 1 else math.log(clamped / (1 - clamped)), clamp)
    assert again == pytest.approx(clamped, abs=1e-12)


@given(margin)
def test_a_judge_that_always_says_the_same_place_prefers_nothing(constant):
    """Shown a first it answers as it does shown b first: P(A) is one half under every way to
    combine orders.
    """
    for orders in ("agree", "average", "swap_average"):
        together = combine_orders(constant, -constant, orders)
        assert together == pytest.approx(0, abs=1e-12) and soft_label(
            abs(together), None
        ) == pytest.approx(0.5)


@given(margins, st.sampled_from(["mean", "sum", "vote", "max_abs"]))
def test_swapping_the_outputs_turns_the_label_over(values, how):
    weights = [1.0] * len(values)
    forward, deciding = aggregate(values, weights, how)
    backward, same = aggregate([-v for v in values], weights, how)
    assert backward == pytest.approx(-forward)
    assert deciding == same


@given(margins, st.sampled_from(["mean", "sum", "vote", "max_abs"]), st.randoms())
def test_the_order_of_principles_changes_nothing(values, how, random):
    mixed = list(values)
    random.shuffle(mixed)
    one, two = (
        aggregate(values, [1.0] * len(values), how)[0],
        aggregate(mixed, [1.0] * len(values), how)[0],
    )
    assert abs(one) == pytest.approx(abs(two))
    if how != "max_abs" or len({abs(v) for v in values}) == len(values):
        assert one == pytest.approx(two)


def test_max_abs_is_salmons():
    assert aggregate([1.0, -3.0, 2.0], [1, 1, 1], "max_abs") == (-3.0, [1])
    assert (
        aggregate([1.0, -3.0, 2.0, 0.5], [1, 1, 1, 1], "max_abs")[0] == -3.0
    )  # a weaker principle changes nothing
    assert (
        aggregate([1.0, 3.0, 2.0], [1, 1, 1], "max_abs")[0] == 3.0
    )  # negating the deciding one flips the label


def test_a_drawn_principles_weight_does_not_count_again():
    assert aggregate([1.0], [3.0], "random") == (1.0, [0])


@pytest.mark.parametrize(
    "options",
    [{"clamp": [0.3, 0.6]}, {"clamp": [0.1, 0.4]}, {"clamp": [0.4, 0.6], "label": "hard"}],
)
def test_a_clamp_that_cannot_be_meant_is_refused(tmp_path, options):
    steps = text_pipeline(tmp_path, prompts=3)
    steps["pairs"] |= options
    with pytest.raises(UserError, match="clamp"):
        run_steps(steps, tmp_path)


def test_an_empty_judge_matrix_is_reported_with_its_reason(tmp_path):
    same = ScriptedGenerator(text=lambda messages: "one answer to all")
    with pytest.raises(
        UserError,
        match=r"(?s)'judgements': every row was dropped: 3 x equal responses.*parquet",
    ):
        run_steps(text_pipeline(tmp_path, prompts=3), tmp_path, same)


def test_vote_and_weights():
    assert aggregate([1, 2, -9], [1, 1, 1], "vote")[0] > 0
    assert aggregate([1, -9], [1, 1], "vote")[0] == 0
    assert aggregate([1, -9], [3, 1], "vote")[0] > 0
    assert aggregate([2, -1], [1, 4], "sum")[0] == -2
    assert aggregate([2, -1], [1, 1], "mean")[0] == 0.5
    assert aggregate([0.0, 0.0], [1, 1], "mean") == (0.0, [])


MATRIX = cells("a|b", {"p0": (2.0, 1.0), "p1": (-4.0, -4.0)}) + cells(
    "c|d", {"p0": (1.0, -1.0), "p1": (0.5, 0.5)}, ("x", "y")
)


def test_one_random_principle_gives_the_judges_own_unclamped_probability(tmp_path):
    made = pairs(judged_pairs(tmp_path, cells("a|b", {"p0": (6.0, 6.0)}), orders="swap_average"))[
        "a|b"
    ]
    assert (
        made.label == pytest.approx(share(6.0)) and made.chosen == "one" and made.deciding == "p0"
    )
    clamped = pairs(
        judged_pairs(tmp_path / "2", cells("a|b", {"p0": (6.0, 6.0)}), clamp=[0.4, 0.6])
    )["a|b"]
    assert clamped.label == 0.6 and clamped.chosen == "one"


def test_who_decided_and_both_orders_are_on_the_row(tmp_path):
    row = pairs(judged_pairs(tmp_path, MATRIX, aggregate="max_abs"))["a|b"]
    assert (row.chosen, row.deciding, row.margin, row.margins_ab) == ("other", "p1", 4.0, [4.0])
    row = pairs(judged_pairs(tmp_path / "2", MATRIX, aggregate="sum"))["a|b"]
    assert (row.chosen, row.deciding, row.principles) == ("other", "", ["p0", "p1"])
    assert (row.margins_ab, row.margins_ba) == ([-2.0, 4.0], [-1.0, 4.0])


def test_weights_of_the_constitution_count_in_a_sum(tmp_path):
    row = pairs(
        judged_pairs(tmp_path, MATRIX, aggregate="sum", constitution={"weights": {"p0": 9}})
    )["a|b"]
    assert (row.chosen, row.margin) == ("one", 9 * 1.5 - 4)


def test_a_matrix_of_zeros_is_reported(tmp_path):
    with pytest.raises(UserError, match="every margin is 0"):
        judged_pairs(tmp_path, cells("a|b", {"p0": (0.0, 0.0)}) + cells("c|d", {"p0": (0.0, 0.0)}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"passes": 4}, "passes"),
        ({"aggregate": "mean", "negation": 0.1}, "negation"),
        ({"aggregate": "salmon", "clip": 2.0}, "clip"),
        ({"override_noise": 0.25}, "override_noise"),
        ({"passes": 0}, "passes"),
        ({"noise": 1.5}, "noise"),
        ({"keep": 0}, "keep"),
        ({"keep": 2}, "keep"),
        ({"min_margin": -1}, "min_margin"),
    ],
)
def test_options_that_exclude_each_other_are_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        judged_pairs(tmp_path, MATRIX, **options)


def test_negation_needs_an_opposite(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3)  # its constitution has none
    steps["pairs"] |= {"aggregate": "salmon"}
    with pytest.raises(UserError, match="no principle has an opposite"):
        run_steps(steps, tmp_path)


def test_texts_do_not_identify_the_pairs_but_what_can_be_negated_does(tmp_path):
    from stages.preferences.judged_pairs import Config, identity
    from stages.principles.select import Selection

    def identified(opposite, **options):
        path = tmp_path / "set.yaml"
        # without any opposite there is no identity, but a mistake
        other = "  - {id: p1, text: t, opposite: o}\n"
        path.write_text(
            f"name: s\nprinciples:\n{other}  - id: p0\n    text: t{len(opposite)}\n{opposite}"
        )
        return identity(Config(constitution=Selection(name=str(path)), **options))

    one, two, none = "    opposite: o1\n", "    opposite: o2\n", ""
    assert (
        identified(one, aggregate="salmon")
        == identified(two, aggregate="salmon")
        != identified(none, aggregate="salmon")
    )
    assert identified(one, aggregate="salmon", negation=0.0) == identified(
        none, aggregate="salmon", negation=0.0
    )
    assert identified(one) == identified(none)


def rating(response, *scores):
    return Rating(
        id=f"{response}!",
        response_id=response,
        prompt_id="do it",
        kind="red_team",
        prompt=[{"role": "user", "content": "do it"}],
        response=response,
        score=0.0,
        principles=[f"s{i}" for i in range(len(scores))],
        negated=[False] * len(scores),
        scores=list(scores),
        model="0" * 16,
    )


def with_ratings(root, rows):
    from stages.runtime.rows import Judgement
    from tests.preferences.matrices import constitution, run_stage

    inputs = {
        "judgements": artifact(root, "judge", MATRIX, Judgement),
        "ratings": artifact(root, "rate", rows, Rating),
    }
    return run_stage(
        "judged_pairs",
        inputs,
        {"constitution": constitution(root / "set.yaml", ["p0", "p1"]), "aggregate": "max_abs"},
    )


def test_safe_is_no_principle_violated(tmp_path):
    made = with_ratings(
        tmp_path, [rating("one", 0.5, 0.2), rating("other", 0.1, 0.9), rating("x", 0.0)]
    )
    row = pairs(made)["a|b"]
    assert (row.chosen, row.chosen_safe, row.rejected_safe) == ("other", False, True)
    assert [(d.id, d.reason) for d in made.dropped] == [
        ("c|d", "a response without a safety rating")
    ]
    assert made.metrics["safe"] == {"both": 0, "neither": 0, "only_chosen": 0, "only_rejected": 1}
    assert pairs(judged_pairs(tmp_path / "2", MATRIX))["a|b"].chosen_safe is None


@pytest.mark.parametrize("scores", [(), (0.2, 3.0), (-0.1,), (math.nan,)])
def test_ratings_that_are_no_probabilities_are_refused(tmp_path, scores):
    with pytest.raises(UserError, match="no P"):
        with_ratings(tmp_path, [rating("one", *scores)])


def test_a_negated_principle_says_the_contrary(tmp_path):
    """Negation is arithmetic on the matrix, as in SALMON: the judge reads the principle as is."""
    plain = pairs(judged_pairs(tmp_path, MATRIX, aggregate="max_abs"))["a|b"]
    turned = pairs(
        judged_pairs(tmp_path / "2", MATRIX, aggregate="max_abs", constitution={"negate": ["p1"]})
    )["a|b"]
    assert (plain.chosen, turned.chosen, turned.margin) == ("other", "one", plain.margin)
    assert (turned.deciding, turned.margins_ab) == ("p1", [4.0])


def test_the_judge_reads_a_negated_principle_as_it_stands(tmp_path):
    from stages.preferences import judged_pairs
    from stages.preferences.judging import judge
    from stages.principles.select import Selection
    from tests.preferences.matrices import constitution

    name = constitution(tmp_path / "set.yaml", ["p0", "p1"])["name"]
    plain, negated = Selection(name), Selection(name, negate=("p1",))
    assert judge.identity(judge.Config(plain)) == judge.identity(judge.Config(negated))
    assert judged_pairs.identity(judged_pairs.Config(plain)) != judged_pairs.identity(
        judged_pairs.Config(negated)
    )


@pytest.mark.parametrize("aggregate", ["random", "mean", "sum", "vote", "max_abs"])
def test_a_finished_step_states_the_rule_by_which_it_labelled(tmp_path, aggregate):
    """An ablation labels again by this rule, so it must decide as the stage itself did."""

    def scores(messages, options):
        digest = hashlib.sha256(f"{messages}".encode()).digest()
        return [-byte / 64 for byte in digest[: len(options)]]

    constitution(tmp_path / "set.yaml", ["p0", "p1", "p2"])
    steps = text_pipeline(tmp_path, prompts=12)
    steps["pairs"] |= {"aggregate": aggregate, "clip": 0.7, "orders": "average"}
    for step in ("judgements", "pairs"):
        steps[step]["constitution"] |= {"weights": {"p1": 3.0}, "negate": ["p2"]}
    del steps["revisions"]
    _, done = run_steps(steps, tmp_path, Seeded(scores=scores), seed=3)
    rule = rule_of(done["pairs"])
    assert rule.negated == {"p2"} and rule.seed == 3 and not rule.by_subsets
    assert {name: p.weight for name, p in rule.principles.items()} == {"p0": 1, "p1": 3, "p2": 1}
    cells = read_cells(done["judgements"], set(rule.principles), "test", rule.negated)
    rows = {row.id: row for row in done["pairs"].rows(Pair)}
    assert rows
    for pair_id, of_pair in cells.items():
        margin, names = rule.decide(pair_id, rule.margins(of_pair))
        if pair_id not in rows:
            assert margin == 0
            continue
        row = rows[pair_id]
        up = row.chosen_id == of_pair[0].response_a_id
        assert margin == (row.margin if up else -row.margin) and names == row.principles
