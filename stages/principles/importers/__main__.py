"""Turn a user's own copy of a published file into a constitution file.

`python -m stages.principles.importers FORMAT FILE --out my.yaml`; FORMAT is `anthropic-cai`,
`salmon`, `model-spec`, `open-character`, `c3ai`, `polis`, `icai`, or `rules` for a table of rules
of thumb. `FORMAT --help` lists the options of one.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.principles.constitution import Constitution, to_yaml
from stages.principles.document import MAX_BYTES, display_path, write_new
from stages.principles.faults import slug
from stages.principles.importers import icai, polis, published, rules

READERS: dict[str, Callable[[argparse.Namespace, str], Constitution]] = {
    "anthropic-cai": lambda options, name: published.anthropic_cai(
        options.file, options.judging, name
    ),
    "salmon": lambda options, name: published.salmon(options.file, name),
    "model-spec": lambda options, name: published.model_spec(options.file, name),
    "open-character": lambda options, name: published.open_character(options.file, name),
    "c3ai": lambda options, name: published.c3ai(options.file, name),
    "polis": lambda options, name: published.public(
        options.file,
        options.votes,
        polis.Bounds(options.agree, options.least_votes, options.most),
        name,
    ),
    "icai": lambda options, name: published.inverse(options.file, name),
    "rules": lambda options, name: rules.constitution_of_table(
        options.file, rules.columns_of(options), options.most, name
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Import the file named on the command line; return 0, or 2 after a mistake of the user."""
    summary, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m stages.principles.importers", description=summary
    )
    formats = parser.add_subparsers(dest="format", required=True)
    for name in READERS:
        command = formats.add_parser(name)
        command.add_argument("file", type=Path, metavar="FILE")
        command.add_argument("--out", type=Path, required=True, metavar="FILE.yaml")
        _add_options(name, command)
    options = parser.parse_args(arguments)
    try:
        constitution = READERS[options.format](options, slug(options.out.stem))
        text = to_yaml(constitution, "Imported by Credo.")
        _refuse_large(text, options.out)
        if options.format == "icai" and options.pairs:
            icai.write_pairs(icai.read_pairs(options.file), options.pairs)
        write_new(options.out, text)
    except UserError as error:
        open_console(stderr=True).print(str(error))
        return 2
    count = len(constitution.principles)
    line = f"{display_path(options.out)}: {count:,} principles. {constitution.source}"
    open_console().print(line)
    return 0


def _add_options(name: str, command: Any) -> None:
    if name == "anthropic-cai":
        command.add_argument(
            "--judging", type=Path, metavar="FILE.json", help="RLMadisonInstructions.json"
        )
    if name == "polis":
        polis.add_options(command)
    if name == "icai":
        command.add_argument(
            "--pairs", type=Path, metavar="FILE.jsonl", help="write the pairs, too"
        )
    if name == "rules":
        rules.add_options(command)


def _refuse_large(text: str, file: Path) -> None:
    size = len(text.encode())
    if size > MAX_BYTES:
        raise UserError(
            f"the constitution has {size:,} bytes, more than the {MAX_BYTES:,} that are read",
            where=display_path(file),
            fix="take fewer principles: --most, or --only, or cut the file",
        )


if __name__ == "__main__":
    sys.exit(main())
