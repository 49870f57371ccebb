"""Stage `report`: everything a run measured, as one HTML page.

In: any steps. At the top it says what the run is about, what its steps warn of, and what each
training learnt from. Of a judge's examination it shows the verdicts; of an evaluation the effect,
the principles and the judge's quality; of `reward_accuracy` the reward models side by side; of a
survey profiles with verdicts; of values a circle with target, before and after; of conflicts who
wins; of a training step the curves, of online ones in one drawing and with their tripwires; of any
other step its tables. Rows of Revision, Pair, Judgement, Rating, Verdict and Question can be
browsed, and so can dropped rows. Of every step, and of every step before it whose folder is still
there, it shows its output, its dropped rows and calls, and whether the run that writes the page
made or reused it: as a drawing and as a table. What is missing is not shown.

Out: `report.html` in the artifact's folder, self-contained: it loads nothing (its own policy
forbids it), and it works from disk. A reused page still shows what was new, and what
the method and the constitution were called, when it was written.

Model and user texts enter the page escaped by jinja2, or as JSON that cannot end the script
element, and from there by `textContent` only.

Left out: a comparison of several runs, which needs the evaluations of several runs and a
separate report.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.guards.errors import UserError
from stages.report import page
from stages.report.evidence.conflicts import conflicts_view
from stages.report.evidence.corrections import corrections_view
from stages.report.evidence.effects import evaluation_view
from stages.report.evidence.examination import examination_view
from stages.report.evidence.reward_models import reward_models_view
from stages.report.evidence.surveys import is_of_people, survey_view
from stages.report.evidence.value_profile import value_profile_view
from stages.report.heading import describe_run
from stages.report.learnt import learnt_from
from stages.report.views.browse import Section, principle_texts, sections
from stages.report.views.drawing import draw
from stages.report.views.dropped import dropped_section
from stages.report.views.marks import View
from stages.report.views.offline_trainings import offline_views
from stages.report.views.online_trainings import online_view
from stages.report.views.packed import as_script, pack
from stages.report.views.steps import describe_reuse, steps_of
from stages.runtime.artifacts import Artifact, Result, lineage
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.pipeline.display import group_warnings
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Amount, Text

SHOWN_ELSEWHERE = ("evaluate", "examine_judge", "reward_accuracy", "report")
"""Stages whose tables the page shows in another form."""
DRAWN = {"value_profile": value_profile_view, "conflict_atlas": conflicts_view}
"""Stages whose metrics become a section of their own."""
SHORTEST = 1e-9
"""Seconds, so that the share of the longest step is a number."""
_HERE = Path(__file__).resolve()
_TEMPLATE = _HERE.with_name("report.html.jinja")
_SCRIPT = _HERE.with_name("report.js")
_SECTIONS = sorted(_HERE.with_name("sections").glob("*.jinja"))


@dataclass(frozen=True)
class Config:
    """Options of the stage."""

    title: Text | None = None
    """The page's heading; null: the constitution, method, model, data and date."""
    max_rows: Amount = 20_000
    """How many entries of each step can be browsed; the page states how many there are.

    1,000 entries with answers of 80 words take about half a megabyte.
    """


def identity(config: Config) -> dict[str, Any]:
    return {"page": page.identity(_TEMPLATE, _SCRIPT, *_SECTIONS)}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Write the page.

    Raises:
        UserError: there are no inputs, or the disk is full.
    """
    if not inputs:
        raise UserError(
            "the report has nothing to show",
            where=f"step {context.step!r}",
            fix="add `inputs: {evaluation: <an evaluate step>, revisions: <a revise step>}` "
            "and what else you want to see",
        )
    by_folder = {source.directory: source for source in inputs.values()}
    sources = list(by_folder.values())
    steps = lineage(sources)
    row_sections = sections(sources, config.max_rows)
    row_sections += dropped_section(steps, config.max_rows)
    last = max(sources, key=lambda source: source.manifest.finished)
    facts = describe_run(steps, context.names, last.manifest.finished)
    path = context.directory / "report.html"
    page.write(
        path,
        _TEMPLATE,
        [_SCRIPT],
        title=config.title or " · ".join(fact.value for fact in facts) or "Credo report",
        own_title=config.title,
        facts=facts,
        learnt=learnt_from(steps),
        warnings=_warnings(steps, context.failures),
        **_results(sources, steps),
        **_work(steps, context.new_steps),
        **_rows(row_sections),
        seed=last.seed,
        versions=last.manifest.versions,
        finished=last.manifest.finished,
    )
    entry_count = sum(len(section.entries) for section in row_sections)
    total = sum(section.total for section in row_sections)
    table = Table(
        "Report", ["page", "entries to browse"], [[path.name, f"{entry_count} of {total}"]]
    )
    metrics = {"entries": entry_count, "bytes": path.stat().st_size}
    return Result(metrics=metrics, tables=[table])


STAGE = Stage(
    version=6,
    config=Config,
    run=run,
    optional={"*": object},
    least=1,
    goes_on=True,
    identity=identity,
)


def _warnings(steps: list[Artifact], failures: Mapping[str, str]) -> list[tuple[str, str]]:
    """Steps and what to say of them: that they failed, then why their results are in doubt."""
    missing = "failed, so its results are missing here"
    warnings = [(name, f"{missing}: {why}") for name, why in failures.items()]
    return warnings + group_warnings(steps)


def _results(sources: list[Artifact], steps: list[Artifact]) -> View:
    """The results: evaluations, reward models, trainings, and any other step's tables."""
    evaluations = [source for source in sources if source.stage == "evaluate"]
    views = []
    corrections = []
    rewards = []
    surveys = []
    drawn: dict[str, list[View]] = {stage: [] for stage in DRAWN}
    tables = []
    for source in sources:
        facts = (source.step, source.metrics, principle_texts(source))
        if source.stage == "evaluate":
            views.append(evaluation_view(*facts))
            corrections.append(corrections_view(*facts))
        elif source.stage == "reward_accuracy":
            rewards.append(reward_models_view(*facts))
        elif source.stage == "survey":
            surveys.append(survey_view(source.step, source.metrics))
            tables += [table for table in source.manifest.tables if is_of_people(table)]
        elif source.stage in DRAWN:
            drawn[source.stage].append(DRAWN[source.stage](source.step, source.metrics))
        elif source.stage not in SHOWN_ELSEWHERE:
            tables += source.manifest.tables
    examined = [step for step in steps if step.stage == "examine_judge"]
    return {
        "examinations": [examination_view(step.step, step.metrics) for step in examined],
        "evaluations": views,
        "corrections": [view for view in corrections if view],
        "rewards": rewards,
        "surveys": surveys,
        "value_profiles": drawn["value_profile"],
        "atlases": drawn["conflict_atlas"],
        "tables": tables,
        "online": online_view(steps, _colours(evaluations, steps)),
        "trainings": offline_views(steps),
    }


def _work(artifacts: list[Artifact], new_steps: Collection[str]) -> View:
    """The work: the drawing, the sentence above it and the table below it."""
    steps = steps_of(artifacts, new_steps)
    manifests = [artifact.manifest for artifact in artifacts]
    return {
        "flow": draw(steps),
        "reuse": describe_reuse(steps),
        "left_out": [note for artifact in artifacts for note in artifact.explain_missing()],
        "rows_of_steps": list(zip(steps, manifests, strict=True)),
        "longest": max([SHORTEST, *(step.seconds for step in steps)]),
    }


def _rows(row_sections: list[Section]) -> View:
    """The data of the browser of rows; base64 needs no escaping."""
    packed = [pack(section) for section in row_sections]
    return {
        "data": as_script([each.head for each in packed]) if packed else "",
        "blocks": [block for each in packed for block in each.blocks],
    }


def _colours(evaluations: list[Artifact], steps: list[Artifact]) -> dict[str, int]:
    """By the fingerprint of a training, the colour of its policy in the first evaluation."""
    by_fingerprint = {source.fingerprint: source for source in steps}
    colours: dict[str, int] = {}
    for evaluation in evaluations[:1]:
        answers = evaluation.inputs
        for index, policy in enumerate(evaluation.metrics["policies"]):
            if source := by_fingerprint.get(answers.get(policy, "")):
                model = source.inputs.get("model", "")
                colours.setdefault(model, index)
    return colours
