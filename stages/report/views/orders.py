"""A judge's two margins in words: one question with each of two responses shown first.

In: margins in logits, both in favour of the same side. Out: what they amount to.
"""

FLIP = "flips: "
"""How a verdict begins that depends on the order."""


def describe_margins(
    first: float,
    second: float,
    winner: str,
    loser: str,
    equal: bool = False,
) -> str:
    """The verdict of both orders together.

    Args:
        first: the margin with the side shown first.
        second: the margin with it shown second.
        winner: the verdict if both margins favour the side.
        loser: the verdict if both favour the other side.
        equal: the two responses are the same text.
    """
    if equal and first == second == 0:
        return "a tie: the answers are equal, so no question was asked"
    if first > 0 and second > 0:
        return winner
    if first < 0 and second < 0:
        return loser
    if first > 0 > second:
        return f"{FLIP}it prefers what it reads first"
    if first < 0 < second:
        return f"{FLIP}it prefers what it reads second"
    if first == second == 0:
        return "a tie: no preference in either order"
    return "a tie: no preference in one of the orders"


def is_flip(first: float, second: float) -> bool:
    """Whether the choice depends on the order of the responses."""
    return describe_margins(first, second, "", "").startswith(FLIP)
