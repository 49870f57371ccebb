"""The runner: a mapping of named steps becomes a plan, and the plan becomes artifacts.

A step names its stage, its inputs (other steps) and whatever differs from the stage's defaults:

    critiqued: {stage: revise, inputs: {responses: sampled, model: base}, rounds: 4}

Its identity is the stage, the stage's VERSION, the options that bear meaning, what the stage's own
`identity` adds (principle texts, template hashes, file contents) and the fingerprints of its
inputs.
"""

import asyncio
import importlib
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from rich.console import Console

from stages.runtime.artifacts import (
    Artifact,
    find_artifact,
    fingerprint,
    finish_artifact,
    finished_artifacts,
    folder_of,
)
from stages.runtime.calls import Engines
from stages.runtime.context import Context, Forecast, ForecastDone
from stages.runtime.errors import UserError, did_you_mean
from stages.runtime.pipeline.launch import Launcher, launch
from stages.runtime.pipeline.loops import unrolled
from stages.runtime.provenance import versions
from stages.runtime.settings import identity_of, parse_config
from stages.runtime.store import CallStore, locked


@dataclass(frozen=True)
class Step:
    """One line of a pipeline, checked."""

    name: str
    stage: str
    module: ModuleType
    config: Any
    inputs: dict[str, str]


@dataclass(frozen=True)
class Planned:
    """What will happen to a step. `artifact` is there when it can be reused; `forecast` when its
    calls are known.
    """

    step: Step
    payload: dict[str, Any]
    artifact: Artifact | None
    why: str
    forecast: Forecast | None = None

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.payload)


def read_steps(steps: Any, stages: Mapping[str, str]) -> list[Step]:
    """Check a pipeline and put its steps in an order in which inputs come first.

    A step set to null is left out, and with it every optional input that names it; so is an input
    set to null: a variant can remove what it inherits. Loops are written out first (`loops.py`).

    Raises:
        UserError: no mapping, unknown stage, missing or unknown input, a cycle, an unknown or
        ill-typed option.
    """
    steps = unrolled(steps) if isinstance(steps, Mapping) else {}
    wanted = {
        name: _mapping(step, f"step {name!r}", "a step")
        for name, step in steps.items()
        if step is not None
    }
    if not wanted:
        raise UserError(
            "the pipeline has no steps", where="pipeline.steps", fix="choose one with pipeline=cai"
        )
    removed = steps.keys() - wanted.keys()
    read = {
        name: _read_step(name, step, list(wanted), removed, stages) for name, step in wanted.items()
    }
    sorter = TopologicalSorter({name: step.inputs.values() for name, step in read.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise UserError(
            f"the steps wait for each other: {' -> '.join(reversed(error.args[1]))}",
            where="pipeline.steps",
            fix="let one of them take another input",
        ) from None
    order: list[Step] = []
    ready: set[str] = set()
    while (
        sorter.is_active()
    ):  # the file's order wherever inputs allow it: the author groups steps that share an engine
        ready |= set(sorter.get_ready())
        name = next(name for name in read if name in ready)
        ready.remove(name)
        sorter.done(name)
        order.append(read[name])
    return order


def _mapping(value: Any, where: str, what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        fix = "write a step as {stage: <a stage>, inputs: {<input>: <a step>}, <option>: <value>}"
        raise UserError(f"{what} is a mapping, not {value!r}", where=where, fix=fix)
    return dict(value)


def _read_step(
    name: str, step: dict[str, Any], names: list[str], removed: Set[str], stages: Mapping[str, str]
) -> Step:
    where = f"step {name!r}"
    stage = step.pop("stage", None)
    if not isinstance(stage, str) or stage not in stages:
        raise UserError(
            f"no stage is called {stage!r}.{did_you_mean(str(stage), list(stages))}",
            where=where,
            fix=f"set `stage` to one of {', '.join(stages)}",
        )
    module = importlib.import_module(stages[stage])
    inputs = _mapping(step.pop("inputs", None) or {}, where, "`inputs`")
    inputs = {given: source for given, source in inputs.items() if source is not None}
    inputs = {
        given: source
        for given, source in inputs.items()
        if given in module.NEEDS or str(source) not in removed
    }
    takes = (*module.NEEDS, *module.ALSO_TAKES)
    for needed in module.NEEDS:
        if needed not in inputs:
            raise UserError(
                f"the stage {stage!r} needs the input {needed!r}",
                where=where,
                fix=f"add `inputs: {{{needed}: <a step>}}`; steps here: {', '.join(names)}",
            )
    for given, source in inputs.items():
        if "*" not in takes and given not in takes:
            raise UserError(
                f"the stage {stage!r} takes no input {given!r}.{did_you_mean(given, list(takes))}",
                where=where,
                fix=f"it takes {', '.join(takes) or 'none'}",
            )
        if not isinstance(source, str) or source not in names:
            raise UserError(
                f"the input {given!r} names a step {source!r} that does not exist.{did_you_mean(str(source), names)}",
                where=where,
                fix=f"name one of {', '.join(names)}",
            )
    return Step(name, stage, module, parse_config(module.Config, step, where), inputs)


@dataclass
class Runner:
    """Plans and runs steps.

    Args:
        root: the artifacts' folder.
        seed: the run's seed, part of every step's identity.
        store, engines: where calls are remembered and answered.
        concurrency: rows in flight, and so the most calls that a kill can lose.
        launcher: in how many processes the training steps run.
    """

    root: Path
    seed: int
    store: CallStore
    engines: Engines
    console: Console
    loop: asyncio.Runner
    concurrency: int = 1024
    launcher: Launcher = field(default_factory=Launcher)

    def plan(self, steps: list[Step], forecast: bool = True) -> list[Planned]:
        """Which steps are reused, which run, why, and what they would send. Nothing is computed or
        sent.
        """
        planned: dict[str, Planned] = {}
        for step in steps:
            inputs = {given: planned[source] for given, source in step.inputs.items()}
            payload = self._payload(step, inputs)
            artifact = find_artifact(self.root, step.name, fingerprint(payload))
            ready = all(p.artifact for p in inputs.values())
            calls = (
                self._forecast(step, inputs, payload)
                if forecast and not artifact and ready and step.module.CALLS
                else None
            )
            if not getattr(
                step.module, "REUSE", True
            ):  # a mere pointer without inputs: made anew each time
                artifact, _ = self._run_step(Planned(step, payload, None, ""), {}, frozenset())
                planned[step.name] = Planned(step, payload, artifact, "")
                continue
            planned[step.name] = Planned(
                step, payload, artifact, "" if artifact else self._why(step, payload), calls
            )
        return list(planned.values())

    def _payload(self, step: Step, inputs: Mapping[str, Planned]) -> dict[str, Any]:
        more = step.module.identity(step.config) if hasattr(step.module, "identity") else {}
        named = "model" in inputs or getattr(step.module, "READS_MODELS", False)
        if (
            step.module.CALLS or named
        ):  # what writes to a model, and what trains or reads one, renders its template
            more = more | self.engines.meaning
        return {
            "stage": step.stage,
            "version": step.module.VERSION,
            "seed": self.seed,
            "options": identity_of(step.config) | more,
            "inputs": {given: p.fingerprint for given, p in inputs.items()},
            "order": list(inputs),  # evaluate takes the first policy as its baseline
        }

    def _why(self, step: Step, payload: dict[str, Any]) -> str:
        """What differs from the nearest of the step's artifacts."""
        known = finished_artifacts(self.root, step.name)
        if not known:
            return "never run"
        changes = min((before.differences(payload) for before in known), key=len)
        changes = [line.removeprefix("options.") for line in changes]
        return "; ".join(changes[:3]) + (f"; {len(changes) - 3} more" if len(changes) > 3 else "")

    def _forecast(
        self, step: Step, inputs: Mapping[str, Planned], payload: dict[str, Any]
    ) -> Forecast | None:
        context = self._context(
            step, folder_of(self.root, step.name, fingerprint(payload)), forecast=True
        )
        artifacts = {
            given: cast(Artifact, p.artifact) for given, p in inputs.items()
        }  # plan() asks only when all are there
        try:
            step.module.run(step.config, artifacts, context)
        except ForecastDone as done:
            return done.forecast
        return None

    def _context(
        self, step: Step, folder: Path, forecast: bool = False, made: frozenset[str] = frozenset()
    ) -> Context:
        return Context(
            step=step.name,
            directory=folder,
            seed=self.seed,
            store=self.store,
            engines=self.engines,
            loop=self.loop,
            console=self.console,
            forecast=forecast,
            concurrency=self.concurrency,
            made=made,
        )

    def run(self, planned: list[Planned]) -> dict[str, Artifact]:
        """Run what is not there yet, in order. A failure leaves every finished step and every
        answered call in place.
        """
        done: dict[str, Artifact] = {}
        made: frozenset[str] = frozenset()
        for p in planned:
            name, inputs = (
                p.step.name,
                {given: done[source] for given, source in p.step.inputs.items()},
            )
            done[name], new = (p.artifact, False) if p.artifact else self._run_step(p, inputs, made)
            made |= {name} if new else set()
        self.loop.run(self.engines.release())
        return done

    def _run_step(
        self, planned: Planned, inputs: dict[str, Artifact], made: frozenset[str]
    ) -> tuple[Artifact, bool]:
        """Make an artifact, unless another run is making it: then wait for that one. Also whether
        it was made here.
        """
        step, folder = planned.step, folder_of(self.root, planned.step.name, planned.fingerprint)

        def wait(owner: str) -> None:
            self.console.print(
                f"{step.name}: waiting for another run (process {owner}) that is making it",
                highlight=False,
            )

        with locked(self.root / ".locks" / folder.name, wait):
            known = (
                find_artifact(self.root, step.name, planned.fingerprint)
                if getattr(step.module, "REUSE", True)
                else None
            )
            return (known, False) if known else (self._make(planned, folder, inputs, made), True)

    def _make(
        self, planned: Planned, folder: Path, inputs: dict[str, Artifact], made: frozenset[str]
    ) -> Artifact:
        step = planned.step
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"the artifact's folder cannot be made: {error.strerror}",
                where=str(folder),
                fix="set runs_dir to a folder you may write to",
            ) from None
        context = self._context(step, folder, made=made)
        started = time.monotonic()
        launched = self.launcher.launches and getattr(step.module, "TRAINS", False)
        result = (
            launch(step.module.__name__, step.config, inputs, context, self.launcher)
            if launched
            else step.module.run(step.config, inputs, context)
        )
        seconds = time.monotonic() - started
        facts = {"seconds": round(seconds, 2), "calls": vars(context.tally), "versions": versions()}
        artifact = finish_artifact(folder, step.name, planned.payload, result, facts)
        if getattr(step.module, "REUSE", True):
            self.console.print(_line(artifact, context.tally), highlight=False)
        return artifact


def _line(artifact: Artifact, tally: Any) -> str:
    facts = artifact.manifest
    parts = [f"[bold]{artifact.step:<18}[/] {facts['seconds']:>6.1f} s"]
    if facts["rows"] is not None:
        parts.append(f"{facts['rows']} rows")
    if facts["dropped"]:
        parts.append(
            "dropped " + ", ".join(f"{n} ({reason})" for reason, n in facts["dropped"].items())
        )
    if tally.sent or tally.stored:
        rate = (
            f", {tally.tokens / facts['seconds']:.0f} tokens/s"
            if tally.tokens and facts["seconds"]
            else ""
        )
        parts.append(f"{tally.sent} calls sent, {tally.stored} from the store{rate}")
    return " · ".join(parts)
