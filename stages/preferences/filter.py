"""Stage `filter`: keep some of the rows. No calls.

In: `rows` of any kind that holds a conversation; optional, `without`, rows of such a kind whose
prompts are left out, and `like`, rows that there shall be no more of. Out: the same kind, fewer;
every row left out is counted with its reason. With `without` nothing may be left, which is no
fault: a loop goes through its prompts so.

With `constitution` the rows are examples for its principles, as in PALMS (Solaiman and Dennison
2021, arXiv 2106.10328): each is about one, whose id, dimension or tag its kind is, and a principle
without an example is refused. `like` gives such a set its control, as many rows of another kind.

`share` cuts by a hash of the prompt, so that steps with [0, 0.5] and [0.5, 1] never share a
prompt, for rows of any kind: the open Constitutional AI recipe trains SFT and DPO on disjoint
halves that way.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.guards.errors import UserError
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import canonical
from stages.runtime.rows import (
    Dropped,
    Judgement,
    Pair,
    Prompt,
    Rating,
    Response,
    Revision,
    Verdict,
)
from stages.runtime.stage import Stage
from stages.runtime.store import derive_fraction
from stages.runtime.typed_config import Count, Names, Part, machine

Rows = Prompt | Response | Revision | Judgement | Pair | Rating | Verdict
"""Rows of a conversation."""


@dataclass(frozen=True)
class Config:
    share: Part = (0.0, 1.0)
    """Half-open part [from, to) of the prompts, by hash."""
    kinds: Names = ()
    """Keep only these kinds; empty: all, or with `constitution` those that it names."""
    constitution: Selection | None = machine(None)  # `identity` adds it, if set
    """Keep also kinds that are the id, the dimension or a tag of one of these principles, each of
    which needs a row.
    """
    limit: Count | None = None
    """Keep at most this many rows, with `constitution` the kinds in turn; null: all."""


def identity(config: Config) -> dict[str, Any]:
    """The names of the principles, if there are any."""
    names = [sorted(kinds) for kinds in kinds_of(config)]
    return {"principles": names} if names else {}


def kinds_of(config: Config) -> list[set[str]]:
    """Return, for each principle, the kinds of rows that are about it."""
    if not config.constitution:
        return []
    principles = select(config.constitution).principles
    return [{each.id, *each.tags, each.dimension or each.id} for each in principles]


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Keep the rows that no option excludes.

    Raises:
        UserError: no row is about one of the principles.
    """
    rows: list[Any] = inputs["rows"].rows()
    others: list[Any] = inputs["without"].rows() if "without" in inputs else []
    without = {row.prompt_id for row in others}
    selected = []
    dropped = []
    excluded = 0
    principles = kinds_of(config)
    kinds = set(config.kinds).union(*principles)
    for row in rows:
        if row.prompt_id in without:
            excluded += 1
            continue
        reason = _reason(row, kinds, config, context.seed)
        if reason:
            dropped.append(Dropped(id=row.id, reason=reason))
        else:
            selected.append(row)
    limit = config.limit
    warnings = []
    if "like" in inputs:
        count = len(inputs["like"].rows())
        limit = min(count, limit or count)
        if len(selected) < limit:
            warnings.append(f"only {len(selected)} rows, and {count} of which they are the like")
    if limit is not None:
        first = set(_in_turn(selected)[:limit]) if principles else set(range(limit))
        dropped += [
            Dropped(id=row.id, reason="over the limit")
            for place, row in enumerate(selected)
            if place not in first
        ]
        selected = [row for place, row in enumerate(selected) if place in first]
    _refuse_missing(principles, {row.kind for row in selected}, context.step)
    row_type = inputs["rows"].row_type or Prompt
    metrics = {"in_without": excluded} if excluded else {}
    return Result(
        rows=selected, row_type=row_type, dropped=dropped, metrics=metrics, warnings=warnings
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"rows": Rows},
    optional={"without": Rows, "like": Rows},
    gives="rows",
    identity=identity,
    meant_to_drop=("*",),
)


def _in_turn(rows: Sequence[Any]) -> list[int]:
    """Return the places of rows: the first one of each kind, then the second of each, and so on."""
    numbers: Counter[str] = Counter()
    turns = []
    for place, row in enumerate(rows):
        turns.append((numbers[row.kind], place))
        numbers[row.kind] += 1
    return [place for _, place in sorted(turns)]


def _refuse_missing(principles: Sequence[set[str]], kinds: set[str], step: str) -> None:
    missing = [sorted(names)[0] for names in principles if not names & kinds]
    if missing:
        raise UserError(
            f"there is no example for the principle {missing[0]!r}"
            + (f" and {len(missing) - 1} more" if missing[1:] else ""),
            where=f"step {step!r}",
            fix="give rows whose kind is its id, its dimension or one of its tags (`kind_column` "
            "of the step that reads them), raise `limit`, or leave the principle out "
            "('constitution.drop=[...]')",
        )


def _reason(row: Any, kinds: set[str], config: Config, seed: int) -> str:
    """Return why a row is dropped; "" if it is kept."""
    if kinds and row.kind not in kinds:
        return f"of kind {row.kind}"
    messages = row.messages if isinstance(row, Prompt) else row.prompt
    low, high = config.share
    fraction = derive_fraction(seed, "filter", canonical(messages))
    return "" if low <= fraction < high else "in another share"
