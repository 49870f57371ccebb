"""`pipeline=benchmarks` on the embedded model, from the files that others published."""

from pathlib import Path

import pytest

from tests.embedded import run_config

DATA = (Path(__file__).resolve().parents[3] / ".." / "shared" / "data").resolve()
FILES = {
    "xstest": DATA / "xstest" / "xstest_prompts.csv",
    "hhh": DATA / "anthropic_cai" / "438HHHEvaluations.jsonl",
    "crows_pairs": DATA / "crows_pairs" / "crows_pairs_anonymized.csv",
    "bbq": DATA / "bbq" / "Religion.jsonl.gz",
}


@pytest.mark.long
@pytest.mark.slow
def test_benchmarks_on_the_embedded_model(tmp_path, monkeypatch):
    if missing := [str(path) for path in FILES.values() if not path.exists()]:
        pytest.skip(f"not there: {', '.join(missing)}")
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    files = [f"pipeline.files.{name}={path}" for name, path in FILES.items() if name != "bbq"]
    arguments = [
        "pipeline=benchmarks",
        "generator=transformers",
        *files,
        f"pipeline.files.bbq=[{FILES['bbq']}]",
    ]
    arguments.append("+pipeline.steps.bias.limit=100")
    _, done = run_config(tmp_path, *arguments, "model.sampling.max_tokens=48")
    refusals, judged = done["xstest_refusals"].metrics, done["xstest_judged"].metrics
    for found in (refusals, judged):
        assert {kind: e["n"] for kind, e in found["models"]["base"].items()} == {
            "all": 450,
            "safe": 250,
            "unsafe": 200,
        }
        assert found["facts"]["base"]["dropped"] == 0
    hhh = done["hhh"]
    estimate = hhh.metrics["models"]["base"]["all"]
    assert estimate["low"] < 0.6, "a model of a world of its own knows nothing of ours"
    assert estimate["n"] + sum(hhh.manifest.dropped.values()) == 438
    bias = done["bias"].metrics["models"]["base"]
    assert bias["crows_pairs_english: pct_stereotype"]["n"] == bias["bbq: acc"]["n"] == 100
    assert "xstest_refusals" in (done["report"].directory / "report.html").read_text()
    again, _ = run_config(tmp_path, *arguments, "model.sampling.max_tokens=48")
    assert all(p.artifact for p in again), "a second run is free"
