"""Two processes (gloo, CPU) train what one does: same metrics, and equal weights on every rank."""

import asyncio
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from stages.guards import secrets
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result, finish_artifact
from stages.runtime.calls import Engines
from stages.runtime.context import Context
from stages.runtime.pipeline.launch import Launcher, launch
from stages.runtime.store import CallStore
from stages.training.offline import dpo, sft
from stages.training.online import ppo
from stages.training.online.trl_stages import GRPO
from stages.training.reward_models import reward_model
from tests.embedded import ROOT, calls_in
from tests.generators.stub import in_thread, reply, top
from tests.runtime.pipeline import keyed_stage
from tests.test_own_judge import KEY, no_file_holds_the_key
from tests.training import weighed
from tests.training.conftest import pair, response
from tests.training.online.test_online import LETTERS, prompts

pytestmark = pytest.mark.slow
TWO = Launcher(processes=2)
OFFLINE = {
    "per_device_train_batch_size": 4,
    "max_steps": 4,
    "learning_rate": 1e-3,
    "max_length": 96,
    "save_strategy": "no",
}
# Greedy rollouts: sampled ones would differ between one process and two, whose random numbers do.
ONLINE = {
    "per_device_train_batch_size": 8,
    "max_steps": 4,
    "learning_rate": 1e-3,
    "max_completion_length": 8,
    "save_strategy": "no",
    "generation_kwargs": {"do_sample": False},
    "lr_scheduler_type": "constant",
}


RATING = {"term": "judge", "model": "judge", "constitution": {"name": "world", "only": ["harm-1"]}}
COSTS = {"late": {"term": "python", "function": "tests.training.rewarding:late_letters"}}
ROWS = {
    "answers": [response(i, f"{'kind ' * (i % 4 + 1)}answer {i}") for i in range(16)],
    "pairs": [pair(i, f"kind answer {i}", f"harm the dog {i}", 0.9) for i in range(24)],
    "prompts": prompts(),
}


@dataclass(frozen=True)
class Case:
    """A training, and what comes of its ranks."""

    stage: ModuleType
    config: Any
    rows: str
    networks: int = 1
    """Those that differ on every rank: the model, and a value model for each of PPO's goals."""
    judge: tuple[str, ...] = ()

    def inputs(self, artifacts: dict[str, Artifact]) -> dict[str, Artifact]:
        return {name: artifacts[name] for name in ("model", self.rows, *self.judge)}


CASES = {
    "sft": Case(sft, sft.Config(args=OFFLINE), "answers"),
    "dpo": Case(dpo, dpo.Config(args=OFFLINE, eval_fraction=0.3), "pairs"),
    "reward_model": Case(
        reward_model, reward_model.Config(args=OFFLINE, eval_fraction=0.3), "pairs"
    ),
    "ppo": Case(ppo, ppo.Config(rewards=LETTERS, args=ONLINE), "prompts", networks=2),
    "ppo-costs": Case(
        ppo, ppo.Config(rewards=LETTERS, costs=COSTS, args=ONLINE), "prompts", networks=3
    ),
    "ppo-judged": Case(
        ppo, ppo.Config(rewards={"rating": RATING}, args=ONLINE), "prompts", 2, ("judge",)
    ),
}


@dataclass(frozen=True)
class Both:
    """What two ranks made of all cases, with the context of the run that started them."""

    artifacts: dict[str, Artifact]
    context: Context
    metrics: dict[str, Any]
    asked: list[tuple[str, str]]
    """Head and body of every request to the judge."""


def likes_some(stub, path, body):
    """A plain OpenAI server that says Yes to about half of all texts."""
    odd = len(body["messages"][-1]["content"]) % 2
    logprobs = {"Yes": math.log(0.8 if odd else 0.1), "No": math.log(0.1 if odd else 0.8)}
    return 200, reply("Yes" if odd else "No", logprobs=top(logprobs)), {}


@pytest.fixture(scope="module")
def stub():
    """A judge behind an API, which wants a key."""
    with pytest.MonkeyPatch.context() as patch, in_thread(likes_some) as server:
        patch.setattr(secrets, "_used", {})
        patch.setenv("KEY_OF_A_JUDGE", KEY)
        yield server


def engines_of(stub):
    """A run without a generator, whose judge has one of its own; and the name of that one."""
    engines = Engines("none", {})
    options = {"endpoints": [stub.url], "api_key_env": "KEY_OF_A_JUDGE", "extensions": False}
    return engines, engines.add("server", options, "judge.options")


@pytest.fixture(scope="module")
def both(tmp_path_factory, tiny, stub):
    """One launch for all cases: most of its time the ranks import their libraries."""
    root = tmp_path_factory.mktemp("both")
    engines, label = engines_of(stub)
    base = {"model_path": str(tiny), "revision": None}
    judge = {"model_path": "some-judge", "revision": None, "content": "0" * 16}
    judge |= {"generator": label, "served": True}
    results = {"model": Result(metrics=base), "judge": Result(metrics=judge)}
    results |= {name: Result(rows=rows, row_type=type(rows[0])) for name, rows in ROWS.items()}
    artifacts = {}
    for name, result in results.items():
        (root / name).mkdir()
        artifacts[name] = finish_artifact(root / name, name, {}, result, {})
    store = CallStore(root / "calls.sqlite")
    (root / "both").mkdir()
    with asyncio.Runner() as loop:
        context = Context("both", root / "both", 7, store, engines, loop)
        metrics = launch(weighed.__name__, weighed.Config(), artifacts, context, TWO).metrics
        asked = [
            (head, json.dumps(body))
            for head, (_, body) in zip(stub.headers, stub.requests, strict=True)
        ]
        yield Both(artifacts, context, metrics, asked)
    store.close()


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_what_one_does(both, context, stub, name):
    from safetensors.torch import load_file

    case, two = CASES[name], both.metrics[name]
    alone = replace(context("alone"), engines=engines_of(stub)[0])
    one = case.stage.run(case.config, case.inputs(both.artifacts), alone).metrics
    assert two["steps"] == one["steps"] and two["n"] == one["n"]
    for left, right in zip(one["history"], two["history"], strict=True):
        assert right["loss"] == pytest.approx(left["loss"], abs=2e-3), (left, right)
        for key in {
            "value_loss",
            "reward",
            "kl_per_completion",
            "lambda",
            "accuracy",
        } & left.keys():
            assert right[key] == pytest.approx(left[key], abs=5e-3), (key, left, right)
    if "held_out" in one:
        assert (
            two["held_out"]["n"] == one["held_out"]["n"]
        )  # counted over both, the last batch's fillers left out
        assert two["held_out"]["accuracy"] == pytest.approx(one["held_out"]["accuracy"], abs=0.2)
    folder = both.context.directory / name
    left, right = (
        load_file(each / "model" / "model.safetensors") for each in (alone.directory, folder)
    )
    assert max((left[key] - right[key]).abs().max().item() for key in left) < 2e-3
    ranks = [json.loads((folder / f"weights-{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0] == ranks[1] and len(set(ranks[0])) == case.networks


def test_calls_made_in_the_ranks_come_back_to_the_runs_store(both):
    assert calls_in(Path(both.context.store.place)) == 48 + len({body for _, body in both.asked})
    assert both.metrics["dpo"]["reference"] == {"stored": 0, "computed": 48}
    assert not list((both.context.directory / "launch").glob("calls-*"))


def test_a_judge_behind_an_api_is_asked_in_the_ranks_and_no_file_holds_its_key(both):
    assert both.asked and "term rating" in both.metrics["ppo-judged"]["last"]
    for head, body in both.asked:
        assert f"authorization: bearer {KEY}" in head and "top_logprobs" in body
    no_file_holds_the_key(both.context.directory.parent)


def test_an_error_of_a_rank_ends_the_others_and_reaches_the_user_as_one_message(context):
    """Of a stage that trains nothing, since ranks need half a minute to import what trains."""
    config = keyed_stage.Config(args={"hub_token": "", "refuses": True})
    with pytest.raises(UserError, match="no such layer"):
        launch(keyed_stage.__name__, config, {}, context(), TWO)


@pytest.mark.long
def test_sharding_without_a_gpu_is_refused(context, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    settings = yaml.safe_load((ROOT / "conf" / "launcher" / "fsdp.yaml").read_text())["accelerate"]
    launcher = Launcher(processes=2, accelerate=settings)
    with pytest.raises(UserError, match="FSDP spread a model over GPUs"):
        launch(keyed_stage.__name__, keyed_stage.Config(), {}, context(), launcher)


def test_a_batch_is_divided_evenly_among_ranks(artifact, context, monkeypatch):
    inputs = {"model": artifact("base"), "prompts": artifact("prompts", prompts())}
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="cannot be divided evenly among 3 processes"):
        GRPO.run(GRPO.config(rewards=LETTERS, args=ONLINE), inputs, context("three"))
