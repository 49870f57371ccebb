"""OpenAI-compatible endpoints, several at once: how Credo uses more than one machine.

A request goes to the endpoint with the fewest requests in flight. One that fails gets no requests
for a while, longer each time, and its requests go to the others at once; then a single request
tries it again. With vLLM's servers (`extensions`, the default) options are scored by token id;
plain OpenAI servers are read by their top 20 tokens.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.generators.rendering import (
    PROBE,
    are_single,
    normalise,
    not_single,
    options_to_try,
    refuse_repeated,
)
from stages.generators.server_client import Client, read_completion, read_first_token, read_tokens
from stages.generators.server_options import Options
from stages.runtime import generator_registry
from stages.runtime.errors import UserError
from stages.runtime.generation import Completion, Generator, Sampling
from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.runtime.typed_config import parse_config

TOP_LOGPROBS = 20  # the most that the OpenAI protocol allows
CHAT = "chat/completions"
TOKENIZE = "../tokenize"  # vLLM's own, outside /v1
# Otherwise vLLM's server adds its model's own defaults (generation_config.json).
NEUTRAL_SAMPLING = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


async def open_generator(model: Model, options: dict[str, Any]) -> Generator:
    """Set up the connections; nothing is sent yet, so an endpoint may come up later.

    Raises:
        UserError: there is no endpoint, an address is not valid, or the key's environment variable
            is empty.
    """
    parsed: Options = parse_config(Options, options, "generator.options of server")
    if not parsed.endpoints:
        raise UserError(
            "no list of endpoints is given",
            where="generator.options.endpoints",
            fix="set generator.options.endpoints=[http://host:8000/v1]",
        )
    served = (parsed.serves, str(Path(parsed.serves).expanduser()))
    if parsed.serves and model.path not in served:
        return await _open_local(model, parsed)
    return ServerGenerator(parsed, parsed.model or model.path, _read_key(parsed.api_key_env))


async def _open_local(model: Model, options: Options) -> Generator:
    local = options.local
    if local.name == "server":
        raise UserError(
            f"{local.name!r} is not a generator of this process",
            where="generator.options.local",
            fix="write {name: vllm, options: {}} or {name: transformers, options: {}}",
        )
    local_options = {"template_arguments": options.template_arguments} | local.options
    return await generator_registry.open_generator(local.name, model, local_options)


def _read_key(variable: str) -> str:
    if not variable:
        return ""
    key = os.environ.get(variable, "")
    if not key:
        raise UserError(
            f"the environment variable {variable} is empty",
            where="generator.options.api_key_env",
            fix=f"export {variable}=... before you start",
        )
    return key


class ServerGenerator:
    """One model behind several endpoints.

    Args:
        options: the endpoints and what to send them.
        model: the servers' name for the model.
        key: sent to the endpoints if not empty.
    """

    def __init__(self, options: Options, model: str, key: str):
        self.options = options
        self.model = model
        self.client = Client(options, key)
        self._option_ids: dict[tuple[str, ...], asyncio.Task[list[int]]] = {}

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int
    ) -> Completion:
        """See `Generator.complete`."""
        body: dict[str, Any] = dict(NEUTRAL_SAMPLING) if self.options.extensions else {}
        body |= self._body(messages, sampling.max_tokens)
        body |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": seed % 2**63}
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        return await self.client.ask(CHAT, body, read_completion)

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> list[float]:
        """See `Generator.choose`.

        Raises:
            UserError: as there; or a server without vLLM's extensions leaves an option out of its
                top tokens.
        """
        if len(set(options)) < len(options):
            raise UserError(
                f"the options {list(options)} hold an option twice",
                where="choose",
                fix="give each option once",
            )
        body = self._body(messages, 1) | {
            "temperature": 0.0,
            "logprobs": True,
            "top_logprobs": TOP_LOGPROBS,
        }
        if self.options.extensions:
            ids = await self._look_up_ids(tuple(options))
            names = [_name_of(token) for token in ids]
            logprobs = await self._score_ids(body, ids)
        else:
            names = list(options)
            logprobs = await self.client.ask(CHAT, body, read_first_token)
        missing = [
            option for option, name in zip(options, names, strict=True) if name not in logprobs
        ]
        if missing:
            raise UserError(
                f"the server gives no log-probability for {missing}; "
                f"its first tokens are {list(logprobs)[:5]}",
                where=self.client.pool.names(),
                fix="use a judge that answers with the bare option, "
                "or a vLLM server with generator.options.extensions=true",
            )
        return normalise([logprobs[name] for name in names])

    async def close(self) -> None:
        """Close the connections; the servers are the user's."""
        await self.client.close()

    def _body(self, messages: Sequence[Message], max_tokens: int) -> dict[str, Any]:
        body = {"model": self.model, "messages": list(messages), "max_tokens": max_tokens, "n": 1}
        return body | self._template_arguments() | self.options.extra

    def _template_arguments(self) -> dict[str, Any]:
        arguments = self.options.template_arguments
        return {"chat_template_kwargs": arguments} if arguments else {}

    async def _score_ids(self, body: dict[str, Any], ids: list[int]) -> dict[str, float]:
        """Return the log-probabilities (nats) that a vLLM server reports, by the tokens' names."""
        body = body | _restrict_to(ids) | {"return_tokens_as_token_ids": True}
        logprobs = await self.client.ask(CHAT, body, read_first_token)
        for token in ids:
            # Servers older than `logprob_token_ids` report only the top tokens, but always the one
            # that they wrote.
            if _name_of(token) not in logprobs:
                alone = body | _restrict_to([token])
                logprobs |= await self.client.ask(CHAT, alone, read_first_token)
        return logprobs

    async def _look_up_ids(self, options: tuple[str, ...]) -> list[int]:
        # A task, so that the first thousand judgements share one look-up.
        if options not in self._option_ids:
            self._option_ids[options] = asyncio.create_task(self._tokenize_options(options))
        try:
            return await asyncio.shield(self._option_ids[options])
        except Exception:
            self._option_ids.pop(options, None)
            raise

    async def _tokenize_options(self, options: tuple[str, ...]) -> list[int]:
        refuse_repeated(options)
        before = await self._tokenize_chat(list(PROBE), add_generation_prompt=True)
        tokens = {option: await self._tokens_of(option, before) for option in options}
        if not are_single(options, tokens):
            for option in options_to_try(options):
                tokens[option] = await self._tokens_of(option, before)
            raise not_single(options, tokens)
        return [tokens[option][0] for option in options]

    async def _tokens_of(self, option: str, before: list[int]) -> list[int]:
        """Return an option's tokens at the start of the answer to a prompt of these tokens."""
        turn = await self._tokenize_chat(
            [*PROBE, {"role": "assistant", "content": option}],
            add_generation_prompt=False,
            continue_final_message=True,
        )
        head, rest = turn[: len(before)], turn[len(before) :]
        if head == before:
            return rest
        # A template may open the turn differently when asked to write (a thinking block): then the
        # option's token on its own is used.
        body = {"model": self.model, "prompt": option, "add_special_tokens": False}
        alone: list[int] = await self.client.ask(TOKENIZE, body, read_tokens)
        return alone

    async def _tokenize_chat(self, messages: list[Message], **flags: bool) -> list[int]:
        body = {"model": self.model} | self._template_arguments() | {"messages": messages} | flags
        return await self.client.ask(TOKENIZE, body, read_tokens)


def _name_of(token: int) -> str:
    """Return what vLLM calls a token under `return_tokens_as_token_ids`."""
    return f"token_id:{token}"


def _restrict_to(ids: list[int]) -> dict[str, list[int]]:
    """Return vLLM's fields that allow only these tokens, and report the log-probability of each."""
    return {"allowed_token_ids": ids, "logprob_token_ids": ids}
