"""How many tokens a second does generator=transformers write, with and without CUDA graphs, in
batches of 64 and of 512? Requests of one file, turns taken.

    make smollm2
    python timings/transformers_texts.py --requests questions.jsonl --repeats 5

Prints tokens/s of each way, and the ratios to the first (median and range). On a CPU there are no
graphs, and the ways differ in their batches alone.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stages.generators.transformers import open_generator  # noqa: E402
from stages.pretrained import smollm  # noqa: E402
from stages.runtime.generation import Sampling  # noqa: E402
from stages.runtime.models import find_model  # noqa: E402

WAYS: dict[str, dict[str, Any]] = {
    "64": {"max_batch": 64},
    "512": {"max_batch": 512},
    "64 graphs": {"max_batch": 64, "graphs": True},
    "512 graphs": {"max_batch": 512, "graphs": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=Path, required=True, help="JSONL with a column prompt")
    parser.add_argument("--model", default=str(smollm.cache_folder() / smollm.NAME))
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options = parser.parse_args()
    lines = options.requests.read_text(encoding="utf-8").splitlines()[: options.rows]
    prompts = [json.loads(line)["prompt"] for line in lines]
    rates = asyncio.run(time_ways(prompts, options))
    first = options.ways[0]
    for way in options.ways:
        ratios = [one / other for one, other in zip(rates[way], rates[first], strict=True)]
        print(
            f"{way:12} {median(rates[way]):8.0f} tokens/s ({min(rates[way]):.0f} to "
            f"{max(rates[way]):.0f}), {median(ratios):.2f} times {first} ({min(ratios):.2f} to "
            f"{max(ratios):.2f}, n = {len(ratios)})"
        )


async def time_ways(prompts: list[str], options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the tokens/s of each way and repeat; a first wave, not timed, warms up."""
    rates: dict[str, list[float]] = {way: [] for way in options.ways}
    engines = {}
    for way in options.ways:
        engines[way] = await open_generator(find_model(options.model), WAYS[way])
        await write(engines[way], prompts, options, seed=0)
    for repeat in range(1, options.repeats + 1):
        for way in options.ways if repeat % 2 else reversed(options.ways):
            rates[way].append(await write(engines[way], prompts, options, seed=repeat))
            print(f"{way:12} {rates[way][-1]:8.0f} tokens/s", flush=True)
    for engine in engines.values():
        await engine.close()
    return rates


async def write(engine: Any, prompts: list[str], options: argparse.Namespace, seed: int) -> float:
    """Answer all requests; return the tokens/s."""
    sampling = Sampling(max_tokens=options.tokens, temperature=1.0, top_p=0.95)
    started = time.monotonic()
    answers = await asyncio.gather(
        *(
            engine.complete([{"role": "user", "content": prompt}], sampling, seed=seed + place)
            for place, prompt in enumerate(prompts)
        )
    )
    return sum(answer.completion_tokens for answer in answers) / (time.monotonic() - started)


if __name__ == "__main__":
    main()
