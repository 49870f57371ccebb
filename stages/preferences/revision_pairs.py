"""Stage `revision_pairs`: the revision is preferred to the answer it came from. No calls.

In: `revisions`. Out: one Pair for each response, its last revision against the original; rounds
that `revise` lost are no rows, so that is the last finished one.

The open Constitutional AI recipe (Hugging Face, 2024). Its pitfall: a revision need not be better.
Texts that did not change are dropped and counted here; let a judge check the rest by judging
originals against revisions.
"""

from dataclasses import dataclass

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.rows import Dropped, Pair, Revision
from stages.runtime.stage import Stage
from stages.text.cut_off import CutOff, count_cut_off, drop_cut_off


@dataclass(frozen=True)
class Config:
    cut_off: CutOff = "drop"
    """Whether pairs with a side that was cut off at max_tokens are dropped."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Pair every response with its last revision; `principles` are those that changed the text."""
    last: dict[str, Revision] = {}
    changed_under: dict[str, list[str]] = {}
    for row in inputs["revisions"].rows(Revision):
        last[row.response_id] = row
        if row.response != row.previous:
            changed_under.setdefault(row.response_id, []).append(row.principle)
    pairs = []
    dropped = []
    for response_id, row in last.items():
        if row.response == row.original:
            dropped.append(Dropped(id=response_id, reason="the revision changed nothing"))
            continue
        pair = Pair(
            id=response_id,
            prompt_id=row.prompt_id,
            chosen_id=row.id,
            rejected_id=response_id,
            kind=row.kind,
            prompt=row.prompt,
            chosen=row.response,
            rejected=row.original,
            label=1.0,
            margin=0.0,
            principles=changed_under[response_id],
            chosen_finish_reason=row.finish_reason,
            rejected_finish_reason=row.original_finish_reason,
        )
        pairs.append(pair)
    finished, unfinished = drop_cut_off(pairs, config.cut_off)
    return Result(
        rows=finished,
        row_type=Pair,
        dropped=dropped + unfinished,
        metrics={"cut_off": count_cut_off(pairs)},
    )


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    inputs={"revisions": Revision},
    gives=Pair,
    meant_to_drop=("the revision changed nothing",),
)
