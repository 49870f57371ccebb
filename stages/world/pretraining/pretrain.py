"""Train the embedded model from nothing: `python -m stages.world.pretraining.pretrain`.

The run depends on its seed and its token budget alone, never on the clock. Every stage boundary is
a number of tokens (or an accuracy on a fixed batch), and batch number n is drawn from its own seed,
so a run that was stopped goes on from its saved state as if it had never stopped.
"""

import argparse
import json
import random
import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedTokenizerFast

from stages.world.pretraining.curriculum import BASICS, EVERYTHING, JUDGING, PLANS, next_stage
from stages.world.pretraining.lessons import Curriculum
from stages.world.pretraining.model import Body, to_llama
from stages.world.pretraining.optimizer import Optimizer
from stages.world.pretraining.packing import Batch, make_batch
from stages.world.pretraining.parallel import Workers, predict, set_gradients
from stages.world.pretraining.tokenizer import train_tokenizer

CHECKPOINT = Path(__file__).resolve().parents[1] / "checkpoint"
ROWS, LENGTH = 12, 320
WARM_UP_STEPS = 40
DECAY_SHARE = 0.40
INTERVAL = 100


def rate_scale(step: int, tokens: int, budget: int) -> float:
    """Learning-rate scale: a short warm-up, a plateau, and a linear fall over the last part of the
    budget.
    """
    left = max(0.0, 1 - tokens / budget)
    return min(1.0, (step + 1) / WARM_UP_STEPS) * max(0.02, min(1.0, left / DECAY_SHARE))


class Examiner:
    """Fixed batches of each lesson kind, for the log and for the gates between stages."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        def batch(kind: str, basis: Curriculum = EVERYTHING, split: str = "seen") -> Batch:
            plan = replace(basis, shares={kind: 1.0}, split=split, nonsense=0.0)
            rows = 10 if kind in ("verdict", "judge") else 3
            return make_batch(random.Random(f"exam-{kind}-{split}"), tokenizer, plan, rows, LENGTH)

        self.batches = {kind: batch(kind) for kind in EVERYTHING.shares}
        self.batches |= {
            f"{kind}_held_out": batch(kind, split="held_out") for kind in ("copy", "fix")
        }
        self.batches["verdict_plain"] = batch("verdict", BASICS)
        self.batches["judge_plain"] = batch("judge", replace(JUDGING, naming=0.0))

    def examine(self, workers: Workers, body: Body) -> dict[str, float]:
        """Accuracy on labels, and the share of answer tokens right on the other kinds."""

        @torch.no_grad()
        def score(kind: str) -> float:
            is_label = kind.split("_")[0] in ("verdict", "judge", "value")
            logits, targets, _ = predict(
                body, self.batches[kind], slice(None), 1.9 if is_label else 0.9
            )
            return round((logits.argmax(-1) == targets).float().mean().item(), 3)

        return dict(zip(self.batches, workers.map(score, self.batches), strict=True))


def save_state(
    path: Path, body: Body, optimizer: Optimizer, step: int, tokens: int, stage: str
) -> None:
    """Save everything a stopped run needs."""
    tensors = {f"body.{name}": tensor for name, tensor in body.state_dict().items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer.state().items()}
    note = {"step": str(step), "tokens": str(tokens), "stage": stage}
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, metadata=note
    )


def load_state(path: Path, body: Body, optimizer: Optimizer) -> tuple[int, int, str]:
    """Restore a stopped run; returns its step, its tokens and its stage."""
    tensors = load_file(path)
    body.load_state_dict(
        {n.removeprefix("body."): t for n, t in tensors.items() if n.startswith("body.")}
    )
    optimizer.load_state(
        {n.removeprefix("optimizer."): t for n, t in tensors.items() if n.startswith("optimizer.")}
    )
    with safe_open(path, "pt") as file:
        note = file.metadata()
    return int(note["step"]), int(note["tokens"]), note["stage"]


def export(body: Body, tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Write the model and the tokenizer in the form that transformers and vLLM load."""
    to_llama(body, tokenizer).save_pretrained(path)
    tokenizer.save_pretrained(path)


def compiled_alone(body: Body, batch: Batch) -> nn.Module:
    """The body compiled and run once by this thread: two threads that compile at once can wait for
    each other forever.
    """
    learner: nn.Module = torch.compile(body, dynamic=True)  # type: ignore[assignment]
    set_gradients(Workers(1), learner, batch)
    return learner


def pretrain(
    budget: int,
    seed: int,
    work: Path,
    checkpoint: Path,
    resume: bool = False,
    threads: int = 2,
    compiled: bool = True,
) -> None:
    """Run the curriculum until the token budget is spent; `compiled` (by torch) is half as fast
    again.
    """
    workers = Workers(threads)
    torch.manual_seed(seed)
    work.mkdir(parents=True, exist_ok=True)
    if resume:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "tokenizer", padding_side="left")
    else:
        tokenizer = train_tokenizer()
        tokenizer.save_pretrained(work / "tokenizer")
    body = Body(len(tokenizer))
    optimizer = Optimizer(body)
    examiner = Examiner(tokenizer)
    step, tokens, stage = 0, 0, "basics"
    if resume:
        step, tokens, stage = load_state(work / "state.safetensors", body, optimizer)

    def draw_batch(number: int, of_stage: str) -> Batch:
        return make_batch(
            random.Random(f"{seed}-{number}"), tokenizer, PLANS[of_stage], ROWS, LENGTH
        )

    coming = workers.submit(draw_batch, step, stage)
    learner = compiled_alone(body, coming.result()) if compiled else body
    began, begun_at, mean_loss = time.time(), tokens, None
    while tokens < budget:
        batch = coming.result()
        coming = workers.submit(draw_batch, step + 1, stage)
        loss = set_gradients(workers, learner, batch)
        optimizer.step(workers, rate_scale(step, tokens, budget))
        step += 1
        tokens += batch.filled
        mean_loss = loss if mean_loss is None else 0.98 * mean_loss + 0.02 * loss
        if step % INTERVAL == 0:
            scores = examiner.examine(workers, body)
            seconds = time.time() - began
            speed = (tokens - begun_at) / seconds
            print(
                f"{step} {tokens / 1e6:.2f}M {seconds:.0f}s {speed:.0f}/s {stage} loss {mean_loss:.3f} "
                + json.dumps(scores),
                flush=True,
            )
            if (following := next_stage(stage, tokens, budget, scores)) != stage:
                stage = following
                coming = workers.submit(draw_batch, step, stage)
            save_state(work / "state.safetensors", body, optimizer, step, tokens, stage)
            if step % (4 * INTERVAL) == 0:
                export(body, tokenizer, work / "latest")
    export(body, tokenizer, checkpoint)
    print(f"done after {step} steps, {tokens} tokens, {time.time() - began:.0f} s", flush=True)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=24_000_000, help="token budget")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--work", type=Path, default=Path("/tmp/pretrain"), help="where the running state is kept"
    )
    parser.add_argument(
        "--checkpoint", type=Path, default=CHECKPOINT, help="where the model is exported"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the state in --work")
    arguments = parser.parse_args()
    pretrain(
        arguments.tokens,
        arguments.seed,
        arguments.work,
        arguments.checkpoint,
        arguments.resume,
        arguments.threads,
    )


if __name__ == "__main__":
    main()
