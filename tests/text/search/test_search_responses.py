"""Stage `search_responses` against a scripted model that evaluates itself."""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest

from stages.guards.errors import UserError
from stages.principles.encoder import Encoder
from stages.runtime.calls import Engines, RememberedGenerator, Tally
from stages.runtime.generation import Choice, Completion, TooLong
from stages.runtime.models import Model
from stages.runtime.rows import Response
from stages.runtime.store import CallStore
from tests.running import run_steps, text_pipeline
from tests.scripted import ScriptedGenerator

SEARCH = {"sizes": [1, 2], "draws": 4, "most_draws": 8, "least": 3, "most": 20, "more": 6}
WORDS = ("kind", "cruel")


@dataclass
class Mixed(ScriptedGenerator):
    """Writes kind and cruel words, a word a token, and ends after six; it judges by the words."""

    begun: list[str] = field(default_factory=list)
    last: str = ""
    limit: int = 6
    most_calls: int = 10**9

    async def complete(self, messages, sampling, seed, prefix=""):
        if self.calls >= self.most_calls:
            raise OSError("killed")
        self.completed.append((list(messages), sampling, seed))
        self.begun.append(prefix)
        room = self.limit - len(prefix.split())
        if prefix and room <= 0:
            raise TooLong(9, 9)
        more = min(room, sampling.max_tokens)
        words = "".join(f" {random.Random(seed + place).choice(WORDS)}" for place in range(more))
        ends = sampling.max_tokens > more
        return Completion(words + self.last * ends, "stop" if ends else "length", 1, more)

    async def choose(self, messages, options):
        self.chosen.append((list(messages), list(options)))
        said = messages[-1]["content"].split("Response: ")[1].split("Principle:")[0]
        share = 0.05 + 0.9 * said.count("kind") / max(len(said.split()), 1)
        return Choice([float(np.log(share)), float(np.log(1 - share))], 1.0)


def searched(folder, generator, prompts=2, **options):
    """The artifact of a search step, and the plan."""
    steps = text_pipeline(folder / "files", prompts=prompts)
    steps = {name: steps[name] for name in ("base", "requests", "answers")}
    steps["searched"] = {
        "stage": "search_responses",
        "inputs": {"prompts": "requests", "model": "base", "judge": "base"},
        "constitution": {"name": str(folder / "files" / "set.yaml"), "only": ["p0", "p1"]},
        "sampling": {"max_tokens": 12},
        "search": SEARCH,
        **options,
    }
    del steps["answers"]
    planned, done = run_steps(steps, folder, generator)
    return done["searched"], planned


def test_the_model_finds_answers_that_it_likes_and_reads_no_principle(tmp_path):
    generator = Mixed()
    artifact, _ = searched(tmp_path, generator, prompts=3)
    rows = artifact.rows(Response)
    assert len(rows) == 3 and all(len(row.response.split()) == 6 for row in rows)
    kind = sum(row.response.count("kind") for row in rows)
    assert kind / 18 > 0.7, "half of the words that it writes are kind"
    assert all(row.context == ["p0", "p1"] and row.finish_reason == "stop" for row in rows)
    # Nothing but the request is in its prompt; answers are continued, and never trained.
    assert {len(messages) for messages, _, _ in generator.completed} == {1}
    assert not any("rule number" in str(messages) for messages, _, _ in generator.completed)
    assert any(generator.begun) and all(
        "rule number" in str(asked) for asked, _ in generator.chosen
    )
    assert artifact.manifest.metrics["visits"] > 8


def test_a_search_is_the_same_again_and_goes_on_where_it_was_killed(tmp_path):
    whole, _ = searched(tmp_path / "whole", Mixed())
    killed = Mixed(most_calls=60)
    with pytest.raises(OSError, match="killed"):
        searched(tmp_path / "killed", killed)
    rest = Mixed()
    resumed, _ = searched(tmp_path / "killed", rest)
    assert resumed.rows(Response) == whole.rows(Response)
    calls = whole.manifest.calls
    assert 0 < rest.calls < calls.sent - 40 and calls.tokens > 0
    again = Mixed()
    searched(tmp_path / "whole", again)
    assert again.calls == 0


def test_an_empty_answer_is_bad_and_the_judge_need_not_say_so(tmp_path):

    @dataclass
    class Silent(Mixed):
        async def complete(self, messages, sampling, seed, prefix=""):
            if not prefix and seed % 2:
                return Completion("", "stop", 1, 1)
            return await super().complete(messages, sampling, seed, prefix)

    generator = Silent()
    rows = searched(tmp_path, generator)[0].rows(Response)
    assert len(rows) == 2 and all(row.response for row in rows)
    assert not any("Response: \n" in asked[-1]["content"] for asked, _ in generator.chosen)


def test_thoughts_are_split_off_and_not_judged(tmp_path):
    generator = Mixed(last="</think>Yes kind")
    row, *_ = searched(tmp_path, generator)[0].rows(Response)
    assert row.response == "Yes kind" and len(row.thoughts.split()) == 6
    said = [asked[-1]["content"].split("Response: ")[1] for asked, _ in generator.chosen]
    assert all(text.startswith("Yes kind\n") for text in said)


def test_an_answer_may_fill_the_context(tmp_path):
    generator = Mixed()
    rows = searched(tmp_path, generator, sampling={"max_tokens": 6})[0].rows(Response)
    assert all(row.finish_reason == "length" for row in rows)

    @dataclass
    class Full(Mixed):
        async def complete(self, messages, sampling, seed, prefix=""):
            made = await super().complete(messages, sampling, seed, prefix)
            return Completion(made.text, "length", 1, made.completion_tokens)

    rows = searched(tmp_path / "full", Full())[0].rows(Response)
    assert all(row.finish_reason == "length" and row.response for row in rows)


def test_an_encoder_reads_what_follows_a_set(tmp_path, monkeypatch):
    texts = []

    def encode(self, some):
        texts.extend(some)
        return np.array([[1.0, text.count("kind") / 10] for text in some])

    monkeypatch.setattr(Encoder, "encode", encode)
    inputs = {"prompts": "requests", "model": "base", "judge": "base"}
    searched(tmp_path, Mixed(), inputs=inputs)
    assert not texts
    searched(tmp_path, Mixed(), inputs=inputs | {"encoder": "base"})
    assert {1, 3, 5, 6} <= {len(text.split()) for text in texts}


def test_a_model_that_servers_hold_is_refused_at_once(tmp_path):
    """They continue nothing; a model in this process beside them is searched."""
    store = CallStore(tmp_path / "calls.sqlite")
    options = {"endpoints": ["http://127.0.0.1:9/v1"], "serves": "owner/name"}
    engines = Engines("server", options)

    def ask(path):
        model = Model(path, "content")
        RememberedGenerator(store, engines, model, Tally()).refuse_server("step 'a'")

    ask("/elsewhere")
    with pytest.raises(UserError, match="which a server does not do") as caught:
        ask("owner/name")
    assert "generator=transformers" in caught.value.fix
    store.close()


def test_what_cannot_be_searched_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot end at stop strings"):
        searched(tmp_path, Mixed(), sampling={"stop": ["\n"]})
    with pytest.raises(UserError, match="constitution"):
        searched(tmp_path, Mixed(), constitution=None)
    with pytest.raises(UserError, match="principle"):
        searched(tmp_path, Mixed(), constitution={"name": "world", "only": []})
