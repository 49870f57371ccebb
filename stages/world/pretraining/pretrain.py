"""Train the embedded model from scratch: `python -m stages.world.pretraining.pretrain`.

The run depends only on its seed and its token budget, never on the clock. Each stage ends at a
number of tokens (or at an accuracy on a fixed batch), and batch number n is drawn from its own
seed. So a run that was stopped and resumed gives the same result as one that was not.
"""

import argparse
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from stages.world import CHECKPOINT
from stages.world.pretraining.curriculum import PLANS, next_stage
from stages.world.pretraining.examiner import Examiner
from stages.world.pretraining.model import Body, to_llama
from stages.world.pretraining.optimizer import Optimizer
from stages.world.pretraining.packing import Batch, make_batch
from stages.world.pretraining.parallel import Workers, set_gradients
from stages.world.pretraining.principles import write_lexicon
from stages.world.pretraining.tokenizer import train_tokenizer

ROWS = 12
LENGTH = 320
WARM_UP_STEPS = 40
DECAY_FRACTION = 0.40
LEAST_SCALE = 0.02
INTERVAL = 100
"""Steps between two examinations; the state is saved after each."""


@dataclass
class Progress:
    """The progress of a run."""

    step: int = 0
    tokens: int = 0
    stage: str = "basics"


def rate_scale(step: int, tokens: int, budget: int) -> float:
    """The scale of the learning rates.

    A short warm-up, a plateau, and a linear fall over the last part of the budget.
    """
    remaining = max(0.0, 1 - tokens / budget)
    warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
    return warm_up * max(LEAST_SCALE, min(1.0, remaining / DECAY_FRACTION))


def save_state(path: Path, body: Body, optimizer: Optimizer, progress: Progress) -> None:
    """Save everything that is needed to resume a run."""
    tensors = {f"body.{name}": tensor for name, tensor in body.state_dict().items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer.state().items()}
    copies = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    note = {
        "step": str(progress.step),
        "tokens": str(progress.tokens),
        "stage": progress.stage,
    }
    save_file(copies, path, metadata=note)


def load_state(path: Path, body: Body, optimizer: Optimizer) -> Progress:
    """Restore a stopped run and return its progress."""
    tensors = load_file(path)
    body.load_state_dict(_below("body.", tensors))
    optimizer.load_state(_below("optimizer.", tensors))
    with safe_open(path, "pt") as file:
        note = file.metadata()
    return Progress(int(note["step"]), int(note["tokens"]), note["stage"])


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names have a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def export(body: Body, tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Write the model and the tokenizer in the form that transformers and vLLM load."""
    to_llama(body, tokenizer).save_pretrained(path)
    tokenizer.save_pretrained(path)
    write_lexicon(path)


def compile_alone(body: Body, batch: Batch) -> nn.Module:
    """The body compiled and run once by this thread.

    Two threads that compile at once can wait for each other forever.
    """
    learner: nn.Module = torch.compile(body, dynamic=True)  # type: ignore[assignment]
    set_gradients(Workers(1), learner, batch)
    return learner


def open_tokenizer(path: Path, resume: bool) -> PreTrainedTokenizerFast:
    """The tokenizer of the run to resume, or a new one."""
    if resume:
        return PreTrainedTokenizerFast.from_pretrained(path, padding_side="left")
    tokenizer = train_tokenizer()
    tokenizer.save_pretrained(path)
    return tokenizer


def pretrain(
    budget: int,
    seed: int,
    work: Path,
    checkpoint: Path,
    resume: bool = False,
    threads: int = 2,
    compiled: bool = True,
) -> None:
    """Run the curriculum until the token budget is spent.

    Args:
        budget: Tokens to train on.
        seed: Decides the first weights and every batch.
        work: The folder of the running state.
        checkpoint: Where the model is exported.
        resume: Whether to continue from the state in `work`.
        threads: How many threads compute gradients.
        compiled: Whether torch compiles the model, which makes it 1.5 times as fast.
    """
    workers = Workers(threads)
    torch.manual_seed(seed)
    work.mkdir(parents=True, exist_ok=True)
    state_path = work / "state.safetensors"
    tokenizer = open_tokenizer(work / "tokenizer", resume)
    body = Body(len(tokenizer))
    optimizer = Optimizer(body)
    examiner = Examiner(tokenizer, LENGTH)
    progress = load_state(state_path, body, optimizer) if resume else Progress()

    def draw_batch(number: int, stage: str) -> Batch:
        rng = random.Random(f"{seed}-{number}")
        return make_batch(rng, tokenizer, PLANS[stage], ROWS, LENGTH)

    next_batch = workers.submit(draw_batch, progress.step, progress.stage)
    learner = compile_alone(body, next_batch.result()) if compiled else body
    start = time.time()
    first_tokens = progress.tokens
    mean_loss = None
    while progress.tokens < budget:
        batch = next_batch.result()
        next_batch = workers.submit(draw_batch, progress.step + 1, progress.stage)
        loss = set_gradients(workers, learner, batch)
        optimizer.step(workers, rate_scale(progress.step, progress.tokens, budget))
        progress.step += 1
        progress.tokens += batch.filled
        mean_loss = loss if mean_loss is None else 0.98 * mean_loss + 0.02 * loss
        if progress.step % INTERVAL:
            continue

        scores = examiner.examine(workers, body)
        seconds = time.time() - start
        speed = (progress.tokens - first_tokens) / seconds
        print(
            f"{progress.step} {progress.tokens / 1e6:.2f}M {seconds:.0f}s {speed:.0f}/s "
            f"{progress.stage} loss {mean_loss:.3f} {json.dumps(scores)}",
            flush=True,
        )
        stage = next_stage(progress.stage, progress.tokens, budget, scores)
        if stage != progress.stage:
            progress.stage = stage
            next_batch = workers.submit(draw_batch, progress.step, stage)
        save_state(state_path, body, optimizer, progress)
        if progress.step % (4 * INTERVAL) == 0:
            export(body, tokenizer, work / "latest")
    export(body, tokenizer, checkpoint)
    seconds = time.time() - start
    print(f"done after {progress.step} steps, {progress.tokens} tokens, {seconds:.0f} s")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", dest="budget", type=int, default=24_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("/tmp/pretrain"),
        help="folder of the running state",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=CHECKPOINT,
        help="where the model is exported",
    )
    parser.add_argument("--resume", action="store_true", help="continue from the state in --work")
    pretrain(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
