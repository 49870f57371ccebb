"""Importing published principle files: our own small copies of their shapes, and the real files
where they are.
"""

import json
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.principles.importers import anthropic_cai, main, salmon, to_yaml

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_originals = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the originals (../shared/data) are not here"
)
CRITIQUES = {
    "harmful0": {
        "prompt": ["\n\nCritiqueRequest: Say what is cruel: {{ x }}.\n\nCritique:"],
        "edit_request": "\n\nRevisionRequest: Make it gentle.\n\nRevision:",
    },
    "harmful1": {
        "prompt": "\n\nCritiqueRequest: Say what is false.\n\nCritique:",
        "edit_request": "\n\nRevisionRequest: Make it true.\n\nRevision:",
    },
}
JUDGING = ["\nPick the gentler one. Options:", "\nPick the truer one. Options:"]
DIMENSIONS = [
    {
        "dimension": "Plain & Clear",
        "definition": "The AI is clear.",
        "negative_definition": "The AI is unclear.",
    },
    {"dimension": "Kind", "definition": "The AI is kind.", "weight": 5},
    {"dimension": "plain, clear", "definition": "The AI is clear again."},
]


@pytest.fixture
def saved(tmp_path):
    def save(name, data):
        path = tmp_path / name
        path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
        return path

    return save


def test_cai_framing_is_stripped_and_lists_are_paired_by_position(saved):
    made = anthropic_cai(saved("c.json", CRITIQUES), saved("j.json", JUDGING))
    first, second = made.principles
    assert (first.id, first.text) == ("harmful0", "Pick the gentler one.")
    assert (first.critique, first.revision) == ("Say what is cruel: {{ x }}.", "Make it gentle.")
    assert (second.critique, second.text) == ("Say what is false.", "Pick the truer one.")
    assert "no licence" in made.source


def test_cai_without_judging_takes_the_revision_request(saved):
    made = anthropic_cai(saved("c.json", CRITIQUES))
    assert [p.text for p in made.principles] == ["Make it gentle.", "Make it true."]


def test_salmon_keys_are_mapped(saved):
    made = salmon(saved("s.json", DIMENSIONS))
    assert [p.id for p in made.principles] == ["plain-clear", "kind", "plain-clear-3"]
    assert (made.principles[0].text, made.principles[0].opposite) == (
        "The AI is clear.",
        "The AI is unclear.",
    )
    assert [p.weight for p in made.principles] == [1, 5, 1]
    assert "CC BY-NC 4.0" in made.source


def test_the_written_file_loads_unchanged_and_is_never_overwritten(saved, tmp_path, capsys):
    source, out = saved("s.json", DIMENSIONS), tmp_path / "My Own.yaml"
    assert main(["salmon", str(source), "--out", str(out)]) == 0
    assert load(out) == salmon(source, "my-own")
    assert "source:" in out.read_text(encoding="utf-8")
    assert main(["salmon", str(source), "--out", str(out)]) == 2
    assert "already there" in capsys.readouterr().err
    critiques, judging = saved("c.json", CRITIQUES), saved("j.json", JUDGING)
    arguments = [
        "anthropic-cai",
        str(critiques),
        "--judging",
        str(judging),
        "--out",
        str(tmp_path / "cai.yaml"),
    ]
    assert main(arguments) == 0
    assert load(tmp_path / "cai.yaml") == anthropic_cai(critiques, judging, "cai")
    assert main(["salmon", str(source), "--out", str(tmp_path / "none" / "x.yaml")]) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "c.json:1: not valid JSON"),
        ("[" * 100_000, "nested too deep"),
        ([], "the top level: Input should be a valid dictionary"),
        ({}, "there are no principles"),
        ({"a": {"prompt": "x"}}, "a.edit_request: Field required"),
        (
            {"a": {"prompt": ["x", "y"], "edit_request": "z"}},
            "a.prompt: Input should be a valid string",
        ),
        ({"a": {"prompt": 5, "edit_request": "z"}}, "a.prompt: Input should be a valid string"),
        (
            {"a": {"prompt": "\n\nCritiqueRequest:\n\nCritique:", "edit_request": "z"}},
            "principles.0.critique: String should have at least 1 character",
        ),
        ({"a": {"prompt": "x\u0007y", "edit_request": "z"}}, "control character"),
    ],
)
def test_cai_files_of_another_shape_are_refused(saved, data, message):
    with pytest.raises(UserError, match=message):
        anthropic_cai(saved("c.json", data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "the top level: Input should be a valid list"),
        ([{"definition": "x"}], "0.dimension: Field required"),
        ([{"dimension": 5, "definition": "x"}], "0.dimension: Input should be a valid string"),
        ([{"dimension": "A", "definition": ""}], "principles.0.text"),
        ([{"dimension": "A", "definition": "x", "weight": 0}], "principles.0.weight"),
    ],
)
def test_salmon_files_of_another_shape_are_refused(saved, data, message):
    with pytest.raises(UserError, match=message):
        salmon(saved("s.json", data))


def test_lists_of_different_length_and_missing_files_are_refused(saved, tmp_path):
    with pytest.raises(UserError, match="1 judging instructions for 2 critique requests"):
        anthropic_cai(saved("c.json", CRITIQUES), saved("j.json", JUDGING[:1]))
    with pytest.raises(UserError, match="no such file"):
        salmon(tmp_path / "none.json")


@needs_originals
def test_the_real_cai_files(tmp_path):
    folder = SHARED / "anthropic_cai"
    critiques, judging = (
        folder / "CritiqueRevisionInstructions.json",
        folder / "RLMadisonInstructions.json",
    )
    made = anthropic_cai(critiques, judging)
    originals = json.loads(critiques.read_text(encoding="utf-8"))
    texts = json.loads(judging.read_text(encoding="utf-8"))
    assert [p.id for p in made.principles] == [f"harmful{i}" for i in range(16)]
    for principle, text in zip(made.principles, texts, strict=True):
        original = originals[principle.id]
        assert f"\n\nCritiqueRequest: {principle.critique}\n\nCritique:" == original["prompt"][0]
        assert f"\n\nRevisionRequest: {principle.revision}\n\nRevision:" == original["edit_request"]
        assert f"\n{principle.text} Options:" == text
    out = tmp_path / "cai.yaml"
    out.write_text(to_yaml(made), encoding="utf-8")
    assert load(out) == made


@needs_originals
@pytest.mark.parametrize(("name", "key"), [("rm", "opposite"), ("harmless", "weight")])
def test_the_real_salmon_files(tmp_path, name, key):
    file = SHARED / "salmon" / f"principle_collection_{name}.json"
    made = salmon(file)
    originals = json.loads(file.read_text(encoding="utf-8"))
    their_key = {"opposite": "negative_definition", "weight": "weight"}[key]
    for principle, original in zip(made.principles, originals, strict=True):
        assert (principle.text, getattr(principle, key)) == (
            original["definition"],
            original[their_key],
        )
    out = tmp_path / "salmon.yaml"
    out.write_text(to_yaml(made), encoding="utf-8")
    assert load(out) == made
