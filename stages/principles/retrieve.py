"""Choose the principles that apply to a prompt, out of a set too large to read.

Comes in: principles, conversations, and a sentence encoder or none. Goes out: for each conversation
the principles nearest to what the user wrote in it, the nearest first. A principle is as near as
its text or one of its `situations`, whichever is nearest: by the cosine of their vectors with an
encoder, else by BM25 (Robertson and Zaragoza 2009, in the form of Lucene). No principle that shares
no word with the prompt applies by BM25. Nothing is trained, so that a new rule is read at once.

Retrieval of rules is On-the-fly Preference Optimization's (OPO, Xu et al. 2023, arXiv 2312.15907,
section 3). Left out: an approximate index, since thousands of rules are compared in milliseconds;
jurisdictions that the prompt names: select rules by `tags` of the constitution.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from stages.guards.errors import UserError
from stages.principles.constitution import Principle
from stages.principles.encoder import encode
from stages.runtime.artifacts import Artifact
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.runtime.store import CallStore
from stages.runtime.typed_config import Count, NotNegative

ENCODER = "encoder"
"""The input of a stage that retrieves by a sentence encoder."""
NONE_APPLIES = "no principle applies"
"""Why a row is dropped that needs one."""
FIELDS = ("text", "situations")
"""Of a principle: what it is retrieved by."""


@dataclass(frozen=True)
class Retrieval:
    """How many principles a prompt gets."""

    top: Count = 5
    """The most principles."""
    budget: Count | None = 4000
    """The most characters of their texts together, about 1,000 tokens; null: no limit. The first
    one that does not fit is left out, and all behind it.
    """
    least: NotNegative = 0.0
    """A principle applies if its score is above this. Cosines of sentences about the same lie above
    0.3 or so; scores of BM25 have no fixed scale.
    """


@dataclass(frozen=True)
class Applicable:
    """The principles that apply to each prompt, by its id."""

    by_prompt: Mapping[str, Sequence[Principle]]
    cut: int = 0
    """Prompts of which the budget left some out."""
    retrieved: bool = True
    """False: all principles, for every prompt."""

    def __getitem__(self, prompt_id: str) -> Sequence[Principle]:
        return self.by_prompt[prompt_id]

    def metrics(self) -> dict[str, Any]:
        """How many principles the prompts got; nothing where all got all."""
        if not self.retrieved or not self.by_prompt:
            return {}
        counts = [len(principles) for principles in self.by_prompt.values()]
        return {"retrieved": {"mean": fmean(counts), "none": counts.count(0), "cut": self.cut}}

    def warnings(self) -> list[str]:
        """Say so where retrieval has no effect."""
        if not self.retrieved or not self.by_prompt or any(self.by_prompt.values()):
            return []
        return [
            "no principle applies to any prompt: give principles `situations` in the words of the "
            "prompts, an input `encoder`, or a lower `retrieve.least`"
        ]


def check_encoder(retrieval: Retrieval | None, inputs: Mapping[str, Any]) -> None:
    """Refuse an encoder that nothing would read.

    Raises:
        UserError: there is one.
    """
    if ENCODER in inputs and retrieval is None:
        raise UserError(
            "it has an input `encoder`, and retrieves no principles",
            where="",
            fix="add `retrieve: {top: 5}`, or leave the input out",
        )


def retrieval_identity(retrieval: Retrieval | None) -> dict[str, Any]:
    """What a step adds to its identity; nothing where it retrieves nothing."""
    return {"retrieve": asdict(retrieval)} if retrieval else {}


def find_applicable(
    retrieval: Retrieval | None,
    principles: Sequence[Principle],
    prompts: Mapping[str, Sequence[Message]],
    inputs: Mapping[str, Artifact],
    context: Context,
) -> Applicable:
    """The principles for each prompt: all of them without a `retrieval`.

    Args:
        prompts: conversations by id.
        inputs: the step's, of which `encoder` is read.
    """
    if retrieval is None:
        return Applicable(dict.fromkeys(prompts, principles), retrieved=False)
    encoder = inputs[ENCODER].model() if ENCODER in inputs else None
    texts = [_wish(messages) for messages in prompts.values()]
    chosen = {}
    cut = 0
    ranked = rank(principles, texts, encoder, context.store, retrieval.least)
    for prompt_id, nearest in zip(prompts, ranked, strict=True):
        nearest = nearest[: retrieval.top]
        chosen[prompt_id] = _within(nearest, retrieval.budget)
        cut += len(chosen[prompt_id]) < len(nearest)
    return Applicable(chosen, cut)


def rank(
    principles: Sequence[Principle],
    texts: Sequence[str],
    encoder: Model | None,
    store: CallStore,
    least: float = 0.0,
) -> Iterator[list[Principle]]:
    """For each text the principles whose score is above `least`, the nearest first."""
    import numpy as np

    passages = [[principle.text, *principle.situations] for principle in principles]
    flat = [passage for group in passages for passage in group]
    if not flat or not texts:
        yield from ([] for _ in texts)
        return
    starts = np.cumsum([0, *map(len, passages)])[:-1]
    scored = _cosines(texts, flat, encoder, store) if encoder else _bm25(texts, flat)
    for scores in scored:
        best = np.maximum.reduceat(scores, starts)
        order = np.argsort(-best, kind="stable")
        yield [principles[place] for place in order if best[place] > least]


def _wish(messages: Sequence[Message]) -> str:
    """What the user wrote."""
    return "\n".join(turn["content"] for turn in messages if turn["role"] == "user")


def _within(principles: Sequence[Principle], budget: int | None) -> list[Principle]:
    """The first principles whose texts fit the budget together."""
    fitting = []
    length = 0
    for principle in principles:
        length += len(principle.text)
        if budget is not None and length > budget:
            break
        fitting.append(principle)
    return fitting


def _cosines(
    texts: Sequence[str], passages: Sequence[str], encoder: Model, store: CallStore
) -> Iterator[Any]:
    """The cosine of each text with every passage."""
    vectors = encode([*passages, *texts], encoder, store)
    memory, queries = vectors[: len(passages)], vectors[len(passages) :]
    for query in queries:
        yield memory @ query


def _bm25(texts: Sequence[str], passages: Sequence[str]) -> Iterator[Any]:
    """The BM25 score of every passage for each text; common words do not count."""
    import logging

    import bm25s
    import numpy as np

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets DEBUG itself

    def words(some: Sequence[str]) -> list[list[str]]:
        tokens: list[list[str]] = bm25s.tokenize(
            list(some), stopwords="en_plus", return_ids=False, show_progress=False
        )
        return tokens

    memory = words(passages)
    known = {word for passage in memory for word in passage}
    index = bm25s.BM25()
    if known:
        index.index(memory, show_progress=False)
    for query in words(texts):
        shared = [word for word in query if word in known]
        yield index.get_scores(shared) if shared else np.zeros(len(passages))
