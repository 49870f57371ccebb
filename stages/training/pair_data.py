"""Preference pairs as the trainers read them.

In: Pair rows. Out: TRL's preference rows, and what was dropped, with reasons.
"""

from stages.runtime.artifacts import Artifact
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Pair
from stages.training.examples import Sieve
from stages.training.frame import Examples


def read_pairs(artifact: Artifact) -> tuple[Examples, list[Dropped]]:
    """Pairs as TRL's conversational preference rows, with `id` and `soft_label`.

    Raises:
        UserError: no pair is left, or a label is not a probability.
    """
    rows = artifact.rows(Pair)
    examples: Examples = []
    sieve = Sieve()
    for row in rows:
        check_label(row)
        if not sieve.accepts(row, fault_of_sides(row), row.prompt, row.chosen, row.rejected):
            continue
        examples.append(
            {
                "id": row.id,
                "prompt": row.prompt,
                "chosen": [{"role": "assistant", "content": row.chosen}],
                "rejected": [{"role": "assistant", "content": row.rejected}],
                "soft_label": row.label,
            }
        )
    if not examples:
        none_usable = ", none usable" if rows else ""
        raise UserError(
            f"no pair is left to train on: the step holds {len(rows)}{none_usable}",
            where=f"input 'pairs' (step {artifact.step!r})",
            fix="see its dropped.parquet for reasons; give it more prompts, or abstain less in "
            "`judged_pairs`",
        )
    return examples, sieve.dropped


def check_label(row: Pair) -> None:
    """Refuse a label that is not a probability, in [0, 1]."""
    if not 0 <= row.label <= 1:
        raise UserError(
            f"the label {row.label} is not a probability",
            where=f"pair {row.id}",
            fix="make labels in [0, 1]",
        )


def fault_of_sides(row: Pair) -> str:
    """Why there is nothing to compare in a pair; an empty string where there is."""
    if not row.chosen.strip() or not row.rejected.strip():
        return "empty completion"
    if row.chosen.strip() == row.rejected.strip():
        return "both sides are equal"
    return ""
