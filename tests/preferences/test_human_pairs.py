"""What people chose: hh-rlhf's transcripts and their quirks, columns of other datasets, shares, and
what a broken file says.
"""

import csv
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from stages import STAGES
from stages.guards.errors import UserError
from stages.preferences.human_pairs import STAGE, Config, run
from stages.runtime.pipeline.steps import read_steps
from stages.runtime.row_files import read_rows, write_rows
from stages.runtime.rows import Pair
from stages.runtime.typed_config import parse_config
from stages.sources.source import source_identity
from stages.text import prompts
from tests.preferences.matrices import run_stage
from tests.running import AloneContext

HH = Path(__file__).resolve().parents[3] / "shared" / "data" / "hh_rlhf"
ASK = "\n\nHuman: How do I do this: step one?\n\nAssistant: Well.\n\nHuman: And: now?\n\nAssistant:"


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def hh(*answers, ask=ASK):
    return dict(zip(("chosen", "rejected"), (f"{ask} {answer}" for answer in answers), strict=True))


def made(source, **options):
    return run_stage("human_pairs", {}, {"source": source, **options})


def reasons(result):
    return dict(Counter(drop.reason for drop in result.dropped))


def test_a_transcript_becomes_a_pair_with_the_id_that_prompts_gives(tmp_path):
    source = write(tmp_path / "a.jsonl", [hh("Do: that.\n\nThen rest. ", "No.")])
    (pair,) = made(source, kind="helpful").rows
    assert [m["content"] for m in pair.prompt] == [
        "How do I do this: step one?",
        "Well.",
        "And: now?",
    ]
    assert (pair.chosen, pair.rejected) == ("Do: that.\n\nThen rest.", "No.")
    assert (pair.label, pair.margin, pair.principles, pair.margins_ab, pair.kind) == (
        1.0,
        0.0,
        [],
        [],
        "helpful",
    )
    (prompt,) = prompts.run(prompts.Config(source=source, column="chosen"), {}, AloneContext()).rows
    assert (pair.prompt_id, pair.prompt) == (prompt.id, prompt.messages)
    write_rows(tmp_path / "rows.parquet", [pair], Pair)
    assert read_rows(tmp_path / "rows.parquet", Pair) == [pair]


def test_a_column_may_say_the_kind(tmp_path):
    records = [
        {"prompt": f"Q{i}?", "chosen": "Yes.", "rejected": "No.", "subset": f"hep-{i % 2}"}
        for i in range(4)
    ]
    rows = made(write(tmp_path / "a.jsonl", records), prompt="prompt", kind_column="subset").rows
    assert [row.kind for row in rows] == ["hep-0", "hep-1", "hep-0", "hep-1"]


def test_what_cannot_be_compared_is_dropped_and_counted(tmp_path):
    records = [
        hh("Yes.", "No."),
        hh("Yes. ", " No."),
        hh("No.", "Yes."),  # another annotator's choice is no duplicate
        hh("", "No."),
        hh("Yes.", "Yes. "),
        {"chosen": f"{ASK} Yes.", "rejected": "\n\nHuman: other?\n\nAssistant: No."},
        {"chosen": f"{ASK} Yes.\n\nHuman: Thanks!", "rejected": f"{ASK} No.\n\nHuman: Thanks!"},
        hh("Yes.", "No.", ask="\n\nAssistant:"),
        hh("Yes.", "No.", ask=f"{ASK} Wait.\n\nAssistant:"),
        {"chosen": None, "rejected": "x"},
    ]
    result = made(write(tmp_path / "a.jsonl", records))
    assert [(row.chosen, row.rejected) for row in result.rows] == [("Yes.", "No."), ("No.", "Yes.")]
    assert (
        len({row.id for row in result.rows}) == 2
        and len({row.prompt_id for row in result.rows}) == 1
    )
    assert reasons(result) == {
        "duplicate": 1,
        "empty answer": 1,
        "equal answers": 1,
        "the conversations differ before the last answer": 1,
        "the last turn is not from the assistant": 2,
        "no user turn before the answer": 2,
    }
    assert {drop.id for drop in result.dropped} == {
        f"a.jsonl:{n}" for n in (2, 4, 5, 6, 7, 8, 9, 10)
    }
    assert result.metrics["prompts"] == 1 and result.metrics["longer_chosen"] == 0.5
    assert result.metrics["reading"]["records"] == 10


def test_marks_inside_a_paragraph_cut_nothing(tmp_path):
    """Both stand in the real files: a mark within a line, and an empty turn."""
    ask = "\n\nHuman: Why?\n\nAssistant:\n\nHuman: Assistant: say it.\n\nAssistant:"
    (pair,) = made(
        write(tmp_path / "a.jsonl", [hh("Fine.  Human: no.\n\nHumans: yes.", "No.", ask=ask)])
    ).rows
    assert [m["content"] for m in pair.prompt] == ["Why?", "", "Assistant: say it."]
    assert pair.chosen == "Fine.  Human: no.\n\nHumans: yes."


def test_a_prompt_column_and_lists_of_messages(tmp_path):
    ask, answer = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}
    other = answer | {"content": "No idea."}
    records = [
        {"q": "Why?", "good": "Because.", "bad": "No idea."},  # plain texts
        {"q": "\n\nHuman: Why?\n\nAssistant:", "good": " Because.", "bad": "No idea."},
        {"q": [ask], "good": [answer], "bad": [other]},  # TRL's explicit prompts
        {"q": "Why?", "good": [ask, answer], "bad": [ask, other]},  # UltraFeedback's
    ]
    named = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    result = made(write(tmp_path / "a.jsonl", records), **named)
    assert len(result.rows) == 1 and reasons(result) == {"duplicate": 3}
    assert (result.rows[0].prompt, result.rows[0].chosen) == ([ask], "Because.")
    whole = made(write(tmp_path / "b.jsonl", [{"chosen": [ask, answer], "rejected": [ask, other]}]))
    assert whole.rows == result.rows
    unusable = [
        {"q": "Other?", "good": [ask, answer], "bad": [ask, other]},
        {"q": [ask, answer], "good": "Yes.", "bad": "No."},
        {"q": "", "good": "Yes.", "bad": "No."},
        {"q": "Why?", "good": [ask], "bad": [other]},
        {"q": "Why?", "good": [], "bad": [other]},
    ]
    with pytest.raises(
        UserError,
        match=r"gave no pair \(2 x no user turn .*; 2 x the last turn .*; 1 x the conversations",
    ):
        made(write(tmp_path / "c.jsonl", unusable), **named)


def test_who_is_better_and_who_is_safe_in_columns_of_their_own(tmp_path):
    fields = (
        "prompt",
        "response_0",
        "response_1",
        "better_response_id",
        "is_response_0_safe",
        "is_response_1_safe",
    )
    rows = [
        ("How?", "Like this.", "I will not.", 1, False, True),
        ("Why?", "So.", "Thus.", 0, "True", "true"),
    ]
    with (tmp_path / "pku.csv").open("w", newline="") as file:
        csv.writer(file).writerows([fields, *rows])
    named = {
        "prompt": "prompt",
        "chosen": "response_0",
        "rejected": "response_1",
        "better": "better_response_id",
        "chosen_safe": "is_response_0_safe",
        "rejected_safe": "is_response_1_safe",
    }
    first, second = made(str(tmp_path / "pku.csv"), **named).rows
    assert (first.chosen, first.chosen_safe, first.rejected, first.rejected_safe) == (
        "I will not.",
        True,
        "Like this.",
        False,
    )
    assert (second.chosen, second.chosen_safe, second.rejected_safe) == ("So.", True, True)
    with pytest.raises(UserError, match=r"(?s)pku\.csv:2: 'How\?' where 0 or 1.*`better`"):
        made(str(tmp_path / "pku.csv"), **named | {"better": "prompt"})


def test_shares_are_cut_by_dialogue_and_not_by_seed(tmp_path):
    deeper = "\n\nHuman: {0}?\n\nAssistant: Well.\n\nHuman: More?\n\nAssistant:"
    asks = [
        form.format(i) for i in range(200) for form in ("\n\nHuman: {0}?\n\nAssistant:", deeper)
    ]
    source = write(tmp_path / "a.jsonl", [hh("Yes.", "No.", ask=ask) for ask in asks])
    low, high = made(source, share=[0, 0.8]), made(source, share=[0.8, 1])
    assert (
        len(low.rows) + len(high.rows) == len(made(source).rows) == 400
        and 280 < len(low.rows) < 360
    )
    openings = [{row.prompt[0]["content"] for row in part.rows} for part in (low, high)]
    assert not openings[0] & openings[1] and reasons(low) == {"in another share": len(high.rows)}
    again = run_stage(
        "human_pairs", {}, {"source": source, "share": [0, 0.8], "shuffle": True}, seed=5
    )
    assert {row.id for row in again.rows} == {row.id for row in low.rows} and again.rows != low.rows
    cut = made(source, limit=10, offset=5)
    assert cut.rows == made(source).rows[5:15] and not cut.dropped


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "gave no pair"),
        ('{"chosen": "a", "reject": "b"}', "no column 'rejected'. Did you mean 'reject'"),
        ('{"chosen": "a", "rejected": "b"}\n{"chosen": ', r"p\.jsonl:2: broken JSON"),
        ('"a text"', r"p\.jsonl:1: there is no column 'chosen'"),
        (
            '{"chosen": "a", "rejected": "b"}',
            "1 x the last turn is not from the assistant.*name the `prompt` column",
        ),
        ('{"chosen": 3, "rejected": "b"}', "a int where text or messages"),
        (
            json.dumps(hh("\ud83d", "b")),
            r"gave no pair \(1 x broken Unicode \(p\.jsonl:1: '\\ud83d', an unpaired surrogate",
        ),
        (
            json.dumps(hh("a", "b", ask=ASK.replace("step", "\ud83d"))),
            r"1 x broken Unicode \(p\.jsonl:1: '\\ud83d'",
        ),
    ],
)
def test_what_a_broken_file_says(tmp_path, content, message):
    (tmp_path / "p.jsonl").write_text(content)
    with pytest.raises(UserError, match=f"(?s){message}"):
        made(str(tmp_path / "p.jsonl"))


def test_what_a_plan_says():
    with pytest.raises(UserError, match="no such file"):
        source_identity(Config(source="nowhere.jsonl"))
    assert source_identity(Config(source="Anthropic/hh-rlhf")) == {}
    for share, message in (
        ([0, 1.5], r"option 'share\.1'"),
        ([0.5, 0.5], "from below to"),
        ([0.5, 0.1], "from below to"),
    ):
        step = {"stage": "human_pairs", "source": "a/b", "share": share}
        with pytest.raises(UserError, match=message):
            read_steps({"people": step}, STAGES)


@pytest.mark.parametrize(
    ("name", "n", "dropped", "longer"),
    [
        (
            "harmless_base_test",
            2303,
            {"the conversations differ before the last answer": 5, "empty answer": 4},
            0.4457,
        ),
        (
            "helpful_test",
            2339,
            {
                "the conversations differ before the last answer": 9,
                "empty answer": 4,
                "equal answers": 2,
            },
            0.5975,
        ),
    ],
)
def test_the_real_files(name, n, dropped, longer):
    source = HH / f"{name}.jsonl.gz"
    if not source.exists():
        pytest.skip(f"no {source}: hh-rlhf does not come with the repository")
    result = made(str(source))
    assert (len(result.rows), reasons(result), result.metrics["longer_chosen"]) == (
        n,
        dropped,
        longer,
    )
    assert len(result.rows) + len(result.dropped) == len(
        gzip.decompress(source.read_bytes()).splitlines()
    )
    asked = prompts.run(
        prompts.Config(source=str(source), column="chosen"), {}, AloneContext()
    ).rows
    assert {row.prompt_id for row in result.rows} <= {row.id for row in asked}
    assert all(
        row.chosen and row.rejected and row.prompt[-1]["role"] == "user" for row in result.rows
    )
    train, test = (
        run(Config(source=str(source), share=share), {}, AloneContext())
        for share in ((0, 0.8), (0.8, 1))
    )
    assert not {row.prompt_id for row in train.rows} & {row.prompt_id for row in test.rows}


def helpsteer(response, **marks):
    blank = {"helpfulness": 0, "correctness": 0, "coherence": 0}
    return {"prompt": "Name a river.", "response": response, **blank, **marks}


def test_a_file_may_be_judged_under_principles(tmp_path):
    source = write(tmp_path / "a.jsonl", [hh("Do that.", "No.")])
    wish = "The response keeps to {{ the }} law."
    (pair,) = made(source, principles=["helpful", wish]).rows
    (other,) = made(source, principles="harmless").rows
    (plain,) = made(source).rows
    assert (pair.principles, other.principles) == (["helpful", wish], ["harmless"])
    assert len({pair.id, other.id, plain.id}) == 3
    assert pair.prompt_id == other.prompt_id == plain.prompt_id


def test_a_column_states_the_principle_of_each_record(tmp_path):
    cells = ["helpful", ["helpful", "harmless"], '["harmless"]', "It is kind to all.", "", "Bad!"]
    records = [hh("Do.", f"No {n}.") | {"wish": cell} for n, cell in enumerate(cells)]
    result = made(write(tmp_path / "a.jsonl", records), principles_column="wish")
    assert [row.principles for row in result.rows] == [
        ["helpful"],
        ["helpful", "harmless"],
        ["harmless"],
        ["It is kind to all."],
    ]
    assert reasons(result) == {"no principle": 1, "a principle that cannot be read": 1}
    assert result.metrics["principles"]["helpful"] == {"pairs": 2, "longer_chosen": 0.0}


def test_each_attribute_makes_pairs_of_its_own(tmp_path):
    """Against a computation by hand: the best and the worst by each mark."""
    records = [
        helpsteer("The Elbe.", helpfulness=4, correctness=1, coherence=2),
        helpsteer("A river.", helpfulness=2, correctness=3, coherence=2),
        helpsteer("No.", helpfulness=0, correctness=2, coherence=2),
    ]
    source = write(tmp_path / "a.jsonl", records)
    attributes = {"helpfulness": "useful", "correctness": "correct", "coherence": "coherent"}
    result = made(source, principles=attributes)
    assert [(row.principles, row.chosen, row.rejected) for row in result.rows] == [
        (["useful"], "The Elbe.", "No."),
        (["correct"], "A river.", "The Elbe."),
    ]
    assert reasons(result) == {"a tie": 1}
    assert result.metrics["reading"]["records"] == 3
    explicit = made(source, prompt="prompt", answer="response", principles=attributes)
    assert [row.id for row in explicit.rows] == [row.id for row in result.rows]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"principles": "Useful"}, "neither an id nor the text"),
        ({"principles": {"helpfulness": "useful"}, "better": "coherence"}, "beside `better`"),
        ({"principles": "useful", "principles_column": "prompt"}, "a list beside"),
    ],
)
def test_principles_that_no_file_can_have_are_refused_before_it_is_read(options, message):
    config = parse_config(Config, {"source": "a.jsonl", **options}, "a step")
    with pytest.raises(UserError, match=message):
        STAGE.check(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"principles": {"helpfulnes": "useful"}}, "no column 'helpfulnes'"),
        (
            {"principles": {"honesty": "honest"}, "prompt": "prompt", "answer": "text"}
            | {"answers": "several"},
            "no answer has a score 'honesty'",
        ),
        ({"principles_column": "wish"}, "no column 'wish'"),
    ],
)
def test_attributes_that_a_file_lacks_are_refused(tmp_path, options, message):
    answers = {"several": [{"text": "A river."}, {"text": "No."}]}
    records = [helpsteer("A"), helpsteer("B", helpfulness=1)]
    source = write(tmp_path / "a.jsonl", [record | answers for record in records])
    with pytest.raises(UserError, match=message):
        made(source, **options)


def test_a_function_may_give_the_records():
    source = "stages.world.people:compare"
    rows = made(source, arguments={"count": 8, "seed": 1}).rows
    assert len(rows) == 8 and rows != made(source, arguments={"count": 8, "seed": 2}).rows
    config = parse_config(Config, {"source": source, "arguments": {"cuont": 8}}, "a step")
    with pytest.raises(UserError, match="cannot be called"):
        STAGE.identity(config)
    with pytest.raises(UserError, match="no list of records"):
        made("json:loads", arguments={"s": '{"a": 1}'})
