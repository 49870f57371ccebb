"""The runner: checked steps become a plan, and the plan becomes artifacts.

A step's identity is its stage, the stage's version, the run's seed, the options that change
results, what the stage's own `identity` adds (principle texts, template hashes, file contents), and
the fingerprints of its inputs.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from stages.guards.console import styled
from stages.guards.disk import CannotWrite, report_refusals
from stages.guards.errors import Faults, UserError
from stages.guards.locks import hold_lock
from stages.pretrained.provenance import versions
from stages.runtime.artifacts import (
    DROPPED,
    Artifact,
    Result,
    advise_on_missing,
    finish_artifact,
    folder_of,
    list_reasons,
    look_up,
    prepare_folder,
    write_dropped,
)
from stages.runtime.calls import Engines
from stages.runtime.context import Context, Forecast, ForecastDone
from stages.runtime.cost.budget import BudgetSpent
from stages.runtime.generator_registry import check_choice
from stages.runtime.manifest import fingerprint
from stages.runtime.pipeline.display import say, show_warnings, step_line
from stages.runtime.pipeline.dropped_rows import (
    advise_on_long,
    count_remaining,
    doubt_cut_off,
    doubt_dropped,
)
from stages.runtime.pipeline.failures import raise_failures, survivable, without_failed
from stages.runtime.pipeline.launch import Launcher, launch
from stages.runtime.pipeline.overlap import Overlaps, all_source_pairs
from stages.runtime.pipeline.plan import (
    PlannedStep,
    explain_twin,
    find_twin,
    find_unreached,
    hash_content,
    identity_payload,
    mean_of_texts,
    reason_to_run,
    refuse_edited,
    take_over,
)
from stages.runtime.pipeline.readings import expect, show_decisions, show_reading, warn
from stages.runtime.pipeline.steps import Step
from stages.runtime.progress import report
from stages.runtime.store import CallStore


@dataclass
class Runner:
    """Plans and runs steps."""

    root: Path
    """The folder of the artifacts."""
    seed: int
    """The run's seed, a part of every step's identity."""
    store: CallStore
    engines: Engines
    console: Console
    loop: asyncio.Runner
    concurrency: int = 1024
    """Rows worked on at the same time, and so about the most calls that a killed run loses."""
    launcher: Launcher = field(default_factory=Launcher)
    """In how many processes the training steps run."""
    max_failed: float = 0.05
    """The share of a step's rows that may fail because a call was not answered."""
    names: Mapping[str, Any] = field(default_factory=dict)
    """The run's method and constitution, for the page (see `Context.names`)."""
    _overlaps: Overlaps = field(default_factory=lambda: Overlaps({}))
    _said_damaged: int = 0
    failures: dict[str, UserError] = field(default_factory=dict)
    """By step: why it failed, though the run went on; see `failures.py`."""

    def plan(self, steps: Sequence[Step], forecast: bool = True) -> list[PlannedStep]:
        """Decide which steps are reused and which run, why, and what they would send.

        Nothing is computed or sent.

        Raises:
            UserError: options of steps that cannot work, all at once.
        """
        planned: dict[str, PlannedStep] = {}
        may_fail = survivable(steps)
        faults = Faults()
        for step in steps:
            with faults.gather(f"step {step.name!r}"):
                step.contract.check(step.config)
                if faults.errors:
                    step.contract.identity(step.config)
                    continue
                can_fail = step.name in may_fail
                planned[step.name] = self._plan_step(step, planned, forecast, can_fail)
        faults.raise_any()
        self._say_damaged()
        if self.engines.budget.money is not None and not self.engines.has_prices:
            raise UserError(
                "a budget of money stops nothing where no tokens have a price",
                where="budget",
                fix="give the prices of a million tokens, generator.prices={input: 0.15, output: "
                "0.6}, or judge.prices, or set budget_tokens",
            )
        return list(planned.values())

    def _say_damaged(self) -> None:
        """Say how many values of the store were no answers, if there are new ones."""
        count = self.store.damaged - self._said_damaged
        if count:
            self.console.print(
                f"{self.store.name}: {count} stored answers were damaged and are asked again"
            )
        self._said_damaged = self.store.damaged

    def run(self, planned: Sequence[PlannedStep]) -> dict[str, Artifact]:
        """Run what must run, in order; return the artifact of every step by its name.

        A failure leaves every finished step and every answered call in place. One from which no
        training learns is kept in `failures`, and a report is written without it.

        Raises:
            UserError: options with which no library can work, or a server that nobody reaches,
                before anything runs; a step failed, asked a model and dropped every row, has only
                empty inputs, or reads a file that was edited meanwhile.
        """
        faults = Faults()
        for plan in planned:
            if not plan.result:
                folder = folder_of(self.root, plan.step.name, plan.fingerprint)
                with faults.gather():
                    plan.step.contract.prepare(plan.step.config, self._context(plan.step, folder))
        faults.raise_any()
        may_fail = survivable([plan.step for plan in planned])
        for steps, unreached in self.loop.run(find_unreached(planned, self.engines, patient=True)):
            if not may_fail.issuperset(steps):
                raise unreached
            say([(", ".join(steps), str(unreached))], self.console)
        artifacts: dict[str, Artifact] = {}
        new_steps: frozenset[str] = frozenset()
        pairs = all_source_pairs([plan.step for plan in planned])
        # A finished evaluation holds what it shares; then no source is read again.
        to_run = {plan.step.name for plan in planned if not plan.artifact}
        self._overlaps = Overlaps({name: pairs[name] for name in pairs if name in to_run})
        for number, plan in enumerate(planned, 1):
            name = plan.step.name
            is_new = False
            try:
                if plan.artifact:
                    artifacts[name] = plan.artifact
                else:
                    report(step=name, number=number, of=len(planned))
                    artifacts[name], is_new = self._run_planned(plan, artifacts, new_steps)
            except UserError as error:
                self.failures[name] = error
                if name not in may_fail or isinstance(error, CannotWrite | BudgetSpent):
                    raise_failures(self.failures)
                text = f"; the run goes on. {error}"
                self.console.print(styled((f"{name} failed", "bold red"), text))
                continue
            if is_new:
                new_steps |= {name}
            for overlap in self._overlaps.compare(artifacts):
                warn(overlap, self.console)
        self.loop.run(self.engines.release())
        self._say_damaged()
        return artifacts

    def _run_planned(
        self, plan: PlannedStep, artifacts: Mapping[str, Artifact], new_steps: frozenset[str]
    ) -> tuple[Artifact, bool]:
        """Run a step on the artifacts that there are; return its artifact, and whether it is new.

        Raises:
            UserError: it failed, or a step that it needs.
        """
        plan = without_failed(plan, self.failures)
        inputs = {key: artifacts[source] for key, source in plan.step.inputs.items()}
        _refuse_empty_inputs(plan.step, inputs)
        return self._run_or_wait(plan, inputs, new_steps)

    def _plan_step(
        self, step: Step, planned: Mapping[str, PlannedStep], forecast: bool, can_fail: bool
    ) -> PlannedStep:
        inputs = {name: planned[source] for name, source in step.inputs.items()}
        payload = identity_payload(step, inputs, self.seed, self.engines.answer_options)
        if not step.contract.reusable:
            pointer, _ = self._run_or_wait(PlannedStep(step, payload, None), {}, frozenset())
            return PlannedStep(step, payload, pointer)
        artifact, damage = look_up(self.root, step.name, fingerprint(payload))
        if artifact:
            return PlannedStep(step, payload, artifact)
        self._check_choices(step, inputs)
        sources = {name: plan.result for name, plan in inputs.items() if plan.result}
        ready = len(sources) == len(inputs)
        content = hash_content(step, payload, sources) if ready else ""
        twin = find_twin(self.root, step.name, content)
        if twin:
            return PlannedStep(step, payload, None, explain_twin(twin), twin=twin)
        reason = f"{damage}; made anew" if damage else ""
        reason = reason or reason_to_run(self.root, step, payload, ready)
        expected = {name: expect(plan, planned) for name, plan in inputs.items()}
        calls = None
        warnings: Sequence[str] = ()
        try:
            warnings = step.contract.foresee(step.config, expected)
            if forecast and ready and step.contract.calls_generator:
                calls = self._forecast(step, sources, payload)
        except UserError as error:
            if not can_fail:
                raise
            reason += f"; will fail: {error.what}"
        return PlannedStep(step, payload, None, reason, calls, warnings=warnings)

    def _check_choices(self, step: Step, inputs: Mapping[str, PlannedStep]) -> None:
        """Refuse options that a model cannot choose among, where it exists already."""
        for name, options in step.contract.choices(step.config):
            model = inputs[name].result if name in inputs else None
            if model:
                try:
                    asked = model.model()
                    check_choice(self.engines.answerer(asked).name, asked, options)
                except UserError as error:
                    where = f"step {step.name!r}"
                    raise UserError(error.what, where=where, fix=error.fix) from None

    def _forecast(
        self, step: Step, inputs: dict[str, Artifact], payload: dict[str, Any]
    ) -> Forecast | None:
        """Run the step on stored answers until the first unanswered call of each row."""
        folder = folder_of(self.root, step.name, fingerprint(payload))
        context = self._context(step, folder, forecast=True)
        context.tally.earlier_mean = mean_of_texts(self.root, step.name)
        try:
            step.contract.run(step.config, inputs, context)
        except ForecastDone as done:
            return done.forecast
        return None

    def _context(
        self,
        step: Step,
        folder: Path,
        forecast: bool = False,
        new_steps: frozenset[str] = frozenset(),
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
            max_failed=self.max_failed,
            checkpoint_minutes=self.launcher.checkpoint_minutes,
            new_steps=new_steps,
            failures={name: error.what for name, error in self.failures.items()},
            names=self.names,
        )

    def _run_or_wait(
        self, plan: PlannedStep, inputs: dict[str, Artifact], new_steps: frozenset[str]
    ) -> tuple[Artifact, bool]:
        """Run a step, unless another run is already running it: then wait for its artifact.

        Returns:
            The artifact, and whether it was made here.
        """
        step = plan.step
        folder = folder_of(self.root, step.name, plan.fingerprint)

        def wait(owner: str) -> None:
            self.console.print(f"{step.name}: waiting for another run ({owner}) that is making it")

        with hold_lock(self.root / ".locks" / folder.name, wait):
            artifact, _ = look_up(self.root, step.name, plan.fingerprint)
            if artifact and step.contract.reusable:
                return artifact, False
            if not artifact:
                prepare_folder(folder)
            content = hash_content(step, plan.payload, inputs)
            twin = find_twin(self.root, step.name, content)
            if twin:
                self.console.print(f"{step.name:<18} reused: {explain_twin(twin)}")
                return take_over(twin, folder, plan.payload), False
            return self._run_step(plan, folder, inputs, new_steps, content), True

    def _run_step(
        self,
        plan: PlannedStep,
        folder: Path,
        inputs: dict[str, Artifact],
        new_steps: frozenset[str],
        content: str,
    ) -> Artifact:
        step = plan.step
        refuse_edited(plan)
        context = self._context(step, folder, new_steps=new_steps)
        started = time.monotonic()
        with report_refusals(folder):
            if self.launcher.launches and step.contract.trains:
                result = launch(step.location, step.config, inputs, context, self.launcher)
            else:
                result = step.contract.run(step.config, inputs, context)
        refuse_edited(plan)
        result = self._overlaps.add_to(result, step.name)
        if step.contract.calls_generator:
            _refuse_empty(step, result, folder)
        remaining = count_remaining(result.rows, result.metrics)
        dropped = Counter(row.reason for row in result.dropped)
        doubts = doubt_dropped(dropped, remaining, step.contract.meant_to_drop)
        if doubts and (advice := advise_on_long(dropped, step.config)):
            doubts.append(advice)
        doubts += doubt_cut_off(context.tally)
        result = replace(result, warnings=[*result.warnings, *doubts])
        if masses := context.tally.option_metrics():
            result = replace(result, metrics=result.metrics | {"option_mass": masses})
        facts = {
            "seconds": round(time.monotonic() - started, 2),
            "calls": context.tally.call_counts(),
            "versions": versions(),
            "content": content,
        }
        artifact = finish_artifact(folder, step.name, plan.payload, result, facts)
        if step.contract.reusable:
            self.console.print(step_line(artifact, context.tally, remaining))
            show_warnings([artifact], self.console)
            if result.rows == []:
                self.console.print(f"{step.name}: warning: it made no rows")
            if getattr(step.config, "describe", False):
                show_reading(artifact, step.config.source, self.console)
            else:
                show_decisions(artifact, self.console)
        return artifact


def _refuse_empty_inputs(step: Step, inputs: Mapping[str, Artifact]) -> None:
    """Stop before a step all of whose inputs with rows are empty: it could only say nothing.

    Left to the stage where it takes any inputs (a report shows an empty one), or says so.

    Raises:
        UserError: names what was dropped before, and why.
    """
    readable = {name: each for name, each in inputs.items() if each.manifest.rows is not None}
    fine = "*" in step.contract.optional or readable.keys() & set(step.contract.may_be_empty)
    if readable and not fine and not any(each.manifest.rows for each in readable.values()):
        raise UserError(
            f"no input holds a row: {', '.join(readable)}",
            where=f"step {step.name!r}",
            fix=advise_on_missing(readable, "give it a step that makes rows"),
        )


def _refuse_empty(step: Step, result: Result, folder: Path) -> None:
    """Stop after a step without rows: the later ones could only say that there is nothing to read.

    The step is not finished, since another server or a mended one may give other answers.

    Raises:
        UserError: every row was dropped; names the reasons and the file that holds the rows.
    """
    reasons = {row.reason for row in result.dropped}
    if result.rows or result.rows is None or reasons <= set(step.contract.may_drop_all):
        return
    write_dropped(folder, result.dropped)
    details = [row.detail for row in result.dropped if row.detail]
    example = f"; for example: {details[0]}" if details else ""
    advice = advise_on_long(Counter(row.reason for row in result.dropped), step.config)
    advice = (
        advice or "change what the reasons name, in the step's options, its inputs or its model"
    )
    raise UserError(
        f"every row was dropped: {list_reasons(result.dropped)}{example}",
        where=f"step {step.name!r}",
        fix=f"see {folder / DROPPED}; {advice}",
    )
