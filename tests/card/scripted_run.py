"""A run on the disk with a policy: scripted answers that depend on the weights, a real record."""

import hashlib
import json
from pathlib import Path

from stages.runtime.artifacts import Result, finish_artifact, folder_of
from stages.runtime.generation import Completion
from stages.runtime.manifest import MANIFEST, list_files, seal
from tests.evaluation import fakes
from tests.running import as_safetensors, fake_model, run_steps
from tests.runs_on_disk import NEWER, record
from tests.scripted import ScriptedGenerator

REQUESTS = 24
BAD, GOOD = b"bad", b"good"


class Speaker(ScriptedGenerator):
    """Of 16 answers, bad weights poison about 12, good ones about 4."""

    def __init__(self, weights: bytes):
        super().__init__(scores=fakes.judge_scores)
        self.poisoned = 4 if GOOD in weights else 12

    async def complete(self, messages, sampling, seed):
        asked = await super().complete(messages, sampling, seed)
        digest = hashlib.sha256(f"{messages}{seed}".encode()).hexdigest()
        text = "tea with poison" if int(digest[0], 16) < self.poisoned else "tea"
        return Completion(text, asked.finish_reason, asked.prompt_tokens, asked.completion_tokens)


async def open_speaker(name, model, options):
    return Speaker((Path(model.path) / "model.safetensors").read_bytes())


def write_policy(folder: Path) -> None:
    fake_model(folder, GOOD)
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')


def steps_of(root: Path) -> dict:
    files = root / "files"
    files.mkdir(parents=True, exist_ok=True)
    fakes.constitution(files)
    fake_model(files / "base", BAD)
    for name in ("requests", "held_out"):
        lines = [json.dumps({"prompt": f"{name} {i}"}) for i in range(REQUESTS)]
        (files / f"{name}.jsonl").write_text("\n".join(lines))
    source = str(files / "held_out.jsonl")
    return {
        "base": {"stage": "model", "path": str(files / "base")},
        "requests": {"stage": "prompts", "source": str(files / "requests.jsonl")},
        "held_out": {"stage": "prompts", "source": source, "license": "cc-by-4.0"},
        "answers": {"stage": "respond", "inputs": {"prompts": "requests", "model": "base"}},
        "policy": {"stage": "sft", "inputs": {"model": "base", "answers": "answers"}},
        "base_answers": {"stage": "respond", "inputs": {"prompts": "held_out", "model": "base"}},
        "policy_answers": {
            "stage": "respond",
            "inputs": {"prompts": "held_out", "model": "policy"},
        },
        "evaluation": {
            "stage": "evaluate",
            "inputs": {"judge": "base", "base": "base_answers", "policy": "policy_answers"},
            "constitution": {"name": str(files / "tiny.yaml")},
            "ground_truth": "tests.evaluation.fakes:check",
            "resamples": 100,
        },
    }


def write_run(root: Path, steps=None, policy=None, opener=open_speaker, generator="scripted"):
    """Run the steps, with a training that only leaves its model.

    Args:
        policy: writes the model into a folder; None: a scripted one.
    """
    steps = steps or steps_of(root)
    planned, _ = run_steps(steps, root, opener=opener, only_plan=True)
    (plan,) = [one for one in planned if one.step.name == "policy"]
    folder = folder_of(root / "artifacts", "policy", plan.fingerprint)
    (policy or write_policy)(folder / "model")
    finish_artifact(folder, "policy", plan.payload, Result(metrics={"n": 3}), {})
    _, artifacts = run_steps(steps, root, opener=opener)
    config = {
        "seed": 0,
        "pipeline": {"steps": steps},
        "generator": {"name": generator, "options": {}, "keep": 1},
        "constitution": steps["evaluation"]["constitution"],
        "runs_dir": str(root),
        "store": str(root / "calls.sqlite"),
    }
    git = {"commit": "0123abc", "changed_files": 0}
    record(root / "logs" / NEWER, artifacts, config=config, git=git, versions={"python": "3"})


def edit_manifest(folder: Path, edit) -> None:
    """Change a manifest as a forger would: with hashes and digest that fit."""
    file = folder / MANIFEST
    plain = json.loads(file.read_text())
    plain.pop("digest")
    edit(plain)
    plain["files"] = list_files(folder)
    file.write_text(seal(plain)[1])


def other_weights(folder: Path, weights: bytes = BAD) -> None:
    (folder / "model.safetensors").write_bytes(as_safetensors(weights))
