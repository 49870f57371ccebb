"""What the judge's layout buys: the principle last, so that all principles of a pair share one
prefix in the cache.

64 pairs under 16 principles are judged through `choose` with the repository's own template and with
one that names the principle first, on the same engine, in turns, with new texts each time.

    python timings/judge_layout.py --repeats 2
    python timings/judge_layout.py --block-size 128     # vLLM's own default on a CPU
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from stages.guards.templates import find_template, render
from stages.preferences.judging.ask import JUDGE_TEMPLATE
from tests.tiny_model import WORDS
from timings.respond_throughput import model_of


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="folder or Hub id; by default a random Llama is built")
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--principles", type=int, default=16)
    parser.add_argument(
        "--words", type=int, default=300, help="request and both responses together"
    )
    parser.add_argument("--principle-words", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--block-size", type=int, default=None)
    return parser.parse_args()


def prompts(args: argparse.Namespace, seed: int, principle_last: bool) -> list[str]:
    """All judgements, a pair's principles side by side, as the stage sends them."""
    source = random.Random(f"{seed}-{principle_last}")

    def text(words: int) -> str:
        return " ".join(source.choices(WORDS, k=words))

    principles = [text(args.principle_words) for _ in range(args.principles)]
    found = []
    for _ in range(args.pairs):
        share = args.words // 3
        pair = {
            "request": text(share),
            "response_a": text(share),
            "response_b": text(args.words - 2 * share),
        }
        for principle in principles:
            last = render(JUDGE_TEMPLATE, principle=principle, **pair)
            found.append(last if principle_last else principle_first(last))
    return found


def principle_first(prompt: str) -> str:
    """The same lines with the principle's and the question about it on top: equal tokens, no shared
    prefix.
    """
    lines = prompt.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("Principle"))
    return "\n".join(lines[at:] + lines[:at])


async def measure(generator: Any, texts: list[str]) -> tuple[float, float]:
    """Judgements a second, and the share of prompt tokens that were found in the cache."""
    before = generator.prompt_tokens, generator.cached_tokens
    start = time.perf_counter()
    await asyncio.gather(
        *[generator.choose([{"role": "user", "content": text}], ["A", "B"]) for text in texts]
    )
    seconds = time.perf_counter() - start
    return len(texts) / seconds, (generator.cached_tokens - before[1]) / (
        generator.prompt_tokens - before[0]
    )


async def main() -> None:
    args = arguments()
    from stages.generators.vllm import open_generator

    model = model_of(args.model)
    options = {"dtype": args.dtype, "kv_cache_gib": 1.0, "block_size": args.block_size}
    generator: Any = await open_generator(model, options)
    size = len(generator.renderer.prompt([{"role": "user", "content": prompts(args, 0, True)[0]}]))
    print(
        f"{args.pairs} pairs of {args.words} words, {args.principles} principles, "
        f"{size} tokens a prompt, block size {args.block_size or 'ours'}, "
        f"{find_template(JUDGE_TEMPLATE)}"
    )
    await measure(generator, prompts(args, -1, True)[: 2 * args.principles])  # warm up
    ratios, shares = [], []
    for repeat in range(args.repeats):
        first, first_share = await measure(generator, prompts(args, repeat, False))
        last, last_share = await measure(generator, prompts(args, repeat, True))
        print(
            f"repeat {repeat + 1}: "
            f"principle first {first:6.1f} prompts/s ({first_share:.1%} cached), "
            f"last {last:6.1f} ({last_share:.1%}), ratio {last / first:.2f}",
            flush=True,
        )
        ratios.append(last / first)
        shares.append(last_share)
    print(
        f"ratio: median {statistics.median(ratios):.2f}, "
        f"range {min(ratios):.2f} to {max(ratios):.2f} (target 6); "
        f"cached {statistics.median(shares):.1%} (target 82 %)"
    )
    await generator.close()


if __name__ == "__main__":
    asyncio.run(main())
