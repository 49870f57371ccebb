"""Ablation with training, on the embedded model: reward models, then policies; what a variant does
not change is reused.
"""

import json
import sqlite3
import subprocess
import sys

import pytest

from tests.ablation.sweeping import last_sweep, results, run_command
from tests.embedded import ROOT, TINY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / "stages/world/checkpoint/model.safetensors").exists(),
        reason="no embedded model",
    ),
]


def command(folder, *overrides):
    own = ["-m", "experiment=ablate", f"runs_dir={folder / 'runs'}", "generator=transformers"]
    return [*own, *TINY, "variant=full,without:harm-1", *overrides]


@pytest.fixture
def ablate(monkeypatch, capfd):
    """Run the command; returns the results and what it printed."""

    def run(folder, *overrides):
        code = run_command(monkeypatch, *command(folder, *overrides))
        printed = capfd.readouterr()
        assert code == 0, printed.err
        return results(last_sweep(folder)), printed

    return run


def steps_made(folder, job):
    ran = json.loads((last_sweep(folder) / str(job) / "run.json").read_text())["steps"]
    return {name for name, step in ran.items() if not step["reused"] and name != "base"}


def calls(folder):
    with sqlite3.connect(folder / "runs" / "calls.sqlite") as store:
        return store.execute(
            "SELECT COUNT(*) FROM calls WHERE value NOT LIKE '%score%'"
        ).fetchone()[0]


@pytest.mark.long
def test_rewards(ablate, tmp_path):
    summary, printed = ablate(tmp_path, "pipeline=salmon", "ablate.level=reward")
    assert steps_made(tmp_path, 1) == {
        "pairs",
        "principle_reward_model",
        "plain_reward_model",
        "reward_model_test",
    }
    assert "sent" not in printed.err[printed.err.index("without:harm-1 seed 0:") :], (
        "no call for the second variant"
    )
    full, without = summary["variants"]
    assert 0 <= full["means"]["all"] <= 1 and without["outcomes"]["all"]["effect"]["n_prompts"] > 1
    assert {"all", "negated", "all (plain_reward_model)"} <= without["outcomes"].keys()
    before = calls(tmp_path)
    ablate(tmp_path, "pipeline=salmon", "ablate.level=reward")
    assert calls(tmp_path) == before and steps_made(tmp_path, 0) == steps_made(tmp_path, 1) == set()


@pytest.mark.long
def test_policies(ablate, tmp_path):
    summary, printed = ablate(tmp_path, "ablate.level=policy")
    made = steps_made(tmp_path, 1)
    # sl_cai is taken over from the full set where no revision of so few rows differs.
    assert {"revisions", "rl_cai", "evaluation"} <= made
    assert not made & {"red_team", "helpful", "answers", "helpful_answers", "base_held_out"}
    names = [variant["variant"] for variant in summary["variants"]]
    assert sorted(names) == ["full", "none", "without:harm-1"]
    without = next(v for v in summary["variants"] if v["variant"] == "without:harm-1")
    assert {
        "any_violation",
        "evasive",
        "well_formed",
        "helpful_benign",
        "violates harm-1",
    } <= without["outcomes"].keys()
    assert "Ablation at level policy" in printed.out


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_side_by_side(launcher, ablate, tmp_path):
    """Two processes, one store, one folder of artifacts: the same results, and each step is made
    once. `submitit_local` starts jobs as Slurm would, on this machine.
    """
    plugin = f"hydra_{launcher.partition('_')[0]}_launcher"
    pytest.importorskip(f"hydra_plugins.{plugin}", reason=f"{plugin} is not installed")
    more = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    overrides = ["pipeline=dpo", "ablate.level=labels"]
    at_once = [*overrides, f"hydra/launcher={launcher}", *more]
    process = subprocess.run(
        [sys.executable, "run.py", *command(tmp_path / "two", *at_once)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    together = results(last_sweep(tmp_path / "two"))
    alone, _ = ablate(tmp_path / "one", *overrides)
    assert together["variants"] == alone["variants"]
    assert all((last_sweep(tmp_path / "two") / str(job) / "run.json").exists() for job in (0, 1))
    artifacts = tmp_path / "two" / "runs" / "artifacts"
    assert (
        sorted(
            path.parent.name.rpartition("-")[0] for path in artifacts.glob("*-*/manifest.json")
        ).count("judgements")
        == 1
    )
    assert calls(tmp_path / "two") == calls(tmp_path / "one")
