"""Stage `write_constitution`: proposals of any steps as a constitution file to read, edit and use.

In: any inputs of Proposal rows, in the order of their names; the option `constitution`, whose
principles come first. Out: all of them as Proposal rows, each text once; and `constitution.yaml` in
the artifact's folder, in which every principle states where it comes from.

So a constitution can grow: a step that reads the one before it writes the next `version`. Edit the
file and go on from it with `constitution.name=path/to/constitution.yaml`, or, where the option
`constitution` of a pipeline's first such step names it, with that. With nothing to write no file is
written.

Merged by text, case aside. An id that is there already gets a number.
"""

from dataclasses import dataclass, replace
from typing import Any

from stages.guards.disk import errors_of_writing, write_atomically
from stages.principles.constitution import Slug, load, to_yaml
from stages.principles.proposed import as_constitution, as_proposal, identity_of
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.rows import Dropped, Proposal
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Text

FILE = "constitution.yaml"
HEAD = "Yours to edit: a copy of it is a constitution like any other."


@dataclass(frozen=True)
class Config:
    name: Slug = "discovered"
    """The name of the set."""
    title: Text | None = None
    """Its heading in reports."""
    constitution: Selection | None = None
    """Principles of a file that come first; null: none."""


def identity(config: Config) -> dict[str, Any]:
    """The principles as they will be written down."""
    return {"constitution": identity_of(config.constitution, "text", "opposite", "weight")}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Write the file.

    Raises:
        UserError: a proposal that no constitution can hold; the disk is full.
    """
    rows: dict[str, Proposal] = {}
    dropped = []
    first = select(config.constitution).principles if config.constitution else ()
    version = load(config.constitution.name).version if config.constitution else 0
    gathered = [as_proposal(principle) for principle in first]
    for name in sorted(inputs):
        artifact = inputs[name]
        gathered += artifact.rows(Proposal)
        version = max(version, int(artifact.metrics.get("version", 0)))
    ids: set[str] = set()
    for row in gathered:
        key = row.text.casefold()
        if key in rows:
            dropped.append(Dropped(id=row.id, reason="already written", detail=row.text))
            continue
        rows[key] = replace(row, id=_free_id(row.id, ids))
        ids.add(rows[key].id)
    written = list(rows.values())
    metrics = {"principles": len(written), "version": version}
    if written:
        metrics["version"] = version + 1
        constitution = as_constitution(
            written, config.name, title=config.title, version=version + 1, source=_source(context)
        )
        with errors_of_writing(context.directory):
            write_atomically(context.directory / FILE, to_yaml(constitution, HEAD))
    return Result(rows=written, row_type=Proposal, dropped=dropped, metrics=metrics)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional={"*": Proposal},
    gives=Proposal,
    identity=identity,
    meant_to_drop=("already written",),
)


def _free_id(name: str, ids: set[str]) -> str:
    """Return an id that is not taken: the name, or the name with the first free number.

    Two principles have one id where a user has edited the text of one and a model has written it
    again.
    """
    number = 2
    free = name
    while free in ids:
        free = f"{name[:60]}-{number}"
        number += 1
    return free


def _source(context: Context) -> str:
    """Return where the set comes from: the step, and the folder with its fingerprint."""
    return f"Written by Credo, step {context.step} ({context.directory.name})."
