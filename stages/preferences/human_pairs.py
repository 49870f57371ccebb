"""Stage `human_pairs`: preferences that people gave, from a file or a Hub dataset.

In: nothing. Out: Pair rows with label 1, margin 0 and no principles, so that `reward_model` can mix
them with judged ones, as Constitutional AI does with people's choices for helpfulness (Bai et al.
2022, arXiv 2212.08073, section 4.1), and `dpo` or `kto` can learn from them alone. `prompt_id` is
the id that `prompts` gives to the same request.

Without a `prompt` column both sides are whole conversations, as in hh-rlhf (Bai et al. 2022, arXiv
2204.05862): transcripts or lists of messages, equal up to the last answer. With one, a side is an
answer, or a list of messages that ends in it. PKU-SafeRLHF's records (Dai et al. 2023, arXiv
2310.12773) need `prompt: prompt, chosen: response_0, rejected: response_1, better:
better_response_id` (or `safer_response_id`), `chosen_safe: is_response_0_safe, rejected_safe:
is_response_1_safe`.

Dropped and counted: conversations that differ before their last answer, empty and equal answers,
duplicates. Pairs of people who contradict each other are all kept. Left out: strengths of
preference, ties, rankings of more than two.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from stages.preferences.human_records import PairSource, read_pairs
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Message, Pair
from stages.runtime.stage import Stage
from stages.runtime.store import derive_fraction
from stages.text.source import source_identity, take_part, without_folder

Fraction = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Config(PairSource):
    share: tuple[Fraction, Fraction] = (0.0, 1.0)
    """Half-open part [from, to) of the prompts, by a hash of the conversation's first user turn.
    Steps with disjoint shares have no prompt in common, not even two turns of one dialogue, for
    any source and any seed of the run.
    """


def check(config: Config) -> None:
    """Refuse an empty share."""
    if config.share[0] >= config.share[1]:
        raise UserError(
            f"the share {list(config.share)} is empty",
            where="stage 'human_pairs'",
            fix="give [from, to) with from < to",
        )


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Read, check, deduplicate by content, order and cut.

    Raises:
        UserError: the source cannot be read, lacks a column, or holds no usable pair.
    """
    rows: dict[str, Pair] = {}
    dropped = []
    for location, pair, fault in read_pairs(config):
        reason = _reason(pair, config, rows) if pair else fault
        if pair is None or reason:
            dropped.append(Dropped(id=without_folder(location, config), reason=reason))
        else:
            rows[pair.id] = pair
    selected = take_part(list(rows.values()), config, context.seed)
    if not selected:
        raise _no_pair(config, dropped)
    prompts = {row.prompt_id for row in selected}
    return Result(
        rows=selected,
        row_type=Pair,
        dropped=dropped,
        metrics={"prompts": len(prompts), "longer_chosen": _longer_chosen(selected)},
    )


STAGE = Stage(version=2, config=Config, run=run, check=check, identity=source_identity)


def _reason(pair: Pair, config: Config, rows: dict[str, Pair]) -> str:
    """Return why a pair is dropped; "" if it is kept."""
    low, high = config.share
    if not low <= _hash_position(pair.prompt) < high:
        return "in another share"
    return "duplicate" if pair.id in rows else ""


def _hash_position(prompt: list[Message]) -> float:
    """Return the place of a conversation in [0, 1), by a hash of its first user turn."""
    opening = next(message["content"] for message in prompt if message["role"] == "user")
    return derive_fraction("human_pairs", opening)


def _no_pair(config: Config, dropped: list[Dropped]) -> UserError:
    counts = Counter(row.reason for row in dropped).most_common()
    reasons = "; ".join(f"{count} x {reason}" for reason, count in counts)
    return UserError(
        "the source gave no pair" + (f" ({reasons})" if reasons else ""),
        where=config.source,
        fix="name the `prompt` column if the sides are bare answers; see `share`, `offset`, "
        "`limit`, and whether the file is empty",
    )


def _longer_chosen(pairs: Sequence[Pair]) -> float:
    """Return the fraction of pairs whose chosen answer has more characters; ties count half.

    It is the accuracy that length alone would reach.
    """
    score = 0.0
    for row in pairs:
        if len(row.chosen) == len(row.rejected):
            score += 0.5
        elif len(row.chosen) > len(row.rejected):
            score += 1
    return round(score / len(pairs), 4)
