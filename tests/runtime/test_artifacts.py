"""Damaged artifacts: their files count as absent, or an error names what to delete."""

import io
import os

import pytest

from stages.guards import disk
from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.runtime import artifacts
from stages.runtime.artifacts import (
    Artifact,
    Result,
    finish_artifact,
    look_up,
)
from stages.runtime.manifest import Table, fingerprint
from stages.runtime.pipeline.display import show_tables
from stages.runtime.pipeline.plan import finished_artifacts
from stages.runtime.row_files import row_type_of
from stages.runtime.rows import Dropped, Prompt
from tests.running import run_steps, text_pipeline

ROWS = [
    Prompt(id=f"p{i}", messages=[{"role": "user", "content": f"request {i}"}], kind="k")
    for i in range(50)
]
PAYLOAD = {"stage": "prompts"}


def finished(root, result=None):
    folder = root / f"requests-{fingerprint(PAYLOAD)}"
    folder.mkdir(parents=True)
    return finish_artifact(
        folder, "requests", PAYLOAD, result or Result(rows=ROWS, row_type=Prompt), {}
    )


@pytest.mark.parametrize(
    "content", [b"", b"{", b"{}", b"[]", b"null", b"\xff\x00" * 9, b'{"fingerprint": "12345678"}']
)
def test_a_damaged_manifest_counts_as_absent(tmp_path, content):
    made = finished(tmp_path)
    assert (
        look_up(tmp_path, "requests", made.fingerprint)[0]
        == finished_artifacts(tmp_path, "requests")[0]
        == made
    )
    (made.directory / "manifest.json").write_bytes(content)
    assert look_up(tmp_path, "requests", made.fingerprint)[0] is None
    assert finished_artifacts(tmp_path, "requests") == []


def test_a_step_with_a_damaged_manifest_runs_again(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3)
    _, done = run_steps(steps, tmp_path)
    (done["pairs"].directory / "manifest.json").write_text("{}")
    planned, again = run_steps(steps, tmp_path)
    assert [p.step.name for p in planned if not p.artifact] == ["pairs"]
    assert again["pairs"].rows() == done["pairs"].rows()


@pytest.mark.parametrize("damage", ["truncated", "emptied", "overwritten", "gone"])
def test_damaged_rows_are_reported(tmp_path, damage):
    made = finished(tmp_path)
    path = made.directory / "rows.parquet"
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {
                "truncated": content[:-20],
                "emptied": b"",
                "overwritten": b"PAR1" + b"\xff" * 300 + content[304:],
            }[damage]
        )
    with pytest.raises(
        UserError, match=rf"(?s)rows.parquet is damaged.*delete {made.directory} and run again"
    ):
        made.rows(Prompt)
    if damage != "overwritten":
        with pytest.raises(UserError, match="is damaged"):
            row_type_of(path)


def test_missing_results_are_reported(tmp_path):
    made = finished(tmp_path, Result(metrics={}))
    with pytest.raises(UserError, match=r"(?s)holds no rows.*wire the `inputs`"):
        made.rows(Prompt)
    with pytest.raises(
        UserError, match=rf"(?s)holds no model.*delete {made.directory} and run again"
    ):
        made.model()


def test_the_manifest_reaches_the_disk_last(tmp_path, monkeypatch):
    flushed = []
    for module in (artifacts, disk):
        monkeypatch.setattr(
            module, "flush", lambda path: flushed.append((path.name, manifest.exists()))
        )
    folder = tmp_path / f"requests-{fingerprint(PAYLOAD)}"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    manifest = folder / "manifest.json"
    result = Result(rows=ROWS, row_type=Prompt, dropped=[Dropped(id="x", reason="why")])
    finish_artifact(folder, "requests", PAYLOAD, result, {})
    before = {name for name, there in flushed if not there}
    assert before >= {
        "rows.parquet",
        "dropped.parquet",
        "model",
        "model.safetensors",
        folder.name,
        tmp_path.name,
    }
    assert flushed[-1] == (folder.name, True)


def test_a_page_is_shown_where_it_lies_now(tmp_path):
    made = finished(
        tmp_path / "runs", Result(tables=[Table("Report", ["page", "n"], [["report.html", "3"]])])
    )
    (made.directory / "report.html").write_text("page")
    os.rename(tmp_path / "runs", tmp_path / "moved")
    moved = Artifact(made.step, tmp_path / "moved" / made.directory.name)
    console = open_console(file=io.StringIO(), width=500)
    show_tables([moved], console)
    assert str(moved.directory / "report.html") in console.file.getvalue()


def test_an_artifact_states_what_it_was_made_of(tmp_path):
    _, done = run_steps(text_pipeline(tmp_path, prompts=3), tmp_path, seed=5)
    pairs, judgements = done["pairs"], done["judgements"]
    assert (pairs.stage, pairs.seed) == ("judged_pairs", 5)
    assert pairs.config["orders"] == "agree" and set(pairs.config["constitution"]) > {"p0", "p15"}
    assert pairs.inputs == {"judgements": judgements.fingerprint}
    assert pairs.input_artifacts() == pairs.input_artifacts("judgements") == [judgements]
    assert pairs.input_artifacts("ratings") == []
    names = {artifact.step for artifact in judgements.input_artifacts()}
    assert names == {"answers", "base"}
    bare = finished(tmp_path / "bare")
    assert (bare.seed, bare.config, bare.inputs) == (None, {}, {})
