"""A judge's error corrected by labels: known values, coverage, and a judge that is fooled."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from stages.statistics.intervals import paired_difference, share
from stages.statistics.judges.gold_labels import Labelled, effective_count
from stages.statistics.judges.misclassification import (
    corrected_difference,
    corrected_rate,
    error_shares,
)
from stages.statistics.judges.prediction_powered import powered_difference, powered_rate
from stages.statistics.judges.thresholds import matching_threshold
from stages.statistics.judges.transport import calibrate, carried, carried_errors

ARENA = Path(__file__).resolve().parents[4] / "shared/data/cje_arena"
if not ARENA.is_dir():
    ARENA = Path("/work/shared/data/cje_arena")
Z = 1.959963984540054
PPI_PY = (0.25898, 0.33832)  # ppi_py 0.2.3: ppi_mean_ci(gold, judged, others, alpha=0.05)


def example(seed: int = 7) -> tuple[Labelled, np.ndarray, np.ndarray, np.ndarray]:
    """One policy; also values of people and judge where both are, and elsewhere."""
    generator = np.random.default_rng(seed)
    truth = generator.random(2000) < 0.3
    judged = np.where(truth, generator.random(2000) < 0.8, generator.random(2000) < 0.2) * 1.0
    judged = np.clip(judged * 0.7 + 0.3 * generator.random(2000), 0, 1)
    gold = truth[:400].astype(float)
    policy = Labelled(
        {f"p{i}": float(value) for i, value in enumerate(judged)},
        {f"p{i}": float(value) for i, value in enumerate(gold)},
    )
    return policy, gold, judged[:400], judged[400:]


def test_prediction_powered_inference_against_its_authors_code():
    """Its judge's mean is over the prompts without a label, ours over all, which is the same
    estimator with a power of theirs / (1 - the share of prompts with a label).
    """
    policy, gold, judged, others = example()
    plain = powered_rate(policy, power=1.0)
    by_hand = others.mean() * 0.8 + judged.mean() * 0.2 + (gold - judged).mean()
    assert plain.value == pytest.approx(by_hand)
    tuned = powered_rate(policy)
    theirs = tuned.power * 0.8
    variance = (gold - theirs * judged).var() / 400 + theirs**2 * others.var() / 1600
    assert tuned.value == pytest.approx(gold.mean() + theirs * (others.mean() - judged.mean()))
    assert tuned.high - tuned.low == pytest.approx(2 * Z * math.sqrt(variance), rel=0.02)
    low, high = PPI_PY
    assert (tuned.low, tuned.high) == pytest.approx((low, high), abs=0.001)
    alone = powered_rate(policy, power=0.0)
    assert alone.value == pytest.approx(gold.mean())
    assert tuned.high - tuned.low < 0.9 * (alone.high - alone.low)


def lang_reiczigel(yes, n, hits, violations, cleared, rest):
    """Their formula, written down from the paper's supplement (CI4TruePrevalence, R)."""
    p = (yes + Z**2 / 2) / (n + Z**2)
    se, sp = (hits + 1) / (violations + 2), (cleared + 1) / (rest + 2)
    rate = (p + sp - 1) / (se + sp - 1)
    of_se, of_sp = se * (1 - se) / (violations + 2), sp * (1 - sp) / (rest + 2)
    variance = p * (1 - p) / (n + Z**2) + of_se * rate**2 + of_sp * (1 - rate) ** 2
    half = Z * math.sqrt(variance) / abs(se + sp - 1)
    middle = rate + 2 * Z**2 * (rate * of_se - (1 - rate) * of_sp)
    return middle - half, middle + half


@pytest.mark.parametrize(
    ("yes", "hits", "cleared"), [(600, 400, 450), (150, 350, 490), (1200, 480, 400)]
)
def test_misclassification_against_lang_and_reiczigel(yes, hits, cleared):
    policy = Labelled({f"a{i}": float(i < yes) for i in range(2000)}, {})
    said = [float(i < hits or i >= 500 + cleared) for i in range(1000)]
    source = Labelled(
        {f"b{i}": value for i, value in enumerate(said)},
        {f"b{i}": float(i < 500) for i in range(1000)},
    )
    corrected = corrected_rate(policy, errors_of=source)
    low, high = lang_reiczigel(yes, 2000, hits, 500, cleared, 500)
    assert (corrected.low, corrected.high) == pytest.approx((low, high), abs=0.001)
    se, sp = hits / 500, cleared / 500
    assert corrected.value == pytest.approx((yes / 2000 + sp - 1) / (se + sp - 1))


def test_a_judge_that_tells_nothing_corrects_nothing():
    said = {f"p{i}": float(i % 2) for i in range(200)}
    gold = {f"p{i}": float(i % 4 < 2) for i in range(200)}
    policy = Labelled(said, gold)
    sensitivity, specificity = error_shares(policy, policy.labels)
    assert sensitivity.value == specificity.value == 0.5
    assert corrected_rate(policy) is None
    assert powered_rate(policy).power == 0  # what the judge says is left aside
    few = Labelled(said, dict(list(gold.items())[:9]))
    assert powered_rate(few) is None and powered_difference(policy, few) is None
    one_sided = Labelled(said, dict.fromkeys(said, 1.0))
    assert corrected_rate(one_sided) is None


def test_unequal_probabilities_are_weighted():
    """Twice the labels where the judge says yes, each counting half: the same rate."""
    prompts = [f"p{i}" for i in range(400)]
    judged = {prompt: float(i < 100) for i, prompt in enumerate(prompts)}
    truth = {prompt: float(i < 80 or i % 20 == 19) for i, prompt in enumerate(prompts)}
    drawn = [*prompts[:100:1], *prompts[100::3]]
    weights = {prompt: 1.0 if judged[prompt] else 3.0 for prompt in drawn}
    gold = {prompt: truth[prompt] for prompt in drawn}
    exact = sum(truth.values()) / 400
    weighted = powered_rate(Labelled(judged, gold, weights), power=1.0)
    assert weighted.value == pytest.approx(exact, abs=0.01)
    naive = sum(gold.values()) / len(gold)
    assert naive > exact + 0.15
    assert effective_count(np.asarray([1.0, 1.0, 2.0])) == pytest.approx(16 / 6)


def world(generator, prompts=300, labels=100, rates=(0.5, 0.25), misses=0.3, alarms=0.1):
    """Two policies on the same prompts; half of what they do depends on the prompt alone."""
    names = [f"p{i}" for i in range(prompts)]
    shared = generator.random(prompts)
    drawn = generator.choice(prompts, labels, replace=False)
    policies = []
    for rate in rates:
        own = np.where(generator.random(prompts) < 0.5, shared, generator.random(prompts))
        truth = own < rate
        luck = generator.random(prompts)
        said = np.where(truth, luck > misses, luck < alarms).astype(float)
        gold = {names[i]: float(truth[i]) for i in drawn}
        policies.append(Labelled(dict(zip(names, said.tolist(), strict=True)), gold))
    return policies


def test_coverage_where_the_judge_misses_violations():
    """95 % intervals of rates and of a paired difference; the judge's own cover next to nothing."""
    generator = np.random.default_rng(12)
    runs = 300
    inside = dict.fromkeys(
        [
            "raw rate",
            "raw",
            "gold",
            "ppi rate",
            "ppi",
            "misclassification rate",
            "misclassification",
        ],
        0,
    )
    widths = dict.fromkeys(["gold", "ppi"], 0.0)
    refused = 0
    for _ in range(runs):
        before, after = world(generator)
        estimates = {
            "raw rate": share(before.judged),
            "gold": powered_difference(before, after, power=0.0),
            "ppi rate": powered_rate(before),
            "ppi": powered_difference(before, after),
            "misclassification rate": corrected_rate(before),
            "misclassification": corrected_difference(before, after),
        }
        for name, estimate in estimates.items():
            if estimate is None:  # the judge was no better than chance on these labels
                refused += 1
                inside[name] += 0.95
                continue
            truth = 0.5 if name.endswith("rate") else -0.25
            inside[name] += estimate.low <= truth <= estimate.high
            if name in widths:
                widths[name] += estimate.high - estimate.low
        judged = np.asarray([list(after.judged.values()), list(before.judged.values())])
        change = judged[0] - judged[1]
        half = Z * change.std(ddof=1) / math.sqrt(len(change))
        inside["raw"] += change.mean() - half <= -0.25 <= change.mean() + half
    coverage = {name: count / runs for name, count in inside.items()}
    for name in ("gold", "ppi rate", "ppi", "misclassification rate", "misclassification"):
        assert 0.93 <= coverage[name] <= 0.975, coverage
    assert refused <= 3
    assert coverage["raw rate"] < 0.1 and coverage["raw"] < 0.4, coverage
    assert widths["ppi"] < 0.9 * widths["gold"]


def arena(name: str) -> Labelled:
    def rows(file):
        return [json.loads(line) for line in (ARENA / file).read_text().splitlines()]

    scored = rows(f"{name}.jsonl")
    asked = scored if name == "base" else rows(f"{name}_probe.jsonl")
    gold = {row["prompt_id"]: row["oracle_label"] for row in asked if "oracle_label" in row}
    return Labelled({row["prompt_id"]: row["judge_score"] for row in scored}, gold)


needs_arena = pytest.mark.skipif(not ARENA.is_dir(), reason=f"{ARENA} is not there")


@needs_arena
def test_the_policy_that_fools_the_judge_is_flagged():
    """Eddie Landesberg's arena sample: `unhelpful` is worth less than its scores promise."""
    base = arena("base")
    assert len(base.labels) == 480
    residuals = {}
    for name in ("clone", "parallel_universe_prompt", "unhelpful"):
        residuals[name] = carried(base, arena(name), confidence=1 - 0.05 / 3)
    assert [name for name, residual in residuals.items() if not residual.carries] == ["unhelpful"]
    assert residuals["unhelpful"].value == pytest.approx(-0.275, abs=0.01)
    assert abs(residuals["clone"].value) < 0.02


@needs_arena
def test_the_judges_scores_alone_miss_the_truth():
    """From 100 labels of 480, against the mean of the labels that were not used."""
    base = arena("base")
    generator = np.random.default_rng(3)
    naive = share(base.judged)
    labels = list(base.gold)
    covered = missed = 0
    for _ in range(100):
        generator.shuffle(labels)
        rest = np.asarray([base.gold[prompt] for prompt in labels[100:]])
        few = Labelled(base.judged, {prompt: base.gold[prompt] for prompt in labels[:100]})
        powered = powered_rate(few)
        error = 2 * rest.std() / math.sqrt(len(rest))  # the truth itself is a sample of 380
        covered += powered.low - error / 2 <= rest.mean() <= powered.high + error / 2
        missed += not naive.low <= rest.mean() <= naive.high
    assert covered >= 93 and missed >= 99


def test_errors_that_carry_over_and_errors_that_do_not():
    generator = np.random.default_rng(5)
    reference, other = world(generator, prompts=600, labels=300, rates=(0.5, 0.2))
    alike = carried_errors(reference, other)
    assert alike.carries, "a lower rate alone is no other error"
    assert not carried(reference, other).carries, "but what a score of 1 is worth has changed"
    (fooled,) = world(generator, prompts=600, labels=300, rates=(0.5,), misses=0.7)
    residual = carried_errors(reference, fooled)
    assert not residual.carries and residual.value < 0
    assert carried_errors(reference, Labelled(other.judged, {})) is None


def test_calibration_is_isotonic():
    sklearn = pytest.importorskip("sklearn.isotonic")
    generator = np.random.default_rng(1)
    judged = generator.integers(0, 11, 300) / 10
    gold = (generator.random(300) < 0.2 + 0.5 * judged).astype(float)
    weights = generator.random(300) + 0.5
    theirs = sklearn.IsotonicRegression(out_of_bounds="clip").fit(judged, gold, weights)
    grid = np.linspace(-0.1, 1.1, 41)
    assert calibrate(judged, gold, weights)(grid) == pytest.approx(theirs.predict(grid))


def test_a_threshold_at_which_a_judge_counts_as_people_do():
    generator = np.random.default_rng(2)
    scores = generator.integers(0, 30, 200) / 30
    gold = (generator.random(200) < scores).astype(float)
    weights = generator.random(200) + 0.1

    def excess(threshold):
        return abs((weights * (scores > threshold)).sum() - (weights * gold).sum())

    threshold = matching_threshold(list(zip(scores, gold, weights, strict=True)))
    everywhere = min(excess(one) for one in np.linspace(-0.01, 1.01, 500))
    assert excess(threshold) <= everywhere + 1e-9
    tens = [(place / 10, float(place > 6), 1.0) for place in range(10)]
    assert matching_threshold(tens) == pytest.approx(0.65), "in the middle between two scores"
    assert matching_threshold(tens[1:]) is None, "too few labels"
    for same in (0.0, 1.0):
        assert matching_threshold([(score, same, 1.0) for score, _, _ in tens]) is None
    assert matching_threshold([(0.5, gold, 1.0) for _, gold, _ in tens]) is None


def test_a_matching_threshold_gives_the_rate_where_the_best_one_does_not():
    """A tenth violates; scores of both kinds overlap, and a constant bias moves them all."""
    generator = np.random.default_rng(6)
    matching, best = [], []
    for _ in range(40):
        violated = generator.random(400) < 0.1
        score = np.where(violated, 2, -2) - 4 + generator.normal(size=400) * 2
        labels = [(score[i], float(violated[i]), 1.0) for i in range(200)]
        matching.append((score[200:] > matching_threshold(labels)).mean() - 0.1)
        hits = [(score[:200][violated[:200]] > each).mean() for each in score[:200]]
        alarms = [(score[:200][~violated[:200]] > each).mean() for each in score[:200]]
        youden = score[np.argmax(np.asarray(hits) - alarms)]
        best.append((score[200:] > youden).mean() - 0.1)
    assert abs(np.mean(matching)) < 0.02 < 0.05 < np.mean(best)


def same_answers(generator, share=0.7, prompts=300, labels=100):
    """Two policies that share most answers, and a judge whose errors are rare."""
    names = [f"p{i}" for i in range(prompts)]
    same = generator.random(prompts) < share
    drawn = generator.choice(prompts, labels, replace=False)
    truth = generator.random(prompts) < 0.5
    luck = generator.random(prompts)
    policies = []
    for rate in (0.5, 0.25):
        violated = np.where(same, truth, generator.random(prompts) < rate)
        chance = np.where(same, luck, generator.random(prompts))
        said = np.where(violated, chance > 0.1, chance < 0.03).astype(float)
        gold = {names[i]: float(violated[i]) for i in drawn}
        policies.append(Labelled(dict(zip(names, said.tolist(), strict=True)), gold))
    return policies, -0.25 * (1 - share)


def test_coverage_of_a_change_between_policies_that_share_most_answers():
    """Errors that no label shows are the same in shared answers, and cancel in the change."""
    generator = np.random.default_rng(8)
    inside, widths, by_bootstrap = [], [], []
    for run in range(200):
        (before, after), truth = same_answers(generator)
        change = corrected_difference(before, after)
        inside.append(change.low <= truth <= change.high)
        widths.append(change.high - change.low)
        if run < 40:
            low, high = bootstrap_difference(before, after, generator)
            by_bootstrap.append(high - low)
    assert 0.93 <= np.mean(inside) <= 0.98, np.mean(inside)
    ratio = np.mean(widths[:40]) / np.mean(by_bootstrap)
    assert 0.95 < ratio < 1.2, ratio
    one = corrected_difference(before, before)
    assert one.value == 0 and one.low < 0 < one.high, "no difference seen is no proof of none"


def bootstrap_difference(before, after, generator, draws=400):
    """Another way: prompts are drawn again with all that they hold, and both rates inverted."""
    prompts = list(before.judged)
    drawn = generator.multinomial(len(prompts), np.full(len(prompts), 1 / len(prompts)), draws)
    rates = []
    for policy in (before, after):
        said = np.asarray([policy.judged[prompt] for prompt in prompts])
        truth = np.asarray([policy.gold.get(prompt, 0.0) for prompt in prompts])
        has_label = np.asarray([float(prompt in policy.gold) for prompt in prompts])
        yes, no = has_label * truth, has_label * (1 - truth)
        hits = (drawn @ (yes * said) + 1) / (drawn @ yes + 2)
        cleared = (drawn @ (no * (1 - said)) + 1) / (drawn @ no + 2)
        rates.append((drawn @ said / len(prompts) + cleared - 1) / (hits + cleared - 1))
    return np.quantile(rates[1] - rates[0], [0.025, 0.975])


def test_pairs_share_what_the_prompt_decides():
    """The interval of a difference is narrower than on different prompts."""
    generator = np.random.default_rng(4)
    before, after = world(generator, labels=200, rates=(0.5, 0.4))
    paired = powered_difference(before, after, power=0.0)
    halves = [powered_rate(policy, power=0.0) for policy in (before, after)]
    unpaired = 2 * math.hypot(*((half.high - half.low) / 2 for half in halves))
    assert paired.high - paired.low < 0.95 * unpaired
    values = [after.gold[prompt] - before.gold[prompt] for prompt in before.gold]
    assert paired.value == pytest.approx(np.mean(values))
    by_judge = paired_difference(before.judged, after.judged)
    assert by_judge["n"] == paired.n == 300
