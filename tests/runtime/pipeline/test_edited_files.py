"""Files that are edited while a run goes on: nothing is stored under what they held before."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.runtime.pipeline.runner import Runner
from tests.running import Seeded, run_steps, text_pipeline, write_constitution

TEMPLATE = (
    "Which is better under this principle: {{ principle }}? {{ response_a }} {{ response_b }}"
)


@dataclass
class Editor(Seeded):
    """Edits a file at the first call whose request holds a word."""

    word: str = ""
    edit: object = None

    async def complete(self, messages, sampling, seed):
        self._edit(messages)
        return await super().complete(messages, sampling, seed)

    async def choose(self, messages, options):
        self._edit(messages)
        return await super().choose(messages, options)

    def _edit(self, messages):
        if self.edit and any(self.word in message["content"] for message in messages):
            self.edit()
            self.edit = None


def files_of(folder: Path) -> dict:
    """A pipeline in which every step that reads a file of the user's reads one, and edits of it."""
    steps = text_pipeline(folder, prompts=4)
    (folder / "judge.jinja").write_text(TEMPLATE)
    steps["judgements"]["template"] = str(folder / "judge.jinja")
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    (folder / "shots.yaml").write_text(json.dumps([turns]))
    steps["revisions"]["demonstrations"] = str(folder / "shots.yaml")
    return steps


def add(path: Path, text: str):
    return lambda: path.write_text(path.read_text() + text)


EDITS = [
    ("set.yaml", "revisions", "constitution.p1.text changed"),
    ("shots.yaml", "revisions", "demonstrations changed"),
    ("judge.jinja", "judgements", "template changed"),
    ("prompts.csv", "requests", "source changed"),
]


@pytest.mark.parametrize(("name", "step", "change"), EDITS)
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_the_step_that_reads_it_stops(tmp_path, monkeypatch, when, name, step, change):
    steps = files_of(tmp_path)
    path = tmp_path / name
    edits = {
        "set.yaml": lambda: write_constitution(path, p1="It is something else."),
        "shots.yaml": lambda: path.write_text(path.read_text().replace("Yes?", "No?")),
        "judge.jinja": add(path, " Answer."),
        "prompts.csv": add(path, "one request more\n"),
    }
    before = path.read_text()
    generator = Editor()
    if when == "before" or step == "requests":
        run = Runner.run

        def edit_and_run(self, planned):
            monkeypatch.setattr(Runner, "run", run)
            edits[name]()
            return run(self, planned)

        monkeypatch.setattr(Runner, "run", edit_and_run)
    else:
        # A judge's question, or a revision's.
        generator.word = "better under" if step == "judgements" else "rule number"
        generator.edit = edits[name]
    with pytest.raises(UserError) as caught:
        run_steps(copy.deepcopy(steps), tmp_path, generator)
    words = str(caught.value)
    assert f"step '{step}': a file that it reads was edited since the run began: " in words
    assert change in words and "run the same command again" in words
    assert not list((tmp_path / "artifacts").glob(f"{step}-*/manifest.json"))
    path.write_text(before)
    again = Seeded()
    _, done = run_steps(copy.deepcopy(steps), tmp_path, again)
    everything = 8 + 8 * 4 + 4 * 16 * 2
    assert generator.calls + again.calls == everything or name == "judge.jinja", "answers are kept"
    assert set(done) == set(steps)
