"""Turn a user's own copy of a published principle file into a constitution file.

`python -m stages.principles.importers FORMAT FILE.json --out my.yaml`, where FORMAT is
`anthropic-cai` [`--judging FILE.json`], `salmon`, `icai` [`--pairs pairs.jsonl`], or `polis` with
`--votes participants-votes.csv`

Comes in: the JSON files of github.com/anthropics/ConstitutionalHarmlessnessPaper
(CritiqueRevisionInstructions and RLMadisonInstructions; Bai et al. 2022) or of
github.com/IBM/SALMON (Sun et al. 2023); a Polis export (`polis`); what icai writes (`icai`). Goes
out: YAML with source and licence. Left out: few-shot transcripts, and the "CritiqueRequest:"
framing that base models need.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError

from stages.guards.console import open_console
from stages.guards.errors import MOST_FAULTS, SeveralErrors, UserError
from stages.guards.files import parse_json, shorten
from stages.principles import icai, polis
from stages.principles.constitution import Constitution, Number
from stages.principles.document import display_path, read_text, write_new
from stages.principles.faults import slug

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


CAI_ENTRIES = TypeAdapter(dict[str, CaiEntry])
CAI_JUDGING = TypeAdapter(list[str])
SALMON_ENTRIES = TypeAdapter(list[SalmonEntry])


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
    ids: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        principle_id = slug(entry.dimension)
        if principle_id in ids:
            principle_id = f"{principle_id}-{number}"
        ids.add(principle_id)
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


def to_yaml(constitution: Constitution, head: str = "Imported by Credo.") -> str:
    """Return the text of a constitution file; `load` reads it back unchanged."""
    data = constitution.model_dump(mode="json", exclude_defaults=True)
    head = f"# {head} {constitution.source or ''}".rstrip()
    body = yaml.safe_dump(
        {"name": data.pop("name"), **data}, sort_keys=False, allow_unicode=True, width=110
    )
    return f"{head}\n{body}"


def _without_framing(text: str, start: str, end: str) -> str:
    return text.strip().removeprefix(start).removesuffix(end).strip()


def _read(file: Path, shape: TypeAdapter[ShapeT]) -> ShapeT:
    data = parse_json(read_text(file), display_path(file))
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Import the file named on the command line; return 0, or 2 after a mistake of the user."""
    summary, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m stages.principles.importers", description=summary
    )
    formats = parser.add_subparsers(dest="format", required=True)
    for name in ("anthropic-cai", "salmon"):
        command = formats.add_parser(name)
        command.add_argument("file", type=Path, metavar="FILE.json")
        command.add_argument("--out", type=Path, required=True, metavar="FILE.yaml")
        if name == "anthropic-cai":
            command.add_argument(
                "--judging", type=Path, metavar="FILE.json", help="RLMadisonInstructions.json"
            )
    _add_commands(formats)
    options = parser.parse_args(arguments)
    try:
        constitution = _import(options)
    except UserError as error:
        open_console(stderr=True).print(str(error))
        return 2
    count = len(constitution.principles)
    line = f"{display_path(options.out)}: {count} principles. {constitution.source}"
    open_console().print(line)
    return 0


def _add_commands(formats: Any) -> None:
    public_input = formats.add_parser("polis")
    public_input.add_argument("file", type=Path, metavar="comments.csv")
    public_input.add_argument("--votes", type=Path, required=True, metavar="FILE.csv")
    bounds = polis.Bounds()
    public_input.add_argument(
        "--agree", type=float, default=bounds.agree, help="least mean agreement of the groups"
    )
    public_input.add_argument(
        "--least-votes", type=int, default=bounds.votes, help="fewest votes in every group"
    )
    public_input.add_argument("--most", type=int, help="the best so many statements")
    public_input.add_argument("--out", type=Path, required=True, metavar="FILE.yaml")
    from_icai = formats.add_parser("icai")
    from_icai.add_argument("file", type=Path, metavar="FILE.json")
    from_icai.add_argument("--pairs", type=Path, metavar="FILE.jsonl", help="write the pairs, too")
    from_icai.add_argument("--out", type=Path, required=True, metavar="FILE.yaml")


def _import(options: argparse.Namespace) -> Constitution:
    name = slug(options.out.stem)
    if options.format == "salmon":
        constitution = salmon(options.file, name)
    elif options.format == "polis":
        bounds = polis.Bounds(options.agree, options.least_votes, options.most)
        constitution = public(options.file, options.votes, bounds, name)
    elif options.format == "icai":
        constitution = inverse(options.file, name)
    else:
        constitution = anthropic_cai(options.file, options.judging, name)
    if options.format == "icai" and options.pairs:
        icai.write_pairs(icai.read_pairs(options.file), options.pairs)
    write_new(options.out, to_yaml(constitution))
    return constitution


if __name__ == "__main__":
    sys.exit(main())
