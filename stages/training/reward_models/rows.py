"""Pairs as a reward model's trainer reads them: in the model's layout, with the principles they
were labelled under.

In: Pair rows of one or several inputs. Out: TRL's preference rows. A pair that was labelled under a
principle's opposite is shown the opposite's words (SALMON, Sun et al. 2023, arXiv 2310.05910,
section 3.2). Pairs without principles, such as human ones, are shown a general principle. No input
is thinned, so each keeps its share (Bai et al. 2022, section 4.1, mix human helpfulness comparisons
into one preference model); the shares are counted after the unusable rows are gone. For a cost
model the preferred side is the safer one: pairs that say the opposite of their own safety labels
are dropped.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from stages.principles.constitution import Constitution
from stages.principles.polarity import wording
from stages.runtime.artifacts import Artifact, canonical
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Pair
from stages.training.pair_data import Examples
from stages.training.reward_models.format import RewardFormat

COLUMNS = (
    "chosen",
    "rejected",
    "soft_label",
    "chat_template_kwargs",
    "length",
    "chosen_unsafe",
    "rejected_unsafe",
)


def reward_examples(
    inputs: Mapping[str, Artifact],
    layout: RewardFormat,
    constitution: Constitution | None,
    general: str,
) -> tuple[Examples, list[Dropped], dict[str, Any]]:
    """Examples, what was dropped, and how many rows each input gives.

    Raises:
        UserError: nothing is left, a label that is no probability, labels that prefer nothing, or,
        for a cost model, no safety labels or only one kind of them.
    """
    principles = {p.id: p for p in constitution.principles} if constitution else {}
    examples: Examples = []
    dropped: list[Dropped] = []
    rows_of: Counter[str] = Counter()
    seen: set[str] = set()
    for name, artifact in inputs.items():
        for row in artifact.rows(Pair):
            if not 0 <= row.label <= 1:
                raise UserError(
                    f"the label {row.label} is no probability",
                    where=f"pair {row.id}",
                    fix="make labels in [0, 1]",
                )
            reason = _reason(row, seen, set(principles) if constitution else None, layout)
            if reason:
                dropped.append(Dropped(id=row.id, reason=reason))
                continue
            rows_of[name] += 1
            negated = row.negated or [False] * len(row.principles)
            texts: tuple[str, ...] = ()
            if layout.principles:
                texts = tuple(
                    wording(principles[p], n) for p, n in zip(row.principles, negated, strict=True)
                ) or (general,)
            example = {
                "id": row.id,
                "prompt": row.prompt,
                "chosen": layout.messages(row.prompt, row.chosen, texts),
                "rejected": layout.messages(row.prompt, row.rejected, texts),
                "soft_label": row.label,
            }
            if layout.objective == "cost":
                example |= {
                    "chosen_unsafe": not row.chosen_safe,
                    "rejected_unsafe": not row.rejected_safe,
                }
            examples.append(example)
    where = ", ".join(f"{name!r} (step {artifact.step!r})" for name, artifact in inputs.items())
    _check(examples, dropped, layout, f"input {where}")
    return (
        examples,
        dropped,
        {name: {"n": n, "share": round(n / len(examples), 4)} for name, n in rows_of.items()},
    )


def _reason(row: Pair, seen: set[str], known: set[str] | None, layout: RewardFormat) -> str:
    if not row.chosen.strip() or not row.rejected.strip():
        return "empty completion"
    if row.chosen.strip() == row.rejected.strip():
        return "both sides are equal"
    if known is not None and not known.issuperset(row.principles):
        return "labelled under a principle that is not selected here"
    if layout.objective == "cost" and (row.chosen_safe is None or row.rejected_safe is None):
        return "no safety label"
    if layout.objective == "cost" and row.rejected_safe and not row.chosen_safe:
        return "the preferred side is unsafe and the other safe"
    key = canonical([row.prompt, row.chosen, row.rejected, row.principles, row.negated])
    if key in seen:
        return "duplicate"
    seen.add(key)
    return ""


def _check(examples: Examples, dropped: list[Dropped], layout: RewardFormat, where: str) -> None:
    reasons = Counter(d.reason for d in dropped)
    if not examples:
        told = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common())
        if reasons.get("no safety label") == len(dropped) > 0:
            raise UserError(
                "a cost model needs safety labels, and no pair has any",
                where=where,
                fix="give their `judged_pairs` step ratings of safety (`inputs: {ratings: <a rate step>}`), or set "
                "objective: preference",
            )
        one_sided = reasons.get("empty completion") == len(dropped) > 0
        raise UserError(
            "every pair lacks a side: there is nothing to compare"
            if one_sided
            else f"no pair is left to train on: {len(dropped)} are unusable"
            + (f" ({told})" if told else ""),
            where=where,
            fix="see why its step makes such rows; give it more prompts, or abstain less in `judged_pairs`",
        )
    if layout.objective == "cost":
        unsafe = sum(e["chosen_unsafe"] + e["rejected_unsafe"] for e in examples)
        if unsafe in (0, 2 * len(examples)):
            raise UserError(
                f"all responses are labelled {'unsafe' if unsafe else 'safe'}: there is no boundary to learn",
                where=where,
                fix="add pairs whose responses differ in safety",
            )
    elif all(e["soft_label"] == 0.5 for e in examples):
        raise UserError(
            "every label is 0.5: no side is preferred in any pair",
            where=where,
            fix="make the pairs with a judge that tells the sides apart, or with `min_margin` above 0",
        )


def measured(
    examples: Examples, layout: RewardFormat, base: Model, args: Mapping[str, Any], context: Context
) -> tuple[Examples, list[Dropped]]:
    """Examples with the chat template's variables and their length in tokens, less those longer
    than `max_length`.

    Raises:
        UserError: none is left.
    """
    from trl import RewardConfig

    from stages.training.model_files import load_tokenizer

    variables = {
        **(context.engines.meaning.get("template_arguments") or {}),
        **layout.template_arguments(),
    }
    tokenizer = load_tokenizer(base, args)
    template = read_template(args)
    if template is None and not tokenizer.chat_template:  # another model's, which TRL will clone
        return [example | {"chat_template_kwargs": variables} for example in examples], []
    limit = args.get("max_length", RewardConfig.__dataclass_fields__["max_length"].default)
    kept, dropped = [], []
    for example in examples:
        length = max(
            len(
                tokenizer.apply_chat_template(
                    example[side],
                    return_dict=False,
                    **({"chat_template": template} if template else {}),
                    **variables,
                )
            )
            for side in ("chosen", "rejected")
        )
        if limit is not None and length > limit:
            dropped.append(Dropped(id=example["id"], reason="longer than max_length"))
        else:
            kept.append(
                example
                | {"length": length}
                | ({"chat_template_kwargs": variables} if variables else {})
            )
    if not kept:
        raise UserError(
            f"every row is longer than max_length ({limit} tokens)",
            where=f"step {context.step!r}",
            fix="raise args.max_length",
        )
    return kept, dropped


def read_template(args: Mapping[str, Any]) -> str | None:
    """The chat template that `args` bring as a file, if they do."""
    path = str(args.get("chat_template_path") or "")
    if not path.endswith((".jinja", ".j2")):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise UserError(
            f"the chat template cannot be read: {error.strerror}",
            where=path,
            fix="fix args.chat_template_path",
        ) from None


def columns(examples: Examples) -> Examples:
    """What the trainer reads of the examples."""
    return [{name: example[name] for name in COLUMNS if name in example} for example in examples]
