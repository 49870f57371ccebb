"""Config files with any content: one message that names the file, and never a long wait."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from stages.guards.errors import UserError
from stages.runtime.pipeline.config_files import MOST_BYTES, guard_config_files
from stages.runtime.pipeline.settings import as_user_error, check_settings, resolve


def read(folder, content):
    (folder / "config.yaml").write_bytes(content)
    GlobalHydra.instance().clear()
    guard_config_files()
    with initialize_config_dir(str(folder), version_base="1.3"):
        try:
            config = compose("config")
        except Exception as error:
            raise as_user_error(error) from None
    return resolve(config)


BOMB = "\n".join(
    ["x0: &x0 [a, a, a, a, a, a, a, a, a, a]"]
    + [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 10)]
)


@pytest.mark.parametrize(
    "content",
    [
        *("a: !!bool abc", "a: !!int ''", "a: !!float abc", "a: !!timestamp abc", "a: !!set {b}"),
        *("a: !!python/object:os.system x", "a: !!python/object/apply:os.system [id]", "a: *nope"),
        *('a: "\\U00110000"', "a: 1\na: 2", "a:\t1\n\tb: 2", "%YAML 9.9\n---\na: 1", "a: &a [*a]"),
        *("? [a, b]\n: 1", "null: 1", "a: ${b", "a: [", "a: b: c", "[" * 1200, "a: " + "[" * 1200),
        *("# @package a b = c\na: 1", BOMB, "a: " + "x" * MOST_BYTES, "a: &b\n  c: *b"),
        b"a: \xff",
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_what_cannot_be_read(tmp_path, content):
    with pytest.raises(UserError, match=r"config\.yaml(:\d+)?: "):
        read(tmp_path, content if isinstance(content, bytes) else content.encode())


def test_aliases_that_stand_for_little_are_read(tmp_path):
    assert read(tmp_path, b"a: &a {b: 1}\nc:\n  <<: *a\nd: [*a, '*']")["d"] == [{"b": 1}, "*"]


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("a: ${b}\nc: {d: ['${e.f}']}", ["the config, a: ", "the config, c.d[0]: "]),
        ("a: ${a}", ["the config, a: "]),
        ("a: ${b}\nb: ${a}", ["the config, a", "the config, b"]),
        ("a: {b: '${a}'}", ["the config, a"]),
        ("a: ${oc.env:UNSET_X}\nb: ${nope:1}", ["UNSET_X", "nope"]),
        ("a: ???\nb: {c: '???'}", ["a, b.c"]),
    ],
)
def test_every_value_that_refers_to_nothing_is_named(tmp_path, content, messages):
    with pytest.raises(UserError) as caught:
        read(tmp_path, content.encode())
    for message in messages:
        assert message in str(caught.value)


def test_settings_show_all_their_faults():
    with pytest.raises(UserError) as caught:
        check_settings(
            {"seed": "abc", "generator": {"name": "foo"}, "until": [""], "max_failed": 2}
        )
    for option in (
        "'seed'",
        "'max_failed'",
        "no generator is called 'foo'",
        "'pipeline' is missing",
    ):
        assert option in str(caught.value)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("pipeline: {steps: {a: {stage: model}}}", "(?s)lie under 'pipeline'.*@package _global_"),
        ("model: {sft: {learning_rate: 1}}", "key 'model' would lie under 'pipeline'"),
        ("stepz: {a: {stage: model}}", "no section 'stepz'. Did you mean 'steps'?"),
        ("step: {a: {stage: model}}", "no section 'step'. Did you mean 'steps'?"),
        ("Steps: {a: {stage: model}}", "no section 'Steps'. Did you mean 'steps'?"),
        ("last_step: {report: null}", "no section 'last_step'. Did you mean 'last_steps'?"),
        ("last-steps: {report: null}", "no section 'last-steps'. Did you mean 'last_steps'?"),
    ],
)
def test_a_pipeline_file_that_would_change_nothing(tmp_path, pipeline, message):
    content = f"pipeline:\n  steps: {{}}\n  {pipeline}"
    with pytest.raises(UserError, match=message):
        read(tmp_path, content.encode())


def test_a_pipeline_may_have_variables(tmp_path):
    variables = "tests: {a: b}\n  stages: {a: b}\n  files: {new: c}\n  data: d.csv\n  stops: [e]"
    content = f"pipeline:\n  steps: {{}}\n  last_steps: {{}}\n  {variables}"
    assert len(read(tmp_path, content.encode())["pipeline"]) == 7
