"""Which edits of a principle does the judge matrix show? Edits of the embedded world that keep or
turn the meaning, and the recall of turned ones at 5 % false alarms.

    python timings/planted_edits.py write edits.yaml
    python run.py pipeline=dpo until=judgements constitution.name=edits.yaml \
        scale.principles_per_pair=null pipeline.steps.judge_examination=null
    python timings/planted_edits.py measure runs/artifacts/judgements-...

`write` makes a set in which every wording is a clause of its own: for each dimension the two that
the constitution `world` has (`train`) and two that the model never read (`held_out`), each with its
opposite. So one matrix holds the cells of every edit from one wording to another:

    keeps     to another wording of the same dimension: its labels should stay
    turned    to the opposite of its own wording, or of another of the dimension
    subject   to a wording of another dimension

`measure` takes for each edit the share of pairs on which the clause's own verdict differs, and for
the labels of the whole set (the 16 clauses of `world`, their mean) the share that differs. An edit
is detected if its share is above a threshold, the lowest with at most 5 % of the edits that keep
the meaning above it. Edits share wordings, so intervals resample dimensions (a bootstrap of eight).
"""

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stages.preferences.aggregate import aggregate, clip_margin, combine_orders  # noqa: E402
from stages.runtime.artifacts import Artifact  # noqa: E402
from stages.runtime.rows import Judgement  # noqa: E402
from stages.world.pretraining.principles import LEXICON  # noqa: E402

TAKEN = {1: "train", 2: "train", 7: "held_out", 8: "held_out"}
"""Sentences of each dimension by their number; the first two are those of the constitution."""
CLIP = 4.0
FALSE_ALARMS = 0.05
RESAMPLES = 2000
Columns = Mapping[str, Mapping[str, float]]
"""By clause and pair, the margin of both orders."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("do", choices=("write", "measure"))
    parser.add_argument(
        "path", type=Path, help="the file to write, or the folder of the judge step"
    )
    options = parser.parse_args()
    if options.do == "write":
        options.path.write_text(yaml.safe_dump(edits_file(), sort_keys=False))
        return
    step = options.path.name.rpartition("-")[0]
    rows = Artifact(step, options.path.resolve()).rows(Judgement)
    print(json.dumps(measure(columns_of(rows)), indent=2))


def edits_file() -> dict[str, Any]:
    """Return the set in which every wording is a clause."""
    principles = []
    for dimension, lexicon in LEXICON.items():
        for number, tag in TAKEN.items():
            text, opposite = lexicon.sentences[number - 1]
            name = f"{dimension}-{number}"
            principles.append(
                {"id": name, "text": text, "dimension": dimension, "tags": [tag.replace("_", "-")]}
            )
            turned = {"id": f"{name}-turned", "text": opposite, "dimension": dimension}
            principles.append(turned | {"tags": [tag.replace("_", "-")]})
    return {"name": "planted-edits", "principles": principles}


def columns_of(rows: Sequence[Judgement]) -> dict[str, dict[str, float]]:
    """Return the margins of both orders; orders that contradict each other say nothing."""
    columns: dict[str, dict[str, float]] = {}
    for row in rows:
        margin = combine_orders(row.margin_ab, row.margin_ba, "agree")
        columns.setdefault(row.principle, {})[row.pair_id] = clip_margin(margin, CLIP)
    return columns


def edits(columns: Columns) -> list[dict[str, Any]]:
    """Return every planted edit with what it does to its clause and to the labels."""
    world = [name for name in columns if name.rpartition("-")[2] in ("1", "2")]
    labels = label(columns, world, {})
    results = []
    for old in columns:
        dimension, _, number = old.partition("-")
        if number not in ("1", "2"):
            continue
        for new in columns:
            target, _, wording = new.partition("-")
            is_turned = wording.endswith("-turned")
            if new == old or (is_turned and target != dimension):
                continue
            kind = "turned" if is_turned else "keeps" if target == dimension else "subject"
            after = label(columns, world, {old: new})
            pairs = [pair for pair in columns[old] if pair in columns[new]]
            verdicts = [sign(columns[old][p]) != sign(columns[new][p]) for p in pairs]
            results.append(
                {
                    "dimension": dimension,
                    "kind": kind,
                    "wording": TAKEN[int(wording.partition("-")[0])],
                    "verdicts": fmean(verdicts),
                    "labels": fmean(labels[pair] != after[pair] for pair in pairs),
                }
            )
    return results


def label(columns: Columns, names: Sequence[str], edit: Mapping[str, str]) -> dict[str, int]:
    """Return by pair the label of the clauses' mean, with some clauses in other words."""
    shown = [edit.get(name, name) for name in names]
    labels = {}
    for pair in columns[names[0]]:
        margins = [columns[name][pair] for name in shown if pair in columns[name]]
        labels[pair] = sign(aggregate(margins, [1.0] * len(margins), "mean")[0])
    return labels


def sign(margin: float) -> int:
    return (margin > 0) - (margin < 0)


def threshold(values: Sequence[float]) -> float:
    """Return the lowest share that at most `FALSE_ALARMS` of these values are above."""
    allowed = int(FALSE_ALARMS * len(values))
    return sorted(values, reverse=True)[allowed]


def recall(all_edits: Sequence[Mapping[str, Any]], kind: str, by: str) -> float:
    harmless = [edit[by] for edit in all_edits if edit["kind"] == "keeps"]
    limit = threshold(harmless)
    return fmean(edit[by] > limit for edit in all_edits if edit["kind"] == kind)


def measure(columns: Columns) -> dict[str, Any]:
    """Return recall at 5 % false alarms, with intervals over dimensions."""
    planted = edits(columns)
    dimensions = sorted({edit["dimension"] for edit in planted})
    groups = {name: [e for e in planted if e["dimension"] == name] for name in dimensions}
    rng = random.Random(0)
    results: dict[str, Any] = {"pairs": len(next(iter(columns.values()))), "edits": {}}
    for kind in ("keeps", "turned", "subject"):
        results["edits"][kind] = sum(edit["kind"] == kind for edit in planted)
    for by in ("verdicts", "labels"):
        harmless = [edit[by] for edit in planted if edit["kind"] == "keeps"]
        results[by] = {"threshold": threshold(harmless), "means": {}, "recall": {}}
        for kind in ("keeps", "turned", "subject"):
            for wording in ("train", "held_out"):
                chosen = [e[by] for e in planted if e["kind"] == kind and e["wording"] == wording]
                results[by]["means"][f"{kind}, {wording}"] = fmean(chosen)
        for kind in ("turned", "subject"):
            drawn = []
            for _ in range(RESAMPLES):
                names = rng.choices(dimensions, k=len(dimensions))
                drawn.append(recall([e for name in names for e in groups[name]], kind, by))
            drawn.sort()
            results[by]["recall"][kind] = {
                "value": recall(planted, kind, by),
                "low": drawn[int(0.025 * RESAMPLES)],
                "high": drawn[int(0.975 * RESAMPLES)],
            }
    return results


if __name__ == "__main__":
    main()
