"""Results of weval: one file with the answers of several models to the prompts of a blueprint.

In: the JSON file. Out: a log for each model, with the metric `coverage`: how far an answer covers
the points of its prompt, in [0, 1]. The ideal answer, which people wrote, is not a model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.compare.logs.log import (
    Log,
    require,
)
from stages.guards.files import read_json

TOOL = "weval"
COVERAGE = "coverage"
IDEAL = "IDEAL_BENCHMARK"
"""The name under which an ideal answer stands beside the models."""

WEIGHTS = "__promptWeights"
"""Beside the prompts, the weights by which weval averages them, where a blueprint has any."""


def is_weval(value: Any) -> bool:
    """Whether the content of a JSON file is a result of weval."""
    return isinstance(value, Mapping) and {"evaluationResults", "promptIds"} <= value.keys()


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
    answers = value.get("allFinalAssistantResponses") or {}
    logs = []
    for model in value.get("effectiveModels") or ():
        if model == IDEAL:
            continue
        log = Log(f"{name} {model}".strip(), TOOL, path)
        failed = 0
        for prompt in value["promptIds"]:
            result = (scores.get(prompt) or {}).get(model) or {}
            failed += bool(result.get("error"))
            coverage = None if result.get("error") else result.get("avgCoverageExtent")
            answer = (answers.get(prompt) or {}).get(model, "")
            log.add(prompt, prompts.get(prompt, prompt), answer, {COVERAGE: coverage})
        if scores.get(WEIGHTS):
            log.notes.append("weval weighs the prompts of this file; here each counts alike")
        if failed:
            log.notes.append(f"{failed} answers were not judged, so they are left out")
        logs.append(require(log))
    return logs
