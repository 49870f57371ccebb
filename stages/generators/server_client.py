"""HTTP to OpenAI-compatible endpoints: send a request, read the answer, classify failures."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from stages.generators.endpoints import Endpoint, Failed, Pool
from stages.generators.server_options import Options
from stages.runtime.errors import UserError
from stages.runtime.generation import Completion, TooLong

T = TypeVar("T")

TOO_LONG = re.compile(
    r"context.length|maximum.context|context_length_exceeded|maximum model length|max_model_len",
    re.I,
)
CHECK_KEY = "check the key in the environment variable that generator.options.api_key_env names"
FIXES = {
    401: CHECK_KEY,
    403: CHECK_KEY,
    404: "check generator.options: `endpoints` end in /v1, and `model` is the server's name for it "
    "(GET /v1/models lists them)",
}


class Client:
    """Connections to all endpoints.

    Args:
        options: the endpoints, and the limits of requests and retries.
        key: sent as a bearer token if not empty, and never printed.
    """

    def __init__(self, options: Options, key: str):
        import httpx

        self.pool = Pool(
            [Endpoint(base) for base in options.endpoints],
            options.concurrency,
            options.max_retries,
            options.backoff,
        )
        self._key = key
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(options.timeout, connect=min(10.0, options.timeout)),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )

    async def ask(self, path: str, body: dict[str, Any], read: Callable[[Any], T]) -> T:
        """Send a request until an endpoint answers it.

        Args:
            path: relative to an endpoint's address; `../` leaves its `/v1`.
            body: sent as JSON.
            read: extracts the result from the answer's JSON.

        Raises:
            UserError: a server refuses the request, or none answers it.
            TooLong: the prompt does not fit into the model's context.
        """
        return await self.pool.run(lambda endpoint: self._post(endpoint, path, body, read))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _post(
        self, endpoint: Endpoint, path: str, body: dict[str, Any], read: Callable[[Any], T]
    ) -> T:
        """Make one attempt; raises `Failed` where another attempt may succeed."""
        import httpx

        try:
            response = await self._http.post(url_of(endpoint, path), json=body)
        except httpx.RequestError as error:  # no connection, or a body that contradicts its headers
            unreached = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            raise Failed(reason, blameless=unreached) from error
        if response.status_code != 200:
            raise self._as_error(endpoint, response)
        try:
            return read(response.json())
        except (ValueError, KeyError, IndexError, TypeError) as error:
            text = self._shorten(response.text)
            raise Failed(f"an answer that cannot be read ({error!r}): {text}") from error

    def _as_error(self, endpoint: Endpoint, response: Any) -> Exception:
        status = response.status_code
        message = f"HTTP {status}: {self._shorten(response.text)}"
        if status in (400, 413, 422) and TOO_LONG.search(response.text):
            return TooLong(None, None)
        if status in (408, 425, 429) or status >= 500:
            return Failed(message, pause=retry_after(response), blameless=status == 429)
        fix = FIXES.get(status, "look at the server's message: it names the field that it refuses")
        return UserError(message, where=endpoint.base, fix=fix)

    def _shorten(self, text: str) -> str:
        """Return the start of a text on one line, without the key."""
        text = " ".join(text.split())[:300]
        return text.replace(self._key, "***") if self._key else text


def url_of(endpoint: Endpoint, path: str) -> str:
    """Return the address of a path; `../` leaves the endpoint's `/v1`."""
    if path.startswith("../"):
        return endpoint.base.removesuffix("/v1") + path[2:]
    return f"{endpoint.base}/{path}"


def retry_after(response: Any) -> float:
    """Return the seconds of a Retry-After header, 0 without one or where it holds a date."""
    try:
        return max(0.0, float(response.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0


def read_completion(answer: Any) -> Completion:
    """Read a chat completion. Reasons other than a full length count as a stop."""
    choice = answer["choices"][0]
    usage = answer["usage"]
    return Completion(
        text=str(choice["message"]["content"] or ""),
        finish_reason="length" if choice["finish_reason"] == "length" else "stop",
        prompt_tokens=int(usage["prompt_tokens"]),
        completion_tokens=int(usage["completion_tokens"]),
    )


def read_first_token(answer: Any) -> dict[str, float]:
    """Read the log-probability (nats) of the first token and its rivals, by the server's text."""
    first = answer["choices"][0]["logprobs"]["content"][0]
    entries = [*first["top_logprobs"], first]
    return {entry["token"]: float(entry["logprob"]) for entry in entries}


def read_tokens(answer: Any) -> list[int]:
    """Read the token ids of vLLM's /tokenize."""
    return [int(token) for token in answer["tokens"]]
