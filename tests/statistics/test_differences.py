"""An ablation's statistics against published values and other libraries, and by simulation where
the truth is known.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from stages.guards.errors import UserError
from stages.statistics.corrections import holm, max_t, sign_flip
from stages.statistics.differences import effects, effects_of_cube
from stages.statistics.effect import cohens_h
from stages.statistics.equivalence import findings
from stages.statistics.intervals import bonett_price, mcnemar_exact
from stages.statistics.variance import Spread, components
from tests.statistics.simulated import ablation, as_runs, truth

NAMES = [f"v{i}" for i in range(1, 13)]


def rng(seed=0):
    return np.random.default_rng(seed)


# --- corrections and tests


def test_holm_of_the_reference_values():
    assert holm([0.001, 0.008, 0.039, 0.041, 0.042]) == pytest.approx(
        [0.005, 0.032, 0.117, 0.117, 0.117]
    )
    assert holm([]) == []
    p = [0.3, 0.01, 0.01, 0.9, 0.04, 1.0]
    _, expected, *_ = multipletests(p, method="holm")
    assert holm(p) == pytest.approx(list(expected))


@pytest.mark.parametrize(("fell", "rose"), [(1, 9), (9, 1), (5, 5), (3, 0), (0, 0)])
def test_sign_flips_of_yes_no_differences_are_mcnemars_exact_test(fell, rose):
    assert sign_flip([-1.0] * fell + [1.0] * rose + [0.0] * 40) == pytest.approx(
        mcnemar_exact(fell, rose)
    )


def test_sign_flips_of_next_to_nothing():
    assert sign_flip([0.0] * 5) == sign_flip([0.0, 0.3, 0.0]) == 1.0
    assert sign_flip([0.2, 0.3]) == 0.5


def test_sign_flips_of_darwins_maize():
    """Fisher (1935, The Design of Experiments, section 21): 1,726 of 32,768 flips reach the sum of
    Darwin's 15 pairs.
    """
    darwin = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert sign_flip(darwin, resamples=40_000) == pytest.approx(1726 / 32768, abs=1e-6)


def test_many_sign_flips_are_drawn_and_the_draw_is_repeatable():
    from scipy.stats import ttest_1samp

    values = rng(1).normal(0.15, 1, 200)
    assert sign_flip(values, 4999) == sign_flip(values, 4999)
    assert sign_flip(values, 4999) == pytest.approx(ttest_1samp(values, 0).pvalue, abs=0.02)


def test_max_t_of_one_variant_is_its_own_p_value():
    values = rng(2).normal(0.15, 1, 100)
    assert max_t({"a": values})["a"] == pytest.approx(sign_flip(values), abs=0.015)


def test_max_t_lies_between_the_raw_and_bonferronis_p_value():
    table = (
        rng(3).normal(0, 1, (80, 1))
        + rng(4).normal(0, 0.5, (80, 6))
        + np.array([0.4, 0.2, 0.1, 0, 0, 0])
    )
    raw = {str(i): sign_flip(table[:, i]) for i in range(6)}
    adjusted = max_t({str(i): table[:, i] for i in range(6)})
    assert all(raw[name] <= adjusted[name] + 0.015 for name in raw)
    assert adjusted["0"] < holm([raw[str(i)] for i in range(6)])[0] + 0.01  # the six are correlated
    order = sorted(raw, key=lambda name: raw[name])
    assert all(adjusted[a] <= adjusted[b] for a, b in pairwise(order))


def test_max_t_of_copies_costs_nothing():
    values = rng(5).normal(0.25, 1, 60)
    copies = max_t({str(i): values for i in range(8)})
    assert set(copies.values()) == {max_t({"0": values})["0"]}


def test_effects_corrected_by_max_t():
    """Ten variants that share most of what they change: max-T finds what Holm does and more; not
    with several seeds.
    """
    shared = rng(8).normal(0.25, 1, 120)
    cube = np.stack(
        [np.zeros(120), *(shared + rng(20 + i).normal(0, 0.3, 120) for i in range(10))]
    )[:, None]
    by_holm, by_max_t = (
        effects_of_cube(cube, NAMES[:10], "0", correction=how) for how in ("holm", "max_t")
    )
    assert {e.test for e in by_holm} == {"sign_flip"} and [e.p for e in by_holm] == [
        e.p for e in by_max_t
    ]
    assert all(
        b.p <= b.p_adjusted <= a.p_adjusted + 0.005 for a, b in zip(by_holm, by_max_t, strict=True)
    )
    assert np.mean([e.p_adjusted for e in by_max_t]) < np.mean([e.p_adjusted for e in by_holm]) / 2
    with pytest.raises(UserError, match="several seeds"):
        effects_of_cube(np.repeat(cube, 2, axis=1), NAMES[:10], "01", correction="max_t")


def test_cohens_h():
    """Cohen (1988, section 6.2): the arcsine transformations of .65 and .45 are 1.875 and 1.471."""
    assert cohens_h(0.65, 0.45) == pytest.approx(1.875 - 1.471, abs=2e-3)
    assert cohens_h(0.3, 0.3) == 0


# --- intervals


def test_one_seed_of_yes_no_outcomes_is_bonett_and_price_and_mcnemar():
    cube = ablation(rng(), 3, 1, 150, 0.3)
    reference, variants = as_runs(cube)
    for result in effects(reference, variants).values():
        d = cube[int(result.variant[1:])] - cube[0]
        fell, rose = int((d < 0).sum()), int((d > 0).sum())
        assert (result.low, result.high) == pytest.approx(bonett_price(fell, rose, 150))
        assert (result.low_all, result.high_all) == pytest.approx(
            bonett_price(fell, rose, 150, 1 - 0.05 / 3)
        )
        assert result.p == mcnemar_exact(fell, rose)
        assert (result.over, result.test, result.n_seeds, result.n_prompts, result.seed_sd) == (
            "prompts",
            "mcnemar",
            1,
            150,
            None,
        )
        assert result.value == pytest.approx((rose - fell) / 150)
        assert result.discordance == pytest.approx((rose + fell) / 150)


def test_one_seed_of_graded_outcomes_has_students_interval_and_a_permutation_p():
    """The interval up to the imagined changes, which hardly move many graded prompts."""
    from scipy.stats import ttest_rel

    scores = rng(6).uniform(size=(2, 1, 2000)) * 0.5 + np.array([0.0, 0.01])[:, None, None]
    result = effects_of_cube(scores, ["v"], ["s"])[0]
    reference = ttest_rel(scores[1, 0], scores[0, 0])
    low, high = reference.confidence_interval()
    assert (result.low, result.high) == pytest.approx((low, high), abs=1e-3)
    assert result.p == pytest.approx(reference.pvalue, abs=0.05)
    assert result.test == "sign_flip"


def test_the_parts_of_the_variance_are_those_of_the_analysis_of_variance():
    """One variant, three seeds: mean squares by statsmodels' two-way ANOVA of the differences."""
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    cube = (
        rng(7).normal(size=(2, 3, 12))
        + rng(8).normal(size=(1, 1, 12))
        + 2.5 * rng(9).normal(size=(2, 3, 1))
    )
    cube[1] += rng(10).normal(size=12)
    d = cube[1] - cube[0]
    rows = pd.DataFrame([{"d": d[s, p], "s": s, "p": p} for s in range(3) for p in range(12)])
    squares = anova_lm(ols("d ~ C(s) + C(p)", rows).fit())["mean_sq"]
    result = components(cube)[0]
    spread, moved = result.spread, result.seed_sd
    assert spread.seeds == pytest.approx(squares["C(s)"] / 36)
    assert spread.chance == pytest.approx(squares["Residual"] / 36)
    assert spread.prompts == pytest.approx((squares["C(p)"] - squares["Residual"]) / 36)
    assert moved == pytest.approx(math.sqrt(max(squares["C(s)"] - squares["Residual"], 0) / 12))
    assert (spread.df_seeds, spread.df_prompts) == (2, 11)


def test_several_variants_share_what_they_know_of_seeds():
    cube = ablation(rng(11), 12, 3, 100, 0.3, seed_sd=0.3)
    pooled, alone = (
        effects_of_cube(cube, NAMES, "123"),
        effects_of_cube(cube, NAMES, "123", pools=NAMES),
    )
    assert {e.spread.df_seeds for e in pooled} == {24}
    assert {e.spread.df_seeds for e in alone} == {2}
    assert len({e.seed_sd for e in pooled}) == 1
    assert pooled[0].over == "prompts and seeds"
    assert sum(e.high - e.low for e in pooled) < sum(e.high - e.low for e in alone)
    assert (
        effects_of_cube(cube[:2], ["v1"], "123")[0]
        == effects_of_cube(cube[:2], ["v1"], "123", pools=["v1"])[0]
    )


def test_where_prompts_do_not_matter_the_interval_is_students_over_seeds():
    """Every prompt of a run has the same value: three seeds are three numbers (scipy, paired t)."""
    from scipy.stats import ttest_rel

    runs = np.array([[10.0, 11.0, 12.5], [13.0, 13.5, 17.0]])
    result = effects_of_cube(np.repeat(runs[:, :, None], 5000, axis=2), ["v"], "123")[0]
    reference = ttest_rel(runs[1], runs[0])
    assert (result.low, result.high) == pytest.approx(
        tuple(reference.confidence_interval()), abs=0.01
    )
    assert result.p == pytest.approx(reference.pvalue, abs=0.001)
    assert result.cohens_h is None  # these are no shares


def test_p_value_and_interval_agree():
    for part in (
        Spread(0.002, 0.001, 0.003, 4.0, 99.0),
        Spread(0.0, 0.0, 0.01, 1.0, 30.0),
        Spread(0.02, 0.0, 0.0, 2.0, 50.0),
    ):
        for alpha in (0.2, 0.05, 0.001):
            assert part.p_value(part.half_width(alpha)) == pytest.approx(alpha, rel=1e-6)
        assert part.p_value(0.0) == 1.0
        assert part.p_value(1e9) == pytest.approx(0, abs=1e-11)


def test_nothing_changed_is_no_proof():
    cube = np.ones((2, 3, 100))
    result = effects_of_cube(cube, ["v"], "123")[0]
    assert result.value == 0
    assert result.high == pytest.approx(-result.low)
    assert 0.02 < result.high < 0.05
    assert result.p == 1.0


def test_only_what_all_runs_share_is_compared():
    reference, variants = as_runs(ablation(rng(12), 2, 3, 30, 0.4))
    del variants["v1"]["s2"], variants["v2"]["s0"]["p4"], reference["s1"]["p7"]
    result = effects(reference, variants)
    assert {(e.n_seeds, e.n_prompts) for e in result.values()} == {(2, 28)}
    assert list(result["v1"].by_seed) == ["s0", "s1"]
    assert result["v1"].value == pytest.approx(np.mean(list(result["v1"].by_seed.values())))
    assert result["v1"].mean - result["v1"].reference == pytest.approx(result["v1"].value)
    assert isinstance(result["v1"].plain()["spread"]["seeds"], float)
    assert effects(reference, {}) == {}


def test_runs_with_nothing_in_common_are_refused():
    with pytest.raises(UserError, match="no seed is common"):
        effects({"1": {"a": 1.0, "b": 0.0}}, {"v": {"2": {"a": 1.0, "b": 0.0}}})
    with pytest.raises(UserError, match="only 1 prompts"):
        effects({"1": {"a": 1.0, "b": 0.0}}, {"v": {"1": {"a": 1.0, "c": 0.0}}})


@pytest.mark.parametrize(
    "cube",
    [
        np.zeros((2, 2, 2)),
        np.full((3, 1, 2), 7.0),
        np.arange(8.0).reshape(2, 2, 2),
        np.eye(4).reshape(2, 4, 2),
    ],
)
def test_the_smallest_tables_give_finite_numbers(cube):
    for result in effects_of_cube(cube, NAMES[: len(cube) - 1], "1234"[: cube.shape[1]]):
        assert (
            math.isfinite(result.low)
            and math.isfinite(result.high)
            and result.low <= result.value <= result.high
        )
        assert 0 < result.p <= result.p_adjusted <= 1


def test_turning_the_comparison_turns_the_sign():
    cube = ablation(rng(13), 1, 3, 80, 0.3, seed_sd=0.2)
    there, back = (
        effects_of_cube(cube, ["v"], "123")[0],
        effects_of_cube(cube[::-1], ["v"], "123")[0],
    )
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p == pytest.approx(back.p)


def test_what_a_seed_does_to_all_runs_alike_does_not_count():
    cube = rng(14).normal(size=(4, 3, 50))
    moved = cube + np.array([0.0, 5.0, -3.0])[:, None]
    one, other = effects_of_cube(cube, NAMES[:3], "123"), effects_of_cube(moved, NAMES[:3], "123")
    assert [(e.low, e.high) for e in one] == [pytest.approx((e.low, e.high)) for e in other]


def test_simultaneous_intervals_are_bonferronis():
    cube = ablation(rng(15), 12, 3, 100, 0.3)
    together, one = (
        effects_of_cube(cube, NAMES, "123")[0],
        effects_of_cube(cube, NAMES, "123", confidence=1 - 0.05 / 12)[0],
    )
    assert (together.low_all, together.high_all) == pytest.approx((one.low, one.high))


def test_a_variant_that_seeds_move_more_than_the_others_is_reported():
    cube = ablation(rng(18), 12, 5, 200, 0.3, seed_sd=np.array([0.1] * 12 + [1.5]))
    result = effects_of_cube(cube, NAMES, "12345")
    assert result[-1].seeds_p < 0.001
    assert min(e.seeds_p for e in result[:-1]) > 0.05
    assert effects_of_cube(cube, NAMES, "12345", pools=NAMES)[0].seeds_p is None


# --- what may be concluded


def test_no_effect_is_claimed_only_with_evidence():
    cube = ablation(rng(16), 3, 3, 400, 0.3, shifts=(1.5,))
    cube[2] = cube[0]
    cube[2, :, :3] = 1 - cube[0, :, :3]  # next to nothing changes
    result = findings({e.variant: e for e in effects_of_cube(cube, NAMES[:3], "123")}, margin=0.05)
    assert result["v1"].verdict == "differs"
    assert result["v2"].verdict == "equivalent"
    few = effects_of_cube(cube[:, :, :40], NAMES[:3], "123")
    assert findings({e.variant: e for e in few}, margin=0.05)["v3"].verdict == "undecided"


def test_two_one_sided_tests_against_statsmodels():
    from statsmodels.stats.weightstats import DescrStatsW

    from stages.statistics.equivalence import equivalence_p

    cube = rng(17).normal(size=(2, 1, 400))
    result = effects_of_cube(cube, ["v"], "1")[0]
    reference = DescrStatsW(cube[1, 0] - cube[0, 0]).ttost_mean(-0.2, 0.2)[0]
    assert result.trials is None  # these are no shares: they have the t tests alone
    assert equivalence_p(result, 0.2) == pytest.approx(reference, abs=0.01)
    assert equivalence_p(result, abs(result.value)) == 1.0


# --- by simulation


def simulated(
    trials, seed, *, seeds, prompts, base, seed_sd=0.0, shifts=(), pool=True, variants=12
):
    draws = rng(seed)
    for _ in range(trials):
        cube = ablation(draws, variants, seeds, prompts, base, seed_sd, shifts)
        names = [f"v{i}" for i in range(1, variants + 1)]
        yield effects_of_cube(
            cube, names, [str(s) for s in range(seeds)], pools=None if pool else names
        )


def coverage(trials, seed, **setting):
    shifts = setting.get("shifts", ())
    true = [truth(setting["base"], shift, setting.get("seed_sd", 0.0)) for shift in shifts]
    true += [0.0] * (12 - len(true))
    hits = [
        e.low <= t <= e.high
        for result in simulated(trials, seed, **setting)
        for e, t in zip(result, true, strict=False)
    ]
    return float(np.mean(hits))


@pytest.mark.long
@pytest.mark.parametrize("seed_sd", [0.0, 0.15, 0.4])
@pytest.mark.parametrize(
    ("seeds", "prompts", "base"), [(3, 200, 0.2), (3, 500, 0.5), (5, 200, 0.05), (5, 500, 0.2)]
)
def test_coverage_of_an_ablation_of_twelve(seeds, prompts, base, seed_sd):
    """93 to 97 % of the intervals hold the true effect; 300 ablations of 12 variants, four of which
    have an effect.

    `seed_sd` 0.15 and 0.4 (logits) move a whole run by about 2 and 5 points at a base rate of 20 %.
    """
    result = coverage(
        300,
        1,
        seeds=seeds,
        prompts=prompts,
        base=base,
        seed_sd=seed_sd,
        shifts=(-0.6, -0.3, 0.3, 0.6),
    )
    assert 0.93 <= result <= 0.97


LARGER = [(100, 0.5), (500, 0.05), (500, 0.2), (500, 0.5)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompts", "base"),
    [(100, 0.2), *(pytest.param(*case, marks=pytest.mark.long) for case in LARGER)],
)
def test_coverage_of_one_seed(prompts, base):
    assert 0.93 <= coverage(300, 2, seeds=1, prompts=prompts, base=base, shifts=(-0.6, 0.6)) <= 0.97


@pytest.mark.long
def test_one_seed_knows_nothing_of_others():
    """Where seeds matter the interval over prompts misses the effect over seeds, as `over` says."""
    assert coverage(200, 3, seeds=1, prompts=500, base=0.2, seed_sd=0.4) < 0.6


@pytest.mark.long
@pytest.mark.parametrize(
    ("seeds", "prompts", "base", "seed_sd", "pool"),
    [
        (1, 100, 0.05, 0.0, True),
        (2, 100, 0.05, 0.0, True),
        (2, 400, 0.2, 0.0, True),
        (2, 400, 0.2, 0.4, True),
        (3, 100, 0.05, 0.15, True),
        (2, 400, 0.2, 0.4, False),
        (3, 400, 0.2, 0.0, False),
        (3, 400, 0.2, 0.4, False),
        (10, 200, 0.2, 0.15, False),
    ],
)
def test_coverage_where_it_errs_on_the_wide_side(seeds, prompts, base, seed_sd, pool):
    """Few changes, two seeds, or seeds that are not pooled: never below 93 %, but up to 99.9 %."""
    assert (
        0.93
        <= coverage(200, 4, seeds=seeds, prompts=prompts, base=base, seed_sd=seed_sd, pool=pool)
        <= 0.999
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("seeds", "seed_sd"), [(1, 0.0), (2, 0.4), (3, 0.0), (3, 0.15), (3, 0.4), (5, 0.0), (5, 0.4)]
)
def test_false_alarms_of_an_ablation_of_nothing(seeds, seed_sd):
    """200 ablations of 12 principles that do nothing: at most 5 % (7.5 % with the binomial error of
    200) find any effect.
    """
    result = simulated(200, 5, seeds=seeds, prompts=300, base=0.2, seed_sd=seed_sd)
    assert np.mean([min(e.p_adjusted for e in effects) <= 0.05 for effects in result]) <= 0.075


@pytest.mark.long
def test_false_alarms_of_max_t():
    draws, wrong = rng(6), 0
    for trial in range(200):
        cube = ablation(draws, 12, 1, 200, 0.3)
        wrong += (
            min(
                max_t(
                    {n: cube[i, 0] - cube[0, 0] for i, n in enumerate(NAMES, 1)}, 999, seed=trial
                ).values()
            )
            <= 0.05
        )
    assert wrong / 200 <= 0.075


@pytest.mark.long
def test_a_planted_effect_is_found_and_an_irrelevant_principle_is_not():
    """v1 moves violations by 20 points, under 3 seeds that matter; the other eleven do nothing."""
    result = list(simulated(200, 7, seeds=3, prompts=300, base=0.3, seed_sd=0.15, shifts=(1.4,)))
    assert 0.15 < truth(0.3, 1.4, 0.15) < 0.25
    assert np.mean([effects[0].p_adjusted <= 0.05 for effects in result]) > 0.95
    assert (
        0.93 <= np.mean([e.low <= 0 <= e.high for effects in result for e in effects[1:]]) <= 0.98
    )
    verdicts = [findings({e.variant: e for e in effects}, margin=0.1) for effects in result]
    assert np.mean([v["v1"].verdict == "equivalent" for v in verdicts]) == 0


@pytest.mark.long
def test_equivalence_is_rarely_claimed_of_what_lies_at_the_margin():
    margin = truth(0.3, 0.5, 0.15)
    wrong = 0
    for result in simulated(
        300, 8, seeds=3, prompts=500, base=0.3, seed_sd=0.15, shifts=(0.5,) * 12
    ):
        wrong += any(f.inside for f in findings({e.variant: e for e in result}, margin).values())
    assert wrong / 300 <= 0.075
