"""How alike two texts are: ROUGE-L F of their words, and a pool of texts that are all different.

ROUGE-L F1 of texts of m and n words is 2 LCS / (m + n), where LCS is the length of their longest
common subsequence (Lin 2004, "ROUGE: A package for automatic evaluation of summaries", section 3).
rapidfuzz calls the same number the normalised indel similarity.
"""

import re
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation and without stemming."""
    return _WORD.findall(text.lower())


def rouge_l(text: str, reference: str) -> float:
    """Return ROUGE-L F1 of two texts, between 0 and 1; 0 where one of them has no word."""
    from rapidfuzz.distance import Indel

    words, reference_words = words_of(text), words_of(reference)
    if not words or not reference_words:
        return 0.0
    return Indel.normalized_similarity(words, reference_words)


class Pool:
    """Texts of which no two are as alike as a bound; it grows greedily, so their order matters.

    Args:
        texts: those that are in it whatever they resemble.
        bound: of ROUGE-L F; 1.0 refuses only the same words in the same order.
    """

    def __init__(self, texts: Iterable[str], bound: float):
        self.bound = bound
        self.texts = list(texts)
        self._words: list[Sequence[str]] = [words_of(text) for text in self.texts]

    def find_nearest(self, text: str) -> tuple[float, str]:
        """Return the greatest ROUGE-L F of a text and one of the pool, and that one."""
        from rapidfuzz import process
        from rapidfuzz.distance import Indel

        nearest = process.extractOne(
            words_of(text), self._words, scorer=Indel.normalized_similarity
        )
        if nearest is None:
            return 0.0, ""
        _, similarity, place = nearest
        return similarity, self.texts[place]

    def add(self, text: str) -> None:
        """Put a text into the pool."""
        self.texts.append(text)
        self._words.append(words_of(text))
