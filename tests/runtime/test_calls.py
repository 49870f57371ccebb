"""Which generator options identify an answer, and how many engines are kept."""

import pytest

from stages.runtime.calls import Engines
from stages.runtime.errors import UserError

SPEED = {"max_num_seqs": 4, "kv_cache_gib": 1.0}


def test_options_that_change_an_answer_are_separate_from_those_of_speed():
    assert Engines("vllm", SPEED | {"max_model_len": None, "engine": {}}).meaning == {}
    answer_options = {"max_model_len": 512, "engine": {"quantization": "fp8"}}
    assert Engines("vllm", SPEED | answer_options).meaning == answer_options
    assert Engines("transformers", {"load": {"torch_dtype": "auto"}, "max_batch": 2}).meaning == {
        "load": {"torch_dtype": "auto"}
    }
    assert Engines("server", {"local": {"name": "vllm", "options": SPEED}}).meaning == {}
    assert Engines(
        "server", {"local": {"name": "vllm", "options": SPEED | answer_options}}
    ).meaning == {"local": answer_options}


@pytest.mark.parametrize(
    ("options", "keep"),
    [({}, 0), ({}, None), ({}, "two"), (None, 1), ({"template_arguments": 3}, 1)],
)
def test_engines_that_cannot_be(options, keep):
    with pytest.raises(UserError) as caught:
        Engines("vllm", options, keep)
    assert caught.value.where.startswith("generator.")
