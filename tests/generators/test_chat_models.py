"""Tiny models with the chat templates in use, behind the transformers generator."""

import asyncio
import math
import shutil

import pytest

from stages.generators.chat import TemplateRefusal
from stages.guards.errors import UserError
from stages.runtime.calls import Engines
from stages.runtime.context import Context
from stages.runtime.generation import Sampling
from stages.runtime.generator_registry import open_generator
from stages.runtime.models import find_model
from stages.runtime.rows import Prompt
from stages.runtime.store import CallStore
from tests.chat_templates import build_chat_model

ASK = {"role": "user", "content": "Name a river."}
RULE = {"role": "system", "content": "Be brief."}


async def opened(path, **options):
    return await open_generator("transformers", find_model(str(path)), options)


@pytest.mark.parametrize("name", ["llama3", "phi3", "gemma"])
async def test_an_answer_ends_at_the_templates_end_of_turn(name, tmp_path):
    """The model's settings name another token; the sampler is made to write the template's."""
    import torch

    generator = await opened(build_chat_model(tmp_path, name))
    end = generator.renderer.chat.end_token
    assert end not in {generator.renderer.tokenizer.eos_token_id}
    network = generator.decoder.network
    calls = 0

    def forward(**arguments):
        nonlocal calls
        calls += 1
        output = network(**arguments)
        output.logits[...] = -9.0
        output.logits[..., end if calls == 3 else 65] = 9.0
        return output

    class Scripted:
        device = network.device
        generation_config = network.generation_config

        def __call__(self, **arguments):
            return forward(**arguments)

    generator.decoder.network = Scripted()
    with torch.inference_mode():
        answer = await generator.complete([ASK], Sampling(max_tokens=9, temperature=0), 0)
    assert answer.finish_reason == "stop" and answer.completion_tokens == 3
    assert len(answer.text) == 2  # without the mark
    generator.decoder.network = network
    await generator.close()


@pytest.mark.parametrize("name", ["qwen3", "deepseek-r1", "channels", "chatml"])
async def test_options_are_scored_where_answers_begin(name, tmp_path):
    import torch

    generator = await opened(build_chat_model(tmp_path, name))
    tokenizer = generator.renderer.tokenizer
    behind = {
        "qwen3": "<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "deepseek-r1": "<|Assistant|><think>\n\n</think>\n\n",
        "channels": "<|start|>assistant<|channel|>final<|message|>",
        "chatml": "<|im_start|>assistant\n",
    }[name]
    request = tokenizer.apply_chat_template([ASK], tokenize=False)
    ids = tokenizer(request + behind, add_special_tokens=False)["input_ids"]
    letters = tokenizer.convert_tokens_to_ids(["A", "B"])
    with torch.inference_mode():
        logits = generator.decoder.network(torch.tensor([ids])).logits[0, -1].double()
    expected = torch.log_softmax(logits[letters], -1).tolist()
    chosen = await generator.choose([ASK], ["A", "B"])
    logprobs = getattr(chosen, "logprobs", chosen)
    assert logprobs == pytest.approx(expected, abs=1e-5)
    assert sum(map(math.exp, logprobs)) == pytest.approx(1)
    await generator.close()


async def test_a_prefilled_opening_begins_the_stored_text(tmp_path):
    generator = await opened(build_chat_model(tmp_path, "deepseek-r1"))
    answer = await generator.complete([ASK], Sampling(max_tokens=20), 0)
    assert answer.text.startswith("<think>\n") and answer.finish_reason == "length"
    split = answer.split([("<think>", "</think>")])
    assert split.text == "" and split.reason_if_empty("response") == "cut off in its thoughts"
    await generator.close()


async def test_merging_is_the_same_as_a_merged_request(tmp_path):
    path = build_chat_model(tmp_path, "gemma")
    plain = await opened(path)
    with pytest.raises(TemplateRefusal):
        await plain.complete([RULE, ASK], Sampling(max_tokens=4), 0)
    merged = await opened(path, merge_system=True)
    both = {"role": "user", "content": "Be brief.\n\nName a river."}
    sampling = Sampling(max_tokens=4)
    assert await merged.complete([RULE, ASK], sampling, 0) == await plain.complete(
        [both], sampling, 0
    )
    assert await merged.choose([RULE, ASK], ["A", "B"]) == await plain.choose([both], ["A", "B"])
    await plain.close()
    await merged.close()


def test_one_refused_row_is_dropped_and_the_others_are_answered(tmp_path):
    path = build_chat_model(tmp_path / "model", "gemma")
    store, loop = CallStore(tmp_path / "calls.sqlite"), asyncio.Runner()
    context = Context("answers", tmp_path, 0, store, Engines("transformers", {}), loop)
    generator = context.generator(find_model(str(path)))
    rows = [
        Prompt(id="good", messages=[ASK], kind="k"),
        Prompt(id="twice", messages=[ASK, ASK], kind="k"),
        Prompt(id="ruled", messages=[RULE, ASK], kind="k"),
    ]

    async def answer(row):
        await generator.complete(row.messages, Sampling(max_tokens=2), 0)
        return row

    results, dropped = context.map(rows, answer)
    assert [row.id for row in results] == ["good"]
    reasons = {row.id: row.reason for row in dropped}
    assert reasons["twice"] == "the model's chat template refuses its turns (user, user)"
    assert reasons["ruled"] == "the model's chat template refuses its turns (system, user)"
    (ruled,) = [row for row in dropped if row.id == "ruled"]
    assert "no system role" in ruled.detail and "model.merge_system=true" in ruled.detail
    loop.run(context.engines.release())
    store.close()
    loop.close()


async def test_a_template_that_opens_no_answer_is_refused_when_the_model_is_opened(tmp_path):
    template = "{% for m in messages %}{{ m.role + ': ' + m.content + '<|im_end|>' }}{% endfor %}"
    path = build_chat_model(tmp_path, "chatml", template=template)
    with pytest.raises(UserError, match="add_generation_prompt") as caught:
        await opened(path)
    assert caught.value.where == str(path)
    shutil.rmtree(path)


async def test_a_server_gets_merged_turns(tmp_path):
    from stages.generators.servers.options import Options
    from stages.generators.servers.server import ServerGenerator

    endpoints = ["http://127.0.0.1:9/v1"]
    both = {"role": "user", "content": "Be brief.\n\nName a river."}
    for merge, expected in [(True, [both]), (False, [RULE, ASK])]:
        generator = ServerGenerator(Options(endpoints=endpoints, merge_system=merge), "m", "")
        assert generator._body([RULE, ASK], 1)["messages"] == expected
        await generator.close()
