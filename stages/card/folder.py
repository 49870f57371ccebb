"""The folder of a published policy: its weights, the principles, the record and the README.

In: a run. Out: a folder that is complete or not there. Of the model only what `transformers` reads
is copied: safetensors, the tokenizer, configs. With `evidence` it holds the rows of all steps too,
and the stored answers that recompute their numbers.
"""

import shutil
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from stages.ablation.jobs import DONE
from stages.card.effects import effects_of, judge_of
from stages.card.facts import (
    Published,
    describe_base,
    describe_data,
    describe_run,
    describe_step,
    other_words,
    read_constitution,
    texts_of,
    used_texts,
)
from stages.card.readme import readme_hash, render_readme
from stages.card.recompute import CALLS, collect_calls, store_of
from stages.card.record import (
    CONSTITUTION,
    EVIDENCE,
    FORMAT,
    README,
    RECORD,
    as_text,
    list_published,
)
from stages.guards.disk import errors_of_writing, write_atomically
from stages.guards.errors import UserError
from stages.runs.records import ARTIFACTS, LOGS
from stages.runtime.artifacts import MODEL, Artifact
from stages.runtime.manifest import MANIFEST
from stages.runtime.models import CONTENT_FILES, find_model

COPIED = (*CONTENT_FILES, "*.json")
"""Of a model's folder, what is published."""


def write_folder(
    published: Published,
    folder: Path,
    name: str,
    license_id: str,
    has_evidence: bool,
) -> dict[str, Any]:
    """Write the folder and return its record.

    Raises:
        UserError: there is something in the folder, an artifact is damaged, the constitution was
            edited since the run, or the disk refuses.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            "there is something already",
            where=str(folder),
            fix="give a new folder: --out FOLDER",
        )
    partial = folder.with_name(f"{folder.name}.partial")
    with errors_of_writing(partial):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        copy_model(published.artifacts[published.policy], partial)
        record = build_record(
            published,
            partial,
            name,
            license_id,
        )
        if has_evidence:
            copy_evidence(published, partial / EVIDENCE)
        write_record(record, partial)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    return record


def write_record(record: dict[str, Any], folder: Path) -> None:
    """Write README.md and, last of all, the record, which lists every file of the folder."""
    write_atomically(folder / README, render_readme(record))
    record["files"] = list_published(folder)
    write_atomically(folder / RECORD, as_text(record))


def copy_model(artifact: Artifact, folder: Path) -> None:
    """Copy what is published of a model, and check that it can be loaded.

    Raises:
        UserError: its files are damaged, or no model.
    """
    source = Path(artifact.model().path)
    for path in sorted(source.iterdir()):
        if path.is_file() and is_published(path.name):
            shutil.copyfile(path, folder / path.name)
    find_model(str(folder))


def is_published(name: str) -> bool:
    """Whether a file of a model's folder is copied, by its name."""
    return any(fnmatchcase(name, pattern) for pattern in COPIED)


def build_record(
    published: Published,
    folder: Path,
    name: str,
    license_id: str,
) -> dict[str, Any]:
    """Return the record of a policy that is copied to a folder, and write its constitution there.

    Raises:
        UserError: as `write_folder`.
    """
    entries = {}
    for step_name, step in published.steps.items():
        entries[step_name] = describe_step(step, published.artifacts[step_name])
    constitution = _copy_constitution(
        published.run.config,
        entries,
        folder,
    )
    policy = {
        "step": published.policy,
        "stage": entries[published.policy]["stage"],
        "content": find_model(str(folder)).content,
    }
    return {
        "format": FORMAT,
        "name": name,
        "license": license_id,
        "policy": policy,
        "base_model": describe_base(published.steps, published.policy),
        "constitution": constitution,
        "run": describe_run(published.run),
        "data": describe_data(published.steps),
        "steps": list(entries.values()),
        "effects": effects_of(entries, published.policy),
        "judge": judge_of(entries),
        "readme": readme_hash(),
        "files": {},
    }


def _copy_constitution(
    config: Mapping[str, Any],
    entries: Mapping[str, Mapping[str, Any]],
    folder: Path,
) -> dict[str, Any]:
    selection, content = read_constitution(config)
    if selection is None:
        return {"name": "", "sha256": "", "principles": {}}
    texts = texts_of(selection)
    edited = other_words(texts, used_texts([one["payload"] for one in entries.values()]))
    if edited:
        raise UserError(
            f"the principles {', '.join(edited)} were edited since the run",
            where=selection.name,
            fix="put the file back as it was, or run again with the new one",
        )
    file = folder / CONSTITUTION
    file.write_bytes(content)
    return {
        "name": selection.name,
        "sha256": list_published(folder)[CONSTITUTION]["sha256"],
        "principles": texts,
    }


def copy_evidence(published: Published, folder: Path) -> None:
    """Copy the artifacts of all steps without their models, the run's record and stored answers."""
    for artifact in published.artifacts.values():
        place = folder / ARTIFACTS / artifact.directory.name
        for name in (MANIFEST, *(artifact.manifest.files or {})):
            if not name.startswith(f"{MODEL}/"):
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(artifact.directory / name, place / name)
    logs = folder / LOGS / published.run.folder.name
    logs.mkdir(parents=True)
    shutil.copyfile(published.run.folder / DONE, logs / DONE)
    collect_calls(published, store_of(published.run), folder / CALLS)
