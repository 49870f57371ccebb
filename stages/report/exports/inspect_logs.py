"""An evaluation's answers as inspect_ai's JSON logs, for `inspect view`.

In: the Verdict rows of one policy, and their evaluation. Out: one log, with a sample for each
answer and a score for each measure.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from stages.evaluation.instrument.decision import Decision, decision_of
from stages.runtime.artifacts import Artifact
from stages.runtime.rows import Verdict

Log = dict[str, Any]
Facts = Mapping[str, Any]

SHARES = ("any_violation", "evasive", "helpful", "well_formed", "on_topic")


def inspect_log(rows: Sequence[Verdict], source: Artifact) -> Log:
    """One policy's answers and their scores."""
    policy = rows[0].policy
    counted = source.metrics.get("counted")
    decision = decision_of(source.metrics)
    samples = [_sample(row, counted or row.principles, decision) for row in rows]
    facts = source.metrics["policies"].get(policy, {})
    estimates = facts.get("measures", {})
    finished = _time(source.manifest.finished)
    return {
        "version": 2,
        "status": "success",
        "eval": _eval(policy, samples, source, finished),
        "plan": {"name": "plan", "steps": [], "config": {}},  # readers of the header require it
        "results": {
            "total_samples": len(rows),
            "completed_samples": len(rows),
            "scores": _scores(samples, estimates),
        },
        "stats": {"started_at": finished, "completed_at": finished},
        "samples": samples,
    }


def _eval(policy: str, samples: Sequence[Facts], source: Artifact, finished: str) -> Log:
    """The log's header."""
    identity = f"{source.fingerprint}/{policy}"
    eval_id = hashlib.sha256(identity.encode()).hexdigest()[:22]
    versions = source.manifest.versions
    return {
        "eval_id": eval_id,
        "run_id": source.fingerprint,
        "created": finished,
        "task": f"{source.step}-{policy}".replace("_", "-"),
        "task_id": eval_id,
        "task_version": 0,
        "dataset": {
            "name": source.step,
            "samples": len(samples),
            "sample_ids": [sample["id"] for sample in samples],
            "shuffled": False,
        },
        "model": policy,
        "config": {"epochs": 1},
        "packages": {name: str(version) for name, version in versions.items()},
        "metadata": {
            "measured_by": source.metrics.get("measured_by"),
            "seed": source.seed,
        },
    }


def _sample(row: Verdict, counted: Sequence[str], decision: Decision) -> Log:
    """One answer with its scores."""
    answer = {
        "role": "assistant",
        "content": row.response,
        "source": "generate",
        "model": row.policy,
    }
    request = []
    for message in row.prompt:
        request.append(
            {
                "role": message["role"],
                "content": message["content"],
            }
        )
    scores = {}
    for name, value in _values(row, counted, decision).items():
        scores[name] = {"value": value, "answer": row.response}
    return {
        "id": row.response_id,
        "epoch": 1,
        "input": request,
        "target": "",
        "messages": [*row.prompt, answer],
        "output": {
            "model": row.policy,
            "choices": [{"message": answer, "stop_reason": "stop"}],
            "completion": row.response,
        },
        "scores": scores,
        "metadata": {
            "kind": row.kind,
            "judge_probabilities": dict(zip(row.principles, row.judged, strict=False)),
        },
    }


def _values(row: Verdict, counted: Sequence[str], decision: Decision) -> dict[str, float]:
    """The scores of one answer; by the judge where there is no ground truth."""
    values = {}
    for name in SHARES:
        value = getattr(row, name)
        if value is not None:
            values[name] = float(value)
    by_judge = not row.violated
    by_truth = dict(zip(row.principles, row.violated, strict=False))
    verdicts = decision.violated(row) if by_judge else by_truth
    for name, verdict in verdicts.items():
        if verdict is not None:
            values[f"violates {name}"] = float(verdict)
    if by_judge and row.judged:
        broken = [values.get(f"violates {name}") for name in counted]
        values["any_violation"] = float(any(broken))
    return values


def _scores(samples: Sequence[Facts], facts: Facts) -> list[Log]:
    """A summary of each score over all answers."""
    by_name: dict[str, list[float]] = {}
    for sample in samples:
        for name, score in sample["scores"].items():
            by_name.setdefault(name, []).append(score["value"])
    return [_score(name, values, facts) for name, values in by_name.items()]


def _score(name: str, values: Sequence[float], facts: Facts) -> Log:
    """Mean and standard error over answers; the interval is the evaluation's, over prompts."""
    number = len(values)
    metrics = {"mean": fmean(values), "stderr": 0.0}
    if number > 1:
        metrics["stderr"] = stdev(values) / math.sqrt(number)
    estimate = facts.get(name) or {}
    for bound in ("low", "high"):
        if bound in estimate:
            metrics[bound] = estimate[bound]
    listed = {}
    for metric, value in metrics.items():
        listed[metric] = {"name": metric, "value": value}
    return {
        "name": name,
        "scorer": name,
        "scored_samples": number,
        "metrics": listed,
    }


def _time(text: str) -> str:
    """`+0000` as `+00:00`, which all readers of ISO times accept."""
    if len(text) == 24:
        return f"{text[:-2]}:{text[-2:]}"
    return text or "1970-01-01T00:00:00+00:00"
