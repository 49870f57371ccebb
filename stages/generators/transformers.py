"""A transformers model in this process: waiting requests are gathered into padded batches.

It needs no vLLM. Each request draws its random numbers beforehand from its own seed, one for each
token, and a token is the point where the cumulative probability passes its number. So a text does
not depend on its neighbours in the batch, except where padding changes the last bits of a logit.
"""

import asyncio
import gc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stages.generators.rendering import Renderer
from stages.generators.transformers_decoding import Decoder, is_out_of_memory, open_decoder
from stages.generators.transformers_loading import (
    Options,
    batch_limits,
    context_limit,
    load_model,
)
from stages.generators.transformers_sampling import Request, find_end_tokens, sample, score
from stages.runtime.generation import Choice, Completion, Generator, Sampling
from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.runtime.typed_config import parse_config

LINGER_SECONDS = 0.005


async def open_generator(model: Model, options: dict[str, Any]) -> Generator:
    """Load the model.

    Raises:
        UserError: transformers cannot load it, an option is unknown, or its context is not known.
    """
    parsed: Options = parse_config(Options, options, "generator.options of transformers")
    network, tokenizer = load_model(model, parsed)
    limit = context_limit(network, model, parsed)
    stops = find_end_tokens(network, tokenizer)
    renderer = Renderer(tokenizer, limit, parsed, stops, model.path)
    return TransformersGenerator(network, renderer, parsed)


class TransformersGenerator:
    """A loaded model and the queue before it."""

    def __init__(self, network: Any, renderer: Renderer, options: Options):
        self.renderer = renderer
        self.options = options
        self.decoder: Decoder = open_decoder(network, options.graphs)
        self.max_batch, self.max_batch_tokens = batch_limits(network, options)
        self._waiting: list[Request] = []
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="credo-transformers")

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int, prefix: str = ""
    ) -> Completion:
        """See `Generator.complete`."""
        prompt = self.renderer.prompt(messages, prefix)
        return await self._ask(prompt, sampling, seed, options=[], prefix=prefix)

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> Choice:
        """See `Generator.choose`."""
        prompt = self.renderer.question(messages)
        ids = self.renderer.option_ids(options)
        return await self._ask(prompt, Sampling(max_tokens=1), seed=0, options=ids)

    async def close(self) -> None:
        """Wait for the batch in progress, then drop the weights."""
        if self._worker:
            self._worker.cancel()
        await asyncio.to_thread(self._thread.shutdown)
        self.decoder = Decoder(None)
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    async def _ask(
        self,
        prompt: list[int],
        sampling: Sampling,
        seed: int,
        options: list[int],
        prefix: str = "",
    ) -> Any:
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(Request(prompt, sampling, seed, options, answer, prefix))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        """Take all waiting requests, serve them in batches of similar length, and look again."""
        while True:
            # Requests that are started together join the first batch.
            await asyncio.sleep(LINGER_SECONDS)
            waiting = [request for request in self._waiting if not request.answer.done()]
            self._waiting = []
            if not waiting:
                return
            try:
                limit = self.renderer.limit
                for batch in batches(waiting, limit, self.max_batch, self.max_batch_tokens):
                    await self._serve(batch)
            except BaseException as error:
                fail(waiting, error)
                if not isinstance(error, Exception):
                    raise

    async def _serve(self, batch: list[Request]) -> None:
        """Serve a batch; where a GPU's memory does not hold it, its halves."""
        try:
            results = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._answer, batch
            )
        except Exception as error:  # the other batches may still succeed
            if len(batch) > 1 and is_out_of_memory(error):
                half = len(batch) // 2
                await self._serve(batch[:half])
                await self._serve(batch[half:])
                return
            fail(batch, error)
            return
        for request, result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                fail([request], result)
            elif not request.answer.done():
                request.answer.set_result(result)

    def _answer(self, batch: Sequence[Request]) -> list[Any]:
        if batch[0].options:
            return score(self.decoder.network, self.renderer, batch)
        return sample(self.decoder, self.renderer, batch)


def fail(requests: Sequence[Request], error: BaseException) -> None:
    """Raise `error` in all requests that still wait."""
    for request in requests:
        if request.answer.done():
            continue
        if isinstance(error, Exception):
            request.answer.set_exception(error)
        else:
            request.answer.set_exception(asyncio.CancelledError())


def batches(
    requests: Sequence[Request], limit: int, max_batch: int, max_tokens: int
) -> list[list[Request]]:
    """Split by kind and length, longest first, so that running out of memory shows early.

    Args:
        requests: in any order.
        limit: the model's context in tokens.
        max_batch: requests in a batch.
        max_tokens: padded tokens in a batch.
    """

    def length(request: Request) -> int:
        return min(len(request.prompt) + request.sampling.max_tokens, limit)

    def rank(request: Request) -> tuple[bool, int, int]:
        return bool(request.options), length(request), len(request.prompt)

    groups: list[list[Request]] = []
    for request in sorted(requests, key=rank, reverse=True):
        if groups:
            last = groups[-1]
            same_kind = bool(last[0].options) == bool(request.options)
            has_room = len(last) < max_batch
            fits = (len(last) + 1) * length(last[0]) <= max_tokens
            if same_kind and has_room and fits:
                last.append(request)
                continue
        groups.append([request])
    return groups
