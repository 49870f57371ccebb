"""The order of skills: copying and verdicts first, then judging, then everything at full length.

The next stage begins when the model has a skill (accuracy on a fixed batch) or when the token
budget of the stage is spent, so one unattended run goes through all of them.
"""

from dataclasses import replace

from stages.world.pretraining.lessons.plan import Curriculum

TYPICAL_LENGTHS = {
    "copy": 59,
    "respond": 38,
    "steer": 66,
    "verdict": 170,
    "judge": 255,
    "fix": 215,
    "value": 90,
    "describe": 48,
}
"""The mean packed length, in tokens, of a lesson of each kind."""


def _shares(**tokens: float) -> dict[str, float]:
    """How often to draw each kind of lesson so that it has its fraction of the tokens."""
    return {name: share / TYPICAL_LENGTHS[name] for name, share in tokens.items()}


BASICS = Curriculum(
    shares=_shares(
        copy=0.18,
        respond=0.07,
        steer=0.03,
        verdict=0.43,
        fix=0.10,
        value=0.04,
        describe=0.15,
    ),
    nonsense=0.45,
    asides=(0.62, 0.33, 0.05),
)
JUDGING = Curriculum(
    shares=_shares(
        copy=0.04,
        respond=0.04,
        steer=0.04,
        verdict=0.19,
        judge=0.44,
        fix=0.15,
        value=0.04,
        describe=0.06,
    ),
    nonsense=0.40,
    asides=(0.50, 0.38, 0.12),
    opposite_verdicts=0.3,
    near_pairs=0.5,
    naming=0.7,
)
EVERYTHING = Curriculum(
    shares=_shares(
        copy=0.03,
        respond=0.08,
        steer=0.10,
        verdict=0.12,
        judge=0.36,
        fix=0.23,
        value=0.04,
        describe=0.04,
    ),
    nonsense=0.40,
    opposite_verdicts=0.6,
    opposite_judgements=0.4,
    direct=0.45,
    naming=0.4,
)
FINISH = replace(
    EVERYTHING,
    shares=_shares(
        copy=0.02,
        respond=0.12,
        steer=0.12,
        verdict=0.10,
        judge=0.33,
        fix=0.26,
        value=0.03,
        describe=0.02,
    ),
    naming=0.15,
)
PLANS = {
    "basics": BASICS,
    "judging": JUDGING,
    "everything": EVERYTHING,
    "finish": FINISH,
}

BASICS_LEAST_TOKENS = 1_500_000
BASICS_MOST_TOKENS = 4_000_000
JUDGING_MOST_TOKENS = 9_000_000
FINISH_BEGINS = 0.75
"""The fraction of the budget after which the last stage begins."""
VERDICT_GATE = 0.90
JUDGE_GATE = 0.90


def next_stage(stage: str, tokens: int, budget: int, scores: dict[str, float]) -> str:
    """The stage to continue with: the next one if the skill is there or its budget is spent."""
    if stage == "basics":
        is_skilled = scores["verdict_plain"] >= VERDICT_GATE and tokens >= BASICS_LEAST_TOKENS
        if is_skilled or tokens >= BASICS_MOST_TOKENS:
            return "judging"
    if stage == "judging":
        is_skilled = scores["judge_plain"] >= JUDGE_GATE
        if is_skilled or tokens >= JUDGING_MOST_TOKENS:
            return "everything"
    if stage == "everything" and tokens >= FINISH_BEGINS * budget:
        return "finish"
    return stage
