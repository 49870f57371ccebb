"""The stop rule in a training: reads what is logged, and ends the training at an alarm.

In: the logs of TRL's online trainers. Out: the first event, if any. Its state follows from the
history, so a training that is resumed decides as one that never ended. Imported only when something
is trained: transformers comes with it.
"""

import math
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

import torch
from transformers import TrainerCallback

from stages.training.online.hacking.detector import FIRST, check_last, simulate_limit
from stages.training.online.hacking.stop_rule import Event, StopRule
from stages.training.progress import CURVES

POINTS_OF_KL = 4
"""Over how many points the KL is averaged."""
REWARDS = [name for name, curve in CURVES.items() if curve == "reward"]


class StopTraining(TrainerCallback):
    """Watches a gold score and the KL.

    Args:
        stop: the rule.
        say: gets a sentence at an event.

    Attributes:
        event: the first one.
        limit: of the statistic, from which there is an alarm.
    """

    def __init__(self, stop: StopRule, say: Callable[[str], object]):
        self.stop = stop
        self.say = say
        self.event: Event | None = None
        self.limit = math.inf
        self.steps: list[int] = []
        self.gold: list[float] = []
        self.rewards: list[float] = []
        self.kl: list[float] = []

    def on_train_begin(
        self,
        args: Any,
        state: Any,
        control: Any,
        **_: Any,
    ) -> None:
        if self.stop.gold is not None:
            spacing = max(1, args.logging_steps, _steps_of_rollout(args))
            points = math.ceil(state.max_steps / spacing)
            self.limit = simulate_limit(points, self.stop.false_alarms)
        for logs in state.log_history:
            self._read(logs, int(logs["step"]))
        self._act(control)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        before = self.event
        self._read(logs or {}, state.global_step)
        self._agree()
        if self.event is not None and before is None and state.is_world_process_zero:
            verb = "stops" if self.stop.action == "stop" else "would stop"
            what = (
                "gold falls while the reward rises" if self.event.alarm else "the KL is too large"
            )
            self.say(f"stop rule: {what}: the training {verb} at step {self.event.step}")
        self._act(control)

    def metrics(self) -> dict[str, Any]:
        """What is known of the test; without a limit where nothing could be decided."""
        limit = round(self.limit, 4) if math.isfinite(self.limit) else None
        return {"limit": limit, "points": len(self.gold)}

    def doubts(self) -> list[str]:
        """What it could not watch, so that its silence says nothing."""
        if self.event is not None:
            return []
        doubts = []
        if self.stop.gold is not None and len(self.gold) < FIRST:
            doubts.append(
                f"stop: {self.stop.gold!r} could raise no alarm: it was scored in {len(self.gold)} "
                f"rollouts, and the test needs {FIRST}; train for more rollouts"
            )
        if self.stop.kl is not None and not (len(self.kl) >= POINTS_OF_KL and any(self.kl)):
            doubts.append(
                f"stop: no KL to the start was measured over {POINTS_OF_KL} points, so its budget "
                "decided nothing; with `beta: 0` nothing measures it"
            )
        return doubts

    def _read(
        self,
        logs: Mapping[str, Any],
        step: int,
    ) -> None:
        if self.event is not None:
            return
        self._read_kl(logs, step)
        gold = logs.get(f"rewards/{self.stop.gold}/mean")
        reward = next((logs[name] for name in REWARDS if logs.get(name) is not None), None)
        if self.event is not None or not _is_number(gold) or not _is_number(reward):
            return
        self.steps.append(step)
        self.gold.append(float(gold))  # type: ignore[arg-type]
        self.rewards.append(float(reward))  # type: ignore[arg-type]
        alarm = check_last(self.gold, self.rewards, self.limit)
        if alarm is not None:
            self.event = Event("gold", step, self.steps[alarm.best], alarm)

    def _read_kl(
        self,
        logs: Mapping[str, Any],
        step: int,
    ) -> None:
        names = ("kl_per_completion", "objective/kl")
        kl = next((logs[name] for name in names if logs.get(name) is not None), None)
        if kl is None and None not in (logs.get("kl"), logs.get("tripwire/length")):
            kl = logs["kl"] * logs["tripwire/length"]
        if self.stop.kl is None or not _is_number(kl):
            return
        self.kl.append(float(kl))  # type: ignore[arg-type]
        mean = fmean(self.kl[-POINTS_OF_KL:])
        if len(self.kl) >= POINTS_OF_KL and mean > self.stop.kl:
            self.event = Event("kl", step, step - 1, kl=mean)

    def _agree(self) -> None:
        """All processes take the event of the first one: what they log may differ."""
        if torch.distributed.is_initialized():
            events = [self.event]
            torch.distributed.broadcast_object_list(events, src=0)
            self.event = events[0]

    def _act(
        self,
        control: Any,
    ) -> None:
        if self.event is not None and self.stop.action == "stop":
            control.should_training_stop = True
            # The model itself is saved next; a Trainer that resumes here takes one step too many.
            control.should_save = False


def _steps_of_rollout(args: Any) -> int:
    """How many steps learn from one rollout, whose reward is logged once."""
    batches = int(getattr(args, "steps_per_generation", None) or 1)
    batches *= int(getattr(args, "num_iterations", None) or 1)
    return max(1, batches // int(getattr(args, "gradient_accumulation_steps", 1)))


def _is_number(value: Any) -> bool:
    return value is not None and math.isfinite(value)
