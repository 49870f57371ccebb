"""Stage `label`: the answers most worth labelling, as a file that people fill in; and back.

In: `verdicts`, the Verdict rows of an `evaluate` step; or `pairs`, Pair rows; or, with `source`, a
filled file and no input. Out: Label rows, and in the artifact's folder without `source`,

    labels.csv, labels.jsonl   for verdicts: one answer and one question a line, in an order of
                               their own, without the policy's name; `label` is to be filled in
    pairs.csv, pairs.jsonl     for pairs: two answers in the order of a coin; `winner` is to be
                               filled in with A, B or tie, and `human_pairs` reads the file

Of verdicts, prompts are drawn where the judge is unsure (see `evaluation.labels.drawing`), and all
answers to them are asked about, so that policies are compared on the same prompts; an answer that
several policies give is asked about once. The probability of each draw is in the file, and
`evaluate` weights by it. Pairs are drawn with equal probability, because `human_pairs` keeps none.

Left out: several people's disagreement; their labels of one answer are averaged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stages.evaluation.instrument.decision import decision_of
from stages.evaluation.labels.asked import doubt
from stages.evaluation.labels.drawing import draw_prompts
from stages.evaluation.labels.questions import ANY, label_id, wording_of
from stages.guards.disk import errors_of_writing
from stages.guards.errors import UserError
from stages.report.exports.label_files import (
    QUESTION,
    QUESTION_ANY,
    read_labels,
    write_files,
)
from stages.report.views.browse import principle_texts
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.rows import Label, Pair, Verdict, request_text
from stages.runtime.stage import Kind, Stage
from stages.runtime.store import derive_fraction, derive_seed
from stages.runtime.typed_config import Count, Fraction, Text
from stages.sources.records import file_hash
from stages.statistics.formatting import format_count


@dataclass(frozen=True)
class Config:
    prompts: Count = 100
    """How many prompts to draw; all answers to them are asked about. Of pairs: how many pairs."""
    ask: Literal["any", "each"] = "any"
    """One question an answer, whether it breaks any principle that counts; or one a principle."""
    uniform: Fraction = 0.5
    """The part of the draws that goes to every prompt alike, not to where the judge is unsure."""
    source: Text | None = None
    """A filled file, csv or jsonl; the other options then do not count."""


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse a draw from nothing, and a filled file beside something to draw from."""
    if bool(config.source) == bool(inputs) or len(inputs) > 1:
        raise UserError(
            "it needs rows to draw from, or a filled file, and not both",
            fix="give `inputs: {verdicts: <an evaluate step>}`, or `inputs: {pairs: ...}`; or set "
            "`source` to the filled file and leave `inputs` out",
        )


def identity(config: Config) -> dict[str, Any]:
    return {"source": file_hash(config.source)} if config.source else {}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Draw and write, or read.

    Raises:
        UserError: there is nothing to draw from, or the filled file cannot be read.
    """
    if config.source:
        return _read(config.source, context)
    if "pairs" in inputs:
        return _ask_for_winners(
            inputs["pairs"],
            config,
            context,
        )
    return _ask_for_labels(
        inputs["verdicts"],
        config,
        context,
    )


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    optional={
        "verdicts": Verdict,
        "pairs": Pair,
    },
    gives=Label,
    check_inputs=check_inputs,
    identity=identity,
)


def _read(source: str, context: Context) -> Result:
    filled = read_labels(source)
    count = sum(row.label is not None for row in filled.labels)
    if not count:
        raise UserError(
            "no line has a label",
            where=source,
            fix="write yes or no in the column `label`",
        )
    shown = [[format_count(count), format_count(len(filled.labels) - count)]]
    table = Table(
        f"{context.step}: labels read",
        ["labels", "left empty"],
        shown,
    )
    return Result(
        rows=filled.labels,
        row_type=Label,
        dropped=filled.dropped,
        metrics={
            "labels": count,
            "empty": len(filled.labels) - count,
        },
        tables=[table],
    )


def _ask_for_labels(source: Artifact, config: Config, context: Context) -> Result:
    rows = source.rows(Verdict)
    if not rows:
        raise _nothing(context, "answers")
    rows = [row for row in rows if row.judged] or rows  # labels correct what the judge has seen
    texts = principle_texts(source)
    principles = [name for name in rows[0].principles if name in texts]
    counted = [name for name in source.metrics.get("counted") or principles if name in texts]
    asked = [ANY] if config.ask == "any" else principles
    unsure: dict[str, float] = {}
    decision = decision_of(source.metrics)
    for row in rows:
        of_row = sum(doubt(row, question, counted, decision) for question in asked)
        unsure[row.prompt_id] = unsure.get(row.prompt_id, 0.0) + of_row
    drawn = draw_prompts(
        unsure,
        config.prompts,
        config.uniform,
        context.seed,
    )
    wordings = {
        name: wording_of(
            name,
            texts,
            counted,
        )
        for name in asked
    }
    labels: dict[str, Label] = {}
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.prompt_id not in drawn:
            continue
        for question, wording in wordings.items():
            name = label_id(
                row.prompt_id,
                row.response,
                wording,
            )
            probability = drawn[row.prompt_id]
            labels[name] = Label(
                id=name,
                prompt_id=row.prompt_id,
                wording=wording,
                label=None,
                probability=probability,
            )
            lines[name] = {
                "id": name,
                "request": request_text(row.prompt),
                "response": row.response,
                "principle": wording,
                "question": QUESTION_ANY if question == ANY else QUESTION,
                "label": "",
                "probability": probability,
            }
    ordered = sorted(
        lines,
        key=lambda name: derive_seed(
            context.seed,
            "order",
            name,
        ),
    )
    files = _write(
        context,
        "labels",
        [lines[name] for name in ordered],
    )
    return _written(
        context,
        files,
        [labels[name] for name in ordered],
        len(drawn),
    )


def _ask_for_winners(source: Artifact, config: Config, context: Context) -> Result:
    pairs = [pair for pair in source.rows(Pair) if pair.chosen != pair.rejected]
    if not pairs:
        raise _nothing(context, "pairs")
    texts = principle_texts(source)
    ordered = sorted(
        pairs,
        key=lambda pair: derive_seed(
            context.seed,
            "label",
            pair.id,
        ),
    )
    lines = []
    for pair in ordered[: config.prompts]:
        sides = [pair.chosen, pair.rejected]
        if (
            derive_fraction(
                context.seed,
                "place",
                pair.id,
            )
            < 0.5
        ):
            sides.reverse()
        wordings = [texts.get(name, name) for name in pair.principles]
        lines.append(
            {
                "prompt": request_text(pair.prompt),
                "response_a": sides[0],
                "response_b": sides[1],
                "principle": "\n".join(wordings),
                "winner": "",
            }
        )
    files = _write(
        context,
        "pairs",
        lines,
    )
    return _written(
        context,
        files,
        [],
        len(lines),
    )


def _write(context: Context, name: str, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    with errors_of_writing(context.directory):
        return write_files(
            context.directory,
            name,
            lines,
        )


def _written(context: Context, files: list[str], labels: list[Label], drawn: int) -> Result:
    path = context.directory / files[0]
    count = len(labels) or drawn
    row = [str(path), format_count(drawn), format_count(count)]
    table = Table(
        f"{context.step}: to be filled in",
        ["file", "drawn", "lines"],
        [row],
    )
    metrics = {
        "files": files,
        "drawn": drawn,
        "lines": count,
    }
    return Result(
        rows=labels,
        row_type=Label,
        metrics=metrics,
        tables=[table],
    )


def _nothing(context: Context, what: str) -> UserError:
    return UserError(
        f"there are no {what} to label",
        where=f"step {context.step!r}",
        fix="look at what the step before dropped",
    )
