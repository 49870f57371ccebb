"""The inputs of the stages that take rows under any names."""

from collections.abc import Mapping

from stages.runtime.artifacts import Artifact


def other_inputs(inputs: Mapping[str, Artifact], *names: str) -> dict[str, Artifact]:
    """The inputs but those of `names`, in the order of their names, as in a step's identity."""
    return {name: inputs[name] for name in sorted(inputs) if name not in names}


def name_inputs(sources: Mapping[str, Artifact], rows: str) -> tuple[str, str]:
    """Where to look and what to do if no row of some inputs is left.

    Args:
        rows: the kinds of rows that the stage takes.

    Returns:
        `where` and `fix` for a UserError.
    """
    if not sources:
        return "the step's `inputs`", f"add an input with {rows}"
    steps = ", ".join(f"{name!r} (step {artifact.step!r})" for name, artifact in sources.items())
    return f"input {steps}", "see that step's dropped.parquet for reasons"
