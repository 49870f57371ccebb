"""Stage `ranked_pairs`: preferences from an assumed ranking of models. No judge and no calls.

In: two or more inputs of Response rows to the same prompts, the best answerer first: the order of
the inputs is the ranking. `ratings` (Rating rows of these responses, by a reward model trained on
something else), optional: a pair that it does not confirm is dropped. Out: one hard-labelled Pair
for every better and worse answer.

ALMoST (Kim et al. 2023, arXiv 2305.13735, section 3.1): larger models with more and better
demonstrations answer better; afterwards pairs are dropped by a heuristic filter and by a reward
model. The threshold on length is our choice.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean
from typing import Any, Literal, NoReturn

from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result, advise_on_missing
from stages.runtime.context import Context
from stages.runtime.rows import Dropped, Pair, Rating, Response
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Names, NotNegative, Positive
from stages.text.cut_off import CutOff, count_cut_off, drop_cut_off, refuse_no_finished

Scores = dict[tuple[str, str], float]
"""By prompt id and response."""


@dataclass(frozen=True)
class Config:
    pairing: Literal["all", "adjacent"] = "all"
    """Pair `all` ranks with each other, or only `adjacent` ones."""
    max_length_ratio: Positive | None = 1.5
    """Drop a pair whose worse answer has more than this many times the better one's words; null:
    keep it.
    """
    unwanted_phrases: Names = ()
    """Drop a pair whose better answer holds one of them (case does not matter), such as "I don't
    know".
    """
    cut_off: CutOff = "drop"
    """Whether answers that were cut off at max_tokens are dropped before pairing."""
    min_gap: NotNegative = 0.0
    """With `ratings`: the better answer must be rated higher by more than this."""


@dataclass(frozen=True)
class Claim:
    """The claim that one answerer's sample of a prompt beats the sample of another, by rank."""

    above: str
    """The answerer that ranks higher."""
    below: str
    better: Response
    """The sample of `above`."""
    worse: Response

    @property
    def id(self) -> str:
        """`<prompt>-<sample>|<above>><below>`."""
        return f"{self.better.prompt_id}-{self.better.sample}|{self.above}>{self.below}"


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Make a claim for every two ranks, and drop the doubtful ones.

    Raises:
        UserError: fewer than two answerers, an answerer without rows, no prompt that two of them
            answered.
    """
    where = f"step {context.step!r}"
    ranks = _read_ranks(inputs, where)
    answers = {}
    dropped: list[Dropped] = []
    for name, responses in ranks.items():
        answers[name], unfinished = drop_cut_off(responses, config.cut_off, f"{name}/")
        dropped += unfinished
    claims = _claims(answers, config)
    if not claims:
        _refuse_no_claim(ranks, dropped, where)
    scores: Scores | None = None
    if "ratings" in inputs:
        rows = inputs["ratings"].rows(Rating)
        scores = {(row.prompt_id, row.response): row.score for row in rows}
    pairs = []
    for claim in claims:
        reason = _doubt(claim, config, scores)
        if reason:
            dropped.append(Dropped(id=claim.id, reason=reason))
        else:
            pairs.append(_make_pair(claim, _gap(claim, scores) or 0.0))
    cut_off = sum(count_cut_off(responses) for responses in ranks.values())
    metrics = {"cut_off": cut_off, **_metrics(pairs, claims, scores)}
    return Result(rows=pairs, row_type=Pair, dropped=dropped, metrics=metrics)


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    optional={"ratings": Rating, "*": Response},
    least=2,
    gives=Pair,
)


def _claims(ranks: dict[str, list[Response]], config: Config) -> list[Claim]:
    """Return the claims in the order of prompts; answerers that lack a prompt are skipped."""
    answers: dict[tuple[str, int], dict[str, Response]] = {}
    for answerer, rows in ranks.items():
        for row in rows:
            answers.setdefault((row.prompt_id, row.sample), {})[answerer] = row
    claims = []
    for by_answerer in answers.values():
        order = [answerer for answerer in ranks if answerer in by_answerer]
        for above, below in _pair_up(order, config.pairing):
            claims.append(Claim(above, below, by_answerer[above], by_answerer[below]))
    return claims


def _refuse_no_claim(
    ranks: dict[str, list[Response]], dropped: Sequence[Dropped], where: str
) -> NoReturn:
    """Refuse answers that cannot be paired.

    Raises:
        UserError: always; it names the true reason.
    """
    prompts: Counter[str] = Counter()
    for responses in ranks.values():
        prompts.update({row.prompt_id for row in responses})
    if prompts.most_common(1)[0][1] > 1:
        refuse_no_finished(dropped, "no prompt has finished answers of two answerers", where)
    raise UserError(
        "no prompt has two answerers",
        where=where,
        fix="let their `respond` steps read the same prompts",
    )


def _read_ranks(inputs: dict[str, Artifact], where: str) -> dict[str, list[Response]]:
    """Return the responses of each answerer, the best answerer first."""
    ranks = {}
    for name, artifact in inputs.items():
        if name != "ratings":
            ranks[name] = artifact.rows(Response)
    if len(ranks) < 2:
        raise UserError(
            f"a ranking needs two answerers or more, and the step has {len(ranks)}",
            where=where,
            fix="add `inputs: {large: <a respond step>, small: <another>}`, the best first",
        )
    for name, rows in ranks.items():
        if not rows:
            raise UserError(
                f"the input {name!r} holds no responses; its step dropped "
                f"{inputs[name].manifest.dropped or 'none'}",
                where=where,
                fix=advise_on_missing({name: inputs[name]}, "give it prompts to answer"),
            )
    return ranks


def _pair_up(order: list[str], pairing: str) -> Iterator[tuple[str, str]]:
    return combinations(order, 2) if pairing == "all" else pairwise(order)


def _doubt(claim: Claim, config: Config, scores: Scores | None) -> str:
    """Return why a claim is doubtful; "" if it is accepted."""
    better = claim.better.response
    worse = claim.worse.response
    if better == worse:
        return "equal responses"
    ratio = config.max_length_ratio
    if ratio is not None and len(worse.split()) > ratio * len(better.split()):
        return "the worse response is much longer"
    if any(phrase.lower() in better.lower() for phrase in config.unwanted_phrases):
        return "the better response holds an unwanted phrase"
    if scores is None:
        return ""
    gap = _gap(claim, scores)
    if gap is None:
        return "a response without a rating"
    return "" if gap > config.min_gap else "the ratings disagree"


def _gap(claim: Claim, scores: Scores | None) -> float | None:
    """Return the better answer's score minus the worse one's; None if one was not rated."""
    if scores is None:
        return None
    better = scores.get((claim.better.prompt_id, claim.better.response))
    worse = scores.get((claim.worse.prompt_id, claim.worse.response))
    return None if better is None or worse is None else better - worse


def _make_pair(claim: Claim, gap: float) -> Pair:
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
        chosen_finish_reason=claim.better.finish_reason,
        rejected_finish_reason=claim.worse.finish_reason,
    )


def _metrics(
    pairs: Sequence[Pair], claims: Sequence[Claim], scores: Scores | None
) -> dict[str, Any]:
    """For each two ranks how many pairs were kept, and how often the ratings agree with the rank.

    The ratings count for all claims, filtered or not.
    """
    pair_ids = {pair.id for pair in pairs}
    ranks: dict[str, dict[str, int]] = {}
    agreements = []
    for claim in claims:
        counts = ranks.setdefault(f"{claim.above}>{claim.below}", {"claimed": 0, "kept": 0})
        counts["claimed"] += 1
        counts["kept"] += claim.id in pair_ids
        gap = _gap(claim, scores)
        if gap is not None:
            agreements.append(gap > 0)
    length_gaps = [len(pair.chosen) - len(pair.rejected) for pair in pairs]
    return {
        "ranks": ranks,
        "ratings_agree": fmean(agreements) if agreements else None,
        "length_gap": fmean(length_gaps) if length_gaps else None,
    }
