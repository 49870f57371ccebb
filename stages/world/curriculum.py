"""The order of skills: copying and single verdicts first, then judging and mending, then everything at full length."""

from dataclasses import replace

from .lessons import Curriculum

# Shares of tokens that a lesson kind should have, divided by the mean packed length of such a lesson.
TYPICAL_LENGTHS = {
    "copy": 59, "respond": 38, "steer": 66, "verdict": 170,
    "judge": 255, "mend": 215, "value": 90, "describe": 48,
}  # fmt: skip


def _shares(**tokens: float) -> dict[str, float]:
    return {name: share / TYPICAL_LENGTHS[name] for name, share in tokens.items()}


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
    shares=_shares(copy=0.04, respond=0.03, steer=0.04, verdict=0.21, judge=0.45, mend=0.14, value=0.04, describe=0.05),
    nonsense=0.40,
    asides=(0.50, 0.38, 0.12),
    inverse=0.0,
    branches=5,
    near_pairs=0.5,
    naming=0.7,
)
FOURTH = Curriculum(
    shares=_shares(copy=0.03, respond=0.05, steer=0.11, verdict=0.10, judge=0.38, mend=0.25, value=0.04, describe=0.04),
    nonsense=0.40,
    inverse=0.08,
    direct=0.45,
    naming=0.5,
)
FIFTH = replace(FOURTH, inverse=0.15, naming=0.25)
SIXTH = replace(
    FIFTH,
    shares=_shares(copy=0.02, respond=0.11, steer=0.13, verdict=0.09, judge=0.34, mend=0.26, value=0.03, describe=0.02),
    inverse=0.04,
)
PLANS = {"first": FIRST, "second": SECOND, "third": THIRD, "fourth": FOURTH, "fifth": FIFTH, "sixth": SIXTH}

FIRST_ENDS, SECOND_MUST_END, THIRD_MUST_END = 1_500_000, 3_000_000, 8_000_000
FIFTH_BEGINS, SIXTH_BEGINS = 9_300_000, 10_100_000
VERDICT_GATE, JUDGE_GATE = 0.90, 0.90


def next_stage(stage: str, tokens: int, scores: dict[str, float]) -> str:
    """The stage to go on with: a skill must be there before the next, or its token budget be spent."""
    if stage == "first" and tokens >= FIRST_ENDS:
        return "second"
    if stage == "second" and (scores["verdict_plain"] >= VERDICT_GATE or tokens >= SECOND_MUST_END):
        return "third"
    if stage == "third" and (scores["judge_plain"] >= JUDGE_GATE or tokens >= THIRD_MUST_END):
        return "fourth"
    if stage == "fourth" and tokens >= FIFTH_BEGINS:
        return "fifth"
    if stage == "fifth" and tokens >= SIXTH_BEGINS:
        return "sixth"
    return stage
