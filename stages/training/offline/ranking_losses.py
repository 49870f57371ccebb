"""The losses of RRHF and Stable Alignment, of one group of rated answers to a request.

In: log-probabilities, lengths and scores of the answers, as tensors. Out: the loss. A trainer
averages it over groups (`group_trainer.py`).
"""

from typing import Any


def rrhf_loss(
    sums: Any, lengths: Any, scores: Any, length_penalty: float = 1.0, weight: float = 1.0
) -> Any:
    """The loss of RRHF: rank the answers as their scores do, and learn the best one.

    With s_i = log pi(y_i) / |y_i|^length_penalty and scores r_i,

        loss = weight * sum over r_i < r_j of max(0, s_i - s_j)  +  cross-entropy of the best answer

    summed over the pairs of a group. The cross-entropy is the mean over the answer's tokens, as the
    paper has it; the released code divides by the padded length. Answers with equal scores are not
    compared.

    Args:
        sums: log pi(y_i), shape (answers,).
        lengths: tokens of each answer.
        scores: r_i.

    Source:
        Yuan et al. 2023, arXiv 2304.05302.
    """
    s = sums / lengths**length_penalty
    worse = scores[:, None] < scores[None, :]
    ranking = ((s[:, None] - s[None, :]).clamp(min=0) * worse).sum()
    best = scores.argmax()
    return weight * ranking - sums[best] / lengths[best]


def stable_alignment_loss(
    sums: Any,
    lengths: Any,
    scores: Any,
    ratio: float = 0.2,
    margin: float = 10.0,
    scale: float = 7.0,
    max_flow: bool = False,
) -> Any:
    """The loss of Stable Alignment (its contrastive preference optimisation): learn the best-rated
    answer, and push the others below it by a margin that grows with the gap.

    With CE the mean cross-entropy of a token and s the ratings,

        m_i  = (s_best - s_i) / scale * margin
        loss = CE(best) + ratio * max(0, mean over the other i of [CE(best) - CE(y_i) + m_i])

    With `max_flow` the largest term takes the place of the mean. A term is the answer's own: the
    released code takes ratings by their place in a sorted list and answers by their place in the
    batch, which gives an answer another one's margin.

    Args:
        sums: log pi(y_i), shape (answers,).
        lengths: tokens of each answer.
        scores: the ratings.

    Source:
        Liu et al. 2023, arXiv 2305.16960.
    """
    entropies = -sums / lengths
    best = int(scores.argmax())
    others = [i for i in range(len(scores)) if i != best]
    margins = (scores[best] - scores[others]) / scale * margin
    terms = entropies[best] - entropies[others] + margins
    term = terms.max() if max_flow else terms.mean()
    return entropies[best] + ratio * term.clamp(min=0)
