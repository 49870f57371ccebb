"""The statistics of paired comparisons, by scipy and statsmodels.

In: plain numbers keyed by prompt. Out: `Estimate`s and p-values, as plain data.

The prompt is the unit: several samples of a prompt are averaged first, because they are not
independent, and two policies are compared prompt by prompt. Shares get Wilson's interval (Wilson
1927), mean differences a bootstrap interval over prompts (Efron 1987, BCa), and yes/no outcomes
McNemar's exact test as well (McNemar 1947). Where few yes/no outcomes changed the bootstrap has too
little to draw from and is too sure: 3 changes of 200, all downwards, would exclude 0, where
McNemar's p is 0.25. The closed interval of Bonett and Price (2012) then takes its place.

Left out: corrections for many comparisons (Holm, maxT) and the spread between training seeds, which
belong to an ablation (`differences`): one run knows only its own prompts, so its intervals
understate what another seed would give.
"""

import math
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean
from typing import Any, cast

FEW_CHANGES = 30  # below it, yes/no differences get Bonett and Price's interval


@dataclass(frozen=True)
class Estimate:
    """A number with its interval. `n` counts prompts."""

    value: float
    low: float
    high: float
    n: int

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def by_prompt(values: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    """Average the samples of each prompt; None (nobody looked) is left out, never counted as 0."""
    groups: dict[str, list[float]] = {}
    for prompt, value in values:
        if value is not None:
            groups.setdefault(prompt, []).append(float(value))
    return {prompt: fmean(group) for prompt, group in groups.items()}


def share(values: Mapping[str, float], confidence: float = 0.95) -> Estimate | None:
    """A share with Wilson's interval, from one value in [0, 1] a prompt; None without prompts.

    With several samples a prompt the interval is on the safe side: it counts prompts and not
    samples.
    """
    if not values:
        return None
    from statsmodels.stats.proportion import proportion_confint

    n = len(values)
    value = fmean(values.values())
    low, high = proportion_confint(value * n, n, alpha=1 - confidence, method="wilson")
    return Estimate(value, float(low), float(high), n)


def mean_interval(
    values: Sequence[float], resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Estimate | None:
    """A mean with its BCa bootstrap interval over the `values`, one a prompt; None without values.

    Where all values are equal no bootstrap can see any spread. The interval then reaches as far as
    one unit times the Wilson bound of a share that was never met in n trials: 0 differences of 400
    do not prove that there are none.
    """
    if not values:
        return None
    n, mean = len(values), fmean(values)
    if min(values) == max(values):
        from statsmodels.stats.proportion import proportion_confint

        bound = float(proportion_confint(0, n, alpha=1 - confidence, method="wilson")[1])
        return Estimate(mean, mean - bound, mean + bound, n)
    import numpy as np
    from scipy.stats import bootstrap

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # BCa warns where it is degenerate; the percentiles then answer
        for method in ("BCa", "percentile"):
            found = bootstrap(
                (np.asarray(values),),
                np.mean,
                n_resamples=resamples,
                confidence_level=confidence,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
            if not (math.isnan(found.low) or math.isnan(found.high)):
                break
    return Estimate(mean, float(found.low), float(found.high), n)


def paired_difference(
    before: Mapping[str, float],
    after: Mapping[str, float],
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any] | None:
    """`after` minus `before`, over the prompts that both have; None if they share none.

    Returns:
        `value`, `low`, `high` and `n` as in Estimate (bounded to [-1, 1]: the values are shares);
        `before` and `after`, the two means over the common prompts; `fell` and `rose`, the prompts
        that changed; `p` of McNemar's exact test, None where a prompt's value is not simply 0 or 1.
    """
    prompts = [prompt for prompt in before if prompt in after]
    if not prompts:
        return None
    fell = sum(after[p] < before[p] for p in prompts)
    rose = sum(after[p] > before[p] for p in prompts)
    binary = all(values[p] in (0.0, 1.0) for p in prompts for values in (before, after))
    differences = [after[p] - before[p] for p in prompts]
    found = _change(differences, fell, rose, binary, resamples, confidence, seed)
    return {
        "value": found.value,
        "low": max(found.low, -1.0),
        "high": min(found.high, 1.0),
        "n": found.n,
        "before": fmean(before[p] for p in prompts),
        "after": fmean(after[p] for p in prompts),
        "fell": fell,
        "rose": rose,
        "p": mcnemar_exact(fell, rose) if binary else None,
    }


def _change(
    differences: list[float],
    fell: int,
    rose: int,
    whole: bool,
    resamples: int,
    confidence: float,
    seed: int,
) -> Estimate:
    """A mean difference; where few changed, Bonett and Price's interval, joined with the
    bootstrap's if changes are parts.
    """
    n = len(differences)
    if fell + rose >= FEW_CHANGES:
        return cast(Estimate, mean_interval(differences, resamples, confidence, seed))
    low, high = bonett_price(fell, rose, n, confidence)
    if whole:
        return Estimate((rose - fell) / n, low, high, n)
    found = cast(Estimate, mean_interval(differences, resamples, confidence, seed))
    return Estimate(found.value, min(low, found.low), max(high, found.high), n)


def win_rate(
    scores: Sequence[float], resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Estimate | None:
    """The mean of scores from 0 (lost) over 0.5 (tied) to 1 (won), one a prompt: half a paired
    difference around one half.
    """
    if not scores:
        return None
    lost, won = sum(score < 0.5 for score in scores), sum(score > 0.5 for score in scores)
    whole = all(score in (0.0, 0.5, 1.0) for score in scores)
    found = _change(
        [2 * score - 1 for score in scores], lost, won, whole, resamples, confidence, seed
    )
    return Estimate(0.5 + found.value / 2, 0.5 + found.low / 2, 0.5 + found.high / 2, found.n)


def bonett_price(fell: int, rose: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a paired difference of shares: Wald's, with one imagined change each way (Bonett
    and Price 2012).
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    down, up = (fell + 1) / (n + 2), (rose + 1) / (n + 2)
    half = z * math.sqrt((down + up - (up - down) ** 2) / (n + 2))
    return up - down - half, up - down + half


def mcnemar_exact(fell: int, rose: int) -> float:
    """Two-sided exact p-value from the discordant pairs alone; 1.0 if there are none."""
    from statsmodels.stats.contingency_tables import mcnemar

    return float(mcnemar([[0, fell], [rose, 0]], exact=True).pvalue)


def kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Cohen's kappa of two raters (Cohen 1960); None where it is undefined: no pairs, or both
    always say the same.
    """
    labels = sorted({label for pair in pairs for label in pair}, key=repr)
    if len(labels) < 2:
        return None
    from statsmodels.stats.inter_rater import cohens_kappa

    place = {label: i for i, label in enumerate(labels)}
    table = [[0] * len(labels) for _ in labels]
    for first, second in pairs:
        table[place[first]][place[second]] += 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(cohens_kappa(table, return_results=False))
    return None if math.isnan(value) else value


def krippendorff(
    judges: Sequence[Sequence[Hashable | None]],
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate | None:
    """Krippendorff's alpha of nominal judgements, by evalica; the interval resamples items
    (percentiles).

    Args:
        judges: each judge's judgements, items in the same order; None where a judge did not look.

    Returns:
        None where alpha is undefined: no item with two judgements, or only one label was ever
        given. `n` counts the items that two or more judged. Near 1 and with few items the interval
        is too narrow, as any bootstrap of a bound is.
    """
    items = [
        list(item)
        for item in zip(*judges, strict=True)
        if sum(label is not None for label in item) > 1
    ]
    labels = sorted({label for item in items for label in item if label is not None}, key=repr)
    if len(labels) < 2:
        return None
    import evalica
    import numpy as np
    import pandas as pd

    place = {label: float(i) for i, label in enumerate(labels)}
    table = np.array(
        [[math.nan if label is None else place[label] for label in item] for item in items]
    ).T

    def alpha(columns: Any) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a resample with one label alone has no alpha
            return float(evalica.alpha(pd.DataFrame(table[:, columns])).alpha)

    rng = np.random.default_rng(seed)
    drawn = np.array([alpha(rng.integers(0, len(items), len(items))) for _ in range(resamples)])
    tail = 50 * (1 - confidence)
    low, high = np.nanpercentile(drawn, [tail, 100 - tail])
    return Estimate(alpha(np.arange(len(items))), float(low), float(high), len(items))
