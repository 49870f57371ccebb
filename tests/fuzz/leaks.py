"""Secrets are planted where users keep them, and in what servers say; no file and no line of output
may hold one.
"""

import asyncio
import json
import os
import string
import threading
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from stages.guards.errors import UserError
from tests.ablation.sweeping import arguments as sweep_arguments
from tests.ablation.sweeping import write_set
from tests.fuzz.files import overrides, write_files
from tests.fuzz.forked import import_credo, run_forked
from tests.fuzz.kind import Kind, Wrong
from tests.fuzz.scan import find_leaks
from tests.fuzz.served import answer
from tests.generators.stub import Stub

NAMES = ["OPENAI_API_KEY", "MY_TOKEN", "HF_TOKEN", "WANDB_API_KEY", "LAB_PASSWORD", "My_Secret"]
ALPHABETS = [
    string.ascii_letters + string.digits,
    string.ascii_letters + string.digits + "-_.",
    string.ascii_letters + "/+=",
    string.ascii_letters + "\"'\\<>&%[] ",
    string.ascii_letters + "äßЖ漢",
]
ENDS = ["", "", "", "\n", "\r\n", " ", "\t", "\r"]
BUG = "tests.fuzz.leaks:bug"


@dataclass
class Planted:
    """A run with a secret in it."""

    secret: str
    variable: str
    url: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    """Further overrides."""


class Echo:
    """A server that repeats the secret wherever it can."""

    def __init__(self, draws: Random, secret: str):
        spelt = [
            secret,
            json.dumps(secret)[1:-1],
            urllib.parse.quote(secret, safe=""),
            f"Bearer {secret}",
            f"{'x' * draws.randint(200, 320)} {secret} {'y' * 40}",
        ]
        self.words = f"the key {draws.choice(spelt)} is good"
        self.place = draws.choice(["answer", "error", "reason", "body", "header", "nowhere"])
        self.status = draws.choice([400, 401, 403, 404, 422, 500, 302])
        self.rate = draws.choice([0.02, 0.3, 1.0])
        self.draws = Random(draws.random())

    def __call__(self, stub: Stub, path: str, body: dict[str, Any]) -> Any:
        """See `Stub`."""
        fine = answer(body)
        if self.draws.random() > self.rate:
            return 200, fine, {}
        if self.place == "error":
            return self.status, {"error": {"message": self.words}}, {}
        if self.place == "body":
            return 200, self.words.encode(errors="surrogateescape"), {}
        if self.place == "header":
            target = urllib.parse.quote(self.words)
            return 302, {}, {"Location": f"http://127.0.0.1:9/{target}"}
        choice = fine["choices"][0]
        if self.place == "answer":
            choice["message"]["content"] = self.words
        if self.place == "reason":
            choice["finish_reason"] = self.words
        return 200, fine, {}


def draw_secret(draws: Random) -> str:
    """Return a value that no file holds by chance."""
    letters = draws.choice(ALPHABETS)
    secret = "".join(draws.choices(letters, k=draws.randint(16, 60))).strip()
    return f"sk{secret}9Z"


def as_key(draws: Random, planted: Planted) -> None:
    """The key of the server, perhaps with a line's end behind it."""
    planted.environment[planted.variable] = planted.secret + draws.choice(ENDS)
    planted.options.append(f"generator.options.api_key_env={planted.variable}")


def in_the_address(draws: Random, planted: Planted) -> None:
    """In the endpoint's address."""
    quoted = urllib.parse.quote(planted.secret, safe="")
    host = planted.url.partition("://")[2]
    address = draws.choice(
        [
            f"http://user:{quoted}@{host}",
            f"http://{quoted}@{host}",
            f"{planted.url}?api_key={quoted}",
            f"{planted.url}?x=1&token={quoted}",
            f"{planted.url}#access_token={quoted}",
        ]
    )
    if draws.random() < 0.5:
        planted.environment["THE_ADDRESS"] = address
        address = "${oc.env:THE_ADDRESS}"
    planted.options.append(f"generator.options.endpoints=['{address}']")


def in_extra_options(draws: Random, planted: Planted) -> None:
    """In further fields of every request, by the environment or in plain."""
    planted.environment[planted.variable] = planted.secret
    value = draws.choice([f"${{oc.env:{planted.variable}}}", quoted_value(planted.secret)])
    name = draws.choice(["api_key", "apiKey", "token", "x-auth-token", "metadata"])
    planted.options.append(f"+generator.options.extra={{{name}: {value}}}")


def in_training_options(draws: Random, planted: Planted) -> None:
    """In the options of a training that is only planned."""
    planted.environment[planted.variable] = planted.secret
    value = draws.choice([f"${{oc.env:{planted.variable}}}", quoted_value(planted.secret)])
    name = draws.choice(["hub_token", "push_to_hub_token", "hub_model_id"])
    step = f"{{stage: sft, inputs: {{model: base, answers: written}}, args: {{{name}: {value}}}}}"
    planted.options += [f"+pipeline.steps.trained={step}", "plan=true"]


def in_an_unknown_option(draws: Random, planted: Planted) -> None:
    """Where Credo has no such option."""
    name = draws.choice(["generator.options.api_key", "+token", "+generator.key", "api_key"])
    planted.environment[planted.variable] = planted.secret
    planted.options.append(f"{name}={quoted_value(planted.secret)}")


def in_a_proxy(draws: Random, planted: Planted) -> None:
    """In the address of a proxy that is not there."""
    quoted = urllib.parse.quote(planted.secret, safe="")
    planted.environment["HTTP_PROXY"] = f"http://user:{quoted}@127.0.0.1:9"
    planted.environment["NO_PROXY"] = ""


def in_a_bug(draws: Random, planted: Planted) -> None:
    """In the message of a bug, whose traceback is logged."""
    as_key(draws, planted)
    planted.environment["FUZZ_BUG"] = planted.variable
    planted.options.append(f"+pipeline.last_steps.evaluation.ground_truth={BUG}")


PLACES = [
    *(as_key, as_key, in_the_address, in_extra_options, in_training_options),
    *(in_an_unknown_option, in_a_proxy, in_a_bug),
]


def bug(request: str, response: str) -> Any:
    """Raise with a secret of the environment in the message."""
    raise KeyError(os.environ[os.environ["FUZZ_BUG"]])


def quoted_value(text: str) -> str:
    """Return a text as Hydra's overrides quote it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def attempt(draws: Random, folder: Path) -> str:
    """Plant a secret, run, and search."""
    planted = Planted(draw_secret(draws), draws.choice(NAMES))
    place = draws.choice(PLACES)
    is_sweep = draws.random() < 0.2 and place is not in_training_options
    log = folder / "output.txt"
    with Background(Echo(draws, planted.secret)) as url:
        planted.url = url
        place(draws, planted)
        arguments = arguments_of(folder, url, is_sweep)
        # A run of its own environment: the child of a fork inherits it.
        os.environ.update({k: v for k, v in planted.environment.items() if "\0" not in v})
        code = run_forked([*arguments, *planted.options], log)
    leaks = find_leaks(planted.secret, [log, folder / "runs"])
    if leaks:
        which = ", ".join(sorted({leak.partition(":")[0] for leak in leaks}))
        raise Wrong(f"{place.__name__}: a secret in {which}\n{leaks}\n{planted}")
    if code not in (0, 2) and place is not in_a_bug:
        raise Wrong(f"exit code {code}\n{log.read_text(errors='replace')[-1500:]}")
    if code == 2:
        raise UserError(f"{place.__name__}: {log.read_text(errors='replace')[-1500:]}")
    return place.__name__


def arguments_of(folder: Path, url: str, is_sweep: bool) -> list[str]:
    """The arguments of a run of all text stages, or of a sweep."""
    server = [
        "generator=server",
        "generator.options.serves=''",
        "+generator.options.extensions=false",
        "+generator.options.max_retries=1",
        "+generator.options.backoff=0.01",
        f"generator.options.endpoints=[{url}]",
    ]
    if is_sweep:
        folder.mkdir(exist_ok=True)
        write_set(folder / "set.yaml", 3)
        return ["-m", "experiment=ablate", *sweep_arguments(folder, prompts=3), *server]
    files = write_files(folder / "files", requests=4)
    return [*overrides("fuzz_texts", files, folder / "runs"), *server]


class Background:
    """A stub server on a thread."""

    def __init__(self, answers: Any):
        self.answers = answers

    def __enter__(self) -> str:
        self.loop = asyncio.new_event_loop()
        self.stub = Stub(self.answers)
        self.loop.run_until_complete(self.stub.__aenter__())
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self.stub.url

    def __exit__(self, *_: Any) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.run_until_complete(self.stub.__aexit__())


KIND = Kind(60, attempt, prepare=import_credo, deadline=60.0)
