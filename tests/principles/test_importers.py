"""Importing published principle files: our own small copies of their shapes, and the real files
where they are.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.principles.constitution import load, to_yaml
from stages.principles.importers.__main__ import PLAIN, WITH_OPTIONS, main
from stages.principles.importers.published import (
    anthropic_cai,
    c3ai,
    model_spec,
    open_character,
    salmon,
)
from stages.principles.lint import lint

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


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xef\xbb\xbf\n"])
def test_an_empty_file_is_called_empty(tmp_path, capsys, content):
    file, full = tmp_path / "empty.csv", tmp_path / "full.csv"
    file.write_bytes(content)
    full.write_text("comment-id\n1\n")
    options = {"polis": ["--votes", str(full)], "rules": ["--rule", "rot"]}
    commands = [[name, str(file), *options.get(name, [])] for name in [*PLAIN, *WITH_OPTIONS]]
    commands.append(["polis", str(full), "--votes", str(file)])
    commands.append(["anthropic-cai", str(full), "--judging", str(file)])
    for command in commands:
        assert main([*command, "--out", str(tmp_path / "out.yaml")]) == 2
        assert "empty.csv: the file is empty\n" in capsys.readouterr().err, command


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
    out.write_text(to_yaml(made, "Imported."), encoding="utf-8")
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
    out.write_text(to_yaml(made, "Imported."), encoding="utf-8")
    assert load(out) == made


SPEC = """# Aims {#aims}

No authority here.

## Be kind {#be_kind authority=user tags=under_18}

The assistant is kind[^ab1], see [?](#aims) and [this](#aims):

- always.

It helps.

!!! meta "Commentary"
    We like that.

**Example**: a title

~~~xml
<developer>
Be rude &lt;now&gt;.
</developer>
<user>
Hi
</user>
<comparison>
<assistant> <!-- BAD[#aims]: rude -->
# Go
</assistant>
<assistant> <!-- GOOD -->
Hello!
</assistant>
<assistant> <!-- OK -->
Hm.
</assistant>
</comparison>
<user>
Bye
</user>
<comparison>
<assistant> <!-- GOOD -->
Bye!
</assistant>
</comparison>
~~~
"""


def test_a_section_of_the_model_spec(saved):
    made = model_spec(saved("s.md", SPEC))
    (kind,) = made.principles
    assert kind.text == 'Be kind. The assistant is kind, see "Aims" and this:\n- always.'
    assert (kind.id, kind.authority, kind.tags) == ("be-kind", "user", ("aims", "under-18"))
    assert kind.because == "It helps.\nWe like that."
    first, second = kind.examples
    assert first.request == "Developer: Be rude <now>.\nUser: Hi"
    assert (first.good, first.bad) == (("Hello!",), ("# Go",))
    assert second.request == f"{first.request}\nAssistant: Hello!\nUser: Bye"
    assert "1 responses marked OK" in made.source


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (SPEC, "# Notes\n", "s.md:1: the heading 'Notes' has no name"),
        (SPEC, "", "no section has an authority"),
        (" authority=user", "", "no section has an authority"),
        (
            "authority=user",
            "authority=usr",
            "s.md:5: there is no level of authority 'usr'. Did",
        ),
        ("{#be_kind", "{#aims", "s.md:5: the name 'aims' appears twice"),
        ("~~~xml", "", "s.md:27: the heading 'Go' has no name"),
        ("</comparison>\n~~~\n", "", "s.md:18: the file ends within an example"),
        ("<!-- OK -->", "", "s.md:32: a response in a comparison is marked neither"),
        ("<!-- OK -->", "<!-- FINE -->", "s.md:32: a response in a comparison is marked neither"),
        ("Bye!\n</assistant>\n", "", "s.md:40: .* belongs to no turn"),
        ("</comparison>\n<user>", "<user>", "s.md:35: a turn of the user stands within"),
        ("</comparison>\n<user>", "<comparison>\n<user>", "s.md:35: a comparison begins within"),
        ("Hi\n</user>\n", "Hi\n</user>\nstray\n", "s.md:25: 'stray' belongs to no turn"),
        (SPEC[SPEC.index("The assistant") : SPEC.index("**Ex")], "", "s.md:5: .* has no text"),
    ],
)
def test_a_wrong_or_partial_model_spec_ends_in_one_message(saved, old, new, message):
    assert old in SPEC
    with pytest.raises(UserError, match=message):
        model_spec(saved("s.md", SPEC.replace(old, new, 1)))


def test_traits_in_both_forms(saved):
    traits = [
        {"trait": "I am very very very very calm.", "questions": ["Fire!", "Hi"]},
        {"trait": "I am very very very very cold.", "questions": []},
    ]
    made = open_character(saved("t.txt", traits))
    calm, cold = made.principles
    assert [calm.id, cold.id] == ["i-am-very-very-very-very", "i-am-very-very-very-very-2"]
    assert (calm.text, calm.situations) == (traits[0]["trait"], ("Fire!", "Hi"))
    lines = [{**trait, "additional_questions": ["Hi", "Late"]} for trait in traits]
    text = "\n".join(json.dumps(line) for line in lines)
    more = open_character(saved("t.jsonl", text))
    assert more.principles[0].situations == ("Fire!", "Hi", "Late")
    with pytest.raises(UserError, match=r"t\.jsonl:2: not valid JSON"):
        open_character(saved("t.jsonl", text[:-9]))
    with pytest.raises(UserError, match=r"0\.questions: Field required"):
        open_character(saved("t.txt", [{"trait": "I joke."}]))
    with pytest.raises(UserError, match="there are no principles"):
        open_character(saved("t.txt", "[]"))


C3AI = (
    "id,source,item,statement,principle,name,positive vs negative framing,"
    "trait vs behavior framing\n"
    'HV1,A,"Be, well.",The assistant is well.,Choose the response that is well.,W,positive,trait\n'
)


def test_c3ai_columns(saved):
    (only,) = c3ai(saved("p.csv", C3AI)).principles
    assert (only.id, only.text) == ("hv1", "The assistant is well.")
    assert only.rewordings == ("Choose the response that is well.",)
    assert only.tags == ("positive", "trait")
    assert c3ai(saved("p.csv", "id,statement,principle\na,B.,C.\n")).principles[0].tags == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.csv:1: it has no column 'id'"),
        ("id,principle\na,b\n", "p.csv:1: it has no column 'statement'"),
        (C3AI + "HV2,A,x\n", "p.csv:3: the row has other columns"),
        (C3AI.replace('"', ""), "p.csv:2: the row has other columns than the 8"),
        (C3AI + 'HV2,"A\n', "p.csv:3: not valid CSV"),
        (C3AI + C3AI.splitlines()[1], "appears twice"),
    ],
)
def test_csv_files_of_another_shape_are_refused(saved, text, message):
    with pytest.raises(UserError, match=message):
        c3ai(saved("p.csv", text))


@needs_originals
def test_the_real_model_spec(tmp_path):
    """Counted by hand in the release of 2025-12-18; the irregular comparisons are among them."""
    made = model_spec(SHARED / "model_spec" / "model_spec.md")
    examples = [example for principle in made.principles for example in principle.examples]
    assert (len(made.principles), len(examples)) == (59, 189)
    assert sum(bool(principle.examples) for principle in made.principles) == 57
    levels = Counter(principle.authority for principle in made.principles)
    assert levels == {"root": 22, "guideline": 18, "user": 15, "system": 3, "developer": 1}
    sides = Counter((len(example.good), len(example.bad)) for example in examples)
    assert sides == {(1, 1): 123, (1, 2): 32, (1, 0): 28, (2, 1): 3, (1, 3): 2, (2, 0): 1}
    assert "8 responses marked OK" in made.source
    by_id = {principle.id: principle for principle in made.principles}
    assert by_id["prioritize-teen-safety"].tags == ("chatgpt-u18", "under-18")
    assert "[...]\n" in by_id["protect-privileged-information"].examples[1].request
    assert "<form" in by_id["support-programmatic-use"].examples[0].good[0]
    assert not [p.id for p in made.principles if "[^" in p.text or "[?]" in (p.because or "")]
    out = tmp_path / "spec.yaml"
    out.write_text(to_yaml(made, "Imported."), encoding="utf-8")
    assert load(out) == made
    assert "contradiction" not in {finding.rule for finding in lint(made)}


@needs_originals
def test_a_model_spec_that_breaks_off_is_never_read_in_part(saved):
    text = (SHARED / "model_spec" / "model_spec.md").read_text(encoding="utf-8")
    for cut in (text.index("</comparison>"), len(text) - 20):
        with pytest.raises(UserError, match=r"s.md:\d+: the file ends within an example"):
            model_spec(saved("s.md", text[:cut]))


@needs_originals
@pytest.mark.parametrize(
    ("name", "situations"), [("humor.txt", 5), ("sycophancy.txt", 5), ("few-shot-humor.jsonl", 50)]
)
def test_the_real_trait_files(name, situations):
    made = open_character(SHARED / "open_character" / name)
    assert [len(principle.situations) for principle in made.principles] == [situations] * 10
