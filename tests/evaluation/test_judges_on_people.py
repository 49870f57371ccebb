"""`judge_quality` on hh-rlhf's own pairs, with the embedded model as judge."""

from pathlib import Path

import pytest

from stages.evaluation import judge_quality
from stages.runtime.artifacts import Result
from stages.runtime.calls import Engines
from stages.runtime.rows import Pair
from stages.sources.conversations import content_id, read_messages
from stages.sources.records import read_file
from tests.evaluation import fakes

HH = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "hh_rlhf"
MODEL = {"model_path": "stages/world/checkpoint", "revision": None}


def human_pairs(path: Path, kind: str, count: int) -> list[Pair]:
    rows = []
    for where, cells, _ in read_file(path):
        chosen, rejected = (read_messages(cells[side])[0] for side in ("chosen", "rejected"))
        if chosen[:-1] != rejected[:-1] or chosen[-1] == rejected[-1] or len(rows) == count:
            continue
        rows.append(
            Pair(
                id=content_id([chosen, rejected], where),
                prompt_id=content_id(chosen[:-1], where),
                chosen_id="",
                rejected_id="",
                kind=kind,
                prompt=chosen[:-1],
                chosen=chosen[-1]["content"],
                rejected=rejected[-1]["content"],
                label=1.0,
                margin=0.0,
                principles=[],
                margins_ab=[],
                margins_ba=[],
            )
        )
    return rows


@pytest.mark.long
def test_the_embedded_judge_on_hh_rlhf(tmp_path):
    files = {
        kind: HH / name
        for kind, name in (
            ("helpful", "helpful_test.jsonl.gz"),
            ("harmless", "harmless_base_test.jsonl.gz"),
        )
    }
    if missing := [str(path) for path in files.values() if not path.exists()]:
        pytest.skip(f"not there: {', '.join(missing)}")
    rows = [pair for kind, path in files.items() for pair in human_pairs(path, kind, 60)]
    inputs = {
        "pairs": fakes.artifact(tmp_path, "pairs", Result(rows=rows, row_type=Pair)),
        "judge": fakes.artifact(tmp_path, "judge", Result(metrics=MODEL), stage="model"),
    }
    with fakes.context(tmp_path) as context:
        context.engines = Engines("transformers", {})
        found = judge_quality.run(judge_quality.Config(), inputs, context)
        context.loop.run(context.engines.release())
    measures = found.metrics["models"]["judge"]
    assert len(rows) == 120 and measures["accuracy"]["n"] + len(found.dropped) >= 115
    assert measures["accuracy"]["low"] < 0.6, "a judge of another world guesses"
    assert {"kind helpful", "kind harmless"} <= set(measures)
    print(found.tables[0].columns, *found.tables[0].rows, sep="\n")
