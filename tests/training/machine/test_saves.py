"""When a training saves: by time and cost, alike in all processes, and at a SIGTERM."""

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.training.machine.saves import SHARE, TimedSaves, stop_at_sigterm
from tests.training.conftest import response
from tests.training.killed import count_steps, train_until_killed

ARGS = {
    "per_device_train_batch_size": 2,
    "max_steps": 6,
    "learning_rate": 1e-3,
    "max_length": 96,
}


def simulate(minutes: float, step: float, save: float, hours: float = 10.0, evaluation: float = 0):
    """A training with a clock of its own: the seconds of all saves, and between two of them."""
    time, said = [100.0], []
    saves = TimedSaves(minutes, said.append)
    saves.clock.now = lambda: time[0]
    control = SimpleNamespace(should_save=False, should_training_stop=False)
    seconds, losses, last = 0.0, [], time[0]
    saves.on_train_begin(None, None, control)
    while time[0] < 100 + 3600 * hours:
        saves.on_step_begin(None, None, control)
        time[0] += step
        saves.on_step_end(None, None, control)
        if evaluation:
            time[0] += evaluation
            saves.on_evaluate(None, None, control)
        if control.should_save:
            time[0] += save
            losses.append(time[0] - last)
            last = time[0]
            seconds += save
            saves.on_save(None, None, control)
            control.should_save = False
    assert not control.should_training_stop
    return seconds / (time[0] - 100), losses, said


def test_a_cheap_checkpoint_comes_before_the_minutes_are_over():
    share, losses, said = simulate(minutes=10, step=7, save=5)
    assert max(losses) <= 600 + 5 and len(losses) >= 60
    assert share <= SHARE and said == ["a checkpoint every 10 minutes, which a kill may cost"]


def test_a_dear_checkpoint_comes_as_seldom_as_its_cost_demands():
    share, losses, said = simulate(minutes=10, step=7, save=60)
    # The first one comes after ten minutes, since nobody knew its cost.
    assert losses[0] <= 660 and min(losses[1:]) >= 19 * 60 + 60
    assert max(losses) <= 19 * 60 + 60 + 7
    assert share <= SHARE + 60 / 36000
    assert said[1:] == [
        "a checkpoint takes 60.0 s, so one comes every 19.0 minutes, and a kill loses at most "
        "that: saving takes at most 5% of the time"
    ]


def test_steps_longer_than_the_minutes_are_each_saved_and_evaluations_cost_no_save():
    share, losses, _ = simulate(minutes=10, step=900, save=5)
    assert set(losses) == {905.0}
    share, losses, said = simulate(minutes=10, step=7, save=5, evaluation=60)
    assert share <= SHARE and len(said) == 1


def test_a_short_training_and_one_without_minutes_save_nothing():
    assert simulate(minutes=10, step=7, save=5, hours=0.15)[1] == []
    assert simulate(minutes=0, step=7, save=5) == (0.0, [], [])


def test_by_default_checkpoints_go_by_time_and_options_of_the_trainer_win(context):
    from stages.training.arguments import build_arguments

    def when(**args):
        arguments = build_arguments("SFTConfig", {"use_cpu": True, **args}, context())
        return arguments.checkpoint_minutes, str(arguments.save_strategy.value)

    assert when() == (10.0, "no")
    assert when(save_steps=2) == (0.0, "steps")
    assert when(save_strategy="no") == (0.0, "no")
    assert when(load_best_model_at_end=True, eval_strategy="steps", eval_steps=0.1) == (
        0.0,
        "steps",
    )


def test_a_save_is_left_to_those_who_may_delay_it():
    from stages.training.online.callbacks import AlignedSaves

    saves = TimedSaves(0.0, print)
    aligned = AlignedSaves(SimpleNamespace(steps_per_generation=2, gradient_accumulation_steps=1))
    control = SimpleNamespace(should_save=False, should_training_stop=False)
    saves.is_asked_to_stop = True
    asked = []
    for step in (1, 2):
        for callback in (saves, aligned):
            callback.on_step_end(None, SimpleNamespace(global_step=step), control)
        asked.append(control.should_save)
    assert asked == [False, True]
    saves.on_save(None, None, control)
    assert saves.has_stopped and control.should_training_stop


def test_without_checkpoints_a_sigterm_ends_the_process_as_ever():
    before = signal.getsignal(signal.SIGTERM)
    never = SimpleNamespace(save_strategy="no")
    with stop_at_sigterm(TimedSaves(0.0, print), never):
        assert signal.getsignal(signal.SIGTERM) == before
    with stop_at_sigterm(TimedSaves(10.0, print), never):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def decide(rank, file, results):
    """One of two processes, of which only the second is asked to stop."""
    import torch.distributed as dist

    from stages.training.machine.saves import _agree

    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    args = SimpleNamespace(device="cpu")
    decisions = [
        _agree(rank == 0, False, args),  # the first one's clock
        _agree(rank == 1, False, args),  # the other's does not count
        _agree(False, rank == 1, args),
    ]
    results.put(decisions)
    dist.destroy_process_group()


@pytest.mark.long
def test_all_processes_decide_alike(tmp_path):
    import torch.multiprocessing as mp

    spawning = mp.get_context("spawn")
    results = spawning.SimpleQueue()
    ranks = [
        spawning.Process(target=decide, args=(rank, tmp_path / "meeting", results))
        for rank in range(2)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(300)
    assert [results.get() for _ in ranks] == [[(True, False), (False, False), (False, True)]] * 2


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")


@pytest.mark.slow
def test_a_sigterm_saves_and_stops_and_nothing_is_lost(
    artifact, context, tmp_path, monkeypatch, capsys
):
    rows = [response(i, f"{'kind ' * (i % 4 + 1)}answer {i}") for i in range(9)]
    inputs = {"model": artifact("base"), "answers": artifact("answers", rows)}
    from stages.training.offline import sft

    whole = context("whole")
    sft.run(sft.Config(args=ARGS), inputs, whole)
    (tmp_path / "cut").mkdir()
    folders = {"model": "base", "answers": "answers"}
    train_until_killed(tmp_path, sft.__name__, folders, {"args": ARGS}, step=3, how="SIGTERM")
    checkpoints = tmp_path / "cut" / "checkpoints"
    assert [path.name for path in checkpoints.glob("checkpoint-*")] == ["checkpoint-3"]
    assert (checkpoints / "checkpoint-3" / "complete").exists()

    steps = count_steps(monkeypatch)
    sft.run(sft.Config(args=ARGS), inputs, context("cut"))
    said = capsys.readouterr().err
    assert "going on from checkpoint-3" in said and steps == [4, 5, 6]
    assert "a checkpoint every 10 minutes, which a kill may cost" in said
    left, right = weights(whole.directory), weights(tmp_path / "cut")
    assert max((left[name] - right[name]).abs().max().item() for name in left) < 1e-5


@pytest.mark.slow
def test_a_checkpoint_of_lora_holds_the_adapter_and_its_moments_only(
    artifact, context, monkeypatch
):
    import torch

    from stages.training.offline import sft
    from stages.training.progress import Watch

    seen = {}
    inner = Watch.on_save

    def look(self, args, state, control, **rest):
        inner(self, args, state, control, **rest)
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        seen["files"] = {path.name for path in folder.iterdir()}
        seen["moments"] = torch.load(folder / "optimizer.pt", weights_only=True)["state"]
        seen["trained"] = [w.shape for w in rest["model"].parameters() if w.requires_grad]

    monkeypatch.setattr(Watch, "on_save", look)
    rows = [response(i, f"kind answer {i}") for i in range(4)]
    inputs = {"model": artifact("base"), "answers": artifact("answers", rows)}
    args = ARGS | {"max_steps": 2, "save_steps": 1}
    sft.run(sft.Config(args=args, lora={"r": 2}), inputs, context("lora"))
    assert "adapter_model.safetensors" in seen["files"]
    assert "model.safetensors" not in seen["files"]
    moments = sorted(tuple(entry["exp_avg"].shape) for entry in seen["moments"].values())
    assert moments == sorted(map(tuple, seen["trained"]))
