"""OpenAI-compatible endpoints, several at once: how Credo uses more than one machine.

A request goes to the endpoint with the fewest requests in flight, or to the one that has the others
whose prompts begin alike (`Pool`). One that fails gets no requests for a while, longer each time,
and its requests go to the others at once; then a single request tries it again. With vLLM's servers
(`extensions`, the default) options are scored by token id; plain OpenAI servers are read by their
top 20 tokens.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.generators.chat import merge_system
from stages.generators.examination import PROBE
from stages.generators.rendering import (
    add_up,
    are_single,
    log_sum,
    normalise,
    not_single,
    options_to_try,
    refuse_repeated,
)
from stages.generators.servers.answers import (
    FirstToken,
    read_completion,
    read_first_token,
    read_tokens,
)
from stages.generators.servers.client import CHAT, TOKENIZE, Client
from stages.generators.servers.endpoints import LONGEST_PAUSE
from stages.generators.servers.options import Options, read_key
from stages.guards.errors import UserError
from stages.runtime import generator_registry
from stages.runtime.generation import (
    Choice,
    Completion,
    Generator,
    RowFailure,
    Sampling,
)
from stages.runtime.models import Model
from stages.runtime.rows import Message
from stages.runtime.typed_config import parse_config

TOP_LOGPROBS = 20  # the most that the OpenAI protocol allows
SPACES = " \t\n\r\u2581\u0120\u010a"  # a token's, as servers and tokenizers write them
SUM_ERROR = 1e-4  # of the sum of 20 rounded probabilities
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
    if not _serves(parsed, model.path):
        return await _open_local(model, parsed)
    return ServerGenerator(parsed, parsed.model or model.path, read_key(parsed.api_key_env))


def is_remote(path: str, options: Mapping[str, Any]) -> bool:
    """Return whether the endpoints hold the model of this path; else `local` loads it."""
    return _serves(parse_config(Options, options, "generator.options of server"), path)


def _serves(options: Options, path: str) -> bool:
    served = (options.serves, str(Path(options.serves).expanduser()))
    return not options.serves or path in served


async def refuse_unreached(options: Mapping[str, Any], patient: bool) -> None:
    """Refuse endpoints of which none answers a connection; no model is asked anything.

    Args:
        patient: try again with the pauses of a call that fails.

    Raises:
        UserError: none answers, or the key's environment variable is empty.
    """
    parsed: Options = parse_config(Options, options, "generator.options of server")
    attempts = parsed.max_retries + 1 if patient else 1
    client = Client(parsed, read_key(parsed.api_key_env), {})
    try:
        for attempt in range(1, attempts + 1):
            try:
                return await client.pool.look_for_life(client.connect)
            except UserError:
                if attempt == attempts:
                    raise
                await asyncio.sleep(min(LONGEST_PAUSE, parsed.backoff * 2 ** (attempt - 1)))
    finally:
        await client.close()


async def _open_local(model: Model, options: Options) -> Generator:
    local = options.local
    if local.name == "server":
        raise UserError(
            f"{local.name!r} is not a generator of this process",
            where="generator.options.local",
            fix="write {name: vllm, options: {}} or {name: transformers, options: {}}",
        )
    shared = {
        "template_arguments": options.template_arguments,
        "merge_system": options.merge_system,
        "thought_marks": options.thought_marks,
    }
    local_options = shared | local.options
    return await generator_registry.open_generator(local.name, model, local_options)


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
        self.client = Client(options, key, self._body(PROBE, 1))
        self._option_ids: dict[tuple[str, ...], asyncio.Task[list[int]]] = {}

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int, prefix: str = ""
    ) -> Completion:
        """See `Generator.complete`; it takes no prefix, as stages learn in advance."""
        if prefix:
            raise NotImplementedError
        body: dict[str, Any] = dict(NEUTRAL_SAMPLING) if self.options.extensions else {}
        body |= self._body(messages, sampling.max_tokens)
        body |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": seed % 2**63}
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        return await self.client.ask(CHAT, body, read_completion)

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> Choice:
        """See `Generator.choose`.

        A server without vLLM's extensions reports its likeliest tokens only. An option is then the
        sum of the tokens that spell it, with or without spaces around it (" A"), but not in another
        case ("a" is a word of its own).

        Raises:
            UserError: as there; or an option stands there twice.
            RowFailure: no option is among the tokens that the server reports.
        """
        texts = [option.strip(SPACES) for option in options]
        refuse_repeated(texts)
        body: dict[str, Any] = {"top_logprobs": TOP_LOGPROBS}  # `extra` may ask for fewer
        body |= self._body(messages, 1) | {"temperature": 0.0, "logprobs": True}
        if self.options.extensions:
            ids = await self._look_up_ids(tuple(options))
            first = await self._score_ids(body, ids)
            names = [_name_of(token) for token in ids]
            return read_options(first, names, is_ranked=False)
        first = await self.client.ask(CHAT, body, read_first_token)
        try:
            return read_options(first, texts, is_ranked=True)
        except RowFailure as failure:
            raise RowFailure(failure.reason, self.client.shorten(failure.detail)) from None

    async def close(self) -> None:
        """Close the connections; the servers are the user's."""
        await self.client.close()

    def _body(self, messages: Sequence[Message], max_tokens: int) -> dict[str, Any]:
        arranged = merge_system(messages) if self.options.merge_system else list(messages)
        body = {"model": self.model, "messages": arranged, "max_tokens": max_tokens, "n": 1}
        return body | self._template_arguments() | self.options.extra

    def _template_arguments(self) -> dict[str, Any]:
        arguments = self.options.template_arguments
        return {"chat_template_kwargs": arguments} if arguments else {}

    async def _score_ids(self, body: dict[str, Any], ids: list[int]) -> FirstToken:
        """Return what a vLLM server reports of these tokens, by their names."""
        body = body | _restrict_to(ids) | {"return_tokens_as_token_ids": True}
        first: FirstToken = await self.client.ask(CHAT, body, read_first_token)
        for token in ids:
            # Servers older than `logprob_token_ids` report only the top tokens, but always the one
            # that they wrote.
            if _name_of(token) not in first.logprobs:
                alone = body | _restrict_to([token])
                first |= await self.client.ask(CHAT, alone, read_first_token)
        return first

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


def read_options(first: FirstToken, options: Sequence[str], is_ranked: bool) -> Choice:
    """Read the options off the tokens that a server reports.

    The probability of a token that is not reported is at most that of the least likely one that is,
    and at most what all of them leave; several options that are not reported share that. So the
    margin of two options is at least the difference to this bound.

    Args:
        first: what the server reports of the first token, by its names.
        options: the names of the options.
        is_ranked: the server reports its likeliest tokens, by their text.

    Raises:
        RowFailure: none of the options is reported.
    """
    tokens = first.logprobs
    values: list[float | None] = []
    for option in options:
        spellings = [
            value
            for token, value in tokens.items()
            if token == option or (is_ranked and token.strip(SPACES) == option)
        ]
        values.append(log_sum(spellings) if spellings else None)
    reported = [value for value in values if value is not None]
    likeliest = max(tokens, key=tokens.__getitem__)
    instead = "" if likeliest.strip(SPACES) in options or not is_ranked else likeliest
    if not reported:
        ranked = sorted(tokens, key=tokens.__getitem__, reverse=True)
        raise RowFailure(
            f"{'neither' if len(options) == 2 else 'no'} option among the likeliest tokens",
            f"the server's {len(tokens)} likeliest: {', '.join(map(repr, ranked))}",
        )
    missing = len(values) - len(reported)
    rest = max(1 - add_up(list(tokens.values())), SUM_ERROR)
    bound = math.log(rest / max(missing, 1))  # together they have at most what is left
    if is_ranked:
        bound = min(bound, *tokens.values())
    unknown = missing * math.exp(bound)
    known = add_up(reported)
    return Choice(
        logprobs=normalise([bound if value is None else value for value in values]),
        mass=known,
        bounded=missing > 0,
        unknown=unknown / (known + unknown) if unknown else 0.0,
        instead=instead,
        prompt_tokens=first.prompt_tokens,
        cached_tokens=first.cached_tokens,
    )


def _name_of(token: int) -> str:
    """Return what vLLM calls a token under `return_tokens_as_token_ids`."""
    return f"token_id:{token}"


def _restrict_to(ids: list[int]) -> dict[str, list[int]]:
    """Return vLLM's fields that allow only these tokens, and report the log-probability of each."""
    return {"allowed_token_ids": ids, "logprob_token_ids": ids}
