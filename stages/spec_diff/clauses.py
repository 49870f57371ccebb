"""What differs between two principle sets, clause by clause.

In: two constitutions. Out: a `Difference`. A clause is the same one if it has the same id; of the
others, a new clause is an old one with another id if their texts share most words (Dice 1945: twice
the words in common, over the words of both), the nearest first. A text that an old clause listed
among its `rewordings` is that clause.

The order of clauses is by authority, then by weight. A clause without an authority comes after all
that have one. Only a clause whose own authority or weight changed can be re-ranked; clauses that it
passed are named.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stages.principles.constitution import AUTHORITIES, Constitution, Principle
from stages.principles.lint import words_of
from stages.principles.statement import opposed, stated

Wording = Literal["", "listed", "opposite", "other"]
SAME_CLAUSE = 0.6
"""The least similarity of a clause and one of another id."""
FIELDS = (
    "opposite",
    "rewordings",
    "critique",
    "revision",
    "because",
    "examples",
    "situations",
    "dimension",
    "tags",
    "source",
)
"""Those beside the text, the weight and the authority, which are reported in words of their own."""


@dataclass(frozen=True)
class Clause:
    """A clause of the old set, of the new one, or of both."""

    old: Principle | None
    new: Principle | None
    similarity: float = 1.0
    """Of the two texts, 0 to 1; 1 where they are equal."""
    passed: tuple[str, ...] = ()
    """Clauses of both sets, by their new ids, to which its place in the order changed."""

    @property
    def id(self) -> str:
        """Its id in the new set, or in the old one if it is gone."""
        return self.sides[-1].id

    @property
    def sides(self) -> list[Principle]:
        """The old and the new principle, less what does not exist."""
        return [side for side in (self.old, self.new) if side]

    @property
    def wording(self) -> Wording:
        """How its text changed: to a wording that its file lists, to its opposite, or otherwise."""
        if not self.old or not self.new or self.old.text == self.new.text:
            return ""
        if self.new.text in self.old.rewordings or self.old.text in self.new.rewordings:
            return "listed"
        return "opposite" if self.new.text == self.old.opposite else "other"

    @property
    def is_turned(self) -> bool:
        """Whether all that a judge reads became its opposite."""
        if not self.old or not self.new or not self.old.opposite:
            return False
        return stated(opposed(self.old)).text == stated(self.new).text

    @property
    def is_judged_again(self) -> bool:
        """Whether a judge has to read it: it is new, or what a judge reads is."""
        if not self.old or not self.new:
            return self.new is not None
        return stated(self.old).text != stated(self.new).text

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of other fields that changed."""
        if not self.old or not self.new:
            return ()
        return tuple(name for name in FIELDS if getattr(self.old, name) != getattr(self.new, name))

    @property
    def kinds(self) -> tuple[str, ...]:
        """What happened to it, in words; nothing where it did not change."""
        if not self.old:
            return ("added",)
        if not self.new:
            return ("gone",)
        happened = {
            "renamed": self.old.id != self.new.id,
            "reworded": self.old.text != self.new.text,
            "re-weighted": self.old.weight != self.new.weight,
            "other authority": self.old.authority != self.new.authority,
            "re-ranked": bool(self.passed),
            "other fields": bool(self.fields),
        }
        return tuple(kind for kind, is_so in happened.items() if is_so)


@dataclass(frozen=True)
class Difference:
    """Two principle sets, clause by clause."""

    old: Constitution
    new: Constitution
    clauses: tuple[Clause, ...]
    """In the order of the new file; those that are gone come last."""
    about: dict[str, tuple[Any, Any]]
    """What changed of the set itself (title, version, theory, targets): before and after."""

    @property
    def changed(self) -> list[Clause]:
        """The clauses to which something happened."""
        return [clause for clause in self.clauses if clause.kinds]

    def only(self, chosen: Clause) -> "Difference":
        """Return the difference in which nothing but one clause changed."""
        clauses = []
        for clause in self.clauses:
            if clause == chosen:
                clauses.append(clause)
            elif clause.old:
                clauses.append(Clause(clause.old, clause.old))
        return Difference(
            self.old,
            self.new,
            tuple(clauses),
            {},
        )


def compare(old: Constitution, new: Constitution, least: float = SAME_CLAUSE) -> Difference:
    """Compare two sets.

    Args:
        least: how similar the texts of a clause must be that has another id.
    """
    old_by_id = {principle.id: principle for principle in old.principles}
    names = {
        principle.id: principle.id for principle in new.principles if principle.id in old_by_id
    }
    gone = [principle for principle in old.principles if principle.id not in names]
    added = [principle for principle in new.principles if principle.id not in names]
    names |= _match(gone, added, least)
    pairs = []
    for principle in new.principles:
        before = old_by_id.get(names.get(principle.id, ""))
        if before:
            pairs.append((before, principle))
    clauses = []
    for principle in new.principles:
        before = old_by_id.get(names.get(principle.id, ""))
        if before is None:
            clauses.append(Clause(None, principle))
            continue
        near = similarity(before.text, principle.text)
        clauses.append(
            Clause(
                before,
                principle,
                near,
                _passed(before, principle, pairs),
            )
        )
    remaining = set(names.values())
    clauses += [Clause(each, None) for each in old.principles if each.id not in remaining]
    about = {}
    for name in (
        "name",
        "version",
        "title",
        "source",
        "theory",
        "targets",
    ):
        sides = (getattr(old, name), getattr(new, name))
        if sides[0] != sides[1]:
            about[name] = sides
    return Difference(
        old,
        new,
        tuple(clauses),
        about,
    )


def similarity(first: str, second: str) -> float:
    """Return how many words two texts share, from 0 to 1; 1 only where they are equal."""
    if first == second:
        return 1.0
    counts = [Counter(words_of(text)) for text in (first, second)]
    total = sum(counts[0].values()) + sum(counts[1].values())
    shared = sum((counts[0] & counts[1]).values())
    return min(2 * shared / total, 0.99) if total else 0.0


def order_of(principle: Principle) -> tuple[int, float]:
    """Return the place of a clause: less is higher, and clauses of equal places have no order."""
    level = len(AUTHORITIES)
    if principle.authority:
        level = AUTHORITIES.index(principle.authority)
    return level, -principle.weight


def _match(gone: Sequence[Principle], added: Sequence[Principle], least: float) -> dict[str, str]:
    """Return by new id the id of the old clause that it is, the most similar ones first."""
    near = []
    for before in gone:
        for after in added:
            listed = after.text in before.rewordings or before.text in after.rewordings
            score = 1.0 if listed else similarity(before.text, after.text)
            if score >= least:
                near.append((-score, before.id, after.id))
    names: dict[str, str] = {}
    for _, before_id, after_id in sorted(near):
        if after_id not in names and before_id not in names.values():
            names[after_id] = before_id
    return names


def _passed(
    before: Principle, after: Principle, pairs: Sequence[tuple[Principle, Principle]]
) -> tuple[str, ...]:
    """Return the clauses above, beside or below which this one stood, and no longer does."""
    if order_of(before) == order_of(after):
        return ()
    place_before, place_after = order_of(before), order_of(after)
    passed = []
    for pair in pairs:
        others = [order_of(other) for other in pair]
        # its own change did it: beside the other one's old place, or beside its new one
        moved = any(_sign(place_before, one) != _sign(place_after, one) for one in others)
        if moved and _sign(place_before, others[0]) != _sign(place_after, others[1]):
            passed.append(pair[1].id)
    return tuple(passed)


def _sign(first: tuple[int, float], second: tuple[int, float]) -> int:
    return (first > second) - (first < second)
