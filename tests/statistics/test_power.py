"""The promised power against published formulas, other libraries, and simulated ablations."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from stages.statistics.differences import effects_of_cube
from stages.statistics.power import detection_power, independent_discordance, minimum_detectable


def test_power_is_mcnemars_of_connett_smith_and_mchugh():
    """Connett, Smith and McHugh (1987): n = (z * sqrt(psi) + z_power * sqrt(psi - d ** 2)) ** 2 / d
    ** 2; the exact test needs a few more.
    """
    z, z_power = 1.959964, 0.841621
    for psi, d in ((0.3, 0.05), (0.2, 0.04), (0.4, 0.06)):
        n = round((z * math.sqrt(psi) + z_power * math.sqrt(psi - d**2)) ** 2 / d**2)
        assert 0.77 <= detection_power(d, n, 1, psi) <= 0.8
        assert minimum_detectable(n, base_rate=0.3, discordance=psi) == pytest.approx(d, rel=0.04)


@pytest.mark.parametrize(("n", "base", "comparisons"), [(45, 0.5, 1), (100, 0.2, 5), (60, 0.9, 3)])
def test_power_of_one_seed_by_drawing_tables(n, base, comparisons):
    """20,000 tables of changed prompts, each with its exact p by the binomial distribution."""
    detectable = minimum_detectable(n, base_rate=base, comparisons=comparisons)
    moved = base + (detectable if base < 0.5 else -detectable)
    rises, falls = (1 - base) * moved, base * (1 - moved)
    draws = np.random.default_rng(1).multinomial(n, [rises, falls, 1 - rises - falls], 20_000)
    p = 2 * binom.cdf(draws[:, :2].min(axis=1), draws[:, :2].sum(axis=1), 0.5)
    assert np.mean(p <= 0.05 / comparisons) == pytest.approx(0.8, abs=0.012)


def test_unrelated_runs_change_more_towards_one_half():
    assert independent_discordance(0.1, 0.2) == pytest.approx(0.1 * 0.7 + 0.3 * 0.9)
    assert independent_discordance(0.9, 0.2) == pytest.approx(0.9 * 0.3 + 0.7 * 0.1)
    assert independent_discordance(0.3, 0.0) == pytest.approx(2 * 0.3 * 0.7)


def test_power_over_seeds_alone_is_students():
    """Without prompts' share: statsmodels' power of a paired t test of 5 seeds."""
    from statsmodels.stats.power import TTestPower

    for d in (0.05, 0.1):
        reference = TTestPower().power(d / 0.05, nobs=5, alpha=0.05)
        assert detection_power(d, 10**7, 5, 0.2, seed_sd=0.05) == pytest.approx(reference, abs=0.01)


def test_where_all_seeds_change_the_same_prompts_more_seeds_do_not_help():
    """Then the power is that of a t test of prompts, whatever the number of seeds."""
    powers = [detection_power(0.06, 400, seeds, 0.3, overlap=1.0) for seeds in (2, 3, 10)]
    assert max(powers) - min(powers) < 0.002
    assert detection_power(0.06, 400, 3, 0.3, overlap=0.0, comparisons=10) > powers[1]
    few = {"n_prompts": 300, "n_seeds": 3, "base_rate": 0.3, "comparisons": 10}
    worst = minimum_detectable(**few)
    for overlap in (0.0, 0.5, 1.0):
        assert minimum_detectable(**few, overlap=overlap) <= worst + 1e-9


def test_what_makes_smaller_effects_visible():
    def detectable(prompts, seeds, seed_sd=0.02):
        return minimum_detectable(prompts, seeds, base_rate=0.2, seed_sd=seed_sd, comparisons=12)

    few = detectable(200, 3)
    assert few > detectable(800, 3)
    assert few > detectable(200, 5)
    assert few > detectable(200, 3, seed_sd=0.0)
    assert minimum_detectable(4, base_rate=0.5, comparisons=12) is None


# --- by simulation


def ablation(draws, variants, seeds, prompts, base, effect, seed_sd, alike):
    """Yes/no outcomes of unrelated runs; the first variant has the effect.

    `alike`: for this share of the answers, a prompt's luck is the same under all seeds of a run; a
    seed moves each run, so that a difference moves by `seed_sd`.
    """
    runs = variants + 1
    rates = np.full((runs, seeds, 1), base)
    rates = rates + seed_sd / math.sqrt(2) * draws.standard_normal(rates.shape)
    rates[1] += effect if base < 0.5 else -effect
    luck = draws.random((runs, seeds, prompts))
    shared = np.broadcast_to(draws.random((runs, 1, prompts)), luck.shape)
    luck = np.where(draws.random(luck.shape) < alike, shared, luck)
    return (luck < rates).astype(float)


def found(trials, seeds, prompts, base, variants, seed_sd, alike, seed=5):
    """How often the effect that is promised with a chance of 80 % is found."""
    draws = np.random.default_rng(seed)
    promised = minimum_detectable(
        prompts, seeds, base_rate=base, seed_sd=0.04, comparisons=variants
    )
    names, hits = [f"v{i}" for i in range(variants)], 0
    for _ in range(trials):
        cube = ablation(draws, variants, seeds, prompts, base, promised, seed_sd, alike)
        first = effects_of_cube(cube, names, [str(s) for s in range(seeds)])[0]
        hits += first.p <= 0.05 / variants
    return hits / trials


def test_the_promised_effect_is_found():
    assert found(60, 3, 100, 0.3, 4, seed_sd=0.04, alike=1.0) >= 0.68  # of 60: 2.3 sd below .8


@pytest.mark.long
@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seed_sd", [0.0, 0.04])
@pytest.mark.parametrize(
    ("seeds", "prompts", "base", "variants"),
    [(2, 300, 0.3, 10), (3, 100, 0.2, 1), (3, 484, 0.25, 10), (5, 150, 0.1, 4)],
)
def test_the_promised_effect_is_found_whatever_seeds_do(
    seeds, prompts, base, variants, seed_sd, alike
):
    """At least .78, up to the error of 300 ablations: effects differ by seed and by prompt."""
    assert found(300, seeds, prompts, base, variants, seed_sd, alike) >= 0.78 - 0.05
