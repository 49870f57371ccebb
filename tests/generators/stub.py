"""A loopback server for tests of the server generator: it answers as a test says."""

import asyncio
import contextlib
import json
import math
import threading

from stages.runtime.generation import Sampling
from stages.runtime.generator_registry import open_generator
from stages.runtime.models import Model

MODEL = Model("/models/some", "0" * 16)
QUESTION = [{"role": "user", "content": "why?"}]
TOKENS = {"A": 65, "B": 66}


class Stub:
    """A loopback HTTP server. `answer(stub, path, body)` returns (status, payload, headers), or
    None to hang up. With a Content-Length among the headers, it hangs up after the payload.
    """

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.visits = []  # by GET, which gets an answer of this status; 0: it hangs up
        self.visit_status = 200
        self.headers = []
        self.server = None
        self.port = 0
        self.writers = set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for writer in list(self.writers):
            writer.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader, writer):
        self.writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                path = head.split()[1]
                if head.startswith("get "):
                    self.visits.append(path)
                    if not self.visit_status:
                        return
                    writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % self.visit_status)
                    await writer.drain()
                    continue
                size = int(head.split("content-length: ")[1].split("\r\n")[0])
                body = json.loads(await reader.readexactly(size))
                self.requests.append((path, body))
                self.headers.append(head)
                answer = self.answer(self, path, body)
                answer = await answer if asyncio.iscoroutine(answer) else answer
                if answer is None:
                    return
                status, payload, headers = answer
                raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
                lengths = {"Content-Length": len(raw)} | headers
                head = "".join(f"{name}: {value}\r\n" for name, value in lengths.items())
                writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + raw)
                await writer.drain()
                if "Content-Length" in headers:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()


def well(stub, path, body):
    """A healthy vLLM server: echoes the question, prefers A three to one."""
    if path == "/tokenize":
        before = [1, 2]
        if "prompt" in body:
            return 200, {"tokens": [TOKENS.get(letter, 9) for letter in body["prompt"]]}, {}
        last = body["messages"][-1]
        turn = (
            [TOKENS.get(letter, 9) for letter in last["content"]]
            if last["role"] == "assistant"
            else []
        )
        return 200, {"tokens": before + turn}, {}
    entries = {"logprob": math.log(0.3)}, {"logprob": math.log(0.1)}
    names = ["token_id:65", "token_id:66"] if body.get("return_tokens_as_token_ids") else ["A", "B"]
    top = [entry | {"token": name} for entry, name in zip(entries, names, strict=True)]
    choice = {
        "message": {"content": "echo " + body["messages"][-1]["content"]},
        "finish_reason": "stop",
    }
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [top[0] | {"top_logprobs": top}]}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}, {}


@contextlib.contextmanager
def in_thread(answer):
    """A stub that serves other processes, and code that blocks."""
    stub = Stub(answer)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(stub.__aenter__(), loop).result()
    try:
        yield stub
    finally:
        asyncio.run_coroutine_threadsafe(stub.__aexit__(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def at_first(times, otherwise):
    """The first `times` requests get `otherwise`, the rest are answered well."""
    return lambda stub, path, body: (
        otherwise if len(stub.requests) <= times else well(stub, path, body)
    )


async def server(*stubs, **options):
    return await open_generator(
        "server",
        MODEL,
        {
            "endpoints": [s if isinstance(s, str) else s.url for s in stubs],
            "backoff": 0.01,
            "timeout": 5.0,
        }
        | options,
    )


async def ask_all(generator, count):
    questions = [[{"role": "user", "content": str(number)}] for number in range(count)]
    answers = await asyncio.gather(
        *[generator.complete(q, Sampling(), n) for n, q in enumerate(questions)]
    )
    assert [answer.text for answer in answers] == [f"echo {number}" for number in range(count)]


def reply(content="fine", finish_reason="stop", logprobs=None, **message):
    """A chat completion; `message` gives further fields of the message."""
    choice = {
        "message": {"role": "assistant", "content": content} | message,
        "finish_reason": finish_reason,
        "logprobs": logprobs,
    }
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return {"choices": [choice], "usage": usage}


def top(logprobs):
    """The `logprobs` of a first token, the likeliest of a mapping."""
    entries = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    return {"content": [entries[0] | {"top_logprobs": entries}]}
