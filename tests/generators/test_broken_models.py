"""Models that are broken: numbers that are none, and chat templates of any kind."""

import asyncio
import json
import shutil
import time
from types import SimpleNamespace

import pytest

from stages.generators.rendering import refuse_repeated
from stages.generators.vllm import VllmGenerator
from stages.guards import sandbox
from stages.guards.errors import UserError
from stages.runtime.generation import CallFailed, Completion, Sampling
from stages.runtime.generator_registry import open_generator
from stages.runtime.models import find_model
from stages.text.revise import read_demonstrations
from stages.training.model_files import read_template
from tests.tiny_model import build_tiny_model

QUESTION = [{"role": "user", "content": "the cat"}]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("value", ["nan", "inf"])
async def test_numbers_that_are_not_finite_are_no_answer(path, value):
    generator = await open_generator("transformers", find_model(str(path)), {})
    plain = generator.decoder.network.forward

    def broken(**arguments):
        output = plain(**arguments)
        output.logits[0] = float(value)  # of one row in the batch
        return output

    generator.decoder.network.forward = broken
    try:
        for temperature in (0.0, 1.0):
            sampling = Sampling(temperature, max_tokens=4)
            calls = [generator.complete(QUESTION, sampling, seed) for seed in range(3)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(one) for one in results] == [CallFailed, Completion, Completion]
        with pytest.raises(CallFailed, match="numbers are not finite"):
            await generator.choose(QUESTION, ["a", "b"])
    finally:
        await generator.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3.0])
async def test_vllms_numbers_that_are_not_finite_are_no_answer(value):
    engine = VllmGenerator.__new__(VllmGenerator)
    engine.renderer = SimpleNamespace(question=lambda _: [1], option_ids=lambda _: [1, 2])
    engine.engine = SimpleNamespace(model_config=SimpleNamespace(logprobs_mode="raw_logprobs"))
    entry = {1: SimpleNamespace(logprob=value), 2: SimpleNamespace(logprob=float("nan"))}

    async def run(*_, **__):
        return SimpleNamespace(outputs=[SimpleNamespace(logprobs=[entry])])

    engine._run = run
    with pytest.raises(CallFailed, match="numbers are not finite"):
        await engine.choose(QUESTION, ["a", "b"])


TEMPLATES = {
    "a loop": b"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "a bomb": b"{{ 'a' * 10**10 }}",
    "recursion": b"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "an exception": b"{{ raise_exception('no') }}",
    "a variable": b"{{ company.name }}",
    "another error": b"{{ 1 / 0 }}",
    "no words": b"{{ messages|length }}",
    "no syntax": b"{% if %}",
    "no UTF-8": b"{{ messages }}\xff\xfe",
    "a long one": b"x" * 300_000,
    "an import": b"{% include '/etc/passwd' %}",
    "a way out": b"{{ messages.__class__.__mro__ }}",
}


@pytest.mark.parametrize("name", TEMPLATES)
async def test_a_chat_template_that_cannot_work_is_refused_when_the_model_is_opened(
    path, tmp_path, name, monkeypatch
):
    monkeypatch.setattr(sandbox, "MOST_SECONDS", 0.2)
    folder = shutil.copytree(path, tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_bytes(TEMPLATES[name])
    start = time.process_time()
    with pytest.raises(UserError, match=str(folder)):
        await open_generator("transformers", find_model(str(folder)), {})
    assert time.process_time() - start < 5


@pytest.mark.parametrize("option", ["", "a\0", "\ud83d", "\x1b[31m", "A\u202e"])
def test_options_that_no_text_holds_are_refused(option):
    with pytest.raises(UserError) as caught:
        refuse_repeated(["A", option])
    str(caught.value).encode()


def test_many_options_make_no_long_message():
    with pytest.raises(UserError) as caught:
        refuse_repeated([str(number % 500) for number in range(1000)])
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "content",
    [
        "7",
        "[[7]]",
        "- - {role: user}",
        "- - {role: user, content: [a]}",
        "- - {role: user, content: !!int ''}",
        "- - {role: user, content: !!timestamp x}",
        "- - {role: user, content: !!python/object/apply:os.system [true]}",
        "a: &a [x, x]\nb: *a",
        "[" * 900,
        "%YAML 9.9\n---\n- []",
    ],
)
def test_demonstrations_that_are_none_are_refused_with_their_file(tmp_path, content):
    path = tmp_path / "shots.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"shots\.yaml"):
        read_demonstrations(str(path))


@pytest.mark.parametrize("name", ["none.jinja", "folder.jinja", "none", "latin.j2"])
def test_a_chat_template_file_that_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / "folder.jinja").mkdir()
    (tmp_path / "latin.j2").write_bytes(b"\xff")
    with pytest.raises(UserError, match=name):
        read_template({"chat_template_path": str(tmp_path / name)})
