"""Results that RewardBench, icai and weval themselves wrote: their own numbers come out.

How the files came to be: `files/README.md`. Numbers are computed here from the raw JSON, without a
reader.
"""

import json
import shutil

import pytest

from stages.compare.__main__ import main
from stages.compare.logs.open_logs import open_logs
from stages.compare.pairing import compare_logs
from tests.compare.logs_of_tools import FILES

REWARD_BENCH = FILES / "reward_bench"
ICAI = FILES / "icai"
WEVAL = FILES / "weval"
LONG = "agrees: Select the response that is a very long principle with mo..."


def raw(path):
    return json.loads(path.read_text())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def share(values):
    return sum(values) / len(values)


def agrees(log):
    """Whether a log has numbers of its tool, and its rows give each of them."""
    assert log.reported
    return all(log.mean(name) == pytest.approx(number) for name, number in log.reported.items())


@pytest.mark.parametrize("model", ["rm0", "rm1"])
def test_reward_benchs_accuracy_comes_out_of_both_files_of_its_command(model):
    own = raw(REWARD_BENCH / f"{model}.json")
    (outputs,) = open_logs(REWARD_BENCH / f"{model}_outputs.jsonl", model)
    (scores,) = open_logs(REWARD_BENCH / f"{model}_all.jsonl", model)
    rows = lines(REWARD_BENCH / f"{model}_outputs.jsonl")
    for log in (outputs, scores):
        assert log.reported == {"accuracy": own["accuracy"]} and agrees(log)
        assert len(log.items) == own["num_prompts"] == len(rows)
    wins = [row["scores_chosen"] > row["scores_rejected"] for row in rows]
    assert outputs.mean("accuracy") == pytest.approx(share(wins))
    assert any(row["scores_chosen"] == row["scores_rejected"] for row in rows)  # a tie is no win
    birds = [row["results"] for row in rows if row["subset"] == "birds"]
    assert outputs.mean("accuracy: birds") == pytest.approx(share(birds))
    assert outputs.items["birds/0"].prompt == rows[0]["prompt"] and outputs.notes == []
    assert rows[0]["text_rejected"] in outputs.items["birds/0"].answer


def test_a_folder_of_reward_bench_is_a_log_for_each_model(tmp_path):
    logs = open_logs(REWARD_BENCH, "rb")
    assert [log.name for log in logs] == ["rb rm0", "rb rm1"]
    assert logs[0].items["birds/0"].answer and all(agrees(log) for log in logs)
    shutil.copy(REWARD_BENCH / "rm0_all.jsonl", tmp_path / "rm0_all.jsonl")
    (log,) = open_logs(tmp_path, "rb")
    assert log.name == "rb" and len(log.items) == 24


def test_ids_that_do_not_tell_pairs_apart_are_not_used(tmp_path):
    rows = lines(REWARD_BENCH / "rm0_outputs.jsonl")
    for row in rows:
        row.pop("subset")  # ids repeat from subset to subset
    path = tmp_path / "rm0_outputs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (log,) = open_logs(path, "rm0")
    assert len(log.items) == 24 and "no ids" in log.notes[0]
    assert log.mean("accuracy") == pytest.approx(share([row["results"] for row in rows]))


def test_answers_that_reward_bench_scored_alone_have_a_score(tmp_path):
    rows = [{"prompt": "p", "results": 0.5, "text": "a"}, {"prompt": "q", "results": -1.5}]
    rows[1]["text"] = "b"
    path = tmp_path / "rm0_outputs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (log,) = open_logs(path, "rm0")
    assert log.mean("score") == -0.5 and log.items["pair 1"].answer == "b"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_number_of_each_subset_of_reward_bench_comes_out(version):
    own = raw(REWARD_BENCH / version / "eval-set" / "rm0.json")
    path = REWARD_BENCH / version / "eval-set-scores" / "rm0.json"
    (log,) = open_logs(path, "rm0")
    subsets = {name: value for name, value in own.items() if isinstance(value, float)}
    ties = subsets.pop("Ties", None)
    assert log.reported == {f"accuracy: {name}": value for name, value in subsets.items()}
    assert agrees(log) and (ties is None or "4 prompts of the subset Ties" in log.notes[0])
    table = raw(path)
    text = table["text"][0][3] if version == "v2" else table["text_rejected"][0]
    assert text in next(iter(log.items.values())).prompt
    (folder,) = open_logs(REWARD_BENCH / version, "rm0")
    assert folder.scores == log.scores


def test_icais_votes_for_each_principle_come_out_of_its_pairs():
    (log,) = open_logs(ICAI / "070_annotations_train_ap.json", "icai")
    votes = raw(ICAI / "041_votes_per_cluster.json")
    texts = raw(ICAI / "030_distilled_principles_per_cluster.json")
    shares = [votes[place]["for"] / sum(votes[place].values()) for place in texts]
    assert sorted(log.reported.values()) == pytest.approx(sorted(shares)) and agrees(log)
    assert len(log.reported) == len(texts) == 6
    assert any(vote["invalid"] and vote["both"] and vote["abstain"] for vote in votes.values())


def test_principles_of_icai_that_begin_alike_stay_apart():
    (log,) = open_logs(ICAI, "icai")
    alike = [name for name in log.scores if name.startswith(LONG)]
    assert len(alike) == 2 and all(len(log.scores[name]) == 24 for name in alike)
    assert log.mean(alike[0]) != log.mean(alike[1])


def test_another_annotator_and_the_texts_of_icais_pairs_are_read():
    (log,) = open_logs(ICAI, "icai")
    pairs = raw(ICAI / "070_annotations_train_ap.json")["comparisons"]
    sides = []
    for pair in pairs:
        prefs = [pair["annotations"][key]["pref"] for key in ("ba751e7b", "e5f34933")]
        sides.append(prefs[1] == f"text_{prefs[0]}")  # one says a, the other text_a, or tie
    assert log.mean("agrees: human_two") == pytest.approx(share(sides))
    item = log.items[pairs[0]["id"]]
    assert pairs[0]["response_a"]["text"] in item.answer and item.prompt == pairs[0]["prompt"]


def test_wevals_mean_coverage_comes_out_of_each_model():
    logs = open_logs(WEVAL, "w")
    (run,) = raw(WEVAL / "summary.json")["runs"]
    assert len(logs) == len(run["perModelScores"]) == 4
    for log in logs:
        own = run["perModelScores"][log.name.removeprefix("w ")]
        assert log.reported == {"coverage": own["coverage"]["average"]} and agrees(log)
        weighted = own["hybrid"]["average"]
        assert f"(weighted, the mean is {weighted:.4g})" in log.notes[0]
        assert (
            "1 answers have a coverage of 0 because every judgement of them failed" in log.notes[1]
        )
    assert logs[1].items["tree"].prompt.splitlines()[1] == "assistant: Which kind?"


def test_a_runs_folder_of_weval_gives_the_same_with_its_answers(tmp_path):
    (path,) = WEVAL.glob("*_comparison.json")
    value = raw(path)
    folder = tmp_path / path.name.removesuffix("_comparison.json")
    (folder / "responses").mkdir(parents=True)
    answers = value["allFinalAssistantResponses"]
    for prompt, by_model in answers.items():
        (folder / "responses" / f"{prompt}.json").write_text(json.dumps(by_model))
        answers[prompt] = dict.fromkeys(by_model)  # as in core.json
    (folder / "core.json").write_text(json.dumps(value))
    shutil.copy(WEVAL / "summary.json", tmp_path / "summary.json")
    for one, other in zip(open_logs(folder, "w"), open_logs(path, "w"), strict=True):
        assert one.scores == other.scores and one.items == other.items
        assert one.reported == other.reported


def test_two_reward_models_become_a_page(tmp_path, capsys):
    page = tmp_path / "c.html"
    paths = [f"{name}={REWARD_BENCH / f'{name}_outputs.jsonl'}" for name in ("rm0", "rm1")]
    assert main([*paths, "--out", str(page)]) == 0
    assert "accuracy: birds" in capsys.readouterr().out and page.stat().st_size > 10_000
    logs = [open_logs(REWARD_BENCH / f"{name}_outputs.jsonl", name)[0] for name in ("rm0", "rm1")]
    assert not any("other words" in note for note in compare_logs(logs).notes)
