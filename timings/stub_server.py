"""A server without a model for timings: OpenAI's chat completions after a pause.

    python timings/stub_server.py --port 8765 --mean 0.2

A pause is drawn from half to one and a half times the mean; one in twenty is five times as long.
`GET /reset` draws the same pauses again, so that all that is timed against it waits equally.
`GET /stats` says how many requests came, and how many were worked on at the same time.
"""

import argparse
import asyncio
import json
import random
from collections import deque
from typing import Any

TEXT = "A reply of some length. " * 8
USAGE = {"prompt_tokens": 100, "completion_tokens": 48, "total_tokens": 148}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
ANSWER = {"id": "x", "object": "chat.completion", "model": "m", "choices": [CHOICE], "usage": USAGE}
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
LONG_SHARE, LONG_FACTOR = 0.05, 5
"""How many pauses are longer than the others, and how many times."""


class State:
    """What all connections share.

    Args:
        mean: seconds of an ordinary pause.
        capacity: requests that are worked on at a time; the others wait. 0: all.
    """

    def __init__(self, mean: float, capacity: int):
        self.mean = mean
        self.capacity = capacity
        self.waiting: deque[asyncio.Transport] = deque()
        self.reset()

    def reset(self) -> None:
        """Forget what was counted, and draw the same pauses again."""
        self.draws = random.Random(0)
        self.requests = 0
        self.working = 0
        self.peak = 0

    def add(self, transport: asyncio.Transport) -> None:
        """Count a request, and answer it after its pause."""
        self.requests += 1
        self.waiting.append(transport)
        self.begin()

    def begin(self) -> None:
        """Work on what waits, as far as the capacity goes."""
        while self.waiting and (not self.capacity or self.working < self.capacity):
            self.working += 1
            self.peak = max(self.peak, self.working)
            pause = self.mean * self.draws.uniform(0.5, 1.5)
            if self.draws.random() < LONG_SHARE:
                pause *= LONG_FACTOR
            loop = asyncio.get_running_loop()
            loop.call_later(pause, self.answer, self.waiting.popleft())

    def answer(self, transport: asyncio.Transport) -> None:
        """Send the answer; take the next request."""
        self.working -= 1
        send(transport, ANSWER)
        self.begin()

    def stats(self) -> dict[str, Any]:
        """Return what was counted."""
        return {"requests": self.requests, "peak": self.peak}


class Connection(asyncio.Protocol):
    """One connection; its requests come one after the other."""

    def __init__(self, state: State):
        self.state = state
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        """Remember where answers go."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Read whole requests."""
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, rest = self.buffer.split(b"\r\n\r\n", 1)
            size = 0
            for line in head.split(b"\r\n")[1:]:
                name, value = line.split(b":", 1)
                if name.lower() == b"content-length":
                    size = int(value)
            if len(rest) < size:
                return
            self.buffer = rest[size:]
            self.serve(head.split(b" ", 2)[1])

    def serve(self, path: bytes) -> None:
        """Answer one request."""
        if path == b"/stats":
            send(self.transport, self.state.stats())
        elif path == b"/reset":
            self.state.reset()
            send(self.transport, {})
        elif path.endswith(b"/models"):
            send(self.transport, {"object": "list", "data": []})
        else:
            self.state.add(self.transport)


def send(transport: asyncio.Transport, answer: dict[str, Any]) -> None:
    """Send JSON."""
    raw = json.dumps(answer).encode()
    if not transport.is_closing():
        transport.write(HEAD.format(len(raw)).encode() + raw)


async def serve(port: int, mean: float, capacity: int) -> None:
    """Serve for ever; print the port first."""
    state = State(mean, capacity)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(state), "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--mean", type=float, default=0.2)
    parser.add_argument("--capacity", type=int, default=0)
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.mean, options.capacity))
