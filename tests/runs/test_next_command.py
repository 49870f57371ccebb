"""The command to try after a run is by what the run made, and can be typed."""

import io
import os
from pathlib import Path

from stages.guards.console import open_console
from stages.runs import next_command
from stages.runs.next_command import show_next
from stages.runs.records import list_runs, open_run
from stages.runtime.artifacts import Artifact, Result, finish_artifact
from stages.runtime.manifest import fingerprint
from tests.running import fake_model
from tests.runs_on_disk import NEWER, OLDER, record, write_run, write_status


def add_step(runs_dir, artifacts, name, stage, writes=False) -> Artifact:
    payload = {"stage": stage, "version": 1, "seed": 0, "options": {}}
    folder = runs_dir / "artifacts" / f"{name}-{fingerprint(payload)}"
    folder.mkdir()
    if writes:
        fake_model(folder / "model")
        (folder / "model" / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    artifacts[name] = finish_artifact(folder, name, payload, Result(), {})
    return artifacts[name]


def hint(runs_dir, name) -> str:
    console = open_console(file=io.StringIO())
    show_next(runs_dir / "logs" / name, runs_dir, console)
    return console.file.getvalue().strip()


def test_it_depends_on_what_the_run_made(tmp_path):
    artifacts = write_run(tmp_path, OLDER)
    older, newer, third = (tmp_path / "logs" / name for name in (OLDER, NEWER, "third"))
    assert hint(tmp_path, OLDER) == f"Next, what it shows: python -m stages.runs open {older}"
    record(newer, artifacts)
    compare = f"python -m stages.runs compare {older} {newer}"
    assert hint(tmp_path, NEWER) == f"Next, compare it with the run before: {compare}"
    add_step(tmp_path, artifacts, "pairs", "judged_pairs")
    record(third, artifacts, pipeline="dpo")
    (third / ".hydra").mkdir()
    overrides = "- pipeline=dpo\n- 'constitution.drop=[p1]'\n- ablate.level=labels\n"
    (third / ".hydra" / "overrides.yaml").write_text(overrides)
    command = "python run.py -m experiment=ablate ablate.level=labels pipeline=dpo "
    assert hint(tmp_path, "third").endswith(f"{command}'constitution.drop=[p1]'")
    add_step(tmp_path, artifacts, "policy", "dpo", writes=True)
    record(tmp_path / "logs" / "fourth", artifacts)
    chat = f"python -m stages.chat {tmp_path / 'logs' / 'fourth'}"
    assert hint(tmp_path, "fourth") == f"Next, talk to the policy: {chat}"


def test_in_the_usual_folder_a_run_is_called_by_its_short_name(tmp_path, monkeypatch):
    write_run(tmp_path / "runs", OLDER)
    monkeypatch.chdir(tmp_path)
    assert hint(tmp_path / "runs", OLDER).endswith("python -m stages.runs open aaa111")
    console = open_console(file=io.StringIO())  # as a run calls it: its own folder is absolute
    show_next(tmp_path / "runs" / "logs" / OLDER, Path("runs"), console)
    assert console.file.getvalue().strip().endswith("python -m stages.runs open aaa111")


def test_after_a_failure_or_a_damage_nothing_is_said(tmp_path):
    write_run(tmp_path, OLDER)
    write_status(tmp_path / "logs" / NEWER, state="failed", error="x")
    assert hint(tmp_path, NEWER) == ""
    assert hint(tmp_path, "nowhere") == ""
    (tmp_path / "logs" / OLDER / "run.json").write_text("{")
    os.chmod(tmp_path / "logs" / OLDER / "run.json", 0o600)
    assert "\n" not in hint(tmp_path, OLDER)


def test_the_names_of_runs_lead_back_to_them(tmp_path):
    write_run(tmp_path, OLDER)
    (run,) = list_runs(tmp_path)
    said = next_command._name(run)
    assert open_run(said, tmp_path / "elsewhere").folder == run.folder
