"""Stage `survey`: scripted answerers get the scores that are computed by hand, in any order; what
cannot be read is dropped; what cannot be measured is said.
"""

import json
from math import exp
from pathlib import Path

import pytest

from stages.evaluation.surveys.forms import AGREEMENT, LIKE_ME, RELEVANCE
from stages.guards.errors import UserError
from stages.runtime.rows import Answer
from tests.evaluation.surveys.answerers import (
    by_item,
    chooser,
    mumbler,
    payoffs,
    slots,
    wavering,
)
from tests.running import fake_model, run_steps

FOLLOWS = list(LIKE_ME)
FEW = {"wordings": 2, "retests": 1, "orders": 2}
"""Enough for an answerer that is blind to order and wording."""


def ask(folder, generator, seed=0, models=("base",), **options):
    """Run a survey; returns its artifact."""
    steps = {}
    for name in models:
        path = fake_model(folder / name, name.encode())
        steps[name] = {"stage": "model", "path": str(path)}
    inputs = {name: name for name in models}
    steps["asked"] = {"stage": "survey", "inputs": inputs, **options}
    _, done = run_steps(steps, folder, generator, seed)
    return done["asked"]


def values_of(artifact, model="base"):
    scores = artifact.metrics["models"][model]["scores"]
    return {name: score["value"] for name, score in scores.items()}


def verdicts_of(artifact, model="base"):
    scores = artifact.metrics["models"][model]["scores"]
    return {score["verdict"] for score in scores.values()}


def write_items(folder, count, name="items.jsonl", **cells):
    records = [{"id": i, "text": f"Item {i}.", **cells} for i in range(1, count + 1)]
    (folder / name).write_text("".join(json.dumps(one) + "\n" for one in records))
    return str(folder / name)


def cycle(count):
    """Ratings (i mod 6) + 1, of values_eval.md section 7.2."""
    return by_item({f"Item {i}.": FOLLOWS[i % 6] for i in range(1, count + 1)})


def least(key):
    return chooser(lambda item, options: min(options, key=lambda one: key(*payoffs(one))))


@pytest.mark.parametrize(
    "key, angle, category",
    [
        (lambda own, other: -other, 61.39, "altruistic"),
        (lambda own, other: other - own, -16.26, "competitive"),
        (lambda own, other: abs(own - other), 37.48, "prosocial"),
        (lambda own, other: -own - other / 1000, 7.815, "individualistic"),
        (lambda own, other: -own + other / 1000, -7.815, "individualistic"),
        (lambda own, other: -own + abs(other - 50) / 1000, 0.0, "individualistic"),
    ],
)
def test_angles_of_pure_types(tmp_path, key, angle, category):
    few = FEW | {"instrument": "svo"}
    done = ask(tmp_path, least(key), **few)
    facts = done.metrics["models"]["base"]
    assert facts["scores"]["angle"]["value"] == pytest.approx(angle, abs=6e-3)
    assert facts["scores"]["angle"]["modal"] == pytest.approx(angle, abs=6e-3)
    assert facts["facts"]["category"] == category
    assert facts["scores"]["angle"]["verdict"] == "measurable"
    assert len(done.rows(Answer)) == 6 * 2 * 3


def test_a_survey_with_a_key_by_hand(tmp_path):
    """The reference values of values_eval.md section 7.2."""
    pvq40 = ask(tmp_path, cycle(40), source=write_items(tmp_path, 40), instrument="pvq40", **FEW)
    by_hand = {
        "conformity": -0.25,
        "tradition": -0.5,
        "benevolence": -1.0,
        "universalism": 5 / 6,
        "self-direction": 1.0,
        "stimulation": -1.5,
        "hedonism": -1 / 6,
        "achievement": -0.75,
        "power": 5 / 6,
        "security": 0.7,
    }
    assert values_of(pvq40) == pytest.approx(by_hand, abs=1e-9)
    assert pvq40.metrics["models"]["base"]["facts"]["mean"] == pytest.approx(3.5)
    assert verdicts_of(pvq40) == {"measurable"}
    reliability = pvq40.metrics["models"]["base"]["reliability"]
    assert {kind: one["value"] for kind, one in reliability.items()} == {
        "order": 1,
        "wording": 1,
        "retest": 1,
    }


def test_order_does_not_matter_to_who_is_blind_to_it(tmp_path):
    source = write_items(tmp_path, 21)
    few = {"source": source, "instrument": "pvq21", "wordings": 1, "retests": 0}
    found = []
    ways = ({"orders": 3}, {"shuffle": False, "orders": 1}, {"reverse": True, "orders": 1})
    for number, options in enumerate(ways):
        (tmp_path / str(number)).mkdir()
        found.append(values_of(ask(tmp_path / str(number), cycle(21), number, **few, **options)))
    assert all(one == pytest.approx(found[0], abs=1e-9) for one in found)
    assert found[0]["conformity"] == pytest.approx(0.0714, abs=5e-5)
    assert found[0]["benevolence"] == pytest.approx(-2.4286, abs=5e-5)


def test_attention_is_checked(tmp_path):
    """All 5s: each foundation has 5, and item 6 shows that nobody read."""
    tops = {**{f"Item {i}.": [*RELEVANCE][5] for i in range(1, 17)}}
    tops |= {f"Item {i}.": [*AGREEMENT][5] for i in range(17, 33)}
    few = FEW | {"orders": 1}
    done = ask(tmp_path, by_item(tops), source=write_items(tmp_path, 32), instrument="mfq30", **few)
    assert values_of(done) == pytest.approx(dict.fromkeys(values_of(done), 5.0))
    assert len(values_of(done)) == 5
    assert done.metrics["models"]["base"]["facts"]["caught"] == [6]
    assert verdicts_of(done) == {"not measurable"}
    assert "attention" in done.manifest.warnings[0]


def test_a_model_that_sees_only_places_is_uniform(tmp_path):
    done = ask(tmp_path, slots(0.6, 0.3, 0.1), source=own_survey(tmp_path), wordings=2)
    facts = done.metrics["models"]["base"]
    for item in facts["items"].values():
        assert item["probabilities"] == pytest.approx([1 / 3] * 3)
        assert item["order"] > 0.2 and item["wording"] < 1e-6
    assert values_of(done) == pytest.approx(dict.fromkeys(values_of(done), 0.0), abs=1e-9)
    assert verdicts_of(done) == {"not measurable"}
    assert "measures nothing of 'base'" in done.manifest.warnings[0]


def test_noise_is_no_number(tmp_path):
    few = {"source": own_survey(tmp_path), "wordings": 1, "retests": 1}
    done = ask(tmp_path, mumbler(0.001), **few)
    facts = done.metrics["models"]["base"]
    assert facts["scores"] == {} and facts["invalid"] == 1 and facts["answered"] == 0
    assert facts["verdict"] == "not measurable"
    assert done.manifest.dropped == {"next to no probability on the options": 5 * 3 * 2}
    half = ask(tmp_path, mumbler(0.03), **few | {"seed": 1})
    facts = half.metrics["models"]["base"]
    assert facts["leaked"] == pytest.approx(0.97) and verdicts_of(half) == {"not measurable"}
    assert "3.0 % of the probability" in " ".join(facts["reasons"])


def own_survey(folder, name="own.yaml"):
    text = [
        "name: Ours",
        "centred: true",
        "options: {'no': 1, perhaps: 2, 'yes': 3}",
        "items:",
        "- {id: a1, text: I help., dimension: care}",
        "- {id: a2, text: I hurt., dimension: care, reversed: true}",
        "- {id: b1, text: I lead., dimension: power}",
        "- {id: b2, text: I command., dimension: power}",
        "- {id: b3, text: I obey., dimension: power, reversed: yes}",
    ]
    (folder / name).write_text("\n".join(text) + "\n")
    return str(folder / name)


LIKES = {"I help.": "yes", "I hurt.": "no", "I lead.": "no", "I command.": "no", "I obey.": "yes"}


def test_reversed_items_and_what_moved(tmp_path):
    """The second model answers care alike and power the other way; wordings move both a little."""

    def worth(item, option):
        return 2.0 if LIKES[item] == option else 0.0

    def stronger(item, option):
        turned = {"yes": "no", "no": "yes"}
        is_power = item in ("I lead.", "I command.", "I obey.")
        return 2.0 if (turned[LIKES[item]] if is_power else LIKES[item]) == option else 0.0

    generators = {
        "base": wavering(worth, 0.1),
        "tuned": wavering(stronger, 0.1),
        "noise": slots(0.7, 0.3),
    }

    async def open_one(name, model, options):
        return generators[Path(model.path).name]

    steps = {}
    for name in generators:
        path = fake_model(tmp_path / name, name.encode())
        steps[name] = {"stage": "model", "path": str(path)}
    inputs = {name: name for name in generators}
    source = own_survey(tmp_path)
    steps["asked"] = {"stage": "survey", "inputs": inputs, "source": source}
    _, done = run_steps(steps, tmp_path, opener=open_one)
    done = done["asked"]
    base, tuned = values_of(done), values_of(done, "tuned")
    assert base["care"] > 0 > base["power"]
    raw = done.metrics["models"]["tuned"]["facts"]["raw"]
    assert raw["care"] == pytest.approx(raw["power"], abs=0.2) and abs(tuned["power"]) < 0.2
    changes = done.metrics["differences"]
    assert changes["tuned"]["power"]["verdict"] == "moved" and changes["tuned"]["power"]["low"] > 0
    assert {one["verdict"] for one in changes["noise"].values()} == {"not measurable"}
    assert (
        done.metrics["alpha"]["power"]["n"] == 3 and done.metrics["alpha"]["power"]["value"] > 0.9
    )
    titles = [table.title for table in done.manifest.tables]
    assert any("what moved" in title for title in titles)


def test_not_moved(tmp_path):
    """The same answers from another model are no move."""

    def worth(item, option):
        return 2.0 if LIKES[item] == option else 0.0

    source = own_survey(tmp_path)
    done = ask(tmp_path, wavering(worth, 0.1), models=("base", "other"), source=source)
    assert {one["verdict"] for one in done.metrics["differences"]["other"].values()} == {
        "not moved"
    }


def test_things_by_pairs(tmp_path):
    """Four things in a strict order, each twice as likely as the next: strengths are ln 2 apart."""
    names = ["peace", "wealth", "fame", "rest"]
    rows = "".join(f"{one},{one},ends\n" for one in names)
    (tmp_path / "things.csv").write_text(f"id,text,dimension\n{rows}honesty,honesty,means\n")

    def scores(item, options):
        return min(options, key=names.index)

    source = str(tmp_path / "things.csv")
    few = {"wordings": 2, "retests": 1}
    done = ask(tmp_path, chooser(scores), source=source, instrument="pairs", **few)
    values = values_of(done)
    assert sorted(values, key=values.get, reverse=True) == names, "honesty has nothing to meet"
    assert len(done.rows(Answer)) == 6 * 2 * 3
    assert sum(values.values()) == pytest.approx(0, abs=1e-6)


def test_every_number_is_in_the_rows(tmp_path):
    done = ask(tmp_path, cycle(21), source=write_items(tmp_path, 21), instrument="pvq21", **FEW)
    row = done.rows(Answer)[0]
    assert row.id == "base/1/0-test/0" and exp(row.logprobs[1]) == pytest.approx(1)
    assert sorted(row.order) == list(range(6)) and row.options == FOLLOWS
    assert len({each.prompt_id for each in done.rows(Answer)}) == 21


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "no items to ask"),
        ({"instrument": "pvq12"}, "no instrument 'pvq12'"),
        ({"instrument": "svo", "letters": "A"}, "does not name two options"),
        ({"instrument": "svo", "in_context": ["bsae"]}, "no input 'bsae'"),
    ],
)
def test_options_that_cannot_work(tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        ask(tmp_path, slots(1.0), **options)


def test_more_options_than_letters_are_dropped(tmp_path):
    source = own_survey(tmp_path)
    with pytest.raises(UserError, match="5 x more options than `letters`"):
        ask(tmp_path, slots(0.5), source=source, letters="AB")
