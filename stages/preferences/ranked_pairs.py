"""Stage `ranked_pairs`: preferences without a judge, out of an assumed ranking of who answers
better. No calls.

In: two or more inputs of Response rows to the same prompts, the best answerer first: the order of
the inputs is the ranking. `ratings` (Rating rows of these responses, by a reward model trained on
something else), optional: a pair that
it does not confirm is dropped. Out: one hard-labelled Pair for every better and worse answer.

ALMoST (Kim et al. 2023, arXiv 2305.13735, section 3.1): larger models with more and better
demonstrations answer better; afterwards pairs are dropped by a heuristic filter and by a reward
model. How much longer counts as much is our choice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Pair, Rating, Response
from stages.runtime.stage import ANY, Stage

Key = tuple[str, int]  # (prompt id, sample)
Scores = dict[tuple[str, str], float]  # by prompt id and response


@dataclass(frozen=True)
class Config:
    """Args:
    pairing: `all` ranks with each other, or only `adjacent` ones.
    max_length_ratio: drop a pair whose worse answer has more than so many times the better one's
        words; null: keep it.
    unwanted_phrases: drop a pair whose better answer holds one of them (case does not matter), such
        as "I don't know".
    min_gap: with `ratings`, the better answer must be rated higher by more than this.
    """

    pairing: Literal["all", "adjacent"] = "all"
    max_length_ratio: Annotated[float, Field(gt=0)] | None = 1.5
    unwanted_phrases: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    min_gap: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True)
class Claim:
    """That `better`, of the answerer `above`, beats `worse`, of the one `below`: sample against
    sample of one prompt.
    """

    above: str
    below: str
    better: Response
    worse: Response

    @property
    def id(self) -> str:
        return f"{self.better.prompt_id}-{self.better.sample}|{self.above}>{self.below}"


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Claim by rank, then doubt.

    Raises:
        UserError: fewer than two answerers, an answerer without rows, no prompt that two of them
        answered.
    """
    where = f"step {context.step!r}"
    ranks = {
        name: artifact.rows(Response) for name, artifact in inputs.items() if name != "ratings"
    }
    if len(ranks) < 2:
        raise UserError(
            f"a ranking needs two answerers or more; there {'is' if len(ranks) == 1 else 'are'} {len(ranks)}",
            where=where,
            fix="add `inputs: {large: <a respond step>, small: <another>}`, the best first",
        )
    for name, rows in ranks.items():
        if not rows:
            raise UserError(
                f"the input {name!r} holds no responses",
                where=where,
                fix="see why its step dropped them all",
            )
    claims = list(_claims(ranks, config.pairing))
    if not claims:
        raise UserError(
            "no prompt has two answerers",
            where=where,
            fix="let their `respond` steps read the same prompts",
        )
    scores = _scores(inputs["ratings"]) if "ratings" in inputs else None
    pairs, dropped = [], []
    for claim in claims:
        reason = _doubt(claim, config, scores)
        if reason:
            dropped.append(Dropped(id=claim.id, reason=reason))
            continue
        gap = scores[_text(claim.better)] - scores[_text(claim.worse)] if scores else 0.0
        pairs.append(_pair(claim, gap))
    return Result(
        rows=pairs, row_type=Pair, dropped=dropped, metrics=_metrics(pairs, claims, scores)
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional=ANY,
)


def _claims(ranks: dict[str, list[Response]], pairing: str) -> Iterator[Claim]:
    """In the order of prompts; answerers that lack a prompt are passed over."""
    answers: dict[Key, dict[str, Response]] = {}
    for name, rows in ranks.items():
        for row in rows:
            answers.setdefault((row.prompt_id, row.sample), {})[name] = row
    for given in answers.values():
        ordered = [(name, given[name]) for name in ranks if name in given]
        chosen = combinations(ordered, 2) if pairing == "all" else pairwise(ordered)
        for (above, better), (below, worse) in chosen:
            yield Claim(above, below, better, worse)


def _text(row: Response | Rating) -> tuple[str, str]:
    return row.prompt_id, row.response


def _scores(ratings: Artifact) -> Scores:
    return {_text(row): row.score for row in ratings.rows(Rating)}


def _doubt(claim: Claim, config: Config, scores: Scores | None) -> str:
    """Why a claim is not believed; empty if it is."""
    better, worse = claim.better.response, claim.worse.response
    if better == worse:
        return "equal responses"
    if config.max_length_ratio is not None and len(worse.split()) > config.max_length_ratio * len(
        better.split()
    ):
        return "the worse response is much longer"
    if any(phrase.lower() in better.lower() for phrase in config.unwanted_phrases):
        return "the better response holds an unwanted phrase"
    if scores is None:
        return ""
    if _text(claim.better) not in scores or _text(claim.worse) not in scores:
        return "a response without a rating"
    return (
        ""
        if scores[_text(claim.better)] - scores[_text(claim.worse)] > config.min_gap
        else "the ratings disagree"
    )


def _pair(claim: Claim, gap: float) -> Pair:
    return Pair(
        id=claim.id,
        prompt_id=claim.better.prompt_id,
        chosen_id=claim.better.id,
        rejected_id=claim.worse.id,
        kind=claim.better.kind,
        prompt=claim.better.prompt,
        chosen=claim.better.response,
        rejected=claim.worse.response,
        label=1.0,
        margin=gap,
        principles=[],
        margins_ab=[],
        margins_ba=[],
    )


def _metrics(
    pairs: Sequence[Pair], claims: Sequence[Claim], scores: Scores | None
) -> dict[str, Any]:
    """For each two ranks how many pairs were kept; how often the ratings agree with the ranking,
    filtered or not.
    """
    kept = {pair.id for pair in pairs}
    counts: dict[str, dict[str, int]] = {}
    agreed = []
    for claim in claims:
        entry = counts.setdefault(f"{claim.above}>{claim.below}", {"claimed": 0, "kept": 0})
        entry["claimed"] += 1
        entry["kept"] += claim.id in kept
        if scores and _text(claim.better) in scores and _text(claim.worse) in scores:
            agreed.append(scores[_text(claim.better)] > scores[_text(claim.worse)])
    made: dict[str, Any] = {"ranks": counts, "ratings_agree": fmean(agreed) if agreed else None}
    return made | {
        "length_gap": fmean(len(p.chosen) - len(p.rejected) for p in pairs) if pairs else None
    }
