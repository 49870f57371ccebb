"""The manifest is typed and sealed; whatever is damaged counts as never made, and is made anew."""

import copy
import json
import os
import random
import shutil

import pytest

from stages.guards.errors import UserError
from stages.runtime.artifacts import Result, finish_artifact, look_up
from stages.runtime.manifest import MANIFEST, Table, fingerprint
from stages.runtime.rows import Dropped, Prompt
from tests.fuzz.artifacts import damage
from tests.running import run_steps, text_pipeline

ROWS = [
    Prompt(id=f"p{i}", messages=[{"role": "user", "content": f"request {i}"}], kind="k")
    for i in range(9)
]
PAYLOAD = {"stage": "prompts", "version": 1, "seed": 3, "options": {"n": 2}, "inputs": {}}
PRINT = fingerprint(PAYLOAD)
SECRET = "sekret-value-of-a-key"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A finished artifact with rows, dropped rows, a model's file and a page."""
    folder = tmp_path_factory.mktemp("sound") / f"step-{PRINT}"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").write_bytes(b"weights" * 50)
    (folder / "report.html").write_text("page")
    result = Result(
        rows=ROWS,
        row_type=Prompt,
        dropped=[Dropped(id="x", reason="why", detail="so"), Dropped(id="y", reason="else")],
        metrics={"share": 0.5, "curve": [1, None, float("nan")]},
        tables=[Table("Title", ["a", "b"], [["1", "2"]])],
    )
    facts = {"seconds": 1, "calls": {"sent": 3}, "versions": {"python": "3"}}
    return finish_artifact(folder, "step", PAYLOAD, result, facts).directory


def reseal(folder, **changes):
    """Write a manifest as versions did that sealed none."""
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["digest"], manifest["files"]
    (folder / MANIFEST).write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize("seed", range(60))
def test_damage_is_seen_when_planning(sound, tmp_path, seed):
    rng = random.Random(seed)
    folder = shutil.copytree(sound, tmp_path / sound.name)
    what = damage(folder, rng)
    artifact, fault = look_up(tmp_path, "step", PRINT)
    if artifact is None:
        assert fault or not os.path.lexists(folder / MANIFEST), what
        assert "\n" not in fault and len(fault) < 400, what
    else:  # harmless
        assert (artifact.rows(), len(artifact.dropped())) == (ROWS, 2), what
        assert artifact.manifest.rows == 9 and artifact.manifest.tables[0].columns == ["a", "b"]


@pytest.mark.parametrize("name", ["rows.parquet", "dropped.parquet", "report.html", "model"])
def test_a_missing_part_is_named(sound, tmp_path, name):
    path = shutil.copytree(sound, tmp_path / sound.name) / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    artifact, fault = look_up(tmp_path, "step", PRINT)
    assert artifact is None and name in fault and "missing" in fault


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": -1},
        {"rows": 9.5},
        {"rows": 10},
        {"rows": None},
        {"rows": 10**30},
        {"dropped": {"why": 3}},
        {"dropped": {"why": -1, "else": 3}},
        {"fingerprint": "00000000"},
        {"step": "../other"},
        {"payload": PAYLOAD | {"seed": 4}},
        {"payload": {"options": "x"}},
        {"seconds": float("nan")},
        {"seconds": -1.0},
        {"calls": {"sent": "3"}},
        {"tables": [{"title": "t", "columns": ["a"], "rows": [[1]]}]},
        {"metrics": []},
        {"versions": {"python": 3}},
    ],
    ids=str,
)
def test_a_manifest_without_seal_is_typed(sound, tmp_path, changes):
    folder = shutil.copytree(sound, tmp_path / sound.name)
    reseal(folder)
    old, _ = look_up(tmp_path, "step", PRINT)
    assert old and old.rows() == ROWS, "as earlier versions wrote it"
    reseal_again = json.loads((folder / MANIFEST).read_text()) | changes
    (folder / MANIFEST).write_text(json.dumps(reseal_again))
    artifact, fault = look_up(tmp_path, "step", PRINT)
    assert (artifact is None and "damaged" in fault) or "another artifact's" in fault


def test_an_edited_number_breaks_the_seal(sound, tmp_path):
    path = shutil.copytree(sound, tmp_path / sound.name) / MANIFEST
    path.write_text(path.read_text().replace('"share": 0.5', '"share": 0.7'))
    assert "changed after it was written" in look_up(tmp_path, "step", PRINT)[1]


def test_a_swapped_artifact_is_not_accepted(sound, tmp_path):
    shutil.copytree(sound, tmp_path / f"step-{'0' * 8}")
    shutil.copytree(sound, tmp_path / f"other-{PRINT}")
    for step, print_ in (("step", "0" * 8), ("other", PRINT)):
        assert look_up(tmp_path, step, print_) == (None, "manifest.json is another artifact's")


def edit(path, way):
    """Harm one file of an artifact."""
    if way == "gone":
        path.unlink()
    elif way == "truncated":
        path.write_bytes(path.read_bytes()[:-9])
    elif way == "flipped":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif way == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.unlink()
        os.mkfifo(path)


@pytest.mark.parametrize("name", ["rows.parquet", MANIFEST])
@pytest.mark.parametrize("way", ["gone", "truncated", "flipped", "folder", "pipe"])
def test_a_damaged_step_is_made_anew_and_the_plan_says_so(tmp_path, name, way):
    steps = text_pipeline(tmp_path, prompts=2, rounds=1)
    steps = {key: steps[key] for key in ("base", "requests", "answers")}
    _, before = run_steps(copy.deepcopy(steps), tmp_path)
    folder = before["answers"].directory
    edit(folder / name, way)
    if way == "flipped":
        (folder / "rows.parquet").touch()  # a copy has other times
    planned, after = run_steps(steps, tmp_path)
    reason = {plan.step.name: plan.reason for plan in planned if not plan.artifact}["answers"]
    never = name == MANIFEST and way == "gone"
    assert reason == "never run" if never else f"{name} is damaged" in reason
    assert never or reason.endswith("; made anew")
    assert after["answers"].rows() == before["answers"].rows()
    assert after["answers"].manifest.calls.sent == 0, "answered by the store"
    aside = folder.parent / ".damaged" / folder.name
    assert aside.is_dir() != never, "set aside, not lost"


def test_rows_are_compared_again_when_they_are_read(sound, tmp_path):
    folder = shutil.copytree(sound, tmp_path / sound.name)
    artifact, _ = look_up(tmp_path, "step", PRINT)
    edit(folder / "rows.parquet", "flipped")
    with pytest.raises(UserError, match=rf"(?s)rows.parquet is damaged.*delete {folder} and run"):
        artifact.rows()


def test_no_secret_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    payload = PAYLOAD | {"options": {"extra": {"api_key": SECRET}, "url": f"http://u:{SECRET}@h"}}
    folder = tmp_path / f"step-{fingerprint(payload)}"
    folder.mkdir()
    result = Result(
        rows=[],
        dropped=[Dropped(id="x", reason=f"401 for {SECRET}", detail=f"key={SECRET}!")],
        metrics={"note": SECRET, "nested": [{"token": "other-secret"}]},
        tables=[Table(SECRET, ["a"], [[SECRET]])],
    )
    made = finish_artifact(folder, "step", payload, result, {"versions": {"x": SECRET}})
    for path in folder.rglob("*"):
        assert SECRET.encode() not in path.read_bytes(), path.name
    assert b"other-secret" not in (folder / MANIFEST).read_bytes()
    assert made.dropped()[0].detail == "key=***!"
    found, fault = look_up(tmp_path, "step", fingerprint(payload))
    assert found == made and not fault, "and it is reused"


def test_half_a_character_is_written_as_a_whole_one(tmp_path):
    folder = tmp_path / f"step-{PRINT}"
    folder.mkdir()
    result = Result(metrics={"text": "\ud83d"}, dropped=[Dropped(id="x", reason="\ude00")])
    finish_artifact(folder, "step", PAYLOAD, result, {})
    artifact, _ = look_up(tmp_path, "step", PRINT)
    assert artifact.metrics == {"text": "\ufffd"}
    assert [row.reason for row in artifact.dropped()] == list(artifact.manifest.dropped)
