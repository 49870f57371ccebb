"""Preference pairs with each principle's vote, for Feedback Forensics and icai.

In: pairs, the judge's margins on them, and the principles' texts. Out: JSON of annotated pairs v2.0
(Inverse Constitutional AI and Feedback Forensics), and the CSV that icai starts from.

A principle whose two orders disagree has no vote, with the reason `invalid`; without a preference
it is `not_applicable`. The margins are stored with the vote. Which response is A comes from the
judge matrix, or else, and where the judge compared what people chose with the rest, from a hash of
the pair's id.

Source: Findeis et al. 2024 (arXiv 2406.06560).
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.report.csv_files import write_csv
from stages.runtime.rows import Judgement, Pair, request_text

LABEL = "Default annotator from original dataset (from column `preferred_text`)"
"""Feedback Forensics recognises this label by its hash."""
COLUMNS = ("text_a", "text_b", "preferred_text", "prompt")


def annotate_pair(
    pair: Pair, cells: Sequence[Judgement], texts: Mapping[str, str]
) -> dict[str, Any]:
    """One pair with its label and its principles' votes.

    Args:
        cells: the judge's margins on the pair; without them the margins in the pair are used.
        texts: the principles' texts by id.
    """
    chosen_is_a = hashlib.sha256(pair.id.encode()).digest()[0] % 2 == 0
    side = 1 if chosen_is_a else -1
    if not cells:
        votes = _own_margins(pair, side)
    elif f"/{cells[0].pair_id}|" in cells[0].id:
        # Of `judge_quality`, whose ids begin with the judge: there the chosen one always is A.
        votes = {cell.principle: (side * cell.margin_ab, side * cell.margin_ba) for cell in cells}
    else:
        chosen_is_a = cells[0].response_a == pair.chosen
        votes = {cell.principle: (cell.margin_ab, cell.margin_ba) for cell in cells}
    a, b = pair.chosen, pair.rejected
    if not chosen_is_a:
        a, b = b, a
    label = {"pref": "a" if chosen_is_a else "b"}
    annotations: dict[str, dict[str, Any]] = {short_hash(LABEL): label}
    for principle, margins in votes.items():
        annotations[short_hash(texts.get(principle, principle))] = vote(*margins)
    facts = {
        "kind": pair.kind,
        "label": f"{pair.label:.4f}",
        "deciding": pair.deciding,
        "rule": pair.override,
    }
    return {
        "id": pair.id,
        "prompt": request_text(pair.prompt),
        "response_a": {"text": a},
        "response_b": {"text": b},
        "annotations": annotations,
        "metadata": {name: fact for name, fact in facts.items() if fact},
    }


def _own_margins(pair: Pair, side: int) -> dict[str, tuple[float, float]]:
    """The pair's margins, which are for the chosen response, as margins for response a.

    Args:
        side: 1 if response a is the chosen one, else -1.
    """
    margins = {}
    rows = zip(pair.principles, pair.margins_ab, pair.margins_ba, strict=True)
    for principle, ab, ba in rows:
        margins[principle] = (side * ab, side * ba)
    return margins


def vote(first: float, second: float) -> dict[str, Any]:
    """One principle's choice; both orders must agree on it."""
    margins = {"margin_ab": round(first, 4), "margin_ba": round(second, 4)}
    if first == second == 0:
        return {"pref": None, "no_pref_reason": "not_applicable", **margins}
    if first * second <= 0:
        return {"pref": None, "no_pref_reason": "invalid", **margins}
    return {"pref": "a" if first > 0 else "b", **margins}


def annotated_pairs(
    comparisons: Sequence[Mapping[str, Any]], name: str, finished: str, texts: Mapping[str, str]
) -> dict[str, Any]:
    """The whole file.

    The annotators are all those of the pairs, with the texts of the principles where these exist.
    """
    used: set[str] = set()
    for pair in comparisons:
        used |= set(pair["annotations"])
    descriptions = {short_hash(text): text for text in (*texts.values(), *texts)}
    annotators = {}
    for annotator in sorted(used):
        annotators[annotator] = {
            "description": descriptions.get(annotator, annotator),
            "type": "principle",
        }
    default = short_hash(LABEL)
    annotators[default] = {
        "name": "preferred_text",
        "description": LABEL,
        "type": "ai",
    }
    return {
        "metadata": {
            "version": "2.0",
            "description": "Preference pairs with each principle's vote, from Credo",
            "created_at": finished,
            "dataset_name": name,
            "default_annotator": default,
            "available_metadata_keys_per_comparison": ["kind", "label", "deciding", "rule"],
        },
        "annotators": annotators,
        "comparisons": list(comparisons),
    }


def short_hash(text: str) -> str:
    """The id of an annotator in icai."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8]


def write_table(path: Path, comparisons: Sequence[Mapping[str, Any]]) -> None:
    """The table that icai starts from: text_a, text_b, preferred_text, prompt. Texts are exact."""
    rows = []
    for pair in comparisons:
        label = pair["annotations"][short_hash(LABEL)]
        a, b = pair["response_a"]["text"], pair["response_b"]["text"]
        rows.append((a, b, f"text_{label['pref']}", pair["prompt"]))
    write_csv(path, COLUMNS, rows, exact=True)
