"""The options of a file of human preferences: which columns hold what.

In: what a user writes. Out: `PairSource`, which `human_pairs` extends.
"""

from dataclasses import dataclass
from typing import Literal

from stages.runtime.typed_config import Names, SomeNames, Text
from stages.sources.sides import Sides
from stages.sources.source import PartialSource


@dataclass(frozen=True, kw_only=True)
class PairSource(PartialSource):
    """A source of pairs, and the columns that hold them.

    A file without the columns `chosen` and `rejected` is recognised by its columns, if it has one
    of the forms in docs/data.md.
    """

    kind: Text = "helpful"
    """A word for what the pairs are about: `helpful`, `red_team` or any other."""
    kind_column: Text | None = None
    """The column with each pair's own kind, such as RewardBench's `subset`; null: all are of one
    kind.
    """
    principles: Names | dict[Text, SomeNames] = ()
    """Under what people judged: principles, by their ids in a constitution or as whole texts, which
    a reward model with a constitution then reads. Of a file where several things were judged,
    {column: principles}: each column of scores or preferences makes pairs of its own. With
    `principles_column`, {value: principles}.
    """
    principles_column: Text | None = None
    """A column with what each record was judged under: a value that `principles` names or, without
    it, a principle or a list of them.
    """
    chosen: Text = "chosen"
    """The column with one side, the preferred one unless `better` is given."""
    rejected: Text = "rejected"
    """The column with the other side."""
    prompt: SomeNames | None = None
    """The column with the request, or several, joined by a blank line; null: the sides are whole
    conversations, or, where they are not, a column called prompt, question or instruction.
    """
    system: Text | None = None
    """A column with a system turn to put before the request."""
    better: Text | None = None
    """A column that states which side is preferred, 0 for `chosen` and 1 for `rejected`, or by
    name (A, B, tie), or by sign; null: `chosen` is.
    """
    chosen_safe: Text | None = None
    """A column that states whether the side in `chosen` is safe, for cost models; null: not
    measured.
    """
    rejected_safe: Text | None = None
    """The same for the side in `rejected`."""
    sides: Sides = "auto"
    """Whether texts beside a `prompt` are bare `answers` or hold the `whole` conversation; auto
    looks whether all of them begin with their prompt.
    """
    answers: Text | None = None
    """A column that lists the answers to the request, in place of `chosen` and `rejected`."""
    answer: Text | None = None
    """With `answers`, the key of an answer's text in the list; without, the column of an answer,
    where every record holds one answer.
    """
    score: SomeNames | None = None
    """The key, or the column, of an answer's score; the first that is there counts."""
    rank: bool = False
    """In `score` the lowest is the best."""
    pairing: Literal["extremes", "all"] = "extremes"
    """Of several answers to a request: the best with the worst, or every two of different score."""
