"""Forms of preferences: sides beside a prompt, verdicts, published columns, answers with scores."""

import json

import numpy as np
import pandas as pd
import pytest

from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.principles.faults import slug
from stages.sources.verdicts import read_verdicts
from tests.running import AloneContext
from tests.sources.reading import lines, pairs, read, requests, turns

NAMED = {"prompt": "prompt", "chosen": "a", "rejected": "b", "better": "w"}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([0.0, 1.0], "12"),
        (["0", "1", "0.5"], "12="),
        (["0.0", "1.0", ""], "12-"),
        ([False, True, None], "12-"),
        (["true", "False"], "21"),
        (["A", "b", "tie"], "12="),
        (["model_a", "model_b", "tie (bothbad)"], "12="),
        (["response_0", "response_1"], "12"),
        (["response_1", "response_2"], "12"),
        ([1, 2, 1], "121"),
        ([-1, 1, 0], "12="),
        (["-1", "+1"], "12"),
        ([-3, 2, 0], "12="),
        (["left", "right", "both"], "12="),
        (["one", "two", "One"], "121"),
        ([float("nan"), 0], "-1"),
    ],
)
def test_what_states_the_preferred_side(cells, expected):
    verdicts, _ = read_verdicts(cells, [""] * len(cells), "better", ("one", "two"))
    marks = {"first": "1", "second": "2", "tie": "=", "none": "-"}
    assert "".join(marks[verdict] for verdict in verdicts) == expected


@pytest.mark.parametrize(
    "cells", [[0, 1, 7], ["A", "C"], [0, 1, 2], ["maybe"], [1, 2, 3], [0.3, 1]]
)
def test_another_cell_stops_with_its_place(cells):
    places = [f"f:{n}" for n in range(len(cells))]
    with pytest.raises(UserError, match=r"^f:\d: .* where 0 or 1"):
        read_verdicts(cells, places, "better", ("one", "two"))


def test_ties_are_dropped_and_the_scale_is_shown(tmp_path):
    records = [{"prompt": f"q{n}", "a": "x", "b": "y", "w": w} for n, w in enumerate([-2, 1, 0])]
    rows, dropped, reading = read(tmp_path, "human_pairs", "a.jsonl", lines(*records), **NAMED)
    assert [(row.chosen, row.rejected) for row in rows] == [("x", "y"), ("y", "x")]
    assert dropped == {"a tie": 1}
    assert reading.notes == ["w: negative for the first, positive for the second (a, b)"]


SIDES = {
    "transcripts": ("\n\nHuman: q\n\nAssistant:", "\n\nHuman: q\n\nAssistant: {}"),
    "transcripts, CRLF": ("\r\n\r\nHuman: q\r\n\r\nAssistant:", "Human: q\r\n\r\nAssistant: {}"),
    "marks": ("\n\nHuman: q\n\nAssistant:", "\n\nAssistant: {}"),
    "marks, no blank": ("q", "Assistant:{}"),
    "plain": ("q", "q {}"),
    "plain, by a line": ("q", "q\n{}"),
    "plain and a mark": ("q", "q\n\nAssistant: {}"),
    "a text beside whole transcripts": ("q", "\n\nHuman: q\n\nAssistant: {}"),
    "bare": ("q", "{}"),
    "messages": ("q", [["user", "q"], ["assistant", "{}"]]),
    "the answer as a message": ("q", [["assistant", "{}"]]),
    "JSON": ("q", json.dumps([{"role": "user", "content": "q"},
                              {"role": "assistant", "content": "{}"}])),
    "a prompt as messages": ([["user", "q"]], [["user", "q"], ["assistant", "{}"]]),
    "ShareGPT": ([["human", "q"]], {"from": "gpt", "value": "{}"}),
}  # fmt: skip


def fill(cell, answer):
    if isinstance(cell, str):
        return cell.replace("{}", answer)
    if isinstance(cell, dict):
        return {key: fill(value, answer) for key, value in cell.items()}
    key = ("from", "value") if cell[0][0] == "human" else ("role", "content")
    return [dict(zip(key, (role, fill(text, answer)), strict=True)) for role, text in cell]


@pytest.mark.parametrize("name", SIDES)
def test_the_answer_is_what_comes_after_the_prompt(tmp_path, name):
    prompt, side = SIDES[name]
    record = {"prompt": fill(prompt, ""), "chosen": fill(side, "yes"), "rejected": fill(side, "no")}
    assert pairs(tmp_path, "a.jsonl", lines(record), prompt="prompt") == [("q", "yes", "no")]


SYSTEM = {"role": "system", "content": "s"}


@pytest.mark.parametrize(
    ("prompt", "before", "expected"),
    [
        ("q", [SYSTEM, *turns("q")], ["s", "q"]),
        ("q", [SYSTEM], ["s", "q"]),
        ([SYSTEM, *turns("q")], turns("q"), ["s", "q"]),
        ([SYSTEM, *turns("q")], [], ["s", "q"]),
        ("q2", turns("q", "a", "q2"), ["q", "a", "q2"]),
        (turns("q"), turns("q", "a", "q2"), ["q", "a", "q2"]),
        (turns("q", "a", "q2"), turns("q2"), ["q", "a", "q2"]),
        ([SYSTEM, *turns("q2")], turns("q", "a", "q2"), ["s", "q", "a", "q2"]),
        ("other", turns("q"), None),
        (turns("x", "a", "q"), turns("y", "a", "q"), None),
    ],
)
def test_prompt_and_sides_may_each_hold_a_part_of_the_conversation(
    tmp_path, prompt, before, expected
):
    record = {"prompt": prompt}
    for side in ("chosen", "rejected"):
        record[side] = [*before, {"role": "assistant", "content": side}]
    rows, dropped, _ = read(tmp_path, "human_pairs", "a.jsonl", lines(record), prompt="prompt")
    if expected is None:
        assert not rows and dropped == {"the conversations differ": 1}
    else:
        assert [turn["content"] for turn in rows[0].prompt] == expected
        assert (rows[0].chosen, rows[0].rejected) == ("chosen", "rejected")


def test_whether_sides_repeat_their_prompts_is_decided_for_the_column(tmp_path):
    one = {"prompt": "Name a river.", "chosen": "Name a river. The Elbe.", "rejected": "No."}
    rest = [{"prompt": f"q{n}", "chosen": f"q{n} x", "rejected": f"q{n} y"} for n in range(3)]
    bare = {"prompt": "z", "chosen": "a", "rejected": "b"}
    rows, _, reading = read(tmp_path, "human_pairs", "a.jsonl", lines(one, bare))
    assert rows[0].chosen == "Name a river. The Elbe."
    assert "1 of 4 sides begin with their own prompt; none is cut" in reading.notes
    with pytest.raises(UserError, match="6 of 8 sides begin with their own prompt"):
        pairs(tmp_path, "b.jsonl", lines(*rest, bare))
    rows, dropped, _ = read(tmp_path, "human_pairs", "b.jsonl", lines(*rest, bare), sides="whole")
    assert [row.chosen for row in rows] == ["x"] * 3
    assert dropped == {"the side does not begin with its prompt": 1}
    rows, _, _ = read(tmp_path, "human_pairs", "b.jsonl", lines(*rest, bare), sides="answers")
    assert rows[0].chosen == "q0 x"
    word = {"prompt": "I", "chosen": "It is.", "rejected": "In it."}
    assert pairs(tmp_path, "c.jsonl", lines(word)) == [("I", "It is.", "In it.")]


def test_answers_that_are_lists_stay_texts(tmp_path):
    record = {"prompt": "q", "chosen": "[1, 2]", "rejected": '[{"a": 1, "role": "x"}]'}
    assert pairs(tmp_path, "a.jsonl", lines(record)) == [("q", "[1, 2]", record["rejected"])]


def test_forms_that_are_not_clear_stop_with_the_candidates(tmp_path):
    pku = {"prompt": "q", "response_0": "x", "response_1": "y", "better_response_id": 0}
    with pytest.raises(UserError, match="better_response_id, safer_response_id"):
        pairs(tmp_path, "a.jsonl", lines(pku | {"safer_response_id": 1}))
    assert pairs(tmp_path, "a.jsonl", lines(pku)) == [("q", "x", "y")]
    two = {"question": "q", "context": "c", "chosen": "x", "rejected": "y"}
    with pytest.raises(UserError, match="several columns may hold the request: question, context"):
        pairs(tmp_path, "a.jsonl", lines(two))
    assert pairs(tmp_path, "a.jsonl", lines(two), prompt=["context", "question"]) == [
        ("c\n\nq", "x", "y")
    ]
    with pytest.raises(UserError, match=r"no column 'chosen'(?s:.*)the columns are good, bad"):
        pairs(tmp_path, "a.jsonl", lines({"good": "x", "bad": "y"}))
    with pytest.raises(UserError, match=r"question and answer .*; conversations"):
        record = {"question": "q", "answer": "a", "messages": turns("q", "a")}
        read(tmp_path, "human_answers", "a.jsonl", lines(record))


def test_forms_without_an_example_on_the_page(tmp_path):
    helpsteer3 = {
        "context": turns("q"),
        "response1": "x",
        "response2": "y",
        "overall_preference": 2,
    }
    assert pairs(tmp_path, "a.jsonl", lines(helpsteer3)) == [("q", "y", "x")]
    farm = {"instruction": "q", "input": "i", "output_1": "x", "output_2": "y", "preference": 2}
    assert pairs(tmp_path, "b.jsonl", lines(farm)) == [("q\n\ni", "y", "x")]
    webgpt = {"question": {"full_text": "q"}, "answer_0": "x", "answer_1": "y"}
    records = [webgpt | {"score_0": a, "score_1": -a} for a in (-0.5, 0)]
    rows, dropped, _ = read(tmp_path, "human_pairs", "c.jsonl", lines(*records))
    assert [(row.chosen, row.rejected) for row in rows] == [("y", "x")] and dropped == {"a tie": 1}
    kaggle = {"prompt": '["q"]', "response_a": '["x"]', "response_b": '["y"]', "winner_tie": 0}
    frame = pd.DataFrame([kaggle | {"winner_model_a": 0, "winner_model_b": 1}])
    assert pairs(tmp_path, "d.csv", frame.to_csv(index=False)) == [("q", "y", "x")]
    bench = {
        "conversation_a": turns("q", "x", "r", "x2"),
        "conversation_b": turns("q", "y", "r", ""),
    }
    arena = lines(bench | {"winner": "model_a", "turn": 1})
    assert pairs(tmp_path, "e.jsonl", arena) == [("q", "x", "y")], "only the first turn was judged"


def test_scores_of_two_names_are_not_compared(tmp_path):
    answers = [
        {"response": "x", "overall_score": 7, "fine-grained_score": 3.5},
        {"response": "y", "overall_score": 9, "fine-grained_score": None},
        {"response": "z", "overall_score": 8},
    ]
    record = {"instruction": "q", "completions": answers}
    assert pairs(tmp_path, "a.jsonl", lines(record)) == [("q", "y", "x")]
    rated = [{"response": name, "annotations": {"a": {"Rating": r}, "b": {"Rating": "N/A"}}}
             for name, r in (("x", "2"), ("y", "5"))]  # fmt: skip
    record = {"instruction": "q", "completions": rated}
    assert pairs(tmp_path, "b.jsonl", lines(record)) == [("q", "y", "x")]
    frame = pd.DataFrame([{"instruction": "q", "completions": np.array(rated, dtype=object)}])
    assert pairs(tmp_path, "c.csv", frame.to_csv(index=False)) == [("q", "y", "x")]


def test_answers_in_columns_of_their_own(tmp_path):
    record = {"prompt": "q", "texts": ["x", "y", "z"], "marks": [1, 3, 3]}
    named = {"answers": "texts", "answer": "text", "score": "marks"}
    assert pairs(tmp_path, "a.jsonl", lines(record), **named) == [("q", "y", "x")]
    assert pairs(tmp_path, "a.jsonl", lines(record), **named, pairing="all") == [
        ("q", "y", "x"),
        ("q", "z", "x"),
    ]
    rows, _, _ = read(tmp_path, "human_answers", "a.jsonl", lines(record), **named, rank=True,
                      prompt="prompt")  # fmt: skip
    assert [(row.response, row.score) for row in rows] == [("x", -1), ("y", -3), ("z", -3)]


def test_labels_of_unpaired_answers(tmp_path):
    labels = [True, "False", 1, "0", -1, "yes", "thumbs_down", None, "maybe", 0.5]
    records = [{"prompt": f"q{n}", "completion": "x", "label": v} for n, v in enumerate(labels)]
    rows, dropped, _ = read(tmp_path, "human_answers", "a.jsonl", lines(*records))
    assert [row.score for row in rows] == [1, 0, 1, 0, 0, 1, 0]
    assert dropped == {"no score": 1, "a label that says neither good nor bad": 2}
    tagged = [{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "x"}],
               "kto_tag": tag} for tag in (True, False)]  # fmt: skip
    rows, _, _ = read(tmp_path, "human_answers", "b.jsonl", lines(*tagged))
    assert [(row.prompt, row.response, row.score) for row in rows] == [
        (turns("q"), "x", 1),
        (turns("q"), "x", 0),
    ]
    with pytest.raises(UserError, match=r"3 x the only answer to its request(?s:.*)human_answers"):
        from stages.preferences import human_pairs

        path = tmp_path / "c.jsonl"
        path.write_text(lines(*records[:3]))
        human_pairs.run(human_pairs.Config(source=str(path)), {}, AloneContext())


@pytest.mark.parametrize(
    ("cells", "chosen"),
    [(["y", "x", "tie"], ["y", "x"]), (["m2", "m1", ""], ["y", "x"]), (["x", "A", "B"], None)],
)
def test_the_preferred_side_by_its_text_or_its_model(tmp_path, cells, chosen):
    models = {"model_a": "m1", "model_b": "m2", "a": "x", "b": "y"}
    records = [models | {"prompt": f"q{n}", "w": cell} for n, cell in enumerate(cells)]
    if chosen is None:
        with pytest.raises(UserError, match=r"a\.jsonl:1: 'x' where 0 or 1"):
            pairs(tmp_path, "a.jsonl", lines(*records), **NAMED)
    else:
        found = pairs(tmp_path, "a.jsonl", lines(*records), **NAMED)
        assert [pair[1] for pair in found] == chosen


def test_columns_that_are_not_read_are_named(tmp_path):
    rated = lines({"prompt": "q", "response": "a", "rating": 5})
    _, _, reading = read(tmp_path, "human_answers", "a.jsonl", rated)
    assert reading.notes == ["columns that are not read: rating"]
    dolly = lines({"instruction": "q", "context": "c", "response": "a", "category": "x"})
    rows, _, reading = read(tmp_path, "human_answers", "b.jsonl", dolly)
    assert rows[0].prompt == turns("q\n\nc")
    assert reading.notes == ["columns that are not read: category"]


def rated(*cells, **more):
    """Records of two responses with a winner each."""
    records = []
    for number, cell in enumerate(cells):
        record = {"prompt": f"q{number}", "response_a": "x", "response_b": "y", "winner": cell}
        records.append({**record, **more})
    return lines(*records)


def test_a_column_of_names_and_numbers_stops_with_both_places(tmp_path):
    with pytest.raises(UserError, match=r"'1' here, and 'a' at .*a\.jsonl:1") as caught:
        pairs(tmp_path, "a.jsonl", rated("A", "B", 1))
    assert "a.jsonl:3" in str(caught.value)
    assert pairs(tmp_path, "b.jsonl", rated("A", "both bad", "B", "Neutral", None)) == [
        ("q0", "x", "y"),
        ("q2", "y", "x"),
    ]


def test_a_name_of_no_side_among_names_of_models_stops_at_its_own_line(tmp_path):
    models = {"model_a": "one", "model_b": "two"}
    with pytest.raises(UserError, match="'tow' in `winner` is neither `model_a` nor") as caught:
        pairs(tmp_path, "a.jsonl", rated("one", "two", "two", "tow", **models))
    assert "a.jsonl:4" in str(caught.value)


def test_a_model_against_itself_states_no_preference(tmp_path):
    content = rated("one", model_a="one", model_b="one") + "\n"
    content += rated("no", "two", model_a="one", model_b="two").split("\n")[1]
    rows, dropped, _ = read(tmp_path, "human_pairs", "a.jsonl", content)
    assert [(row.chosen, row.rejected) for row in rows] == [("y", "x")]
    assert dropped == {"no preference stated": 1}


@pytest.mark.parametrize("score", ["nan", "inf", "-Infinity"])
def test_a_score_that_is_not_finite_is_none(tmp_path, score):
    record = {"question": "q", "answer_0": "x", "answer_1": "y", "score_0": score, "score_1": 0}
    _, dropped, _ = read(tmp_path, "human_pairs", "a.jsonl", lines(record))
    assert dropped == {"no preference stated": 1}
    record = {"prompt": "q", "response": "x", "s": score}
    options = {"prompt": "prompt", "answer": "response", "score": "s"}
    _, dropped, _ = read(tmp_path, "human_answers", "b.jsonl", lines(record), **options)
    assert dropped == {"a score that is not a number": 1}


@pytest.mark.parametrize("turn", [1, "1", 1.0])
@pytest.mark.parametrize("write", [list, json.dumps, str])
@pytest.mark.parametrize("system", [[], [{"role": "system", "content": "s"}]])
def test_the_turn_that_was_judged_counts_answers(tmp_path, turn, write, system):
    sides = {}
    for side, text in (("a", "x"), ("b", "y")):
        sides[f"conversation_{side}"] = write(system + turns("q", text, "r", text * 2))
    content = lines({**sides, "winner": "model_b", "turn": turn})
    (pair,) = pairs(tmp_path, "a.jsonl", content)
    assert pair[-3:] == ("q", "y", "x")


def test_labels_of_other_numbers_are_no_labels(tmp_path):
    def label(*values):
        return lines(*({"prompt": "q", "completion": f"a{v}", "label": v} for v in values))

    rows, dropped, _ = read(tmp_path, "human_answers", "a.jsonl", label(1, -1, "True", 0, 0.5))
    assert [row.score for row in rows] == [1, 0, 1, 0]
    assert dropped == {"a label that says neither good nor bad": 1}
    with pytest.raises(UserError, match="2 where 0 or 1"):
        read(tmp_path, "human_answers", "b.jsonl", label(1, 2))


def test_a_tree_with_a_circle_or_other_roles(tmp_path):
    def message(name, parent, role, rank=None):
        names = {"message_id": name, "parent_id": parent}
        return {**names, "role": role, "text": name, "rank": rank}

    content = lines(
        message("a", "a", "prompter"),
        message("b", "a", "assistant", 0),
        message("c", None, "user"),
        message("d", "c", "assistant", 1),
        message("e", "c", "assistant", 0),
        message("f", None, "critic"),
        message("g", "f", "assistant", 0),
    )
    rows, dropped, _ = read(tmp_path, "human_pairs", "a.jsonl", content)
    assert [(row.prompt[0]["content"], row.chosen, row.rejected) for row in rows] == [
        ("c", "e", "d")
    ]
    assert dropped == {"its parents form a circle": 1, "a turn of an unknown role": 1}


def test_a_system_column_beside_conversations_is_read(tmp_path):
    content = lines({"conversations": turns("q", "a"), "system": "s"})
    assert requests(tmp_path, "a.jsonl", content) == [["s", "q"]]
    rows, _, _ = read(tmp_path, "human_answers", "b.jsonl", content)
    assert [turn["content"] for turn in rows[0].prompt] == ["s", "q"]


def sides_of(*rows):
    return lines(*({"prompt": p, "chosen": c, "rejected": r} for p, c, r in rows))


def test_a_few_sides_without_their_prompt_are_dropped_and_many_stop(tmp_path):
    repeated = [(f"Q{n}?", f"Q{n}? yes", f"Q{n}? no") for n in range(40)]
    content = sides_of(*repeated, ("R?", "yes", "no"))
    rows, dropped, reading = read(tmp_path, "human_pairs", "a.jsonl", content)
    assert [row.chosen for row in rows] == ["yes"] * 40
    assert dropped == {"the side does not begin with its prompt": 1}
    assert "80 of 82 sides begin with their own prompt" in " ".join(reading.notes)
    bare = [(f"R{n}?", "yes", "no") for n in range(40)]
    with pytest.raises(UserError, match=r"80 of 160 sides.*as in .*:1; not in .*:41"):
        read(tmp_path, "human_pairs", "b.jsonl", sides_of(*repeated, *bare))


def test_one_column_alone_that_repeats_its_prompt_stops(tmp_path):
    content = sides_of(*((f"Q{n}?", f"Q{n}? yes", "no") for n in range(3)))
    with pytest.raises(UserError, match="3 of 6 sides begin with their own prompt"):
        read(tmp_path, "human_pairs", "a.jsonl", content)


def test_sides_that_go_on_from_their_prompt_keep_it(tmp_path):
    rest = turns("q", "x", "r", "yes")[1:]
    other = turns("q", "x", "r", "no")[1:]
    content = sides_of((turns("q"), rest, other), ("p", rest, other))
    expected = [("q", "x", "r", "yes", "no"), ("p", "x", "r", "yes", "no")]
    assert pairs(tmp_path, "a.jsonl", content) == expected
    assert pairs(tmp_path, "b.jsonl", content, prompt="prompt") == expected


def test_lists_of_texts_beside_a_prompt(tmp_path):
    content = sides_of(("q", ["yes"], ["no"]), ("r", ["yes", "no"], ["no"]))
    rows, dropped, _ = read(tmp_path, "human_pairs", "a.jsonl", content)
    assert [(row.chosen, row.rejected) for row in rows] == [("yes", "no")]
    assert dropped == {"several texts where one answer is expected": 1}


@pytest.mark.parametrize("end", ["<|im_end|>", "</s>\n", "<end_of_turn>", "<|eot_id|>"])
def test_answers_with_an_end_of_turn_token_are_dropped(tmp_path, end):
    content = sides_of(("q", f"yes{end}", "no"), ("r", "<s>old</s>", "no"))
    rows, dropped, _ = read(tmp_path, "human_pairs", "a.jsonl", content)
    assert [row.chosen for row in rows] == ["<s>old</s>"]
    assert dropped == {"an answer that a chat template has already rendered": 1}
    whole = lines({"messages": turns("q", f"yes{end}")})
    _, dropped, _ = read(tmp_path, "human_answers", "b.jsonl", whole)
    assert dropped == {"an answer that a chat template has already rendered": 1}


def test_yes_is_no_number_beside_a_scale(tmp_path):
    def scores(*values):
        records = [{"prompt": f"q{n}", "response": "x", "s": v} for n, v in enumerate(values)]
        options = {"prompt": "prompt", "answer": "response", "score": "s"}
        rows, dropped, _ = read(tmp_path, "human_answers", "a.jsonl", lines(*records), **options)
        return [row.score for row in rows], dropped

    assert scores(5, "yes", True, "3", "1_000") == ([5, 3], {"a score that is not a number": 3})
    assert scores(1, "yes", True, "no", 0) == ([1, 1, 1, 0, 0], {})


def test_a_column_of_ones_is_read_only_where_the_sides_are_numbered(tmp_path):
    with pytest.raises(UserError, match="every number is 1"):
        pairs(tmp_path, "a.jsonl", rated(1, "1", None))
    for first, second, expected in (("r_0", "r_1", "y"), ("r_1", "r_2", "x")):
        records = [{"prompt": f"q{n}", first: "x", second: "y", "best": 1} for n in range(2)]
        options = {"prompt": "prompt", "chosen": first, "rejected": second, "better": "best"}
        rows, _, _ = read(tmp_path, "human_pairs", "b.jsonl", lines(*records), **options)
        assert [row.chosen for row in rows] == [expected] * 2


@pytest.mark.parametrize(
    ("prompt", "side"),
    [
        ("Q\nmore?", "Q\r\nmore? {}"),
        ("Q\r\nmore?", "Q\nmore? {}"),
        ("**Human:** Q\nmore?\n\n**Assistant:**", "**Assistant:** {}"),
        ("<human>: Q\nmore?\n<bot>:", "<bot>: {}"),
        ("Human\uff1aQ\nmore?", "Assistant\uff1a{}"),
    ],
)
def test_sides_that_repeat_their_prompt_in_other_spellings_are_cut(tmp_path, prompt, side):
    content = sides_of((prompt, side.format("yes"), side.format("no")))
    ((request, chosen, rejected),) = pairs(tmp_path, "a.jsonl", content, prompt="prompt")
    assert (request.replace("\r\n", "\n"), chosen, rejected) == ("Q\nmore?", "yes", "no")


def test_a_system_turn_that_is_no_text_is_dropped_and_a_leading_one_is_read(tmp_path):
    content = lines({"prompt": "q", "system": ["s"]}, {"prompt": "r", "system": None})
    rows, dropped, _ = read(tmp_path, "prompts", "a.jsonl", content)
    assert [row.messages for row in rows] == [turns("r")]
    assert dropped == {"a system turn that is not text": 1}
    text = "System: s\n\nHuman: q\n\nAssistant: a"
    assert requests(tmp_path, "b.jsonl", lines({"prompt": text})) == [["s", "q"]]


HARMS = {"animal_abuse": False, "hate_speech,offensive_language": True}


def test_categories_of_harm(tmp_path):
    """BeaverTails: an answer is safe only if no category is flagged (systems.md section 15, 9)."""
    clear = dict.fromkeys(HARMS, False)
    records = [
        {"prompt": "q", "response": "x", "category": HARMS, "is_safe": False},
        {"prompt": "q", "response": "x", "category": clear, "is_safe": True},
        {"prompt": "q", "response": "y", "category": json.dumps(clear), "is_safe": "True"},
        {"prompt": "q", "response": "y", "category": clear, "is_safe": True},
        {"prompt": "q", "response": "z", "category": HARMS, "is_safe": True},
        {"prompt": "q", "response": "u", "category": {"animal_abuse": "perhaps"}, "is_safe": True},
        {"prompt": "q", "response": "v", "category": "none", "is_safe": True},
        {"prompt": "q", "response": "w", "category": {}, "is_safe": True},
    ]
    rows, dropped, reading = read(tmp_path, "human_answers", "a.jsonl", lines(*records))
    assert [(row.response, row.score, row.scores) for row in rows] == [
        ("x", 0.0, [1.0, 0.0]),
        ("x", 1.0, [1.0, 1.0]),
        ("y", 1.0, [1.0, 1.0]),
    ], "people who disagree are all kept"
    names = ["animal-abuse", "hate-speech-offensive-language"]
    assert all(row.principles == names and row.negated == [False] * 2 for row in rows)
    assert dropped == {
        "duplicate": 1,
        "its score contradicts its categories": 1,
        "a category that is neither true nor false": 1,
        "no mapping of categories to true or false": 2,
    }
    assert reading.form == "categories of harm (BeaverTails)"


def test_categories_in_columns_of_their_own(tmp_path):
    text = "prompt,response,toxic,insult\nq,x,1,0\nq,y,0,0\n"
    rows, _, _ = read(tmp_path, "human_answers", "a.csv", text, flags=["toxic", "insult"])
    assert [(row.score, row.scores) for row in rows] == [(0.0, [0.0, 1.0]), (1.0, [1.0, 1.0])]
    with pytest.raises(UserError, match="there is no column 'toxicity'"):
        read(tmp_path, "human_answers", "a.csv", text, flags="toxicity")


PUBLISHED = """
    animal_abuse child_abuse controversial_topics,politics discrimination,stereotype,injustice
    drug_abuse,weapons,banned_substance financial_crime,property_crime,theft
    hate_speech,offensive_language misinformation_regarding_ethics,laws_and_safety
    non_violent_unethical_behavior privacy_violation self_harm sexually_explicit,adult_content
    terrorism,organized_crime violence,aiding_and_abetting,incitement
"""
"""The categories as BeaverTails' files name them."""


def test_the_categories_of_beavertails_are_our_principles():
    ids = [principle.id for principle in load("beavertails").principles]
    assert ids == [slug(name) for name in PUBLISHED.split()]
