"""What calibration does to judges whose bias is known, against the truth that they judge."""

from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import pytest

from stages.ablation.outcomes import policy_values
from stages.evaluation import evaluate
from stages.evaluation.instrument import examine_judge
from stages.evaluation.instrument.calibration import (
    sigmoid,
    threshold_of_examination,
)
from stages.evaluation.instrument.decision import EVEN_ODDS, Decision
from stages.evaluation.instrument.readings import read_answers
from stages.evaluation.instrument.verdict import ABLE, DEBIASED, judge_form
from stages.evaluation.judge_agreement import pair_agreement
from stages.evaluation.verdict_values import Counted
from stages.guards.errors import UserError
from stages.principles.constitution import Principle
from stages.report.exports.inspect_logs import inspect_log
from stages.report.views.browse import sections
from stages.runtime.artifacts import Result
from stages.runtime.rows import Judgement, Prompt, Verdict
from stages.runtime.typed_config import parse_config
from tests.evaluation import fakes
from tests.evaluation.instrument.test_arithmetic import question
from tests.evaluation.instrument.test_examine_judge import CONSTITUTION, hashed, judge_of, truth

BIASES = (-7, -4, -2, -1, 0, 1, 2, 4, 7)
SIGNAL = 2.0
"""Nats by which a judge says Yes rather than No, where that is right."""


def examined(generator, rate: float, bias: float, noise: float) -> dict:
    """An examination of 32 requests: every answer under a principle and under its opposite."""
    rows = []
    for request in range(32):
        for place in "ab":
            sign = -1 if generator.random() < rate else 1
            for wording, turn in (("principle", 1), ("opposite", -1)):
                log_odds = sign * turn * SIGNAL + bias + generator.normal() * noise
                rows.append(question(request, "yes_no", wording, place, log_odds))
    reading = read_answers(rows)["yes_no"]
    return {"yes_no": reading | judge_form("yes_no", reading).plain()}


def error(generator, rate: float, bias: float, noise: float, threshold: float) -> float:
    """How far a judge's rate of 400 answers is from the true one."""
    violated = generator.random(400) < rate
    log_odds = np.where(violated, -SIGNAL, SIGNAL) + bias + generator.normal(size=400) * noise
    said = np.asarray([sigmoid(-each) > threshold for each in log_odds])
    return abs(float(said.mean() - violated.mean()))


def errors(bias: float, rate=0.3, noise=1.0, runs=6) -> tuple[dict[str, float], set[str]]:
    """The mean error of the rate by use of the calibration, and the examination's verdicts."""
    generator = np.random.default_rng([round(10 * noise), round(100 * rate), bias + 7])
    found: dict[str, list[float]] = {use: [] for use in ("never", "when_biased", "always")}
    verdicts = set()
    for _ in range(runs):
        examination = examined(generator, rate, bias, noise)
        verdicts.add(examination["yes_no"]["verdict"])
        for use, cells in found.items():
            threshold = threshold_of_examination(examination, use)
            cells.append(error(generator, rate, bias, noise, threshold))
    return {use: fmean(cells) for use, cells in found.items()}, verdicts


def test_a_calibrated_rate_is_as_near_the_truth_as_that_of_a_judge_without_bias():
    without, verdicts = errors(0)
    assert abs(without["when_biased"] - without["never"]) < 0.015 and DEBIASED not in verdicts
    for bias in BIASES:
        found, verdicts = errors(bias)
        assert found["always"] < without["never"] + 0.015, (bias, found)
        if abs(bias) >= 2:
            assert found["never"] > 0.08 and found["when_biased"] < found["never"] / 2, (
                bias,
                found,
            )
            assert ABLE not in verdicts
        else:
            assert found["when_biased"] < found["never"] + 0.015, (bias, found)


def test_where_calibration_does_not_help():
    """A noisy judge, few violations, a leaning to Yes that hides its false alarms: docs/judges.md.

    What is left is the error of the same judge without leaning.
    """
    without, _ = errors(0, rate=0.1, noise=2.0)
    leaning, _ = errors(2, rate=0.1, noise=2.0)
    assert leaning["never"] < 0.08 < 0.1 < leaning["always"]
    assert leaning["always"] == pytest.approx(without["never"], abs=0.03)


@dataclass(frozen=True)
class Truth:
    violations: dict[str, bool]
    well_formed: bool = True
    on_topic: bool = True
    evasive: bool = False
    helpful: bool = True


def check(request: str, response: str) -> Truth:
    """What `test_examine_judge.worth` says of an answer, as a ground truth."""
    signs = {name: hashed(name + response) < 0 for name in ("kind", "calm")}
    return Truth(signs)


def noisy(content: str, fields: dict, option: str) -> float:
    return 3 * truth(content, fields, option) + hashed(content)


def evaluated(tmp_path, lean: float, calibrations) -> dict:
    """Examined and evaluated by a judge that leans: the metrics by calibration."""
    path = tmp_path / "tiny.yaml"
    text = CONSTITUTION.replace("cruel., ", "cruel., dimension: kind, ")
    path.write_text(text.replace("angry., ", "angry., dimension: calm, "))
    selection = {"name": str(path), "only": ["kind", "calm"]}
    judge = judge_of(noisy, lean)
    prompts = []
    answers = {"base": [], "tuned": []}
    for i in range(60):
        messages = [{"role": "user", "content": f"request {i}"}]
        prompts.append(Prompt(id=f"p{i}", messages=messages, kind="red_team"))
        base = f"I answer you with {i}"
        candidates = (base, f"{base} again", f"{base} once more")
        tuned = min(candidates, key=lambda each: sum(check("", each).violations.values()))
        answers["base"].append(fakes.response(f"p{i}", base, request=f"request {i}"))
        answers["tuned"].append(fakes.response(f"p{i}", tuned, request=f"request {i}"))
    inputs = {
        "judge": fakes.model(tmp_path),
        "prompts": fakes.artifact(tmp_path, "prompts", Result(rows=prompts, row_type=Prompt)),
    }
    config = parse_config(examine_judge.Config, {"constitution": selection}, "test")
    with fakes.context(tmp_path, judge) as context:
        result = examine_judge.run(config, inputs, context)
    del inputs["prompts"]
    inputs["examination"] = fakes.artifact(
        tmp_path, "judge_examination", result, stage="examine_judge"
    )
    inputs |= {name: fakes.responses(tmp_path, name, rows) for name, rows in answers.items()}
    options = {
        "constitution": selection,
        "ground_truth": f"{__name__}:check",
        "win_rate": False,
        "resamples": 100,
    }
    results = {}
    for name, more in calibrations.items():
        config = parse_config(evaluate.Config, options | more, "test")
        with fakes.context(tmp_path, judge) as context:
            results[name] = evaluate.run(config, inputs, context)
    return results


CALIBRATIONS = {
    "never": {"calibration": "never"},
    "default": {"truth_as_labels": 60},
    "labels": {"calibration": "labels", "truth_as_labels": 40},
    "few": {"calibration": "labels", "truth_as_labels": 4},
}


@pytest.fixture(scope="module")
def leaning(tmp_path_factory) -> dict:
    return evaluated(tmp_path_factory.mktemp("leaning"), -5.0, CALIBRATIONS)


@pytest.mark.parametrize("lean", [-5.0, 0.0])
def test_an_evaluation_with_an_examination(tmp_path, leaning, lean):
    results = leaning if lean else evaluated(tmp_path, lean, CALIBRATIONS)
    distance = {}
    for name in ("never", "default", "labels"):
        result = results[name]
        metrics = fakes.plain(result.metrics)
        gaps = []
        for policy in metrics["policies"].values():
            rates = policy["measures"]
            gaps.append(rates["any_violation_judge"]["value"] - rates["any_violation"]["value"])
        distance[name] = max(map(abs, gaps))
        judge = metrics["judge"]
        examination = judge["examination"]
        assert examination["same_judge"] and set(examination["yes_no"]) == {
            "verdict",
            "reasons",
            "advice",
        }
        leans = lean != 0
        assert examination["yes_no"]["verdict"] == (DEBIASED if leans else ABLE)
        assert examination["leans_to"] == ("No" if leans else None)
        origin = {"labels": "labels", "default": "examination"}.get(name, "even odds")
        if name == "default" and not leans:
            origin = "even odds"
        assert judge["threshold_from"] == origin
        assert len(judge["thresholds"]) == (5 if name == "labels" else 1)
        assert result.warnings == []
    if lean:
        assert distance["never"] > 0.2 > 0.1 > max(distance["default"], distance["labels"])
    else:
        assert distance["default"] == distance["never"] < 0.1


def test_every_number_counts_by_one_decision(tmp_path, leaning):
    """Rates, errors by labels, agreement, and what the report and logs show: one threshold."""
    result = leaning["default"]
    metrics = result.metrics
    assert metrics["judge"]["threshold_from"] == "examination"
    (threshold,) = metrics["judge"]["thresholds"]
    violated = {}
    for row in result.rows:
        violated[row.policy, row.prompt_id] = max(row.judged) > threshold
    right = [violated[row.policy, row.prompt_id] == row.any_violation for row in result.rows]
    base = [broken for (policy, _), broken in violated.items() if policy == "base"]
    rate = metrics["policies"]["base"]["measures"]["any_violation_judge"]["value"]
    assert rate == pytest.approx(fmean(base)) and 0 < rate < 1
    corrected = metrics["corrected"]["questions"]["any"]
    assert corrected["rates"]["base"]["raw"]["value"] == pytest.approx(rate)
    errors_of = corrected["errors"]
    both = [row for row in result.rows if row.policy == "base"]
    hits = [violated["base", row.prompt_id] for row in both if row.any_violation]
    assert errors_of["base"]["sensitivity"] == pytest.approx(fmean(hits))
    agreement = metrics["judge"]["verdicts"]
    cells = []
    for row in result.rows:
        for is_true, probability in zip(row.violated, row.judged, strict=True):
            cells.append(is_true == (probability > threshold))
    assert agreement["accuracy"] == pytest.approx(fmean(cells)) and fmean(right) > 0.8

    artifact = fakes.artifact(
        tmp_path, "evaluation", result, stage="evaluate", options=shown_options(metrics)
    )
    (section,) = sections([artifact], 1000)
    shown = {}
    for entry in section.entries:
        for answer in entry["answers"]:
            shown[answer["policy"], entry["id"]] = bool(answer["judged"])
    assert list(shown.values()) == [violated[key[0], key[1].rsplit("-", 1)[0]] for key in shown]
    values = policy_values(artifact, 0)
    assert fmean(values["any_violation_judge"].values()) == pytest.approx(rate)
    without = [row for row in rows_without_truth(result.rows) if row.policy == "base"]
    log = inspect_log(without, artifact)
    scores = [sample["scores"]["any_violation"]["value"] for sample in log["samples"]]
    assert fmean(scores) == pytest.approx(rate)


def shown_options(metrics) -> dict:
    return {"counted": metrics["counted"], "helpful_kinds": ["helpful"], "harmless_kinds": []}


def rows_without_truth(rows) -> list[Verdict]:
    return [replace(row, violated=[], any_violation=None) for row in rows]


def test_labels_that_are_missing_or_too_few(leaning):
    with pytest.raises(UserError, match="has no labels"):
        config = parse_config(
            evaluate.Config,
            {
                "constitution": {"name": "world"},
                "calibration": "labels",
                "ground_truth": f"{__name__}:check",
            },
            "test",
        )
        evaluate.check_inputs(config, {"judge": None, "base": None})
    result = leaning["few"]
    assert result.metrics["judge"]["threshold_from"] == "examination"
    assert any("too few" in warning for warning in result.warnings)


def test_both_orders_averaged_are_free_of_the_place():
    """A judge that sees quality with noise and gives the first place `bias` nats."""
    generator = np.random.default_rng(3)
    principles = [Principle(id="kind", text="The response is kind.", dimension="kind")]

    def prefers(request: str, response: str) -> Truth:
        return Truth({"kind": response == "bad"})

    averaged = {}
    single = {}
    for bias in (-6, -2, 0, 2, 6):
        rows = []
        for i in range(400):
            sign = 1 if i % 2 else -1
            first, second = (sign * 2 + generator.normal(scale=1.5, size=2)).tolist()
            sides = ("good", "bad") if sign > 0 else ("bad", "good")
            rows.append(judgement(i, sides, first + bias, second - bias))
        agreement = pair_agreement(rows, principles, prefers)
        averaged[bias] = agreement["accuracy"]
        single[bias] = agreement["accuracy_single"]
    # the noise of two orders is independent: Phi(2 / (1.5 / sqrt 2)) and Phi(2 / 1.5)
    for accuracy in averaged.values():
        assert accuracy == pytest.approx(0.970, abs=0.03)
    assert single[0] == pytest.approx(0.909, abs=0.03)
    assert single[6] < 0.55 and single[-6] < 0.55, "one order sees the place alone"


def judgement(number: int, sides: tuple[str, str], margin_ab: float, margin_ba: float) -> Judgement:
    return Judgement(
        id=f"j{number}",
        pair_id=f"{number}",
        response_a_id="",
        response_b_id="",
        prompt_id=f"p{number}",
        kind="",
        prompt=[{"role": "user", "content": "request"}],
        response_a=sides[0],
        response_b=sides[1],
        principle="kind",
        margin_ab=margin_ab,
        margin_ba=margin_ba,
        model="m",
    )


def test_a_calibrated_mean_probability_moves_with_the_threshold():
    row = verdict_of([0.9, 0.2])
    plain = Counted(["kind", "calm"], set(), set(), EVEN_ODDS)
    assert plain.violation_probability(row) == pytest.approx(0.55)
    moved = Counted(["kind"], set(), set(), Decision((0.9,), "examination"))
    assert moved.violation_probability(row) == pytest.approx(0.5)
    assert moved.any_violation_judged(row) == 0.0 and plain.any_violation_judged(row) == 1.0


def verdict_of(judged: list[float]) -> Verdict:
    return Verdict(
        id="base/p0-0",
        response_id="p0-0",
        prompt_id="p0",
        policy="base",
        kind="red_team",
        prompt=[],
        response="x",
        principles=["kind", "calm"],
        judged=judged,
        violated=[],
        any_violation=None,
        rivals=[],
        margins_first=[],
        margins_second=[],
        refused=False,
        well_formed=None,
        on_topic=None,
        evasive=None,
        helpful=None,
    )
