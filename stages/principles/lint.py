"""Warn about what is valid in a constitution but probably a mistake.

`python -m stages.principles.lint FILE...`

Comes in: constitution files. Goes out: a table of warnings, and what the embedded model cannot
read; exit code 0, or 2 when a file breaks the format. Two texts are near when they share most of
their content words (Jaccard index), and contradict when only one of them is negated. Every pair of
principles that can be near is compared, in a set of thousands of alike principles only the first
ones; a warning then says so.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.guards.files import read_text
from stages.principles.constitution import Constitution, Principle, load
from stages.principles.statement import PARTS, stated
from stages.runtime.rows import Proposal

NEAR = 0.75  # the least Jaccard index of near texts
MAX_WORDS = 60
MOST_COMPARED = 6_000_000
"""Words of pairs of principles that are looked at."""
MOST_PAIRS = 500
"""Warnings about pairs that are given."""
MOST_SHOWN = 200
"""Warnings on one file that are printed."""
LEXICON = Path(__file__).resolve().parents[1] / "world/checkpoint/lexicon.txt"
"""All words of the embedded model, after a first line `# its name`."""
MOST_BYTES = 2**24
"""Of a lexicon."""
SHOWN_WORDS = 8
"""How many words a warning names, the longest first: they say most."""
WORD = re.compile(r"\w+")
LETTERS = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
FUNCTION_WORDS = frozenset(
    WORD.findall(
        "a an and any are as at be by do does for from in is it its must of on one or out should "
        "that the their them they this to who with response assistant ai"
    )
)
NEGATION = re.compile(
    r"\b(not|never|nothing|no|none|without|avoids?|refrains?|cannot|don't|doesn't|isn't)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Finding:
    """One warning: which rule, about which principles, what is wrong and how to fix it."""

    rule: str
    principles: tuple[str, ...]
    message: str
    fix: str


def lint(constitution: Constitution, polarity: bool = False) -> list[Finding]:
    """Return the warnings on a set.

    Args:
        polarity: the set will be used in both polarities (SALMON's negated principles), so each
            principle needs an opposite.
    """
    findings = []
    for principle in constitution.principles:
        findings += _check_principle(principle)
    findings += _check_examples(constitution.principles)
    findings += _check_pairs([_PrincipleWords(each) for each in constitution.principles])
    return findings + _check_missing_fields(constitution, polarity)


def _check_principle(principle: Principle) -> list[Finding]:
    warnings = []
    if NEGATION.search(principle.text):
        message = (
            "the text is framed negatively; judges and critics read what a response does better"
        )
        warnings.append(("negative framing", message, "write what the response does instead"))
    words = len(principle.text.split())
    if words > MAX_WORDS:
        message = f"the text has {words} words; more than {MAX_WORDS} blur what is judged"
        warnings.append(("over-long", message, "shorten it, or split it into several principles"))
    for key in ("text", "opposite", "critique", "revision", "because"):
        text = getattr(principle, key)
        if text and text[-1] not in ".!?":
            message = f"the {key} does not end like a sentence; prompts go on after it"
            fix = "write a full sentence with a full stop"
            warnings.append(("unfinished sentence", message, fix))
    if principle.opposite and _plain(principle.opposite) == _plain(principle.text):
        message = "the opposite says the same as the text"
        warnings.append(("contradiction", message, "negate the wording in opposite"))
    if principle.because and _plain(principle.because) == _plain(principle.text):
        message = "the reason says the same as the text"
        warnings.append(("no reason", message, "write in because what the principle is good for"))
    if principle.critique and (principle.because or principle.examples or principle.authority):
        message = (
            "its own critique request takes the place of the text with its reason and examples"
        )
        warnings.append(("unread parts", message, "name them in critique, or leave critique out"))
    return [Finding(rule, (principle.id,), message, fix) for rule, message, fix in warnings]


def _check_examples(principles: Sequence[Principle]) -> list[Finding]:
    """Warn about a response that is good and bad, and about the wrong wording as a response."""
    findings = []
    sides: dict[tuple[str, str], tuple[bool, str]] = {}
    for principle in principles:
        for example in principle.examples:
            answers = [(text, True) for text in example.good]
            answers += [(text, False) for text in example.bad]
            for text, good in answers:
                key = _plain(example.request or ""), _plain(text)
                was_good, first = sides.setdefault(key, (good, principle.id))
                ids = tuple(dict.fromkeys((first, principle.id)))
                shown = f"the response {text[:60]!r}"
                if good != was_good:
                    message = f"{shown} is a good and a bad example for the same request"
                    fix = "correct one of the two examples"
                    findings.append(Finding("contradiction", ids, message, fix))
                wrong = (principle.opposite or "") if good else principle.text
                if _plain(text) == _plain(wrong):
                    message = f"{shown} is on the wrong side of the examples"
                    fix = "show a response, and on the side of good or bad that it belongs to"
                    findings.append(Finding("contradiction", (principle.id,), message, fix))
    return findings


class _Words:
    """A text for comparison: its content words, and whether it is negated."""

    def __init__(self, text: str):
        self.plain = _plain(text)
        self.content = frozenset(_plain(NEGATION.sub(" ", text)).split()) - FUNCTION_WORDS
        self.negated = len(NEGATION.findall(text)) % 2 == 1

    def is_near(self, other: _Words) -> bool:
        sizes = sorted((len(self.content), len(other.content)))
        if not sizes[0] or sizes[0] < NEAR * sizes[1]:
            return False
        shared = len(self.content & other.content)
        return shared >= NEAR * (sum(sizes) - shared)

    def agrees(self, other: _Words) -> bool:
        return self.is_near(other) and self.negated == other.negated

    def contradicts(self, other: _Words) -> bool:
        return self.is_near(other) and self.negated != other.negated


class _PrincipleWords:
    """A principle's text and opposite, for comparison."""

    def __init__(self, principle: Principle):
        self.id = principle.id
        self.text = _Words(principle.text)
        self.opposite = _Words(principle.opposite or "")


def _check_pairs(principles: Sequence[_PrincipleWords]) -> list[Finding]:
    findings: list[Finding] = []
    for first, second in _alike(principles):
        if second is None or len(findings) == MOST_PAIRS:
            message = "the set has too many alike principles: only some pairs were compared"
            return [*findings, Finding("cut", (first.id,), message, "correct the others first")]
        findings += _check_pair(first, second)
    return findings


def _alike(
    principles: Sequence[_PrincipleWords],
) -> Iterator[tuple[_PrincipleWords, _PrincipleWords | None]]:
    """Yield all pairs that can be near; a principle and None where too many were looked at.

    Near texts share one of their rarest words: one of as many as they may differ in, and one more
    (Chaudhuri et al. 2006, A primitive operator for similarity joins in data cleaning).
    """
    texts = [(each.text, each.opposite) for each in principles]
    counts = Counter(word for pair in texts for words in pair for word in words.content)
    places: dict[str, list[int]] = {}
    compared = 0
    for number, (text, opposite) in enumerate(texts):
        keys = {f"= {text.plain}"}
        for words in (text, opposite):
            rarest = sorted(words.content, key=lambda word: (counts[word], word))
            size = len(rarest)
            keys |= set(rarest[: size - math.ceil(NEAR * size) + 1])
        earlier: set[int] = set()
        for key in keys:
            others = places.setdefault(key, [])
            compared += len(others)
            earlier.update(others)
            others.append(number)
        compared += len(earlier) * len(text.content)
        if compared > MOST_COMPARED:
            yield principles[number], None
            return
        for other in sorted(earlier):
            yield principles[other], principles[number]


def _check_pair(first: _PrincipleWords, second: _PrincipleWords) -> list[Finding]:
    ids = (first.id, second.id)
    if first.text.plain == second.text.plain:
        return [Finding("duplicate", ids, "both have the same text", "keep one of the two")]
    if (
        first.text.contradicts(second.text)
        or first.text.agrees(second.opposite)
        or second.text.agrees(first.opposite)
    ):
        message = "one asks for the opposite of the other"
        return [Finding("contradiction", ids, message, "keep one, or reword")]
    if first.text.is_near(second.text):
        message = "both ask for nearly the same"
        return [Finding("near-duplicate", ids, message, "merge them, or make them differ clearly")]
    return []


def _check_missing_fields(constitution: Constitution, polarity: bool) -> list[Finding]:
    messages = {
        "opposite": "training in both polarities needs the negated wording",
        "situations": "the others say when they apply; retrieval can never match this one",
        "dimension": "the others express a dimension; targets cannot reach this one",
        "because": "the others give their reason",
        "examples": "the others have examples",
        "authority": "the others have a level of authority",
    }
    findings = []
    for key, message in messages.items():
        missing = [p.id for p in constitution.principles if not getattr(p, key)]
        most_have_it = 2 * len(missing) <= len(constitution.principles)
        if most_have_it or (polarity and key == "opposite"):
            for name in missing:
                findings.append(Finding(f"no {key}", (name,), message, f"add {key}"))
    return findings


def doubt_words(lexicon: Path, principles: Sequence[Principle | Proposal]) -> list[str]:
    """Return a warning that names the words of principles which a lexicon lacks."""
    title, *lines = read_text(lexicon, most=MOST_BYTES).splitlines()
    known = set(lines)
    words: dict[str, None] = {}
    odd = []
    for principle in principles:
        unknown = [word for word in words_of(principle.text) if word not in known]
        words |= dict.fromkeys(unknown)
        odd += [principle] * bool(unknown)
    if not words:
        return []
    longest = sorted(words, key=lambda word: (-len(word), word))
    shown = ", ".join(repr(word) for word in longest[:SHOWN_WORDS])
    more = f" and {len(words) - SHOWN_WORDS} more" if len(words) > SHOWN_WORDS else ""
    return [
        f"{title.removeprefix('#').strip()} cannot read {shown}{more}, words of {len(odd)} of "
        f"{len(principles)} principles: its vocabulary is closed, and what it says of these "
        f"principles is not about them{_advise_on_parts(odd)}"
    ]


def _advise_on_parts(principles: Sequence[Principle | Proposal]) -> str:
    """Return how to leave out the parts of principles that a model reads with them, if any."""
    parts = [part for part in PARTS if any(getattr(each, part, None) for each in principles)]
    if not parts:
        return ""
    return (
        f". It reads their {', '.join(parts)}, too: 'constitution.without=[{','.join(parts)}]' "
        "leaves these out, but not of the examination and the evaluation, which read the whole set "
        "for ablations: add 'pipeline.steps.judge_examination.constitution=${constitution}' and "
        "'pipeline.last_steps.evaluation.constitution=${constitution}'"
    )


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case and without the 's of an owner."""
    words = LETTERS.findall(text.lower().replace("\u2019", "'"))
    return [word.removesuffix("'s") for word in words]


def _plain(text: str) -> str:
    return " ".join(WORD.findall(text.lower()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Lint the files named on the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.principles.lint", description="Warn about principle sets."
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a path, or the name of a shipped set"
    )
    parser.add_argument(
        "--polarity", action="store_true", help="the set will be used in both polarities"
    )
    options = parser.parse_args(arguments)
    table = Table("set", "principles", "warning", show_lines=True)
    broken = False
    notes = []
    for file in options.files:
        try:
            constitution = load(file)
            findings = lint(constitution, options.polarity)
        except UserError as error:
            open_console(stderr=True).print(str(error))
            broken = True
            continue
        read = [stated(principle) for principle in constitution.principles]
        notes += [f"{Path(file).name}: {one}" for one in doubt_words(LEXICON, read)]
        for finding in findings[:MOST_SHOWN]:
            warning = f"{finding.rule}: {finding.message}. Fix: {finding.fix}."
            table.add_row(Path(file).name, "\n".join(finding.principles), warning)
        if len(findings) > MOST_SHOWN:
            hidden = f"{len(findings) - MOST_SHOWN:,} more warnings are not shown"
            table.add_row(Path(file).name, "", hidden)
    if table.row_count:
        open_console().print(table)
    elif not broken:
        open_console().print("No warnings.")
    for note in notes:
        open_console().print(f"{note} (this matters with model=embedded, the default)")
    return 2 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
