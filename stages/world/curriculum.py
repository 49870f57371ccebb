"""The order of skills: copying and single verdicts first, then judging and mending, then everything at full length."""

from .lessons import Curriculum

# Shares of tokens that a lesson kind should have, divided by the mean packed length of such a lesson.
_LENGTHS = {"copy": 59, "respond": 38, "steer": 66, "verdict": 170, "judge": 255, "mend": 215, "value": 90, "describe": 48}


def _shares(**tokens: float) -> dict[str, float]:
    return {name: share / _LENGTHS[name] for name, share in tokens.items()}


FIRST = Curriculum(
    shares=_shares(copy=0.24, respond=0.10, steer=0.04, verdict=0.47, mend=0.10, value=0.05),
    nonsense=0.45,
    asides=(0.62, 0.33, 0.05),
    inverse=0.15,
)
SECOND = Curriculum(
    shares=_shares(copy=0.13, respond=0.04, verdict=0.47, mend=0.15, value=0.05, describe=0.16),
    nonsense=0.40,
    asides=(0.62, 0.33, 0.05),
    inverse=0.0,
)
THIRD = Curriculum(
    shares=_shares(copy=0.05, respond=0.04, steer=0.06, verdict=0.24, judge=0.32, mend=0.19, value=0.04, describe=0.06),
    nonsense=0.45,
    asides=(0.50, 0.38, 0.12),
    inverse=0.20,
)
FOURTH = Curriculum(
    shares=_shares(copy=0.05, respond=0.06, steer=0.14, verdict=0.07, judge=0.32, mend=0.30, value=0.04, describe=0.02),
    nonsense=0.40,
    inverse=0.30,
    direct=0.45,
)
PLANS = {"first": FIRST, "second": SECOND, "third": THIRD, "fourth": FOURTH}

FIRST_ENDS, SECOND_MUST_END, FOURTH_BEGINS = 1_500_000, 3_000_000, 6_000_000
GATE_ACCURACY = 0.90


def next_stage(stage: str, tokens: int, verdict_accuracy: float) -> str:
    """The stage to go on with: the second ends once plain verdicts are right, or at the latest after its budget."""
    if stage == "first" and tokens >= FIRST_ENDS:
        return "second"
    if stage == "second" and (verdict_accuracy >= GATE_ACCURACY or tokens >= SECOND_MUST_END):
        return "third"
    if stage == "third" and tokens >= FOURTH_BEGINS:
        return "fourth"
    return stage
