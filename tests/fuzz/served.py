"""A model server in a process of its own, for runs that are killed: it counts what it is asked, and
the same question always gets the same answer. `python -m tests.fuzz.served DELAY`.
"""

import asyncio
import contextlib
import hashlib
import json
import math
import os
import random
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.generators.stub import Stub, reply, top

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("A", "B", "Yes", "No")
WORDS = ["the", "safe", "kind", "dog", "answers", "a", "question", "and", "helps", "with", "rules"]


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """What the model says: it depends on the messages and the seed."""
    draws = random.Random(json.dumps([body["messages"], body.get("seed")]))
    if body.get("logprobs"):
        shares = [draws.random() + 0.05 for _ in OPTIONS]
        logs = [math.log(0.99 * share / sum(shares)) for share in shares]
        return reply("A", logprobs=top(dict(zip(OPTIONS, logs, strict=True))))
    return reply(" ".join(draws.choices(WORDS, k=12)))


class Counting:
    """Counts the requests for each question.

    Attributes:
        delay: the most seconds that an answer takes.
        echo: what is put into every answer, in place of a header's value.
    """

    def __init__(self, delay: float):
        self.delay = delay
        self.requests: Counter[str] = Counter()

    async def __call__(self, stub: Stub, path: str, body: dict[str, Any]) -> Any:
        """See `Stub`."""
        if path == "/counts":
            return 200, {"sent": self.requests.total(), "different": len(self.requests)}, {}
        if path == "/forget":
            self.requests.clear()
            return 200, {}, {}
        question = json.dumps([body["messages"], body.get("seed"), body.get("logprobs")])
        self.requests[hashlib.sha256(question.encode()).hexdigest()] += 1
        await asyncio.sleep(random.random() * self.delay)
        return 200, answer(body), {}


@dataclass
class Served:
    """A server that is running."""

    url: str

    def ask(self, path: str) -> dict[str, int]:
        """Ask it for its `/counts`, or to `/forget` them."""
        address = self.url.removesuffix("/v1") + path
        with urllib.request.urlopen(urllib.request.Request(address, b"{}")) as answer:
            return json.load(answer)

    @property
    def options(self) -> list[str]:
        """The overrides of a run that asks it."""
        return [
            "generator=server",
            f"generator.options.endpoints=[{self.url}]",
            "generator.options.serves=''",
            "+generator.options.extensions=false",
            "+generator.options.backoff=0.05",
        ]


@contextlib.contextmanager
def serving(delay: float = 0.0) -> Iterator[Served]:
    """Start a server and end it."""
    command = [sys.executable, "-m", "tests.fuzz.served", str(delay)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield Served(process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()


async def serve(delay: float) -> None:
    """Print the address, and answer until the process that started it is gone."""
    parent = os.getppid()
    async with Stub(Counting(delay)) as stub:
        print(stub.url, flush=True)
        while os.getppid() == parent:
            await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
