"""The real vLLM on the CPU with a tiny random model: about a minute and a half of loading."""

import asyncio
import math
from dataclasses import replace

import pytest
import pytest_asyncio

from stages.guards.errors import UserError
from stages.runtime.generation import Sampling, TooLong
from stages.runtime.generator_registry import open_generator
from stages.runtime.models import Model, find_model
from tests.running import needs_vllm
from tests.tiny_model import build_tiny_model

pytestmark = [pytest.mark.slow, needs_vllm, pytest.mark.asyncio(loop_scope="module")]
PROMPTS = [
    [{"role": "user", "content": "the cat asks how " * (1 + 3 * (i % 5)) + str(i)}]
    for i in range(16)
]
SMALL = {"kv_cache_gib": 0.25, "max_num_seqs": 16}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generator(path, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "vllm.log"
    opened = await open_generator(
        "vllm", find_model(str(path)), SMALL | {"dtype": "float32", "log": str(log)}
    )
    yield opened
    await opened.close()


async def test_a_seed_draws_the_same_text_whatever_the_batch(generator):
    sampling = Sampling(max_tokens=16)
    together = await asyncio.gather(
        *[generator.complete(p, sampling, 7 * n) for n, p in enumerate(PROMPTS)]
    )
    alone = [await generator.complete(p, sampling, 7 * n) for n, p in enumerate(PROMPTS)]
    other = await asyncio.gather(
        *[generator.complete(p, sampling, 7 * n + 1) for n, p in enumerate(PROMPTS)]
    )
    # A batch rounds differently, and a random model's near ties may tip over: rarely.
    assert sum(a == b for a, b in zip(together, alone, strict=True)) >= len(PROMPTS) - 1
    assert not any(a.text == b.text for a, b in zip(together, other, strict=True))


async def test_agrees_with_transformers(generator, path):
    reference = await open_generator("transformers", find_model(str(path)), {})
    greedy = Sampling(max_tokens=8, temperature=0)
    for prompt in PROMPTS[:5]:
        ours, theirs = (
            await generator.choose(prompt, ["A", "B", "7"]),
            await reference.choose(prompt, ["A", "B", "7"]),
        )
        assert sum(map(math.exp, ours.logprobs)) == pytest.approx(1)
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
        assert ours.mass == pytest.approx(theirs.mass, rel=0.01)
        assert await generator.complete(prompt, greedy, 0) == await reference.complete(
            prompt, greedy, 0
        )
        for sampling in (greedy, replace(greedy, stop=("never written",))):
            begun = await generator.complete(prompt, sampling, 0, prefix="the dog asks")
            assert begun == await reference.complete(prompt, sampling, 0, prefix="the dog asks")
    await reference.close()


async def test_choices_mix_with_texts_and_follow_their_order(generator):
    answers = await asyncio.gather(
        *[generator.choose(p, ["A", "B"]) for p in PROMPTS],
        *[generator.choose(p, ["B", "7", "A"]) for p in PROMPTS],
        *[generator.complete(p, Sampling(max_tokens=12), 3) for p in PROMPTS],
    )
    for two, three in zip(answers[:16], answers[16:32], strict=True):
        margin = three.logprobs[2] - three.logprobs[0]
        assert two.logprobs[0] - two.logprobs[1] == pytest.approx(margin, abs=1e-3)


async def test_stop_strings_and_counts(generator):
    whole = await generator.complete(PROMPTS[2], Sampling(max_tokens=30), 5)
    stop = whole.text[len(whole.text) // 2 :][:2]
    cut = await generator.complete(PROMPTS[2], Sampling(max_tokens=30, stop=(stop,)), 5)
    assert cut.text == whole.text[: whole.text.index(stop)] and cut.finish_reason == "stop"
    assert whole.finish_reason == "length" and whole.completion_tokens == 30
    assert whole.prompt_tokens == len(generator.renderer.prompt(PROMPTS[2]))


async def test_limits(generator):
    with pytest.raises(TooLong):
        await generator.complete([{"role": "user", "content": "cat " * 600}], Sampling(), 0)
    with pytest.raises(UserError, match="not one token"):
        await generator.choose(PROMPTS[0], ["Zebra crossing", "B"])
    long = await generator.complete(
        [{"role": "user", "content": "cat " * 240}], Sampling(max_tokens=400, temperature=0), 0
    )
    assert long.prompt_tokens + long.completion_tokens <= 512


async def test_a_shared_prefix_is_cached(generator):
    long = "the cat asks how do I build a safe dog " * 8
    before = generator.prompt_tokens, generator.cached_tokens
    for end in "abcdefgh":
        await generator.choose([{"role": "user", "content": long + end}], ["A", "B"])
    share = (generator.cached_tokens - before[1]) / (generator.prompt_tokens - before[0])
    assert share > 0.5


async def test_close_leaves_no_process_and_a_dead_engine_is_reported(generator):
    import psutil

    children = [p for p in psutil.Process().children(recursive=True) if p.name().startswith("VLLM")]
    assert children
    running = asyncio.gather(
        *[generator.complete(p, Sampling(max_tokens=400), 0) for p in PROMPTS],
        return_exceptions=True,
    )
    await asyncio.sleep(0.2)
    next(p for p in children if "EngineCore" in p.name()).kill()
    answers = await asyncio.wait_for(running, 60)
    errors = [answer for answer in answers if isinstance(answer, UserError)]
    assert errors and "died" in str(errors[0])
    await generator.close()
    await generator.close()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive and generator.log.exists()


@pytest.mark.long
async def test_a_failing_load_gives_vllms_reason(path):
    with pytest.raises(UserError, match="max_model_len") as caught:
        await open_generator("vllm", Model(str(path), "x"), SMALL | {"max_model_len": 4096})
    assert str(path) in str(caught.value)
    with pytest.raises(UserError, match="vLLM cannot serve") as caught:
        await open_generator(
            "vllm", Model(str(path), "x"), {"engine": {"kv_cache_memory_bytes": 2**50}}
        )
    assert "emory" in caught.value.what and "stack trace" not in caught.value.what
