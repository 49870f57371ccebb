"""Logs with odd values or several models: no wrong number, and nothing is lost in silence."""

import json
import shutil

import pytest

from stages.compare.__main__ import main
from stages.compare.logs.open_logs import open_logs
from stages.compare.pairing import compare_logs
from tests.compare import logs_of_tools as tools
from tests.compare.logs_of_tools import FILES

HUGE = 10**400


def rewards(folder, *values):
    """An evaluation whose rewards are written as they are, such as NaN."""
    tools.verifiers(folder, [1.0] * len(values))
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    for row, value in zip(rows, values, strict=True):
        row["reward"] = value
    tools.write_lines(folder / "results.jsonl", rows)
    (folder / "metadata.json").unlink()
    return folder


ODD = {"huge": HUGE, "low": -HUGE, "large": 1e308, "nan": float("nan"), "inf": float("inf")}


@pytest.mark.parametrize("value", [*ODD.values(), None, [1]], ids=[*ODD, "none", "list"])
def test_values_that_cannot_be_averaged_are_left_out_and_counted(tmp_path, value):
    base = rewards(tmp_path / "base", 1.0, 0.0, 0.0, 1.0)
    odd = rewards(tmp_path / "odd", 1.0, 1.0, 0.0, value)
    logs = [*open_logs(base, "base"), *open_logs(odd, "odd")]
    comparison = compare_logs(logs, ["reward"])
    assert comparison.rows[0].effect.n_prompts == 3
    assert comparison.rows[0].effect.value == pytest.approx(1 / 3)
    assert any("odd: 1 of 4 answers" in note for note in comparison.notes)
    assert not any("base: " in note and "answers" in note for note in comparison.notes)


def test_a_score_that_is_no_number_is_what_the_tool_counted(tmp_path):
    """RewardBench counts a pair with such a score as wrong."""
    rows = [{"chosen": 2.0, "rejected": 1.0}, {"chosen": float("nan"), "rejected": 1.0}]
    path = tools.write_lines(
        tmp_path / "m_all.jsonl", [*rows, {"chosen": float("inf"), "rejected": 1}]
    )
    tools.write_json(tmp_path / "m.json", {"accuracy": 2 / 3})
    (log,) = open_logs(path, "m")
    assert [value for _, value in log.scores["accuracy"]] == [1, 0, 1]
    assert not any("reports" in note for note in log.remarks())
    assert any("1 of 3 pairs" in note for note in log.remarks())
    outputs = [
        {"prompt": "q", "id": number, "results": int(number == 0), "text_chosen": "a"}
        | {"text_rejected": "b", "scores_chosen": row["chosen"], "scores_rejected": row["rejected"]}
        for number, row in enumerate(rows)
    ]
    (log,) = open_logs(tools.write_lines(tmp_path / "n_outputs.jsonl", outputs), "n")
    assert [value for _, value in log.scores["accuracy"]] == [1, 0]
    assert any("1 of 2 pairs" in note for note in log.remarks())


def test_the_models_of_a_folder_of_lm_eval_are_not_mixed(tmp_path):
    for name in ("tiny", "world"):
        shutil.copytree(FILES / "lm_eval" / name, tmp_path, dirs_exist_ok=True)
    logs = open_logs(tmp_path, "both")
    alone = [open_logs(FILES / "lm_eval" / name, name)[0] for name in ("world", "tiny")]
    assert sorted(log.name for log in logs) == [
        "both __tmp__w__h16a-tools__trl__mone",
        "both __work__main__stages__world__checkpoint",
    ]
    by_name = {log.name: log for log in logs}
    assert by_name["both __work__main__stages__world__checkpoint"].scores == alone[0].scores
    assert by_name["both __tmp__w__h16a-tools__trl__mone"].scores == alone[1].scores


def test_principles_of_two_experiments_of_icai_that_begin_alike_are_two_metrics(tmp_path):
    logs = []
    for ending in ("the weather", "the harvest"):
        path = tools.annotated_pairs(tmp_path / f"{ending}.json", ["text_a", "text_b", "text_a"])
        value = json.loads(path.read_text())
        text = f"Select the response that gives more details and more sources about {ending}."
        value["annotators"]["p1"]["description"] = text
        path.write_text(json.dumps(value))
        logs += open_logs(path, ending)
    assert not logs[0].scores.keys() & logs[1].scores.keys()


def test_older_results_of_weval_beside_the_newest_are_named(tmp_path):
    (path,) = (FILES / "weval").glob("*_comparison.json")
    shutil.copy(path, tmp_path)
    shutil.copy(path, tmp_path / path.name.replace("2026-", "2025-"))
    assert all("1 older result" in log.notes[0] for log in open_logs(tmp_path, "w"))


def test_metrics_without_common_items_are_named_first(tmp_path):
    base = rewards(tmp_path / "base", 1.0, 0.0, 0.0, None)
    other = rewards(tmp_path / "other", None, 1.0, 0.0, 1.0)
    for folder, places in ((base, (0, 1)), (other, (2, 3))):
        rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
        for place, row in enumerate(rows):
            row["polite"] = 1.0 if place in places else None
        tools.write_lines(folder / "results.jsonl", rows)
    comparison = compare_logs([*open_logs(base, "base"), *open_logs(other, "other")])
    assert "polite" not in [row.metric for row in comparison.rows]
    assert "other and base share fewer than two items with a value of polite" in comparison.notes[0]


def test_half_a_character_in_the_name_of_a_metric_does_not_stop_the_page(tmp_path):
    for name, polite in (("base", 1.0), ("other", 0.0)):
        folder = rewards(tmp_path / name, 1.0, 0.0)
        rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
        for row in rows:
            row["polite \ud800"] = polite
        tools.write_lines(folder / "results.jsonl", rows)
    page = tmp_path / "c.html"
    assert main([str(tmp_path / "base"), str(tmp_path / "other"), "--out", str(page)]) == 0
    assert "polite" in page.read_text("utf-8")
