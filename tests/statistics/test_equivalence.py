"""The claim of equivalence errs as rarely as it says: sizes by enumeration, and by simulation of
effects that lie exactly at the margin.
"""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom, multinomial

from stages.statistics.differences import effects_of_cube
from stages.statistics.equivalence import equivalence_p, findings
from stages.statistics.inside_margin import inside_margin, score
from stages.statistics.shares import changes


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """The p of a difference is not tested here."""
    monkeypatch.setattr("stages.statistics.differences.sign_flip", lambda d: 1.0)


FALLING = (
    0.0,
    0.002,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.35,
)  # of pairs, at the margin's true difference


def tables(n):
    return [(rose, fell) for rose in range(n + 1) for fell in range(n + 1 - rose)]


def chances(n, margin, falling):
    """Of all tables, by scipy's multinomial."""
    shares = [falling + margin, falling, 1 - 2 * falling - margin]
    cells = np.array([(b, c, n - b - c) for b, c in tables(n)])
    return multinomial(n, shares).pmf(cells)


def size(n, margin, alpha=0.05):
    """The largest chance of the claim if the true difference is `margin`."""
    claimed = np.array([inside_margin(b, c, n, margin) <= alpha for b, c in tables(n)])
    of_shares = [f for f in FALLING if 2 * f + margin <= 1]
    return max(float(chances(n, margin, f)[claimed].sum()) for f in of_shares), claimed.sum()


@pytest.mark.parametrize(("n", "margin"), [(20, 0.2), (20, 0.3), (45, 0.05), (45, 0.1)])
def test_the_exact_size_is_at_most_the_nominal_one(n, margin):
    assert size(n, margin)[0] <= 0.05


@pytest.mark.long
@pytest.mark.parametrize(
    ("n", "margin", "alpha"), [(60, 0.05, 0.05), (100, 0.05, 0.05), (100, 0.1, 0.05 / 12)]
)
def test_the_exact_size_at_more_pairs(n, margin, alpha):
    largest, claimed = size(n, margin, alpha)
    assert largest <= alpha and claimed > 0


def test_45_pairs_without_a_change_prove_no_margin_of_5_points():
    """A tenth of all samples of 45 is like that where 5 of 100 pairs change; of 59, under 5 %."""
    assert (
        inside_margin(0, 0, 45, 0.05) == pytest.approx(0.95**45) == pytest.approx(0.0994, abs=1e-4)
    )
    assert inside_margin(0, 0, 58, 0.05) > 0.05 > inside_margin(0, 0, 59, 0.05)
    reference = np.zeros((1, 45))
    effect = effects_of_cube(np.stack([reference, reference]), ["v"], ["0"])[0]
    assert findings({"v": effect}, 0.05)["v"].verdict == "undecided"


def test_the_statistic_is_the_score_of_the_restricted_likelihood():
    """The falling share by maximising the likelihood numerically, not by Tango's equation."""
    n, margin = 30, 0.15
    for rose, fell in ((0, 0), (3, 2), (1, 6), (10, 4)):

        def loss(q, rose=rose, fell=fell):
            shares = np.array([q + margin, q, 1 - 2 * q - margin])
            return -float(np.array([rose, fell, n - rose - fell]) @ np.log(shares))

        q = minimize_scalar(loss, bounds=(1e-9, 0.425 - 1e-9), method="bounded").x
        by_hand = (rose - fell - n * margin) / np.sqrt(n * (2 * q + margin - margin**2))
        assert float(score(rose, fell, n, margin)) == pytest.approx(by_hand, abs=1e-3)


def test_p_is_the_chance_of_what_is_as_far_inside():
    """Every table is ordered by the statistic, and the chances are added, on a grid of its own."""
    n, margin = 14, 0.3
    all_tables = tables(n)
    z = np.array([float(score(b, c, n, margin)) for b, c in all_tables])
    for rose, fell in ((0, 0), (1, 0), (2, 2), (0, 3)):
        more, less = max(rose, fell), min(rose, fell)
        as_far = z <= z[all_tables.index((more, less))] + 1e-9
        grid = np.linspace(0, 0.35, 400)
        largest = max(float(chances(n, margin, q)[as_far].sum()) for q in grid)
        assert inside_margin(rose, fell, n, margin) == pytest.approx(largest, rel=0.01)


def test_the_direction_and_the_variant_beside_it_do_not_matter():
    """Equal evidence has equal p, and equal p has equal verdicts."""
    assert inside_margin(3, 8, 300, 0.05) == inside_margin(8, 3, 300, 0.05)
    reference = np.full((1, 300), 0.0)
    reference[:, :150] = 1.0
    falls, rises = reference.copy(), reference.copy()
    falls[:, :40] = 0.0
    rises[:, -40:] = 1.0
    turned = rises[:, ::-1].copy()
    turned[:, :] = reference
    turned[:, 200:240] = 1.0
    cube = np.stack([reference, falls, rises, turned])
    effects = {e.variant: e for e in effects_of_cube(cube, ["falls", "rises", "other"], ["0"])}
    assert len({e.p_adjusted for e in effects.values()}) == 1
    assert effects["falls"].value == -effects["rises"].value
    for margin in (0.01, 0.05, 0.2):
        results = findings(effects, margin).values()
        assert len({(f.verdict, f.p_equivalence_holm) for f in results}) == 1


# --- simulated: the true effect is the margin


def trinomial(draws, seeds, n, margin, falling, alike):
    """Differences of yes/no outcomes: each seed changes its own prompts, or all the same ones."""
    drawn = draws.random((1 if alike else seeds, n))
    values = np.where(
        drawn < margin + falling, 1.0, np.where(drawn < margin + 2 * falling, -1.0, 0)
    )
    return np.repeat(values, seeds, axis=0) if alike else values


def responsive(draws, seeds, n, margin, falling, alike):
    """Prompts that respond at all do so under half of the seeds."""
    kinds = trinomial(draws, seeds, n, 2 * margin, 2 * falling, True)
    return kinds * (draws.random((seeds, n)) < 0.5)


def duels(draws, seeds, n, margin, falling, alike):
    """Half changes, as of ties."""
    return trinomial(draws, seeds, n, 2 * margin, falling, alike) / 2


def rare(draws, seeds, n, margin, falling, alike):
    """Small changes everywhere, and few whole ones that carry the effect."""
    whole = draws.random((1 if alike else seeds, n)) < margin
    return np.where(whole, 1.0, draws.uniform(-0.05, 0.05, (seeds, n)))


def sampled(draws, seeds, n, margin, falling, alike):
    """Means of three samples whose chance depends on the prompt."""
    rates = draws.beta(0.5, 0.5 * (1 - margin) / margin, n)
    return draws.binomial(3, np.repeat(rates[None], seeds, 0)) / 3


def claims(kind, seeds, n, margin, falling, alike, trials, seed=1):
    """The share of trials in which an effect at the margin is called equivalent."""
    draws = np.random.default_rng(seed)
    names = [str(s) for s in range(seeds)]
    wrong = 0
    for _ in range(trials):
        d = kind(draws, seeds, n, margin, falling, alike)
        flat = np.where(draws.random(d.shape) < 0.5, 1.0, 0.0) if kind is trinomial else 0.5
        before = np.where(d > 0, 1 - d, np.where(d < 0, -d, flat))
        effect = effects_of_cube(np.stack([before, before + d]), ["v"], names)[0]
        wrong += equivalence_p(effect, margin) <= 0.05
    return wrong / trials


def allowed(trials):
    """5 %, and what chance adds to it in one of a thousand simulations."""
    return binom.ppf(0.999, trials, 0.05) / trials


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("kind", [trinomial, responsive, rare, sampled])
def test_an_effect_at_the_margin_is_rarely_called_equivalent(kind, seeds):
    assert claims(kind, seeds, 45, 0.1, 0.0, True, trials=60) <= allowed(60)


OTHER_SIZES = [(20, 0.2), (45, 0.05), (100, 0.05), (400, 0.05)]


@pytest.mark.slow
@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("falling", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("n", "margin"),
    [(45, 0.1), *(pytest.param(*case, marks=pytest.mark.long) for case in OTHER_SIZES)],
)
def test_the_error_of_yes_no_outcomes(n, margin, seeds, falling, alike):
    assert claims(trinomial, seeds, n, margin, falling, alike, trials=500) <= allowed(500)


@pytest.mark.long
@pytest.mark.parametrize("kind", [responsive, duels, rare, sampled])
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(("n", "margin"), [(20, 0.2), (45, 0.1), (100, 0.05), (400, 0.05)])
def test_the_error_of_graded_outcomes_and_of_prompts_that_differ(n, margin, seeds, kind):
    assert claims(kind, seeds, n, margin, 0.02, False, trials=400) <= allowed(400)


@pytest.mark.long
@pytest.mark.parametrize("seeds", [1, 3])
def test_what_changes_nothing_is_called_equivalent_where_the_data_allow_it(seeds):
    """Half of 400 prompts in 10 change one way or the other: enough for a margin of 5 points."""
    draws = np.random.default_rng(2)
    right = 0
    for _ in range(200):
        d = trinomial(draws, seeds, 400, 0.0, 0.03, False)
        before = np.where(d > 0, 0.0, np.where(d < 0, 1.0, 0.0))
        names = [str(s) for s in range(seeds)]
        effect = effects_of_cube(np.stack([before, before + d]), ["v"], names)[0]
        right += equivalence_p(effect, 0.05) <= 0.05
    assert right / 200 > 0.9


# --- shares of changed labels


@pytest.mark.parametrize("n", [20, 45, 100, pytest.param(400, marks=pytest.mark.long)])
@pytest.mark.parametrize("margin", [0.05, 0.1])
def test_the_exact_size_of_both_claims_about_changed_labels(n, margin):
    """All numbers of changed labels, with their chances if the share is the margin."""
    counts = np.arange(n + 1)[: 4 + int(4 * n * margin)]
    runs = {f"v{k}": {"0": {f"p{i}": float(i < k) for i in range(n)}} for k in counts}
    fewer = more = 0.0
    for k in counts:
        found = changes({"v": runs[f"v{k}"]}, margin)[1]["v"]
        fewer += binom.pmf(k, n, margin) * (found.verdict == "equivalent")
        more += binom.pmf(k, n, margin) * (found.verdict == "differs")
    more += binom.sf(counts[-1], n, margin)
    assert fewer <= 0.05 and more <= 0.05


@pytest.mark.long
@pytest.mark.parametrize("n", [45, 100])
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_error_about_labels_of_several_pairs_and_seeds(n, seeds):
    """Two pairs of a prompt whose labels depend on each other, so that values are parts."""
    draws = np.random.default_rng(4)
    fewer = more = 0
    for _ in range(400):
        rates = draws.beta(0.3, 0.3 * 9, n)
        values = draws.binomial(2, np.repeat(rates[None], seeds, 0)) / 2
        runs = {
            str(s): {f"p{i}": float(v) for i, v in enumerate(row)} for s, row in enumerate(values)
        }
        found = changes({"v": runs}, 0.1)[1]["v"]
        fewer += found.verdict == "equivalent"
        more += found.verdict == "differs"
    assert fewer / 400 <= allowed(400) and more / 400 <= allowed(400)
