"""What an optimisation bought, measured by a reward or a cost model."""

import pytest

from stages.evaluation import optimised
from stages.runtime.errors import UserError
from stages.training.reward_format import make_format, write_format
from tests.evaluation import fakes


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """The stage over two policies; a text's score is its length, or nothing where none fits the model."""

    def measure(objective="preference", fits=True, **options):
        def scores(model, items, *_):
            assert not any(texts for _, _, texts in items)
            return [float(len(text)) if fits else None for _, text, _ in items], {}

        monkeypatch.setattr(optimised, "stored_scores", scores)
        reward = fakes.model(tmp_path, f"{objective}-{fits}")
        write_format(tmp_path / f"{objective}-{fits}-model", make_format(objective, False, None))
        start = fakes.responses(tmp_path, "start", [fakes.response(f"p{i}", "tea") for i in range(6)])
        tuned = fakes.responses(tmp_path, "tuned", [fakes.response(f"p{i}", "more tea") for i in range(6)])
        with fakes.context(tmp_path) as context:
            config = optimised.Config(**options)
            return optimised.run(config, {"reward": reward, "start": start, "tuned": tuned}, context).metrics["policies"]

    return measure


def test_a_gain_is_for_the_better_whatever_the_model_was_trained_for(measured):
    plain, costs = measured(), measured("cost")
    assert (plain["start"]["reward"], plain["tuned"]["reward"], plain["tuned"]["gain"]["value"]) == (3, 8, 5)
    assert (costs["start"]["reward"], costs["tuned"]["reward"], costs["tuned"]["gain"]["value"]) == (-3, -8, -5)
    assert plain["start"]["gain"] is None and plain["tuned"]["violations"] is None and plain["tuned"]["kl"] is None


def test_answers_that_are_all_too_long_to_score_are_told(measured):
    with pytest.raises(UserError, match="no answer fits the reward model's context"):
        measured(fits=False)
