"""Which generator options identify an answer, and how many engines are kept."""

import pytest

from stages.guards.errors import UserError
from stages.runtime.calls import Engines, RememberedGenerator
from stages.runtime.generation import CallFailed, Choice, Completion, Sampling
from stages.runtime.models import Model
from stages.runtime.pipeline.settings import Generator
from stages.runtime.store import CallStore
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
