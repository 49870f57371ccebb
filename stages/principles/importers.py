"""Turn a user's own copy of a published principle file into a constitution file.

`python -m stages.principles.importers anthropic-cai FILE.json [--judging FILE.json] --out my.yaml`
`python -m stages.principles.importers salmon FILE.json --out my.yaml`

Comes in: the JSON files of github.com/anthropics/ConstitutionalHarmlessnessPaper
(CritiqueRevisionInstructions and RLMadisonInstructions; Bai et al. 2022) or of
github.com/IBM/SALMON (Sun et al. 2023). Goes out: YAML with source and
licence. Left out: few-shot transcripts, and the "CritiqueRequest:" framing that base models need.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stages.principles.constitution import Constitution
from stages.principles.document import read_text, shown
from stages.principles.faults import slug
from stages.runtime.errors import UserError

CAI_LICENCE = "The source repository states no licence. Keep this file to yourself unless its authors allow more."
SALMON_LICENCE = (
    "The source is under CC BY-NC 4.0: name its authors, and use it for no commercial purpose."
)


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
    entries = _json(file)
    _require(
        isinstance(entries, dict) and bool(entries),
        file,
        "the top level must be an object such as harmful0: {...}",
    )
    texts = _judging(judging) if judging else None
    if judging and texts is not None and len(texts) != len(entries):
        raise UserError(
            f"it has {len(texts)} judging instructions for {len(entries)} critique requests.",
            where=shown(judging),
            fix="give two lists of the same length.",
        )
    principles = []
    for index, (key, entry) in enumerate(entries.items()):
        keys = isinstance(entry, dict) and {"prompt", "edit_request"} <= entry.keys()
        _require(keys, file, f"{key!r} needs the keys prompt and edit_request")
        prompt = entry["prompt"]
        if isinstance(prompt, list):
            _require(
                len(prompt) == 1,
                file,
                f"the prompt of {key!r} must be one string, or a list of one",
            )
            prompt = prompt[0]
        critique = _unframed(prompt, "CritiqueRequest:", "Critique:", file, key)
        revision = _unframed(entry["edit_request"], "RevisionRequest:", "Revision:", file, key)
        text = texts[index] if texts else revision
        principles.append(
            {"id": slug(key), "text": text, "critique": critique, "revision": revision}
        )
    source = f"Bai et al. 2022, anthropics/ConstitutionalHarmlessnessPaper. {CAI_LICENCE}"
    return _constitution(name, "Constitutional AI, the published wording", source, principles, file)


def salmon(file: Path, name: str = "salmon") -> Constitution:
    """Return the principles of a SALMON principle file: dimension, definition, negative_definition
    and weight.

    Raises:
        UserError: the file cannot be read, or does not have the published shape.
    """
    entries = _json(file)
    _require(
        isinstance(entries, list) and bool(entries),
        file,
        "the top level must be a list of principles",
    )
    principles, taken = [], set()
    for number, entry in enumerate(entries, start=1):
        keys = isinstance(entry, dict) and {"dimension", "definition"} <= entry.keys()
        _require(keys, file, f"principle {number} needs the keys dimension and definition")
        _require(
            isinstance(entry["dimension"], str),
            file,
            f"the dimension of principle {number} must be a string",
        )
        identity = slug(entry["dimension"])
        if identity in taken:
            identity = f"{identity}-{number}"
        taken.add(identity)
        optional = {"opposite": entry.get("negative_definition"), "weight": entry.get("weight")}
        given = {key: value for key, value in optional.items() if value not in (None, "")}
        principles.append({"id": identity, "text": entry["definition"], **given})
    source = f"Sun et al. 2023, SALMON, IBM/SALMON. {SALMON_LICENCE}"
    return _constitution(name, "SALMON, the published wording", source, principles, file)


def to_yaml(constitution: Constitution) -> str:
    """Return the text of a constitution file; `load` reads it back unchanged."""
    data = constitution.model_dump(mode="json", exclude_defaults=True)
    head = f"# Imported by Credo. {constitution.source or ''}".rstrip()
    body = yaml.safe_dump(
        {"name": data.pop("name"), **data}, sort_keys=False, allow_unicode=True, width=110
    )
    return f"{head}\n{body}"


def _judging(file: Path) -> list[str]:
    texts = _json(file)
    _require(
        isinstance(texts, list) and bool(texts), file, "the top level must be a list of strings"
    )
    return [
        _unframed(text, "", "Options:", file, str(number))
        for number, text in enumerate(texts, start=1)
    ]


def _unframed(text: Any, start: str, end: str, file: Path, key: str) -> str:
    _require(isinstance(text, str), file, f"the entry {key!r} must hold a string")
    bare = str(text).strip().removeprefix(start).removesuffix(end).strip()
    _require(bool(bare), file, f"the entry {key!r} has no text")
    return bare


def _json(file: Path) -> Any:
    try:
        return json.loads(read_text(file))
    except json.JSONDecodeError as error:
        where = f"{shown(file)}:{error.lineno}"
        raise UserError(
            f"not valid JSON: {error.msg}.", where=where, fix="give the file as it was published."
        ) from error
    except RecursionError as error:
        raise UserError(
            "nested too deep.", where=shown(file), fix="give the file as it was published."
        ) from error


def _require(condition: bool, file: Path, what: str) -> None:
    if not condition:
        raise UserError(f"{what}.", where=shown(file), fix="give the file as it was published.")


def _constitution(
    name: str, title: str, source: str, principles: list[dict[str, Any]], file: Path
) -> Constitution:
    try:
        return Constitution.model_validate(
            {"name": name, "title": title, "source": source, "principles": principles}
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{place}: {first['msg']}.", where=shown(file), fix="correct this entry of the file."
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Import the file named on the command line; return 0, or 2 after a mistake of the user."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.principles.importers", description=(__doc__ or "").split("\n")[0]
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
    options = parser.parse_args(arguments)
    name = slug(options.out.stem)
    try:
        if options.out.exists():
            raise UserError(
                "the file is already there.",
                where=shown(options.out),
                fix="remove it, or name another.",
            )
        if options.format == "salmon":
            constitution = salmon(options.file, name)
        else:
            constitution = anthropic_cai(options.file, options.judging, name)
        try:
            options.out.write_text(to_yaml(constitution), encoding="utf-8")
        except OSError as error:
            message = f"the file cannot be written: {error.strerror}."
            raise UserError(
                message, where=shown(options.out), fix="name a folder that exists."
            ) from error
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{shown(options.out)}: {len(constitution.principles)} principles. {constitution.source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
