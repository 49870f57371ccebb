"""Results of icai: pairs of answers with the vote of each principle (its annotated pairs).

In: the JSON file, or the folder of an experiment that holds it. Out: one log, with a metric for
each principle: its agreement, the share of all pairs in which it votes for the answer that the
data's own annotator prefers. As in icai, a principle that does not apply, or whose vote cannot be
read, does not agree. Other annotators of the data (columns with preferences) have the same metric.
The tool's own number is the share of votes "for" in `041_votes_per_cluster.json` beside the pairs
of the training data.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.compare.logs.log import (
    Log,
    hash_text,
    require,
)
from stages.guards.files import read_json

TOOL = "icai"
LONGEST = 60
"""Letters of a principle's text in the name of its metric."""
TYPE = "principle"
WITHOUT_PREFERENCE = "non_preference_principle"
SIDES = {
    "a": "a",
    "b": "b",
    "text_a": "a",
    "text_b": "b",
}
"""What an annotator prefers, as principles and as columns of the data write it."""
RESULTS = "results"
TRAIN = "070_annotations_train_ap.json"
VOTES = "041_votes_per_cluster.json"
PRINCIPLES = "030_distilled_principles_per_cluster.json"
Annotators = Mapping[str, Mapping[str, Any]]
"""By id, the description and type of each annotator."""


def is_annotated_pairs(value: Any) -> bool:
    """Whether the content of a JSON file is annotated pairs."""
    return isinstance(value, Mapping) and {"annotators", "comparisons"} <= value.keys()


def pair_file(folder: Path) -> Path | None:
    """The annotated pairs of an experiment's training data, from its folder or its results."""
    for file in (folder / TRAIN, folder / RESULTS / TRAIN):
        if file.is_file():
            return file
    return None


def read_icai(
    path: Path,
    name: str,
) -> Log:
    """Read one file of annotated pairs.

    Raises:
        UserError: it is broken, or no principle voted.
    """
    value = read_json(path)
    default = value["metadata"]["default_annotator"]
    metrics = _metrics(value["annotators"], default)
    log = Log(name, TOOL, path)
    undecided = 0
    for pair in value["comparisons"]:
        annotations = pair["annotations"]
        preferred = _side(annotations.get(default))
        if preferred is None:
            undecided += 1
            continue
        values = {}
        for key, metric in metrics.items():
            if key in annotations:
                values[metric] = _side(annotations[key]) == preferred
        answers = f"a: {_text(pair, 'a')}\nb: {_text(pair, 'b')}"
        log.add(str(pair["id"]), pair.get("prompt") or "", answers, values)
    if undecided:
        log.notes.append(f"{undecided} pairs have no preference, so they are left out")
    if path.name == TRAIN:
        log.reported |= _own_numbers(
            path,
            value["annotators"],
            metrics,
        )
    return require(log)


def _metrics(
    annotators: Annotators,
    default: str,
) -> dict[str, str]:
    """By annotator, the name of its metric; texts that begin alike have a part of their id, too."""
    metrics: dict[str, str] = {}
    for key, annotator in annotators.items():
        if key == default or annotator.get("type") == WITHOUT_PREFERENCE:
            continue
        text = annotator.get("description") if annotator.get("type") == TYPE else None
        metric = f"agrees: {_short(str(text or annotator.get('name') or key))}"
        metrics[key] = f"{metric} ({key})" if metric in metrics.values() else metric
    return metrics


def _own_numbers(
    path: Path,
    annotators: Annotators,
    metrics: Mapping[str, str],
) -> dict[str, float]:
    """By metric, the share of votes for the preferred answer, as icai counted them."""
    votes, texts = path.with_name(VOTES), path.with_name(PRINCIPLES)
    if not (votes.is_file() and texts.is_file()):
        return {}
    counts = read_json(votes)
    places = {text: place for place, text in read_json(texts).items()}
    numbers = {}
    for key, metric in metrics.items():
        place = places.get(annotators[key].get("description"))
        votes_by_kind = counts.get(place) or {}
        total = sum(votes_by_kind.values())
        if total:
            numbers[metric] = votes_by_kind["for"] / total
    return numbers


def _side(annotation: Mapping[str, Any] | None) -> str | None:
    return SIDES.get(str((annotation or {}).get("pref")))


def _text(pair: Mapping[str, Any], side: str) -> str:
    """The text of an answer; before version 2 of the format it was a cell of the pair."""
    response = pair.get(f"response_{side}") or {}
    return str(response.get("text", pair.get(f"text_{side}", "")))


def _short(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    # Principles of two experiments may begin alike, and are not the same.
    return f"{text[: LONGEST - 3]}... ({hash_text(text)[:6]})"
