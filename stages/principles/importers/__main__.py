"""Turn a user's own copy of a published file into a constitution file.

`python -m stages.principles.importers FORMAT FILE --out my.yaml`; FORMAT is `anthropic-cai`,
`salmon`, `model-spec`, `open-character`, `c3ai`, `polis`, `icai`, or `rules` for a table of rules
of thumb. `FORMAT --help` lists the options of one.
"""

import argparse
import codecs
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.guards.files import as_path, open_file
from stages.principles.constitution import Constitution, to_yaml
from stages.principles.document import MAX_BYTES, display_path, write_new
from stages.principles.faults import slug
from stages.principles.importers import icai, polis, published, rules

PROGRAM = "python -m stages.principles.importers"
LOOKED_AT = 10_000
"""Bytes of a file; a longer one is not empty."""
PLAIN: dict[str, Callable[[Path, str], Constitution]] = {
    "salmon": published.salmon,
    "model-spec": published.model_spec,
    "open-character": published.open_character,
    "c3ai": published.c3ai,
    "icai": published.inverse,
}
"""The readers that take a file and a name, and no options."""


def _read_cai(options: argparse.Namespace, name: str) -> Constitution:
    return published.anthropic_cai(options.file, options.judging, name)


def _read_polis(options: argparse.Namespace, name: str) -> Constitution:
    bounds = polis.Bounds(options.agree, options.least_votes, options.most)
    return published.public(options.file, options.votes, bounds, name)


def _read_rules(options: argparse.Namespace, name: str) -> Constitution:
    columns = rules.columns_of(options)
    return rules.constitution_of_table(options.file, columns, options.most, name)


WITH_OPTIONS: dict[str, Callable[[argparse.Namespace, str], Constitution]] = {
    "anthropic-cai": _read_cai,
    "polis": _read_polis,
    "rules": _read_rules,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Import the file named on the command line; return 0, or 2 after a mistake of the user."""
    options = _parser().parse_args(arguments)
    try:
        constitution = _read(options, slug(options.out.stem))
        text = to_yaml(constitution, "Imported by Credo.")
        _refuse_large(text, options.out)
        if options.format == "icai" and options.pairs:
            icai.write_pairs(icai.read_pairs(options.file), options.pairs)
        write_new(options.out, text)
    except UserError as error:
        open_console(stderr=True).print(str(error))
        return 2
    count = len(constitution.principles)
    place = display_path(options.out)
    open_console().print(f"{place}: {count:,} principles. {constitution.source}")
    return 0


def _parser() -> argparse.ArgumentParser:
    """Return a parser with a command for each format."""
    summary, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(PROGRAM, description=summary)
    formats = parser.add_subparsers(dest="format", required=True)
    for name in [*PLAIN, *WITH_OPTIONS]:
        command = formats.add_parser(name)
        command.add_argument("file", type=Path, metavar="FILE")
        command.add_argument("--out", type=Path, required=True, metavar="FILE.yaml")
        _add_options(name, command)
    return parser


def _read(options: argparse.Namespace, name: str) -> Constitution:
    for option in ("file", "judging", "votes"):
        if path := getattr(options, option, None):
            _refuse_empty(as_path(path))
    if options.format in PLAIN:
        return PLAIN[options.format](options.file, name)
    return WITH_OPTIONS[options.format](options, name)


def _add_options(name: str, command: argparse.ArgumentParser) -> None:
    if name == "anthropic-cai":
        command.add_argument(
            "--judging",
            type=Path,
            metavar="FILE.json",
            help="RLMadisonInstructions.json",
        )
    if name == "polis":
        polis.add_options(command)
    if name == "icai":
        command.add_argument(
            "--pairs",
            type=Path,
            metavar="FILE.jsonl",
            help="write the pairs, too",
        )
    if name == "rules":
        rules.add_options(command)


def _refuse_empty(file: Path) -> None:
    """Refuse a file of spaces at most; what else is no file is refused where it is read."""
    if not os.path.isfile(file):
        return
    with open_file(file, display_path(file), sys.maxsize) as (stream, _):
        if stream.read(LOOKED_AT).removeprefix(codecs.BOM_UTF8).strip() or stream.read(1):
            return
    raise UserError(
        "the file is empty", where=display_path(file), fix="give the file as it was published"
    )


def _refuse_large(text: str, file: Path) -> None:
    size = len(text.encode())
    if size <= MAX_BYTES:
        return
    raise UserError(
        f"the constitution has {size:,} bytes, more than the {MAX_BYTES:,} that are read",
        where=display_path(file),
        fix="take fewer principles: --most, or --only, or cut the file",
    )


if __name__ == "__main__":
    sys.exit(main())
