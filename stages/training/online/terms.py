"""What a term of a reward is, and the terms that need no model.

To add a kind of term, write one class: its fields are its options, `score_function` makes it work.
Then name it in `TERMS` (`rewards.py`).
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from stages.guards.errors import UserError
from stages.pretrained.provenance import module_identity
from stages.runtime.artifacts import Artifact
from stages.runtime.context import Context
from stages.runtime.rows import Message
from stages.runtime.stage import Expected
from stages.runtime.typed_config import Amount, NotNegative, machine
from stages.training.online.hacking.hiding import hide
from stages.training.online.hacking.mixing import OnlyIf, Way, combine


@dataclass(frozen=True)
class Completion:
    """One sampled answer, as a term scores it."""

    prompt: list[Message]
    text: str
    tokens: list[int]
    prompt_id: str
    kind: str
    """The prompt's kind."""
    step: int
    """The training step it was sampled in, which numbers the draws of principles."""


Factor = Annotated[float, Field(ge=-1e6, le=1e6)]
ScoreFunction = Callable[[list[Completion]], list[Any]]
"""Gives one number for each completion, or None where it cannot score it."""


@dataclass(frozen=True)
class TermUse:
    """Where a term is used: in a step, as a reward or a cost."""

    inputs: Mapping[str, Artifact]
    """The step's, by name."""
    context: Context
    end_tokens: set[int]
    """Ids of the tokens that end a turn."""
    is_cost: bool
    where: str
    """For messages: the step and the term."""
    signs: dict[str, float] = field(default_factory=dict)
    """What the term adds to what is logged of a batch, by the name of its curve."""
    score_other: Callable[[str, list[Completion]], list[Any]] | None = None
    """Scores by another term of the step, given its name."""


ExpectedInputs = Mapping[str, Expected]
"""What a plan knows of the step's inputs, by name."""
ADDED_LATER = ("only_if", "dropout", "free")
"""Options that identify a term where they are set, and else leave its identity as it was before
there were such options."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """The base of all kinds of terms."""

    weight: Annotated[float, Field(ge=-1e6, le=1e6)] = 1.0
    """The score is multiplied by it before the terms are added up."""
    only_if: OnlyIf | None = machine(None)  # as ADDED_LATER says
    """Where the term counts; None: everywhere."""

    def others(self) -> list[str]:
        """Return the names of the other terms whose scores it reads."""
        return [self.only_if.term] if self.only_if else []

    def members(self) -> list[str]:
        """Return the terms that are added to the reward through it."""
        return []

    def check(
        self,
        where: str,
    ) -> None:
        """Refuse options that cannot work, before anything runs."""

    def identity(self) -> dict[str, Any]:
        """Return what identifies the term beside its options."""
        return {}

    def data_inputs(self) -> list[str]:
        """Return the step's inputs that it reads rows of.

        They hold no prompts for the policy, as other inputs that are no models do: the step
        answers the rows of all inputs but these and its models.
        """
        return []

    def choices(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return (input, options) of a model that is to choose among options; see `Stage`."""
        return []

    def foresee(
        self,
        inputs: ExpectedInputs,
    ) -> list[str]:
        """Return warnings for a plan.

        Raises:
            UserError: the inputs cannot be scored with.
        """
        return []

    def score_function(
        self,
        use: TermUse,
    ) -> ScoreFunction:
        """Return the function that scores completions.

        Raises:
            UserError: the step's inputs cannot be scored with.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class LengthTerm(Term):
    """`min(factor * (tokens - free) / per, cap)`, and 0 up to `free` tokens."""

    per: Annotated[int, Field(gt=0)] = 1024
    """Tokens that are worth 1."""
    cap: float = 1.0
    """The largest score."""
    factor: dict[str, float] = field(default_factory=dict)
    """By kind of prompt; 1 for a kind that is not named."""
    free: Amount = machine(0)  # as ADDED_LATER says
    """Tokens that count nothing: with a weight below 0, a budget of length."""

    def score_function(
        self,
        use: TermUse,
    ) -> ScoreFunction:
        def score(completion: Completion) -> float:
            factor = self.factor.get(completion.kind, 1.0)
            counted = max(0, len(completion.tokens) - self.free)
            return min(factor * counted / self.per, self.cap)

        return lambda completions: [score(completion) for completion in completions]


@dataclass(frozen=True, kw_only=True)
class UnfinishedTerm(Term):
    """-1 for a completion that was cut off before it ended its turn, else 0."""

    def score_function(
        self,
        use: TermUse,
    ) -> ScoreFunction:
        def score(completion: Completion) -> float:
            finished = completion.tokens and completion.tokens[-1] in use.end_tokens
            return 0.0 if finished else -1.0

        return lambda completions: [score(completion) for completion in completions]


@dataclass(frozen=True, kw_only=True)
class PythonTerm(Term):
    """A function of yours, called with (prompt messages, completion, row) for each completion.

    `row` is a dict with the prompt's `id` and `kind`. The function returns a number, or None where
    it cannot score the completion.
    """

    function: str
    """`module:function`."""

    def check(
        self,
        where: str,
    ) -> None:
        load_function(self.function, where)

    def identity(self) -> dict[str, Any]:
        module = importlib.import_module(self.function.partition(":")[0])
        return {"source": module_identity(module)}

    def score_function(
        self,
        use: TermUse,
    ) -> ScoreFunction:
        function = load_function(self.function, use.where)

        def score(completion: Completion) -> Any:
            row = {"id": completion.prompt_id, "kind": completion.kind}
            return function(completion.prompt, completion.text, row)

        return lambda completions: [score(completion) for completion in completions]


@dataclass(frozen=True, kw_only=True)
class EnsembleTerm(Term):
    """One score of several terms, which are added to the reward through it alone."""

    of: Annotated[dict[str, Factor], Field(min_length=1)]
    """The terms by name, each with a factor of its score; their own weights are 0."""
    combine: Way = "mean"
    """`min`: the reward is what the least content one says. `mean_less_spread`: less where they
    disagree.
    """
    spread: NotNegative = 1.0
    """Standard deviations that `mean_less_spread` takes off."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = machine(0.0)  # as ADDED_LATER says
    """The chance of each of the terms to be left out in a step; at least one stays."""

    def others(self) -> list[str]:
        return [*super().others(), *self.of]

    def members(self) -> list[str]:
        return list(self.of)

    def score_function(
        self,
        use: TermUse,
    ) -> ScoreFunction:
        """Return the function; None for a completion that one of the terms cannot score."""

        def score(completions: list[Completion]) -> list[float | None]:
            assert use.score_other is not None
            table = []
            for name in self._heard(use, completions):
                scores = use.score_other(name, completions)
                factor = self.of[name]
                table.append([None if value is None else factor * value for value in scores])
            rows = zip(*table, strict=True)
            return [combine(values, self.combine, self.spread) for values in rows]

        return score

    def _heard(self, use: TermUse, completions: Sequence[Completion]) -> list[str]:
        """The terms that count in the step of the completions."""
        if not self.dropout or not completions:
            return list(self.of)
        return hide(list(self.of), self.dropout, use.context.seed, completions[0].step, str)


def load_function(path: str, where: str) -> Any:
    """Return the function that `module:function` names.

    Raises:
        UserError: there is no such module or function.
    """
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path!r} names no function: {error}", where=where, fix="write module:function"
        ) from None
    if not callable(function):
        raise UserError(f"{path!r} is not a function", where=where, fix="write module:function")
    return function
