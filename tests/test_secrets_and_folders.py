"""Commands that hold keys, that name odd folders, or that meet a full disk: what they leave."""

import errno
import json
import os
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stages.evaluation.benchmarks import benchmark
from stages.guards import disk, secrets
from stages.guards.disk import as_disk_error
from stages.guards.errors import UserError
from stages.report import report
from stages.runtime.pipeline.first_check import check_folder
from stages.runtime.pipeline.settings import as_user_error
from stages.text import prompts
from tests.running import fake_model

ROOT = Path(__file__).resolve().parents[1]
KEY = "Planted-Value-77"
OTHER = "sekrit/with%odd\u00e9 letters"


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    """Run a command in this process; return its exit code and its words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(secrets, "_used", {})

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        code = 0
        try:
            runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        words = capfd.readouterr()
        assert "Traceback" not in words.out + words.err
        return code, words.out + words.err

    return run


def files_with(folder: Path, *texts: str) -> list[str]:
    """The files in which one of the texts stands, in any usual spelling."""
    spellings = set()
    for text in texts:
        spellings |= {text, json.dumps(text)[1:-1], repr(text)[1:-1]}
    hits = []
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes().decode(errors="replace").lower()
            hits += [f"{path.name}: {text}" for text in spellings if text.lower() in content]
    return hits


EXTRA = "+generator.options.extra={api_key: KEY}"
IN_PLAIN = [
    f"generator.options.endpoints=['http://user:{KEY}@h/v1','http://h/v1?n=1&api_key={KEY}']",
    EXTRA.replace("KEY", KEY),
    "++generator.options.headers={Authorization: Bearer KEY}".replace("KEY", KEY),
    f"+pipeline.steps.sl_cai.args.hub_token={KEY}",
    f"+pipeline.steps.rl_cai.args.hub_token=${{oc.env:NOT_SET,{KEY}}}",
    f"+hydra.job.env_set.OPENAI_API_KEY={KEY}",
    f"+model.tokens.api_keys=[{KEY}]",
]
PLACES = [
    "generator.options.endpoints.0",
    "generator.options.endpoints.1",
    "generator.options.extra.api_key",
    "generator.options.headers.Authorization",
    "pipeline.steps.sl_cai.args.hub_token",
    "pipeline.steps.rl_cai.args.hub_token",
    "hydra.job.env_set.OPENAI_API_KEY",
    "model.tokens.api_keys.0",
]
MODES = {"run": [], "ablation": ["-m", "experiment=ablate"]}


@pytest.mark.parametrize("mode", MODES)
def test_keys_in_plain_are_refused_before_anything_is_written(command, tmp_path, mode):
    arguments = [*MODES[mode], f"runs_dir={tmp_path / 'runs'}", "generator=server"]
    code, words = command(*arguments, *IN_PLAIN)
    assert code == 2 and "write ${oc.env:NAME} here" in words, words
    assert KEY not in words
    assert [place for place in PLACES if f"option '{place}'" not in words] == []
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "data=world,mine"],
        ["-m", f"+pipeline.steps.sl_cai.args={{hub_token: {KEY}}},{{}}"],
    ],
    ids=["swept file", "swept mapping"],
)
def test_keys_in_files_and_sweeps_are_refused_too(command, tmp_path, arguments):
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "mine.yaml").write_text(f"hub: {{token: {KEY}}}\n")
    own = ["--config-dir", str(tmp_path / "conf")]
    code, words = command(*own, *arguments, f"runs_dir={tmp_path / 'runs'}")
    assert code == 2 and "holds a key" in words and KEY not in words, words
    assert not (tmp_path / "runs").exists()


def test_an_unreadable_override_does_not_show_its_key(command, tmp_path):
    for broken in (f"+x.hub_token=[{KEY}", f"+x={{api_key: [{KEY}"):
        code, words = command(f"runs_dir={tmp_path / 'runs'}", broken)
        assert code == 2 and KEY not in words, words


@pytest.mark.parametrize("mode", ["run", pytest.param("sweep", marks=pytest.mark.slow)])
def test_what_a_run_stores_holds_no_key(command, tmp_path, monkeypatch, mode):
    monkeypatch.setenv("MINE", KEY)  # not named like a secret
    monkeypatch.setenv("WANDB_API_KEY", OTHER)
    arguments = [
        *(["-m"] if mode == "sweep" else []),
        f"runs_dir={tmp_path / 'runs'}",
        f"model.path={fake_model(tmp_path / 'model')}",
        "generator=server",
        EXTRA.replace("KEY", "${oc.env:MINE}"),
        "+pipeline.steps.sl_cai.args.hub_token=${oc.env:WANDB_API_KEY}",
        "until=red_team",
    ]
    code, words = command(*arguments)
    assert code == 0 and KEY not in words, words
    assert files_with(tmp_path, KEY, OTHER) == []
    (manifest,) = (tmp_path / "runs").rglob("run.json")
    options = json.loads(manifest.read_text())["config"]["generator"]["options"]
    assert options["extra"] == {"api_key": "***"}


def test_a_bug_shows_and_stores_no_key(command, tmp_path, monkeypatch):
    def broken(*_):
        import logging
        import warnings

        logging.warning("the hub refuses %s", KEY)
        warnings.warn(f"insecure: {KEY}", stacklevel=1)
        raise KeyError(f"the hub refuses {KEY}: {{'token': 'unknown-one'}}")

    monkeypatch.setenv("MINE_TOKEN", KEY)
    monkeypatch.setattr("stages.runtime.pipeline.runner.Runner.plan", broken)
    code, words = command("-m", "seed=1,2", f"runs_dir={tmp_path / 'runs'}")
    assert code == 1 and "bug of its own" in words and "hub refuses" in words
    assert KEY not in words and "unknown-one" not in words
    logs = [path.read_text() for path in tmp_path.rglob("run.log")]
    assert len(logs) == 2 and all("Traceback" in log and "***" in log for log in logs)
    assert files_with(tmp_path, KEY, "unknown-one") == []


SMALL = """
steps:
  red_team: ${data.red_team}
last_steps:
  report: {stage: report, inputs: {red_team: red_team}}
"""


@pytest.fixture
def small(command, tmp_path):
    """Run a pipeline of two steps; return the exit code, the words and the run's log."""
    folder = tmp_path / "conf" / "pipeline"
    folder.mkdir(parents=True)
    (folder / "small.yaml").write_text(SMALL)

    def run():
        options = ["--config-dir", str(tmp_path / "conf"), "pipeline=small"]
        code, words = command(*options, f"runs_dir={tmp_path / 'runs'}")
        logs = [path.read_text() for path in tmp_path.rglob("run.log")]
        return code, words, "".join(logs)

    return run


def raise_bug(*_):
    return {}["no such cell"]


def raise_refusal(*_):
    try:
        raise_bug()
    except KeyError as error:
        raise UserError("the library refused it", fix="give it less") from error


def raise_mistake(*_):
    raise UserError("it is too long", fix="make it shorter")


@pytest.mark.parametrize("stage", [prompts, report], ids=["a stage", "the report"])
@pytest.mark.parametrize("fault", [raise_bug, raise_refusal])
def test_every_crash_leaves_its_traceback_in_the_log(small, monkeypatch, stage, fault):
    monkeypatch.setattr(stage, "STAGE", replace(stage.STAGE, run=fault))
    code, words, log = small()
    assert code == (1 if fault is raise_bug else 2), words
    assert "Traceback" in log and "in raise_bug" in log and "no such cell" in log
    assert "The traceback is in" in words and "run.log" in words


def test_a_mistake_without_a_cause_leaves_none(small, monkeypatch):
    monkeypatch.setattr(prompts, "STAGE", replace(prompts.STAGE, run=raise_mistake))
    code, words, log = small()
    assert code == 2 and "it is too long" in words
    assert "Traceback" not in log and "traceback" not in words


def test_a_run_that_went_on_without_a_step_leaves_its_traceback_too(small, monkeypatch, tmp_path):
    """It exits with 2, and the report is there."""
    monkeypatch.setattr(benchmark, "STAGE", replace(benchmark.STAGE, run=raise_refusal))
    (tmp_path / "answers.csv").write_text("prompt,response\nhello,good day\n")
    source = tmp_path / "answers.csv"
    (tmp_path / "conf" / "pipeline" / "small.yaml").write_text(
        f"""
steps:
  answers: {{stage: human_answers, source: {source}}}
  refusals: {{stage: benchmark, inputs: {{a: answers}}, by: refusal}}
last_steps:
  report: {{stage: report, inputs: {{answers: answers, test: refusals}}}}
"""
    )
    code, words, log = small()
    assert code == 2 and "refusals failed; the run goes on" in words, words
    assert "in raise_bug" in log and list(tmp_path.rglob("report.html")), words


FOLDERS = {
    "runs_dir=null": "None names no folder",
    "runs_dir=\"${oc.env:NOT_SET,''}\"": "an empty name is no path",
    "runs_dir=${oc.env:NOT_SET}": "NOT_SET",
    "hydra.run.dir=": "hydra.run.dir: an empty name",
    "runs_dir=/proc/nothing": "cannot be created",
}


@pytest.mark.parametrize("override", FOLDERS, ids=ascii)
def test_folders_that_are_none_are_refused(command, tmp_path, override):
    code, words = command("plan=true", override)
    assert code == 2 and FOLDERS[override] in words, words
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["", " ", "\n", None, 1, True, ["a"], {}, "a\0b", "\ud800", "~", "~x"]
)
def test_no_other_value_is_a_folder(name):
    with pytest.raises(UserError):
        check_folder(name, "runs_dir")


def test_a_refused_store_leaves_no_trace(command, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    code, words = command(f"runs_dir={tmp_path / 'runs'}", f"store={tmp_path / 'mine.txt'}")
    assert code == 2 and "mine.txt: the call store cannot be used" in words
    assert {path.name for path in tmp_path.iterdir()} == {"mine.txt", "runs"}


def test_runs_of_the_same_moment_have_folders_of_their_own(tmp_path):
    code = (
        "import os, re, secrets, sys\n"
        "from omegaconf import OmegaConf\n"
        "from hydra.core.utils import setup_globals\n"
        "setup_globals()\n"
        "os.environ['CREDO_RUN'] = secrets.token_hex(3)\n"
        "config = OmegaConf.load('conf/config.yaml')\n"
        "print(config.hydra.run.dir, config.hydra.sweep.dir)\n"
    )
    jobs = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    folders = [folder for job in jobs for folder in job.communicate()[0].split()]
    assert len(set(folders)) == 8
    runs = [folder for folder in folders if folder.startswith("runs/logs/")]
    assert all(
        re.fullmatch(r"runs/logs/\d{4}(-\d\d){2}_\d\d-\d\d-\d\d-\d{6}-\w{6}", f) for f in runs
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_errors_of_a_full_disk_are_known(number):
    try:
        try:
            raise OSError(number, os.strerror(number), "/a/file")
        except OSError as error:
            raise ValueError("Unable to configure handler 'file'") from error
    except ValueError as error:
        assert os.strerror(number) in str(as_disk_error(error))
        assert "/a/file" in str(as_user_error(error))
    assert as_disk_error(FileNotFoundError(errno.ENOENT, "none")) is None


def test_the_disk_ends_at_the_very_end(command, tmp_path, monkeypatch):
    write = disk.write_atomically

    def full(path, text):
        if path.name == "run.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, text)

    monkeypatch.setattr(disk, "write_atomically", full)
    own = [f"runs_dir={tmp_path / 'runs'}", f"model.path={fake_model(tmp_path / 'model')}"]
    code, words = command(*own, "until=red_team")
    assert code == 2 and "run.json: this cannot be written: No space left" in words, words
    assert "bug" not in words and "df -i" in words
    assert list((tmp_path / "runs" / "artifacts").glob("red_team-*/manifest.json"))


def test_a_pickle_is_not_loaded(command, tmp_path):
    (tmp_path / "config.pickle").write_bytes(b"cos\nsystem\n(S'touch hit'\ntR.")
    for option in ("--experimental-rerun", "--experimental-r"):
        code, words = command(option, "config.pickle")
        assert code == 2 and "pickle" in words and not (tmp_path / "hit").exists()


def is_root_on_linux() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system with few inodes, where this machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-o", "size=1m,nr_inodes=3"]
    mounted = (
        is_root_on_linux()
        and not subprocess.run(
            ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True
        ).returncode
    )
    if not mounted:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("mode", ["run", pytest.param("sweep", marks=pytest.mark.slow)])
def test_inodes_that_end_are_said_to_have_ended(command, tiny_disk, mode):
    code, words = command(
        *(["-m"] if mode == "sweep" else []), "plan=true", f"runs_dir={tiny_disk / 'runs'}"
    )
    assert code == 2 and "No space left on device" in words, words
    assert "launcher stopped" not in words and "bug" not in words
