"""Models that a training keeps on its way: at which steps, which weights, after a kill too."""

import itertools
from types import SimpleNamespace

import pytest

from stages.guards.errors import UserError
from stages.runtime.models import find_model
from stages.training.offline import sft
from stages.training.snapshots import snapshot
from stages.training.snapshots.keeping import KeepSnapshots, spaced_steps
from tests.training.conftest import response
from tests.training.killed import train_until_killed

ARGS = {
    "per_device_train_batch_size": 2,
    "max_steps": 6,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "max_length": 96,
}
ROWS = [response(i, f"{'kind ' * (i % 4 + 1)}answer {i}") for i in range(9)]


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def far(left, right):
    assert left.keys() == right.keys()
    return max((left[name].float() - right[name].float()).abs().max().item() for name in left)


@pytest.mark.parametrize(
    "count, steps, due",
    [(1, 100, [50]), (3, 8, [2, 4, 6]), (4, 5, [1, 2, 3, 4]), (2, 10, [3, 6]), (0, 9, [])],
)
def test_they_part_the_training_into_equal_stretches(count, steps, due):
    assert spaced_steps(count, steps) == due


def test_they_are_never_the_start_the_end_or_the_same():
    for count in range(12):
        for steps in range(count + 1, 60):
            due = spaced_steps(count, steps)
            ends = [0, *due, steps]
            assert len(due) == count and ends == sorted(set(ends))
            lengths = [after - before for before, after in itertools.pairwise(ends)]
            assert max(lengths) - min(lengths) <= 1


def test_more_of_them_than_steps_are_refused_before_the_first_step():
    keep = KeepSnapshots(6, print, "step 'policy'")
    with pytest.raises(UserError, match=r"(?s)6 snapshots .* 6 steps cannot be kept.*at most 5"):
        keep.on_train_begin(None, SimpleNamespace(max_steps=6), None)


def test_they_identify_a_training_that_keeps_some_and_no_other():
    plain = sft.STAGE.identity(sft.Config(args=ARGS))
    assert plain == {"args": ARGS}
    assert sft.STAGE.identity(sft.Config(args=ARGS, snapshots=2)) == plain | {"snapshots": 2}


def finish(artifact, name, result, context):
    """The artifact of a training that wrote into its own folder."""
    from stages.runtime.artifacts import finish_artifact

    payload = {"stage": "sft", "name": name}
    return finish_artifact(context.directory, name, payload, result, {})


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, {"r": 2, "target_modules": "all-linear"}])
def test_a_snapshot_is_the_model_of_a_training_that_ends_there(artifact, context, lora):
    inputs = {"model": artifact("base"), "answers": artifact("answers", ROWS)}
    config = sft.Config(args=ARGS, lora=lora, snapshots=2)
    whole = context("whole")
    training = finish(artifact, "whole", sft.run(config, inputs, whole), whole)
    assert snapshot.kept_steps(training) == [2, 4]
    assert not (whole.directory / "checkpoints").exists()

    plain, short = context("plain"), context("short")
    sft.run(sft.Config(args=ARGS, lora=lora), inputs, plain)
    assert far(weights(plain.directory / "model"), weights(whole.directory / "model")) == 0
    sft.run(sft.Config(args=ARGS | {"max_steps": 4}, lora=lora), inputs, short)

    first = context("first")
    result = snapshot.run(snapshot.Config(), {"model": training}, first)
    assert result.metrics["training_step"] == 2
    read = finish(artifact, "first", result, first)
    second = context("second")
    result = snapshot.run(snapshot.Config(), {"model": training, "after": read}, second)
    assert result.metrics["training_step"] == 4
    assert far(weights(second.directory / "model"), weights(short.directory / "model")) < 1e-6
    assert far(weights(first.directory / "model"), weights(short.directory / "model")) > 1e-4
    assert find_model(str(second.directory / "model")).content
    there = (second.directory / "model" / "model.safetensors").stat()
    assert there.st_nlink == 2, "it takes no further room"

    base = {"model": training, "after": inputs["model"]}
    assert snapshot.run(snapshot.Config(), base, context("again")).metrics["training_step"] == 2
    with pytest.raises(UserError, match="keeps 2 snapshots, and this one is not among them"):
        snapshot.run(snapshot.Config(number=3), {"model": training}, context("third"))


@pytest.mark.long
def test_a_killed_training_has_all_of_them_in_the_end(artifact, context, tmp_path):
    inputs = {"model": artifact("base"), "answers": artifact("answers", ROWS)}
    options = {"args": ARGS | {"save_steps": 3}, "snapshots": 2}
    (tmp_path / "cut").mkdir()
    folders = {"model": "base", "answers": "answers"}
    train_until_killed(tmp_path, sft.__name__, folders, options, step=5)
    assert (tmp_path / "cut" / "checkpoints" / "snapshots" / "2").is_dir()
    (tmp_path / "cut" / "checkpoints" / "snapshots" / "4.partial").mkdir()
    sft.run(sft.Config(**options), inputs, context("cut"))
    whole = context("whole")
    sft.run(sft.Config(**options), inputs, whole)
    for step in ("2", "4"):
        pair = [
            weights(folder / "snapshots" / step) for folder in (tmp_path / "cut", whole.directory)
        ]
        assert far(*pair) < 1e-5
    names = {path.name for path in (tmp_path / "cut").iterdir()}
    assert names == {"model", "snapshots"}


def test_a_training_that_is_spread_over_processes_keeps_none(context):
    from stages.training.frame import keep_snapshots

    sharded = SimpleNamespace(distributed_type="FSDP")
    trainer = SimpleNamespace(args=SimpleNamespace(distributed_state=sharded))
    with pytest.raises(UserError, match="spread over processes"):
        keep_snapshots(trainer, 2, None, context("sharded"), None)
    keep_snapshots(trainer, 0, None, context("sharded"), None)
