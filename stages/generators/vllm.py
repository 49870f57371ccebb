"""vLLM's async engine inside this process: one coroutine a request, continuous batching by vLLM.

Options bear on speed and memory only, save `dtype`, whose rounding can move a drawn text.
On a CPU three things differ from vLLM's defaults, each measured: blocks of 32 tokens (a judge's
shared prefix is cached in whole blocks), no chunked prefill (together with a per-request seed it
kills the engine), and float32 where the processor has no bfloat16 arithmetic (AVX2: about three
times as fast as bfloat16 in software).
"""

import asyncio
import contextlib
import ctypes
import functools
import gc
import itertools
import json
import logging.config
import multiprocessing
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from stages.generators import Completion, Generator, Message, Sampling
from stages.generators.rendering import Renderer, normalised
from stages.generators.settings import Count, read_options
from stages.runtime.errors import UserError
from stages.runtime.models import Model

GIB = 1024**3
CPU_BLOCK_TOKENS = 32
CPU_KV_CACHE_GIB = 1.0
SHUTDOWN_SECONDS = 30.0
PR_SET_PDEATHSIG = 1  # of prctl(2)


@dataclass(frozen=True)
class Options:
    """Engine settings.

    Attributes:
        dtype: vLLM's name, or "auto": the checkpoint's, but float32 on a CPU without bfloat16
            arithmetic.
        max_model_len: context in tokens; None takes the model's own.
        max_num_seqs: sequences decoded at once.
        gpu_memory_utilization: share of a GPU's memory, 0 to 1; None leaves vLLM's default.
        kv_cache_gib: memory for keys and values in GiB; None means 1 on a CPU and what is left on a
            GPU.
        block_size: tokens a cache block; None means 32 on a CPU and vLLM's default on a GPU.
        enforce_eager: True skips compilation; None means True on a CPU.
        tensor_parallel_size: GPUs one model is spread over.
        concurrency: requests in flight; None means twice max_num_seqs, which keeps the engine's
            queue filled.
        log: a file for the engine's warnings; empty keeps them until `close` and drops them.
        template_arguments: variables for the chat template, such as `enable_thinking: false`.
        engine: any further field of vLLM's AsyncEngineArgs; wins over the above.
    """

    dtype: str = "auto"
    max_model_len: Count | None = None
    max_num_seqs: Count = 256
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = None
    kv_cache_gib: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    block_size: Count | None = None
    enforce_eager: bool | None = None
    tensor_parallel_size: Count = 1
    concurrency: Count | None = None
    log: str = ""
    template_arguments: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)


async def open_generator(model: Model, options: dict[str, Any]) -> Generator:
    """Start an engine and wait until it is ready (about half a minute on two cores).

    Raises:
        UserError: vLLM is not installed, an option is unknown, or the engine does not start; tells
        vLLM's reason.
    """
    settings = read_options(Options, options, "vllm")
    if Path(model.path).is_dir() and not (Path(model.path) / "config.json").exists():
        raise UserError(
            "this folder holds an adapter only",
            where=model.path,
            fix="merge it into its base model first (peft: merge_and_unload, then save_pretrained)",
        )
    log = Path(settings.log or temporary_file(".log"))
    try:
        plan = quieten(log)
    except OSError as error:
        raise UserError(
            f"{error}",
            where="generator.options.log",
            fix="name a file that can be written, or none",
        ) from None
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        forget(plan)
        raise UserError(
            f"vLLM cannot be imported: {error}",
            where="generator=vllm",
            fix="install requirements/cpu.txt or requirements/gpu.txt, or set generator=transformers",
        ) from error
    engine, reason, mark = None, "", log.stat().st_size
    try:
        with children_write_to(log):
            engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**engine_arguments(model, settings)))
    except (
        Exception
    ) as error:  # vLLM raises whatever its layers raise; the user needs one line of it
        reason = essential_line(error, log, mark)
    finally:
        forget(plan)
    if (
        engine is None
    ):  # outside of `except`: the exception's frames would keep the half-made engine alive
        gc.collect()
        raise UserError(
            f"vLLM cannot serve this model: {reason}",
            where=model.path,
            fix=f"look at generator.options (dtype, max_model_len, kv_cache_gib); vLLM's own words are in {log}",
        )
    return VllmGenerator(engine, settings, log)


class VllmGenerator:
    """A running engine. `log` holds its warnings and is deleted on close unless the user named it."""

    def __init__(self, engine: Any, options: Options, log: Path):
        self.engine, self.options, self.log = engine, options, log
        self.renderer = Renderer(
            engine.get_tokenizer(), engine.model_config.max_model_len, options.template_arguments
        )
        self.cached_tokens = self.prompt_tokens = (
            0  # so that a benchmark can tell the share of prompts found in cache
        )
        self._slots = asyncio.Semaphore(options.concurrency or 2 * options.max_num_seqs)
        self._numbers = itertools.count()

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int
    ) -> Completion:
        """See `Generator.complete`."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        prompt = self.renderer.prompt(messages)
        # Without stop strings nobody reads the text before its end: decoding it once beats decoding
        # it token by token.
        incremental = bool(sampling.stop)
        output = await self._run(
            prompt,
            SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=seed % 2**63,
                stop=list(sampling.stop),
                max_tokens=min(sampling.max_tokens, self.renderer.limit - len(prompt)),
                detokenize=incremental,
                output_kind=RequestOutputKind.FINAL_ONLY,
            ),
        )
        answer = output.outputs[0]
        text = answer.text if incremental else self.renderer.text(answer.token_ids)
        return Completion(text, answer.finish_reason or "stop", len(prompt), len(answer.token_ids))

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> list[float]:
        """See `Generator.choose`."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        prompt, ids = self.renderer.prompt(messages), self.renderer.option_ids(options)
        # vLLM's log-probabilities are taken before `allowed_token_ids` and cut to the top k: naming
        # the tokens is what makes every option present whatever the model would rather say.
        output = await self._run(
            prompt,
            SamplingParams(
                temperature=0,
                max_tokens=1,
                allowed_token_ids=ids,
                logprob_token_ids=ids,
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            ),
        )
        found = output.outputs[0].logprobs[0]
        missing = [option for option, token in zip(options, ids, strict=True) if token not in found]
        if missing:
            raise RuntimeError(f"vLLM returned no log-probability for {missing}")
        return normalised([found[token].logprob for token in ids])

    async def close(self) -> None:
        """Stop the engine's processes and wait for them to be gone."""
        if self.engine is None:
            return
        engine, self.engine = self.engine, None
        engine.shutdown(timeout=SHUTDOWN_SECONDS)
        engine.shutdown = lambda timeout=None: (
            None
        )  # its finaliser calls it again at exit, when its modules are gone
        if not self.options.log:
            self.log.unlink(missing_ok=True)

    async def _run(self, prompt: list[int], parameters: Any) -> Any:
        from vllm.inputs.engine import tokens_input
        from vllm.v1.engine.exceptions import EngineDeadError

        output = None
        async with self._slots:
            try:
                name = f"credo-{next(self._numbers)}"
                async for part in self.engine.generate(tokens_input(prompt), parameters, name):
                    output = part
            except EngineDeadError as error:
                raise UserError(
                    f"vLLM's engine died while it worked: {essential_line(error, self.log, 0)}",
                    where="generator vllm",
                    fix="run again: finished calls are kept. If it dies again, lower "
                    "generator.options.max_num_seqs or kv_cache_gib; memory is the usual reason",
                ) from error
        if output is None:
            raise RuntimeError("vLLM ended a request without an answer")
        self.prompt_tokens += len(prompt)
        self.cached_tokens += output.num_cached_tokens or 0
        return output


def engine_arguments(model: Model, options: Options) -> dict[str, Any]:
    """What AsyncEngineArgs is given. Imports vLLM, whose platform decides between CPU and GPU."""
    from vllm.platforms import current_platform

    arguments: dict[str, Any] = {
        "model": model.path,
        "revision": model.revision,
        "tokenizer_revision": model.revision,
        "dtype": options.dtype,
        "max_num_seqs": options.max_num_seqs,
        "tensor_parallel_size": options.tensor_parallel_size,
        "enable_prefix_caching": True,
        "trust_remote_code": False,
        "load_format": "safetensors",
        "use_tqdm_on_load": False,
        "disable_log_stats": True,
        "enable_log_requests": False,
    }
    eager, kv_cache_gib, block_size = (
        options.enforce_eager,
        options.kv_cache_gib,
        options.block_size,
    )
    if current_platform.is_cpu():
        # The old environment variable would win over the argument and knows whole GiB only.
        os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)
        eager = True if eager is None else eager
        kv_cache_gib, block_size = kv_cache_gib or CPU_KV_CACHE_GIB, block_size or CPU_BLOCK_TOKENS
        arguments["enable_chunked_prefill"] = False
        if options.dtype == "auto" and not has_fast_bfloat16():
            arguments["dtype"] = "float32"
    arguments |= {
        name: value
        for name, value in {
            "max_model_len": options.max_model_len,
            "gpu_memory_utilization": options.gpu_memory_utilization,
            "kv_cache_memory_bytes": int(kv_cache_gib * GIB) if kv_cache_gib else None,
            "block_size": block_size,
            "enforce_eager": eager,
        }.items()
        if value is not None
    }
    return arguments | options.engine


def has_fast_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16. Unknown processors are taken at vLLM's word."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return True
    return "avx2" not in flags or "avx512_bf16" in flags or "amx_bf16" in flags


def quieten(log: Path) -> Path:
    """Send vLLM's warnings, from this process and those it starts, into `log`, where they cannot
    tear a progress bar.

    The processes read where to write from the file that is returned; `forget` it once they run.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.open("ab").close()
    plan = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {
            "file": {
                "class": "logging.FileHandler",
                "filename": str(log.resolve()),
                "formatter": "plain",
            }
        },
        "loggers": {"vllm": {"handlers": ["file"], "level": "WARNING", "propagate": False}},
    }
    path = temporary_file(".json")
    path.write_text(json.dumps(plan))
    os.environ |= {
        "VLLM_LOGGING_CONFIG_PATH": str(path),
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
    }
    logging.config.dictConfig(plan)
    return path


def temporary_file(suffix: str) -> Path:
    """An empty file that is nobody else's."""
    handle, path = tempfile.mkstemp(prefix="credo-vllm-", suffix=suffix)
    os.close(handle)
    return Path(path)


def forget(plan: Path) -> None:
    """Undo `quieten` for processes that start later, such as a training library's own engine."""
    os.environ.pop("VLLM_LOGGING_CONFIG_PATH", None)
    plan.unlink(missing_ok=True)


@contextlib.contextmanager
def children_write_to(log: Path) -> Iterator[None]:
    """Processes started inside have `log` as their standard output and error, for good, and die
    with this process.

    Native libraries warn, and a dying engine prints its traceback, past any logging set-up. Only
    the moment of the
    start is redirected: this process may be drawing a progress bar meanwhile.
    """
    from multiprocessing.process import BaseProcess

    plain_start = BaseProcess.start

    def start(process: BaseProcess) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        own = os.dup(1), os.dup(2)
        with log.open("ab") as sink:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
        target = process._target  # type: ignore[attr-defined]
        process._target = functools.partial(die_with_parent, target)  # type: ignore[attr-defined]
        try:
            plain_start(process)
        finally:
            for number, saved in enumerate(own, start=1):
                os.dup2(saved, number)
                os.close(saved)

    BaseProcess.start = start  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        BaseProcess.start = plain_start  # type: ignore[method-assign]


def die_with_parent(target: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Run `target` in a child that the kernel kills with its parent: an orphaned engine would keep
    its memory for ever.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and parent.is_alive():  # it may have died before the kernel was asked
        target(*args, **kwargs)


def essential_line(error: Exception, log: Path, start: int) -> str:
    """The line that tells the reason: the last one in the log since byte `start` that names an
    exception, or `error`.
    """
    with log.open("rb") as stream:
        stream.seek(start)
        lines = stream.read().decode(errors="replace").splitlines()
    named = [
        line.split(":", 1)
        for line in lines
        if line.split(":", 1)[0].endswith(("Error", "Exception")) and ":" in line
    ]
    useful = [
        words.strip()
        for name, words in named
        if words.strip() and "initialization failed" not in words
    ]
    if useful:
        return re.sub(r"Worker failed with error '(.*)', please check.*", r"\1", useful[-1])
    own = [line.strip() for line in str(error).splitlines() if line.strip()]
    validation = [
        line.removeprefix("Value error, ").split(" [type=")[0]
        for line in own
        if line.startswith("Value error, ")
    ]
    return (validation or own or [repr(error)])[0]
