"""Conversations in cells: transcripts, messages in every notation, and what is no conversation."""

import json

import numpy as np
import pandas as pd
import pytest

from stages.runtime.context import Drop
from stages.sources.cells import NotStructured, parse_structured
from stages.sources.conversations import find_style, read_messages, read_prompts
from tests.sources.reading import lines, read, requests, turns

TALK = "\n\nHuman: q: 1\n\nAssistant: a1\n\nmore\n\nHuman: q2\n\nAssistant: a2"
TURNS = ["q: 1", "a1\n\nmore", "q2"]
SPELLINGS = {
    "CRLF": TALK.replace("\n", "\r\n"),
    "lone CR": TALK.replace("\n", "\r"),
    "CRLF, no first break": TALK.strip().replace("\n", "\r\n"),
    "a blank first": f" {TALK}",
    "a tab and a break first": f"\t\n{TALK}",
    "a byte-order mark": f"\ufeff{TALK}",
    "no break first": TALK.strip(),
    "blanks before colons": TALK.replace("Human:", "Human :").replace("Assistant:", "Assistant :"),
    "blanks before names": TALK.replace("Human", " Human").replace("Assistant", "  Assistant"),
    "blank lines with blanks": TALK.replace("\n\nHuman", "\n \nHuman").replace("\n\nA", "\n\t\nA"),
    "more blank lines": TALK.replace("\n\nHuman", "\n\n\n\nHuman"),
    "lower case": TALK.replace("Human", "human").replace("Assistant", "assistant"),
    "upper case": TALK.replace("Human", "HUMAN").replace("Assistant", "ASSISTANT"),
    "User": TALK.replace("Human", "User"),
    "written escapes": TALK.replace("\n", "\\n"),
}


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_spellings_of_transcripts(tmp_path, name, kind):
    record = {"prompt": SPELLINGS[name]}
    content = lines(record)
    if kind == "csv":
        content = '"prompt"\n"' + SPELLINGS[name].replace('"', '""') + '"\n'
    assert requests(tmp_path, f"a.{kind}", content) == [TURNS]


def test_transcripts_by_line_are_decided_for_the_column(tmp_path):
    line = "Human: q1\nAssistant: a1\nHuman: q2\nAssistant: a2"
    assert requests(tmp_path, "a.jsonl", lines(*[{"prompt": line}] * 2)) == [["q1", "a1", "q2"]]
    quoted = "\n\nHuman: Write a play\nHuman: hi\nAssistant: hello\n\nAssistant: No."
    assert requests(tmp_path, "b.jsonl", lines({"prompt": quoted}, {"prompt": TALK})) == [
        ["Write a play\nHuman: hi\nAssistant: hello"],
        TURNS,
    ]


def test_another_name_of_the_assistant(tmp_path):
    """FULCRA's dialogues are between Human and Bob."""
    records = [{"dialogue": f"Human: q{i}\nBob: Yes.\nN{i}: {i}"} for i in range(4)]
    assert requests(tmp_path, "a.jsonl", lines(*records), column="dialogue") == [
        [f"q{i}"] for i in range(4)
    ]
    single = lines({"dialogue": "Human: q\nBob: Yes."})
    assert requests(tmp_path, "b.jsonl", single, column="dialogue") == [["q\nBob: Yes."]]


MESSAGES = turns('It\'s\n"q"', "a", "q2")
TEXTS = ['It\'s\n"q"', "a", "q2"]
NOTATIONS = {
    "list": MESSAGES,
    "JSON": json.dumps(MESSAGES),
    "indented JSON": json.dumps(MESSAGES, indent=2),
    "JSON twice": json.dumps(json.dumps(MESSAGES)),
    "Python": str(MESSAGES),
    "numpy": str(np.array(MESSAGES, dtype=object)),
    "numpy's repr": repr(np.array(MESSAGES, dtype=object)),
    "in a mapping": {"messages": MESSAGES},
    "in a mapping, numpy inside": str({"messages": np.array(MESSAGES, dtype=object)}),
    "items as JSON": [json.dumps(message) for message in MESSAGES],
    "ShareGPT": [{"from": f, "value": m["content"]} for f, m in zip(
        ("human", "gpt", "human"), MESSAGES, strict=True)],
    "other roles": [{"role": r, "content": m["content"]} for r, m in zip(
        ("Human", "bot", "prompter"), MESSAGES, strict=True)],
    "Gemini": [{"role": {"assistant": "model"}.get(m["role"], m["role"]),
                "parts": [{"text": m["content"]}]} for m in MESSAGES],
    "parts": [m | {"content": [{"type": "text", "text": m["content"]}]} for m in MESSAGES],
    "thoughts": [m | {"content": [{"type": "thinking", "thinking": "hm"},
                                  {"type": "text", "text": m["content"]}]} for m in MESSAGES],
    "columns": {"role": ["user", "assistant", "user"], "content": TEXTS},
    "Capybara": [{"input": TEXTS[0], "output": TEXTS[1]}, {"input": TEXTS[2], "output": "x"}],
    "more fields": [m | {"name": None, "weight": 1, "tool_calls": None} for m in MESSAGES],
}  # fmt: skip


@pytest.mark.parametrize("name", NOTATIONS)
def test_notations_of_messages(tmp_path, name):
    assert requests(tmp_path, "a.jsonl", lines({"prompt": NOTATIONS[name]})) == [TEXTS]


def test_what_pandas_writes(tmp_path):
    frame = pd.DataFrame({"prompt": [np.array(MESSAGES, dtype=object)], "id": [1]})
    assert requests(tmp_path, "a.csv", frame.to_csv(index=False)) == [TEXTS]
    frame = pd.DataFrame({"prompt": [np.array(["q, 'a'"], dtype=object), np.array(["b"])]})
    assert requests(tmp_path, "b.csv", frame.to_csv(index=False)) == [["q, 'a'"], ["b"]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("['a' 'b, c']", ["a", "b, c"]),
        ("[1 2\n 3]", [1, 2, 3]),
        ("[0.5 -1.5]", [0.5, -1.5]),
        ("[None 'a']", [None, "a"]),
        ("[{'a': 1} {'a': 2}]", [{"a": 1}, {"a": 2}]),
        ("array(['a', 'b'], dtype=object)", ["a", "b"]),
        ("[np.float64(0.5), np.int64(2)]", [0.5, 2]),
        ("defaultdict(<class 'list'>, {'x': [0.5, 0.5]})", {"x": [0.5, 0.5]}),
        ("{'a': array([1, 2]), 'b': nan}", {"a": [1, 2]}),
    ],
)
def test_lists_as_python_and_numpy_print_them(text, value):
    parsed, _ = parse_structured(text)
    if isinstance(parsed, dict):
        parsed.pop("b", None)
    assert parsed == value


@pytest.mark.parametrize("text", ["[1 2", "plain", "[x for x in y]", "{}x", "[open('a')]", "'a'"])
def test_other_texts_are_not_lists(text):
    with pytest.raises(NotStructured):
        parse_structured(text)


def test_a_list_that_numpy_cut_is_no_text(tmp_path):
    cut = "[{'role': 'user', 'content': 'a'}, ..., {'role': 'user', 'content': 'b'}]"
    with pytest.raises(Drop, match="was cut"):
        read_messages(cut)


def test_texts_that_only_resemble_conversations(tmp_path):
    plain = ["User: a list, please", "[1, 2]", '{"a": 1}', "Human rights: why?", "[a] Is it so?",
             'Explain {"role": "user"}', '[{"name": "x"}]']  # fmt: skip
    rows, dropped, _ = read(tmp_path, "prompts", "a.jsonl", lines(*[{"prompt": p} for p in plain]))
    assert [row.messages for row in rows] == [[{"role": "user", "content": p}] for p in plain]
    assert not dropped
    inside = f"Which answer is better?{TALK}"
    rows, _, reading = read(tmp_path, "prompts", "b.jsonl", lines({"prompt": inside}))
    assert rows[0].messages == [{"role": "user", "content": inside}]
    assert reading.cells == {"text with marks of speakers inside": 1}, "a plan shows it"


def test_what_cannot_be_read_is_dropped_with_its_reason(tmp_path):
    image = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "What?"}]
    tool = {"role": "tool", "content": "1"}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}
    old_call = {"role": "assistant", "content": None, "function_call": {"name": "f"}}
    sharegpt = [("human", "a"), ("function_call", "{}"), ("observation", "1"), ("human", "b")]
    cells = [
        [*turns("a", "b"), {"role": "user", "content": image}],
        [*turns("a"), call, tool, *turns("b")],
        [*turns("a"), old_call, {"role": "function", "content": "1"}, *turns("b")],
        [{"from": role, "value": text} for role, text in sharegpt],
        [{"role": "narrator", "content": "x"}, *turns("a")],
        ["a", "b"],
        json.dumps(turns("a", "b"))[:-7],
        "<|im_start|>user\nHi<|im_end|>",
        3,
        [{"text": "no role"}],
    ]
    rows, dropped, _ = read(tmp_path, "prompts", "a.jsonl", lines(*[{"prompt": c} for c in cells]))
    assert not rows and dropped == {
        "a part of a turn that is not text": 1,
        "a tool turn": 3,
        "a turn of an unknown role": 1,
        "a list of texts without roles": 1,
        "a text that looks like messages and cannot be read": 1,
        "a text that a chat template has already rendered": 1,
        "a int where text or messages are expected": 1,
        "the messages lack `role` or `content`": 1,
    }


def test_an_unreadable_turn_that_nobody_needs_drops_nothing():
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}
    talk = [*turns("a"), call, {"role": "tool", "content": "1"}, *turns("b")]
    assert read_prompts(talk[:-1], "last") == [turns("a")]
    assert read_prompts(talk, "first") == [turns("a")]
    with pytest.raises(Drop, match="a tool turn"):
        read_prompts(talk, "each")


def test_odd_orders_of_turns_are_used_and_counted(tmp_path):
    cells = [
        [*turns("a"), *turns("b")],
        [{"role": "assistant", "content": "hi"}, *turns("a")],
        [*turns("a", "", "b")],
        [*turns("a", "b"), {"role": "system", "content": "s"}, *turns("c")],
        turns("a", "b"),
        turns(""),
        [],
        None,
    ]
    rows, dropped, reading = read(
        tmp_path, "prompts", "a.jsonl", lines(*[{"prompt": cell} for cell in cells])
    )
    assert len(rows) == 5 and dropped == {"no user turn": 3}
    assert reading.odd == {
        "two turns of one role in a row": 1,
        "the assistant speaks first": 1,
        "an empty turn": 1,
        "a system turn after the first turn": 1,
    }


def test_a_style_is_found_for_all_cells_or_none():
    assert find_style(["['a']", "['b']"]).lists
    assert not find_style(["['a']", "b"]).lists
    assert read_prompts("['a']", "last") == [turns("['a']")]


@pytest.mark.parametrize(
    "text",
    [
        "\u2028\u2028Human: Q?\u2028\u2028Assistant: A.",
        "\x85\x85Human: Q?\x85\x85Assistant: A.",
        "\n\n\ufeffHuman: Q?\n\n\u200bAssistant: A.",
        "\n\n\u200fHuman: Q?\n\n\u200fAssistant: A.",
        "Human\uff1aQ?\n\nAssistant\uff1aA.",
        "**Human:** Q?\n\n**Assistant:** A.",
        "**User**: Q?\n**Assistant**: A.",
        "<human>: Q?\n<bot>: A.",
    ],
)
def test_rare_line_ends_and_marks_split_a_transcript(text):
    assert read_prompts(text, "last") == [[{"role": "user", "content": "Q?"}]]
    assert [turn["content"] for turn in read_messages(text)[0]] == ["Q?", "A."]


def test_one_odd_row_does_not_change_how_a_column_is_read(tmp_path):
    by_line = [{"prompt": f"Human: Q{number}\nAssistant: A"} for number in range(20)]
    by_paragraph = [{"prompt": f"\n\nHuman: R{number}\n\nAssistant: A"} for number in range(20)]
    content = lines(*by_line, by_paragraph[0])
    expected = [*([f"Q{number}"] for number in range(20)), ["R0"]]
    assert requests(tmp_path, "a.jsonl", content) == expected

    rows, dropped, _ = read(tmp_path, "prompts", "b.jsonl", lines(*by_paragraph, by_line[0]))
    assert [row.messages[0]["content"] for row in rows] == [f"R{n}" for n in range(20)]
    assert dropped == {"a transcript whose speakers are not marked at the start of paragraphs": 1}


@pytest.mark.parametrize("text", ["Human: Q? Assistant:", "USER: Q? ASSISTANT: A. USER: R?"])
def test_a_transcript_on_one_line_is_dropped(text):
    with pytest.raises(Drop, match="not marked at the start of paragraphs"):
        read_messages(text)


@pytest.mark.parametrize(
    "text",
    [
        "<|endoftext|>Q",
        "<\uff5cbegin\u2581of\u2581sentence\uff5c>Q",
        "<|start|>user<|message|>Q",
        "### Instruction:\nQ\n\n### Response:\n",
        "Below is an instruction that describes a task.\n\n### Instruction:\nQ\n\n### Response:",
        "A chat between a curious user and an AI assistant. USER: Q ASSISTANT:",
    ],
)
def test_rendered_texts_are_dropped(text):
    with pytest.raises(Drop, match="already rendered"):
        read_messages(text)


def test_turns_of_two_merged_layouts_are_read_by_their_filled_keys():
    merged = {"role": None, "content": None, "from": "human", "value": "q"}
    other = {"role": "assistant", "content": "a", "from": None, "value": None}
    assert read_messages([merged, other])[0] == turns("q", "a")


def test_parts_written_as_json_text():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read_messages([{"role": "user", "content": json.dumps(parts)}])[0] == turns("a\nb")
    image = json.dumps([{"type": "image_url", "image_url": {"url": "a.png"}}])
    with pytest.raises(Drop, match="a part of a turn that is not text"):
        read_prompts([{"role": "user", "content": image}], "last")
    for plain in ("[1, 2]", '[{"type": "text"}]', '[{"type": "river", "text": "a"}]', "[]"):
        assert read_messages([{"role": "user", "content": plain}])[0] == turns(plain)


def test_marks_of_helpsteer_split_a_prompt(tmp_path):
    prompt = "q\n<extra_id_1>Assistant\na: 1\n\nb\n<extra_id_1>User\nr"
    assert read_messages(prompt)[0] == turns("q", "a: 1\n\nb", "r")
    record = {"prompt": f"{prompt}\n<extra_id_1>Assistant\n", "response_1": "x", "response_2": "y"}
    content = lines({**record, "preference_strength": -1})
    rows, _, _ = read(tmp_path, "human_pairs", "a.jsonl", content)
    assert (rows[0].prompt, rows[0].chosen) == (turns("q", "a: 1\n\nb", "r"), "x")


@pytest.mark.parametrize("name", ["Message", "HumanMessage", "ChatMessage"])
def test_printed_objects_are_not_requests(name):
    with pytest.raises(Drop, match="looks like messages"):
        read_messages(f"[{name}(content='q', role='user')]")
