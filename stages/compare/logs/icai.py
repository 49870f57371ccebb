"""Results of icai: pairs of answers with the vote of each principle (its annotated pairs).

In: the JSON file. Out: one log, with a metric for each principle: its agreement, the share of all
pairs in which it votes for the answer that the data's own annotator prefers. As in icai, a
principle that does not apply, or whose vote cannot be read, does not agree.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.compare.logs.log import (
    Log,
    require,
)
from stages.guards.files import read_json

TOOL = "icai"
LONGEST = 60
"""Letters of a principle's text in the name of its metric."""
TYPE = "principle"


def is_annotated_pairs(value: Any) -> bool:
    """Whether the content of a JSON file is annotated pairs."""
    return isinstance(value, Mapping) and {"annotators", "comparisons"} <= value.keys()


def read_icai(
    path: Path,
    name: str,
) -> Log:
    """Read one file of annotated pairs.

    Raises:
        UserError: it is broken, or no principle voted.
    """
    value = read_json(path)
    annotators = value["annotators"]
    default = value["metadata"]["default_annotator"]
    principles = {}
    for key, annotator in annotators.items():
        if annotator.get("type") == TYPE:
            principles[key] = _short(str(annotator.get("description", key)))
    log = Log(name, TOOL, path)
    undecided = 0
    for pair in value["comparisons"]:
        annotations = pair["annotations"]
        preferred = (annotations.get(default) or {}).get("pref")
        if preferred is None:
            undecided += 1
            continue
        values = {}
        for key, text in principles.items():
            if key in annotations:
                values[f"agrees: {text}"] = annotations[key].get("pref") == preferred
        answers = f"a: {pair.get('text_a', '')}\nb: {pair.get('text_b', '')}"
        log.add(str(pair["id"]), pair.get("prompt") or "", answers, values)
    if undecided:
        log.notes.append(f"{undecided} pairs have no preference, so they are left out")
    return require(log)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
