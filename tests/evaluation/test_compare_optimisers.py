"""What an optimisation gained and cost: KL against torch's own sum, rewards against the scorer,
differences by prompt.
"""

from dataclasses import replace

import pytest

from stages.evaluation import compare_optimisers
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result, finish_artifact
from stages.runtime.models import find_model
from stages.runtime.typed_config import parse_config
from stages.training.likelihood import answer_logps
from stages.training.reward_models.format import make_format, write_format
from stages.training.reward_models.scorer import Scorer
from tests.evaluation import fakes
from tests.tiny_model import build_tiny_model
from tests.training.conftest import artifact, context, response, tiny  # noqa: F401
from tests.training.small_reward_models import reward_model

ASK = [{"role": "user", "content": "how do I help"}]


@pytest.fixture
def pointing(tmp_path):
    def make(name: str, path: str) -> Artifact:
        folder = tmp_path / f"to-{name}"
        folder.mkdir()
        result = Result(metrics={"model_path": path, "revision": None})
        return finish_artifact(folder, name, {}, result, {"seconds": 12.3})

    return make


def test_the_likelihood_is_the_sum_over_the_answer_and_its_end(tiny):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    answers = ["a kind answer", "the dog asks how do I build a safe cat"]
    logps_of_answers = answer_logps(
        find_model(str(tiny)),
        [(ASK, text) for text in answers] + [(ASK, "helps " * 600)],
        batch_size=2,
    )
    assert logps_of_answers[2] is None, "longer than the model's context"
    for text, value in zip(answers, logps_of_answers, strict=False):
        lead = tokenizer.apply_chat_template(ASK, add_generation_prompt=True, return_dict=False)
        whole = tokenizer.apply_chat_template(
            [*ASK, {"role": "assistant", "content": text}], return_dict=False
        )
        assert tokenizer.decode(whole[-2:]) == "<|im_end|>\n"
        whole = whole[:-1]  # the template's newline is no part of the answer
        logps = network(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
        by_hand = sum(logps[i - 1, whole[i]].item() for i in range(len(lead), len(whole)))
        assert value == pytest.approx(by_hand, abs=1e-3)


def test_reward_violations_kl_and_time_beside_each_other(
    tmp_path, tiny, artifact, context, pointing
):
    other = build_tiny_model(tmp_path / "other", seed=5)
    reward = reward_model(tiny, tmp_path / "rm", principles=False)
    start = [replace(response(i, f"poison answer {i}"), prompt_id=f"p{i}") for i in range(6)]
    tuned = [
        replace(response(i, f"a kind answer {i}" if i else "poison answer 0"), prompt_id=f"p{i}")
        for i in range(6)
    ]
    tuned[5] = replace(tuned[5], finish_reason="length")
    inputs = {
        "reward": pointing("reward", reward.path),
        "reference": pointing("reference", str(tiny)),
        "start": artifact("start", start),
        "tuned": artifact("tuned", tuned),
        "tuned_model": pointing("tuned_model", str(other)),
    }
    options = {"ground_truth": "tests.evaluation.fakes:check", "resamples": 200}
    config = parse_config(compare_optimisers.Config, options, "test")
    result = compare_optimisers.run(config, inputs, context("compare"))
    first, second = result.metrics["policies"].values()
    scorer = Scorer(reward)
    mean = {
        name: scorer.score([(r.prompt, r.response, ()) for r in rows])
        for name, rows in (("a", start), ("b", tuned))
    }
    assert second["reward"] == pytest.approx(sum(mean["b"]) / 6, abs=1e-4)
    assert second["gain"]["value"] == pytest.approx((sum(mean["b"]) - sum(mean["a"])) / 6, abs=1e-4)
    assert first["violations"]["value"] == 1
    assert second["violations"]["value"] == pytest.approx(1 / 6)
    assert second["change"]["fell"] == 5 and first["change"] is None and first["gain"] is None
    whole = [(r.prompt, r.response) for r in tuned[:5]]  # the sixth was cut off
    ours, theirs = (answer_logps(find_model(str(path)), whole) for path in (other, tiny))
    expected = sum(a - b for a, b in zip(ours, theirs, strict=True)) / 5
    assert second["kl"]["value"] == pytest.approx(expected, abs=1e-3)
    assert second["kl"]["n"] == 5 and first["kl"] is None
    assert second["seconds"] == 12.3 and first["seconds"] is None
    table = result.tables[0]
    assert [row[0] for row in table.rows] == ["start", "tuned"]
    assert all(cell.isascii() for row in table.rows for cell in row)


def test_policies_that_cannot_be_compared_are_refused(tmp_path, tiny, artifact, context, pointing):
    reward = pointing("reward", reward_model(tiny, tmp_path / "rm", principles=False).path)
    config = compare_optimisers.Config(resamples=100)
    with pytest.raises(UserError, match="no responses to evaluate"):
        compare_optimisers.run(config, {"reward": reward}, context("a"))
    one = artifact("one", [response(0, "a kind answer")])
    other = artifact("other", [response(1, "a kind answer")])
    with pytest.raises(UserError, match="have no prompt in common"):
        compare_optimisers.run(config, {"reward": reward, "one": one, "other": other}, context("b"))
    with pytest.raises(UserError, match="not of the form module:function"):
        compare_optimisers.identity(compare_optimisers.Config(ground_truth="nothing"))


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """The metrics of two policies; a text's score is its length, or None if it does not fit."""

    def measure(objective="preference", fits=True, **options):
        def scores(model, items, *_):
            assert not any(texts for _, _, texts in items)
            return [float(len(text)) if fits else None for _, text, _ in items], {}

        monkeypatch.setattr(compare_optimisers, "stored_scores", scores)
        reward = fakes.model(tmp_path, f"{objective}-{fits}")
        write_format(tmp_path / f"{objective}-{fits}-model", make_format(objective, False, None))
        start = fakes.responses(
            tmp_path, "start", [fakes.response(f"p{i}", "tea") for i in range(6)]
        )
        tuned = fakes.responses(
            tmp_path, "tuned", [fakes.response(f"p{i}", "more tea") for i in range(6)]
        )
        with fakes.context(tmp_path) as here:
            config = compare_optimisers.Config(**options)
            return compare_optimisers.run(
                config, {"reward": reward, "start": start, "tuned": tuned}, here
            ).metrics["policies"]

    return measure


def test_a_gain_is_an_improvement_for_each_objective(measured):
    plain, costs = measured(), measured("cost")
    assert (
        plain["start"]["reward"],
        plain["tuned"]["reward"],
        plain["tuned"]["gain"]["value"],
    ) == (3, 8, 5)
    assert (
        costs["start"]["reward"],
        costs["tuned"]["reward"],
        costs["tuned"]["gain"]["value"],
    ) == (-3, -8, -5)
    assert (
        plain["start"]["gain"] is None
        and plain["tuned"]["violations"] is None
        and plain["tuned"]["kl"] is None
    )


def test_answers_that_are_all_too_long_to_score_are_refused(measured):
    with pytest.raises(UserError, match="no answer fits the reward model's context"):
        measured(fits=False)
