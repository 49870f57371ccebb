"""A session with a model in this process: engines are released, libraries' warnings are gathered,
memory is freed.

In: a block that loads models. Out: the warnings of the libraries, each printed once and counted; a
UserError with advice where memory or disk ran out.
"""

import errno
import gc
import logging
import os
import re
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stages.generators.transformers_loading import first_lines
from stages.guards.errors import UserError
from stages.guards.secrets import mask
from stages.runtime.context import Context

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "defaultcpuallocator")
DISK_FULL = (
    "no space left",
    "disk quota exceeded",
    "pytorchstreamwriter failed",
    "unexpected pos",
    "iostream error",
)
LIBRARIES = ("trl", "transformers", "accelerate", "peft", "datasets", "vllm")
"""Their loggers."""
REFUSING = {*LIBRARIES, "torch", "tokenizers", "safetensors", "huggingface_hub", "jinja2"}
"""Whose errors are about what they were given."""
ERROR_FILE = "error.txt"
HINTS = {
    "index out of range": "a text holds a token that the model does not have, or more tokens than "
    "it can read: compare its tokenizer with `vocab_size` and `max_position_embeddings`",
    "device-side assert": "a text holds a token that the model does not have: compare its "
    "tokenizer with `vocab_size` in config.json",
    "target modules": "name layers of this model under `lora.target_modules`",
    "target_modules": "name layers of this model under `lora.target_modules`",
    "eval_strategy": "remove args.eval_strategy, or hold examples out",
    "batch size": "change args.per_device_train_batch_size",
    "shape": "check that the model's config.json and weights belong together",
}
"""Advice, by a part of a library's message."""
FOR_DEVELOPERS = (
    DeprecationWarning,
    PendingDeprecationWarning,
    FutureWarning,
    ImportWarning,
    ResourceWarning,
)
"""Warnings about code, not about this training."""


EXPECTED_WEIGHTS = ("score", "classifier", "classification_head", "lm_head")
"""Output layers: a model gets a new one where its kind is changed, which is no news."""
NO_NEWS = re.compile(
    r"Triton is installed"  # a machine without a GPU
    r"|mtime may not be reliable"
    r"|You passed `model_init_kwargs` to the"  # Credo does, for the reference
)
"""Messages that follow from what Credo does, whatever the user writes."""


_DECORATION = re.compile(r"\x1b\[[0-9;]*m|^\[RANK \d+\] ")
"""Colours, and the process that a message comes from."""


class WarningLog(logging.Handler):
    """The warnings of a session, each printed once and counted.

    Messages that differ only in their numbers are one.

    Attributes:
        counts: how often each came, by its first message.
    """

    def __init__(self, context: Context):
        super().__init__(logging.WARNING)
        self.counts: Counter[str] = Counter()
        self._console = context.console
        self._step = context.step
        self._first: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of a library's logger."""
        self.add(record.getMessage())

    def add(self, message: str, is_printed: bool = True, detail: str = "") -> None:
        """Count a warning, and print it if it is new, with what is true of the first one alone."""
        text = " ".join(_DECORATION.sub("", message).split())
        if NO_NEWS.search(text) or _is_new_head(text):
            return
        kind = re.sub(r"\d+", "#", text)
        first = self._first.setdefault(kind, text)
        is_main = os.environ.get("RANK", "0") == "0"
        if is_printed and is_main and not self.counts[first]:
            shown = f"{self._step}: warning: {text}" + (f" ({detail})" if detail else "")
            self._console.print(shown)
        self.counts[first] += 1


def _is_new_head(text: str) -> bool:
    """Whether transformers reports nothing but the new output layer of a reward model."""
    weights = re.findall(r"(\S+) \| (?:MISSING|UNEXPECTED)", text)
    return bool(weights) and all(name.split(".")[0] in EXPECTED_WEIGHTS for name in weights)


_logs: list[WarningLog] = []
"""Those of the open sessions, the innermost last."""


def count_warning(message: str, is_printed: bool = False, detail: str = "") -> None:
    """Count a warning of Credo's own in the open session, if any.

    Args:
        is_printed: it is not shown elsewhere, so it is printed if it is new.
        detail: what is true of this one alone, to be printed and not counted.
    """
    if _logs:
        _logs[-1].add(message, is_printed, detail)


@contextmanager
def model_session(context: Context) -> Iterator[WarningLog]:
    """Release engines and gather libraries' warnings for the block; free its memory afterwards.

    Load models in a function that the block calls: names of the block itself keep their memory.

    Raises:
        UserError: memory or disk ran out, or a library refused what it was given, with advice.
    """
    context.release_engines()
    log = WarningLog(context)
    _logs.append(log)
    try:
        with _quiet_libraries(log):
            yield log
    except Exception as error:
        advice = _advice(error, context) or _refusal(error, context)
        if advice is None:
            raise
        raise advice from error
    finally:
        _logs.remove(log)
        _free_memory()


@contextmanager
def _quiet_libraries(log: WarningLog) -> Iterator[None]:
    """No bars and no telemetry, the libraries' warnings in `log`; as before afterwards."""
    import accelerate.logging
    import datasets
    import huggingface_hub.constants
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = os.environ.get("TQDM_DISABLE")
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    before = [(logger.level, logger.propagate, logger.handlers) for logger in loggers]
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    transformers_logging.set_verbosity_warning()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    os.environ["TQDM_DISABLE"] = "1"
    for logger in loggers:
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.handlers = [log]

    # What a library says once in a process is said once in each training.
    accelerate.logging.MultiProcessAdapter.warning_once.cache_clear()
    transformers_logging.warning_once.cache_clear()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if not issubclass(category, FOR_DEVELOPERS):
            log.add(str(message))

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = show
            yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()
        datasets.enable_progress_bars()
        if bars is None:
            os.environ.pop("TQDM_DISABLE", None)
        else:
            os.environ["TQDM_DISABLE"] = bars
        for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate = propagate
            logger.handlers = handlers


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


def _refusal(error: Exception, context: Context) -> UserError | None:
    """What a library said, where the error was raised inside of one; None for a bug of Credo's.

    Credo's own arithmetic raises in its own frames. What a library raises comes from the options,
    the rows or the model far more often than from Credo; its traceback is kept in a file.
    """
    if isinstance(error, UserError):
        return None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    package = str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] if frames else ""
    if package not in REFUSING:
        return None
    text = first_lines(error)
    file = context.directory / ERROR_FILE
    lines = traceback.format_exception(error)
    file.write_text(mask("".join(lines)), encoding="utf-8", errors="replace")
    hints = [hint for sign, hint in HINTS.items() if sign in text.lower()]
    return UserError(
        f"{package} stopped the training: {type(error).__name__}: {mask(text)}",
        where=f"step {context.step!r}",
        fix=f"{hints[0] if hints else 'look at the args, the rows and the model of the step'}; "
        f"the traceback is in {file}",
    )


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
