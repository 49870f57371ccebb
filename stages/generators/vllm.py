"""vLLM's async engine in this process: a coroutine for each request; vLLM batches continuously.

Options change speed and memory only, except `dtype`, whose rounding can change a sampled text.
"""

import asyncio
import gc
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.generators.rendering import Renderer, add_up, normalise
from stages.generators.vllm_options import Options, engine_arguments
from stages.generators.vllm_process import (
    create_temporary_file,
    extract_reason,
    redirect_children,
    redirect_logging,
    restore_logging,
)
from stages.guards.errors import UserError
from stages.runtime.generation import (
    CallFailed,
    Choice,
    Completion,
    Generator,
    Sampling,
    as_choice,
)
from stages.runtime.models import Model, refuse_changed
from stages.runtime.rows import Message
from stages.runtime.typed_config import parse_config

SHUTDOWN_SECONDS = 30.0


async def open_generator(model: Model, options: dict[str, Any]) -> Generator:
    """Start an engine and wait until it is ready (about half a minute on two cores).

    Raises:
        UserError: vLLM is not installed, an option is unknown, or the engine does not start; gives
            vLLM's reason.
    """
    parsed: Options = parse_config(Options, options, "generator.options of vllm")
    log = Path(parsed.log or create_temporary_file(".log"))
    try:
        logging_config = redirect_logging(log)
    except OSError as error:
        raise UserError(
            f"{error}",
            where="generator.options.log",
            fix="name a file that can be written, or none",
        ) from None
    try:
        engine = start_engine(model, parsed, log)
    finally:
        restore_logging(logging_config)
    generator = VllmGenerator(engine, parsed, log)
    try:
        refuse_changed(model)
    except UserError:
        await generator.close()
        raise
    return generator


def start_engine(model: Model, options: Options, log: Path) -> Any:
    """Return a running `AsyncLLM`, whose processes write to `log`.

    Raises:
        UserError: vLLM cannot be imported, or cannot serve this model.
    """
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        raise UserError(
            f"vLLM cannot be imported: {error}",
            where="generator=vllm",
            fix="install requirements/cpu.txt or requirements/gpu.txt, "
            "or set generator=transformers",
        ) from error
    start_of_log = log.stat().st_size
    try:
        with redirect_children(log):
            arguments = AsyncEngineArgs(**engine_arguments(model, options))
            return AsyncLLM.from_engine_args(arguments)
    except Exception as error:  # vLLM raises anything its layers raise; the user needs one line
        reason = extract_reason(error, log, start_of_log)
    # Outside of `except`: the exception's frames would keep the half-built engine alive.
    gc.collect()
    raise UserError(
        f"vLLM cannot serve this model: {reason}",
        where=model.path,
        fix="look at generator.options (dtype, max_model_len, kv_cache_gib); "
        f"vLLM's own messages are in {log}",
    )


class VllmGenerator:
    """A running engine.

    Args:
        engine: vLLM's `AsyncLLM`.
        options: what it was started with.
        log: holds its warnings; deleted on close unless the user named it.

    Attributes:
        prompt_tokens: tokens of all prompts so far.
        cached_tokens: those of them that were found in the prefix cache, for benchmarks.
    """

    def __init__(self, engine: Any, options: Options, log: Path):
        self.engine = engine
        self.options = options
        self.log = log
        tokenizer = engine.get_tokenizer()
        config = engine.model_config
        self._known_stops = known_stops(tokenizer, config)
        self.renderer = Renderer(
            tokenizer, config.max_model_len, options, self._known_stops, str(config.model)
        )
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self._slots = asyncio.Semaphore(options.concurrency or 2 * options.max_num_seqs)
        self._numbers = itertools.count()

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int, prefix: str = ""
    ) -> Completion:
        """See `Generator.complete`."""
        prompt = self.renderer.prompt(messages, prefix)
        # Without stop strings nothing reads the text before its end: decoding it once is faster
        # than decoding it token by token.
        incremental = bool(sampling.stop)
        output = await self._run(
            prompt,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=seed % 2**63,
            stop=list(sampling.stop),
            stop_token_ids=sorted(self.renderer.stop_tokens - self._known_stops),
            max_tokens=min(sampling.max_tokens, self.renderer.limit - len(prompt)),
            detokenize=incremental,
            skip_special_tokens=not self.renderer.marks_are_special,
        )
        answer = output.outputs[0]
        text = answer.text
        if not incremental:
            text = self.renderer.continuation(answer.token_ids, prompt, prefix)
        text = self.renderer.opening(prefix) + text
        reason = answer.finish_reason or "stop"
        if reason not in ("stop", "length"):  # an abort is no answer
            raise CallFailed("vLLM ended the text early", f"finish_reason {reason!r}")
        return Completion(text, reason, len(prompt), len(answer.token_ids))

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> Choice:
        """See `Generator.choose`."""
        prompt = self.renderer.question(messages)
        ids = self.renderer.option_ids(options)
        # vLLM takes log-probabilities before `allowed_token_ids` and cuts them to the top k: only
        # naming the tokens makes every option present, even those that the model hardly expects.
        output = await self._run(
            prompt,
            temperature=0,
            max_tokens=1,
            allowed_token_ids=ids,
            logprob_token_ids=ids,
            detokenize=False,
        )
        first_token = output.outputs[0].logprobs[0]
        missing = [
            option for option, token in zip(options, ids, strict=True) if token not in first_token
        ]
        if missing:
            raise RuntimeError(f"vLLM returned no log-probability for {missing}")
        values = [first_token[token].logprob for token in ids]
        is_raw = self.engine.model_config.logprobs_mode == "raw_logprobs"
        try:
            return as_choice(Choice(normalise(values), add_up(values) if is_raw else None))
        except ValueError as error:
            raise CallFailed("the model's numbers are not finite", str(error)) from None

    async def close(self) -> None:
        """Stop the engine's processes and wait until they are gone."""
        if self.engine is None:
            return
        engine = self.engine
        self.engine = None
        engine.shutdown(timeout=SHUTDOWN_SECONDS)
        # Its finaliser calls `shutdown` again at exit, when the modules it needs are gone.
        engine.shutdown = _do_nothing
        if not self.options.log:
            self.log.unlink(missing_ok=True)

    async def _run(self, prompt: list[int], **parameters: Any) -> Any:
        """Return vLLM's output for a prompt (token ids) and fields of its `SamplingParams`."""
        from vllm import SamplingParams
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError

        sampling = SamplingParams(**parameters, output_kind=RequestOutputKind.FINAL_ONLY)
        output = None
        async with self._slots:
            name = f"credo-{next(self._numbers)}"
            try:
                async for part in self.engine.generate(tokens_input(prompt), sampling, name):
                    output = part
            except EngineDeadError as error:
                raise UserError(
                    f"vLLM's engine died while it worked: {extract_reason(error, self.log, 0)}",
                    where="generator vllm",
                    fix="run again: finished calls are kept; if it dies again, lower "
                    "generator.options.max_num_seqs or kv_cache_gib; memory is the usual reason",
                ) from error
        if output is None:
            raise RuntimeError("vLLM ended a request without an answer")
        self.prompt_tokens += len(prompt)
        self.cached_tokens += output.num_cached_tokens or 0
        return output


def known_stops(tokenizer: Any, config: Any) -> set[int]:
    """Return the tokens at which vLLM ends an answer by itself.

    Args:
        config: vLLM's ModelConfig.
    """
    ends = config.try_get_generation_config().get("eos_token_id")
    ends = ends if isinstance(ends, list) else [ends]
    return {*ends, tokenizer.eos_token_id} - {None}


def _do_nothing(timeout: float | None = None) -> None:
    pass
