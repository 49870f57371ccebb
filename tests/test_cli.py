"""`python run.py` as a user types it: one clear message, exit code 2, no traceback (a bug's is in a
log); plans that send nothing.
"""

import io
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from stages.guards.console import open_console
from stages.runtime.pipeline.display import show_bug
from tests.running import Seeded, fake_model, run_steps, text_pipeline, write_constitution

ROOT = Path(__file__).resolve().parents[1]


def planned(folder: Path, *arguments: str) -> list[str]:
    """The arguments of a plan of a model that nothing loads."""
    return [
        f"runs_dir={folder / 'runs'}",
        f"model.path={fake_model(folder / 'model')}",
        "plan=true",
        *arguments,
    ]


def credo(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "run.py", *planned(folder, *arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def refusal(monkeypatch, capsys):
    """Run the command in this process, which saves the imports; return its words."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
        shown = " ".join(capsys.readouterr().err.split())
        assert stopped.value.code == 2, shown
        assert "Fix:" in shown and "HYDRA_FULL_ERROR" not in shown and "Traceback" not in shown
        return shown

    return run


def test_the_plan_of_the_demo(tmp_path):
    shown = credo(tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "2 steps reused, 18 to run" in shown.stderr
    assert not list((tmp_path / "runs").glob("artifacts/answers-*"))


def test_a_method_of_ones_own_outside_of_credos_folder(tmp_path, refusal):
    """Its file is read, and its faults are shown as those of a shipped one."""
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "mine.yaml").write_text(
        "defaults: [cai]\nsteps:\n  pairs: {labell: hard}\n"
    )
    own = ["--config-dir", str(tmp_path), "pipeline=mine"]
    assert "Did you mean 'label'" in refusal(*own, *planned(tmp_path))


BAD = {
    "unknown principle": (["constitution.drop=[harm-9]"], r"no principle 'harm-9'.*harm-"),
    "unknown option": (
        ["+pipeline.steps.revisions.round=3"],
        r"step 'revisions': unknown option 'round'.*Did you mean 'rounds'",
    ),
    "missing input": (
        ["pipeline.steps.pairs.inputs.judgements=judgement"],
        r"step 'pairs'.*unknown step 'judgement'",
    ),
    "no such model": (["model.path=/nowhere/at/all"], r"/nowhere/at/all: no such model folder"),
    "no such constitution": (["constitution.name=hhhh"], r"hhh"),
    "unfilled": (
        ["data=files"],
        r"no value is given for data\.red_team\.source.*data\.held_out\.source=<value>",
    ),
}

# What stops before anything is planned.
EARLY = {
    "no such pipeline": (
        ["pipeline=cia"],
        r"pipeline: there is no 'pipeline/cia'. Did you mean 'cai'",
    ),
    "unknown key": (["foo=1"], r"there is no option 'foo' Fix"),
    "a group misspelt": (["pipline=cai"], r"no option 'pipline'. Did you mean 'pipeline'"),
    "an outer key misspelt": (
        ["data.red_teem.limit=3"],
        r"no option 'red_teem' in data. Did you mean 'red_team'",
    ),
    "an inner key misspelt": (
        ["model.sampling.temprature=1"],
        r"no option 'temprature' in model.sampling. Did you mean 'temperature'",
    ),
    "a key within a number": (["seed.x=1"], r"no option 'x' in seed Fix"),
    "unknown key, added": (["+pipelin={}"], r"unknown option 'pipelin'. Did you mean 'pipeline'"),
    "a key that is there, added": (["+seed=1"], r"An item is already at 'seed'"),
    "a second model": (["+model=hub"], r"Multiple values for model"),
    "no override": (["seed=["], r"seed=\[: no viable alternative"),
    "a home folder": (["store=~/x"], r"no value can be read from store=~/x(?s:.*)quotes around"),
    "a name for a list": (["constitution.drop=a"], r"should be a list, such as \[a, b\] \(given"),
    "a broken file": (["local=broken"], r"broken\.yaml:2: not valid YAML: expected"),
    "a reference to nothing": (["seed=${nope}"], r"Interpolation key 'nope' not found"),
    "a key is gone": (["~store"], r"the option 'store' is missing"),
    "no steps": (["~pipeline.steps"], r"the pipeline has no steps"),
    "a step that is none": (["+pipeline.steps.foo=abc"], r"step 'foo': a step is a mapping"),
    "a seed of letters": (
        ["seed=abc"],
        r"option 'seed': Input should be a valid integer \(given: 'abc'\)",
    ),
    "no seed": (["seed=null"], r"option 'seed': Input should be a valid integer \(given: None\)"),
    "half a seed": (["seed=1.5"], r"option 'seed': Input should be a valid integer \(given: 1.5\)"),
    "no pipeline": (["pipeline=null"], r"must be a string or a list. Got NoneType"),
    "no folder": (["runs_dir=null"], r"runs_dir: None names no folder"),
    "a folder that is none": (
        ["runs_dir=/dev/null"],
        r"runs_dir: the run's folder cannot be created",
    ),
    "half a generator": (["~generator.name"], r"the option 'generator.name' is missing"),
    "a file without effect": (["local=idle"], r"conf/local: .*@package _global_"),
    "a seed of truth": (
        ["seed=true"],
        r"option 'seed': Input should be a valid integer \(given: True\)",
    ),
}


@pytest.mark.parametrize("name", EARLY)
def test_what_hydra_and_the_config_refuse(tmp_path, monkeypatch, refusal, name):
    arguments, message = EARLY[name]
    monkeypatch.chdir(tmp_path)  # without a folder Hydra logs beside whoever runs it
    (tmp_path / "conf" / "local").mkdir(parents=True)
    (tmp_path / "conf" / "local" / "broken.yaml").write_text("a: [1\n")
    (tmp_path / "conf" / "local" / "idle.yaml").write_text("seed: 1\n")
    shown = refusal("--config-dir", str(tmp_path / "conf"), f"runs_dir={tmp_path}", *arguments)
    assert re.search(message, shown), shown


@pytest.mark.parametrize("name", BAD)
def test_mistakes_get_one_message(tmp_path, refusal, name):
    arguments, message = BAD[name]
    shown = refusal(*planned(tmp_path, *arguments))
    assert re.search(message, shown), shown


def test_a_mistake_ends_the_process_with_2(tmp_path):
    shown = credo(tmp_path, "constitution.drop=[harm-9]")
    assert shown.returncode == 2 and "no principle 'harm-9'" in shown.stderr, shown.stderr
    assert "Fix:" in shown.stderr and "Traceback" not in shown.stderr


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "name: x\nprinciples:\n  - id: a\n    text: 'T.'\n  - id: a\n    text: 'U.'\n",
            r"bad\.yaml:5.*'a' appears twice",
        ),
        ("name: x\nprinciples:\n  - id: a\n    text: [\n", r"bad\.yaml:\d+"),
        ("name: x\nprinciples:\n  - {id: a, txt: 'T.'}\n", r"bad\.yaml:3.*txt.*text"),
        (BOMB, "alias"),
        ("name: x\nprinciples:\n" + "# a long file\n" * 800_000, r"bad\.yaml.*too large"),
    ],
    ids=["duplicate id", "syntax", "unknown key", "alias bomb", "10 MB"],
)
def test_malformed_constitutions(tmp_path, refusal, content, message):
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    shown = refusal(*planned(tmp_path, f"constitution.name={path}"))
    assert re.search(message, shown), shown


def test_a_users_own_files(tmp_path):
    """Everything a new user brings: a constitution, prompts, a pipeline variant of a few lines."""
    write_constitution(tmp_path / "mine.yaml", 3)
    (tmp_path / "p.csv").write_text("prompt\nhello\n")
    files = [
        f"data.{which}.source={tmp_path / 'p.csv'}" for which in ("red_team", "helpful", "held_out")
    ]
    shown = credo(tmp_path, f"constitution.name={tmp_path / 'mine.yaml'}", "data=files", *files)
    assert shown.returncode == 0, shown.stderr


def test_a_bug_leaves_its_traceback_in_the_log(tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise KeyError("ours [/red]")

    monkeypatch.setattr("stages.runtime.pipeline.runner.Runner.plan", broken)
    monkeypatch.setattr(sys, "argv", ["run.py", f"runs_dir={tmp_path}"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
    assert caught.value.code == 1
    shown = capsys.readouterr().err
    assert "KeyError: 'ours [/red]'" in shown and "Traceback (most recent" not in shown
    log = Path(re.search(r"traceback is in (\S+run\.log);", shown)[1])
    assert "Traceback (most recent call last)" in log.read_text()
    assert "raise KeyError" in log.read_text()


def test_a_bug_in_one_row_names_the_row(tmp_path):
    def fail(messages):
        if messages[-1]["content"].endswith("number 3"):
            raise ZeroDivisionError("ours")

    steps = text_pipeline(tmp_path, prompts=5)
    with pytest.raises(ZeroDivisionError) as caught:
        run_steps(steps, tmp_path, Seeded(failure=fail), concurrency=1)
    console = open_console(file=io.StringIO(), width=300)
    show_bug(caught.value, tmp_path / "run.log", console)
    assert "ZeroDivisionError: ours in step 'answers', row" in console.file.getvalue()
    text = (tmp_path / "run.log").read_text()
    assert 'raise ZeroDivisionError("ours")' in text and "in step 'answers', row" in text
    healthy = Seeded()
    run_steps({name: steps[name] for name in ("base", "requests", "answers")}, tmp_path, healthy)
    assert healthy.calls == 4, "answers of before are used again"
