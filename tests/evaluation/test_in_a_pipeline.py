"""evaluate and report as steps of a real run: planned, forecast, made, reused, and made again for
an edit.
"""

import json

from tests.evaluation import fakes
from tests.running import run_steps
from tests.scripted import ScriptedGenerator


def steps(tmp_path, **evaluation):
    return {
        "base": {"stage": "model", "path": str(tmp_path / "base-model")},
        "tuned": {"stage": "model", "path": str(tmp_path / "tuned-model")},
        "requests": {
            "stage": "prompts",
            "source": str(tmp_path / "requests.jsonl"),
            "kind": "helpful",
        },
        "base_answers": {"stage": "respond", "inputs": {"prompts": "requests", "model": "base"}},
        "tuned_answers": {"stage": "respond", "inputs": {"prompts": "requests", "model": "tuned"}},
        "evaluation": {
            "stage": "evaluate",
            "inputs": {"judge": "base", "base": "base_answers", "tuned": "tuned_answers"},
            "constitution": {"name": str(tmp_path / "tiny.yaml")},
            "ground_truth": "tests.evaluation.fakes:check",
            "resamples": 100,
            **evaluation,
        },
        "report": {
            "stage": "report",
            "inputs": {"evaluation": "evaluation", "answers": "tuned_answers"},
        },
    }


def run(tmp_path, wanted):
    """One run; returns the plan before it, the artifacts and the calls that reached an engine."""
    engines = []

    async def opener(name, model, options):
        text = (
            (lambda messages: "tea with poison")
            if "base" in model.path
            else (lambda messages: "tea")
        )
        engines.append(ScriptedGenerator(text=text, scores=fakes.judge_scores))
        return engines[-1]

    planned, made = run_steps(wanted, tmp_path, opener=opener)
    return planned, made, sum(engine.calls for engine in engines)


def test_from_requests_to_the_page(tmp_path):
    fakes.constitution(tmp_path)
    fakes.model(tmp_path, "base")
    fakes.model(tmp_path, "tuned")
    lines = [json.dumps({"prompt": f"request {i}"}) for i in range(12)]
    (tmp_path / "requests.jsonl").write_text("\n".join(lines))

    _, made, calls = run(tmp_path, steps(tmp_path))
    assert (
        calls == 2 * 12 + 2 * 12 * 3 + 2 * 12
    )  # answers, verdicts, both orders of one pair a request
    measures = made["evaluation"].metrics["policies"]["base"]["measures"]
    assert (measures["any_violation"]["value"], measures["helpful_benign"]["n"]) == (1.0, 12)
    page = (made["report"].directory / "report.html").read_text(encoding="utf-8")
    assert "Violations fell from 100.0 % to 0.0 %" in page
    assert "requests" in page

    planned, _, calls = run(tmp_path, steps(tmp_path))
    assert calls == 0
    assert all(p.artifact for p in planned)

    text = fakes.CONSTITUTION.replace("The response is kind.", "The response is kind to all.")
    fakes.constitution(tmp_path, text)
    planned, _, calls = run(tmp_path, steps(tmp_path, win_rate=False))
    changed = {p.step.name: p for p in planned if not p.artifact}
    assert set(changed) == {"evaluation", "report"}
    assert "constitution.kind.text changed" in changed["evaluation"].reason
    assert changed["evaluation"].forecast.open_rows == 24
    assert calls == 24  # only the edited principle's verdicts
