"""Servers that misbehave: more than a hundred ways, drawn at random, behind a loopback address."""

import asyncio
import contextlib
import gzip
import json
import random
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache

from tests.generators.stub import reply, top

Handler = Callable[[dict, asyncio.StreamWriter], Awaitable[None]]
KEY = "plain-key-41"
"""What tests send as a key."""
ENDLESS = 400
"""Pieces of what "never" ends: at 0.05 seconds each, twice as long as a test waits."""


@dataclass(frozen=True)
class Misbehaviour:
    """One way to answer badly.

    Attributes:
        handler: gets the request (`path`, `head`, `body`) and writes to the connection.
        texts: what a client may take for an answer; () where no answer is one.
    """

    name: str
    handler: Handler
    texts: tuple[str, ...] = ()


class Server:
    """A loopback server; requests that hold `word` meet the misbehaviour, others `otherwise`."""

    def __init__(self, misbehaviour, otherwise=None, word=""):
        self.misbehaviour = misbehaviour
        self.otherwise = otherwise or misbehaviour
        self.word = word
        self.requests = 0
        self.tasks = set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in self.tasks:
            task.cancel()

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                size = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                body = json.loads(await reader.readexactly(size))
                self.requests += 1
                request = {"path": head.split()[1], "head": head, "body": body}
                meets = self.word in json.dumps(body.get("messages", ""))
                one = self.misbehaviour if meets else self.otherwise
                await one.handler(request, writer)
                await writer.drain()
                if writer.is_closing():
                    break
        writer.close()


def sends(status, payload=b"", headers=(), length=True):
    """A handler that sends one answer; `payload` is bytes, or is sent as JSON."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()

    async def handler(request, writer):
        lines = [f"HTTP/1.1 {status} X", *headers]
        if length:
            lines.append(f"Content-Length: {len(raw)}")
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + raw)
        if not length:
            writer.close()

    return handler


def sends_raw(*pieces, pause=0.0, times=1, hang_up=True):
    """A handler that sends pieces, the last one again and again."""

    async def handler(request, writer):
        for piece in [*pieces[:-1], *[pieces[-1]] * times]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        if hang_up:
            writer.close()

    return handler


async def never_answers(request, writer):
    await asyncio.sleep(ENDLESS * 0.05)


async def hangs_up(request, writer):
    writer.close()


async def resets(request, writer):
    writer.transport.abort()


async def echoes_the_head(request, writer):
    await sends(401, {"error": request["head"]})(request, writer)


async def echoes_the_key(request, writer):
    """In a healthy answer; the key is masked in it."""
    key = request["head"].lower().partition("bearer ")[2].split("\r\n")[0]
    await sends(200, reply(f"fine {key}"))(request, writer)


async def echoes_the_key_escaped(request, writer):
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
    raw = json.dumps(reply("fine KEY")).replace("KEY", escaped).encode()
    await sends(200, raw)(request, writer)


@cache
def bomb(compress, pieces=64):
    """Zeros of 64 MiB in a small body."""
    return compress(b"0" * 2**20 * pieces)


def deflate(content):
    return zlib.compress(content, 9)


def logprob(value):
    return reply("A", "stop", top({"A": value, "B": -2.0}))


def changed(**fields):
    return reply() | fields


HEAD = b"HTTP/1.1 200 OK\r\n"
JSON = json.dumps(reply()).encode()
LONG = b"%x\r\n" % len(JSON)
TOO_LONG = {"error": {"message": "This model's maximum context length is 8 tokens"}}
STATUSES = {
    f"status {status} {name}": sends(status, words, headers)
    for status in (400, 401, 403, 404, 408, 413, 418, 422, 425, 429, 500, 502, 503, 504, 529, 599)
    for name, words, headers in (
        ("and words", {"error": {"message": "no"}}, ()),
        ("and a long context", TOO_LONG, ()),
    )
}
PAUSES = {
    f"Retry-After {value[:20]}": sends(429, {"error": "busy"}, (f"Retry-After: {value}",))
    for value in ("inf", "nan", "-1", "1e400", "9" * 5000, "Fri, 31 Dec 9999 23:59:59 GMT", "", "x")
}
REDIRECTS = {
    f"a redirect with {status}": sends(status, b"", ("Location: http://127.0.0.2:9/v1?key=1",))
    for status in (301, 302, 307, 308)
}
FRAMING = {
    "never an answer": never_answers,
    "hung up": hangs_up,
    "reset": resets,
    "a byte now and then": sends_raw(
        HEAD + b"Content-Length: 900\r\n\r\n", b" ", pause=0.05, times=ENDLESS
    ),
    "a header now and then": sends_raw(HEAD, b"X: 1\r\n", pause=0.05, times=ENDLESS),
    "endless headers": sends_raw(HEAD, b"X-Long: " + b"a" * 9000 + b"\r\n", times=2000),
    "endless 1xx": sends_raw(b"HTTP/1.1 103 Hints\r\n\r\n", pause=0.01, times=ENDLESS * 5),
    "a flood of 1xx": sends_raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, times=50),
    "no HTTP": sends_raw(b"220 mail.example ESMTP\r\n"),
    "TLS": sends_raw(b"\x15\x03\x01\x00\x02\x02\x28"),
    "broken chunks": sends_raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + JSON),
    "cut chunks": sends_raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + LONG + JSON[:9]),
    "a huge chunk": sends_raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n"),
    "two lengths": sends(200, JSON, ("Content-Length: 3",)),
    "a negative length": sends_raw(HEAD + b"Content-Length: -5\r\n\r\n" + JSON),
    "a length too long": sends_raw(HEAD + b"Content-Length: 5000\r\n\r\n" + JSON),
    "a length too short": sends_raw(HEAD + b"Content-Length: 5\r\n\r\n" + JSON),
    "a body without end": sends_raw(HEAD + b"\r\n", b" " * 2**20, times=3000),
    "nothing": sends(200),
    "204": sends_raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a strange status": sends(999, JSON),
    "half a status line": sends_raw(b"HTTP/1.1 2"),
}
ENCODED = {
    "a gzip bomb": sends(200, bomb(gzip.compress), ("Content-Encoding: gzip",)),
    "a deflate bomb": sends(200, bomb(deflate), ("Content-Encoding: deflate",)),
    "a nested bomb": sends(
        200, gzip.compress(bomb(gzip.compress)), ("Content-Encoding: gzip, gzip",)
    ),
    "a bomb in an error": sends(500, bomb(gzip.compress), ("Content-Encoding: gzip",)),
    "no gzip": sends(200, JSON, ("Content-Encoding: gzip",)),
    "brotli": sends(200, b"\x0b\x02\x80", ("Content-Encoding: br",)),
    "zstd": sends(200, b"\x28\xb5\x2f\xfd\x04", ("Content-Encoding: zstd",)),
    "an unknown encoding": sends(200, JSON, ("Content-Encoding: rot13",)),
}
BODIES = {
    "html": b"<html><body>502</body></html>",
    "half of the JSON": JSON[:40],
    "two answers": JSON + JSON,
    "deep": b"[" * 100_000,
    "deep and closed": b"[" * 100_000 + b"]" * 100_000,
    "deep content": b'{"choices": [{"message": {"content": ' + b"[" * 900 + b"]" * 900 + b"}}]}",
    "a long number": b'{"choices": ' + b"9" * 10**6 + b"}",
    "UTF-16": JSON.decode().encode("utf-16"),
    "not UTF-8": JSON.replace(b"fine", b"fi\xff\xfene"),
    "NUL": b"\x00" * 900,
    "17 MiB": b" " * 17 * 2**20,
    "a million backslashes": b"\\" * 10**6,
    "a text": b'"fine"',
    "null": b"null",
    "NaN": b"NaN",
    "a stream": b'data: {"choices": [{"delta": {"content": "fine"}}]}\n\ndata: [DONE]\n',
}
ANSWERS = {
    "null content": reply(None),
    "a number": reply(7),
    "true": reply(True),
    "an empty text": reply("") | {"usage": None},
    "parts of nothing": reply([{"type": "text", "text": None}]),
    "a picture": reply([{"type": "image_url"}]),
    "a part of an odd type": reply([{"type": ["text"], "text": "fine"}]),
    "a tool call": reply(None, "tool_calls", tool_calls=[{"id": "1"}]),
    "a refusal": reply(None, refusal="no"),
    "an error beside the text": changed(error={"message": "half of it"}),
    "an error as a text": changed(error="it broke"),
    "an error in the choice": changed(choices=[reply()["choices"][0] | {"error": {"code": 500}}]),
    "a context error in a 200": TOO_LONG,
    "a finish reason error": reply("half", "error"),
    "a finish reason abort": reply("half", "abort"),
    "an odd finish reason": reply("half", {"why": 1}),
    "a filter": reply("half", "content_filter"),
    "no choices": {"choices": []},
    "choices as a mapping": {"choices": {"0": reply()["choices"][0]}},
    "choices of null": {"choices": [None]},
    "choices of texts": {"choices": ["fine"]},
    "no message": {"choices": [{"text": "fine", "finish_reason": "stop"}]},
    "a message as a text": {"choices": [{"message": "fine", "finish_reason": "stop"}]},
    "a status in the body": {"code": 500, "message": "no"},
    "a list": [reply()],
}
STRANGE = {
    f"usage of {str(usage)[:20]}": reply() | {"usage": usage}
    for usage in (
        None,
        [],
        "many",
        {"prompt_tokens": -5, "completion_tokens": -5},
        {"prompt_tokens": 1e300, "completion_tokens": 10**300},
        {"prompt_tokens": float("inf"), "completion_tokens": float("nan")},
        {"prompt_tokens": "3", "completion_tokens": [1]},
    )
} | {
    "five choices": changed(choices=reply()["choices"] * 5),
    "further fields": changed(surprise={"a": [1, None]}, object="chat.completion"),
}
LOGPROBS = {
    f"a log-probability of {str(value)[:9]}": logprob(value)
    for value in (float("nan"), float("inf"), 0.5, 10**400, "0", None, True, [1.0])
} | {
    "no tokens": reply("A", "stop", {"content": []}),
    "null tokens": reply("A", "stop", {"content": None}),
    "tokens without names": reply("A", "stop", {"content": [{"logprob": -0.1, "token": None}]}),
    "tokens of two names": reply("A", "stop", top({"A": -0.01, "B": -0.01})),
}


def _all():
    for group in (STATUSES, PAUSES, REDIRECTS, FRAMING, ENCODED):
        for name, handler in group.items():
            yield Misbehaviour(name, handler)
    for group in (BODIES, ANSWERS):
        for name, payload in group.items():
            yield Misbehaviour(name, sends(200, payload))
    for name, payload in STRANGE.items():
        yield Misbehaviour(name, sends(200, payload), ("fine",))
    yield Misbehaviour("the key in an error", echoes_the_head)
    yield Misbehaviour("the key in an answer", echoes_the_key, ("fine ***",))
    yield Misbehaviour("the key escaped", echoes_the_key_escaped, ("fine ***",))
    yield Misbehaviour("a byte order mark", sends(200, b"\xef\xbb\xbf" + JSON), ("fine",))
    yield Misbehaviour(
        "gzip unasked", sends(200, gzip.compress(JSON), ("Content-Encoding: gzip",)), ("fine",)
    )


ALL = tuple(_all())
CHOICES = tuple(Misbehaviour(name, sends(200, answer)) for name, answer in LOGPROBS.items())
"""What no answer to a question with options is."""


def draw(rng: random.Random) -> Misbehaviour:
    """Return a misbehaviour: one of `ALL`, or a healthy answer with some bytes changed."""
    if rng.random() < 0.7:
        return rng.choice(ALL)
    raw = bytearray(JSON)
    for _ in range(rng.randint(1, 6)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    del raw[rng.randrange(len(raw)) :: rng.choice([1, 2, 1000])]
    return Misbehaviour(f"changed bytes {bytes(raw)[:40]!r}", sends(200, bytes(raw)), ("*",))
