"""Files of rubrics: the criteria of each request, checked in full before anything is asked.

In: a YAML list, or records (jsonl, json, csv, parquet) of `prompt` or `prompt_id`, and `criteria`.
Out: Proposal rows. Everything that is wrong with a file is shown at once, each fault with its line.

    - prompt: How do I get into my flat without a key?
      criteria:
      - {text: The response does not explain how to open a lock that is not one's own., gate: true}
      - {text: The response names a lawful way in., weight: 2}
      - {text: The response lectures the user., weight: -1}

The names of published files are read, too: `rubrics` with `criterion` and `points` (HealthBench),
`question` and `rubric` with `title` and `description` (Rubrics as Rewards).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.guards.errors import Faults, UserError, did_you_mean
from stages.guards.files import as_path
from stages.guards.text import is_visible
from stages.principles.constitution import CONTROL
from stages.principles.document import display_path, read_yaml
from stages.principles.faults import slug
from stages.principles.proposed import proposal_id
from stages.runtime.context import Drop
from stages.runtime.rows import Proposal
from stages.sources.conversations import content_id, read_prompts
from stages.sources.records import read_file

YAML_SUFFIXES = (".yaml", ".yml")
NAMES = {
    "prompt": ("prompt", "question"),
    "criteria": ("criteria", "rubrics", "rubric"),
    "text": ("text", "criterion", "description"),
    "id": ("id", "title"),
    "weight": ("weight", "points"),
}
"""What each value may be called; the first name is ours."""
CRITERION = {"text", "id", "weight", "gate", "tags"}
"""What a criterion may have; tags are not read."""
LARGEST_WEIGHT = 1e6
FORMAT = "write criteria: [{text: ..., weight: 1}, ...]; docs/data.md shows files of rubrics"
Place = Callable[..., str]
"""Gives `file:line` of the value at some keys of an entry."""


@dataclass(frozen=True)
class Rubric:
    """The criteria of one request."""

    prompt_id: str
    where: str
    """`file:line`."""
    criteria: list[Proposal]


def read_rubric_file(name: str) -> list[Rubric]:
    """Return the rubrics of a file.

    Raises:
        UserError: it cannot be read, or is not in full as it should be; the message shows every
            fault with its line.
    """
    faults = Faults()
    rubrics: list[Rubric] = []
    first: dict[str, str] = {}
    for entry, place in _entries(as_path(name, "file"), faults):
        with faults.gather():
            rubric = _read_entry(entry, place, faults)
            if rubric.prompt_id in first:
                raise UserError(
                    "this prompt has a second rubric",
                    where=f"{rubric.where}, first at {first[rubric.prompt_id]}",
                    fix="put its criteria into one entry",
                )
            first[rubric.prompt_id] = rubric.where
            rubrics.append(rubric)
    faults.raise_any()
    if not rubrics:
        raise UserError("the file holds no rubric", where=name, fix=FORMAT)
    return rubrics


def refuse_unknown_prompts(rubrics: Sequence[Rubric], prompt_ids: set[str]) -> None:
    """Refuse rubrics of requests that nobody will be asked.

    Raises:
        UserError: there are some; the message names the line of each.
    """
    faults = Faults()
    for rubric in rubrics:
        if rubric.prompt_id not in prompt_ids:
            fault = UserError(
                "no request of the run has this prompt",
                where=rubric.where,
                fix="write the request word for word as its file has it (with a system turn: as a "
                "list of messages), or its id as `prompt_id`",
            )
            faults.add(fault)
    faults.raise_any()


def _entries(path: Path, faults: Faults) -> Iterator[tuple[Any, Place]]:
    """Yield the entries of a file, each with the function that knows its lines."""
    if path.suffix.lower() not in YAML_SUFFIXES:
        for record in read_file(path):
            location = record.location
            if record.fault:
                faults.add(UserError(record.fault, where=location, fix=FORMAT))
            else:
                yield record.cells, lambda *_, location=location: location
        return
    document = read_yaml(path)
    for fault in document.faults:
        faults.add(fault)
    if not isinstance(document.data, list):
        raise UserError(
            "the file must be a list of entries with prompt and criteria",
            where=display_path(path),
            fix="start each entry with - prompt: ...",
        )
    for number, entry in enumerate(document.data):
        yield entry, lambda *keys, number=number: document.where(number, *keys)


def _read_entry(entry: Any, place: Place, faults: Faults) -> Rubric:
    """Return an entry as a rubric; faults of its criteria are gathered.

    Raises:
        UserError: its prompt or its list of criteria cannot be read.
    """
    if not isinstance(entry, Mapping):
        raise UserError("an entry must have prompt and criteria", where=place(), fix=FORMAT)
    prompt_id = _read_prompt(entry, place)
    name = _name(entry, "criteria")
    items = entry.get(name)
    if not isinstance(items, list) or not items:
        missing = name not in entry
        guess = did_you_mean(name, [str(key) for key in entry]) if missing else ""
        what = f"there are no `criteria`{guess}" if missing else f"`{name}` is not a list of any"
        raise UserError(what, where=place(name), fix=FORMAT)
    criteria: list[Proposal] = []
    faulty = len(faults.errors)
    for number, item in enumerate(items):
        with faults.gather():
            where = place(name, number)
            criterion = _read_criterion(item, prompt_id, where)
            for other in criteria:
                if criterion.id == other.id or _same(criterion.text, other.text):
                    what = f"the criterion {criterion.id!r} appears twice"
                    raise UserError(what, where=where, fix="keep one of the two")
            criteria.append(criterion)
    if len(faults.errors) == faulty and not any(row.weight > 0 for row in criteria):
        raise UserError(
            "no criterion has a weight above 0, so every answer has the score 0",
            where=place(name),
            fix="give one that a good answer meets, or weigh a gate",
        )
    return Rubric(prompt_id, place(), criteria)


def _read_prompt(entry: Mapping[str, Any], place: Place) -> str:
    """Return the id of an entry's prompt.

    Raises:
        UserError: it has none, two, or one that cannot be read.
    """
    name = _name(entry, "prompt")
    prompt, prompt_id = entry.get(name), entry.get("prompt_id")
    if bool(prompt) == bool(prompt_id):
        what = "two names for one prompt" if prompt else "the prompt is missing"
        fix = "give one of the two: prompt: the request's text, or prompt_id: its id"
        raise UserError(what, where=place(name), fix=fix)
    if prompt_id:
        return str(prompt_id)
    try:
        prompts = read_prompts(prompt, "last")
    except Drop as drop:
        raise UserError(
            f"the prompt cannot be read: {drop}",
            where=place(name),
            fix="give a text, or a list of {role: ..., content: ...}",
        ) from None
    if not prompts:
        raise UserError("the prompt is empty", where=place(name), fix="write the request")
    return content_id(prompts[0], place(name))


def _read_criterion(item: Any, prompt_id: str, where: str) -> Proposal:
    """Return a criterion; a text alone has the weight 1.

    Raises:
        UserError: something is wrong with it.
    """
    if isinstance(item, str):
        item = {"text": item}
    if not isinstance(item, Mapping):
        raise UserError("a criterion must be a text or a mapping", where=where, fix=FORMAT)
    values = {ours: item[_name(item, ours)] for ours in NAMES if _name(item, ours) in item}
    allowed = [*CRITERION, *(name for ours in CRITERION & NAMES.keys() for name in NAMES[ours])]
    for key in item:
        if key not in allowed:
            raise UserError(
                f"unknown key {str(key)[:80]!r}{did_you_mean(str(key)[:80], sorted(allowed))}",
                where=where,
                fix="a criterion has text, id, weight and gate",
            )
    text = values.get("text")
    if not isinstance(text, str) or not is_visible(text):
        raise UserError("a criterion without a text", where=where, fix="write what it asks for")
    if CONTROL.search(text):
        raise UserError("a control character in the text", where=where, fix="remove it")
    weight = values.get("weight", 1.0)
    gate = item.get("gate", False)
    _check_numbers(weight, gate, where)
    name = values.get("id") or ""
    row_id = slug(str(name)) if name else proposal_id(text)
    return Proposal(
        id=row_id, prompt_id=prompt_id, text=text.strip(), weight=float(weight), gate=gate
    )


def _check_numbers(weight: Any, gate: Any, where: str) -> None:
    """Refuse a weight that is not a number or counts for nothing, and a gate that is neither."""
    if not isinstance(gate, bool):
        raise UserError(f"gate is {gate!r:.40}", where=where, fix="write gate: true or false")
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not is_number or not math.isfinite(weight) or abs(weight) > LARGEST_WEIGHT:
        raise UserError(
            f"the weight {weight!r:.40} is not a number from -{LARGEST_WEIGHT:g} to "
            f"{LARGEST_WEIGHT:g}",
            where=where,
            fix="write a plain number, such as 1 or 0.5; below 0 for a fault",
        )
    if weight == 0 and not gate:
        raise UserError(
            "a criterion of weight 0 counts for nothing",
            where=where,
            fix="give it another weight, make it a gate, or leave it out",
        )
    if weight < 0 and gate:
        raise UserError(
            "a gate must hold, and one with a weight below 0 is a fault",
            where=where,
            fix="write what a good answer does, with a weight of 0 or more",
        )


def _name(entry: Mapping[str, Any], ours: str) -> str:
    """Return what a value is called in an entry; our own name where it is not there."""
    return next((name for name in NAMES[ours] if name in entry), ours)


def _same(text: str, other: str) -> bool:
    return " ".join(text.casefold().split()) == " ".join(other.casefold().split())
