"""Every published key, asked of a scripted answerer whose scores are computed by hand, and every
kind of survey, asked of one that is blind to the order of the options.

PVQ-21, PVQ-40, MFQ-30 and the slider are in test_survey.py.
"""

import hashlib
import math
from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize

from stages.evaluation.surveys.forms import DESCRIBES_ME, IMPORTANCE, LIKE_ME
from stages.evaluation.surveys.questionnaire import read_questionnaire
from stages.statistics.ranking import strengths
from tests.embedded import ROOT
from tests.evaluation.surveys.answerers import by_item, wavering
from tests.evaluation.surveys.test_questionnaire_files import opinions
from tests.evaluation.surveys.test_survey import (
    ask,
    own_survey,
    values_of,
    verdicts_of,
    write_items,
)
from tests.evaluation.surveys.test_value_portrait import write_portrait

# Item i is answered with the option i mod (number of options), counted from 0. The numbers are the
# ratings of each dimension's items, added, and how many they are, written out from the keys.
PVQ_RR = {
    "self-direction-thought": 2 + 6 + 4,  # items 1, 23, 39
    "self-direction-action": 5 + 1 + 3,
    "stimulation": 5 + 5 + 2,
    "hedonism": 4 + 1 + 5,
    "achievement": 6 + 3 + 1,
    "power-dominance": 1 + 6 + 6,
    "power-resources": 1 + 3 + 3,
    "face": 4 + 1 + 2,
    "security-personal": 2 + 3 + 6,
    "security-societal": 3 + 6 + 3,
    "tradition": 1 + 4 + 5,
    "conformity-rules": 4 + 2 + 1,
    "conformity-interpersonal": 5 + 5 + 4,
    "humility": 2 + 3 + 1,
    "universalism-nature": 3 + 4 + 4,
    "universalism-concern": 6 + 2 + 5,
    "universalism-tolerance": 3 + 5 + 4,
    "benevolence-caring": 6 + 2 + 6,
    "benevolence-dependability": 2 + 4 + 2,
}
SVS = {
    "conformity": (1 + 1 + 3 + 1, 4),  # items 11, 20, 40, 47
    "tradition": (-1 + 4 - 1 + 7 + 5, 5),
    "benevolence": (5 - 1 + 3 + 6 - 1, 5),
    "universalism": (0 + 7 + 5 + 7 + 1 + 2 + 7 + 1, 8),
    "self-direction": (4 + 6 + 3 + 4 + 7, 5),
    "stimulation": (-1 + 6 + 0, 3),
    "hedonism": (3 + 4 + 2, 3),
    "achievement": (6 + 2 + 6 + 0, 4),
    "power": (2 + 2 - 1 + 0, 4),
    "security": (7 + 3 + 5 + 3 + 1, 5),
}
TWIVI = {
    "conformity": 2 + 6,  # items 1, 11
    "tradition": 3 + 1,
    "benevolence": 4 + 2,
    "universalism": 5 + 3,
    "self-direction": 6 + 4,
    "stimulation": 1 + 5,
    "hedonism": 2 + 6,
    "achievement": 3 + 1,
    "power": 4 + 2,
    "security": 5 + 3,
}
MFQ2 = {
    "care": 2 + 3 + 4 + 5 + 1 + 2,  # items 1, 7, 13, 19, 25, 31
    "equality": 3 + 4 + 5 + 1 + 2 + 3,
    "proportionality": 4 + 5 + 1 + 2 + 3 + 4,
    "loyalty": 5 + 1 + 2 + 3 + 4 + 5,
    "authority": 1 + 2 + 3 + 4 + 5 + 1,
    "purity": 2 + 3 + 4 + 5 + 1 + 2,
}
# Of all ratings, to be taken from each score; MFQ-2 is not centred.
MEANS = {"pvq_rr": 198 / 57, "svs": 165 / 57, "twivi": 68 / 20, "mfq2": 0.0}
KEYS = {
    "pvq_rr": (57, LIKE_ME, {name: (total, 3) for name, total in PVQ_RR.items()}),
    "svs": (57, IMPORTANCE, SVS),
    "twivi": (20, LIKE_ME, {name: (total, 2) for name, total in TWIVI.items()}),
    "mfq2": (36, DESCRIBES_ME, {name: (total, 6) for name, total in MFQ2.items()}),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_published_key_by_hand(tmp_path, name):
    count, scale, by_hand = KEYS[name]
    options = list(scale)
    answers = {f"Item {i}.": options[i % len(options)] for i in range(1, count + 1)}
    few = {"wordings": 2, "retests": 1, "orders": 1}
    source = write_items(tmp_path, count)
    done = ask(tmp_path, by_item(answers), source=source, instrument=name, **few)
    expected = {key: total / items - MEANS[name] for key, (total, items) in by_hand.items()}
    assert values_of(done) == pytest.approx(expected, abs=1e-9)
    facts = done.metrics["models"]["base"]
    assert facts["asked"] == facts["answered"] == count * 3
    if MEANS[name]:
        assert facts["facts"]["mean"] == pytest.approx(MEANS[name])
    assert verdicts_of(done) == {"measurable"}


PAIRS = str(ROOT / "surveys" / "rokeach_pairs.yaml")


def test_rokeachs_values_by_pairs_recover_a_planted_order(tmp_path):
    """Who prefers a thing by the logistic of a difference of worths gives their order back.

    Each two that met have a tie beside what was answered, which draws strengths together; what then
    is likeliest is computed here again. Without that tie the worths themselves come out.
    """
    survey = read_questionnaire(PAIRS)
    lists = {"terminal": {}, "instrumental": {}}
    for item in survey.items:
        lists[item.dimension] |= zip(item.id.split("|"), item.options, strict=True)
    assert len(survey.items) == 2 * 153
    worth, by_text = {}, {}
    for texts in lists.values():
        planted = sorted(texts, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        worth |= {name: 0.2 * place - 1.7 for place, name in enumerate(planted)}
        by_text |= {texts[name]: worth[name] for name in texts}
    model = wavering(lambda _, option: by_text[option], width=0)
    done = ask(tmp_path, model, source=PAIRS, wordings=1, retests=0)
    values = values_of(done)
    items = done.metrics["models"]["base"]["items"]
    for texts in lists.values():
        names = [*texts]
        assert len(names) == 18
        assert sorted(names, key=values.get) == sorted(names, key=worth.get)
        wins = {}
        for first, second in combinations(names, 2):
            wins[first, second], wins[second, first] = items[f"{first}|{second}"]["probabilities"]
        likeliest = by_likelihood(names, {pair: (share + 0.5) / 2 for pair, share in wins.items()})
        assert [values[name] for name in names] == pytest.approx(likeliest, abs=1e-3)
        without = strengths(wins, imagined=0)
        assert without == pytest.approx({name: worth[name] for name in names}, abs=1e-4)


def by_likelihood(names, shares):
    """The strengths that make shares of wins likeliest, by a general optimiser."""
    first, second = np.triu_indices(len(names), 1)
    won = np.array([shares[names[a], names[b]] for a, b in zip(first, second, strict=True)])

    def loss(logs):
        odds = logs[first] - logs[second]
        return np.sum(np.logaddexp(0, odds) - won * odds) + np.sum(logs) ** 2

    return minimize(loss, np.zeros(len(names)), method="BFGS").x


def scale_survey(folder):
    return {"source": own_survey(folder)}


def slider(folder):
    return {"instrument": "svo"}


def pairs(folder):
    (folder / "things.csv").write_text("id,text\npeace,peace\nwealth,wealth\nrest,rest\n")
    return {"source": str(folder / "things.csv"), "instrument": "pairs"}


def portrait(folder):
    (folder / "portrait").mkdir()
    write_portrait(folder / "portrait")
    return {"source": str(folder / "portrait")}


def peoples_opinions(folder):
    return {"source": opinions(folder), "instrument": "opinions"}


@pytest.mark.parametrize("survey", [scale_survey, slider, pairs, portrait, peoples_opinions])
def test_order_is_nothing_to_who_is_blind_to_it(tmp_path, survey):
    """Neither a score nor a probability depends on the orders, the seed, or their number."""

    def worth(item, option):
        return int(hashlib.sha256(f"{item}{option}".encode()).hexdigest()[:4], 16) / 2**15

    options = survey(tmp_path)
    results = []
    ways = ({}, {"orders": 1, "shuffle": False}, {"orders": 1}, {"orders": 2, "reverse": True})
    for number, way in enumerate(ways):
        folder = tmp_path / str(number)
        folder.mkdir()
        model = wavering(worth, width=0)
        done = ask(folder, model, number, wordings=1, retests=0, **options, **way)
        facts = done.metrics["models"]["base"]
        chances = {name: item["probabilities"] for name, item in facts["items"].items()}
        alike = done.metrics.get("people", {}).get("joint", {}).get("base", {})
        results.append((values_of(done), chances, alike))
        assert all(len(set(each)) > 1 for each in chances.values()), "the answerer has opinions"
    first, *others = results
    assert first[0] or first[2]
    for scores, chances, alike in others:
        assert scores == pytest.approx(first[0], abs=1e-9)
        assert alike == pytest.approx(first[2], abs=1e-9)
        assert chances.keys() == first[1].keys()
        for name, each in chances.items():
            assert each == pytest.approx(first[1][name], abs=1e-9)
        assert all(math.isfinite(value) for value in scores.values())
