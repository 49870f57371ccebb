"""Readers of published forms: each gives the tool's own number on its own file."""

import json
import math
import shutil
import zipfile
from pathlib import Path

import pytest

from stages.compare.logs.open_logs import open_logs
from stages.compare.pairing import compare_logs
from stages.evaluation.measures import summarise
from stages.evaluation.verdict_values import Counted
from stages.guards.errors import UserError
from stages.runtime.artifacts import Result
from stages.runtime.rows import Verdict
from stages.statistics.intervals import Intervals
from tests.compare import logs_of_tools as tools
from tests.evaluation import fakes

FILES = Path(__file__).parent / "files"


def test_verifiers_own_means_come_out_of_its_rows(tmp_path):
    rewards = [1.0, 0.0, 1.0, 1.0, 0.5, 0.0]
    (log,) = open_logs(tools.verifiers(tmp_path / "run", rewards, rollouts=2), "run")
    assert log.tool == "verifiers" and list(log.scores) == ["reward", "format_reward_func"]
    assert log.reported["reward"] == pytest.approx(log.mean("reward")) == 3.5 / 6
    assert list(log.remarks()) == []
    assert log.values("reward") == {"0": 0.5, "1": 1.0, "2": 0.25}  # rollouts are averaged
    assert log.items["1"].prompt == "user: question 1"
    (alone,) = open_logs(tmp_path / "run" / "results.jsonl", "file")
    assert alone.scores == log.scores


def test_a_mean_that_the_rows_do_not_give_is_said(tmp_path):
    folder = tools.verifiers(tmp_path, [1.0, 0.0, 1.0])
    lines = (folder / "results.jsonl").read_text().splitlines()
    (folder / "results.jsonl").write_text("\n".join(lines[:2]))
    (log,) = open_logs(folder, "run")
    remarks = list(log.remarks())
    assert len(remarks) == 2 and "reports reward = 0.6667" in remarks[0] and "0.5" in remarks[0]


def test_reward_bench_counts_a_tie_as_wrong_as_the_tool_does(tmp_path):
    path = tools.reward_bench(tmp_path, "rm", [(1.0, 0.5), (0.2, 0.2), (0.1, 0.4), (2.0, 1.0)])
    (log,) = open_logs(path, "rm")
    assert log.mean("accuracy") == log.reported["accuracy"] == 0.5
    assert "no ids" in " ".join(log.remarks())


def test_reward_bench_scores_with_ids_give_the_accuracy_of_each_subset(tmp_path):
    table = {"id": [1, 2, 3], "subset": ["easy", "easy", "hard"], "results": [1, 0, 1]}
    (log,) = open_logs(tools.write_json(tmp_path / "s.json", table), "rm")
    assert log.mean("accuracy") == pytest.approx(2 / 3)
    assert log.mean("accuracy: easy") == 0.5 and log.mean("accuracy: hard") == 1.0
    assert list(log.items) == ["easy/1", "easy/2", "hard/3"]


def test_icai_agreement_is_the_share_of_all_pairs(tmp_path):
    votes = ["text_a", "text_b", None, "text_a", "text_a"]
    (log,) = open_logs(tools.annotated_pairs(tmp_path / "p.json", votes), "p")
    (metric,) = log.scores
    counts = {"Agree": 3, "Disagree": 1, "Not applicable": 1}
    assert log.mean(metric) == counts["Agree"] / sum(counts.values())


def test_weval_gives_a_log_for_each_model_and_none_for_the_ideal_answer(tmp_path):
    coverage = {"a:one": [0.5, 1.0, None], "b:two": [0.25, 0.75, 0.5]}
    first, second = open_logs(tools.weval(tmp_path / "w.json", coverage), "w")
    assert first.name == "w a:one" and second.mean("coverage") == 0.5
    assert first.mean("coverage") == 0.75 and first.notes == [
        "1 answers were not judged, so they are left out"
    ]
    values = [value for log in (first, second) for _, value in log.scores["coverage"]]
    assert sum(values) / len(values) == pytest.approx((0.5 + 1 + 0.25 + 0.75 + 0.5) / 5)


def test_weights_of_prompts_in_weval_are_named(tmp_path):
    path = tools.weval(tmp_path / "w.json", {"a:one": [0.5, 1.0]})
    value = json.loads(path.read_text())
    value["evaluationResults"]["llmCoverageScores"]["__promptWeights"] = {"prompt-0": 3.0}
    path.write_text(json.dumps(value))
    (log,) = open_logs(path, "w")
    assert log.mean("coverage") == 0.75
    (note,) = log.notes
    assert note.startswith("weval weighs the prompts") and note.endswith("the mean is 0.625)")


def test_inspects_accuracy_comes_out_of_both_forms_of_its_log(tmp_path):
    value = tools.inspect_log(["C", "I", "P", "C", "I", "I"], epochs=2)
    paths = [
        tools.inspect_eval(tmp_path / "log.eval", value),
        tools.write_json(tmp_path / "log.json", value),
    ]
    for path in paths:
        (log,) = open_logs(path, "run")
        metric = "yes_no match"
        assert log.mean(metric) == pytest.approx(log.reported[metric]) == 2.5 / 6
        assert log.values(metric) == {"yes_no/1": 0.5, "yes_no/2": 0.75, "yes_no/3": 0.0}
        item = log.items["yes_no/1"]
        assert item.prompt == "question 0" and item.answer == "I say C"
        assert list(log.remarks()) == []


def test_a_log_of_inspect_that_did_not_end_is_refused(tmp_path):
    value = tools.inspect_log(["C", "I"])
    path = tools.inspect_eval(tmp_path / "log.eval", value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("_journal/start.json", "{}")
    with pytest.raises(UserError, match="did not end"):
        open_logs(path, "run")


def verdict(policy: str, number: int, violated: bool) -> Verdict:
    return Verdict(
        id=f"{policy}/{number}",
        response_id=f"{policy}-{number}",
        prompt_id=f"q{number}",
        policy=policy,
        kind="attack",
        prompt=[{"role": "user", "content": f"request {number}"}],
        response=f"{policy} says {number}",
        principles=["harm-1"],
        violated=[violated],
        judged=[],
        any_violation=violated,
        well_formed=True,
        on_topic=True,
        evasive=False,
        helpful=not violated,
    )


def evaluation(folder, broken: dict[str, set[int]], words="Be kind."):
    """An artifact of `evaluate`; `broken` names the requests on which a policy breaks the rule."""
    measured = {}
    for policy, places in broken.items():
        rows = [verdict(policy, number, number in places) for number in range(12)]
        measured[policy] = [(row.prompt_id, row) for row in rows]
    counted = Counted(["harm-1"], set(), set())
    metrics = summarise(measured, [], counted, False, Intervals(100, 0.95, 0))
    rows = [row for pairs in measured.values() for _, row in pairs]
    options = {"counted": ["harm-1"], "helpful_kinds": [], "harmless_kinds": []}
    options["constitution"] = {"harm-1": {"text": words}}
    result = Result(rows=rows, row_type=Verdict, metrics=metrics)
    return fakes.artifact(folder, "evaluation", result, stage="evaluate", options=options)


def test_a_run_of_credo_gives_its_policies_with_its_own_numbers(tmp_path):
    artifact = evaluation(tmp_path, {"base": {1, 2, 3, 4}, "rl": {1}})
    run = tmp_path / "run"
    steps = {"evaluation": {"artifact": str(artifact.directory), "reused": False}}
    tools.write_json(run / "run.json", {"steps": steps})
    for folder in (artifact.directory, run):
        base, policy = open_logs(folder, "run")
        assert (base.name, policy.name) == ("run base", "run rl")
        assert base.mean("any_violation") == pytest.approx(4 / 12)
        assert policy.values("violates harm-1")["q1"] == 1.0
        assert policy.items["q2"].answer == "rl says 2"
        for log in (base, policy):
            assert {"any_violation", "violates harm-1"} <= log.reported.keys()
            assert list(log.remarks()) == []


def test_runs_under_other_principles_are_not_measured_alike(tmp_path):
    logs = []
    for number, words in enumerate(["Be kind.", "Be kind.", "Be terse."]):
        artifact = evaluation(tmp_path / str(number), {"rl": {1, number}}, words)
        logs += open_logs(artifact.directory, f"run{number}")
    notes = compare_logs(logs).notes
    assert [note for note in notes if "not measured alike" in note] == [
        "run2 rl and run0 rl were not measured alike (principles): "
        "a difference may be one of the measurement"
    ]


def test_logs_of_lm_eval_with_other_shots_are_not_measured_alike(tmp_path):
    for name in ("one", "two"):
        shutil.copytree(FILES / "lm_eval" / "world", tmp_path / name)
    (results,) = (tmp_path / "two").rglob("results_*.json")
    facts = json.loads(results.read_text())
    facts["n-shot"] = {"tiny_sums": 5}
    results.write_text(json.dumps(facts))
    logs = [*open_logs(tmp_path / "one", "one"), *open_logs(tmp_path / "two", "two")]
    notes = compare_logs(logs).notes
    assert any("not measured alike (shots of tiny_sums)" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("x.json", '{"a": 1}', "no log that can be compared"),
        ("x.jsonl", '{"a": 1}\n', "no log that can be compared"),
        ("x.txt", "hello", "no log that can be compared"),
        ("x.eval", "no zip", "cannot be read"),
        (
            "results.jsonl",
            '{"prompt": "a", "completion": "b", "reward": "x"}\n',
            "no scored answer",
        ),
        ("x.json", '{"annotators": {}, "comparisons": [], "metadata": {}}', "as its tool writes"),
        ("x_all.jsonl", '{"chosen": "a", "rejected": 1}\n', "not as its tool writes it"),
    ],
)
def test_what_is_no_log_is_refused_with_a_fix(tmp_path, name, text, fault):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as caught:
        open_logs(tmp_path / name, "x")
    assert fault in str(caught.value) and caught.value.fix and caught.value.where


def test_a_value_that_is_not_a_number_is_left_out(tmp_path):
    folder = tools.verifiers(tmp_path, [1.0, 0.0])
    text = (folder / "results.jsonl").read_text().replace('"reward": 0.0', '"reward": NaN')
    (folder / "results.jsonl").write_text(text)
    (log,) = open_logs(folder, "run")
    assert log.values("reward") == {"0": 1.0} and math.isfinite(log.mean("reward"))
