"""Is a reward model trained faster on pairs sorted by length? Same pairs, same number of steps,
turns taken.

    python run.py pipeline=rlaif
    python timings/reward_padding.py --pairs runs/artifacts/pairs-* --repeats 3

Prints CPU seconds (a busy machine changes them little), padding and held-out accuracy of both, and
the ratio of the times (median and range).
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stages.runtime.artifacts import Artifact, Result, finish_artifact  # noqa: E402
from stages.runtime.calls import Engines  # noqa: E402
from stages.runtime.context import Context  # noqa: E402
from stages.runtime.store import CallStore  # noqa: E402
from stages.training.reward_models import reward_model  # noqa: E402

STRATEGIES = ("random", "group_by_length")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pairs", type=Path, required=True, help="the folder of a judged_pairs artifact"
    )
    parser.add_argument("--model", default=str(ROOT / "stages/world/checkpoint"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    given = parser.parse_args()
    pairs = Artifact("pairs", given.pairs)
    args = {
        "learning_rate": 5e-4,
        "per_device_train_batch_size": 32,
        "max_length": 512,
        "save_strategy": "no",
    }
    seconds: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    with tempfile.TemporaryDirectory() as scratch, asyncio.Runner() as loop:
        root = Path(scratch)
        store = CallStore(root / "calls.sqlite")
        (root / "base").mkdir()
        base = finish_artifact(
            root / "base",
            "base",
            {},
            Result(metrics={"model_path": given.model, "revision": None}),
            {},
        )
        for repeat in range(given.repeats):
            for name in STRATEGIES if repeat % 2 == 0 else STRATEGIES[::-1]:
                folder = root / f"{name}-{repeat}"
                folder.mkdir()
                config = reward_model.Config(
                    args=args | {"num_train_epochs": given.epochs, "train_sampling_strategy": name}
                )
                context = Context(name, folder, repeat, store, Engines("none", {}), loop)
                started = time.process_time()
                found = reward_model.run(config, {"model": base, "pairs": pairs}, context).metrics
                seconds[name].append(time.process_time() - started)
                print(
                    f"{name:16} {seconds[name][-1]:6.1f} s  "
                    f"padding {found['padding_wasted']:.1%}  "
                    f"held-out accuracy {found['held_out']['accuracy']:.3f}  "
                    f"loss {found['train_loss']:.4f}"
                )
        store.close()
    ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
    print(
        f"group_by_length / random: median {median(ratios):.3f}, "
        f"{min(ratios):.3f} to {max(ratios):.3f}, n = {len(ratios)}"
    )


if __name__ == "__main__":
    main()
