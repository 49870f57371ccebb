"""A tiny random model, and inputs made of the real classes, for the training stages."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.runtime.artifacts import Artifact, Result, finish_artifact
from stages.runtime.calls import Engines
from stages.runtime.context import Context
from stages.runtime.rows import Pair, Response, Revision
from stages.runtime.store import CallStore
from stages.sources.conversations import content_id
from tests.tiny_model import build_tiny_model

REQUESTS = [
    "how do I help",
    "how do I build a cat",
    "is the dog safe",
    "revise the answer",
    "a question",
    "do I harm the dog",
]


def response(i: int, text: str, request: str = REQUESTS[0]) -> Response:
    prompt = [{"role": "user", "content": request}]
    return Response(
        id=f"r{i}",
        prompt_id=f"p{i}",
        kind="k",
        prompt=prompt,
        response=text,
        context=[],
        model="m",
        seed=i,
    )


def revision(i: int, round_: int, text: str) -> Revision:
    return Revision(
        id=f"r{i}.{round_}",
        response_id=f"r{i}",
        prompt_id=f"p{i}",
        kind="k",
        prompt=[{"role": "user", "content": REQUESTS[i % 6]}],
        response=text,
        original="the original",
        previous="what was before",
        round=round_,
        principle="p",
        critique_request="",
        critique="",
        revision_request="",
        faulty=True,
        model="m",
        seed=0,
    )


def pair(
    i: int, chosen: str, rejected: str, label: float = 1.0, request: str | None = None
) -> Pair:
    prompt = [{"role": "user", "content": request or f"{REQUESTS[i % 6]} {i}"}]
    return Pair(
        id=f"q{i}",
        prompt_id=content_id(prompt, "conftest"),
        chosen_id=f"a{i}",
        rejected_id=f"b{i}",
        kind="k",
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        label=label,
        margin=1.0,
        principles=["p"],
        margins_ab=[1.0],
        margins_ba=[1.0],
    )


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The models are too small for two threads, which only wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    gc.unfreeze()


@pytest.fixture(scope="module", autouse=True)
def little_garbage(one_thread: None) -> None:
    """Every training collects garbage several times, half a second each while all that torch and
    TRL hold is looked at.
    """
    import peft  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def artifact(tmp_path: Path, tiny: Path) -> Callable[..., Artifact]:
    """Make a finished artifact: of rows, or of a model, by default the tiny one."""

    def make(name: str, rows: list[Any] | None = None, model: Path | str = tiny) -> Artifact:
        folder = tmp_path / name
        folder.mkdir()
        result = Result(metrics={"model_path": str(model), "revision": None})
        if rows is not None:
            result = Result(rows=rows, row_type=type(rows[0]) if rows else Pair)
        return finish_artifact(folder, name, {}, result, {})

    return make


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Callable[[str], Context]]:
    loop, store = asyncio.Runner(), CallStore(tmp_path / "calls.sqlite")

    def make(name: str = "trained") -> Context:
        (tmp_path / name).mkdir(exist_ok=True)
        return Context(name, tmp_path / name, 7, store, Engines("none", {}), loop)

    yield make
    store.close()
    loop.close()
