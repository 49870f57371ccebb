"""The conclusion about each variant of an ablation: works, equivalent, or undecided.

In: the `Effect`s. Out: `Finding`s, as plain data.

"No effect" is a claim that needs evidence of its own: an interval inside a stated margin (two
one-sided tests, Schuirmann 1987). A large p-value is not evidence; a variant that is neither shown
to matter nor shown not to matter is `undecided`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from stages.statistics.corrections import holm
from stages.statistics.effect import Effect


@dataclass(frozen=True)
class Finding:
    """The conclusion about one variant.

    An effect can be shown to differ from 0 and to be smaller than the margin; it then `differs` and
    is `inside`, and the verdict is "works". With one seed the conclusion holds only for these
    runs (`over`).

    Args:
        verdict: "works" (differs from 0 after correction), "equivalent" (inside the margin, after
            Holm), or "undecided".
    """

    variant: str
    verdict: str
    differs: bool
    inside: bool
    margin: float | None
    p_adjusted: float
    p_equivalence_holm: float
    over: str


def findings(
    effects: Mapping[str, Effect], margin: float | None, alpha: float = 0.05
) -> dict[str, Finding]:
    """The conclusion about each variant.

    Both claims are corrected for all variants, each family at `alpha`: "differs" by the correction
    of the effects, "inside the margin" by Holm. Without a margin no effect is inside.
    """
    p_inside = [1.0 if margin is None else equivalence_p(e, margin) for e in effects.values()]
    results = {}
    for (name, effect), p_holm in zip(effects.items(), holm(p_inside), strict=True):
        results[name] = finding_of(effect, p_holm, margin, alpha)
    return results


def finding_of(effect: Effect, p_holm: float, margin: float | None, alpha: float) -> Finding:
    """The conclusion about one effect; "works" takes precedence over "equivalent".

    Args:
        p_holm: the p-value of "inside the margin", adjusted for all variants.
    """
    differs = effect.p_adjusted <= alpha
    inside = p_holm <= alpha
    verdict = "equivalent" if inside else "undecided"
    return Finding(
        variant=effect.variant,
        verdict="works" if differs else verdict,
        differs=differs,
        inside=inside,
        margin=margin,
        p_adjusted=effect.p_adjusted,
        p_equivalence_holm=p_holm,
        over=effect.over,
    )


def equivalence_p(effect: Effect, margin: float) -> float:
    """The larger p of the two one-sided tests that the effect lies within +-margin.

    1 where it is estimated outside.
    """
    room = margin - abs(effect.value)
    return effect.spread.p_value(room) / 2 if room > 0 else 1.0
