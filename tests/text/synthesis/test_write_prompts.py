"""New requests after the example of others: the mix in context, the filters, the novelty bound."""

import csv
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations, count
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.runtime.generation import CallFailed, Completion, TooLong
from stages.runtime.rows import Prompt
from stages.text.synthesis.filters import Filters, find_fault
from stages.text.synthesis.similarity import Pool, rouge_l, words_of
from stages.text.synthesis.write_prompts import split_items
from tests.running import fake_model, run_steps, write_constitution
from tests.scripted import ScriptedGenerator

SEED_TASKS = Path("/work/shared/data/self_instruct/seed_tasks.jsonl")
WORDS = [f"{a}{b}" for a in ("ba", "ke", "lo", "mi", "nu", "po", "ra") for b in "bdfgklmnprst"]


@dataclass
class Writes(ScriptedGenerator):
    """Writes one list after the other, and keeps what it was shown."""

    lists: list[str] = field(default_factory=list)
    finish: str = "stop"

    async def complete(self, messages, sampling, seed):
        self.completed.append((list(messages), sampling, seed))
        text = self.lists[(len(self.completed) - 1) % len(self.lists)]
        await self._pretend(messages)
        return Completion(text, self.finish, 1, 1)

    def shown(self, call):
        """The examples of a call."""
        return re.findall(r"^\d+\. (.*)$", self.completed[call][0][0]["content"], re.M)


def seed_texts(count=12):
    return [f"Explain {WORDS[i]} {WORDS[i + 1]} {WORDS[i + 2]} please" for i in range(count)]


def steps_with(folder, seeds=None, **options):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "seeds.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [["prompt", "kind"], *(seeds or [[t, "a"] for t in seed_texts()])]
        )
    return {
        "base": {"stage": "model", "path": str(fake_model(folder / "model"))},
        "seeds": {"stage": "prompts", "source": str(folder / "seeds.csv"), "kind_column": "kind"},
        "new": {"stage": "write_prompts", "inputs": {"seeds": "seeds", "model": "base"}, **options},
    }


def written(folder, generator, seeds=None, **options):
    _, done = run_steps(steps_with(folder, seeds, **options), folder, generator)
    return done["new"]


def new_texts(numbers, first=9):
    lines = [
        f"{first + i}. Describe {WORDS[n]} {WORDS[n + 20]} and {WORDS[n + 40]} to me"
        for i, n in enumerate(numbers)
    ]
    return "\n".join(lines)


def test_six_seeds_and_two_of_its_own_are_shown(tmp_path):
    """The first call has nothing of its own yet, and shows eight seeds."""
    generator = Writes(lists=[new_texts(range(4)), new_texts(range(4, 8)), new_texts(range(8, 12))])
    done = written(tmp_path, generator, calls=3)
    seeds = set(seed_texts())
    own = [sum(text not in seeds for text in generator.shown(call)) for call in range(3)]
    assert own == [0, 2, 2]
    assert all(len(set(generator.shown(call))) == 8 for call in range(3))
    rows = done.rows(Prompt)
    assert len(rows) == 12 and {row.kind for row in rows} == {"helpful"}
    assert done.metrics["written"] == done.metrics["accepted"] == 12
    assert {row.messages[-1]["role"] for row in rows} == {"user"}


def test_no_two_are_alike_whoever_wrote_them(tmp_path):
    """Over several pools that write the same, and beside the seeds."""
    near = f"9. Explain {WORDS[0]} {WORDS[1]} {WORDS[2]} please now\n10. {seed_texts()[3]}"
    lists = [new_texts(range(5)) + "\n" + near, new_texts(range(3, 8)), new_texts(range(2, 9, 2))]
    done = written(tmp_path, Writes(lists=lists), calls=4, shards=3, max_similarity=0.7)
    texts = [row.messages[-1]["content"] for row in done.rows(Prompt)]
    everything = texts + seed_texts()
    assert len(texts) == 9
    pairs = [pair for pair in combinations(everything, 2) if not set(pair) <= set(seed_texts())]
    assert max(rouge_l(*pair) for pair in pairs) < 0.7
    dropped = done.manifest.dropped
    assert dropped["a duplicate"] and dropped["too similar to another"]
    assert sum(dropped.values()) + len(texts) == done.metrics["written"]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("Too short this", "too few words"),
        ("word " * 151, "too many words"),
        ("Describe the picture on my desk", "a forbidden word"),
        ("Please go to the shop for me", "a forbidden word"),
        ("Write a program that adds two numbers", "a forbidden opening"),
        ("(a) name some of the rivers", "begins with punctuation"),
        ("Übersetze diesen Satz in gutes Englisch", "begins with a letter that is not English"),
        ("Describe the pictures' profile and the mapping", "a forbidden word"),
        ("Describe a profile and the mapping of drawers", ""),
        ("Name the four largest rivers", ""),
    ],
)
def test_each_filter_counts_its_own(tmp_path, text, reason):
    assert find_fault(text.strip(), Filters()) == reason
    done = written(tmp_path, Writes(lists=[f"9. {text}\n{new_texts([1], 10)}"]), calls=1)
    assert done.manifest.dropped == ({reason: 1} if reason else {})
    assert len(done.rows()) == (1 if reason else 2)


def test_what_was_dropped_can_be_read(tmp_path):
    done = written(tmp_path, Writes(lists=[f"9. {seed_texts()[2]}\n{new_texts([1], 10)}"]), calls=1)
    (row,) = done.dropped()
    assert row.id == "0-0-0" and seed_texts()[2] in row.detail and "1.00" in row.detail
    assert done.metrics["filters"] == {"a duplicate": {"dropped": 1, "survive": 0.5}}


def test_a_text_that_was_cut_off_is_not_used(tmp_path):
    done = written(tmp_path, Writes(lists=[new_texts(range(3))], finish="length"), calls=1)
    assert len(done.rows()) == 2 and done.manifest.dropped == {"cut off at max_tokens": 1}


@pytest.mark.parametrize(
    "text, items",
    [
        (
            "Here are some:\n\n9. One two\n   three\n10) Four\nTask 11: Five",
            ["One two three", "Four", "Five"],
        ),
        ("**9.** One\n**10.** **Two**", ["One", "Two"]),
        ("- One\n* Two\n• Three", ["One", "Two", "Three"]),
        ("One\n\nTwo", ["One", "Two"]),
        ("9. Meet me at 10:30 or 3.5 hours later", ["Meet me at 10:30 or 3.5 hours later"]),
        ('9. "One"\n10.\n', ["One"]),
        ("  \n", []),
    ],
)
def test_lists_as_models_write_them(text, items):
    assert split_items(text) == items


def test_a_kind_has_pools_of_its_own(tmp_path):
    seeds = [[t, "cold" if i % 2 else "warm"] for i, t in enumerate(seed_texts())]
    lists = [new_texts([1]), new_texts([1, 2, 3])]  # the first text in both: not of one kind
    generator = Writes(lists=lists)
    done = written(
        tmp_path, generator, seeds, by_kind=True, calls=1, examples=5, with_seeds=True, balance=True
    )
    kind_of = dict(seeds)
    for call in range(2):
        assert len({kind_of[text] for text in generator.shown(call)}) == 1
    rows = done.rows(Prompt)
    assert Counter(row.kind for row in rows) == {"warm": 7, "cold": 7}
    assert done.manifest.dropped == {"more than the smallest kind has": 2}
    assert {row.messages[-1]["content"] for row in rows} > set(seed_texts())


def test_topics_have_a_form():
    topics = Filters(words=(1, 3), forbidden=(), openings=(), form="topic")
    good, bad = ["Lunar tides", "Mars"], ["lunar tides", "Lunar tides.", "The tides of the moon"]
    assert [bool(find_fault(text, topics)) for text in good + bad] == [False] * 2 + [True] * 3


def test_a_second_run_sends_nothing_and_gives_the_same(tmp_path):
    lists = [new_texts(range(4)), new_texts(range(4, 8))]
    first = written(tmp_path, Writes(lists=lists), calls=2, shards=2)
    again = Writes(lists=["9. nothing of use in this list"])
    steps = steps_with(tmp_path, calls=2, shards=2, balance=True)  # another step, the same calls
    _, done = run_steps(steps, tmp_path, again)
    assert not again.completed and done["new"].rows() == first.rows()


def test_more_calls_ask_only_the_new_ones(tmp_path):
    lists = [new_texts(range(i, i + 3)) for i in range(0, 12, 3)]
    written(tmp_path, Writes(lists=lists), calls=2)
    generator = Writes(lists=lists[2:])
    done = written(tmp_path, generator, calls=3)
    assert len(generator.completed) == 1 and len(done.rows()) == 9


def test_examples_that_do_not_fit_cost_one_call(tmp_path):
    calls = count()

    def refuse(messages):
        if next(calls) == 0:
            raise TooLong(99, 9)

    done = written(tmp_path, Writes(lists=[new_texts(range(3))], failure=refuse), calls=2)
    assert done.manifest.dropped == {"longer than the model's context": 1}
    assert len(done.rows()) == 3


def test_a_call_that_fails_ends_its_pool_and_keeps_what_it_has(tmp_path):
    calls = count()

    def refuse(messages):
        if next(calls) == 5:
            raise CallFailed("refused", "by the server")

    lists = [new_texts([n]) for n in range(30)]
    done = written(tmp_path, Writes(lists=lists, failure=refuse), calls=3, shards=4)
    assert done.manifest.dropped == {"refused": 1}
    assert 8 <= len(done.rows()) < 12


def test_rouge_l_is_that_of_the_reference():
    """rouge-score's rougeL, where it is installed; and by its definition."""

    def lcs(a, b):
        row = [0] * (len(b) + 1)
        for word in a:
            before = 0
            for j, other in enumerate(b):
                before, row[j + 1] = (
                    row[j + 1],
                    before + 1 if word == other else max(row[j], row[j + 1]),
                )
        return row[-1]

    texts = [*seed_texts(6), "Explain: please, explain kef!", "a b c d e f g", "g a c e x", "?!"]
    for one, other in combinations(texts, 2):
        a, b = words_of(one), words_of(other)
        expected = 2 * lcs(a, b) / (len(a) + len(b)) if a and b else 0
        assert rouge_l(one, other) == pytest.approx(expected)
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    for one, other in combinations(texts, 2):
        assert rouge_l(one, other) == pytest.approx(scorer.score(one, other)["rougeL"].fmeasure)


def test_the_nearest_text_of_a_pool():
    pool = Pool(["a b c d", "a b x y z"], 0.7)
    assert pool.find_nearest("a b c q") == (0.75, "a b c d")
    assert Pool([], 0.7).find_nearest("a") == (0.0, "")


@pytest.mark.skipif(not SEED_TASKS.exists(), reason="../shared/data is not here")
def test_the_175_seed_tasks(tmp_path):
    """They are read as they are, and nothing that is written is like one of them."""
    tasks = [json.loads(line) for line in SEED_TASKS.read_text().splitlines()]
    copies = "\n".join(f"{i}. {task['instruction']}" for i, task in enumerate(tasks[:30]))
    generator = Writes(lists=[copies, new_texts(range(8))])
    steps = steps_with(tmp_path, calls=6)
    steps["seeds"] = {"stage": "prompts", "source": str(SEED_TASKS)}
    _, done = run_steps(steps, tmp_path, generator)
    seeds = [row.messages[-1]["content"] for row in done["seeds"].rows(Prompt)]
    assert len(seeds) == 175
    texts = [row.messages[-1]["content"] for row in done["new"].rows(Prompt)]
    assert 8 <= len(texts) < 30
    assert max(rouge_l(text, seed) for text in texts for seed in seeds) < 0.7
    assert max(rouge_l(*pair) for pair in combinations(texts, 2)) < 0.7


def test_each_rule_is_probed_with_its_own_words(tmp_path):
    """Sparrow: a call reads one rule, and what it writes is of the rule's kind."""
    rules = write_constitution(tmp_path / "rules.yaml", 3)
    lists = [new_texts(range(n, n + 3)) for n in range(0, 18, 3)]
    generator = Writes(lists=lists)
    template = "text/synthesis/probe_requests.jinja"
    options = {"constitution": {"name": str(rules), "drop": ["p1"]}, "template": template}
    done = written(tmp_path / "run", generator, calls=2, **options)
    shown = [messages[0]["content"] for messages, _, _ in generator.completed]
    read = [re.findall(r"The response keeps rule number (\d)", text) for text in shown]
    assert sorted(read) == [["0"], ["0"], ["2"], ["2"]]
    rows = done.rows(Prompt)
    assert Counter(row.kind for row in rows) == {"p0": 6, "p2": 6}
    with pytest.raises(UserError, match="both say what kind"):
        written(tmp_path / "both", generator, by_kind=True, **options)


def test_without_rules_nothing_of_a_step_changes(tmp_path):
    from stages.runtime.typed_config import identity_of, parse_config
    from stages.text.synthesis import write_prompts

    config = parse_config(write_prompts.Config, {}, "a step")
    assert "constitution" not in {**identity_of(config), **write_prompts.identity(config)}
