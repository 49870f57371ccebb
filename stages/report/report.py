"""Stage `report`: everything a run found, as one HTML page.

In: any steps. Of an evaluation it shows the effect, the principles and the judge's quality; of
`reward_accuracy` the reward models side by side; of a training step the curves, of online ones over
each other and with their tripwires; of any other step its tables; rows of Revision, Pair,
Judgement, Rating and Verdict can be browsed; of every step, and of every step before it whose
folder is still there, what it made, dropped and sent, and whether the run that writes the page made
or
reused it: as a drawing and as a table. What is missing is simply not shown. Out: `report.html` in
the artifact's folder, self-contained: it loads nothing, its own policy forbids it to, and it works
from disk. A page that is itself reused goes on telling what was new when it was written.

Model and user texts enter the page escaped by jinja2, or as JSON that cannot end the script
element, and from there by `textContent` only.

Left out: a comparison of several runs, which needs several runs' evaluations and is a report of its
own.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from markupsafe import Markup
from pydantic import Field

from stages.report import page
from stages.report.steps import origin, steps_of, told
from stages.report.views import reward_models as reward_view
from stages.report.views import trainings
from stages.report.views.browse import as_script, dropped, principle_texts, sections
from stages.report.views.drawing import draw
from stages.report.views.effects import view
from stages.report.views.packed import pack
from stages.runtime.artifacts import Artifact, Result, Table, write_atomically
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.stage import ANY, Stage

DRAWN = ("evaluate", "reward_accuracy", "report")  # whose tables the page shows in another way
_TEMPLATE, _SCRIPT = (
    Path(__file__).resolve().with_name(name) for name in ("report.html.jinja", "report.js")
)


@dataclass(frozen=True)
class Config:
    """Args:
    title: the page's heading.
    max_rows: how many entries of each step can be browsed; the page tells how many there are. 1,000
        entries with answers of 80 words take about half a megabyte.
    """

    title: str = "Credo report"
    max_rows: Annotated[int, Field(ge=0)] = 20_000


def identity(config: Config) -> dict[str, Any]:
    return {"page": page.identity(_TEMPLATE, _SCRIPT)}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Write the page.

    Raises:
        UserError: there are no inputs.
    """
    if not inputs:
        raise UserError(
            "the report has nothing to show",
            where=f"step {context.step!r}",
            fix="add `inputs: {evaluation: <an evaluate step>, revisions: <a revise step>}` and what else you want to see",
        )
    given = list({source.directory: source for source in inputs.values()}.values())
    steps = lineage(given)
    evaluations = [source for source in given if _stage(source) == "evaluate"]
    compared = [source for source in given if _stage(source) == "reward_accuracy"]
    drawn = steps_of(steps, context.new_steps)
    browsed = sections(given, config.max_rows) + dropped(steps, config.max_rows)
    rows = [pack(section) for section in browsed]
    html = page.render(
        _TEMPLATE,
        [_SCRIPT],
        title=config.title,
        evaluations=[
            view(source.step, source.metrics, principle_texts(source)) for source in evaluations
        ],
        rewards=[
            reward_view.view(source.step, source.metrics, principle_texts(source))
            for source in compared
        ],
        tables=[
            table
            for source in given
            if _stage(source) not in DRAWN
            for table in source.manifest["tables"]
        ],
        online=trainings.online(steps, _colours(evaluations, steps)),
        trainings=trainings.offline(steps),
        flow=Markup(draw(drawn)),
        told=told(drawn),
        origins={step.origin for step in drawn},
        kinds={step.kind for step in drawn},
        steps=_steps(steps, context.new_steps),
        data=Markup(as_script([packed.head for packed in rows])) if rows else "",
        blocks=[
            Markup(block) for packed in rows for block in packed.blocks
        ],  # base64: nothing to escape
        seed=given[0].seed,
        versions=given[0].manifest.get("versions") or {},
        finished=max(str(source.manifest.get("finished", "")) for source in given),
    )
    path = context.directory / "report.html"
    try:
        write_atomically(path, html)
    except OSError as error:
        raise UserError(
            f"the report cannot be written: {error.strerror}",
            where=str(path),
            fix="free some disk space",
        ) from None
    shown = sum(len(section.entries) for section in browsed)
    table = Table(
        "Report",
        ["page", "entries to browse"],
        [[path.name, f"{shown} of {sum(s.total for s in browsed)}"]],
    )
    return Result(metrics={"entries": shown, "bytes": path.stat().st_size}, tables=[table])


STAGE = Stage(
    version=5,
    config=Config,
    run=run,
    optional=ANY,
    identity=identity,
)


def _stage(source: Artifact) -> str:
    return source.stage


def lineage(given: list[Artifact]) -> list[Artifact]:
    """The given steps and, before them, those they were made from, as far as their folders are
    still there.
    """
    found: dict[str, Artifact] = {}

    def visit(source: Artifact) -> None:
        if source.fingerprint in found:
            return
        for before in source.input_artifacts():
            visit(before)
        found[source.fingerprint] = source

    for source in given:
        visit(source)
    return list(found.values())


def _colours(evaluations: list[Artifact], steps: list[Artifact]) -> dict[str, int]:
    """By the fingerprint of a training, the colour of its policy in the first evaluation."""
    known = {source.fingerprint: source for source in steps}
    found: dict[str, int] = {}
    for evaluation in evaluations[:1]:
        answers = evaluation.inputs
        for index, policy in enumerate(evaluation.metrics["policies"]):
            if source := known.get(answers.get(policy, "")):
                found.setdefault(source.inputs.get("model", ""), index)
    return found


def _steps(artifacts: list[Artifact], made: Collection[str]) -> list[dict[str, Any]]:
    longest = max([a.manifest.get("seconds") or 0 for a in artifacts] + [1e-9])
    rows = []
    for artifact in artifacts:
        facts = artifact.manifest
        seconds, calls = facts.get("seconds") or 0, facts.get("calls") or {}
        rows.append(
            {
                "name": artifact.step,
                "stage": artifact.stage,
                "origin": origin(artifact, made),
                "seconds": f"{seconds:.1f}",
                "share": 100 * seconds / longest,
                "rows": "" if facts.get("rows") is None else f"{facts['rows']:,}",
                "dropped": [
                    f"{number:,} \u00d7 {reason}"
                    for reason, number in (facts.get("dropped") or {}).items()
                ],
                "sent": f"{calls.get('sent', 0):,}"
                if calls.get("sent") or calls.get("stored")
                else "",
                "stored": f"{calls.get('stored', 0):,}"
                if calls.get("sent") or calls.get("stored")
                else "",
                "tokens": f"{calls['tokens']:,}" if calls.get("tokens") else "",
            }
        )
    return rows
