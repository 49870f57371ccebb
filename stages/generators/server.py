"""OpenAI-compatible endpoints, several at once: how Credo leaves one machine.

A request goes to the endpoint with the fewest requests in flight. One that fails is left alone for
a while, longer each time, and its requests move on to the others at once; then a single request
tries it again. With vLLM's servers (`extensions`, the default) options are scored by token id;
plain OpenAI servers are read by their top 20 tokens.
"""

import asyncio
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from stages.generators import Completion, Generator, Message, Sampling, TooLong
from stages.generators import open_generator as generator_called
from stages.generators.endpoints import Endpoint, Failed, Pool
from stages.generators.rendering import PROBE, normalised
from stages.generators.settings import Count, read_options
from stages.runtime.errors import UserError
from stages.runtime.models import Model

TOP_LOGPROBS = 20  # the most the OpenAI protocol grants
TOO_LONG = re.compile(
    r"context.length|maximum.context|context_length_exceeded|maximum model length|max_model_len",
    re.I,
)
MENDS = {
    401: "check the key in the environment variable that generator.options.api_key_env names",
    403: "check the key in the environment variable that generator.options.api_key_env names",
    404: "check generator.options: `endpoints` end in /v1, and `model` is the server's name for it (GET /v1/models lists them)",
}


def address(text: str) -> str:
    """An endpoint as the user wrote it, without a trailing slash and with `/v1` where no path is
    given.
    """
    import httpx

    if "@" in text:  # not shown: what stands before it may be a secret
        raise UserError(
            "an address holds a user name or a key before its '@'",
            where="generator.options.endpoints",
            fix="write http://host:8000/v1, and name the variable that holds the key in generator.options.api_key_env",
        )
    match = re.fullmatch(r"(https?://[^/\s]+)(/\S*?)?/*", text)
    try:
        url = httpx.URL(text)
        usable = bool(match and url.host) and 0 < (url.port or 80) < 2**16
    except httpx.InvalidURL:
        usable = False
    if not match or not usable:
        raise UserError(
            f"{text!r} is not an address",
            where="generator.options.endpoints",
            fix="write http://host:8000/v1",
        )
    return match[1] + (match[2] or "/v1")


@dataclass(frozen=True)
class Local:
    """A generator of this process."""

    name: str = "vllm"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """Where to send what.

    Attributes:
        endpoints: base addresses such as http://node1:8000/v1, all serving the same model.
        serves: that model's path. Any other model, such as a policy that the run has trained, is
            sampled by `local`;
            empty: every model is asked for at the endpoints.
        model: the name the servers know it by; empty means the model's path, as `vllm serve <path>`
            does.
        local: the generator, `{name, options}`, for the models that the servers do not hold.
        api_key_env: name of the environment variable that holds the key; empty sends none.
        timeout: seconds an answer may take.
        max_retries: further attempts for one request, and failures in a row before an endpoint
            counts as dead.
        concurrency: requests in flight at each endpoint.
        backoff: seconds before a failed endpoint is tried again, doubled with each failure in a
            row, 30 at most.
        extensions: the servers are vLLM's and take its further fields.
        template_arguments: variables for the chat template, such as `enable_thinking: false`.
        extra: further fields for every request.
    """

    endpoints: list[Annotated[str, AfterValidator(address)]] = field(default_factory=list)
    serves: str = ""
    model: str = ""
    local: Local = Local()
    api_key_env: str = ""
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 600.0
    max_retries: Annotated[int, Field(ge=0)] = 5
    concurrency: Count = 64
    backoff: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    extensions: bool = True
    template_arguments: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


async def open_generator(model: Model, options: dict[str, Any]) -> Generator:
    """Set up the connections; nothing is sent yet, so an endpoint may come up later.

    Raises:
        UserError: no endpoint, an address that is none, or the key's environment variable is empty.
    """
    settings = read_options(Options, options, "server")
    if not settings.endpoints:
        raise UserError(
            "no list of endpoints is given",
            where="generator.options.endpoints",
            fix="set generator.options.endpoints=[http://host:8000/v1]",
        )
    if settings.serves and model.path not in (
        settings.serves,
        str(Path(settings.serves).expanduser()),
    ):
        return await _open_local(model, settings)
    key = ""
    if settings.api_key_env:
        key = os.environ.get(settings.api_key_env, "")
        if not key:
            raise UserError(
                f"the environment variable {settings.api_key_env} is empty",
                where="generator.options.api_key_env",
                fix=f"export {settings.api_key_env}=... before you start",
            )
    return ServerGenerator(settings, settings.model or model.path, key)


async def _open_local(model: Model, settings: Options) -> Generator:
    name, options = settings.local.name, settings.local.options
    if name == "server":
        raise UserError(
            f"{name!r} is no generator of this process",
            where="generator.options.local",
            fix="write {name: vllm, options: {}} or {name: transformers, options: {}}",
        )
    return await generator_called(
        name, model, {"template_arguments": settings.template_arguments} | options
    )


class ServerGenerator:
    """Clients of all endpoints."""

    def __init__(self, options: Options, model: str, key: str):
        import httpx

        self.options, self.model, self._key = options, model, key
        self.pool = Pool(
            [Endpoint(base) for base in options.endpoints],
            options.concurrency,
            options.max_retries,
            options.backoff,
        )
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(options.timeout, connect=min(10.0, options.timeout))
        self.client = httpx.AsyncClient(
            headers=headers,
            timeout=timeout,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )
        self._option_ids: dict[tuple[str, ...], asyncio.Task[list[int]]] = {}

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, seed: int
    ) -> Completion:
        """See `Generator.complete`."""
        body = self._body(messages, sampling.max_tokens) | {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed % 2**63,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if (
            self.options.extensions
        ):  # or the server would add its model's own habits (generation_config.json)
            body = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0} | body
        return await self._ask("chat/completions", body, read_completion)

    async def choose(self, messages: Sequence[Message], options: Sequence[str]) -> list[float]:
        """See `Generator.choose`.

        Raises:
            UserError: as there; or a server without vLLM's extensions leaves an option out of its
            top tokens.
        """
        body = self._body(messages, 1) | {
            "temperature": 0.0,
            "logprobs": True,
            "top_logprobs": TOP_LOGPROBS,
        }
        names = list(options)
        if len(set(names)) < len(names):
            raise UserError(
                f"the options {names} repeat themselves",
                where="choose",
                fix="give each option once",
            )
        if self.options.extensions:
            ids = await self._ids(tuple(options))
            names = [f"token_id:{number}" for number in ids]
            body |= {
                "allowed_token_ids": ids,
                "logprob_token_ids": ids,
                "return_tokens_as_token_ids": True,
            }
        found = await self._ask("chat/completions", body, read_first_token)
        if (
            self.options.extensions
        ):  # servers older than `logprob_token_ids` tell the top tokens, and always the written one
            for name, number in zip(names, ids, strict=True):
                if name not in found:
                    only = {"allowed_token_ids": [number], "logprob_token_ids": [number]}
                    found |= await self._ask("chat/completions", body | only, read_first_token)
        missing = [option for option, name in zip(options, names, strict=True) if name not in found]
        if missing:
            raise UserError(
                f"the server gives no log-probability for {missing}; its first tokens are {list(found)[:5]}",
                where=self.pool.names(),
                fix="use a judge that answers with the bare option, or a vLLM server with generator.options.extensions=true",
            )
        return normalised([found[name] for name in names])

    async def close(self) -> None:
        """Close the connections; the servers are the user's."""
        await self.client.aclose()

    def _body(self, messages: Sequence[Message], max_tokens: int) -> dict[str, Any]:
        body = {"model": self.model, "messages": list(messages), "max_tokens": max_tokens, "n": 1}
        return body | self._template_arguments() | self.options.extra

    def _template_arguments(self) -> dict[str, Any]:
        given = self.options.template_arguments
        return {"chat_template_kwargs": given} if given else {}

    async def _ids(self, options: tuple[str, ...]) -> list[int]:
        if (
            options not in self._option_ids
        ):  # a task, so that the first thousand judgements ask once together
            self._option_ids[options] = asyncio.create_task(self._tokenize_options(options))
        try:
            return await asyncio.shield(self._option_ids[options])
        except Exception:
            self._option_ids.pop(options, None)
            raise

    async def _tokenize_options(self, options: tuple[str, ...]) -> list[int]:
        """vLLM's /tokenize, outside /v1: each option alone and at the head of an assistant's turn."""
        shared = {"model": self.model} | self._template_arguments()
        before = await self._ask(
            "../tokenize",
            shared | {"messages": list(PROBE), "add_generation_prompt": True},
            read_tokens,
        )
        ids: list[int] = []
        for option in options:
            alone = {"model": self.model, "prompt": option, "add_special_tokens": False}
            bare = await self._ask("../tokenize", alone, read_tokens)
            turn = await self._ask(
                "../tokenize",
                shared
                | {
                    "messages": [*PROBE, {"role": "assistant", "content": option}],
                    "add_generation_prompt": False,
                    "continue_final_message": True,
                },
                read_tokens,
            )
            # A template may open the turn differently when asked to write (a thinking block): then
            # the bare token stands.
            token = turn[len(before) :] if turn[: len(before)] == before else bare
            if len(bare) != 1 or len(token) != 1:
                raise UserError(
                    f"option {option!r} is not one token of this model's vocabulary",
                    where="choose",
                    fix="use options of one token, such as A and B; the tokenizer's vocabulary decides",
                )
            ids += token
        if len(set(ids)) < len(ids):
            raise UserError(
                f"two of the options {list(options)} are the same token",
                where="choose",
                fix="use options that differ in their first token",
            )
        return ids

    async def _ask(self, path: str, body: dict[str, Any], read: Any) -> Any:
        return await self.pool.run(lambda endpoint: self._post(endpoint, path, body, read))

    async def _post(self, endpoint: Endpoint, path: str, body: dict[str, Any], read: Any) -> Any:
        """One attempt. Raises `Failed` for what another attempt may heal."""
        import httpx

        url = (
            endpoint.base.removesuffix("/v1") + path[2:]
            if path.startswith("../")
            else f"{endpoint.base}/{path}"
        )
        try:
            response = await self.client.post(url, json=body)
        except httpx.RequestError as error:  # no connection, or a body that its own headers belie
            unreached = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise Failed(
                f"{type(error).__name__}: {error}".rstrip(": "), blameless=unreached
            ) from error
        if response.status_code == 200:
            try:
                return read(response.json())
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise Failed(
                    f"an answer that cannot be read ({error!r}): {self._clean(response.text)}"
                ) from error
        words = self._clean(response.text)
        if response.status_code in (400, 413, 422) and TOO_LONG.search(response.text):
            raise TooLong(None, None)
        if response.status_code in (408, 425, 429) or response.status_code >= 500:
            raise Failed(
                f"HTTP {response.status_code}: {words}",
                retry_after(response),
                response.status_code == 429,
            )
        raise UserError(
            f"HTTP {response.status_code}: {words}",
            where=endpoint.base,
            fix=MENDS.get(
                response.status_code, "the server refuses the request; its words tell which field"
            ),
        )

    def _clean(self, text: str) -> str:
        text = " ".join(text.split())[:300]
        return text.replace(self._key, "***") if self._key else text


def retry_after(response: Any) -> float:
    """Seconds of a Retry-After header, 0 without one or where it holds a date."""
    try:
        return max(0.0, float(response.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0


def read_completion(answer: Any) -> Completion:
    """A chat completion. Reasons other than a full length count as a stop."""
    choice, usage = answer["choices"][0], answer["usage"]
    reason = "length" if choice["finish_reason"] == "length" else "stop"
    text = str(choice["message"]["content"] or "")
    return Completion(text, reason, int(usage["prompt_tokens"]), int(usage["completion_tokens"]))


def read_first_token(answer: Any) -> dict[str, float]:
    """Log-probability (nats) of the first token and of its rivals, by the text the server gives."""
    first = answer["choices"][0]["logprobs"]["content"][0]
    return {entry["token"]: float(entry["logprob"]) for entry in [*first["top_logprobs"], first]}


def read_tokens(answer: Any) -> list[int]:
    """Token ids of vLLM's /tokenize."""
    return [int(token) for token in answer["tokens"]]
