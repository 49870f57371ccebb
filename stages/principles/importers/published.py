"""Published principle files: each format's principles as a constitution.

Comes in: the JSON files of github.com/anthropics/ConstitutionalHarmlessnessPaper
(CritiqueRevisionInstructions and RLMadisonInstructions; Bai et al. 2022) or of
github.com/IBM/SALMON (Sun et al. 2023), OpenAI's Model Spec, a trait file of
github.com/maiush/OpenCharacterTraining (Maiya et al. 2025), the principles.csv of
github.com/yarakyrychenko/c3ai (Kyrychenko et al. 2025), a Polis export, or what icai writes. Goes
out: a constitution with source and licence. Left out: few-shot transcripts, and the
"CritiqueRequest:" framing that base models need.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError

from stages.guards.errors import MOST_FAULTS, SeveralErrors, UserError
from stages.guards.files import parse_json, shorten
from stages.principles.constitution import Constitution, Number
from stages.principles.document import display_path, read_text
from stages.principles.faults import slug
from stages.principles.importers import icai, polis
from stages.principles.importers.model_spec import read_model_spec

CAI_LICENCE = (
    "The source repository states no licence. "
    "Keep this file to yourself unless its authors allow more."
)
SALMON_LICENCE = (
    "The source is under CC BY-NC 4.0: name its authors, and use it for no commercial purpose."
)

ShapeT = TypeVar("ShapeT")


def _unwrap(prompt: Any) -> Any:
    """Return the string of a list of one: the published file wraps each prompt in such a list."""
    if isinstance(prompt, list) and len(prompt) == 1:
        return prompt[0]
    return prompt


class CaiEntry(BaseModel):
    """One entry of CritiqueRevisionInstructions.json."""

    prompt: Annotated[str, BeforeValidator(_unwrap)]
    edit_request: str


class SalmonEntry(BaseModel):
    """One principle of a SALMON file."""

    dimension: str
    definition: str
    negative_definition: str | None = None
    weight: Number | None = None


class Trait(BaseModel):
    """One trait of an Open Character Training file, with requests that show it."""

    trait: str
    questions: list[str]
    additional_questions: list[str] = []


CAI_ENTRIES = TypeAdapter(dict[str, CaiEntry])
CAI_JUDGING = TypeAdapter(list[str])
SALMON_ENTRIES = TypeAdapter(list[SalmonEntry])
TRAITS = TypeAdapter(list[Trait])
C3AI_COLUMNS = ("id", "statement", "principle")
C3AI_FRAMING = ("positive vs negative framing", "trait vs behavior framing")
WORDS_OF_ID = 6


def anthropic_cai(
    file: Path, judging: Path | None = None, name: str = "anthropic-cai"
) -> Constitution:
    """Return the principles of CritiqueRevisionInstructions.json, in its order.

    `text` is what a judge reads. With `judging`, it is the judging instruction at the same place.
    The source draws from the two lists independently, so the pairing means nothing: dropping a
    principle drops one of each. Without `judging`, it is the revision request, whose direction
    (what a better response does) is the right one for a judge.

    Raises:
        UserError: a file cannot be read, or does not have the published shape, or the lists differ
        in length.
    """
    entries = _read(file, CAI_ENTRIES)
    instructions = _read(judging, CAI_JUDGING) if judging else None
    if judging and instructions is not None and len(instructions) != len(entries):
        raise UserError(
            f"it has {len(instructions)} judging instructions for {len(entries)} critique requests",
            where=display_path(judging),
            fix="give two lists of the same length",
        )
    principles = []
    for index, (key, entry) in enumerate(entries.items()):
        critique = _without_framing(entry.prompt, "CritiqueRequest:", "Critique:")
        revision = _without_framing(entry.edit_request, "RevisionRequest:", "Revision:")
        text = revision
        if instructions is not None:
            text = _without_framing(instructions[index], "", "Options:")
        principles.append(
            {"id": slug(key), "text": text, "critique": critique, "revision": revision}
        )
    source = f"Bai et al. 2022, anthropics/ConstitutionalHarmlessnessPaper. {CAI_LICENCE}"
    return _constitution(name, "Constitutional AI, the published wording", source, principles, file)


def salmon(file: Path, name: str = "salmon") -> Constitution:
    """Return the principles of a SALMON principle file.

    Its keys are dimension, definition, negative_definition and weight.

    Raises:
        UserError: the file cannot be read, or does not have the published shape.
    """
    entries = _read(file, SALMON_ENTRIES)
    principles: list[dict[str, Any]] = []
    ids = _unique_slugs([entry.dimension for entry in entries])
    for principle_id, entry in zip(ids, entries, strict=True):
        principle: dict[str, Any] = {"id": principle_id, "text": entry.definition}
        if entry.negative_definition:
            principle["opposite"] = entry.negative_definition
        if entry.weight is not None:
            principle["weight"] = entry.weight
        principles.append(principle)
    source = f"Sun et al. 2023, SALMON, IBM/SALMON. {SALMON_LICENCE}"
    return _constitution(name, "SALMON, the published wording", source, principles, file)


def public(file: Path, votes: Path, bounds: polis.Bounds, name: str = "public") -> Constitution:
    """Return the statements of a Polis conversation on which all groups agree.

    Raises:
        UserError: a file is not as Polis writes it, or no statement is within the bounds.
    """
    principles, facts = polis.principles(file, votes, bounds)
    counts = ", ".join(f"{count} {what}" for what, count in facts.items())
    source = f"A Polis conversation: {counts}. The licence is that of the export."
    return _constitution(name, "What the public agrees on", source, principles, file)


def inverse(file: Path, name: str = "icai") -> Constitution:
    """Return the principles of a file that icai wrote.

    Raises:
        UserError: it is none of icai's files.
    """
    source = f"Inverse Constitutional AI, {file.name}."
    return _constitution(name, "Found by icai", source, icai.read_principles(file), file)


def model_spec(file: Path, name: str = "model-spec") -> Constitution:
    """Return the sections of OpenAI's Model Spec that have a level of authority, in its order.

    Raises:
        UserError: as `read_model_spec`.
    """
    principles, labels = read_model_spec(file)
    source = "OpenAI Model Spec, openai/model_spec, CC0 1.0."
    if labels["OK"]:
        source += f" Left out: {labels['OK']} responses marked OK, neither good nor bad."
    return _constitution(name, "OpenAI Model Spec", source, principles, file)


def open_character(file: Path, name: str = "open-character") -> Constitution:
    """Return the traits of a file of Open Character Training, its requests as `situations`.

    The published files are a JSON list, called .txt, or one trait a line with further requests.

    Raises:
        UserError: the file cannot be read, or does not have the published shape.
    """
    text = read_text(file)
    if text.lstrip().startswith("["):
        data = parse_json(text, display_path(file))
    else:
        where = display_path(file)
        lines = enumerate(text.splitlines())
        # After as many empty lines as stand before it, a fault has its line.
        data = [parse_json("\n" * above + line, where) for above, line in lines if line.strip()]
    traits = _validate(data, TRAITS, file)
    beginnings = [" ".join(trait.trait.split()[:WORDS_OF_ID]) for trait in traits]
    principles = [
        {
            "id": principle_id,
            "text": trait.trait,
            "situations": list(dict.fromkeys([*trait.questions, *trait.additional_questions])),
        }
        for principle_id, trait in zip(_unique_slugs(beginnings), traits, strict=True)
    ]
    source = "Maiya et al. 2025, maiush/OpenCharacterTraining, MIT."
    return _constitution(name, "Traits of a character", source, principles, file)


def c3ai(file: Path, name: str = "c3ai") -> Constitution:
    """Return the principles of a csv file with C3AI's columns.

    `statement` (what the assistant should do) is the text, and `principle` (which response to
    choose) its rewording; the two framings become tags.

    Raises:
        UserError: the file cannot be read, lacks a column, or has a row of another length.
    """
    reader = csv.DictReader(io.StringIO(read_text(file)), strict=True)
    where = display_path(file)
    principles = []
    try:
        missing = [column for column in C3AI_COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            what = f"it has no column {missing[0]!r}"
            raise UserError(what, where=f"{where}:1", fix="give the file as it was published")
        for row in reader:
            if None in row or None in row.values():
                what = f"the row has other columns than the {len(reader.fieldnames or ())} named"
                fix = "put a text that holds a comma in quotes"
                raise UserError(what, where=f"{where}:{reader.line_num}", fix=fix)
            framing = [slug(row[column]) for column in C3AI_FRAMING if row.get(column)]
            principles.append(
                {
                    "id": slug(row["id"]),
                    "text": row["statement"],
                    "rewordings": [row["principle"]],
                    "tags": framing,
                }
            )
    except csv.Error as error:
        what = f"not valid CSV: {error}"
        place = f"{where}:{reader.reader.line_num}"
        raise UserError(what, where=place, fix="correct the quotes") from error
    source = (
        "Kyrychenko et al. 2025, yarakyrychenko/c3ai, MIT. Some of its principles are others' "
        "texts: items of questionnaires are their authors'."
    )
    return _constitution(name, "C3AI, the published principles", source, principles, file)


def _unique_slugs(texts: Sequence[str]) -> list[str]:
    """Return a slug for each text; one that was used before carries its place, counted from 1."""
    slugs: list[str] = []
    for number, text in enumerate(texts, start=1):
        name = slug(text)
        slugs.append(f"{name}-{number}" if name in slugs else name)
    return slugs


def _without_framing(text: str, start: str, end: str) -> str:
    return text.strip().removeprefix(start).removesuffix(end).strip()


def _read(file: Path, shape: TypeAdapter[ShapeT]) -> ShapeT:
    return _validate(parse_json(read_text(file), display_path(file)), shape, file)


def _validate(data: Any, shape: TypeAdapter[ShapeT], file: Path) -> ShapeT:
    try:
        return shape.validate_python(data)
    except ValidationError as error:
        raise _explain(error, file, "give the file as it was published") from error


def _constitution(
    name: str, title: str, source: str, principles: list[dict[str, Any]], file: Path
) -> Constitution:
    try:
        return Constitution.model_validate(
            {"name": name, "title": title, "source": source, "principles": principles}
        )
    except ValidationError as error:
        raise _explain(error, file, "correct this entry of the file") from error


def _explain(error: ValidationError, file: Path, fix: str) -> UserError:
    faults = []
    for detail in error.errors(include_url=False)[:MOST_FAULTS]:
        place = shorten(".".join(map(str, detail["loc"]))) or "the top level"
        faults.append(UserError(f"{place}: {detail['msg']}", where=display_path(file), fix=fix))
    return faults[0] if len(faults) == 1 else SeveralErrors(faults)
