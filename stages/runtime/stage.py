"""The contract of a stage: one object with all that the runner needs to know.

A stage is a module with a frozen `Config`, a function `run` and one `STAGE = Stage(...)`, listed in
`stages/__init__.py`. The smallest one is in docs/architecture.md, where a test runs it.

What flows from step to step has a kind: a type of rows, `Model`, or None where a step gives neither
rows nor a model. `Response | Revision` is either, and `object` is anything.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn, get_args

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.row_files import Columns

Kind = Any
"""A type, several (`Response | Revision`), or None."""
SHOWN_TYPES = 4
"""Of rows, in a message."""


def accept_any(config: Any) -> None:
    """The check of a stage that needs none beyond the types in its `Config`."""


def accept_any_here(config: Any, context: Context) -> None:
    """The preparation of a stage whose options `check` knows."""


def accept_inputs(config: Any, inputs: Mapping[str, Kind]) -> None:
    """The check of a stage whose options need no particular inputs."""


def foresee_nothing(config: Any, inputs: Mapping[str, "Expected"]) -> Sequence[str]:
    """The warnings of a stage of which a plan knows nothing beforehand."""
    return ()


def no_choices(config: Any) -> Sequence[tuple[str, Sequence[str]]]:
    """The choices of a stage whose options name none."""
    return ()


def no_identity(config: Any) -> Mapping[str, Any]:
    """The identity of a stage that its options alone identify."""
    return {}


@dataclass(frozen=True)
class Expected:
    """What is known of an input before its step has run; nothing is read before it is asked for."""

    count_rows: Callable[[], int | None]
    """How many rows it holds or will hold; None: nobody knows."""
    find_model: Callable[[], Model | None]
    """The model, or the one that its training will begin with; None: it holds none."""
    count_kinds: Callable[[], Mapping[str, int]] = dict
    """How many requests of each kind it holds, or at most will hold; empty: nobody knows."""
    is_made: bool = False
    """It exists, so that its model is the one that will be used."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a stage needs, does and is identified by."""

    version: int
    """Raise it when the same inputs would give other results."""
    config: type
    """The dataclass of its options; `machine(...)` marks those that do not change results."""
    run: Callable[[Any, dict[str, Artifact], Context], Result]
    """Makes the artifact out of a config, the input artifacts by name, and a context."""
    inputs: Mapping[str, Kind] = field(default_factory=dict)
    """The inputs that it requires, and their kinds."""
    optional: Mapping[str, Kind] = field(default_factory=dict)
    """Further inputs that it can use: `*` stands for any name, and `*_model` for names that end so.
    """
    least: int = 0
    """How many of the inputs under any name it needs."""
    may_be_empty: Sequence[str] = ()
    """Inputs beside which no other needs to hold rows: a round of a loop may have nothing to do."""
    gives: Kind = None
    """The kind of its artifact; the name of an input: the same kind as that."""
    calls_generator: bool = False
    """It asks a generator, so a plan can forecast its calls by running it on stored answers."""
    trains: bool = False
    """It trains a model and can run in several processes (`launcher=...`)."""
    reads_models: bool = False
    """Inputs of any name are models to it, not only an input called `model`."""
    reads: Columns | None = None
    """The columns of rows that it reads, by type. Besides them and models it reads nothing of its
    inputs, so that a step which would read what an earlier one has read need not run: it takes that
    one's result. Its `run` gets nothing else. None: it runs if any input is another one.
    """
    meant_to_drop: Sequence[str] = ()
    """Reasons for which it is meant to drop rows, `*` for any: those are no sign of trouble."""
    may_drop_all: Sequence[str] = ()
    """Reasons for which it may drop all of its rows; for others that stops the run."""
    goes_on: bool = False
    """It can do without inputs whose steps failed, and says which they are (`context.failures`)."""
    reusable: bool = True
    """False for a step that only points to an existing model; every plan makes it again."""
    check: Callable[[Any], None] = accept_any
    """Raises a UserError for options that cannot work, before anything runs."""
    prepare: Callable[[Any, Context], None] = accept_any_here
    """Raises a UserError for what only a heavy library can tell of the options. A run calls it for
    each step that is to run, before the first of them; a plan does not.
    """
    check_inputs: Callable[[Any, Mapping[str, Kind]], None] = accept_inputs
    """The same for options that need some inputs or exclude them; it gets each one's kind."""
    choices: Callable[[Any], Sequence[tuple[str, Sequence[str]]]] = no_choices
    """(input, options) for every model that is to choose among options which the user names: a plan
    refuses those that are not one token of the model, as far as its files show.
    """
    foresee: Callable[[Any, Mapping[str, Expected]], Sequence[str]] = foresee_nothing
    """Warnings that a plan can give before the step has run, from its options and what is known of
    its inputs. Raises a UserError for inputs that cannot work.
    """
    identity: Callable[[Any], Mapping[str, Any]] = no_identity
    """What else identifies its result: principle texts, template hashes, file contents."""
    read: Callable[[Any, int | None], Any] | None = None
    """Of a stage that reads a source: the rows, the dropped ones and a `Reading` of the first
    records, for plans; None for other stages.
    """

    def __post_init__(self) -> None:
        if self.reads is not None:
            object.__setattr__(self, "run", partial(_run_on_columns, self.run, self.reads))

    def place_of(self, name: str) -> str | None:
        """Return the key of `inputs` or `optional` that an input falls under; None if none does."""
        places = [*self.inputs, *self.optional]
        if name in places and name[:1] != "*":
            return name
        endings = [place for place in places if place[:1] == "*" and name.endswith(place[1:])]
        return max(endings, key=len, default=None)

    def kind_of(self, name: str) -> Kind:
        """Return the kind that the stage reads from an input which it takes."""
        place = self.place_of(name) or name
        return self.inputs[place] if place in self.inputs else self.optional[place]


def _run_on_columns(
    run: Callable[..., Result],
    columns: Columns,
    config: Any,
    inputs: Mapping[str, Artifact],
    context: Context,
) -> Result:
    narrow = {name: _Narrow(one.step, one.directory, columns) for name, one in inputs.items()}
    return run(config, narrow, context)


class _Narrow(Artifact):
    """An input as a stage with `reads` gets it: its model, and the columns of its rows."""

    def _refuse(self) -> NoReturn:
        raise TypeError("a stage with `reads` gets only rows and models of its inputs")

    metrics = property(_refuse)
    config = property(_refuse)
    inputs = property(_refuse)
    seed = property(_refuse)
    fingerprint = property(_refuse)

    def dropped(self) -> NoReturn:
        """Refuse: they are no part of what is compared."""
        self._refuse()


def fits(kind: Kind, allowed: Kind) -> bool:
    """Return whether an artifact of a kind may be of one of the allowed kinds."""
    return any(issubclass(one, other) for one in _types(kind) for other in _types(allowed))


def describe_kind(kind: Kind) -> str:
    """Return a kind in words, such as "rows of Response or Revision"."""
    types = _types(kind)
    names = [one.__name__ for one in types if one not in (Model, object, type(None))]
    of_types = f" of {' or '.join(names)}" if len(names) <= SHOWN_TYPES else ""
    words = [f"rows{of_types}"] if names else []
    words += ["a model"] * (Model in types) + ["anything"] * (object in types)
    return " or ".join(words) or "nothing that a step reads"


def _types(kind: Kind) -> tuple[type, ...]:
    return get_args(kind) or ((type(None),) if kind is None else (kind,))


def load_stage(location: str) -> Stage:
    """Import a stage from its line in `stages/__init__.py`: `module`, or `module:NAME`.

    Without a name it is the module's `STAGE`.
    """
    module, _, name = location.partition(":")
    stage: Stage = getattr(importlib.import_module(module), name or "STAGE")
    return stage
