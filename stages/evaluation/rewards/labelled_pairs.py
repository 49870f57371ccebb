"""Held-out pairs whose own labels are tests of reward models.

In: inputs of Pair rows. Out: each pair as a question, with the tests that it is part of: all pairs
together; each input, if there are several; and if there are sections, each section and each kind
of pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.evaluation.rewards.cells import Answer, Question, is_right
from stages.evaluation.rewards.reward_tests import Counts
from stages.guards.errors import UserError
from stages.principles.constitution import Principle, is_text, referred_wording
from stages.runtime.rows import Pair

PAIRS = "the pairs' labels"
SECTION = "section: "
Sections = Mapping[str, Sequence[str]]
"""{section: kinds of pairs}"""


@dataclass(frozen=True)
class LabelledPair:
    """A pair as a question."""

    row: Pair
    question: Question
    tests: list[str]
    """The tests that it is part of."""

    @property
    def unit_of_section(self) -> str:
        """The unit that a section counts once: a request within a kind of pairs."""
        return f"{self.row.kind}: {self.row.prompt_id}"


def read_labelled_pairs(
    inputs: Mapping[str, Sequence[Pair]],
    principles: Mapping[str, Principle],
    sections: Sections,
    general: str,
    where: str,
) -> list[LabelledPair]:
    """The pairs that prefer one response, under principles of the constitution.

    Args:
        inputs: rows by the input's name.
        general: the text under which pairs without principles are shown.

    Raises:
        UserError: a section holds none of the pairs' kinds.
    """
    kinds = {row.kind for rows in inputs.values() for row in rows}
    _check_sections(sections, kinds, where)
    pairs = []
    for source, rows in inputs.items():
        for row in rows:
            ids = {name for name in row.principles if not is_text(name)}
            if row.label == 0.5 or not ids <= principles.keys():
                continue
            tests = [PAIRS]
            if len(inputs) > 1:
                tests.append(f"{PAIRS}: {source}")
            tests += _section_tests(row, sections)
            pairs.append(LabelledPair(row, _question(row, principles, general), tests))
    return pairs


def _check_sections(sections: Sections, kinds: set[str], where: str) -> None:
    for name, section_kinds in sections.items():
        if kinds.isdisjoint(section_kinds):
            raise UserError(
                f"the section {name!r} holds none of the pairs' kinds",
                where=where,
                fix=f"name some of {', '.join(sorted(kinds)) or 'no kinds'}; see `kind_column`",
            )


def _section_tests(row: Pair, sections: Sections) -> list[str]:
    if not sections:
        return []
    tests = [f"{SECTION}{name}" for name, kinds in sections.items() if row.kind in kinds]
    return [*tests, f"{PAIRS}: {row.kind}"]


def _question(row: Pair, principles: Mapping[str, Principle], general: str) -> Question:
    negated = row.negated or [False] * len(row.principles)
    texts = []
    for name, is_negated in zip(row.principles, negated, strict=True):
        texts.append(referred_wording(principles, name, is_negated))
    return Question(
        prompt_id=row.prompt_id,
        prompt=row.prompt,
        a=row.chosen,
        b=row.rejected,
        texts=tuple(texts) or (general,),
        better=1 if row.label > 0.5 else -1,
    )


def count_labels(counts: Counts, pairs: Sequence[LabelledPair], answer: Answer) -> None:
    """Add one model's answers on the pairs to its `counts`, by test and unit of the test."""
    for pair in pairs:
        value = is_right(pair.question, answer)
        for test in pair.tests:
            unit = pair.unit_of_section if test.startswith(SECTION) else pair.row.prompt_id
            counts.setdefault(test, []).append((unit, value))
