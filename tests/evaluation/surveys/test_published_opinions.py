"""Opinions of people in the forms that are published: GlobalOpinionQA, ESS's microdata of PVQ-21.

The questions are ours; columns, cells and codes are as in the files.
"""

import csv
import math

import pytest

from stages.evaluation.surveys.opinions import WRONG_COUNT, read_opinions
from tests.evaluation.surveys.answerers import by_item, wavering
from tests.evaluation.surveys.test_survey import FEW, FOLLOWS, ask, values_of, write_items

FOUR = ["Very good", "Fairly good", "Bad", "Don't know"]
GLOBAL = [
    {  # Pew: shares as Python prints a defaultdict of fractions
        "question": "Some people write letters, others call. What do you think of letters?",
        "selections": "defaultdict(<class 'list'>, {'Cote d\\'Ivoire': [0.4, 0.3, 0.2, 0.1], "
        '"Lao People\'s Republic": [0.1, 0.2, 0.3, 0.4], '
        "'India (Current national sample)': [0.25, 0.25, 0.25, 0.25], 'Chad': [0.5, 0.5]})",
        "options": str(FOUR),
        "source": "GAS",
    },
    {  # WVS: percentages that do not add to 100, and options that are numbers
        "question": 'On a scale of 1 to 3, how much is "a letter" worth?',
        "selections": "defaultdict(<class 'list'>, {\"Cote d'Ivoire\": [60, 30, 9], "
        "'Chad': [10, 20, 70]})",
        "options": "[1.0, 2.0, 3.0]",
        "source": "WVS",
    },
    {  # nobody answered
        "question": "Is a letter long?",
        "selections": "defaultdict(<class 'list'>, {})",
        "options": "['Yes', 'No']",
        "source": "WVS",
    },
]
CHANCES = {"Very good": 0.5, "Fairly good": 0.3, "Bad": 0.1, "Don't know": 0.1}
CHANCES |= {"1.0": 0.2, "2.0": 0.2, "3.0": 0.6}


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def js_similarity(p, q):
    """1 less the Jensen-Shannon distance to base 2."""
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]

    def divergence(one):
        pairs = zip(one, middle, strict=True)
        return sum(a * math.log2(a / m) for a, m in pairs if a > 0)

    return 1 - math.sqrt((divergence(p) + divergence(q)) / 2)


def log_likelihood(people, model):
    """What the model gives to people's answers, less what their own shares give: nats."""
    return sum(a * math.log(b / a) for a, b in zip(people, model, strict=True) if a > 0)


def test_global_opinion_qa_by_hand(tmp_path):
    source = write_csv(tmp_path / "global_opinions.csv", GLOBAL)
    survey = read_opinions(source)
    assert [item.options for item in survey.items] == [tuple(FOUR), ("1.0", "2.0", "3.0")]
    first, second = (item.people for item in survey.items)
    assert [*first] == [
        "Cote d'Ivoire",
        "Lao People's Republic",
        "India (Current national sample)",
    ]
    assert second["Cote d'Ivoire"] == pytest.approx([60 / 99, 30 / 99, 9 / 99])
    reasons = [row.reason for row in survey.dropped]
    assert reasons == [WRONG_COUNT, "no group of people answered it"], "Chad has two shares of four"

    model = wavering(lambda _, option: math.log(CHANCES[option]), width=0)
    done = ask(tmp_path, model, source=source, instrument="opinions", **FEW)
    people = done.metrics["people"]
    ours = [[CHANCES[option] for option in item.options] for item in survey.items]
    theirs = {
        "Cote d'Ivoire": [(first["Cote d'Ivoire"], ours[0]), (second["Cote d'Ivoire"], ours[1])],
        "Lao People's Republic": [([0.1, 0.2, 0.3, 0.4], ours[0])],
        "India (Current national sample)": [([0.25] * 4, ours[0])],
        "Chad": [([0.1, 0.2, 0.7], ours[1])],
    }
    assert people["similarity"]["models"]["base"].keys() == {"all", *theirs}
    for group, pairs in theirs.items():
        alike = people["similarity"]["models"]["base"][group]
        mean = sum(js_similarity(*pair) for pair in pairs) / len(pairs)
        assert alike["value"] == pytest.approx(mean) and alike["n"] == len(pairs)
        joint = sum(log_likelihood(*pair) for pair in pairs)
        assert people["joint"]["base"][group] == pytest.approx(joint)


# The columns of ESS's human values scale, in the order of PVQ-21's items.
ESS = "ipcrtiv imprich ipeqopt ipshabt impsafe impdiff ipfrule ipudrst ipmodst ipgdtim impfree "
ESS += "iphlppl ipsuces ipstrgv ipadvnt ipbhprp iprspot iplylfr impenv imptrad impfun"


def test_microdata_of_the_european_social_survey(tmp_path):
    """1 is "very much like me" there; 7, 8 and 9, or 66 to 99, are no answers; `pspwght` counts."""
    columns = {name: str(i) for i, name in enumerate(ESS.split(), 1)}
    assert len(columns) == 21
    alike = {name: 7 - (i % 6 + 1) for name, i in zip(columns, range(1, 22), strict=True)}
    other = {name: 7 - rating for name, rating in alike.items()}
    rows = [{"cntry": "DE", "pspwght": 0.5, **alike}, {"cntry": "DE", "pspwght": 2, **alike}]
    rows += [{"cntry": "DE", "pspwght": 1, **dict.fromkeys(columns, 99)}]
    rows += [{"cntry": "FI", "pspwght": 1.5, **other}]
    people = {
        "file": write_csv(tmp_path / "ess.csv", rows),
        "group": "cntry",
        "weight": "pspwght",
        "columns": columns,
        "is_reversed": True,
    }
    model = by_item({f"Item {i}.": FOLLOWS[i % 6] for i in range(1, 22)})
    few = FEW | {"orders": 1}
    source = write_items(tmp_path, 21)
    done = ask(tmp_path, model, source=source, instrument="pvq21", people=people, **few)
    facts = done.metrics["people"]
    assert facts["read"] == {"groups": 2, "answers": 63, "missing": 21}
    assert facts["similarity"]["models"]["base"]["DE"]["value"] == pytest.approx(1, abs=1e-6)
    profiles = facts["profiles"]["base"]
    assert profiles["DE"]["pearson"] == pytest.approx(1)
    assert profiles["DE"]["mean_absolute_error"] == pytest.approx(0, abs=1e-6)
    assert profiles["FI"]["pearson"] == pytest.approx(-1), "the same answers from the other end"
    distances = [2 * abs(value) for value in values_of(done).values()]
    mean = sum(distances) / len(distances)
    assert profiles["FI"]["mean_absolute_error"] == pytest.approx(mean, abs=1e-6)
