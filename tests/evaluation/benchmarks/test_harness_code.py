"""Task files of lm_eval that would run code are refused, wherever it is hidden."""

import json
from pathlib import Path

import pytest

from stages.evaluation.benchmarks.harness_code import no_foreign_code, refuse_code, tasks_folder
from stages.guards.errors import UserError
from tests.running import fake_model, run_steps

TASK = """task: own
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/data.json}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: answer
"""
CODE = "def run(*_, **__):\n    open('FOLDER/pwned', 'w').close()\n    return []\n"
HIDDEN = {
    "process_docs": "process_docs: !function utils.run",
    "an installed function": "process_results: !function os.system",
    "in a list": "metric_list:\n  - metric: !function utils.run",
    "in a filter": "filter_list:\n  - {name: x, filter: [{filter_fn: !function u.f}]}",
    "a class": "class: !function utils.run",
    "data": "custom_dataset: !function utils.run",
    "few-shot": "fewshot_config: {samples: !function utils.run}",
    "another spelling of the tag": "process_docs: !<!function> utils.run",
    "behind an anchor": "x: &a !function utils.run\nprocess_docs: *a",
    "a database": "dataset_path: sql",
    "generated code": "unsafe_code: true",
}


def write(folder: Path, more: str, name: str = "own.yaml") -> Path:
    kept = [line for line in TASK.splitlines() if line.partition(":")[0] != more.partition(":")[0]]
    text = "\n".join([*kept, more, ""])
    record = {"question": "q", "choices": ["a", "b"], "answer": 0}
    (folder / "data.json").write_text(json.dumps(record))
    (folder / "utils.py").write_text(CODE.replace("FOLDER", str(folder)))
    (folder / name).write_text(text.replace("FOLDER", str(folder)))
    return folder / name


def plan(task: Path, tmp_path: Path, **options):
    steps = {
        "base": {"stage": "model", "path": str(fake_model(tmp_path / "model"))},
        "harness": {
            "stage": "harness",
            "inputs": {"base": "base"},
            "tasks": [str(task)],
            **options,
        },
    }
    return run_steps(steps, tmp_path, only_plan=True)[0]


@pytest.mark.parametrize("place", HIDDEN)
def test_a_plan_refuses_code_with_its_line_and_trust_allows_it(tmp_path, place):
    task = write(tmp_path, HIDDEN[place])
    with pytest.raises(UserError, match=r"own\.yaml:\d+: the task file would run code.*\n.*trust"):
        plan(task, tmp_path)
    assert not (tmp_path / "pwned").exists()
    trusted = plan(task, tmp_path, trust_task_files=True)
    assert len(trusted) == 2


@pytest.mark.parametrize("include", ["base.yaml", "[other.yaml, base.yaml]", "ABSOLUTE"])
def test_code_in_an_included_file_is_refused(tmp_path, include):
    inner = tmp_path / "inner"
    inner.mkdir()
    write(tmp_path, "tag: x", "other.yaml")
    (tmp_path / "base.yaml").write_text("include: inner/deep.yaml\n")
    (inner / "deep.yaml").write_text("include: ../base.yaml\nprocess_docs: !function utils.run\n")
    task = write(tmp_path, "include: " + include.replace("ABSOLUTE", str(inner / "deep.yaml")))
    with pytest.raises(UserError, match=r"inner/deep\.yaml:2"):
        refuse_code([str(task)])


def test_all_places_are_shown_and_files_of_lm_eval_are_trusted(tmp_path):
    task = write(tmp_path, "a: !function u.f\nb: !function u.g")
    with pytest.raises(UserError) as caught:
        refuse_code([str(task)])
    assert len(caught.value.errors) == 2
    shipped = tasks_folder() / "bbq" / "bbq_multiple_choice.yaml"
    assert "!function" in shipped.read_text()
    refuse_code([str(write(tmp_path, f"include: {shipped}"))])


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "a: [", "- a", "", "a: !!bool x", "include: nowhere.yaml", 'a: "\\UFFFFFFFF"'],
)
def test_a_broken_task_file_is_a_fault_with_its_place(tmp_path, text):
    task = tmp_path / "own.yaml"
    task.write_text(text)
    with pytest.raises(UserError, match="yaml"):
        refuse_code([str(task)])


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ question.format.__self__ }}",
        "{{ (self|attr('__init__')).__globals__ }}",
        "{{ '{0.__class__.__mro__}'.format(question) }}",
        "{% for i in range(10**9) %}x{% endfor %}",
    ],
)
def test_templates_of_tasks_are_rendered_in_a_sandbox(template):
    from jinja2.exceptions import SecurityError, UndefinedError
    from lm_eval import utils

    before = utils.env
    with no_foreign_code():
        assert utils.apply_template("{{q}} {{q|regex_replace('a','b')}}\n", {"q": "a"}) == "a b\n"
        with pytest.raises((SecurityError, UndefinedError, OverflowError)):
            utils.apply_template(template, {"question": "q"})
    assert utils.env is before
