"""The closed format of a principle set: one YAML file, checked in full before anything runs.

Comes in: a name (`hhh`) or a path. Goes out: a frozen `Constitution`. One format carries the
families of the survey "From Instructions to Basic Human Values": HHH, rules (Glaese et al. 2022;
Sun et al. 2023), rules of thumb (Forbes et al. 2020) and basic values (Schwartz 1992). A
principle's text is data: braces in it are never read as a template.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from stages.principles.document import Document, read_yaml, shown
from stages.principles.faults import README, explain
from stages.runtime.errors import UserError, did_you_mean

SHIPPED = Path(__file__).resolve().parents[2] / "constitutions"
MEANING = ("text", "opposite", "critique", "revision", "weight", "dimension", "situations")
SLUG = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"


def _without_control_characters(text: str) -> str:
    if any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in text):
        raise PydanticCustomError("control_character", "holds a control character")
    return text


Slug = Annotated[str, StringConstraints(pattern=SLUG, max_length=64)]
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    AfterValidator(_without_control_characters),
]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
FlatTarget = Annotated[dict[Text, Number], Field(min_length=1)]


def _kind_of_targets(value: Any) -> str:
    named = isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values())
    return "named" if named else "flat"


Targets = Annotated[
    Annotated[FlatTarget, Tag("flat")] | Annotated[dict[Text, FlatTarget], Tag("named")],
    Discriminator(_kind_of_targets),
]


class Principle(BaseModel):
    """One principle of a set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Slug = Field(
        description="Stable slug, such as no-crime: rows, ablations and reports refer to it."
    )
    text: Text = Field(
        description="One full sentence that says what a response does when it follows the principle."
    )
    opposite: Text | None = Field(
        None, description="The negated wording, for training that needs both polarities."
    )
    rewordings: tuple[Text, ...] = Field(
        (), description="Other ways to say the text: do its words matter, or its meaning?"
    )
    critique: Text | None = Field(
        None, description="A full critique request; default: one built around text."
    )
    revision: Text | None = Field(
        None, description="A full revision request; default: a general one."
    )
    weight: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] = Field(
        1.0, description="How often it is drawn, and how much it counts, relative to the others."
    )
    tags: tuple[Slug, ...] = Field((), description="Names of groups to select by.")
    situations: tuple[Text, ...] = Field(
        (), description="When the principle applies: what retrieval matches."
    )
    dimension: Text | None = Field(
        None, description="The basic value that the principle expresses."
    )


class Constitution(BaseModel):
    """A principle set: what a model is to be aligned with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Slug = Field(description="Slug of the set, usually its file name.")
    version: Annotated[int, Field(strict=True, ge=1)] = Field(
        1, description="Raise it when you publish a change."
    )
    title: Text | None = Field(None, description="A heading for reports.")
    source: Text | None = Field(
        None, description="Where the principles come from, and their licence."
    )
    principles: tuple[Principle, ...] = Field(
        description="The principles.", json_schema_extra={"minItems": 1}
    )
    targets: Targets | None = Field(
        None,
        description="The wanted number for each dimension, or several such targets, each under its name.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Constitution:
        if not self.principles:  # min_length would also count a faulty principle as absent
            raise PydanticCustomError(
                "too_short", "there are no principles", {"path": ("principles",)}
            )
        seen: set[str] = set()
        for index, principle in enumerate(self.principles):
            if principle.id in seen:
                path = ("principles", index, "id")
                raise PydanticCustomError(
                    "duplicate_id",
                    "the id '{id}' appears twice",
                    {"id": principle.id, "path": path},
                )
            seen.add(principle.id)
        dimensions = {principle.dimension for principle in self.principles}
        for keys in _target_paths(self.targets):
            if keys[-1] not in dimensions:
                raise PydanticCustomError(
                    "unknown_dimension",
                    "the target '{name}' is a dimension that no principle has",
                    {"name": keys[-1], "path": ("targets", *keys)},
                )
        return self

    def identity(self, *fields: str) -> dict[str, dict[str, Any]]:
        """Return what bears meaning, for a fingerprint: by principle id, those of `fields` that are
        not at their default.

        Without `fields` it is everything that bears meaning. The name, title, source, tags and
        comments never are in it: editing them reuses every artifact. Targets are not in it; a stage
        that reads `target()` adds that itself.
        """
        wanted = set(fields or MEANING)
        return {
            p.id: p.model_dump(mode="json", include=wanted, exclude_defaults=True)
            for p in self.principles
        }

    def target(self, name: str | None = None) -> dict[str, float]:
        """Return the wanted number for each dimension; `name` chooses among several named ones.

        Raises:
            UserError: there are no targets, or none of this name, or a name is needed.
        """
        where = f"constitution {self.name!r}"
        if self.targets is None:
            raise UserError(
                "it has no targets.",
                where=where,
                fix="add targets: {<dimension>: <number>} to the file.",
            )
        flat = {key: value for key, value in self.targets.items() if not isinstance(value, dict)}
        named = {key: value for key, value in self.targets.items() if isinstance(value, dict)}
        if name is None and (flat or len(named) == 1):
            return flat or dict(next(iter(named.values())))
        if name not in named:
            hint = did_you_mean(name or "", list(named))
            choice = (
                f"choose one of: {', '.join(named)}."
                if named
                else "its one target has no name; give none."
            )
            raise UserError(f"it has no target {name!r}.{hint}", where=where, fix=choice)
        return dict(named[name])


def locate(name_or_path: str | Path) -> Path:
    """Return the file of a shipped set's name or of a path.

    Raises:
        UserError: there is no such file.
    """
    given = str(name_or_path)
    path = Path(os.path.expanduser(given))
    if not path.suffix and path.name == given and os.path.isfile(SHIPPED / f"{given}.yaml"):
        return SHIPPED / f"{given}.yaml"
    if os.path.exists(path):  # false, too, for a name that is too long to be one
        return path
    names = sorted(file.stem for file in SHIPPED.glob("*.yaml"))
    raise UserError(
        f"there is no constitution {given!r}.{did_you_mean(path.stem, names)}",
        where="constitution.name",
        fix=f"give the path of a file, or one of: {', '.join(names)}.",
    )


def load(name_or_path: str | Path) -> Constitution:
    """Return the checked principle set of a name (`hhh` is constitutions/hhh.yaml) or of a path.

    Raises:
        UserError: the file cannot be found or read (see `read_yaml`) or breaks the format; it names
        file and line.
    """
    return parse(read_yaml(locate(name_or_path)))


def parse(document: Document) -> Constitution:
    """Return the checked principle set in `document`.

    Raises:
        UserError: it breaks the format. The first fault in the file is told, and how many more
        there are.
    """
    if not isinstance(document.data, dict):
        raise UserError(
            "the top level must be a mapping with the keys name and principles.",
            where=f"{shown(document.path)}:1",
            fix=README,
        )
    try:
        return Constitution.model_validate(document.data)
    except ValidationError as error:
        raise explain(
            error, document, list(Constitution.model_fields), list(Principle.model_fields)
        ) from error


def _target_paths(targets: dict[str, Any] | None) -> list[tuple[str, ...]]:
    paths: list[tuple[str, ...]] = []
    for key, value in (targets or {}).items():
        paths += [(key, inner) for inner in value] if isinstance(value, dict) else [(key,)]
    return paths
