"""Checkpoints of a training that may be interrupted at any moment.

A checkpoint counts once `complete` lies in it, written after everything else has reached the disk;
it names the training and the step that made it, and every file with its size and hash. What has no
such mark is incomplete, and removed; what does not fit its mark is damaged, and set aside. The
checkpoints are the Trainer's own: optimiser and random states are `.pt` and `.pth` files, read back
only as plain tensors by the run that wrote them; no such file enters the finished model.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from stages.guards.disk import flush, remove, write_atomically
from stages.guards.errors import UserError
from stages.guards.files import read_text
from stages.runtime.manifest import MOST_BYTES, FileFacts, canonical, find_fault, list_files
from stages.runtime.models import Model

MARK = "complete"
DAMAGED = "damaged"
"""The folder beside the checkpoints in which damaged ones are set aside."""


class Mark(BaseModel, strict=True):
    """The content of `complete`."""

    training: str
    """The hash of the training that made the checkpoint."""
    name: str
    """The checkpoint's own."""
    files: dict[str, FileFacts]


def training_of(trainer: Any, base: Model, step: str = "") -> str:
    """The hash that a checkpoint shares with the training that goes on from it.

    It is of the base model, the trained shapes, and the step with its identity.
    """
    shapes = {}
    for name, weight in trainer.model.named_parameters():
        if weight.requires_grad:
            shapes[name] = list(weight.shape)
    return hashlib.sha256(canonical([base.content, shapes, step]).encode()).hexdigest()[:16]


def mark_complete(checkpoint: Path, training: str) -> None:
    """Mark a checkpoint as complete, after its files have reached the disk.

    Args:
        training: the hash of the training that made it.
    """
    for file in checkpoint.rglob("*"):
        flush(file)
    facts = {"training": training, "name": checkpoint.name, "files": list_files(checkpoint)}
    write_atomically(checkpoint / MARK, canonical(facts))


def last_complete(folder: Path, training: str, say: Callable[[str], object] = print) -> Path | None:
    """The latest sound checkpoint in `folder`, if any.

    Incomplete ones are removed on the way, and damaged ones set aside.

    Args:
        say: gets a sentence on each damaged one.
    """
    complete: dict[int, Path] = {}
    for checkpoint in folder.glob("checkpoint-*"):
        step = checkpoint.name.removeprefix("checkpoint-")
        if os.path.lexists(checkpoint / MARK) and step.isdecimal():
            complete[int(step)] = checkpoint
        else:
            with suppress(OSError):  # another rank was faster
                remove(checkpoint)
    for _, checkpoint in sorted(complete.items(), reverse=True):
        fault = _find_fault(checkpoint, training)
        if not fault:
            return checkpoint
        say(f"{checkpoint.name} is damaged and set aside: {fault}")
        aside = folder / DAMAGED / checkpoint.name
        with suppress(FileNotFoundError):  # another rank was faster
            aside.parent.mkdir(exist_ok=True)
            remove(aside)
            os.replace(checkpoint, aside)
    return None


def _find_fault(checkpoint: Path, training: str) -> str:
    """Why a checkpoint cannot be gone on from, or ""."""
    try:
        mark = Mark.model_validate_json(read_text(checkpoint / MARK, most=MOST_BYTES))
    except (UserError, ValidationError, RecursionError):
        return f"{MARK} cannot be read"
    if (mark.training, mark.name) != (training, checkpoint.name):
        return "it is of another model, another shape of LoRA or another training"
    for name, facts in mark.files.items():
        fault = find_fault(checkpoint / name, facts, whole=True)
        if fault:
            return f"{name}: {fault}"
    return ""
