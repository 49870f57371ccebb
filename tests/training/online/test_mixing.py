"""Ensembles, terms that count only where another one agrees, dropout of criteria, and a budget of
length.
"""

from statistics import fmean, pstdev
from types import SimpleNamespace

import pytest

from stages.guards.errors import UserError
from stages.principles.select import Selection
from stages.runtime.rows import Proposal
from stages.training.online.hacking.hiding import hide, hide_criteria
from stages.training.online.hacking.mixing import SharedScores
from stages.training.online.rewards import read_terms
from stages.training.online.terms import Completion, TermUse
from stages.training.reward_models.draws import PrincipleDraw

LENGTH = {"term": "length", "per": 1, "cap": 1e6}


def completion(text="a", tokens=1, step=0):
    return Completion([], text, [5] * tokens, "p", "k", step)


def scores_of(options, batch, table=None):
    """Scores of all terms; those of `table` come from it, by the number of tokens."""
    terms = read_terms(options, "grpo")
    shared = SharedScores(terms)
    calls = []
    for name, term in terms.items():
        context = SimpleNamespace(seed=7)
        use = TermUse({}, context, {2}, False, name, score_other=shared.score)
        function = term.score_function(use)
        if table and name in table:

            def function(batch, name=name):
                calls.append(name)
                return [table[name][len(one.tokens)] for one in batch]

        shared.add(name, function, use.signs)
    return {name: shared.score(name, batch) for name in terms}, calls


TABLE = {"a": {1: 2.0, 2: -1.0, 3: None}, "b": {1: 4.0, 2: 5.0, 3: 0.0}}


@pytest.mark.parametrize(
    "combine, more, expected",
    [
        ("mean", {}, [fmean([2, 8]), fmean([-1, 10])]),
        ("sum", {}, [10, 9]),
        ("min", {}, [2, -1]),
        (
            "mean_less_spread",
            {"spread": 0.5},
            [5 - 0.5 * pstdev([2, 8]), 4.5 - 0.5 * pstdev([-1, 10])],
        ),
    ],
)
def test_an_ensemble_combines_scores_and_needs_all_of_them(combine, more, expected):
    options = {
        "both": {"term": "ensemble", "of": {"a": 1.0, "b": 2.0}, "combine": combine, **more},
        "a": LENGTH | {"weight": 0.0},
        "b": LENGTH | {"weight": 0.0},
    }
    batch = [completion(tokens=1), completion(tokens=2), completion(tokens=3)]
    found, calls = scores_of(options, batch, TABLE)
    assert found["both"] == pytest.approx([*expected, None])
    assert sorted(calls) == ["a", "b"], "each scores the batch once"


def test_an_ensemble_leaves_terms_out_by_step():
    options = {
        "both": {"term": "ensemble", "of": {"a": 1.0, "b": 1.0}, "combine": "sum", "dropout": 0.5},
        "a": LENGTH | {"weight": 0.0},
        "b": LENGTH | {"weight": 0.0},
    }
    sums = []
    for step in range(60):
        found, _ = scores_of(options, [completion(step=step)] * 2, TABLE)
        assert found["both"][0] == found["both"][1], "all completions of a step are scored alike"
        sums.append(found["both"][0])
    assert set(sums) == {2.0, 4.0, 6.0}, "one, the other, or both"


def test_a_term_counts_only_where_another_one_is_above_its_limit():
    options = {
        "quality": LENGTH | {"only_if": {"term": "safe", "above": 0.0, "floor": -3.0}},
        "safe": LENGTH | {"weight": 0.0},
    }
    batch = [completion(tokens=n) for n in (1, 2, 3, 4)]
    table = {"safe": {1: 0.5, 2: 0.0, 3: None, 4: -1.0}}
    found, _ = scores_of(options, batch, table)
    assert found["quality"] == [1, -3.0, None, -3.0]


@pytest.mark.parametrize(
    "options, part",
    [
        ({"a": {"term": "ensemble", "of": {"b": 1.0}}}, "reads a term 'b'"),
        ({"a": {"term": "ensemble", "of": {}}}, "of"),
        ({"a": {"term": "ensemble", "of": {"b": 1.0}}, "b": LENGTH}, "would count twice"),
        ({"a": {"term": "ensemble", "of": {"a": 1.0}, "weight": 0.0}, "b": LENGTH}, "in a circle"),
        (
            {
                "a": LENGTH | {"only_if": {"term": "b"}},
                "b": LENGTH | {"only_if": {"term": "c"}},
                "c": LENGTH | {"only_if": {"term": "a"}},
            },
            "a -> b -> c -> a",
        ),
        ({"a": LENGTH | {"only_if": {"term": "quality"}}}, "reads a term 'quality'"),
        ({"a": LENGTH | {"free": -1}}, "free"),
    ],
)
def test_links_that_cannot_work_are_refused(options, part):
    with pytest.raises(UserError, match=part):
        read_terms(options, "grpo")


def test_a_budget_of_length_costs_nothing_up_to_its_tokens_and_then_each_of_them():
    batch = [completion(tokens=n) for n in (0, 4, 5, 8)]
    found, _ = scores_of({"budget": LENGTH | {"free": 4, "weight": -1.0}}, batch)
    assert found["budget"] == [0, 0, 1, 4]


def test_each_item_is_hidden_in_the_asked_share_of_steps_and_one_stays():
    items = list("abcdef")
    shown = [hide(items, 0.5, 7, step, str) for step in range(600)]
    for item in items:
        share = fmean(item in one for one in shown)
        assert 0.42 < share < 0.6, "of 600 steps, and the luckiest one stays"
    assert all(shown) and {len(one) for one in shown} >= {1, 2, 3, 4, 5}
    assert shown[3] == hide(items, 0.5, 7, 3, str) == [i for i in items if i in shown[3]]
    assert hide(items, 0.0, 7, 0, str) == items
    assert all(len(hide(items, 0.999, 7, step, str)) == 1 for step in range(20))


def test_a_rubric_keeps_its_gates_and_something_to_gain():
    rows = [
        Proposal(id="gate", prompt_id="p", text="g", gate=True),
        Proposal(id="good", prompt_id="p", text="a", weight=2.0),
        Proposal(id="fault", prompt_id="p", text="b", weight=-1.0),
    ]
    for step in range(40):
        shown = {row.id for row in hide_criteria(rows, 0.9, 1, step)}
        assert {"gate", "good"} <= shown
    assert hide_criteria(rows, 0.0, 1, 0) == rows


def test_a_draw_hides_the_same_principles_of_all_prompts_in_a_step(tmp_path):
    lines = [f"  - {{id: p{i}, text: Rule {i}., weight: {1 + i % 3}}}" for i in range(8)]
    (tmp_path / "many.yaml").write_text("name: many\nprinciples:\n" + "\n".join(lines) + "\n")
    selection = Selection(str(tmp_path / "many.yaml"))
    draw = PrincipleDraw(selection, None, 3, always=["p0"], dropout=0.6)
    steps = []
    for step in range(30):
        one, other = draw("a", "k", step), draw("b", "k", step)
        assert one == other and one[0].id == "p0" and len(one) >= 2
        assert draw.mean_weights(one) == [each.weight for each in one]
        steps.append(tuple(each.id for each in one))
    assert len(set(steps)) > 10
    few = PrincipleDraw(selection, 5, 3, dropout=0.9)
    assert all(1 <= len(few("a", "k", step)) <= 5 for step in range(30))
    with pytest.raises(UserError, match="dropout"):
        read_terms({"rm": {"term": "reward_model", "model": "m", "dropout": 0.5}}, "grpo")
    with pytest.raises(UserError, match="dropout"):
        read_terms(
            {
                "rm": {
                    "term": "reward_model",
                    "model": "m",
                    "constitution": {"name": "world"},
                    "dropout": 1.0,
                }
            },
            "grpo",
        )
