"""What changed between two principle sets, and what that changes.

`python -m stages.spec_diff OLD NEW [--run RUN] [--new-run RUN] [--trained OLD_RUN NEW_RUN]`

OLD and NEW are shipped names, files, or `REV:path` as in `git show`. A run is its folder in
runs/logs (with `run.json`), `last`, its label or the end of its folder's name, or the folder of an
artifact of the stage `judged_pairs`. With `--run`,
made under OLD, the labels that move are counted on its judge matrix, and the calls that a run under
NEW would send are forecast; no model is asked. With `--new-run`, made under NEW on the same
answers, the labels of both are compared. With `--trained`, which may be repeated for other seeds,
the violations of the two runs' policies are compared clause by clause.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.padding import Padding
from rich.text import Text

from stages.ablation.jobs import DONE, Job, Record
from stages.guards.console import open_console, styled
from stages.guards.disk import write_atomically
from stages.guards.errors import UserError
from stages.guards.files import exists, read_text
from stages.guards.text import number_from
from stages.report import page
from stages.runs.records import open_run
from stages.runtime.artifacts import Artifact
from stages.spec_diff.behaviour import behaviour
from stages.spec_diff.changelog import Changelog, as_markdown, write_changelog
from stages.spec_diff.clauses import SAME_CLAUSE, compare
from stages.spec_diff.moved_labels import forecast, measure
from stages.spec_diff.revisions import read_set

RUNS = Path("runs")
WIDTH = 80
STAGE = "judged_pairs"
STYLES = {"less": "red strike", "more": "green", "same": ""}
MARKS = {"less": ("[-", "-]"), "more": ("{+", "+}"), "same": ("", "")}
"""Around old and new words where there are no colours, as in `git diff --word-diff`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the difference and return the exit code: 0 equal, 1 different, 2 an error."""
    options = _parser().parse_args(arguments)
    try:
        difference = compare(read_set(options.old), read_set(options.new), options.similarity)
        moved = None
        measured = None
        effects = None
        if options.run:
            old_labels = labels_of(options.run, options.runs_dir)
            moved = forecast(old_labels, difference)
        if options.new_run:
            if not options.run:
                fix = "add --run with the run under OLD"
                raise UserError(
                    "there is nothing to compare the run with", where="--new-run", fix=fix
                )
            new_labels = labels_of(options.new_run, options.runs_dir)
            measured = measure(old_labels, new_labels, difference)
        if options.trained:
            jobs = [
                [read_job(folder_of(run, options.runs_dir)) for run in pair]
                for pair in options.trained
            ]
            old_jobs, new_jobs = [pair[0] for pair in jobs], [pair[1] for pair in jobs]
            effects = behaviour(old_jobs, new_jobs, difference)
        names = (options.old, options.new)
        changelog = write_changelog(
            difference,
            names,
            moved,
            measured,
            effects,
        )
        if options.markdown:
            write_atomically(options.markdown, as_markdown(changelog))
        if options.page:
            write_page(options.page, changelog)
    except UserError as error:
        open_console(stderr=True).print(str(error))
        return 2
    show(changelog)
    return int(bool(changelog.entries or difference.about))


def show(changelog: Changelog) -> None:
    """Print the changelog, at most 80 columns wide."""
    console = open_console()
    console.width = min(console.width, WIDTH)
    console.print(styled((changelog.title, "bold")))
    console.print(styled(changelog.summary))
    for fact in changelog.facts:
        console.print(styled(fact))
    for note in changelog.notes:
        console.print(styled(("note: ", "yellow"), note))
    heading = ""
    for entry in changelog.entries:
        if entry.heading != heading:
            heading = entry.heading
            console.print()
            console.print(styled((heading, "bold")))
        console.print(Padding(styled((entry.id, "cyan")), (0, 0, 0, 2)))
        text = Text()
        for kind, words in entry.words or (("same", entry.text),):
            before, after = ("", "") if console.is_terminal else MARKS[kind]
            text += styled((f"{before}{words}{after} ", STYLES[kind]))
        console.print(Padding(text, (0, 0, 0, 4)))
        for fact in (*entry.facts, entry.labels, entry.behaviour):
            if fact:
                console.print(Padding(styled(f"- {fact}"), (0, 0, 0, 4)))


def write_page(path: Path, changelog: Changelog) -> None:
    """Write the page.

    Raises:
        UserError: it cannot be written.
    """
    template = Path(__file__).with_name("spec_diff.html.jinja")
    page.write(
        path,
        template,
        [],
        title=changelog.title,
        v=changelog,
    )


def folder_of(run: str, runs_dir: Path) -> Path:
    """Return the folder that a user means: a path, or a run by its name.

    Raises:
        UserError: there is neither, or several runs are called so.
    """
    path = Path(run)
    return path if exists(path) else open_run(run, runs_dir).folder


def labels_of(run: str, runs_dir: Path = RUNS) -> Artifact:
    """Return the labels of a run: its first step of the stage `judged_pairs`.

    Raises:
        UserError: there is no such run, or it has no such step.
    """
    folder = folder_of(run, runs_dir)
    if exists(folder / "manifest.json"):
        artifact = _artifact(folder)
        if artifact.stage == STAGE:
            return artifact
        raise UserError(
            f"it was made by the stage {artifact.stage!r}, not by {STAGE!r}",
            where=run,
            fix="give the folder of the labelled pairs: it says by which rule they were labelled",
        )
    steps = read_job(folder).of_stage(STAGE)
    if not steps:
        fix = "give a run of a pipeline with a judge, such as dpo"
        raise UserError(f"the run has no step of the stage {STAGE!r}", where=run, fix=fix)
    return steps[0]


def read_job(folder: Path) -> Job:
    """Return a finished run, from the `run.json` in its folder.

    Raises:
        UserError: there is none, or it is damaged.
    """
    file = folder / DONE
    if not exists(file):
        fix = "give a folder of runs/logs with a finished run, or of an artifact"
        raise UserError(f"there is no {DONE}", where=str(folder), fix=fix)
    try:
        record = Record.model_validate_json(read_text(file))
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"it is damaged: {reason}", where=str(file), fix="run it again") from None
    steps = {name: step.artifact for name, step in record.steps.items()}
    return Job(
        number=0,
        variant=record.variant,
        seed=record.seed,
        steps=steps,
    )


def _artifact(folder: Path) -> Artifact:
    return Artifact(folder.resolve().name.rpartition("-")[0], folder.resolve())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stages.spec_diff",
        description="What changed between two principle sets, and what that changes.",
    )
    parser.add_argument("old", metavar="OLD", help="a shipped name, a file, or REV:path")
    parser.add_argument("new", metavar="NEW", help="the same")
    parser.add_argument("--runs-dir", type=Path, default=RUNS, help="where runs lie (default runs)")
    parser.add_argument("--run", help="a run under OLD: which labels move, and how many calls")
    parser.add_argument("--new-run", help="a run under NEW: which labels moved")
    parser.add_argument(
        "--trained",
        nargs=2,
        action="append",
        metavar=("OLD_RUN", "NEW_RUN"),
        help="two trained and evaluated runs: violations by clause; repeat it for other seeds",
    )
    parser.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="write a changelog",
    )
    parser.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help="write a page",
    )
    parser.add_argument(
        "--similarity",
        type=number_from(0, 1),
        default=SAME_CLAUSE,
        help=f"of texts of a clause with another id, 0 to 1 (default {SAME_CLAUSE})",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
