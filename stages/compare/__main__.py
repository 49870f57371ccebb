"""Put two or more runs or logs side by side: paired effects, power, and the rows that changed.

`python -m stages.compare BASE OTHER ...`; each is a file or a folder, of Credo or of another tool
(docs/compare.md lists them), and `NAME=PATH` names it. The first is the reference. The numbers
appear in the terminal; compare.html shows them with every row that changed.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.compare.logs.log import Log
from stages.compare.logs.open_logs import open_logs
from stages.compare.page import (
    MOST_ROWS,
    write_page,
)
from stages.compare.pairing import (
    CORRECTIONS,
    HOLM,
    Comparison,
    compare_logs,
)
from stages.compare.table import show_comparison
from stages.guards.console import open_console
from stages.guards.disk import write_atomically
from stages.guards.errors import UserError
from stages.guards.text import number_from, read_count

PROGRAM = "python -m stages.compare"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare what the command line names; return 0, or 2 after a mistake of the user."""
    options = _parser().parse_args(arguments)
    try:
        logs = _select(_open_all(options.logs), options.only)
        comparison = compare_logs(
            logs,
            options.metric,
            options.correction,
            options.confidence,
        )
        write_page(options.out, comparison, options.rows)
        if options.json:
            write_atomically(options.json, json.dumps(_plain(comparison), indent=2))
    except UserError as error:
        open_console(stderr=True).print(str(error))
        return 2
    console = open_console()
    show_comparison(comparison, console)
    console.print(f"Page: {options.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(PROGRAM, description=summary, epilog=rest.replace("`", ""))
    parser.add_argument("logs", nargs="+", metavar="[NAME=]PATH")
    parser.add_argument("--out", type=Path, default=Path("compare.html"), help="the page to write")
    parser.add_argument("--json", type=Path, help="write the numbers as JSON, too")
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        help="compare this metric only; may be repeated",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="TEXT",
        help="of files with several models: those with this text in their name; may be repeated",
    )
    parser.add_argument("--correction", choices=sorted(CORRECTIONS), default=HOLM)
    parser.add_argument("--confidence", type=_confidence, default=0.95)
    parser.add_argument(
        "--rows",
        type=read_count,
        default=MOST_ROWS,
        help="the most changed rows on the page",
    )
    return parser


def _confidence(text: str) -> float:
    value = number_from(0, 1)(text)
    if value in (0, 1):
        raise argparse.ArgumentTypeError("write a number between 0 and 1, such as 0.95")
    return value


def _open_all(names: Sequence[str]) -> list[Log]:
    """Read all logs. Where several paths are named, a run of Credo stands for its last policy."""
    paths = [_split(name) for name in names]
    folders = [path for _, path in paths]
    _refuse_repeated([name or str(path) for name, path in paths])
    logs = []
    for name, path in paths:
        of_path = open_logs(path, name or _short(path, folders))
        if len(paths) > 1 and of_path[0].tool == "Credo" and len(of_path) > 1:
            of_path = of_path[-1:]
        logs += of_path
    return logs


def _refuse_repeated(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"two logs are called {name!r}",
                where="[NAME=]PATH",
                fix="name each log once, and differently: base=PATH tuned=PATH",
            )


def _split(text: str) -> tuple[str, Path]:
    """`NAME=PATH`; a path that exists may itself hold the sign."""
    name, sign, path = text.partition("=")
    if sign and not os.path.lexists(text) and "/" not in name:
        return name, Path(path)
    return "", Path(text)


def _short(
    path: Path,
    others: Sequence[Path],
) -> str:
    """The last parts of a path that no other one shares."""
    parts = path.absolute().parts
    for length in range(1, len(parts)):
        ending = parts[-length:]
        alike = [other for other in others if other.absolute().parts[-length:] == ending]
        if len(alike) < 2:
            return "/".join(ending)
    return str(path)


def _select(
    logs: Sequence[Log],
    texts: Sequence[str],
) -> list[Log]:
    """The logs whose name holds one of the texts; all, where none is given."""
    selected = [log for log in logs if not texts or any(text in log.name for text in texts)]
    if selected:
        return selected
    names = ", ".join(log.name for log in logs)
    raise UserError("no log has such a name", where="--only", fix=f"choose from: {names}")


def _plain(comparison: Comparison) -> dict[str, Any]:
    """The numbers as JSON has them."""
    rows = []
    for row in comparison.rows:
        facts = {"metric": row.metric, "log": row.other, "detectable": row.detectable}
        rows.append(facts | row.effect.plain())
    logs = [{"name": log.name, "tool": log.tool, "path": str(log.path)} for log in comparison.logs]
    return {"logs": logs, "notes": comparison.notes, "effects": rows}


if __name__ == "__main__":
    sys.exit(main())
