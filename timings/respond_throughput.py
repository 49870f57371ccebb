"""What the asynchronous path costs: tokens/s of our `vllm` generator against bare `LLM.generate`.

Both engines live in this process with the same settings and take turns. `LLM.generate` is given
ready token ids; our generator is given messages, so rendering and tokenising count against us.

    python timings/respond_throughput.py --requests 256 --tokens 64 --repeats 3
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from stages.runtime.generation import Generator, Sampling
from stages.runtime.models import Model, find_model
from stages.runtime.rows import Message


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="folder or Hub id; by default a random Llama is built")
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=64, help="longest answer")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--max-num-seqs", type=int, default=256)
    return parser.parse_args()


def model_of(path: str | None) -> Model:
    """The given model, or a random one in a temporary folder."""
    from tests.tiny_model import build_tiny_model

    return find_model(
        path or str(build_tiny_model(tempfile.mkdtemp(), width=256, layers=6, context=2048))
    )


async def ours(
    generator: Generator, conversations: list[list[Message]], sampling: Sampling
) -> tuple[float, list[str]]:
    """Tokens a second and the texts."""
    start = time.perf_counter()
    answers = await asyncio.gather(
        *[generator.complete(c, sampling, seed) for seed, c in enumerate(conversations)]
    )
    seconds = time.perf_counter() - start
    return sum(answer.completion_tokens for answer in answers) / seconds, [
        answer.text for answer in answers
    ]


def bare(
    llm: Any, prompts: list[dict[str, list[int]]], sampling: Sampling
) -> tuple[float, list[str]]:
    """The same by `LLM.generate`."""
    from vllm import SamplingParams

    start = time.perf_counter()
    outputs = llm.generate(
        prompts,
        [
            SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                seed=seed,
            )
            for seed in range(len(prompts))
        ],
        use_tqdm=False,
    )
    seconds = time.perf_counter() - start
    return sum(len(o.outputs[0].token_ids) for o in outputs) / seconds, [
        o.outputs[0].text for o in outputs
    ]


async def main() -> None:
    args = arguments()
    from stages.generators.vllm import open_generator
    from stages.generators.vllm_options import Options, engine_arguments

    model, options = (
        model_of(args.model),
        Options(dtype=args.dtype, max_num_seqs=args.max_num_seqs, kv_cache_gib=1.0),
    )
    generator: Any = await open_generator(model, vars(options))
    from vllm import LLM

    settings = engine_arguments(model, options)
    del settings["enable_log_requests"]  # an asynchronous engine's only
    llm = LLM(**settings)
    sampling = Sampling(max_tokens=args.tokens)
    ratios = []
    print(
        f"{args.requests} requests of at most {args.tokens} tokens, "
        f"{args.max_num_seqs} sequences, {model.path}"
    )
    for repeat in range(args.repeats + 1):
        conversations = [
            [{"role": "user", "content": f"how do I build a safe dog {repeat} {n}"}]
            for n in range(args.requests)
        ]
        prompts = [{"prompt_token_ids": generator.renderer.prompt(c)} for c in conversations]
        # Who goes first changes from repeat to repeat, so that a drifting machine favours nobody.
        if repeat % 2:
            (we, texts), (they, reference) = (
                await ours(generator, conversations, sampling),
                bare(llm, prompts, sampling),
            )
        else:
            (they, reference), (we, texts) = (
                bare(llm, prompts, sampling),
                await ours(generator, conversations, sampling),
            )
        same = sum(a == b for a, b in zip(texts, reference, strict=True))
        label = "warm-up " if repeat == 0 else f"repeat {repeat}"
        print(
            f"{label}: ours {we:.0f} tokens/s, LLM.generate {they:.0f}, "
            f"ratio {we / they:.3f}, same texts {same}",
            flush=True,
        )
        ratios += [we / they] if repeat else []
    print(
        f"ratio: median {statistics.median(ratios):.3f}, "
        f"range {min(ratios):.3f} to {max(ratios):.3f} (target 0.98)"
    )
    await generator.close()
    llm.llm_engine.engine_core.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
