"""Answers are sampled with what steers the generator, and remembered without it."""

from stages.runtime.rows import Response
from stages.text.respond import with_suffix
from tests.running import Seeded, run_steps, text_pipeline


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
