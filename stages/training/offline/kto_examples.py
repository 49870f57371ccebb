"""Answers that are desirable or not, out of pairs and ratings.

In: inputs of Pair or Rating rows, and `responses` (the rows that were rated), optional. Out: TRL's
unpaired preference rows, and what was dropped, with reasons.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, list_reasons
from stages.runtime.manifest import canonical
from stages.runtime.rows import Dropped, Pair, Rating
from stages.training.examples import name_inputs, other_inputs
from stages.training.frame import Examples
from stages.training.offline.groups import read_ratings
from stages.training.pair_data import read_pairs


def read_examples(
    inputs: dict[str, Artifact], threshold: float | None
) -> tuple[Examples, list[Dropped]]:
    """TRL's unpaired preference rows, with `id`; inputs follow one another by name.

    Args:
        threshold: what parts the scores of rated answers; None for one half where the scores are 0
            and 1, and for the mean of their group otherwise.

    Raises:
        UserError: an input holds other rows, nothing is left, or all answers are of one kind.
    """
    sources = other_inputs(inputs, "model", "responses")
    ratings = {name: artifact for name, artifact in sources.items() if _holds_ratings(artifact)}
    pairs = {name: artifact for name, artifact in sources.items() if name not in ratings}
    if threshold is not None and not ratings:
        raise UserError(
            f"threshold: {threshold} has no effect where there are only pairs",
            where="stage 'kto'",
            fix="leave it out, or add an input with Ratings",
        )
    examples, dropped = _from_pairs(pairs)
    if ratings:
        others = {name: artifact for name, artifact in inputs.items() if name not in pairs}
        rated, unusable = read_ratings(others)
        labelled, undecided = _from_ratings(rated, threshold)
        examples += labelled
        dropped += [*unusable, *undecided]
    _check_kinds(examples, dropped, sources, rated=bool(ratings))
    return examples, dropped


def _holds_ratings(artifact: Artifact) -> bool:
    rows: list[Any] = artifact.rows(Pair, Rating)
    return bool(rows) and isinstance(rows[0], Rating)


def _from_pairs(sources: Mapping[str, Artifact]) -> tuple[Examples, list[Dropped]]:
    examples: Examples = []
    dropped: list[Dropped] = []
    seen: set[str] = set()
    for artifact in sources.values():
        pairs, unusable = read_pairs(artifact)
        dropped += unusable
        for pair in pairs:
            if pair["soft_label"] == 0.5:
                dropped.append(Dropped(id=pair["id"], reason="no preference"))
                continue
            for side in ("chosen", "rejected"):
                label = side == "chosen"
                key = canonical([pair["prompt"], pair[side], label])
                if key in seen:
                    # One answer can be chosen over several.
                    continue
                seen.add(key)
                examples.append(
                    {
                        "id": f"{pair['id']}-{side}",
                        "prompt": pair["prompt"],
                        "completion": pair[side],
                        "label": label,
                    }
                )
    return examples, dropped


def _from_ratings(rated: Examples, threshold: float | None) -> tuple[Examples, list[Dropped]]:
    examples: Examples = []
    dropped: list[Dropped] = []
    means = _group_means(rated)
    if threshold is None and {example["score"] for example in rated} == {0.0, 1.0}:
        threshold = 0.5
    for example in rated:
        middle = means[example["group"]] if threshold is None else threshold
        if example["score"] == middle:
            dropped.append(Dropped(id=example["id"], reason="score at the threshold"))
            continue
        examples.append(
            {
                "id": example["id"],
                "prompt": example["prompt"],
                "completion": example["completion"],
                "label": example["score"] > middle,
            }
        )
    return examples, dropped


def _group_means(rated: Examples) -> dict[str, float]:
    scores: dict[str, list[float]] = {}
    for example in rated:
        scores.setdefault(example["group"], []).append(example["score"])
    return {group: sum(values) / len(values) for group, values in scores.items()}


def _check_kinds(
    examples: Examples, dropped: Sequence[Dropped], sources: Mapping[str, Artifact], rated: bool
) -> None:
    """Refuse answers of one kind only.

    Raises:
        UserError: naming the kind.
    """
    desirable = sum(example["label"] for example in examples)
    if 0 < desirable < len(examples):
        return
    what = "there is no answer, and KTO needs both kinds"
    if dropped:
        what = f"no answer is left, and KTO needs both kinds ({list_reasons(dropped)})"
    if examples:
        kind = "desirable" if desirable else "undesirable"
        lost = f"; dropped: {list_reasons(dropped)}" if dropped else ""
        what = f"all {len(examples)} answers are {kind}, and KTO needs both kinds{lost}"
    where = name_inputs(sources)
    fix = "add an input with Pairs or Ratings"
    if rated:
        fix = "set `threshold` between the scores, or leave it out for the mean of each group"
    raise UserError(what, where=where, fix=fix)
