"""How far value scores are from a target: BaseAlign's published form, and sound alternatives.

The published form (Yao et al. 2024, arXiv 2311.10766, its code) is, with scores s and target t,

    d = sum_i |s_i - t_i| |t_i| [|s_i| > 0.3],    `DistanceOptions(mask="published")`

Its optimum is degenerate: a text that says nothing of any value has d = 0, as near as can be, and
no score below 0.3 costs anything. `neutral_is_best` says whether options have this fault for a
target. Without the mask, or with an `expression` term, a text that meets the target is nearer than
a silent one, and a silent one nearer than one that opposes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from stages.guards.errors import UserError, refuse_unknown

WHERE = "the options of the distance"


@dataclass(frozen=True)
class DistanceOptions:
    """Which distance of scores from a target."""

    distance: Literal["l1", "l2", "cosine", "js_softmax"] = "l1"
    """l1: the sum of differences; l2: the root of the sum of their squares; cosine: 1 less the
    cosine, 1 of a silent text; js_softmax: Jensen-Shannon (base 2) of the softmax of both."""
    mask: Literal["none", "published"] = "none"
    """published: dimensions whose score is within `threshold` of 0 do not count."""
    threshold: float = 0.3
    """From which size on a score speaks of a value."""
    dim_weight: Literal["abs_target", "uniform", "custom"] = "abs_target"
    """abs_target: by the size of the target, so that a dimension with target 0 is free."""
    weights: dict[str, float] = field(default_factory=dict)
    """For custom: the weight of each dimension; others have 0."""
    expression: float = 0.0
    """The cost of expressing none of the dimensions that the target expresses, in proportion."""


def check_options(options: DistanceOptions, dimensions: Sequence[str]) -> None:
    """Refuse options that contradict each other.

    Raises:
        UserError: weights without custom or custom without weights, of unknown dimensions or
            negative; a threshold outside of [0, 1) or a negative expression; a softmax that is to
            be masked or weighted by the target, under which a flat one would equal silence.
    """
    refuse_unknown(options.weights, dimensions, "there is no dimension", f"{WHERE}: weights")
    weights = list(options.weights.values())
    is_softmax = options.distance == "js_softmax"
    rules = [
        (
            (options.dim_weight == "custom") == bool(weights),
            "custom weights and `weights` need each other",
            "write both, or none",
        ),
        (
            all(0 <= weight < math.inf for weight in weights),
            "a weight is negative or infinite",
            "write numbers from 0 up",
        ),
        (
            not weights or any(weights),
            "all weights are 0",
            "give a dimension a weight above 0",
        ),
        (
            0 <= options.threshold < 1,
            f"the threshold is {options.threshold:g}",
            "write a number from 0 to below 1",
        ),
        (
            0 <= options.expression < math.inf,
            f"the expression term is {options.expression:g}",
            "write a number from 0 up",
        ),
        (
            not (is_softmax and options.mask != "none"),
            "a softmax is of all dimensions and cannot be masked",
            "write mask: none",
        ),
        (
            not (is_softmax and options.dim_weight == "abs_target"),
            "a softmax weighted by its target takes a flat target for silence",
            "write dim_weight: uniform, or custom weights",
        ),
    ]
    for holds, fault, fix in rules:
        if not holds:
            raise UserError(fault, where=WHERE, fix=fix)


def distances(scores: Any, target: Any, options: DistanceOptions, dimensions: Sequence[str]) -> Any:
    """Return the distance of each row of scores from a target, an array of numbers from 0 up.

    A score that is not a number makes the row's distance nan.

    Args:
        scores: rows by dimensions, in [-1, 1]; or one row.
        target: one number a dimension, or rows by dimensions, where each row has its own target.
        options: those that `check_options` lets pass.
        dimensions: their names, in the order of the columns.

    Source: for the published form BaseAlign (Yao et al. 2024, arXiv 2311.10766), its training code.
        The expression term, the other distances and the other weights are ours.
    """
    scores = _rows(scores)
    target = np.broadcast_to(np.asarray(target, dtype=float), scores.shape)
    weights = np.ones_like(target)
    if options.dim_weight == "abs_target":
        weights = abs(target)
    elif options.dim_weight == "custom":
        weights = weights * [options.weights.get(name, 0.0) for name in dimensions]
    if options.mask == "published":
        weights = weights * (abs(scores) > options.threshold)
    far = _FORMS[options.distance](scores, target, weights)
    if options.expression:
        far = far + options.expression * (1 - expression(scores, target, options.threshold))
    return far


def expression(scores: Any, target: Any, threshold: float = 0.3) -> Any:
    """Return each row's share of the dimensions that a target expresses which the row expresses.

    Both are beyond the threshold, whatever their signs; 1 where the target expresses none.

    Args:
        scores: rows by dimensions; or one row.
        target: as in `distances`.
        threshold: from which size on a number expresses something.
    """
    scores = _rows(scores)
    wanted = abs(np.asarray(target, dtype=float)) > threshold
    wanted = np.broadcast_to(wanted, scores.shape)
    expressed = wanted & (abs(scores) > threshold)
    number = wanted.sum(axis=1)
    share = expressed.sum(axis=1) / np.maximum(number, 1)
    return np.where(number > 0, share, 1.0)


def silent_share(scores: Any, threshold: float = 0.3) -> Any:
    """Return each row's share of dimensions on which it is silent: a tripwire of an alignment."""
    is_silent = abs(_rows(scores)) <= threshold
    return is_silent.mean(axis=1)


def neutral_is_best(target: Any, options: DistanceOptions, dimensions: Sequence[str]) -> bool:
    """Return whether a text that says nothing is as near to a target as one that meets it."""
    perfect = np.asarray(target, dtype=float)
    silent = np.zeros_like(perfect)
    far = distances([silent, perfect], perfect, options, dimensions)
    return bool(far[0] <= far[1] + 1e-9)


def _rows(scores: Any) -> Any:
    return np.atleast_2d(np.asarray(scores, dtype=float))


def _l1(scores: Any, target: Any, weights: Any) -> Any:
    return (abs(scores - target) * weights).sum(axis=1)


def _l2(scores: Any, target: Any, weights: Any) -> Any:
    squares = (scores - target) ** 2
    return (squares * weights).sum(axis=1) ** 0.5


def _cosine(scores: Any, target: Any, weights: Any) -> Any:
    product = (weights * scores * target).sum(axis=1)
    of_scores = (weights * scores**2).sum(axis=1)
    of_target = (weights * target**2).sum(axis=1)
    lengths = (of_scores * of_target) ** 0.5
    cosine = np.divide(product, lengths, out=product * 0.0, where=lengths != 0)
    return 1 - cosine


def _js_softmax(scores: Any, target: Any, weights: Any) -> Any:
    from scipy.special import rel_entr

    shares = [weights * np.exp(rows) for rows in (scores, target)]
    first, second = (rows / rows.sum(axis=1, keepdims=True) for rows in shares)
    middle = (first + second) / 2
    divergence = (rel_entr(first, middle) + rel_entr(second, middle)).sum(axis=1) / 2
    # scipy's jensenshannon gives nan where rounding makes this negative.
    return np.maximum(divergence / np.log(2), 0.0) ** 0.5


_FORMS = {"l1": _l1, "l2": _l2, "cosine": _cosine, "js_softmax": _js_softmax}
