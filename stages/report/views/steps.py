"""The steps behind a page: their inputs, output and cost, and which of them are new in this run.

In: artifacts, and the names of the steps that are new in this run (`Context.new_steps`). Out: one
`Step` each, and a sentence on what was made and what was reused.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from stages.runtime.artifacts import Artifact
from stages.runtime.cost.prices import format_money, format_usage
from stages.runtime.manifest import Manifest
from stages.statistics.formatting import format_count, format_plural, format_seconds

MADE, REUSED, EXTERNAL = "made", "reused", "external"
ORIGINS = {
    MADE: "made in this run",
    REUSED: "reused: made by another run",
    EXTERNAL: "existed before the run",
}


@dataclass(frozen=True)
class Step:
    """One step, as the page shows it."""

    name: str
    stage: str
    origin: str
    """MADE in this run, REUSED from another, or EXTERNAL: a pointer to an existing model."""
    seconds: float
    calls: int | None
    """Calls sent; None where the step asks no model."""
    output: str
    """Its output in a word or two."""
    kind: str
    """`trains`, `asks` (a model, or only the store), or empty for any other step."""
    inputs: dict[int, list[str]]
    """By the number of another step, the names under which this step reads it."""
    details: str
    """What the page shows while the mouse is over the step."""
    money: float | None = None
    """What its calls did cost; None where none had a price."""


def origin_of(source: Artifact, new_steps: Collection[str]) -> str:
    """Where an artifact comes from; `new_steps` names the steps that this run made."""
    if source.stage == "model":
        return EXTERNAL
    return MADE if source.step in new_steps else REUSED


def steps_of(artifacts: Sequence[Artifact], new_steps: Collection[str]) -> list[Step]:
    """The artifacts as steps, in their order. An input that is not among them is left out."""
    number = {artifact.fingerprint: i for i, artifact in enumerate(artifacts)}
    return [_step(artifact, origin_of(artifact, new_steps), number) for artifact in artifacts]


def _step(
    artifact: Artifact,
    origin: str,
    number: dict[str, int],
) -> Step:
    facts = artifact.manifest
    inputs: dict[int, list[str]] = {}
    for name, print_ in artifact.inputs.items():
        if print_ in number:
            inputs.setdefault(number[print_], []).append(name)
    calls = facts.calls
    asks = bool(calls.sent or calls.stored)
    trains = (artifact.directory / "model").is_dir()
    kind = "asks" if asks else ""
    output = ""
    if facts.rows is not None:
        output = f"{format_count(facts.rows)} rows"
    if trains or origin == EXTERNAL:
        output = "model"
    return Step(
        name=artifact.step,
        stage=artifact.stage,
        origin=origin,
        seconds=facts.seconds,
        calls=calls.sent if asks else None,
        money=calls.cost,
        output=output,
        kind="trains" if trains else kind,
        inputs=inputs,
        details=_details(facts, origin, output, asks),
    )


def _details(
    facts: Manifest,
    origin: str,
    output: str,
    asks: bool,
) -> str:
    parts = [ORIGINS[origin]]
    if origin != EXTERNAL:
        parts.append(format_seconds(facts.seconds))
    if facts.copy_of:
        parts.append(f"taken over from {facts.copy_of}, which read the same")
    if output:
        parts.append(output)
    if dropped := sum(facts.dropped.values()):
        parts.append(f"{format_count(dropped)} rows dropped")
    if asks:
        sent = format_count(facts.calls.sent)
        stored = format_count(facts.calls.stored)
        parts.append(f"{sent} calls sent, {stored} from the store")
    if facts.calls.usage.tokens:
        parts.append(format_usage(facts.calls.usage, facts.calls.cost))
    return "; ".join(parts)


def describe_reuse(steps: Sequence[Step]) -> str:
    """How many of the steps are new, and what the run saved by reuse."""
    new = [step for step in steps if step.origin == MADE]
    reused = [step for step in steps if step.origin == REUSED]
    number = len(new) + len(reused)
    page = "The run that wrote this page"
    if not number:
        return ""
    if not reused:
        return f"{page} made {_all(number)}: {_cost(new)}."
    then = "when it was made" if len(reused) == 1 else "when they were made"
    saved = f"which took {_cost(reused)} {then}"
    if not new:
        return f"{page} reused {_all(number)}, {saved}."
    sentence = f"{page} made {len(new)} of {number} steps: {_cost(new)}."
    return f"{sentence} It reused {len(reused)}, {saved}."


def _cost(steps: Sequence[Step]) -> str:
    seconds = format_seconds(sum(step.seconds for step in steps))
    calls = [step.calls for step in steps if step.calls is not None]
    money = [step.money for step in steps if step.money is not None]
    cost = f", which cost {format_money(sum(money))}" if money else ""
    return f"{seconds} and {format_calls(sum(calls))}{cost}" if calls else seconds


def _all(number: int) -> str:
    return {1: "the one step", 2: "both steps"}.get(number, f"all {number} steps")


def format_calls(sent: int) -> str:
    """`1,200 calls`, or `no new calls` where all answers came from the store."""
    return format_plural(sent, "call") if sent else "no new calls"
