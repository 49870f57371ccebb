"""Refusals: answers that say they will not answer, by a list of English phrases."""

import re

_REFUSAL = re.compile(
    r"\b(i|we) (can(no|')t|can not|won't|will not|must decline|refuse to|would rather not"
    r"|do not share|have no comment)"
    r"|\b(i am|i'm|we are|we're) (not able|unable) to"
    r"|\b(let us|let's) change the subject|\bnothing i can say",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether a text says that it will not answer, by a list of English phrases."""
    return bool(_REFUSAL.search(text.replace("\u2019", "'")))
