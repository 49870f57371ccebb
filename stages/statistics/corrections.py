"""Tests for an ablation: many variants against one reference, prompt by prompt.

Pure functions of numbers. `holm` is the default correction: it is valid under any dependence.
`max_t` has more power for many variants, as they share the reference. `sign_flip` and `max_t` need
no distribution and are exact up to their draws, but they account for only one source of chance: the
choice of prompts. McNemar's exact test (`intervals.mcnemar_exact`) is `sign_flip` for yes/no
outcomes of one seed.

Left out: the false discovery rate, which suits the screening of hundreds of variants, not a dozen
principles.
"""

from collections.abc import Mapping, Sequence

import numpy as np

BATCH = 1000  # sign flips drawn at a time


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: the chance of any false alarm among all of them stays below alpha.

    The k-th smallest of m is multiplied by m - k + 1, and is at least its predecessor. Not
    statsmodels' `multipletests`, which collects the garbage of the whole process at every call.

    Source: Holm 1979.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    ordered = np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(ordered, 1)
    return [float(p) for p in adjusted]


def sign_flip(differences: Sequence[float], resamples: int = 9999, seed: int = 0) -> float:
    """Two-sided p-value of flipping the signs of prompts' differences.

    Exact where few of them differ from 0. The prompt is the cluster: all its seeds flip together.
    The null is that for a random prompt, *under the models at hand*, a difference is as likely as
    its opposite. It says nothing about other seeds: where seeds vary it rejects more often than the
    nominal rate for "no effect on average over seeds"; the p of `effects` is for that.
    """
    from scipy.stats import permutation_test

    changed = np.array([d for d in differences if d != 0])  # the others stay 0 under every flip
    # the order of prompts and the direction must not change what is drawn: equal evidence, equal p
    changed = np.array(sorted(changed * (1.0 if changed.sum() >= 0 else -1.0)))
    if len(changed) < 2:  # with one, either sign is as far from 0
        return 1.0

    test = permutation_test(
        (changed,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        batch=500,
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def max_t(
    differences: Mapping[str, Sequence[float]], resamples: int = 9999, seed: int = 0
) -> dict[str, float]:
    """Step-down max-T p-values, by flipping each prompt's sign in all variants jointly.

    More power than Holm's for many variants, since they share the reference. The null is that of
    `sign_flip`: use it with one seed, or for the models at hand. All variants must have the
    same prompts in the same order.

    Args:
        differences: by variant, each prompt's difference to the reference.

    Returns:
        By variant the adjusted p.

    Source: Westfall and Young 1993.
    """
    names = list(differences)
    table = np.array([differences[name] for name in names], dtype=float).T
    scale = np.sqrt((table**2).sum(axis=0))
    table = table / np.where(scale > 0, scale, 1.0)
    observed = np.abs(table.sum(axis=0))
    order = np.argsort(-observed, kind="stable")
    rng = np.random.default_rng(seed)
    exceeded = np.zeros(len(names))
    for start in range(0, resamples, BATCH):
        size = min(BATCH, resamples - start), len(table)
        signs = rng.integers(0, 2, size) * 2.0 - 1.0
        drawn = np.abs(signs @ table)[:, order]
        weakest_first = drawn[:, ::-1]
        # for each variant, the largest of itself and all weaker ones
        largest = np.maximum.accumulate(weakest_first, axis=1)[:, ::-1]
        exceeded += (largest >= observed[order] - 1e-9).sum(axis=0)
    adjusted = np.maximum.accumulate((exceeded + 1) / (resamples + 1))
    return {names[place]: float(p) for place, p in zip(order, adjusted, strict=True)}
