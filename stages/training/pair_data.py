"""Preference pairs as the trainers read them, and what is kept apart to check them with.

In: Pair rows. Out: training and held-out examples, and what was dropped, with reasons. A prompt's
pairs all lie on the same side of the split, which is drawn by a hash of the prompt: dropping other
rows moves none.
"""

from typing import Any

from stages.runtime.artifacts import Artifact, canonical
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Pair
from stages.runtime.store import derive_seed

Examples = list[dict[str, Any]]


def read_pairs(artifact: Artifact) -> tuple[Examples, list[Dropped]]:
    """Pairs as TRL's conversational preference rows, with `id` and `soft_label`.

    Raises:
        UserError: no pair is left, or a label is no probability.
    """
    rows = artifact.rows(Pair)
    examples: Examples = []
    dropped: list[Dropped] = []
    seen: set[str] = set()
    for row in rows:
        if not 0 <= row.label <= 1:
            raise UserError(
                f"the label {row.label} is no probability",
                where=f"pair {row.id}",
                fix="make labels in [0, 1]",
            )
        reason = _reason(row, seen)
        if reason:
            dropped.append(Dropped(id=row.id, reason=reason))
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
        raise UserError(
            f"no pair is left to train on: the step holds {len(rows)}"
            + (", none usable" if rows else ""),
            where=f"input 'pairs' (step {artifact.step!r})",
            fix="see its dropped.parquet for reasons; give it more prompts, or abstain less in `judged_pairs`",
        )
    return examples, dropped


def _reason(row: Pair, seen: set[str]) -> str:
    if not row.chosen.strip() or not row.rejected.strip():
        return "empty completion"
    if row.chosen.strip() == row.rejected.strip():
        return "both sides are equal"
    key = canonical([row.prompt, row.chosen, row.rejected])
    if key in seen:
        return "duplicate"
    seen.add(key)
    return ""


def split_held_out(
    examples: Examples, fraction: float, context: Context
) -> tuple[Examples, Examples]:
    """Training and held-out examples; where a split would leave nothing to train on, nothing is
    held out.
    """
    places = [
        derive_seed(context.seed, "held out", canonical(e["prompt"])) / 2**31 for e in examples
    ]
    train = [e for e, place in zip(examples, places, strict=True) if place >= fraction]
    held = [e for e, place in zip(examples, places, strict=True) if place < fraction]
    return (train, held) if train else (examples, [])


def check_held_out(trainer: Any) -> dict[str, Any] | None:
    """Evaluate on the held-out pairs.

    Returns:
        `n`, `accuracy` (share of pairs in which the chosen side scores higher), `interval` (95 %,
        Wilson) and `margin` (mean difference in score, chosen less rejected); None where nothing is
        held out.
    """
    if trainer.eval_dataset is None or len(trainer.eval_dataset) == 0:
        return None
    from scipy.stats import binomtest

    found = trainer.evaluate_held_out()
    if not found.pairs:
        return None
    interval = binomtest(round(found.right), found.pairs).proportion_ci(0.95, "wilson")
    return {
        "n": found.pairs,
        "accuracy": round(found.right / found.pairs, 4),
        "interval": [round(float(interval.low), 4), round(float(interval.high), 4)],
        "margin": round(found.margin / found.pairs, 4),
    }
