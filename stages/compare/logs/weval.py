"""Results of weval: one file with the answers of several models to the prompts of a blueprint.

In: the JSON file (`..._comparison.json`), or the folder of a run with `core.json`. Out: a log for
each model, with the metric `coverage`: how far an answer covers the points of its prompt, in
[0, 1]. The ideal answer, which people wrote, is not a model. The tool's own number is a model's
mean coverage in `summary.json`, if it lies beside.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.compare.logs.log import (
    Log,
    is_number,
    require,
)
from stages.guards.files import read_json

TOOL = "weval"
COVERAGE = "coverage"
IDEAL = "IDEAL_BENCHMARK"
"""The name under which an ideal answer stands beside the models."""

WEIGHTS = "__promptWeights"
"""Beside the prompts, the weights by which weval averages them, where its server sent the file."""
CORE = "core.json"
"""The result in a run's folder; the answers lie in files beside."""
ENDING = "_comparison.json"
SUMMARY = "summary.json"


def is_weval(value: Any) -> bool:
    """Whether the content of a JSON file is a result of weval."""
    return isinstance(value, Mapping) and {"evaluationResults", "promptIds"} <= value.keys()


def result_file(folder: Path) -> Path | None:
    """The result in a folder: its `core.json`, or the newest run of a blueprint."""
    if (folder / CORE).is_file():
        return folder / CORE
    files = _results(folder)
    return files[-1] if files else None


def _results(folder: Path) -> list[Path]:
    """The results of a blueprint's runs, the oldest first."""
    return sorted(folder.glob(f"*{ENDING}"), key=_time)


def read_weval(
    path: Path,
    name: str,
) -> list[Log]:
    """Read the log of each model.

    Raises:
        UserError: the file is broken, or no answer of a model has a score.
    """
    value = read_json(path)
    scores = value["evaluationResults"].get("llmCoverageScores") or {}
    prompts = value.get("promptContexts") or {}
    answers = {prompt: _answers(path, value, prompt) for prompt in value["promptIds"]}
    weights = _weights(value, scores)
    means = _own_means(path, value)
    older = len(_results(path.parent)) - 1 if path.name != CORE else 0
    logs = []
    for model in value.get("effectiveModels") or ():
        if model == IDEAL:
            continue
        log = Log(f"{name} {model}".strip(), TOOL, path)
        failed = 0
        unjudged = 0
        for prompt in value["promptIds"]:
            result = (scores.get(prompt) or {}).get(model) or {}
            failed += bool(result.get("error"))
            unjudged += not result.get("error") and _is_unjudged(result)
            answer = answers[prompt].get(model)
            log.add(
                prompt,
                prompts.get(prompt, prompt),
                answer,
                {} if result.get("error") else {COVERAGE: result.get("avgCoverageExtent")},
            )
        if older > 0:
            log.notes.append(f"{older} older results of its folder are left out")
        if any(weight != 1 for weight in weights.values()):
            log.notes.append(_about_weights(log, weights))
        if failed:
            log.notes.append(f"{failed} answers were not judged, so they are left out")
        if unjudged:
            log.notes.append(
                f"{unjudged} answers have a coverage of 0 because every judgement of them failed; "
                "they count, as in weval"
            )
        if is_number(means.get(model)):
            log.reported[COVERAGE] = float(means[model])
        logs.append(require(log))
    return logs


def _answers(
    path: Path,
    value: Mapping[str, Any],
    prompt: str,
) -> Mapping[str, Any]:
    """By model, its answer; in a run's folder they lie in a file for each prompt."""
    answers = (value.get("allFinalAssistantResponses") or {}).get(prompt) or {}
    file = path.with_name("responses") / f"{Path(prompt).name}.json"
    if path.name == CORE and file.is_file():
        return read_json(file) or {}
    return answers


def _weights(
    value: Mapping[str, Any],
    scores: Mapping[str, Any],
) -> dict[str, float]:
    """By prompt, its weight in weval's mean; 1 where the blueprint has none."""
    listed = scores.get(WEIGHTS) or {}
    for prompt in (value.get("config") or {}).get("prompts") or ():
        if is_number(prompt.get("weight")) and prompt["weight"] > 0:
            listed = {prompt["id"]: prompt["weight"]} | listed
    return {prompt: float(listed.get(prompt, 1)) for prompt in value["promptIds"]}


def _about_weights(
    log: Log,
    weights: Mapping[str, float],
) -> str:
    note = "weval weighs the prompts of this file; here each counts alike"
    values = log.values(COVERAGE)
    total = sum(weights[prompt] for prompt in values)
    if not total:
        return note
    mean = sum(weights[prompt] * value for prompt, value in values.items()) / total
    return f"{note} (weighted, the mean is {mean:.4g})"


def _is_unjudged(result: Mapping[str, Any]) -> bool:
    """Whether no point of an answer has a value: weval then writes a coverage of 0."""
    points = result.get("pointAssessments") or ()
    return bool(points) and not any(is_number(point.get("coverageExtent")) for point in points)


def _own_means(
    path: Path,
    value: Mapping[str, Any],
) -> dict[str, Any]:
    """By model, the mean coverage that weval wrote of this run."""
    folder = path.parent.parent if path.name == CORE else path.parent
    if not (folder / SUMMARY).is_file():
        return {}
    for run in read_json(folder / SUMMARY).get("runs") or ():
        if all(run.get(key) == value.get(key) for key in ("runLabel", "timestamp")):
            models = run.get("perModelScores") or {}
            return {
                model: (one.get(COVERAGE) or {}).get("average") for model, one in models.items()
            }
    return {}


def _time(path: Path) -> str:
    """The time in a result's name, which follows its label."""
    return path.name.removesuffix(ENDING).rpartition("_")[2]
