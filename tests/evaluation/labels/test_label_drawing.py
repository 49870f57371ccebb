"""Which prompts are drawn for labels: as many as asked for, with the stated probabilities."""

import pytest

from stages.evaluation.labels.drawing import draw_prompts, inclusion


def doubts(count: int = 200) -> dict[str, float]:
    return {f"p{i}": (i % 10) / 40 for i in range(count)}


def test_probabilities_add_up_and_follow_the_doubt():
    probabilities = inclusion(doubts(), 50, uniform=0.4)
    assert sum(probabilities.values()) == pytest.approx(50)
    assert probabilities["p0"] == pytest.approx(0.4 * 50 / 200), "a sure judge may be wrong"
    assert probabilities["p9"] / probabilities["p0"] > 3
    steps = [probabilities[f"p{i}"] - probabilities["p0"] for i in (1, 4, 9)]
    assert steps[1] / steps[0] == pytest.approx(2) and steps[2] / steps[0] == pytest.approx(3)


def test_no_probability_is_above_one():
    sharp = {f"p{i}": 1.0 if i < 5 else 1e-6 for i in range(100)}
    probabilities = inclusion(sharp, 20, uniform=0.1)
    assert max(probabilities.values()) == 1.0 and sum(probabilities.values()) == pytest.approx(20)
    assert inclusion(sharp, 200, uniform=0.5) == dict.fromkeys(sharp, 1.0)
    alike = inclusion(dict.fromkeys(sharp, 0.0), 10, uniform=0.0)
    assert list(alike.values()) == pytest.approx([0.1] * 100)


def test_draws_have_the_size_and_the_frequencies_that_they_state():
    unsure = doubts(40)
    probabilities = inclusion(unsure, 10, uniform=0.4)
    counts = dict.fromkeys(unsure, 0)
    for seed in range(1500):
        drawn = draw_prompts(unsure, 10, 0.4, seed)
        assert len(drawn) == 10
        for prompt, probability in drawn.items():
            assert probability == probabilities[prompt]
            counts[prompt] += 1
    for prompt, count in counts.items():
        assert count / 1500 == pytest.approx(probabilities[prompt], abs=0.05)
    assert draw_prompts(unsure, 10, 0.4, 1) == draw_prompts(unsure, 10, 0.4, 1)
