"""Learning from groups of rated answers: RRHF and Stable Alignment against plain float64
arithmetic.
"""

import math
import random
from dataclasses import replace

import pytest

from stages.guards.errors import UserError
from stages.runtime.rows import Rating
from stages.runtime.typed_config import parse_config
from stages.training.offline import ranking
from stages.training.offline.groups import into_groups, read_ratings
from stages.training.offline.ranking_losses import rrhf_loss, stable_alignment_loss
from tests.training.conftest import REQUESTS, response

ARGS = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "max_steps": 12,
    "learning_rate": 5e-3,
}
ARGS |= {"max_length": 96, "save_strategy": "no", "lr_scheduler_type": "constant"}
ANSWERS = ["kind answer", "the dog asks", "harm the dog"]


def rating(group: int, place: int, text: str, score: float, model: str = "rm") -> Rating:
    return Rating(
        id=f"g{group}-{place}",
        response_id=f"p{group}-{place}",
        prompt_id=f"g{group}",
        kind="k",
        prompt=[{"role": "user", "content": f"{REQUESTS[group % 6]} {group}"}],
        response=text,
        score=score,
        principles=["p"],
        negated=[False],
        scores=[],
        model=model,
    )


def ratings(groups: int = 12) -> list[Rating]:
    return [rating(g, i, text, 3.0 - i) for g in range(groups) for i, text in enumerate(ANSWERS)]


def rrhf_by_hand(sums, lengths, scores, penalty, weight):
    s = [a / n**penalty for a, n in zip(sums, lengths, strict=True)]
    k = range(len(s))
    ranking = sum(max(0.0, s[i] - s[j]) for i in k for j in k if scores[i] < scores[j])
    best = max(k, key=lambda i: scores[i])
    return weight * ranking - sums[best] / lengths[best]


def stable_by_hand(sums, lengths, scores, ratio, margin, scale, max_flow):
    ce = [-a / n for a, n in zip(sums, lengths, strict=True)]
    best = max(range(len(ce)), key=lambda i: scores[i])
    terms = [
        ce[best] - ce[i] + (scores[best] - scores[i]) / scale * margin
        for i in range(len(ce))
        if i != best
    ]
    return ce[best] + ratio * max(0.0, max(terms) if max_flow else sum(terms) / len(terms))


def test_both_losses_are_those_of_the_papers():
    import torch

    draw = random.Random(0)
    for _ in range(60):
        k = draw.randint(2, 6)
        sums = [-draw.uniform(1, 40) for _ in range(k)]
        lengths = [draw.randint(1, 30) for _ in range(k)]
        scores = [float(draw.randint(1, 7)) for _ in range(k)]  # ties are common
        tensors = [torch.tensor(x, dtype=torch.float64) for x in (sums, lengths, scores)]
        for penalty, weight in ((1.0, 1.0), (0.5, 2.0), (0.0, 0.3)):
            ours = rrhf_loss(*tensors, penalty, weight).item()
            assert ours == pytest.approx(
                rrhf_by_hand(sums, lengths, scores, penalty, weight), abs=1e-10
            )
        for max_flow in (False, True):
            ours = stable_alignment_loss(*tensors, 0.2, 10.0, 7.0, max_flow).item()
            assert ours == pytest.approx(
                stable_by_hand(sums, lengths, scores, 0.2, 10.0, 7.0, max_flow), abs=1e-10
            )


def test_what_is_ranked_right_leaves_the_cross_entropy_of_the_best():
    import torch

    lengths, scores = torch.tensor([4.0, 2.0, 5.0]), torch.tensor([3.0, 2.0, 1.0])
    ranked = torch.tensor([-1.0, -2.0, -3.0]) * lengths
    assert rrhf_loss(ranked, lengths, scores).item() == pytest.approx(1.0)
    assert rrhf_loss(ranked.flip(0) / lengths.flip(0) * lengths, lengths, scores).item() > 3.0
    equal = torch.full((3,), 2.0)
    assert rrhf_loss(
        ranked.flip(0) / lengths.flip(0) * lengths, lengths, equal
    ).item() == pytest.approx(3.0)
    # margins are 0.5 and 1 nat a token: satisfied by gaps of 1 and 2, not by 0.4 and 0.8
    for gap, slack in ((1.0, 0.0), (0.4, 0.15)):
        sums = -torch.tensor([1.0, 1.0 + gap, 1.0 + 2 * gap]) * lengths
        loss = stable_alignment_loss(sums, lengths, scores, 0.2, 1.0, 2.0)
        assert loss.item() == pytest.approx(1.0 + 0.2 * slack, abs=1e-6)
    tied = stable_alignment_loss(
        -torch.tensor([1.0, 1.0, 1.0]) * lengths, lengths, equal, 0.2, 1e6, 2.0
    )
    assert tied.item() == pytest.approx(1.0)  # equal ratings ask for no margin, however large


def test_a_margin_belongs_to_its_own_answer_whatever_the_order():
    """The released code mixed up sorted and unsorted places; max_flow shows that in the value."""
    import torch

    sums, lengths, scores = (
        torch.tensor([-9.0, -1.0, -4.0]),
        torch.ones(3),
        torch.tensor([1.0, 7.0, 4.0]),
    )
    expected = 1.0 + 0.2 * max(1 - 9 + 6 / 7 * 10, 1 - 4 + 3 / 7 * 10)
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        assert stable_alignment_loss(
            sums[order], lengths, scores[order], 0.2, 10.0, 7.0, True
        ).item() == pytest.approx(expected)


def test_groups_are_ranked_and_what_cannot_be_compared_is_reported(artifact):
    rows = [
        *ratings(1)[::-1],
        rating(1, 0, "alone", 1.0),
        rating(2, 0, "x", 1.0),
        rating(2, 1, "x", 2.0),
        rating(2, 2, " ", 1),
    ]
    examples, dropped = read_ratings(
        {"model": artifact("base"), "ratings": artifact("ratings", rows)}
    )
    assert {(d.id, d.reason) for d in dropped} == {
        ("g2-1", "duplicate"),
        ("g2-2", "empty completion"),
    }
    groups, alone = into_groups(examples, 0, "here")
    assert [c[0]["content"] for c in groups[0]["completions"]] == ANSWERS and groups[0][
        "scores"
    ] == [3.0, 2.0, 1.0]
    assert {(d.id, d.reason) for d in alone} == {
        (f"g{g}-0", "the only answer to its request") for g in (1, 2)
    }
    two, dropped = into_groups(examples, 2, "here")
    assert two[0]["scores"] == [3.0, 1.0] and ("g0-1", "more than `limit` answers") in {
        (d.id, d.reason) for d in dropped
    }


def test_answers_that_were_cut_off_are_dropped_where_their_responses_are_given(artifact):
    answers = [replace(response(i, text), id=f"p0-{i}") for i, text in enumerate(ANSWERS)]
    answers[0] = replace(answers[0], finish_reason="length")
    inputs = {
        "model": artifact("base"),
        "ratings": artifact("ratings", ratings(1)),
        "responses": artifact("answers", answers),
    }
    examples, dropped = read_ratings(inputs)
    assert [e["id"] for e in examples] == ["g0-1", "g0-2"]
    assert [(d.id, d.reason) for d in dropped] == [("g0-0", "cut off at max_tokens")]


@pytest.mark.parametrize(
    "rows, message",
    [
        ([rating(0, 0, "a", 1.0), rating(1, 0, "b", 1.0)], "no request has two different answers"),
        ([rating(0, 0, "a", 1.0), rating(0, 1, "b", 1.0)], "constant within every group"),
        ([rating(0, 0, "a", math.nan), rating(0, 1, "b", 1.0)], "is not a number"),
        ([rating(0, 0, "a", 1.0), rating(0, 1, "b", 2.0, model="another")], "different raters"),
        ([rating(0, 0, " ", 1.0)], "no rating is left"),
    ],
)
@pytest.mark.parametrize("loss", ["rrhf", "stable_alignment"])
def test_bad_ratings_get_one_clear_message(artifact, context, loss, rows, message):
    inputs = {"model": artifact("base"), "ratings": artifact("ratings", rows)}
    with pytest.raises(UserError, match=rf"(?s){message}.*Fix:"):
        ranking.run(ranking.Config(loss=loss, args=ARGS), inputs, context())


def test_bad_options_are_reported_when_the_plan_is_made():
    with pytest.raises(UserError, match="makes its tokens itself"):
        ranking.check(ranking.Config(loss="rrhf", args={"packing": True}))
    with pytest.raises(UserError, match="compares nothing"):
        ranking.check(ranking.Config(loss="stable_alignment", limit=1))
    with pytest.raises(UserError, match="scale"):
        parse_config(ranking.Config, {"loss": "stable_alignment", "scale": 0.0}, "step 'it'")


@pytest.mark.parametrize(
    "loss, option",
    [
        ("rrhf", {"ratio": 0.5}),
        ("rrhf", {"max_flow": True}),
        ("stable_alignment", {"weight": 2.0}),
        ("stable_alignment", {"length_penalty": 0.5}),
    ],
)
def test_an_option_of_the_other_loss_is_refused(loss, option):
    with pytest.raises(UserError, match=rf"(?s){next(iter(option))}: an option of the loss.*Fix:"):
        ranking.check(ranking.Config(loss=loss, **option))


def test_the_trainers_loss_is_the_mean_over_its_groups(artifact, context):
    import torch

    rows = [*ratings(2), rating(0, 3, "a longer answer: the cat helps the dog", 2.5)]
    inputs = {"model": artifact("base"), "ratings": artifact("ratings", rows)}
    groups, _ = into_groups(read_ratings(inputs)[0], 0, "here")
    config = ranking.Config(loss="rrhf", args=ARGS, eval_fraction=0)
    trainer = ranking.build_trainer(config, inputs["model"].model(), groups, context())
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(2)])
    assert batch["sizes"].tolist() == [4, 3] and len(batch["input_ids"]) == 7
    loss = trainer.compute_loss(trainer.model, batch).item()
    tokenizer, model, by_hand = trainer.processing_class, trainer.model.double(), []
    for group in groups:
        sums, lengths = [], []
        for completion in group["completions"]:
            prompt = tokenizer.apply_chat_template(
                group["prompt"], add_generation_prompt=True, return_dict=False
            )
            ids = torch.tensor(
                [tokenizer.apply_chat_template(group["prompt"] + completion, return_dict=False)]
            )
            logp = (
                torch.log_softmax(model(input_ids=ids).logits[:, :-1], -1)
                .gather(-1, ids[:, 1:, None])
                .squeeze()
            )
            sums.append(logp[len(prompt) - 1 :].sum().item())
            lengths.append(ids.shape[1] - len(prompt))
        by_hand.append(rrhf_by_hand(sums, lengths, group["scores"], 1.0, 1.0))
    assert loss == pytest.approx(sum(by_hand) / 2, abs=1e-4)


@pytest.mark.parametrize(
    "loss, lora", [("rrhf", None), ("rrhf", {"r": 4}), ("stable_alignment", None)]
)
def test_a_ranking_is_learnt(artifact, context, loss, lora):
    inputs = {"model": artifact("base"), "ratings": artifact("ratings", ratings(18))}
    here = context()
    args = ARGS | ({"learning_rate": 3e-2} if lora else {})
    config = ranking.Config(loss=loss, args=args, lora=lora, eval_fraction=0.3)
    result = ranking.run(config, inputs, here)
    held, history = result.metrics["held_out"], result.metrics["history"]
    assert held["n"] + result.metrics["n"] == 18
    assert held["accuracy"] == 1.0 and held["margin"] > 0
    assert history[-1]["loss"] < history[0]["loss"] and history[-1]["accuracy"] == 1.0
    assert (here.directory / "model" / "model.safetensors").exists()


def test_too_long_answers_leave_their_group(artifact, context):
    rows = [*ratings(4), rating(0, 9, "the cat " * 90, 9.0)]
    inputs = {"model": artifact("base"), "ratings": artifact("ratings", rows)}
    config = ranking.Config(loss="rrhf", args=ARGS | {"max_steps": 1}, eval_fraction=0)
    result = ranking.run(config, inputs, context())
    assert [(d.id, d.reason) for d in result.dropped] == [("g0-9", "longer than max_length")]
    assert result.metrics["n"] == 4 and result.metrics["held_out"] is None


@pytest.mark.parametrize(
    "loss, option",
    [
        ("rrhf", {"weight": -1.0}),
        ("rrhf", {"length_penalty": -1.0}),
        ("stable_alignment", {"ratio": -0.2}),
        ("stable_alignment", {"margin": -10.0}),
        ("rrhf", {"eval_fraction": 1.0}),
        ("stable_alignment", {"eval_fraction": -0.1}),
    ],
)
def test_options_that_would_negate_the_loss_are_refused(loss, option):
    with pytest.raises(UserError, match=next(iter(option))):
        parse_config(ranking.Config, {"loss": loss} | option, "step 'it'")
