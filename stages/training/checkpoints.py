"""Checkpoints of a training that may be interrupted at any moment.

A checkpoint counts once `complete` lies in it, written after everything else has reached the disk;
it names the training that made it. What has no such mark is incomplete, and removed. The
checkpoints are the Trainer's own: optimiser and random states are `.pt` and `.pth` files, read back
only by the run that wrote them; no such file enters the finished model.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from stages.guards.errors import UserError
from stages.runtime.artifacts import canonical, flush
from stages.runtime.models import Model

MARK = "complete"


def training_of(trainer: Any, base: Model) -> str:
    """The hash that a checkpoint shares with the training that goes on from it.

    It is of the base model and the trained shapes.
    """
    shapes = {}
    for name, weight in trainer.model.named_parameters():
        if weight.requires_grad:
            shapes[name] = list(weight.shape)
    return hashlib.sha256(canonical([base.content, shapes]).encode()).hexdigest()[:16]


def mark_complete(checkpoint: Path, training: str) -> None:
    """Mark a checkpoint as complete, after its files have reached the disk.

    Args:
        training: the hash of the training that made it.
    """
    for file in checkpoint.rglob("*"):
        flush(file)
    mark = checkpoint / MARK
    mark.write_text(training, encoding="utf-8")
    flush(mark)
    flush(checkpoint)


def last_complete(folder: Path, training: str) -> Path | None:
    """The latest complete checkpoint in `folder`, if any; incomplete ones are removed on the way.

    Raises:
        UserError: another training made it.
    """
    complete: dict[int, Path] = {}
    for checkpoint in folder.glob("checkpoint-*"):
        step = checkpoint.name.removeprefix("checkpoint-")
        if (checkpoint / MARK).exists() and step.isdigit():
            complete[int(step)] = checkpoint
        else:
            shutil.rmtree(checkpoint, ignore_errors=True)
    if not complete:
        return None
    last = complete[max(complete)]
    if (last / MARK).read_text(encoding="utf-8") != training:
        raise UserError(
            "this checkpoint is of another model, or of another shape of LoRA: the training cannot "
            "go on from it",
            where=str(last),
            fix=f"delete {folder} to begin again, or give the step the model it began with",
        )
    return last
