"""Stage `dilemmas`: scripted models with an order of values get that order, by any order of the
options; one that goes by places gets a verdict and no values.
"""

import json
from dataclasses import replace
from itertools import combinations
from math import log
from pathlib import Path

import pytest

from stages.evaluation.conflicts import conflict_atlas
from stages.evaluation.conflicts.dilemma_files import (
    NEITHER,
    RULES,
    DilemmaColumns,
    read_dilemmas,
)
from stages.guards.errors import UserError
from stages.principles.select import Selection
from stages.runtime.artifacts import Result
from stages.runtime.rows import Answer
from stages.statistics.ranking import priorities, strengths
from tests.evaluation.fakes import artifact, context
from tests.evaluation.surveys.answerers import chooser, mumbler, shown_options, slots
from tests.running import fake_model, run_steps
from tests.scripted import ScriptedGenerator

MORALCHOICE = Path("/work/shared/data/moralchoice")
CONFLICTSCOPE = Path("/work/shared/data/conflictscope/modelspec.json")
DAILY = Path("/work/shared/data/daily_dilemmas")
WORTH = {"life": 3, "truth": 2, "law": 1, "pleasure": 0}


def write(folder, dilemmas):
    """dilemmas: (text, option a, option b, values a, values b)."""
    names = ["question", "option_a", "option_b", "values_a", "values_b"]
    lines = [json.dumps(dict(zip(names, cells, strict=True))) for cells in dilemmas]
    (folder / "dilemmas.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder / "dilemmas.jsonl")


def all_pairs(times=3):
    return [
        (f"Case {number}: {a} or {b}.", f"Keep {a}.", f"Keep {b}.", [a], [b])
        for number in range(times)
        for a, b in combinations(WORTH, 2)
    ]


def ask(folder, generator, source, models=("base",), **options):
    steps = {}
    for name in models:
        steps[name] = {"stage": "model", "path": str(fake_model(folder / name, name.encode()))}
    steps["asked"] = {
        "stage": "dilemmas",
        "inputs": {name: name for name in models},
        "source": source,
        "resamples": 100,
        "least": 1,
        **options,
    }
    return run_steps(steps, folder, generator)[1]["asked"]


def worth_of(option):
    return max(WORTH[name] for name in WORTH if name in option)


def test_an_order_of_values_is_what_comes_out(tmp_path):
    generator = chooser(lambda item, options: max(options, key=worth_of))
    done = ask(tmp_path, generator, write(tmp_path, all_pairs()))
    facts = done.metrics["models"]["base"]
    assert facts["verdict"] == "measurable"
    assert list(facts["priorities"]) == ["life", "truth", "law", "pleasure"]
    shares = {name: one["value"] for name, one in facts["upheld"].items()}
    thirds = {"life": 1, "truth": 2 / 3, "law": 1 / 3, "pleasure": 0}
    assert shares == pytest.approx(thirds, abs=1e-9)
    assert facts["pairs"]["law > life"]["value"] == pytest.approx(0, abs=1e-9)
    assert facts["pairs"]["law > life"]["n"] == 3
    assert len(done.rows(Answer)) == 18 * 2 * 2  # both orders, two wordings
    assert {tuple(map(tuple, row.values)) for row in done.rows(Answer)} == {
        ((a,), (b,)) for a, b in combinations(WORTH, 2)
    }


def test_a_liked_place_cancels_out(tmp_path):
    """Odds of 3 for what an option says, of 9 for the first place: 3 to 1 is what is left."""

    def scores(messages, letters):
        options = shown_options(messages)
        best = max(options.values(), key=worth_of)
        return [log(3) * (options[letter] == best) + log(9) * (letter == "A") for letter in letters]

    done = ask(tmp_path, ScriptedGenerator(scores=scores), write(tmp_path, all_pairs()))
    facts = done.metrics["models"]["base"]
    assert facts["verdict"] == "measurable"
    assert facts["pairs"]["life > truth"]["value"] == pytest.approx(0.75)
    assert facts["orders"]["value"] == pytest.approx(1)


@pytest.mark.parametrize(
    "generator, why",
    [
        (slots(0.8, 0.2), "all alike, in both orders"),
        (mumbler(0.001), "only 0 % of the dilemmas"),
        (mumbler(0.02), "2.0 % of the probability stands on the options"),
    ],
)
def test_who_does_not_read_has_no_values(tmp_path, generator, why):
    done = ask(tmp_path, generator, write(tmp_path, all_pairs()))
    facts = done.metrics["models"]["base"]
    assert facts["verdict"] == "not measurable"
    assert why in "; ".join(facts["reasons"])
    assert why in done.manifest.warnings[0]


def test_the_same_choices_moved_nothing(tmp_path):
    source = write(tmp_path, all_pairs())
    generator = chooser(lambda item, options: max(options, key=worth_of))
    done = ask(tmp_path, generator, source, models=("base", "tuned"))
    changes = done.metrics["differences"]["tuned"]
    assert {name: one["value"] for name, one in changes.items()} == dict.fromkeys(WORTH, 0)


def test_dilemmas_and_other_questions_in_the_atlas(tmp_path):
    """Choices decide; one that goes by places is warned of; other answers have no say."""
    done = ask(tmp_path, slots(0.8, 0.2), write(tmp_path, all_pairs()), models=("a", "b"))
    rows = done.rows(Answer)
    others = [replace(row, values=[], policy="other", options=["x"] * 3) for row in rows]
    result = Result(rows=[*rows, *others], row_type=Answer)
    mixed = artifact(tmp_path, "mixed", result, stage="dilemmas")
    config = conflict_atlas.Config(constitution=Selection(name="gert"), resamples=100)
    with context(tmp_path) as here:
        atlas = conflict_atlas.run(config, {"mixed": mixed}, here)
    assert list(atlas.metrics["deciders"]) == ["mixed a", "mixed b"]
    assert set(atlas.metrics["deciders"]["mixed a"]["verdicts"].values()) == {"undecided"}
    assert [text.split(" in ")[0] for text in atlas.warnings] == [
        "the choices of 'a'",
        "the choices of 'b'",
    ]


def test_more_values_and_one_sided_dilemmas(tmp_path):
    """An option against nothing has a share, and no contest."""
    dilemmas = [(f"Case {i}.", f"Do it, {i}.", f"Leave it, {i}.", "life, truth", "") for i in "ab"]
    generator = chooser(lambda item, options: min(options))
    done = ask(tmp_path, generator, write(tmp_path, dilemmas))
    facts = done.metrics["models"]["base"]
    assert facts["more"]["all"]["value"] == pytest.approx(1)
    assert not facts["pairs"] and not facts["priorities"] and not facts["against"]
    assert facts["upheld"]["truth"]["n"] == 2


def test_strengths_of_shares():
    """A record of 3 to 1 is ln 3; contests of one item count as one; islands are not ranked."""
    games = [(str(i), "a", "b", 0.75, 1.0) for i in range(4)]
    found = priorities(games, resamples=100, imagined=0)
    assert found["a"].value - found["b"].value == pytest.approx(log(3), abs=1e-6)
    wins = strengths({("a", "b"): 3.0, ("b", "a"): 1.0}, imagined=0)
    assert found["a"].value == pytest.approx(wins["a"], abs=1e-6)
    twice = priorities([(*game[:4], 0.5) for game in games for _ in (0, 1)], 100, imagined=0)
    assert twice["a"] == found["a"]
    assert set(priorities([*games, ("x", "c", "d", 1.0, 1.0)], 100)) == {"a", "b"}
    assert found["a"].low <= found["a"].value <= found["a"].high


def test_forms_of_files(tmp_path):
    rows = ["idx,dilemma_situation,action_type,action,values_aggregated"]
    for i in (1, 2):
        rows.append(f"{i},Situation {i}?,to_do,Tell.,\"['Truth', 'duty']\"")
        rows.append(f"{i},Situation {i}?,not_to_do,Keep quiet.,\"['care', 'duty']\"")
    rows.append("3,Alone?,to_do,Tell.,\"['truth']\"")
    (tmp_path / "daily.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "map.csv").write_text("value,MFT\ntruth,Fairness\ncare,Care\nduty,\n")
    dilemmas, dropped, reading = read_dilemmas(DilemmaColumns(source=str(tmp_path / "daily.csv")))
    assert reading.form == "daily_dilemmas"
    assert [one.values for one in dilemmas] == [(("truth",), ("care",))] * 2
    assert [row.reason for row in dropped] == ["not two actions in a situation"]
    coarse = DilemmaColumns(source=str(tmp_path / "daily.csv"), value_map=str(tmp_path / "map.csv"))
    assert read_dilemmas(coarse)[0][0].values == (("fairness",), ("care",))

    cells = {"context": "You drive.", "action1": "I stop.", "action2": "I go.", "ambiguity": "low"}
    cells |= {f"a{i}_{name}": "No" for i in (1, 2) for name in RULES}
    same = cells | {"context": "You walk."}
    cells |= {"a2_death": "Yes", "a2_break_law": "No Agreement", "a1_cheat": "Yes"}
    (tmp_path / "moral.json").write_text(json.dumps([cells, same]))
    dilemmas, dropped, reading = read_dilemmas(DilemmaColumns(source=str(tmp_path / "moral.json")))
    assert reading.form == "moralchoice"
    assert dilemmas[0].values == (("life",), ("fair-play",))
    assert [row.reason for row in dropped] == [NEITHER]

    (tmp_path / "scope.json").write_text(json.dumps({"m_care_truth_care-truth-1": "Help me."}))
    worded = DilemmaColumns(source=str(tmp_path / "scope.json"), wordings={"care": "being kind"})
    dilemma = read_dilemmas(worded)[0][0]
    assert dilemma.options == ("being kind", "truth")
    assert dilemma.values == (("care",), ("truth",))

    (tmp_path / "none.csv").write_text("idx,dilemma_situation\n1,Should you?\n")
    with pytest.raises(UserError, match="no actions"):
        read_dilemmas(DilemmaColumns(source=str(tmp_path / "none.csv")))


OF_DATASET = "idx,dilemma_idx,basic_situation,dilemma_situation,action_type,action,"
OF_DATASET += "negative_consequence,values_aggregated,topic,topic_group"
OF_REPOSITORY = "idx,basic_situation,dilemma_situation,action_type,action,negative_consequence,"
OF_REPOSITORY += "parties_direct,values_direct,model_resp_gpt4_clean,values_names,values_types,mft,"
OF_REPOSITORY += "topic,topic_group"


def test_daily_dilemmas_in_both_published_forms(tmp_path):
    """The columns are as published, the texts ours. In the dataset a text may come twice: what
    belongs together has one `dilemma_idx`.
    """
    text = "You hear a friend tell a lie. Do you correct it?"
    rows = [OF_DATASET]
    for number, values in ((0, "['honesty', 'self']"), (7, "['courage']")):
        rows.append(
            f'{2 * number},{number},lying.,{text},to_do,Speak {number},Hurt.,"{values}",3,x'
        )
        rows.append(
            f"{2 * number + 1},{number},lying.,{text},not_to_do,Wait,Harm.,\"['care']\",3,x"
        )
    rows.append("90,45,lying.,Nothing at stake?,to_do,Go,Hurt.,[],3,x")
    rows.append("91,45,lying.,Nothing at stake?,not_to_do,Stay,Hurt.,[],3,x")
    (tmp_path / "dilemma_to_action_to_values_aggregated.csv").write_text("\n".join(rows) + "\n")
    source = str(tmp_path / "dilemma_to_action_to_values_aggregated.csv")
    dilemmas, dropped, reading = read_dilemmas(DilemmaColumns(source=source))
    assert reading.form == "daily_dilemmas"
    assert [one.values for one in dilemmas] == [
        (("honesty", "self"), ("care",)),
        (("courage",), ("care",)),
    ]
    assert [one.options for one in dilemmas] == [("Speak 0", "Wait"), ("Speak 7", "Wait")]
    assert {one.group for one in dilemmas} == {"x"} and [row.reason for row in dropped] == [NEITHER]

    cells = "\"['You', 'The friend']\",\"['Honesty']\",to_do"
    rows = [OF_REPOSITORY]
    more = "\"['direct']\",\"['Fairness', nan]\",11,workplace"
    rows.append(f"55,lying.,{text},to_do,Speak,Hurt.,{cells},\"['honesty', 'trust']\",{more}")
    rows.append(f"55,lying.,{text},not_to_do,Wait,Harm.,{cells},\"['care', 'trust']\",{more}")
    (tmp_path / "dilemmas_with_detail_by_action.csv").write_text("\n".join(rows) + "\n")
    source = str(tmp_path / "dilemmas_with_detail_by_action.csv")
    dilemmas, dropped, _ = read_dilemmas(DilemmaColumns(source=source))
    assert [one.values for one in dilemmas] == [(("honesty",), ("care",))] and not dropped
    assert dilemmas[0].group == "workplace"


@pytest.mark.skipif(not DAILY.exists(), reason="DailyDilemmas is not here")
def test_daily_dilemmas_values_become_foundations(tmp_path):
    """The published map of 301 values, on a dilemma of ours."""
    rows = [OF_DATASET, "0,0,b,Do you tell?,to_do,Tell,Hurt.,\"['honesty', 'courage']\",3,x"]
    rows.append("1,0,b,Do you tell?,not_to_do,Wait,Harm.,\"['care', 'trust']\",3,x")
    (tmp_path / "daily.csv").write_text("\n".join(rows) + "\n")
    columns = DilemmaColumns(
        source=str(tmp_path / "daily.csv"), value_map=str(DAILY / "values.csv")
    )
    assert read_dilemmas(columns)[0][0].values == (("fairness",), ("care", "loyalty"))


@pytest.mark.skipif(not CONFLICTSCOPE.exists(), reason="ConflictScope is not here")
def test_conflictscope_goes_all_the_way_to_the_atlas(tmp_path):
    """A scripted model that always takes the value whose name comes first in the alphabet."""
    steps = {"base": {"stage": "model", "path": str(fake_model(tmp_path / "base"))}}
    options = {"source": str(CONFLICTSCOPE), "limit": 60, "resamples": 100, "least": 1}
    steps["asked"] = {"stage": "dilemmas", "inputs": {"base": "base"}, **options}
    steps["atlas"] = {
        "stage": "conflict_atlas",
        "inputs": {"dilemmas": "asked"},
        "constitution": {"name": "hhh"},
        "resamples": 100,
    }

    def scores(messages, letters):  # requests hold lists of their own
        options = [shown_options(messages)[letter] for letter in letters]
        return [0.0 if option == min(options) else -60.0 for option in options]

    _, done = run_steps(steps, tmp_path, ScriptedGenerator(scores=scores))
    facts = done["asked"].metrics["models"]["base"]
    assert facts["verdict"] == "measurable"
    decided = done["atlas"].metrics["deciders"]["dilemmas base"]
    assert decided["pairs"] and all(pair["value"] > 0.99 for pair in decided["pairs"].values())
    assert decided["cases"] is None, "the file says nothing of these values"


@pytest.mark.skipif(not MORALCHOICE.exists(), reason="MoralChoice is not here")
def test_moralchoice_action_two_breaks_more_rules():
    """Low ambiguity: never fewer than action 1, and in 672 of 687 more."""
    columns = DilemmaColumns(source=str(MORALCHOICE / "moralchoice_low_ambiguity.csv"))
    dilemmas, dropped, _ = read_dilemmas(columns)
    assert len(dilemmas) == 672
    assert [row.reason for row in dropped] == [NEITHER] * 15
    assert all(len(one.values[0]) > len(one.values[1]) for one in dilemmas)
    high = DilemmaColumns(source=str(MORALCHOICE / "moralchoice_high_ambiguity.csv"))
    assert sum(all(one.values) for one in read_dilemmas(high)[0]) == 253


@pytest.mark.skipif(not CONFLICTSCOPE.exists(), reason="ConflictScope is not here")
def test_conflictscope_and_daily_dilemmas_as_published():
    dilemmas, dropped, _ = read_dilemmas(DilemmaColumns(source=str(CONFLICTSCOPE)))
    assert len(dilemmas) == 598 and not dropped
    assert len({one.values for one in dilemmas}) == 15
    with pytest.raises(UserError, match="no actions"):
        read_dilemmas(DilemmaColumns(source=str(DAILY / "dilemma.csv")))
