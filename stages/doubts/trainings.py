"""Signs that a training taught nothing: few steps, an endless warm-up, an end where it began.

In: counts and curves of a training, folders of weights, held-out accuracy. Out: warnings, as in
`Result`.
"""

from collections.abc import Collection, Mapping, Sequence
from math import inf, sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

from stages.guards.weights import Tensor, open_tensors, read_tensors, weight_files

FEW_STEPS = 10
"""Fewer optimiser steps than this are worth a warning."""
FEW_PAIRS = 20
"""Held-out pairs or scores; of fewer nothing is said."""
CHANCE = 0.5
LEAST_CHANGE = 1e-5
"""Part of the norm of a weight's matrix: a smaller change of all of them changes a logit by less
than the rounding of bfloat16 does (2^-9). Ten healthy trainings, of six steps and more, changed one
by 1e-3 or more; one of a single step by 7e-4.
"""
NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""How numpy calls what a file of weights holds; bfloat16 is the upper half of a float32."""
CHUNK = 2**25
"""Bytes of a weight that are compared at a time."""
INDIFFERENT = 0.99
"""A loss above this part of an indifferent model's says that the model prefers neither answer."""
LEAST_MARGIN = 0.05
"""The same of a mean margin below it: a soft label near one half is learnt with a loss near it."""
LEAST_KL = {"kl_per_completion": 1e-3, "kl": 1e-6}
"""Nats, by curve; `kl` is a mean over tokens. Below it nobody can tell two policies apart."""


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
    """Return a warning where a training left the weights as they were, or all but.

    Weights that both models have are compared one by one, up to the first that differs: a new
    output layer says nothing of the rest. Where the base is not on this disk, nothing is compared.

    Args:
        base: the folder of the model that the training began with.
        folder: that of the trained model.
        names: of the weights that were to change; none: all.
    """
    change = _largest_change(base, folder, names) if base.is_dir() else None
    if change is None or change >= LEAST_CHANGE:
        return []
    if change == 0:
        return ["the training changed no weight: the model is the one that it began with"]
    return [
        f"the training changed no weight by more than {change:.1g} of its size (of the norm of its "
        "matrix): the model is as good as the one that it began with"
    ]


def _largest_change(base: Path, folder: Path, names: Collection[str]) -> float | None:
    """Return by what part of its norm a weight changed most, looked at up to the first that changed
    by LEAST_CHANGE; None where there is nothing to compare.
    """
    before = _places(base)
    after = _places(folder)
    shared = [name for name in after if name in before and (not names or name in names)]
    largest = 0.0 if shared else None
    for name in shared:
        old_file, old = before[name]
        new_file, new = after[name]
        if old != new:
            return inf
        with open_tensors(old_file) as old_bytes, open_tensors(new_file) as new_bytes:
            change = _change(old_bytes(name), new_bytes(name), old.dtype)
        largest = max(largest or 0.0, change)
        if largest >= LEAST_CHANGE:
            break
    return largest


def _change(old: bytes, new: bytes, dtype: str) -> float:
    """Return the norm of a difference, as a part of the norm of what was before."""
    import numpy

    if old == new:
        return 0.0
    if dtype not in NUMBERS:
        return inf
    change = size = 0.0
    for start in range(0, len(old), CHUNK):
        parts = []
        for content in (old, new):
            numbers = numpy.frombuffer(content[start : start + CHUNK], NUMBERS[dtype])
            if dtype == "BF16":
                numbers = (numbers.astype("<u4") << 16).view("<f4")
            parts.append(numbers.astype("<f8"))
        change += float(((parts[1] - parts[0]) ** 2).sum())
        size += float((parts[0] ** 2).sum())
    return sqrt(change / size) if size else inf


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


def doubt_preference(
    history: Sequence[Mapping[str, float]],
    indifferent: float | None,
    held_out: Mapping[str, Any] | None,
) -> list[str]:
    """Return a warning where a training on preferences ended where it began.

    The last step's loss is that of the model before it, so what is held out may say more.

    Args:
        history: the curve, with losses and, of a training on preferences, margins.
        indifferent: the loss of a model that scores both answers alike; None: unknown.
        held_out: as `check_held_out` returns it.
    """
    tail = -max(1, len(history) // 10)
    # A batch of KTO may hold answers of one kind only.
    margins = [point["margin"] for point in history if "margin" in point][tail:]
    if indifferent is None or not margins:
        return []
    loss = fmean(point["loss"] for point in history[tail:])
    margin = max(fmean(margins), held_out["margin"] if held_out else -inf)
    if loss <= INDIFFERENT * indifferent or margin >= LEAST_MARGIN:
        return []
    return [
        f"its loss ended at {loss:.3f}, and that of a model which prefers neither answer is "
        f"{indifferent:.3f}: it learnt next to nothing of the preferences; look at its learning "
        "rate, steps and labels"
    ]


def doubt_drift(last: Mapping[str, float]) -> list[str]:
    """Return a warning where a policy that learnt from its rollouts is still the one it was.

    Args:
        last: the mean of each curve over the end of the training.
    """
    for name, least in LEAST_KL.items():
        if name in last and abs(last[name]) < least:
            return [
                f"at its last steps the policy still wrote what it wrote at the start (a KL of "
                f"{last[name]:.1g} nats): look at its learning rate and steps"
            ]
    return []
