"""What a plan already says against a run: before anything is spent, and of all kinds of step."""

import copy
import io

import pytest

from stages.guards.console import open_console
from stages.runtime.pipeline.display import show_plan
from tests.running import fake_model, run_steps, text_pipeline, write_constitution

WORDS = "# the toy model\nthe\nresponse\nrule\nnumber\n"


def shown(planned):
    stream = io.StringIO()
    show_plan(planned, open_console(file=stream, width=400))
    return [line for line in stream.getvalue().splitlines() if line.startswith("warning: ")]


def pipeline(folder, prompts=12, lexicon="", **options):
    steps = text_pipeline(folder, prompts=prompts)
    judging = {"judge": "base", "red": "requests"}
    write_constitution(folder / "set.yaml", 2)
    text = (folder / "set.yaml").read_text()
    (folder / "set.yaml").write_text(text.replace("text:", "opposite: It does not.\n    text:"))
    steps["examination"] = {
        "stage": "examine_judge",
        "inputs": judging,
        "constitution": {"name": str(folder / "set.yaml")},
    }
    if lexicon:
        (folder / "model" / "lexicon.txt").write_text(lexicon)
    steps["requests"] |= options
    return steps


CASES = [
    ({}, True),
    ({"prompts": 23}, True),
    ({"prompts": 24}, False),
    ({"prompts": 60, "limit": 20}, True),
    ({"prompts": 60, "limit": 30}, False),
    ({"prompts": 60, "offset": 45}, True),
    ({"prompts": 1200, "limit": 20}, True),  # more than a plan reads
    ({"prompts": 1200}, False),
]


@pytest.mark.parametrize(("options", "is_said"), CASES)
def test_too_few_requests_are_counted_before_they_are_read(tmp_path, options, is_said):
    planned, _ = run_steps(pipeline(tmp_path, **options), tmp_path, only_plan=True)
    lines = shown(planned)
    expected = "warning: examination: the verdict on the judge will be undecided: "
    assert [line.startswith(expected) for line in lines] == [True] * is_said


def test_once_the_requests_are_read_their_rows_count(tmp_path):
    steps = pipeline(tmp_path)
    both = "request number 1\n" * 20 + "another one\n"
    (tmp_path / "prompts.csv").write_text("prompt\n" + both)
    only_requests = {"requests": copy.deepcopy(steps["requests"])}
    run_steps(only_requests, tmp_path)
    planned, _ = run_steps(copy.deepcopy(steps), tmp_path, only_plan=True)
    (line,) = shown(planned)
    assert "undecided: 2 requests are too few" in line


def test_what_a_model_cannot_read_is_said_once_for_all_steps(tmp_path):
    planned, _ = run_steps(pipeline(tmp_path, 30, WORDS), tmp_path, only_plan=True)
    (line,) = shown(planned)
    assert line.startswith("warning: revisions, judgements, examination: the toy model cannot read")
    assert "'keeps', words of 2 of 2 principles" in line


def test_a_model_that_is_yet_to_be_trained_reads_what_its_base_reads(tmp_path):
    """And steps that are reused are not warned of again."""
    steps = pipeline(tmp_path, 30, WORDS)
    del steps["examination"]
    tuned = {"stage": "sft", "inputs": {"model": "base", "rows": "revisions"}}
    steps["tuned"] = tuned
    steps["judgements"]["inputs"]["model"] = "tuned"
    planned, _ = run_steps(copy.deepcopy(steps), tmp_path, only_plan=True)
    (line,) = shown(planned)
    assert line.startswith("warning: revisions, judgements: the toy model")
    run_steps(
        {name: steps[name] for name in ("base", "requests", "answers", "revisions")}, tmp_path
    )
    planned, _ = run_steps(copy.deepcopy(steps), tmp_path, only_plan=True)
    (line,) = shown(planned)
    assert line.startswith("warning: judgements: the toy model")


def test_a_model_whose_words_nobody_knows(tmp_path):
    steps = pipeline(tmp_path, 30)
    steps["base"]["path"] = str(fake_model(tmp_path / "other"))
    planned, _ = run_steps(steps, tmp_path, only_plan=True)
    assert shown(planned) == []
