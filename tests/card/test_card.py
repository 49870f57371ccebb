"""A published policy: what its folder holds, and that a planted change anywhere is found."""

import json
from dataclasses import replace

import pytest
import yaml

from stages.card import __main__ as command
from stages.card.checks import compare
from stages.card.record import RECORD, as_text, list_published, read_record
from stages.runtime.artifacts import Artifact
from stages.runtime.calls import Engines
from stages.runtime.models import find_model
from stages.runtime.row_files import write_rows
from stages.runtime.rows import Response
from tests.card.scripted_run import (
    BAD,
    edit_manifest,
    open_speaker,
    other_weights,
    write_run,
)
from tests.runs_on_disk import NEWER


@pytest.fixture
def root(tmp_path):
    write_run(tmp_path / "runs")
    return tmp_path / "runs"


def publish(root, out, *more) -> None:
    run = str(root / "logs" / NEWER)
    assert command.main([run, "--out", str(out), "--license", "apache-2.0", *more]) == 0


@pytest.fixture
def folder(root, tmp_path):
    publish(root, tmp_path / "card")
    return tmp_path / "card"


def verify(capsys, folder, root=None, *more):
    """The exit code, and by state what was checked."""
    capsys.readouterr()
    run = ["--run", str(root / "logs" / NEWER)] if root else []
    code = command.main(["verify", str(folder), *run, *more])
    lines = {}
    for line in capsys.readouterr().out.replace("\n            ", " ").splitlines()[:-1]:
        state = next(s for s in ("agrees", "differs", "not checked") if line.startswith(s))
        what = line.removeprefix(state).strip().partition(":")[0]
        lines.setdefault(state, []).append(what)
    return code, lines


def reseal(folder, edit=lambda record: None) -> None:
    """Change a record as a forger would, with the hashes of the files and the digest that fit."""
    record = read_record(folder)
    edit(record)
    record["files"] = list_published(folder)
    (folder / RECORD).write_text(as_text(record))


def rewrite(folder, old, new) -> None:
    text = folder.read_text()
    assert old in text
    folder.write_text(text.replace(old, new))


def test_the_folder_is_ready_to_upload(folder, root, capsys):
    names = ["README.md", "config.json", "constitution.yaml", RECORD, "model.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    record = read_record(folder)
    assert record["policy"]["step"] == "policy" and record["run"]["commit"] == "0123abc"
    assert record["data"] == [
        {
            "step": "requests",
            "source": str(root / "files" / "requests.jsonl"),
            "license": "unknown",
        },
        {
            "step": "held_out",
            "source": str(root / "files" / "held_out.jsonl"),
            "license": "cc-by-4.0",
        },
    ]
    (violations,) = [
        effect
        for effect in record["effects"]
        if effect["measure"] == "any_violation" and "against" not in effect
    ]
    rows = (root / "artifacts").glob("policy_answers-*/rows.parquet")
    import pandas

    poisoned = pandas.read_parquet(next(rows))["response"].str.contains("poison").mean()
    assert violations["value"] == pytest.approx(poisoned) and violations["n"] == 24
    front = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert front["license"] == "apache-2.0" and "constitution" in front["tags"]
    (model,) = front["model-index"]
    metrics = {one["type"]: one for one in model["results"][0]["metrics"]}
    assert metrics["any_violation"]["value"] == pytest.approx(poisoned)
    assert metrics["any_violation"]["args"]["n"] == 24
    code, lines = verify(capsys, folder)
    assert code == 0 and lines["not checked"] == ["artifacts and numbers"]
    code, lines = verify(capsys, folder, root)
    assert code == 0 and "differs" not in lines
    assert lines["not checked"] == ["recomputed policy"]
    assert {"recomputed evaluation", "identity of policy"} <= {*lines["agrees"]}


def test_evidence_is_enough_to_compute_the_numbers_again(root, tmp_path, capsys):
    publish(root, tmp_path / "card", "--evidence")
    (root / "logs").rename(tmp_path / "gone")
    (root / "artifacts").rename(tmp_path / "gone too")
    (root / "calls.sqlite").unlink()
    code, lines = verify(capsys, tmp_path / "card")
    assert code == 0 and lines["not checked"] == ["recomputed policy"]
    assert {"recomputed evaluation", "recomputed policy_answers"} <= {*lines["agrees"]}
    place = next((tmp_path / "card" / "evidence" / "artifacts").glob("evaluation-*"))
    edit_manifest(place, lambda plain: plain["metrics"].update(confidence=0.9))
    code, lines = verify(capsys, tmp_path / "card")
    assert code == 1 and "recomputed evaluation" in lines["differs"]


def test_another_weight_is_found(folder, root, capsys):
    other_weights(folder)
    code, lines = verify(capsys, folder)
    assert code == 1 and lines["differs"] == ["files of the folder", "model of step policy"]

    def forge(record):
        (step,) = [one for one in record["steps"] if one["name"] == "policy"]
        step["files"]["model/model.safetensors"] = list_published(folder)["model.safetensors"]
        record["policy"]["content"] = find_model(str(folder)).content

    reseal(folder, forge)
    assert verify(capsys, folder)[0] == 0  # it takes the artifacts to find this forger
    code, lines = verify(capsys, folder, root)
    assert code == 1 and lines["differs"] == ["artifact of policy"]


def test_another_number_is_found(folder, root, tmp_path, capsys):
    def forge(record):
        record["effects"][0]["value"] = 0.0

    rewrite(folder / RECORD, '"0123abc"', '"0123abd"')
    assert verify(capsys, folder)[1]["differs"] == [RECORD, "README.md"]
    rewrite(folder / RECORD, '"0123abd"', '"0123abc"')
    assert verify(capsys, folder)[0] == 0
    reseal(folder, forge)
    assert verify(capsys, folder)[1]["differs"] == ["effects", "README.md"]
    place = next((root / "artifacts").glob("evaluation-*"))

    def forge_manifest(plain):
        plain["metrics"]["policies"]["policy"]["measures"]["any_violation"]["value"] = 0.0

    edit_manifest(place, forge_manifest)
    publish(root, tmp_path / "forged")
    assert verify(capsys, tmp_path / "forged")[0] == 0
    code, lines = verify(capsys, tmp_path / "forged", root)
    assert code == 1 and lines["differs"] == ["recomputed evaluation"]


def test_another_page_is_found(folder, capsys):
    rewrite(folder / "README.md", "apache-2.0", "mit")
    assert verify(capsys, folder)[1]["differs"] == ["files of the folder", "README.md"]
    reseal(folder)
    assert verify(capsys, folder)[1]["differs"] == ["README.md"]
    (folder / "more.bin").write_bytes(b"pickle")
    assert "files of the folder" in verify(capsys, folder)[1]["differs"]


def test_another_row_is_found(folder, root, tmp_path, capsys):
    place = next((root / "artifacts").glob("policy_answers-*"))
    rows = Artifact("policy_answers", place).rows(Response)
    better = [replace(row, response="tea") for row in rows]
    assert better != rows
    write_rows(place / "rows.parquet", better, Response)
    code, lines = verify(capsys, folder, root)
    assert code == 1 and "artifact of policy_answers" in lines["differs"]
    edit_manifest(place, lambda plain: None)
    publish(root, tmp_path / "forged")
    code, lines = verify(capsys, tmp_path / "forged", root)
    assert code == 1
    assert lines["differs"] == ["recomputed policy_answers"]
    assert "recomputed evaluation" in lines["not checked"]  # nobody judged the forged answers


def test_another_constitution_is_found(folder, root, capsys):
    rewrite(root / "files" / "tiny.yaml", "does no harm", "harms nobody")
    code, lines = verify(capsys, folder, root)
    assert code == 1 and "identity of evaluation" in lines["differs"]
    rewrite(root / "files" / "tiny.yaml", "harms nobody", "does no harm")
    rewrite(folder / "constitution.yaml", "does no harm", "harms nobody")
    assert verify(capsys, folder)[1]["differs"] == ["files of the folder", "constitution"]

    def forge(record):
        record["constitution"]["sha256"] = list_published(folder)["constitution.yaml"]["sha256"]
        record["constitution"]["principles"]["harm"] = "The response harms nobody."

    reseal(folder, forge)
    assert "constitution" in verify(capsys, folder)[1]["differs"]


def test_what_was_edited_since_is_not_published(root, tmp_path, capsys):
    rewrite(root / "files" / "tiny.yaml", "does no harm", "harms nobody")
    run = str(root / "logs" / NEWER)
    assert command.main([run, "--out", str(tmp_path / "card")]) == 2
    assert "harm were edited since the run" in capsys.readouterr().err
    assert not (tmp_path / "card").exists()


def test_the_model_answers_again(folder, root, capsys, monkeypatch):
    """The same weights agree; a model that never wrote the recorded answers does not."""

    def engines_of(config, generator):
        return Engines("scripted", {}, opener=open_speaker)

    monkeypatch.setattr(command, "engines_of", engines_of)
    code, lines = verify(capsys, folder, root, "--model", "--requests", "20")
    assert code == 0 and "differs" not in lines
    assert {"answers to 20 requests, from scratch", "any_violation from scratch"} <= {
        *lines["agrees"]
    }
    other_weights(folder, BAD)
    code, lines = verify(capsys, folder, root, "--model", "--requests", "24")
    assert code == 1 and "any_violation from scratch" in lines["differs"]
    assert "well_formed from scratch" in lines["agrees"]


def test_mistakes_are_named(folder, root, tmp_path, capsys):
    assert command.main(["verify", str(root)]) == 2
    assert f"holds no {RECORD}" in capsys.readouterr().err
    run = str(root / "logs" / NEWER)
    assert command.main([run, "--out", str(folder)]) == 2
    assert "something already" in capsys.readouterr().err
    (folder / RECORD).write_text(json.dumps({"format": 99}))
    assert command.main(["verify", str(folder)]) == 2
    assert "format 1" in capsys.readouterr().err


def test_numbers_as_near_as_rounding_are_equal():
    assert compare({"a": [0.1, 1]}, {"a": [0.1 + 1e-12, 1.0]}) == []
    assert compare({"a": [0.1]}, {"a": [0.101]}) == ["a[0]: 0.1 recorded, 0.101 here"]
    assert compare({"a": 1, "b": None}, {"a": True}) == [
        "a: 1 recorded, True here",
        "b is gone",
    ]
