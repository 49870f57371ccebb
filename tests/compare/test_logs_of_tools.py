"""Readers of logs that the tools themselves wrote: each gives the tool's own number.

`files/lm_eval` and `files/trl` were written by the versions in requirements/, with the embedded
model and tiny random ones, `files/inspect` by inspect 0.3.285; `files/README.md` has the commands.
Where inspect is installed, more of its logs are written and read.
"""

import json
import shlex

import pandas as pd
import pytest

from stages.compare.__main__ import _parser, main
from stages.compare.logs.open_logs import open_logs
from tests.compare.logs_of_tools import FILES
from tests.test_docs import ROOT, commands

LM_EVAL = FILES / "lm_eval"
TRL = FILES / "trl"


@pytest.mark.parametrize("name", ["world", "tiny"])
def test_lm_evals_own_numbers_come_out_of_its_samples(name):
    (log,) = open_logs(LM_EVAL / name, name)
    (file,) = (LM_EVAL / name).glob("*/results_*.json")
    results = json.loads(file.read_text())["results"]["tiny_sums"]
    for metric in ("acc", "acc_norm"):
        assert log.mean(f"tiny_sums {metric}") == pytest.approx(results[f"{metric},none"])
        assert log.reported[f"tiny_sums {metric}"] == results[f"{metric},none"]
    assert len(log.items) == 24 and list(log.remarks()) == []
    item = next(iter(log.items.values()))
    assert item.prompt.startswith("What is ") and item.answer.isdigit()


def test_one_file_of_lm_eval_is_read_alone():
    (file,) = LM_EVAL.glob("tiny/*/samples_*.jsonl")
    (log,) = open_logs(file, "tiny")
    (folder,) = open_logs(LM_EVAL / "tiny", "tiny")
    assert log.scores == folder.scores and log.reported == folder.reported


@pytest.mark.parametrize("name", ["one", "two"])
def test_trls_own_means_come_out_of_its_completions(name):
    (log,) = open_logs(TRL / name, name)
    state = json.loads((TRL / name / "checkpoint-4" / "trainer_state.json").read_text())
    for metric in ("short", "letter_e"):
        logged = [entry[f"rewards/{metric}/mean"] for entry in state["log_history"][:4]]
        assert log.reported[metric] == pytest.approx(sum(logged) / 4)
        assert log.mean(metric) == pytest.approx(sum(logged) / 4, abs=1e-6)
    assert list(log.scores) == ["short", "letter_e"] and list(log.remarks()) == []
    tables = [pd.read_parquet(file) for file in sorted((TRL / name / "completions").glob("*"))]
    assert len(log.scores["short"]) == sum(len(table) for table in tables)


def test_two_logs_of_lm_eval_become_a_page(tmp_path, capsys):
    page = tmp_path / "c.html"
    paths = [f"{name}={LM_EVAL / name}" for name in ("world", "tiny")]
    assert main([*paths, "--out", str(page)]) == 0
    shown = capsys.readouterr().out
    assert "tiny_sums acc" in shown and " 24 " in shown and "What is " in page.read_text()


def test_commands_of_the_page_on_compare_are_commands():
    texts = [ROOT / "README.md", ROOT / "docs" / "compare.md"]
    lines = [
        line for text in texts for line in commands(text.read_text(), "python -m stages.compare")
    ]
    assert len(lines) > 2
    for line in lines:
        options = _parser().parse_args(shlex.split(line)[3:])
        paths = [name.partition("=")[2] for name in options.logs]
        assert all((ROOT / path).exists() for path in paths if path.startswith("tests/"))
