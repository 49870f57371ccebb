"""The option `stop` of the online stages: what is watched, and what follows from an alarm.

    rewards:
      rater: {term: reward_model, model: reward}
      gold:  {term: reward_model, model: gold, weight: 0.0}   # watched, never trained against
    stop: {gold: gold, false_alarms: 0.05, action: stop, kl: 30}

In: the checked options and the terms of the reward. Out: mistakes before anything runs; after a
training, which of its models is kept, and what is said about it. The test is `detector.py`.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from stages.guards.disk import errors_of_writing, link_or_copy, remove
from stages.guards.errors import Faults, UserError, refuse_unknown
from stages.runtime.artifacts import MODEL
from stages.runtime.context import Context
from stages.runtime.typed_config import Inside, Positive
from stages.statistics.formatting import format_number
from stages.training.online.hacking.detector import Alarm
from stages.training.online.hacking.mixing import Linked
from stages.training.snapshots.snapshot import FOLDER


@dataclass(frozen=True, kw_only=True)
class StopRule:
    """When a training is taken to be hacked, and what is done then."""

    gold: str | None = None
    """A term of weight 0: the alarm is that it falls while the reward rises."""
    false_alarms: Inside = 0.05
    """The share of trainings whose gold does not fall, and which raise an alarm all the same."""
    action: Literal["stop", "warn"] = "stop"
    """`stop` ends the training, and keeps the snapshot of the best gold; `warn` only says so."""
    kl: Positive | None = None
    """In nats an answer: the same follows once the mean over some points lies above it."""


@dataclass(frozen=True)
class Event:
    """Why the rule acted."""

    kind: Literal["gold", "kl"]
    step: int
    best_step: int
    """The last step of the stretch in which gold was best; of a KL that is too large, the step
    before it."""
    alarm: Alarm | None = None
    kl: float | None = None


def check_stop(stop: StopRule, terms: Mapping[str, Linked], stage: str) -> None:
    """Refuse a rule that watches nothing, or what the training learns from.

    Raises:
        UserError: all faults at once.
    """
    where = f"stage {stage!r}, stop"
    faults = Faults()
    if stop.gold is None and stop.kl is None:
        faults.add(
            UserError(
                "it watches nothing",
                where=where,
                fix="name a term of weight 0, `gold: <term>`, or give `kl: <nats>`",
            )
        )
    if stop.gold is not None:
        with faults.gather():
            refuse_unknown([stop.gold], terms, "`stop.gold` names an unknown term", where)
        term = terms.get(stop.gold)
        if term is not None and term.weight:
            faults.add(
                UserError(
                    f"{stop.gold!r} is trained against, with the weight {term.weight:g}, so that "
                    "it cannot tell whether the reward is gamed",
                    where=where,
                    fix=f"name another term, or set rewards.{stop.gold}.weight: 0.0",
                )
            )
    faults.raise_any()


def doubt_stop(stop: StopRule | None, snapshots: int) -> list[str]:
    """Return a warning, for a plan, where there is no model to go back to."""
    if stop is None or stop.action == "warn" or snapshots:
        return []
    return [
        "stop: without snapshots the model at the alarm is kept, which is later than the best one; "
        "set `snapshots: 4`, for example"
    ]


def describe_event(event: Event, stop: StopRule, kept: str) -> str:
    """Return the warning of a training in which the rule acted.

    Args:
        kept: which model is the training's.
    """
    if event.alarm is None:
        what = f"the KL to the start reached {event.kl:.3g} nats an answer, above {stop.kl:g}"
        what = f"{what}, at step {event.step}"
    else:
        alarm = event.alarm
        what = (
            f"the reward is gamed: up to step {event.step} it rose from "
            f"{format_number(alarm.reward_best)} to {format_number(alarm.reward_now)}, while "
            f"{stop.gold!r}, which nothing is trained against, fell from "
            f"{format_number(alarm.gold_best)} to {format_number(alarm.gold_now)}, its best at "
            f"step {event.best_step}"
        )
    if stop.action == "warn":
        return f"{what}. The training went on to its end"
    return f"{what}. The training was stopped there; {kept}"


def take_best_snapshot(event: Event, context: Context) -> str:
    """Put the last snapshot before the fall in the place of the training's model, if there is one.

    Returns:
        A sentence that says which model is kept.
    """
    folder = context.directory / FOLDER
    steps = sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal())
    early = [step for step in steps if step <= event.best_step]
    if not early:
        return "no snapshot is as early as its best, so the model kept is that of the last step"
    with errors_of_writing(context.directory):
        _replace_folder(folder / str(early[-1]), context.directory / MODEL)
    return f"the model kept is that of step {early[-1]}"


def conclude(
    stop: StopRule, event: Event | None, context: Context
) -> tuple[dict[str, Any], list[str]]:
    """Return what the metrics and the warnings say of a training's stop rule, after the training's
    model was replaced by a better one where the rule says so.
    """
    if event is None:
        return {"event": None}, []
    kept = ""
    is_main = os.environ.get("RANK", "0") == "0"
    if stop.action == "stop" and is_main:
        kept = take_best_snapshot(event, context)
    return {"event": asdict(event), "model": kept}, [describe_event(event, stop, kept)]


def _replace_folder(source: Path, target: Path) -> None:
    """Fill `target` anew with the files of `source`."""
    partial = target.with_name(f"{target.name}.partial")
    if partial.exists():
        remove(partial)
    for file in source.rglob("*"):
        if file.is_file():
            copy = partial / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(file, copy)
    remove(target)
    partial.rename(target)
