"""A sweep reads what its jobs left: what is damaged or gone is a failed job, with its reason."""

import json
import random

import pytest

from stages.ablation.jobs import read_jobs
from stages.runtime.artifacts import Result
from tests.evaluation import fakes
from tests.fuzz.artifacts import damage

OVERRIDES = [["variant=full"], ["variant=without-a"]]


@pytest.fixture
def sweep(tmp_path):
    """Two finished jobs over one artifact."""
    made = fakes.artifact(tmp_path, "pairs", Result(metrics={"n": 1}), stage="judged_pairs")
    for number, variant in enumerate(("full", "without-a")):
        folder = tmp_path / "sweep" / str(number)
        folder.mkdir(parents=True)
        steps = {"pairs": {"artifact": str(made.directory), "reused": bool(number)}}
        record = {"variant": variant, "seed": 0, "steps": steps, "constitution": {"name": "x"}}
        (folder / "run.json").write_text(json.dumps(record | {"config": {"any": 1}}))
    return tmp_path / "sweep", made


def test_sound_jobs(sweep):
    folder, made = sweep
    first, second = read_jobs(folder, OVERRIDES)
    assert first.artifacts() == second.of_stage("judged_pairs") == [made]
    assert (first.error, first.reused, second.reused) == ("", frozenset(), {"pairs"})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "\x00",
        "[" * 90_000,
        '{"variant": 3, "seed": 0}',
        '{"variant": "x", "seed": "y"}',
        '{"variant": "x", "seed": 1e999}',
        '{"variant": "x", "seed": 0, "steps": {"a": 1}}',
    ],
    ids=lambda content: content[:30],
)
def test_a_damaged_record_is_a_failed_job(sweep, content):
    folder, _ = sweep
    (folder / "1" / "run.json").write_text(content)
    first, second = read_jobs(folder, OVERRIDES)
    assert not first.error and second.error.startswith("run.json is damaged")
    assert (second.variant, second.steps) == ("without-a", {})


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_artifact_fails_the_jobs_that_read_it(sweep, seed):
    folder, made = sweep
    what = damage(made.directory, random.Random(seed))
    for job in read_jobs(folder, OVERRIDES):
        if job.error:
            assert "step 'pairs': " in job.error and str(made.directory) in job.error, what
            assert job.steps == {}
        else:  # harmless
            assert job.artifacts()[0].metrics == {"n": 1}, what
