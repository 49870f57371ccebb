"""The reward composer: terms by name, SALMON's draws and its reward, and one message for each
mistake.
"""

import asyncio
import math
from collections import Counter
from itertools import permutations
from statistics import fmean, stdev
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.guards.errors import UserError
from stages.principles.select import Selection
from stages.runtime.calls import Engines
from stages.runtime.context import Context
from stages.runtime.store import CallStore
from stages.training.online.rewards import (
    models_of,
    read_terms,
    reward_functions,
    terms_identity,
)
from stages.training.reward_models.draws import PrincipleDraw
from stages.training.reward_models.scorer import Scorer
from tests.scripted import ScriptedGenerator
from tests.training.small_reward_models import constitution, reward_model

END = 2
INTERVENTION = """name: against-hacks
principles:
  - {id: no-praise, text: The answer does not praise itself.}
  - {id: no-steps, text: The answer does the task and does not list steps.}
"""


def selection(folder, **options):
    return Selection(**constitution(folder), **options)


def many(folder, count=12):
    lines = [f"  - {{id: p{i}, text: Rule {i}., weight: {1 + i % 3}}}" for i in range(count)]
    (folder / "many.yaml").write_text("name: many\nprinciples:\n" + "\n".join(lines) + "\n")
    return {"name": str(folder / "many.yaml")}


def intervention(folder):
    (folder / "hacks.yaml").write_text(INTERVENTION)
    return {"name": str(folder / "hacks.yaml")}


class Model:
    """An input that holds a model."""

    def __init__(self, model):
        self.model = lambda: model


@pytest.fixture
def called(tmp_path):
    """Build terms and call them as TRL does."""
    runner, store = asyncio.Runner(), CallStore(tmp_path / "calls.sqlite")

    def make(terms, models=None, generator=None, costs=()):
        async def opener(*_):
            return generator

        engines = Engines("scripted", {}, opener=opener)
        here = Context("it", tmp_path, 7, store, engines, runner)
        checked = read_terms(terms, "grpo")
        cost_terms = {name: term for name, term in checked.items() if name in costs}
        reward_terms = {name: term for name, term in checked.items() if name not in costs}
        functions = reward_functions(reward_terms, cost_terms, models or {}, here, {END})

        def call(prompts, texts, tokens=None, kinds=None, ids=None, step=0):
            return {
                function.__name__: function(
                    prompts=[[{"role": "user", "content": p}] for p in prompts],
                    completions=[[{"role": "assistant", "content": t}] for t in texts],
                    completion_ids=tokens or [[5, END]] * len(texts),
                    prompt_id=ids or list(prompts),
                    kind=kinds or ["k"] * len(texts),
                    trainer_state=SimpleNamespace(global_step=step),
                )
                for function in functions
            }

        return call

    yield make
    store.close()
    runner.close()


@pytest.fixture(scope="module")
def principled(tiny, tmp_path_factory):
    return Model(reward_model(tiny, tmp_path_factory.mktemp("rm") / "reads"))


@pytest.fixture
def shown(monkeypatch):
    """What a reward model is shown, in place of its scores: each gets 1.5."""
    seen = []
    monkeypatch.setattr(
        Scorer, "score", lambda self, items: seen.extend(items) or [1.5] * len(items)
    )
    return seen


SALMON = {
    "rm": {"term": "reward_model", "model": "rm", "draw": 3},
    "length": {
        "term": "length",
        "weight": 5.0,
        "per": 1024,
        "cap": 0.8,
        "factor": {"reasoning": -0.4, "red_team": 0.0},
    },
    "finished": {"term": "unfinished", "weight": 6.0},
}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.floats(-9, 9),
            st.integers(1, 1500),
            st.booleans(),
            st.sampled_from(["general", "reasoning", "red_team"]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_the_reward_is_salmons_sum(called, principled, tmp_path, monkeypatch, rollout):
    """RM + 5 min(m L / 1024, 0.8) - 6 [no stop], with the paper's m by kind of prompt."""
    scores = [score for score, *_ in rollout]
    monkeypatch.setattr(Scorer, "score", lambda self, items: scores)
    terms = SALMON | {"rm": SALMON["rm"] | {"constitution": many(tmp_path)}}
    tokens = [[5] * (length - 1) + [END if stops else 5] for _, length, stops, _ in rollout]
    kinds = [kind for *_, kind in rollout]
    found = called(terms, {"rm": principled})(
        [f"p{i}" for i in range(len(rollout))], ["x"] * len(rollout), tokens, kinds
    )
    weights = {name: term.weight for name, term in read_terms(terms, "ppo").items()}
    for i, (score, length, stops, kind) in enumerate(rollout):
        m = {"general": 1.0, "reasoning": -0.4, "red_team": 0.0}[kind]
        expected = score + 5 * min(m * length / 1024, 0.8) - 6 * (not stops)
        assert sum(weights[name] * values[i] for name, values in found.items()) == pytest.approx(
            expected, abs=1e-9
        )


def test_an_empty_completion_is_unfinished_and_every_end_counts(called):
    call = called({"end": {"term": "unfinished"}})
    assert call(["p"] * 3, ["", "x", "x"], [[], [END, 5], [5, END]])["end"] == [-1.0, -1.0, 0.0]


def test_scores_are_shifted_then_scaled(called, principled, tmp_path, shown):
    term = {
        "term": "reward_model",
        "model": "rm",
        "constitution": constitution(tmp_path),
        "shift": 0.5,
        "scale": 10.0,
    }
    assert called({"rm": term}, {"rm": principled})(["p"], ["x"])["rm"] == [10.0]


def test_three_are_drawn_without_replacement_one_draw_a_prompt_and_round(
    called, principled, tmp_path, shown
):
    terms = {
        "rm": {"term": "reward_model", "model": "rm", "constitution": many(tmp_path), "draw": 3}
    }
    call = called(terms, {"rm": principled})
    prompts = [f"p{i // 4}" for i in range(40)]  # four completions of each of ten prompts

    def drawn(step):
        shown.clear()
        call(prompts, [f"x{i}" for i in range(40)], step=step)
        return [texts for _, _, texts in shown]

    first = drawn(0)
    assert all(len(texts) == len(set(texts)) == 3 for texts in first)
    by_prompt = {}
    for prompt, texts in zip(prompts, first, strict=True):
        assert by_prompt.setdefault(prompt, texts) == texts, (
            "completions of one prompt are compared under one draw"
        )
    assert len(set(by_prompt.values())) > 5, "prompts draw for themselves"
    assert drawn(0) == first, "a resumed training draws again what it drew"
    later = dict(zip(prompts, drawn(1), strict=True))
    assert sum(later[p] != by_prompt[p] for p in by_prompt) >= 8, "another round, another draw"
    assert [text for _, text, _ in shown] == [f"x{i}" for i in range(40)]


def test_weights_decide_who_is_drawn(tmp_path):
    from scipy.stats import chisquare

    draw = PrincipleDraw(Selection(**many(tmp_path)), 1, 7)
    counts = Counter(draw(f"row {i}", "k", 0)[0].id for i in range(3000))
    total = sum(1 + i % 3 for i in range(12))
    assert (
        chisquare(
            [counts[f"p{i}"] for i in range(12)], [3000 * (1 + i % 3) / total for i in range(12)]
        ).pvalue
        > 1e-4
    )


def test_a_boost_of_128_puts_the_principle_into_nearly_every_draw_of_its_kind_only(tmp_path):
    draw = PrincipleDraw(Selection(**many(tmp_path)), 3, 7, boost={"reasoning": {"p0": 128.0}})

    def share(kind, round_=0):
        return (
            sum("p0" in {p.id for p in draw(f"row {i}", kind, round_)} for i in range(1000)) / 1000
        )

    assert share("reasoning") > 0.95 and share("reasoning", 5) > 0.95
    assert 0.05 < share("general") < 0.3
    assert {p.weight for p in draw("row", "reasoning", 0)} <= {1.0, 2.0, 3.0, 129.0}


def test_interventions_come_first_then_what_is_always_on_then_the_draw(
    called, principled, tmp_path, shown
):
    term = {
        "term": "reward_model",
        "model": "rm",
        "constitution": many(tmp_path),
        "draw": 3,
        "always": ["p4"],
    }
    call = called({"rm": term | {"intervention": intervention(tmp_path)}}, {"rm": principled})
    for step in range(8):
        call([f"p{step}"], ["x"], step=step)
    hacks = (
        "The answer does not praise itself.",
        "The answer does the task and does not list steps.",
    )
    for _, _, texts in shown:
        assert texts[:3] == (*hacks, "Rule 4.") and len(texts) == 6 and "Rule 4." not in texts[3:]
    assert len({texts[3:] for _, _, texts in shown}) > 3
    shown.clear()
    called({"rm": term | {"draw": None}}, {"rm": principled})(["p"], ["x"])
    assert shown[0][2] == ("Rule 4.", *(f"Rule {i}." for i in range(12) if i != 4))
    shown.clear()
    alone = {"term": "reward_model", "model": "rm", "intervention": intervention(tmp_path)}
    called({"rm": alone}, {"rm": principled})(["p"], ["x"])
    assert shown[0][2] == hacks


@pytest.mark.parametrize("always", [[], ["p4"], [f"p{i}" for i in range(12)]])
def test_a_draw_of_more_than_there_are_reads_all(called, principled, tmp_path, shown, always):
    """And the mean is then by weight, as where all are shown."""
    term = {"term": "reward_model", "model": "rm", "constitution": many(tmp_path), "always": always}
    drawn = 12 - len(always)
    for draw in (99, drawn):
        if draw:
            call = called({"rm": term | {"draw": draw}}, {"rm": principled})
            call([f"p{i}" for i in range(4)], ["x"] * 4)
    shown_texts = [texts for _, _, texts in shown]
    assert all(sorted(texts) == sorted(f"Rule {i}." for i in range(12)) for texts in shown_texts)
    assert shown_texts[:4] == (shown_texts[4:] or shown_texts)
    large = PrincipleDraw(Selection(**many(tmp_path)), 99, 7, always=always)
    weighted = [1.0 + int(p.id[1:]) % 3 for p in large("row", "k", 0)]
    assert large.mean_weights(large("row", "k", 0)) == weighted


def test_each_principle_can_be_asked_by_itself_and_the_mean_taken(
    called, principled, tmp_path, monkeypatch
):
    worth = {"The answer is kind.": 4.0, "The answer is short.": 1.0, "The answer is plain.": 0.0}
    seen = []
    monkeypatch.setattr(
        Scorer,
        "score",
        lambda self, items: seen.extend(items) or [sum(map(worth.get, t)) for _, _, t in items],
    )
    term = {
        "term": "reward_model",
        "model": "rm",
        "constitution": constitution(tmp_path),
        "each": True,
    }
    asked = called({"rm": term}, {"rm": principled})(["one", "two"], ["a", "b"])
    assert asked["rm"] == [pytest.approx((4 + 3 * 1 + 0) / 5)] * 2, "by weight"
    assert all(len(texts) == 1 for _, _, texts in seen) and len(seen) == 6
    drawn = called({"rm": term | {"draw": 2}}, {"rm": principled})(
        [f"p{i}" for i in range(9)], ["a"] * 9
    )
    assert {2.5, 0.5} <= set(drawn["rm"]) <= {2.5, 2.0, 0.5}, "a draw has used the weights"
    all_drawn = called({"rm": term | {"draw": 3}}, {"rm": principled})(["one"], ["a"])
    assert all_drawn["rm"] == [pytest.approx((4 + 3 * 1 + 0) / 5)], "a draw of all has not"
    fixed = term | {"draw": 2, "always": ["short"]}
    fixed_and_all = called({"rm": fixed}, {"rm": principled})(["one"], ["a"])
    assert fixed_and_all["rm"] == [pytest.approx((4 + 3 * 1 + 0) / 5)]


WORTH = {"kind": 4.0, "short": -1.0, "plain": 0.5}
WEIGHTS = {"kind": 1, "short": 3, "plain": 1}


def expected_mean_of(count):
    """The expectation of the plain mean of `count` principles, drawn one after the other by weight:
    by enumeration.
    """
    total = 0.0
    for order in permutations(WORTH, count):
        chance = 1.0
        left = sum(WEIGHTS.values())
        for name in order:
            chance *= WEIGHTS[name] / left
            left -= WEIGHTS[name]
        total += chance * sum(WORTH[name] for name in order) / count
    return total


@pytest.mark.parametrize("count", [1, 2])
def test_a_weight_counts_once_in_the_expectation_over_draws(
    called, principled, tmp_path, monkeypatch, count
):
    """With one principle a draw it is the weighted mean: the reward where all are asked."""
    weighted = sum(WEIGHTS[name] * WORTH[name] for name in WORTH) / sum(WEIGHTS.values())
    assert expected_mean_of(1) == pytest.approx(weighted)
    worth = {f"The answer is {name}.": value for name, value in WORTH.items()}
    monkeypatch.setattr(
        Scorer, "score", lambda self, items: [sum(map(worth.get, t)) for _, _, t in items]
    )
    term = {"term": "reward_model", "model": "rm", "constitution": constitution(tmp_path)}
    term |= {"each": True, "draw": count}
    prompts = [f"p{i}" for i in range(6000)]
    rewards = called({"rm": term}, {"rm": principled})(prompts, ["a"] * 6000)["rm"]
    error = stdev(rewards) / len(rewards) ** 0.5
    assert fmean(rewards) == pytest.approx(expected_mean_of(count), abs=4 * error)


@pytest.mark.parametrize("count, weights", [(1, 1), (2, 1), (3, 0)])
def test_a_judges_rating_of_drawn_principles_is_their_plain_mean(
    called, tmp_path, tiny, count, weights
):
    from stages.runtime.models import find_model

    yes = {"kind": 0.9, "short": 0.2, "plain": 0.5}
    asked = []

    def says(messages, options):
        text = messages[-1]["content"]
        name = next(name for name in yes if f"The answer is {name}." in text)
        asked.append(name)
        return [math.log(yes[name] if option == "Yes" else 1 - yes[name]) for option in options]

    term = {"term": "judge", "model": "judge", "constitution": constitution(tmp_path)}
    term |= {"draw": count, "scale": {"Yes": 1, "No": 0}, "rescale": False}
    models = {"judge": Model(find_model(str(tiny)))}
    for prompt in ("p", "q", "r", "s"):
        asked.clear()
        reward = called({"d": term}, models, ScriptedGenerator(scores=says))([prompt], [prompt])
        counts = {name: 1 if weights else WEIGHTS[name] for name in asked}
        mean = sum(counts[name] * yes[name] for name in asked) / sum(counts.values())
        assert len(asked) == count and reward["d"] == [pytest.approx(mean)]


def test_a_call_that_failed_is_a_missing_term(called, tmp_path, tiny):
    from stages.runtime.generation import CallFailed
    from stages.runtime.models import find_model

    def says(messages, options):
        if "blocked" in messages[-1]["content"]:
            raise CallFailed("the server refused it", "400: content filter")
        return [math.log(0.5)] * 2

    term = {"term": "judge", "model": "judge", "constitution": constitution(tmp_path)}
    models = {"judge": Model(find_model(str(tiny)))}
    call = called({"d": term}, models, ScriptedGenerator(scores=says))
    assert call(["p", "q"], ["blocked", "fine"])["d"] == [None, pytest.approx(0.0)]


def test_a_judges_rating_is_expected_rescaled_and_averaged_by_weight(called, tmp_path, tiny):
    from stages.runtime.models import find_model

    yes = {"kind": 0.9, "short": 0.2, "plain": 0.5}

    def says(messages, options):
        text = messages[-1]["content"]
        if "unreadable" in text:
            return [-math.inf] * 2
        chance = next(value for name, value in yes.items() if f"The answer is {name}." in text)
        return [math.log(chance if option == "Yes" else 1 - chance) for option in options]

    judge = ScriptedGenerator(scores=says)
    term = {
        "term": "judge",
        "model": "judge",
        "constitution": constitution(tmp_path),
        "scale": {"Yes": 10, "No": 1},
    }
    models = {"judge": Model(find_model(str(tiny)))}
    found = called({"d": term}, models, judge)(["p", "q"], ["fine", "unreadable"])["d"]
    assert found == [
        pytest.approx((0.8 + 3 * -0.6 + 0.0) / 5),
        None,
    ]  # 2 P(yes) - 1, weights 1, 3, 1
    raw = called({"d": term | {"rescale": False}}, models, judge)(["p"], ["fine"])["d"]
    assert raw == [pytest.approx((9.1 + 3 * 2.8 + 5.5) / 5)]
    before = len(judge.chosen)
    called({"d": term | {"draw": 1}}, models, judge)(["new"], ["another"])
    assert len(judge.chosen) == before + 1
    figures = term | {"scale": {1: 1, 2: 2, 3: 3}}  # as YAML reads them without quotes
    assert read_terms({"d": figures}, "grpo")["d"].scale == {"1": 1.0, "2": 2.0, "3": 3.0}


def row_of(prompt, response, row):
    return float(
        prompt[-1]["content"] == "p" and response == "x" and row == {"id": "i", "kind": "z"}
    )


def word(prompt, response, row):
    return "good"


def endless(prompt, response, row):
    return -math.inf


def several(prompt, response, row):
    return [1.0, 2.0]


def test_a_function_gets_prompt_completion_and_row(called):
    call = called(
        {"f": {"term": "python", "function": "tests.training.online.test_rewards:row_of"}}
    )
    assert call(["p"], ["x"], kinds=["z"], ids=["i"])["f"] == [1.0]


@pytest.mark.parametrize(
    "function, message",
    [
        (
            "tests.training.rewarding:nan",
            "the reward term 'f' gave nan for a completion of prompt p",
        ),
        (
            "tests.training.online.test_rewards:endless",
            "the reward term 'f' gave -inf for a completion of prompt p",
        ),
        ("tests.training.online.test_rewards:word", "gave something that is not a number"),
        ("tests.training.online.test_rewards:several", "gave something that is not a number"),
    ],
)
def test_what_is_no_number_stops_the_run_and_tells_where(called, function, message):
    with pytest.raises(UserError, match=rf"(?s)step 'it', rewards.f: .*{message}.*Fix:"):
        called({"f": {"term": "python", "function": function}})(["p"], ["x"])


RM = {"term": "reward_model", "model": "rm"}


@pytest.mark.parametrize(
    "terms, message",
    [
        ({}, "`rewards` names no term"),
        ({"a": None}, "`rewards` names no term"),
        ({"a": 3}, "there is no reward term None"),
        ({"a": {"term": "lenght"}}, "Did you mean 'length'"),
        ({"a": {"term": "length", "pre": 3}}, "unknown option 'pre'"),
        ({"a": {"term": "length", "per": 0}}, "per"),
        ({"a": {"term": "length", "weight": math.inf}}, "finite|less than"),
        (
            {"a": {"term": "python", "function": "tests.training.rewarding:nothing"}},
            "names no function",
        ),
        (
            {"a": {"term": "python", "function": "tests.training.rewarding:WEIGHTS"}},
            "names? no function|is not a function",
        ),
        ({"a": RM | {"draw": 3}}, "need a constitution"),
        ({"a": RM | {"constitution": "SET", "draw": 0}}, "leaves no principle to read"),
        (
            {"a": RM | {"constitution": "SET", "draw": -1, "always": ["kind"]}},
            "leaves no principle to read",
        ),
        ({"a": RM | {"constitution": "SET", "always": ["kin"]}}, "Did you mean 'kind'"),
        (
            {"a": RM | {"constitution": "SET", "draw": 1, "boost": {"k": {"shor": 1}}}},
            "Did you mean 'short'",
        ),
        (
            {"a": RM | {"constitution": "SET", "boost": {"k": {"short": 1}}}},
            "`boost` has no effect",
        ),
        ({"a": RM | {"constitution": "SET", "draw": 1, "boost": {"k": {"short": -1}}}}, "boost"),
        (
            {
                "a": RM
                | {
                    "constitution": "SET",
                    "draw": 1,
                    "always": ["kind"],
                    "boost": {"k": {"kind": 1}},
                }
            },
            "always shown",
        ),
        (
            {"a": {"term": "judge", "model": "m", "constitution": "SET", "draw": 0}},
            "leaves no principle to read",
        ),
        (
            {
                "a": {
                    "term": "judge",
                    "model": "m",
                    "constitution": "SET",
                    "scale": {"1": 2, "2": 2},
                }
            },
            "is worth 2",
        ),
        (
            {
                "a": {
                    "term": "judge",
                    "model": "m",
                    "constitution": "SET",
                    "scale": {True: 1, False: 0},
                }
            },
            "in quotes",
        ),
    ],
)
def test_each_mistake_in_the_terms_has_one_message(tmp_path, terms, message):
    chosen = constitution(tmp_path)
    for term in terms.values():
        if isinstance(term, dict) and term.get("constitution") == "SET":
            term["constitution"] = chosen
    with pytest.raises(UserError, match=rf"(?s)stage 'grpo'.*({message})") as error:
        read_terms(terms, "grpo")
    assert "Fix:" in str(error.value)


def test_an_input_that_the_step_lacks_is_reported(called):
    with pytest.raises(
        UserError, match=r"(?s)rewards\.a: .*reads an input 'rm'.*inputs here: prompts"
    ):
        called({"a": RM}, {"prompts": None})


@pytest.mark.parametrize(
    "principles, objective, options, costs, message",
    [
        (True, "preference", {}, (), "reads principles and was given none"),
        (False, "preference", {"constitution": "SET"}, (), "trained without principles"),
        (False, "cost", {}, (), r"step 'it', rewards\.a: .*here it is rewarded"),
        (False, "preference", {}, ("a",), r"step 'it', costs\.a: .*here it is a cost"),
        (False, "cost", {"weight": -1.0}, (), ""),
        (False, "preference", {"scale": -1.0}, ("a",), ""),
        (False, "cost", {}, ("a",), ""),
    ],
)
def test_a_model_is_used_as_it_was_trained_its_layout_and_its_sign(
    called, tiny, tmp_path, principles, objective, options, costs, message
):
    model = Model(reward_model(tiny, tmp_path / "rm", principles=principles, objective=objective))
    if "constitution" in options:
        options = options | {"constitution": constitution(tmp_path)}
    if not message:
        called({"a": RM | options}, {"rm": model}, costs=costs)
        return
    with pytest.raises(UserError, match=rf"(?s){message}.*Fix:"):
        called({"a": RM | options}, {"rm": model}, costs=costs)


def test_what_bears_meaning_is_in_the_identity_and_nothing_else(tmp_path):
    chosen = constitution(tmp_path)
    base = RM | {"constitution": chosen, "draw": 2, "intervention": intervention(tmp_path)}

    def identity_with(**options):
        return terms_identity(read_terms({"a": base | options}, "grpo"))

    before = identity_with()
    assert identity_with(batch_size=4) == before
    for options in (
        {"weight": 2},
        {"draw": 1},
        {"always": ["plain"]},
        {"scale": 2},
        {"shift": 1},
        {"model": "other"},
    ):
        assert identity_with(**options) != before, options
    assert (
        identity_with(boost={"k": {"kind": 1}}) != before
        and identity_with(constitution=chosen | {"weights": {"kind": 2}}) != before
    )
    for file, old, new in (
        ("set.yaml", "is kind.", "is very kind."),
        ("hacks.yaml", "praise", "flatter"),
    ):
        text = (tmp_path / file).read_text()
        (tmp_path / file).write_text(text.replace(old, new, 1))
        assert identity_with() != before, file
        (tmp_path / file).write_text(text)
    lines = (tmp_path / "hacks.yaml").read_text().splitlines()
    (tmp_path / "hacks.yaml").write_text("\n".join([*lines[:2], lines[3], lines[2]]))
    assert identity_with() != before, "the order in which they are read"
    judge = {"term": "judge", "model": "m", "constitution": chosen}
    one, other = (
        terms_identity(read_terms({"a": judge | more}, "grpo")) for more in ({}, {"rescale": False})
    )
    assert one != other and one["a"]["template"]
    function = terms_identity(
        read_terms({"a": {"term": "python", "function": "tests.training.rewarding:nan"}}, "grpo")
    )
    assert function["a"]["source"]["source"]
    assert models_of(read_terms({"a": base, "b": {"term": "length"}}, "grpo")) == {"a": "rm"}


@pytest.mark.slow
def test_a_policy_is_trained_under_principles_drawn_anew(
    artifact, context, tiny, tmp_path, monkeypatch
):
    """The real reward model, the real trainer: every rollout has draws of its own, equal within a
    group.
    """
    from stages.training.online.trl_stages import GRPO
    from tests.training.online.test_online import ARGS, prompts

    path, drawn, inner = reward_model(tiny, tmp_path / "saved").path, [], Scorer.score

    def score(self, items):
        drawn.append([(prompt[0]["content"], texts) for prompt, _, texts in items])
        return inner(self, items)

    monkeypatch.setattr(Scorer, "score", score)
    model = artifact("rm", model=path)
    inputs = {"model": artifact("base"), "prompts": artifact("prompts", prompts()), "rm": model}
    rewards = {"a": RM | {"constitution": constitution(tmp_path), "draw": 2}}
    config = GRPO.config(rewards=rewards, args=ARGS | {"num_generations": 4})
    last = GRPO.run(config, inputs, context()).metrics["last"]
    assert last["term a"] == pytest.approx(last["reward"], abs=1e-4)
    assert len(drawn) == 6
    for rollout in drawn:
        groups = {}
        for prompt, texts in rollout:
            assert groups.setdefault(prompt, texts) == texts and len(texts) == 2
        assert len(groups) == 4
    assert len({texts for rollout in drawn for _, texts in rollout}) > 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage",
    ["grpo", *(pytest.param(name, marks=pytest.mark.long) for name in ("ppo", "online_dpo"))],
)
def test_a_constant_reward_stops_the_training(artifact, context, stage):
    from stages import STAGES
    from stages.runtime.stage import load_stage
    from tests.training.online.test_online import ARGS, prompts

    contract = load_stage(STAGES[stage])
    args = (
        ARGS | {"max_steps": 15, "num_generations": 4}
        if stage == "grpo"
        else ARGS | {"max_steps": 15}
    )
    if stage == "online_dpo":
        args = {k: v for k, v in args.items() if k != "max_completion_length"} | {
            "max_new_tokens": 8,
            "max_length": 64,
        }
    inputs = {"model": artifact("base"), "prompts": artifact("prompts", prompts())}
    rewards = {"same": {"term": "python", "function": "tests.training.rewarding:constant"}}
    with pytest.raises(
        UserError, match=r"(?s)did the reward differ between answers to a prompt.*Fix:"
    ):
        contract.run(contract.config(rewards=rewards, args=args), inputs, context())


def test_a_completion_longer_than_the_reward_models_context_is_not_scored_and_stops_nothing(
    called, principled, tmp_path
):
    terms = {"rm": {"term": "reward_model", "model": "rm", "constitution": many(tmp_path)}}
    call = called(terms, {"rm": principled})
    short, long = call(["the cat", "the cat"], ["a kind answer", "helps " * 600])["rm"]
    assert math.isfinite(short) and long is None


def test_no_term_reads_thoughts(called, tmp_path):
    from stages.training.online.rewards import RewardFunction

    term = {"term": "python", "function": "tests.training.rewarding:has_thoughts"}
    texts = ["<think>hm</think>kind", "hm</think>\n\nkind", "<think>hm", "hm"]
    assert called({"seen": term})(["a"] * 4, texts)["seen"] == [0.0, 0.0, 0.0, 1.0]

    def call(function, text):
        row = {"prompts": [[]], "completions": [text], "completion_ids": [[5, 6, END]]}
        row |= {"prompt_id": ["a"], "kind": ["k"], "trainer_state": SimpleNamespace(global_step=0)}
        return function(**row)

    read = []

    def score(completions):
        read.extend(completions)
        return [0.0 for _ in completions]

    marks = [("<think>", "</think>")]
    opened = RewardFunction("it", score, "it", False, marks, prefilled="<think>\n")
    call(opened, "hm")  # cut off in the thoughts that the prompt opened
    call(opened, "hm</think>kind")
    assert [completion.text for completion in read] == ["", "kind"]
    # Tokens are all that were sampled: a length term and the end of the turn need them.
    assert read[1].tokens == [5, 6, END]


def test_why_a_reward_is_missing_is_said_once_and_counted(called, context, tmp_path, tiny, capsys):
    from stages.runtime.generation import CallFailed
    from stages.runtime.models import find_model
    from stages.training.session import model_session

    def says(messages, options):
        raise CallFailed("the server refused it", f"400: filter, {messages[-1]['content'][-9:]}")

    term = {"term": "judge", "model": "judge", "constitution": constitution(tmp_path)}
    models = {"judge": Model(find_model(str(tiny)))}
    call = called({"d": term}, models, ScriptedGenerator(scores=says))
    with model_session(context()) as log:
        assert call(["p", "q"], ["one", "two"])["d"] == [None, None]
    (message,) = log.counts
    assert "rewards.d: no reward for a completion: the server refused it" in message
    assert log.counts[message] == 2
    shown = capsys.readouterr().err
    assert shown.count("no reward for a completion") == 1 and "(400: filter" in shown


class Rubrics:
    """An input that holds the criteria of requests."""

    def __init__(self, rows):
        self.rows = lambda *_: rows


def criterion(name, prompt, weight=1.0, gate=False):
    from stages.runtime.rows import Proposal

    text = f"The answer is {name}."
    return Proposal(id=name, prompt_id=prompt, text=text, weight=weight, gate=gate)


def test_a_judges_reward_by_the_rubric_of_each_request(called, tmp_path, tiny):
    from stages.runtime.models import find_model

    yes = {"kind": 0.9, "short": 0.2, "plain": 0.4}

    def says(messages, options):
        text = messages[-1]["content"]
        if "unreadable" in text:
            return [-math.inf] * 2
        chance = next(value for name, value in yes.items() if f"The answer is {name}." in text)
        return [math.log(chance if option == "Yes" else 1 - chance) for option in options]

    rows = [criterion("kind", "p", 3), criterion("short", "p")]
    rows += [criterion("kind", "q"), criterion("plain", "q", gate=True)]
    inputs = {"judge": Model(find_model(str(tiny))), "rubrics": Rubrics(rows)}
    term = {"term": "judge", "model": "judge", "rubrics": "rubrics"}
    call = called({"r": term}, inputs, ScriptedGenerator(scores=says))
    rewards = call(["p", "q", "r", "p"], ["fine", "fine", "fine", "unreadable"])["r"]
    mean = (3 * 0.9 + 0.2) / 4
    assert rewards == [pytest.approx(2 * mean - 1), -1, None, None]
    looser = called({"r": term | {"gate": 0.3}}, inputs, ScriptedGenerator(scores=says))
    assert looser(["q"], ["fine"])["r"] == [pytest.approx(2 * 0.65 - 1)]


def test_a_ranking_is_a_reward_within_the_completions_of_a_prompt(called, tmp_path, tiny):
    from stages.runtime.models import find_model

    def text(messages):
        words = messages[-1]["content"]
        if "hopeless" in words:
            return "All are good."
        shown = [line.partition("] ")[2] for line in words.splitlines() if line[:1] == "["]
        best = sorted(range(len(shown)), key=lambda place: -len(shown[place]))
        return " > ".join(f"[{place + 1}]" for place in best)

    inputs = {"judge": Model(find_model(str(tiny)))}
    term = {"term": "ranking", "model": "judge", "constitution": constitution(tmp_path)}
    call = called({"r": term}, inputs, ScriptedGenerator(text=text))
    rewards = call(["p", "q", "p", "q", "p"], ["a", "hopeless", "aaa", "bb", "aa"])["r"]
    assert rewards == [0.0, None, 1.0, None, 0.5]


@pytest.mark.parametrize("kind", ["judge", "ranking"])
def test_a_judge_has_one_source_of_criteria(tmp_path, kind):
    both = {"constitution": constitution(tmp_path), "rubrics": "rubrics"}
    for criteria in ({}, both):
        with pytest.raises(UserError, match="by `constitution` or by `rubrics`"):
            read_terms({"r": {"term": kind, "model": "judge"} | criteria}, "grpo")
    with pytest.raises(UserError, match="`draw` draws principles"):
        read_terms({"r": {"term": "judge", "model": "j", "rubrics": "rubrics", "draw": 2}}, "grpo")


def test_what_identifies_a_judge_by_principles_is_what_it_was(tmp_path):
    term = {"term": "judge", "model": "j", "constitution": constitution(tmp_path)}
    assert not {"rubrics", "gate"} & terms_identity(read_terms({"a": term}, "grpo"))["a"].keys()
    by_rubric = {"term": "judge", "model": "j", "rubrics": "rubrics"}
    identities = [
        terms_identity(read_terms({"a": by_rubric | {"gate": gate}}, "grpo")) for gate in (0.2, 0.5)
    ]
    assert identities[0] != identities[1]
