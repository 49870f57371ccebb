"""Answers that are continued from their beginnings."""

import pytest
import pytest_asyncio
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from stages.generators.chat import ChatOptions
from stages.generators.rendering import Renderer
from stages.runtime.calls import Engines, RememberedGenerator, Tally
from stages.runtime.generation import Sampling, TooLong
from stages.runtime.generator_registry import open_generator
from stages.runtime.models import find_model
from stages.runtime.store import CallStore
from tests.tiny_model import TEMPLATE, build_tiny_model

ASKED = [{"role": "user", "content": "how do I build a safe answer"}]
GREEDY = Sampling(max_tokens=6, temperature=0)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest_asyncio.fixture
async def generator(path):
    opened = await open_generator("transformers", find_model(str(path)), {})
    yield opened
    await opened.close()


@pytest.mark.parametrize("prefix", ["the dog", "the dog asks ", "\u00e9"])
async def test_what_follows_a_beginning_is_what_the_model_writes_behind_it(generator, prefix):
    import torch

    renderer = generator.renderer
    before = renderer.prompt(ASKED)
    ids = renderer.prompt(ASKED, prefix)
    assert ids[: len(before)] == before and renderer.text(ids[len(before) :]) == prefix
    own = generator.decoder.network.generate(
        torch.tensor([ids]), max_new_tokens=6, do_sample=False, pad_token_id=0
    )[0].tolist()
    ours = await generator.complete(ASKED, GREEDY, 0, prefix=prefix)
    assert prefix + ours.text == renderer.text(own[len(before) :])
    assert ours.prompt_tokens == len(ids)


async def test_continuing_a_text_that_fills_the_context_is_refused(generator):
    with pytest.raises(TooLong):
        await generator.complete(ASKED, GREEDY, 0, prefix="cat " * 600)


def spaced(template):
    """A tokenizer of the kind that writes the space of a word into its token, and forgets that of
    the first one.
    """
    words = ["\u2581the", "\u2581cat", "\u2581dog", "s", "?", "\u2581<think>", "user", "assistant"]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=template)


def test_a_continuation_keeps_the_space_that_it_begins_with():
    renderer = Renderer(spaced(TEMPLATE), 99, ChatOptions())
    ids = renderer.prompt(ASKED, " the cat")
    assert renderer.text([2]) == "dog"
    assert renderer.continuation([2, 3], ids, " the cat") == " dogs"
    assert renderer.continuation([2], ids[:-1], "") == "dog"


def test_the_opening_of_thoughts_stands_once():
    """The template writes it; a beginning that is continued holds it already."""
    thinking = TEMPLATE.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")
    renderer = Renderer(spaced(thinking), 99, ChatOptions())
    assert renderer.opening("") == renderer.prefilled != ""
    beginning = renderer.prefilled + " the cat"
    assert renderer.opening(beginning) == ""
    assert renderer.prompt(ASKED, beginning) == renderer.prompt(ASKED, " the cat")


async def test_the_store_tells_beginnings_apart_and_keeps_older_keys(path, tmp_path):
    store = CallStore(tmp_path / "calls.sqlite")
    engines = Engines("transformers", {})
    tally = Tally()
    remembered = RememberedGenerator(store, engines, find_model(str(path)), tally)
    plain = await remembered.complete(ASKED, GREEDY, 0)
    begun = await remembered.complete(ASKED, GREEDY, 0, prefix="the dog")
    assert tally.sent == 2 and plain != begun
    assert await remembered.complete(ASKED, GREEDY, 0, prefix="") == plain
    assert await remembered.complete(ASKED, GREEDY, 0, prefix="the dog") == begun
    assert (tally.sent, tally.stored) == (2, 2)
    await engines.release()
    store.close()
