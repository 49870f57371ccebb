"""Stage `human_pairs`: preferences that people gave, from a file or a Hub dataset.

In: nothing. Out: Pair rows with label 1, margin 0 and no principles, so that `reward_model` can mix
them with judged ones, as Constitutional AI does with people's choices for helpfulness (Bai et al.
2022, arXiv 2212.08073, section 4.1), and `dpo` or `kto` can learn from them alone. `prompt_id` is
the id that `prompts` gives to the same request.

Without a `prompt` column both sides are whole conversations, as in hh-rlhf (Bai et al. 2022, arXiv
2204.05862): transcripts or lists of messages, equal up to the last answer. With one, a side is an
answer, or a list of messages that ends in it. PKU-SafeRLHF's records (Dai et al. 2023, arXiv
2310.12773) need `prompt: prompt, chosen: response_0, rejected: response_1,
better: better_response_id` (or `safer_response_id`), `chosen_safe: is_response_0_safe,
    rejected_safe: is_response_1_safe`.

Dropped and counted: conversations that differ before their last answer, empty and equal answers,
duplicates. People who contradict each other are all kept. Left out: strengths of preference, ties,
rankings of more than two.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Message, Pair
from stages.runtime.stage import Stage
from stages.runtime.store import derive_seed
from stages.text.prompt_files import (
    content_id,
    conversations,
    read_messages,
    read_source,
    source_identity,
    without_folder,
)


@dataclass(frozen=True)
class Config:
    """Args:
    source: a file (jsonl, json, csv, tsv, parquet; also .gz) or a Hub dataset `owner/name`.
    kind: a word for what the pairs are about: `helpful`, `red_team` or one of yours.
    kind_column: the column with each pair's own kind, such as RewardBench's `subset`; null: all are
        of one kind.
    chosen, rejected: the columns with the two sides.
    prompt: the column with the request; null: the sides are whole conversations.
    better: a column that says which side is preferred, 0 for `chosen` and 1 for `rejected`; null:
        `chosen` is.
    chosen_safe, rejected_safe: columns that say whether that side is safe, for cost models; null:
        not measured.
    share: half-open part [from, to) of the prompts, by a hash of the conversation's first user
        turn. Steps with disjoint shares have no prompt in common, not even two turns of one
        dialogue, whatever the source and the run's seed.
    subset, folder, split: of a Hub dataset, as in `prompts`.
    limit, offset: how many pairs to take, and how many to pass over first.
    shuffle: take them in a seeded order instead of the source's.
    """

    source: str
    kind: str = "helpful"
    kind_column: str | None = None
    chosen: str = "chosen"
    rejected: str = "rejected"
    prompt: str | None = None
    better: str | None = None
    chosen_safe: str | None = None
    rejected_safe: str | None = None
    share: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (
        0.0,
        1.0,
    )
    subset: str | None = None
    folder: str | None = None
    split: str = "train"
    limit: Annotated[int, Field(ge=0)] | None = None
    offset: Annotated[int, Field(ge=0)] = 0
    shuffle: bool = False


@dataclass(frozen=True)
class Side:
    """One answer with what came before it, or the fault for which the record is no use."""

    prompt: list[Message]
    answer: str
    fault: str = ""


def check(config: Config) -> None:
    if config.share[0] >= config.share[1]:
        raise UserError(
            f"the share {list(config.share)} holds nothing",
            where="stage 'human_pairs'",
            fix="give [from, to) with from < to",
        )


def identity(config: Config) -> dict[str, Any]:
    """As the source of `prompts`.

    Raises:
        UserError: no such source.
    """
    return source_identity(config.source)


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Read, check, deduplicate by content, order and cut. `longer_chosen` tells how far length
    alone would get.

    Raises:
        UserError: the source cannot be read, lacks a column, or holds no usable pair.
    """
    rows: dict[str, Pair] = {}
    dropped = []
    for where, pair, reason in _pairs(config):
        reason = reason or ("duplicate" if pair and pair.id in rows else "")
        if pair is None or reason:
            dropped.append(Dropped(id=without_folder(where, config.source), reason=reason))
        else:
            rows[pair.id] = pair
    kept = list(rows.values())
    if config.shuffle:
        kept.sort(key=lambda row: derive_seed(context.seed, row.id))
    kept = kept[config.offset :][: config.limit]
    if not kept:
        told = "; ".join(
            f"{n} x {reason}" for reason, n in Counter(d.reason for d in dropped).most_common()
        )
        raise UserError(
            "the source gave no pair" + (f" ({told})" if told else ""),
            where=config.source,
            fix="name the `prompt` column if the sides are bare answers; see `share`, `offset`, `limit`, and whether the file "
            "is empty",
        )
    prompts = len({row.prompt_id for row in kept})
    return Result(
        rows=kept,
        row_type=Pair,
        dropped=dropped,
        metrics={"prompts": prompts, "longer_chosen": longer_chosen(kept)},
    )


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    check=check,
    identity=identity,
)


def longer_chosen(pairs: Sequence[Pair]) -> float:
    """Share of pairs whose chosen answer has more characters; equal lengths count half."""
    found = [
        (len(row.chosen) > len(row.rejected)) + (len(row.chosen) == len(row.rejected)) / 2
        for row in pairs
    ]
    return round(sum(found) / len(found), 4)


def _pairs(config: Config) -> Iterator[tuple[str, Pair | None, str]]:
    """Where each record stands, its pair if it makes one, and the reason not to keep it."""
    columns = (
        "chosen",
        "rejected",
        "prompt",
        "better",
        "chosen_safe",
        "rejected_safe",
        "kind_column",
    )
    named = {name: getattr(config, name) for name in columns}
    named = {name: column for name, column in named.items() if column is not None}
    for where, *values in read_source(
        config.source, config.subset, config.folder, config.split, *named.values()
    ):
        record = dict(zip(named, values, strict=True))
        request = None if config.prompt is None else _request(record["prompt"], where)
        sides = [_side(record[name], request, where) for name in ("chosen", "rejected")]
        safe = [
            _yes(record[name], where, name) if name in record else None
            for name in ("chosen_safe", "rejected_safe")
        ]
        if "better" in record and _yes(record["better"], where, "better"):
            sides, safe = sides[::-1], safe[::-1]
        reason = _reason(sides[0], sides[1])
        kind = str(record.get("kind_column", config.kind))
        pair = None if reason else _pair(sides[0], sides[1], safe, kind, where)
        if pair is not None and not config.share[0] <= _place(pair.prompt) < config.share[1]:
            reason = "in another share"
        yield where, pair, reason


def _request(value: Any, where: str) -> list[Message]:
    """The request as `prompts` would give it; [] if there is none, or if an answer already follows
    it.
    """
    found = conversations(value, "last", where)
    answered = (
        any(m["content"] for m in read_messages(value, where)[len(found[0]) :]) if found else False
    )
    return [] if answered or not found else found[0]


def _side(value: Any, request: list[Message] | None, where: str) -> Side:
    if request is not None and isinstance(value, str):  # an answer, whatever marks it holds
        return Side(request, value.strip())
    messages = read_messages(value, where)
    before, last = messages[:-1], messages[-1] if messages else {"role": ""}
    if last["role"] != "assistant":
        return Side([], "", "the last turn is no answer")
    if request is not None:
        return Side(
            request,
            last["content"].strip(),
            "" if before in ([], request) else "the conversations differ",
        )
    return Side(before, last["content"].strip())


def _reason(chosen: Side, rejected: Side) -> str:
    if chosen.fault or rejected.fault:
        return chosen.fault or rejected.fault
    prompt = chosen.prompt
    if prompt != rejected.prompt:
        return "the conversations differ before the last answer"
    if not prompt or prompt[-1]["role"] != "user" or not prompt[-1]["content"]:
        return "no user turn before the answer"
    if not chosen.answer or not rejected.answer:
        return "empty answer"
    return "equal answers" if chosen.answer == rejected.answer else ""


def _place(prompt: list[Message]) -> float:
    opening = next(m["content"] for m in prompt if m["role"] == "user")
    return derive_seed("human_pairs", opening) / 2**31


def _pair(chosen: Side, rejected: Side, safe: list[bool | None], kind: str, where: str) -> Pair:
    return Pair(
        id=content_id([chosen.prompt, chosen.answer, rejected.answer], where),
        prompt_id=content_id(chosen.prompt, where),
        chosen_id="",
        rejected_id="",
        kind=kind,
        prompt=chosen.prompt,
        chosen=chosen.answer,
        rejected=rejected.answer,
        label=1.0,
        margin=0.0,
        principles=[],
        margins_ab=[],
        margins_ba=[],
        chosen_safe=safe[0],
        rejected_safe=safe[1],
    )


def _yes(value: Any, where: str, option: str) -> bool:
    text = str(value).strip().lower()  # a csv file has only words
    if text not in ("1", "0", "true", "false"):
        raise UserError(
            f"{value!r} where 0 or 1, true or false is expected",
            where=where,
            fix=f"name another column as `{option}`",
        )
    return text in ("1", "true")
