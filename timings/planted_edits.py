"""Which edits of a constitution does the spec diff find? Edits of the embedded world that keep or
change the meaning, and the recall of those that change it at 5 % false alarms.

    python timings/planted_edits.py write edits.yaml
    python run.py pipeline=dpo until=judgements constitution.name=edits.yaml seed=0 \
        scale.principles_per_pair=null pipeline.steps.judge_examination=null
    python timings/planted_edits.py measure runs/artifacts/judgements-...  # a folder for each seed
    python timings/planted_edits.py names
    python timings/planted_edits.py sets FOLDER  # turned.yaml and reworded.yaml, to train under
    python run.py -m pipeline=dpo seed=0,1,2 \
        constitution.name=world,FOLDER/turned.yaml,FOLDER/reworded.yaml hydra.sweep.dir=SWEEP
    python timings/planted_edits.py effects SWEEP FOLDER

`write` makes a set in which every wording is a clause of its own: for each dimension the two that
the constitution `world` has (`train`) and two that the model never read (`held_out`), each with its
opposite. So one matrix holds the cells of every edit from one wording to another:

    keeps         to another wording of the same dimension: its verdicts should stay
    turned        to the opposite of its own wording, or of another of the dimension
    subject       to a wording of another dimension
    gone          without one clause, or (`gone, both`) without both of a dimension
    added         one clause of a dimension to a set without it
    re-weighted   one clause counts four times, or a quarter
    re-ranked     dimensions have the weights 8 to 1, and one clause goes to the other end of that
                  order

`measure` takes for each edit of words the clause's own verdicts: the share of the pairs on which
both wordings decide that is reversed (what the spec diff tests with `--new-run`), and the share on
which the two verdicts differ in any way; for every edit the share of labels that differ (the mean
of the clauses). An edit is detected if its share is above a threshold, the lowest with at most 5 %
of the edits that keep the meaning above it; `test` is the verdict of the spec diff itself.
Thresholds are those of a seed. Edits share wordings, so intervals resample dimensions (a bootstrap
of eight).

`names` plants edits into `world` and counts those that the diff gives their right name. `sets`
writes `world` with both clauses of one dimension turned to their opposites, and reworded to
sentences that the model never read. `effects` prints what `--trained` says of each edit, for each
seed alone and for all together, and which measures it calls a change; the sweep is as above.
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

from stages.ablation.jobs import Job  # noqa: E402
from stages.ablation.outcomes import job_results  # noqa: E402
from stages.preferences.aggregate import aggregate, clip_margin, combine_orders  # noqa: E402
from stages.principles.constitution import Constitution, Principle, load  # noqa: E402
from stages.runtime.artifacts import Artifact  # noqa: E402
from stages.runtime.rows import Judgement  # noqa: E402
from stages.spec_diff.__main__ import read_job  # noqa: E402
from stages.spec_diff.behaviour import behaviour  # noqa: E402
from stages.spec_diff.clauses import compare  # noqa: E402
from stages.spec_diff.moved_labels import VERDICT_MARGIN  # noqa: E402
from stages.statistics.intervals import by_prompt  # noqa: E402
from stages.statistics.shares import changes  # noqa: E402
from stages.world.pretraining.principles import LEXICON  # noqa: E402

TAKEN = {1: "train", 2: "train", 7: "held_out", 8: "held_out"}
"""Sentences of each dimension by their number; the first two are those of the constitution."""
WORLD = ("1", "2")
TRAINED = "harm"
"""The dimension whose clauses `sets` edits."""
EDITS = ("turned", "reworded")
CLIP = 4.0
FALSE_ALARMS = 0.05
RESAMPLES = 2000
WORDS = ("turned", "subject")
MEASURES = ("reversed", "any", "labels", "test")
Columns = Mapping[str, Mapping[str, float]]
"""By clause and pair, the margin of both orders."""
Edit = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("do", choices=("write", "measure", "names", "sets", "effects"))
    parser.add_argument(
        "paths", type=Path, nargs="*", help="the file to write, or the folders of the judge steps"
    )
    options = parser.parse_args()
    if options.do == "write":
        options.paths[0].write_text(yaml.safe_dump(edits_file(), sort_keys=False))
    elif options.do == "sets":
        write_sets(options.paths[0])
    elif options.do == "effects":
        print(json.dumps(effects_of_training(*options.paths), indent=2))
    elif options.do == "names":
        print(json.dumps(names_of_edits(), indent=2))
    else:
        by_seed = []
        for path in options.paths:
            rows = Artifact(path.name.rpartition("-")[0], path.resolve()).rows(Judgement)
            by_seed.append(edits(columns_of(rows), {row.pair_id: row.prompt_id for row in rows}))
        print(json.dumps(measure(by_seed), indent=2))


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


def edits(columns: Columns, prompts: Mapping[str, str]) -> list[Edit]:
    """Return every planted edit with what it does to its clause and to the labels."""
    world = [name for name in columns if name.rpartition("-")[2] in WORLD]
    return [*edits_of_words(columns, world, prompts), *edits_of_the_set(columns, world)]


def edits_of_words(
    columns: Columns, world: Sequence[str], prompts: Mapping[str, str]
) -> list[Edit]:
    """Return the edits that give a clause other words."""
    every = [(name, 1.0) for name in world]
    before = label(columns, every)
    results = []
    for old in world:
        dimension = old.partition("-")[0]
        for new in columns:
            target, _, wording = new.partition("-")
            is_turned = wording.endswith("-turned")
            if new == old or (is_turned and target != dimension):
                continue
            kind = "turned" if is_turned else "keeps" if target == dimension else "subject"
            pairs = [pair for pair in columns[old] if pair in columns[new]]
            verdicts = [(p, sign(columns[old][p]), sign(columns[new][p])) for p in pairs]
            values = [(prompts[p], float(x != y)) for p, x, y in verdicts if x and y]
            _, findings = changes({"edit": {"0": by_prompt(values)}}, VERDICT_MARGIN)
            shown = "edit" in findings and findings["edit"].verdict == "differs"
            # another clause may have the new words already: then they stand there twice
            edited = [(new if name == old else name, weight) for name, weight in every]
            results.append(
                {
                    "dimension": dimension,
                    "kind": kind,
                    "wording": TAKEN[int(wording.partition("-")[0])],
                    "decided": len(values) / len(pairs),
                    "reversed": fmean(value for _, value in values) if values else 0.0,
                    "any": fmean(x != y for _, x, y in verdicts),
                    "test": float(shown),
                    "labels": moved(before, label(columns, edited)),
                }
            )
    return results


def edits_of_the_set(columns: Columns, world: Sequence[str]) -> list[Edit]:
    """Return the edits that leave all words as they are."""
    every = dict.fromkeys(world, 1.0)
    dimensions = list(dict.fromkeys(name.partition("-")[0] for name in world))
    places = {name: dimensions.index(name.partition("-")[0]) for name in world}
    ranked = {name: float(len(dimensions) - place) for name, place in places.items()}
    results = []
    for name in world:
        dimension = name.partition("-")[0]
        others = {each: 1.0 for each in world if each != name}
        strangers = {each: 1.0 for each in others if each.partition("-")[0] != dimension}
        top = places[name] < len(dimensions) / 2
        sides = {
            "gone": (every, others),
            "gone, both": (every, strangers),
            "added": (strangers, strangers | {name: 1.0}),
            "re-weighted, 4": (every, every | {name: 4.0}),
            "re-weighted, 1/4": (every, every | {name: 0.25}),
            "re-ranked": (ranked, ranked | {name: 1.0 if top else float(len(dimensions))}),
        }
        for kind, (before, after) in sides.items():
            share = moved(*(label(columns, list(side.items())) for side in (before, after)))
            results.append({"dimension": dimension, "kind": kind, "labels": share})
    return results


def label(columns: Columns, weights: Sequence[tuple[str, float]]) -> dict[str, int]:
    """Return by pair the label of the clauses' weighted mean."""
    labels = {}
    for pair in columns[weights[0][0]]:
        judged = [
            (columns[name][pair], weight) for name, weight in weights if pair in columns[name]
        ]
        margins, shares = zip(*judged, strict=True)
        labels[pair] = sign(aggregate(list(margins), list(shares), "mean")[0])
    return labels


def moved(before: Mapping[str, int], after: Mapping[str, int]) -> float:
    return fmean(before[pair] != after[pair] for pair in before if pair in after)


def sign(margin: float) -> int:
    return (margin > 0) - (margin < 0)


def threshold(values: Sequence[float]) -> float:
    """Return the lowest share that at most `FALSE_ALARMS` of these values are above."""
    allowed = int(FALSE_ALARMS * len(values))
    return sorted(values, reverse=True)[allowed]


def limit(chosen: Sequence[Edit], by: str) -> float:
    """Return the threshold of a measure; the test of the spec diff has its own."""
    return 0.5 if by == "test" else threshold([e[by] for e in chosen if e["kind"] == "keeps"])


def measure(by_seed: Sequence[Sequence[Edit]]) -> dict[str, Any]:
    """Return recall at 5 % false alarms over all seeds, with intervals over dimensions."""
    planted = [edit | {"seed": seed} for seed, each in enumerate(by_seed) for edit in each]
    dimensions = sorted({edit["dimension"] for edit in planted})
    kinds = list(dict.fromkeys(edit["kind"] for edit in planted))
    counts = {kind: sum(edit["kind"] == kind for edit in planted) for kind in kinds}
    results: dict[str, Any] = {"seeds": len(by_seed), "edits": counts}
    for by in MEASURES:
        limits = [limit(each, by) for each in by_seed]
        results[by] = {"thresholds": limits, "means": {}, "recall": {}}
        for kind in kinds:
            chosen = [edit for edit in planted if edit["kind"] == kind and by in edit]
            if not chosen:
                continue
            results[by]["means"][kind] = fmean(edit[by] for edit in chosen)
            found: dict[str, list[bool]] = {name: [] for name in dimensions}
            for edit in chosen:
                found[edit["dimension"]].append(edit[by] > limits[edit["seed"]])
            results[by]["recall"][kind] = with_interval(found)
            if kind in ("keeps", *WORDS):
                for wording in ("train", "held_out"):
                    part = [e[by] > limits[e["seed"]] for e in chosen if e["wording"] == wording]
                    results[by]["recall"][f"{kind}, {wording}"] = fmean(part)
    return results


def with_interval(found: Mapping[str, Sequence[bool]]) -> dict[str, float]:
    """Return the share that was found, and its interval over resampled dimensions."""
    rng = random.Random(0)
    names = list(found)
    drawn = []
    for _ in range(RESAMPLES):
        drawn.append(fmean(one for name in rng.choices(names, k=len(names)) for one in found[name]))
    drawn.sort()
    return {
        "value": fmean(one for values in found.values() for one in values),
        "low": drawn[int(0.025 * RESAMPLES)],
        "high": drawn[int(0.975 * RESAMPLES)],
    }


def names_of_edits() -> dict[str, dict[str, int]]:
    """Return by kind of edit how many were planted, and how many were named rightly.

    An edit is named rightly if the diff lists its clause with this kind and no other clause; a
    harmless one if the diff lists nothing.
    """
    world = load("world")
    counts: dict[str, dict[str, int]] = {}
    for place, principle in enumerate(world.principles):
        rest = [each for each in world.principles if each.id != principle.id]
        sentences = LEXICON[str(principle.dimension)].sentences
        rotated = (*world.principles[place:], *world.principles[:place])
        opposite = {"text": principle.opposite, "opposite": principle.text}
        edited = {
            "harmless: another order of the file": (rotated, None),
            "gone": (rest, ("gone",)),
            "added": (world.principles, ("added",)),
            "reworded": (swap(world, principle, text=sentences[6][0]), ("reworded",)),
            "polarity turned": (swap(world, principle, **opposite), ("reworded", "other fields")),
            "re-weighted": (swap(world, principle, weight=4.0), ("re-weighted", "re-ranked")),
            "re-ranked": (
                swap(world, principle, authority="root"),
                ("other authority", "re-ranked"),
            ),
            "renamed": (swap(world, principle, id="other-name"), ("renamed",)),
            "renamed, one word more": (
                swap(world, principle, id="other-name", text=f"{principle.text} Always."),
                ("renamed", "reworded"),
            ),
            "renamed, other words": (
                swap(world, principle, id="other-name", text=sentences[6][0]),
                ("renamed", "reworded"),
            ),
        }
        for kind, (after, expected) in edited.items():
            before = rest if kind == "added" else world.principles
            difference = compare(with_principles(world, before), with_principles(world, after))
            listed = [clause.kinds for clause in difference.changed]
            count = counts.setdefault(kind, {"planted": 0, "named rightly": 0})
            count["planted"] += 1
            count["named rightly"] += listed == ([expected] if expected else [])
    return counts


def write_sets(folder: Path) -> None:
    """Write the sets of the edits that are measured by training: one that matters, one harmless."""
    folder.mkdir(parents=True, exist_ok=True)
    unread = [number for number, name in TAKEN.items() if name == "held_out"]
    for name in EDITS:
        content = yaml.safe_load((ROOT / "constitutions" / "world.yaml").read_text())
        edited = [one for one in content["principles"] if one["dimension"] == TRAINED]
        for principle, number in zip(edited, unread, strict=True):
            sides = (principle["opposite"], principle["text"])
            if name == "reworded":
                sides = LEXICON[TRAINED].sentences[number - 1]
            principle["text"], principle["opposite"] = sides
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def effects_of_training(sweep: Path, folder: Path) -> dict[str, Any]:
    """Return by edit and seed the effect on the edited dimension, and the measures that changed."""
    jobs = [
        read_job(path.parent)
        for path in sorted(sweep.glob("*/run.json"), key=lambda path: int(path.parent.name))
    ]
    numbers = len(jobs) // (1 + len(EDITS))
    results: dict[str, Any] = {}
    for place, edit in enumerate(EDITS, start=1):
        difference = compare(load("world"), load(str(folder / f"{edit}.yaml")))
        old = [jobs[number * (1 + len(EDITS))] for number in range(numbers)]
        new = [jobs[number * (1 + len(EDITS)) + place] for number in range(numbers)]
        groups = {f"seed {job.seed}": ([job], [other]) for job, other in zip(old, new, strict=True)}
        groups["all"] = (old, new)
        results[edit] = {}
        for name, (before, after) in groups.items():
            changes = behaviour(before, after, difference)
            effect = changes[f"{TRAINED}-1"]
            results[edit][name] = {
                "rates": [round(100 * share, 1) for share in rates(before, after)],
                "change": [round(100 * x, 1) for x in (effect.value, effect.low, effect.high)],
                "p after Holm": effect.p_adjusted,
                "called": sorted(
                    {key.partition("-")[0] for key, one in changes.items() if one.p_adjusted < 0.05}
                ),
            }
    return results


def rates(*groups: Sequence[Job]) -> list[float]:
    """Return of each group the share of answers that violate the edited dimension."""
    shares = []
    for jobs in groups:
        values = [job_results("policy", job, job)[f"violates {TRAINED}-1"] for job in jobs]
        shares.append(fmean(value for each in values for value in each.values()))
    return shares


def swap(world: Constitution, principle: Principle, **fields: Any) -> list[Principle]:
    """Return the clauses, one of them with other fields."""
    return [
        each.model_copy(update=fields) if each.id == principle.id else each
        for each in world.principles
    ]


def with_principles(world: Constitution, principles: Sequence[Principle]) -> Constitution:
    return world.model_copy(update={"principles": tuple(principles)})


if __name__ == "__main__":
    main()
