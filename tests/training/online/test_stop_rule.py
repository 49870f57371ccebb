"""The stop rule: as many false alarms as asked for, alarms where gold falls, and what follows from
one, in a real training too.
"""

from dataclasses import asdict

import numpy as np
import pytest
from transformers import TrainerControl, TrainerState

from stages.guards.errors import UserError
from stages.runtime.rows import Prompt
from stages.training.online import ppo
from stages.training.online.hacking.detector import (
    check_last,
    find_alarm,
    largest_statistic,
    simulate_limit,
)
from stages.training.online.hacking.stop_rule import StopRule
from stages.training.online.hacking.stopping import StopTraining
from stages.training.online.online_training import online_identity
from stages.training.online.rewards import read_terms
from stages.training.online.trl_stages import GRPO
from tests.training import rewarding

POINTS = 40
LETTERS = {
    "letters": {"term": "python", "function": "tests.training.rewarding:early_letters"},
    "gold": {"term": "python", "function": "tests.training.rewarding:late_letters", "weight": 0.0},
}


CURVES = 1000
"""Trainings of a simulation; its seeds are not those that the limit is simulated with."""


def rising(dice):
    """A reward that rises so clearly that gold alone decides."""
    return list(np.linspace(0, 99, POINTS) + dice.standard_normal(POINTS))


def share_of_alarms(gold):
    """The share of trainings with an alarm at any point."""
    return np.mean(largest_statistic(gold) > simulate_limit(POINTS, 0.05))


def test_as_many_false_alarms_as_asked_for():
    """Of whole trainings, not of points: 0.071 is 3 standard errors above 5 %."""
    dice = np.random.default_rng(11)
    noise = dice.standard_normal((CURVES, POINTS))
    assert 0.029 < share_of_alarms(noise) < 0.071
    assert 0.029 < share_of_alarms(7 + 1e-3 * noise) < 0.071, "on any scale"
    assert share_of_alarms(dice.standard_t(5, (CURVES, POINTS))) < 0.13, "more with heavy tails"
    assert share_of_alarms(np.linspace(0, 3, POINTS) + noise) < 0.05, "fewer where gold rises"
    limit = simulate_limit(POINTS, 0.05)
    singly = [find_alarm(list(one), rising(dice), limit) is not None for one in noise[:12]]
    assert singly == list(largest_statistic(noise[:12]) > limit)


@pytest.mark.parametrize("stays, at_most", [(0.2, 0.16), (0.4, 0.25)])
def test_noise_that_stays_for_a_few_points_raises_more_but_not_without_bound(stays, at_most):
    noise = np.random.default_rng(14).standard_normal((CURVES, POINTS))
    for place in range(1, POINTS):
        noise[:, place] += stays * noise[:, place - 1]
    assert 0.05 < share_of_alarms(noise) < at_most


def test_a_fall_is_seen_and_soon():
    """Gold falls by 3 standard deviations of its noise within 8 points, from point 15 on."""
    fall = -3 * np.clip((np.arange(POINTS) - 15) / 8, 0, 1)
    dice = np.random.default_rng(15)
    gold = fall + dice.standard_normal((CURVES, POINTS))
    assert share_of_alarms(gold) > 0.9
    limit = simulate_limit(POINTS, 0.05)
    alarms = [find_alarm(list(one), rising(dice), limit) for one in gold[:15]]
    delays = [alarm.point - 15 if alarm else np.inf for alarm in alarms]
    assert 0 < np.median(delays) <= 13
    steep = np.clip(15 - np.arange(POINTS), -20, 0) + 0.3 * dice.standard_normal(POINTS)
    assert find_alarm(list(steep), rising(dice), limit).point <= 19, "a trend is no noise"


def test_no_alarm_where_the_reward_falls_too():
    dice = np.random.default_rng(16)
    gold = list(np.linspace(0, -20, POINTS) + dice.standard_normal(POINTS))
    limit = simulate_limit(POINTS, 0.05)
    assert find_alarm(gold, gold, limit) is None, "a policy that falls apart games nothing"
    alarm = find_alarm(gold, rising(dice), limit)
    assert alarm is not None
    assert alarm.gold_now < alarm.gold_best and alarm.reward_now > alarm.reward_best
    assert check_last(gold[:9], rising(dice)[:9], limit) is None, "too few points"


@pytest.mark.parametrize("level", [0.1, 0.3, 1 / 3, 0.7, 1.0, 0.0, -0.1, 1e6 / 3])
def test_gold_that_never_changes_raises_no_alarm(level):
    """Its sums are rounded, in each stretch in another way."""
    reward = list(np.arange(POINTS, dtype=float))
    limit = simulate_limit(POINTS, 0.05)
    assert find_alarm([level] * POINTS, reward, limit) is None
    nearly = [level, np.nextafter(level, 9)] * (POINTS // 2)
    assert find_alarm(nearly, reward, limit) is None


def test_one_small_dip_of_gold_that_was_constant_is_no_fall_and_a_real_fall_is_seen():
    reward = list(np.arange(POINTS, dtype=float))
    limit = simulate_limit(POINTS, 0.05)
    dip = [1.0] * POINTS
    dip[14] = 0.98
    assert find_alarm(dip, reward, limit) is None
    share = np.clip(1 - (np.arange(POINTS) - 14) / 20, 0.5, 1)  # of 32 answers, from point 15 on
    fall = np.random.default_rng(19).binomial(32, share) / 32
    assert 14 < find_alarm(list(fall), reward, limit).point <= 22


def test_the_limit_is_of_the_statistic_that_is_checked_point_by_point():
    """What is simulated for many curves at once is what a training computes at each point."""
    dice = np.random.default_rng(17)
    curve = dice.standard_normal(24)
    reward = list(np.arange(24.0))
    singles = [check_last(list(curve[:n]), reward[:n], -np.inf) for n in range(10, 25)]
    assert max(one.statistic for one in singles) == pytest.approx(largest_statistic(curve[None])[0])


def logged(step, gold, reward, **more):
    return {"rewards/gold/mean": gold, "reward": reward, "loss": 0.1, "step": step} | more


def watch(rule, history, resume_at=0):
    """Give a callback a history, of which the first part is there at its beginning."""
    told = []
    callback = StopTraining(rule, told.append)
    state, control = TrainerState(max_steps=len(history)), TrainerControl()
    state.log_history = history[:resume_at]
    arguments = type("Arguments", (), {"logging_steps": 1})()
    callback.on_train_begin(arguments, state, control)
    for logs in history[resume_at:]:
        if control.should_training_stop:
            break
        state.global_step = logs["step"]
        callback.on_log(arguments, state, control, logs)
    return callback, control, told


def hacked(count=30):
    dice = np.random.default_rng(18)
    fall = -np.clip(np.arange(count) - 12, 0, None) + 0.3 * dice.standard_normal(count)
    return [logged(n + 1, float(fall[n]), float(n)) for n in range(count)]


def test_a_resumed_training_decides_as_one_that_never_ended():
    rule = StopRule(gold="gold")
    whole, control, told = watch(rule, hacked())
    assert control.should_training_stop and len(told) == 1
    assert 12 < whole.event.step < 22 and whole.event.best_step <= 14
    for place in (5, whole.event.step - 1, whole.event.step + 3):
        again, control, _ = watch(rule, hacked(), resume_at=place)
        assert asdict(again.event) == asdict(whole.event) and control.should_training_stop
    warned, control, _ = watch(StopRule(gold="gold", action="warn"), hacked())
    assert warned.event.step == whole.event.step and not control.should_training_stop


def test_a_rule_that_could_watch_nothing_says_so():
    few, _, _ = watch(StopRule(gold="gold"), hacked(9))
    missing, _, _ = watch(StopRule(gold="gold"), [logged(n, None, 1.0) for n in range(20)])
    assert "it was scored in 9 rollouts, and the test needs 10" in few.doubts()[0]
    assert "it was scored in 0 rollouts" in missing.doubts()[0]
    budget = StopRule(kl=3.0)
    for kl in (None, 0.0):  # of GRPO and of PPO without a reference
        history = [logged(n, 1.0, 1.0, kl_per_completion=kl) for n in range(20)]
        assert "with `beta: 0` nothing measures it" in watch(budget, history)[0].doubts()[0]
    below = [logged(n, 1.0, 1.0, kl_per_completion=0.1 * (n > 0)) for n in range(20)]
    assert watch(budget, below)[0].doubts() == []
    assert watch(StopRule(gold="gold"), hacked())[0].doubts() == []


def test_the_limit_is_for_as_many_points_as_there_are_rollouts():
    callback = StopTraining(StopRule(gold="gold"), print)
    options = {"logging_steps": 1, "steps_per_generation": 2, "num_iterations": 2}
    arguments = type("Arguments", (), options | {"gradient_accumulation_steps": 2})()
    callback.on_train_begin(arguments, TrainerState(max_steps=40), TrainerControl())
    assert callback.limit == simulate_limit(20, 0.05)


def test_a_kl_above_its_budget_ends_a_training_and_points_without_a_number_are_left_out():
    history = [logged(n, None if n % 3 else 1.0, None, kl_per_completion=n) for n in range(1, 20)]
    callback, control, _ = watch(StopRule(kl=8.0), history)
    assert (callback.event.kind, callback.event.step) == ("kl", 10), "7, 8, 9 and 10 are 8.5"
    assert control.should_training_stop
    tokens = [logged(n, 1.0, 1.0, kl=0.5, **{"tripwire/length": 20}) for n in range(1, 9)]
    assert watch(StopRule(kl=8.0), tokens)[0].event.kl == 10
    assert watch(StopRule(gold="gold"), history)[0].event is None


@pytest.mark.parametrize(
    "stop, part",
    [
        ({}, "watches nothing"),
        ({"gold": "gould"}, r"^stage '\w+', stop: .* unknown term 'gould'\. Did you mean 'gold'"),
        ("gold", "option 'stop': Input should be a mapping"),
        ({"gold": "letters"}, "is trained against"),
        ({"gold": "gold", "false_alarms": 0.0}, "false_alarms"),
        ({"gold": "gold", "action": "pause"}, "action"),
        ({"gold": "gold", "kl": -1.0}, "kl"),
    ],
)
@pytest.mark.parametrize("stage", [ppo.STAGE, GRPO])
def test_a_rule_that_cannot_work_is_refused_when_planned(stage, stop, part):
    from stages.runtime.typed_config import parse_config

    with pytest.raises(UserError, match=part):
        config = parse_config(stage.config, {"rewards": LETTERS, "stop": stop}, "step 'policy'")
        stage.check(config)


def test_what_uses_none_of_it_has_the_identity_that_it_had():
    """The identities as they were computed before there were these options."""
    config = GRPO.config(rewards={"short": {"term": "length"}, "ended": {"term": "unfinished"}})
    assert online_identity(config) == {
        "args": {},
        "rewards": {
            "short": {"term": "length", "weight": 1.0, "per": 1024, "cap": 1.0, "factor": {}},
            "ended": {"term": "unfinished", "weight": 1.0},
        },
        "terms": ["short", "ended"],
    }
    more = {"rewards": LETTERS, "stop": StopRule(gold="gold")}
    assert online_identity(GRPO.config(**more))["stop"]["gold"] == "gold"
    terms = {"a": {"term": "length", "free": 9, "only_if": {"term": "b"}}, "b": {"term": "length"}}
    identity = GRPO.identity(GRPO.config(rewards=terms))["rewards"]["a"]
    assert identity["free"] == 9
    assert identity["only_if"] == {"term": "b", "above": 0.0, "floor": 0.0}
    assert read_terms(terms, "grpo")["a"].only_if.term == "b"


HACKED = {
    "pay": {"term": "python", "function": "tests.training.rewarding:rising"},
    "gold": {"term": "python", "function": "tests.training.rewarding:falling", "weight": 0.0},
}


@pytest.mark.slow
@pytest.mark.parametrize("action, snapshots", [("stop", 5), ("stop", 0), ("warn", 0)])
def test_a_training_that_games_its_reward_is_stopped_and_keeps_its_best_model(
    artifact, context, action, snapshots, monkeypatch
):
    """The reward rises with each rollout, and gold falls after the twelfth."""
    for name in rewarding.SCORED:
        monkeypatch.setitem(rewarding.SCORED, name, 0)
    rows = [
        Prompt(id=f"p{i}", messages=[{"role": "user", "content": f"the cat asks {i}"}], kind="k")
        for i in range(16)
    ]
    inputs = {"model": artifact("base"), "prompts": artifact("prompts", rows)}
    args = {
        "per_device_train_batch_size": 8,
        "max_completion_length": 4,
        "max_steps": 24,
        "learning_rate": 3e-3,
        "save_strategy": "no",
        "lr_scheduler_type": "constant",
    }
    config = ppo.STAGE.config(
        rewards=HACKED,
        args=args,
        stop=StopRule(gold="gold", action=action),
        snapshots=snapshots,
    )
    here = context(f"{action}-{snapshots}")
    result = ppo.STAGE.run(config, inputs, here)
    event = result.metrics["stop"]["event"]
    assert event is not None and 13 < event["step"] < 20 and event["best_step"] <= 13
    assert "gold" in result.warnings[0] and "is gamed" in result.warnings[0]
    assert result.metrics["steps"] == (24 if action == "warn" else event["step"])
    assert (here.directory / "model" / "model.safetensors").is_file()
    early = [step for step in (4, 8, 12, 16, 20) if step <= event["best_step"]]
    if snapshots and early:
        kept = here.directory / "snapshots" / str(early[-1]) / "model.safetensors"
        assert kept.read_bytes() == (here.directory / "model" / "model.safetensors").read_bytes()
        assert f"step {early[-1]}" in result.warnings[0]
    elif action == "stop":
        assert "that of the last step" in result.warnings[0]
    else:
        assert "went on to its end" in result.warnings[0]
