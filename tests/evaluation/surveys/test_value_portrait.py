"""ValuePortrait: people's correlations computed again, and a model's scores by hand."""

import json
from pathlib import Path

import pytest

from stages.evaluation.surveys.value_portrait import (
    ALPHA,
    LEAST,
    likeness,
    people_correlations,
    portrait_items,
    portrait_scores,
    published_correlations,
)
from stages.guards.errors import UserError
from tests.evaluation.surveys.answerers import chooser
from tests.evaluation.surveys.test_survey import FEW, ask, values_of

DATA = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "value_portrait"
needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"not there: {DATA}")


def write_portrait(folder):
    """Four responses: two stand for power, one of them only by chance, and one for benevolence."""
    weights = {
        1: {"Power": 0.5, "Benevolence": -0.4},
        2: {"Power": 0.31, "Benevolence": 0.0},
        3: {"Power": -0.2, "Benevolence": 0.6},
        4: {"Power": 0.4, "Benevolence": 0.1},
    }
    outputs, tests = [], []
    for number, correlations in weights.items():
        pairs = [list(pair) for pair in correlations.items()]
        outputs.append({"id": number, "content": f"Response {number}.", "correlations": pairs})
        for value, correlation in correlations.items():
            chance = 0.06 if number == 4 else 0.01
            row = {"portrait_id": "7", "option_id": number, "pvq_dimension": value}
            tests.append(row | {"spearman_corr": correlation, "spearman_p_value": chance})
    content = {"title": "What to do?", "text": "I found a purse."}
    tagged = [{"portrait_id": 7, "content": content, "outputs": outputs}]
    (folder / "query-response-tagged.json").write_text(json.dumps(tagged))
    (folder / "pvq_correlation_results.json").write_text(json.dumps(tests))


RATINGS = {"Response 1.": "like me", "Response 2.": "a little like me"}
RATINGS |= {"Response 3.": "not like me at all", "Response 4.": "very much like me"}


def test_scores_by_hand(tmp_path):
    """Power: (5 + 3) / 2 less (5 + 3 + 1) / 3; the one that is not significant does not count."""
    folder = tmp_path / "portrait"
    folder.mkdir()
    write_portrait(folder)

    def pick(_, options):
        return RATINGS[next(text for text in RATINGS if text in pick.asked)]

    generator = chooser(pick)
    generator.failure = lambda messages: setattr(pick, "asked", messages[-1]["content"])
    done = ask(tmp_path, generator, source=str(folder), **FEW)
    assert values_of(done) == pytest.approx({"power": 4 - 3, "benevolence": 1 - 3})
    facts = done.metrics["models"]["base"]["facts"]["likeness"]
    assert facts["power"]["value"] > 0 > facts["benevolence"]["value"]
    items = portrait_items(str(folder))
    ratings = {item.id: 3.0 + place for place, item in enumerate(items)}
    assert likeness(items, ratings)["benevolence"] == pytest.approx(0.8)
    assert portrait_scores(items, dict.fromkeys(ratings, 4.0)) == {"power": 0, "benevolence": 0}


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "query-response-tagged.json").write_text('[{"title": 1}]')
    (tmp_path / "pvq_correlation_results.json").write_text("[]")
    with pytest.raises(UserError, match="not the files of ValuePortrait"):
        portrait_items(str(tmp_path))


@needs_data
def test_items_and_the_two_that_the_authors_drop_by_hand():
    items = portrait_items(str(DATA))
    assert len(items) == len({item.id for item in items}) == 520
    published = published_correlations(str(DATA))
    by_chance = [key for key, (r, p) in published.items() if r > LEAST and p >= ALPHA]
    assert sorted(by_chance) == [("1901", 1, "Universalism"), ("3902", 4, "Achievement")]
    by_id = {item.id: item for item in items}
    assert by_id["1901-1"].weights["universalism"] == 0


@needs_data
@pytest.mark.slow
def test_all_correlations_are_those_of_the_people():
    published, ours = published_correlations(str(DATA)), people_correlations(str(DATA))
    assert len(published) == 5200 and published.keys() == ours.keys()
    for key, (correlation, p) in published.items():
        assert ours[key] == (pytest.approx(correlation, abs=1e-6), pytest.approx(p, abs=1e-6))
