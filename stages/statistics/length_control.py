"""Win rates at equal length: what would be left if both answers were equally long.

In: duels as (prompt, score from 0 to 1, how much longer our answer is). Out: an `Estimate`. Judges
like long answers, so a policy can win by writing more. As in AlpacaEval 2 (Dubois et al. 2024,
arXiv 2404.04475) a logistic model explains the scores by tanh of the difference in length, in
standard deviations; the rate at a difference of 0 is reported.

Left out: the paper's difficulty of each instruction, which it knows from other models on its own
805 prompts. In the place of its two imagined cheaters stand four imagined duels, a win and a loss
each for the longer and the shorter, of a quarter's weight; so no policy wins always, and a model
against itself gets exactly one half.
"""

import warnings
from collections.abc import Sequence
from statistics import NormalDist

from stages.statistics.paired import Estimate

LEAST = 10  # duels below which two coefficients cannot be told from each other


def length_controlled(
    duels: Sequence[tuple[str, float, float]], confidence: float = 0.95
) -> Estimate | None:
    """The win rate at equal length, its interval by errors clustered by prompt; None for fewer than
    `LEAST` prompts.

    Args:
        duels: (prompt, 1 won, 0.5 tied, 0 lost, length of ours less length of theirs, in any unit).
    """
    prompts = len({prompt for prompt, _, _ in duels})
    if prompts < LEAST:
        return None
    import numpy as np
    import statsmodels.api as sm

    longer = np.array([by for _, _, by in duels], dtype=float)
    spread = longer.std()
    shape = np.tanh(longer / spread) if spread else np.zeros(len(duels))
    imagined = [(1.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (-1.0, 0.0)]
    x = np.append(shape, [side for side, _ in imagined])
    y = np.append([score for _, score, _ in duels], [score for _, score in imagined])
    weights = np.append(np.ones(len(duels)), np.full(len(imagined), 0.25))
    names = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompt for prompt, _, _ in duels))}
    groups = np.append(
        [names[prompt] for prompt, _, _ in duels], np.arange(len(imagined)) + prompts
    )
    model = sm.GLM(
        y,
        sm.add_constant(x, has_constant="add"),
        family=sm.families.Binomial(),
        var_weights=weights,
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # it warns of near separation, which the imagined duels bound
        fit = model.fit(cov_type="cluster", cov_kwds={"groups": groups})
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    at, error = float(fit.params[0]), float(fit.bse[0])
    value, low, high = (float(1 / (1 + np.exp(-v))) for v in (at, at - z * error, at + z * error))
    return Estimate(value, low, high, prompts)
