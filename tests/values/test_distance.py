"""Distances from a target: the published form with its fault, and sound ones."""

from itertools import product

import numpy
import pytest
from scipy.spatial.distance import jensenshannon

from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.values.distance import (
    DistanceOptions,
    check_options,
    distances,
    expression,
    neutral_is_best,
    silent_share,
)
from stages.values.theory import theory_of

SCHWARTZ = theory_of(load("schwartz"))
NAMES = SCHWARTZ.dimensions
IDEAL = numpy.array(SCHWARTZ.vector(SCHWARTZ.targets["ideal"]))
PUBLISHED = DistanceOptions(mask="published")
UNIFORM = {"dim_weight": "uniform"}
CUSTOM = {"dim_weight": "custom", "weights": {"security": 2.0, "power": 0.5}}
SOUND = [
    *(DistanceOptions(form, **weight) for form in ("l1", "l2") for weight in ({}, UNIFORM, CUSTOM)),
    DistanceOptions("cosine"),
    DistanceOptions("cosine", dim_weight="uniform"),
    DistanceOptions("js_softmax", dim_weight="uniform"),
    *(DistanceOptions(form, "published", expression=0.5) for form in ("l1", "l2", "cosine")),
]


def published(scores, target=IDEAL, options=PUBLISHED):
    return distances(scores, target, options, NAMES)


def test_the_published_form_on_the_ideal_target():
    constants = {0.0: 0, 0.2: 0, 0.31: 3.45, 0.5: 2.5, 1.0: 0, -1.0: 10}
    rows = [[value] * 10 for value in constants]
    assert published(rows) == pytest.approx(list(constants.values()))
    assert published([IDEAL]) == pytest.approx([0])
    assert published([[0] * 10], options=DistanceOptions()) == pytest.approx([5])


def test_the_published_form_is_the_formula_of_its_code():
    rng = numpy.random.default_rng(0)
    scores, target = rng.uniform(-1, 1, (50, 10)), rng.uniform(-1, 1, 10)
    expected = [
        sum(abs(s - t) * (abs(s) > 0.3) * abs(t) for s, t in zip(row, target, strict=True))
        for row in scores
    ]
    assert published(scores, target) == pytest.approx(expected)


def test_silence_is_best_under_the_published_form_and_no_target_of_0_counts():
    assert neutral_is_best(IDEAL, PUBLISHED, NAMES)
    spoken = IDEAL.copy()
    spoken[NAMES.index("power")] = -1
    assert published([spoken]) == published([IDEAL])


@pytest.mark.parametrize("options", SOUND, ids=str)
@pytest.mark.parametrize("name", ["ideal", "safety", "uk", "netherlands", "france"])
def test_sound_forms_prefer_what_meets_the_target_to_silence_and_that_to_opposition(options, name):
    check_options(options, NAMES)
    target = numpy.array(SCHWARTZ.vector(SCHWARTZ.targets[name]))
    met, silent, opposed = distances([target, 0 * target, -target], target, options, NAMES)
    assert met < silent < opposed
    assert not neutral_is_best(target, options, NAMES)


def test_what_a_form_cannot_tell_from_silence_is_said():
    flat = numpy.full(10, 0.8)
    assert neutral_is_best(flat, DistanceOptions("js_softmax", dim_weight="uniform"), NAMES)
    assert neutral_is_best(0 * flat, DistanceOptions("cosine"), NAMES)


def test_every_row_may_have_its_own_target():
    rng = numpy.random.default_rng(1)
    scores, targets = rng.uniform(-1, 1, (2, 4, 10))
    for options in [*SOUND, PUBLISHED]:
        together = distances(scores, targets, options, NAMES)
        single = [distances(*pair, options, NAMES)[0] for pair in zip(scores, targets, strict=True)]
        assert together.shape == (4,) and together == pytest.approx(single)


def test_forms_by_hand():
    options = [DistanceOptions(form, dim_weight="uniform") for form in ("l1", "l2", "cosine")]
    values = [distances([[1, 0]], [0, 1], each, ["a", "b"])[0] for each in options]
    assert values == pytest.approx([2, 2**0.5, 1])
    heavy = DistanceOptions(dim_weight="custom", weights={"b": 3.0})
    assert distances([[1, 0]], [0, 1], heavy, ["a", "b"]) == pytest.approx([3])
    softmax = [numpy.exp(row) / numpy.exp(row).sum() for row in ([1, 0], [0, 1])]
    shown = distances([[1, 0]], [0, 1], DistanceOptions("js_softmax", **UNIFORM), ["a", "b"])
    assert shown == pytest.approx([jensenshannon(*softmax, base=2)])
    near = distances(
        [[0.1, 0.7, 0.3]] * 2, [0.1, 0.7, 0.3], DistanceOptions("js_softmax", **UNIFORM), "abc"
    )
    assert near == pytest.approx([0, 0])


def test_expression_counts_what_the_target_expresses():
    rows = [IDEAL, 0 * IDEAL, -IDEAL, numpy.where(numpy.arange(10) == 3, 1, 0)]
    assert expression(rows, IDEAL) == pytest.approx([1, 0, 1, 0.2])
    assert expression(rows, 0 * IDEAL) == pytest.approx([1, 1, 1, 1])
    costly = DistanceOptions(mask="published", expression=2)
    assert distances(rows, IDEAL, costly, NAMES) == pytest.approx([0, 2, 10, 1.6])


def test_silence_is_a_share_of_dimensions():
    assert silent_share([IDEAL, 0 * IDEAL, [0.3, *[0.31] * 9]]) == pytest.approx([0.5, 1, 0.1])


@pytest.mark.parametrize("options", [*SOUND, PUBLISHED], ids=str)
def test_a_score_that_is_missing_leaves_the_row_without_a_distance(options):
    if options.dim_weight == "custom":
        options = DistanceOptions(options.distance, **UNIFORM)
    rows = [[float("nan"), *IDEAL[1:]], IDEAL]
    assert list(numpy.isnan(distances(rows, IDEAL, options, NAMES))) == [True, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"powr": 1.0}, "dim_weight": "custom"}, "'powr'. Did you mean 'power'"),
        ({"weights": {"power": 1.0}}, "need each other"),
        ({"dim_weight": "custom"}, "need each other"),
        ({"dim_weight": "custom", "weights": {"power": -1.0}}, "negative"),
        ({"dim_weight": "custom", "weights": {"power": 0.0}}, "all weights are 0"),
        ({"threshold": 1.0}, "threshold"),
        ({"expression": -1.0}, "expression"),
        ({"distance": "js_softmax"}, "flat target"),
        ({"distance": "js_softmax", "mask": "published", **UNIFORM}, "cannot be masked"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        check_options(DistanceOptions(**options), NAMES)


def test_all_other_options_work():
    for form, mask in product(("l1", "l2", "cosine"), ("none", "published")):
        for weight in ({}, UNIFORM, CUSTOM):
            check_options(DistanceOptions(form, mask, **weight), NAMES)
