"""The transformers generator on a tiny random model."""

import asyncio
import math

import pytest
import pytest_asyncio

from stages.guards.errors import UserError
from stages.runtime.generation import Sampling, TooLong
from stages.runtime.generator_registry import open_generator
from stages.runtime.models import find_model
from tests.tiny_model import build_tiny_model

PROMPTS = [
    [{"role": "user", "content": "the cat asks how " * (1 + 3 * (i % 7)) + str(i)}]
    for i in range(12)
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest_asyncio.fixture
async def generator(path):
    opened = await open_generator("transformers", find_model(str(path)), {"max_batch": 8})
    yield opened
    await opened.close()


async def test_a_seed_draws_the_same_text_whatever_the_batch(generator):
    sampling = Sampling(max_tokens=24, top_p=0.95)
    together = await asyncio.gather(
        *[generator.complete(p, sampling, seed) for seed, p in enumerate(PROMPTS)]
    )
    alone = [await generator.complete(p, sampling, seed) for seed, p in enumerate(PROMPTS)]
    mixed = await asyncio.gather(
        *[generator.complete(p, sampling, seed) for seed, p in reversed(list(enumerate(PROMPTS)))],
        *[generator.complete(p, Sampling(max_tokens=3, temperature=0), 0) for p in PROMPTS],
    )
    assert together == alone == mixed[: len(PROMPTS)][::-1]


async def test_another_seed_draws_another_text(generator):
    texts = await asyncio.gather(
        *[generator.complete(PROMPTS[0], Sampling(max_tokens=16), seed) for seed in range(8)]
    )
    assert len({completion.text for completion in texts}) == 8


async def test_greedy_agrees_with_transformers_own_generate(generator):
    import torch

    for prompt in PROMPTS[:4]:
        ids = generator.renderer.prompt(prompt)
        own = generator.decoder.network.generate(
            torch.tensor([ids]), max_new_tokens=10, do_sample=False, pad_token_id=0
        )[0, len(ids) :]
        ours = await generator.complete(prompt, Sampling(max_tokens=10, temperature=0), 0)
        assert ours.text == generator.renderer.text(own)
        assert ours.completion_tokens == len(own) and ours.prompt_tokens == len(ids)


async def test_samples_follow_the_models_probabilities(generator):
    import torch

    with torch.inference_mode():
        ids = generator.renderer.prompt(PROMPTS[0])
        chances = generator.decoder.network(torch.tensor([ids])).logits[0, -1].softmax(-1)
    words = [generator.renderer.text([token]) for token in range(len(chances))]
    word = words[int(chances.argmax())]
    drawn = await asyncio.gather(
        *[generator.complete(PROMPTS[0], Sampling(max_tokens=1), seed) for seed in range(600)]
    )
    expected = float(sum(chances[at] for at, other in enumerate(words) if other == word))
    share = sum(c.text == word for c in drawn) / 600
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / 600)


async def test_a_small_nucleus_is_greedy(generator):
    greedy = await generator.complete(PROMPTS[1], Sampling(max_tokens=8, temperature=0), 0)
    assert await generator.complete(PROMPTS[1], Sampling(max_tokens=8, top_p=1e-6), 3) == greedy


async def test_a_stop_string_ends_the_text_before_it(generator):
    whole = await generator.complete(PROMPTS[2], Sampling(max_tokens=30), 5)
    assert whole.finish_reason == "length" and whole.completion_tokens == 30
    stop = whole.text[len(whole.text) // 2 :][:2]
    cut = await generator.complete(
        PROMPTS[2], Sampling(max_tokens=30, stop=(stop, "never written")), 5
    )
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop" and cut.completion_tokens < 30


async def test_choose_is_normalised_and_follows_the_order_of_the_options(generator):
    one, other = (
        await generator.choose(PROMPTS[0], ["A", "B"]),
        await generator.choose(PROMPTS[0], ["B", "A"]),
    )
    assert sum(map(math.exp, one.logprobs)) == pytest.approx(1)
    assert one.logprobs == pytest.approx(other.logprobs[::-1])
    many = await asyncio.gather(*[generator.choose(p, ["A", "B", "7"]) for p in PROMPTS])
    alone = await generator.choose(PROMPTS[3], ["A", "B", "7"])
    assert many[3].logprobs == pytest.approx(alone.logprobs, abs=1e-5)


async def test_the_mass_is_the_share_of_the_whole_vocabulary(generator):
    import numpy as np
    import torch

    ids = generator.renderer.prompt(PROMPTS[0])
    with torch.inference_mode():
        logits = generator.decoder.network(torch.tensor([ids])).logits[0, -1].double().numpy()
    weights = np.exp(logits - logits.max())
    options = generator.renderer.option_ids(["A", "B"])
    choice = await generator.choose(PROMPTS[0], ["A", "B"])
    assert choice.mass == pytest.approx(weights[options].sum() / weights.sum(), rel=1e-4)
    assert choice.mass < 0.5 and not choice.bounded
    assert choice.instead == generator.renderer.tokenizer.decode([int(logits.argmax())])


@pytest.mark.parametrize(
    ("options", "words"),
    [(["Zebra crossing", "B"], "not one token"), (["A", "A"], "hold an option twice")],
)
async def test_bad_options_are_refused(generator, options, words):
    with pytest.raises(UserError, match=words):
        await generator.choose(PROMPTS[0], options)


async def test_too_long_a_prompt(generator):
    with pytest.raises(TooLong) as caught:
        await generator.complete([{"role": "user", "content": "cat " * 600}], Sampling(), 0)
    assert caught.value.limit == 512 and caught.value.prompt_tokens > 512


async def test_the_context_cuts_an_answer_short(generator):
    answer = await generator.complete(
        [{"role": "user", "content": "cat " * 240}], Sampling(max_tokens=400, temperature=0), 0
    )
    assert answer.prompt_tokens + answer.completion_tokens <= 512


async def test_a_base_model_reads_a_transcript(tmp_path):
    generator = await open_generator(
        "transformers", find_model(str(build_tiny_model(tmp_path, template=False))), {}
    )
    assert (await generator.complete(PROMPTS[0], Sampling(max_tokens=4), 0)).completion_tokens == 4
    choice = await generator.choose(PROMPTS[0], ["A", "B"])
    assert sum(map(math.exp, choice.logprobs)) == pytest.approx(1)
    await generator.close()


async def test_unknown_options_and_broken_models(path, tmp_path):
    with pytest.raises(UserError, match="max_batch"):
        await open_generator("transformers", find_model(str(path)), {"max_bach": 3})
    with pytest.raises(UserError, match="cannot load"):
        await open_generator("transformers", find_model(str(path)), {"device": "abacus"})
    with pytest.raises(UserError, match="tokenize cannot be set"):
        await open_generator(
            "transformers", find_model(str(path)), {"template_arguments": {"tokenize": True}}
        )
    broken = build_tiny_model(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="damaged"):
        await open_generator("transformers", find_model(str(broken)), {})


async def test_an_error_in_the_batching_reaches_all_that_wait(generator, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("stages.generators.transformers.batches", broken)
        waiting = [generator.complete(p, Sampling(max_tokens=2), 0) for p in PROMPTS]
        errors = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)
    assert all(isinstance(error, ZeroDivisionError) for error in errors)
    assert (await generator.complete(PROMPTS[0], Sampling(max_tokens=2), 0)).completion_tokens


async def test_texts_at_fixed_places_are_the_same_texts(path):
    """What a GPU runs as CUDA graphs: `GraphDecoder` here runs the same steps without a graph."""
    from stages.generators.transformers_decoding import Decoder, GraphDecoder

    sampling = Sampling(max_tokens=40, top_p=0.95, stop=("a",))
    texts = {}
    for kind in (Decoder, GraphDecoder):
        opened = await open_generator("transformers", find_model(str(path)), {"max_batch": 11})
        opened.decoder = kind(opened.decoder.network)
        for wave in range(2):
            texts[kind, wave] = await asyncio.gather(
                *[opened.complete(p, sampling, seed + wave) for seed, p in enumerate(PROMPTS)],
                *[opened.complete(p, Sampling(max_tokens=9, temperature=0), 0) for p in PROMPTS],
            )
        if kind is GraphDecoder:
            assert opened.decoder._is_static and len(opened.decoder._store._steps) > 1
        await opened.close()
    for wave in range(2):
        assert texts[GraphDecoder, wave] == texts[Decoder, wave]
    lengths = {completion.completion_tokens for completion in texts[Decoder, 0]}
    assert len(lengths) > 5


async def test_a_model_without_a_plain_cache_is_written_without_graphs(generator, caplog):
    from transformers.cache_utils import DynamicLayer

    from stages.generators.transformers_decoding import Decoder, GraphDecoder

    class OtherLayer(DynamicLayer):
        pass

    greedy = Sampling(max_tokens=6, temperature=0)
    expected = await generator.complete(PROMPTS[0], greedy, 0)
    generator.decoder = GraphDecoder(generator.decoder.network)
    read = Decoder.read

    def read_otherwise(self, ids, mask, room):
        logits = read(self, ids, mask, room)
        for layer in self._cache.layers:
            layer.__class__ = OtherLayer
        return logits

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Decoder, "read", read_otherwise)
        for _ in range(2):
            assert await generator.complete(PROMPTS[0], greedy, 0) == expected
    assert [record.message for record in caplog.records] == [
        "texts are written without CUDA graphs, which is slower: "
        "its cache is not of keys and values alone"
    ]


async def test_a_batch_too_large_for_the_gpu_is_halved(generator):
    import torch

    greedy = Sampling(max_tokens=6, temperature=0)
    expected = [await generator.complete(p, greedy, 0) for p in PROMPTS]
    answer = generator._answer
    sizes = []

    def answer_few(batch):
        sizes.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return answer(batch)

    generator._answer = answer_few
    assert await asyncio.gather(*[generator.complete(p, greedy, 0) for p in PROMPTS]) == expected
    assert max(sizes) == 8 and min(sizes) <= 3


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 0.9999999, 1.0])
def test_a_nucleus_of_few_tokens_needs_no_whole_sort(top_p):
    """Against a sort of the whole vocabulary in numpy."""
    import numpy as np
    import torch

    from stages.generators.transformers_sampling import in_nucleus

    logits = torch.randn(7, 3000, generator=torch.Generator().manual_seed(1)).double()
    logits[:4] *= 6  # four rows with a small nucleus, three with a wide one
    probabilities = logits.softmax(-1)
    limits = torch.full((7,), top_p if top_p < 1 else torch.inf, dtype=torch.float64)
    inside = in_nucleus(probabilities, limits).numpy()
    for row, result in zip(probabilities.numpy(), inside, strict=True):
        order = np.argsort(-row)
        count = int(np.searchsorted(np.cumsum(row[order]), top_p)) + 1 if top_p < 1 else len(row)
        assert set(np.flatnonzero(result)) == set(order[:count])
        assert np.array_equal(result[order[:count]], row[order[:count]])
