"""Checkpoints of a training that may be cut short at any moment.

A checkpoint counts once `complete` lies in it, written after everything else has reached the disk. What has no such
mark is torn, and removed. The checkpoints are the Trainer's own: optimiser and random states are `.pt` and `.pth`
files, read back only by the run that wrote them; no such file enters the finished model.
"""

import shutil
from pathlib import Path

from stages.runtime.artifacts import flush

MARK = "complete"


def mark_complete(checkpoint: Path) -> None:
    """Say that a checkpoint is whole, after its files have reached the disk."""
    for file in [f for f in checkpoint.rglob("*") if f.is_file()]:
        flush(file)
    mark = checkpoint / MARK
    mark.touch()
    flush(mark)
    flush(checkpoint)


def last_complete(folder: Path) -> Path | None:
    """The latest whole checkpoint in `folder`, if any; torn ones are removed on the way."""
    whole: dict[int, Path] = {}
    for checkpoint in folder.glob("checkpoint-*"):
        step = checkpoint.name.removeprefix("checkpoint-")
        if (checkpoint / MARK).exists() and step.isdigit():
            whole[int(step)] = checkpoint
        else:
            shutil.rmtree(checkpoint, ignore_errors=True)
    return whole[max(whole)] if whole else None
