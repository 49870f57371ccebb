"""Values of answers as a model reads them: by a value evaluator, or by one that reads a profile.

In: a model, an `Aim`, and answers (prompt messages, text, kind of request). Out: a profile for each
answer, or a score; None where the model cannot read it.

A value evaluator (`rule_model` with `objective: value`) is asked about each value, and the answer's
profile is compared with its target. A profile reader (`reward_model` on `profile_pairs`) is shown
the target as text, and its score says how near the answer is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from stages.guards.errors import UserError
from stages.guards.files import exists
from stages.principles.constitution import Principle
from stages.principles.select import select
from stages.runtime.manifest import DamagedArtifact, read_manifest
from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.training.reward_models.format import FILE, VALUES, read_format
from stages.training.reward_models.scorer import Item, Scorer
from stages.values.aim import Aim, profile_text


class Answer(NamedTuple):
    """An answer to a request."""

    prompt: list[Message]
    text: str
    kind: str
    """Of the request."""


def refuse_no_values(model: Model, where: str, may_read_profiles: bool = True) -> bool:
    """Return whether a model is shown a target, and gives a score in place of a profile.

    Raises:
        UserError: it reads neither values nor (if it may) profiles.
    """
    layout = read_format(model)
    reads_profiles = layout.objective == "preference" and layout.principles
    if layout.objective in VALUES or (reads_profiles and may_read_profiles):
        return reads_profiles
    has_format = exists(Path(model.path) / FILE)
    kind = f"its {FILE} says {layout.objective}" if has_format else f"it has no {FILE}"
    raise UserError(
        f"this model does not say from -1 to 1 how much an answer is for a value: {kind}",
        where=f"{where}, {model.path}",
        fix="give the folder of an evaluator, such as runs/artifacts/evaluator-.../model, or wire "
        "the input to a `rule_model` step with `objective: value`",
    )


def doubt_learnt(model: Model, principles: Sequence[Principle]) -> list[str]:
    """Return a warning where a value model learnt other principles than it is to read.

    The manifest beside its folder says what it learnt; a model that was copied elsewhere has none.
    """
    try:
        learnt = read_manifest(Path(model.path).parent).payload.options.get("constitution")
    except DamagedArtifact:
        return []
    if not isinstance(learnt, Mapping) or read_format(model).objective not in VALUES:
        return []
    texts = {name: facts.get("text") for name, facts in learnt.items()}
    other = [each.id for each in principles if texts.get(each.id) != each.text]
    if not other:
        return []
    return [
        f"the evaluator learnt {len(texts)} principles ({', '.join(texts)}), and not these texts: "
        f"{', '.join(other)}. Nothing is known of how well it reads them: train one with them"
    ]


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
        self.reads_profiles = refuse_no_values(model, where)
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
