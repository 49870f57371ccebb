"""What do checkpoints cost a training? A reward model on SmolLM2, ten steps: ten checkpoints a run
(the default until November 2026), checkpoints by time (the default now), none. Turns taken.

    make smollm2
    python timings/checkpoints.py --pairs ../shared/data/hh_rlhf/helpful_test.jsonl.gz --repeats 5

Prints the seconds of the whole training, and the part of each way that is not in the steps (median
and range).
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stages.pretrained import smollm  # noqa: E402
from stages.runtime.calls import Engines  # noqa: E402
from stages.runtime.context import Context  # noqa: E402
from stages.runtime.models import find_model  # noqa: E402
from stages.runtime.store import CallStore  # noqa: E402
from stages.training.frame import train  # noqa: E402
from stages.training.reward_models import reward_model  # noqa: E402
from stages.training.reward_models.reward_examples import prepare_pairs  # noqa: E402
from timings.pair_training import read_pairs  # noqa: E402

WAYS: dict[str, dict[str, Any]] = {
    "ten": {"save_strategy": "steps", "save_steps": 0.1},
    "by time": {},
    "none": {"save_strategy": "no"},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, required=True, help="a file of hh-rlhf")
    parser.add_argument("--model", default=str(smollm.cache_folder() / smollm.NAME))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--bf16", action="store_true", help="train in bfloat16, as on a GPU")
    parser.add_argument("--minutes", type=float, default=10.0, help="launcher.checkpoint_minutes")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for repeat in range(options.repeats):
        for way in WAYS if repeat % 2 == 0 else reversed(WAYS):
            seconds[way].append(time_training(WAYS[way], options))
            print(f"{way:8} {seconds[way][-1]:6.1f} s", flush=True)
    for way in ("ten", "by time"):
        parts = [1 - none / one for one, none in zip(seconds[way], seconds["none"], strict=True)]
        print(
            f"{way}: {median(parts):.1%} of the time for checkpoints "
            f"({min(parts):.1%} to {max(parts):.1%}, n = {len(parts)})"
        )


def time_training(saving: dict[str, Any], options: argparse.Namespace) -> float:
    """Return the seconds of a training."""
    args = {
        "learning_rate": 1e-5,
        "per_device_train_batch_size": options.batch,
        "max_steps": options.steps,
        "max_length": 1024,
        "bf16": options.bf16,
        **saving,
    }
    config = reward_model.Config(args=args, eval_fraction=0.0)
    base = find_model(options.model)
    with tempfile.TemporaryDirectory() as scratch, asyncio.Runner() as loop:
        store = CallStore(Path(scratch) / "calls.sqlite")
        context = Context("reward_model", Path(scratch), 0, store, Engines("none", {}), loop)
        context.checkpoint_minutes = options.minutes
        pairs = read_pairs(options.pairs, options.steps * options.batch, 0)
        layout = reward_model.layout_of(config)
        examples, _ = prepare_pairs(pairs, layout, base, config, context)
        trainer = reward_model.build_trainer(config, base, examples, context)
        started = time.monotonic()
        train(trainer, context, base)
        seconds = time.monotonic() - started
        store.close()
    return seconds


if __name__ == "__main__":
    main()
