"""HTTP to OpenAI-compatible endpoints: send a request, read the answer, classify failures.

no connection, no answer in time, 408, 425, 429, 5xx    the endpoint's trouble: see `endpoints`
401, 403, 404, ...                                      no row can be answered: UserError
400, 413, 422, ..., an answer in an unexpected form     the row's trouble: CallFailed
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from stages.generators.servers.answers import (
    FILTERED,
    MODEL_REFUSED,
    NoLogprobs,
    Refused,
    Unreadable,
    is_filter,
)
from stages.generators.servers.endpoints import Endpoint, Failed, Pool
from stages.generators.servers.http import Http, is_success, read_body, retry_after
from stages.generators.servers.options import Options
from stages.guards.errors import UserError
from stages.guards.secrets import environment_keys, mask, mask_known
from stages.guards.text import replace_surrogates
from stages.runtime.generation import CallFailed, TooLong

T = TypeVar("T")

CHAT = "chat/completions"
TOKENIZE = "../tokenize"  # vLLM's own, outside /v1
TOO_LONG = re.compile(
    r"context.(length|size|window)|maximum.context|maximum model length|max_model_len"
    r"|(prompt|input)s?( is| are)? too (long|large)|reduce the length|too many (input )?tokens",
    re.I,
)
TOO_LARGE = re.compile("request too large", re.I)  # for a limit of tokens a minute, forever
CHECK_KEY = "check the key in the environment variable that generator.options.api_key_env names"
FIXES = {
    401: CHECK_KEY,
    403: CHECK_KEY,
    404: "check generator.options: `endpoints` end in /v1, and `model` is the server's name for it "
    "(GET /v1/models lists them)",
}
FIX_USELESS = (
    "look at the server's words: a field that it refuses, or an address that is not an "
    "OpenAI-compatible /v1; for servers other than vLLM's set generator.options.extensions=false"
)
FIX_NO_LOGPROBS = (
    "judge with a model that reports them (`logprobs`, `top_logprobs`) over this server or another "
    "one: judge=server judge.path=...; or on this machine: judge=hub judge.path=owner/name; a "
    "server that reports fewer than 20: 'generator.options.extra={top_logprobs: 5}'"
)
REFUSALS = {400, 409, 413, 415, 422, 424, 451}  # of this request, not of every one
UNEXPECTED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What reading an answer of another form raises."""
UNREADABLE = "the server's answer cannot be read"
READ_ATTEMPTS = 3  # for an answer in an unexpected form
MOST_USELESS = 20  # answers after which a server without a single useful one is given up
MOST_WITHOUT_LOGPROBS = 4  # the same where they lack log-probabilities; more than READ_ATTEMPTS
MOST_WORDS = 300  # characters of a server's words in a message
MOST_MASKED = 2**16  # characters that are searched for secrets before they are cut
NO_CONTEXT_ERRORS = {401, 403, 404, 408, 425, 429}
PROBE_SECONDS = 60.0
CONNECT_SECONDS = 5.0
NO_SERVER = {502, 503, 504}
"""What a gateway answers for a server that is not there, or not yet."""


class Client:
    """Connections to all endpoints.

    Args:
        options: the endpoints, and the limits of requests and retries.
        key: sent as a bearer token if not empty, and masked in what servers say
            (`secrets.remember_secret`).
        probe: a short request that a working server answers.
    """

    def __init__(self, options: Options, key: str, probe: dict[str, Any]):
        self.pool = Pool(
            [Endpoint(base) for base in options.endpoints],
            options.concurrency,
            options.max_retries,
            options.backoff,
            self._probe,
            options.timeout,
        )
        self._probe_body = probe
        self._timeout = options.timeout
        self._probe_seconds = min(PROBE_SECONDS, options.timeout)
        self._answered: set[Callable[[Any], Any]] = set()
        self._useless_answers: Counter[Callable[[Any], Any]] = Counter()
        self._useless: dict[Callable[[Any], Any], UserError] = {}
        self._examining = asyncio.Lock()
        self._http = open_http(key, options)
        self._keys = environment_keys()

    async def ask(self, path: str, body: dict[str, Any], read: Callable[[Any], T]) -> T:
        """Send a request until an endpoint answers it.

        Args:
            path: relative to an endpoint's address; `../` leaves its `/v1`.
            body: sent as JSON.
            read: extracts the result from the answer's JSON.

        Raises:
            UserError: the servers refuse every request, or none answers.
            TooLong: the prompt does not fit into the model's context.
            CallFailed: this request is refused, or no answer to it can be read.
        """
        unread: set[str] = set()

        async def post(endpoint: Endpoint) -> T:
            try:
                return await self._post(endpoint, path, body, read)
            except Unreadable:
                unread.add(endpoint.base)  # another one may be in order
                raise

        attempts = max(READ_ATTEMPTS, len(self.pool.endpoints))
        for attempt in range(1, attempts + 1):
            try:
                answer = await self.pool.run(post, unread)
            except Refused as refusal:
                failure = CallFailed(refusal.reason, self.shorten(refusal.words))
                if refusal.reason not in (FILTERED, MODEL_REFUSED):  # else the server works
                    lacks_logprobs = "logprobs" in body and "logprobs" in failure.detail.lower()
                    await self._count_useless(path, body, read, failure, lacks_logprobs)
                raise failure from None
            except Unreadable as error:
                failure = CallFailed(UNREADABLE, str(error))
                lacks_logprobs = isinstance(error, NoLogprobs)
                await self._count_useless(path, body, read, failure, lacks_logprobs)
                if attempt == attempts:
                    raise failure from None
            else:
                self._answered.add(read)
                return answer
        raise AssertionError("the last attempt returns or raises")

    def get(self, base: str, path: str) -> AbstractAsyncContextManager[Any]:
        """Get a path of an endpoint; see `Http.get`."""
        return self._http.get(base, path)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _count_useless(
        self,
        path: str,
        body: dict[str, Any],
        read: Callable[[Any], Any],
        failure: CallFailed,
        lacks_logprobs: bool,
    ) -> None:
        """Count an answer of no use; stop where calls of this kind never bring another.

        A refusal comes sooner than an answer, so a harmless question decides.
        """
        self._useless_answers[read] += 1
        most = MOST_WITHOUT_LOGPROBS if lacks_logprobs else MOST_USELESS
        if self._useless_answers[read] < most:
            return
        async with self._examining:
            if read in self._useless:
                raise self._useless[read]
            if read in self._answered or await self._reads_harmless(path, body, read):
                self._answered.add(read)
                return
        what = f"none of {MOST_USELESS} answers can be used, the last one: {failure}"
        fix = FIX_USELESS
        if lacks_logprobs:
            what = f"the server reports no log-probabilities, which a judge is read by: {failure}"
            fix = FIX_NO_LOGPROBS
        self._useless[read] = UserError(what, where=self.pool.names(), fix=fix)
        raise self._useless[read]

    async def _reads_harmless(
        self, path: str, body: dict[str, Any], read: Callable[[Any], Any]
    ) -> bool:
        """Whether an endpoint gives a useful answer to the same call with a harmless question."""
        question = body | {name: self._probe_body[name] for name in ("messages",) if name in body}
        for endpoint in self.pool.endpoints:
            try:
                await self._post(endpoint, path, question, read, self._probe_seconds)
            except (Failed, Unreadable, Refused, TooLong):
                continue
            return True
        return False

    async def connect(self, endpoint: Endpoint) -> None:
        """Raise `Failed` where nobody answers at an address; no token is spent."""
        import aiohttp

        try:
            async with (
                asyncio.timeout(CONNECT_SECONDS),
                self._http.get(endpoint.base, "models") as response,
            ):
                if response.status in NO_SERVER:
                    raise Failed(f"HTTP {response.status}")
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
            raise Failed(self._reason(error)) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise Failed(self._reason(error)) from error
        except (aiohttp.ClientError, TimeoutError):  # it is busy, or has no list of models
            pass

    async def _probe(self, endpoint: Endpoint) -> None:
        """Ask something harmless; raises `Failed` where the endpoint does not answer at all."""
        await self._send(endpoint, CHAT, self._probe_body, self._probe_seconds)

    async def _post(
        self,
        endpoint: Endpoint,
        path: str,
        body: dict[str, Any],
        read: Callable[[Any], T],
        seconds: float = 0.0,
    ) -> T:
        """Make one attempt; raises `Failed` where the endpoint is in trouble."""
        if read in self._useless:
            raise self._useless[read]
        raw = await self._send(endpoint, path, body, seconds or self._timeout)
        # A server may repeat the key that it got: it is data from here on.
        text = mask_known(raw.decode("utf-8-sig", errors="replace"), self._keys)
        try:
            raw.decode()
            answer = json.loads(text)
            if "\\u" in text:  # else there is no half of a character
                answer = replace_surrogates(answer)
            if isinstance(answer, dict) and TOO_LONG.search(str(answer.get("error"))):
                raise TooLong(None, None, self.shorten(text))
            return read(answer)
        except Unreadable as error:
            raise type(error)(self._words(f"{error}:", text, endpoint)) from None
        except UNEXPECTED as error:
            words = self._words(f"{type(error).__name__},", text, endpoint)
            raise Unreadable(words) from error

    async def _send(
        self, endpoint: Endpoint, path: str, body: dict[str, Any], seconds: float
    ) -> bytes:
        """Return the body of an answer whose status means success.

        Raises:
            Failed, Unreadable, Refused, TooLong, UserError: there is none.
        """
        import aiohttp

        unreached = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
        try:
            async with (
                asyncio.timeout(seconds),
                self._http.post(endpoint.base, path, encode(body)) as reply,
            ):
                raw = await read_body(reply)
        except unreached as error:
            raise Failed(self._reason(error), blameless=True) from error
        except TimeoutError:  # the whole call: a byte a second never ends
            raise Failed(f"no answer within {seconds:g} seconds") from None
        except aiohttp.ClientError as error:
            raise Failed(self._reason(error)) from error
        if not is_success(reply):
            raise self._as_error(endpoint, path, reply, raw.decode(errors="replace"))
        return raw

    def _as_error(self, endpoint: Endpoint, path: str, response: Any, text: str) -> Exception:
        status = response.status
        message = f"HTTP {status}: {self.shorten(text)}"
        if status in (*REFUSALS, 403) and is_filter(text, only_codes=status == 403):
            return Refused(FILTERED, message)
        if status >= 400 and status not in NO_CONTEXT_ERRORS and TOO_LONG.search(text):
            return TooLong(None, None, message)
        if status in REFUSALS or (status == 429 and TOO_LARGE.search(text)):
            return Refused(f"refused by the server (HTTP {status})", message)
        if status in (408, 425, 429) or status >= 500:
            return Failed(message, pause=retry_after(response), blameless=status == 429)
        fix = FIXES.get(status, "look at the server's message")
        if 300 <= status < 400 and "Location" in response.headers:
            target = self.shorten(response.headers["Location"])
            message = f"{message.rstrip(': ')}: it sends requests on to {target}"
            fix = "give the address where the server itself answers in generator.options.endpoints"
        if status == 404 and path == TOKENIZE:
            fix = "set generator.options.extensions=false: only vLLM's servers have /tokenize"
        return UserError(message, where=endpoint.base, fix=fix)

    def _reason(self, error: Exception) -> str:
        return self.shorten(f"{type(error).__name__}: {error}".rstrip(": "))

    def _words(self, fault: str, text: str, endpoint: Endpoint) -> str:
        """Return what is wrong with an answer, and the answer; of several endpoints also which."""
        words = f"{self.shorten(fault)} {self.shorten(text) or 'an empty body'}"
        return f"{words} ({endpoint.base})" if len(self.pool.endpoints) > 1 else words

    @staticmethod
    def shorten(text: str) -> str:
        """Return the start of a text on one line, without secrets and control characters."""
        masked = mask(text[:MOST_MASKED])
        if len(text) > MOST_MASKED:  # its end may be half of a secret
            masked = masked[: MOST_MASKED // 4]
        words = "".join(letter if letter.isprintable() else " " for letter in masked).split()
        line = " ".join(words)
        return line if len(line) <= MOST_WORDS else f"{line[:MOST_WORDS]}..."


def encode(body: dict[str, Any]) -> bytes:
    """Return JSON; halves of characters are replaced."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return str(replace_surrogates(text)).encode()


def open_http(key: str, options: Options) -> Http:
    """Return the connections to all endpoints.

    Raises:
        UserError: the environment names a proxy or certificates that cannot be used.
    """
    try:
        return Http(key, options.timeout, options.endpoints, options.direct)
    except Exception as error:  # of ssl, of a proxy's address
        raise UserError(
            f"connections to servers cannot be set up: {Client.shorten(str(error))}",
            where="generator.options.endpoints",
            fix="look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE in the environment",
        ) from None
