"""Answers that were cut off are dropped before pairing, rating and choosing, or carried along."""

from dataclasses import replace
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.runtime.row_files import read_rows
from stages.runtime.rows import Dropped, Judgement, Pair, Rating, Response, Revision
from stages.runtime.store import derive_seed
from stages.text.cut_off import count_cut_off, row_fault
from tests.preferences.matrices import artifact, cells, judged_pairs, run_stage
from tests.preferences.test_best_of import answer, rated
from tests.running import CutsOff, Seeded, run_steps, text_pipeline
from tests.training.conftest import revision

CUT = "cut off at max_tokens"


def judged_steps(tmp_path, samples=3, **judge):
    steps = text_pipeline(tmp_path, prompts=8)
    del steps["revisions"]
    steps["answers"]["n"] = samples
    steps["judgements"] |= {"constitution": {**steps["pairs"]["constitution"], "only": ["p1"]}}
    steps["judgements"] |= judge
    return steps


def cut_samples(prompts, *samples):
    """Cuts these samples of every prompt off."""

    def cuts(messages, seed):
        if len(messages) > 1:
            return "stop"
        numbers = {derive_seed(0, prompt, "respond", n) for prompt in prompts for n in samples}
        return "length" if seed in numbers else "stop"

    return cuts


class Silent(Seeded):
    """Writes nothing."""

    async def complete(self, messages, sampling, seed):
        return replace(await super().complete(messages, sampling, seed), text=" ")


def prompt_ids(tmp_path):
    steps = text_pipeline(tmp_path / "ids", prompts=8)
    _, done = run_steps({"requests": steps["requests"]}, tmp_path / "ids")
    return [row.id for row in done["requests"].rows()]


def test_the_first_two_finished_samples_are_judged(tmp_path):
    prompts = prompt_ids(tmp_path)
    _, done = run_steps(judged_steps(tmp_path), tmp_path, CutsOff(cuts=cut_samples(prompts, 0)))
    judged = done["judgements"]
    samples = {row.id: row.sample for row in done["answers"].rows(Response)}
    for row in judged.rows(Judgement):
        assert (samples[row.response_a_id], samples[row.response_b_id]) == (1, 2)
        assert row.finish_reason_a == row.finish_reason_b == "stop"
    assert judged.metrics["cut_off"] == len(prompts) == len(judged.rows())
    assert judged.manifest.dropped == {CUT: len(prompts)}
    assert done["answers"].metrics["cut_off"] == len(prompts)


@pytest.mark.parametrize("pairing", ["first_two", "all"])
def test_a_sample_whose_rivals_were_cut_off_is_counted_as_such(tmp_path, pairing):
    prompts = prompt_ids(tmp_path)
    some = cut_samples(prompts[:3], 0, 1)
    _, done = run_steps(judged_steps(tmp_path, pairing=pairing), tmp_path, CutsOff(cuts=some))
    assert done["judgements"].manifest.dropped == {CUT: 6, "its rivals were cut off": 3}
    assert len({row.prompt_id for row in done["judgements"].rows(Judgement)}) == 5


def test_where_all_are_cut_off_the_judge_says_so(tmp_path):
    always = CutsOff(cuts=lambda messages, seed: "length")
    with pytest.raises(UserError) as error:
        run_steps(judged_steps(tmp_path), tmp_path, always)
    assert f"no prompt has two finished responses: 24 x {CUT}" in str(error.value)
    assert "max_tokens" in error.value.fix and "cut_off: keep" in error.value.fix


def test_where_no_response_came_the_reasons_of_its_step_are_named(tmp_path):
    steps = judged_steps(tmp_path)
    with pytest.raises(UserError) as error:
        run_steps(steps, tmp_path, Silent())
    assert str(error.value).startswith("step 'answers': every row was dropped: 24 x empty response")
    file = error.value.fix.split("see ")[1].split(";")[0]
    assert len(read_rows(Path(file), Dropped)) == 24


def test_a_kept_answer_carries_its_ending_to_the_pair(tmp_path):
    prompts = prompt_ids(tmp_path)
    steps = judged_steps(tmp_path, cut_off="keep")
    steps["pairs"] |= {"cut_off": "keep", "orders": "average", "aggregate": "mean"}
    steps["strict"] = {**steps["pairs"], "cut_off": "drop"}
    cut = cut_samples(prompts[:5], 0)
    scores = {"scores": lambda messages, options: [-0.1, -2.4 - len(str(messages)) % 7]}
    _, done = run_steps(steps, tmp_path, CutsOff(cuts=cut, **scores))
    rows = done["judgements"].rows(Judgement)
    assert count_cut_off(rows) == 5 == done["judgements"].metrics["cut_off"]
    endings = {row.id: row.finish_reason for row in done["answers"].rows(Response)}
    for row in rows:
        assert (endings[row.response_a_id], endings[row.response_b_id]) == (
            row.finish_reason_a,
            row.finish_reason_b,
        )
    for row in done["pairs"].rows(Pair):
        assert row.chosen_finish_reason == endings[row.chosen_id]
        assert row.rejected_finish_reason == endings[row.rejected_id]
    strict = done["strict"]
    assert strict.manifest.dropped[CUT] == 5 == strict.metrics["cut_off"]
    assert not count_cut_off(strict.rows(Pair))


@pytest.mark.parametrize("a_wins", [True, False])
def test_the_endings_follow_the_sides(tmp_path, a_wins):
    margin = 2.0 if a_wins else -2.0
    matrix = [
        replace(cell, finish_reason_a="length") for cell in cells("a|b", {"p": (margin, margin)})
    ]
    (pair,) = judged_pairs(tmp_path, matrix, cut_off="keep").rows
    expected = ("length", "stop") if a_wins else ("stop", "length")
    assert (pair.chosen_finish_reason, pair.rejected_finish_reason) == expected


def test_pairs_that_are_all_cut_off_leave_no_scale_and_no_false_reason(tmp_path):
    matrix = [replace(cell, finish_reason_b="length") for cell in cells("a|b", {"p": (1.0, 2.0)})]
    result = judged_pairs(tmp_path, matrix, aggregate="salmon", label="hard")
    assert result.rows == [] and [(d.id, d.reason) for d in result.dropped] == [("a|b", CUT)]


def cut_rating(group, sample, score, ending="length"):
    return replace(rated(answer(group, sample), score), finish_reason=ending)


def test_the_best_is_chosen_among_finished_answers(tmp_path):
    rows = [
        cut_rating("g", 0, 9.0),
        cut_rating("g", 1, 1.0, "stop"),
        cut_rating("g", 2, 2.0, "stop"),
        cut_rating("h", 0, 3.0),
    ]
    inputs = {"ratings": artifact(tmp_path, "score", rows, Rating)}
    best = run_stage("best_of", inputs, {})
    assert [(row.id, row.finish_reason) for row in best.rows] == [("g-2", "stop")]
    assert best.metrics["cut_off"] == 2 and best.metrics["mean"] == 1.5
    assert [d.reason for d in best.dropped].count(CUT) == 2
    kept = run_stage("best_of", inputs, {"cut_off": "keep"})
    assert [(row.id, row.finish_reason) for row in kept.rows] == [
        ("g-0", "length"),
        ("h-0", "length"),
    ]
    (pair,) = run_stage("rated_pairs", inputs, {}).rows
    assert (pair.chosen_id, pair.rejected_id) == ("g-2", "g-1")
    (pair,) = run_stage("rated_pairs", inputs, {"cut_off": "keep"}).rows
    assert (pair.chosen_finish_reason, pair.rejected_finish_reason) == ("length", "stop")


@pytest.mark.parametrize("stage", ["best_of", "rated_pairs"])
def test_ratings_that_are_all_cut_off_are_reported(tmp_path, stage):
    rows = [cut_rating("g", n, float(n)) for n in range(3)]
    with pytest.raises(UserError, match=f"no rating is left to choose from: 3 x {CUT}"):
        run_stage(stage, {"ratings": artifact(tmp_path, "score", rows, Rating)}, {})


def test_ranks_are_compared_on_finished_answers(tmp_path):
    good = [replace(answer("g", n), finish_reason="length" if n else "stop") for n in range(3)]
    bad = [answer("g", n, f"a worse text {n}") for n in range(3)]
    inputs = {
        "large": artifact(tmp_path, "large", good, Response),
        "small": artifact(tmp_path, "small", bad, Response),
    }
    result = run_stage("ranked_pairs", inputs, {})
    assert [row.chosen_id for row in result.rows] == ["g-0"]
    assert [(d.id, d.reason) for d in result.dropped] == [("large/g-1", CUT), ("large/g-2", CUT)]
    assert result.metrics["cut_off"] == 2
    kept = run_stage("ranked_pairs", inputs, {"cut_off": "keep"})
    assert [row.chosen_finish_reason for row in kept.rows] == ["stop", "length", "length"]
    lost = {**inputs, "large": artifact(tmp_path, "cut", good[1:], Response)}
    with pytest.raises(UserError, match=f"finished answers of two answerers: 2 x {CUT}"):
        run_stage("ranked_pairs", lost, {})


def test_a_revision_is_paired_with_a_finished_original_only(tmp_path):
    rows = [
        replace(revision(0, 1, "first"), original_finish_reason="length"),
        replace(revision(1, 1, "the original"), finish_reason="length"),
        revision(2, 1, "first"),
        revision(2, 2, "second"),
        replace(revision(3, 1, "cut"), finish_reason="length"),
    ]
    inputs = {"revisions": artifact(tmp_path, "revisions", rows, Revision)}
    result = run_stage("revision_pairs", inputs, {})
    assert [(row.id, row.chosen) for row in result.rows] == [("r2", "second")]
    assert {d.id: d.reason for d in result.dropped} == {
        "r0": CUT,
        "r1": "the revision changed nothing",
        "r3": CUT,
    }
    kept = run_stage("revision_pairs", inputs, {"cut_off": "keep"})
    endings = [(row.chosen_finish_reason, row.rejected_finish_reason) for row in kept.rows]
    assert endings == [("stop", "length"), ("stop", "stop"), ("length", "stop")]
    assert result.metrics["cut_off"] == kept.metrics["cut_off"] == 2


@pytest.mark.parametrize("policy", ["drop", "keep"])
def test_a_judge_rates_finished_rows(tmp_path, policy):
    prompts = prompt_ids(tmp_path)
    steps = judged_steps(tmp_path)
    constitution = steps["judgements"]["constitution"]
    steps = {name: steps[name] for name in ("base", "requests", "answers")}
    steps["ratings"] = {
        "stage": "rate",
        "inputs": {"answers": "answers", "model": "base"},
        "constitution": constitution,
        "cut_off": policy,
    }
    _, done = run_steps(steps, tmp_path, CutsOff(cuts=cut_samples(prompts[:4], 1)))
    ratings = done["ratings"]
    assert ratings.metrics["cut_off"] == 4
    dropped = {CUT: 4} if policy == "drop" else {}
    assert ratings.manifest.dropped == dropped
    assert count_cut_off(ratings.rows(Rating)) == (0 if policy == "drop" else 4)
    assert len(ratings.rows()) == (20 if policy == "drop" else 24)


def test_nothing_to_rate_names_the_true_reason(tmp_path):
    steps = judged_steps(tmp_path)
    steps["judgements"] = {**steps["judgements"], "stage": "rate"}
    del steps["pairs"]
    always = CutsOff(cuts=lambda messages, seed: "length")
    with pytest.raises(UserError, match=f"no response is left to rate: 24 x {CUT}"):
        run_steps(steps, tmp_path, always)


def test_reasoning_that_was_cut_off_is_no_reasoning(tmp_path):
    steps = judged_steps(tmp_path, reasoning=True)
    cuts = CutsOff(
        cuts=lambda messages, seed: "length" if "Response A" in str(messages) else "stop"
    )
    with pytest.raises(UserError, match=f"every row was dropped: 8 x rationale {CUT}"):
        run_steps(steps, tmp_path, cuts)


def test_an_ending_of_another_kind_is_no_end_of_turn_either():
    assert row_fault(replace(answer("g", 0), finish_reason="abort")) == "not finished (abort)"
    assert row_fault(answer("g", 0)) == "" == row_fault(revision(0, 1, "x"))
