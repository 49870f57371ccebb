"""How much faster is a PPO step of Credo's than of the last TRL that ships a PPOTrainer? The same
model, reward model, prompts, lengths of completions, epochs and batches; turns taken, a process for
each.

    pip install --target /tmp/trl --no-deps trl==1.12.0
    make smollm2
    python timings/ppo.py --trl /tmp/trl --pairs ../shared/data/hh_rlhf/helpful_test.jsonl.gz

Without `--pairs` the prompts are requests of the embedded world. A rollout has a completion for
each prompt; how many tokens it gets depends on its prompt alone. Prints seconds of CPU and clock
after the first rollout, tokens/s, peak memory, the shares of the time, and the ratios.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import wraps
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # the other TRL comes first

MOVED = ("tokens", "updates", "batches")
"""What both sides must have done equally often."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trl", type=Path, required=True, help="the folder with the other TRL")
    parser.add_argument("--pairs", type=Path, help="a file of hh-rlhf, for its prompts")
    parser.add_argument("--longest", type=int, default=320, help="tokens of a prompt")
    parser.add_argument("--model", default=str(ROOT / "stages/world/checkpoint"))
    parser.add_argument("--batch", type=int, default=64, help="completions of a rollout")
    parser.add_argument("--at-once", type=int, default=64, help="completions of a batch")
    parser.add_argument("--tokens", type=int, default=48, help="of the longest completion")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rollouts", type=int, default=2, help="timed ones, after the first")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        prepare(options, Path(scratch))
        runs: dict[str, list[dict[str, float]]] = {side: [] for side in options.sides}
        for repeat in range(options.repeats):
            for side in options.sides if repeat % 2 == 0 else options.sides[::-1]:
                runs[side].append(run_child(side, options, scratch))
                shown = " ".join(f"{k} {v:.4g}" for k, v in runs[side][-1].items())
                print(f"{side:5} {shown}", flush=True)
    report(runs)


def run_child(side: str, options: argparse.Namespace, scratch: str) -> dict[str, float]:
    """Return what a fresh process measured."""
    path = str(options.trl) if side == "trl" else ""
    command = [sys.executable, *sys.argv, "--child", side, "--folder", scratch]
    ended = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, check=True
    )
    facts: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return facts


def report(runs: dict[str, list[dict[str, float]]]) -> None:
    """Check that the work was equal, and print medians and ratios."""
    everything = [run for side in runs.values() for run in side]
    for name in MOVED:
        assert len({run[name] for run in everything}) == 1, f"{name} differ: {everything}"
    for side, measured in runs.items():
        shown = [f"{name} {median(run[name] for run in measured):.4g}" for name in measured[0]]
        print(f"{side:5} medians: {' '.join(shown)}")
    for clock in ("cpu", "clock") if len(runs) == 2 else ():
        pairs = zip(runs["trl"], runs["credo"], strict=True)
        ratios = [other[clock] / ours[clock] for other, ours in pairs]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}, n = {len(ratios)}"
        print(f"credo: {median(ratios):.2f} times as fast by the {clock} ({spread})")


def prepare(options: argparse.Namespace, folder: Path) -> None:
    """Write the prompts and a reward model with a random output."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from timings.pair_training import read_pairs

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    if options.pairs:
        texts = [pair["prompt"] for pair in read_pairs(options.pairs, 4 * options.batch, 0)]
    else:
        from stages.world.prompts import red_team

        texts = [request["messages"] for request in red_team(options.batch)]
    rows = []
    for messages in texts:
        encoded = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True
        )
        if len(encoded["input_ids"]) <= options.longest:
            rows.append({"messages": messages, "input_ids": encoded["input_ids"]})
    assert len(rows) >= options.batch, "too few prompts are short enough"
    (folder / "prompts.json").write_text(json.dumps(rows[: options.batch]))
    torch.manual_seed(0)
    scalar = AutoModelForSequenceClassification.from_pretrained(
        options.model, num_labels=1, dtype=torch.float32
    )
    scalar.config.pad_token_id = tokenizer.pad_token_id
    scalar.save_pretrained(folder / "reward")
    tokenizer.save_pretrained(folder / "reward")


# -- in a process of its own


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Train, and return what the rollouts after the first took."""
    from accelerate import Accelerator
    from torch.optim.optimizer import register_optimizer_step_post_hook
    from transformers import LlamaModel
    from transformers.generation import GenerationMixin

    spent: Counter[str] = Counter()
    marks: list[tuple[float, float, Counter[str]]] = []
    inner: list[str] = []  # the part that is running

    def timed(part: str, function: Any) -> Any:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if inner:
                return function(*args, **kwargs)
            inner.append(part)
            started = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[part] += time.process_time() - started  # type: ignore[assignment]
                inner.pop()

        return call

    original = GenerationMixin.generate

    def generate(model: Any, input_ids: Any, attention_mask: Any, **kwargs: Any) -> Any:
        longest = fixed_lengths(input_ids * attention_mask, options.tokens)
        spent["tokens"] += int(longest.sum())
        ends = SetLengths(input_ids.size(1), longest, model.generation_config.eos_token_id)
        kwargs["logits_processor"] = [ends]
        return original(model, input_ids=input_ids, attention_mask=attention_mask, **kwargs)

    GenerationMixin.generate = timed("generation", generate)
    LlamaModel.forward = timed("forward", LlamaModel.forward)
    Accelerator.backward = timed("backward", Accelerator.backward)
    backward = Accelerator.backward

    def count_batch(*args: Any, **kwargs: Any) -> None:
        spent["batches"] += 1
        backward(*args, **kwargs)

    Accelerator.backward = count_batch

    def count_update(*_: Any) -> None:
        spent["updates"] += 1
        if spent["updates"] in (options.epochs, options.epochs * (options.rollouts + 1)):
            marks.append((time.process_time(), time.monotonic(), Counter(spent)))

    register_optimizer_step_post_hook(count_update)
    SIDES[options.child](options, json.loads((options.folder / "prompts.json").read_text()))
    (cpu, clock, before), (cpu_end, clock_end, after) = marks
    facts = {"cpu": cpu_end - cpu, "clock": clock_end - clock}
    moved = {name: after[name] - before[name] for name in after}
    assert moved["updates"] == options.epochs * options.rollouts
    assert moved["batches"] == moved["updates"] * options.batch // options.at_once
    parts = {name: moved.pop(name) / facts["cpu"] for name in ("generation", "forward", "backward")}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return facts | moved | {"tokens/s": moved["tokens"] / facts["cpu"], "MB": peak} | parts


def fixed_lengths(tokens: Any, longest: int) -> Any:
    """The number of tokens for each prompt: a quarter of the longest, or up to all."""
    return longest // 4 + tokens.sum(dim=1) % (longest - longest // 4 + 1)


class SetLengths:
    """Ends each completion at its length, and not before."""

    def __init__(self, start: int, lengths: Any, end: int):
        self.start = start
        self.lengths = lengths
        self.end = end

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        is_last = self.lengths == input_ids.size(1) - self.start + 1
        scores[:, self.end] = float("-inf")
        scores[is_last] = float("-inf")
        scores[is_last, self.end] = 0.0
        return scores


def train_trl(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Train with TRL's own PPOTrainer."""
    import torch
    from datasets import Dataset
    from torch.utils.data import DataLoader
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

    def in_order(*args: Any, shuffle: bool = False, **kwargs: Any) -> Any:
        return DataLoader(*args, **kwargs)

    def scalar() -> Any:
        return AutoModelForSequenceClassification.from_pretrained(
            options.folder / "reward", dtype=torch.float32
        )

    tokenizer = AutoTokenizer.from_pretrained(options.model, padding_side="left")
    if tokenizer.pad_token_id == tokenizer.eos_token_id:  # it takes what is padding for masked
        tokenizer.pad_token = tokenizer.unk_token
    args = PPOConfig(
        output_dir=str(options.folder / "trl"),
        **shared_args(options),
        num_ppo_epochs=options.epochs,
        total_episodes=options.batch * (options.rollouts + 1),
        response_length=options.tokens,
        temperature=1.0,
        stop_token="eos",
        num_sample_generations=0,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    policy = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
    # The same prompts for each rollout; at the end of its data accelerate would not accumulate.
    ppo_trainer.DataLoader = in_order
    copies = [{"input_ids": row["input_ids"]} for row in rows] * (options.rollouts + 2)
    trainer = PPOTrainer(
        args=args,
        processing_class=tokenizer,
        model=policy,
        ref_model=None,
        reward_model=scalar(),
        value_model=scalar(),
        train_dataset=Dataset.from_list(copies),
    )
    trainer.train()


def train_credo(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Train with the stage `ppo`."""
    from stages.runtime.artifacts import Artifact, Result, finish_artifact
    from stages.runtime.calls import Engines
    from stages.runtime.context import Context
    from stages.runtime.rows import Prompt
    from stages.runtime.store import CallStore
    from stages.training.online import ppo

    prompts = []
    for number, row in enumerate(rows):
        prompts.append(Prompt(id=str(number), messages=row["messages"], kind="timed"))

    def artifact(name: str, result: Result) -> Artifact:
        folder = Path(scratch) / name
        folder.mkdir()
        return finish_artifact(folder, name, {}, result, {})

    def model(name: str, path: str) -> Artifact:
        return artifact(name, Result(metrics={"model_path": path, "revision": None}))

    args = {
        "steps_per_generation": options.batch // options.at_once,
        "num_iterations": options.epochs,
        "max_steps": options.epochs * (options.rollouts + 1),
        "max_completion_length": options.tokens,
        "temperature": 1.0,
    }
    with tempfile.TemporaryDirectory() as scratch, asyncio.Runner() as loop:
        store = CallStore(Path(scratch) / "calls.sqlite")
        context = Context("ppo", Path(scratch), 0, store, Engines("none", {}), loop)
        inputs = {
            "prompts": artifact("prompts", Result(rows=prompts, row_type=Prompt)),
            "model": model("model", options.model),
            "scorer": model("scorer", str(options.folder / "reward")),
        }
        rewards = {"score": {"term": "reward_model", "model": "scorer"}}
        config = ppo.Config(rewards=rewards, args=args | shared_args(options))
        ppo.run(config, inputs, context)
        store.close()


def shared_args(options: argparse.Namespace) -> dict[str, Any]:
    """The options of both trainers."""
    return {
        "per_device_train_batch_size": options.at_once,
        "gradient_accumulation_steps": options.batch // options.at_once,
        "learning_rate": 1e-6,
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "logging_steps": 1,
    }


SIDES = {"trl": train_trl, "credo": train_credo}


if __name__ == "__main__":
    main()
