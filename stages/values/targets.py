"""Target profiles: named in a constitution, mixed of named ones, or made of a file of survey means.

A file is csv, tsv, json, yaml or parquet. It is long, a dimension and its mean a record, or wide,
one record a group (a country) with a column for each dimension; in yaml and json it may also be one
mapping, or one of groups. Names are compared as slugs: `Self-Direction` is `self-direction`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stages.guards.errors import Faults, UserError, did_you_mean, refuse_unknown
from stages.guards.files import as_path
from stages.principles.document import Document, display_path, read_yaml
from stages.principles.faults import slug
from stages.sources.records import SUFFIXES, read_file
from stages.values.profile import to_unit
from stages.values.theory import ValueTheory

MOST_RECORDS = 100_000
"""Of one file."""
YAML = (".yaml", ".yml", ".json")
EXPECTED = "give a mean for each dimension: columns dimension and mean, or a column for each"


class Mean(NamedTuple):
    """A mean as a file states it."""

    dimension: str
    """In the words of the file."""
    value: Any
    where: str
    """The file and the line."""


def find_target(theory: ValueTheory, name: str) -> dict[str, float]:
    """Return a named target.

    Raises:
        UserError: the theory has none of this name; the message gives the most similar one.
    """
    where = f"constitution {theory.name!r}"
    refuse_unknown([name], theory.targets, "there is no target", where)
    return theory.targets[name]


def mix_targets(theory: ValueTheory, shares: Mapping[str, float]) -> dict[str, float]:
    """Return the mean of named targets: what several groups of people want together.

    Args:
        shares: by name, the weight of each target; their sum may be any positive number.

    Raises:
        UserError: an unknown target, a negative or infinite share, or no share above 0.
    """
    targets = {name: find_target(theory, name) for name in shares}
    total = sum(shares.values())
    if not 0 < total < math.inf or min(shares.values()) < 0:
        raise UserError(
            f"the shares {dict(shares)} are no weights of targets",
            where=f"constitution {theory.name!r}",
            fix="write numbers from 0 up, at least one of them above 0: {uk: 1, france: 1}",
        )
    mixed = dict.fromkeys(theory.dimensions, 0.0)
    for name, target in targets.items():
        for dimension in mixed:
            mixed[dimension] += shares[name] / total * target[dimension]
    return mixed


def resolve_target(
    theory: ValueTheory,
    reference: str | Mapping[str, float],
    low: float = 1.0,
    high: float = 6.0,
    group: str | None = None,
) -> dict[str, float]:
    """Return the target that a config names.

    Args:
        reference: the name of a target, shares of named targets, or the path of a file.
        low: of a file, as in `read_target`.
        high: of a file, as in `read_target`.
        group: of a file, as in `read_target`.

    Raises:
        UserError: as `find_target`, `mix_targets` and `read_target`.
    """
    if isinstance(reference, Mapping):
        return mix_targets(theory, reference)
    is_name = reference in theory.targets or Path(reference).suffix not in (*YAML, *SUFFIXES)
    if is_name:
        return find_target(theory, reference)
    return read_target(theory, reference, low, high, group)


def read_target(
    theory: ValueTheory,
    path: str | Path,
    low: float = 1.0,
    high: float = 6.0,
    group: str | None = None,
) -> dict[str, float]:
    """Return the target of survey means, by t = (mean - middle) / half of the scale.

    On the scale 1 to 6 this is (mean - 3.5) / 2.5, with which the national targets of BaseAlign
    agree (Yao et al. 2024, arXiv 2311.10766, its code).

    Args:
        low: the end of the survey's scale that speaks against a value; it may be the larger number,
            as in microdata of the European Social Survey, where 1 is "very much like me".
        high: the end that expresses it.
        group: the group whose means are read; None where the file has one only.

    Raises:
        UserError: it cannot be read; an unknown, missing or repeated dimension; a mean that is no
            number or off the scale; a group that is not there, or several and none is chosen.
    """
    file = as_path(path)
    place = display_path(file)
    if not 0 < abs(high - low) < math.inf:
        what = f"a scale from {low:g} to {high:g} has no middle and no half"
        raise UserError(what, where=place, fix="give its two ends, such as 1 and 6")
    groups: dict[str, list[Mean]] = {}
    for label, mean in _read(file, {slug(name) for name in theory.dimensions}):
        groups.setdefault(label, []).append(mean)
    if group is None and len(groups) == 1:
        (group,) = groups
    if group not in groups:
        names = [name for name in groups if name]
        what = f"there is no group {group!r}{did_you_mean(str(group), names)}"
        if group is None:
            what = f"the file has means of {len(names)} groups"
        raise UserError(what, where=place, fix=f"name one of: {', '.join(names[:30]) or 'nothing'}")
    return _checked(groups[group], theory, (low, high), place)


def _read(file: Path, dimensions: set[str]) -> Iterator[tuple[str, Mean]]:
    """Yield each mean with the group that it is of; "" where a file names no group."""
    if file.suffix.lower() not in YAML:
        records = ((record.cells, record.location, record.fault) for record in read_file(file))
        yield from _read_records(records, dimensions)
        return
    document = read_yaml(file)
    document.refuse_faults()
    data = document.data
    if isinstance(data, list) and all(isinstance(item, Mapping) for item in data):
        rows = ((item, document.where(number), "") for number, item in enumerate(data))
        yield from _read_records(rows, dimensions)
    elif isinstance(data, Mapping):
        yield from _read_mapping(document)
    else:
        raise UserError("the file holds no means", where=document.where(), fix=EXPECTED)


def _read_mapping(document: Document) -> Iterator[tuple[str, Mean]]:
    for key, value in document.data.items():
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield str(key), Mean(str(name), inner, document.where(key, name))
        else:
            yield "", Mean(str(key), value, document.where(key))


def _read_records(
    records: Iterable[tuple[Mapping[str, Any], str, str]], dimensions: set[str]
) -> Iterator[tuple[str, Mean]]:
    for number, (cells, where, fault) in enumerate(records):
        if fault or number == MOST_RECORDS:
            what = fault or f"more than {MOST_RECORDS:,} records"
            raise UserError(what, where=where, fix=EXPECTED)
        named = [key for key in cells if slug(key) in dimensions]
        texts = [str(cell) for key, cell in cells.items() if key not in named and is_text(cell)]
        if named:
            for key in named:
                yield " ".join(texts), Mean(key, cells[key], where)
            continue
        numbers = {slug(key): cell for key, cell in cells.items() if not is_text(cell)}
        if len(numbers) > 1 and "mean" in numbers:
            numbers = {"mean": numbers["mean"]}
        if len(numbers) != 1 or not texts:
            what = f"{len(numbers)} numbers in this record, and none is called mean"
            raise UserError(what, where=where, fix=EXPECTED)
        (value,) = numbers.values()
        name = next((text for text in texts if slug(text) in dimensions), texts[-1])
        texts.remove(name)
        yield " ".join(texts), Mean(name, value, where)


def _checked(
    means: list[Mean], theory: ValueTheory, ends: tuple[float, float], place: str
) -> dict[str, float]:
    by_slug = {slug(name): name for name in theory.dimensions}
    numbers: dict[str, float] = {}
    faults = Faults()
    for mean in means:
        with faults.gather():
            name = slug(mean.dimension)
            refuse_unknown([name], by_slug, f"{theory.name} has no dimension", mean.where)
            if by_slug[name] in numbers:
                what = f"{mean.dimension!r} has two means"
                fix = "keep one, or name their groups in a column"
                raise UserError(what, where=mean.where, fix=fix)
            numbers[by_slug[name]] = _number(mean, ends)
    missing = [name for name in theory.dimensions if name not in numbers]
    if missing and not faults.errors:
        faults.add(UserError(f"no mean of {', '.join(missing)}", where=place, fix=EXPECTED))
    faults.raise_any()
    return to_unit({name: numbers[name] for name in theory.dimensions}, *ends)


def _number(mean: Mean, ends: tuple[float, float]) -> float:
    number = math.nan if is_text(mean.value) else float(mean.value)
    if not min(ends) <= number <= max(ends):
        what = f"the mean of {mean.dimension!r} is {str(mean.value)[:40]!r}, not on the scale"
        fix = f"write a number from {min(ends):g} to {max(ends):g}, or set the ends of the scale"
        raise UserError(what, where=mean.where, fix=fix)
    return number


def is_text(cell: Any) -> bool:
    """Return whether a cell holds no number, and is not empty."""
    try:
        float(cell)
    except (TypeError, ValueError, OverflowError):
        return True
    return isinstance(cell, bool)
