"""What is removed is what no kept run needs, and never what a process holds."""

import os
import threading
import time

import pytest

from stages.guards.locks import hold_lock, is_locked
from stages.runs.__main__ import main
from stages.runs.prune import PRUNING
from tests.runs_on_disk import NEWER, OLDER, record, write_run, write_status


def names(runs_dir) -> set[str]:
    return {path.name for path in (runs_dir / "artifacts").iterdir() if path.name[0] != "."}


def prune(runs_dir, *arguments) -> int:
    return main(["prune", "--runs-dir", str(runs_dir), *arguments])


@pytest.fixture
def two(tmp_path):
    """Two runs with artifacts of their own, and the names of those of each."""
    older = write_run(tmp_path, OLDER, seed=0)
    newer = write_run(tmp_path, NEWER, seed=1)
    by_run = [{one.directory.name for one in run.values()} for run in (older, newer)]
    return tmp_path, *by_run


def test_nothing_goes_that_a_run_names(two):
    runs_dir, older, newer = two
    assert prune(runs_dir, "--yes") == 0
    assert names(runs_dir) == older | newer


def test_a_dry_run_comes_first(two, capsys):
    runs_dir, older, newer = two
    assert prune(runs_dir, "--keep", "bbb222") == 0
    shown = capsys.readouterr().out
    assert "Nothing was removed" in shown and all(name in shown for name in older - newer)
    assert names(runs_dir) == older | newer
    assert prune(runs_dir, "--keep", "bbb222", "--yes") == 0
    assert names(runs_dir) == newer
    assert f"{len(older - newer)} artifacts were removed" in capsys.readouterr().out


@pytest.mark.parametrize("choice", [["--keep-last", "1"], ["--labelled"]])
def test_other_ways_to_choose(two, choice):
    runs_dir, _, newer = two
    assert main(["label", "bbb222", "mine", "--runs-dir", str(runs_dir)]) == 0
    assert prune(runs_dir, *choice, "--yes") == 0
    assert names(runs_dir) == newer


def test_what_needed_artifacts_were_made_from_stays(two):
    """Also where the run's record names only its last step."""
    runs_dir, older, newer = two
    (runs_dir / "logs" / OLDER / "run.json").unlink()
    (answers,) = [name for name in older if name.startswith("answers")]
    path = runs_dir / "artifacts" / answers
    record(runs_dir / "logs" / "only-answers", {}, steps={"answers": {"artifact": str(path)}})
    assert prune(runs_dir, "--yes") == 0
    assert names(runs_dir) == older | newer


def test_a_model_that_a_config_names_by_its_folder_stays(two):
    runs_dir, older, newer = two
    (runs_dir / "logs" / OLDER / "run.json").unlink()
    (requests,) = [name for name in older if name.startswith("requests")]
    config = {"model": {"path": f"{runs_dir}/artifacts/{requests}/model"}}
    record(runs_dir / "logs" / "of-a-model", {}, config=config)
    assert prune(runs_dir, "--yes") == 0
    assert names(runs_dir) == newer | {requests} | (older & newer)


def test_unfinished_and_damaged_folders_go_unless_a_killed_run_goes_on_with_them(two):
    runs_dir, older, newer = two
    root = runs_dir / "artifacts"
    for name in ("sft-00000001", "sft-00000002", ".damaged/sft-00000003"):
        (root / name / "checkpoints").mkdir(parents=True)
        (root / name / "checkpoints" / "w").write_bytes(b"x" * 9000)
    write_status(runs_dir / "logs" / "killed", artifacts=["sft-00000002"])
    assert prune(runs_dir, "--yes") == 0
    assert names(runs_dir) == older | newer | {"sft-00000002"}
    assert not list((root / ".damaged").iterdir())


def test_what_a_process_holds_stays(two, capsys):
    """The lock of an artifact, the plan of a run, and what a run's step could take over."""
    runs_dir, older, newer = two
    for name in (OLDER, NEWER):
        (runs_dir / "logs" / name / "run.json").unlink()
    root = runs_dir / "artifacts"
    (answers, *_), (requests, *_) = (
        sorted(name for name in older | newer if name.startswith(step))
        for step in ("answers", "requests")
    )
    running = runs_dir / "logs" / "running"
    write_status(running, artifacts=["requests-ffffffff"])
    with hold_lock(running / "status.lock"), hold_lock(root / ".locks" / answers):
        assert prune(runs_dir, "--yes") == 0
    left = names(runs_dir)
    assert answers in left and requests in left
    assert not any(name.startswith("base") for name in left)
    assert sum(name.startswith("answers") for name in left) == 1
    assert f"stays  {answers}" in capsys.readouterr().out


def test_a_pruning_waits_for_runs_that_plan(two, capsys):
    """A run that plans relies on what it sees; its status names it before the lock is let go."""
    runs_dir, older, newer = two
    answers = sorted(name for name in older if name.startswith("answers"))[0]
    root = runs_dir / "artifacts"
    running = runs_dir / "logs" / "running"
    thread = threading.Thread(target=prune, args=(runs_dir, "--keep", "bbb222", "--yes"))
    with hold_lock(running / "status.lock"):
        with hold_lock(root / PRUNING, shared=True), hold_lock(root / PRUNING, shared=True):
            thread.start()
            time.sleep(0.3)
            assert names(runs_dir) == older | newer
            write_status(running, artifacts=[answers])
        thread.join(120)
        assert answers in names(runs_dir)
    assert "waiting for process" in capsys.readouterr().out


def test_bytes_of_files_with_two_names_are_freed_with_the_last_one(two, capsys):
    runs_dir, _older, _newer = two
    root = runs_dir / "artifacts"
    for name in ("policy-00000001", "policy-00000002"):
        (root / name).mkdir()
    weights = root / "policy-00000001" / "w"
    weights.write_bytes(os.urandom(3_000_000))
    os.link(weights, root / "policy-00000002" / "w")
    assert prune(runs_dir) == 0
    shown = capsys.readouterr().out
    assert "2 artifacts, 3.0 MB" in shown
    os.link(weights, runs_dir / "a-name-elsewhere")
    assert prune(runs_dir) == 0
    assert "2 artifacts, 0 B" in capsys.readouterr().out


def test_a_lock_is_seen_only_while_it_is_held(tmp_path):
    file = tmp_path / "lock"
    assert not is_locked(file)
    with hold_lock(file):
        assert is_locked(file)
    assert not is_locked(file)


def test_fewer_than_one_run_cannot_be_kept(two):
    runs_dir, older, newer = two
    for count in ("0", "-1"):
        with pytest.raises(SystemExit):
            prune(runs_dir, f"--keep-last={count}", "--yes")
    assert names(runs_dir) == older | newer
