"""Stage `harness`: lm-evaluation-harness on local files; its numbers are those of its own command
line.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.evaluation.benchmarks.harness_numbers import Measured, difference, estimate
from stages.guards.errors import UserError
from stages.statistics.intervals import Intervals
from tests.running import fake_model, run_steps
from tests.tiny_model import build_tiny_model

DATA = (Path(__file__).resolve().parents[3] / ".." / "shared" / "data").resolve()
CROWS, BBQ = DATA / "crows_pairs" / "crows_pairs_anonymized.csv", DATA / "bbq" / "Religion.jsonl.gz"
EMBEDDED = "stages/world/checkpoint"
TASK = """task: colours
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {{metric: {metric}, aggregation: mean, higher_is_better: true}}
"""


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")


def colours(folder: Path, count: int = 20, metric: str = "acc") -> Path:
    records = [
        {"question": f"Question {i}?", "choices": ["red", "green", "blue"], "answer": i % 3}
        for i in range(count)
    ]
    (folder / "colours.json").write_text("\n".join(map(json.dumps, records)))
    (folder / "colours.yaml").write_text(TASK.format(file=folder / "colours.json", metric=metric))
    return folder / "colours.yaml"


def steps(models: dict[str, Path], **options) -> dict:
    return {name: {"stage": "model", "path": str(path)} for name, path in models.items()} | {
        "found": {"stage": "harness", "inputs": {name: name for name in models}, **options}
    }


@pytest.mark.slow
def test_a_task_file_on_two_models(tmp_path):
    task = colours(tmp_path)
    models = {
        name: build_tiny_model(tmp_path / name, seed=seed)
        for name, seed in (("base", 0), ("tuned", 3))
    }
    pipeline = steps(models, tasks=[str(task)], device="cpu")
    _, done = run_steps(pipeline, tmp_path)
    metrics = done["found"].metrics
    assert metrics["tasks"]["colours"]["n"] == 20 and metrics["tasks"]["colours"]["shots"] == 0
    base, tuned = (metrics["models"][name]["colours: acc"] for name in models)
    assert base["low"] < base["value"] < base["high"] and base["stderr"] > 0 and base["n"] == 20
    samples = {
        name: [
            json.loads(line)
            for line in (done["found"].directory / f"samples-{name}.jsonl").read_text().splitlines()
        ]
        for name in models
    }
    assert sum(row["acc"] for row in samples["base"]) / 20 == base["value"]
    change = metrics["differences"]["tuned"]["colours: acc"]
    assert change["value"] == pytest.approx(tuned["value"] - base["value"]) and change["n"] == 20
    rose = sum(b["acc"] > a["acc"] for a, b in zip(samples["base"], samples["tuned"], strict=True))
    assert change["rose"] == rose and change["p"] is not None


def test_identity_follows_contents_and_not_paths(tmp_path):
    model = fake_model(tmp_path / "model")
    prints = {}
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.json").write_text(
            '{"question": "q", "choices": ["x", "y"], "answer": 0}'
        )
        (tmp_path / folder / "t.yaml").write_text("task: t\noutput_type: multiple_choice\n")
        options = {
            "tasks": [str(tmp_path / folder / "t.yaml")],
            "data": {"t": str(tmp_path / folder / "own.json")},
        }
        prints[folder] = lambda options=options, **more: (
            run_steps(steps({"base": model}, **options, **more), tmp_path, only_plan=True)[0][
                -1
            ].fingerprint
        )
    assert (
        prints["a"]()
        == prints["b"]()
        == prints["a"](batch_size=4, device="cpu")
        != prints["a"](limit=3)
    )
    before = prints["a"]()
    (tmp_path / "a" / "own.json").write_text(
        '{"question": "q2", "choices": ["x", "y"], "answer": 0}'
    )
    assert prints["a"]() != before
    (tmp_path / "b" / "utils.py").write_text("# what the task's functions are")
    assert prints["b"]() != before


FAULTS = {
    "no such task": (
        {"tasks": ["crows_pairs_inglish"]},
        r"lm_eval has no task 'crows_pairs_inglish'",
    ),
    "no such file": (
        {"tasks": ["/nowhere/t.yaml"]},
        r"/nowhere/t\.yaml: there is no such task file",
    ),
    "no such data": (
        {"data": {"colours": "/nowhere.csv"}},
        r"/nowhere\.csv: there is no such file",
    ),
    "data of no task": (
        {"data": {"colors": "{file}"}},
        r"unknown task 'colors'. Did you mean 'colours'",
    ),
    "data of no kind": ({"data": {"colours": "{task}"}}, r"data cannot be read from \.yaml files"),
    "no tasks": ({"tasks": []}, r"option 'tasks'"),
    "remote code": (
        {"model_args": {"trust_remote_code": True}},
        r"model_args cannot set trust_remote_code",
    ),
    "no such metric": ({"metrics": ["accuracy"]}, r"the tasks have none of the selected metrics"),
    "no such argument": ({"model_args": {"max_lenth": 3}}, r"lm_eval cannot evaluate this model"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(tmp_path, name):
    options, message = FAULTS[name]
    task = colours(tmp_path, 3)
    places = {"{file}": str(tmp_path / "colours.json"), "{task}": str(task)}
    if "data" in options:
        options = {
            "data": {key: places.get(value, value) for key, value in options["data"].items()}
        }
    with pytest.raises(UserError, match=message):
        run_steps(
            steps(
                {"base": build_tiny_model(tmp_path / "model")},
                **{"tasks": [str(task)], "device": "cpu"} | options,
            ),
            tmp_path,
        )


def test_missing_data_and_metrics_from_the_hub_are_refused(tmp_path):
    model = build_tiny_model(tmp_path / "model")
    task = colours(tmp_path, metric="a_metric_of_the_hub")
    with pytest.raises(
        UserError, match=r"the task's metric 'a_metric_of_the_hub' would be fetched as code"
    ):
        run_steps(steps({"base": model}, tasks=[str(task)]), tmp_path)
    colours(tmp_path)
    (tmp_path / "colours.json").unlink()
    with pytest.raises(
        UserError, match=r"the task cannot be loaded.*\n.*data: \{colours: <a file>\}"
    ):
        run_steps(steps({"base": model}, tasks=[str(task)]), tmp_path)


def test_a_metric_that_is_not_a_mean_is_bootstrapped():
    def spread(values):
        return max(values) - min(values)

    values = {str(i): i / 10 for i in range(11)}
    intervals = Intervals(200, 0.9, 0)
    found = estimate(Measured(1.0, None, 11, values, spread), intervals)
    assert found["low"] < found["high"] == 1.0 and found["stderr"] is None
    with_labels = {item: (value, value > 0.5) for item, value in values.items()}
    of_labels = Measured(
        0.5, None, 11, with_labels, lambda pairs: sum(label for _, label in pairs) / len(pairs)
    )
    bounds = estimate(of_labels, intervals)
    assert bounds["low"] < 0.5 < bounds["high"], "a value that is not a number, as BBQ's"
    even = Measured(0.0, None, 11, dict.fromkeys(values, 0.5), spread)
    assert estimate(even, intervals)["low"] is None, "no spread is no proof"
    change = difference(even, Measured(1.0, None, 11, values, spread), intervals)
    assert change["value"] == 1.0 and change["low"] > 0
    assert (
        difference(Measured(1.0, 0.1, 9, {}, None), Measured(1.0, 0.1, 9, {}, None), intervals)
        is None
    )


LIMIT = 80  # of 1508 and 1200; all of them were compared once (docs/benchmarks.md)


@pytest.mark.long
def test_the_numbers_are_those_of_the_command_line(tmp_path):
    if not CROWS.exists() or not BBQ.exists():
        pytest.skip(f"{CROWS} or {BBQ} is not there: CrowS-Pairs, CC BY-SA 4.0, and BBQ, CC BY 4.0")
    import lm_eval

    shipped = Path(lm_eval.__file__).parent / "tasks"
    own = {  # the road without `data`: a task file of one's own, which takes over what ships
        "own_crows": ("crows_pairs/crows_pairs_english.yaml", "csv", CROWS),
        "own_bbq": ("bbq/bbq_multiple_choice.yaml", "json", BBQ),
    }
    (tmp_path / "tasks").mkdir()
    for name, (base, kind, file) in own.items():
        (tmp_path / "tasks" / f"{name}.yaml").write_text(
            f"include: {shipped / base}\ntask: {name}\ntag: null\n"
            f"dataset_path: {kind}\ndataset_name: null\n"
            f"dataset_kwargs: {{data_files: {{test: {file}}}}}\n"
        )
    command = [
        sys.executable,
        "-m",
        "lm_eval",
        "run",
        "--model",
        "hf",
        "--model_args",
        f"pretrained={EMBEDDED},dtype=auto",
    ]
    command += [
        "--tasks",
        *own,
        "--include_path",
        str(tmp_path / "tasks"),
        "--device",
        "cpu",
        "--batch_size",
        "16",
    ]
    command += ["--output_path", str(tmp_path / "out"), "--limit", str(LIMIT)]
    shown = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    (written,) = (tmp_path / "out").rglob("results_*.json")
    theirs = json.loads(written.read_text())["results"]
    tasks = ["crows_pairs_english", "bbq", str(tmp_path / "tasks" / "own_crows.yaml")]
    pipeline = steps(
        {"base": Path(EMBEDDED)},
        tasks=tasks,
        data={"crows_pairs_english": str(CROWS), "bbq": str(BBQ)},
        device="cpu",
        resamples=100,
        limit=LIMIT,
    )
    _, done = run_steps(pipeline, tmp_path)
    ours = done["found"].metrics["models"]["base"]
    compared = 0
    for name, source in (
        ("crows_pairs_english", "own_crows"),
        ("own_crows", "own_crows"),
        ("bbq", "own_bbq"),
    ):
        for key, value in theirs[source].items():
            metric, _, filtered = key.partition(",")
            if filtered == "none" and f"{name}: {metric}" in ours:
                mine = ours[f"{name}: {metric}"]
                assert mine["value"] == value, (name, metric)
                assert mine["stderr"] == (
                    None if (s := theirs[source][f"{metric}_stderr,none"]) == "N/A" else s
                )
                compared += 1
    assert compared == 2 + 2 + 7
    assert ours["crows_pairs_english: pct_stereotype"]["n"] == ours["bbq: acc"]["n"] == LIMIT
