"""Stage `export`: rows in the formats of others' tools, so that what Credo found can be looked at
there.

In: any steps. Out: files in the artifact's folder, by the rows of each input,

    Pair       `<step>.annotated_pairs.json`, annotated pairs v2.0 (Inverse Constitutional AI and
    Feedback Forensics, Findeis et
               al. 2024, arXiv 2406.06560): every pair with its label and each principle's vote;
               `<step>.icai.csv`, the table that icai starts from (text_a, text_b, preferred_text,
               prompt)
    Judgement  no file of its own: the votes of the principles on the pairs made from it, those too
    that did not decide Verdict    `inspect/<time>_<step>-<policy>_<id>.json`, one log a policy
    (inspect_ai, `inspect view`)

A principle whose two orders disagree has no vote, with the reason `invalid`; without a preference
it is `not_applicable`. The margins stand beside the vote. Which response is A comes from the judge
matrix, else from a hash of the pair's id.

Left out: pairs without a label (icai's reader needs one for each); in logs, token counts and what
the judge was asked.
"""

import csv
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from stages.report.views.browse import principle_texts
from stages.runtime.artifacts import Artifact, Result, Table, write_atomically
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Judgement, Pair, Verdict, request_text
from stages.runtime.stage import ANY, Stage

# Feedback Forensics knows it by its hash
LABEL = "Default annotator from original dataset (from column `preferred_text`)"
COLUMNS = ("text_a", "text_b", "preferred_text", "prompt")
SHARES = ("any_violation", "evasive", "helpful", "well_formed", "on_topic")


@dataclass(frozen=True)
class Config:
    """Args:
    formats: which files to write.
    """

    formats: tuple[Literal["annotated_pairs", "icai_csv", "inspect"], ...] = (
        "annotated_pairs",
        "icai_csv",
        "inspect",
    )


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Write the files.

    Raises:
        UserError: no input has rows that these formats can hold, or a file cannot be written.
    """
    given = {name: (source.row_type, source) for name, source in inputs.items()}
    texts = {p: text for source in inputs.values() for p, text in principle_texts(source).items()}
    for source in (source for row_type, source in given.values() if row_type is Pair):
        texts = {name: name for pair in source.rows(Pair) for name in pair.principles} | texts
    matrix: dict[str, list[Judgement]] = {}
    for _, source in (each for each in given.values() if each[0] is Judgement):
        for cell in source.rows(Judgement):
            matrix.setdefault(cell.pair_id, []).append(cell)
    written: list[tuple[str, int]] = []
    try:
        for row_type, source in given.values():
            if row_type is Pair:
                compared = [
                    comparison(pair, _cells_of(pair, matrix), texts) for pair in source.rows(Pair)
                ]
                if "annotated_pairs" in config.formats:
                    path = context.directory / f"{source.step}.annotated_pairs.json"
                    told = annotated_pairs(
                        compared, source.step, str(source.manifest.get("finished", "")), texts
                    )
                    write_atomically(path, json.dumps(told, indent=1, ensure_ascii=False))
                    written.append((path.name, len(compared)))
                if "icai_csv" in config.formats:
                    path = context.directory / f"{source.step}.icai.csv"
                    _write_csv(path, compared)
                    written.append((path.name, len(compared)))
            elif row_type is Verdict and "inspect" in config.formats:
                rows = source.rows(Verdict)
                (context.directory / "inspect").mkdir(exist_ok=True)
                for policy in dict.fromkeys(row.policy for row in rows):
                    log = inspect_log([row for row in rows if row.policy == policy], source)
                    facts = log["eval"]
                    name = f"inspect/{facts['created'].replace(':', '-')}_{facts['task']}_{facts['eval_id']}.json"
                    write_atomically(
                        context.directory / name,
                        json.dumps(log, ensure_ascii=False, allow_nan=False),
                    )
                    written.append((name, len(log["samples"])))
    except OSError as error:
        fix = "free some disk space"
        raise UserError(
            f"the export cannot be written: {error.strerror}", where=str(context.directory), fix=fix
        ) from None
    if not written:
        fix = "add `inputs: {pairs: <a step that makes pairs>, evaluation: <an evaluate step>}`"
        raise UserError(
            "there is nothing that these formats hold", where=f"step {context.step!r}", fix=fix
        )
    table = Table("Exported", ["file", "rows"], [[name, f"{count:,}"] for name, count in written])
    return Result(metrics={"files": dict(written)}, tables=[table])


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional=ANY,
)


def _cells_of(pair: Pair, matrix: Mapping[str, list[Judgement]]) -> list[Judgement]:
    """The judge's cells about the pair, whichever of its sides the judge called response a."""
    ids = (pair.chosen_id, pair.rejected_id)
    return matrix.get("|".join(ids)) or matrix.get("|".join(reversed(ids))) or []


def comparison(pair: Pair, cells: Sequence[Judgement], texts: Mapping[str, str]) -> dict[str, Any]:
    """One pair with its label and its principles' votes, as annotated pairs v2.0 has it."""
    if cells:
        chosen_is_a = cells[0].response_a == pair.chosen
        votes = {cell.principle: (cell.margin_ab, cell.margin_ba) for cell in cells}
    else:
        chosen_is_a = hashlib.sha256(pair.id.encode()).digest()[0] % 2 == 0
        side = 1 if chosen_is_a else -1
        given = zip(pair.principles, pair.margins_ab, pair.margins_ba, strict=True)
        votes = {principle: (side * ab, side * ba) for principle, ab, ba in given}
    a, b = (pair.chosen, pair.rejected) if chosen_is_a else (pair.rejected, pair.chosen)
    annotations: dict[str, dict[str, Any]] = {
        short_hash(LABEL): {"pref": "a" if chosen_is_a else "b"}
    }
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
        "metadata": {name: told for name, told in facts.items() if told},
    }


def vote(first: float, second: float) -> dict[str, Any]:
    """One principle's choice; both orders must agree on it."""
    margins = {"margin_ab": round(first, 4), "margin_ba": round(second, 4)}
    if first == second == 0:
        return {"pref": None, "no_pref_reason": "not_applicable", **margins}
    if first * second <= 0:
        return {"pref": None, "no_pref_reason": "invalid", **margins}
    return {"pref": "a" if first > 0 else "b", **margins}


def annotated_pairs(
    compared: Sequence[Mapping[str, Any]], name: str, finished: str, texts: Mapping[str, str]
) -> dict[str, Any]:
    """The whole file. Annotators are those that any pair has, with the principles' texts as far as
    they are known.
    """
    used = {each for one in compared for each in one["annotations"]}
    known = {short_hash(text): text for text in (*texts.values(), *texts)}
    principles = {
        each: {"description": known.get(each, each), "type": "principle"} for each in sorted(used)
    }
    default = short_hash(LABEL)
    label = {"name": "preferred_text", "description": LABEL, "type": "ai"}
    return {
        "metadata": {
            "version": "2.0",
            "description": "Preference pairs with each principle's vote, from Credo",
            "created_at": finished,
            "dataset_name": name,
            "default_annotator": default,
            "available_metadata_keys_per_comparison": ["kind", "label", "deciding", "rule"],
        },
        "annotators": principles | {default: label},
        "comparisons": list(compared),
    }


def short_hash(text: str) -> str:
    """How icai names an annotator."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8]


def _write_csv(path: Path, compared: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for one in compared:
            preferred = f"text_{one['annotations'][short_hash(LABEL)]['pref']}"
            writer.writerow(
                (one["response_a"]["text"], one["response_b"]["text"], preferred, one["prompt"])
            )


def inspect_log(rows: Sequence[Verdict], source: Artifact) -> dict[str, Any]:
    """One policy's answers and what was found in them, as inspect_ai's JSON log: a sample an
    answer, a score a measure.
    """
    policy = rows[0].policy
    samples = [_sample(row, source.metrics.get("counted") or row.principles) for row in rows]
    names = list(dict.fromkeys(name for sample in samples for name in sample["scores"]))
    facts = source.metrics["policies"].get(policy, {}).get("measures", {})
    finished = _time(str(source.manifest.get("finished", "")))
    eval_id = hashlib.sha256(f"{source.fingerprint}/{policy}".encode()).hexdigest()[:22]
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": eval_id,
            "run_id": source.fingerprint,
            "created": finished,
            "task": f"{source.step}-{policy}".replace("_", "-"),
            "task_id": eval_id,
            "task_version": 0,
            "dataset": {
                "name": source.step,
                "samples": len(rows),
                "sample_ids": [s["id"] for s in samples],
                "shuffled": False,
            },
            "model": policy,
            "config": {"epochs": 1},
            "packages": {
                name: str(version)
                for name, version in (source.manifest.get("versions") or {}).items()
            },
            "metadata": {
                "measured_by": source.metrics.get("measured_by"),
                "seed": source.seed,
            },
        },
        "plan": {"name": "plan", "steps": [], "config": {}},  # readers of the header want it
        "results": {
            "total_samples": len(rows),
            "completed_samples": len(rows),
            "scores": [
                _score(
                    name,
                    [s["scores"][name]["value"] for s in samples if name in s["scores"]],
                    facts,
                )
                for name in names
            ],
        },
        "stats": {"started_at": finished, "completed_at": finished},
        "samples": samples,
    }


def _sample(row: Verdict, counted: Sequence[str]) -> dict[str, Any]:
    scores = {name: float(value) for name in SHARES if (value := getattr(row, name)) is not None}
    by_judge = not row.violated
    for name, found in zip(row.principles, row.violated or row.judged, strict=False):
        if found is not None:
            scores[f"violates {name}"] = float(found > 0.5 if by_judge else found)
    if by_judge and row.judged:
        scores["any_violation"] = float(any(scores.get(f"violates {name}") for name in counted))
    answer = {
        "role": "assistant",
        "content": row.response,
        "source": "generate",
        "model": row.policy,
    }
    return {
        "id": row.response_id,
        "epoch": 1,
        "input": [
            {"role": message["role"], "content": message["content"]} for message in row.prompt
        ],
        "target": "",
        "messages": [*row.prompt, answer],
        "output": {
            "model": row.policy,
            "choices": [{"message": answer, "stop_reason": "stop"}],
            "completion": row.response,
        },
        "scores": {
            name: {"value": value, "answer": row.response} for name, value in scores.items()
        },
        "metadata": {
            "kind": row.kind,
            "judge_probabilities": dict(zip(row.principles, row.judged, strict=False)),
        },
    }


def _score(name: str, values: Sequence[float], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Mean and its standard error over answers; the interval is the evaluation's own, over prompts."""
    metrics = {
        "mean": fmean(values),
        "stderr": stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0,
    }
    own = facts.get(name) or {}
    metrics |= {bound: own[bound] for bound in ("low", "high") if bound in own}
    shown = {metric: {"name": metric, "value": value} for metric, value in metrics.items()}
    return {"name": name, "scorer": name, "scored_samples": len(values), "metrics": shown}


def _time(text: str) -> str:
    """`+0000` as `+00:00`, which all readers of ISO times take."""
    return f"{text[:-2]}:{text[-2:]}" if len(text) == 24 else text or "1970-01-01T00:00:00+00:00"
