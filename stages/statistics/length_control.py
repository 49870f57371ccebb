"""Win rates at equal length: the rate if both answers were equally long.

In: duels as (prompt, score from 0 to 1, how much longer our answer is). Out: an `Estimate`. Judges
like long answers, so a policy can win by writing more. As in AlpacaEval 2 (Dubois et al. 2024,
arXiv 2404.04475) a logistic model explains the scores by tanh of the difference in length, in
standard deviations; the rate at a difference of 0 is reported.

Left out: the paper's difficulty of each instruction, which it estimates from other models on its
own 805 prompts. Its two imagined cheaters are replaced by four imagined duels with weight 1/4 each:
a win and a loss for the longer answer, and the same for the shorter. So no policy wins always, and
a model against itself gets exactly one half.
"""

import warnings
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from stages.statistics.intervals import Estimate

LEAST = 10  # prompts; with fewer, two coefficients cannot be distinguished
IMAGINED_SIDES = (1.0, 1.0, -1.0, -1.0)  # of the imagined duels: ours is longer, or shorter
IMAGINED_SCORES = (1.0, 0.0, 1.0, 0.0)
IMAGINED_WEIGHT = 0.25


def length_controlled(
    duels: Sequence[tuple[str, float, float]], confidence: float = 0.95
) -> Estimate | None:
    """The win rate at equal length, its interval by errors clustered by prompt.

    Args:
        duels: (prompt, 1 won, 0.5 tied, 0 lost, length of ours less length of theirs, in any unit).

    Returns:
        None for fewer than `LEAST` prompts.
    """
    cluster = {prompt: i for i, prompt in enumerate(dict.fromkeys(duel[0] for duel in duels))}
    prompts = len(cluster)
    if prompts < LEAST:
        return None
    import numpy as np

    longer = np.array([difference for _, _, difference in duels], dtype=float)
    spread = longer.std()
    shape = np.tanh(longer / spread) if spread else np.zeros(len(duels))
    imagined = len(IMAGINED_SIDES)
    fit = _fit(
        lengths=np.append(shape, IMAGINED_SIDES),
        scores=np.append([score for _, score, _ in duels], IMAGINED_SCORES),
        weights=np.append(np.ones(len(duels)), np.full(imagined, IMAGINED_WEIGHT)),
        clusters=np.append(
            [cluster[prompt] for prompt, _, _ in duels], prompts + np.arange(imagined)
        ),
    )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    logit, error = float(fit.params[0]), float(fit.bse[0])
    bounds = (logit, logit - z * error, logit + z * error)
    value, low, high = (float(1 / (1 + np.exp(-bound))) for bound in bounds)
    return Estimate(value, low, high, prompts)


def _fit(lengths: Any, scores: Any, weights: Any, clusters: Any) -> Any:
    """The logistic model of scores by length; its first coefficient is the constant."""
    import statsmodels.api as sm

    columns = sm.add_constant(lengths, has_constant="add")
    model = sm.GLM(scores, columns, family=sm.families.Binomial(), var_weights=weights)
    with warnings.catch_warnings():
        # it warns about near separation, which the imagined duels bound
        warnings.simplefilter("ignore")
        return model.fit(cov_type="cluster", cov_kwds={"groups": clusters})
