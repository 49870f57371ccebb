"""Stage `filter`: keep some of the rows. No calls.

In: `rows` of any kind. Out: the same kind, fewer; every row left out is counted with its reason.

`share` cuts by a hash of the prompt, so that steps given [0, 0.5] and [0.5, 1] never share a
prompt, whatever the
rows are: the open Constitutional AI recipe trains SFT and DPO on disjoint halves that way.
"""

from dataclasses import dataclass
from typing import Any

from stages.runtime.artifacts import Artifact, Result, canonical
from stages.runtime.context import Context
from stages.runtime.rows import Dropped, Prompt
from stages.runtime.stage import Stage
from stages.runtime.store import derive_seed


@dataclass(frozen=True)
class Config:
    """Args:
    share: half-open part [from, to) of the prompts, by hash.
    kinds: keep only these kinds.
    limit: keep at most so many.
    """

    share: tuple[float, float] = (0.0, 1.0)
    kinds: tuple[str, ...] = ()
    limit: int | None = None


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    rows: list[Any] = inputs["rows"].rows()
    reasons = [_reason(row, config, context.seed) for row in rows]
    kept = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
    dropped = [
        Dropped(id=row.id, reason=reason)
        for row, reason in zip(rows, reasons, strict=True)
        if reason
    ]
    if config.limit is not None:
        dropped += [Dropped(id=row.id, reason="over the limit") for row in kept[config.limit :]]
        kept = kept[: config.limit]
    return Result(rows=kept, row_type=type(rows[0]) if rows else Prompt, dropped=dropped)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs=("rows",),
)


def _reason(row: Any, config: Config, seed: int) -> str:
    if config.kinds and row.kind not in config.kinds:
        return f"of kind {row.kind}"
    messages = row.messages if isinstance(row, Prompt) else row.prompt
    place = derive_seed(seed, "filter", canonical(messages)) / 2**31
    return "" if config.share[0] <= place < config.share[1] else "in another share"
