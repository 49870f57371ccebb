"""Stage `rubrics`: the criteria that the answers to each request are judged by. No calls, or one.

In: any inputs of Prompt rows; `encoder`, optional, for retrieval; `model`, optional, which writes
criteria. Out: Proposal rows, the criteria of each request, which `rate` and the term `judge` of a
reward read as `rubrics`. A request that gets none is dropped and counted.

Criteria come from a `file`, from a `constitution` (each principle, or those that `retrieve` finds
for the request), from the `model`, or from several of these: a request has them all. A file is read
and checked in full when a plan is made, before anything is asked.

Rubrics as Rewards (Gunjal et al. 2025, arXiv 2507.17746): criteria of one request, with weights,
that a strong model writes from a reference answer. Left out: criteria that change while a policy
is trained on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from stages.guards.errors import UserError, refuse_unknown
from stages.guards.templates import template_hash
from stages.preferences.rubrics.rubric_file import (
    read_rubric_file,
    refuse_unknown_prompts,
)
from stages.preferences.rubrics.written import WRITTEN_ALONE, write_criteria
from stages.principles.constitution import Principle
from stages.principles.proposed import as_proposal
from stages.principles.retrieve import (
    ENCODER,
    FIELDS,
    Retrieval,
    check_encoder,
    find_applicable,
)
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.functions import is_function
from stages.runtime.generation import Sampling
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Prompt, Proposal, Response
from stages.runtime.stage import Kind, Stage
from stages.runtime.typed_config import Count, Names, machine, parse_config
from stages.sources.records import file_hash
from stages.sources.source import is_file
from stages.text import prompts as prompt_stage
from stages.text.respond import distinct_prompts

NO_CRITERIA = "no criteria for this request"
ANSWERS = "answers"
"""The input with reference answers."""
OTHER_INPUTS = ("model", ENCODER, ANSWERS)


@dataclass(frozen=True)
class Config:
    file: str | None = None
    """A file of rubrics: yaml, jsonl, json, csv or parquet."""
    constitution: Selection | None = None
    """A set whose principles are criteria of every request, with their weights."""
    gates: Names = ()
    """Ids or tags of those principles that are gates."""
    retrieve: Retrieval | None = None
    """Only the principles that apply to the request, by `inputs.encoder` or, if there is none, by
    BM25; null: all.
    """
    prompts: dict[str, Any] = machine({})
    """The `prompts` steps of the inputs, as the pipeline has them: a plan then refuses a rubric of
    a request that none of them reads.
    """
    template: str = WRITTEN_ALONE
    """How the model is asked; its variables are request, reference (an answer of `answers`, or "")
    and count.
    """
    count: Count = 7
    """The most criteria that the model may write for a request."""
    sampling: Sampling = field(default_factory=Sampling)
    """How the model writes."""


def check(config: Config) -> None:
    """Check the file in full, and the names of gates."""
    if config.file is not None:
        rubrics = read_rubric_file(config.file)
        known = _readable_prompts(config.prompts)
        if known is not None:
            refuse_unknown_prompts(rubrics, known)
    if config.constitution is None:
        if config.gates or config.retrieve:
            raise UserError(
                "`gates` and `retrieve` need a constitution",
                where="",
                fix="add `constitution: ...`; in a file write gate: true",
            )
        return
    whole = select(Selection(config.constitution.name)).principles  # an ablation drops some
    names = [principle.id for principle in whole]
    names += [tag for principle in whole for tag in principle.tags]
    refuse_unknown(config.gates, dict.fromkeys(names), "gates: no principle or tag is called", "")


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse a step that has no criteria from anywhere."""
    check_encoder(config.retrieve, inputs)
    if config.file is None and config.constitution is None and "model" not in inputs:
        raise UserError(
            "it has neither a file nor a constitution nor a model that writes criteria",
            where="",
            fix="give `file: my/rubrics.yaml`, `constitution: ${constitution}` or an input `model`",
        )


def identity(config: Config) -> dict[str, Any]:
    """The file's content, the texts of the principles, and the template."""
    facts: dict[str, Any] = {"file": file_hash(config.file) if config.file else None}
    if config.constitution:
        fields = (*FIELDS, "weight") if config.retrieve else ("text", "weight")
        constitution = select(config.constitution)
        facts["constitution"] = constitution.identity(*fields)
        facts["order"] = [principle.id for principle in constitution.principles]
        facts["gates"] = sorted(_gates(config, constitution.principles))
    return facts | {"template": template_hash(config.template)}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Gather the criteria of every request: those of the file, of the set and of the model.

    Of criteria with one id a request has the first. A rubric in which nothing can be gained is
    none.
    """
    sources = [artifact for name, artifact in inputs.items() if name not in OTHER_INPUTS]
    prompts, dropped = distinct_prompts(sources)
    rubrics = read_rubric_file(config.file) if config.file else []
    from_file = {rubric.prompt_id: rubric.criteria for rubric in rubrics}
    from_model: Mapping[str, Sequence[Proposal]] = {}
    unread: dict[str, Dropped] = {}
    metrics: dict[str, Any] = {}
    warnings: list[str] = []
    if "model" in inputs:
        references = inputs[ANSWERS].rows(Response) if ANSWERS in inputs else []
        from_model, failed = write_criteria(prompts, references, config, inputs["model"], context)
        unread = {row.id: row for row in failed}
        metrics["written"] = {"requests": len(from_model), "unread": len(unread)}
    from_set: Mapping[str, Sequence[Proposal]] = {}
    if config.constitution:
        from_set, applicable = _from_constitution(config, prompts, inputs, context)
        metrics |= applicable.metrics()
        warnings += applicable.warnings()
    rows: list[Proposal] = []
    counts = []
    for prompt in prompts:
        criteria: dict[str, Proposal] = {}
        for source in (from_file, from_set, from_model):
            for row in source.get(prompt.id, ()):
                criteria.setdefault(row.id, row)
        if not any(row.weight > 0 for row in criteria.values()):
            dropped.append(unread.get(prompt.id, Dropped(id=prompt.id, reason=NO_CRITERIA)))
            continue
        counts.append(len(criteria))
        rows += criteria.values()
    unused = from_file.keys() - {prompt.id for prompt in prompts}
    metrics |= {"requests": len(counts), "criteria": fmean(counts) if counts else 0.0}
    metrics |= {"gates": sum(row.gate for row in rows), "unused": len(unused)}
    if unused:
        warnings.append(
            f"{len(unused)} rubrics of {config.file} belong to no request that the run asks: "
            "`limit`, `offset` or `share` of the requests leave it out, or it is another one"
        )
    return Result(rows=rows, row_type=Proposal, dropped=dropped, metrics=metrics, warnings=warnings)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional={"model": Model, ENCODER: Model, ANSWERS: Response, "*": Prompt},
    least=1,
    gives=Proposal,
    calls_generator=True,
    check=check,
    check_inputs=check_inputs,
    identity=identity,
    meant_to_drop=(NO_CRITERIA,),
)


def _readable_prompts(steps: Mapping[str, Any]) -> set[str] | None:
    """Return the ids of all requests of `prompts` steps; None where a plan does not read them all.

    A plan reads files and functions of this machine, and nothing from the Hub. `limit`, `offset`
    and `share` do not count: what they leave out is no mistake in a file of rubrics.

    Args:
        steps: by name, as the pipeline has them.

    Raises:
        UserError: one of them cannot be read.
    """
    configs = []
    for name, step in steps.items():
        if step is not None:
            options = {key: value for key, value in step.items() if key != "stage"}
            configs.append(parse_config(prompt_stage.Config, options, f"prompts.{name}"))
    if not configs or not all(is_function(one.source) or is_file(one) for one in configs):
        return None
    return {row.id for one in configs for row in prompt_stage.read_rows(one)[0]}


def _gates(config: Config, principles: Sequence[Principle]) -> set[str]:
    """Return the ids of the principles that are gates."""
    names = set(config.gates)
    return {one.id for one in principles if one.id in names or names & set(one.tags)}


def _from_constitution(
    config: Config, prompts: Sequence[Prompt], inputs: Mapping[str, Artifact], context: Context
) -> tuple[dict[str, list[Proposal]], Any]:
    """Return the criteria of each request that principles make, and how they were retrieved."""
    assert config.constitution is not None
    principles = select(config.constitution).principles
    gates = _gates(config, principles)
    conversations = {prompt.id: prompt.messages for prompt in prompts}
    applicable = find_applicable(config.retrieve, principles, conversations, inputs, context)
    criteria = {}
    for prompt in prompts:
        rows = []
        for principle in applicable[prompt.id]:
            row = replace(as_proposal(principle), prompt_id=prompt.id, gate=principle.id in gates)
            rows.append(row)
        criteria[prompt.id] = rows
    return criteria, applicable
