"""Typed rows: what flows between stages, and how it lies on disk.

Every row names the prompt that it belongs to, and the rows that it was made from, so that a pair
can be traced back to its request:

    Prompt      id: the content id of its messages
    Response    prompt_id
    Revision    prompt_id, response_id
    Judgement   prompt_id, pair_id: "<response a>|<response b>", response_a_id, response_b_id
    Pair        prompt_id, chosen_id, rejected_id
    Rating      prompt_id, response_id
    Verdict     prompt_id, response_id
    Answer      prompt_id: the content id of the question
    Tested      prompt_id

`prompt_id` is the unit of every statistic: rows with the same one are not independent. It is the id
that stage `prompts` gives the request, also where the rows come from elsewhere (`human_pairs`).
`model` is a content id (16 hex digits), `template` the hash of the prompt template, `seed` the
request's seed.
"""

import types
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from stages.runtime.errors import UserError

Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": text}


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A conversation that ends with the user's turn. `kind` says what it is for: red_team, helpful,
    ...
    """

    id: str
    messages: list[Message]
    kind: str
    source: str = ""  # file:line, dataset row, or the function that made it

    @property
    def prompt_id(self) -> str:
        """Its own id, under the name that all other rows use."""
        return self.id


@dataclass(frozen=True, kw_only=True)
class Response:
    """One sampled answer. `context` lists the principles the generator saw; the trained prompt
    never holds them.
    """

    id: str
    prompt_id: str
    kind: str
    prompt: list[Message]
    response: str
    sample: int = 0
    context: list[str]
    model: str
    seed: int
    template: str = ""
    finish_reason: str = "stop"


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One round of critique and revision. `response` is the text after this round, `previous` the
    one before it.
    """

    id: str
    response_id: str  # the Response that was revised
    prompt_id: str
    kind: str
    prompt: list[Message]
    response: str
    original: str
    previous: str
    round: int  # 1..K
    principle: str
    critique_request: str
    critique: str
    revision_request: str
    faulty: bool  # False: the critique found nothing, and the text was kept
    model: str
    seed: int
    template: str = ""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A cell of the judge matrix: one pair under one principle, in both orders.

    Margins are logit differences, log P(a) - log P(b): positive means that `response_a` is
    preferred, whichever place it was shown in. `margin_ab` was read with response_a shown first,
    `margin_ba` with response_b first.
    """

    id: str
    pair_id: str  # "<response a>|<response b>"; in `judge_quality` the id of the Pair
    response_a_id: str  # "" where the text is not a row of ours
    response_b_id: str
    prompt_id: str
    kind: str
    prompt: list[Message]
    response_a: str
    response_b: str
    principle: str
    margin_ab: float
    margin_ba: float
    model: str
    template: str = ""
    rationale_ab: str = ""  # what the judge thought aloud before it chose, if it was asked to
    rationale_ba: str = ""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A preference. `label` is P(chosen is better): 1.0 for a hard label, in [0.5, 1] for a soft
    one.
    """

    id: str
    prompt_id: str
    chosen_id: str  # the Response or Revision with this text; "" where it is not a row of ours
    rejected_id: str
    kind: str
    prompt: list[Message]
    chosen: str
    rejected: str
    label: float
    margin: float  # logit difference behind the label, >= 0; 0 where no judge was asked
    principles: list[
        str
    ]  # those it was labelled under, in the order in which a reward model reads them
    margins_ab: list[float]  # one per principle as the judge gave it, from the chosen side's view
    margins_ba: list[float]
    negated: list[bool] = field(
        default_factory=list
    )  # parallel to `principles`: labelled under its opposite; []: none
    deciding: str = ""  # the principle whose verdict is the label, where one alone decided
    override: str = ""  # the rule that decided in place of the principles
    noise: bool = False  # the label was flipped on purpose
    chosen_safe: bool | None = None  # None where it was not measured
    rejected_safe: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Rating:
    """What one response is worth by itself: a reward model's score, or a judge's expected rating."""

    id: str
    response_id: str  # the Response or Revision that was rated
    prompt_id: str  # ratings with the same one are compared with each other
    kind: str
    prompt: list[Message]
    response: str
    score: float  # what ranks it among the answers to the same prompt
    principles: list[str]  # under which it was rated
    negated: list[bool]  # parallel to `principles`
    scores: list[float]  # one per principle, where each was asked about by itself; else empty
    model: str
    template: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found in one response of one policy: by the ground truth where there is one, by the
    judge otherwise.

    The lists run parallel to `principles`. A value is None where it was not measured.
    """

    id: str
    response_id: str
    prompt_id: str
    policy: str  # the step whose responses these are
    kind: str
    prompt: list[Message]
    response: str
    principles: list[str]
    violated: list[bool]  # ground truth; empty without one
    judged: list[float]  # the judge's P(violated); empty without a judge
    any_violation: (
        bool | None
    )  # ground truth, over the principles tagged as safety (all but `helpful`)
    well_formed: bool | None
    on_topic: bool | None
    evasive: bool | None
    helpful: bool | None
    rivals: list[str] = field(
        default_factory=list
    )  # policies with which the judge compared this one on this prompt
    margins_first: list[float] = field(
        default_factory=list
    )  # logits for this one when shown first, a rival each
    margins_second: list[float] = field(default_factory=list)  # and when shown second


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One model's answer to one multiple-choice question. Lists of options run in the file's order."""

    id: str
    prompt_id: str  # the content id of the question and its options
    policy: str  # the input whose model answered
    kind: str  # the question's group
    question: str
    options: list[str]
    gold: list[int]  # the right options; empty: no gold label
    logprobs: list[float]  # of each option, averaged over the orders in which it was asked
    order: list[
        int
    ]  # the option in each place when it was asked first; further orders are its rotations
    taken: list[int]  # the option taken, an order each
    right: float | None  # None without a gold label; a part where options tie
    model: str
    template: str = ""


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What one test of a reward model found on one request: the share of right answers, in [0, 1]."""

    id: str  # "<model>/<test>/<number of the request>"
    prompt_id: str
    model: str  # the input's name
    test: str
    value: float
    kind: str = ""  # of the pairs, where a section counts a request once for each kind; else ""


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A row that did not make it, and why."""

    id: str
    reason: str


ROW_TYPES = {
    cls.__name__: cls
    for cls in (
        Prompt,
        Response,
        Revision,
        Judgement,
        Pair,
        Rating,
        Verdict,
        Answer,
        Tested,
        Dropped,
    )
}
R = TypeVar("R")

_PLAIN = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])


def _arrow_type(annotation: Any) -> pa.DataType:
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if annotation == Message:
        return _MESSAGE
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is list:
        return pa.list_(_arrow_type(arguments[0]))
    if origin in (
        typing.Union,
        types.UnionType,
    ):  # `float | None`: parquet columns can always be null
        return _arrow_type(next(a for a in arguments if a is not type(None)))
    raise TypeError(f"rows cannot hold {annotation!r}")


def schema_of(row_type: type) -> pa.Schema:
    """Arrow schema of a row dataclass; its name travels in the file's metadata."""
    hints = typing.get_type_hints(row_type)
    columns = [(column.name, _arrow_type(hints[column.name])) for column in fields(row_type)]
    return pa.schema(columns, metadata={"row_type": row_type.__name__})


def write_rows(path: Path, rows: Sequence[Any], row_type: type) -> None:
    """Write `rows` as parquet. Equal rows give equal bytes."""
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema_of(row_type))
    pq.write_table(table, path, compression="zstd")


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise UserError(
            f"{path.name} is damaged: {str(error).partition(chr(10))[0]}",
            where=str(path.parent),
            fix=f"delete {path.parent} and run again; calls answered before are kept",
        ) from error


def row_type_of(path: Path) -> type:
    """The row type a file was written with.

    Raises:
        UserError: the file is damaged, or holds rows of a type that is not known.
    """
    with _damage_told(path):
        name = (pq.read_schema(path).metadata or {}).get(b"row_type", b"").decode()
    if name not in ROW_TYPES:
        raise UserError(
            f"rows of an unknown type {name!r}",
            where=str(path),
            fix="delete the artifact's folder and run again",
        )
    return ROW_TYPES[name]


def read_rows(path: Path, *wanted: type[R]) -> list[R]:
    """Read rows of one of the `wanted` types.

    Raises:
        UserError: the file is damaged, or holds another type of row.
    """
    found = row_type_of(path)
    if wanted and found not in wanted:
        raise UserError(
            f"holds {found.__name__} rows where {' or '.join(t.__name__ for t in wanted)} rows are needed",
            where=str(path.parent.name),
            fix="wire the step's `inputs` to a step that makes them",
        )
    with _damage_told(path):
        return [found(**row) for row in pq.read_table(path).to_pylist()]


def request_text(messages: Sequence[Message]) -> str:
    """A conversation as one text for a judge: the bare request if there is one turn, else a
    transcript.
    """
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n".join(
        f"{message['role'].capitalize()}: {message['content']}" for message in messages
    )
