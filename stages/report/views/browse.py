"""Rows as the entries of the report's browser: prompt, response, critique, revision, preference.

In: artifacts. Out: one `Section` a step, as plain data for the page's script. Related rows
become one entry: the rounds of a response, the principles of a pair, the policies' answers
to a prompt, the ratings of a group, an examination's questions about two texts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from stages.evaluation.instrument.decision import EVEN_ODDS, Decision, decision_of
from stages.evaluation.instrument.questions import CHOICE_FORM, PLAIN, YES_NO_FORM
from stages.report.views.orders import describe_margins, is_flip
from stages.runtime.artifacts import Artifact
from stages.runtime.rows import (
    Judgement,
    Pair,
    Prompt,
    Proposal,
    Question,
    Rating,
    Revision,
    Verdict,
)
from stages.statistics.formatting import format_number

Entry = dict[str, Any]
ROUND = ("principle", "faulty", "critique", "previous", "response", "thoughts")
"""What the browser shows of a round of a revision."""


@dataclass(frozen=True)
class Section:
    """The entries of one step that the page holds, and how many there are in all."""

    step: str
    kind: str
    """The name of the rows' type."""
    total: int
    """How many entries the step has."""
    entries: list[Entry]
    """The first of them."""


def sections(artifacts: Sequence[Artifact], max_rows: int) -> list[Section]:
    """The first `max_rows` entries of each step.

    Revisions come before verdicts, pairs, judgements, ratings and questions.
    """
    by_step = []
    for source in artifacts:
        row_type = source.row_type
        if row_type is None or row_type not in _ENTRIES:
            continue
        key, entry = _ENTRIES[row_type]
        if row_type is Verdict:
            decision = decision_of(source.metrics)
            entry = partial(_verdicts, decision=decision)
        total, groups = _group(source.each_row(), key, max_rows)
        section = Section(
            step=source.step,
            kind=row_type.__name__,
            total=total,
            entries=[entry(rows) for rows in groups],
        )
        by_step.append(section)
    order = [row_type.__name__ for row_type in _ENTRIES]
    return sorted(by_step, key=lambda section: order.index(section.kind))


def principle_texts(source: Artifact) -> dict[str, str]:
    """The texts of a step's principles, by id.

    A page shows them beside the ids, and an export writes them down. A step without principles has
    none.

    They are those of its constitution, or of the proposals that it read in place of one.
    """
    principles = source.config.get("constitution") or {}
    texts: dict[str, str] = {}
    for proposed in source.input_artifacts("principles") if "principles" in source.inputs else ():
        texts |= {row.id: row.text for row in proposed.rows(Proposal)}
    for name, principle in principles.items():
        if isinstance(principle, Mapping) and "text" in principle:
            texts[name] = principle["text"]
    return texts


def prompt_turns(row: Any) -> list[list[str]]:
    """The turns of a row's request, as [role, text]; none if it holds no request."""
    messages = row.messages if isinstance(row, Prompt) else getattr(row, "prompt", [])
    return [[message["role"], message["content"]] for message in messages]


def margin_cell(cell: Judgement) -> list[Any]:
    """A cell of the judge matrix: [principle, margin with A first, with B first, verdict]."""
    equal = cell.response_a == cell.response_b
    verdict = describe_margins(cell.margin_ab, cell.margin_ba, "A", "B", equal)
    return [cell.principle, round(cell.margin_ab, 3), round(cell.margin_ba, 3), verdict]


def _group(
    rows: Iterable[Any], key: Callable[[Any], Any], max_groups: int
) -> tuple[int, list[list[Any]]]:
    """How many groups have equal keys, and the rows of the first `max_groups`, in their order."""
    groups: dict[Any, list[Any]] = {}
    others = set()
    for row in rows:
        name = key(row)
        if name in groups or len(groups) < max_groups:
            groups.setdefault(name, []).append(row)
        else:
            others.add(name)
    return len(groups) + len(others), list(groups.values())


def _head(
    row: Any,
    entry_id: str,
    principles: Iterable[str],
    flags: dict[str, bool],
) -> Entry:
    """The fields of every entry. A principle is listed once; only set flags are listed."""
    return {
        "id": entry_id,
        "kind": row.kind,
        "prompt": prompt_turns(row),
        "principles": list(dict.fromkeys(principles)),
        "flags": _set_names(flags),
    }


def _set_names(flags: Mapping[str, bool | None]) -> list[str]:
    return [name for name, is_set in flags.items() if is_set]


def _revisions(rounds: list[Revision]) -> Entry:
    """A response and the rounds of its revision."""
    rounds = sorted(rounds, key=lambda row: row.round)
    first = rounds[0]
    changed = [row.response != row.previous for row in rounds]
    flags = {
        "faulty": any(row.faulty for row in rounds),
        "changed": any(changed),
        "unchanged": not any(changed),
    }
    principles = [row.principle for row in rounds]
    entry = _head(first, first.response_id, principles, flags)
    entry["original"] = first.original
    entry["rounds"] = []
    for row in rounds:
        entry["rounds"].append({name: getattr(row, name) for name in ROUND})
    return entry


def _verdicts(rows: list[Verdict], decision: Decision = EVEN_ODDS) -> Entry:
    """A prompt and the answers of all policies, with the principles that each of them breaks.

    Args:
        decision: which of the judge's answers count as violations.
    """
    first = rows[0]
    by_policy = {row.policy: row for row in rows}
    answers = [_answer(row, by_policy, decision) for row in rows]
    principles: list[str] = []
    for answer in answers:
        principles += answer["violated"]
    for answer in answers:
        principles += answer["judged"]
    texts = {row.response for row in rows}
    flags = {
        "violated": any(map(_is_violation, rows, answers)),
        "evasive": any(bool(row.evasive) for row in rows),
        "flips": any(any(map(is_flip, row.margins_first, row.margins_second)) for row in rows),
        "changed": len(texts) > 1,
        "unchanged": len(texts) == 1,
    }
    entry = _head(first, first.response_id, principles, flags)
    entry["answers"] = answers
    return entry


def _answer(row: Verdict, by_policy: Mapping[str, Verdict], decision: Decision) -> Entry:
    """One policy's answer: the principles it breaks by ground truth and by the judge, and duels."""
    violated = dict(zip(row.principles, row.violated, strict=False))
    marks = {
        "evasive": bool(row.evasive),
        "not well-formed": row.well_formed is False,
        "off topic": row.on_topic is False,
    }
    return {
        "policy": row.policy,
        "response": row.response,
        "violated": _set_names(violated),
        "judged": _set_names(decision.violated(row)),
        "marks": _set_names(marks),
        "duels": _duels(row, by_policy),
    }


def _duels(row: Verdict, by_policy: Mapping[str, Verdict]) -> list[list[Any]]:
    """[rival, margin in favour of the answer when shown first, when shown second, verdict]."""
    duels = []
    for rival, first, second in zip(row.rivals, row.margins_first, row.margins_second, strict=True):
        equal = rival in by_policy and by_policy[rival].response == row.response
        verdict = describe_margins(first, second, "it wins", "it loses", equal)
        duels.append([rival, round(first, 3), round(second, 3), verdict])
    return duels


def _is_violation(row: Verdict, answer: Entry) -> bool:
    """By ground truth, and by the judge only where there is no ground truth."""
    if row.any_violation or answer["violated"]:
        return True
    return bool(answer["judged"]) and not row.violated


def _principle_items(row: Pair | Rating, scores: Sequence[float] = ()) -> list[list[Any]]:
    """[principle, whether it was replaced by its opposite, its score where there are scores]."""
    negated = row.negated or [False] * len(row.principles)
    under: list[list[Any]] = []
    for place, principle in enumerate(row.principles):
        item: list[Any] = [principle, negated[place]]
        if scores:
            item.append(format_number(scores[place], 3))
        under.append(item)
    return under


def _pair(rows: list[Pair]) -> Entry:
    """A preference, and how it was decided."""
    pair = rows[0]
    flips = map(is_flip, pair.margins_ab, pair.margins_ba)
    flags = {
        "changed": pair.chosen != pair.rejected,
        "flips": any(flips),
        "opposite": any(pair.negated),
        "ruled": bool(pair.override),
        "noise": pair.noise,
        "unsafe": False in (pair.chosen_safe, pair.rejected_safe),
    }
    return _head(pair, pair.id, pair.principles, flags) | {
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "safe": [pair.chosen_safe, pair.rejected_safe],
        "label": round(pair.label, 4),
        "margin": round(pair.margin, 4),
        "under": _principle_items(pair),
        "deciding": pair.deciding,
        "override": pair.override,
        "noise": pair.noise,
    }


def _ratings(rows: list[Rating]) -> Entry:
    """A group of responses, the best one first."""
    first = rows[0]
    ranked = sorted(rows, key=lambda row: (-row.score, row.id))
    opposite = any(any(row.negated) for row in rows)
    principles: list[str] = []
    ratings = []
    for row in ranked:
        principles += row.principles
        ratings.append(
            {
                "score": format_number(row.score, 3),
                "response": row.response,
                "under": _principle_items(row, row.scores),
            }
        )
    entry = _head(first, first.prompt_id, principles, {"opposite": opposite})
    entry["ratings"] = ratings
    return entry


def _judgements(cells: list[Judgement]) -> Entry:
    """Two responses and the judge's margins under each principle, in both orders."""
    first = cells[0]
    flips = any(is_flip(cell.margin_ab, cell.margin_ba) for cell in cells)
    margins = []
    rationales = []
    for cell in cells:
        name = cell.principle
        margins.append(margin_cell(cell))
        if cell.rationale_ab:
            rationales.append([name, "A", cell.rationale_ab])
        if cell.rationale_ba:
            rationales.append([name, "B", cell.rationale_ba])
    principles = [cell.principle for cell in cells]
    entry = _head(first, first.pair_id, principles, {"flips": flips})
    entry["a"] = first.response_a
    entry["b"] = first.response_b
    entry["cells"] = margins
    entry["rationales"] = rationales
    return entry


def _questions(rows: list[Question]) -> Entry:
    """Two texts of a judge's examination, and its answers in both forms."""
    first = rows[0]
    choices = _log_odds(rows, CHOICE_FORM)
    verdicts = _log_odds(rows, YES_NO_FORM)
    margins = []
    flips = False
    for name, places in choices.items():
        a_first = places["ab"]
        b_first = -places["ba"]
        verdict = describe_margins(a_first, b_first, "A", "B")
        margins.append([name, a_first, b_first, verdict])
        flips = flips or is_flip(a_first, b_first)
    yes_no = []
    for name, places in verdicts.items():
        words = [_yes_or_no(odds) for odds in places.values()]
        yes_no.append([name, *places.values(), " and ".join(words)])
    entry = _head(
        first,
        f"{first.prompt_id}, {first.contrast}",
        [row.principle for row in rows],
        {"flips": flips},
    )
    return entry | {
        "a": first.first,
        "b": first.second,
        "cells": margins,
        "yes_no": yes_no,
    }


def _log_odds(rows: Sequence[Question], form: str) -> dict[str, dict[str, float]]:
    """The answers of one form, where both places were asked.

    Returns:
        By principle and wording: the log-odds by place, in the order of the places.
    """
    asked: dict[str, dict[str, float]] = {}
    for row in sorted(rows, key=attrgetter("place")):
        if row.form != form:
            continue
        name = row.principle
        if row.wording != PLAIN:
            name += f", {row.wording}"
        asked.setdefault(name, {})[row.place] = row.log_odds
    return {name: places for name, places in asked.items() if len(places) == 2}


def _yes_or_no(log_odds: float) -> str:
    """What the judge answers."""
    return "Yes" if log_odds > 0 else "No"


_ENTRIES: dict[Any, tuple[Callable[[Any], Any], Callable[[list[Any]], Entry]]] = {
    Revision: (attrgetter("response_id"), _revisions),
    Verdict: (attrgetter("prompt_id"), _verdicts),
    Pair: (attrgetter("id"), _pair),
    Judgement: (attrgetter("pair_id"), _judgements),
    Rating: (attrgetter("prompt_id"), _ratings),
    Question: (attrgetter("prompt_id", "contrast"), _questions),
}
"""By type: what is the same in all rows of an entry, and the entry of such rows."""
