"""Groups: several rated answers to one request, which trainers learn to rank.

In: Rating rows of any number of inputs, and `responses` (the Response rows that were rated),
optional: a Rating does not tell whether its answer was cut off at max_tokens, and with them such
    answers are dropped. Out: groups with at least two
different answers, the best-rated first, and what was dropped, with reasons. Scores are compared
within a group only, so a group has one rater.
"""

from stages.preferences.rating_groups import read_rows
from stages.runtime.artifacts import Artifact, canonical
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Rating, Response
from stages.training.frame import Examples


def read_ratings(inputs: dict[str, Artifact]) -> tuple[Examples, list[Dropped]]:
    """Ratings as TRL's prompt-completion rows, with `id`, `group` and `score`; inputs follow one
    another by name.

    Raises:
        UserError: an input holds other rows, no row is left, a score is no number, or a group has
        two raters.
    """
    sources = {name: inputs[name] for name in sorted(inputs) if name not in ("model", "responses")}
    responses = inputs["responses"].rows(Response) if "responses" in inputs else []
    cut_off = {row.id for row in responses if row.finish_reason == "length"}
    seen: set[str] = set()

    def fault(row: Rating) -> str:
        if not row.response.strip():
            return "empty completion"
        if row.response_id in cut_off:
            return "cut off at max_tokens"
        key = canonical([row.prompt_id, row.response])
        if key in seen:
            return "duplicate"
        seen.add(key)
        return ""

    ratings, dropped = read_rows(sources, fault)
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
    if not examples:
        named = ", ".join(f"{name!r} (step {a.step!r})" for name, a in sources.items())
        raise UserError(
            "no rating is left to train on",
            where=f"input {named}" if named else "the step's `inputs`",
            fix="see that step's dropped.parquet for reasons"
            if named
            else "add an input with Ratings",
        )
    return examples, dropped


def check_limit(limit: int, stage: str) -> None:
    """Refuse a limit that leaves nothing to compare.

    Raises:
        UserError: it is neither 0 nor at least 2.
    """
    if limit < 0 or limit == 1:
        raise UserError(
            f"limit: a group of {limit} compares nothing",
            where=f"stage {stage!r}",
            fix="give at least 2, or 0 for all answers",
        )


def into_groups(examples: Examples, limit: int, where: str) -> tuple[Examples, list[Dropped]]:
    """Groups of at least two answers.

    Args:
        examples: what `read_ratings` made, or a part of it.
        limit: answers of a group at most: the best, the worst and others evenly spread between; 0
            for all.

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
    dropped = []
    for name, group in members.items():
        if len(group) < 2:
            dropped.append(Dropped(id=group[0]["id"], reason="the only answer to its request"))
            continue
        ranked = sorted(group, key=lambda example: -example["score"])
        kept = _spread(ranked, limit)
        dropped += [
            Dropped(id=example["id"], reason="more than `limit` answers")
            for example in ranked
            if example not in kept
        ]
        groups.append(
            {
                "id": name,
                "prompt": kept[0]["prompt"],
                "completions": [example["completion"] for example in kept],
                "scores": [float(example["score"]) for example in kept],
            }
        )
        if "chat_template_kwargs" in kept[0]:
            groups[-1]["chat_template_kwargs"] = kept[0]["chat_template_kwargs"]
    if not groups:
        raise UserError(
            "no request has two different answers to compare",
            where=where,
            fix="sample more than one answer a request (`n` of `respond`), at a temperature above 0",
        )
    if all(group["scores"][0] == group["scores"][-1] for group in groups):
        raise UserError(
            "the scores are constant within every group, so nothing tells a good answer from a bad one",
            where=where,
            fix="look at the rater: another principle, another reward model, or more varied answers",
        )
    return groups, dropped


def _spread(ranked: Examples, limit: int) -> Examples:
    if not limit or len(ranked) <= limit:
        return ranked
    return [ranked[round(place * (len(ranked) - 1) / (limit - 1))] for place in range(limit)]
