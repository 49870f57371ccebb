"""Preference pairs as the trainers read them.

In: Pair rows. Out: TRL's preference rows, and what was dropped, with reasons.
"""

from stages.guards.errors import UserError
from stages.guards.text import is_visible
from stages.runtime.artifacts import Artifact
from stages.runtime.rows import Dropped, Pair
from stages.text.cut_off import row_fault
from stages.training.examples import Sieve, nothing_left
from stages.training.frame import Examples

COLUMNS = (
    "id",
    "prompt",
    "chosen",
    "rejected",
    "label",
    "chosen_finish_reason",
    "rejected_finish_reason",
)
"""What the trainers read of a pair."""
ADVICE = "give the step more prompts, or abstain less in `judged_pairs`"
"""What to do where a step made no pair."""


def read_pairs(artifact: Artifact) -> tuple[Examples, list[Dropped]]:
    """Pairs as TRL's conversational preference rows, with `id` and `soft_label`.

    Raises:
        UserError: no pair is left, or a label is not a probability.
    """
    examples: Examples = []
    sieve = Sieve()
    for row in artifact.rows(Pair):
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
        raise nothing_left({"pairs": artifact}, sieve.dropped, "pair", ADVICE)
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
    """Why nothing can be learnt from a pair's sides; an empty string where something can.

    A side that was cut off would teach an end of the turn that the model did not write.
    """
    if not (is_visible(row.chosen) and is_visible(row.rejected)):
        return "empty completion"
    if row.chosen.strip() == row.rejected.strip():
        return "both sides are equal"
    return row_fault(row)
