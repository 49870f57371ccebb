"""Exports hold what the rows hold, in the shapes that others' readers want."""

import csv
import json

import pytest

from stages.evaluation import evaluate
from stages.guards.errors import UserError
from stages.report.exports import annotated_pairs, export
from stages.runtime.artifacts import Result
from stages.runtime.rows import Judgement, Pair, Revision
from stages.runtime.typed_config import parse_config
from tests.evaluation import fakes
from tests.evaluation.fakes import response

PROMPT = [{"role": "user", "content": "Is tea, or coffee, better?\nSay."}]


def pair(name, **fields):
    rejected_id, _, chosen_id = name.partition("#")[0].partition("|")  # `cell` shows tea second
    facts = {
        "chosen": "tea",
        "rejected": "poison",
        "label": 0.9,
        "margin": 2.0,
        "principles": ["harm", "kind"],
        "margins_ab": [2.0, 1.0],
        "margins_ba": [1.0, -1.0],
        "deciding": "harm",
    }
    return Pair(
        id=name,
        prompt_id="tea or coffee",
        chosen_id=chosen_id,
        rejected_id=rejected_id,
        kind="red_team",
        prompt=PROMPT,
        **(facts | fields),
    )


def cell(parent, principle, ab, ba):
    return Judgement(
        id=f"{parent}{principle}",
        pair_id=parent,
        response_a_id=parent.partition("|")[0],
        response_b_id=parent.partition("|")[2],
        prompt_id="tea or coffee",
        kind="red_team",
        prompt=PROMPT,
        response_a="poison",
        response_b="tea",
        principle=principle,
        margin_ab=ab,
        margin_ba=ba,
        model="m",
    )


def run(tmp_path, inputs, **options):
    with fakes.context(tmp_path) as context:
        return export.run(
            parse_config(export.Config, options, "test"), inputs, context
        ), context.directory


@pytest.fixture
def pairs(tmp_path):
    texts = {
        "harm": {"text": "The response does no harm."},
        "kind": {"text": "The response is kind."},
        "mute": {"text": "Mute."},
    }
    cells = [
        cell("1|2", "harm", -2.0, -1.0),
        cell("1|2", "kind", -1.0, 1.0),
        cell("1|2", "mute", 0.0, 0.0),
    ]
    judged = fakes.artifact(
        tmp_path,
        "judgements",
        Result(rows=cells, row_type=Judgement),
        stage="judge",
        options={"constitution": texts},
    )
    rows = [pair("1|2"), pair("1|2#2"), pair("3|4"), pair("5|6")]
    labelled = fakes.artifact(
        tmp_path, "pairs", Result(rows=rows, row_type=Pair), stage="judged_pairs"
    )
    return {"pairs": labelled, "judgements": judged}


def test_annotated_pairs(tmp_path, pairs):
    result, folder = run(tmp_path, pairs)
    assert result.metrics["files"] == {"pairs.annotated_pairs.json": 4, "pairs.icai.csv": 4}
    document = json.loads((folder / "pairs.annotated_pairs.json").read_text())
    default = document["metadata"]["default_annotator"]
    assert document["metadata"]["version"] == "2.0" and len(default) == 8
    harm, kind, mute = (
        annotated_pairs.short_hash(text)
        for text in ("The response does no harm.", "The response is kind.", "Mute.")
    )
    assert document["annotators"][harm] == {
        "description": "The response does no harm.",
        "type": "principle",
    }
    first = document["comparisons"][0]
    assert first["response_a"]["text"] == "poison" and first["annotations"][default] == {
        "pref": "b"
    }
    assert first["annotations"][harm] == {"pref": "b", "margin_ab": -2.0, "margin_ba": -1.0}
    assert (
        first["annotations"][kind]["no_pref_reason"] == "invalid"
        and first["annotations"][kind]["pref"] is None
    )
    assert first["annotations"][mute]["no_pref_reason"] == "not_applicable"
    assert first["prompt"] == PROMPT[0]["content"] and first["metadata"]["deciding"] == "harm"
    alone = document["comparisons"][2]  # not in the matrix: what the pair itself knows
    assert (
        alone["annotations"][harm]["pref"] == alone["annotations"][default]["pref"]
        and mute not in alone["annotations"]
    )
    for one in document["comparisons"]:
        letter = one["annotations"][default]["pref"]
        assert one[f"response_{letter}"]["text"] == "tea"
        assert one["annotations"].keys() <= document["annotators"].keys()


def test_the_table_that_icai_starts_from(tmp_path, pairs):
    _, folder = run(tmp_path, {"pairs": pairs["pairs"]}, formats=["icai_csv"])
    with (folder / "pairs.icai.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row[row["preferred_text"]] for row in rows] == ["tea"] * 4 and rows[0][
        "prompt"
    ] == PROMPT[0]["content"]
    assert not (folder / "pairs.annotated_pairs.json").exists()


def test_an_unjudged_pair_has_its_label_only():
    annotated = annotated_pairs.annotate_pair(
        pair("x", principles=[], margins_ab=[], margins_ba=[], deciding=""), [], {}
    )
    assert len(annotated["annotations"]) == 1


def test_inspect_logs(tmp_path):
    policies = {
        "base": fakes.responses(
            tmp_path, "base", [response(str(i), "poison" if i % 2 else "tea") for i in range(10)]
        ),
        "tuned": fakes.responses(tmp_path, "tuned", [response(str(i), "tea") for i in range(10)]),
    }
    options = {
        "constitution": {"name": fakes.constitution(tmp_path)},
        "ground_truth": "tests.evaluation.fakes:check",
    }
    with fakes.context(tmp_path) as context:
        result = evaluate.run(parse_config(evaluate.Config, options, "test"), policies, context)
    evaluation = fakes.artifact(tmp_path, "evaluation", result, stage="evaluate", inputs=policies)
    _, folder = run(tmp_path, {"evaluation": evaluation})
    logs = [json.loads(path.read_text()) for path in sorted((folder / "inspect").glob("*.json"))]
    assert [log["eval"]["model"] for log in logs] == ["base", "tuned"]
    base = logs[0]
    scores = {score["name"]: score["metrics"] for score in base["results"]["scores"]}
    assert (
        scores["any_violation"]["mean"]["value"] == 0.5
        and scores["any_violation"]["low"]["value"] < 0.5
    )
    assert scores["violates harm"]["mean"]["value"] == 0.5
    sample = base["samples"][1]
    assert (
        sample["output"]["choices"][0]["message"]["content"] == "poison"
        and sample["scores"]["any_violation"]["value"] == 1.0
    )
    assert (
        len({(s["id"], s["epoch"]) for s in base["samples"]})
        == 10
        == len(base["eval"]["dataset"]["sample_ids"])
    )
    assert base["eval"]["created"][-6] in "+-"


def test_nothing_to_export(tmp_path):
    nothing = fakes.artifact(tmp_path, "r", Result(rows=[], row_type=Revision), stage="revise")
    with pytest.raises(UserError, match="no input has rows"):
        run(tmp_path, {"r": nothing})
