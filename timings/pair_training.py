"""How much faster are DPO and a reward model where a pair's common beginning is read once, and
where pairs of like length come together? Real pairs, a real model, turns taken.

    make smollm2
    python timings/pair_training.py --pairs ../shared/data/hh_rlhf/helpful_test.jsonl.gz --repeats 3

Prints seconds of a step, of the CPU (a busy machine changes them little) and of the clock, the
largest difference between the losses of a step, and the ratios to report. `plain` is TRL's trainer
with TRL's order; `shared` reads the beginnings once; `grouped` has pairs of like length in a batch,
and so other losses; `both` is what a reward model is trained with (conf/model/hub.yaml).
"""

import argparse
import asyncio
import gzip
import json
import re
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
from stages.training.machine.speed import card_of, measure_speed  # noqa: E402
from stages.training.offline import dpo  # noqa: E402
from stages.training.reward_models import reward_model  # noqa: E402
from stages.training.reward_models.reward_examples import prepare_pairs  # noqa: E402

TURN = re.compile(r"\n\n(Human|Assistant): ")
WAYS = {
    "plain": (False, "random"),
    "shared": (True, "random"),
    "grouped": (False, "group_by_length"),
    "both": (True, "group_by_length"),
}
STAGES = {"dpo": dpo, "reward_model": reward_model}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, required=True, help="a file of hh-rlhf")
    parser.add_argument("--model", default=str(smollm.cache_folder() / smollm.NAME))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["plain", "shared"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--bf16", action="store_true", help="train in bfloat16, as on a GPU")
    options = parser.parse_args()
    for stage in options.stages:
        ways = [way for way in options.ways if stage != "dpo" or WAYS[way][1] == "random"]
        runs: dict[str, list[tuple[float, float, list[float]]]] = {way: [] for way in ways}
        for repeat in range(options.repeats):
            pairs = read_pairs(options.pairs, options.steps * options.batch, repeat)
            for way in ways if repeat % 2 == 0 else ways[::-1]:
                cpu, clock, losses = time_steps(stage, way, pairs, options)
                runs[way].append((cpu, clock, losses))
                shown = " ".join(f"{loss:.4f}" for loss in losses)
                print(f"{stage} {way:8} {cpu:6.2f} s CPU {clock:6.2f} s  loss {shown}", flush=True)
        for way in ways[1:]:
            report(f"{stage} {way}", runs[ways[0]], runs[way], WAYS[way][1] == WAYS[ways[0]][1])


def report(name: str, plain: list[Any], other: list[Any], is_same_order: bool) -> None:
    """Print the ratios of the steps' times, and how far the losses are apart."""
    for place, clock in enumerate(("CPU", "clock")):
        ratios = [one[place] / two[place] for one, two in zip(plain, other, strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}, n = {len(ratios)}"
        print(f"{name}: {median(ratios):.2f} times as fast by the {clock} ({spread})")
    if is_same_order:
        apart = []
        for one, two in zip(plain, other, strict=True):
            apart += [abs(a - b) for a, b in zip(one[2], two[2], strict=True)]
        print(f"{name}: losses at most {max(apart):.2g} apart")


def read_pairs(file: Path, count: int, part: int) -> list[dict[str, Any]]:
    """Return the `part`th `count` pairs of a file of hh-rlhf whose sides share a prompt."""
    pairs = []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            row = json.loads(line)
            sides = [conversation(row[side]) for side in ("chosen", "rejected")]
            if sides[0][:-1] == sides[1][:-1] and len(sides[0]) > 1 and sides[0] != sides[1]:
                prompt, (chosen, rejected) = sides[0][:-1], (side[-1:] for side in sides)
                facts = {"id": str(number), "prompt": prompt, "soft_label": 1.0}
                pairs.append(facts | {"chosen": chosen, "rejected": rejected})
            if len(pairs) == count * (part + 1):
                break
    return pairs[count * part :]


def conversation(text: str) -> list[dict[str, str]]:
    """Return the turns of a text of hh-rlhf."""
    parts = TURN.split(text)[1:]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        {"role": roles[who], "content": words.strip()}
        for who, words in zip(parts[::2], parts[1::2], strict=True)
    ]


def time_steps(
    stage: str, way: str, pairs: list[dict[str, Any]], options: argparse.Namespace
) -> tuple[float, float, list[float]]:
    """Return the seconds of a step, of the CPU and of the clock, and the losses of all."""
    is_shared, order = WAYS[way]
    args = {
        "learning_rate": 1e-5,
        "per_device_train_batch_size": options.batch,
        "max_steps": options.steps,
        "max_length": 1024,
        "save_strategy": "no",
        "bf16": options.bf16,
        "train_sampling_strategy": order,
    }
    config = STAGES[stage].Config(args=args, share_prefixes=is_shared, eval_fraction=0.0)
    base = find_model(options.model)
    with tempfile.TemporaryDirectory() as scratch, asyncio.Runner() as loop:
        store = CallStore(Path(scratch) / "calls.sqlite")
        context = Context(stage, Path(scratch), 0, store, Engines("none", {}), loop)
        examples = pairs
        if stage == "reward_model":
            layout = reward_model.layout_of(config)
            examples, _ = prepare_pairs(pairs, layout, base, config, context)
        trainer = STAGES[stage].build_trainer(config, base, examples, context)
        cpu, clock = time.process_time(), time.monotonic()
        with measure_speed(trainer) as speed:
            trainer.train()
        seconds = time.process_time() - cpu, time.monotonic() - clock
        if card := card_of(trainer):
            print(f"{stage} {way:8} {speed.describe(card)['speed']}", flush=True)
        store.close()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return seconds[0] / options.steps, seconds[1] / options.steps, losses


if __name__ == "__main__":
    main()
