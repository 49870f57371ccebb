"""The conclusion about each variant of an ablation: differs, equivalent, or undecided.

In: the `Effect`s. Out: `Finding`s, as plain data.

"No effect" is a claim that needs evidence of its own: it must be shown that the effect lies within
a stated margin, by two one-sided tests (Schuirmann 1987), exact ones for shares (`inside_margin`).
A large p-value is not evidence; a variant that is neither shown to matter nor shown not to matter
is `undecided`. What a difference means (which way, good or bad) depends on the outcome and on the
variant: `report/sweep/conclusions` says it in words.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stages.statistics.corrections import holm
from stages.statistics.effect import Effect
from stages.statistics.inside_margin import inside_margin

ROUNDING = 1e-9
ON_ONE_SEED = "_on_one_seed"  # ends a verdict about trained models of a single seed


@dataclass(frozen=True)
class Finding:
    """The conclusion about one variant.

    An effect can be shown to differ from 0 and to be smaller than the margin; it then `differs` and
    is `inside`, and the verdict is "differs".

    Args:
        verdict: "differs" (from 0, after correction), "equivalent" (inside the margin, after Holm),
            or "undecided". The first two end in `ON_ONE_SEED` where `one_seed` is true.
        one_seed: models were trained, with one seed only: the verdict is about these models, and
            another training may do otherwise.
        same_data: equivalent without statistics, as it learned from what the reference learned
            from; only the randomness of training differs.
    """

    variant: str
    verdict: str
    differs: bool
    inside: bool
    margin: float | None
    p_adjusted: float
    p_equivalence_holm: float
    over: str
    one_seed: bool = False
    same_data: bool = False


def findings(
    effects: Mapping[str, Effect],
    margin: float | None,
    alpha: float = 0.05,
    trained: bool = True,
) -> dict[str, Finding]:
    """The conclusion about each variant.

    Both claims are corrected for all variants, each family at `alpha`: "differs" by the correction
    of the effects, "inside the margin" by Holm. Without a margin no effect is inside.

    Args:
        trained: each seed trains its own models, so that one seed cannot show what others do.
    """
    p_inside = [1.0 if margin is None else equivalence_p(e, margin) for e in effects.values()]
    results = {}
    for (name, effect), p_holm in zip(effects.items(), holm(p_inside), strict=True):
        results[name] = finding_of(effect, p_holm, margin, alpha, trained)
    return results


def finding_of(
    effect: Effect, p_holm: float, margin: float | None, alpha: float, trained: bool = False
) -> Finding:
    """The conclusion about one effect; "differs" takes precedence over "equivalent".

    Args:
        p_holm: the p-value of "inside the margin", adjusted for all variants.
        trained: as in `findings`.
    """
    # a p-value that is alpha up to rounding counts as alpha, whatever it was multiplied by
    differs = effect.p_adjusted <= alpha + ROUNDING
    inside = p_holm <= alpha + ROUNDING
    one_seed = trained and effect.n_seeds == 1
    verdict = "undecided"
    if differs or inside:
        verdict = "differs" if differs else "equivalent"
        verdict += ON_ONE_SEED if one_seed else ""
    return Finding(
        variant=effect.variant,
        verdict=verdict,
        differs=differs,
        inside=inside,
        margin=margin,
        p_adjusted=effect.p_adjusted,
        p_equivalence_holm=p_holm,
        over=effect.over,
        one_seed=one_seed,
    )


def equivalence_p(effect: Effect, margin: float) -> float:
    """The p-value of the claim that the effect lies within +-margin; 1 if it is estimated outside.

    Yes/no outcomes of one seed have an exact test. For other shares p is the larger of two: that
    of the two one-sided t tests, which know of graded values and of seeds, and that of the exact
    test for as many yes/no outcomes as these values are worth, which knows that changes too rare
    for this sample may exist. Values that are not shares have the t tests alone.
    """
    room = margin - abs(effect.value)
    if room <= 0:
        return 1.0
    by_spread = effect.spread.p_value(room) / 2
    if effect.trials is None:
        return by_spread
    exact = _exact_p(effect, effect.trials, margin)
    return exact if effect.test == "mcnemar" else max(exact, by_spread)


def _exact_p(effect: Effect, trials: float, margin: float) -> float:
    """The p-value of the exact test; parts of a prompt are rounded against the claim."""
    n = math.floor(trials + ROUNDING)
    more = math.ceil(max(effect.rose, effect.fell) * n - ROUNDING)
    less = math.floor(min(effect.rose, effect.fell) * n + ROUNDING)
    return inside_margin(more, less, n, margin)
