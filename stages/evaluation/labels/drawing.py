"""Which prompts are most worth labelling, with probabilities that are known.

A label teaches most where the judge is unsure. A prompt is drawn with probability in proportion to
the root of the variance that the judge's own probabilities leave, summed over its answers; a part
`uniform` of all draws goes to every prompt alike, because a judge may be sure and wrong. Exactly as
many prompts are drawn as asked for: systematic sampling along a seeded order (Madow 1949).

Source: Zrnic and Candes 2024 (arXiv 2403.03208): active inference.
"""

import math
from collections.abc import Mapping

from stages.runtime.store import derive_fraction


def draw_prompts(
    unsure: Mapping[str, float], count: int, uniform: float, seed: int
) -> dict[str, float]:
    """Return the drawn prompts and the probability of each.

    Args:
        unsure: by prompt, the variance that the judge leaves; all 0: every prompt alike.
        uniform: the part of the draws, from 0 to 1, that goes to every prompt alike.
    """
    probabilities = inclusion(unsure, count, uniform)
    places = {}
    for prompt in unsure:
        places[prompt] = derive_fraction(seed, "label", prompt)
    ordered = sorted(unsure, key=places.__getitem__)
    start = derive_fraction(seed, "label", "start")
    drawn = {}
    passed = 0.0
    for prompt in ordered:
        before = math.ceil(passed - start)
        passed += probabilities[prompt]
        if math.ceil(passed - start - 1e-9) > before:
            drawn[prompt] = probabilities[prompt]
    return drawn


def inclusion(unsure: Mapping[str, float], count: int, uniform: float) -> dict[str, float]:
    """Return the probability of each prompt; they add up to `count`, or to all prompts.

    Args:
        unsure, count, uniform: as in `draw_prompts`.
    """
    if count >= len(unsure):
        return dict.fromkeys(unsure, 1.0)
    roots = {}
    for prompt, variance in unsure.items():
        roots[prompt] = math.sqrt(max(variance, 0.0))
    total = sum(roots.values())
    part = uniform if total else 1.0
    shares = {}
    for prompt, root in roots.items():
        by_doubt = root / total if total else 0.0
        shares[prompt] = part / len(roots) + (1 - part) * by_doubt
    return _at_most_one(shares, count)


def _at_most_one(shares: Mapping[str, float], count: int) -> dict[str, float]:
    """Scale shares to `count`; what would be above 1 is 1, and the others share the rest."""
    certain: set[str] = set()
    while True:
        open_shares = {}
        for name, share in shares.items():
            if name not in certain:
                open_shares[name] = share
        rest = sum(open_shares.values())
        scale = (count - len(certain)) / rest if rest else 0.0
        above = {name for name, share in open_shares.items() if share * scale > 1}
        if not above:
            break
        certain |= above
    scaled = {name: share * scale for name, share in open_shares.items()}
    return {name: scaled.get(name, 1.0) for name in shares}
