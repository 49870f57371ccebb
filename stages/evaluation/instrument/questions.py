"""The questions of a judge's examination: which ones, and how each is asked.

In: cases (a request with answers), principles. Out: `Item`s, each one question of one token. A case
has up to 21 of them:

    natural     under a principle and under its opposite: both orders, and Yes or No of both answers
    paraphrase  of the first natural question, both orders, and of the first Yes or No
    repeat      both again, word by word: a server need not answer as before
    planted     against an empty, a shuffled or another request's answer, under a principle of
                helpfulness
    contrary    an announcement of the principle against one of its opposite
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stages.evaluation.instrument.planted import (
    Case,
    Contrast,
    contrary_contrast,
    natural_contrast,
    planted_contrast,
)
from stages.preferences.judging.ask import CHOICES, YES_OR_NO, user_turn
from stages.principles.constitution import Principle
from stages.runtime.rows import Message, request_text

CHOICE_FORM = "choices"
YES_NO_FORM = "yes_no"
PLAIN = "principle"
OPPOSITE = "opposite"
PARAPHRASE = "paraphrase"
REPEAT = "repeat"


@dataclass(frozen=True)
class Templates:
    """The judge's prompts: those of the steps that judge, and paraphrases of them."""

    choices: str
    yes_no: str
    choices_paraphrase: str
    yes_no_paraphrase: str

    def of(self, form: str, wording: str) -> str:
        """Return the template of a question."""
        suffix = "_paraphrase" if wording == PARAPHRASE else ""
        return str(getattr(self, form + suffix))


@dataclass(frozen=True)
class Item:
    """One question."""

    case: Case
    form: str
    contrast: Contrast
    wording: str
    place: str
    principle: Principle
    text: str
    """What the judge reads of the principle."""

    @property
    def id(self) -> str:
        """Of the row."""
        return f"{self.case.id}/{self.form}/{self.contrast.name}/{self.wording}/{self.place}"

    @property
    def options(self) -> tuple[str, ...]:
        """What the judge may answer."""
        return CHOICES if self.form == CHOICE_FORM else YES_OR_NO

    def messages(self, templates: Templates) -> list[Message]:
        """Return the question as the judge reads it."""
        template = templates.of(self.form, self.wording)
        variables = {"request": request_text(self.case.prompt), "principle": self.text}
        first, second = self.contrast.first, self.contrast.second
        if self.form == CHOICE_FORM:
            shown = (first, second) if self.place == "ab" else (second, first)
            return user_turn(template, response_a=shown[0], response_b=shown[1], **variables)
        answer = first if self.place == "a" else second
        return user_turn(template, response=answer, **variables)


def questions_about(
    case: Case,
    place: int,
    principles: Sequence[Principle],
    helpful: Sequence[Principle],
    seed: int,
) -> list[Item]:
    """Return the questions about one case.

    Args:
        place: the case's number; principles and planted differences take turns by it.
        principles: those whose opposites are asked about, if they have any.
        helpful: the principles under which planted answers are worse.
        seed: of the order of shuffled words.
    """
    principle = principles[place % len(principles)]
    natural = natural_contrast(case, place)
    items: list[Item] = []
    if natural.first != natural.second:
        items += _both_forms(case, natural, PLAIN, principle)
        items += _both_forms(case, natural, OPPOSITE, principle)
        items += _again(case, natural, principle)
    planted = planted_contrast(case, place, seed)
    if planted.first != planted.second:
        items += _both_forms(case, planted, PLAIN, helpful[place % len(helpful)])
    contrary = contrary_contrast(principle)
    if contrary:
        items += _both_forms(case, contrary, PLAIN, principle)
    return items


def questions_about_labels(case: Case, contrast: Contrast, principle: Principle) -> list[Item]:
    """Return the questions about two answers of which people preferred the first."""
    return list(_both_forms(case, contrast, PLAIN, principle))


def _both_forms(
    case: Case, contrast: Contrast, wording: str, principle: Principle
) -> Iterator[Item]:
    """Yield a choice in both orders, and Yes or No of both answers; nothing without a wording."""
    text = principle.opposite if wording == OPPOSITE else principle.text
    if not text:
        return
    for form, places in ((CHOICE_FORM, ("ab", "ba")), (YES_NO_FORM, ("a", "b"))):
        for place in places:
            yield Item(case, form, contrast, wording, place, principle, text)


def _again(case: Case, contrast: Contrast, principle: Principle) -> Iterator[Item]:
    """Yield the paraphrases and the repeats."""
    text = principle.text
    for place in ("ab", "ba"):
        yield Item(case, CHOICE_FORM, contrast, PARAPHRASE, place, principle, text)
    yield Item(case, YES_NO_FORM, contrast, PARAPHRASE, "a", principle, text)
    yield Item(case, CHOICE_FORM, contrast, REPEAT, "ab", principle, text)
    yield Item(case, YES_NO_FORM, contrast, REPEAT, "a", principle, text)
