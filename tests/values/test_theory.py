"""Value theories of constitutions: circle, angles, groups, and what is left of them."""

import pytest

from stages.guards.errors import UserError
from stages.principles.constitution import Constitution, load
from stages.principles.select import Selection, select
from stages.values.theory import theory_of

SCHWARTZ = theory_of(load("schwartz"))


def build(*dimensions, **more):
    principles = [
        {"id": f"p-{number}", "text": "It is so.", "dimension": name}
        for number, name in enumerate(dimensions)
    ]
    return Constitution.model_validate({"name": "m", "principles": principles, **more})


def test_equal_steps_are_nominal_and_opposites_lie_five_steps_apart():
    assert SCHWARTZ.is_nominal
    assert list(SCHWARTZ.angles.values()) == [36.0 * step for step in range(10)]
    opposites = zip(SCHWARTZ.dimensions[:5], SCHWARTZ.dimensions[5:], strict=True)
    assert list(opposites) == [
        ("self-direction", "security"),
        ("stimulation", "tradition"),
        ("hedonism", "conformity"),
        ("achievement", "benevolence"),
        ("power", "universalism"),
    ]


def test_the_groups_of_the_circle_are_neighbours_and_cover_it():
    higher = list(SCHWARTZ.groups)[:4]
    assert sum((SCHWARTZ.groups[name] for name in higher), ()) == SCHWARTZ.dimensions
    for halves in (("personal-focus", "social-focus"), ("growth", "self-protection")):
        members = SCHWARTZ.groups[halves[0]] + SCHWARTZ.groups[halves[1]]
        assert sorted(members) == sorted(SCHWARTZ.dimensions)


def test_angles_of_the_file_are_not_nominal():
    theory = {"circle": ["b", "a", "c"], "angles": {"a": 40, "b": 40, "c": 200}}
    built = theory_of(build("a", "b", "c", theory=theory))
    assert built.dimensions == ("b", "a", "c") and not built.is_nominal
    assert built.angles == {"b": 40.0, "a": 40.0, "c": 200.0}


def test_a_set_without_theory_has_its_dimensions_in_order_and_no_circle():
    built = theory_of(build("b", "a", "b"))
    assert built.dimensions == ("b", "a")
    assert not built.angles and not built.groups and not built.is_nominal


def test_a_set_without_dimensions_has_no_theory():
    with pytest.raises(UserError, match="no principle has a dimension"):
        theory_of(load("hhh"))


def test_a_dropped_value_is_gone_and_the_others_stay_where_they_were():
    left = theory_of(select(Selection("schwartz", drop=("benevolence", "universalism"))))
    assert left.dimensions == SCHWARTZ.dimensions[:8]
    assert left.angles == {name: SCHWARTZ.angles[name] for name in left.dimensions}
    assert "self-transcendence" not in left.groups and "openness-to-change" in left.groups
    assert list(left.axes) == ["openness-conservation"]
    assert set(left.targets["uk"]) == set(left.dimensions)
    assert left.vector(left.targets["ideal"]) == [0, 0, 0, 1, 0, 1, 0, 1]
