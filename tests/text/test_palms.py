"""PALMS (Solaiman and Dennison 2021, arXiv 2106.10328) as a pipeline of the stages that are there;
no stage of its own. And people of the embedded world, who write and label single answers.

A position statement a category is a principle with the category's tag; the requests of a category
are prompts of its kind; a writer that reads the statement answers them; `filter` bounds the
values-targeted set and the control set of neutral text.
"""

from dataclasses import replace

import pytest

from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.runtime.rows import Response
from stages.world import authors
from stages.world.checker import check
from tests.preferences.matrices import artifact, constitution, run_stage
from tests.preferences.test_best_of import answer
from tests.running import Seeded, fake_model, run_steps

CATEGORIES = ["health", "injustice", "violence"]


def pipeline(root, statements=CATEGORIES, without=None, each=10):
    lines = [
        f"  - {{id: {name}-1, text: The position on {name}., tags: [{name}]}}"
        for name in statements
    ]
    (root / "positions.yaml").write_text("name: positions\nprinciples:\n" + "\n".join(lines) + "\n")
    steps = {"base": {"stage": "model", "path": str(fake_model(root / "model"))}}
    for name in [*CATEGORIES, "neutral"]:
        count = 0 if name == without else 200
        (root / f"{name}.csv").write_text(
            "prompt\n" + "".join(f"{name} request {i}\n" for i in range(count))
        )
        context = {
            "context": "principles",
            "constitution": {"name": str(root / "positions.yaml"), "tags": [name]},
        }
        steps |= {
            f"{name}_prompts": {
                "stage": "prompts",
                "source": str(root / f"{name}.csv"),
                "kind": name,
            },
            f"{name}_written": {
                "stage": "respond",
                "inputs": {"prompts": f"{name}_prompts", "model": "base"},
                **(context if name != "neutral" else {}),
            },
            name: {
                "stage": "filter",
                "inputs": {"rows": f"{name}_written"},
                "limit": each if name != "neutral" else each * len(CATEGORIES),
            },
        }
    return steps


def test_every_category_has_its_statement_and_examples_and_the_control_is_as_long(tmp_path):
    writer = Seeded()
    _, done = run_steps(pipeline(tmp_path), tmp_path, writer)
    targeted = [row for name in CATEGORIES for row in done[name].rows(Response)]
    assert {row.kind for row in targeted} == set(CATEGORIES) and len(targeted) <= 100
    assert all(row.context == [f"{row.kind}-1"] for row in targeted)
    assert all("position" not in turn["content"] for row in targeted for turn in row.prompt)
    control = done["neutral"].rows(Response)
    assert len(control) == len(targeted) == 30
    assert {row.kind for row in control} == {"neutral"} and all(not row.context for row in control)
    read = {
        messages[-1]["content"].split()[0]: messages[0]["content"]
        for messages, _, _ in writer.completed
    }
    assert all(f"The position on {name}." in read[name] for name in CATEGORIES)


def test_a_category_without_a_statement_or_without_an_example_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"has no tag 'violence'"):
        run_steps(pipeline(tmp_path, statements=CATEGORIES[:2]), tmp_path)
    with pytest.raises(UserError, match="the source gave no prompt"):
        run_steps(pipeline(tmp_path, without="injustice"), tmp_path)


def examples(*kinds):
    return [replace(answer(f"g{n}", 0), kind=kind) for n, kind in enumerate(kinds)]


def about(tmp_path, rows, names=("health", "violence"), **options):
    inputs = {"rows": artifact(tmp_path, "rows", rows, Response)}
    selection = constitution(tmp_path / "positions.yaml", list(names))
    return run_stage("filter", inputs, {"constitution": selection} | options)


def test_every_example_has_its_position_and_every_position_an_example(tmp_path):
    """systems.md section 15, item 8, for texts that people wrote."""
    rows = examples("health", "violence", "neutral", "cooking", "health")
    result = about(tmp_path, rows)
    assert [row.kind for row in result.rows] == ["health", "violence", "health"]
    assert {row.reason for row in result.dropped} == {"of kind neutral", "of kind cooking"}
    with_neutral = about(tmp_path, rows, kinds=["neutral"])
    assert {row.kind for row in with_neutral.rows} == {"health", "violence", "neutral"}
    sorted_file = examples(*["health"] * 5, *["violence"] * 3, "neutral")
    shortened = about(tmp_path, sorted_file, limit=4)
    assert [row.kind for row in shortened.rows] == ["health"] * 2 + ["violence"] * 2
    with pytest.raises(UserError, match="no example for the principle 'injustice' and 1 more"):
        about(tmp_path, rows, ["health", "violence", "injustice", "sexuality"])
    with pytest.raises(UserError, match="no example for the principle 'violence'") as raised:
        about(tmp_path, rows[::-1], limit=1)
    assert "`limit`" in raised.value.fix


def test_a_control_set_is_as_long_as_the_other_or_says_so(tmp_path):
    rows = examples(*["neutral"] * 5)
    inputs = {
        "rows": artifact(tmp_path, "rows", rows, Response),
        "like": artifact(tmp_path, "like", rows[:3], Response),
    }
    result = run_stage("filter", inputs, {})
    assert len(result.rows) == 3 and not result.warnings
    assert [row.reason for row in result.dropped] == ["over the limit"] * 2
    inputs["rows"] = artifact(tmp_path, "few", rows[:2], Response)
    (warning,) = run_stage("filter", inputs, {}).warnings
    assert warning == "only 2 rows, and 3 of which they are the like"


def test_people_of_the_world_write_by_the_ground_truth():
    texts = authors.write(70, seed=3)
    truths = [check(text["prompt"], text["response"]) for text in texts]
    assert not any(any(truth.violations[d] for d in authors.SAFE_DIMENSIONS) for truth in truths)
    assert all(truth.well_formed for truth in truths)
    dimensions = {principle.dimension for principle in load("world").principles}
    assert {text["category"] for text in texts} == dimensions
    neutral = authors.write(20, neutral=True)
    assert {text["category"] for text in neutral} == {"neutral"}
    assert texts != authors.write(70, seed=4) and texts == authors.write(70, seed=3)


def test_labels_of_the_world_are_those_of_the_checker():
    labels = authors.label(60, seed=1)
    ids = {p.id for p in load("world").principles if "safe" in p.tags}
    for row in labels:
        assert set(row["category"]) == ids
        broken = check(row["prompt"], row["response"]).violations
        assert all(row["category"][f"{d}-1"] == broken[d] for d in authors.SAFE_DIMENSIONS)
        assert row["is_safe"] == (not any(row["category"].values()))
    assert {row["is_safe"] for row in labels} == {True, False}
    with pytest.raises(ValueError, match="unknown split"):
        authors.label(1, split="other")
