"""The README of a published policy, rendered from its record alone, so that it can be checked.

In: a record. Out: the text, with the Hub's front matter: base model, datasets, licence, tags and,
where an evaluation measured the policy, its results as a `model-index`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.card.effects import evaluations, measured_after, requests_of
from stages.card.facts import UNKNOWN, data_of_steps, is_hub_id
from stages.card.record import steps_by_name
from stages.guards.templates import render, template_hash
from stages.statistics.formatting import format_number

TEMPLATE = "card/readme.jinja"
TAGS = ["credo", "alignment", "constitution"]
TASK = "text-generation"
SHOWN = ("value", "low", "high")
DIGITS = 4


def readme_hash() -> str:
    """The hash of the template, which says whether another version wrote a README."""
    return template_hash(TEMPLATE)


def render_readme(record: Mapping[str, Any]) -> str:
    """Return the text of README.md."""
    steps = steps_by_name(record)
    policy = record["policy"]["step"]
    measured = []
    for name in measured_after(steps, policy):
        measured += steps[name]["tables"]
    text = render(
        TEMPLATE,
        record=record,
        policy=steps[policy],
        steps=list(steps.values()),
        measures=_shown(record["effects"], False),
        differences=_shown(record["effects"], True),
        tables=measured,
        unknown=UNKNOWN,
    )
    return f"---\n{front_matter(record)}\n---\n\n{text}\n"


def front_matter(record: Mapping[str, Any]) -> str:
    """Return the metadata as YAML, in the form that the Hub reads."""
    from huggingface_hub import ModelCardData

    sources = [one["source"] for one in record["data"]]
    datasets = sorted({source for source in sources if is_hub_id(source)})
    base = record["base_model"]["path"]
    data = ModelCardData(
        base_model=base if is_hub_id(base) else None,
        datasets=datasets or None,
        license=record["license"],
        library_name="transformers",
        pipeline_tag=TASK,
        tags=TAGS,
        model_name=record["name"],
        eval_results=_results(record) or None,
    )
    return str(data.to_yaml())


def _results(record: Mapping[str, Any]) -> list[Any]:
    """The measures of the policy, each with its interval and n as arguments of the metric."""
    from huggingface_hub import EvalResult

    steps = steps_by_name(record)
    answers_of = {}
    for step, answers, _ in evaluations(steps, record["policy"]["step"]):
        answers_of[step] = answers
    results = []
    for effect in record["effects"]:
        if "against" in effect or "principle" in effect:
            continue
        requests = requests_of(steps, answers_of[effect["step"]])
        sources = data_of_steps(requests, record["data"])
        result = EvalResult(
            task_type=TASK,
            dataset_type=", ".join(sources) or UNKNOWN,
            dataset_name=", ".join(requests),
            metric_type=effect["measure"],
            metric_name=effect["measure"],
            metric_value=effect["value"],
            metric_args={
                "low": effect["low"],
                "high": effect["high"],
                "confidence": effect["confidence"],
                "n": effect["n"],
            },
        )
        results.append(result)
    return results


def _shown(
    effects: Sequence[Mapping[str, Any]],
    are_differences: bool,
) -> list[dict[str, str]]:
    """Effects as the cells of a table."""
    rows = []
    for effect in effects:
        if ("against" in effect) != are_differences:
            continue
        cells = {name: format_number(effect[name], DIGITS) for name in SHOWN}
        cells |= {name: str(effect[name]) for name in ("step", "measure", "n")}
        if are_differences:
            cells |= {name: str(effect[name]) for name in ("policy", "against")}
        rows.append(cells)
    return rows
