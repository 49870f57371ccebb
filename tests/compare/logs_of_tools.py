"""Small files in the forms that other tools publish, for the tests of compare."""

import json
import zipfile
from pathlib import Path
from typing import Any

FILES = Path(__file__).with_name("files")


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def verifiers(folder: Path, rewards: list[float], rollouts: int = 1) -> Path:
    """An evaluation as `vf-eval -s` saves it: a row for each rollout, and metadata beside."""
    rows = []
    for number, reward in enumerate(rewards):
        question = {"role": "user", "content": f"question {number // rollouts}"}
        rows.append(
            {
                "example_id": number // rollouts,
                "prompt": [question],
                "completion": [{"role": "assistant", "content": f"answer {reward}"}],
                "task": "default",
                "reward": reward,
                "generation_ms": 1.5,
                "scoring_ms": 0.5,
                "total_ms": 2.0,
                "info": {"level": 5},
                "answer": "18",
                "format_reward_func": 1.0 - reward,
            }
        )
    mean = sum(rewards) / len(rewards)
    facts = {"env_id": "sums", "model": "m", "num_examples": len(rewards) // rollouts}
    facts |= {"avg_reward": mean, "avg_metrics": {"format_reward_func": 1.0 - mean}}
    write_json(folder / "metadata.json", facts)
    write_lines(folder / "results.jsonl", rows)
    return folder


def reward_bench(folder: Path, model: str, scores: list[tuple[float, float]]) -> Path:
    """What `rewardbench --save_all` writes: the scores, and a summary beside."""
    right = [chosen > rejected for chosen, rejected in scores]
    summary = {"accuracy": sum(right) / len(right), "num_prompts": len(right), "model": model}
    write_json(folder / f"{model}.json", summary)
    rows = [{"chosen": chosen, "rejected": rejected} for chosen, rejected in scores]
    return write_lines(folder / f"{model}_all.jsonl", rows)


def annotated_pairs(path: Path, votes: list[str | None]) -> Path:
    """Pairs as icai annotates them: one principle, whose vote may be missing."""
    comparisons = []
    for number, vote in enumerate(votes):
        annotations = {"human": {"pref": "text_a"}, "p1": {"pref": vote}}
        comparisons.append(
            {
                "id": f"c{number}",
                "prompt": f"request {number}",
                "text_a": "yes",
                "text_b": "no",
                "annotations": annotations,
            }
        )
    annotators = {
        "human": {"name": "preferred_text", "description": "the data's own", "type": "human"},
        "p1": {"description": "Select the response that is short.", "type": "principle"},
    }
    metadata = {"version": "1.0", "default_annotator": "human"}
    value = {"metadata": metadata, "annotators": annotators, "comparisons": comparisons}
    return write_json(path, value)


def weval(path: Path, coverage: dict[str, list[float | None]]) -> Path:
    """A result of weval; None is an answer that no judge could read."""
    number = len(next(iter(coverage.values())))
    prompts = [f"prompt-{place}" for place in range(number)]
    scores: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for place, prompt in enumerate(prompts):
        scores[prompt] = {"IDEAL_BENCHMARK": {"avgCoverageExtent": 1.0}}
        answers[prompt] = {}
        for model, values in coverage.items():
            value = values[place]
            result = {"error": "no judge"} if value is None else {"avgCoverageExtent": value}
            scores[prompt][model] = result
            answers[prompt][model] = f"{model} says {value}"
    return write_json(
        path,
        {
            "configId": "rights",
            "promptIds": prompts,
            "effectiveModels": ["IDEAL_BENCHMARK", *coverage],
            "promptContexts": {prompt: f"words of {prompt}" for prompt in prompts},
            "allFinalAssistantResponses": answers,
            "evaluationResults": {"llmCoverageScores": scores},
        },
    )


def inspect_log(letters: list[str], epochs: int = 1) -> dict[str, Any]:
    """A log of inspect: a sample for each letter, in order of samples and epochs."""
    worth = {"C": 1.0, "P": 0.5, "I": 0.0}
    samples = []
    for number, letter in enumerate(letters):
        samples.append(
            {
                "id": number // epochs + 1,
                "epoch": number % epochs + 1,
                "input": f"question {number // epochs}",
                "target": "yes",
                "messages": [],
                "output": {
                    "model": "mockllm/model",
                    "choices": [],
                    "completion": f"I say {letter}",
                },
                "scores": {"match": {"value": letter, "answer": letter}},
            }
        )
    accuracy = sum(worth[letter] for letter in letters) / len(letters)
    metrics = {"accuracy": {"name": "accuracy", "value": accuracy}}
    scores = [{"name": "match", "scorer": "match", "reducer": "mean", "metrics": metrics}]
    return {
        "version": 2,
        "status": "success",
        "eval": {"task": "yes_no", "model": "mockllm/model"},
        "results": {"total_samples": len(letters) // epochs, "scores": scores},
        "samples": samples,
    }


def inspect_eval(path: Path, log: dict[str, Any]) -> Path:
    """The same as a `.eval`: a header, and a member for each sample."""
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", json.dumps({"version": 2, "eval": log["eval"]}))
        for sample in log["samples"]:
            name = f"samples/{sample['id']}_epoch_{sample['epoch']}.json"
            archive.writestr(name, json.dumps(sample))
        header = {key: value for key, value in log.items() if key != "samples"}
        archive.writestr("header.json", json.dumps(header))
    return path
