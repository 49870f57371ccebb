"""Loops in a pipeline: steps that are repeated, with models or rows carried from round to round.

    raft:
      repeat: 3
      carry: {policy: base}     # inside, `policy` is `base` in the first round
      give: tuned               # the step whose output each round gives to the next one: later
                                # `policy` is `tuned` of the round before, and outside of the
                                # loop the name `raft` means `tuned` of the last round
      steps: {samples: {...}, tuned: {stage: sft, inputs: {model: policy, ...}}}

Several things may be carried; `give` then names a step for each, and outside the loop's name is
that of the first:

      carry: {policy: base, left: requests}
      give: {policy: tuned, left: rest}

A step that takes inputs of any name can have one of each round: `"round_*": "samples_*"` stands for
`round_1: samples_1`, `round_2: samples_2`, ...

In: the mapping of a pipeline file. Out: the same without loops: `samples_1`, `tuned_1`,
`samples_2`, ... A round whose inputs did not change is reused like any other step, so adding
rounds to a finished loop runs only the new rounds.
Left out: loops in loops; loops that stop when a result is good enough.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from stages.guards.errors import UserError, refuse_unknown
from stages.guards.names import check_name
from stages.runtime.typed_config import Text, parse_config


@dataclass(frozen=True)
class Loop:
    """Steps that are repeated."""

    repeat: Annotated[int, Field(ge=1, le=1000)]
    """The number of rounds."""
    carry: Annotated[dict[str, str], Field(min_length=1)]
    """Names inside the loop, and the step that each stands for in the first round."""
    give: Text | dict[str, Text]
    """The step inside whose output a round gives to the next one, under the carried name, or one
    for each of several names; outside, the loop's name stands for the first one's of the last
    round.
    """
    steps: dict[str, Any]

    @property
    def gives(self) -> dict[str, str]:
        """The step inside that follows each carried name."""
        if isinstance(self.give, dict):
            return {carried: self.give.get(carried, "") for carried in self.carry}
        return dict.fromkeys(self.carry, self.give)


def unroll_loops(steps: Mapping[str, Any]) -> dict[str, Any]:
    """Write out every loop.

    Raises:
        UserError: a loop that lacks a key or has an unknown one; not a number of rounds; `give` or
            `carry` that name no step; a loop in a loop; two steps of one name.
    """
    loops = {name: _read_loop(name, step) for name, step in steps.items() if is_loop(step)}
    last_round = {name: _last_step(loop) for name, loop in loops.items()}
    flat: dict[str, Any] = {}
    for name, step in steps.items():
        written_out = _rounds(loops[name]) if name in loops else {name: step}
        for step_name, inner_step in written_out.items():
            if step_name in flat or (name in loops and step_name in steps):
                raise UserError(
                    f"two steps are called {step_name!r}",
                    where=f"loop {name!r}",
                    fix="rename the step inside the loop",
                )
            inner_step = _expand_inputs(inner_step, loops.values(), step_name)
            flat[step_name] = _rename_inputs(inner_step, last_round)
    return flat


def is_loop(step: Any) -> bool:
    """Whether an entry of a pipeline is a loop over steps."""
    return isinstance(step, Mapping) and "repeat" in step


def _read_loop(name: str, values: Mapping[str, Any]) -> Loop:
    where = f"loop {name!r}"
    check_name(name, "a loop", "pipeline.steps")
    loop: Loop = parse_config(Loop, values, where)
    if any(is_loop(step) for step in loop.steps.values()):
        raise UserError(
            "a loop in a loop cannot be written out",
            where=where,
            fix="write the inner rounds as steps",
        )
    names = [step for step, value in loop.steps.items() if value is not None]
    if isinstance(loop.give, dict):
        refuse_unknown(loop.give, list(loop.carry), "`give` names nothing that is carried:", where)
    elif len(loop.carry) > 1:
        raise UserError(
            f"it carries {len(loop.carry)} things, and `give` names one step",
            where=where,
            fix="write `give: {<carried name>: <step>}` with a step for each",
        )
    refuse_unknown(loop.gives.values(), names, "`give` names no step of the loop:", where)
    for carried in loop.carry:
        if carried in loop.steps:
            raise UserError(
                f"{carried!r} is both carried and a step of the loop",
                where=where,
                fix="give them different names",
            )
    return loop


def _last_step(loop: Loop) -> str:
    first = next(iter(loop.carry))
    return f"{loop.gives[first]}_{loop.repeat}"


def _rounds(loop: Loop) -> dict[str, Any]:
    """The steps of all rounds, named `<step>_<round>`."""
    steps: dict[str, Any] = {}
    for number in range(1, loop.repeat + 1):
        names = {name: f"{name}_{number}" for name in loop.steps}
        for carried, start in loop.carry.items():
            names[carried] = start if number == 1 else f"{loop.gives[carried]}_{number - 1}"
        for name, step in loop.steps.items():
            steps[names[name]] = _rename_inputs(step, names)
    return steps


def _expand_inputs(step: Any, loops: Collection[Loop], name: str) -> Any:
    """Write out each input whose name and source end with `*`: one of every round.

    Raises:
        UserError: the source is no step of a loop.
    """
    if not isinstance(step, Mapping) or not isinstance(step.get("inputs"), Mapping):
        return step
    inputs = {}
    for input_name, source in step["inputs"].items():
        if not str(input_name).endswith("*") or source is None:
            inputs[input_name] = source
            continue
        inner = str(source).removesuffix("_*")
        rounds = [loop.repeat for loop in loops if inner in loop.steps and inner != source]
        if not rounds:
            in_loops = [f"{one}_*" for loop in loops for one in loop.steps]
            refuse_unknown([str(source)], in_loops, "there is no step of a loop", f"step {name!r}")
        for number in range(1, rounds[0] + 1):
            inputs[f"{input_name[:-1]}{number}"] = f"{inner}_{number}"
    return {**step, "inputs": inputs}


def _rename_inputs(step: Any, new_names: Mapping[str, str]) -> Any:
    if not isinstance(step, Mapping) or not isinstance(step.get("inputs"), Mapping):
        return step  # `read_steps` reports what such a step lacks
    inputs = dict(step["inputs"])
    for name, source in inputs.items():
        if isinstance(source, str):
            inputs[name] = new_names.get(source, source)
    return {**step, "inputs": inputs}
