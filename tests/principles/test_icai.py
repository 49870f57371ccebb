"""What icai writes becomes a constitution and pairs."""

import json
from dataclasses import replace

import pytest

from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.principles.importers.__main__ import main
from stages.principles.importers.icai import read_pairs, read_principles
from stages.report.exports.annotated_pairs import annotate_pair, annotated_pairs
from stages.runtime.rows import Pair
from tests.preferences.matrices import cells

TEXTS = ["The response is kind.", "The response is short."]
NAMED = {"kind": TEXTS[0], "short": TEXTS[1]}


@pytest.fixture
def save(tmp_path):
    def saved(data):
        path = tmp_path / "icai.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return path

    return saved


@pytest.mark.parametrize(
    "data",
    [
        TEXTS,
        {"0": TEXTS[0], "7": TEXTS[1]},
        json.dumps(f"1. {TEXTS[0]}\n2. {TEXTS[1]}"),
        [*TEXTS, TEXTS[0].upper(), "the response is short"],
    ],
)
def test_principles_in_every_form(save, data):
    assert [entry["text"] for entry in read_principles(save(data))] == TEXTS


def exported():
    """Two pairs with the votes of two principles, as `export` writes them."""
    comparisons = []
    for number, margins in enumerate(({"kind": (1, 1), "short": (-1, -1)}, {"kind": (1, -1)})):
        pair = Pair(
            id=f"p{number}",
            prompt_id="r",
            chosen_id="",
            rejected_id="",
            kind="helpful",
            prompt=[{"role": "user", "content": "ask"}],
            chosen=f"good {number}",
            rejected=f"bad {number}",
            label=1.0,
            margin=0.0,
        )
        rows = cells(f"p{number}", margins, texts=(pair.chosen, pair.rejected))
        rows = [replace(row, id=f"judge/{row.id}") for row in rows]  # of `judge_quality`
        comparisons.append(annotate_pair(pair, rows, NAMED))
    return annotated_pairs(comparisons, "x", "now", NAMED)


def test_votes_and_pairs_survive_export_and_import(save, tmp_path):
    """The votes are for or against what was chosen, whichever side it was written on."""
    path = save(exported())
    out, pairs = tmp_path / "mine.yaml", tmp_path / "pairs.jsonl"
    assert main(["icai", str(path), "--out", str(out), "--pairs", str(pairs)]) == 0
    sources = {p.text: p.source for p in load(out).principles}
    assert sources[TEXTS[0]].startswith("1 comparisons for it, 0 against it, 1 to which")
    assert sources[TEXTS[1]].startswith("0 comparisons for it, 1 against it, 1 to which")
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    assert [(row["prompt"], row["chosen"]) for row in rows] == [
        ("ask", "good 0"),
        ("ask", "good 1"),
    ]


def test_version_one_of_annotated_pairs(save):
    document = {
        "metadata": {"default_annotator": "d"},
        "annotators": {"d": {}, "k": {"type": "principle", "description": TEXTS[0]}},
        "comparisons": [
            {
                "prompt": None,
                "text_a": "one",
                "text_b": "two",
                "annotations": {"d": {"pref": "text_b"}, "k": {"pref": "text_a"}},
            },
            {"text_a": "one", "text_b": "two", "annotations": {}},
        ],
    }
    path = save(document)
    assert read_pairs(path) == [{"prompt": "", "chosen": "two", "rejected": "one"}]
    (entry,) = read_principles(path)
    assert entry["source"].startswith("0 comparisons for it, 1 against it, 1 to which")


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "3",
        "[]",
        "[1]",
        '[""]',
        '{"annotators": {}}',
        '{"annotators": {"a": 1}, "comparisons": []}',
        '{"annotators": {}, "comparisons": [{"prompt": "x"}]}',
        '{"annotators": {}, "comparisons": [], "metadata": []}',
        '{"annotators": {"k": {"type": "principle", "description": "x"}}, '
        '"comparisons": [{"annotations": {"k": 5}}]}',
        '"no numbers"',
    ],
)
def test_other_files_end_in_one_message(save, data):
    with pytest.raises(UserError):
        read_principles(save(data))
    with pytest.raises(UserError):
        read_pairs(save(data))
