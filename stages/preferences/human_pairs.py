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

from collections import defaultdict
from collections.abc import Iterable, Iterator
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
    dropped: list[Dropped] = []
    reading = Reading()
    counts = PairCounts()
    rows = take_part(_each_pair(config, dropped, reading), config, context.seed)
    stored = context.store_rows(counts.each(rows), Pair)
    if not stored:
        raise _no_pair(config, dropped)
    metrics = {**counts.as_metrics(), "reading": reading.as_metrics(config.source)}
    return Result(rows=stored, row_type=Pair, dropped=dropped, metrics=metrics)


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
    dropped: list[Dropped] = []
    reading = Reading()
    rows = list(_each_pair(config, dropped, reading, most))
    return rows, dropped, reading


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


def _each_pair(
    config: Config, dropped: list[Dropped], reading: Reading, most: int | None = None
) -> Iterator[Pair]:
    """Yield the pairs of the source; drop and count as they pass."""
    seen: set[str] = set()
    for outcome in read_pairs(config, read_records(config, most), reading):
        pair = outcome.pair
        reason = _reason(pair, config, seen) if pair else outcome.reason
        if pair is None or reason:
            location = without_folder(outcome.location, config)
            dropped.append(Dropped(id=location, reason=reason, detail=outcome.detail))
            continue
        seen.add(pair.id)
        reading.count_turns(pair.prompt)
        if not reading.example:
            sides = (pair.chosen, pair.rejected)
            reading.example = example_pair(pair.prompt, *sides, pair.principles)
        yield pair


def _reason(pair: Pair, config: Config, seen: set[str]) -> str:
    """Return why a pair is dropped; "" if it is kept."""
    if not in_share(pair.prompt, config.share):
        return OTHER_SHARE
    return "duplicate" if pair.id in seen else ""


def _no_pair(config: Config, dropped: list[Dropped]) -> UserError:
    return UserError(
        "the source gave no pair" + name_drops(dropped),
        where=config.source,
        fix="name the `prompt` column if the sides are bare answers; read answers that are good or "
        "bad alone with the stage `human_answers`; see `share`, `limit` and docs/data.md",
    )


@dataclass
class LengthCounts:
    """How often the chosen answer is the longer one."""

    pairs: int = 0
    longer: float = 0.0
    """Pairs whose chosen answer has more characters; ties count half."""

    def add(self, pair: Pair) -> None:
        """Count a pair."""
        self.pairs += 1
        if len(pair.chosen) == len(pair.rejected):
            self.longer += 0.5
        elif len(pair.chosen) > len(pair.rejected):
            self.longer += 1

    @property
    def share(self) -> float:
        """The accuracy that length alone would reach."""
        return round(self.longer / self.pairs, 4)


@dataclass
class PairCounts:
    """What is counted of pairs while they are written."""

    prompts: set[str] = field(default_factory=set)
    lengths: LengthCounts = field(default_factory=LengthCounts)
    by_principle: defaultdict[str, LengthCounts] = field(
        default_factory=lambda: defaultdict(LengthCounts)
    )
    """Of the pairs that people judged under it."""

    def each(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """Yield the pairs, and count them."""
        for pair in pairs:
            self.prompts.add(pair.prompt_id)
            self.lengths.add(pair)
            for name in pair.principles:
                self.by_principle[name].add(pair)
            yield pair

    def as_metrics(self) -> dict[str, Any]:
        """Return the numbers of at least one pair as plain data."""
        principles = {}
        for name, counts in self.by_principle.items():
            principles[name] = {"pairs": counts.pairs, "longer_chosen": counts.share}
        return {
            "prompts": len(self.prompts),
            "longer_chosen": self.lengths.share,
            "principles": principles,
        }
