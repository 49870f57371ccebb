"""Stage `human_pairs`: preferences that people gave, from a file or a Hub dataset.

In: nothing. Out: Pair rows with label 1 and margin 0, so that `reward_model` can mix them with
judged ones, as Constitutional AI does with people's choices for helpfulness (Bai et al. 2022, arXiv
2212.08073, section 4.1), and `dpo` or `kto` can learn from them alone. `prompt_id` is the id that
`prompts` gives to the same request.

What people judged is the option `principles`: the wish that they followed (hh-rlhf, PKU-SafeRLHF)
or the attributes that they rated (HelpSteer, UltraFeedback), where one record makes a pair for each
attribute in which its answers differ. A reward model with a constitution reads it beside the
answers, as SALMON's reads the principles of a judge (Sun et al. 2023, arXiv 2310.05910).

Without a `prompt` column both sides are whole conversations, as in hh-rlhf (Bai et al. 2022, arXiv
2204.05862): transcripts or lists of messages, equal up to the last answer. With one, a side is an
answer, or a conversation that repeats the request. docs/data.md shows the forms that are recognised
by their columns: PKU-SafeRLHF, HelpSteer, SHP, Chatbot Arena, UltraFeedback, rankings and others.

Dropped and counted: ties, conversations that differ before their last answer, empty and equal
answers, duplicates, turns of tools, images. Pairs of people who contradict each other are all kept.
Of several ranked answers the best and the worst make a pair (`pairing`). Left out: strengths of
preference (`human_answers` reads scores).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.guards.errors import UserError
from stages.preferences.people.human_records import read_pairs
from stages.preferences.people.judged_under import check_principles
from stages.preferences.people.pair_source import PairSource
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.functions import find_function, function_identity, is_function
from stages.runtime.rows import Dropped, Pair
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Part
from stages.sources.reading import Reading, example_pair, name_drops
from stages.sources.source import (
    OTHER_SHARE,
    in_share,
    read_records,
    source_identity,
    take_part,
    without_folder,
)


@dataclass(frozen=True, kw_only=True)
class Config(PairSource):
    arguments: dict[str, Any] = field(default_factory=dict)
    """Of `source`, where it is a function `package.module:function`; it returns records."""
    share: Part = (0.0, 1.0)
    """Half-open part [from, to) of the prompts, by a hash of the conversation's first user turn.
    Steps with disjoint shares have no prompt in common, not even two turns of one dialogue, for
    any source and any seed of the run.
    """


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Read, check, deduplicate by content, order and cut.

    Raises:
        UserError: the source cannot be read, lacks a column, or holds no usable pair.
    """
    rows, dropped, reading = read_rows(config)
    selected = take_part(rows, config, context.seed)
    if not selected:
        raise _no_pair(config, dropped)
    prompts = {row.prompt_id for row in selected}
    return Result(
        rows=selected,
        row_type=Pair,
        dropped=dropped,
        metrics={
            "prompts": len(prompts),
            "longer_chosen": _longer_chosen(selected),
            "principles": _count_principles(selected),
            "reading": reading.as_metrics(config.source),
        },
    )


def identity(config: Config) -> dict[str, Any]:
    """Identify a function by its module's VERSION and file, others by `source_identity`."""
    if not is_function(config.source):
        return source_identity(config, ", or package.module:function")
    find_function(config.source, config.source, **config.arguments)
    return {"module": function_identity(config.source)}


def read_rows(config: Config, most: int | None = None) -> tuple[list[Pair], list[Dropped], Reading]:
    """Return the pairs of the source's records, or of the first `most`, before `limit` cuts them.

    Raises:
        UserError: as `run`, but for a source without a pair.
    """
    rows: dict[str, Pair] = {}
    dropped = []
    reading = Reading()
    for outcome in read_pairs(config, read_records(config, most), reading):
        pair = outcome.pair
        reason = _reason(pair, config, rows) if pair else outcome.reason
        if pair is None or reason:
            location = without_folder(outcome.location, config)
            dropped.append(Dropped(id=location, reason=reason, detail=outcome.detail))
            continue
        rows[pair.id] = pair
        reading.count_turns(pair.prompt)
        if not reading.example:
            sides = (pair.chosen, pair.rejected)
            reading.example = example_pair(pair.prompt, *sides, pair.principles)
    return list(rows.values()), dropped, reading


STAGE = Stage(
    version=3,
    config=Config,
    run=run,
    gives=Pair,
    check=check_principles,
    identity=identity,
    read=read_rows,
    meant_to_drop=(OTHER_SHARE,),
)


def _reason(pair: Pair, config: Config, rows: dict[str, Pair]) -> str:
    """Return why a pair is dropped; "" if it is kept."""
    if not in_share(pair.prompt, config.share):
        return OTHER_SHARE
    return "duplicate" if pair.id in rows else ""


def _no_pair(config: Config, dropped: list[Dropped]) -> UserError:
    return UserError(
        "the source gave no pair" + name_drops(dropped),
        where=config.source,
        fix="name the `prompt` column if the sides are bare answers; read answers that are good or "
        "bad alone with the stage `human_answers`; see `share`, `limit` and docs/data.md",
    )


def _count_principles(pairs: Sequence[Pair]) -> dict[str, dict[str, Any]]:
    """Return, for each principle, how many pairs people judged under it, and `longer_chosen`."""
    groups: dict[str, list[Pair]] = {}
    for row in pairs:
        for name in row.principles:
            groups.setdefault(name, []).append(row)
    counts: dict[str, dict[str, Any]] = {}
    for name, group in groups.items():
        counts[name] = {"pairs": len(group), "longer_chosen": _longer_chosen(group)}
    return counts


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
