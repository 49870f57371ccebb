"""Stage `publish`: a model and datasets as others can use them, with cards that say what they are
made of; to the Hub if asked.

In: `model` (a step that made one), `evaluation` (an evaluate step), both optional, and any steps
with rows, each of which
becomes a dataset. Out: `published/model/` and `published/<step>/` in the artifact's folder, each
with a README.md: the constitution in words, every step before it with its options, seed, versions,
what was measured, and what to mind of licences. With `push` they go to `<repository>` and
`<repository>-<step>` on the Hub; the token comes from the environment (HF_TOKEN), or from `hf auth
login`, and enters no file. Left out: model cards' machine-readable results, which want the names of
public benchmarks.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from stages.report.report import lineage
from stages.runtime.artifacts import Artifact, Result, Table
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.provenance import git_state
from stages.runtime.row_files import row_type_of
from stages.runtime.stage import ANY, Stage
from stages.runtime.templates import render, template_hash

CARDS = {"model": "report/exports/model_card.jinja", "dataset": "report/exports/dataset_card.jinja"}
NOT_DATA = ("model", "evaluation")


@dataclass(frozen=True)
class Config:
    """Args:
    repository: `owner/name` on the Hub; also the title of the cards.
    push: upload; without it everything stays in the artifact's folder.
    private: whether repositories that are made for it are private.
    license: the licence you give it, an id that the Hub knows (`apache-2.0`, `cc-by-4.0`, `other`).
        No default: it is yours to decide, after looking at those of the base model and of the data.
    notes: anything to add to the cards.
    """

    repository: str
    license: str
    push: bool = (
        False  # part of the identity: cards that were looked at are not taken for uploaded ones
    )
    private: bool = True
    notes: str = ""


def check(config: Config) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(config.repository)
    except HFValidationError as error:
        raise UserError(
            str(error), where="stage 'publish', repository", fix="write owner/name"
        ) from None


def identity(config: Config) -> dict[str, Any]:
    return {"cards": {kind: template_hash(name) for kind, name in CARDS.items()}}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Write the folders and, if asked, upload them.

    Raises:
        UserError: there is nothing to publish, or the Hub refuses.
    """
    data = {name: artifact for name, artifact in inputs.items() if name not in NOT_DATA}
    if not data and "model" not in inputs:
        raise UserError(
            "there is nothing to publish",
            where=f"step {context.step!r}",
            fix="add `inputs: {model: <a training step>, pairs: <a step with rows>}`",
        )
    root = context.directory / "published"
    shutil.rmtree(root, ignore_errors=True)  # left by a run that was cut short
    made: dict[str, tuple[Path, str]] = {}
    evaluation = inputs.get("evaluation")
    if "model" in inputs:
        folder = root / "model"
        shutil.copytree(inputs["model"].model().path, folder)
        _write_card("model", folder, inputs["model"], config, evaluation)
        made[config.repository] = (folder, "model")
    for name, artifact in data.items():
        if not artifact.manifest["rows"]:
            raise UserError(
                f"the input {name!r} holds no rows",
                where=f"step {artifact.step!r}",
                fix="give steps that made rows",
            )
        folder = root / name
        folder.mkdir(parents=True)
        shutil.copy(artifact.directory / "rows.parquet", folder)
        _write_card("dataset", folder, artifact, config, None)
        made[f"{config.repository}-{name}".replace("_", "-")] = (folder, "dataset")
    if config.push:
        for repository, (folder, kind) in made.items():
            _push(repository, folder, kind, config)
    rows = [
        [kind, repository if config.push else "-", str(f.relative_to(context.directory))]
        for repository, (f, kind) in made.items()
    ]
    return Result(
        metrics={"pushed": config.push, "repositories": list(made)},
        tables=[
            Table(
                "Published" if config.push else "To publish", ["what", "on the Hub", "folder"], rows
            )
        ],
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional=ANY,
    check=check,
    identity=identity,
)


def _write_card(
    kind: str, folder: Path, artifact: Artifact, config: Config, evaluation: Artifact | None
) -> None:
    before = lineage([artifact])
    variables: dict[str, Any] = {
        "title": config.repository.rpartition("/")[2],
        "license": config.license,
        "notes": config.notes,
        "step": artifact.step,
        "stage": artifact.stage,
        "seed": artifact.seed,
        "steps": [_step(source) for source in before],
        "principles": _principles(before),
        "sources": _sources(before),
        "versions": artifact.manifest.get("versions") or {},
        "commit": git_state().get("commit", "unknown"),
    }
    if kind == "model":
        variables["tables"] = [
            vars(Table(**table)) for table in (evaluation.manifest["tables"] if evaluation else [])
        ]
    else:
        variables["rows"], variables["dropped"] = (
            artifact.manifest["rows"],
            artifact.manifest["dropped"],
        )
        row_type = row_type_of(artifact.directory / "rows.parquet")
        variables["row"], variables["columns"] = (
            row_type.__name__,
            [column.name for column in fields(row_type)],
        )
        variables["meaning"] = (row_type.__doc__ or "").strip()
    (folder / "README.md").write_text(render(CARDS[kind], **variables) + "\n", encoding="utf-8")


def _step(source: Artifact) -> dict[str, Any]:
    options = {
        name: value for name, value in source.config.items() if value not in (None, {}, [], "")
    }
    inputs = ", ".join(source.inputs)
    return {
        "name": source.step,
        "stage": source.stage,
        "inputs": inputs,
        "options": json.dumps(_short(options), ensure_ascii=False, sort_keys=True),
        "rows": source.manifest["rows"],
        "fingerprint": source.fingerprint,
    }


def _short(value: Any) -> Any:
    """Options without the principles' words, which stand in the card once."""
    if isinstance(value, Mapping):
        if value and all(isinstance(v, Mapping) and "text" in v for v in value.values()):
            return list(value)
        return {name: _short(inner) for name, inner in value.items()}
    return value


def _principles(steps: list[Artifact]) -> dict[str, str]:
    """Every principle that any step was identified by, with its words."""
    found: dict[str, str] = {}

    def look(value: Any) -> None:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                if isinstance(inner, Mapping) and isinstance(inner.get("text"), str):
                    found.setdefault(name, inner["text"])
                else:
                    look(inner)

    for step in steps:
        look(step.config)
    return found


def _sources(steps: list[Artifact]) -> list[str]:
    """Where models and requests came from, as far as their steps say."""
    told = []
    for step in steps:
        options = step.config
        if step.stage == "model":
            told.append(f"model with content {options.get('content')}")
        elif isinstance(options.get("source"), str):
            told.append(f"`{step.step}`: {options['source']}")
    return told


def _push(repository: str, folder: Path, kind: str, config: Config) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(repository, repo_type=kind, private=config.private, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            repo_type=kind,
            folder_path=folder,
            commit_message="Published by Credo",
        )
    except (HfHubHTTPError, OSError, ValueError) as error:  # no token, no right, no network
        raise UserError(
            f"the Hub refuses: {str(error).strip().splitlines()[0]}",
            where=repository,
            fix="set HF_TOKEN to a token that may write there; what is to be published lies in "
            + str(folder),
        ) from None
