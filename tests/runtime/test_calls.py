"""Which generator options identify an answer, and how many engines are kept."""

import pytest

from stages.runtime.calls import Engines
from stages.runtime.errors import UserError
from stages.runtime.pipeline.settings import Generator
from stages.runtime.typed_config import parse_config

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
