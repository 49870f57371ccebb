"""Pairs as a reward model's trainer reads them: in the model's layout, with the principles they
were labelled under.

In: Pair rows of one or several inputs. Out: TRL's preference rows. A pair that was labelled under a
principle's opposite gets the opposite's words (SALMON, Sun et al. 2023, arXiv 2310.05910, section
3.2). Pairs without principles, such as human ones, get a general principle. No input is subsampled,
so each keeps its fraction (Bai et al. 2022, section 4.1, mix human helpfulness comparisons into one
preference model); the fractions are counted after the unusable rows are gone. For a cost model the
preferred side is the safer one: pairs that say the opposite of their own safety labels are dropped.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from stages.guards.errors import UserError
from stages.principles.constitution import Constitution, is_text, referred_wording
from stages.runtime.artifacts import Artifact
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Pair
from stages.training.config import TrainingConfig
from stages.training.examples import (
    Sieve,
    arrange_examples,
    drop_longer,
    encode_sides,
    longest,
    max_length,
    name_inputs,
    nothing_left,
    refuse_if_none,
    render_examples,
)
from stages.training.frame import Examples
from stages.training.model_files import load_tokenizer, template_variables
from stages.training.pair_data import ADVICE, check_label, fault_of_sides
from stages.training.reward_models.format import RewardFormat

COLUMNS = (
    "chosen_ids",
    "rejected_ids",
    "soft_label",
    "length",
    "chosen_unsafe",
    "rejected_unsafe",
)
"""What the trainer reads of the examples."""


def reward_examples(
    inputs: Mapping[str, Artifact],
    layout: RewardFormat,
    constitution: Constitution | None,
    general: str,
) -> tuple[Examples, list[Dropped], dict[str, Any]]:
    """Examples, what was dropped, and how many rows each input gives.

    Raises:
        UserError: nothing is left, a label that is not a probability, labels that prefer nothing,
        or, for a cost model, no safety labels or only one kind of them.
    """
    examples: Examples = []
    counts: Counter[str] = Counter()
    sieve = Sieve()
    for name, artifact in inputs.items():
        for row in artifact.rows(Pair):
            check_label(row)
            fault = _fault(row, constitution, layout)
            sides = (row.prompt, row.chosen, row.rejected)
            if sieve.accepts(row, fault, *sides, row.principles, row.negated):
                counts[name] += 1
                examples.append(_example(row, layout, constitution, general))
    if not examples:
        raise _nothing_left(inputs, sieve.dropped)
    _check_examples(examples, layout, name_inputs(inputs))
    mix = {name: {"n": n, "share": round(n / len(examples), 4)} for name, n in counts.items()}
    return examples, sieve.dropped, mix


def _fault(row: Pair, constitution: Constitution | None, layout: RewardFormat) -> str:
    """Why a pair cannot be used, or an empty string."""
    reason = fault_of_sides(row)
    if reason:
        return reason
    if constitution is not None:
        selected = {principle.id for principle in constitution.principles}
        if not selected.issuperset(name for name in row.principles if not is_text(name)):
            return "labelled under a principle that is not selected here"
    if layout.objective == "cost":
        if row.chosen_safe is None or row.rejected_safe is None:
            return "no safety label"
        if row.rejected_safe and not row.chosen_safe:
            return "the preferred side is unsafe and the other safe"
    return ""


def _example(
    row: Pair, layout: RewardFormat, constitution: Constitution | None, general: str
) -> dict[str, Any]:
    texts: tuple[str, ...] = ()
    if layout.principles:
        texts = _principle_texts(row, constitution) or (general,)
    example = {
        "id": row.id,
        "prompt": row.prompt,
        "chosen": layout.messages(row.prompt, row.chosen, texts),
        "rejected": layout.messages(row.prompt, row.rejected, texts),
        "soft_label": row.label,
    }
    if layout.objective == "cost":
        example["chosen_unsafe"] = not row.chosen_safe
        example["rejected_unsafe"] = not row.rejected_safe
    return example


def _principle_texts(row: Pair, constitution: Constitution | None) -> tuple[str, ...]:
    """The words of a pair's principles, in its order; of negated ones their opposites."""
    principles = {p.id: p for p in constitution.principles} if constitution else {}
    flags = row.negated or [False] * len(row.principles)
    return tuple(
        referred_wording(principles, name, negated)
        for name, negated in zip(row.principles, flags, strict=True)
    )


def _check_examples(examples: Examples, layout: RewardFormat, where: str) -> None:
    """Refuse examples whose labels do not differ."""
    if layout.objective == "cost":
        unsafe = sum(e["chosen_unsafe"] + e["rejected_unsafe"] for e in examples)
        if unsafe in (0, 2 * len(examples)):
            kind = "unsafe" if unsafe else "safe"
            raise UserError(
                f"all responses are labelled {kind}: there is no boundary to learn",
                where=where,
                fix="add pairs whose responses differ in safety",
            )
    elif all(e["soft_label"] == 0.5 for e in examples):
        raise UserError(
            "every label is 0.5: no side is preferred in any pair",
            where=where,
            fix="make the pairs with a judge that prefers a side, or with `min_margin` above 0",
        )


def _nothing_left(inputs: Mapping[str, Artifact], dropped: list[Dropped]) -> UserError:
    reasons = {row.reason for row in dropped}
    if reasons == {"no safety label"}:
        return UserError(
            "a cost model needs safety labels, and no pair has any",
            where=name_inputs(inputs),
            fix="give their `judged_pairs` step ratings of safety (`inputs: {ratings: <a rate "
            "step>}`), or set objective: preference",
        )
    if reasons == {"empty completion"}:
        return UserError(
            "every pair lacks a side: there is nothing to compare",
            where=name_inputs(inputs),
            fix="look at the step that makes such pairs",
        )
    return nothing_left(inputs, dropped, "pair", ADVICE)


def prepare_pairs(
    examples: Examples, layout: RewardFormat, base: Model, config: TrainingConfig, context: Context
) -> tuple[Examples, list[Dropped]]:
    """Examples with their token ids and length, less those that the chat template refuses and those
    longer than `max_length`.

    Raises:
        UserError: none is left.
    """
    variables = {**template_variables(context), **layout.template_arguments()}
    tokenizer = load_tokenizer(base, config.args)
    examples = arrange_examples(examples, variables)
    readable, texts, refused = render_examples(examples, tokenizer, variables, whole=True)
    refuse_if_none(readable, refused, context)
    encoded = encode_sides(tokenizer, texts)
    lengths = list(map(longest, encoded))
    measured: Examples = []
    for example, sides, length in zip(readable, encoded, lengths, strict=True):
        ids = {f"{side}_ids": sides[side] for side in sides}
        measured.append(example | ids | {"length": length})
    fitting, dropped = drop_longer(measured, lengths, max_length(config), base, context)
    return fitting, [*refused, *dropped]


def columns(examples: Examples) -> Examples:
    """What the trainer reads of the examples."""
    return [{name: example[name] for name in COLUMNS if name in example} for example in examples]
