"""Stage `write_prompts`: a model writes new requests after the example of others.

In: any inputs of Prompt rows (the seeds, written by people), `model`. Out: Prompt rows; what the
filters refuse is dropped, and counted by filter.

Self-Instruct (Wang et al. 2023, arXiv 2212.10560, section 3.1): each call shows examples from the
seeds and a few that the model wrote earlier, and asks for more. A text joins the pool only if its
ROUGE-L F with every seed and with everything accepted before is below `max_similarity`. The pool
grows greedily, so the order of calls matters: each of `shards` pools grows call by call, all at the
same time, and then they are merged in order under the same bound.

With `constitution` each principle has pools of its own, and the template reads the principle that a
request should tempt a model to break; what is written has the principle's id as its kind. So the
model probes each rule, as people do in Sparrow (Glaese et al. 2022, arXiv 2209.14375).

With `by_kind` each kind of seed has pools of its own, and what is written is of that kind: the
topics of SELF-ALIGN's question types (Sun et al. 2023, arXiv 2305.03047, section 3.1).

Left out: the paper's classification of tasks and its separate step that writes inputs: a request
here holds the text or the numbers that it is about.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.guards.errors import UserError
from stages.guards.templates import render, template_hash
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.generation import CallFailed, RowFailure, Sampling
from stages.runtime.manifest import Table
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Prompt
from stages.runtime.stage import Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Amount, Few, Portion, Text
from stages.runtime.typed_config import machine as not_identity
from stages.sources.conversations import content_id
from stages.statistics.formatting import format_percent
from stages.text.cut_off import ending_fault
from stages.text.synthesis.filters import REASONS, Filters, check_filters, find_fault
from stages.text.synthesis.similarity import Pool, words_of

DUPLICATE, SIMILAR = "a duplicate", "too similar to another"
UNBALANCED = "more than the smallest kind has"
ENDINGS = ("cut off at max_tokens", "empty answer")

_NUMBER = re.compile(
    r"^[ \t]*[*_#]*(?:[A-Z][a-z]+ )?#?\d{1,3} ?[.):](?!\d)[*_]*[ \t]*", re.MULTILINE
)
"""What begins an item of a list: "9.", "9)", "Task 9:", "**9.**"."""
_BULLET = re.compile(r"^[ \t]*[-*•][ \t]+", re.MULTILINE)
_MARKS = '*_`"“”'


@dataclass(frozen=True)
class Config:
    examples: Few = 8
    """How many examples each call shows."""
    machine: Amount = 2
    """How many of them the model wrote earlier, as soon as it has; the others are seeds."""
    number: Few = 8
    """How many new ones each call asks for."""
    calls: Few = 10
    """How many calls each pool grows by, one after the other."""
    shards: Few = 1
    """How many pools grow side by side, of each kind with `by_kind`; they are merged at the end."""
    max_similarity: Portion = 0.7
    """A text is accepted if its ROUGE-L F with all others is below this; 1.0: no duplicates."""
    filters: Filters = field(default_factory=Filters)
    """Which texts may be used."""
    constitution: Selection | None = not_identity(None)  # `identity` adds it, if set
    """Principles to write requests about, each with pools of its own; null: about none."""
    by_kind: bool = False
    """Show examples of one kind in each call; what is written is of that kind."""
    balance: bool = False
    """Drop the last ones of each kind beyond the number that the smallest kind has."""
    with_seeds: bool = False
    """Put the seeds before the new ones in the output, where they count in the balance, too."""
    kind: Text = "helpful"
    """The kind of what is written, without `by_kind`."""
    sampling: Sampling = field(default_factory=Sampling)
    """How to sample."""
    template: Text = "text/synthesis/new_requests.jinja"
    """The request for new ones; its variables are examples (texts), number, kind and principle (a
    text, "" without `constitution`).
    """


def check(config: Config) -> None:
    """Refuse filters that no text passes, and kinds of both seeds and principles."""
    check_filters(config.filters, "stage 'write_prompts'")
    if config.constitution and config.by_kind:
        raise UserError(
            "`constitution` and `by_kind` both say what kind a new request is of",
            where="stage 'write_prompts'",
            fix="leave one of them out",
        )


def identity(config: Config) -> dict[str, Any]:
    """The template's content, and the principles, if there are any."""
    facts: dict[str, Any] = {"template": template_hash(config.template)}
    if config.constitution:
        facts["constitution"] = select(config.constitution).identity("text")
    return facts


@dataclass(frozen=True)
class Shard:
    """A pool that grows call by call."""

    id: str
    kind: str
    seeds: Sequence[str]
    principle: str = ""
    """The text of the one that requests are about."""


@dataclass(frozen=True)
class Candidate:
    """A text that the model wrote."""

    id: str
    kind: str
    text: str
    fault: str
    """Why it is dropped; "" if it is not."""
    detail: str = ""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Grow the pools, merge them, and cut them to the same size where that is asked for."""
    model = inputs["model"].model()
    generator = context.generator(model)
    seeds: dict[str, Prompt] = {}
    for name, artifact in inputs.items():
        if name != "model":
            for row in artifact.rows(Prompt):
                seeds.setdefault(row.id, row)

    async def grow(shard: Shard) -> list[Candidate]:
        pool = Pool(shard.seeds, config.max_similarity)
        written: list[str] = []
        candidates: list[Candidate] = []
        for number in range(config.calls):
            examples = draw_examples(shard, written, config, context.seed, number)
            request = render(
                config.template,
                examples=examples,
                number=config.number,
                kind=shard.kind,
                principle=shard.principle,
            )
            seed = derive_seed(context.seed, shard.id, "write_prompts", number)
            call_id = f"{shard.id}-{number}"
            messages = [{"role": "user", "content": request}]
            try:
                completion = await generator.complete(messages, config.sampling, seed)
            except CallFailed as failure:
                failure.lost, failure.finished = call_id, candidates
                raise
            except RowFailure as failure:  # this draw of examples was too long
                candidates.append(
                    Candidate(call_id, shard.kind, "", failure.reason, failure.detail)
                )
                continue
            items = split_items(completion.text)
            cut_off = ending_fault(completion.finish_reason)
            if not items:
                fault = cut_off or "empty answer"
                candidates.append(Candidate(call_id, shard.kind, "", fault))
            for place, text in enumerate(items):
                is_last = place == len(items) - 1
                fault = (cut_off if is_last else "") or find_fault(text, config.filters)
                candidate = judge_novelty(
                    pool, Candidate(f"{call_id}-{place}", shard.kind, text, fault)
                )
                candidates.append(candidate)
                if not candidate.fault:
                    written.append(text)
        return candidates

    candidates, failed = context.map(list_shards(list(seeds.values()), config), grow)
    accepted, dropped = merge(candidates, list(seeds.values()), config, context.step)
    metrics = count_filters(candidates, dropped)
    rows = [*seeds.values(), *accepted] if config.with_seeds else accepted
    if config.balance:
        rows, surplus = balance(rows)
        dropped += surplus
    return Result(
        rows=rows,
        row_type=Prompt,
        dropped=failed + dropped,
        metrics=metrics,
        tables=[tabulate(metrics, context.step)],
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"model": Model},
    optional={"*": Prompt},
    least=1,
    gives=Prompt,
    calls_generator=True,
    meant_to_drop=("*",),
    check=check,
    identity=identity,
)


def request_text(prompt: Prompt) -> str:
    """Return the last turn of a conversation on one line."""
    return " ".join(prompt.messages[-1]["content"].split())


def list_shards(seeds: Sequence[Prompt], config: Config) -> list[Shard]:
    """Return the pools that are to grow."""
    if config.constitution:
        texts = [request_text(row) for row in seeds]
        shards = []
        for principle in select(config.constitution).principles:
            for number in range(config.shards):
                name = f"{principle.id}-{number}"
                shards.append(Shard(name, principle.id, texts, principle.text))
        return shards
    by_kind: dict[str, list[str]] = {}
    for row in seeds:
        by_kind.setdefault(row.kind if config.by_kind else config.kind, []).append(
            request_text(row)
        )
    shards = []
    for kind, texts in by_kind.items():
        for number in range(config.shards):
            name = f"{kind}-{number}" if config.by_kind else str(number)
            shards.append(Shard(name, kind, texts))
    return shards


def draw_examples(
    shard: Shard, written: Sequence[str], config: Config, seed: int, number: int
) -> list[str]:
    """Return what a call shows: `machine` texts of the model, if there are, among seeds."""
    rng = random.Random(derive_seed(seed, shard.id, "examples", number))
    own = rng.sample(written, min(config.machine, len(written), config.examples))
    fitting = [text for text in shard.seeds if len(text.split()) <= config.filters.words[1]]
    seeds = fitting or list(shard.seeds)
    examples = rng.sample(seeds, min(config.examples - len(own), len(seeds))) + own
    rng.shuffle(examples)
    return examples


def split_items(text: str) -> list[str]:
    """Return the items of a list that a model wrote, each on one line.

    What stands before the first number or bullet is no item; without any, each line is one.
    """
    for mark in (_NUMBER, _BULLET):
        parts = mark.split(text)
        if len(parts) > 1:
            parts = parts[1:]
            break
    else:
        parts = text.splitlines()
    lines = [" ".join(part.split()).strip(_MARKS).strip() for part in parts]
    return [line for line in lines if line]


def judge_novelty(pool: Pool, candidate: Candidate) -> Candidate:
    """Put a text without a fault into a pool, unless it resembles one that is there."""
    if candidate.fault:
        return candidate
    similarity, nearest = pool.find_nearest(candidate.text)
    if similarity >= pool.bound:
        is_same = words_of(nearest) == words_of(candidate.text)
        fault = DUPLICATE if is_same else SIMILAR
        detail = f"{similarity:.2f} with {nearest!r}"
        return Candidate(candidate.id, candidate.kind, candidate.text, fault, detail)
    pool.add(candidate.text)
    return candidate


def merge(
    candidates: Sequence[Candidate], seeds: Sequence[Prompt], config: Config, step: str
) -> tuple[list[Prompt], list[Dropped]]:
    """Return the texts of all pools that are different from all before them, and the others."""
    pools: dict[str, Pool] = {}
    for shard in list_shards(seeds, config):
        pools.setdefault(shard.kind, Pool(shard.seeds, config.max_similarity))
    rows, dropped = [], []
    for candidate in candidates:
        candidate = judge_novelty(pools[candidate.kind], candidate)
        if candidate.fault:
            detail = " | ".join(part for part in (candidate.text, candidate.detail) if part)
            dropped.append(Dropped(id=candidate.id, reason=candidate.fault, detail=detail))
            continue
        messages = [{"role": "user", "content": candidate.text}]
        location = f"{step}:{candidate.id}"
        row_id = content_id(messages, location)
        rows.append(Prompt(id=row_id, messages=messages, kind=candidate.kind, source=location))
    return rows, dropped


def balance(rows: Sequence[Prompt]) -> tuple[list[Prompt], list[Dropped]]:
    """Return as many rows of each kind as the smallest kind has, the first ones, and the others."""
    least = min(Counter(row.kind for row in rows).values(), default=0)
    taken: Counter[str] = Counter()
    selected, dropped = [], []
    for row in rows:
        taken[row.kind] += 1
        if taken[row.kind] <= least:
            selected.append(row)
        else:
            dropped.append(Dropped(id=row.id, reason=UNBALANCED))
    return selected, dropped


def count_filters(candidates: Sequence[Candidate], dropped: Sequence[Dropped]) -> dict[str, Any]:
    """Return how many texts each filter took away, and what share it let through.

    Filters are in the order in which they look; the share of one is of the texts that reach it.
    """
    by_reason = Counter(row.reason for row in dropped)
    order = [*ENDINGS, *REASONS, DUPLICATE, SIMILAR]
    order += [reason for reason in by_reason if reason not in order]
    remaining = len(candidates)
    filters = {}
    for reason in order:
        if by_reason[reason]:
            after = remaining - by_reason[reason]
            filters[reason] = {
                "dropped": by_reason[reason],
                "survive": after / remaining if remaining else 0.0,
            }
            remaining = after
    return {"written": len(candidates), "accepted": remaining, "filters": filters}


def tabulate(metrics: dict[str, Any], step: str) -> Table:
    """Return the filters as a table."""
    rows = [
        [reason, str(numbers["dropped"]), format_percent(numbers["survive"])]
        for reason, numbers in metrics["filters"].items()
    ]
    title = f"{step}: {metrics['accepted']} of {metrics['written']} texts accepted"
    return Table(title, ["filter", "dropped", "of these survive, %"], rows)
