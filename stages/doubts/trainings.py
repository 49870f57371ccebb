"""Signs that a training taught nothing: few steps, a warm-up that never ends, equal weights.

In: counts of a training, folders of weights, held-out accuracy. Out: warnings, as in `Result`.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.guards.weights import Tensor, open_tensors, read_tensors, weight_files

FEW_STEPS = 10
"""Fewer optimiser steps than this are worth a warning."""
FEW_PAIRS = 20
"""Held-out pairs or scores; of fewer nothing is said."""
CHANCE = 0.5


def doubt_steps(steps: int, warmup: int, learning_rate: float) -> list[str]:
    """Return a warning where a training was too short to learn.

    A linear warm-up reaches its learning rate in the step after its last one.

    Args:
        steps: optimiser steps that were taken.
        warmup: steps of the warm-up.
        learning_rate: the one that the warm-up rises to.
    """
    if learning_rate == 0:
        return ["the learning rate is 0, so nothing was learnt"]
    if warmup and steps <= warmup:
        highest = (steps - 1) / warmup
        return [
            f"{_all_of(steps)} in the warm-up of {warmup}: the learning rate reached "
            f"{highest:.0%} of {learning_rate:g}; give more rows or epochs, or lower "
            "args.warmup_steps"
        ]
    if steps < FEW_STEPS:
        return [
            f"it took only {steps} optimiser step{'s' * (steps != 1)}; give more rows or epochs, "
            "or a smaller batch"
        ]
    return []


def _all_of(steps: int) -> str:
    if steps == 1:
        return "its single optimiser step lies"
    return f"all of its {steps} optimiser steps lie"


def doubt_weights(base: Path, folder: Path, names: Collection[str]) -> list[str]:
    """Return a warning where a training left the weights as they were.

    Weights that both models have are compared one by one, up to the first that differs: a new
    output layer says nothing of the rest. Where the base is not on this disk, nothing is compared.

    Args:
        base: the folder of the model that the training began with.
        folder: that of the trained model.
        names: of the weights that were to change; none: all.
    """
    if base.is_dir() and _are_equal(base, folder, names):
        return ["the training changed no weight: the model is the one that it began with"]
    return []


def _are_equal(base: Path, folder: Path, names: Collection[str]) -> bool:
    before = _places(base)
    after = _places(folder)
    shared = [name for name in after if name in before and (not names or name in names)]
    for name in shared:
        old_file, old = before[name]
        new_file, new = after[name]
        if old != new:
            return False
        with open_tensors(old_file) as old_bytes, open_tensors(new_file) as new_bytes:
            if old_bytes(name) != new_bytes(name):
                return False
    return bool(shared)


def _places(folder: Path) -> dict[str, tuple[Path, Tensor]]:
    """By the name of a tensor: the file that holds it, and its type and shape."""
    places = {}
    for file in weight_files(folder):
        for name, tensor in read_tensors(file).items():
            places[name] = (file, tensor)
    return places


def doubt_held_out(held_out: Mapping[str, Any] | None) -> list[str]:
    """Return a warning where a reward model is no better than guessing on pairs it did not see.

    Args:
        held_out: as `check_held_out` returns it.
    """
    if not held_out or held_out["n"] < FEW_PAIRS:
        return []
    if held_out["accuracy"] == 0 and held_out["margin"] == 0:
        return [f"it scores both answers of each of {held_out['n']} held-out pairs alike"]
    low, high = held_out["interval"]
    if low > CHANCE:
        return []
    return [
        f"on {held_out['n']} held-out pairs it is right in {held_out['accuracy']:.0%} "
        f"({low:.0%} to {high:.0%}): no better than guessing, as far as they show"
    ]


def doubt_classes(held_out: Mapping[str, Any] | None) -> list[str]:
    """Return a warning where a classifier cannot tell held-out texts of both kinds apart.

    Its accuracy says little: few texts break a rule. The bound is one standard error of the area
    under the curve above chance, under the hypothesis that it guesses (Mann and Whitney 1947).

    Args:
        held_out: `n`, `broken` (texts that break their rule) and `auc`.
    """
    if not held_out or held_out["n"] < FEW_PAIRS:
        return []
    n, broken, area = held_out["n"], held_out["broken"], held_out["auc"]
    if area is None:
        kind = "breaks" if broken else "keeps"
        return [f"each of {n} held-out texts {kind} its rule: whether it tells them apart is open"]
    if area > CHANCE + ((n + 1) / (12 * broken * (n - broken))) ** 0.5:
        return []
    return [
        f"on {n} held-out texts, of which {broken} break their rule, the area under its ROC curve "
        f"is {area:.2f}: no better than guessing, as far as they show"
    ]


def doubt_scores(scores: Sequence[float]) -> list[str]:
    """Return a warning where a reward model scores all answers alike."""
    if len(scores) < FEW_PAIRS or min(scores) < max(scores):
        return []
    return [f"all {len(scores)} answers have the same score, {scores[0]:g}"]
