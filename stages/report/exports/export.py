"""Stage `export`: rows in the formats of other tools, to inspect them there.

In: any steps. Out: files in the artifact's folder, by the rows of each input,

    Pair       `<step>.annotated_pairs.json` and `<step>.icai.csv` (see `annotated_pairs`)
    Judgement  no file of its own: the votes of the principles on the pairs made from it, including
               those that did not decide
    Verdict    `inspect/<time>_<step>-<policy>_<id>.json`, one log a policy (see `inspect_logs`)

`<step>.icai.csv` holds texts exactly as they are, since icai reads them: a spreadsheet would run
one that begins with = + - or @ as a formula.

Left out: pairs without a label (icai's reader needs one for each); in logs, token counts and the
questions to the judge.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from stages.guards.disk import errors_of_writing, write_atomically
from stages.guards.errors import UserError
from stages.report.exports.annotated_pairs import annotate_pair, annotated_pairs, write_table
from stages.report.exports.inspect_logs import inspect_log
from stages.report.views.browse import principle_texts
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.rows import Judgement, Pair, Verdict
from stages.runtime.stage import Kind, Stage, fits
from stages.statistics.formatting import format_count

FileSizes = list[tuple[str, int]]  # each file and its number of rows
Matrix = Mapping[str, list[Judgement]]


@dataclass(frozen=True)
class Config:
    """Options of the stage."""

    formats: tuple[Literal["annotated_pairs", "icai_csv", "inspect"], ...] = (
        "annotated_pairs",
        "icai_csv",
        "inspect",
    )
    """Which files to write."""


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse inputs of which none has rows that the formats can hold."""
    if not any(fits(kind, Pair | Verdict) for kind in inputs.values()):
        raise UserError(
            "no input has rows that these formats can hold",
            fix="add `inputs: {pairs: <a step that makes pairs>, evaluation: <an evaluate step>}`",
        )


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Write the files.

    Raises:
        UserError: no input has rows that these formats can hold, or a file cannot be written.
    """
    texts = _texts(inputs.values())
    matrix: dict[str, list[Judgement]] = {}
    for source in inputs.values():
        if source.row_type is Judgement:
            for cell in source.rows(Judgement):
                matrix.setdefault(cell.pair_id, []).append(cell)
    files: FileSizes = []
    with errors_of_writing(context.directory):
        for source in inputs.values():
            if source.row_type is Pair:
                files += _write_pairs(source, matrix, texts, config, context)
            elif source.row_type is Verdict and "inspect" in config.formats:
                files += _write_logs(source, context)
    if not files:
        raise UserError(
            "no input has rows that these formats can hold",
            where=f"step {context.step!r}",
            fix="add `inputs: {pairs: <a step that makes pairs>, evaluation: <an evaluate step>}`",
        )
    rows = [[name, format_count(number)] for name, number in files]
    table = Table("Exported", ["file", "rows"], rows)
    return Result(metrics={"files": dict(files)}, tables=[table])


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional={"*": object},
    check_inputs=check_inputs,
)


def _texts(sources: Iterable[Artifact]) -> dict[str, str]:
    """The principles' texts by id; an id stands for itself where no step has its text."""
    texts: dict[str, str] = {}
    names: dict[str, str] = {}
    for source in sources:
        texts |= principle_texts(source)
        if source.row_type is Pair:
            for pair in source.rows(Pair):
                names |= {name: name for name in pair.principles}
    return names | texts


def _cells_of(pair: Pair, matrix: Matrix) -> list[Judgement]:
    """The judge's cells for a pair, with either of its sides as response a."""
    if pair.id in matrix:  # judged as a pair, by `judge_quality`
        return matrix[pair.id]
    ids = (pair.chosen_id, pair.rejected_id)
    return matrix.get("|".join(ids)) or matrix.get("|".join(reversed(ids))) or []


def _write_pairs(
    source: Artifact, matrix: Matrix, texts: Mapping[str, str], config: Config, context: Context
) -> FileSizes:
    comparisons = []
    for pair in source.rows(Pair):
        comparisons.append(annotate_pair(pair, _cells_of(pair, matrix), texts))
    names = []
    if "annotated_pairs" in config.formats:
        names.append(f"{source.step}.annotated_pairs.json")
        finished = source.manifest.finished
        document = annotated_pairs(comparisons, source.step, finished, texts)
        text = json.dumps(document, indent=1, ensure_ascii=False)
        write_atomically(context.directory / names[-1], text)
    if "icai_csv" in config.formats:
        names.append(f"{source.step}.icai.csv")
        write_table(context.directory / names[-1], comparisons)
    return [(name, len(comparisons)) for name in names]


def _write_logs(source: Artifact, context: Context) -> FileSizes:
    files: FileSizes = []
    (context.directory / "inspect").mkdir(exist_ok=True)
    by_policy: dict[str, list[Verdict]] = {}
    for row in source.rows(Verdict):
        by_policy.setdefault(row.policy, []).append(row)
    for rows in by_policy.values():
        log = inspect_log(rows, source)
        facts = log["eval"]
        created = facts["created"].replace(":", "-")
        name = f"inspect/{created}_{facts['task']}_{facts['eval_id']}.json"
        text = json.dumps(log, ensure_ascii=False, allow_nan=False)
        write_atomically(context.directory / name, text)
        files.append((name, len(log["samples"])))
    return files
