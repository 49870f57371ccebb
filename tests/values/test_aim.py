"""The target of an answer: for all, by kind of request, by its name; and answers as profiles."""

from dataclasses import replace

import pytest

from stages.guards.errors import UserError
from stages.runtime.stage import Expected
from stages.runtime.typed_config import identity_of, parse_config
from stages.values.aim import Aim, aim_identity, check_aim, foresee_kinds
from tests.values.rated import TWO, rated, two_values


def aim(folder, **options):
    return parse_config(Aim, {"constitution": two_values(folder)} | options, "here")


def test_a_target_for_all_and_one_for_each_kind(tmp_path):
    mixed = aim(tmp_path, target="calm", targets={"young": "bold", "both": {"calm": 1, "bold": 1}})
    assert mixed.target_of("anything") == [1.0, -1.0]
    assert mixed.target_of("young") == [-1.0, 1.0]
    assert mixed.target_of("both") == [0.0, 0.0]


def test_numbers_of_some_dimensions_are_a_target(tmp_path):
    assert aim(tmp_path, target={"power": -0.5}).target_of("k") == [0.0, -0.5]
    for wrong in ({"power": 2}, {"power": 1, "calm": 1}, {"calm": -1}):
        with pytest.raises(UserError):
            check_aim(aim(tmp_path, target=wrong))


def test_without_a_target_the_kind_names_it(tmp_path):
    named = aim(tmp_path)
    assert named.target_of("bold") == [-1.0, 1.0]
    with pytest.raises(UserError, match="requests of the kind 'red_team' have no target") as fault:
        named.target_of("red_team")
    assert "calm, bold" in fault.value.fix and "kind_column" in fault.value.fix


def test_a_file_counts_by_its_numbers_and_not_by_its_path(tmp_path):
    for name, mean in (("a", 6), ("b", 6), ("c", 5)):
        (tmp_path / f"{name}.yaml").write_text(f"care: {mean}\npower: 3.5\n")
    files = [aim(tmp_path, target=str(tmp_path / f"{name}.yaml")) for name in "abc"]
    assert files[0].target_of("k") == [1.0, 0.0]
    identities = [identity_of(each) | aim_identity(each) for each in files]
    assert identities[0] == identities[1] != identities[2]


def test_an_edited_target_is_another_identity(tmp_path):
    before = aim_identity(aim(tmp_path, target="calm"))
    other = tmp_path / "other"
    other.mkdir()
    edited = two_values(other, TWO.replace("{care: 1.0, power: -1.0}", "{care: 0.5, power: -1.0}"))
    assert aim_identity(aim(tmp_path, target="calm", constitution=edited)) != before


def test_a_dimension_is_the_mean_of_its_principles_and_none_may_lack(tmp_path):
    here = aim(tmp_path, target="calm")
    assert here.profile(["care-1", "care-2", "power"], [1.0, 0.0, -0.5]) == [0.5, -0.5]
    assert here.profile(["care-1", "other", "power"], [1.0, 9.0, -0.5]) == [1.0, -0.5]
    assert here.profile(["care-1", "care-2"], [1.0, 0.0]) is None
    assert here.read(rated("a", [1.0, 0.0, -0.5]), "here") == [0.5, -0.5]
    assert here.read(replace(rated("a", [0, 0, 0]), scores=[]), "here") is None


@pytest.mark.parametrize(
    "row",
    [
        rated("a", [3.0, 0.0, 0.0]),
        rated("a", [float("nan"), 0.0, 0.0]),
        replace(rated("a", [1.0, 0.0, 0.0]), negated=[True, False, False]),
    ],
)
def test_what_is_no_score_of_a_value_is_refused(tmp_path, row):
    with pytest.raises(UserError, match="does not say from -1 to 1"):
        aim(tmp_path, target="calm").read(row, "here")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"target": "clam"}, "there is no target 'clam'.*calm"),
        ({"target": "calm", "targets": {"k": "clam"}}, "no target 'clam'"),
        ({"target": {"calm": 0}}, "no weights of targets"),
        ({"target": "calm", "dim_weight": "custom"}, "custom weights"),
        ({"target": "calm", "weights": {"crae": 1.0}, "dim_weight": "custom"}, "no dimension"),
    ],
)
def test_faults_of_an_aim(tmp_path, options, fault):
    with pytest.raises(UserError, match=fault):
        check_aim(aim(tmp_path, **options))


def test_a_theory_without_targets_needs_one(tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    bare = two_values(folder, TWO.partition("targets:")[0])
    with pytest.raises(UserError, match="there is no target"):
        check_aim(aim(tmp_path, constitution=bare))


def test_the_neutral_text_optimum_is_warned_of(tmp_path):
    masked = aim(tmp_path, target="calm", mask="published")
    assert len(masked.doubts([masked.target_of("k")])) == 1
    for sound in ({"mask": "none"}, {"mask": "published", "expression": 1.0}):
        here = aim(tmp_path, target="calm", **sound)
        assert here.doubts([here.target_of("k")]) == []


def test_kinds_without_a_target_of_their_own_are_counted(tmp_path):
    mixed = aim(tmp_path, target="calm", targets={"young": "bold", "yuong": "bold"})
    lacking, unused = mixed.doubt_kinds({"young": 3, "helpful": 2})
    assert "2 of 5 requests" in lacking and "helpful 2" in lacking and "'calm'" in lacking
    assert "yuong" in unused and "young 3" in unused
    assert mixed.doubt_kinds({}) == aim(tmp_path, target="calm").doubt_kinds({"a": 1}) == []
    named = aim(tmp_path, targets={"young": "bold"})
    assert named.doubt_kinds({"young": 1, "calm": 1}) == []
    with pytest.raises(UserError, match="kind 'helpful' have no target"):
        named.doubt_kinds({"young": 1, "helpful": 1})


def test_a_plan_reads_kinds_from_each_input_once(tmp_path):
    def known(**kinds):
        return Expected(lambda: None, lambda: None, lambda: kinds)

    mixed = aim(tmp_path, target="calm", targets={"young": "bold"})
    (warning,) = foresee_kinds(mixed, {"base": known(young=3, old=1), "policy": known(old=1)})
    assert "1 of 4 requests" in warning


def test_a_file_of_survey_means_is_read_once_for_all_requests(tmp_path, monkeypatch):
    from stages.values import targets

    file = tmp_path / "means.yaml"
    file.write_text("care: 6\npower: 1\n")
    reads = []
    read = targets.read_target

    def count(*args):
        reads.append(args)
        return read(*args)

    monkeypatch.setattr(targets, "read_target", count)
    of_file = aim(tmp_path, target=str(file))
    assert [of_file.target_of(kind) for kind in ("a", "b", "a", "a", "b")] == [[1.0, -1.0]] * 5
    assert len(reads) == 2  # once for each kind
