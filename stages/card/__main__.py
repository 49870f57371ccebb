"""Publish a trained policy with the record of its making, or verify such a folder.

`python -m stages.card RUN --out FOLDER` copies the policy of a run, its principles, a README and
`credo_card.json` into a folder ready to upload. `python -m stages.card verify FOLDER` checks that
nothing was changed; with `--run RUN`, or where the folder carries evidence, the numbers are
computed again from the rows; with `--model` the model answers again. The exit code is 0, or 1 where
something differs.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stages.card.against_run import (
    check_artifacts,
    check_identities,
    check_run,
)
from stages.card.checks import (
    AGREES,
    DIFFERS,
    NOT_CHECKED,
    Check,
    not_checked,
)
from stages.card.evidence import evidence_of, is_evidence, restore
from stages.card.facts import UNKNOWN, open_published, steps_of
from stages.card.folder import write_folder
from stages.card.recompute import closed_engines, recompute, store_of
from stages.card.record import RECORD, read_record
from stages.card.resample import resample
from stages.card.verify import check_folder
from stages.chat.setup import Wishes, open_engines
from stages.guards.console import open_console, styled
from stages.guards.errors import UserError
from stages.guards.text import read_count
from stages.runs.records import RunRecord, open_run
from stages.runtime.calls import Engines

PROGRAM = "python -m stages.card"
VERIFY = "verify"
REQUESTS = 32
STYLES = {AGREES: "green", DIFFERS: "bold red", NOT_CHECKED: "yellow"}
NEEDS_RUN = "needs the artifacts: --run RUN, or a folder made with --evidence"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return 0, 1 where something differs, or 2 after a mistake."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == [VERIFY]:
            return verify_command(_verify_parser().parse_args(words[1:]))
        return publish_command(_parser().parse_args(words))
    except UserError as error:
        open_console(stderr=True).print(str(error))
        return 2
    except KeyboardInterrupt:
        return 130


def publish_command(options: argparse.Namespace) -> int:
    """Write the folder of a policy."""
    console = open_console()
    run = open_run(options.run, options.runs_dir)
    published = open_published(run, options.step)
    record = write_folder(
        published,
        options.out,
        options.name or f"{run.pipeline or 'credo'}-{published.policy}",
        options.license,
        options.evidence,
    )
    count = len(record["effects"])
    console.print(f"{options.out}: the policy of the step {published.policy!r}, with {RECORD}.")
    console.print(f"{len(record['steps'])} steps and {count} numbers are recorded.")
    unknown = [one["step"] for one in record["data"] if one["license"] == UNKNOWN]
    if unknown:
        console.print(f"No licence is named for: {', '.join(unknown)} (`license` of the step).")
    if options.license == UNKNOWN:
        console.print("The model has no licence yet: --license ID chooses one.")
    console.print(f"Next, check it: {PROGRAM} {VERIFY} {options.out} --run {run.folder}")
    return 0


def verify_command(options: argparse.Namespace) -> int:
    """Check a folder, a line for each thing that was compared."""
    console = open_console()
    record = read_record(options.folder)
    run = evidence_of(options.folder)
    if options.run:
        run = open_run(options.run, options.runs_dir)
    counts: Counter[str] = Counter()
    for check in every_check(options, record, run):
        counts[check.state] += 1
        state = (f"{check.state:<12}", STYLES[check.state])
        reason = f": {check.why}" if check.why else ""
        console.print(styled(state, f"{check.what}{reason}"))
    parts = [f"{counts[state]} {state}" for state in STYLES]
    console.print(", ".join(parts))
    return 1 if counts[DIFFERS] else 0


def every_check(
    options: argparse.Namespace,
    record: Mapping[str, Any],
    run: RunRecord | None,
) -> Iterator[Check]:
    """Yield all checks that the command line asks for, the cheapest first."""
    yield from check_folder(options.folder, record)
    if run is None:
        yield not_checked("artifacts and numbers", NEEDS_RUN)
        return
    config = record["run"]["config"]
    try:
        steps = steps_of(config)
    except UserError as error:
        reason = f"this version does not read the config: {error.what}"
        yield not_checked("artifacts and numbers", reason)
        return
    artifacts = run.artifacts()
    finished = {name: steps[name] for name in steps if name in artifacts}
    yield check_run(record, run)
    yield from check_artifacts(record, steps, artifacts)
    yield from check_identities(record, steps, closed_engines(config))
    with tempfile.TemporaryDirectory() as scratch:
        if is_evidence(run):
            artifacts = restore(
                options.folder,
                record["policy"]["step"],
                artifacts,
                Path(scratch),
            )
        yield from recompute(
            finished,
            artifacts,
            config,
            options.store or store_of(run),
        )
        if options.model:
            yield from resample(
                options.folder,
                record,
                steps,
                artifacts,
                options.requests,
                partial(engines_of, config, options.generator),
            )


def engines_of(config: Mapping[str, Any], generator: str) -> Engines:
    """Return the engines of the run, or those of another generator with its chat options."""
    facts = config["generator"]
    if generator:
        return open_engines(facts, Wishes(generator=generator))
    return Engines(
        facts["name"],
        facts.get("options") or {},
        facts.get("keep") or 1,
    )


def _parser() -> argparse.ArgumentParser:
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        PROGRAM,
        description=summary,
        epilog=rest.replace("`", ""),
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="a new folder",
    )
    parser.add_argument(
        "--step",
        default="",
        help="the step that trained the policy (default: the last one)",
    )
    parser.add_argument(
        "--name",
        default="",
        help="the model's name on its page",
    )
    parser.add_argument(
        "--license",
        default=UNKNOWN,
        metavar="ID",
        help="the licence you choose, as the Hub writes it: apache-2.0 (default: unknown)",
    )
    parser.add_argument(
        "--evidence",
        action="store_true",
        help="carry the rows of all steps, so that anybody can compute the numbers again",
    )
    _add_runs_dir(parser)
    return parser


def _verify_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        f"{PROGRAM} {VERIFY}",
        description="Check a published folder; the exit code is 1 where something differs.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--run",
        default="",
        metavar="RUN",
        help="the run that made it (default: the evidence in the folder)",
    )
    parser.add_argument(
        "--store",
        metavar="PLACE",
        help="the call store (default: the run's)",
    )
    parser.add_argument(
        "--model",
        action="store_true",
        help="let the model answer requests again, and score the answers",
    )
    parser.add_argument(
        "--requests",
        type=read_count,
        default=REQUESTS,
        metavar="N",
        help=f"with --model: how many (default: {REQUESTS})",
    )
    parser.add_argument(
        "--generator",
        default="",
        metavar="NAME",
        help="with --model: what samples, such as transformers (default: the run's)",
    )
    _add_runs_dir(parser)
    return parser


def _add_runs_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs-dir",
        type=Path,
        default=Path("runs"),
        help="where runs lie (default: runs)",
    )


if __name__ == "__main__":
    sys.exit(main())
