"""Loops in a pipeline: a step list that is repeated, with a checkpoint carried from round to round.

    raft:
      repeat: 3
      carry: {policy: base}     # inside, `policy` is `base` in the first round
      give: tuned               # and in every later one the `tuned` of the round before; after the
          loop, `raft` is the last
      steps: {samples: {...}, tuned: {stage: sft, inputs: {model: policy, ...}}}

In: the mapping of a pipeline file. Out: the same without loops: `samples_1`, `tuned_1`,
`samples_2`, ... A round whose inputs did not change is reused like any other step, so more rounds
of a finished loop cost the added ones only.
Left out: loops in loops; an end that depends on what came out.
"""

from collections.abc import Mapping
from typing import Any

from stages.runtime.errors import UserError, did_you_mean

KEYS = ("repeat", "carry", "give", "steps")


def unroll_loops(steps: Mapping[str, Any]) -> dict[str, Any]:
    """Every loop written out.

    Raises:
        UserError: a loop that lacks a key or has one too many, no number of rounds, `give` or
        `carry` that name nothing, a loop in a loop, two steps of one name.
    """
    loops = {
        name: _checked(name, step)
        for name, step in steps.items()
        if isinstance(step, Mapping) and "repeat" in step
    }
    after = {name: f"{loop['give']}_{loop['repeat']}" for name, loop in loops.items()}
    flat: dict[str, Any] = {}
    for name, step in steps.items():
        made = _rounds(loops[name]) if name in loops else {name: step}
        for made_name, made_step in made.items():
            if made_name in flat or (name in loops and made_name in steps):
                raise UserError(
                    f"two steps are called {made_name!r}",
                    where=f"loop {name!r}",
                    fix="rename the step inside the loop",
                )
            flat[made_name] = _renamed(made_step, after)
    return flat


def _checked(name: str, loop: Mapping[str, Any]) -> dict[str, Any]:
    where = f"loop {name!r}"
    fix = "write {repeat: <rounds>, carry: {<name>: <a step>}, give: <a step inside>, steps: {...}}"
    for key in loop:
        if key not in KEYS:
            raise UserError(
                f"a loop has no {key!r}.{did_you_mean(str(key), list(KEYS))}", where=where, fix=fix
            )
    for key in KEYS:
        if key not in loop:
            raise UserError(f"a loop needs {key!r}", where=where, fix=fix)
    rounds, carry, inner = loop["repeat"], loop["carry"], loop["steps"]
    if type(rounds) is not int or rounds < 1:
        raise UserError(
            f"repeat: {rounds!r} is no number of rounds",
            where=where,
            fix="give a whole number of at least 1",
        )
    if not isinstance(inner, Mapping) or not isinstance(carry, Mapping) or len(carry) != 1:
        raise UserError(
            "`steps` and `carry` are mappings, `carry` of one name to one step",
            where=where,
            fix=fix,
        )
    if any(isinstance(step, Mapping) and "repeat" in step for step in inner.values()):
        raise UserError(
            "a loop in a loop cannot be written out",
            where=where,
            fix="write the inner rounds as steps",
        )
    kept = [step for step, value in inner.items() if value is not None]
    if loop["give"] not in kept:
        raise UserError(
            f"give: {loop['give']!r} is no step of the loop.{did_you_mean(str(loop['give']), kept)}",
            where=where,
            fix=f"name one of {', '.join(kept)}",
        )
    if used := carry.keys() & inner.keys():
        raise UserError(
            f"{next(iter(used))!r} is both carried and a step of the loop",
            where=where,
            fix="give them different names",
        )
    return dict(loop)


def _rounds(loop: Mapping[str, Any]) -> dict[str, Any]:
    ((carried, start),) = loop["carry"].items()
    made: dict[str, Any] = {}
    for number in range(1, loop["repeat"] + 1):
        names = {name: f"{name}_{number}" for name in loop["steps"]}
        names[carried] = start if number == 1 else f"{loop['give']}_{number - 1}"
        made |= {names[name]: _renamed(step, names) for name, step in loop["steps"].items()}
    return made


def _renamed(step: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(step, Mapping) or not isinstance(step.get("inputs"), Mapping):
        return step  # what it lacks is told where steps are read
    sources = {
        given: names.get(source, source) if isinstance(source, str) else source
        for given, source in step["inputs"].items()
    }
    return {**step, "inputs": sources}
