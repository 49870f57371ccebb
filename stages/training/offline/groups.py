"""Groups: several rated answers to one request, which trainers learn to rank.

In: Rating rows of any number of inputs, and `responses` (the Response rows that were rated),
optional, for Ratings that do not state how their texts ended. Answers that were cut off are
dropped. Out: groups with at least two different answers, the best-rated first, and what was
dropped, with reasons.
"""

from collections.abc import Sequence

from stages.guards.errors import UserError
from stages.guards.text import is_visible
from stages.preferences.rating_groups import read_rows
from stages.runtime.artifacts import Artifact, list_reasons
from stages.runtime.manifest import canonical
from stages.runtime.rows import Dropped, Rating, Response
from stages.text.cut_off import row_fault
from stages.training.examples import nothing_left, other_inputs
from stages.training.frame import Examples

COLUMNS = {
    Rating: (
        *("id", "response_id", "prompt_id", "prompt", "response", "score", "finish_reason"),
        *("principles", "negated", "model"),
    ),
    Response: ("id", "finish_reason"),
}
"""What is read of ratings (the last three to compare raters), and of the rows that were rated."""


def read_ratings(inputs: dict[str, Artifact]) -> tuple[Examples, list[Dropped]]:
    """Ratings as TRL's prompt-completion rows, with `id`, `group` and `score`; inputs follow one
    another by name.

    Raises:
        UserError: an input holds other rows, no row is left, a score is not a number, or a group
        has two raters.
    """
    sources = other_inputs(inputs, "model", "responses")
    responses = inputs["responses"].rows(Response) if "responses" in inputs else []
    faults = {row.id: row_fault(row) for row in responses}
    seen: set[str] = set()

    def fault(row: Rating) -> str:
        if not is_visible(row.response):
            return "empty completion"
        unfinished = row_fault(row) or faults.get(row.response_id, "")
        if unfinished:
            return unfinished
        key = canonical([row.prompt_id, row.response])
        if key in seen:
            return "duplicate"
        seen.add(key)
        return ""

    ratings, dropped = read_rows(sources, fault)
    if not ratings:
        raise nothing_left(sources, dropped, "rating", "add an input with Ratings")
    examples: Examples = []
    for row in ratings:
        examples.append(
            {
                "id": row.id,
                "prompt": row.prompt,
                "completion": [{"role": "assistant", "content": row.response}],
                "group": row.prompt_id,
                "score": row.score,
            }
        )
    return examples, dropped


def into_groups(
    examples: Examples, limit: int, where: str, earlier: Sequence[Dropped] = ()
) -> tuple[Examples, list[Dropped]]:
    """Groups of at least two answers.

    Args:
        examples: what `read_ratings` made, or a part of it.
        limit: answers of a group at most: the best, the worst and others evenly spread between; 0
            for all.
        earlier: answers that were dropped before, for the message where no group is left.

    Returns:
        `id`, `prompt`, `completions` (one conversation's end each) and `scores`, from best to
        worst; of equal scores the first comes first.

    Raises:
        UserError: no group has two answers, or every group's scores are all equal.
    """
    members: dict[str, Examples] = {}
    for example in examples:
        members.setdefault(example["group"], []).append(example)
    groups: Examples = []
    dropped: list[Dropped] = []
    for name, answers in members.items():
        if len(answers) < 2:
            dropped.append(Dropped(id=answers[0]["id"], reason="the only answer to its request"))
            continue
        ranked = sorted(answers, key=lambda answer: -answer["score"])
        selected = _spread(ranked, limit)
        for answer in ranked:
            if answer not in selected:
                dropped.append(Dropped(id=answer["id"], reason="more than `limit` answers"))
        groups.append(
            {
                "id": name,
                "prompt": selected[0]["prompt"],
                "completions": [answer["completion"] for answer in selected],
                "scores": [float(answer["score"]) for answer in selected],
            }
        )
    _check_groups(groups, where, earlier)
    return groups, dropped


def _spread(ranked: Examples, limit: int) -> Examples:
    """At most `limit` answers, evenly spread from the best to the worst."""
    if not limit or len(ranked) <= limit:
        return ranked
    last = len(ranked) - 1
    return [ranked[round(place * last / (limit - 1))] for place in range(limit)]


def _check_groups(groups: Examples, where: str, earlier: Sequence[Dropped]) -> None:
    if not groups:
        lost = f" (dropped: {list_reasons(earlier)})" if earlier else ""
        raise UserError(
            f"no request has two different answers to compare{lost}",
            where=where,
            fix="sample more than one answer a request (`n` of `respond`), at a temperature above "
            "0, and with enough `max_tokens` to end",
        )
    if all(group["scores"][0] == group["scores"][-1] for group in groups):
        raise UserError(
            "the scores are constant within every group, so no answer is better than another",
            where=where,
            fix="look at the rater: another principle, another reward model, or more varied "
            "answers",
        )
