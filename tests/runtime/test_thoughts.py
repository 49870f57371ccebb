"""Thoughts are split off answers, and the store holds what the model wrote."""

import asyncio

import pytest

from stages.guards.errors import UserError
from stages.runtime.calls import Engines, RememberedGenerator
from stages.runtime.generation import THOUGHT_MARKS, Completion, Sampling, split_thoughts
from stages.runtime.generator_registry import check_options
from stages.runtime.models import Model, find_model
from stages.runtime.store import CallStore
from stages.runtime.tally import Tally
from tests.tiny_model import build_tiny_model

CHANNELS = [("<|channel|>analysis<|message|>", "<|channel|>final<|message|>")]


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ("<think>a</think>b", "a", "b"),
        ("<think>\na\n</think>\n\nb\n", "a", "b"),
        ("<thinking>a</thinking>b", "a", "b"),
        ("<THINK>a</Think>b", "a", "b"),
        ("a</think>\n\nb", "a", "b"),  # the prompt held the opening mark
        ("<think>a</think>b<think>c</think>d", "a\n\nc", "bd"),
        ("<think>a</think><think>c</think>d", "a\n\nc", "d"),
        ("<think>a<think>b</think>c</think>d", "a<think>b</think>c", "d"),
        ("<think>a</think>b</think>c", "a\n\nb", "c"),
        ("<think>a <think> is a mark</think>b", "a <think> is a mark", "b"),
        ("<think>a</thinking>b</think>c", "a</thinking>b", "c"),
        ("<think></think>\n\nb", "", "b"),
        ("<think>a", "a", ""),
        ("<think>a</think>", "a", ""),
        ("b\n<think>a", "a", "b"),
        ("no marks at all ", "", "no marks at all "),
        ("The mark `<think>` opens thoughts, `</think>` closes them.", "", None),
        ("I <think> that a < b.", "", None),
        ("", "", ""),
    ],
)
def test_splitting(text, thoughts, answer):
    expected = text if answer is None else answer
    assert split_thoughts(text, THOUGHT_MARKS) == (thoughts, expected)


def test_what_is_cut_off_in_inner_thoughts_is_all_thoughts():
    text = "<think>a<think>b</think>c"
    assert split_thoughts(text, THOUGHT_MARKS, is_cut_off=True) == ("a<think>b</think>c", "")
    assert split_thoughts(text, THOUGHT_MARKS) == ("a<think>b", "c")


def test_marks_of_ones_own():
    text = "<|channel|>analysis<|message|>hm<|channel|>final<|message|>42"
    assert split_thoughts(text, CHANNELS) == ("hm", "42")
    assert split_thoughts("<think>a</think>b", CHANNELS) == ("", "<think>a</think>b")
    assert split_thoughts("[a+b]c", [("[", "]")]) == ("a+b", "c")
    assert split_thoughts(text, []) == ("", text)


class Thinker:
    """Writes one text, and a server's own field of thoughts."""

    def __init__(self, completion):
        self.completion = completion

    async def complete(self, messages, sampling, seed):
        return self.completion

    async def close(self):
        pass


def asked(tmp_path, completion, options=None, **arguments):
    async def opener(*_):
        return Thinker(completion)

    store = CallStore(tmp_path / "calls.sqlite")
    engines = Engines("none", options or {}, opener=opener)
    generator = RememberedGenerator(store, engines, Model("m", "0" * 16), Tally())
    answer = asyncio.run(
        generator.complete([{"role": "user", "content": "?"}], Sampling(), 0, **arguments)
    )
    store.close()
    return answer


def test_the_store_holds_the_raw_answer_and_either_reading_of_it(tmp_path):
    raw = Completion("<think>a</think>b", "stop", 1, 2)
    assert asked(tmp_path, raw) == Completion("b", "stop", 1, 2, thoughts="a")
    never = Completion("another answer", "stop", 1, 2)  # the store answers
    assert asked(tmp_path, never, keep_thoughts=True) == raw
    assert asked(tmp_path, never).text == "b"


def test_a_servers_field_of_thoughts_counts_too(tmp_path):
    served = Completion("b", "stop", 1, 2, thoughts="a")
    assert asked(tmp_path, served) == served
    kept = asked(tmp_path, served, keep_thoughts=True)
    assert kept.text == "<think>\na\n</think>\n\nb" and kept.thoughts == ""
    assert kept.split(THOUGHT_MARKS) == served


def test_marks_are_an_option_of_the_generator(tmp_path):
    options = {"thought_marks": [["[", "]"]]}
    raw = Completion("[a]b", "stop", 1, 2)
    assert asked(tmp_path, raw, options).thoughts == "a"
    assert asked(tmp_path, raw).text == "[a]b"
    assert Engines("vllm", options).answer_options == options
    with pytest.raises(UserError, match="thought_marks"):
        check_options("vllm", {"thought_marks": [["<a>"]]})
    with pytest.raises(UserError, match="merge_system"):
        check_options("transformers", {"merge_system": "maybe"})
    assert Engines("server", {"endpoints": [], "merge_system": False}).answer_options == {}


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (Completion("b", "stop", 1, 1, "a"), ""),
        (Completion(" ", "stop", 1, 1), "empty response"),
        (Completion("", "length", 1, 1), "empty response, cut off at max_tokens"),
        (Completion("", "stop", 1, 1, "a"), "no response after its thoughts"),
        (Completion("", "length", 1, 1, "a"), "cut off in its thoughts"),
    ],
)
def test_why_there_is_no_text(completion, reason):
    assert completion.reason_if_empty("response") == reason


def test_a_model_that_writes_thoughts_has_another_content_than_before(tmp_path):
    """Stored answers to its judge's questions were asked for in another place."""
    import hashlib

    plain = build_tiny_model(tmp_path / "plain")
    thinking = build_tiny_model(tmp_path / "thinking")
    template = thinking / "chat_template.jinja"
    template.write_text(template.read_text() + "{# <think> #}")

    def by_files(folder):
        digest = hashlib.sha256()
        names = ["chat_template.jinja", "config.json", "generation_config.json"]
        for name in [*names, "model.safetensors", "tokenizer.json", "tokenizer_config.json"]:
            digest.update(
                name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest()
            )
        return digest.hexdigest()[:16]

    assert find_model(str(plain)).content == by_files(plain)
    assert find_model(str(thinking)).content != by_files(thinking)


def test_thoughts_that_were_cut_off_are_kept_without_a_closing_mark(tmp_path):
    cut = Completion("", "length", 1, 2, thoughts="let me")
    kept = asked(tmp_path, cut, keep_thoughts=True)
    assert kept.text == "<think>\nlet me"
    assert kept.split(THOUGHT_MARKS) == cut
