"""What all training stages share: a quiet session, a training that resumes, and a model saved once.

In: a TRL trainer over a base model. Out: metrics, and `model/` in the artifact's folder.

A training killed at any point goes on from its last whole checkpoint when the same step runs again:
same fingerprint, same folder, same order of the data. Checkpoints are removed once the model is
saved. Several processes may be at it (`runtime/launch.py`): what only one may do is asked of the
trainer.
"""

import errno
import gc
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.models import Model
from stages.training.checkpoints import last_complete, training_of
from stages.training.model_files import save_model

T = TypeVar("T")
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "defaultcpuallocator")
DISK_FULL = (
    "no space left",
    "disk quota exceeded",
    "pytorchstreamwriter failed",
    "unexpected pos",
    "iostream error",
)


def in_session(context: Context, body: Callable[[], T]) -> T:
    """Run `body` with engines released and libraries quiet; give its memory back afterwards.

    Raises:
        UserError: memory or disk ran out, with advice.
    """
    context.release_engines()
    try:
        with _quiet():
            return body()
    except (OSError, RuntimeError, MemoryError) as error:
        advice = _advice(error, context)
        if advice is None:
            raise
        raise advice from error
    except Exception as error:  # safetensors has an error class of its own
        if type(error).__name__ != "SafetensorError" or (advice := _advice(error, context)) is None:
            raise
        raise advice from error
    finally:
        _release_memory()


def train(trainer: Any, context: Context, base: Model) -> dict[str, Any]:
    """Train a trainer over `base`, going on from the last whole checkpoint if there is one.

    Returns:
        `steps`, `train_loss` (mean over the last tenth of the steps) and `history`, the curve.

    Raises:
        UserError: the checkpoint is of another model, or of another shape of LoRA.
    """
    from transformers import PrinterCallback

    from stages.training.progress import Watch, curve

    folder = Path(trainer.args.output_dir)
    training = training_of(trainer, base)
    resume = last_complete(folder, training)
    if resume is not None:
        context.console.print(f"{context.step}: going on from {resume.name}", highlight=False)
    watch = Watch(context.step, context.console, training)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(watch)
    try:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    finally:
        watch.close()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    tail = losses[-max(1, len(losses) // 10) :]
    return {
        "steps": trainer.state.global_step,
        "train_loss": round(sum(tail) / len(tail), 6) if tail else None,
        "history": curve(trainer.state.log_history),
    }


def finish(trainer: Any, context: Context, base: Model) -> None:
    """Save the model beside the artifact's rows, then remove the checkpoints it no longer needs."""
    save_model(trainer, base, context.directory / "model")
    if trainer.is_world_process_zero():
        shutil.rmtree(trainer.args.output_dir, ignore_errors=True)
    trainer.accelerator.free_memory()


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars, no chatter and no messages home from the libraries; as before afterwards."""
    import datasets
    import huggingface_hub.constants
    from transformers.utils import logging as transformers_logging

    level, bars = transformers_logging.get_verbosity(), os.environ.get("TQDM_DISABLE")
    loggers = [logging.getLogger(name) for name in ("trl", "accelerate", "peft", "vllm")]
    levels = [logger.level for logger in loggers]
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    os.environ["TQDM_DISABLE"] = "1"
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()
        datasets.enable_progress_bars()
        if bars is None:
            os.environ.pop("TQDM_DISABLE", None)
        else:
            os.environ["TQDM_DISABLE"] = bars
        for logger, before in zip(loggers, levels, strict=True):
            logger.setLevel(before)


def _advice(error: BaseException, context: Context) -> UserError | None:
    text, where = str(error).lower(), f"step {context.step!r}"
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(
        sign in text for sign in DISK_FULL
    ):
        return UserError(
            "the disk is full",
            where=str(context.directory),
            fix="free some space or set args.save_total_limit: 1, then run again: it goes on from its last checkpoint",
        )
    if isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY):
        return UserError(
            "memory ran out during training",
            where=where,
            fix="halve args.per_device_train_batch_size and double args.gradient_accumulation_steps; then, in this order: "
            "args.gradient_checkpointing: true, a smaller args.max_length, `lora: {r: 16}`, dtype: bfloat16",
        )
    return None


def _release_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
