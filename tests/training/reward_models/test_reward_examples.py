"""Pairs as a reward model reads them: whose words it reads, what is dropped, what the mix is,
what is reported.
"""

from dataclasses import replace

import pytest

from stages.guards.errors import UserError
from stages.principles.select import Selection, select
from stages.training.reward_models import reward_model
from stages.training.reward_models.format import PLAIN, RewardFormat, make_format
from stages.training.reward_models.reward_examples import columns, prepare_pairs, reward_examples
from tests.training.conftest import pair
from tests.training.small_reward_models import constitution

GENERAL = "The response should be good."
PRINCIPLED = make_format("preference", True, None)
COST = RewardFormat("cost", principles=False, template="")
WORDS = {
    "kind": ("The answer is kind.", "The answer is harsh."),
    "short": ("The answer is short.", "The answer is long."),
}


def read(inputs, layout, folder=None):
    chosen = select(Selection(**constitution(folder))) if folder else None
    return reward_examples(inputs, layout, chosen, GENERAL)


def labelled(i, principles, negated=(), **more):
    return replace(
        pair(i, f"good {i}", f"bad {i}"), principles=list(principles), negated=list(negated), **more
    )


def test_the_opposite_wording_is_shown_exactly_where_a_principle_is_negated(artifact, tmp_path):
    flags = [(a, b) for a in (False, True) for b in (False, True)]
    rows = [labelled(i, ["kind", "short"], turned) for i, turned in enumerate(flags)]
    examples, dropped, _ = read({"pairs": artifact("pairs", rows)}, PRINCIPLED, tmp_path)
    assert not dropped
    for row, example, turned in zip(rows, examples, flags, strict=True):
        for side, answer in (("chosen", row.chosen), ("rejected", row.rejected)):
            text = example[side][0]["content"]
            assert answer in text and row.prompt[0]["content"] in text
            for (plain, opposite), negated in zip(WORDS.values(), turned, strict=True):
                assert (opposite in text) == negated and (plain in text) != negated
    unmarked, _, _ = read(
        {"pairs": artifact("unmarked", [labelled(0, ["kind", "short"])])}, PRINCIPLED, tmp_path
    )
    assert unmarked[0]["chosen"] == examples[0]["chosen"]  # no flags: nothing is negated


def test_a_principle_may_be_a_whole_text_that_no_constitution_has(artifact, tmp_path):
    rows = [labelled(0, ["It rhymes, in {{ two }} lines."]), labelled(1, ["unheard-of"])]
    (example,), dropped, _ = read({"pairs": artifact("pairs", rows)}, PRINCIPLED, tmp_path)
    assert "Principle: It rhymes, in {{ two }} lines." in example["chosen"][0]["content"]
    assert [row.reason for row in dropped] == [
        "labelled under a principle that is not selected here"
    ]


def test_the_principles_keep_the_order_of_the_row(artifact, tmp_path):
    rows = [labelled(0, ["kind", "short"]), labelled(1, ["short", "kind"])]
    one, two = (
        e["chosen"][0]["content"]
        for e in read({"pairs": artifact("pairs", rows)}, PRINCIPLED, tmp_path)[0]
    )
    assert one.index(WORDS["kind"][0]) < one.index(WORDS["short"][0])
    assert two.index(WORDS["short"][0]) < two.index(WORDS["kind"][0])


def test_human_pairs_keep_their_share_and_read_the_general_principle(artifact, tmp_path):
    """No input is subsampled or repeated, for any size: 30 rows beside 10 stay three quarters of
    the mix.
    """
    machine = [labelled(i, ["kind"]) for i in range(10)]
    human = [labelled(100 + i, []) for i in range(30)] + [labelled(200, ["kind"], chosen=" ")]
    inputs = {"pairs": artifact("pairs", machine), "human": artifact("human", human)}
    examples, dropped, mix = read(inputs, PRINCIPLED, tmp_path)
    assert mix == {"pairs": {"n": 10, "share": 0.25}, "human": {"n": 30, "share": 0.75}}
    assert [d.reason for d in dropped] == ["empty completion"]
    assert [GENERAL in e["chosen"][0]["content"] for e in examples] == [False] * 10 + [True] * 30
    plain, _, same = read(inputs, PLAIN)
    assert same == mix and not any(GENERAL in e["chosen"][-1]["content"] for e in plain)
    assert plain[0]["chosen"] == [*machine[0].prompt, {"role": "assistant", "content": "good 0"}]


def test_what_is_dropped_has_a_reason(artifact, tmp_path):
    again, turned = (
        replace(labelled(0, ["kind"]), id="again"),
        replace(labelled(0, ["kind"], [True]), id="turned"),
    )
    rows = [labelled(0, ["kind"]), again, turned, labelled(1, ["elsewhere"]), labelled(2, ["kind"])]
    rows[-1] = replace(rows[-1], rejected="good 2 ")
    examples, dropped, mix = read({"pairs": artifact("pairs", rows)}, PRINCIPLED, tmp_path)
    assert [e["id"] for e in examples] == ["q0", "turned"]
    assert {d.id: d.reason for d in dropped} == {
        "again": "duplicate",
        "q1": "labelled under a principle that is not selected here",
        "q2": "both sides are equal",
    }
    assert mix == {"pairs": {"n": 2, "share": 1.0}}


def safe(i, chosen, rejected):
    return labelled(i, [], chosen_safe=chosen, rejected_safe=rejected)


def test_cost_rows_carry_both_safety_labels_which_may_disagree_with_the_preference(artifact):
    rows = [
        safe(0, True, False),
        safe(1, True, True),
        safe(2, False, False),
        safe(3, False, True),
        labelled(4, []),
    ]
    pairs = artifact("pairs", rows)
    examples, dropped, _ = read({"pairs": pairs}, COST)
    assert [(e["id"], e["chosen_unsafe"], e["rejected_unsafe"]) for e in examples] == [
        ("q0", False, True),
        ("q1", False, False),
        ("q2", True, True),
    ]
    assert {d.id: d.reason for d in dropped} == {
        # its two losses would pull against each other
        "q3": "the preferred side is unsafe and the other safe",
        "q4": "no safety label",
    }
    preferred, none, _ = read(
        {"pairs": pairs}, PLAIN
    )  # the better answer may well be the unsafe one
    assert [e["id"] for e in preferred] == ["q0", "q1", "q2", "q3", "q4"] and not none
    assert not any("chosen_unsafe" in e for e in preferred)


@pytest.mark.parametrize(
    "rows, layout, message",
    [
        (
            [labelled(i, []) for i in range(3)],
            COST,
            r"no pair has any.*`inputs: \{ratings: <a rate step>\}`",
        ),
        ([safe(i, True, True) for i in range(3)], COST, "all responses are labelled safe"),
        ([safe(i, False, False) for i in range(3)], COST, "all responses are labelled unsafe"),
        ([safe(i, False, True) for i in range(3)], COST, "3 x the preferred side is unsafe"),
        (
            [replace(labelled(i, []), rejected="") for i in range(3)],
            PLAIN,
            "every pair lacks a side",
        ),
        (
            [replace(labelled(i, []), rejected=c) for i, c in enumerate(["", "good 1"])],
            PLAIN,
            "2 are unusable",
        ),
        (
            [replace(labelled(i, []), label=0.5) for i in range(3)],
            PLAIN,
            r"every label is 0\.5",
        ),
        ([replace(labelled(0, []), label=1.2)], PLAIN, r"1\.2 is not a probability"),
        (
            [replace(labelled(0, []), label=float("nan"))],
            PLAIN,
            "nan is not a probability",
        ),
        ([], PLAIN, "no pair is left to train on: 0"),
    ],
)
def test_unusable_pairs_get_one_clear_message(artifact, rows, layout, message):
    with pytest.raises(UserError, match=rf"(?s){message}") as error:
        read({"pairs": artifact("pairs", rows)}, layout)
    assert "'pairs'" in str(error.value) or "pair q0" in str(error.value)
    assert "Fix:" in str(error.value)


def test_a_negated_principle_without_an_opposite_is_reported(artifact, tmp_path):
    with pytest.raises(UserError, match="'plain' has no opposite wording"):
        read({"pairs": artifact("pairs", [labelled(0, ["plain"], [True])])}, PRINCIPLED, tmp_path)


def test_rows_longer_than_max_length_are_dropped_whole_and_lengths_are_those_of_the_model(
    artifact, context, tmp_path
):
    from transformers import AutoTokenizer

    rows = [labelled(0, ["kind"]), replace(labelled(1, ["kind"]), rejected="the cat " * 200)]
    examples, _, _ = read({"pairs": artifact("pairs", rows)}, PRINCIPLED, tmp_path)
    base, here = artifact("base").model(), context()
    kept, dropped = prepare_pairs(
        examples, PRINCIPLED, base, reward_model.Config(args={"max_length": 200}), here
    )
    assert [e["id"] for e in kept] == ["q0"] and [d.reason for d in dropped] == [
        "longer than max_length"
    ]
    tokenizer, variables = AutoTokenizer.from_pretrained(base.path), {"add_generation_prompt": True}
    sides = [
        tokenizer.apply_chat_template(kept[0][s], return_dict=False, **variables)
        for s in ("chosen", "rejected")
    ]
    assert kept[0]["length"] == max(map(len, sides))
    assert [list(kept[0][name]) for name in ("chosen_ids", "rejected_ids")] == sides
    assert columns(kept)[0].keys() == {"chosen_ids", "rejected_ids", "soft_label", "length"}
    with pytest.raises(UserError, match=r"every row is longer than max_length \(10 tokens\)"):
        prepare_pairs(
            examples, PRINCIPLED, base, reward_model.Config(args={"max_length": 10}), here
        )
    assert (
        len(
            prepare_pairs(
                examples, PRINCIPLED, base, reward_model.Config(args={"max_length": None}), here
            )[0]
        )
        == 2
    )
