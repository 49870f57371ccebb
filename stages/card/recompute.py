"""Run the steps of a run again on their stored inputs, and compare rows and numbers.

In: the artifacts of a run and its call store. Out: a `Check` for each step. Nothing is trained, no
model is asked: an answer comes from the store, and a step that needs another one is not checked.
What runs is the stage itself in a scratch folder, so that any stage can be checked.
"""

import asyncio
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from stages.card.checks import (
    NEAR,
    Check,
    as_plain,
    check_faults,
    compare,
    not_checked,
)
from stages.card.facts import Published
from stages.guards.console import open_console
from stages.guards.errors import UserError
from stages.guards.secrets import mask_values
from stages.guards.text import replace_surrogates
from stages.runs.records import RunRecord
from stages.runtime.artifacts import Artifact, Result, finish_artifact
from stages.runtime.calls import Engines
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.pipeline.steps import Step
from stages.runtime.store import CallStore

T = TypeVar("T")
CALLS = "calls.sqlite"
BY_RUNNER = ("overlap",)
"""Metrics that the runner adds from other steps; their hashes are checked, not their values."""
NEAR_ANSWERS = 1e-4
"""How far numbers of a model's answers may lie apart. Where a run asked the same question twice at
the same time, in two batches, its rows hold both answers, and the store the first.
"""
SIGNS = ("fell", "rose")
UNSTORED = (
    "a question that it asks is not in the call store: the store is another one or was "
    "pruned, or the step's inputs are not those of the run"
)


class NotStored(Exception):
    """A step would have to ask a model."""


class CopyingStore(CallStore):
    """A store that copies each answer which it gives into another store."""

    def __init__(self, place: Path, copy: CallStore, behind: str | None):
        super().__init__(place, behind)
        self._copy = copy

    def get(
        self,
        key: str,
        check: Callable[[str], T] = json.loads,
    ) -> T | None:
        """Return the stored answer, as `CallStore.get`, and copy it."""
        answer = super().get(key, check)
        if answer is not None:
            self._copy.put(key, super().get(key))
        return answer


def store_of(run: RunRecord) -> str:
    """Return the place of a run's call store; that of evidence lies beside its artifacts."""
    beside = run.runs_dir / CALLS
    return str(beside if beside.is_file() else run.config.get("store") or beside)


def closed_engines(config: Mapping[str, Any]) -> Engines:
    """Return engines with the run's options, none of which opens."""

    async def refuse(*_: Any) -> Any:
        raise NotStored

    generator = config["generator"]
    return Engines(
        generator["name"],
        generator.get("options") or {},
        opener=refuse,
    )


@contextmanager
def open_copy(
    place: str,
    scratch: Path,
    copy_to: CallStore | None = None,
) -> Iterator[CallStore]:
    """Open a copy of a call store, so that the original stays as it is; an empty one if none is.

    Args:
        place: a file, which is copied, or the address of a server, which is read behind a new file.
        copy_to: a store that gets each answer which is read.
    """
    copy = scratch / CALLS
    is_server = "://" in place
    for ending in () if is_server else ("", "-wal"):
        source = Path(f"{place}{ending}")
        if source.is_file():
            shutil.copyfile(source, f"{copy}{ending}")
    behind = place if is_server else None
    store = CopyingStore(copy, copy_to, behind) if copy_to else CallStore(copy, behind)
    try:
        yield store
    finally:
        store.close()


def recompute(
    steps: Mapping[str, Step],
    artifacts: Mapping[str, Artifact],
    config: Mapping[str, Any],
    store: str,
) -> Iterator[Check]:
    """Yield for each step whether it gives the same rows and numbers again."""
    with tempfile.TemporaryDirectory() as folder, open_copy(store, Path(folder)) as copy:
        yield from _each(steps, artifacts, config, copy, Path(folder))


def collect_calls(
    published: Published,
    store: str,
    target: Path,
) -> None:
    """Copy the stored answers that the steps of a run need to be recomputed."""
    copy = CallStore(target)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            open_copy(store, Path(folder), copy_to=copy) as source,
        ):
            for _ in _each(
                published.steps,
                published.artifacts,
                published.run.config,
                source,
                Path(folder),
            ):
                pass
    finally:
        copy.close()


def _each(
    steps: Mapping[str, Step],
    artifacts: Mapping[str, Artifact],
    config: Mapping[str, Any],
    store: CallStore,
    scratch: Path,
) -> Iterator[Check]:
    engines = closed_engines(config)
    available = dict(artifacts)
    with asyncio.Runner() as loop:
        for name, step in steps.items():
            what = f"recomputed {name}"
            reason = _reason_to_skip(step, artifacts, available)
            if reason:
                yield not_checked(what, reason)
                continue
            context = make_context(
                step,
                scratch,
                int(config["seed"]),
                store,
                engines,
                loop,
            )
            try:
                inputs = {key: available[source] for key, source in step.inputs.items()}
                result = step.contract.run(step.config, inputs, context)
            except NotStored:
                yield not_checked(what, UNSTORED)
                continue
            except UserError as error:
                yield not_checked(what, f"it cannot run here: {str(error).partition(chr(10))[0]}")
                continue
            if not step.contract.reusable:  # it points to a model, which may have moved
                available[name] = as_artifact(step, artifacts[name], result, context)
            yield _compare_step(what, step, artifacts[name], result, context)


def _reason_to_skip(
    step: Step,
    artifacts: Mapping[str, Artifact],
    available: Mapping[str, Artifact],
) -> str:
    """Why a step is not run again, or ""."""
    if step.contract.trains:
        return "it trains a model"
    if step.name not in artifacts:
        return "its artifact is gone"
    missing = [source for source in step.inputs.values() if source not in available]
    if missing:
        return f"it reads {', '.join(missing)}, whose artifact is gone"
    if artifacts[step.name].manifest.payload.version != step.contract.version:
        return "this version of Credo has another version of its stage"
    kinds = [step.contract.kind_of(name) for name in step.inputs]
    if any(kind is Model for kind in kinds) and not step.contract.calls_generator:
        return "it reads texts with a model in this process, which leaves no stored answers"
    return ""


def make_context(
    step: Step,
    scratch: Path,
    seed: int,
    store: CallStore,
    engines: Engines,
    loop: asyncio.Runner,
) -> Context:
    """Return a context in which a step runs alone, without a word in the terminal."""
    folder = scratch / step.name
    folder.mkdir(parents=True, exist_ok=True)
    return Context(
        step=step.name,
        directory=folder,
        seed=seed,
        store=store,
        engines=engines,
        loop=loop,
        console=open_console(file=io.StringIO()),
    )


def as_artifact(
    step: Step,
    recorded: Artifact,
    result: Result,
    context: Context,
) -> Artifact:
    """Return a result as an artifact in the scratch folder, with the recorded identity."""
    payload = recorded.manifest.payload.model_dump(exclude_unset=True)
    return finish_artifact(
        context.directory,
        step.name,
        payload,
        result,
        {},
    )


def _compare_step(
    what: str,
    step: Step,
    artifact: Artifact,
    result: Result,
    context: Context,
) -> Check:
    manifest = artifact.manifest
    if not step.contract.reusable:
        here = {"content": result.metrics.get("content")}
        recorded = {"content": manifest.metrics.get("content")}
        return check_faults(what, compare(recorded, here), "the model's content")
    masses = context.tally.option_metrics()
    metrics = result.metrics | ({"option_mass": masses} if masses else {})
    plain = as_plain(replace_surrogates(mask_values(metrics)))
    recorded = {
        name: value for name, value in as_plain(manifest.metrics).items() if name not in BY_RUNNER
    }
    near = NEAR
    if step.contract.calls_generator:
        near = NEAR_ANSWERS
        recorded, plain = _without_signs(recorded), _without_signs(plain)
    faults = compare(
        recorded,
        plain,
        near=near,
    )
    tables = as_plain([vars(table) for table in result.tables])
    faults += compare([vars(table) for table in manifest.tables], tables, "table")
    count = 0
    try:
        rows: list[Any] = [] if manifest.rows is None else artifact.rows()
        count = len(rows)
        faults += _compare_rows(rows, list(result.rows or []), near)
        dropped = {(row.id, row.reason) for row in artifact.dropped()}
        if dropped != {(row.id, mask_values(row.reason)) for row in result.dropped}:
            faults.append("other rows were dropped")
    except UserError as error:
        faults.append(error.what)
    return check_faults(what, faults, f"{count} rows, {len(plain)} metrics")


def _compare_rows(
    recorded: list[Any],
    again: list[Any],
    near: float,
) -> list[str]:
    if len(recorded) != len(again):
        return [f"{len(recorded)} rows recorded, {len(again)} here"]
    faults = []
    for before, after in zip(recorded, again, strict=True):
        if before == after or type(before) is not type(after):
            continue
        faults += compare(
            as_plain(vars(before)),
            as_plain(vars(after)),
            f"row {before.id}",
            near,
        )
    return faults


def _without_signs(metrics: Any) -> Any:
    """Metrics without the signs of differences that are no counts: any rounding may turn one."""
    if isinstance(metrics, list):
        return [_without_signs(inner) for inner in metrics]
    if not isinstance(metrics, dict):
        return metrics
    is_continuous = "p" in metrics and metrics["p"] is None
    return {
        name: _without_signs(inner)
        for name, inner in metrics.items()
        if not (is_continuous and name in SIGNS)
    }
