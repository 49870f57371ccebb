"""PALMS (Solaiman and Dennison 2021, arXiv 2106.10328) as a pipeline of the stages that are there;
no stage of its own.

A position statement a category is a principle with the category's tag; the requests of a category
are prompts of its kind; a writer that reads the statement answers them; `filter` bounds the
values-targeted set and the control set of neutral text.
"""

import pytest

from stages.guards.errors import UserError
from stages.runtime.rows import Response
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
