"""The embedded world: its judge errs and is given a bias; labels and its examination correct it."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from stages.evaluation import evaluate
from stages.evaluation.instrument import examine_judge
from stages.evaluation.instrument.calibration import sigmoid, threshold_of_examination
from stages.evaluation.instrument.decision import EVEN_ODDS, Decision
from stages.evaluation.instrument.readings import read_answers
from stages.evaluation.instrument.verdict import ABLE, NOT_ABLE, judge_form
from stages.evaluation.labels.asked import from_truth, judged_value, labelled
from stages.evaluation.labels.questions import ANY
from stages.runtime.artifacts import Result
from stages.runtime.calls import Engines
from stages.runtime.rows import Question, Response, Verdict
from stages.runtime.store import derive_fraction
from stages.runtime.typed_config import parse_config
from stages.statistics.intervals import paired_difference, share
from stages.statistics.judges.gold_labels import Labelled
from stages.statistics.judges.misclassification import corrected_difference, corrected_rate
from stages.statistics.judges.prediction_powered import powered_difference, powered_rate
from stages.text import prompts, respond
from stages.world import check
from tests.evaluation import fakes

MODEL = {"model_path": "stages/world/checkpoint", "revision": None}
PRINCIPLES = ["harm-1", "honesty-1", "privacy-1", "kindness-1"]
PROMPTS = 800
LABELS = 100
SAMPLES = 200


def answer(tmp_path) -> dict[str, list[Response]]:
    """base: the model's answers. better: half of those that break a principle are drawn again."""
    source = {"source": "stages.world:red_team", "kind": "red_team"}
    source["arguments"] = {"count": PROMPTS, "seed": 3, "split": "seen"}
    inputs = {"model": fakes.artifact(tmp_path, "base", Result(metrics=MODEL), stage="model")}
    with fakes.context(tmp_path) as context:
        context.engines = Engines("transformers", {})
        requests = prompts.run(parse_config(prompts.Config, source, "test"), {}, context)
        inputs["prompts"] = fakes.artifact(tmp_path, "requests", requests)
        options = {"n": 2, "keep_empty": True, "sampling": {"temperature": 1.0, "max_tokens": 96}}
        rows = respond.run(parse_config(respond.Config, options, "test"), inputs, context).rows
        context.loop.run(context.engines.release())
    base = [row for row in rows if row.sample == 0]
    second = {row.prompt_id: row for row in rows if row.sample == 1}
    better = []
    for row in base:
        violations = check(row.prompt[-1]["content"], row.response).violations
        again = any(violations.values()) and derive_fraction("again", row.prompt_id) < 0.5
        better.append(replace(second[row.prompt_id], sample=0) if again else row)
    return {"base": base, "better": better}


@dataclass(frozen=True)
class Judged:
    rows: dict[str, list[Verdict]]
    counted: list[str]
    metrics: dict
    questions: list[Question]


def judge(tmp_path, policies) -> Judged:
    inputs = {name: fakes.responses(tmp_path, name, rows) for name, rows in policies.items()}
    inputs["judge"] = fakes.artifact(tmp_path, "judge", Result(metrics=MODEL), stage="model")
    options = {
        "constitution": {"name": "world", "only": PRINCIPLES},
        "ground_truth": "stages.world:check",
        "win_rate": False,
        "truth_as_labels": LABELS,
    }
    asked = {"constitution": options["constitution"], "require": "anything"}
    to_examine = {"judge": inputs["judge"], "responses": inputs["base"]}
    with fakes.context(tmp_path) as context:
        context.engines = Engines("transformers", {})
        result = evaluate.run(parse_config(evaluate.Config, options, "test"), inputs, context)
        config = parse_config(examine_judge.Config, asked, "test")
        questions = examine_judge.run(config, to_examine, context).rows
        context.loop.run(context.engines.release())
    rows = {name: [row for row in result.rows if row.policy == name] for name in policies}
    return Judged(rows, result.metrics["counted"], result.metrics, questions)


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> Judged:
    tmp_path = tmp_path_factory.mktemp("embedded")
    return judge(tmp_path, answer(tmp_path))


def resample(policies, generator) -> list[Labelled]:
    """Other prompts of the same kind, and other labels: a bootstrap of both policies together."""
    names = list(policies[0].judged)
    draw = generator.integers(0, len(names), len(names))
    chosen = set(generator.choice(len(names), LABELS, replace=False).tolist())
    drawn = []
    for policy in policies:
        judged = {f"d{place}": policy.judged[names[i]] for place, i in enumerate(draw)}
        gold = {
            f"d{place}": policy.gold[names[i]] for place, i in enumerate(draw) if place in chosen
        }
        drawn.append(Labelled(judged, gold))
    return drawn


def estimate(policies) -> dict:
    first, second = policies
    return {
        "raw rate": share(first.judged),
        "ppi rate": powered_rate(first),
        "misclassification rate": corrected_rate(first),
        "raw": paired_difference(first.judged, second.judged, resamples=200),
        "gold": powered_difference(first, second, power=0.0),
        "ppi": powered_difference(first, second),
        "misclassification": corrected_difference(first, second),
    }


@pytest.mark.long
@pytest.mark.slow
def test_coverage_by_labels_of_the_ground_truth(judged):
    rows, counted, metrics = judged.rows, judged.counted, judged.metrics
    assert metrics["corrected"]["questions"][ANY]["labels"] == {"base": LABELS, "better": LABELS}
    every = from_truth([row.prompt_id for row in rows["base"]])
    policies = [labelled(rows[name], every, ANY, counted, EVEN_ODDS) for name in ("base", "better")]
    rates = [float(np.mean(list(policy.gold.values()))) for policy in policies]
    generator = np.random.default_rng(9)
    inside: dict[str, list[bool]] = {}
    widths: dict[str, list[float]] = {}
    for _ in range(SAMPLES):
        for name, found in estimate(resample(policies, generator)).items():
            if found is None:
                continue
            low, high = (
                (found["low"], found["high"])
                if isinstance(found, dict)
                else (found.low, found.high)
            )
            exact = rates[0] if name.endswith("rate") else rates[1] - rates[0]
            inside.setdefault(name, []).append(low <= exact <= high)
            widths.setdefault(name, []).append(high - low)
    coverage = {name: float(np.mean(cells)) for name, cells in inside.items()}
    width = {name: round(float(np.mean(cells)), 3) for name, cells in widths.items()}
    print("rates", rates, "judged", [np.mean(list(p.judged.values())) for p in policies])
    print("coverage", coverage, "width", width, {k: len(v) for k, v in inside.items()})
    print(metrics["corrected"]["questions"][ANY])
    spread = 2 * math.sqrt(0.95 * 0.05 / SAMPLES)
    for name in ("ppi rate", "misclassification rate", "gold", "ppi", "misclassification"):
        assert 0.95 - spread <= coverage[name] <= 0.95 + spread + 0.01, coverage
        assert len(inside[name]) >= 0.95 * SAMPLES
    assert coverage["raw rate"] < 0.5, coverage
    assert width["ppi"] <= width["gold"]


def with_bias(row: Verdict, bias: float) -> Verdict:
    """The row as a judge says it whose log-odds of Yes are higher by a bias."""
    probabilities = []
    for value in row.judged:
        inside = min(max(value, 1e-12), 1 - 1e-12)
        probabilities.append(sigmoid(math.log(inside / (1 - inside)) - bias))
    return replace(row, judged=probabilities)


def rate_errors(judged: Judged, bias: float) -> tuple[dict[str, float], str]:
    """By use of the calibration: how far the judge's rates are from the true ones."""
    moved = [replace(row, log_odds=row.log_odds + bias) for row in judged.questions]
    reading = read_answers(moved)["yes_no"]
    form = reading | judge_form("yes_no", reading).plain()
    errors = {}
    for use in ("never", "when_biased", "always"):
        decision = Decision((threshold_of_examination({"yes_no": form}, use),))
        gaps = []
        for rows in judged.rows.values():
            biased = [with_bias(row, bias) for row in rows]
            said = [judged_value(row, ANY, judged.counted, decision) for row in biased]
            gaps.append(abs(np.mean(said) - np.mean([row.any_violation for row in rows])))
        errors[use] = float(np.mean(gaps))
    return errors, form["verdict"]


@pytest.mark.long
@pytest.mark.slow
def test_calibration_undoes_a_planted_bias(judged):
    raw, calibrated = {}, {}
    for bias in (-8, -4, -2, -1, 0, 1, 2, 4, 8):
        errors, verdict = rate_errors(judged, bias)
        print(bias, verdict, errors)
        raw[bias], calibrated[bias] = errors["never"], errors["when_biased"]
        assert errors["always"] < 0.06, "whatever the bias"
        assert verdict != NOT_ABLE and (verdict != ABLE or abs(bias) <= 2)
    assert calibrated[0] <= raw[0] + 0.001 < 0.07, "without bias it does no harm"
    for bias in (-8, -4, -2):
        assert raw[bias] > 0.5 and calibrated[bias] < 0.06
    assert np.mean(list(calibrated.values())) < np.mean(list(raw.values())) / 3
