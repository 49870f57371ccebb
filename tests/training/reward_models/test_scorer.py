"""What a reward model reads, and its scores: layout beside the weights, shared prefixes, bad input,
the stage `score`.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result, finish_artifact
from stages.runtime.models import find_model
from stages.runtime.typed_config import parse_config
from stages.training.reward_models import score
from stages.training.reward_models.format import PLAIN, make_format, read_format
from stages.training.reward_models.scorer import Scorer
from tests.training.conftest import response
from tests.training.small_reward_models import constitution, reward_model

ASK = [{"role": "user", "content": "how do I help"}]


@pytest.fixture
def saved(tiny, tmp_path):
    def make(name="rm", **options):
        return reward_model(tiny, tmp_path / name, **options)

    return make


def items(
    count=6, principles=("The answer is kind.", "The answer is short.", "The answer is plain.")
):
    texts = [f"a kind answer {'and so on ' * (i % 4)}{i}" for i in range(count)]
    return [(ASK, text, (p,)) for text in texts for p in principles]


def test_the_principles_stand_last_and_their_text_is_never_template_source():
    layout = make_format("preference", True, None)
    shown = layout.messages(ASK, "a {{ request }}", ("be {{ kind }}", "be short"))[0]["content"]
    assert "a {{ request }}" in shown and shown.index("be {{ kind }}") < shown.index("be short")
    assert shown.index("how do I help") < shown.index("a {{") < shown.index("be {{")
    assert layout.template_arguments() == {"add_generation_prompt": True}
    plain = PLAIN
    assert (
        plain.messages(ASK, "yes") == [*ASK, {"role": "assistant", "content": "yes"}]
        and not plain.template_arguments()
    )


def test_the_layout_travels_with_the_model_and_is_part_of_its_content(saved):
    model = saved()
    assert read_format(model) == make_format("preference", True, None)
    tmp = Path(model.path) / "credo_reward.json"
    file = json.loads(tmp.read_text())
    tmp.write_text(json.dumps(file | {"template": file["template"] + "\nMore."}))
    assert find_model(model.path).content != model.content
    tmp.write_text(json.dumps({"objective": "fun", "principles": True, "template": ""}))
    with pytest.raises(UserError, match=r"credo_reward\.json is damaged"):
        read_format(model)
    tmp.write_text(json.dumps({"objective": "cost", "principles": False}))
    with pytest.raises(UserError, match=r"credo_reward\.json is damaged"):
        read_format(model)
    tmp.unlink()
    assert read_format(model) == PLAIN
    tmp.mkdir()
    with pytest.raises(UserError, match=r"credo_reward\.json is damaged: this is a folder"):
        read_format(model)


def test_a_template_that_hides_the_principles_is_refused(tmp_path):
    (tmp_path / "mine.jinja").write_text("{{ request }} {{ response }}")
    with pytest.raises(UserError, match="does not show the principle"):
        make_format("preference", True, str(tmp_path / "mine.jinja"))
    assert make_format("preference", False, str(tmp_path / "mine.jinja")).template
    with pytest.raises(UserError, match="needs a template"):
        make_format("preference", True, "")


def test_a_shared_prefix_gives_the_scores_that_whole_texts_give(saved):
    model, asked = saved(), items(7)
    shared = Scorer(model, batch_size=5).score(asked)
    alone = Scorer(model, batch_size=4, share=False).score(asked)
    one_by_one = [Scorer(model, batch_size=1, share=False).score([item])[0] for item in asked[:4]]
    assert shared == pytest.approx(alone, abs=2e-5)
    assert alone[:4] == pytest.approx(one_by_one, abs=2e-5)
    # Nor are they equal because they are constant.
    assert len({round(value, 4) for value in shared}) == len(asked)


def test_prefixes_are_really_shared(saved, monkeypatch):
    scorer = Scorer(saved(), batch_size=8)
    network, seen = scorer._network, []
    forward = network.base_model.forward

    def counted(*args, **kwargs):
        seen.append((args[0] if args else kwargs["input_ids"]).shape)
        return forward(*args, **kwargs)

    monkeypatch.setattr(network.base_model, "forward", counted)
    asked = items(4)
    scorer.score(asked)
    places = sum(rows * width for rows, width in seen)
    assert places < 0.75 * sum(len(ids) for ids in scorer.encode(asked))


def test_scores_do_not_depend_on_the_company(saved):
    model, asked = saved(), items(5)
    scorer = Scorer(model, batch_size=3)
    assert scorer.score(asked[::-1]) == pytest.approx(scorer.score(asked)[::-1], abs=2e-5)
    assert scorer.score([asked[0], asked[0]])[1] == pytest.approx(scorer.score(asked)[0], abs=2e-5)
    assert scorer.score([]) == []


def test_what_cannot_be_scored_is_reported(saved, tiny, tmp_path):
    with pytest.raises(UserError, match=r"(?s)trained without principles.*Fix:"):
        Scorer(saved("plain", principles=False)).score([(ASK, "yes", ("be kind",))])
    with pytest.raises(UserError, match="was given none"):
        Scorer(saved("reads")).score([(ASK, "yes", ())])
    with pytest.raises(UserError, match="not a reward model: LlamaForCausalLM"):
        Scorer(find_model(str(tiny)))
    with pytest.raises(UserError, match="hold NaN"):
        saved("nan", head=float("nan"))
    with pytest.raises(UserError, match="1 of 1 texts a score that is not a number"):
        Scorer(saved("inf", head=float("inf"))).score([(ASK, "yes", ("be kind",))])
    assert Scorer(saved("long")).score([(ASK, "helps " * 600, ("be kind",))]) == [None]


def stage(artifact_of_model, rows, context, name="it", **options):
    inputs = {"model": artifact_of_model, "responses": rows}
    return score.run(parse_config(score.Config, options, "step 'it'"), inputs, context(name))


@pytest.fixture
def pointing(tmp_path):
    """A model's artifact."""

    def make(model) -> Artifact:
        folder = tmp_path / f"artifact-{model.content}"
        folder.mkdir()
        return finish_artifact(
            folder, "rm", {}, Result(metrics={"model_path": model.path, "revision": None}), {}
        )

    return make


def test_the_stage_scores_once_and_remembers(
    saved, pointing, artifact, context, tmp_path, monkeypatch
):
    model, chosen = pointing(saved()), constitution(tmp_path)
    rows = artifact(
        "answers",
        [replace(response(i, f"a kind answer {i}"), prompt_id=f"p{i // 2}") for i in range(6)],
    )
    first = stage(model, rows, context, constitution=chosen)
    assert (
        first.metrics["computed"] == 6
        and first.metrics["stored"] == 0
        and first.metrics["spread_in_group"] > 0
    )
    assert [(r.response_id, r.prompt_id, r.principles) for r in first.rows[:2]] == [
        ("r0", "p0", ["kind", "short", "plain"]),
        ("r1", "p0", ["kind", "short", "plain"]),
    ]
    unloaded = property(lambda self: pytest.fail("the weights were loaded"))
    monkeypatch.setattr(Scorer, "_network", unloaded)
    again = stage(model, rows, context, "again", constitution=chosen)
    assert again.metrics["stored"] == 6 and [r.score for r in again.rows] == [
        r.score for r in first.rows
    ]


def test_negated_principles_are_read_in_their_opposite_words(
    saved, pointing, artifact, context, tmp_path, monkeypatch
):
    import stages.training.reward_models.stored_scores as stored

    read = []
    monkeypatch.setattr(
        Scorer, "score", lambda self, items: read.extend(i[2] for i in items) or [1.0] * len(items)
    )
    assert stored.Scorer is Scorer
    rows, model = artifact("answers", [response(0, "a")]), pointing(saved())
    result = stage(model, rows, context, constitution=constitution(tmp_path), negated=["kind"])
    assert read == [("The answer is harsh.", "The answer is short.", "The answer is plain.")]
    assert result.rows[0].negated == [True, False, False]
    with pytest.raises(UserError, match="'plain' has no opposite"):
        stage(model, rows, context, constitution=constitution(tmp_path), negated=["plain"])
    with pytest.raises(UserError, match=r"no principle 'kin'\. Did you mean 'kind'"):
        stage(model, rows, context, constitution=constitution(tmp_path), negated=["kin"])


def test_a_sample_of_principles_is_drawn_for_the_prompt_and_each_can_be_asked_alone(
    saved, pointing, artifact, context, tmp_path
):
    model, chosen = pointing(saved()), constitution(tmp_path)
    rows = artifact(
        "answers",
        [replace(response(i, f"a kind answer {i}"), prompt_id=f"p{i // 2}") for i in range(40)],
    )
    sampled = stage(model, rows, context, constitution=chosen, sample=2)
    by_group = {}
    for row in sampled.rows:
        assert (
            by_group.setdefault(row.prompt_id, row.principles) == row.principles
            and len(row.principles) == 2
        )
    assert len({tuple(p) for p in by_group.values()}) > 1
    each = stage(model, rows, context, "each", constitution=chosen, each=True)
    for row in each.rows:
        assert row.score == pytest.approx((row.scores[0] + 3 * row.scores[1] + row.scores[2]) / 5)
    both = stage(model, rows, context, "both", constitution=chosen, each=True, sample=2)
    scores = {row.id: dict(zip(row.principles, row.scores, strict=True)) for row in each.rows}
    for row in both.rows:
        of_row = [scores[row.id][name] for name in row.principles]
        assert row.scores == pytest.approx(of_row, abs=2e-5)
        assert row.score == pytest.approx(sum(of_row) / 2, abs=2e-5), "a draw has used the weights"
    assert [row.principles for row in both.rows] == [row.principles for row in sampled.rows]
    whole = stage(model, rows, context, "whole", constitution=chosen, each=True, sample=3)
    assert [row.score for row in whole.rows] == [row.score for row in each.rows]
    alone = stage(model, rows, context, "alone", constitution=chosen | {"only": ["short"]})
    assert [r.score for r in alone.rows] == pytest.approx(
        [r.scores[1] for r in each.rows], abs=2e-5
    )
    assert alone.metrics["stored"] == 40  # `each` has paid for it


def test_the_stage_refuses_principles_for_a_plain_model_and_none_for_another(
    saved, pointing, artifact, context, tmp_path
):
    rows, plain = artifact("answers", [response(0, "a")]), pointing(saved("p", principles=False))
    with pytest.raises(UserError, match="trained without principles"):
        stage(plain, rows, context, constitution=constitution(tmp_path))
    with pytest.raises(UserError, match="need a constitution"):
        stage(plain, rows, context, sample=2)
    assert len(stage(plain, rows, context).rows) == 1
    with pytest.raises(UserError, match="was given none"):
        stage(pointing(saved("r")), rows, context)


def test_the_better_answer_has_the_higher_rating_whatever_the_model_was_trained_for(
    saved, pointing, artifact, context
):
    """What ranks by ratings (best_of, rrhf, kto) must not choose the costliest answer."""
    rows = artifact("answers", [response(0, "a kind answer"), response(1, "harm the dog")])
    found = {}
    for objective in ("preference", "cost"):
        model = saved(objective, principles=False, objective=objective)  # the same weights
        found[objective] = [r.score for r in stage(pointing(model), rows, context, objective).rows]
    assert (
        found["cost"] == [-score for score in found["preference"]]
        and found["cost"][0] != found["cost"][1]
    )


def test_a_response_longer_than_the_context_is_dropped_and_reported(
    saved, pointing, artifact, context, tmp_path
):
    rows = artifact("answers", [response(0, "a"), response(1, "helps " * 600)])
    result = stage(pointing(saved()), rows, context, constitution=constitution(tmp_path))
    assert [r.id for r in result.rows] == ["r0"] and result.dropped[
        0
    ].reason == "longer than the reward model's context"
