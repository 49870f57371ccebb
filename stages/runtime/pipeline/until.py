"""Stop early: `until` keeps the steps it names and their ancestors, like a target of make."""

from collections.abc import Sequence

from stages.runtime.errors import UserError, did_you_mean
from stages.runtime.pipeline.steps import Step


def up_to(steps: Sequence[Step], until: Sequence[str] | None) -> list[Step]:
    """Keep the steps in `until` and their ancestors, in the order of `steps`; None keeps all.

    Raises:
        UserError: a step does not exist, or none is named.
    """
    if until is None:
        return list(steps)
    names = [step.name for step in steps]
    for name in until:
        if name not in names:
            what = f"there is no step {name!r}{did_you_mean(str(name), names)}"
            raise UserError(what, where="until", fix=f"name one or several of {', '.join(names)}")
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
