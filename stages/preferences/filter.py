"""Stage `filter`: keep some of the rows. No calls.

In: `rows` of any kind that holds a conversation; `without`, optional, rows of such a kind whose
prompts are left out. Out: the same kind, fewer; every row left out is counted with its reason.
With `without` nothing may be left, which is no fault: a loop goes through its prompts so.

`share` cuts by a hash of the prompt, so that steps with [0, 0.5] and [0.5, 1] never share a
prompt, for rows of any kind: the open Constitutional AI recipe trains SFT and DPO on disjoint
halves that way.
"""

from dataclasses import dataclass
from typing import Any

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
from stages.runtime.typed_config import Count, Names, Part

Rows = Prompt | Response | Revision | Judgement | Pair | Rating | Verdict
"""Rows of a conversation."""


@dataclass(frozen=True)
class Config:
    share: Part = (0.0, 1.0)
    """Half-open part [from, to) of the prompts, by hash."""
    kinds: Names = ()
    """Keep only these kinds; empty: all."""
    limit: Count | None = None
    """Keep at most this many rows; null: all."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Keep the rows that no option excludes."""
    rows: list[Any] = inputs["rows"].rows()
    others: list[Any] = inputs["without"].rows() if "without" in inputs else []
    without = {row.prompt_id for row in others}
    selected = []
    dropped = []
    excluded = 0
    for row in rows:
        if row.prompt_id in without:
            excluded += 1
            continue
        reason = _reason(row, config, context.seed)
        if reason:
            dropped.append(Dropped(id=row.id, reason=reason))
        else:
            selected.append(row)
    if config.limit is not None:
        for row in selected[config.limit :]:
            dropped.append(Dropped(id=row.id, reason="over the limit"))
        selected = selected[: config.limit]
    row_type = inputs["rows"].row_type or Prompt
    metrics = {"in_without": excluded} if excluded else {}
    return Result(rows=selected, row_type=row_type, dropped=dropped, metrics=metrics)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"rows": Rows},
    optional={"without": Rows},
    gives="rows",
    meant_to_drop=("*",),
)


def _reason(row: Any, config: Config, seed: int) -> str:
    """Return why a row is dropped; "" if it is kept."""
    if config.kinds and row.kind not in config.kinds:
        return f"of kind {row.kind}"
    messages = row.messages if isinstance(row, Prompt) else row.prompt
    low, high = config.share
    fraction = derive_fraction(seed, "filter", canonical(messages))
    return "" if low <= fraction < high else "in another share"
