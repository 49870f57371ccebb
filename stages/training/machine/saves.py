"""When a training saves a checkpoint: by time and cost, and at a SIGTERM.

In: the most minutes of work that a kill may cost. Out: `control.should_save` at the end of a step,
where the next step would take the loss above that, and a training that stops after its save where
the machine is about to be taken away (spot machines, Slurm). Saving takes at most `SHARE` of the
time: where one save takes long, they come less often than the user allows. Left out: asynchronous
saves, because the Trainer writes its optimiser with `torch.save` before it goes on.

In several processes the first one's clock decides, and a SIGTERM to any of them counts for all.
Imported only when something is trained: transformers comes with it.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainerCallback

SHARE = 0.05
"""The part of a training's time that its saves may take."""


@dataclass
class SaveClock:
    """Decides at the end of a step whether a checkpoint is due.

    Args:
        minutes: the most that a kill may cost; 0: no checkpoints.
        now: the time in seconds.
    """

    minutes: float
    now: Callable[[], float] = time.monotonic
    costs: list[float] = field(default_factory=list)
    """Seconds of each save so far."""
    _last: float = 0.0
    _step_began: float = 0.0
    _step_ended: float = 0.0
    _is_saved: bool = False

    def start(self) -> None:
        """Begin to count: nothing done so far can be lost."""
        self._last = self._step_began = self.now()

    def begin_step(self) -> None:
        """Begin a step; what was saved since the last one has cost the time in between."""
        self._step_began = self.now()
        if self._is_saved:
            self.costs.append(self._step_began - self._step_ended)
            self._last = self._step_began
            self._is_saved = False

    def end_step(self) -> None:
        """End a step, or what follows it and is no save."""
        self._step_ended = self.now()

    def count_save(self) -> None:
        """Note that a checkpoint was written after the step."""
        self._is_saved = True

    def is_due(self) -> bool:
        """Whether to save now, at the end of a step: else one like it may be lost with the rest."""
        if not self.minutes:
            return False
        since = self._step_ended - self._last
        step = self._step_ended - self._step_began
        is_cheap = not self.costs or since >= self._least()
        return is_cheap and since + step > 60 * self.minutes

    def interval(self) -> float:
        """Seconds of work that a kill may cost; nobody knows the cost of the first save."""
        return max(60 * self.minutes, self._least() if self.costs else 0.0)

    def _least(self) -> float:
        """Seconds between two saves at least."""
        return self.costs[-1] * (1 / SHARE - 1)


class TimedSaves(TrainerCallback):
    """Asks for checkpoints by a clock and at a SIGTERM; it stands first among the callbacks, so
    that others may delay its saves.

    Args:
        minutes: the most that a kill may cost; 0: the trainer's own options decide when to save.
        say: shows a sentence.
    """

    def __init__(self, minutes: float, say: Callable[[str], object]):
        self.clock = SaveClock(minutes)
        self.say = say
        self.is_asked_to_stop = False
        """A SIGTERM came."""
        self.has_stopped = False
        """The training saved and ended before its time."""
        self._is_stopping = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.clock.start()
        if self.clock.minutes:
            self.say(f"a checkpoint every {self.clock.minutes:g} minutes, which a kill may cost")

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        before = self.clock.interval()
        self.clock.begin_step()
        if self.clock.minutes and self.clock.interval() > before:
            self.say(
                f"a checkpoint takes {self.clock.costs[-1]:.1f} s, so one comes every "
                f"{self.clock.interval() / 60:.1f} minutes, and a kill loses at most that: saving "
                f"takes at most {SHARE:.0%} of the time"
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.clock.end_step()
        is_due, self._is_stopping = _agree(self.clock.is_due(), self.is_asked_to_stop, args)
        control.should_save = control.should_save or is_due or self._is_stopping

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.clock.end_step()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.clock.count_save()
        self.has_stopped = self._is_stopping
        control.should_training_stop = control.should_training_stop or self.has_stopped


def _agree(is_due: bool, is_stopping: bool, args: Any) -> tuple[bool, bool]:
    """What the first process's clock says, and whether any process is to stop."""
    if not torch.distributed.is_initialized():
        return is_due, is_stopping
    is_first = torch.distributed.get_rank() == 0
    flags = torch.tensor([is_due and is_first, is_stopping], dtype=torch.int32, device=args.device)
    torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
    due, stopping = flags.tolist()
    return bool(due), bool(stopping)


@contextmanager
def stop_at_sigterm(saves: TimedSaves, args: Any) -> Iterator[None]:
    """Have a first SIGTERM save and stop; a second one ends the process as it always does, and so
    does one after which no step was left to save.

    Nothing changes where no checkpoints are wanted, and in threads, which get no signals.
    """
    is_saved = saves.clock.minutes or args.save_strategy != "no"
    if not is_saved or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(*_: Any) -> None:
        saves.is_asked_to_stop = True
        signal.signal(signal.SIGTERM, before)

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if saves.is_asked_to_stop and not saves.has_stopped:
            signal.raise_signal(signal.SIGTERM)
