"""The contract of a stage: one object with all that the runner needs to know.

A stage is a module with a frozen `Config`, a function `run` and one `STAGE = Stage(...)`, listed in
`stages/__init__.py`. The smallest one is in docs/architecture.md, where a test runs it.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context

ANY = ("*",)
"""For `optional`: inputs under any name."""


def accept_any(config: Any) -> None:
    """The check of a stage that needs none beyond the types in its `Config`."""


def accept_any_here(config: Any, context: Context) -> None:
    """The preparation of a stage whose options `check` knows."""


def no_names(config: Any) -> Sequence[str]:
    """The inputs that the options of a stage name which names none."""
    return ()


def no_choices(config: Any) -> Sequence[tuple[str, Sequence[str]]]:
    """The choices of a stage whose options name none."""
    return ()


def no_identity(config: Any) -> Mapping[str, Any]:
    """The identity of a stage that its options alone identify."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a stage needs, does and is identified by."""

    version: int
    """Raise it when the same inputs would give other results."""
    config: type
    """The dataclass of its options; `machine(...)` marks those that do not change results."""
    run: Callable[[Any, dict[str, Artifact], Context], Result]
    """Makes the artifact out of a config, the input artifacts by name, and a context."""
    inputs: tuple[str, ...] = ()
    """Names of the inputs that it requires."""
    optional: tuple[str, ...] = ()
    """Names of further inputs that it can use, or `ANY`."""
    calls_generator: bool = False
    """It asks a generator, so a plan can forecast its calls by running it on stored answers."""
    trains: bool = False
    """It trains a model and can run in several processes (`launcher=...`)."""
    reads_models: bool = False
    """Inputs of any name are models to it, not only an input called `model`."""
    reusable: bool = True
    """False for a step that only points to an existing model; every plan makes it again."""
    check: Callable[[Any], None] = accept_any
    """Raises a UserError for options that cannot work, before anything runs."""
    prepare: Callable[[Any, Context], None] = accept_any_here
    """Raises a UserError for what only a heavy library can tell of the options. A run calls it for
    each step that is to run, before the first of them; a plan does not.
    """
    named_inputs: Callable[[Any], Sequence[str]] = no_names
    """The inputs that the options name; a step without them is refused."""
    choices: Callable[[Any], Sequence[tuple[str, Sequence[str]]]] = no_choices
    """(input, options) for every model that is to choose among options which the user names: a plan
    refuses those that are not one token of the model, as far as its files show.
    """
    identity: Callable[[Any], Mapping[str, Any]] = no_identity
    """What else identifies its result: principle texts, template hashes, file contents."""
    read: Callable[[Any, int | None], Any] | None = None
    """Of a stage that reads a source: the rows, the dropped ones and a `Reading` of the first
    records, for plans; None for other stages.
    """

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of all inputs, required ones first."""
        return (*self.inputs, *self.optional)


def load_stage(location: str) -> Stage:
    """Import a stage from its line in `stages/__init__.py`: `module`, or `module:NAME`.

    Without a name it is the module's `STAGE`.
    """
    module, _, name = location.partition(":")
    stage: Stage = getattr(importlib.import_module(module), name or "STAGE")
    return stage
