"""A training that is killed goes on as if nothing had happened."""

import errno
import json
import os
import random

import pytest

from stages.guards.errors import UserError
from stages.runtime.models import Model
from stages.training.checkpoints import last_complete, mark_complete, training_of
from stages.training.offline import chain_of_hindsight, kto, ranking, sft
from stages.training.session import model_session
from tests.fuzz.artifacts import damage
from tests.training.conftest import pair, response
from tests.training.killed import count_steps, train_until_killed
from tests.training.offline.test_groups import rating

ARGS = {
    "per_device_train_batch_size": 2,
    "max_steps": 6,
    "learning_rate": 1e-3,
    "max_length": 96,
    "save_steps": 2,
}


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")


KINDS = ("kind ", "the dog ", "a cat ", "safe ")
CUT = {
    sft: ("answers", [response(i, f"{'kind ' * (i % 4 + 1)}answer {i}") for i in range(9)], {}),
    # draws random numbers in every step, and reads its rows twice
    chain_of_hindsight: (
        "pairs",
        [pair(i, f"{KINDS[i % 4]}{i}", "harm") for i in range(5)],
        {"forget": 0.3, "eval_fraction": 0.0},
    ),
    # batches of groups, gathered over two steps
    ranking: (
        "ratings",
        [rating(i, j, KINDS[(i + j) % 4], 2.0 - j) for i in range(9) for j in range(3)],
        {"loss": "rrhf", "eval_fraction": 0.0},
    ),
    # a fixed order, and a reference that must be that of the start
    kto: (
        "pairs",
        [pair(i, f"{KINDS[i % 4]}{i}", f"harm {i}") for i in range(5)],
        {"eval_fraction": 0.0},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", CUT, ids=lambda stage: stage.__name__.rpartition(".")[2])
def test_killed_and_resumed_gives_the_weights_of_an_unbroken_run(
    stage, artifact, context, tmp_path, monkeypatch, capsys
):
    name, rows, options = CUT[stage]
    args = ARGS | ({"gradient_accumulation_steps": 2} if stage is ranking else {})
    options = options | {"args": args}
    inputs = {"model": artifact("base"), name: artifact(name, rows)}
    whole = context("whole")
    unbroken = stage.run(stage.Config(**options), inputs, whole)

    (tmp_path / "cut").mkdir()
    folders = {"model": "base", name: name}
    train_until_killed(tmp_path, stage.__name__, folders, options, step=5)
    checkpoints = tmp_path / "cut" / "checkpoints"
    mark = json.loads((checkpoints / "checkpoint-4" / "complete").read_text())
    assert last_complete(checkpoints, mark["training"]) == checkpoints / "checkpoint-4"
    assert not (tmp_path / "cut" / "model").exists()
    torn = checkpoints / "checkpoint-5"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half a file")

    steps = count_steps(monkeypatch)
    resumed = stage.run(stage.Config(**options), inputs, context("cut"))
    assert "going on from checkpoint-4" in capsys.readouterr().err and steps == [5, 6]
    assert not checkpoints.exists()
    left, right = weights(whole.directory), weights(tmp_path / "cut")
    assert left.keys() == right.keys()
    assert max((left[name] - right[name]).abs().max().item() for name in left) < 1e-5
    assert [p["step"] for p in resumed.metrics["history"]] == [1, 2, 3, 4, 5, 6]
    assert resumed.metrics["train_loss"] == pytest.approx(unbroken.metrics["train_loss"], abs=1e-5)


@pytest.mark.slow
def test_a_full_disk_is_reported_and_the_training_goes_on_when_there_is_room(
    artifact, context, monkeypatch
):
    from stages.training import frame

    rows = [response(i, f"{'kind ' * (i % 4 + 1)}answer {i}") for i in range(9)]
    inputs = {"model": artifact("base"), "answers": artifact("answers", rows)}
    args = ARGS | {"max_steps": 3}
    whole, cut = context("whole"), context("cut")
    sft.run(sft.Config(args=args), inputs, whole)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(frame, "save_model", full)
        with pytest.raises(UserError, match=r"(?s)disk is full.*Fix: free some space"):
            sft.run(sft.Config(args=args), inputs, cut)
    again = sft.run(sft.Config(args=args), inputs, cut)
    assert again.metrics["steps"] == 3
    left, right = weights(whole.directory), weights(cut.directory)
    assert max((left[name] - right[name]).abs().max().item() for name in left) < 1e-5


@pytest.mark.parametrize(
    "message",
    [
        "[enforce fail at inline_container.cc:672] . unexpected pos 1285184 vs 1285072",
        "basic_ios::clear: iostream error",
        "PytorchStreamWriter failed writing file data/3: file write failed",
    ],
)
def test_what_torch_says_of_a_full_disk_is_understood(context, message):
    def save():
        raise RuntimeError(message)

    with pytest.raises(UserError, match="the disk is full"), model_session(context()):
        save()


def test_a_torn_checkpoint_is_removed_and_the_latest_whole_one_found(tmp_path):
    for step, whole in ((2, True), (10, True), (12, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"x")
        if whole:
            mark_complete(folder, "this one")
    assert last_complete(tmp_path, "this one") == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-12").exists()
    assert last_complete(tmp_path / "nowhere", "this one") is None


class Halted(Exception):
    """Ends a training after its second step, whose checkpoint is whole."""


def test_a_training_is_known_by_its_base_model_and_by_what_it_trains(tmp_path):
    from types import SimpleNamespace

    import torch

    def training(content="0" * 16, width=2, frozen=False):
        layer = torch.nn.Linear(3, width).requires_grad_(not frozen)
        return training_of(
            SimpleNamespace(model=torch.nn.Sequential(layer, torch.nn.Linear(1, 1))),
            Model("m", content),
        )

    assert training() == training()
    assert len({training(), training("1" * 16), training(width=4), training(frozen=True)}) == 4
    (tmp_path / "checkpoint-3").mkdir()
    mark_complete(tmp_path / "checkpoint-3", training())
    assert last_complete(tmp_path, training()) == tmp_path / "checkpoint-3"
    said = []
    assert last_complete(tmp_path, training(width=4), said.append) is None
    assert said == [
        "checkpoint-3 is damaged and set aside: it is of another model, another shape of LoRA or "
        "another training"
    ]
    assert (tmp_path / "damaged" / "checkpoint-3" / "complete").exists()


def checkpoints(folder):
    """Two complete checkpoints with a few files each."""
    for step in (2, 4):
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        for name in ("model.safetensors", "optimizer.pt", "rng_state.pth", "ppo_state.json"):
            (checkpoint / name).write_bytes(f"{name} {step} ".encode() * 99)
        (checkpoint / "trainer_state.json").write_text('{"global_step": 4}')
        mark_complete(checkpoint, "this one")


@pytest.mark.parametrize("seed", range(25))
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(tmp_path, seed):
    folder = tmp_path / "checkpoints"
    checkpoints(folder)
    what = damage(folder / "checkpoint-4", random.Random(seed))
    said = []
    last = last_complete(folder, "this one", said.append)
    assert last == folder / "checkpoint-2", what
    assert not os.path.lexists(folder / "checkpoint-4"), what
    assert len(said) == os.path.lexists(folder / "damaged" / "checkpoint-4"), what
    assert last_complete(folder, "this one", said.append) == last and len(said) <= 1


def test_a_checkpoint_of_another_training_or_step_is_set_aside(tmp_path):
    folder = tmp_path / "checkpoints"
    checkpoints(folder)
    (folder / "checkpoint-4").rename(folder / "checkpoint-9")
    other = tmp_path / "other" / "checkpoint-6"
    other.mkdir(parents=True)
    mark_complete(other, "another one")
    other.rename(folder / "checkpoint-6")
    said = []
    assert last_complete(folder, "this one", said.append) == folder / "checkpoint-2"
    assert [line.partition(" ")[0] for line in said] == ["checkpoint-9", "checkpoint-6"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpo", pytest.param("ppo", marks=pytest.mark.long)])
def test_a_training_goes_on_from_the_last_sound_checkpoint(
    artifact, context, tmp_path, monkeypatch, capsys, name
):
    """Equal to a training that was never broken off: the damaged one is not read at all."""
    from stages import STAGES
    from stages.runtime.stage import load_stage
    from stages.training.progress import Watch
    from tests.training.online.test_online import ARGS as ONLINE
    from tests.training.online.test_online import LETTERS, prompts

    stage = load_stage(STAGES[name])
    online = {"rewards": LETTERS, "args": ONLINE | {"max_completion_length": 2}}
    options = {"args": dict(ARGS), "eval_fraction": 0.0} if name == "dpo" else online
    options["args"] |= {"save_strategy": "steps", "save_steps": 1, "per_device_train_batch_size": 2}
    options["args"] |= {"max_steps": 4}
    rows = {"pairs": [pair(i, f"kind {i}", "harm") for i in range(4)], "prompts": prompts(4)}
    source = "pairs" if name == "dpo" else "prompts"
    inputs = {"model": artifact("base"), source: artifact("rows", rows[source])}
    stage.run(stage.config(**options, lora={"r": 2}), inputs, context("whole"))

    def halt(self, args, state, control, **_):
        if state.global_step == 3:
            raise Halted

    with monkeypatch.context() as patch, pytest.raises(Halted):
        patch.setattr(Watch, "on_step_begin", halt, raising=False)
        stage.run(stage.config(**options, lora={"r": 2}), inputs, context("cut"))
    folder = tmp_path / "cut" / "checkpoints"
    torn = folder / "checkpoint-3" / ("ppo_state.json" if name == "ppo" else "optimizer.pt")
    torn.write_bytes(torn.read_bytes()[:20])
    stage.run(stage.config(**options, lora={"r": 2}), inputs, context("cut"))
    said = capsys.readouterr().err
    assert f"checkpoint-3 is damaged and set aside: {torn.name}: it has 20 bytes of" in said
    assert "going on from checkpoint-2" in said
    left, right = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert max((left[key] - right[key]).abs().max().item() for key in left) < 1e-5
