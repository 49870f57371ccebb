"""No training learns from a text that was cut off, and an error states what became of the rows."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result, finish_artifact
from stages.runtime.rows import Dropped, Pair, Response
from stages.training.offline import dpo, kto_examples, ranking, sft
from stages.training.offline.chain_of_hindsight import read_preferences
from stages.training.offline.groups import read_ratings
from stages.training.pair_data import read_pairs
from stages.training.reward_models import reward_model, score
from stages.training.reward_models.format import make_format
from stages.training.reward_models.reward_examples import reward_examples
from tests.training.conftest import pair, response, revision
from tests.training.offline.test_groups import rating

CUT = "cut off at max_tokens"


def cut_pair(i: int, side: str, **fields) -> Pair:
    return replace(
        pair(i, f"kind {i}", f"harm {i}"), **{f"{side}_finish_reason": "length"}, **fields
    )


def pairs() -> list[Pair]:
    rows = [cut_pair(0, "chosen"), cut_pair(1, "rejected")]
    return rows + [pair(i, f"kind {i}", f"harm {i}") for i in (2, 3)]


def reward(artifact: Artifact, objective: str = "preference"):
    examples, dropped, _ = reward_examples(
        {"pairs": artifact}, make_format(objective, False, None), None, "good"
    )
    return examples, dropped


def desirable(artifact: Artifact):
    examples, dropped = kto_examples.read_examples({"pairs": artifact}, None)
    return [e for e in examples if e["label"]], dropped


READERS: dict[str, Callable] = {
    "dpo": read_pairs,
    "chain_of_hindsight": read_preferences,
    "reward_model": reward,
    "kto": desirable,
}


@pytest.mark.parametrize("stage", READERS)
def test_a_pair_with_a_side_cut_off_is_dropped_and_counted(artifact, stage):
    examples, dropped = READERS[stage](artifact("pairs", pairs()))
    assert [e["id"].split("-")[0] for e in examples] == ["q2", "q3"]
    assert [(d.id, d.reason) for d in dropped] == [("q0", CUT), ("q1", CUT)]


def test_a_cost_model_drops_them_too(artifact):
    safe = [replace(row, chosen_safe=True, rejected_safe=False) for row in pairs()]
    examples, dropped = reward(artifact("pairs", safe), "cost")
    assert len(examples) == 2 and {d.reason for d in dropped} == {CUT}


@pytest.mark.parametrize("stage", READERS)
def test_pairs_that_are_all_cut_off_state_the_true_reason(artifact, stage):
    rows = [cut_pair(i, "rejected") for i in range(6)]
    with pytest.raises(UserError) as error:
        READERS[stage](artifact("pairs", rows))
    assert f"6 x {CUT}" in str(error.value) and "(step 'pairs')" in error.value.where
    assert "max_tokens" in error.value.fix and "parquet" not in str(error.value)


@pytest.mark.parametrize(("cut", "equal", "names"), [(1, 5, False), (4, 2, True)])
def test_the_advice_is_about_the_reason_of_most_rows(artifact, cut, equal, names):
    rows = [cut_pair(i, "chosen") for i in range(cut)]
    rows += [pair(10 + i, "kind", "kind") for i in range(equal)]
    with pytest.raises(UserError, match=f"{cut} x {CUT}") as error:
        read_pairs(artifact("pairs", rows))
    assert f"{equal} x both sides are equal" in str(error.value)
    assert ("max_tokens" in error.value.fix) == names


def test_sft_learns_the_chosen_side_whatever_became_of_the_rejected_one(artifact):
    inputs = {
        "pairs": artifact("pairs", pairs()),
        "revisions": artifact("revisions", [replace(revision(9, 1, "x"), finish_reason="length")]),
        "answers": artifact("answers", [replace(response(8, "y"), finish_reason="abort")]),
    }
    examples, dropped = sft.read_examples(inputs, "all")
    assert [e["id"] for e in examples] == ["q1", "q2", "q3"]
    reasons = {(d.id, d.reason) for d in dropped}
    assert reasons == {("q0", CUT), ("r9.1", CUT), ("r8", "not finished (abort)")}


def test_sft_on_cut_off_answers_only_names_the_reason_and_no_missing_file(artifact):
    rows = [replace(response(i, f"text {i}"), finish_reason="length") for i in range(6)]
    with pytest.raises(UserError) as error:
        sft.read_examples({"answers": artifact("answers", rows)}, "all")
    text = str(error.value)
    assert f"no row is left to train on: 6 are unusable (6 x {CUT})" in text
    assert "'answers' (step 'answers')" in text and "max_tokens" in error.value.fix
    assert "parquet" not in text


def test_ratings_state_their_own_ending(artifact):
    rows = [replace(rating(0, 0, "a", 3.0), finish_reason="length"), rating(0, 1, "b", 1.0)]
    examples, dropped = read_ratings({"ratings": artifact("ratings", rows)})
    assert [e["id"] for e in examples] == ["g0-1"]
    assert [(d.id, d.reason) for d in dropped] == [("g0-0", CUT)]
    with pytest.raises(UserError, match=rf"no rating is left.*1 x {CUT}"):
        read_ratings({"ratings": artifact("cut", rows[:1])})


def test_groups_that_lost_their_rivals_and_kinds_that_are_missing_say_why(artifact, context):
    rows = [replace(rating(g, 0, "a", 3.0), finish_reason="length") for g in range(4)]
    rows += [rating(g, 1, "b", 1.0) for g in range(4)]
    inputs = {"model": artifact("base"), "ratings": artifact("ratings", rows)}
    with pytest.raises(UserError, match=rf"no request has two.*dropped: 4 x {CUT}"):
        ranking.run(ranking.Config(loss="rrhf"), inputs, context())
    with pytest.raises(UserError, match=rf"no answer is left.*4 x {CUT}; 4 x score at the thr"):
        kto_examples.read_examples({"ratings": inputs["ratings"]}, None)


@pytest.mark.parametrize("empty_row", [Pair, Response])
def test_a_step_that_dropped_all_is_named_with_a_file_that_holds_the_reasons(tmp_path, empty_row):
    dropped = [Dropped(id=str(i), reason="the judge abstains") for i in range(5)]
    dropped.append(Dropped(id="5", reason="equal responses"))
    folder = tmp_path / "pairs-12345678"
    folder.mkdir()
    empty = finish_artifact(
        folder, "pairs", {}, Result(rows=[], row_type=empty_row, dropped=dropped), {}
    )
    read = read_pairs if empty_row is Pair else lambda a: sft.read_examples({"rows": a}, "all")
    with pytest.raises(UserError) as error:
        read(empty)
    assert "5 x the judge abstains; 1 x equal responses" in error.value.fix
    file = folder / "dropped.parquet"
    assert str(file) in error.value.fix and file.exists()
    assert [row.reason for row in empty.dropped()].count("the judge abstains") == 5


def test_held_out_parts_hold_no_text_that_was_cut_off(artifact, context):
    rows = [pair(i, f"kind {i}", f"harm {i}") for i in range(20)]
    rows += [cut_pair(i, "rejected") for i in range(20, 60)]
    config = dpo.Config(args={"max_steps": 1, "save_strategy": "no"}, eval_fraction=0.5)
    inputs = {"model": artifact("base"), "pairs": artifact("pairs", rows)}
    result = dpo.run(config, inputs, context())
    assert result.metrics["held_out"]["n"] + result.metrics["n"] == 20
    assert len(result.dropped) == 40


@pytest.mark.parametrize("policy", ["drop", "keep"])
def test_a_reward_model_scores_finished_answers(artifact, context, policy):
    rows = [pair(i, "kind answer", "harm the dog") for i in range(4)]
    here = context("reward-00000000")
    args = {"max_steps": 1, "per_device_train_batch_size": 4, "save_strategy": "no"}
    config = reward_model.Config(args=args, eval_fraction=0)
    reward_model.run(config, {"model": artifact("base"), "pairs": artifact("pairs", rows)}, here)
    model = finish_artifact(here.directory, "reward", {}, Result(), {})
    answers = [response(0, "kind"), replace(response(1, "harm"), finish_reason="length")]
    inputs = {"model": model, "answers": artifact("answers", answers)}
    result = score.run(score.Config(cut_off=policy), inputs, context("scores"))
    endings = [row.finish_reason for row in result.rows]
    assert endings == (["stop"] if policy == "drop" else ["stop", "length"])
    assert [d.reason for d in result.dropped] == ([CUT] if policy == "drop" else [])
    assert result.metrics["cut_off"] == 1
    lost = {"model": model, "answers": artifact("cut", answers[1:])}
    with pytest.raises(UserError, match=f"no response is left to score: 1 x {CUT}"):
        score.run(score.Config(), lost, context("lost"))
