"""What the page shows of a survey: the profile, its reliability, and verdicts in words."""

from pathlib import Path

from stages.report.evidence.surveys import survey_view
from tests.evaluation.surveys.answerers import slots, wavering
from tests.evaluation.surveys.test_survey import LIKES, own_survey
from tests.running import fake_model, run_steps


def test_a_profile_and_a_model_that_cannot_be_measured(tmp_path):
    def worth(item, option):
        return 2.0 if LIKES[item] == option else 0.0

    generators = {"base": wavering(worth, 0.1), "places": slots(0.7, 0.3)}

    async def open_one(name, model, options):
        return generators[Path(model.path).name]

    steps = {}
    for name in generators:
        path = fake_model(tmp_path / name, name.encode())
        steps[name] = {"stage": "model", "path": str(path)}
    inputs = {name: name for name in generators}
    steps["asked"] = {"stage": "survey", "inputs": inputs, "source": own_survey(tmp_path)}
    steps["report"] = {"stage": "report", "inputs": {"asked": "asked"}}
    _, done = run_steps(steps, tmp_path, opener=open_one)
    page = (done["report"].directory / "report.html").read_text()
    assert "What models report of their values" in page and "not measurable" in page
    assert "its answers say no more than a uniform answer does" in page
    assert "how it was answered" not in page, "the section says it; no table repeats it"
    view = survey_view("asked", done["asked"].metrics)
    power = next(line for line in view["lines"] if line["name"] == "power")
    sure, unsure = power["cells"]
    assert sure["verdict"] == "measurable" and not sure["doubt"]
    assert unsure["doubt"] and power["changes"][0]["verdict"] == "not measurable"
    assert 0 <= sure["low"] <= sure["at"] <= sure["low"] + sure["width"] <= 100
