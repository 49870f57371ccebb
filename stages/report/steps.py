"""The steps behind a page: what each was made of, made and cost, and which of them the run made
itself.

In: artifacts, and the names of the steps that the run made (`Context.new_steps`). Out: one Step each,
and a sentence on what was made and what was reused.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from stages.runtime.artifacts import Artifact

MADE, REUSED, GIVEN = "made", "reused", "given"


@dataclass(frozen=True)
class Step:
    """One step.

    Args:
        origin: MADE in the run that draws, REUSED from another, or GIVEN: a pointer to a model that
            was there.
        calls: sent; None where it asks no model. out: what it made, in a word or two.
        kind: "trains", "asks" (a model, maybe only out of the store) or "" for the rest.
        inputs: numbers of the steps it was made of, with the names by which it knows them.
        more: what is told of it when one points at it.
    """

    name: str
    stage: str
    origin: str
    seconds: float
    calls: int | None
    out: str
    kind: str
    inputs: dict[int, list[str]]
    more: str


def origin(source: Artifact, made: Collection[str]) -> str:
    """Where an artifact comes from; `made` names the steps that this run made."""
    if source.stage == "model":
        return GIVEN
    return MADE if source.step in made else REUSED


def steps_of(artifacts: Sequence[Artifact], made: Collection[str]) -> list[Step]:
    """The artifacts as steps, in their order. An input that is not among them is left out."""
    number = {artifact.fingerprint: i for i, artifact in enumerate(artifacts)}
    found = []
    for artifact in artifacts:
        facts = artifact.manifest
        inputs: dict[int, list[str]] = {}
        for name, print_ in artifact.inputs.items():
            if print_ in number:
                inputs.setdefault(number[print_], []).append(name)
        calls = facts.get("calls") or {}
        asks = bool(calls.get("sent") or calls.get("stored"))
        came, trains = origin(artifact, made), (artifact.directory / "model").is_dir()
        rows = f"{facts['rows']:,} rows" if facts.get("rows") is not None else ""
        out = "model" if trains or came == GIVEN else rows
        dropped = sum((facts.get("dropped") or {}).values())
        more = [
            {MADE: "made in this run", REUSED: "reused: made by another run", GIVEN: "was there"}[
                came
            ],
            f"{facts.get('seconds') or 0:,.1f} s" if came != GIVEN else "",
            out,
            f"{dropped:,} rows dropped" if dropped else "",
            f"{calls.get('sent', 0):,} calls sent, {calls.get('stored', 0):,} from the store"
            if asks
            else "",
        ]
        found.append(
            Step(
                name=artifact.step,
                stage=artifact.stage,
                origin=came,
                seconds=facts.get("seconds") or 0.0,
                calls=calls.get("sent", 0) if asks else None,
                out=out,
                kind="trains" if trains else "asks" if asks else "",
                inputs=inputs,
                more="; ".join(filter(None, more)),
            )
        )
    return found


def told(steps: Sequence[Step]) -> str:
    """How much of the steps the run made, and what it saved by reuse."""

    def cost(of: Sequence[Step]) -> str:
        seconds, asking = (
            sum(step.seconds for step in of),
            [step.calls for step in of if step.calls is not None],
        )
        return f"{seconds:,.1f} s" + (f" and {calls_told(sum(asking))}" if asking else "")

    made, reused = ([step for step in steps if step.origin == which] for which in (MADE, REUSED))
    whole = len(made) + len(reused)
    if not whole:
        return ""
    if not reused:
        return f"The run that wrote this page made {_all(whole)}: {cost(made)}."
    saved = f"which took {cost(reused)} when {'it was' if len(reused) == 1 else 'they were'} made"
    if not made:
        return f"The run that wrote this page reused {_all(whole)}, {saved}."
    return f"The run that wrote this page made {len(made)} of {whole} steps: {cost(made)}. It reused {len(reused)}, {saved}."


def _all(number: int) -> str:
    return {1: "the one step", 2: "both steps"}.get(number, f"all {number} steps")


def calls_told(sent: int) -> str:
    return f"{sent:,} call{'s' if sent != 1 else ''}" if sent else "no new calls"
