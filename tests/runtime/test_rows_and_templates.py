"""Rows on disk, templates, settings, models."""

from dataclasses import dataclass, field

import pytest

from stages.guards.errors import UserError
from stages.guards.templates import render
from stages.runtime import row_files
from stages.runtime.manifest import canonical, fingerprint
from stages.runtime.models import find_model
from stages.runtime.pipeline.plan import explain_difference
from stages.runtime.row_files import hash_rows, read_rows, write_rows
from stages.runtime.rows import Dropped, Pair, Prompt, Verdict, request_text
from stages.runtime.typed_config import identity_of, machine, parse_config
from tests.running import as_safetensors

USER = [{"role": "user", "content": "How do I {{ bake }} bread?"}]


def test_rows_round_trip_and_are_byte_equal(tmp_path):
    rows = [
        Verdict(
            id=f"v{i}",
            response_id="r",
            prompt_id="p",
            policy="base",
            kind="red_team",
            prompt=USER,
            response="No.",
            principles=["a", "b"],
            violated=[True, False],
            judged=[],
            any_violation=None,
            well_formed=True,
            on_topic=None,
            evasive=False,
            helpful=None,
        )
        for i in range(3)
    ]
    write_rows(tmp_path / "one.parquet", rows, Verdict)
    write_rows(tmp_path / "two.parquet", rows, Verdict)
    assert read_rows(tmp_path / "one.parquet", Verdict) == rows
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    with pytest.raises(UserError, match="holds Verdict rows where Prompt or Pair rows are needed"):
        read_rows(tmp_path / "one.parquet", Prompt, Pair)


def test_rows_of_several_batches_are_those_of_one(tmp_path, monkeypatch):
    texts = ["a", "b\ud83d", "", "d", "e"]
    rows = [Dropped(id=str(i), reason=text) for i, text in enumerate(texts)]
    write_rows(tmp_path / "one.parquet", rows, Dropped)
    monkeypatch.setattr(row_files, "BATCH", 2)
    write_rows(tmp_path / "three.parquet", rows, Dropped)
    hashes = {hash_rows(tmp_path / f"{name}.parquet") for name in ("one", "three")}
    assert len(hashes) == 1
    assert [row.reason for row in read_rows(tmp_path / "three.parquet")] == [
        *("a", "b\ufffd", "", "d", "e")
    ]
    write_rows(tmp_path / "none.parquet", [], Dropped)
    assert read_rows(tmp_path / "none.parquet", Dropped) == []


def test_request_text():
    assert request_text(USER) == USER[0]["content"]
    talk = [
        *USER,
        {"role": "assistant", "content": "Warm it."},
        {"role": "user", "content": "And then?"},
    ]
    assert request_text(talk).endswith("Assistant: Warm it.\nUser: And then?")


@pytest.mark.parametrize(
    "text", ["{{ ''.__class__ }}", "{% raw %}", "{# note #}", "100 % {{ 7*7 }}"]
)
def test_a_principle_is_never_template_source(text):
    prompt = render(
        "preferences/judging/judge.jinja",
        request="r",
        response_a="a",
        response_b="b",
        principle=text,
    )
    assert f"Principle: {text}" in prompt


def test_judge_puts_the_principle_last():
    prompt = render(
        "preferences/judging/judge.jinja",
        request="REQUEST",
        response_a="FIRST",
        response_b="SECOND",
        principle="PRINCIPLE",
    )
    places = [prompt.index(part) for part in ("REQUEST", "FIRST", "SECOND", "PRINCIPLE")]
    assert places == sorted(places)


def test_template_faults(tmp_path):
    with pytest.raises(UserError, match="no such template"):
        render("text/none.jinja")
    mine = tmp_path / "mine.jinja"
    mine.write_text("{{ request }} {{ answer }}")
    with pytest.raises(UserError, match="cannot be rendered"):
        render(str(mine), request="r")
    mine.write_text("{% if %}")
    with pytest.raises(UserError, match="does not parse"):
        render(str(mine), request="r")
    mine.write_text("{{ request.__class__.__mro__ }}")
    with pytest.raises(UserError, match="cannot be rendered"):
        render(str(mine), request="r")


@dataclass(frozen=True)
class Inner:
    temperature: float = 1.0


@dataclass(frozen=True)
class Options:
    rounds: int = 1
    batch_size: int = machine(8)
    sampling: Inner = field(default_factory=Inner)


def test_config_errors_name_the_option():
    with pytest.raises(UserError, match=r"unknown option 'round'\. Did you mean 'rounds'"):
        parse_config(Options, {"round": 2}, "step 'x'")
    with pytest.raises(UserError, match=r"sampling.temprature.*temperature"):
        parse_config(Options, {"sampling": {"temprature": 2}}, "step 'x'")
    with pytest.raises(UserError, match="rounds"):
        parse_config(Options, {"rounds": "many"}, "step 'x'")


def test_identity_leaves_machine_options_out():
    one = identity_of(parse_config(Options, {"batch_size": 1}, ""))
    two = identity_of(parse_config(Options, {"batch_size": 99}, ""))
    assert one == two == {"rounds": 1, "sampling": {"temperature": 1.0}}


def test_fingerprints_refuse_what_they_do_not_know():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    with pytest.raises(TypeError):
        canonical({"a": object()})
    with pytest.raises(ValueError):
        canonical({"a": float("nan")})


def test_a_miss_names_the_edited_principle():
    old = {"constitution": {"no-crime": {"text": "x"}, "kind": {"text": "y"}}, "n": 1}
    new = {"constitution": {"no-crime": {"text": "z"}, "fair": {"text": "w"}}, "n": 1}
    assert explain_difference(old, new) == [
        "constitution.fair is new",
        "constitution.kind is gone",
        "constitution.no-crime.text changed",
    ]


def test_model_paths(tmp_path):
    with pytest.raises(UserError, match="no such model folder"):
        find_model(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"no \*.safetensors"):
        find_model(str(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match="pickles only"):
        find_model(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(as_safetensors(b"weights"))
    first = find_model(str(tmp_path)).content
    (tmp_path / "trainer_log.json").write_text("{}")
    assert find_model(str(tmp_path)).content == first
    (tmp_path / "model.safetensors").write_bytes(as_safetensors(b"other weights"))
    assert find_model(str(tmp_path)).content != first
    assert find_model("Qwen/Qwen3-0.6B").content != find_model("Qwen/Qwen3-0.6B", "abc").content
