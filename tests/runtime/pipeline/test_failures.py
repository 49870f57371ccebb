"""A step that only measures cannot keep the report from being written; others end the run."""

import asyncio
import errno
import io
from dataclasses import replace

import pytest

from stages import STAGES
from stages.evaluation.benchmarks import benchmark
from stages.guards.console import open_console
from stages.guards.disk import refuse_writing
from stages.guards.errors import SeveralErrors, UserError
from stages.runtime.calls import Engines
from stages.runtime.pipeline.failures import raise_failures, survivable
from stages.runtime.pipeline.runner import Runner
from stages.runtime.pipeline.steps import read_steps
from stages.runtime.store import CallStore
from tests.running import Seeded, text_pipeline
from tests.test_configs import composed_steps

CAN_FAIL = {"base_held_out", "sl_cai_held_out", "rl_cai_held_out", "evaluation", "held_out"}


def steps_of(folder):
    """Answers, a benchmark on them, and a report of both."""
    steps = text_pipeline(folder, prompts=5, rounds=1)
    steps = {name: steps[name] for name in ("base", "requests", "answers")}
    steps["refusals"] = {"stage": "benchmark", "inputs": {"base": "answers"}, "by": "refusal"}
    inputs = {"answers": "answers", "refusals": "refusals"}
    steps["report"] = {"stage": "report", "inputs": inputs}
    return steps


@pytest.fixture
def run(tmp_path):
    """Run steps; return the runner and the artifacts."""

    async def open_scripted(name, model, options):
        return Seeded()

    def run_once(steps):
        store = CallStore(tmp_path / "calls.sqlite")
        with asyncio.Runner() as loop:
            runner = Runner(
                tmp_path / "artifacts",
                0,
                store,
                Engines("scripted", {}, opener=open_scripted),
                open_console(file=io.StringIO()),
                loop,
            )
            done = runner.run(runner.plan(read_steps(steps, STAGES)))
        store.close()
        return runner, done

    return run_once


def break_benchmark(monkeypatch):
    def fail(config, inputs, context):
        raise UserError("the judge has moved", where="step 'refusals'")

    monkeypatch.setattr(benchmark, "STAGE", replace(benchmark.STAGE, run=fail))


def test_the_report_is_written_without_what_failed_and_says_so(tmp_path, run, monkeypatch):
    steps = steps_of(tmp_path)
    with monkeypatch.context() as patch:
        break_benchmark(patch)
        runner, done = run(steps)
        assert set(done) == {"base", "requests", "answers", "report"}
        page = (done["report"].directory / "report.html").read_text()
        assert "failed, so its results are missing here" in page and "the judge has moved" in page
        assert "the judge has moved" in runner.console.file.getvalue()
        with pytest.raises(UserError, match="has moved"):
            raise_failures(runner.failures)
        _, again = run(steps)
        assert again["report"].directory == done["report"].directory, "nothing new to say"
    runner, whole = run(steps)
    assert not runner.failures and "refusals" in whole
    assert whole["report"].directory != done["report"].directory
    assert "has moved" not in (whole["report"].directory / "report.html").read_text()
    assert whole["answers"].directory == done["answers"].directory, "nothing is done twice"


def test_what_needs_a_failed_step_is_not_run_and_both_are_reported(tmp_path, run, monkeypatch):
    steps = steps_of(tmp_path)
    steps["few"] = {"stage": "filter", "inputs": {"rows": "refusals"}, "limit": 1}
    steps["report"] = {"stage": "report", "inputs": {"answers": "answers", "few": "few"}}
    break_benchmark(monkeypatch)
    runner, done = run(steps)
    assert list(runner.failures) == ["refusals", "few"] and "report" in done
    assert "needs refusals" in str(runner.failures["few"])
    with pytest.raises(UserError, match="has moved"):
        raise_failures(runner.failures)
    other = UserError("another fault")
    with pytest.raises(SeveralErrors, match="2 faults"):
        raise_failures(runner.failures | {"other": other})


def test_without_a_report_the_run_ends_at_once(tmp_path, run, monkeypatch):
    steps = steps_of(tmp_path)
    del steps["report"]
    break_benchmark(monkeypatch)
    with pytest.raises(UserError, match="has moved"):
        run(steps)


def test_no_step_that_a_training_learns_from_may_fail():
    steps = read_steps(composed_steps("pipeline=cai"), STAGES)
    assert survivable(steps) == CAN_FAIL | {"held_out_helpful"}


def test_a_full_disk_is_not_survived(tmp_path, run, monkeypatch):
    """Every further step would lose the calls that it has in flight."""

    def fail(config, inputs, context):
        raise refuse_writing(OSError(errno.ENOSPC, "No space left on device"), tmp_path)

    monkeypatch.setattr(benchmark, "STAGE", replace(benchmark.STAGE, run=fail))
    with pytest.raises(UserError, match="cannot be written"):
        run(steps_of(tmp_path))
    assert not list((tmp_path / "artifacts").glob("report-*"))
