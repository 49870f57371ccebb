"""A session with a model in this process: engines are released, libraries quiet, memory freed.

In: a block that loads models. Out: a UserError with advice where memory or disk ran out.
"""

import errno
import gc
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from stages.runtime.context import Context
from stages.runtime.errors import UserError

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "defaultcpuallocator")
DISK_FULL = (
    "no space left",
    "disk quota exceeded",
    "pytorchstreamwriter failed",
    "unexpected pos",
    "iostream error",
)
CHATTY = ("trl", "accelerate", "peft", "vllm")


@contextmanager
def model_session(context: Context) -> Iterator[None]:
    """Release engines and quieten libraries for the block; free its memory afterwards.

    Load models in a function that the block calls: names of the block itself keep their memory.

    Raises:
        UserError: memory or disk ran out, with advice.
    """
    context.release_engines()
    try:
        with _quiet_libraries():
            yield
    except Exception as error:
        advice = _advice(error, context)
        if advice is None:
            raise
        raise advice from error
    finally:
        _free_memory()


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """No bars, no messages and no telemetry from the libraries; as before afterwards."""
    import datasets
    import huggingface_hub.constants
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = os.environ.get("TQDM_DISABLE")
    loggers = [logging.getLogger(name) for name in CHATTY]
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


def _advice(error: Exception, context: Context) -> UserError | None:
    from safetensors import SafetensorError

    if not isinstance(error, OSError | RuntimeError | MemoryError | SafetensorError):
        return None
    text = str(error).lower()
    no_space = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    if no_space or any(sign in text for sign in DISK_FULL):
        return UserError(
            "the disk is full",
            where=str(context.directory),
            fix="free some space or set args.save_total_limit: 1, then run again: "
            "it goes on from its last checkpoint",
        )
    if isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY):
        return UserError(
            "memory ran out during training",
            where=f"step {context.step!r}",
            fix="halve args.per_device_train_batch_size and double "
            "args.gradient_accumulation_steps; then, in this order: "
            "args.gradient_checkpointing: true, a smaller args.max_length, `lora: {r: 16}`, "
            "dtype: bfloat16",
        )
    return None


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
