"""From the mapping of a pipeline file to checked steps, inputs first.

A step names its stage, its inputs (other steps) and the options that differ from the defaults:

    revisions: {stage: revise, inputs: {responses: answers, model: base}, rounds: 4}
"""

import heapq
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from stages.guards.errors import Faults, UserError, refuse_unknown
from stages.guards.names import check_name
from stages.runtime.pipeline.loops import unroll_loops
from stages.runtime.pipeline.wiring import Wiring
from stages.runtime.stage import Stage, load_stage
from stages.runtime.typed_config import parse_config, show_value

MOST_STEPS = 10_000


@dataclass(frozen=True)
class Step:
    """One line of a pipeline, checked."""

    name: str
    stage: str
    """The stage's name in `stages/__init__.py`."""
    location: str
    """Where its contract is, as in `stages/__init__.py`: `module`, or `module:NAME`."""
    contract: Stage
    config: Any
    """The stage's own Config."""
    inputs: dict[str, str]
    """The name of the step behind each input."""


def join_sections(pipeline: Any) -> Any:
    """Return the steps of a pipeline file: `steps`, then `last_steps`.

    The two sections let a variant add steps that are listed before the evaluation it inherits.

    Raises:
        UserError: a step is in both.
    """
    if not isinstance(pipeline, Mapping):
        return pipeline
    steps, last_steps = pipeline.get("steps"), pipeline.get("last_steps") or {}
    if not isinstance(steps, Mapping) or not isinstance(last_steps, Mapping):
        return steps
    for name in steps:
        if name in last_steps:
            raise UserError(
                f"the step {name!r} is in both `steps` and `last_steps`",
                where="pipeline",
                fix=f"write it in `last_steps` only: pipeline.last_steps.{name}",
            )
    return {**steps, **last_steps}


def read_steps(steps: Any, stages: Mapping[str, str]) -> list[Step]:
    """Check a pipeline and order its steps so that inputs come first.

    A step set to null is left out, and so is every optional input that names it; an input set to
    null is left out too: a variant can remove what it inherits. Loops are written out first.

    Args:
        stages: the module of each stage, by its name.

    Raises:
        UserError: not a mapping; a name that is no folder's; an unknown stage, input or option; a
            missing input; a cycle.
    """
    steps = unroll_loops(steps) if isinstance(steps, Mapping) else {}
    for name in steps:
        check_name(name, "a step, which names a folder", "pipeline.steps")
    entries = {name: step for name, step in steps.items() if step is not None}
    if not entries:
        raise UserError(
            "the pipeline has no steps", where="pipeline.steps", fix="choose one with pipeline=NAME"
        )
    if len(entries) > MOST_STEPS:
        raise UserError(
            f"the pipeline has {len(entries)} steps",
            where="pipeline.steps",
            fix=f"a pipeline has up to {MOST_STEPS}; `repeat` fewer rounds",
        )
    removed = steps.keys() - entries.keys()
    faults = Faults()
    by_name = {}
    for name, step in entries.items():
        with faults.gather():
            by_name[name] = _read_step(name, step, removed, stages, faults)
    order = _inputs_first(by_name)
    wiring = Wiring(list(entries))
    for step in order:
        with faults.gather():
            wiring.add(step.name, step.contract, step.config, step.inputs)
    faults.raise_any()
    return order


def _inputs_first(by_name: Mapping[str, Step]) -> list[Step]:
    """Keep the file's order where inputs allow it: authors group steps that share an engine."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, step in by_name.items():
        sources = [source for source in step.inputs.values() if isinstance(source, str)]
        sorter.add(name, *(source for source in sources if source in by_name))
    try:
        sorter.prepare()
    except CycleError as error:
        cycle = " -> ".join(reversed(error.args[1]))
        raise UserError(
            f"the steps wait for each other: {cycle}",
            where="pipeline.steps",
            fix="let one of them take another input",
        ) from None
    places = {name: place for place, name in enumerate(by_name)}
    order: list[Step] = []
    ready: list[tuple[int, str]] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, (places[name], name))
        _, name = heapq.heappop(ready)
        sorter.done(name)
        order.append(by_name[name])
    return order


def up_to(steps: Sequence[Step], until: Sequence[str] | None) -> list[Step]:
    """Keep the steps in `until` and their ancestors, like a target of make; None keeps all.

    They stay in the order of `steps`.

    Raises:
        UserError: a step does not exist, or none is named.
    """
    if until is None:
        return list(steps)
    names = [step.name for step in steps]
    refuse_unknown(until, names, "there is no step", "until")
    if not until:
        raise UserError(
            "no step is named",
            where="until",
            fix="until=null runs all steps; until=[a,b] runs up to both",
        )
    needed = set(until)
    for step in reversed(steps):
        if step.name in needed:
            needed |= set(step.inputs.values())
    return [step for step in steps if step.name in needed]


def _as_mapping(value: Any, where: str, what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        fix = "write a step as {stage: <a stage>, inputs: {<input>: <a step>}, <option>: <value>}"
        what = f"{what} is a mapping, not {show_value(value)}"
        raise UserError(what, where=where, fix=fix)
    return dict(value)


def _read_step(
    name: str, entry: Any, removed: Set[str], stages: Mapping[str, str], faults: Faults
) -> Step:
    """Read a step; faults of its options do not hide those of its inputs."""
    where = f"step {name!r}"
    options = _as_mapping(entry, where, "a step")
    stage = options.pop("stage", None)
    refuse_unknown([stage], stages, "no stage is called", where)
    location = stages[stage]
    contract = load_stage(location)
    inputs = _as_mapping(options.pop("inputs", None) or {}, where, "`inputs`")
    for input_name, source in list(inputs.items()):
        optional = input_name not in contract.inputs
        if source is None or (optional and str(source) in removed):
            del inputs[input_name]
    for input_name in inputs:
        check_name(input_name, "an input, which may name a file", where)
    config = None
    with faults.gather():
        config = parse_config(contract.config, options, where)
    return Step(name, stage, location, contract, config, inputs)
