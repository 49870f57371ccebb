"""Stage `publish`: a model and datasets with cards, in folders and, with `push`, on the Hub.

In: `model` (a step that made one), `evaluation` (an evaluate step), both optional, and any steps
with rows, each of which becomes a dataset.

Out: `published/model/` and `published/<step>/` in the artifact's folder, each with a README.md: the
constitution's texts, every step before it with its options, seed, versions, results, and notes on
licences. With `push` they go to `<repository>` and `<repository>-<step>` on
the Hub; the token comes from the environment (HF_TOKEN), or from `hf auth login`, and enters no
file.

Left out: model cards' machine-readable results, which need the names of public benchmarks.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from stages.guards.errors import UserError
from stages.guards.templates import template_hash
from stages.report.exports.cards import CARDS, write_card
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.models import Model
from stages.runtime.row_files import row_type_of
from stages.runtime.rows import Row
from stages.runtime.stage import Kind, Stage
from stages.runtime.typed_config import Text

NOT_DATA = ("model", "evaluation")


@dataclass(frozen=True)
class Config:
    """Options of the stage."""

    repository: str
    """`owner/name` on the Hub; also the title of the cards."""
    license: Text
    """The licence you choose, an id that the Hub knows (`apache-2.0`, `cc-by-4.0`, `other`).

    No default: decide after reading those of the base model and of the data.
    """
    push: bool = False
    """Upload; without it everything stays in the artifact's folder.

    Part of the identity: after a run without `push`, a run with it uploads.
    """
    private: bool = True
    """Make new repositories private."""
    notes: str = ""
    """Anything to add to the cards."""


@dataclass(frozen=True)
class Published:
    """A folder that is, or could be, a repository on the Hub."""

    repository: str
    folder: Path
    kind: str


def check(config: Config) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(config.repository)
    except HFValidationError as error:
        raise UserError(
            str(error), where="stage 'publish', repository", fix="write owner/name"
        ) from None


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse inputs of which none is published."""
    if not set(inputs) - {"evaluation"}:
        raise UserError(
            "there is nothing to publish",
            fix="add `inputs: {model: <a training step>, pairs: <a step with rows>}`",
        )


def identity(config: Config) -> dict[str, Any]:
    return {"cards": {kind: template_hash(name) for kind, name in CARDS.items()}}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Write the folders and, with `push`, upload them.

    Raises:
        UserError: there is nothing to publish, or the Hub refuses.
    """
    data = {name: artifact for name, artifact in inputs.items() if name not in NOT_DATA}
    root = context.directory / "published"
    shutil.rmtree(root, ignore_errors=True)  # from an interrupted run
    folders: list[Published] = []
    if "model" in inputs:
        folders.append(_write_model(root, inputs, config))
    for name, artifact in data.items():
        folders.append(_write_dataset(root, name, artifact, config))
    if config.push:
        for published in folders:
            _push(published, config)
    rows = []
    for published in folders:
        repository = published.repository if config.push else "-"
        folder = published.folder.relative_to(context.directory)
        rows.append([published.kind, repository, str(folder)])
    title = "Published" if config.push else "To publish"
    repositories = [published.repository for published in folders]
    return Result(
        metrics={"pushed": config.push, "repositories": repositories},
        tables=[Table(title, ["what", "on the Hub", "folder"], rows)],
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional={"model": Model, "evaluation": object, "*": Row},
    check=check,
    check_inputs=check_inputs,
    identity=identity,
)


def _write_model(root: Path, inputs: dict[str, Artifact], config: Config) -> Published:
    model = inputs["model"]
    folder = root / "model"
    shutil.copytree(model.model().path, folder)
    evaluation = inputs.get("evaluation")
    tables = evaluation.manifest.tables if evaluation else []
    write_card(
        "model",
        folder,
        model,
        **_facts(config),
        tables=[vars(table) for table in tables],
    )
    return Published(config.repository, folder, "model")


def _write_dataset(root: Path, name: str, artifact: Artifact, config: Config) -> Published:
    if not artifact.manifest.rows:
        raise UserError(
            f"the input {name!r} holds no rows",
            where=f"step {artifact.step!r}",
            fix="give steps that made rows",
        )
    folder = root / name
    folder.mkdir(parents=True)
    rows = artifact.directory / "rows.parquet"
    shutil.copy(rows, folder)
    row_type = row_type_of(rows)
    write_card(
        "dataset",
        folder,
        artifact,
        **_facts(config),
        rows=artifact.manifest.rows,
        dropped=artifact.manifest.dropped,
        row=row_type.__name__,
        columns=[column.name for column in fields(row_type)],
        meaning=(row_type.__doc__ or "").strip(),
    )
    repository = f"{config.repository}-{name}".replace("_", "-")
    return Published(repository, folder, "dataset")


def _facts(config: Config) -> dict[str, str]:
    """What the publisher decides about a card."""
    return {
        "title": config.repository.rpartition("/")[2],
        "license": config.license,
        "notes": config.notes,
    }


def _push(published: Published, config: Config) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(
            published.repository,
            repo_type=published.kind,
            private=config.private,
            exist_ok=True,
        )
        api.upload_folder(
            repo_id=published.repository,
            repo_type=published.kind,
            folder_path=published.folder,
            commit_message="Published by Credo",
        )
    except (HfHubHTTPError, OSError, ValueError) as error:  # no token, no right, no network
        raise UserError(
            f"the Hub refuses: {str(error).strip().splitlines()[0]}",
            where=published.repository,
            fix="set HF_TOKEN to a token that may write there; "
            f"the files are in {published.folder}",
        ) from None
