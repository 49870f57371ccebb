"""The checked inputs of `judged_pairs`: its options, the judge matrix, the safety ratings."""

import math
from collections.abc import Sequence, Set
from dataclasses import fields, replace
from typing import Any

from stages.guards.errors import UserError
from stages.preferences.rating_groups import refuse_no_probabilities
from stages.principles.constitution import Principle
from stages.runtime.artifacts import Artifact
from stages.runtime.context import Drop
from stages.runtime.rows import Dropped, Judgement, Rating
from stages.text.cut_off import CutOff, row_fault

ADVICE = 'make it with the stage `rate`, safety principles and `scale: {"Yes": 0, "No": 1}`'
SALMON_ONLY = ("passes", "normalise", "geometric", "max_principles", "negation")


def check_config(config: Any, principles: Sequence[Principle], where: str) -> None:
    """Refuse options that exclude each other.

    Raises:
        UserError: the message names both.
    """
    if config.aggregate == "salmon":
        _check_salmon(config, principles, where)
    else:
        defaults = {option.name: option.default for option in fields(config)}
        for name in SALMON_ONLY:
            value = getattr(config, name)
            if value != defaults[name]:
                raise UserError(
                    f"`{name}: {value}` has no effect with `aggregate: {config.aggregate}`",
                    where=where,
                    fix=f"leave `{name}` out, or set `aggregate: salmon`",
                )
    if config.override_noise is not None and not config.overrides:
        raise UserError(
            "`override_noise` is set, but no rule is",
            where=where,
            fix="name rules in `overrides: [...]`",
        )
    if config.clamp is not None:
        _check_clamp(config.clamp, config.label, where)


def _check_salmon(config: Any, principles: Sequence[Principle], where: str) -> None:
    if config.clip is not None:
        raise UserError(
            "`clip` makes the strongest principles equal, and with `aggregate: salmon` the "
            "strongest decides",
            where=where,
            fix="leave `clip` out: `normalise` makes principles comparable",
        )
    if config.negation and not any(principle.opposite for principle in principles):
        raise UserError(
            f"`negation: {config.negation}` has nothing to negate: no principle has an opposite",
            where=where,
            fix="give principles an `opposite:` in the constitution, or set `negation: 0`",
        )


def _check_clamp(clamp: tuple[float, float], label: str, where: str) -> None:
    low, high = clamp
    symmetric = 0 <= low <= 0.5 <= high <= 1 and math.isclose(low + high, 1)
    if label == "hard" or not symmetric:
        raise UserError(
            f"`clamp: [{low}, {high}]` cannot be used with `label: {label}`",
            where=where,
            fix="give bounds at the same distance from one half, such as [0.4, 0.6], and "
            "`label: soft`",
        )


def read_cells(
    judgements: Artifact, principles: set[str], where: str, negated: Set[str] = frozenset()
) -> dict[str, list[Judgement]]:
    """Return the cells under `principles`, by pair; a pair without any has an empty list.

    Args:
        principles: ids.
        negated: ids of the principles whose margins are flipped.

    Raises:
        UserError: there are no judgements, none under `principles`, or every margin is 0.
    """
    cells: dict[str, list[Judgement]] = {}
    for row in judgements.rows(Judgement):
        pair_cells = cells.setdefault(row.pair_id, [])
        if row.principle not in principles:
            continue
        if row.principle in negated:
            pair_cells.append(replace(row, margin_ab=-row.margin_ab, margin_ba=-row.margin_ba))
        else:
            pair_cells.append(row)
    if not cells:
        raise _no_rows(judgements)
    judged = [cell for pair_cells in cells.values() for cell in pair_cells]
    if not judged:
        raise UserError(
            "none of the constitution's principles was judged",
            where=where,
            fix="give this step the constitution of the `judge` step, or a subset of it",
        )
    if all(cell.margin_ab == cell.margin_ba == 0 for cell in judged):
        raise UserError(
            f"the judge prefers neither side in any of {len(judged)} cells: every margin is 0",
            where=f"step {judgements.step!r}",
            fix="check that its template shows both responses and asks for A or B, and that its "
            "model can answer",
        )
    return cells


def drop_cut_off_pairs(
    cells: dict[str, list[Judgement]], cut_off: CutOff
) -> tuple[dict[str, list[Judgement]], list[Dropped]]:
    """Return the cells of the pairs to label, by pair, and the pairs with a response cut off."""
    finished = {}
    dropped = []
    for pair_id, pair_cells in cells.items():
        fault = row_fault(pair_cells[0]) if pair_cells and cut_off == "drop" else ""
        if fault:
            dropped.append(Dropped(id=pair_id, reason=fault))
        else:
            finished[pair_id] = pair_cells
    return finished, dropped


def _no_rows(judgements: Artifact) -> UserError:
    dropped = []
    for reason, count in judgements.manifest.dropped.items():
        dropped.append(f"{count} dropped ({reason})")
    details = f": {', '.join(dropped)}" if dropped else ""
    file = judgements.directory / "dropped.parquet"
    return UserError(
        f"the judge step holds no rows{details}",
        where=f"step {judgements.step!r}",
        fix=f"see {file}" if dropped else "give it responses to judge",
    )


class Safety:
    """Whether a response is safe: no principle has a P(violated) above one half.

    Raises:
        UserError: a rating holds no score for each principle, or one that is not a probability.
    """

    def __init__(self, ratings: Artifact):
        self._safe: dict[tuple[str, str], bool] = {}
        """By prompt id and response."""
        for row in ratings.rows(Rating):
            refuse_no_probabilities(row, "violated", f"step {ratings.step!r}", ADVICE)
            self._safe[row.prompt_id, row.response] = not any(score > 0.5 for score in row.scores)

    def is_safe(self, prompt_id: str, response: str) -> bool:
        """Return whether this answer to this request is safe.

        Raises:
            Drop: it was not rated.
        """
        key = (prompt_id, response)
        if key not in self._safe:
            raise Drop("a response without a safety rating")
        return self._safe[key]
