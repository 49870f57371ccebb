"""What a GPU would wait for: the work of the host, which a faster card does not shorten.

`decode`: a step of `generator=transformers`. `step`: a step of a reward model. Both on a model as
deep as the given one and 36 wide, so that next to nothing is computed. `outside`: all of a reward
model's training but its steps, with the given model, in a fresh process.

    make smollm2
    python timings/host_work.py decode
    python timings/host_work.py outside --pairs ../shared/data/hh_rlhf/helpful_test.jsonl.gz

Prints seconds of CPU of one thread.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stages.pretrained import smollm  # noqa: E402

NARROW = {
    "hidden_size": 36,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 4,
    "intermediate_size": 32,
}
STEPS = 57


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["decode", "step", "outside"])
    parser.add_argument("--model", default=str(smollm.cache_folder() / smollm.NAME))
    parser.add_argument("--pairs", type=Path, help="outside: a file of hh-rlhf")
    parser.add_argument("--rows", type=int, default=2000, help="outside: pairs")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "decode":
            measure_decoding(options.model)
        elif options.what == "step":
            measure_steps(options.model, Path(folder))
        else:
            measure_outside(options, Path(folder))


def narrow(model: str, **others: Any) -> Any:
    """A random model as deep as the given one, with other options of its config."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(model)
    for name, value in {**NARROW, **others}.items():
        setattr(config, name, value)
    return AutoModelForCausalLM.from_config(config).eval()


def measure_decoding(model: str) -> None:
    import torch
    from torch.profiler import ProfilerActivity, profile

    from stages.generators.transformers_decoding import Decoder
    from stages.generators.transformers_sampling import draw

    decoder = Decoder(narrow(model, vocab_size=512, pad_token_id=0))
    passes, draws = [], []
    with torch.inference_mode():
        ids = torch.randint(3, 500, (1, 32))
        logits = decoder.read(ids, torch.ones_like(ids), 64)
        for _ in range(64):
            started = time.thread_time()
            tokens = draw(logits, torch.ones(1), torch.tensor([0.95]), torch.rand(1))
            drawn = time.thread_time()
            logits = decoder.step(tokens)
            passes.append(time.thread_time() - drawn)
            draws.append(drawn - started)
        with profile(activities=[ProfilerActivity.CPU]) as operators:
            decoder.step(tokens)
    count = sum(1 for event in operators.events() if event.name.startswith("aten::"))
    print(f"forward pass {1e3 * median(passes):.1f} ms, drawing {1e3 * median(draws):.1f} ms")
    print(f"{count} operators, those inside of others too")


def measure_steps(model: str, folder: Path) -> None:
    from transformers import AutoTokenizer, TrainerCallback

    from stages.training.reward_models import reward_model
    from tests.running import run_steps

    narrow(model).save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(model).save_pretrained(folder / "model")
    rows = [
        {"prompt": f"hi {i}", "chosen": f"yes {i}", "rejected": f"no {i}"} for i in range(STEPS)
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ends: list[float] = []

    class NoteEnds(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            ends.append(time.thread_time())

    create = reward_model.create_trainer

    def create_noting(*args: Any, **kwargs: Any) -> Any:
        trainer = create(*args, **kwargs)
        trainer.add_callback(NoteEnds())
        return trainer

    reward_model.create_trainer = create_noting
    run_steps(steps_of(folder / "model", folder / "pairs.jsonl", STEPS, STEPS), folder)
    times = [1e3 * (end - start) for start, end in pairwise(ends)]
    print(f"a step {median(times):.0f} ms ({min(times):.0f} to {max(times):.0f}, n = {len(times)})")


def measure_outside(options: argparse.Namespace, folder: Path) -> None:
    from tests.running import run_steps

    steps = steps_of(options.model, options.pairs, options.rows, 1)
    run_steps({name: steps[name] for name in ("base", "pairs")}, folder)
    started = time.process_time()
    parts: Counter[str] = Counter()
    clocked(parts, "imports", import_trainer)()
    import trl

    from stages.training import frame
    from stages.training.reward_models import reward_model

    for module, name in (
        (reward_model, "prepare_pairs"),
        (reward_model, "load_model"),
        (reward_model, "create_trainer"),
        (frame, "finish"),
        (trl.RewardTrainer, "training_step"),
    ):
        setattr(module, name, clocked(parts, name, getattr(module, name)))
    run_steps(steps, folder)
    whole = time.process_time() - started
    shown = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items())
    print(f"all but the step {whole - parts['training_step']:.1f} s; {shown}")


def import_trainer() -> None:
    from stages.training.reward_models import trainer  # noqa: F401


def clocked(parts: Counter[str], name: str, action: Callable[..., Any]) -> Callable[..., Any]:
    """The same action, whose seconds of CPU are added to `parts`."""

    def run(*args: Any, **kwargs: Any) -> Any:
        started = time.process_time()
        try:
            return action(*args, **kwargs)
        finally:
            parts[name] += time.process_time() - started

    return run


def steps_of(model: Any, pairs: Path, rows: int, steps: int) -> dict[str, Any]:
    args = {"max_steps": steps, "per_device_train_batch_size": 1, "save_strategy": "no"}
    return {
        "base": {"stage": "model", "path": str(model)},
        "pairs": {"stage": "human_pairs", "source": str(pairs), "limit": rows},
        "rm": {
            "stage": "reward_model",
            "inputs": {"pairs": "pairs", "model": "base"},
            "eval_fraction": 0.0,
            "args": args | {"max_length": 1024},
        },
    }


if __name__ == "__main__":
    main()
