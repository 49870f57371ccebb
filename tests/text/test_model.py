"""Stage `model`: what identifies a model that another generator answers for."""

import pytest

from stages.guards.errors import UserError
from stages.text.model import STAGE, Config, check, identity
from tests.running import fake_model, run_steps

ENDPOINTS = ["http://127.0.0.1:9/v1"]


def served(path, endpoints=ENDPOINTS, revision=None, **options):
    return identity(Config(path, revision, "server", {"endpoints": endpoints} | options))


def test_a_model_of_the_runs_generator_is_its_content(tmp_path):
    folder = str(fake_model(tmp_path / "model"))
    plain = identity(Config(folder))
    assert set(plain) == {"path", "content"}
    assert identity(Config(folder, options={})) == plain
    assert identity(Config(folder, options={"dtype": "float32"})) == plain
    assert identity(Config(folder, options={"template_arguments": {}})) != plain


def test_a_generator_of_its_own_and_what_changes_its_answers_count(tmp_path):
    folder = str(fake_model(tmp_path / "model"))
    plain = served(folder)
    assert plain["content"] == identity(Config(folder))["content"] and plain["generator"] == {}
    assert served(folder, concurrency=3) == plain
    assert served(folder, extra={"reasoning_effort": "low"}) != plain
    assert served(folder, template_arguments={"level": 1}) != plain


def test_a_name_counts_with_its_addresses_and_its_revision():
    plain = served("some-judge")
    two = [*ENDPOINTS, "http://127.0.0.1:8/v1"]
    assert served("some-judge", two) == served("some-judge", two[::-1]) != plain
    assert served("some-judge", revision="2026-11") != plain
    assert served("another-judge") != plain


def test_a_hub_id_and_a_folder_count_wherever_they_are_served(tmp_path):
    elsewhere = ["http://127.0.0.1:8/v1"]
    for name in ("owner/name", str(fake_model(tmp_path / "model"))):
        assert served(name) == served(name, elsewhere)


def test_only_a_server_knows_a_name():
    with pytest.raises(UserError, match="no such model folder"):
        identity(Config("some-judge", generator="transformers"))
    with pytest.raises(UserError, match="no such model folder"):
        served("some-judge", serves="/models/other")


def test_options_are_checked_before_anything_runs():
    with pytest.raises(UserError, match=r"no generator is called 'severs'\. Did you mean 'server'"):
        check(Config("some-judge", generator="severs"))
    with pytest.raises(UserError, match=r"options\.endpoints: 'here' is not an address"):
        check(Config("some-judge", generator="server", options={"endpoints": ["here"]}))
    check(Config("some-judge", generator="server", options={"endpoints": ENDPOINTS}))


def test_what_points_at_a_served_model_says_who_answers(tmp_path):
    step = {"stage": "model", "path": "some-judge", "generator": "server"}
    step["options"] = {"endpoints": ENDPOINTS}
    base = {"stage": "model", "path": str(fake_model(tmp_path / "model"))}
    planned, _ = run_steps({"base": base, "judge": step}, tmp_path, only_plan=True)
    base_model, judge = (plan.artifact.model() for plan in planned)
    assert base_model.generator == "" and judge.generator.startswith("server-")
    assert judge.path == "some-judge"
    assert judge.content == STAGE.identity(planned[1].step.config)["content"]


def test_messages_of_a_plan_name_the_step(tmp_path):
    step = {"stage": "model", "path": "some-judge", "generator": "server"}
    step["options"] = {"endpoints": ["here"]}
    with pytest.raises(UserError) as error:
        run_steps({"judge": step}, tmp_path, only_plan=True)
    assert str(error.value).startswith("step 'judge': options.endpoints: 'here' is not an address")
