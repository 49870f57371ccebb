"""The cards of a published model or dataset: principles, all steps before it, and results.

In: a finished artifact. Out: a README.md as the Hub reads it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.guards.templates import render
from stages.pretrained.provenance import git_state
from stages.report.heading import source_of
from stages.runtime.artifacts import Artifact, lineage

CARDS = {"model": "report/exports/model_card.jinja", "dataset": "report/exports/dataset_card.jinja"}


def write_card(kind: str, folder: Path, artifact: Artifact, **variables: Any) -> None:
    """Write README.md into a folder.

    Args:
        kind: `model` or `dataset`.
        artifact: the step that made the content of the folder.
        variables: further variables of the card.
    """
    steps = lineage([artifact])
    card = render(
        CARDS[kind],
        **variables,
        step=artifact.step,
        stage=artifact.stage,
        seed=artifact.seed,
        steps=[_step(source) for source in steps],
        principles=_principles(steps),
        sources=_sources(steps),
        versions=artifact.manifest.versions,
        commit=git_state().get("commit", "unknown"),
    )
    (folder / "README.md").write_text(f"{card}\n", encoding="utf-8")


def _step(source: Artifact) -> dict[str, Any]:
    """A row of the card's table of steps; options that are empty are left out."""
    options = {}
    for name, value in source.config.items():
        if value not in (None, {}, [], ""):
            options[name] = value
    return {
        "name": source.step,
        "stage": source.stage,
        "inputs": ", ".join(source.inputs),
        "options": json.dumps(_without_texts(options), ensure_ascii=False, sort_keys=True),
        "rows": source.manifest.rows,
        "fingerprint": source.fingerprint,
    }


def _without_texts(value: Any) -> Any:
    """Options without the texts of the principles, which the card holds once."""
    if not isinstance(value, Mapping):
        return value
    inside = value.values()
    if value and all(isinstance(inner, Mapping) and "text" in inner for inner in inside):
        return list(value)
    return {name: _without_texts(inner) for name, inner in value.items()}


def _principles(steps: list[Artifact]) -> dict[str, str]:
    """The texts of all principles that are part of any step's identity."""
    texts: dict[str, str] = {}

    def collect(options: Any) -> None:
        if not isinstance(options, Mapping):
            return
        for name, inner in options.items():
            if isinstance(inner, Mapping) and isinstance(inner.get("text"), str):
                texts.setdefault(name, inner["text"])
            else:
                collect(inner)

    for step in steps:
        collect(step.config)
    return texts


def _sources(steps: list[Artifact]) -> list[str]:
    """The origins of models and requests, as far as their steps state them."""
    sources = []
    for step in steps:
        options = step.config
        if step.stage == "model":
            sources.append(f"model with content {options.get('content')}")
        elif source := source_of(step):
            sources.append(f"`{step.step}`: {source}")
    return sources
