"""Which generator options identify an answer, and how many engines are kept."""

import asyncio
import hashlib
import json
import random
import re

import pytest

from stages.guards.errors import UserError
from stages.runtime.calls import Engines, RememberedGenerator
from stages.runtime.generation import (
    CallFailed,
    Choice,
    Completion,
    Sampling,
    as_completion,
    parse_completion,
)
from stages.runtime.models import Model
from stages.runtime.pipeline.settings import Generator
from stages.runtime.store import CallStore, call_key, derive_seed
from stages.runtime.tally import Tally
from stages.runtime.typed_config import parse_config
from tests.scripted import ScriptedGenerator

SPEED = {"max_num_seqs": 4, "kv_cache_gib": 1.0}


def test_options_that_change_an_answer_are_separate_from_those_of_speed():
    assert Engines("vllm", SPEED | {"max_model_len": None, "engine": {}}).answer_options == {}
    answer_options = {"max_model_len": 512, "engine": {"quantization": "fp8"}}
    assert Engines("vllm", SPEED | answer_options).answer_options == answer_options
    assert Engines(
        "transformers", {"load": {"torch_dtype": "auto"}, "max_batch": 2}
    ).answer_options == {"load": {"torch_dtype": "auto"}}
    assert Engines("server", {"local": {"name": "vllm", "options": SPEED}}).answer_options == {}
    assert Engines(
        "server", {"local": {"name": "vllm", "options": SPEED | answer_options}}
    ).answer_options == {"local": answer_options}


def test_engines_that_cannot_be():
    with pytest.raises(UserError) as caught:
        Engines("vllm", {"template_arguments": 3})
    assert caught.value.where.startswith("generator.")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("options", None),
        *(("keep", value) for value in (0, None, "two")),
        *(("concurrency", value) for value in (0, -1, 1.5, "8", None, True)),
    ],
)
def test_generator_settings_that_cannot_be(option, value):
    settings = {"name": "vllm", "options": {}, "keep": 1, "concurrency": 8}
    parse_config(Generator, settings, "the config")
    with pytest.raises(UserError, match=f"the config: option '{option}"):
        parse_config(Generator, settings | {option: value}, "the config")


class Thinking(ScriptedGenerator):
    async def complete(self, messages, sampling, seed):
        await super().complete(messages, sampling, seed)
        return Completion("answer", "length", 3, 2, thoughts="half \ud83d")


async def test_an_answer_is_stored_whole_and_a_failure_is_not(tmp_path):
    choice = Choice([-0.1, -2.4], 0.7, bounded=True, instead="The")
    engine = Thinking(scores=lambda messages, options: choice)

    async def open_scripted(*_):
        return engine

    tally = Tally()
    store = CallStore(tmp_path / "calls.sqlite")
    engines = Engines("scripted", {}, opener=open_scripted)
    generator = RememberedGenerator(store, engines, Model("m", "0" * 16), tally)
    question = [{"role": "user", "content": "why?"}]

    def fail(messages):
        raise CallFailed("refused by the server (content filter)")

    engine.failure = fail
    for _ in range(2):
        with pytest.raises(CallFailed):
            await generator.complete(question, Sampling(), 0)
    assert tally.call_counts() == {"stored": 0, "sent": 0, "tokens": 0, "failed": 2}
    engine.failure = None
    for _ in range(2):
        completion = await generator.complete(question, Sampling(), 0)
        assert (completion.text, completion.finish_reason) == ("answer", "length")
        assert await generator.choose(question, ["A", "B"]) == choice
    assert completion.thoughts == "half \ufffd"
    counts = {"stored": 2, "sent": 2, "tokens": 2 + 1, "failed": 2}
    assert tally.call_counts() == counts | {"read": 3 + 5, "texts": 1, "estimated": 1}
    assert tally.option_metrics()["questions"] == 2 and tally.option_metrics()["mean"] == 0.7
    store.close()


def test_keys_are_those_of_earlier_versions():
    """Users' stores stay valid: a key is the hash of the canonical JSON of all parts."""
    rng = random.Random(0)
    letters = 'ab "\\\n\t/é漢\U0001f600\ud83d\u2028\x00'

    def text():
        return "".join(rng.choices(letters, k=rng.randrange(8)))

    for _ in range(300):
        sampling = Sampling(
            temperature=rng.choice([0, 0.7, 1, 1.0, 1e-7]), stop=(text(),) * rng.randrange(2)
        )
        parts = {
            "model": text(),
            "generator": {text(): rng.choice([None, True, 1, 0.5, [text()]]) for _ in range(2)},
            "verb": "complete",
            "messages": [{"role": "user", "content": text()} for _ in range(rng.randrange(3))],
            "sampling": vars(sampling),
            "seed": rng.randrange(2**31),
        }
        if rng.random() < 0.5:
            parts["prefix"] = text()
        plain = json.dumps(parts, sort_keys=True, ensure_ascii=False)
        expected = hashlib.sha256(plain.encode(errors="surrogatepass")).hexdigest()
        assert call_key(**parts) == expected
        seeds = (rng.randrange(9), text(), "respond", 1)
        digest = hashlib.sha256(
            json.dumps(seeds, ensure_ascii=False).encode(errors="surrogatepass")
        ).digest()
        assert derive_seed(*seeds) == int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


def test_a_generator_asks_the_store_for_the_old_keys(tmp_path, monkeypatch):
    """Also where the sampling changes from call to call."""
    asked = []

    async def note(self, key, check):
        asked.append(key)
        return check(json.dumps({**ANSWER, "text": "an answer"}))

    monkeypatch.setattr(CallStore, "get_soon", note)
    engines = Engines("scripted", {"dtype": "x"})
    model = Model("somewhere", "content", None)
    generator = RememberedGenerator(CallStore(tmp_path / "s"), engines, model, Tally())
    messages = [{"role": "user", "content": "é"}]
    samplings = [Sampling(), Sampling(temperature=0.5), Sampling(temperature=1)]
    for sampling in samplings:
        answer = asyncio.run(generator.complete(messages, sampling, 3))
        assert answer.text == "an answer"
    expected = [
        call_key(
            model="content",
            generator=engines.answerer(model).answer_options,
            verb="complete",
            messages=messages,
            sampling=vars(sampling),
            seed=3,
        )
        for sampling in samplings
    ]
    assert asked == expected


ANSWER = {"text": "x", "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 2}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"text": "half \ud83d"},
        {"text": "whole \U0001f600"},
        {"thoughts": "t"},
        {"text": None},
        {"prompt_tokens": 1.0},
        {"prompt_tokens": -1},
        {"prompt_tokens": True},
        {"finish_reason": "other"},
        {"more": 1},
    ],
)
def test_an_answer_is_read_from_json_as_from_its_values(change):
    text = json.dumps({**ANSWER, **change})
    try:
        expected = as_completion(json.loads(text))
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            parse_completion(text)
    else:
        assert parse_completion(text) == expected


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "1"])
def test_what_is_no_answer_is_refused(text):
    with pytest.raises(ValueError):
        parse_completion(text)
