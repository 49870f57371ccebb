"""Stage `keyword_ratings`: answers rated by the words that they hold. No model and no calls.

In: any inputs of Response, Revision or Rating rows. Out: one Rating for each row, with a score for
each principle of a word list: 1 where the answer holds more words that speak for it than words that
speak against it, -1 where it holds fewer, else 0. A word counts wherever a word of the answer
begins with it, so `protect` also counts `protection`.

It is what a classifier or a judge must beat (`label_accuracy`). Where nobody wrote a list for a set
of principles there are no ratings, and the plan says so. Left out: negation, the request.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from stages.guards.errors import UserError
from stages.guards.files import as_path
from stages.preferences.judging.rating import answers_to_rate, rating_of
from stages.principles.document import read_yaml
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.rows import Rating, Response, Revision
from stages.runtime.stage import Expected, Stage
from stages.runtime.typed_config import Names, Text, machine

SEEDS = Path("seeds")
"""Where the word lists of shipped sets are."""


@dataclass(frozen=True)
class Config:
    constitution: Selection
    """The principles to rate under; each must be in the file."""
    words: Text | None = machine(None)  # `identity` adds what it holds
    """A YAML file: for each principle's id, lists of words `favourable` and `opposed`. Null: the
    file of the set's name, `seeds/NAME_words.yaml`, or beside a set of your own; without one
    nothing is rated.
    """


@dataclass(frozen=True)
class Words:
    """The words of one principle."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    favourable: Names
    opposed: Names = ()

    def score(self, text: str) -> float:
        """Whether a text holds more words for the principle (1) or against it (-1), or neither."""
        balance = _count(text, self.favourable) - _count(text, self.opposed)
        return float((balance > 0) - (balance < 0))


def identity(config: Config) -> dict[str, Any]:
    lists = read_words(config)
    return {"words": {name: [each.favourable, each.opposed] for name, each in lists.items()}}


def foresee(config: Config, inputs: Mapping[str, Expected]) -> list[str]:
    """Say that there is no list, as `run` will."""
    return [] if read_words(config) else [_no_list(config)]


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Rate every row; none where there is no word list.

    Raises:
        UserError: the file cannot be read, or lacks a principle.
    """
    lists = read_words(config)
    if not lists:
        return Result(rows=[], row_type=Rating, warnings=[_no_list(config)])
    ratings = []
    for row in answers_to_rate(inputs):
        scores = [words.score(row.response) for words in lists.values()]
        ratings.append(rating_of(row, fmean(scores), list(lists), scores=scores, model="words"))
    return Result(rows=ratings, row_type=Rating)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional={"*": Response | Revision | Rating},
    least=1,
    gives=Rating,
    foresee=foresee,
    identity=identity,
)


def read_words(config: Config) -> dict[str, Words]:
    """Return the words of each selected principle; none where the set has no list.

    Raises:
        UserError: the file cannot be read, is of another form, or lacks a principle.
    """
    file = Path(config.words) if config.words else _file_of(config)
    if config.words is None and not file.is_file():
        return {}
    document = read_yaml(as_path(file, "words"))
    document.refuse_faults()
    try:
        lists = TypeAdapter(dict[str, Words]).validate_python(document.data)
    except ValidationError as error:
        place = error.errors()[0]["loc"]
        keys = [str(key) for key in place]
        raise UserError(
            f"{'.'.join(keys) or 'the file'}: {error.errors()[0]['msg']}",
            where=document.where(*keys),
            fix="write for each principle `favourable: [words]`, and `opposed: [words]` if any",
        ) from None
    names = [principle.id for principle in select(config.constitution).principles]
    missing = [name for name in names if name not in lists]
    if missing:
        raise UserError(
            f"there are no words for the principle {missing[0]!r}",
            where=document.where(),
            fix="add them, or leave the principle out with constitution.drop",
        )
    return {name: lists[name] for name in names}


def _file_of(config: Config) -> Path:
    """Return where the list of a set lies, if there is one: of a file, beside it."""
    name = Path(config.constitution.name)
    folder = name.parent if name.suffix else SEEDS
    return folder / f"{name.stem}_words.yaml"


def _no_list(config: Config) -> str:
    return (
        f"there is no word list for the set {config.constitution.name!r}, so answers are not rated "
        f"by words: write {_file_of(config)}, or give the option `words` a file"
    )


def _count(text: str, words: Names) -> int:
    if not words:
        return 0
    return len(re.findall(rf"\b(?:{'|'.join(map(re.escape, words))})", text, re.IGNORECASE))
