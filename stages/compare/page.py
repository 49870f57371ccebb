"""The page of a comparison: effects, what the items can show, and the rows that changed.

In: a `Comparison`. Out: one HTML file of the form of every report of Credo: it loads nothing and
works from disk. Texts of logs enter it as JSON and are shown as text only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.compare.pairing import (
    CORRECTIONS,
    Changed,
    Compared,
    Comparison,
)
from stages.compare.table import (
    is_share,
    number_of,
)
from stages.report import page
from stages.report.views.packed import as_script
from stages.statistics.formatting import (
    DASH,
    MINUS,
    NO_VALUE,
    format_confidence,
    format_p_value,
    format_plural,
)

HERE = Path(__file__).resolve().parent
MOST_ROWS = 5000
"""Changed rows on the page; it states how many there are."""
LONGEST = 20_000
"""Letters of one text on the page."""


def write_page(
    path: Path,
    comparison: Comparison,
    most: int = MOST_ROWS,
) -> None:
    """Write the page.

    Args:
        most: the most changed rows that it holds.

    Raises:
        UserError: it cannot be written.
    """
    rows = list(comparison.changed())
    summaries = [_summary(comparison, row) for row in comparison.rows]
    places = {(row.metric, row.other): place for place, row in enumerate(comparison.rows)}
    changes = []
    for row in rows[:most]:
        place = places[row.metric, row.other]
        changes.append([place, row.item, round(row.before, 6), round(row.after, 6)])
    texts = _texts(comparison, rows[:most])
    page.write(
        path,
        HERE / "compare.html.jinja",
        [HERE / "compare.js"],
        title=" and ".join(log.name for log in comparison.logs[:3]),
        headline=_headline(comparison),
        notes=comparison.notes,
        logs=comparison.logs,
        comparisons=summaries,
        correction=CORRECTIONS[comparison.correction],
        confidence=format_confidence(comparison.confidence),
        number=len(rows),
        visible=min(len(rows), most),
        data=as_script({"comparisons": summaries, "texts": texts, "rows": changes}),
    )


def _headline(comparison: Comparison) -> str:
    """What is shown to differ, in one sentence."""
    alpha = 1 - comparison.confidence
    shown = [row for row in comparison.rows if row.effect.p_adjusted < alpha]
    total = format_plural(len(comparison.rows), "comparison")
    if not shown:
        return f"No difference is shown in {total}"
    largest = min(shown, key=lambda row: row.effect.p_adjusted)
    name = comparison.logs[largest.other].name
    word = "higher" if largest.effect.value > 0 else "lower"
    if len(shown) == 1:
        return f"{name} is {word} in {largest.metric}"
    return f"{len(shown)} of {total} differ; the surest: {name} is {word} in {largest.metric}"


def _summary(
    comparison: Comparison,
    row: Compared,
) -> dict[str, Any]:
    """One comparison in words and marks, for the table and the filters."""
    effect = row.effect
    shown = effect.p_adjusted < 1 - comparison.confidence
    low, high = number_of(row, effect.low, "+"), number_of(row, effect.high, "+")
    changes = [row.after[item] - row.before[item] for item in row.before]
    return {
        "metric": row.metric,
        "log": comparison.logs[row.other].name,
        "n": effect.n_prompts,
        "before": _signed(number_of(row, effect.reference)),
        "after": _signed(number_of(row, effect.mean)),
        "change": _signed(number_of(row, effect.value, "+")),
        "interval": _signed(f"{low} to {high}"),
        "p": format_p_value(effect.p),
        "adjusted": format_p_value(effect.p_adjusted),
        "test": {"mcnemar": "McNemar", "sign_flip": "sign flips"}.get(effect.test, effect.test),
        "finds": DASH if row.detectable is None else number_of(row, row.detectable),
        "unit": "%" if is_share(row) else "",
        "rose": sum(change > 0 for change in changes),
        "fell": sum(change < 0 for change in changes),
        "tone": "shown" if shown else "same",
        "verdict": "differs" if shown else "not shown",
    }


def _signed(text: str) -> str:
    """A text with true minus signs."""
    return text.replace(NO_VALUE, MINUS)


def _texts(
    comparison: Comparison,
    rows: Sequence[Changed],
) -> dict[str, list[str]]:
    """By item that changed: its prompt, and the answer of each log."""
    texts: dict[str, list[str]] = {}
    for row in rows:
        if row.item in texts:
            continue
        of_logs = [log.items.get(row.item) for log in comparison.logs]
        prompt = next((item.prompt for item in of_logs if item), "")
        answers = [item.answer if item else "" for item in of_logs]
        texts[row.item] = [text[:LONGEST] for text in (prompt, *answers)]
    return texts
