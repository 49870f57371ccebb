"""Values of answers as a model reads them: by a value evaluator, or by one that reads a profile.

In: a model, an `Aim`, and answers (prompt messages, text, kind of request). Out: a profile for each
answer, or a score; None where the model cannot read it.

A value evaluator (`rule_model` with `objective: value`) is asked about each value, and the answer's
profile is compared with its target. A profile reader (`reward_model` on `profile_pairs`) is shown
the target as text, and its score says how near the answer is.
"""

from collections.abc import Sequence
from typing import NamedTuple

from stages.guards.errors import UserError
from stages.principles.select import select
from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.training.reward_models.format import VALUES, read_format
from stages.training.reward_models.scorer import Item, Scorer
from stages.values.aim import Aim, profile_text


class Answer(NamedTuple):
    """An answer to a request."""

    prompt: list[Message]
    text: str
    kind: str
    """Of the request."""


class ValueReader:
    """A model that reads values.

    Attributes:
        reads_profiles: whether it is shown the target, and gives a score in place of a profile.
        faults: of the last answers, the reason and the detail of each that could not be read.
    """

    def __init__(self, aim: Aim, model: Model, scorer: Scorer, where: str):
        """Look at what the model reads.

        Raises:
            UserError: neither values nor profiles.
        """
        layout = read_format(model)
        self.reads_profiles = layout.objective == "preference" and layout.principles
        if not self.reads_profiles and layout.objective not in VALUES:
            raise UserError(
                "this model does not say from -1 to 1 how much an answer is for a value",
                where=where,
                fix="wire the input to a `rule_model` step with `objective: value`",
            )
        self.aim = aim
        self.scorer = scorer
        self.faults: list[tuple[str, str]] = []
        dimension_of = aim.dimension_of
        principles = select(aim.constitution).principles
        self.principles = [each for each in principles if each.id in dimension_of]

    def profiles(self, answers: Sequence[Answer]) -> list[list[float] | None]:
        """Return the profile of each answer, by a value evaluator."""
        names = [principle.id for principle in self.principles]
        texts = [self.scorer.format.wording(principle) for principle in self.principles]
        items: list[Item] = []
        for answer in answers:
            items += [(answer.prompt, answer.text, (text,)) for text in texts]
        remaining = iter(self._score(items))
        profiles: list[list[float] | None] = []
        for _ in answers:
            scores = [next(remaining) for _ in names]
            read = [score for score in scores if score is not None]
            is_whole = len(read) == len(names)
            profiles.append(self.aim.profile(names, read) if is_whole else None)
        return profiles

    def scores(self, answers: Sequence[Answer]) -> list[float | None]:
        """Return the score of each answer under its target, by a profile reader."""
        items: list[Item] = []
        for answer in answers:
            target = self.aim.target_of(answer.kind)
            text = profile_text(self.aim.theory.dimensions, target)
            items.append((answer.prompt, answer.text, (text,)))
        return self._score(items)

    def _score(self, items: Sequence[Item]) -> list[float | None]:
        scores = self.scorer.score(items)
        missing = [item for item, score in zip(items, scores, strict=True) if score is None]
        self.faults = [self.scorer.fault(item) for item in missing]
        return scores
