"""Answers are sampled with what steers the generator, and remembered without it."""

from dataclasses import dataclass

import pytest

from stages.guards.errors import UserError
from stages.runtime.generation import Completion
from stages.runtime.rows import Response
from stages.text.respond import with_suffix
from tests.running import Seeded, run_steps, text_pipeline
from tests.scripted import ScriptedGenerator


def test_a_suffix_is_read_by_the_generator_and_not_by_who_trains(tmp_path):
    steps = text_pipeline(tmp_path, prompts=3)
    steps = {name: steps[name] for name in ("base", "requests", "answers")}
    generator = Seeded()
    _, plain = run_steps(steps, tmp_path, generator)
    steered = {**steps, "answers": {**steps["answers"], "suffix": "Answer well."}}
    _, done = run_steps(steered, tmp_path, generator)
    asked = [messages[-1]["content"] for messages, _, _ in generator.completed]
    assert sum(text.endswith(" Answer well.") for text in asked) == len(asked) / 2 == 6
    assert [row.prompt for row in done["answers"].rows(Response)] == [
        row.prompt for row in plain["answers"].rows(Response)
    ]
    assert done["answers"].directory != plain["answers"].directory


def test_only_the_last_turn_is_followed_by_the_suffix():
    turns = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    assert [turn["content"] for turn in with_suffix(turns, "now.")] == ["one", "two", "three now."]
    assert with_suffix(turns, "") == turns and turns[-1]["content"] == "three"


def run_answers(tmp_path, text, name="answers", finish="stop", **options):
    """The rows and the dropped rows of a `respond` step whose model writes `text`."""
    steps = text_pipeline(tmp_path, prompts=1)
    steps = {step: steps[step] for step in ("base", "requests", "answers")}
    steps["answers"] |= {"n": 1, **options}
    _, done = run_steps(steps, tmp_path / name, Written(written=text, finish=finish))
    artifact = done["answers"]
    return artifact.rows(Response), artifact.dropped(), artifact.manifest.metrics


@dataclass
class Written(ScriptedGenerator):
    """Writes one text to every request."""

    written: str = ""
    finish: str = "stop"

    async def complete(self, messages, sampling, seed):
        self.completed.append((list(messages), sampling, seed))
        return Completion(self.written, self.finish, 1, 1)


def test_thoughts_are_on_the_row_and_not_in_the_answer(tmp_path):
    text = "<think>\nshort\n</think>\n\nThe Elbe."
    (row,), dropped, metrics = run_answers(tmp_path, text)
    assert (row.response, row.thoughts, dropped) == ("The Elbe.", "short", [])
    assert metrics["with_thoughts"] == 1
    (kept,), _, _ = run_answers(tmp_path, text, "kept", thoughts="keep")
    assert (kept.response, kept.thoughts) == (text, "")


def test_an_answer_that_is_all_thoughts_is_dropped_or_empty(tmp_path):
    text = "<think>\nlet me see"
    with pytest.raises(UserError, match="every row was dropped: 1 x cut off in its thoughts"):
        run_answers(tmp_path, text, finish="length")
    with pytest.raises(UserError, match="1 x no response after its thoughts"):
        run_answers(tmp_path, text, "stopped")
    (empty,), _, _ = run_answers(tmp_path, text, "shown", finish="length", keep_empty=True)
    assert (empty.response, empty.thoughts) == ("", "let me see")
    assert empty.finish_reason == "length"


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_thoughts_that_are_kept_are_no_answer(tmp_path, finish):
    reason = "no response after its thoughts" if finish == "stop" else "cut off in its thoughts"
    with pytest.raises(UserError, match=f"1 x {reason}"):
        run_answers(tmp_path, "<think>\nlet me see", finish=finish, thoughts="keep")
    (shown,), _, _ = run_answers(
        tmp_path, "<think>\nsee", "shown", finish=finish, thoughts="keep", keep_empty=True
    )
    assert shown.response == "<think>\nsee"
