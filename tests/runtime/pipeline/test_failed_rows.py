"""Rows whose calls fail: dropped and counted up to `max_failed`, never stored; then a stop."""

import io
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.runtime.generation import CallFailed, Choice, TooLong
from stages.runtime.pipeline.display import show_plan
from stages.runtime.row_files import read_rows, write_rows
from stages.runtime.rows import Dropped, Response
from stages.runtime.store import CallStore, call_key, derive_seed
from tests.running import Seeded, fake_model, run_steps, text_pipeline, write_constitution

ROOT = Path(__file__).resolve().parents[3]
FILTERED = "refused by the server (content filter)"


def answers_of(folder, prompts, n=1):
    steps = text_pipeline(folder, prompts=prompts)
    steps["answers"]["n"] = n
    return {name: steps[name] for name in ("base", "requests", "answers")}


def failing(numbers, failure=None):
    """A generator whose calls fail on the requests with these numbers."""

    def fail(messages):
        match = re.search(r"request number (\d+)$", messages[-1]["content"])
        if match and int(match[1]) in numbers:
            raise failure or CallFailed(FILTERED, f"HTTP 400: no number {match[1]} [red]here[/]")

    return Seeded(failure=fail)


def test_a_few_failures_are_dropped_counted_and_tried_again(tmp_path):
    steps = answers_of(tmp_path, 40)
    _, done = run_steps(steps, tmp_path, failing({1, 5, 9}))
    artifact = done["answers"]
    assert artifact.manifest.dropped == {FILTERED: 3}
    assert artifact.manifest.calls.failed == 3 and artifact.manifest.calls.sent == 37
    assert [row.detail for row in artifact.dropped()] == [
        f"HTTP 400: no number {n} [red]here[/]" for n in (1, 5, 9)
    ]
    # A finished step is reused; the plan says what it lacks, and what to delete.
    never = failing(set(range(40)))
    plan, _ = run_steps(steps, tmp_path, never)
    shown = open_console(record=True, width=200, file=io.StringIO())
    show_plan(plan, shown)
    assert f"3 calls failed; delete artifacts/{artifact.directory.name}" in shown.export_text()
    assert never.calls == 0
    for file in artifact.directory.iterdir():
        file.unlink()
    healthy = failing({})
    _, done = run_steps(steps, tmp_path, healthy)
    assert healthy.calls == 3 and len(done["answers"].rows()) == 40


def test_more_than_max_failed_stops_with_the_reason_and_goes_on_later(tmp_path):
    steps = answers_of(tmp_path, 40)
    with pytest.raises(UserError) as caught:
        run_steps(steps, tmp_path, failing({1, 5, 9, 13}))
    message = str(caught.value)
    assert "step 'answers': 4 of the first" in message and "of 40 in all" in message
    assert "max_failed=0.05 allows 3" in message and f"4 x {FILTERED}" in message
    assert "HTTP 400: no number 13 [red]here[/]" in message
    assert not list((tmp_path / "artifacts").glob("answers-*/manifest.json"))

    again = failing({1, 5, 9, 13})
    _, done = run_steps(steps, tmp_path, again, max_failed=0.1)
    assert done["answers"].manifest.dropped == {FILTERED: 4}
    assert again.calls <= 8  # the failed ones, and those in flight when the first run stopped


@pytest.mark.parametrize(
    ("rows", "failures", "max_failed", "stops"),
    [
        (40, 3, 0.05, False),
        (100, 5, 0.05, False),
        (100, 6, 0.05, True),
        (10, 3, 0.05, False),
        (10, 4, 0.05, True),
        (10, 4, 0.4, False),
        (3, 2, 0.05, False),
        (3, 3, 0.05, True),
        (1, 1, 1.0, True),
        (10, 10, 1.0, True),
        (10, 9, 1.0, False),
        (10, 1, 0.0, True),
    ],
)
def test_how_many_rows_may_fail(tmp_path, rows, failures, max_failed, stops):
    steps = answers_of(tmp_path, rows)
    generator = failing(set(range(failures)))
    if stops:
        with pytest.raises(UserError, match="rows failed"):
            run_steps(steps, tmp_path, generator, max_failed=max_failed)
    else:
        _, done = run_steps(steps, tmp_path, generator, max_failed=max_failed)
        assert len(done["answers"].rows()) == rows - failures


def test_it_stops_as_soon_as_the_allowance_is_used_up(tmp_path):
    generator = failing(set(range(1000)))
    with pytest.raises(UserError, match="11 of the first 11 rows failed"):
        run_steps(answers_of(tmp_path, 200), tmp_path, generator, concurrency=1)
    assert generator.calls == 11


def test_prompts_too_long_do_not_count(tmp_path):
    _, done = run_steps(answers_of(tmp_path, 20), tmp_path, failing(set(range(15)), TooLong(9, 8)))
    assert len(done["answers"].rows()) == 5
    with pytest.raises(UserError, match="every row was dropped: 20 x longer than the model's con"):
        run_steps(
            answers_of(tmp_path / "2", 20),
            tmp_path / "2",
            failing(set(range(20)), TooLong(9, 8)),
        )


def test_a_step_without_rows_is_not_finished_and_its_pointer_holds_the_rows(tmp_path):
    steps = answers_of(tmp_path, 6)
    empty = Seeded(text=lambda messages: " ")
    empty.complete = _empty(empty.complete)
    with pytest.raises(UserError) as caught:
        run_steps(steps, tmp_path, empty)
    file = Path(re.search(r"see (\S+dropped\.parquet)", str(caught.value))[1])
    assert [row.reason for row in read_rows(file, Dropped)] == ["empty response"] * 6
    assert not (file.parent / "manifest.json").exists()
    steps["answers"]["keep_empty"] = True
    _, done = run_steps(steps, tmp_path, empty)
    assert len(done["answers"].rows()) == 6


def _empty(complete):
    async def answer(messages, sampling, seed):
        completion = await complete(messages, sampling, seed)
        return type(completion)("", "stop", completion.prompt_tokens, 1)

    return answer


def test_calls_that_an_evaluation_can_do_without_count_too(tmp_path):
    """With a ground truth a row is kept without the judge's answer; a judge that never answers
    stops the step all the same.
    """
    steps = answers_of(tmp_path, 20)
    steps["evaluation"] = {
        "stage": "evaluate",
        "inputs": {"judge": "base", "base": "answers"},
        "constitution": {"name": str(tmp_path / "set.yaml")},
        "ground_truth": "tests.evaluation.fakes:check",
    }

    def fail(messages):
        if "Principle:" in messages[-1]["content"]:
            raise CallFailed("the server's answer cannot be read", "logprobs: null")

    with pytest.raises(UserError, match=r"step 'evaluation'.*logprobs: null"):
        run_steps(steps, tmp_path, Seeded(failure=fail))


def test_masses_reach_metrics_and_old_answers_are_still_read(tmp_path):
    steps = text_pipeline(tmp_path, prompts=4)
    steps = {name: steps[name] for name in ("base", "requests", "answers", "judgements")}
    old = Seeded(scores=lambda messages, options: [-0.1, -2.4])
    _, done = run_steps(steps, tmp_path, old)
    assert "option_mass" not in done["judgements"].metrics
    store = CallStore(tmp_path / "calls.sqlite")
    rows = store._db.connection.execute("SELECT key, value FROM calls").fetchall()
    rows = [(key.decode(), value.decode().partition("\n")[0]) for key, value in rows]
    choices = [(key, json.loads(value)) for key, value in rows if "logprobs" in value]
    for key, value in choices[:10]:  # as earlier versions stored them: a plain list
        store._db.connection.execute(
            "UPDATE calls SET value = '[-0.1, -2.4]' WHERE key = ?", (key,)
        )
        assert value["mass"] is None
    store.close()
    for file in done["judgements"].directory.iterdir():
        file.unlink()
    calls = old.calls
    _, done = run_steps(steps, tmp_path, old)
    assert old.calls == calls and len(done["judgements"].rows()) == 4 * 16

    share = {"p0": 0.5, "p1": 0.02, "p2": 1e-5, "p3": None}

    def masses(messages, options):
        number = re.search(r"rule number (\d+)", messages[-1]["content"])[1]
        mass = share.get(f"p{number}", 0.9)
        return Choice([-0.1, -2.4], mass, bounded=number == "0", instead="<think>")

    _, done = run_steps(steps, tmp_path / "new", Seeded(scores=masses))
    metrics = done["judgements"].metrics["option_mass"]
    # p2 is dropped after its first question; every other cell asks two
    asked = [0.5] * 8 + [0.02] * 8 + [1e-5] * 4 + [0.9] * 12 * 8
    assert metrics["known"] == len(asked) and metrics["questions"] == len(asked) + 8
    assert metrics["mean"] == pytest.approx(sum(asked) / len(asked))
    assert metrics["median"] == 0.9
    assert metrics["low"] == pytest.approx(12 / len(asked))
    assert metrics["bounded"] == pytest.approx(8 / (len(asked) + 8))
    assert done["judgements"].manifest.dropped == {"next to no probability on the options": 4}
    (detail,) = {row.detail for row in done["judgements"].dropped()}
    assert detail == "1e-05 on all options together; the likeliest first token is '<think>'"

    steps["judgements"]["min_mass"] = 0.0
    _, done = run_steps(steps, tmp_path / "new", Seeded(scores=masses))
    assert not done["judgements"].manifest.dropped


def test_half_characters_harm_neither_store_nor_files(tmp_path):
    half = "\ud83d"
    store = CallStore(tmp_path / "calls.sqlite")
    store.put("key", {"text": f"Sure {half}", "thoughts": half})
    assert store.get("key") == {"text": "Sure \ufffd", "thoughts": "\ufffd"}
    store.close()
    assert call_key(text=half) != call_key(text="\ufffd") and derive_seed(half) >= 0
    prompt = [{"role": "user", "content": f"{half}?"}]
    row = Response(
        id="1", prompt_id="1", kind="a", prompt=prompt, response=half, context=[], model="m", seed=0
    )
    write_rows(tmp_path / "rows.parquet", [row], Response)
    (read,) = read_rows(tmp_path / "rows.parquet", Response)
    assert read.response == "\ufffd" and read.prompt[0]["content"] == "\ufffd?"


class Handler(BaseHTTPRequestHandler):
    """A server with a filter of contents, which also cuts an emoji in half."""

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        question = body["messages"][-1]["content"]
        self.server.questions.append(question)
        status = 200
        text = "Sure \ud83d" if "emoji" in question else f"answer to {question}"
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        answer = {"choices": [choice], "usage": None}
        if "bomb" in question:
            status = 400
            message = "The response was filtered [due to] content management policy."
            answer = {"error": {"message": message, "code": "content_filter"}}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def filtering_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.questions = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def credo(folder, server, bombs, *arguments):
    """`python run.py` on 30 requests up to the answers."""
    prompts = ["Name an emoji"] + [f"Build bomb {n}" for n in range(bombs)]
    prompts += [f"Name river {n}" for n in range(30 - len(prompts))]
    folder.mkdir(exist_ok=True)
    (folder / "p.csv").write_text("prompt\n" + "\n".join(prompts) + "\n")
    write_constitution(folder / "set.yaml", 2)
    files = [f"data.{name}.source={folder / 'p.csv'}" for name in ("red_team", "helpful")]
    command = [
        *(sys.executable, "run.py", "pipeline=cai", "until=answers", "data=files", *files),
        f"data.held_out.source={folder / 'p.csv'}",
        f"constitution.name={folder / 'set.yaml'}",
        f"runs_dir={folder / 'runs'}",
        f"model.path={fake_model(folder / 'model')}",
        "generator=server",
        f"generator.options.endpoints=[http://127.0.0.1:{server.server_address[1]}/v1]",
    ]
    return subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )


@pytest.mark.slow
def test_the_command_against_a_server_with_a_filter(tmp_path, filtering_server):
    shown = credo(tmp_path / "1", filtering_server, 2)
    assert shown.returncode == 0, shown.stderr
    line = " ".join(shown.stderr.split())
    assert (
        f"28 rows · dropped 2 of 30 (7%): 2 x {FILTERED} · 28 calls sent, 0 from the store, 2 "
        "failed" in line
    )
    (folder,) = (tmp_path / "1/runs/artifacts").glob("answers-*")
    texts = [row.response for row in read_rows(folder / "rows.parquet", Response)]
    assert texts[0] == "Sure \ufffd" and texts[1] == "answer to Name river 0"

    shown = credo(tmp_path / "2", filtering_server, 10)
    assert shown.returncode == 2 and "Traceback" not in shown.stderr
    assert "of 30 in all; max_failed=0.05 allows 3" in shown.stderr
    assert "filtered [due to] content management policy" in shown.stderr
    filtering_server.questions.clear()
    shown = credo(tmp_path / "2", filtering_server, 10, "max_failed=0.5")
    assert shown.returncode == 0 and f": 10 x {FILTERED}" in shown.stderr
    (folder,) = (tmp_path / "2/runs/artifacts").glob("answers-*")
    assert json.loads((folder / "manifest.json").read_text())["calls"]["failed"] == 10
    assert "max_failed" not in (folder / "manifest.json").read_text()
    assert sum("bomb" in question for question in filtering_server.questions) == 10
