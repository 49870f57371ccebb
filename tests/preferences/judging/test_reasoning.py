"""A judge that thinks aloud: what it is asked, what is kept, and that nothing of it moves with
other rows.
"""

import hashlib
import math

import pytest

from stages.guards.errors import UserError
from stages.preferences.judging.judge import Config, identity
from stages.principles.select import Selection
from stages.runtime.generation import Completion, Sampling
from stages.runtime.manifest import canonical
from stages.runtime.rows import Judgement, Pair
from stages.runtime.typed_config import identity_of
from tests.running import Seeded, run_steps, text_pipeline


def reasoned(root, **options):
    steps = text_pipeline(root, prompts=6)
    steps.pop("revisions")
    steps["judgements"] |= {"reasoning": True, "per_pair": 2, **options}
    return steps


def test_the_choice_is_read_after_the_thoughts_which_are_kept(tmp_path):
    generator = Seeded(scores=lambda messages, options: [math.log(0.9), math.log(0.1)])
    _, done = run_steps(reasoned(tmp_path), tmp_path, generator)
    rows = done["judgements"].rows(Judgement)
    assert len(rows) == 12 and all(row.rationale_ab != row.rationale_ba for row in rows)
    asked = {messages[1]["content"]: messages for messages, options in generator.chosen}
    for row in rows:
        for rationale, first, second in (
            (row.rationale_ab, row.response_a, row.response_b),
            (row.rationale_ba, row.response_b, row.response_a),
        ):
            question, thoughts, ending = asked[rationale]
            assert [m["role"] for m in (question, thoughts, ending)] == [
                "user",
                "assistant",
                "user",
            ]
            assert question["content"].index(first) < question["content"].index(second)
            assert (
                "Answer A or B." in ending["content"]
                and "Answer A or B." not in question["content"]
            )
        assert (
            row.margin_ab == -row.margin_ba == pytest.approx(math.log(9))
        )  # a judge that always says A
    seeds = [
        seed for messages, _, seed in generator.completed if "Principle:" in messages[-1]["content"]
    ]
    assert len(set(seeds)) == len(seeds) == 24, "each cell and order thinks anew"


def test_fewer_principles_change_no_rationale_of_the_others(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    options = {"per_pair": None}
    _, done = run_steps(reasoned(before, **options), before)
    steps = reasoned(after, **options)
    steps["judgements"]["constitution"] = steps["judgements"]["constitution"] | {
        "drop": ["p0", "p7"]
    }
    _, fewer = run_steps(steps, after)
    known = {
        row.id: (row.rationale_ab, row.rationale_ba) for row in done["judgements"].rows(Judgement)
    }
    rows = fewer["judgements"].rows(Judgement)
    assert len(rows) == 6 * 14
    assert all(known[row.id] == (row.rationale_ab, row.rationale_ba) for row in rows)


def test_labels_after_thoughts_can_be_clamped(tmp_path):
    def sure(messages, options):
        first = messages[0]["content"].partition("Response A:")[2].partition("Response B:")[0]
        wins = int(hashlib.sha256(first.encode()).hexdigest(), 16) % 2
        return [-1e-6, -14.0] if wins else [-14.0, -1e-6]

    steps = reasoned(tmp_path)
    steps["pairs"] |= {"clamp": [0.4, 0.6], "orders": "average", "aggregate": "sum"}
    _, done = run_steps(steps, tmp_path, Seeded(scores=sure))
    rows = done["pairs"].rows(Pair)
    assert rows and {row.label for row in rows} == {0.6}


class Silent(Seeded):
    async def complete(self, messages, sampling, seed):
        made = await super().complete(messages, sampling, seed)
        return Completion("", "stop", 1, 0) if "Principle:" in messages[-1]["content"] else made


def test_nothing_thought_and_no_verdict_are_counted(tmp_path):
    steps = reasoned(tmp_path / "1")
    steps.pop("pairs")
    with pytest.raises(UserError, match="step 'judgements': every row was dropped: 12 x empty rat"):
        run_steps(steps, tmp_path / "1", Silent())
    steps["judgements"]["reasoning"] = False
    mute = Seeded(scores=lambda messages, options: [math.nan, math.nan])
    with pytest.raises(UserError, match="4 x an answer that cannot be used"):
        run_steps(steps, tmp_path / "1", mute)


def test_what_is_not_used_does_not_identify(tmp_path):
    chosen = Selection(name="world")
    plain = identity_of(Config(constitution=chosen)) | identity(Config(constitution=chosen))
    other = Config(constitution=chosen, sampling=Sampling(max_tokens=7))
    assert identity_of(other) | identity(other) == plain
    thinking = [
        Config(constitution=chosen, reasoning=True, sampling=Sampling(max_tokens=n)) for n in (7, 8)
    ]
    assert (
        len({canonical(identity_of(c) | identity(c)) for c in thinking} | {canonical(plain)}) == 3
    )
