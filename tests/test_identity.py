"""Every row says which prompt it belongs to, by the id that stage `prompts` gives the request."""

import hashlib
import json

import pytest

from stages.runtime.rows import (
    Judgement,
    Pair,
    Prompt,
    Rating,
    Response,
    Revision,
    Verdict,
)
from tests.running import Seeded, run_steps, text_pipeline

ROWS_WITHOUT_MODELS = {Prompt, Response, Revision, Judgement, Pair, Rating, Verdict}


def taste(messages, options):
    """Log-probabilities that depend on the question, so that scores and verdicts differ."""
    digest = hashlib.sha256(f"{messages}".encode()).digest()
    return [-1.0 - byte / 64 for byte in digest[: len(options)]]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    """The text half of Constitutional AI, and after it every stage that makes rows of its own."""
    tmp_path = tmp_path_factory.mktemp("identity")
    steps = text_pipeline(tmp_path, prompts=6, rounds=2)
    people = [
        {"prompt": f"request number {i}", "chosen": f"yes {i}", "rejected": f"no {i}"}
        for i in range(6)
    ]
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in people))
    constitution = {"name": str(tmp_path / "set.yaml"), "only": ["p0", "p1"]}
    judged = {"responses": "answers", "model": "base"}
    steps |= {
        "salmon": {
            **steps["pairs"],
            "aggregate": "salmon",
            "passes": 2,
            "negation": 0,
            "normalise": "none",
        },
        "rated": {
            "stage": "rate",
            "inputs": judged | {"revisions": "revisions"},
            "constitution": constitution,
        },
        "rated_pairs": {"stage": "rated_pairs", "inputs": {"ratings": "rated"}},
        "best": {"stage": "best_of", "inputs": {"ratings": "rated"}},
        "revision_pairs": {"stage": "revision_pairs", "inputs": {"revisions": "revisions"}},
        "others": {**steps["answers"], "suffix": "Be brief."},
        "ranked": {"stage": "ranked_pairs", "inputs": {"large": "answers", "small": "others"}},
        "people": {
            "stage": "human_pairs",
            "source": str(tmp_path / "people.jsonl"),
            "prompt": "prompt",
        },
        "judge_on_people": {
            "stage": "judge_quality",
            "inputs": {"pairs": "people", "base": "base"},
        },
        "refusals": {
            "stage": "benchmark",
            "by": "refusal",
            "inputs": {"base": "answers", "others": "others"},
        },
        "evaluation": {
            "stage": "evaluate",
            "ground_truth": None,
            "inputs": {"judge": "base", "base": "answers", "others": "others"},
            "constitution": constitution,
        },
        "some": {"stage": "filter", "inputs": {"rows": "pairs"}, "share": [0.0, 0.5]},
    }
    _, artifacts = run_steps(steps, tmp_path, Seeded(scores=taste))
    return artifacts


def test_every_row_carries_the_id_of_its_prompt(artifacts):
    prompts = {row.id: row for row in artifacts["requests"].rows(Prompt)}
    row_types = set()
    for name, artifact in artifacts.items():
        if artifact.row_type is None:
            continue
        rows = artifact.rows()
        assert rows, name
        row_types.add(artifact.row_type)
        for row in rows:
            messages = row.messages if isinstance(row, Prompt) else row.prompt
            assert messages == prompts[row.prompt_id].messages, (name, row.id)
    assert row_types == ROWS_WITHOUT_MODELS


def test_every_id_that_a_row_names_is_a_row_with_that_text(artifacts):
    texts = {}
    for artifact in artifacts.values():
        if artifact.row_type in (Response, Revision):
            texts |= {(row.id, row.response): row.prompt_id for row in artifact.rows()}
    texts["", ""] = ""
    for name in ("pairs", "salmon", "rated_pairs", "revision_pairs", "ranked"):
        for row in artifacts[name].rows(Pair):
            assert texts[row.chosen_id, row.chosen] == row.prompt_id, name
            assert texts[row.rejected_id, row.rejected] == row.prompt_id, name
    for row in artifacts["people"].rows(Pair):
        assert row.chosen_id == row.rejected_id == ""
    for row in artifacts["judgements"].rows(Judgement):
        assert row.pair_id == f"{row.response_a_id}|{row.response_b_id}"
        assert texts[row.response_a_id, row.response_a] == row.prompt_id
        assert texts[row.response_b_id, row.response_b] == row.prompt_id
    for name in ("rated", "refusals", "evaluation"):
        for row in artifacts[name].rows(Rating, Verdict):
            assert texts[row.response_id, row.response] == row.prompt_id, name
    for row in artifacts["revisions"].rows(Revision):
        assert texts[row.response_id, row.original] == row.prompt_id
