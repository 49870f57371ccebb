"""Which policies of a training are kept besides its last one, and when they are written.

In: how many to keep. Out: at evenly spaced steps a call that writes the model as it then is. The
start is the base model and the end is the training's own model, so neither is among them.

Imported only when something is trained: transformers comes with it.
"""

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from stages.guards.errors import UserError
from stages.statistics.formatting import format_plural


class KeepSnapshots(TrainerCallback):
    """Writes the model at evenly spaced steps.

    Args:
        count: how many are kept; 0: none.
        save: writes the model as it is after a step, given the step's number.
        where: names the step of the pipeline in an error.
    """

    def __init__(self, count: int, save: Callable[[int], None], where: str):
        self.count = count
        self.save = save
        self.where = where
        self.due: list[int] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.due = spaced_steps(self.count, state.max_steps)
        if len(self.due) < self.count:
            raise UserError(
                f"{format_plural(self.count, 'snapshot')} between the start and the end of a "
                f"training of {format_plural(state.max_steps, 'step')} cannot be kept",
                where=self.where,
                fix=f"set snapshots to at most {max(0, state.max_steps - 1)}, or train longer",
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step in self.due:
            self.save(state.global_step)


def spaced_steps(count: int, steps: int) -> list[int]:
    """Return the steps that part a training into `count` + 1 stretches of about one length; []
    where it has too few.
    """
    if steps <= count:
        return []
    return [number * steps // (count + 1) for number in range(1, count + 1)]
