"""What a page is about: the constitution, method, model and data of its run, and the date.

In: the steps behind a page, and `Context.names`. Out: facts, each with the whole text that a long
name is the end of. What nothing states is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from stages.report.views.names import shorten
from stages.runtime.artifacts import Artifact

LONGEST = 48
"""Letters of a fact; what is longer is shortened in the middle."""
FEW = 3
"""Up to this number of names are listed."""
GENERAL = ("checkpoint", "final", "latest", "merged", "model", "output")
"""Beginnings of folders' names that say nothing without the folder above."""
CHANGES = {
    "only": "only",
    "drop": "without",
    "tags": "tagged",
    "negate": "opposite of",
    "reword": "reworded",
    "weights": "weighted",
    "without": "stated without",
}
"""By option of `constitution`: how a page says that it is used."""


@dataclass(frozen=True)
class Fact:
    """One of the facts in the heading."""

    name: str
    value: str
    whole: str
    """What `value` is the end of, or the same."""


def describe_run(
    steps: Sequence[Artifact],
    names: Mapping[str, Any],
    finished: str,
) -> list[Fact]:
    """The facts of a run.

    Args:
        steps: all steps behind the page.
        names: `method`, and `constitution` as the run's settings hold it (see `Context.names`).
        finished: when, as in a manifest.
    """
    facts = []
    constitution = names.get("constitution") or {}
    if constitution.get("name"):
        whole = str(constitution["name"])
        facts.append(Fact("constitution", _describe_selection(constitution), whole))
    if names.get("method"):
        method = str(names["method"])
        facts.append(Fact("method", last_part(method), method))
    facts += _models(steps)
    facts += _data(steps)
    date, _, time = finished.partition("T")
    if date:
        facts.append(Fact("date", date, f"{date} {time}"))
    return [replace(fact, value=shorten(fact.value, LONGEST)) for fact in facts]


def last_part(path: str) -> str:
    """The end of a path that names it: the last folder, and the one above if that says little."""
    parts = PurePath(path).parts
    if not parts:
        return path
    end = parts[-1]
    if end.startswith(GENERAL):
        end = "/".join(parts[-2:])
    return end


def _describe_selection(constitution: Mapping[str, Any]) -> str:
    """The set's name, and what the run changed of it."""
    name = last_part(str(constitution["name"]))
    name = name.removesuffix(".yaml").removesuffix(".yml")
    changes = []
    for option, word in CHANGES.items():
        principles = constitution.get(option)
        if principles:
            ids = [str(principle) for principle in principles]
            changes.append(f"{word} {_list_few(ids)}")
    if not changes:
        return name
    return f"{name} ({'; '.join(changes)})"


def _list_few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:FEW])
    hidden = len(names) - FEW
    if hidden > 0:
        return f"{shown} and {hidden} more"
    return shown


def _models(steps: Sequence[Artifact]) -> Iterator[Fact]:
    """The models that existed before the run: the first as `model`, others by their step."""
    shown: set[str] = set()
    for step in steps:
        path = step.metrics.get("model_path")
        if step.stage != "model" or not path or path in shown:
            continue
        name = step.step if shown else "model"
        yield Fact(name, last_part(path), path)
        shown.add(path)


def _data(steps: Sequence[Artifact]) -> Iterator[Fact]:
    """The sources that were read, as one fact."""
    sources = {}
    for step in steps:
        source = source_of(step)
        if source and not step.inputs:
            sources[_source_name(source)] = source
    if sources:
        listed = _list_few(list(sources))
        whole = ", ".join(sources.values())
        yield Fact("data", listed, whole)


def source_of(step: Artifact) -> str:
    """The file, dataset or function that a step read, as its user named it; "" of other steps."""
    source = step.config.get("source")
    if not isinstance(source, str):
        return ""
    # a file's identity is the hash of its content
    return step.metrics.get("reading", {}).get("source") or source


def _source_name(source: str) -> str:
    """A file's or dataset's name, or that of the module whose function makes the rows."""
    module, colon, function = source.partition(":")
    if colon and "/" not in source and function.isidentifier():
        return module.rpartition(".")[2]
    return last_part(source)
