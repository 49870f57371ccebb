"""Every verdict in words: each kind of variant, outcome, direction, level and number of seeds gets
a sentence that is true.
"""

import csv
import json
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest

from stages.ablation.compare import Comparison, compare
from stages.ablation.runs import Run
from stages.principles.variants import KINDS, kind_and_target
from stages.report.sweep.conclusions import conclude
from stages.report.sweep.files import write
from stages.report.sweep.headline import describe_method, sweep_headline
from stages.report.sweep.summary import notes, summary_table
from stages.report.sweep.view import comparison_view
from stages.runtime.pipeline.settings import Ablate
from stages.statistics.differences import effects
from stages.statistics.equivalence import findings
from stages.statistics.shares import changes

N = 400
FULL = "full pipeline=cai"
PLACES = {  # by label: how a sentence about it ends
    "without:a": "without it",
    "only:a": "with it alone",
    "without-tag:safe": "without this family",
    "only-tag:safe": "with this family alone",
    "first:1": "with a set of 1 principle",
    "first:4:1": "with a set of 4 principles",
    "opposite:a": "with it negated",
    "reworded:a:0": "with it in other words",
    "weight:a:0.5": "with its weight times 0.5",
    "without-reasons": "without the reasons",
    "without-examples": "without the examples",
    "without-authority": "without the levels of authority",
    "without:a pipeline=dpo": "without it",
    "full constitution.name=hhh": "than with pipeline=cai",
    "full pipeline=dpo": "than with pipeline=cai",
    "none": "before the method",
    "none pipeline=dpo": "before the method",
}
PARTS = ("without-reasons", "without-examples", "without-authority")
GONE = ("without", "without-tag", *PARTS, "none")
OUTCOMES = [  # level, outcome, its noun, is more of it good (1), bad (-1) or neither
    ("policy", "any_violation", "violations", -1),
    ("policy", "violates harm-1", "violations of harm-1", -1),
    ("policy", "evasive_benign", "evasive answers to benign requests", -1),
    ("policy", "helpful_benign", "helpful answers to benign requests", 1),
    ("policy", "wins", "duels won", 1),
    ("policy", "any_violation (second)", "violations (second)", -1),
    ("reward", "all", "right preferences", 1),
    ("reward", "negated", "right preferences in the test 'negated'", 1),
    ("reward", "all (plain_reward_model)", "right preferences (plain_reward_model)", 1),
    ("labels", "support", "margins for the full set's choices", 0),
]


def run_of(label, reference=FULL):
    name, _, group = label.partition(" ")
    kind, target = ("none", "") if name == "none" else kind_and_target(name)
    if group and kind not in ("full",):
        reference = f"full {group}"
    return Run(label, kind, target, reference, same_data=False)


def values_with(share, seeds):
    values = {f"q{i}": float(i < N * share) for i in range(N)}
    return {str(seed): values for seed in range(seeds)}


@cache
def concluded(share, seeds, before, margin, trained):
    """The statistics, which are the same for every label."""
    new = effects(values_with(before, seeds), {"v": values_with(share, seeds)})
    return new["v"], findings(new, margin, 0.05, trained)["v"]


def comparison_of(label, level, outcome, share, seeds, before=0.5, margin=0.05):
    run = run_of(label)
    base, values = values_with(before, seeds), values_with(share, seeds)
    of_margin = None if outcome == "support" else margin
    effect, finding = concluded(share, seeds, before, of_margin, level != "labels")
    new = {label: replace(effect, variant=label)}
    found = {label: replace(finding, variant=label)}
    reference = replace_run(run.reference, {s: {outcome: v} for s, v in base.items()})
    run.seeds = {s: {outcome: v} for s, v in values.items()}
    runs = {run.reference: reference, label: run}
    return Comparison(level, outcome, runs, {outcome: new}, {outcome: found}, [])


def replace_run(label, seeds):
    run = run_of(label)
    run.reference, run.seeds = label, seeds
    return run


def test_all_kinds_are_in_the_table():
    assert {run_of(label).kind for label in PLACES} == {*KINDS, "none"}


@pytest.mark.parametrize("label", PLACES)
def test_what_differs_is_said_with_its_direction(label):
    for outcome, rises, seeds in product(OUTCOMES, (True, False), (1, 3)):
        check_sentence(*outcome, label, rises, seeds)


def check_sentence(level, outcome, noun, good, label, rises, seeds):
    comparison = comparison_of(label, level, outcome, 0.8 if rises else 0.2, seeds)
    result = conclude(comparison, outcome, label)
    kind = label.partition(":")[0].partition(" ")[0]
    compared = kind in ("full", "none")
    verb = ("higher" if rises else "lower") if compared else ("rise" if rises else "fall")
    expected = f"{noun} {'are ' if compared else ''}{verb} {PLACES[label]}"
    tone = "other" if not good else "better" if rises == (good > 0) else "worse"
    harmful = tone == "better" and kind in GONE
    weak = seeds == 1 and level != "labels"
    expected = f"{'harmful: ' if harmful else ''}{expected}{', on one seed' if weak else ''}"
    assert result.phrase == expected
    assert (result.claim, result.direction) == ("differs", "up" if rises else "down")
    assert result.tone == tone
    assert result.word.startswith(f"harmful: {verb}" if harmful else verb)
    verdict = comparison.finding(outcome, label).verdict
    assert verdict == ("differs_on_one_seed" if weak else "differs")
    assert "works" not in result.phrase


def test_the_mirrored_effect_has_the_same_p_and_the_other_sentence():
    up = comparison_of("without:a", "policy", "any_violation", 0.6, 3)
    down = comparison_of("without:a", "policy", "any_violation", 0.4, 3)
    p_up, p_down = (c.effect("any_violation", "without:a").p_adjusted for c in (up, down))
    assert p_up == pytest.approx(p_down)
    phrases = [conclude(c, "any_violation", "without:a").phrase for c in (up, down)]
    assert phrases == ["violations rise without it", "harmful: violations fall without it"]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("label", PLACES)
def test_what_is_equivalent_or_undecided_names_no_direction(label, seeds):
    same = comparison_of(label, "policy", "any_violation", 0.5, seeds)
    result = conclude(same, "any_violation", label)
    weak = ", on one seed" if seeds == 1 else ""
    kind = run_of(label).kind
    expected = f"violations stay within 5 points {PLACES[label]}"
    if kind == "full":
        expected = "violations are within 5 points of those with pipeline=cai"
    if kind == "none":
        expected = "violations before the method are within 5 points of those of the full set"
    assert result.phrase == f"equivalent: {expected}{weak}"
    assert (result.direction, result.tone) == ("none", "same")
    unclear = comparison_of(label, "policy", "any_violation", 0.51, seeds, margin=0.011)
    result = conclude(unclear, "any_violation", label)
    assert (result.claim, result.phrase, result.word) == ("undecided",) * 3
    assert (result.direction, result.tone) == ("none", "same")


def test_the_same_data_need_no_second_seed():
    same = comparison_of("without:a", "policy", "any_violation", 0.5, 1)
    found = same.findings["any_violation"]["without:a"]
    same.findings["any_violation"]["without:a"] = replace(
        found, verdict="equivalent", one_seed=False, same_data=True
    )
    result = conclude(same, "any_violation", "without:a")
    assert result.phrase == "equivalent: it learns from the same data"


def test_an_effect_can_differ_and_be_small():
    small = comparison_of("without:a", "policy", "any_violation", 0.53, 3, margin=0.1)
    result = conclude(small, "any_violation", "without:a")
    assert result.phrase == "violations rise without it, by less than 10 points"
    assert result.word == "rise, small"


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("label", [label for label in PLACES if not label.startswith("none")])
@pytest.mark.parametrize(
    ("outcome", "verb", "headline"),
    [
        ("changed", "change", "changes 30.0 % of the labels"),
        ("flipped", "are reversed", "reverses 30.0 % of the labels"),
        ("lost", "are lost", "loses 30.0 % of the labels"),
        ("gained", "are gained", "gains 30.0 % of the labels"),
    ],
)
def test_labels_are_counted_and_need_no_second_seed(label, outcome, verb, headline, seeds):
    place = PLACES[label].replace("than with", "with it instead of")
    for share, claim, quantity in ((0.3, "differs", "more"), (0.0, "equivalent", "fewer")):
        new, found = changes({label: values_with(share, seeds)}, 0.05)
        runs = {label: run_of(label)}
        comparison = Comparison("labels", outcome, runs, {outcome: new}, {outcome: found}, [])
        result = conclude(comparison, outcome, label)
        assert result.phrase == f"{quantity} than 5 % of the labels {verb} {place}"
        assert found[label].verdict == claim
        assert result.tone == ("other" if share else "same")
        assert result.direction == ("up" if share else "none")
        if share:
            assert headline in sweep_headline(comparison, new)["sentence"]


HEADLINES = {
    "without:a": "Leaving out a raises violations",
    "only:a": "Keeping a alone raises violations",
    "without-tag:safe": "Leaving out the family safe raises violations",
    "only-tag:safe": "Keeping the family safe alone raises violations",
    "first:1": "A set of 1 principle raises violations",
    "first:4:1": "A set of 4 principles raises violations",
    "opposite:a": "Negating a raises violations",
    "reworded:a:0": "Rewording a raises violations",
    "weight:a:0.5": "Weighting a by 0.5 raises violations",
    "without:a pipeline=dpo": "Leaving out a (pipeline=dpo) raises violations",
    "full constitution.name=hhh": "Taking constitution.name=hhh instead of pipeline=cai raises",
    "full pipeline=dpo": "Taking pipeline=dpo instead of pipeline=cai raises violations",
}


@pytest.mark.parametrize("label", HEADLINES)
def test_the_headline_names_what_was_done(label):
    for seeds in (1, 3):
        comparison = comparison_of(label, "policy", "any_violation", 0.8, seeds)
        headline = sweep_headline(comparison, comparison.family("any_violation"))
        assert headline["sentence"].startswith(HEADLINES[label])
        assert headline["tone"] == "worse"
        strength = ", on one seed" if seeds == 1 else ""
        assert headline["sentence"].endswith(f"from 50.0 to 80.0 %{strength}")
    falls = comparison_of(label, "policy", "any_violation", 0.2, 3)
    headline = sweep_headline(falls, falls.family("any_violation"))
    assert "lowers violations from 50.0 to 20.0 %" in headline["sentence"]
    assert headline["tone"] == "better"


def test_the_method_of_a_group_is_named():
    comparison = comparison_of("none pipeline=dpo", "policy", "any_violation", 0.8, 3)
    assert describe_method(comparison) == (
        "Before the method (pipeline=dpo) violations were at 80.0 %, with the full set 50.0 %."
    )


SETTINGS = Ablate("policy", "whole", ("full",), None, 0.05, 0.95, "holm")


@pytest.mark.parametrize("seeds", [1, 3])
def test_files_table_and_page_say_it(tmp_path, seeds):
    comparison = comparison_of("without:a", "policy", "any_violation", 0.2, seeds)
    weak = ", on one seed" if seeds == 1 else ""
    sentence = f"harmful: violations fall without it{weak}"
    write(tmp_path, comparison, SETTINGS, [])
    variants = json.loads((tmp_path / "results.json").read_text())["variants"]
    found = variants[1]["outcomes"]["any_violation"]["finding"]
    assert found["sentence"] == sentence
    assert (found["direction"], found["tone"]) == ("down", "better")
    assert found["outcome"] == "any_violation" and found["one_seed"] == (seeds == 1)
    with (tmp_path / "effects.csv").open() as stream:
        (line,) = csv.DictReader(stream)
    assert (line["verdict"], line["direction"], line["sentence"]) == (
        found["verdict"],
        "down",
        sentence,
    )
    table = summary_table(comparison)
    assert list(table.columns[3].cells)[-1] == sentence
    assert ("second seed is needed" in " ".join(notes(comparison))) == (seeds == 1)
    view = comparison_view(comparison, [], SETTINGS, {})
    drawing = view["forests"][0]["drawings"][0]
    assert sentence in drawing and ("mark open" in drawing) == (seeds == 1)
    assert view["one_seed"] == (seeds == 1) and view["verdicts"]["differs"] == 1


def test_one_seed_at_a_real_comparison(tmp_path):
    """`compare` decides whether models were trained: at level labels nothing was."""
    assert compare.__module__ == "stages.ablation.compare"
    values = {"0": {f"q{i}": v for i, v in enumerate(np.repeat([-1.0, 0.0], 50))}}
    zero = {"0": dict.fromkeys(values["0"], 0.0)}
    from stages.ablation.compare import _compare_with_reference

    for level, verdict in (("labels", "differs"), ("reward", "differs_on_one_seed")):
        outcome = "support" if level == "labels" else "all"
        reference = replace_run("full", {"0": {outcome: zero["0"]}})
        other = run_of("without:a", "full")
        other.seeds = {"0": {outcome: values["0"]}}
        runs = {"full": reference, "without:a": other}
        settings = replace(SETTINGS, level=level)
        found = _compare_with_reference(runs, "full", outcome, settings)[1]
        assert found["without:a"].verdict == verdict
