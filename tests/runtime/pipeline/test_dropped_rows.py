"""How many rows were dropped, in words, and when that is worth a warning."""

import copy
import io
import re

import pytest

from stages.guards.console import open_console
from stages.runtime.pipeline.dropped_rows import count_remaining, describe_share, doubt_dropped
from stages.runtime.rows import Prompt
from tests.running import CutsOff, run_steps, text_pipeline


def test_the_share_and_the_reasons():
    assert describe_share({"a": 1, "b": 5}, 14) == "6 of 20 (30%): 5 x b; 1 x a"
    assert describe_share({"a": 1}, 999) == "1 of 1000 (less than 1%): 1 x a"
    many = dict.fromkeys("abcde", 1)
    assert describe_share(many, 5).endswith("1 x a; 1 x b; 1 x c; 2 reasons more")


def test_rows_a_step_has_or_learnt_from():
    assert count_remaining(None, {"n": 624, "held_out": {"n": 84}}) == 708
    assert count_remaining(None, {"n": 5, "held_out": None}) == 5
    assert count_remaining([Prompt(id=name, messages=[], kind="") for name in "ab"], {}) == 2


def test_more_than_half():
    assert doubt_dropped({"duplicate": 5}, 5, ()) == []
    assert doubt_dropped({"duplicate": 6}, 5, ()) == ["it dropped 6 of 11 (55%): 6 x duplicate"]
    assert doubt_dropped({}, 0, ()) == []


def test_not_where_dropping_is_what_a_step_is_for():
    dropped = {"not the last revision": 3000, "empty completion": 10}
    meant = ("not the last revision",)
    assert doubt_dropped(dropped, 600, meant) == []
    (warning,) = doubt_dropped(dropped, 5, meant)
    assert warning == "it dropped 10 of 15 (67%): 10 x empty completion"
    assert doubt_dropped({"in another share": 90}, 10, ("*",)) == []


def steps_of(folder, texts):
    (folder / "prompts.csv").write_text("prompt\n" + "".join(f"{text}\n" for text in texts))
    return {
        "all": {"stage": "prompts", "source": str(folder / "prompts.csv")},
        "few": {"stage": "filter", "inputs": {"rows": "all"}, "limit": 1},
    }


def test_a_run_warns_of_it_on_the_line_of_the_step(tmp_path):
    shown = io.StringIO()
    console = open_console(file=shown, width=200)
    steps = steps_of(tmp_path, ["a", "b", *["c"] * 4])
    _, done = run_steps(steps, tmp_path, console=console)
    assert done["all"].manifest.warnings == []
    assert re.search(r"all +[\d.]+ s · 3 rows · dropped 3 of 6 \(50%\): 3 x dup", shown.getvalue())
    assert "warning" not in shown.getvalue(), "half is not more than half, and a filter is to drop"
    steps = steps_of(tmp_path, ["a", "b", *["c"] * 6])
    _, done = run_steps(steps, tmp_path, console=console)
    (warning,) = done["all"].manifest.warnings
    assert warning == "it dropped 5 of 8 (62%): 5 x duplicate prompt"
    assert f"warning: all: {warning}" in shown.getvalue()


CUT = "texts were cut off at 80 tokens, and no training learns from such: raise sampling.max_tokens"
SHORT = {"sampling": {"max_tokens": 80}}
CUT_OFF = [
    ("answers", SHORT, 5, r"10 of 16"),
    ("answers", SHORT, 4, ""),
    ("revisions", SHORT, 7, r"14 of 22"),  # critiques, after which nothing more is asked
    ("judgements", SHORT | {"reasoning": True, "per_pair": 2}, 7, r"\d+ of \d+"),
    ("judgements", {"per_pair": 2}, 8, ""),  # of one token each
]


@pytest.mark.parametrize(("step", "options", "count", "words"), CUT_OFF)
def test_a_step_whose_texts_have_no_end_says_so_itself(tmp_path, step, options, count, words):
    """Whatever the texts are, and also where they were stored before."""

    def cuts(messages, seed):
        is_its = (len(messages) > 1, "Principle" in str(messages)) == {
            "answers": (False, False),
            "revisions": (True, False),
            "judgements": (False, True),
        }[step]
        number = int(re.findall(r"request number (\d+)", str(messages))[0])
        return "length" if is_its and number < count else "stop"

    steps = text_pipeline(tmp_path, prompts=8)
    steps[step] |= options
    wanted = {name: steps[name] for name in ("base", "requests", "answers", step)}
    for _ in range(2):
        _, done = run_steps(copy.deepcopy(wanted), tmp_path, CutsOff(cuts=cuts))
        warnings = [text for text in done[step].manifest.warnings if "cut off at 80" in text]
        assert len(warnings) == bool(words)
        assert all(re.match(f"{words} {CUT}", text) for text in warnings)
        (done[step].directory / "manifest.json").unlink()
