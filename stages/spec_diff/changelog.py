"""A difference of two principle sets as plain data for people: sentences, rows, Markdown."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.principles.constitution import Principle
from stages.spec_diff.clauses import Clause, Difference
from stages.spec_diff.moved_labels import Forecast, Measured, Moves
from stages.statistics.effect import Effect
from stages.statistics.formatting import format_estimate, format_percent, format_plural

SHOWN = 0.05
"""A change is shown if its p after correction is below this."""
HEADINGS = {
    "added": "Added",
    "gone": "Gone",
    "reworded": "Reworded",
    "renamed": "Renamed",
    "re-weighted": "Weights and ranks",
    "re-ranked": "Weights and ranks",
    "other authority": "Weights and ranks",
    "other fields": "Other fields",
}
WORDINGS = {
    "listed": "one of the wordings that the file lists",
    "opposite": "the text became its opposite",
}
MOST_PASSED = 4
"""Ids that a line names."""


@dataclass(frozen=True)
class Entry:
    """One clause, under its first heading."""

    heading: str
    id: str
    text: str
    """As the new set has it, or the old one if it is gone."""
    words: tuple[tuple[str, str], ...] = ()
    """Of a reworded text: ("same" | "less" | "more", words)."""
    facts: tuple[str, ...] = ()
    labels: str = ""
    behaviour: str = ""


@dataclass(frozen=True)
class Changelog:
    """All of it."""

    title: str
    summary: str
    entries: tuple[Entry, ...]
    facts: tuple[str, ...] = ()
    """About the set, its labels and what to mind."""
    notes: tuple[str, ...] = field(default=())


def write_changelog(
    difference: Difference,
    names: tuple[str, str],
    forecast: Forecast | None = None,
    measured: Measured | None = None,
    effects: Mapping[str, Effect] | None = None,
) -> Changelog:
    """Return what changed, in words.

    Args:
        names: how the user names the two sets.
    """
    entries = []
    for clause in difference.changed:
        entries.append(
            _entry(
                clause,
                forecast,
                measured,
                effects or {},
            )
        )
    order = list(dict.fromkeys(HEADINGS.values()))
    entries.sort(key=lambda entry: order.index(entry.heading))
    facts = [_about(name, *sides) for name, sides in difference.about.items()]
    if forecast:
        facts.append(_together(forecast))
    if measured and measured.changed:
        facts.append(f"Labels that differ between the two runs: {_share(measured.changed)}.")
    if effects is not None:
        facts.append(_side_effects(difference, effects))
    notes = forecast.notes if forecast else []
    title = f"{names[0]} → {names[1]}"
    return Changelog(
        title,
        summarise(difference),
        tuple(entries),
        tuple(facts),
        tuple(notes),
    )


def summarise(difference: Difference) -> str:
    """Return one sentence: how many clauses of each kind."""
    counts: dict[str, int] = {}
    for clause in difference.changed:
        for kind in clause.kinds:
            counts[kind] = counts.get(kind, 0) + 1
    untouched = len(difference.clauses) - len(difference.changed)
    parts = [f"{number} {kind}" for kind, number in counts.items()]
    return f"{', '.join(parts) or 'no clause changed'}; {untouched} untouched."


def as_markdown(changelog: Changelog) -> str:
    """Return the changelog as Markdown."""
    lines = [f"# {_escape(changelog.title)}", "", changelog.summary, ""]
    lines += [f"- {_escape(fact)}" for fact in changelog.facts]
    lines += [f"- Note: {_escape(note)}." for note in changelog.notes]
    heading = ""
    for entry in changelog.entries:
        if entry.heading != heading:
            heading = entry.heading
            lines += ["", f"## {heading}", ""]
        lines.append(f"- `{entry.id}`: {marked(entry, '~~', '**')}")
        for fact in (*entry.facts, entry.labels, entry.behaviour):
            if fact:
                lines.append(f"  - {_escape(fact)}")
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def marked(entry: Entry, less: str, more: str) -> str:
    """Return a clause's text, its old words and its new ones between marks."""
    marks = {"same": "", "less": less, "more": more}
    if not entry.words:
        return _escape(entry.text)
    parts = [f"{marks[kind]}{_escape(words)}{marks[kind]}" for kind, words in entry.words]
    return " ".join(parts)


def word_changes(before: str, after: str) -> tuple[tuple[str, str], ...]:
    """Return the words of two texts in one line: those of both, of the old one, of the new one."""
    old, new = before.split(), after.split()
    parts = []
    for kind, i, j, k, m in difflib.SequenceMatcher(
        None,
        old,
        new,
        False,
    ).get_opcodes():
        if kind == "equal":
            parts.append(("same", " ".join(old[i:j])))
            continue
        if j > i:
            parts.append(("less", " ".join(old[i:j])))
        if m > k:
            parts.append(("more", " ".join(new[k:m])))
    return tuple(parts)


def _entry(
    clause: Clause,
    forecast: Forecast | None,
    measured: Measured | None,
    effects: Mapping[str, Effect],
) -> Entry:
    words: tuple[tuple[str, str], ...] = ()
    facts: list[str] = []
    if clause.old and clause.new:
        if clause.old.text != clause.new.text:
            words = word_changes(clause.old.text, clause.new.text)
        facts = _facts(clause, clause.old, clause.new)
    labels = []
    if forecast and clause.id in forecast.clauses:
        labels.append(_moves(forecast.clauses[clause.id]))
    if measured and clause.id in measured.decided:
        labels.append(_own_verdicts(clause, measured))
    violations = _violations(effects[clause.id]) if clause.id in effects else ""
    return Entry(
        HEADINGS[clause.kinds[0] if clause.kinds[0] != "renamed" else _second(clause)],
        clause.id,
        clause.sides[-1].text,
        words,
        tuple(facts),
        "; ".join(labels),
        violations,
    )


def _violations(change: Effect) -> str:
    return (
        f"violations {100 * change.value:+.1f} points [{100 * change.low:+.1f}, "
        f"{100 * change.high:+.1f}], p {change.p_adjusted:.2g} after Holm"
    )


def _side_effects(
    difference: Difference,
    effects: Mapping[str, Effect],
) -> str:
    """Which clauses are violated more or less although nobody edited them."""
    untouched = [clause.id for clause in difference.clauses if not clause.kinds]
    tested = [name for name in untouched if name in effects]
    shown = [name for name in tested if effects[name].p_adjusted < SHOWN]
    if not shown:
        return f"Violations of the {len(tested)} untouched clauses: no change is shown."
    changes = "; ".join(f"{name}: {_violations(effects[name])}" for name in shown)
    return f"Untouched clauses whose violations changed: {changes}."


def _own_verdicts(clause: Clause, measured: Measured) -> str:
    decided, judged = measured.decided[clause.id]
    pairs = f"{decided:,} of {judged:,} pairs"
    if not decided:
        return (
            f"both wordings decide on {pairs}, so nothing shows whether its verdicts are reversed"
        )
    finding = measured.findings[clause.id]
    return (
        f"its own verdict is reversed on {_share(measured.clauses[clause.id])} of the requests on "
        f"which both wordings decide ({pairs}; {_verdict(finding.verdict, finding.margin)})"
    )


def _second(clause: Clause) -> str:
    """The kind under which a renamed clause stands."""
    return "reworded" if "reworded" in clause.kinds else "renamed"


def _facts(clause: Clause, old: Principle, new: Principle) -> list[str]:
    facts = []
    if old.id != new.id:
        facts.append(f"was {old.id}; the texts share {format_percent(clause.similarity, 0)} %")
    if clause.wording in WORDINGS:
        facts.append(WORDINGS[clause.wording])
    if old.weight != new.weight:
        facts.append(f"weight {old.weight:g} → {new.weight:g}")
    if old.authority != new.authority:
        facts.append(f"authority {old.authority or 'none'} → {new.authority or 'none'}")
    if clause.passed:
        shown = ", ".join(clause.passed[:MOST_PASSED])
        more = len(clause.passed) - MOST_PASSED
        facts.append(f"another place beside {shown}{f' and {more} more' if more > 0 else ''}")
    for name in clause.fields:
        facts.append(f"{name}: {_value(getattr(old, name))} → {_value(getattr(new, name))}")
    return facts


def _together(forecast: Forecast) -> str:
    moves = forecast.together
    text = f"Labels: {_moves(moves)}"
    if forecast.expected:
        text += f"; expected to move: {_share(forecast.expected)} of the requests' labels"
    return f"{text}."


def _moves(moves: Moves) -> str:
    total = moves.stay + moves.move + moves.open
    text = f"{moves.move} of {format_plural(total, 'label')} move for certain"
    if moves.open:
        text += f", {moves.open} are open (expected: {moves.expected} move)"
    calls = f"up to {format_plural(moves.calls, 'call')}" if moves.calls else "0 calls"
    return f"{text}; {calls}"


def _share(estimate: Any) -> str:
    """A share with its interval; `Estimate` and `Effect` both have one."""
    bounds = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return f"{format_estimate(bounds)} %"


def _verdict(verdict: str, margin: float | None) -> str:
    bound = f"{format_percent(margin, 0)} %"
    return {
        "differs": f"shown to be more than {bound}",
        "equivalent": f"shown to be less than {bound}",
    }.get(verdict, "undecided")


def _about(name: str, before: Any, after: Any) -> str:
    return f"{name}: {_value(before)} → {_value(after)}"


def _value(value: Any, most: int = 60) -> str:
    """A field's value in a few words."""
    if value in (None, (), {}, ""):
        return "none"
    if isinstance(value, str):
        text = value
    elif isinstance(value, Sequence) and all(isinstance(each, str) for each in value):
        text = ", ".join(value)
    elif isinstance(value, Sequence):
        text = format_plural(len(value), "entry").replace("entrys", "entries")
    elif hasattr(value, "model_dump"):
        text = json.dumps(value.model_dump(exclude_defaults=True), ensure_ascii=False)
    else:
        text = str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _escape(text: str) -> str:
    """Markdown of a text: letters that would be marks are escaped, line breaks are blanks."""
    plain = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>~#|" else letter for letter in plain)
