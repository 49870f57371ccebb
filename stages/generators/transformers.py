"""A transformers model in this process: waiting requests are gathered into padded batches. No vLLM
needed.

Each request draws its random numbers beforehand from its own seed, one for each token, and a token
is the point where the cumulative probability passes its number. So a text does not depend on its
neighbours in the batch, save where padding changes the last bits of a logit.
"""

import asyncio
import gc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from stages.generators import Completion, Generator, Message, Sampling
from stages.generators.rendering import Renderer
from stages.generators.settings import Count, read_options
from stages.runtime.errors import UserError
from stages.runtime.models import Model

LINGER_SECONDS = 0.005


@dataclass(frozen=True)
class Options:
    """Loading and batching.

    Attributes:
        dtype: torch's name, or "auto": the checkpoint's, but float32 on a CPU.
        device: torch's name, or "auto": a GPU where there is one.
        max_model_len: context in tokens; None takes the model's own.
        max_batch: sequences in a batch.
        max_batch_tokens: padded prompt and answer tokens in a batch: what bounds memory.
        template_arguments: variables for the chat template, such as `enable_thinking: false`.
        load: further arguments of `from_pretrained`, such as attn_implementation.
    """

    dtype: str = "auto"
    device: str = "auto"
    max_model_len: Count | None = None
    max_batch: Count = 64
    max_batch_tokens: Count = 65536
    template_arguments: dict[str, Any] = field(default_factory=dict)
    load: dict[str, Any] = field(default_factory=dict)


@dataclass
class Request:
    """One call in the queue: `prompt` and `options` are token ids; with `options` it is a choice,
    without a text.
    """

    prompt: list[int]
    sampling: Sampling
    seed: int
    options: list[int]
    answer: asyncio.Future[Any]


async def open_generator(model: Model, options: dict[str, Any]) -> Generator:
    """Load the weights (safetensors only, no code from the checkpoint).

    Raises:
        UserError: transformers cannot load the model, or an option is unknown.
    """
    settings = read_options(Options, options, "transformers")
    network, tokenizer = load(model, settings)
    known = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    limit = settings.max_model_len or known
    if not limit:
        raise UserError(
            "the model's config does not tell its context",
            where=model.path,
            fix="set generator.options.max_model_len",
        )
    return TransformersGenerator(
        network, Renderer(tokenizer, limit, settings.template_arguments), settings
    )


def load(model: Model, options: Options) -> tuple[Any, Any]:
    """The network in evaluation mode on its device, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # there is one of ours
    device = (
        options.device
        if options.device != "auto"
        else "cuda"
        if torch.cuda.is_available()
        else "cpu"
    )
    dtype = options.dtype if options.dtype != "auto" or device != "cpu" else "float32"
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            model.path, revision=model.revision, trust_remote_code=False
        )
        network = AutoModelForCausalLM.from_pretrained(
            model.path,
            **{
                "revision": model.revision,
                "dtype": dtype,
                "use_safetensors": True,
                "trust_remote_code": False,
            }
            | options.load,
        )
        network.to(torch.device(device))  # type: ignore[arg-type]  # torch's annotation
    except (
        Exception
    ) as error:  # loading raises whatever its layers raise; the user needs one line of it
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(
            f"transformers cannot load this model: {reason}",
            where=model.path,
            fix="check the folder (config.json, *.safetensors, tokenizer.json) and generator.options",
        ) from error
    return network.eval(), tokenizer


class TransformersGenerator:
    """A loaded model and the queue before it."""

    def __init__(self, network: Any, renderer: Renderer, options: Options):
        self.network, self.renderer, self.options = network, renderer, options
        self._waiting: list[Request] = []
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="credo-transformers")

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int
    ) -> Completion:
        """See `Generator.complete`."""
        return await self._ask(self.renderer.prompt(messages), sampling, seed, [])

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> list[float]:
        """See `Generator.choose`."""
        return await self._ask(
            self.renderer.prompt(messages),
            Sampling(max_tokens=1),
            0,
            self.renderer.option_ids(options),
        )

    async def close(self) -> None:
        """Wait for the batch in the works, then drop the weights."""
        if self._worker:
            self._worker.cancel()
        await asyncio.to_thread(self._thread.shutdown)
        self.network = None
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    async def _ask(
        self, prompt: list[int], sampling: Sampling, seed: int, options: list[int]
    ) -> Any:
        request = Request(
            prompt, sampling, seed, options, asyncio.get_running_loop().create_future()
        )
        self._waiting.append(request)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await request.answer

    async def _work(self) -> None:
        """Take everybody who waits, serve them in batches of like length, and look again."""
        while True:
            await asyncio.sleep(
                LINGER_SECONDS
            )  # neighbours that are started in the same breath join the first batch
            waiting, self._waiting = [r for r in self._waiting if not r.answer.done()], []
            if not waiting:
                return
            try:
                for batch in batches(
                    waiting,
                    self.renderer.limit,
                    self.options.max_batch,
                    self.options.max_batch_tokens,
                ):
                    await self._serve(batch)
            except BaseException as error:
                fail(waiting, error)
                if not isinstance(error, Exception):
                    raise

    async def _serve(self, batch: list[Request]) -> None:
        from stages.generators.sampling import sample, score

        answer: Callable[..., list[Any]] = score if batch[0].options else sample
        try:
            results = await asyncio.get_running_loop().run_in_executor(
                self._thread, answer, self.network, self.renderer, batch
            )
        except Exception as error:  # the other batches may still do
            fail(batch, error)
            return
        for request, result in zip(batch, results, strict=True):
            if not request.answer.done():
                request.answer.set_result(result)


def fail(requests: Sequence[Request], error: BaseException) -> None:
    """Tell all who still wait."""
    for request in requests:
        if not request.answer.done():
            request.answer.set_exception(
                error if isinstance(error, Exception) else asyncio.CancelledError()
            )


def batches(
    requests: Sequence[Request], limit: int, max_batch: int, max_tokens: int
) -> list[list[Request]]:
    """Split by kind and length, longest first, so that running out of memory shows at once."""

    def length(request: Request) -> int:
        return min(len(request.prompt) + request.sampling.max_tokens, limit)

    found: list[list[Request]] = []
    for request in sorted(
        requests, key=lambda r: (bool(r.options), length(r), len(r.prompt)), reverse=True
    ):
        last = found[-1] if found else []
        fits = last and len(last) < max_batch and (len(last) + 1) * length(last[0]) <= max_tokens
        if fits and bool(last[0].options) == bool(request.options):
            last.append(request)
        else:
            found.append([request])
    return found
