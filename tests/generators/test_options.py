"""Options that a tokenizer splits are refused, with options that work: in this process, by a
server's tokenizer, and when a plan is made.
"""

import asyncio
import io

import pytest

from stages import STAGES
from stages.generators.chat import ChatOptions
from stages.generators.rendering import Renderer, refuse_split_options
from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.runtime.calls import Engines
from stages.runtime.pipeline.runner import Runner
from stages.runtime.pipeline.steps import read_steps
from stages.runtime.store import CallStore
from tests.generators.test_server_generator import QUESTION, Stub, server
from tests.tiny_model import build_tiny_model

CHARACTERS = [chr(code) for code in range(32, 127)]


class Longest:
    """A tokenizer whose tokens are known: the longest word of its vocabulary, else a character."""

    chat_template = None
    bos_token = eos_token = pad_token = None
    all_special_ids = ()

    def __init__(self, *words: str, lower: bool = False, without: str = ""):
        single = [letter for letter in [*CHARACTERS, "\n"] if letter not in without]
        self.words = sorted([*words, *single], key=len, reverse=True)
        self.lower = lower

    def __call__(self, text: str, **_):
        text = text.lower() if self.lower else text
        ids = []
        while text:
            word = next((word for word in self.words if text.startswith(word)), "")
            # A character that is not in the vocabulary is two bytes.
            ids += [self.words.index(word)] if word else [1000, 1001]
            text = text[len(word) or 1 :]
        return {"input_ids": ids}


def refusal(options, tokenizer) -> UserError:
    with pytest.raises(UserError) as caught:
        Renderer(tokenizer, 512, ChatOptions()).option_ids(options)
    return caught.value


def test_options_of_one_token_have_that_token():
    tokenizer = Longest("Yes", "No", "10")
    for options in (["Yes", "No"], ["1", "10"], list("ABCDE")):
        ids = Renderer(tokenizer, 512, ChatOptions()).option_ids(options)
        assert [tokenizer.words[token] for token in ids] == options


def test_a_scale_that_is_split_is_told_with_the_scales_that_work():
    error = refusal([str(number) for number in range(1, 11)], Longest("No"))
    assert error.what.startswith("not one token of this model: '10' (2 tokens); one token each: ")
    assert "'1', '2', ..., '9'; " in error.what
    assert error.what.endswith("'1' and '10' begin with the same token")
    assert "`scale`" in error.where
    assert "'0', '1', ..., '9'; or '1', '2', '3', '4', '5'; or 'A', " in error.fix
    assert "Yes" not in error.fix  # "Yes" is three tokens here


def test_only_what_this_tokenizer_has_is_offered():
    error = refusal(["-1", "1"], Longest("Yes", "No", without="123456789ABCDE"))
    assert "'-1' (3 tokens), '1' (2 tokens)" in error.what
    assert error.fix.endswith("such as 'Yes', 'No'")
    error = refusal(["good", "bad"], Longest(without="0123456789ABCDE"))
    assert error.fix == "use another model: of this one none of the usual options is one token"


def test_options_that_need_a_space_or_none():
    error = refusal(["Good", "Bad"], Longest(" Good", " Bad"))
    assert "such as ' Good', ' Bad'; or '0'" in error.fix
    error = refusal([" Yes", " No"], Longest("Yes", "No"))
    assert "' Yes' (2 tokens), ' No' (2 tokens)" in error.what
    assert "such as 'Yes', 'No'; or '0'" in error.fix


def test_options_that_begin_alike():
    error = refusal(["Yes", "Yes,"], Longest("Yes", "No"))
    assert error.what == (
        "not one token of this model: 'Yes,' (2 tokens); one token each: 'Yes'; "
        "'Yes' and 'Yes,' begin with the same token"
    )
    error = refusal(["yes", "Yes"], Longest("yes", "no", lower=True))
    assert error.what == "'yes' and 'Yes' are the same token"
    assert "'Yes', 'No'" in error.fix


def test_an_option_that_merges_with_the_end_of_the_prompt():
    error = refusal(["A", "B"], Longest("\nA", "Yes", "No"))
    assert "'A' (it merges with the end of the prompt)" in error.what
    assert "'A'" not in error.fix and "'Yes', 'No'" in error.fix


@pytest.mark.parametrize(
    ("options", "message"),
    [(["", "No"], "an option is empty"), (["A", "B", "A"], "hold an option twice: A")],
)
def test_what_no_tokenizer_can_make_work(options, message, tmp_path):
    assert message in refusal(options, Longest()).what
    with pytest.raises(UserError, match=message):
        refuse_split_options(str(tmp_path), tuple(options))


def letters(stub, path, body):
    """A server with one token a character, and one for "Yes" and for "No"."""
    text = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    tokens = [] if body.get("add_generation_prompt") else Longest("Yes", "No")(text)["input_ids"]
    return 200, {"tokens": tokens}, {}


async def test_a_server_offers_what_its_own_tokenizer_has():
    async with Stub(letters) as stub:
        generator = await server(stub)
        with pytest.raises(UserError) as caught:
            await generator.choose(QUESTION, ["10", "1"])
        assert "'10' (2 tokens); one token each: '1'" in caught.value.what
        assert caught.value.fix.endswith("'E'; or 'Yes', 'No'")
        assert {path for path, _ in stub.requests} == {"/tokenize"}  # no question was asked
        await generator.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("tiny"))


def plan(folder, tiny, step, **more):
    steps = {
        "base": {"stage": "model", "path": str(tiny)},
        "red_team": {"stage": "prompts", "source": "stages.world:red_team"},
        "last": step,
    }
    steps["red_team"]["arguments"] = {"count": 2, "seed": 1, "split": "train"}
    steps |= more
    store = CallStore(folder / "calls.sqlite")
    with asyncio.Runner() as loop:
        engines = Engines("transformers", {})
        console = open_console(file=io.StringIO())
        runner = Runner(folder / "artifacts", 0, store, engines, console, loop)
        return runner.plan(read_steps(steps, STAGES))


@pytest.mark.parametrize("scale", [{"1": 1, "9": 9}, {"principle": 2, "kind": 1}])
def test_a_plan_refuses_a_scale_that_the_file_of_the_tokenizer_splits(tmp_path, tiny, scale):
    """Before anything is loaded or asked, for `rate` and for a judge in the reward."""
    drafts = {"stage": "respond", "inputs": {"prompts": "red_team", "model": "base"}}
    rate = {"stage": "rate", "inputs": {"drafts": "drafts", "model": "base"}}
    rate |= {"constitution": {"name": "world"}, "scale": scale}
    term = {"term": "judge", "model": "judge", "constitution": {"name": "world"}, "scale": scale}
    rloo = {"stage": "rloo", "inputs": {"model": "base", "prompts": "red_team", "judge": "base"}}
    rloo |= {"rewards": {"rating": term}}
    assert plan(tmp_path, tiny, rate, drafts=drafts)[-1].artifact is None
    plan(tmp_path, tiny, rloo)
    split = {**scale, "Zebra crossing": 3}
    for step, more in ((rate, {"drafts": drafts}), (rloo, {})):
        (step if step is rate else term)["scale"] = split
        with pytest.raises(UserError, match="'Zebra crossing' \\(") as caught:
            plan(tmp_path, tiny, step, **more)
        assert caught.value.where == "step 'last'" and "'A', 'B'" in caught.value.fix
