"""Stage `choose_principles`: the principles by which people's choices can be told. No calls.

In: `judgements` of a `judge_quality` step, so that `response_a` is what people chose; `principles`,
the Proposals that were judged, or else the option `constitution`. Out: the chosen ones as Proposal
rows, best first, with their votes.

The last step of Inverse Constitutional AI (Findeis et al. 2024, arXiv 2406.06560): a principle
stays if it applies often enough and then agrees with people more often than not; the order is votes
for less votes against. The paper asks for a majority; here the interval of its accuracy has to lie
above one half, so that of many candidates few stay by chance. With a constitution it is the
selection of principles by their agreement with people (C3AI, Kyrychenko et al. 2025, arXiv
2502.15861).

Principles that were chosen on some pairs look too good on them: measure them on others, which a
`share` of `human_pairs` keeps apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from stages.discovery.votes import Unit, Votes, count_votes
from stages.guards.errors import UserError
from stages.principles.proposed import as_proposal, check_source, identity_of
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.rows import Dropped, Judgement, Proposal
from stages.runtime.stage import Kind, Stage
from stages.runtime.typed_config import Count, Fraction, Inside, NotNegative
from stages.statistics.formatting import format_estimate

CHANCE = 0.5
SILENT, WRONG, UNSURE = "applies too rarely", "speaks against people", "not above chance"
OVER = "over the limit"


@dataclass(frozen=True)
class Config:
    constitution: Selection | None = None
    """The principles that were judged, where no input holds them."""
    relevant: Fraction = 0.1
    """The least share of comparisons to which a principle applies."""
    confidence: Inside = 0.95
    """Of the interval of its accuracy, all of which has to lie above one half."""
    unit: Unit = "prompt"
    """What the interval counts: requests, since comparisons of one request are not independent, or
    comparisons, for a statement about these few requests.
    """
    min_margin: NotNegative = 0.0
    """A principle does not apply where the judge's margin is within this, in logits."""
    most: Count | None = None
    """Keep the best so many; null: all."""


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse a step with no principles, or with two sources of them."""
    check_source(config.constitution, inputs, "choose_principles")


def identity(config: Config) -> dict[str, Any]:
    """The principles as they will be written down."""
    return {"constitution": identity_of(config.constitution, "text", "opposite", "weight")}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Count the votes and choose.

    Raises:
        UserError: none of the principles was judged.
    """
    principles = _principles(config, inputs)
    cells = inputs["judgements"].rows(Judgement)
    votes = count_votes(cells, config.min_margin, config.unit, config.confidence)
    judged = [row for row in principles if row.id in votes]
    if not judged:
        raise UserError(
            "none of the principles was judged",
            where=f"step {context.step!r}",
            fix="give the principles of the step that judged them",
        )
    ranked = sorted(judged, key=lambda row: _rank(votes[row.id], row.id))
    chosen: list[Proposal] = []
    dropped = []
    for row in ranked:
        reason = _fault(votes[row.id], config)
        if not reason and config.most is not None and len(chosen) == config.most:
            reason = OVER
        if reason:
            detail = f"{row.text} ({votes[row.id].describe()})"
            dropped.append(Dropped(id=row.id, reason=reason, detail=detail))
        else:
            chosen.append(_with_votes(row, votes[row.id], inputs["judgements"]))
    metrics = {
        "candidates": len(judged),
        "chosen": len(chosen),
        "principles": {row.id: asdict(votes[row.id]) for row in ranked},
    }
    warnings = [] if chosen else ["none of the principles agrees with people beyond chance"]
    return Result(
        rows=chosen,
        row_type=Proposal,
        dropped=dropped,
        metrics=metrics,
        tables=[_table(context.step, ranked, votes, chosen)],
        warnings=warnings,
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"judgements": Judgement},
    optional={"principles": Proposal},
    gives=Proposal,
    check_inputs=check_inputs,
    identity=identity,
    meant_to_drop=("*",),
)


def _principles(config: Config, inputs: Mapping[str, Artifact]) -> list[Proposal]:
    """Return the principles that were judged, as proposals.

    Those of a constitution keep what its file says of them.
    """
    if "principles" in inputs:
        return inputs["principles"].rows(Proposal)
    assert config.constitution
    return [as_proposal(principle) for principle in select(config.constitution).principles]


def _rank(votes: Votes, name: str) -> tuple[int, str]:
    """Return what sorts the principles: votes for less votes against, the largest first.

    Of equally good ones the first by id comes first, so that the order of files changes nothing.
    """
    return votes.against - votes.agreeing, name


def _fault(votes: Votes, config: Config) -> str:
    """Return why a principle is not chosen; "" if it is."""
    if votes.accuracy is None or votes.relevant < config.relevant:
        return SILENT
    if votes.accuracy.value <= CHANCE:
        return WRONG
    return "" if votes.accuracy.low > CHANCE else UNSURE


def _with_votes(row: Proposal, votes: Votes, judged: Artifact) -> Proposal:
    """Return the proposal with its votes, and with where it comes from in words."""
    parts = [row.origin] if row.origin else []
    if row.sources:
        shown = ", ".join(row.sources[:5]) + (", ..." if len(row.sources) > 5 else "")
        parts.append(f"written about {len(row.sources)} rows ({shown})")
    if row.wordings:
        parts.append(f"stands for {len(row.wordings)} other wordings")
    parts.append(f"{votes.describe()}, in step {judged.step} {judged.fingerprint}")
    return replace(row, votes=votes.counts, origin="; ".join(parts))


def _table(
    step: str, rows: Sequence[Proposal], votes: Mapping[str, Votes], chosen: Sequence[Proposal]
) -> Table:
    ids = {row.id for row in chosen}
    cells = []
    for row in rows:
        counted = votes[row.id]
        accuracy = counted.accuracy
        cells.append(
            [
                row.text,
                *(str(count) for count in counted.counts),
                format_estimate(accuracy.plain()) if accuracy else "",
                "yes" if row.id in ids else "",
            ]
        )
    columns = ["principle", "for", "against", "does not apply", "right, %", "chosen"]
    return Table(f"{step}: votes on people's choices", columns, cells)
