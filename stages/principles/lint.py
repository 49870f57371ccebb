"""Warn of what is legal in a constitution but seldom meant: `python -m stages.principles.lint
FILE...`.

Comes in: constitution files. Goes out: a table of warnings; exit code 0, or 2 when a file breaks
the format. Two texts are near when they share most of their content words (Jaccard index), and
contradict when only one of them is negated.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stages.principles.constitution import Constitution, Principle, load
from stages.runtime.errors import UserError

NEAR = 0.75
LONG = 60
EMPTY_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and any are as at be by do does for from in is it its must of on one or out should that the their them"
        " they this to who with response assistant ai",
    )
)
NEGATION = re.compile(
    r"\b(not|never|nothing|no|none|without|avoids?|refrains?|cannot|don't|doesn't|isn't)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Finding:
    """One warning: which rule, about which principles, what is the matter and how to fix it."""

    rule: str
    principles: tuple[str, ...]
    message: str
    fix: str


def lint(constitution: Constitution, polarity: bool = False) -> list[Finding]:
    """Return the warnings on a set.

    Args:
        polarity: the set will be used in both polarities (SALMON's negated principles), so each
            needs an opposite.
    """
    found = [finding for principle in constitution.principles for finding in _alone(principle)]
    words = _prepared(constitution)
    for one, other in sorted(_candidates(words)):
        found += _together(words[one], words[other])
    return found + _incomplete(constitution, polarity)


def unused(constitution: Constitution, counts: Mapping[str, int]) -> list[Finding]:
    """Return a warning for each principle that no row was ever given; `counts` has the rows of each
    id.
    """
    return [
        Finding(
            "unused",
            (p.id,),
            "no row was ever given it.",
            "take more rows, raise its weight, or drop it.",
        )
        for p in constitution.principles
        if not counts.get(p.id)
    ]


def _alone(principle: Principle) -> list[Finding]:
    found = []
    who = (principle.id,)
    if NEGATION.search(principle.text):
        message = (
            "the text is framed negatively; judges and critics read what a response does better."
        )
        found.append(
            Finding("negative framing", who, message, "say what the response does instead.")
        )
    words = len(principle.text.split())
    if words > LONG:
        message = f"the text has {words} words; more than {LONG} blur what is judged."
        found.append(
            Finding("over-long", who, message, "shorten it, or split it into several principles.")
        )
    for key in ("text", "opposite", "critique", "revision"):
        text = getattr(principle, key)
        if text and text[-1] not in ".!?":
            message = f"the {key} does not end like a sentence; prompts go on after it."
            found.append(
                Finding(
                    "unfinished sentence", who, message, "write a full sentence with a full stop."
                )
            )
    if principle.opposite and _plain(principle.opposite) == _plain(principle.text):
        message = "the opposite says the same as the text."
        found.append(Finding("contradiction", who, message, "negate the wording in opposite."))
    return found


@dataclass(frozen=True)
class _Words:
    id: str
    plain: str
    content: frozenset[str]
    negated: bool
    opposite: frozenset[str]
    opposite_negated: bool


def _prepared(constitution: Constitution) -> list[_Words]:
    return [
        _Words(
            p.id,
            _plain(p.text),
            _content(p.text),
            _negated(p.text),
            _content(p.opposite or ""),
            _negated(p.opposite or ""),
        )
        for p in constitution.principles
    ]


def _candidates(words: Sequence[_Words]) -> set[tuple[int, int]]:
    """Return the pairs that can be near at all: such texts share one of their rarest words (prefix
    filtering).

    Source: Chaudhuri, Ganti and Kaushik 2006. It keeps sets of thousands of rules of thumb quick.
    """
    frequency = Counter(word for text in words for word in text.content | text.opposite)
    holders: dict[str, set[int]] = defaultdict(set)
    for index, text in enumerate(words):
        holders[text.plain].add(index)
        for content in (text.content, text.opposite):
            rarest = sorted(content, key=lambda word: (frequency[word], word))
            for word in rarest[: len(content) - math.ceil(NEAR * len(content)) + 1]:
                holders[word].add(index)
    return {pair for indices in holders.values() for pair in combinations(sorted(indices), 2)}


def _together(one: _Words, other: _Words) -> list[Finding]:
    who = (one.id, other.id)
    if one.plain == other.plain:
        return [Finding("duplicate", who, "both have the same text.", "keep one of the two.")]
    near_text = _near(one.content, other.content)
    against = near_text and one.negated != other.negated
    against |= _near(one.content, other.opposite) and one.negated == other.opposite_negated
    against |= _near(other.content, one.opposite) and other.negated == one.opposite_negated
    if against:
        return [
            Finding(
                "contradiction",
                who,
                "one asks for the opposite of the other.",
                "keep one, or reword.",
            )
        ]
    if near_text:
        return [
            Finding(
                "near-duplicate",
                who,
                "both ask for nearly the same.",
                "merge them, or tell them apart.",
            )
        ]
    return []


def _incomplete(constitution: Constitution, polarity: bool) -> list[Finding]:
    advice = {
        "opposite": "training in both polarities needs the negated wording.",
        "situations": "the others say when they apply; retrieval can never match this one.",
        "dimension": "the others express a dimension; targets cannot reach this one.",
    }
    found = []
    for key, message in advice.items():
        missing = [p.id for p in constitution.principles if not getattr(p, key)]
        others_have_it = 2 * len(missing) <= len(constitution.principles)
        if others_have_it or (polarity and key == "opposite"):
            found += [Finding(f"no {key}", (name,), message, f"add {key}.") for name in missing]
    return found


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _content(text: str) -> frozenset[str]:
    return frozenset(_plain(NEGATION.sub(" ", text)).split()) - EMPTY_WORDS


def _negated(text: str) -> bool:
    return len(NEGATION.findall(text)) % 2 == 1


def _near(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one and other) and len(one & other) >= NEAR * len(one | other)


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
    for file in options.files:
        try:
            findings = lint(load(file), options.polarity)
        except UserError as error:
            print(error, file=sys.stderr)
            broken = True
            continue
        for finding in findings:
            warning = f"{finding.rule}: {finding.message} Fix: {finding.fix}"
            cells = (Path(file).name, "\n".join(finding.principles), warning)
            table.add_row(*map(Text, cells))
    if table.row_count:
        Console().print(table)
    elif not broken:
        print("No warnings.")
    return 2 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
