"""Warnings about trainings: that they come, and that a healthy training has none."""

import numpy
import pytest
from safetensors.numpy import save_file

from stages.doubts.trainings import (
    NUMBERS,
    doubt_drift,
    doubt_held_out,
    doubt_preference,
    doubt_scores,
    doubt_steps,
    doubt_weights,
)

STEPS = [
    (1, 1, "its single optimiser step lies in the warm-up of 1: the learning rate reached 0%"),
    (3, 5, "all of its 3 optimiser steps lie in the warm-up of 5: the learning rate reached 40%"),
    (5, 5, "all of its 5 optimiser steps lie in the warm-up of 5: the learning rate reached 80%"),
    (6, 5, "it took only 6 optimiser steps"),
    (1, 0, "it took only 1 optimiser step;"),
]


@pytest.mark.parametrize(("steps", "warmup", "message"), STEPS)
def test_too_few_steps(steps, warmup, message):
    (warning,) = doubt_steps(steps, warmup, 1e-4)
    assert warning.startswith(message)


def test_enough_steps():
    assert doubt_steps(10, 5, 1e-4) == doubt_steps(75, 5, 1e-4) == doubt_steps(10, 0, 1e-4) == []
    (warning,) = doubt_steps(75, 5, 0.0)
    assert "learning rate is 0" in warning


def test_the_schedule_of_transformers_agrees_with_the_share_that_is_named():
    """A linear warm-up of 5 steps gives its third step 40 % of the learning rate."""
    import torch
    from transformers import get_scheduler

    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = get_scheduler("linear", optimiser, num_warmup_steps=5, num_training_steps=20)
    rates = []
    for _ in range(6):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    assert rates[2] == pytest.approx(0.4) and max(rates[:5]) < 1 and rates[5] == 1


def weights(folder, **tensors):
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_equal_weights(tmp_path):
    trunk = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
    base = weights(tmp_path / "base", layer=trunk, embed=trunk + 1)
    same = weights(tmp_path / "same", embed=trunk + 1, layer=trunk, score=trunk)
    (warning,) = doubt_weights(base, same, ())
    assert "changed no weight" in warning
    moved = trunk.copy()
    moved[1, 2] = numpy.nextafter(moved[1, 2], numpy.float32(10))
    other = weights(tmp_path / "other", embed=trunk + 1, layer=moved)
    (warning,) = doubt_weights(base, other, ())
    assert "no weight by more than 6e-08 of its size" in warning, "one number by its last bit"
    assert doubt_weights(base, other, ["embed"]), "of those that were to change, none did"
    assert doubt_weights(base, same, ["score"]) == [], "a new layer cannot be compared"
    assert doubt_weights(tmp_path / "owner" / "name", same, ()) == [], "a model of the Hub"


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize(("change", "is_said"), [(2e-6, True), (7e-4, False)])
def test_weights_that_changed_next_to_nothing(tmp_path, dtype, change, is_said, monkeypatch):
    """The measured extremes: a training that taught nothing, and the smallest that did."""
    import torch
    from safetensors.torch import save_file as save_torch

    kinds = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    monkeypatch.setattr("stages.doubts.trainings.CHUNK", 64)
    before = torch.ones(100, 100, dtype=getattr(torch, kinds[dtype]))
    after = before.clone()
    after[0, 0] += change * 100  # of a norm of 100
    if dtype in ("F16", "BF16"):  # which cannot hold 1 + 2e-4, but a small number beside large ones
        before[0, 0], after[0, 0] = 0, change * 100
    for name, tensor in (("base", before), ("trained", after)):
        (tmp_path / name).mkdir()
        save_torch({"w": tensor}, tmp_path / name / "model.safetensors")
    warnings = doubt_weights(tmp_path / "base", tmp_path / "trained", ())
    assert ["no weight by more than 2e-06" in text for text in warnings] == [True] * is_said


def points(loss, margin, count=40):
    return [{"step": i, "loss": loss, "margin": margin} for i in range(count)]


def test_a_training_on_preferences_that_ends_where_it_began():
    ln2 = 0.693147
    (warning,) = doubt_preference(points(ln2, 0.0), ln2, None)
    assert warning.startswith("its loss ended at 0.693, and that of a model which prefers neither")
    assert doubt_preference(points(0.7098, -0.033), ln2, None), "a reward model's random start"
    assert doubt_preference(points(2.08, 0.01), 3 * ln2, None), "a cost model's three terms"
    assert doubt_preference(points(0.5, 0.0), 0.5, None), "KTO"
    began = points(ln2, 0.0, 36) + points(0.6533, 0.156, 4)
    assert doubt_preference(began, ln2, None) == [], "the demo's DPO"
    learnt = points(0.688, 0.2)
    assert doubt_preference(learnt, ln2, None) == [], "soft labels of 0.55, learnt"
    after = {"n": 12, "margin": 0.4}
    assert doubt_preference(points(ln2, 0.0, 1), ln2, after) == [], "one step that taught something"
    assert doubt_preference([{"loss": ln2}], ln2, None) == [], "not on preferences"
    assert doubt_preference(points(ln2, 0.0), None, None) == doubt_preference([], ln2, None) == []


def test_a_policy_that_did_not_move():
    assert "a KL of 0 nats" in doubt_drift({"kl": 0.0, "reward": 1.0})[0]
    assert doubt_drift({"kl_per_completion": -2e-4}), "an estimate may be negative"
    assert doubt_drift({"kl": 0.0087}) == doubt_drift({"kl_per_completion": 0.4}) == []
    assert doubt_drift({"reward": 1.0}) == [], "no KL is measured"


def test_a_reward_model_at_chance():
    at_chance = {"n": 100, "accuracy": 0.52, "interval": [0.42, 0.62], "margin": 0.1}
    (warning,) = doubt_held_out(at_chance)
    assert warning.startswith("on 100 held-out pairs it is right in 52% (42% to 62%)")
    better = {"n": 84, "accuracy": 0.7143, "interval": [0.61, 0.7998], "margin": 0.096}
    assert doubt_held_out(better) == doubt_held_out(None) == []
    assert doubt_held_out(at_chance | {"n": 6}) == [], "too few to tell"
    constant = {"n": 30, "accuracy": 0.0, "interval": [0.0, 0.11], "margin": 0.0}
    (warning,) = doubt_held_out(constant)
    assert "scores both answers of each of 30 held-out pairs alike" in warning


def test_constant_scores():
    assert doubt_scores([0.5] * 20) == ["all 20 answers have the same score, 0.5"]
    assert doubt_scores([0.5] * 19 + [0.6]) == doubt_scores([0.5] * 5) == doubt_scores([]) == []
