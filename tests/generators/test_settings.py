"""What a user may write as sampling values and generator options, before anything is loaded."""

import pytest

from stages.generators.servers.options import complete_address
from stages.guards.errors import UserError
from stages.runtime.generation import Sampling
from stages.runtime.generator_registry import check_options, open_generator
from stages.runtime.models import Model
from stages.runtime.typed_config import parse_config

SERVER = {"endpoints": ["http://host:8000/v1"]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0},
        {"top_p": 1.5},
        {"top_p": float("nan")},
        {"max_tokens": 0},
        {"stop": [""]},
    ],
)
def test_sampling_out_of_bounds(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        parse_config(Sampling, wrong, "step 'answers'")
    assert parse_config(Sampling, {"temperature": 0, "stop": ["END"]}, "") == Sampling(
        0.0, stop=("END",)
    )


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("vllm", {"template_arguments": 3}, "template_arguments"),
        ("vllm", {"max_num_seqs": 0}, "max_num_seqs"),
        ("vllm", {"concurrency": -1}, "concurrency"),
        ("vllm", {"gpu_memory_utilization": 90}, "gpu_memory_utilization"),
        ("vllm", {"engine": [1]}, "engine"),
        ("transformers", {"max_batch": 0}, "max_batch"),
        ("transformers", {"max_model_len": "long"}, "max_model_len"),
        ("transformers", {"max_bach": 3}, "Did you mean 'max_batch'"),
        ("server", SERVER | {"timeout": "abc"}, "timeout"),
        ("server", {"endpoints": [3]}, "endpoints.0"),
        ("server", {"endpoints": "http://host:8000/v1"}, "endpoints"),
        ("server", SERVER | {"local": {"options": None}}, "local.options"),
        ("server", SERVER | {"local": {"nmae": "vllm"}}, "local.nmae"),
        ("server", SERVER | {"local": {"options": {"max_num_seqs": 0}}}, "max_num_seqs"),
    ],
)
def test_options_that_cannot_be(name, options, words):
    with pytest.raises(UserError) as caught:
        check_options(name, options)
    assert words in str(caught.value) and "generator.options" in str(caught.value)


def test_good_options_pass():
    options = {"max_batch": 4, "load": {"attn_implementation": "eager"}}
    check_options("transformers", options)
    check_options(
        "server",
        SERVER | {"timeout": 5, "local": {"name": "transformers", "options": {"max_batch": 2}}},
    )


@pytest.mark.parametrize(
    "text",
    ["host:8000", "http://", "http://:80/v1", "http://h:99999/v1", "http://h:x/v1", "ftp://h/v1"],
)
def test_no_address(text):
    with pytest.raises(UserError, match="not an address"):
        complete_address(text)


@pytest.mark.parametrize(
    "text", ["http://user:secret@host/v1", "https://secret@host", "user:secret@host"]
)
def test_a_secret_in_an_address_is_refused_and_not_shown(text):
    with pytest.raises(UserError, match="user name") as caught:
        complete_address(text)
    assert "secret" not in str(caught.value)
    with pytest.raises(UserError, match="user name"):
        check_options("server", {"endpoints": [text]})


async def test_a_log_that_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match="irectory"):
        await open_generator("vllm", Model("/models/some", "0" * 16), {"log": str(tmp_path)})


def test_addresses():
    assert (
        complete_address("http://host:8000")
        == complete_address("http://host:8000/v1/")
        == "http://host:8000/v1"
    )
    assert complete_address("https://[::1]:65535/api/v1") == "https://[::1]:65535/api/v1"
