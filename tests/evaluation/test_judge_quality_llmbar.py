"""`pipeline=judge_quality` as composed from conf, on files of LLMBar's form and on its own."""

import json
from math import log
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stages.runtime.pipeline.steps import join_sections
from tests.evaluation import fakes
from tests.running import run_steps
from tests.scripted import ScriptedGenerator

ROOT = Path(__file__).resolve().parents[2]
LLMBAR = ROOT.parent / "shared/data/llmbar"
if not LLMBAR.is_dir():
    LLMBAR = Path("/work/shared/data/llmbar")
FILES = {
    "natural": "Natural",
    "gpt_inst": "Adversarial_GPTInst",
    "gpt_out": "Adversarial_GPTOut",
    "manual": "Adversarial_Manual",
    "neighbor": "Adversarial_Neighbor",
}


def composed(folder: Path, files: Path, *overrides: str) -> dict:
    """The pipeline's steps, as the command in docs/benchmarks.md composes them."""
    judge = fakes.model(folder)
    overrides = (
        "pipeline=judge_quality",
        f"pipeline.files={files}",
        "model=hub",
        f"model.path={judge.metrics['model_path']}",
        *overrides,
    )
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", list(overrides)).pipeline, resolve=True)
    return join_sections(config)


def longer(messages, options):
    """A judge that takes the longer answer, as weak ones do."""
    lines = messages[-1]["content"].partition("Response A: ")[2]
    first, _, second = lines.partition("\nResponse B: ")
    better = len(first) > len(second.partition("\nPrinciple: ")[0])
    probability = 0.8 if better else 0.2
    return [log(probability), log(1 - probability)]


def write(folder: Path) -> Path:
    """In the natural set the longer answer is the better one, in the others it is the worse."""
    files = folder / "llmbar"
    files.mkdir()
    for kind, name in FILES.items():
        records = []
        for i in range(20):
            long, short = f"a long answer to {kind} {i}", f"short {i}"
            better, worse = (long, short) if kind == "natural" else (short, long)
            place = i % 2
            sides = [worse, better] if place else [better, worse]
            records.append(
                {
                    "input": f"instruction {kind} {i}",
                    "output_1": sides[0],
                    "output_2": sides[1],
                    "label": 1 + place,
                }
            )
        (files / f"{name}.json").write_text(json.dumps(records))
    return files


def test_accuracy_by_subset(tmp_path):
    steps = composed(tmp_path, write(tmp_path))
    _, made = run_steps(steps, tmp_path, ScriptedGenerator(scores=longer))
    measures = made["quality"].metrics["models"]["judge"]
    assert measures["accuracy"]["n"] == 100 and measures["accuracy"]["value"] == 0.2
    assert measures["kind natural"]["value"] == 1.0 and measures["kind natural"]["low"] > 0.8
    for kind in list(FILES)[1:]:
        estimate = measures[f"kind {kind}"]
        assert (estimate["value"], estimate["n"]) == (0.0, 20) and estimate["high"] < 0.2
    assert measures["flips"]["value"] == 0
    page = (made["report"].directory / "report.html").read_text(encoding="utf-8")
    assert "kind gpt_<wbr>out" in page


def test_the_natural_set_alone(tmp_path):
    others = ",".join(f"{name}:null" for name in list(FILES)[1:])
    steps = composed(tmp_path, write(tmp_path), f"pipeline.steps={{{others}}}")
    _, made = run_steps(steps, tmp_path, ScriptedGenerator(scores=longer))
    assert made["quality"].metrics["models"]["judge"]["accuracy"]["n"] == 20


@pytest.mark.skipif(not LLMBAR.is_dir(), reason=f"{LLMBAR} is not there")
def test_llmbar_itself_is_read(tmp_path):
    """A judge of length: at chance or above on the natural set, far below on the adversarial."""
    steps = composed(tmp_path, LLMBAR)
    _, made = run_steps(steps, tmp_path, ScriptedGenerator(scores=longer))
    counts = {kind: made[kind].manifest.rows for kind in FILES}
    assert counts == {"natural": 100, "gpt_inst": 92, "gpt_out": 47, "manual": 46, "neighbor": 134}
    measures = made["quality"].metrics["models"]["judge"]
    assert measures["kind natural"]["value"] > 0.4
    for kind in ("manual", "gpt_inst", "neighbor"):
        assert measures[f"kind {kind}"]["high"] < 0.5, (kind, measures)
