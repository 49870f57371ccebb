"""Signs that a policy games its reward: longer answers, refusals, repetition. Pure functions of texts.

Each is logged at every step of an online training, whatever the reward is, and drawn in the report beside the reward and
the KL to the start: a reward that rises while one of them runs away is being hacked (Gao et al. 2023, arXiv 2210.10760,
for the KL; Sun et al. 2023, section 3.3, for what SALMON's policies found).
"""

import re
from collections.abc import Sequence

_REFUSAL = re.compile(
    r"\b(i|we) (can(no|')t|can not|won't|will not|must decline|refuse to|would rather not|do not share|have no comment)"
    r"|\b(i am|i'm|we are|we're) (not able|unable) to|\b(let us|let's) change the subject|\bnothing i can say",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether a text says that it will not answer; a list of English phrases, no classifier."""
    return bool(_REFUSAL.search(text.replace("\u2019", "'")))


def repetition(text: str, n: int = 3) -> float:
    """The share of its n-grams of words that stood in it before: 0 where all differ (1 less distinct-n)."""
    words = text.lower().split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def tripwires(texts: Sequence[str], lengths: Sequence[int]) -> dict[str, float]:
    """Means over completions: `length` in tokens, `refusals` and `repetition` as shares."""
    count = max(len(texts), 1)
    return {
        "length": sum(lengths) / count,
        "refusals": sum(map(refuses, texts)) / count,
        "repetition": sum(map(repetition, texts)) / count,
    }
