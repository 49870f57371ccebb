"""The closed format of a principle set: one YAML file, checked in full before anything runs.

Comes in: a name (`hhh`) or a path. Goes out: a frozen `Constitution`. One format carries the
families of the survey "From Instructions to Basic Human Values": HHH, rules (Glaese et al. 2022;
Sun et al. 2023), rules of thumb (Forbes et al. 2020) and basic values (Schwartz 1992). A
principle's text is data: braces in it are never read as a template.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from stages.guards.errors import Faults, UserError, did_you_mean
from stages.guards.files import as_path, exists
from stages.guards.templates import is_shipped
from stages.guards.text import is_visible
from stages.principles.document import read_yaml
from stages.principles.faults import SEE_README, explain
from stages.principles.theory_faults import theory_faults

SHIPPED = Path(__file__).resolve().parents[2] / "constitutions"
IDENTITY_FIELDS = (
    "text",
    "opposite",
    "critique",
    "revision",
    "weight",
    "dimension",
    "situations",
    "because",
    "examples",
    "authority",
)
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
SLUG = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"


def _refuse_unseen(text: str) -> str:
    if CONTROL.search(text):
        raise PydanticCustomError("control_character", "holds a control character")
    if not is_visible(text):
        raise PydanticCustomError("string_too_short", "shows nothing")
    return text


Slug = Annotated[str, StringConstraints(strict=True, pattern=SLUG, max_length=64)]
Text = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, min_length=1),
    AfterValidator(_refuse_unseen),
]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Level = Annotated[Number, Field(json_schema_extra={"minimum": -1, "maximum": 1})]
"""`theory_faults` checks the ends, with all other faults of a target."""
Authority = Literal["root", "system", "developer", "user", "guideline"]
AUTHORITIES: tuple[Authority, ...] = get_args(Authority)
"""The levels, the highest first, as in OpenAI's Model Spec."""


class Example(BaseModel):
    """A case in which a principle is followed, broken, or both."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    request: Text | None = None
    """What was asked."""
    good: tuple[Text, ...] = ()
    """Responses that follow the principle."""
    bad: tuple[Text, ...] = ()
    """Responses that break it."""

    @model_validator(mode="after")
    def _check_answers(self) -> Example:
        if not (self.good or self.bad):
            raise _error("no_answer", "the example has neither a good nor a bad response")
        return self


class Principle(BaseModel):
    """One principle of a set."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    id: Slug
    """Stable slug, such as no-crime: rows, ablations and reports refer to it."""
    text: Text
    """One full sentence: what a response does when it follows the principle."""
    opposite: Text | None = None
    """The negated wording, for training that needs both polarities."""
    rewordings: tuple[Text, ...] = ()
    """Other ways to say the text: do its words matter, or its meaning?"""
    critique: Text | None = None
    """A full critique request; default: one built around text."""
    revision: Text | None = None
    """A full revision request; default: a general one."""
    weight: Annotated[Number, Field(gt=1e-9, le=1e9)] = 1.0
    """How often it is drawn, and how much it counts, relative to the others."""
    tags: tuple[Slug, ...] = ()
    """Names of groups to select by."""
    situations: tuple[Text, ...] = ()
    """When the principle applies: what retrieval matches."""
    dimension: Text | None = None
    """The basic value that the principle expresses."""
    source: Text | None = None
    """Where this principle comes from, if not from where the set does."""
    because: Text | None = None
    """The reason for the principle, in full sentences."""
    examples: tuple[Example, ...] = ()
    """Responses that follow the principle, and responses that break it."""
    authority: Authority | None = None
    """The level that the principle has: only a higher one may override it; at user, the user may by
    saying so; at guideline, the context may.
    """


class Theory(BaseModel):
    """How the dimensions of the principles lie to each other, by a theory of values."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    circle: tuple[Text, ...] = ()
    """All dimensions, in the order in which they lie on a circle; left out, there is none."""
    angles: dict[Text, Number] = {}
    """Degrees of the dimensions on the circle; default: equal steps, which are nominal."""
    groups: dict[Slug, tuple[Text, ...]] = {}
    """Higher-order groups: their dimensions; a dimension may be in several."""
    axes: dict[Slug, Annotated[tuple[Text, ...], Field(min_length=2, max_length=2)]] = {}
    """Axes to plot: the group at the positive end, then the one at the negative end."""
    coarser: dict[Slug, dict[Text, tuple[Text, ...]]] = {}
    """By name of a coarser theory, what each dimension of it is made of; others have no home."""


class Constitution(BaseModel):
    """A principle set: what a model is to be aligned with."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Slug
    """Slug of the set, usually its file name."""
    version: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1
    """Raise it when you publish a change."""
    title: Text | None = None
    """A heading for reports."""
    source: Text | None = None
    """Where the principles come from, and their licence."""
    principles: tuple[Principle, ...] = Field(json_schema_extra={"minItems": 1})
    """The principles."""
    theory: Theory | None = None
    """The circle and the groups of the dimensions, for value theories."""
    targets: dict[Slug, dict[Text, Level]] | None = Field(None, min_length=1)
    """Named targets: from -1 to 1, how much of each dimension responses are to express."""

    @model_validator(mode="after")
    def _check_principles(self) -> Constitution:
        if not self.principles:  # min_length would also count a faulty principle as absent
            raise _error("too_short", "there are no principles", "principles")
        ids: set[str] = set()
        for index, principle in enumerate(self.principles):
            if principle.id in ids:
                message = f"the id {principle.id!r} appears twice"
                raise _error("duplicate_id", message, "principles", index, "id")
            ids.add(principle.id)
        return self

    @model_validator(mode="after")
    def _check_theory(self) -> Constitution:
        theory = self.theory.model_dump() if self.theory else {}
        faults = theory_faults(theory, self.targets or {}, self.dimensions())
        if faults:
            message = "; ".join(fault.what for fault in faults)
            context = {"message": message, "faults": faults}
            raise PydanticCustomError("theory", "{message}", context)
        return self

    def dimensions(self) -> list[str]:
        """Return the dimensions that principles have, each once, in the order of the file."""
        named = (principle.dimension for principle in self.principles)
        return list(dict.fromkeys(name for name in named if name))

    def identity(self, *fields: str) -> dict[str, dict[str, Any]]:
        """Return the part that changes results, for a fingerprint.

        The name, title, source, tags and comments are never in it: editing them reuses every
        artifact. The theory and the targets are not in it either: a stage that reads them adds what
        it reads.

        Args:
            fields: the fields of a principle to include; by default all that change results.

        Returns:
            By principle id, those of the fields that are not at their default.
        """
        included = set(fields or IDENTITY_FIELDS)
        return {
            p.id: p.model_dump(mode="json", include=included, exclude_defaults=True)
            for p in self.principles
        }


def fields_read(templates: Iterable[str], fields: Sequence[str]) -> tuple[str, ...]:
    """Return the fields of a principle that templates may read: `fields` if all are shipped.

    A template of a user's may read any.
    """
    return tuple(fields if all(map(is_shipped, templates)) else Principle.model_fields)


def by_subject(principles: Sequence[Principle]) -> dict[str, list[str]]:
    """Return, by kind of prompt, the ids of the principles that such prompts are about.

    A prompt is about a principle if its kind is the principle's id or its dimension, as those are
    that probe each rule (Sparrow, Glaese et al. 2022, arXiv 2209.14375).
    """
    subjects: dict[str, list[str]] = {}
    for principle in principles:
        subjects[principle.id] = [principle.id]
    for principle in principles:
        of_dimension = subjects.setdefault(principle.dimension or principle.id, [])
        if principle.id not in of_dimension:
            of_dimension.append(principle.id)
    return subjects


def wording(principle: Principle, negated: bool = False) -> str:
    """Return the principle's `text`, or its `opposite` if negated: what a judge or a model reads.

    Negation is SALMON's (Sun et al. 2023, arXiv 2310.05910, section 3.2): a model that must follow
    the opposite too cannot treat all principles as one.

    Raises:
        UserError: negated, and the principle has no `opposite`.
    """
    if not negated:
        return principle.text
    if not principle.opposite:
        raise UserError(
            f"the principle {principle.id!r} has no opposite wording",
            where=f"principle {principle.id!r}",
            fix="give it an `opposite:` in its constitution, or negate none (negation: 0)",
        )
    return principle.opposite


def is_text(reference: str) -> bool:
    """Whether a row names a principle by its whole text: ids have no blanks."""
    return len(reference.split()) > 1


def check_reference(reference: str, where: str) -> None:
    """Refuse what is neither an id nor a text of a principle.

    Raises:
        UserError: it is neither.
    """
    if is_text(reference) and not CONTROL.search(reference):
        return
    if len(reference) > 64 or not re.fullmatch(SLUG, reference):
        raise UserError(
            f"{reference[:80]!r} is neither an id nor the text of a principle",
            where=where,
            fix="write an id (lower case letters, digits, single hyphens) or a full sentence",
        )


def referred_wording(
    principles: Mapping[str, Principle], reference: str, negated: bool = False
) -> str:
    """Return what a model reads for a row's principle: the wording of an id, or a whole text.

    Raises:
        UserError: negated, and there is no opposite wording.
    """
    if not is_text(reference):
        return wording(principles[reference], negated)
    return wording(Principle(id="text", text=reference), negated)


def locate(name_or_path: str | Path) -> Path:
    """Return the file of a shipped set's name or of a path.

    Raises:
        UserError: there is no such file.
    """
    text = str(name_or_path)
    path = as_path(text, "constitution.name")
    shipped = SHIPPED / f"{text}.yaml"
    is_bare_name = not path.suffix and path.name == text
    if is_bare_name and os.path.isfile(shipped):
        return shipped
    if exists(path):  # false, too, for a name that is too long to be one
        return path
    names = sorted(file.stem for file in SHIPPED.glob("*.yaml"))
    raise UserError(
        f"there is no constitution {text!r}{did_you_mean(path.stem, names)}",
        where="constitution.name",
        fix=f"give the path of a file, or one of: {', '.join(names)}",
    )


def load(name_or_path: str | Path) -> Constitution:
    """Return the checked principle set of a name (`hhh` is constitutions/hhh.yaml) or of a path.

    Raises:
        UserError: the file cannot be found or read (see `read_yaml`) or breaks the format. The
        message shows all faults, each with its file and line.
    """
    document = read_yaml(locate(name_or_path))
    if not isinstance(document.data, dict):
        raise UserError(
            "the top level must be a mapping with the keys name and principles",
            where=document.where(),
            fix=SEE_README,
        )
    error = None
    try:
        constitution = Constitution.model_validate(document.data)
    except ValidationError as invalid:
        error = invalid
    keys = [[*model.model_fields] for model in (Constitution, Principle, Example, Theory)]
    Faults(explain(error, document, *keys)).raise_any()
    return constitution


def to_yaml(constitution: Constitution, head: str) -> str:
    """Return the text of a constitution file; `load` reads it back unchanged.

    Args:
        head: begins the comment at its top.
    """
    data = constitution.model_dump(mode="json", exclude_defaults=True)
    comment = f"# {head} {constitution.source or ''}".rstrip()
    body = yaml.safe_dump(
        {"name": data.pop("name"), **data}, sort_keys=False, allow_unicode=True, width=110
    )
    return f"{comment}\n{body}"


def _error(kind: str, message: str, *path: str | int) -> PydanticCustomError:
    """Return an error of the value at `path`, which `explain` turns into a line of the file.

    Args:
        path: from the file's top level; left out, the error is of the value that is checked.
    """
    # The message is passed as a value: braces in a user's text are not placeholders.
    place = {"path": path} if path else {}
    return PydanticCustomError(kind, "{message}", {"message": message, **place})
