"""Surveys as a user runs them: behind a server, and `pipeline=survey` on the embedded model."""

import pytest

from stages.runtime.generator_registry import open_generator
from tests.embedded import run_config
from tests.evaluation.surveys.test_survey import verdicts_of
from tests.generators.stub import in_thread, well
from tests.running import fake_model, run_steps

ORIENTATION = ("steps.orientation", "last_steps.report.inputs.orientation")


def test_behind_a_server(tmp_path):
    """It says A three times as often as B whatever is asked: over both orders that is nothing."""
    (tmp_path / "things.csv").write_text("id,text\npeace,peace\nwealth,wealth\nrest,rest\n")
    steps = {
        "base": {"stage": "model", "path": str(fake_model(tmp_path / "base"))},
        "asked": {
            "stage": "survey",
            "inputs": {"base": "base"},
            "source": str(tmp_path / "things.csv"),
            "instrument": "pairs",
        },
    }
    with in_thread(well) as stub:

        async def open_server(name, model, options):
            options = {"endpoints": [stub.url], "model": "some", "extensions": False}
            return await open_generator("server", model, options)

        _, done = run_steps(steps, tmp_path, opener=open_server)
    facts = done["asked"].metrics["models"]["base"]
    assert facts["asked"] == facts["answered"] == 3 * 2 * 6
    assert facts["leaked"] == pytest.approx(0.6, abs=1e-6)
    for item in facts["items"].values():
        assert item["probabilities"] == pytest.approx([0.5, 0.5])
        assert item["order"] > 0.3
    assert verdicts_of(done["asked"]) == {"not measurable"}


@pytest.mark.slow
def test_the_embedded_model_says_nothing_of_values(tmp_path):
    few = [f"+pipeline.steps.values.{name}" for name in ("limit=6", "wordings=2", "retests=1")]
    alone = ["pipeline.steps.values.inputs.in_context=null", "pipeline.steps.values.in_context=[]"]
    alone += [
        "pipeline.steps.orientation=null",
        "pipeline.last_steps.report.inputs.orientation=null",
    ]
    _, done = run_config(tmp_path, "pipeline=survey", "generator=transformers", *few, *alone)
    values = done["values"]
    assert verdicts_of(values) == {"not measurable"} and len(values.manifest.warnings) == 1
    assert "What models report" in (done["report"].directory / "report.html").read_text()
